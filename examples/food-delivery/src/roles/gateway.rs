//! The entrance: checks the key and passes each request to the service that owns it.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper::body::Bytes;

use super::{Role, Service, is_id, key};
use crate::call::Call;
use crate::mesh::{CallError, Failure, Outgoing, Reply};
use crate::request::Problem;

const MAX_ORDER_BYTES: usize = 16 << 10;

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/orders", post(place))
        .route("/orders/{id}", get(order))
        .route("/consumers/{id}", get(consumer))
        .route("/tickets/{id}", get(ticket))
        .route("/payments/{id}", get(payment))
        .route("/notifications/{id}", get(notification))
        .layer(DefaultBodyLimit::max(MAX_ORDER_BYTES))
}

async fn place(
    State(service): State<Arc<Service>>,
    Extension(call): Extension<Call>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    let outgoing =
        Outgoing { method: Method::POST, path: "/orders", template: "/orders", key: Some(key), body };
    pass(service.mesh.call(&call, Role::Order, outgoing).await)
}

macro_rules! read {
    ($name:ident, $owner:expr, $folder:literal) => {
        async fn $name(
            State(service): State<Arc<Service>>,
            Extension(call): Extension<Call>,
            Path(id): Path<String>,
        ) -> Result<Response, Problem> {
            if !is_id(&id) {
                return Err(Problem::rejected(StatusCode::BAD_REQUEST, "the id is malformed"));
            }
            let outgoing = Outgoing {
                method: Method::GET,
                path: &format!(concat!($folder, "/{}"), id),
                template: concat!($folder, "/{id}"),
                key: None,
                body: Bytes::new(),
            };
            pass(service.mesh.call(&call, $owner, outgoing).await)
        }
    };
}

read!(order, Role::Order, "/orders");
read!(consumer, Role::Consumer, "/consumers");
read!(ticket, Role::Kitchen, "/tickets");
read!(payment, Role::Accounting, "/payments");
read!(notification, Role::Notification, "/notifications");

/// Hands on the callee's last answer; what has none becomes 503 or 504.
fn pass(outcome: Result<Reply, CallError>) -> Result<Response, Problem> {
    match outcome {
        Ok(reply) | Err(CallError { failure: Failure::Status(reply), .. }) => {
            Ok((reply.status, [(header::CONTENT_TYPE, "application/json")], reply.body).into_response())
        }
        Err(error) => Err(error.into()),
    }
}
