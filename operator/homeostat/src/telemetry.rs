//! Own logs (JSON on stdout) and, when an endpoint is set by the standard variable, own traces over OTLP.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Keeps the exporter; flushes it at the end.
#[derive(Debug, Default)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
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

/// Sets up logs, and traces when `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Call once, inside the runtime.
pub fn init(filter: &str) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_filter(filter);
    let endpoint = std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|endpoint| !endpoint.is_empty());
    let provider = endpoint
        .map(|_| {
            let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build()?;
            Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).build())
        })
        .transpose()
        .map_err(TelemetryError::Exporter)?;
    // What carries the export must not be exported, or each export would cause the next.
    let own = EnvFilter::new(
        "info,h2=off,tonic=off,tower=off,hyper=off,hyper_util=off,reqwest=off,opentelemetry=off",
    );
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("homeostat")).with_filter(own)
    });
    tracing_subscriber::registry().with(logs).with(traces).try_init().map_err(TelemetryError::Twice)?;
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what is left.
    pub fn shutdown(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(error = %error, "Traces could not be flushed");
        }
    }
}
