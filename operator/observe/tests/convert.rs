//! Conversion for any input: never panics, all values finite, all texts and lists bounded.
#![allow(clippy::expect_used, clippy::panic, reason = "a test's helper may end the test")]

mod common;

use common::{FixedClock, cluster};
use homeostat_knowledge::{Clock, Entity, Signal};
use homeostat_observe::Fate;
use homeostat_observe::sources::names::{Names, SERIES_BYTES};
use homeostat_observe::sources::otlp::convert::{
    AHEAD, BODY_BYTES, Batch, Kind, Limits, METRIC_BYTES, OPERATION_BYTES, PEER_BYTES, convert,
};
use homeostat_observe::sources::otlp::envelope::{Garbage, count};
use homeostat_observe::sources::otlp::sender::{Attribution, identify};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use std::sync::Arc;

fn sender() -> Attribution {
    let snapshot = Arc::new(cluster(Some("10.0.0.1")));
    identify(&snapshot, "10.0.0.1".parse().expect("an address"), &[]).expect("a known sender")
}

fn run(kind: Kind, body: &[u8], limits: Limits) -> Result<Batch, Garbage> {
    convert(kind, body, &sender(), &limits, &mut Names::new(64), FixedClock.now())
}

fn check(batch: &Batch, limits: &Limits) {
    assert!(batch.observations.len() <= limits.items);
    assert_eq!(batch.tally.get(Fate::Accepted), batch.observations.len() as u64);
    let latest = FixedClock.now() + AHEAD;
    let mut no_numbers = 0;
    for observation in &batch.observations {
        assert!(observation.event_time <= latest);
        match &observation.signal {
            Signal::Span(span) => {
                assert!(span.operation.len() <= OPERATION_BYTES);
                assert!(span.peer.as_ref().is_none_or(|peer| peer.len() <= PEER_BYTES));
                assert!(span.seconds() >= 0.0 && span.trace != 0 && span.id != 0);
                assert!(span.end <= latest, "nothing is told of what has not been");
            }
            Signal::Log(log) => assert!(log.body.len() <= BODY_BYTES && log.severity <= 24),
            Signal::Sample(sample) => {
                no_numbers += u64::from(!sample.value.is_finite());
                assert!(sample.metric.len() <= METRIC_BYTES && sample.series.len() <= SERIES_BYTES);
            }
            other => panic!("OTLP gives no {other:?}"),
        }
    }
    assert!(no_numbers <= batch.tally.get(Fate::NonFinite), "each is told to its sender");
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        ".{0,300}".prop_map(Value::StringValue),
        any::<i64>().prop_map(Value::IntValue),
        any::<f64>().prop_map(Value::DoubleValue),
        any::<bool>().prop_map(Value::BoolValue),
        vec(any::<u8>(), 0..20).prop_map(Value::BytesValue),
    ]
    .prop_map(|value| AnyValue { value: Some(value) });
    leaf.prop_recursive(12, 60, 5, |inner| {
        vec(inner, 0..5).prop_map(|values| AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![
        Just("http.route".to_owned()),
        Just("rpc.method".to_owned()),
        Just("server.address".to_owned()),
        Just("error.type".to_owned()),
        Just("http.response.status_code".to_owned()),
        Just("rpc.response.status_code".to_owned()),
        ".{0,40}",
    ];
    vec((key, proptest::option::of(value())), 0..8).prop_map(|pairs| {
        pairs.into_iter().map(|(key, value)| KeyValue { key, value, ..KeyValue::default() }).collect()
    })
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (vec(any::<u8>(), 0..20), vec(any::<u8>(), 8..9), vec(any::<u8>(), 0..9));
    (ids, ".{0,300}", any::<(i32, u64, u64, i32)>(), attributes(), ".{0,40}", 0..7_i32).prop_map(
        |((trace_id, span_id, parent_span_id), name, (_, start, end, code), attributes, message, kind)| {
            Span {
                trace_id,
                span_id,
                parent_span_id,
                name,
                kind,
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                attributes,
                status: Some(Status { message, code }),
                ..Span::default()
            }
        },
    )
}

fn number() -> impl Strategy<Value = NumberDataPoint> {
    let value = prop_oneof![
        any::<f64>().prop_map(Number::AsDouble),
        any::<i64>().prop_map(Number::AsInt),
        Just(Number::AsDouble(f64::NAN)),
        Just(Number::AsDouble(f64::NEG_INFINITY)),
    ];
    (proptest::option::of(value), attributes(), any::<u64>(), 0..3_u32).prop_map(
        |(value, attributes, time_unix_nano, flags)| NumberDataPoint {
            value,
            attributes,
            time_unix_nano,
            flags,
            ..NumberDataPoint::default()
        },
    )
}

fn metric() -> impl Strategy<Value = Metric> {
    let data = prop_oneof![
        vec(number(), 0..6).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number(), 0..6), 0..3_i32, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| Data::Sum(Sum {
                data_points,
                aggregation_temporality,
                is_monotonic
            })
        ),
        vec((any::<u64>(), proptest::option::of(any::<f64>()), attributes()), 0..6).prop_map(|points| {
            let data_points = points
                .into_iter()
                .map(|(count, sum, attributes)| HistogramDataPoint {
                    count,
                    sum,
                    attributes,
                    ..HistogramDataPoint::default()
                })
                .collect();
            Data::Histogram(Histogram { data_points, aggregation_temporality: 2 })
        }),
    ];
    (".{0,400}", proptest::option::of(data)).prop_map(|(name, data)| Metric {
        name,
        data,
        ..Metric::default()
    })
}

fn spans_request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
    .encode_to_vec()
}

fn metrics_request(metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
    .encode_to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_converted_or_refused(body in vec(any::<u8>(), 0..300)) {
        for kind in [Kind::Traces, Kind::Metrics, Kind::Logs] {
            if let Ok(batch) = run(kind, &body, Limits::default()) {
                check(&batch, &Limits::default());
            }
        }
    }

    #[test]
    fn any_spans_are_bounded_and_each_has_a_fate(spans in vec(span(), 0..12)) {
        let (limits, sent) = (Limits { items: 5, ..Limits::default() }, spans.len() as u64);
        let body = spans_request(spans);
        let batch = run(Kind::Traces, &body, limits).expect("a valid request");
        check(&batch, &limits);
        let fates: u64 = Fate::ALL.into_iter().map(|fate| batch.tally.get(fate)).sum();
        prop_assert_eq!((fates, count(&body)), (sent, sent));
    }

    #[test]
    fn any_metrics_are_bounded_and_what_is_no_number_is_counted(metrics in vec(metric(), 0..6)) {
        let limits = Limits { items: 9, series: 4, ..Limits::default() };
        check(&run(Kind::Metrics, &metrics_request(metrics), limits).expect("a valid request"), &limits);
    }

    #[test]
    fn any_log_is_bounded(body in proptest::option::of(value()), severity_number in any::<i32>()) {
        let log_records = vec![LogRecord { body, severity_number, ..LogRecord::default() }];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        };
        let batch = run(Kind::Logs, &request.encode_to_vec(), Limits::default()).expect("a valid request");
        check(&batch, &Limits::default());
        prop_assert_eq!(batch.observations.len(), 1);
    }

    #[test]
    fn a_cut_request_is_garbage_or_shorter_but_never_more(spans in vec(span(), 1..6), keep in 0.0..1.0_f64) {
        let body = spans_request(spans);
        let whole = run(Kind::Traces, &body, Limits::default()).expect("a valid request");
        let cut = &body[..(body.len() as f64 * keep) as usize];
        if let Ok(part) = run(Kind::Traces, cut, Limits::default()) {
            prop_assert!(part.observations.len() <= whole.observations.len());
        }
    }
}

#[test]
fn a_cheap_item_does_not_become_an_expensive_one() {
    // Two bytes each: decoded as a whole this would be hundreds of megabytes of empty spans.
    let item = [0x12, 0x00].repeat(200_000);
    let wrap = |tag: u8, content: &[u8]| {
        let mut message = vec![tag];
        prost::encode_length_delimiter(content.len(), &mut message).expect("room");
        message.extend_from_slice(content);
        message
    };
    let batch = run(Kind::Traces, &wrap(0x0A, &wrap(0x12, &item)), Limits::default()).expect("valid bytes");
    assert_eq!((batch.observations.len(), batch.tally.get(Fate::Ignored)), (0, 200_000));
}

#[test]
fn what_a_resource_says_beside_its_pod_is_not_made_into_structures() {
    // Two bytes each: decoded as a whole they would be hundreds of megabytes of empty references and attributes.
    let wrap = |tag: u8, content: &[u8]| {
        let mut message = vec![tag];
        prost::encode_length_delimiter(content.len(), &mut message).expect("room");
        message.extend_from_slice(content);
        message
    };
    let named = |key: &str, text: &str| {
        let value = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
        let attribute = KeyValue { key: key.to_owned(), value, ..KeyValue::default() };
        wrap(0x0A, &attribute.encode_to_vec())
    };
    let long = named("k8s.pod.uid", &"x".repeat(100_000));
    let pod = [named("k8s.namespace.name", "shop"), named("k8s.pod.name", "order-1"), long].concat();
    let resource = [[0x1A, 0x00].repeat(1_000_000), [0x0A, 0x00].repeat(1_000_000), pod].concat();
    let scope = wrap(0x12, &wrap(0x12, &[]));
    let body = wrap(0x0A, &[wrap(0x0A, &resource), scope].concat());
    let snapshot = Arc::new(cluster(Some("10.0.0.1")));
    let forwarder = Attribution::Resource(Arc::clone(&snapshot));
    for attribution in [sender(), forwarder] {
        let limits = Limits::default();
        let batch =
            convert(Kind::Traces, &body, &attribution, &limits, &mut Names::new(64), FixedClock.now());
        let tally = batch.expect("valid bytes").tally;
        assert_eq!(tally.get(Fate::Ignored), 1, "the pod is known by its name, the empty span is nothing");
    }
}

#[test]
fn a_call_inside_of_inner_spans_belongs_to_the_request_around_them() {
    const INNER: i32 = 1;
    const SERVER: i32 = 2;
    const CLIENT: i32 = 3;
    let span = |trace: u8, kind, id: u8, parent: u8| Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: vec![parent; 8],
        kind,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 2_000_000_000,
        ..Span::default()
    };
    // As they end, and the other way round; then what leads nowhere, or into a ring, or into another trace.
    let request = [span(1, CLIENT, 4, 3), span(1, INNER, 3, 2), span(1, INNER, 2, 1), span(1, SERVER, 1, 9)];
    let ring = [span(1, INNER, 5, 6), span(1, INNER, 6, 5), span(1, CLIENT, 7, 5)];
    let other = span(2, CLIENT, 8, 3);
    for spans in [request.to_vec(), request.iter().rev().cloned().collect()] {
        let spans = [spans, ring.to_vec(), vec![other.clone()]].concat();
        let batch = run(Kind::Traces, &spans_request(spans), Limits::default()).expect("a valid request");
        assert_eq!(batch.tally.get(Fate::Ignored), 4, "inner spans are no calls");
        let id = |byte: u8| u64::from_be_bytes([byte; 8]);
        let parent = |of: u8| {
            batch.observations.iter().find_map(|one| match &one.signal {
                Signal::Span(span) if span.id == id(of) => Some(span.parent),
                _ => None,
            })
        };
        assert_eq!(parent(4), Some(id(1)), "the call is the request's");
        assert_eq!(parent(1), Some(id(9)), "whose own caller is another process");
        assert!(parent(7) == Some(id(5)) || parent(7) == Some(id(6)));
        assert_eq!(parent(8), Some(id(3)));
    }
}

#[test]
fn an_item_above_its_own_limit_is_left_out() {
    let limits = Limits { item_bytes: 100, ..Limits::default() };
    let metric = Metric { name: "x".repeat(200), ..Metric::default() };
    let batch = run(Kind::Metrics, &metrics_request(vec![metric]), limits).expect("a valid request");
    assert_eq!(batch.tally.get(Fate::TooLarge), 1);
}

#[test]
fn metrics_of_a_pod_are_samples_of_it_and_only_what_grows_alone_is_a_counter() {
    let metric = |name: &str, value, is_monotonic| Metric {
        name: name.to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: vec![NumberDataPoint {
                value: Some(Number::AsInt(value)),
                ..NumberDataPoint::default()
            }],
            aggregation_temporality: 2,
            is_monotonic,
        })),
        ..Metric::default()
    };
    let metrics = vec![metric("http.server.active_requests", 7, false), metric("jobs.done", 900, true)];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    let body = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
    let batch = run(Kind::Metrics, &body, Limits::default()).expect("a valid request");
    let samples: Vec<_> = batch
        .observations
        .iter()
        .map(|one| {
            assert!(matches!(&one.entity, Entity::Pod { key, .. } if &*key.name == "order-1"));
            let Signal::Sample(sample) = &one.signal else { panic!("{one:?}") };
            (&*sample.metric, sample.value.to_bits(), sample.counter)
        })
        .collect();
    let expected =
        [("http.server.active_requests", 7.0_f64.to_bits(), false), ("jobs.done", 900.0_f64.to_bits(), true)];
    assert_eq!(samples, expected);
}
