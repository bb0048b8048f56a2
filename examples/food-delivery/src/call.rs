//! What a request carries through a service: its trace and its time budgets.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName};
use opentelemetry::Context;

/// Everything a caller may spend on one request, retries included.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// What a caller grants to one attempt.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Kept back at each hop, so that a service answers before its caller gives up.
pub const MARGIN: Duration = Duration::from_millis(40);

/// Milliseconds the caller grants to this attempt.
pub const ATTEMPT_BUDGET: HeaderName = HeaderName::from_static("x-attempt-budget-ms");
/// Milliseconds the caller has for the request, further attempts included.
pub const REQUEST_BUDGET: HeaderName = HeaderName::from_static("x-request-budget-ms");
/// The key under which a repeated write gives the first answer.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request being worked on.
#[derive(Clone, Debug)]
pub struct Call {
    /// The trace, with this service's server span.
    pub trace: Context,
    /// When the caller gives up this attempt.
    pub attempt_end: Instant,
    /// When the caller gives up the request.
    pub request_end: Instant,
}

impl Call {
    /// Reads the budgets of a received request; a caller that names none gets the whole deadline.
    pub fn received(headers: &HeaderMap, trace: Context) -> Self {
        let now = Instant::now();
        let request = budget(headers, &REQUEST_BUDGET).unwrap_or(DEADLINE);
        let attempt = budget(headers, &ATTEMPT_BUDGET).unwrap_or(request).min(request);
        Self { trace, attempt_end: now + attempt, request_end: now + request }
    }

    /// A call of the service's own, outside any request.
    pub fn own(limit: Duration) -> Self {
        let end = Instant::now() + limit;
        Self { trace: Context::new(), attempt_end: end, request_end: end }
    }

    /// When nested calls must be over.
    pub fn nested_end(&self) -> Instant {
        self.attempt_end.checked_sub(MARGIN).unwrap_or(self.attempt_end)
    }
}

fn budget(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let milliseconds: u64 = headers.get(name)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds).min(DEADLINE))
}
