//! Two tenants on one receiver: what one sends too much is not the other's trouble. Real gRPC clients over loopback, each
//! from its own address; the loop's end of the queue is driven by hand.
#![allow(clippy::expect_used, clippy::panic, reason = "a test's helper may end the test")]

mod common;

use common::raw::{RawBytes, begins_and_never_ends};
use common::{FixedClock, NOW, Snapshots, cluster, pod};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::{Clock, Observation, Signal};
use homeostat_observe::{Counters, Fate, Inlet, OtlpOptions, OtlpSource, Source, SourceName, queue};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A pod of tenant `food`, and one of tenant `other`.
const QUIET: &str = "127.0.0.1";
const LOUD: &str = "127.0.0.2";

struct Receiving {
    address: std::net::SocketAddr,
    counters: Arc<Counters>,
    out: Inlet,
    _stop: DropGuard,
}

impl Receiving {
    /// With so many places in the queue.
    async fn start(places: usize, options: OtlpOptions) -> Self {
        let loud = ObjectChange::Pod(Change::Applied(Arc::new(pod("elsewhere", "rival-1", Some(LOUD)))));
        let snapshot = cluster(Some(QUIET)).apply(&loud, FixedClock.now());
        let counters = Arc::new(Counters::default());
        let any = "127.0.0.1:0".parse().expect("an address");
        let (snapshots, clock) = (Arc::new(Snapshots::new(snapshot)), Arc::new(FixedClock));
        let source = OtlpSource::bind(any, options, snapshots, clock, Arc::clone(&counters)).await;
        let source = source.expect("a free port");
        let address = source.local_addr().expect("an address");
        let (outlet, mut out) = queue(places);
        let stop = CancellationToken::new();
        tokio::spawn(source.run(outlet, stop.clone()));
        out.recv().await.expect("the source says how it is");
        Self { address, counters, out, _stop: stop.drop_guard() }
    }

    async fn connect(&self, pod: &str) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        let endpoint = endpoint.local_address(Some(pod.parse().expect("an address")));
        endpoint.connect().await.expect("a listening receiver")
    }

    fn count(&self, fate: Fate) -> u64 {
        self.counters.get(SourceName::Otlp, fate)
    }

    /// What the loop takes of what waits: at most so many batches.
    fn take(&mut self, batches: usize, taken: &mut BTreeMap<String, u64>) {
        for batch in std::iter::from_fn(|| self.out.try_recv()).take(batches) {
            for observation in batch {
                let tenant = observation.tenant.expect("each pod here belongs to a tenant");
                *taken.entry(tenant.0.to_string()).or_default() += 1;
            }
        }
    }
}

fn options() -> OtlpOptions {
    // What the source says of itself is not waited for here.
    OtlpOptions { report_every: Duration::from_hours(1), ..OtlpOptions::default() }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn resource_spans(pod: Option<(&str, &str)>, number: usize) -> ResourceSpans {
    let start = u64::try_from(NOW).expect("after 1970") * 1_000_000_000;
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![3; 8],
        name: "GET".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 250_000_000,
        ..Span::default()
    };
    let attributes = pod.map(|(namespace, name)| {
        vec![attribute("k8s.namespace.name", namespace), attribute("k8s.pod.name", name)]
    });
    ResourceSpans {
        resource: attributes.map(|attributes| Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span; number], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn calls(number: usize) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest { resource_spans: vec![resource_spans(None, number)] }
}

fn metrics(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn gauge(name: &str, labels: impl Iterator<Item = String>) -> Metric {
    let data_points = labels.map(|label| NumberDataPoint {
        attributes: vec![attribute("label", &label)],
        value: Some(Number::AsDouble(1.0)),
        ..NumberDataPoint::default()
    });
    let data = Some(Data::Gauge(Gauge { data_points: data_points.collect() }));
    Metric { name: name.to_owned(), data, ..Metric::default() }
}

fn told_to_come_again(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let retry = status.get_details_retry_info().expect("a retry hint");
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()));
}

#[tokio::test]
async fn ten_times_the_load_of_one_tenant_is_refused_to_the_last_record_and_takes_nothing_from_another() {
    let mut receiver = Receiving::start(64, options()).await;
    let mut loud = TraceServiceClient::new(receiver.connect(LOUD).await);
    let mut quiet = TraceServiceClient::new(receiver.connect(QUIET).await);
    let (mut sent, mut refused, mut own) = (0, 0, 0);
    let mut taken = BTreeMap::new();
    for step in 0..200 {
        for _ in 0..10 {
            sent += 50;
            match loud.export(calls(50)).await {
                Ok(answer) => assert_eq!(answer.into_inner().partial_success, None),
                Err(status) => {
                    told_to_come_again(&status);
                    assert!(status.message().contains("this tenant's"), "{}", status.message());
                    refused += 50;
                }
            }
        }
        own += 50;
        let answer = quiet.export(calls(50)).await.unwrap_or_else(|status| panic!("step {step}: {status:?}"));
        assert_eq!(answer.into_inner().partial_success, None);
        // Eleven batches come, and four are taken.
        receiver.take(4, &mut taken);
    }
    receiver.take(usize::MAX, &mut taken);
    assert!(refused > sent / 2, "most is too much: {refused} of {sent}");
    assert_eq!(receiver.count(Fate::OverShare), refused, "each refused record is counted, once for each try");
    assert_eq!((receiver.count(Fate::QueueFull), receiver.count(Fate::TooManyRequests)), (0, 0));
    assert_eq!(taken, BTreeMap::from([("food".to_owned(), own), ("other".to_owned(), sent - refused)]));
    assert_eq!(receiver.count(Fate::Accepted), own + sent - refused);
    // When the loop is not behind any more, there is room again.
    loud.export(calls(50)).await.expect("taken");
}

#[tokio::test]
async fn of_what_a_forwarder_brings_only_the_loud_tenants_part_is_lost_and_counted() {
    let forwarders = vec!["127.0.0.0/8".parse().expect("a network")];
    let mut receiver = Receiving::start(4, OtlpOptions { trusted_forwarders: forwarders, ..options() }).await;
    let mut forwarder = TraceServiceClient::new(receiver.connect(QUIET).await);
    let of_loud = |number| resource_spans(Some(("elsewhere", "rival-1")), number);
    let of_quiet = |number| resource_spans(Some(("shop", "order-1")), number);
    let request = |resource_spans| ExportTraceServiceRequest { resource_spans };
    for number in [7, 6] {
        let answer =
            forwarder.export(request(vec![of_loud(number)])).await.expect("half of the queue is its");
        assert_eq!(answer.into_inner().partial_success, None);
    }
    let status = forwarder.export(request(vec![of_loud(5)])).await.expect_err("which it has now");
    told_to_come_again(&status);
    assert_eq!(receiver.count(Fate::OverShare), 5);
    let answer = forwarder.export(request(vec![of_loud(4), of_quiet(3)])).await.expect("in part");
    let partial = answer.into_inner().partial_success.expect("the loud one's were not taken");
    assert_eq!((partial.rejected_spans, &*partial.error_message), (4, "4 over_share"));
    assert_eq!((receiver.count(Fate::OverShare), receiver.count(Fate::Accepted)), (9, 16));
    let mut taken = BTreeMap::new();
    receiver.take(usize::MAX, &mut taken);
    assert_eq!(taken, BTreeMap::from([("food".to_owned(), 3), ("other".to_owned(), 13)]));
}

#[tokio::test]
async fn each_point_of_metrics_that_are_refused_is_counted() {
    let receiver = Receiving::start(1, options()).await;
    let mut quiet = MetricsServiceClient::new(receiver.connect(QUIET).await);
    let labels = |number: usize| (0..number).map(|label| label.to_string());
    quiet.export(metrics(vec![gauge("depth", labels(1))])).await.expect("the first fits");
    let histogram = Histogram { data_points: vec![HistogramDataPoint::default(); 3], ..Histogram::default() };
    let sum = Sum { data_points: vec![NumberDataPoint::default(); 2], ..Sum::default() };
    let named = |data| Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() };
    let request = vec![gauge("depth", labels(5)), named(Data::Histogram(histogram)), named(Data::Sum(sum))];
    let status = quiet.export(metrics(request)).await.expect_err("the queue is full");
    told_to_come_again(&status);
    assert_eq!(receiver.count(Fate::QueueFull), 10);
}

#[tokio::test]
async fn requests_that_a_tenant_sends_slowly_leave_places_for_others() {
    let receiver = Receiving::start(64, OtlpOptions { max_concurrent_requests: 4, ..options() }).await;
    let channel = receiver.connect(LOUD).await;
    let mut slow: JoinSet<()> = JoinSet::new();
    for _ in 0..4 {
        let channel = channel.clone();
        slow.spawn(async move {
            // Who finds no place tries again.
            loop {
                begins_and_never_ends(channel.clone()).await;
            }
        });
    }
    // Until its share of the places is taken.
    let refused = async {
        loop {
            let mut grpc = tonic::client::Grpc::new(channel.clone());
            grpc.ready().await.expect("a listening receiver");
            let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
            let path = http::uri::PathAndQuery::from_static(path);
            let answer: Result<tonic::Response<bytes::Bytes>, Status> =
                grpc.unary(tonic::Request::new(vec![0xff]), path, RawBytes).await;
            let status = answer.expect_err("garbage");
            if status.code() == Code::Unavailable {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(20), refused).await.expect("it happens in time");
    told_to_come_again(&status);
    let mut quiet = TraceServiceClient::new(receiver.connect(QUIET).await);
    quiet.export(calls(1)).await.expect("there is a place for another tenant");
    slow.shutdown().await;
}

#[tokio::test]
async fn a_flood_of_series_is_dropped_counted_and_told_by_its_name_and_others_series_are_taken() {
    let options = OtlpOptions { series: 100, report_every: Duration::from_millis(20), ..options() };
    let mut receiver = Receiving::start(64, options).await;
    let mut loud = MetricsServiceClient::new(receiver.connect(LOUD).await);
    let mut quiet = MetricsServiceClient::new(receiver.connect(QUIET).await);
    let depth = || gauge("depth", ["a".to_owned(), "b".to_owned()].into_iter());
    loud.export(metrics(vec![depth()])).await.expect("taken");
    let flood = (0..500).map(|order| format!("order-{order}"));
    let request = metrics(vec![gauge("orders_by_number", flood), depth()]);
    let answer = loud.export(request).await.expect("taken in part");
    let partial = answer.into_inner().partial_success.expect("most is too much");
    // Half of all series, of which it had two already.
    assert_eq!((partial.rejected_data_points, &*partial.error_message), (452, "452 series_limit"));
    assert_eq!(receiver.count(Fate::SeriesLimit), 452);
    let answer = quiet.export(metrics(vec![depth()])).await.expect("taken");
    assert_eq!(answer.into_inner().partial_success, None);
    let (mut told, mut of_quiet) = (None, 0);
    while told.is_none() || of_quiet < 2 {
        for observation in receiver.out.recv().await.expect("a running receiver") {
            let Observation { tenant, signal, .. } = observation;
            let tenant = tenant.map(|tenant| tenant.0.to_string());
            match signal {
                Signal::Series(report) => told = Some((tenant, report.dropped.expect("what is dropped"))),
                Signal::Sample(_) if tenant.as_deref() == Some("food") => of_quiet += 1,
                _ => {}
            }
        }
    }
    let (tenant, dropped) = told.expect("told");
    assert_eq!((tenant.as_deref(), &*dropped.metric), (Some("other"), "orders_by_number"));
}
