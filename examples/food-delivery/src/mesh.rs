//! Calls to other services, as a service mesh would make them; the same for gateway and services.
//!
//! - HTTP/1.1 only: one attempt uses one connection, so an attempt that is given up closes
//!   exactly its own connection.
//! - An attempt may take one second. When it times out, the idle connections to that callee are
//!   dropped too, because the peer behind them is suspect: after it has been replaced, the next
//!   attempt must reach the new one.
//! - Refused, reset, timed out and 5xx attempts are repeated with a growing, jittered pause until
//!   the caller's own budget is used up. All calls are idempotent.
//! - Each attempt is one client span and one access-log line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use rand::Rng;

use crate::call::{ATTEMPT_BUDGET, ATTEMPT_TIMEOUT, Call, IDEMPOTENCY_KEY, REQUEST_BUDGET};
use crate::config::{Config, split_address};
use crate::output;
use crate::resolve::Connector;
use crate::roles::Role;
use crate::telemetry::Telemetry;

/// Pauses before the second, third, ... attempt; the last one repeats.
const BACKOFF_MS: [u64; 4] = [50, 100, 200, 400];
/// With less time left no further attempt is started: it could not end well.
const MIN_ATTEMPT: Duration = Duration::from_millis(100);
/// Idle connections are closed after this time.
const IDLE: Duration = Duration::from_secs(10);
const MAX_IDLE_PER_CALLEE: usize = 64;
/// Answers of the services are a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

type Http = Client<Connector, Full<Bytes>>;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time.
    Timeout,
    /// Nobody listens.
    Refused,
    /// The connection broke.
    Reset,
    /// Anything else, such as an unknown name.
    Other(String),
    /// A 5xx answer.
    Status(Reply),
}

/// A call that failed for good, after all attempts.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{callee} failed after {attempts} attempts: {}", .failure.name())]
pub struct CallError {
    /// Whom it was sent to.
    pub callee: &'static str,
    /// How the last attempt ended.
    pub failure: Failure,
    /// Attempts made.
    pub attempts: u32,
}

/// An answer below 500.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its whole body.
    pub body: Bytes,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: Method,
    /// The path with its parameters filled in.
    pub path: &'a str,
    /// The path with its parameters named, for logs.
    pub template: &'static str,
    /// The idempotency key of a write.
    pub key: Option<&'a str>,
    /// A JSON body; empty for reads.
    pub body: Bytes,
}

impl Failure {
    /// The word in the access log.
    pub fn name(&self) -> String {
        match self {
            Self::Timeout => "timeout".to_owned(),
            Self::Refused => "refused".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Other(_) => "error".to_owned(),
            Self::Status(reply) => reply.status.as_str().to_owned(),
        }
    }

    /// The value of `error.type`.
    fn error_type(&self) -> String {
        match self {
            Self::Timeout => "timeout".to_owned(),
            Self::Refused => "connection_refused".to_owned(),
            Self::Reset => "connection_reset".to_owned(),
            Self::Other(_) => "connection_error".to_owned(),
            Self::Status(reply) => reply.status.as_str().to_owned(),
        }
    }
}

/// The callees of one service.
pub struct Mesh {
    caller: &'static str,
    callees: BTreeMap<&'static str, Callee>,
    telemetry: Arc<Telemetry>,
}

struct Callee {
    name: &'static str,
    host: String,
    port: u16,
    connector: Connector,
    pool: Mutex<(u64, Http)>,
}

impl Callee {
    fn new(name: &'static str, address: &str) -> Option<Self> {
        let (host, port) = split_address(address)?;
        let connector = Connector::new(host, port);
        let pool = Mutex::new((0, client(&connector)));
        Some(Self { name, host: host.to_owned(), port, connector, pool })
    }

    fn pool(&self) -> (u64, Http) {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        (pool.0, pool.1.clone())
    }

    /// Drops the idle connections, once for all attempts that timed out on the same pool.
    fn discard(&self, generation: u64) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.0 == generation {
            *pool = (generation + 1, client(&self.connector));
        }
    }
}

fn client(connector: &Connector) -> Http {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE_PER_CALLEE)
        .build(connector.clone())
}

impl Mesh {
    /// Clients for all callees of `role`; opens no connection.
    pub fn new(role: Role, config: &Config, telemetry: Arc<Telemetry>) -> Self {
        let callees = role
            .callees()
            .iter()
            .filter_map(|callee| {
                let address = config.callees.get(callee.name())?;
                Some((callee.name(), Callee::new(callee.name(), address)?))
            })
            .collect();
        Self { caller: role.name(), callees, telemetry }
    }

    /// Sends a request, repeating it while the caller's budget lasts.
    pub async fn call(&self, call: &Call, to: Role, outgoing: Outgoing<'_>) -> Result<Reply, CallError> {
        let end = call.nested_end();
        let fail = |failure, attempts| CallError { callee: to.name(), failure, attempts };
        let Some(callee) = self.callees.get(to.name()) else {
            return Err(fail(Failure::Other("not a callee of this service".to_owned()), 0));
        };
        let mut attempts = 0;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(fail(Failure::Timeout, attempts));
            }
            let failure = match self.attempt(call, callee, &outgoing, left, attempts).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let pause = pause(attempts as usize);
            attempts += 1;
            if Instant::now() + pause + MIN_ATTEMPT > end {
                return Err(fail(failure, attempts));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        callee: &Callee,
        outgoing: &Outgoing<'_>,
        left: Duration,
        resends: u32,
    ) -> Result<Reply, Failure> {
        let limit = left.min(ATTEMPT_TIMEOUT);
        let mut record = Attempt::start(self, call, callee, outgoing, resends);
        let (generation, client) = callee.pool();
        let request = request(callee, outgoing, limit, left, |headers| {
            self.telemetry.inject(&record.trace, headers);
        })
        .map_err(|error| Failure::Other(error.to_string()));
        let answered = match request {
            Ok(request) => {
                tokio::time::timeout(limit, exchange(&client, request)).await.unwrap_or(Err(Failure::Timeout))
            }
            Err(failure) => Err(failure),
        };
        let outcome = match answered {
            Ok(reply) if reply.status.is_server_error() => Err(Failure::Status(reply)),
            other => other,
        };
        if outcome == Err(Failure::Timeout) {
            callee.discard(generation);
        }
        record.end(&outcome);
        outcome
    }
}

fn pause(retry: usize) -> Duration {
    let base = BACKOFF_MS[retry.min(BACKOFF_MS.len() - 1)];
    Duration::from_millis(rand::rng().random_range(base * 3 / 4..=base * 5 / 4))
}

fn request(
    callee: &Callee,
    outgoing: &Outgoing<'_>,
    limit: Duration,
    left: Duration,
    inject: impl FnOnce(&mut HeaderMap),
) -> Result<Request<Full<Bytes>>, axum::http::Error> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(format!("{}:{}", callee.host, callee.port))
        .path_and_query(outgoing.path)
        .build()?;
    let mut request = Request::new(Full::new(outgoing.body.clone()));
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.reserve(8);
    headers.insert(ATTEMPT_BUDGET, HeaderValue::from(limit.as_millis() as u64));
    headers.insert(REQUEST_BUDGET, HeaderValue::from(left.as_millis() as u64));
    if let Some(key) = outgoing.key {
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(key)?);
    }
    if !outgoing.body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    inject(headers);
    Ok(request)
}

async fn exchange(client: &Http, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
    let response = client.request(request).await.map_err(|error| classify(&error))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| classify(error.as_ref()))?
        .to_bytes();
    Ok(Reply { status: parts.status, body })
}

/// Finds the cause in the chain of errors that the HTTP client reports.
fn classify(error: &(dyn std::error::Error + 'static)) -> Failure {
    use std::io::ErrorKind;
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                ErrorKind::ConnectionRefused => Failure::Refused,
                ErrorKind::TimedOut => Failure::Timeout,
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::NotConnected
                | ErrorKind::UnexpectedEof => Failure::Reset,
                _ => Failure::Other(io.to_string()),
            };
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>()
            && (http.is_incomplete_message() || http.is_canceled() || http.is_closed())
        {
            return Failure::Reset;
        }
        next = cause.source();
    }
    Failure::Other(error.to_string())
}

fn unix_micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

/// One attempt: its span and its line. Dropped before it ended (our own caller hung up) it is
/// written as `cancelled`, which says nothing about the callee.
struct Attempt<'a> {
    caller: &'static str,
    callee: &'static str,
    method: &'a Method,
    template: &'static str,
    started: u128,
    trace: Context,
    ended: bool,
}

impl<'a> Attempt<'a> {
    fn start(mesh: &Mesh, call: &Call, callee: &Callee, outgoing: &'a Outgoing<'_>, resends: u32) -> Self {
        let trace = if mesh.telemetry.traces() {
            let mut attributes = vec![
                KeyValue::new("http.request.method", outgoing.method.to_string()),
                KeyValue::new("server.address", callee.host.clone()),
                KeyValue::new("server.port", i64::from(callee.port)),
                KeyValue::new("url.path", outgoing.path.to_owned()),
                KeyValue::new("url.template", outgoing.template),
            ];
            if resends > 0 {
                attributes.push(KeyValue::new("http.request.resend_count", i64::from(resends)));
            }
            let name = format!("{} {}", outgoing.method, outgoing.template);
            mesh.telemetry.span(name, SpanKind::Client, attributes, &call.trace)
        } else {
            Context::new()
        };
        Self {
            caller: mesh.caller,
            callee: callee.name,
            method: &outgoing.method,
            template: outgoing.template,
            started: unix_micros(),
            trace,
            ended: false,
        }
    }

    fn end(&mut self, outcome: &Result<Reply, Failure>) {
        self.ended = true;
        let span = self.trace.span();
        if let Ok(Reply { status, .. }) | Err(Failure::Status(Reply { status, .. })) = outcome {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        let word = match outcome {
            Ok(reply) => {
                if reply.status.is_client_error() {
                    span.set_attribute(KeyValue::new("error.type", reply.status.as_str().to_owned()));
                    span.set_status(Status::error(""));
                }
                reply.status.as_str().to_owned()
            }
            Err(failure) => {
                span.set_attribute(KeyValue::new("error.type", failure.error_type()));
                span.set_status(Status::error(match failure {
                    Failure::Other(reason) => reason.clone(),
                    _ => String::new(),
                }));
                failure.name()
            }
        };
        span.end();
        self.line(&word);
    }

    fn line(&self, word: &str) {
        let line = format!(
            "attempt {} {} {} {} {word} {} {}\n",
            self.started,
            unix_micros(),
            self.caller,
            self.callee,
            self.method,
            self.template
        );
        output::write(line.as_bytes());
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let span = self.trace.span();
            span.set_attribute(KeyValue::new("error.type", "cancelled"));
            span.end();
            self.line("cancelled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_a_quarter() {
        for (retry, base) in [(0, 50), (1, 100), (2, 200), (3, 400), (9, 400)] {
            let pause = pause(retry).as_millis() as u64;
            assert!((base * 3 / 4..=base * 5 / 4).contains(&pause), "retry {retry} paused {pause} ms");
        }
    }

    #[test]
    fn the_cause_is_found_below_the_client_error() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(&refused), Failure::Refused);
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(classify(&broken), Failure::Reset);
    }
}
