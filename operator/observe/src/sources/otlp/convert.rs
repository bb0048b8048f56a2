//! From the bytes of an OTLP request to observations. Pure: no clock, no I/O.

use super::envelope::{Garbage, walk};
use super::outcome::{End, grpc_code, outcome};
use super::sender::{Attribution, Origin};
use crate::sources::names::{Names, bounded, cut};
use crate::sources::{Fate, Tally};
use homeostat_knowledge::observation::{LogRecord, Sample};
use homeostat_knowledge::{Name, Observation, Signal, SignedDuration, Span, SpanKind, Timestamp};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// Longest operation name, in bytes.
pub const OPERATION_BYTES: usize = 128;
/// Longest peer address, in bytes (the longest DNS name).
pub const PEER_BYTES: usize = 253;
/// Longest log body, in bytes.
pub const BODY_BYTES: usize = 2048;
/// Longest metric name, in bytes.
pub const METRIC_BYTES: usize = 255;

/// Spans inside of each other up to which the request is found that a call was made for.
const NESTED: usize = 32;

/// Clocks of senders may be so far ahead of ours. What lies further ahead has happened when it arrived: a failure of next
/// year would keep what was called sick until then, whatever others see of it.
pub const AHEAD: SignedDuration = SignedDuration::from_secs(2);

/// Which of the three services was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `TraceService/Export`.
    Traces,
    /// `MetricsService/Export`.
    Metrics,
    /// `LogsService/Export`.
    Logs,
}

/// Bounds of one request's content.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Observations.
    pub items: usize,
    /// Distinct series of metrics.
    pub series: usize,
    /// Bytes of one span, log record or metric with all its points.
    pub item_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { items: 20_000, series: 2_000, item_bytes: 256 * 1024 }
    }
}

/// What came out of a request.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The observations.
    pub observations: Vec<Observation>,
    /// What became of each item.
    pub tally: Tally,
}

/// Converts the body of one request.
///
/// # Errors
/// [`Garbage`] when it is not the message that `kind` says; nothing of it is kept then.
pub fn convert(
    kind: Kind,
    body: &[u8],
    attribution: &Attribution,
    limits: &Limits,
    names: &mut Names,
    now: Timestamp,
) -> Result<Batch, Garbage> {
    let mut work = Work {
        limits,
        names,
        now,
        batch: Batch::default(),
        series: HashSet::new(),
        inner: HashMap::new(),
        span: trace::Span::default(),
    };
    walk(
        &mut work,
        body,
        |_, resource| attribution.origin(resource),
        |work, origin, item| {
            let Some(origin) = origin else {
                work.count(Fate::UnknownResource);
                return Ok(());
            };
            if item.len() > limits.item_bytes {
                work.count(Fate::TooLarge);
                return Ok(());
            }
            match kind {
                Kind::Traces => work.span(origin, item),
                Kind::Metrics => work.metric(origin, item),
                Kind::Logs => work.log(origin, item),
            }
        },
    )?;
    work.lift_calls();
    Ok(work.batch)
}

struct Work<'a> {
    limits: &'a Limits,
    names: &'a mut Names,
    now: Timestamp,
    batch: Batch,
    series: HashSet<(Name, Name)>,
    /// Parents of the spans inside of a process, by trace and span. They are no calls and not passed on.
    inner: HashMap<(u128, u64), u64>,
    /// Decoded into again and again: its lists keep their memory.
    span: trace::Span,
}

impl Work<'_> {
    fn count(&mut self, fate: Fate) {
        self.batch.tally.add(fate, 1);
    }

    fn push(&mut self, origin: &Origin, event_time: Option<Timestamp>, signal: Signal) {
        if self.batch.observations.len() >= self.limits.items {
            self.count(Fate::OverLimit);
            return;
        }
        self.count(Fate::Accepted);
        self.batch.observations.push(Observation {
            tenant: origin.tenant.clone(),
            entity: origin.entity.clone(),
            event_time: event_time.filter(|at| self.ahead(*at).is_none()).unwrap_or(self.now),
            arrival_time: self.now,
            signal,
        });
    }

    /// How far an instant is ahead, if that is too far.
    fn ahead(&self, at: Timestamp) -> Option<SignedDuration> {
        Some(at.duration_since(self.now)).filter(|ahead| *ahead > AHEAD)
    }

    fn span(&mut self, origin: &Origin, item: &[u8]) -> Result<(), Garbage> {
        self.span.clear();
        self.span.merge(item)?;
        let span = &self.span;
        let kind = match span.kind() {
            trace::span::SpanKind::Server => SpanKind::Server,
            trace::span::SpanKind::Client => SpanKind::Client,
            other => {
                let inner = other == trace::span::SpanKind::Internal && self.inner.len() < self.limits.items;
                if let Some((key, parent)) = ids(span).zip(span_id(&span.parent_span_id)).filter(|_| inner) {
                    self.inner.insert(key, parent);
                }
                self.count(Fate::Ignored);
                return Ok(());
            }
        };
        let times = (time(span.start_time_unix_nano), time(span.end_time_unix_nano));
        let (Some((trace, id)), (Some(start), Some(finish))) = (ids(span), times) else {
            self.count(Fate::Malformed);
            return Ok(());
        };
        // It lasted as long as its sender says.
        let (start, finish) = match self.ahead(finish) {
            Some(ahead) => (start.checked_sub(ahead).unwrap_or(start), self.now),
            None => (start, finish),
        };
        let mut end = End::default();
        let (mut route, mut method, mut server, mut network) = ("", "", "", "");
        for attribute in &span.attributes {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            match (attribute.key.as_str(), value) {
                ("http.route", Some(Value::StringValue(text))) => route = text,
                ("rpc.method", Some(Value::StringValue(text))) => method = text,
                ("server.address", Some(Value::StringValue(text))) => server = text,
                ("network.peer.address", Some(Value::StringValue(text))) => network = text,
                ("error.type", Some(Value::StringValue(text))) => end.error_type = text,
                ("http.response.status_code" | "http.status_code", Some(value)) => {
                    end.http = integer(value).unwrap_or(0);
                }
                ("rpc.grpc.status_code", Some(value)) => end.grpc = integer(value),
                ("rpc.response.status_code", Some(value)) => {
                    end.grpc = match value {
                        Value::StringValue(text) => grpc_code(text),
                        value => integer(value),
                    };
                }
                _ => {}
            }
        }
        if let Some(status) = &span.status {
            end.error = status.code() == trace::status::StatusCode::Error;
            end.message = &status.message;
        }
        let operation = [route, method, &span.name].into_iter().find(|text| !text.is_empty()).unwrap_or("");
        let peer = match kind {
            SpanKind::Client => [server, network].into_iter().find(|text| !text.is_empty()),
            SpanKind::Server | SpanKind::Other => None,
        };
        let converted = Span {
            trace,
            id,
            parent: span_id(&span.parent_span_id).unwrap_or(0),
            kind,
            start,
            end: finish,
            operation: self.names.get(cut(operation, OPERATION_BYTES)),
            outcome: outcome(kind, &end),
            peer: peer.map(|peer| self.names.get(cut(peer, PEER_BYTES))),
        };
        self.push(origin, Some(finish), Signal::Span(converted));
        Ok(())
    }

    /// Calls made inside of spans that are not passed on become children of the request around those: what they took is
    /// not its own time. A process sends both at once, but for those at the seam of two requests.
    fn lift_calls(&mut self) {
        if self.inner.is_empty() {
            return;
        }
        for observation in &mut self.batch.observations {
            let Signal::Span(span) = &mut observation.signal else { continue };
            if span.kind != SpanKind::Client {
                continue;
            }
            for _ in 0..NESTED {
                let Some(parent) = self.inner.get(&(span.trace, span.parent)) else { break };
                span.parent = *parent;
            }
        }
    }

    fn log(&mut self, origin: &Origin, item: &[u8]) -> Result<(), Garbage> {
        let record = logs::LogRecord::decode(item)?;
        let mut body = String::new();
        if let Some(value) = &record.body {
            render(value, &mut body, 0);
        }
        let event_time = time(record.time_unix_nano).or_else(|| time(record.observed_time_unix_nano));
        let converted = LogRecord {
            severity: u8::try_from(record.severity_number).ok().filter(|number| *number <= 24).unwrap_or(0),
            // Bodies hardly ever repeat: interning them would only push the names out.
            body: Name::from(cut(&body, BODY_BYTES)),
            trace: trace_id(&record.trace_id).unwrap_or(0),
        };
        self.push(origin, event_time, Signal::Log(converted));
        Ok(())
    }

    fn metric(&mut self, origin: &Origin, item: &[u8]) -> Result<(), Garbage> {
        const CUMULATIVE: i32 = metrics::AggregationTemporality::Cumulative as i32;
        let metric = metrics::Metric::decode(item)?;
        if metric.name.is_empty() {
            self.count(Fate::Malformed);
            return Ok(());
        }
        let plain = self.names.get(cut(&metric.name, METRIC_BYTES));
        let parts = |names: &mut Names| {
            let stem = cut(&metric.name, METRIC_BYTES - "_count".len());
            (names.get(&format!("{stem}_count")), names.get(&format!("{stem}_sum")))
        };
        match &metric.data {
            Some(Data::Gauge(gauge)) => {
                for point in &gauge.data_points {
                    self.number(origin, &plain, point, false);
                }
            }
            Some(Data::Sum(sum)) if sum.aggregation_temporality != CUMULATIVE => {
                self.batch.tally.add(Fate::DeltaTemporality, sum.data_points.len() as u64);
            }
            Some(Data::Sum(sum)) => {
                for point in &sum.data_points {
                    self.number(origin, &plain, point, sum.is_monotonic);
                }
            }
            Some(Data::Histogram(histogram)) if histogram.aggregation_temporality != CUMULATIVE => {
                self.batch.tally.add(Fate::DeltaTemporality, histogram.data_points.len() as u64);
            }
            Some(Data::Histogram(histogram)) => {
                let names = parts(self.names);
                for point in &histogram.data_points {
                    let meta = (point.flags, point.time_unix_nano);
                    self.distribution(origin, &names, &point.attributes, meta, point.count, point.sum);
                }
            }
            Some(Data::ExponentialHistogram(histogram))
                if histogram.aggregation_temporality != CUMULATIVE =>
            {
                self.batch.tally.add(Fate::DeltaTemporality, histogram.data_points.len() as u64);
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                let names = parts(self.names);
                for point in &histogram.data_points {
                    let meta = (point.flags, point.time_unix_nano);
                    self.distribution(origin, &names, &point.attributes, meta, point.count, point.sum);
                }
            }
            Some(Data::Summary(summary)) => {
                let names = parts(self.names);
                for point in &summary.data_points {
                    let meta = (point.flags, point.time_unix_nano);
                    self.distribution(origin, &names, &point.attributes, meta, point.count, Some(point.sum));
                }
            }
            None => self.count(Fate::Malformed),
        }
        Ok(())
    }

    fn number(&mut self, origin: &Origin, metric: &Name, point: &metrics::NumberDataPoint, counter: bool) {
        let value = match point.value {
            Some(Number::AsDouble(value)) if !no_value(point.flags) => value,
            Some(Number::AsInt(value)) if !no_value(point.flags) => value as f64,
            _ => {
                self.count(Fate::Ignored);
                return;
            }
        };
        let series = self.series(&point.attributes);
        self.sample(origin, metric, &series, time(point.time_unix_nano), value, counter);
    }

    fn distribution(
        &mut self,
        origin: &Origin,
        (count_name, sum_name): &(Name, Name),
        attributes: &[KeyValue],
        (flags, nanoseconds): (u32, u64),
        count: u64,
        sum: Option<f64>,
    ) {
        if no_value(flags) {
            self.count(Fate::Ignored);
            return;
        }
        let series = self.series(attributes);
        let at = time(nanoseconds);
        self.sample(origin, count_name, &series, at, count as f64, true);
        if let Some(sum) = sum {
            self.sample(origin, sum_name, &series, at, sum, true);
        }
    }

    fn sample(
        &mut self,
        origin: &Origin,
        metric: &Name,
        series: &Name,
        at: Option<Timestamp>,
        value: f64,
        counter: bool,
    ) {
        // Counted, so that its sender is told, and handed on all the same: who is sized by it must not be told of silence.
        if !value.is_finite() {
            self.count(Fate::NonFinite);
        }
        let key = (Name::clone(metric), Name::clone(series));
        if !self.series.contains(&key) {
            if self.series.len() >= self.limits.series {
                self.count(Fate::OverLimit);
                return;
            }
            self.series.insert(key);
        }
        let sample = Sample {
            metric: Name::clone(metric),
            series: Name::clone(series),
            value,
            counter,
            asked_by: None,
        };
        self.push(origin, at, Signal::Sample(sample));
    }

    /// `key=value,key=value` in key order; the same labels always give the same name.
    fn series(&mut self, attributes: &[KeyValue]) -> Name {
        let mut order: Vec<&KeyValue> = attributes.iter().collect();
        order.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        let mut text = String::new();
        for attribute in order {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&attribute.key);
            text.push('=');
            if let Some(value) = &attribute.value {
                render_up_to(value, &mut text, 0, usize::MAX);
            }
        }
        self.names.get(&bounded(text))
    }
}

fn no_value(flags: u32) -> bool {
    flags & metrics::DataPointFlags::NoRecordedValueMask as u32 != 0
}

fn ids(span: &trace::Span) -> Option<(u128, u64)> {
    trace_id(&span.trace_id).zip(span_id(&span.span_id))
}

fn trace_id(bytes: &[u8]) -> Option<u128> {
    <[u8; 16]>::try_from(bytes).ok().map(u128::from_be_bytes).filter(|id| *id != 0)
}

fn span_id(bytes: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes).filter(|id| *id != 0)
}

fn time(nanoseconds: u64) -> Option<Timestamp> {
    if nanoseconds == 0 { None } else { Timestamp::from_nanosecond(i128::from(nanoseconds)).ok() }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::IntValue(number) => Some(*number),
        Value::StringValue(text) => text.parse().ok(),
        _ => None,
    }
}

fn render(value: &AnyValue, text: &mut String, depth: u32) {
    render_up_to(value, text, depth, BODY_BYTES);
}

/// Text of any value. Stops soon after `bytes` bytes; nested deeper than eight it leaves out.
fn render_up_to(value: &AnyValue, text: &mut String, depth: u32, bytes: usize) {
    if text.len() >= bytes || depth > 8 {
        return;
    }
    // Writing to a String cannot fail.
    match &value.value {
        Some(Value::StringValue(content)) => text.push_str(cut(content, bytes)),
        Some(Value::BoolValue(content)) => drop(write!(text, "{content}")),
        Some(Value::IntValue(content)) => drop(write!(text, "{content}")),
        Some(Value::DoubleValue(content)) => drop(write!(text, "{content}")),
        Some(Value::BytesValue(content)) => drop(write!(text, "({} bytes)", content.len())),
        Some(Value::ArrayValue(list)) => {
            text.push('[');
            for (place, item) in list.values.iter().enumerate() {
                if text.len() >= bytes {
                    break;
                }
                text.push_str(if place == 0 { "" } else { ", " });
                render_up_to(item, text, depth + 1, bytes);
            }
            text.push(']');
        }
        Some(Value::KvlistValue(list)) => {
            text.push('{');
            for (place, item) in list.values.iter().enumerate() {
                if text.len() >= bytes {
                    break;
                }
                text.push_str(if place == 0 { "" } else { ", " });
                text.push_str(cut(&item.key, bytes));
                text.push_str(": ");
                if let Some(item) = &item.value {
                    render_up_to(item, text, depth + 1, bytes);
                }
            }
            text.push('}');
        }
        Some(Value::StringValueStrindex(_)) | None => {}
    }
}
