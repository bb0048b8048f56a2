//! The gRPC side of the receiver: bounds, refusals with the right code, retry hints, counting.
//!
//! The three services are one `tower` service over raw bytes: the generated ones decode a request before it can be
//! bounded or attributed, and answer garbage with INTERNAL, which senders repeat.

use super::OtlpOptions;
use super::connection::{Peer, accept};
use super::convert::{Kind, convert};
use super::envelope::{Garbage, count};
use super::sender::{Attribution, Stranger, identify};
use super::silence::Silence;
use crate::sources::names::Names;
use crate::sources::{Counters, Fate, Outlet, SourceError, SourceName, health};
use bytes::{Buf, BufMut, Bytes};
use futures::future::{BoxFuture, Ready, ready};
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{Clock, SnapshotSource};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// When a sender that was told to come again should do so.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait for requests under way when the receiver ends.
const DRAIN: Duration = Duration::from_secs(3);
/// Name caches: one per group of senders, so that senders on other cores rarely wait for each other.
const SHARDS: usize = 8;
/// Names per cache: with the longest names 8 × 1,024 × 256 bytes = 2 MiB.
const NAMES: usize = 1024;
/// Largest header list of a request; OTLP needs a few hundred bytes.
const HEADER_BYTES: u32 = 16 * 1024;
/// Requests at one time on one connection.
const STREAMS: u32 = 64;

/// Serves until `stop`; requests under way are answered.
pub(super) async fn serve(
    listener: TcpListener,
    options: OtlpOptions,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    out: Outlet,
    stop: CancellationToken,
) -> Result<(), SourceError> {
    let report = counters.report(SourceName::Otlp, SourceState::Healthy);
    let hello = vec![health(SourceName::Otlp, report, clock.now())];
    tokio::select! {
        // A closed queue is noticed by every request; it is not the receiver's to end for it.
        _ = out.send(hello) => {}
        () = stop.cancelled() => return Ok(()),
    }
    let incoming = accept(listener, options.max_connections, Arc::clone(&counters));
    let shared = Arc::new(Shared {
        places: Arc::new(Semaphore::new(options.max_concurrent_requests)),
        taken: Mutex::default(),
        names: std::array::from_fn(|_| Mutex::new(Names::new(NAMES))),
        silence: Mutex::default(),
        options,
        snapshots,
        clock,
        counters,
        out,
    });
    let intake = Intake(Arc::clone(&shared));
    let end = stop.clone();
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .serve_with_incoming_shutdown(intake, incoming, stop.cancelled_owned());
    tokio::select! {
        ended = serving => ended.map_err(|error| SourceError::Serve(error.to_string())),
        () = shared.tell() => Ok(()),
        // A sender that hangs keeps its connection open; it must not keep the process from ending.
        () = async { end.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

struct Shared {
    places: Arc<Semaphore>,
    /// Places by sender; only those who have one are in it.
    taken: Mutex<HashMap<IpAddr, usize>>,
    names: [Mutex<Names>; SHARDS],
    silence: Mutex<Silence>,
    options: OtlpOptions,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    out: Outlet,
}

/// All three services.
#[derive(Clone)]
struct Intake(Arc<Shared>);

impl tower::Service<http::Request<Body>> for Intake {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(shared.answer(request).await.unwrap_or_else(Status::into_http)) })
    }
}

impl Shared {
    /// Says again and again how the source is, where that is news. Does not end.
    async fn tell(&self) {
        let mut told = None;
        let mut beat = tokio::time::interval(self.options.report_every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beat.tick().await;
        loop {
            beat.tick().await;
            let now = self.clock.now();
            let snapshot = self.snapshots.current();
            let senders = snapshot.pods.values().any(|pod| {
                pod.phase == PodPhase::Running && !pod.deleting && snapshot.workload_of(pod).is_some()
            });
            let state = self.silence.lock().unwrap_or_else(PoisonError::into_inner).state(senders, now);
            let report = self.counters.report(SourceName::Otlp, state);
            // A queue that is full has telemetry in it, which tells as much.
            if told.as_ref() != Some(&report)
                && self.out.try_send(vec![health(SourceName::Otlp, report.clone(), now)]).is_ok()
            {
                told = Some(report);
            }
        }
    }

    async fn answer(self: Arc<Self>, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let kind = match request.uri().path() {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Kind::Traces,
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Kind::Metrics,
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Kind::Logs,
            _ => {
                return Err(Status::unimplemented(
                    "only the Export methods of OTLP traces, metrics and logs",
                ));
            }
        };
        let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
            return Err(self.refuse(Stranger::Unknown, None));
        };
        let snapshot = self.snapshots.current();
        let attribution = identify(&snapshot, peer, &self.options.trusted_forwarders)
            .map_err(|stranger| self.refuse(stranger, Some(peer)))?;
        let Some(_place) = self.place(peer, &attribution) else {
            return Err(self.come_again(Fate::TooManyRequests, 1, "too many requests at one time"));
        };
        let mut grpc = tonic::server::Grpc::new(Raw)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(self.options.max_message_bytes);
        let handler = Handler { shared: Arc::clone(&self), kind, peer, attribution };
        let answer = tokio::time::timeout(self.options.request_timeout, grpc.unary(handler, request)).await;
        if let Ok(response) = answer {
            return self.translate(response);
        }
        self.counters.add(SourceName::Otlp, Fate::TimedOut, 1);
        Err(Status::deadline_exceeded("the request did not arrive in time"))
    }

    /// A place for one request; `None` when there is none left, for all or for this sender.
    fn place(self: &Arc<Self>, peer: IpAddr, attribution: &Attribution) -> Option<Place> {
        let most = match attribution {
            Attribution::Sender(_) => self.options.max_requests_per_sender,
            Attribution::Resource(_) => usize::MAX,
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&peer).is_some_and(|own| *own >= most) {
            return None;
        }
        let of_all = Arc::clone(&self.places).try_acquire_owned().ok()?;
        *taken.entry(peer).or_default() += 1;
        Some(Place { peer, shared: Arc::clone(self), _of_all: of_all })
    }

    fn refuse(&self, stranger: Stranger, peer: Option<IpAddr>) -> Status {
        match stranger {
            Stranger::NotReady => self.come_again(Fate::NotReady, 1, "pods are not listed yet"),
            Stranger::Unknown => {
                self.counters.add(SourceName::Otlp, Fate::UnknownSender, 1);
                let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
                Status::permission_denied(format!(
                    "address {peer} belongs to no pod of this cluster; send from the pod itself, or list the \
                     forwarder's address as trusted"
                ))
            }
        }
    }

    fn come_again(&self, fate: Fate, items: u64, message: &str) -> Status {
        self.counters.add(SourceName::Otlp, fate, items);
        Status::with_error_details(Code::Unavailable, message, ErrorDetails::with_retry_info(Some(RETRY)))
    }

    /// Refusals by the transport below us: `OUT_OF_RANGE` means above the size limit, `INTERNAL` a broken frame
    /// or compression. [`Handler`] never answers with either.
    fn translate(&self, response: http::Response<Body>) -> Result<http::Response<Body>, Status> {
        let Some(status) = Status::from_header_map(response.headers()) else {
            return Ok(response);
        };
        match status.code() {
            Code::OutOfRange | Code::ResourceExhausted => {
                self.counters.add(SourceName::Otlp, Fate::TooLarge, 1);
                let limit = self.options.max_message_bytes;
                Err(Status::resource_exhausted(format!(
                    "request is above {limit} bytes after decompression; send smaller batches"
                )))
            }
            Code::Internal | Code::Unknown => {
                self.counters.add(SourceName::Otlp, Fate::Malformed, 1);
                Err(Status::invalid_argument(Garbage.to_string()))
            }
            _ => Ok(response),
        }
    }
}

/// Given back when the request ends, however it ends.
struct Place {
    peer: IpAddr,
    shared: Arc<Shared>,
    _of_all: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

/// Takes the body of one request.
struct Handler {
    shared: Arc<Shared>,
    kind: Kind,
    peer: IpAddr,
    attribution: Attribution,
}

impl Handler {
    fn take(&self, body: &Bytes) -> Result<Vec<u8>, Status> {
        let shared = &*self.shared;
        let place = match shared.out.try_reserve() {
            Ok(place) => place,
            Err(TrySendError::Full(())) => {
                return Err(shared.come_again(Fate::QueueFull, count(body).max(1), "analysis is behind"));
            }
            Err(TrySendError::Closed(())) => {
                return Err(shared.come_again(Fate::QueueFull, count(body).max(1), "shutting down"));
            }
        };
        let batch = {
            let cache = &shared.names[shard(self.peer)];
            let mut names = cache.lock().unwrap_or_else(PoisonError::into_inner);
            let limits = &shared.options.limits;
            convert(self.kind, body, &self.attribution, limits, &mut names, shared.clock.now())
        }
        .map_err(|garbage| {
            shared.counters.add(SourceName::Otlp, Fate::Malformed, 1);
            Status::invalid_argument(garbage.to_string())
        })?;
        shared.counters.merge(SourceName::Otlp, &batch.tally);
        shared.silence.lock().unwrap_or_else(PoisonError::into_inner).note(self.kind, shared.clock.now());
        if !batch.observations.is_empty() {
            place.send(batch.observations);
        }
        Ok(response(self.kind, batch.tally.lost(), batch.tally.losses()))
    }
}

impl tonic::server::UnaryService<Bytes> for Handler {
    type Response = Vec<u8>;
    type Future = Ready<Result<tonic::Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        ready(self.take(request.get_ref()).map(tonic::Response::new))
    }
}

fn shard(peer: IpAddr) -> usize {
    let last = match peer {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    usize::from(last) % SHARDS
}

/// An empty answer is a full success; otherwise it says how many items were not taken and why.
fn response(kind: Kind, lost: u64, why: String) -> Vec<u8> {
    if lost == 0 {
        return Vec::new();
    }
    let lost = i64::try_from(lost).unwrap_or(i64::MAX);
    match kind {
        Kind::Traces => ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: lost, error_message: why }),
        }
        .encode_to_vec(),
        Kind::Metrics => ExportMetricsServiceResponse {
            partial_success: Some(ExportMetricsPartialSuccess {
                rejected_data_points: lost,
                error_message: why,
            }),
        }
        .encode_to_vec(),
        Kind::Logs => ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: lost,
                error_message: why,
            }),
        }
        .encode_to_vec(),
    }
}

/// Bytes in, bytes out.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
