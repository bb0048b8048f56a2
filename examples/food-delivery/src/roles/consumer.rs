//! Consumers, and whether one may place an order.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Service;
use crate::request::Problem;
use crate::store::{Schema, StoreError, now_micros};

pub(super) const SCHEMA: Schema = Schema {
    // A thousand consumers, c-0 to c-999, each with a limit of 500.00 per order.
    create: "
        CREATE TABLE IF NOT EXISTS consumers (
            id TEXT PRIMARY KEY,
            limit_cents INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT OR IGNORE INTO consumers (id, limit_cents)
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
            SELECT 'c-' || i, 50000 FROM n WHERE NOT EXISTS (SELECT 1 FROM consumers);
        CREATE TABLE IF NOT EXISTS checks (
            seq INTEGER PRIMARY KEY,
            order_id TEXT NOT NULL UNIQUE,
            consumer TEXT NOT NULL,
            amount_cents INTEGER NOT NULL,
            refusal TEXT,
            at INTEGER NOT NULL
        ) STRICT;",
    prune: "DELETE FROM checks WHERE seq IN (
        SELECT seq FROM checks WHERE seq <= (SELECT max(seq) FROM checks) - ?1 ORDER BY seq LIMIT ?2)",
};

/// What Order asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The order in question, and the key of the question.
    pub order_id: String,
    /// Its price in cents.
    pub amount_cents: i64,
}

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new().route("/consumers/{id}", get(show)).route("/consumers/{id}/checks", post(check))
}

async fn show(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found: Option<(i64,)> = sqlx::query_as("SELECT limit_cents FROM consumers WHERE id = ?1")
        .bind(&id)
        .fetch_optional(service.store.reader().await?)
        .await
        .map_err(StoreError::from)?;
    let (limit,) = found.ok_or_else(|| Problem::missing("consumer", &id))?;
    Ok(Json(json!({ "id": id, "limitCents": limit })).into_response())
}

async fn check(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    Json(check): Json<Check>,
) -> Result<Response, Problem> {
    // Nothing is inserted for an unknown consumer; the no-op update makes the first answer come
    // back when the order has been checked before.
    let mut verdicts: Vec<(Option<String>,)> = sqlx::query_as(
        "INSERT INTO checks (order_id, consumer, amount_cents, refusal, at)
         SELECT ?1, id, ?3,
                CASE WHEN ?3 > limit_cents THEN ?3 || ' cents are above the limit of ' || limit_cents END, ?4
         FROM consumers WHERE id = ?2
         ON CONFLICT (order_id) DO UPDATE SET order_id = excluded.order_id RETURNING refusal",
    )
    .bind(&check.order_id)
    .bind(&id)
    .bind(check.amount_cents)
    .bind(now_micros())
    .fetch_all(service.store.writer().await?)
    .await
    .map_err(StoreError::from)?;
    match verdicts.pop() {
        None => Err(Problem::missing("consumer", &id)),
        Some((None,)) => {
            Ok(Json(json!({ "orderId": check.order_id, "verdict": "ACCEPTED" })).into_response())
        }
        Some((Some(reason),)) => Err(Problem::rejected(StatusCode::CONFLICT, reason)),
    }
}
