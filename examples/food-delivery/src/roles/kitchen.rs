//! Tickets: what the kitchen has accepted to cook.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Service;
use super::order::Item;
use crate::request::Problem;
use crate::store::{Schema, StoreError, now_micros, returned};

pub(super) const SCHEMA: Schema = Schema {
    create: "
        CREATE TABLE IF NOT EXISTS tickets (
            seq INTEGER PRIMARY KEY,
            order_id TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            items INTEGER NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;",
    prune: "DELETE FROM tickets WHERE seq IN (
        SELECT seq FROM tickets WHERE seq <= (SELECT max(seq) FROM tickets) - ?1 ORDER BY seq LIMIT ?2)",
};

const ACCEPTED: &str = "ACCEPTED";
const REJECTED: &str = "REJECTED";
const CANCELLED: &str = "CANCELLED";

/// What Order asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewTicket {
    /// The order, and the key of the ticket.
    pub order_id: String,
    /// What to cook.
    pub items: Vec<Item>,
}

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/tickets", post(create))
        .route("/tickets/{id}", get(show))
        .route("/tickets/{id}/cancel", post(cancel))
}

async fn create(
    State(service): State<Arc<Service>>,
    Json(ticket): Json<NewTicket>,
) -> Result<Response, Problem> {
    let fits = ticket.items.len() <= service.config.kitchen_items && !ticket.items.is_empty();
    let (state,): (String,) = sqlx::query_as(
        "INSERT INTO tickets (order_id, state, items, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (order_id) DO UPDATE SET order_id = excluded.order_id RETURNING state",
    )
    .bind(&ticket.order_id)
    .bind(if fits { ACCEPTED } else { REJECTED })
    .bind(ticket.items.len() as i64)
    .bind(now_micros())
    .fetch_all(service.store.writer().await?)
    .await
    .map_err(StoreError::from)
    .and_then(returned)?;
    if state == ACCEPTED {
        let body = Json(json!({ "orderId": ticket.order_id, "state": state }));
        Ok((StatusCode::CREATED, body).into_response())
    } else {
        Err(Problem::rejected(StatusCode::CONFLICT, format!("ticket {} is {state}", ticket.order_id)))
    }
}

async fn show(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found: Option<(String, i64)> = sqlx::query_as("SELECT state, items FROM tickets WHERE order_id = ?1")
        .bind(&id)
        .fetch_optional(service.store.reader().await?)
        .await
        .map_err(StoreError::from)?;
    let (state, items) = found.ok_or_else(|| Problem::missing("ticket", &id))?;
    Ok(Json(json!({ "orderId": id, "state": state, "items": items })).into_response())
}

/// Undoes a ticket. One that is not there yet is noted as cancelled, so that a request still on
/// its way cannot bring it to life.
async fn cancel(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Result<Response, Problem> {
    sqlx::query(
        "INSERT INTO tickets (order_id, state, items, at) VALUES (?1, ?2, 0, ?3)
         ON CONFLICT (order_id) DO UPDATE SET state = excluded.state",
    )
    .bind(&id)
    .bind(CANCELLED)
    .bind(now_micros())
    .execute(service.store.writer().await?)
    .await
    .map_err(StoreError::from)?;
    Ok(Json(json!({ "orderId": id, "state": CANCELLED })).into_response())
}
