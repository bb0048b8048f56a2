//! Mails to consumers. The mail adapter delivers into a table, so that tests can read what was
//! sent; one mail per order, however often it is asked for.

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
    create: "
        CREATE TABLE IF NOT EXISTS mails (
            seq INTEGER PRIMARY KEY,
            order_id TEXT NOT NULL UNIQUE,
            consumer TEXT NOT NULL,
            subject TEXT NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;",
    prune: "DELETE FROM mails WHERE seq IN (
        SELECT seq FROM mails WHERE seq <= (SELECT max(seq) FROM mails) - ?1 ORDER BY seq LIMIT ?2)",
};

/// What Order asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// The order, and the key of the mail.
    pub order_id: String,
    /// Whom it goes to.
    pub consumer: String,
    /// What it says.
    pub subject: String,
}

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new().route("/notifications", post(send)).route("/notifications/{id}", get(show))
}

async fn send(State(service): State<Arc<Service>>, Json(mail): Json<Mail>) -> Result<Response, Problem> {
    sqlx::query(
        "INSERT INTO mails (order_id, consumer, subject, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (order_id) DO NOTHING",
    )
    .bind(&mail.order_id)
    .bind(&mail.consumer)
    .bind(&mail.subject)
    .bind(now_micros())
    .execute(service.store.writer().await?)
    .await
    .map_err(StoreError::from)?;
    let body = Json(json!({ "orderId": mail.order_id, "state": "SENT" }));
    Ok((StatusCode::CREATED, body).into_response())
}

async fn show(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found: Option<(String, String, i64)> =
        sqlx::query_as("SELECT consumer, subject, at FROM mails WHERE order_id = ?1")
            .bind(&id)
            .fetch_optional(service.store.reader().await?)
            .await
            .map_err(StoreError::from)?;
    let (consumer, subject, at) = found.ok_or_else(|| Problem::missing("notification", &id))?;
    Ok(Json(json!({ "orderId": id, "consumer": consumer, "subject": subject, "sentUnixMicros": at }))
        .into_response())
}
