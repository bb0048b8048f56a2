//! The payment provider: stands for a company outside the application. It keeps nothing and
//! sends no telemetry; the same key always gives the same answer.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Service, key};
use crate::request::Problem;

/// What the adapter asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorise {
    /// Who pays.
    pub payer: String,
    /// How much, in cents.
    pub amount_cents: i64,
}

/// What the provider answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Authorisation {
    /// The provider's code for it.
    pub code: String,
}

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new().route("/authorisations", post(authorise)).route("/authorisations/{id}/void", post(void))
}

async fn authorise(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Json(request): Json<Authorise>,
) -> Result<Response, Problem> {
    let key = key(&headers)?;
    if request.amount_cents > i64::from(service.config.decline_above_cents) {
        return Err(Problem::rejected(StatusCode::PAYMENT_REQUIRED, "declined"));
    }
    // FNV-1a: any fixed function of the key does.
    let code = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    Ok((StatusCode::CREATED, Json(Authorisation { code: format!("{code:016x}") })).into_response())
}

async fn void(Path(id): Path<String>) -> Response {
    Json(json!({ "id": id, "voided": true })).into_response()
}
