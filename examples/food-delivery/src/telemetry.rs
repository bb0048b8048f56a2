//! Traces, metrics and logs over OTLP with the stock SDK, and JSON logs on standard output.
//!
//! Only the standard `OTEL_` variables tune it; without `OTEL_EXPORTER_OTLP_ENDPOINT` nothing is
//! exported. Exporters work in threads of their own behind bounded queues, so that a dead
//! collector costs telemetry and never a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets, dynamic_filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::output;

const SCOPE: &str = "food-delivery";
/// What the exporters may take to send the rest at the end.
const FLUSH: Duration = Duration::from_millis(800);
/// Latency buckets of the semantic conventions, in seconds.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Why no telemetry could be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up OTLP export: {0}; correct OTEL_EXPORTER_OTLP_ENDPOINT or leave it unset")]
pub struct TelemetryError(String);

/// Handles to the SDK of this process. Without an endpoint everything is a no-op.
pub struct Telemetry {
    tracer: Option<SdkTracer>,
    duration: Option<Histogram<f64>>,
    providers: Option<(SdkTracerProvider, SdkMeterProvider, SdkLoggerProvider)>,
    propagator: TraceContextPropagator,
}

impl Telemetry {
    /// Sets up logs and, when an endpoint is given and `export` is true, the exporters. Needs a
    /// running tokio runtime; connects later, in the background.
    pub fn start(service: &'static str, export: bool) -> Result<Self, TelemetryError> {
        let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_default();
        let providers = if export && !endpoint.is_empty() { Some(providers(service)?) } else { None };
        let console = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(|| output::Lines)
            .with_filter(console_filter());
        let bridge = providers.as_ref().map(|(_, _, logs)| {
            OpenTelemetryTracingBridge::new(logs).with_filter(
                // Only the application's own records: the exporter's would feed themselves.
                Targets::new().with_target("food_delivery", LevelFilter::INFO),
            )
        });
        // Fails only when a subscriber exists already, which one process never does.
        let _ = tracing_subscriber::registry().with(console).with(bridge).try_init();

        let tracer = providers.as_ref().map(|(traces, _, _)| {
            let version = env!("CARGO_PKG_VERSION");
            traces.tracer_with_scope(InstrumentationScope::builder(SCOPE).with_version(version).build())
        });
        let duration = providers.as_ref().map(|(_, metrics, _)| {
            let meter = metrics.meter(SCOPE);
            meter
                .i64_observable_up_down_counter("process.memory.usage")
                .with_unit("By")
                .with_description("Resident memory of the process.")
                .with_callback(|observer| {
                    if let Some(bytes) = resident_bytes() {
                        observer.observe(bytes, &[]);
                    }
                })
                .build();
            meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("Duration of served requests.")
                .with_boundaries(BUCKETS.to_vec())
                .build()
        });
        Ok(Self { tracer, duration, providers, propagator: TraceContextPropagator::new() })
    }

    /// Starts a span under `parent`; the returned context carries it.
    pub fn span(&self, name: String, kind: SpanKind, attributes: Vec<KeyValue>, parent: &Context) -> Context {
        match &self.tracer {
            Some(tracer) => {
                let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
                let span = tracer.build_with_context(builder, parent);
                parent.with_span(span)
            }
            None => parent.clone(),
        }
    }

    /// True when spans are recorded; callers skip building attributes otherwise.
    pub fn traces(&self) -> bool {
        self.tracer.is_some()
    }

    /// Reads the caller's trace context (W3C).
    pub fn extract(&self, headers: &HeaderMap) -> Context {
        self.propagator.extract_with_context(&Context::new(), &Headers(headers))
    }

    /// Writes the trace context for a callee (W3C).
    pub fn inject(&self, context: &Context, headers: &mut HeaderMap) {
        if self.traces() {
            self.propagator.inject_context(context, &mut HeadersMut(headers));
        }
    }

    /// Records one served request.
    pub fn record_duration(&self, seconds: f64, attributes: &[KeyValue]) {
        if let Some(duration) = &self.duration {
            duration.record(seconds, attributes);
        }
    }

    /// Sends what is queued, for at most a short time. Blocks: call it off the runtime's thread.
    pub fn shut_down(&self) {
        if let Some((traces, metrics, logs)) = &self.providers {
            // The three are independent; a dead collector must not cost the time thrice.
            std::thread::scope(|scope| {
                scope.spawn(|| traces.shutdown_with_timeout(FLUSH));
                scope.spawn(|| metrics.shutdown_with_timeout(FLUSH));
                scope.spawn(|| logs.shutdown_with_timeout(FLUSH));
            });
        }
    }
}

fn providers(
    service: &'static str,
) -> Result<(SdkTracerProvider, SdkMeterProvider, SdkLoggerProvider), TelemetryError> {
    let wrong = |error: opentelemetry_otlp::ExporterBuildError| TelemetryError(error.to_string());
    let named = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"]
        .iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| (*name, value)))
        .any(|(name, value)| name == "OTEL_SERVICE_NAME" || value.contains("service.name="));
    let mut resource = Resource::builder();
    if !named {
        resource = resource.with_service_name(service);
    }
    let resource = resource.build();
    let spans = opentelemetry_otlp::SpanExporter::builder().with_tonic().build().map_err(wrong)?;
    let metrics = opentelemetry_otlp::MetricExporter::builder().with_tonic().build().map_err(wrong)?;
    let logs = opentelemetry_otlp::LogExporter::builder().with_tonic().build().map_err(wrong)?;
    Ok((
        SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build(),
        SdkMeterProvider::builder().with_resource(resource.clone()).with_periodic_exporter(metrics).build(),
        SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(logs).build(),
    ))
}

/// Own records from INFO; the SDK's complaints (a dead collector) once in ten seconds.
fn console_filter<S>() -> impl tracing_subscriber::layer::Filter<S>
where
    S: tracing::Subscriber,
{
    static LAST_SECONDS: AtomicU64 = AtomicU64::new(u64::MAX);
    let start = Instant::now();
    dynamic_filter_fn(move |metadata, _| {
        if metadata.target().starts_with("food_delivery") {
            return *metadata.level() <= tracing::Level::INFO;
        }
        if *metadata.level() > tracing::Level::WARN {
            return false;
        }
        let now = start.elapsed().as_secs();
        let last = LAST_SECONDS.load(Ordering::Relaxed);
        (last == u64::MAX || now >= last + 10)
            && LAST_SECONDS.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    })
    .with_max_level_hint(LevelFilter::INFO)
}

/// Resident memory from `/proc/self/status` (in kibibytes there, whatever the page size).
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) =
            (axum::http::HeaderName::try_from(key), axum::http::HeaderValue::try_from(value))
        {
            self.0.insert(name, value);
        }
    }
}
