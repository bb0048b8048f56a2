//! What happens around every business request: server span, budgets, overload, faults, metric,
//! log of failures. Probe paths have none of it but the faults that include them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use crate::call::Call;
use crate::faults::Faults;
use crate::mesh::{CallError, Failure};
use crate::store::StoreError;
use crate::telemetry::Telemetry;

/// Failed requests written to the log per second; the rest is only counted.
const LOGGED_FAILURES_PER_SECOND: u64 = 10;

/// What every request of one service shares.
pub struct Around {
    /// The SDK.
    pub telemetry: Arc<Telemetry>,
    /// The fault switch.
    pub faults: Arc<Faults>,
    /// True from SIGTERM on.
    pub draining: AtomicBool,
    in_flight: AtomicUsize,
    max_in_flight: usize,
    started: Instant,
    log_window: AtomicU64,
    logged: AtomicU64,
}

impl Around {
    /// Nothing is running yet.
    pub fn new(telemetry: Arc<Telemetry>, faults: Arc<Faults>, max_in_flight: usize) -> Self {
        Self {
            telemetry,
            faults,
            draining: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            max_in_flight,
            started: Instant::now(),
            log_window: AtomicU64::new(0),
            logged: AtomicU64::new(0),
        }
    }

    fn may_log(&self) -> bool {
        let second = self.started.elapsed().as_secs();
        if self.log_window.swap(second, Ordering::Relaxed) != second {
            self.logged.store(0, Ordering::Relaxed);
        }
        self.logged.fetch_add(1, Ordering::Relaxed) < LOGGED_FAILURES_PER_SECOND
    }
}

/// Why a request is answered with an error.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The caller asked for something that cannot be.
    #[error("{reason}")]
    Rejected {
        /// 4xx.
        status: StatusCode,
        /// What to change.
        reason: String,
    },
    /// A callee failed for good.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Problem {
    /// A 4xx answer with its reason.
    pub fn rejected(status: StatusCode, reason: impl Into<String>) -> Self {
        Self::Rejected { status, reason: reason.into() }
    }

    /// A row that does not exist.
    pub fn missing(what: &str, id: &str) -> Self {
        Self::rejected(StatusCode::NOT_FOUND, format!("there is no {what} {id}"))
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Rejected { status, .. } => *status,
            Self::Call(error) if error.failure == Failure::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Call(_) | Self::Store(StoreError::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The reason of a failed answer, left on it for the log.
#[derive(Clone)]
struct Reason(String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let reason = self.to_string();
        let mut response = (self.status(), Json(serde_json::json!({ "error": reason }))).into_response();
        response.extensions_mut().insert(Reason(reason));
        response
    }
}

/// Wraps the business paths.
pub async fn around(State(around): State<Arc<Around>>, mut request: Request, next: Next) -> Response {
    let mut served = Served::start(&around, &request);
    let running = around.in_flight.fetch_add(1, Ordering::Relaxed);
    let mut response = if running >= around.max_in_flight {
        let reason = "too many requests at once; try again later";
        (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "error": reason }))).into_response()
    } else {
        let call = Call::received(request.headers(), served.trace.clone());
        request.extensions_mut().insert(call);
        match around.faults.suffer(false).await {
            Some(response) => response,
            None => next.run(request).await,
        }
    };
    served.end(&response);
    close_when_draining(&around, &mut response);
    response
}

/// Wraps the probe paths.
pub async fn around_probes(State(around): State<Arc<Around>>, request: Request, next: Next) -> Response {
    let mut response = match around.faults.suffer(true).await {
        Some(response) => response,
        None => next.run(request).await,
    };
    close_when_draining(&around, &mut response);
    response
}

fn close_when_draining(around: &Around, response: &mut Response) {
    if around.draining.load(Ordering::Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// One request being served. Dropped before it ended (the caller hung up) its span ends as
/// cancelled: that says nothing about this service.
struct Served {
    around: Arc<Around>,
    trace: Context,
    method: String,
    route: String,
    since: Instant,
    ended: bool,
}

impl Served {
    fn start(around: &Arc<Around>, request: &Request) -> Self {
        let method = request.method().to_string();
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
        let trace = if around.telemetry.traces() {
            let mut attributes = vec![
                KeyValue::new("http.request.method", method.clone()),
                KeyValue::new("http.route", route.clone()),
                KeyValue::new("url.path", request.uri().path().to_owned()),
                KeyValue::new("url.scheme", "http"),
            ];
            let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            if let Some(host) = host {
                let (name, port) = crate::config::split_address(host).unwrap_or((host, 80));
                attributes.push(KeyValue::new("server.address", name.to_owned()));
                attributes.push(KeyValue::new("server.port", i64::from(port)));
            }
            let parent = around.telemetry.extract(request.headers());
            around.telemetry.span(format!("{method} {route}"), SpanKind::Server, attributes, &parent)
        } else {
            Context::new()
        };
        Self { around: Arc::clone(around), trace, method, route, since: Instant::now(), ended: false }
    }

    fn end(&mut self, response: &Response) {
        self.ended = true;
        let status = response.status();
        let code = i64::from(status.as_u16());
        let span = self.trace.span();
        span.set_attribute(KeyValue::new("http.response.status_code", code));
        let mut attributes = vec![
            KeyValue::new("http.request.method", self.method.clone()),
            KeyValue::new("http.route", self.route.clone()),
            KeyValue::new("http.response.status_code", code),
        ];
        if status.is_server_error() {
            let failed = KeyValue::new("error.type", status.as_str().to_owned());
            span.set_attribute(failed.clone());
            span.set_status(Status::error(""));
            attributes.push(failed);
            if self.around.may_log() {
                let reason = response.extensions().get::<Reason>().map_or("", |reason| reason.0.as_str());
                let trace_id = span.span_context().trace_id();
                // The OTLP log record takes its trace from the attached context.
                let _attached = self.trace.clone().attach();
                tracing::warn!(
                    method = self.method,
                    route = self.route,
                    status = code,
                    reason,
                    trace_id = %trace_id,
                    "request failed"
                );
            }
        }
        span.end();
        self.around.telemetry.record_duration(self.since.elapsed().as_secs_f64(), &attributes);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.around.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.ended {
            let span = self.trace.span();
            span.set_attribute(KeyValue::new("error.type", "cancelled"));
            span.end();
        }
    }
}
