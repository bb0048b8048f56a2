//! Own logs (JSON on stdout) and, when an endpoint is set by the standard variable, own traces over OTLP. The lines of one
//! action carry the same `trace_id`, exported or not.

use opentelemetry::trace::{SpanId, TraceContextExt, TraceId, TracerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::sync::{Arc, OnceLock};
use tracing::dispatcher::WeakDispatch;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Keeps the exporter; flushes it at the end.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter does not parse.
    #[error("the log filter `{filter}` is not understood; use e.g. `info,homeostat=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP exporter could not be built.
    #[error("the OTLP exporter could not be set up; check OTEL_EXPORTER_OTLP_ENDPOINT or unset it")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Somebody else set a subscriber.
    #[error("logging was set up twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up logs, and the export of traces when `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Call once, inside the runtime.
pub fn init(filter: &str) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let provider = if set("OTEL_EXPORTER_OTLP_ENDPOINT") {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .build()
            .map_err(TelemetryError::Exporter)?;
        let mut resource = Resource::builder();
        if !set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("homeostat");
        }
        SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build()
    } else {
        // Nothing is recorded, but traces and spans have ids, by which log lines are found.
        SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build()
    };
    subscriber(filter, &provider, std::io::stdout).try_init().map_err(TelemetryError::Twice)?;
    Ok(Telemetry { provider })
}

/// Logs to `writer`, spans to `provider`.
fn subscriber<W>(filter: EnvFilter, provider: &SdkTracerProvider, writer: W) -> Dispatch
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let whole = Arc::new(OnceLock::new());
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .map_event_format(|format| WithIds { format, whole: Arc::clone(&whole) })
        .with_writer(writer)
        .with_filter(filter);
    // What carries the export must not be exported, or each export would cause the next.
    let own = EnvFilter::new(
        "info,h2=off,tonic=off,tower=off,hyper=off,hyper_util=off,reqwest=off,opentelemetry=off",
    );
    let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("homeostat")).with_filter(own);
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(logs).with(traces));
    // Set once, here; the lines need all of it, of which they are a part.
    let _ = whole.set(dispatch.downgrade());
    dispatch
}

/// A format of log lines that adds the ids of the trace and the span that a line was written in.
struct WithIds<F> {
    format: F,
    whole: Arc<OnceLock<WeakDispatch>>,
}

impl<F> WithIds<F> {
    /// The ids around an event; `None` outside of any trace. Spans that are not traced are passed over.
    fn ids(&self, event: &Event<'_>) -> Option<(TraceId, SpanId)> {
        let whole = self.whole.get()?.upgrade()?;
        let current = whole.current_span();
        let innermost = if event.is_root() { None } else { event.parent().or(current.id()) };
        let registry = whole.downcast_ref::<Registry>()?;
        registry.span(innermost?)?.scope().find_map(|span| {
            let context = tracing_opentelemetry::get_otel_context(&span.id(), &whole)?;
            let span = context.span();
            let ids = span.span_context();
            ids.is_valid().then(|| (ids.trace_id(), ids.span_id()))
        })
    }
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some((trace, span)) = self.ids(event) else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(object) => {
                writeln!(writer, "{object},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
            }
            None => writer.write_str(&line),
        }
    }
}

impl Telemetry {
    /// Sends what is left.
    pub fn shutdown(self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(error = %error, "Traces could not be flushed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use serde_json::Value;
    use std::sync::Mutex;
    use tracing::Instrument;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What two actions, one after another, and the loop write.
    fn lines(filter: &str, provider: &SdkTracerProvider) -> Vec<Value> {
        let page = Page::default();
        let writer = page.clone();
        let dispatch = subscriber(EnvFilter::new(filter), provider, move || writer.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::warn!("Outside");
            for action in ["order-1", "order-2"] {
                let work = async {
                    tracing::warn!(state = "Admitted", "Begins");
                    let unknown = tracing::debug_span!("not traced");
                    async {
                        tokio::task::yield_now().await;
                        tracing::warn!("Inside");
                    }
                    .instrument(unknown)
                    .instrument(tracing::info_span!("effect", action))
                    .await;
                };
                runtime.block_on(work.instrument(tracing::info_span!("execute", action)));
            }
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn id<'a>(line: &'a Value, field: &str) -> &'a str {
        line[field].as_str().unwrap_or_default()
    }

    fn check(lines: &[Value]) {
        let messages: Vec<&str> = lines.iter().map(|line| id(line, "message")).collect();
        assert_eq!(messages, ["Outside", "Begins", "Inside", "Begins", "Inside"]);
        assert!(lines[0].get("trace_id").is_none() && lines[0].get("span_id").is_none());
        for two in [&lines[1..3], &lines[3..5]] {
            assert_eq!((id(&two[0], "trace_id").len(), id(&two[0], "span_id").len()), (32, 16));
            assert_eq!(id(&two[0], "trace_id"), id(&two[1], "trace_id"), "one action, one trace");
            assert_ne!(id(&two[0], "span_id"), id(&two[1], "span_id"), "each stage has its span");
            assert_eq!(two[0]["state"], "Admitted");
        }
        assert_ne!(id(&lines[1], "trace_id"), id(&lines[3], "trace_id"), "another action, another trace");
    }

    #[test]
    fn the_lines_of_one_action_share_a_trace_id_also_where_nothing_is_exported() {
        let off = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
        let told = lines("info", &off);
        check(&told);
        assert_eq!(told[2]["span"]["action"], "order-1");
        // A filter that leaves the spans out of the lines leaves the ids in.
        check(&lines("warn", &off));
    }

    #[derive(Clone, Debug, Default)]
    struct Exported(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Exported {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn the_ids_in_the_log_are_those_of_the_exported_trace() {
        let exported = Exported::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exported.clone()).build();
        let told = lines("info", &provider);
        check(&told);
        let spans = exported.0.lock().unwrap();
        for line in &told[1..] {
            let name = if line["message"] == "Begins" { "execute" } else { "effect" };
            let found = spans.iter().find(|span| span.span_context.span_id().to_string() == line["span_id"]);
            let found = found.unwrap();
            assert_eq!(found.name, name);
            assert_eq!(found.span_context.trace_id().to_string(), line["trace_id"]);
        }
        let inner = spans.iter().find(|span| span.name == "effect").unwrap();
        let outer = spans.iter().find(|span| span.span_context.span_id() == inner.parent_span_id).unwrap();
        assert_eq!(outer.name, "execute", "stages are inside of the action");
    }
}
