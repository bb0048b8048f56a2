//! One user's HTTP/1.1 connections.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::record::Plan;
use crate::truth::Outcome;

/// The gateway promises an answer within 2 s.
pub const TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(1);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One user.
#[derive(Debug)]
pub struct User {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl User {
    /// A user of the gateway at `target`; connects with the first request.
    pub fn new(target: &Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Self { base: target.to_string().trim_end_matches('/').to_owned(), client }
    }

    /// Sends one request and reads the whole answer; never fails, the outcome says how it went.
    pub async fn send(&self, plan: &Plan) -> Outcome {
        let method = if plan.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(format!("{}{}", self.base, plan.path));
        if plan.body.is_some() {
            request = request.header(IDEMPOTENCY_KEY, &plan.id).header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(plan.body.clone().map(Bytes::from).unwrap_or_default());
        let Ok(request) = request.body(body) else { return Outcome::Error };
        match tokio::time::timeout(TIMEOUT, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Timeout,
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
        match self.client.request(request).await {
            Err(error) => outcome_of(&error),
            Ok(response) => {
                let status = response.status().as_u16();
                match response.into_body().collect().await {
                    Ok(_) => Outcome::Status(status),
                    Err(_) => Outcome::Reset,
                }
            }
        }
    }
}

fn outcome_of(error: &Error) -> Outcome {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::ConnectionRefused => Outcome::Refused,
                std::io::ErrorKind::TimedOut => Outcome::Timeout,
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => Outcome::Reset,
                _ => Outcome::Error,
            };
        }
        if current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return Outcome::Reset;
        }
        cause = current.source();
    }
    Outcome::Error
}
