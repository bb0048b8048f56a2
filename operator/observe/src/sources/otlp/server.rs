//! The gRPC side of the receiver: bounds, refusals with the right code, retry hints, counting.
//!
//! The three services are one `tower` service over raw bytes: the generated ones decode a request before it can be
//! bounded or attributed, and answer garbage with INTERNAL, which senders repeat.

use super::OtlpOptions;
use super::connection::{Peer, Places, accept};
use super::convert::{Kind, convert};
use super::envelope::{Garbage, count, count_points};
use super::sender::{Attribution, Stranger, identify};
use super::silence::Silence;
use crate::sources::names::Names;
use crate::sources::queue::Refused;
use crate::sources::series::{Book, news};
use crate::sources::shares::{Owner, Shares};
use crate::sources::{Counters, Fate, Outlet, SourceError, SourceName, Tally, health};
use bytes::{Buf, BufMut, Bytes};
use futures::future::{BoxFuture, Ready, ready};
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{Clock, Observation, SnapshotSource};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
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
    // Where there is no room for it, it is told with the next beat. A closed queue is noticed by every request; it is not
    // the receiver's to end for it.
    let _ = out.send_own(hello);
    let places = Places {
        all: options.max_connections,
        of_peer: options.max_connections_per_sender,
        forwarders: options.trusted_forwarders.clone(),
    };
    let incoming = accept(listener, places, Arc::clone(&counters));
    let shared = Arc::new(Shared {
        taken: Mutex::new(Taken {
            by_peer: HashMap::new(),
            shares: Shares::new(options.max_concurrent_requests),
        }),
        names: std::array::from_fn(|_| Mutex::new(Names::new(NAMES))),
        series: Mutex::new(Book::new(options.series)),
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

/// Requests under way: those of each sender that has any, and how all places are shared.
struct Taken {
    by_peer: HashMap<IpAddr, usize>,
    shares: Shares,
}

struct Shared {
    taken: Mutex<Taken>,
    names: [Mutex<Names>; SHARDS],
    series: Mutex<Book>,
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
        let (mut told, mut told_over) = (None, BTreeMap::new());
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
                && self.out.send_own(vec![health(SourceName::Otlp, report.clone(), now)]).is_ok()
            {
                told = Some(report);
            }
            let over = self.series.lock().unwrap_or_else(PoisonError::into_inner).over(now);
            let news = news(&told_over, &over, now);
            if !news.is_empty() && self.out.send_own(news).is_ok() {
                for (tenant, of) in over.iter().filter(|(tenant, _)| !told_over.contains_key(*tenant)) {
                    let metric = &of.metric;
                    tracing::warn!(%tenant, %metric, "A tenant has its share of series; new ones are dropped");
                }
                told_over = over;
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

    /// A place for one request; `None` when there is none left, for all, for this sender or for its tenant.
    fn place(self: &Arc<Self>, peer: IpAddr, attribution: &Attribution) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = match attribution {
            Attribution::Sender(origin) => {
                let own = taken.by_peer.get(&peer).copied().unwrap_or(0);
                if own >= self.options.max_requests_per_sender {
                    return None;
                }
                taken.shares.take(&origin.tenant, 1).ok()?;
                Some(origin.tenant.clone())
            }
            // A forwarder speaks for many tenants.
            Attribution::Resource(_) => {
                taken.shares.take_own(1).ok()?;
                None
            }
        };
        *taken.by_peer.entry(peer).or_default() += 1;
        Some(Place { peer, owner, shared: Arc::clone(self) })
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
    /// Whose share it is in; `None` for a forwarder.
    owner: Option<Owner>,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.owner {
            Some(owner) => taken.shares.give_back(owner, 1),
            None => taken.shares.give_back_own(1),
        }
        if let Some(own) = taken.by_peer.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                taken.by_peer.remove(&self.peer);
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
        // What there is no room for anyway is not converted first. A forwarder has no share: its tenants have.
        if let Attribution::Sender(origin) = &self.attribution {
            shared.out.room(&origin.tenant).map_err(|refused| self.come_again(refused, body))?;
        }
        let now = shared.clock.now();
        let batch = {
            let cache = &shared.names[shard(self.peer)];
            let mut names = cache.lock().unwrap_or_else(PoisonError::into_inner);
            let limits = &shared.options.limits;
            convert(self.kind, body, &self.attribution, limits, &mut names, now)
        }
        .map_err(|garbage| {
            shared.counters.add(SourceName::Otlp, Fate::Malformed, 1);
            Status::invalid_argument(garbage.to_string())
        })?;
        let (mut observations, mut tally) = (batch.observations, batch.tally);
        if self.kind == Kind::Metrics {
            let mut series = shared.series.lock().unwrap_or_else(PoisonError::into_inner);
            let refused = series.sort_out(&mut observations, now);
            tally.turn_away(Fate::SeriesLimit, refused);
        }
        self.hand_on(observations, &mut tally).map_err(|refused| self.come_again(refused, body))?;
        shared.counters.merge(SourceName::Otlp, &tally);
        // Of what is refused as a whole nothing was heard.
        if tally.get(Fate::Accepted) > 0 {
            shared.silence.lock().unwrap_or_else(PoisonError::into_inner).note(self.kind, now);
        }
        Ok(response(self.kind, tally.lost(), tally.losses()))
    }

    /// Puts observations into the queue, each tenant's by themselves. What is refused of one tenant's while others' is taken
    /// is lost, and counted: OTLP has no way to ask for a part of a request again.
    ///
    /// # Errors
    /// [`Refused`] when nothing was taken though there was something; all of it can come again.
    fn hand_on(&self, observations: Vec<Observation>, tally: &mut Tally) -> Result<(), Refused> {
        let mut parts: BTreeMap<Owner, Vec<Observation>> = BTreeMap::new();
        match &self.attribution {
            Attribution::Sender(origin) => drop(parts.insert(origin.tenant.clone(), observations)),
            Attribution::Resource(_) => {
                for observation in observations {
                    parts.entry(observation.tenant.clone()).or_default().push(observation);
                }
            }
        }
        let (mut taken, mut last) = (false, None);
        for (owner, part) in parts {
            let items = part.len() as u64;
            if items == 0 {
                continue;
            }
            match self.shared.out.send(owner, part) {
                Ok(()) => taken = true,
                Err(refused) => {
                    tally.turn_away(fate(refused), items);
                    last = Some(refused);
                }
            }
        }
        last.filter(|_| !taken).map_or(Ok(()), Err)
    }

    /// Refuses the request as a whole and counts every record in it.
    fn come_again(&self, refused: Refused, body: &Bytes) -> Status {
        let records = match self.kind {
            Kind::Traces | Kind::Logs => count(body),
            Kind::Metrics => count_points(body),
        };
        self.shared.come_again(fate(refused), records.max(1), &refused.to_string())
    }
}

fn fate(refused: Refused) -> Fate {
    match refused {
        Refused::Share => Fate::OverShare,
        Refused::Full | Refused::Closed => Fate::QueueFull,
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
