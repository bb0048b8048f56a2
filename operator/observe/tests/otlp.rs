//! The OTLP receiver as its senders see it: real gRPC clients over loopback.
#![allow(clippy::expect_used, clippy::panic, reason = "a test's helper may end the test")]

mod common;

use bytes::Bytes;
use common::raw::{RawBytes, begins_and_never_ends};
use common::{FixedClock, NOW, Snapshots, cluster, pod};
use homeostat_knowledge::observation::{Change, ObjectChange, SourceState};
use homeostat_knowledge::{
    CallOutcome, Clock, Entity, Name, ObjectKey, Observation, Signal, Snapshot, SpanKind, Uid,
};
use homeostat_observe::{Counters, Fate, Inlet, OtlpOptions, OtlpSource, Source, SourceName, queue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status as SpanStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

struct Receiving {
    address: std::net::SocketAddr,
    channel: Channel,
    counters: Arc<Counters>,
    out: Inlet,
    _stop: DropGuard,
}

impl Receiving {
    async fn start(snapshot: Snapshot, options: OtlpOptions) -> Self {
        Self::with_queue(snapshot, options, 64).await
    }

    async fn with_queue(snapshot: Snapshot, options: OtlpOptions, capacity: usize) -> Self {
        // What the source says of itself later is not waited for here.
        let options = OtlpOptions { report_every: Duration::from_hours(1), ..options };
        Self::telling(snapshot, options, capacity).await
    }

    async fn telling(snapshot: Snapshot, options: OtlpOptions, capacity: usize) -> Self {
        let counters = Arc::new(Counters::default());
        let source = OtlpSource::bind(
            "127.0.0.1:0".parse().expect("an address"),
            options,
            Arc::new(Snapshots::new(snapshot)),
            Arc::new(FixedClock),
            Arc::clone(&counters),
        )
        .await
        .expect("a free port");
        let address = source.local_addr().expect("an address");
        let (sender, mut out) = queue(capacity);
        let stop = CancellationToken::new();
        tokio::spawn(source.run(sender, stop.clone()));
        let hello = out.recv().await.expect("the source says how it is");
        assert!(matches!(&hello[0].signal, Signal::Source(report) if report.state == SourceState::Healthy));
        assert_eq!(hello[0].entity, Entity::Source { name: Name::from("otlp") });
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("an address")
            .connect()
            .await
            .expect("a listening receiver");
        Self { address, channel, counters, out, _stop: stop.drop_guard() }
    }

    fn traces(&self) -> TraceServiceClient<Channel> {
        TraceServiceClient::new(self.channel.clone())
    }

    fn count(&self, fate: Fate) -> u64 {
        self.counters.get(SourceName::Otlp, fate)
    }

    async fn batch(&mut self) -> Vec<Observation> {
        self.out.recv().await.expect("a running receiver")
    }

    async fn raw(&self, body: Vec<u8>) -> Status {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.expect("a listening receiver");
        let path = http::uri::PathAndQuery::from_static(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        );
        grpc.unary(tonic::Request::new(body), path, RawBytes)
            .await
            .map(|_: tonic::Response<Bytes>| ())
            .expect_err("a refusal")
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn span(kind: i32, attributes: Vec<KeyValue>, error: bool) -> Span {
    let start = u64::try_from(NOW).expect("after 1970") * 1_000_000_000;
    Span {
        trace_id: vec![7; 16],
        span_id: vec![3; 8],
        parent_span_id: vec![2; 8],
        name: "GET".to_owned(),
        kind,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 250_000_000,
        attributes,
        status: Some(SpanStatus { message: String::new(), code: if error { 2 } else { 0 } }),
        ..Span::default()
    }
}

fn traces(resource: Vec<KeyValue>, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

fn calls() -> Vec<Span> {
    vec![
        span(
            2,
            vec![
                text("http.route", "/orders/{id}"),
                attribute("http.response.status_code", Value::IntValue(503)),
            ],
            true,
        ),
        span(3, vec![text("server.address", "kitchen"), text("error.type", "timeout")], true),
        span(1, vec![], false),
    ]
}

#[tokio::test]
async fn spans_arrive_as_calls_of_the_pod_that_sent_them() {
    let mut receiver = Receiving::start(cluster(Some("127.0.0.1")), OtlpOptions::default()).await;
    let answer = receiver.traces().export(traces(vec![], calls())).await.expect("accepted");
    assert_eq!(answer.into_inner().partial_success, None);
    let batch = receiver.batch().await;
    assert_eq!(batch.len(), 2);
    for observation in &batch {
        let workload = Some(ObjectKey::new("shop", "order"));
        let (key, uid) = (ObjectKey::new("shop", "order-1"), Uid::new("uid-order-1"));
        assert_eq!(observation.entity, Entity::Pod { key, uid, workload });
        assert_eq!(observation.tenant.as_ref().map(|tenant| &*tenant.0), Some("food"));
        assert_eq!(observation.event_time.as_millisecond(), NOW * 1000 + 250);
        assert_eq!(observation.arrival_time.as_second(), NOW);
    }
    let Signal::Span(server) = &batch[0].signal else { panic!("not a span") };
    assert_eq!((server.kind, server.outcome), (SpanKind::Server, CallOutcome::ServerError));
    assert_eq!((&*server.operation, &server.peer), ("/orders/{id}", &None));
    assert_eq!(server.trace, u128::from_be_bytes([7; 16]));
    assert_eq!((server.id, server.parent), (u64::from_be_bytes([3; 8]), u64::from_be_bytes([2; 8])));
    assert!((server.seconds() - 0.25).abs() < 1e-9);
    let Signal::Span(client) = &batch[1].signal else { panic!("not a span") };
    assert_eq!((client.kind, client.outcome), (SpanKind::Client, CallOutcome::Timeout));
    assert_eq!((&*client.operation, client.peer.as_deref()), ("GET", Some("kitchen")));
    assert_eq!((receiver.count(Fate::Accepted), receiver.count(Fate::Ignored)), (2, 1));
}

#[tokio::test]
async fn logs_and_metrics_arrive_and_what_is_not_finite_is_told() {
    let mut receiver = Receiving::start(cluster(Some("127.0.0.1")), OtlpOptions::default()).await;
    let record = LogRecord {
        severity_number: 17,
        body: Some(AnyValue { value: Some(Value::StringValue("ä".repeat(5_000))) }),
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    };
    LogsServiceClient::new(receiver.channel.clone()).export(request).await.expect("accepted");
    let batch = receiver.batch().await;
    let Signal::Log(log) = &batch[0].signal else { panic!("not a log record") };
    assert_eq!((log.severity, log.body.len(), log.trace), (17, 2048, 0));
    assert_eq!(batch[0].event_time.as_second(), NOW, "without a time of its own it gets the arrival's");

    let point = |value| NumberDataPoint {
        attributes: vec![text("zone", "b"), text("route", "/orders")],
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let metric = |name: &str, data| Metric { name: name.to_owned(), data: Some(data), ..Metric::default() };
    let gauge = |value| Data::Gauge(Gauge { data_points: vec![point(value)] });
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![
                    metric("queue_depth", gauge(Number::AsInt(12))),
                    metric("ratio", gauge(Number::AsDouble(f64::NAN))),
                    metric(
                        "requests",
                        Data::Sum(Sum {
                            data_points: vec![point(Number::AsDouble(40.0))],
                            aggregation_temporality: 2,
                            is_monotonic: true,
                        }),
                    ),
                    metric(
                        "delta",
                        Data::Sum(Sum {
                            data_points: vec![point(Number::AsDouble(1.0))],
                            aggregation_temporality: 1,
                            is_monotonic: true,
                        }),
                    ),
                    metric(
                        "duration",
                        Data::Histogram(Histogram {
                            data_points: vec![HistogramDataPoint {
                                count: 3,
                                sum: Some(1.5),
                                ..HistogramDataPoint::default()
                            }],
                            aggregation_temporality: 2,
                        }),
                    ),
                ],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    let answer = MetricsServiceClient::new(receiver.channel.clone()).export(request).await.expect("accepted");
    let partial = answer.into_inner().partial_success.expect("two points were not taken");
    assert_eq!(partial.rejected_data_points, 2);
    assert_eq!(partial.error_message, "1 non_finite, 1 delta_temporality");
    let samples: Vec<(String, String, String, bool)> = receiver
        .batch()
        .await
        .iter()
        .map(|observation| match &observation.signal {
            Signal::Sample(sample) => {
                let value = sample.value.to_string();
                (sample.metric.to_string(), sample.series.to_string(), value, sample.counter)
            }
            other => panic!("not a sample: {other:?}"),
        })
        .collect();
    let series = "route=/orders,zone=b";
    let expected = [
        ("queue_depth", series, "12", false),
        // Told to its sender as not taken, and handed on for what it is.
        ("ratio", series, "NaN", false),
        ("requests", series, "40", true),
        ("duration_count", "", "3", true),
        ("duration_sum", "", "1.5", true),
    ]
    .map(|(metric, series, value, counter)| {
        (metric.to_owned(), series.to_owned(), value.to_owned(), counter)
    });
    assert_eq!(samples, expected);
}

#[tokio::test]
async fn gzip_is_accepted() {
    let mut receiver = Receiving::start(cluster(Some("127.0.0.1")), OtlpOptions::default()).await;
    let mut client = receiver.traces().send_compressed(CompressionEncoding::Gzip);
    client.export(traces(vec![], calls())).await.expect("accepted");
    assert_eq!(receiver.batch().await.len(), 2);
}

#[tokio::test]
async fn garbage_is_an_invalid_argument_and_counted() {
    let receiver = Receiving::start(cluster(Some("127.0.0.1")), OtlpOptions::default()).await;
    // Not protocol buffers; a broken envelope; a whole envelope around an item that is none.
    for (sent, body) in [vec![0xFF; 64], vec![0x0A, 0x7F, 0x01], vec![0x0A, 5, 0x12, 3, 0x12, 1, 0x08]]
        .into_iter()
        .enumerate()
    {
        assert_eq!(receiver.raw(body).await.code(), Code::InvalidArgument, "body {sent}");
        assert_eq!(receiver.count(Fate::Malformed), sent as u64 + 1);
    }
    // An empty envelope is a valid request.
    receiver.traces().export(ExportTraceServiceRequest::default()).await.expect("accepted");
}

#[tokio::test]
async fn a_request_above_the_limit_is_refused_before_and_after_decompression() {
    let options = OtlpOptions { max_message_bytes: 20_000, ..OtlpOptions::default() };
    let receiver = Receiving::start(cluster(Some("127.0.0.1")), options).await;
    let request = traces(vec![], vec![span(2, vec![text("http.route", &"x".repeat(50_000))], false)]);
    let status = receiver.traces().export(request.clone()).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("20000 bytes"), "{}", status.message());
    // 50,000 times the same letter compresses to less than the limit.
    let mut client = receiver.traces().send_compressed(CompressionEncoding::Gzip);
    assert_eq!(client.export(request).await.expect_err("a refusal").code(), Code::ResourceExhausted);
    assert_eq!(receiver.count(Fate::TooLarge), 2);
}

#[tokio::test]
async fn a_full_queue_tells_the_sender_to_come_again() {
    let mut receiver = Receiving::with_queue(cluster(Some("127.0.0.1")), OtlpOptions::default(), 1).await;
    let mut client = receiver.traces();
    client.export(traces(vec![], calls())).await.expect("the first fits");
    let status = client.export(traces(vec![], calls())).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::Unavailable);
    let retry = status.get_details_retry_info().expect("a retry hint");
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()));
    assert_eq!(receiver.count(Fate::QueueFull), 3, "each item is counted");
    receiver.batch().await;
    client.export(traces(vec![], calls())).await.expect("there is room again");
}

#[tokio::test]
async fn too_many_requests_at_one_time_are_told_to_come_again() {
    let options = OtlpOptions { max_concurrent_requests: 0, ..OtlpOptions::default() };
    let receiver = Receiving::start(cluster(Some("127.0.0.1")), options).await;
    let status = receiver.traces().export(traces(vec![], calls())).await.expect_err("a refusal");
    assert_eq!((status.code(), receiver.count(Fate::TooManyRequests)), (Code::Unavailable, 1));
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test]
async fn who_sends_slowly_has_a_few_places_and_gives_them_back() {
    let options = OtlpOptions { max_requests_per_sender: 1, ..OtlpOptions::default() };
    let receiver = Receiving::start(cluster(Some("127.0.0.1")), options).await;
    let slow = tokio::spawn(begins_and_never_ends(receiver.channel.clone()));
    let answers_with = async |code: Code| {
        for _ in 0..1_000 {
            if receiver.raw(vec![0xff]).await.code() == code {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        false
    };
    assert!(answers_with(Code::Unavailable).await, "its place is taken");
    assert!(receiver.count(Fate::TooManyRequests) > 0);
    slow.abort();
    assert!(answers_with(Code::InvalidArgument).await, "read and understood, and found to be garbage");
}

/// Another tenant's pod opens streams and resets them (CVE-2023-44487), on as many connections as that takes.
async fn resets(at: std::net::SocketAddr, done: Arc<AtomicUsize>) {
    let endpoint = Channel::from_shared(format!("http://{at}")).expect("an address");
    let endpoint = endpoint.local_address(Some("127.0.0.2".parse().expect("an address")));
    loop {
        let Ok(channel) = endpoint.connect().await else { continue };
        for _ in 0..100 {
            let begun = begins_and_never_ends(channel.clone());
            // Dropped after a few steps, some before their first byte and some after it.
            if tokio::time::timeout(Duration::from_millis(1), begun).await.is_ok() {
                break; // Closed or refused: once more from the start.
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn streams_that_are_reset_again_and_again_are_at_their_senders_own_cost() {
    let snapshot = cluster(Some("127.0.0.1"));
    let rival = ObjectChange::Pod(Change::Applied(Arc::new(pod("elsewhere", "rival-1", Some("127.0.0.2")))));
    let snapshot = snapshot.apply(&rival, FixedClock.now());
    let receiver = Receiving::with_queue(snapshot, OtlpOptions::default(), 1_000).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut floods = JoinSet::new();
    for _ in 0..20 {
        floods.spawn(resets(receiver.address, done.clone()));
    }
    for good in 1..=200 {
        receiver.traces().export(traces(vec![], calls())).await.expect("a good sender's spans are taken");
        while done.load(Ordering::Relaxed) < 20 * good {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    floods.shutdown().await;
    // Nobody keeps a place: not the good ones', and the other's own are free again.
    let endpoint = Channel::from_shared(format!("http://{}", receiver.address)).expect("an address");
    let endpoint = endpoint.local_address(Some("127.0.0.2".parse().expect("an address")));
    let channel = endpoint.connect().await.expect("a listening receiver");
    for _ in 0..1_000 {
        let answer = TraceServiceClient::new(channel.clone()).export(traces(vec![], calls())).await;
        match answer {
            Err(status) if status.code() == Code::Unavailable => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => {
                answer.expect("its spans are taken");
                return;
            }
        }
    }
    panic!("the places of streams that were reset are not given back");
}

#[tokio::test]
async fn unknown_senders_are_refused_and_before_the_first_list_told_to_come_again() {
    let receiver = Receiving::start(cluster(Some("10.1.1.1")), OtlpOptions::default()).await;
    let status = receiver.traces().export(traces(vec![], calls())).await.expect_err("a refusal");
    assert_eq!((status.code(), receiver.count(Fate::UnknownSender)), (Code::PermissionDenied, 1));
    assert!(status.message().contains("127.0.0.1"), "{}", status.message());

    let receiver = Receiving::start(Snapshot::default(), OtlpOptions::default()).await;
    let status = receiver.traces().export(traces(vec![], calls())).await.expect_err("a refusal");
    assert_eq!((status.code(), receiver.count(Fate::NotReady)), (Code::Unavailable, 1));
}

#[tokio::test]
async fn what_the_payload_says_of_itself_does_not_count() {
    let mut receiver = Receiving::start(cluster(Some("127.0.0.1")), OtlpOptions::default()).await;
    let claim = vec![
        text("k8s.namespace.name", "elsewhere"),
        text("k8s.pod.name", "rival-1"),
        text("k8s.pod.uid", "uid-rival-1"),
        text("tenant", "other"),
    ];
    receiver.traces().export(traces(claim, calls())).await.expect("accepted");
    for observation in receiver.batch().await {
        assert_eq!(observation.tenant.as_ref().map(|tenant| &*tenant.0), Some("food"));
        assert_eq!(observation.entity.namespace(), Some("shop"));
    }
}

#[tokio::test]
async fn a_trusted_forwarder_speaks_for_pods_that_exist() {
    let options = OtlpOptions {
        trusted_forwarders: vec!["127.0.0.0/8".parse().expect("a network")],
        ..OtlpOptions::default()
    };
    let mut receiver = Receiving::start(cluster(None), options).await;
    let by = |name: &str, uid: &str| {
        vec![text("k8s.namespace.name", "elsewhere"), text("k8s.pod.name", name), text("k8s.pod.uid", uid)]
    };
    receiver.traces().export(traces(by("rival-1", "uid-rival-1"), calls())).await.expect("accepted");
    assert_eq!(receiver.batch().await[0].entity.name(), "rival-1");
    for (name, uid) in [("nobody", "uid-nobody"), ("rival-1", "uid-of-an-older-pod")] {
        let answer = receiver.traces().export(traces(by(name, uid), calls())).await.expect("answered");
        let partial = answer.into_inner().partial_success.expect("nothing was taken");
        assert_eq!((partial.rejected_spans, &*partial.error_message), (3, "3 unknown_resource"));
    }
    assert_eq!(receiver.count(Fate::UnknownResource), 6);
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let receiver = Receiving::start(cluster(Some("127.0.0.1")), OtlpOptions::default()).await;
    let mut grpc = tonic::client::Grpc::new(receiver.channel.clone());
    grpc.ready().await.expect("a listening receiver");
    let path =
        http::uri::PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Other");
    let answer: Result<tonic::Response<Bytes>, Status> =
        grpc.unary(tonic::Request::new(Vec::new()), path, RawBytes).await;
    assert_eq!(answer.expect_err("a refusal").code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_taken_address_is_told_with_what_to_do() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("an address");
    let result = OtlpSource::bind(
        address,
        OtlpOptions::default(),
        Arc::new(Snapshots::default()),
        Arc::new(FixedClock),
        Arc::default(),
    )
    .await;
    let message = result.err().expect("the port is taken").to_string();
    assert!(
        message.contains(&address.to_string()) && message.contains("choose another address"),
        "{message}"
    );
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_counted() {
    let options = OtlpOptions { max_connections: 1, ..OtlpOptions::default() };
    let mut receiver = Receiving::start(cluster(Some("127.0.0.1")), options).await;
    let mut second = tokio::net::TcpStream::connect(receiver.address).await.expect("the kernel accepts it");
    let mut byte = [0];
    // Closed: nothing more to read, or reset.
    let read = tokio::io::AsyncReadExt::read(&mut second, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)));
    assert_eq!(receiver.count(Fate::TooManyConnections), 1);
    receiver.traces().export(traces(vec![], calls())).await.expect("the first connection goes on");
    assert_eq!(receiver.batch().await.len(), 2);
}

#[tokio::test]
async fn one_sender_does_not_take_the_connections_of_others_and_a_forwarder_may() {
    for (forwarder, refused) in [(false, 1), (true, 0)] {
        let trusted = if forwarder { vec!["127.0.0.0/8".parse().expect("a network")] } else { Vec::new() };
        let options = OtlpOptions {
            max_connections_per_sender: 2,
            trusted_forwarders: trusted,
            ..OtlpOptions::default()
        };
        // The first connection is that of the client.
        let receiver = Receiving::start(cluster(Some("127.0.0.1")), options).await;
        let connect = || tokio::net::TcpStream::connect(receiver.address);
        let second = connect().await.expect("the kernel accepts it");
        let mut third = connect().await.expect("the kernel accepts it");
        if refused > 0 {
            let read = tokio::io::AsyncReadExt::read(&mut third, &mut [0]).await;
            assert!(matches!(read, Ok(0) | Err(_)), "closed at once");
            // Places come back: the receiver says its settings to who is let in.
            drop((second, third));
            let comes_in = async {
                loop {
                    let mut again = connect().await.expect("the kernel accepts it");
                    let mut byte = [0];
                    if let Ok(1..) = tokio::io::AsyncReadExt::read(&mut again, &mut byte).await {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), comes_in).await.expect("places come back");
        }
        assert_eq!(receiver.count(Fate::TooManyConnections) > 0, refused > 0);
    }
}

#[tokio::test]
async fn what_was_taken_since_the_start_is_told_again_and_again() {
    let options = OtlpOptions { report_every: Duration::from_millis(20), ..OtlpOptions::default() };
    let mut receiver = Receiving::telling(cluster(Some("127.0.0.1")), options, 64).await;
    receiver.traces().export(traces(vec![], calls())).await.expect("accepted");
    let taken = receiver.count(Fate::Accepted);
    assert!(taken > 0);
    loop {
        if let Signal::Source(report) = &receiver.batch().await[0].signal
            && report.accepted == taken
        {
            assert_eq!(report.state, SourceState::Healthy);
            return;
        }
    }
}
