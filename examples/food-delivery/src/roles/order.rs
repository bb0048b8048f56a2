//! Orders: a chain of idempotent calls with a committed state after each.
//!
//! APPROVAL-PENDING -> (Consumer agrees, Kitchen has a ticket) CREATE-PENDING -> (Accounting has
//! the payment) PAYMENT-CONFIRMED -> (Notification has the mail) APPROVED; CANCELLED on any
//! failure. A repeated request, also after a restart, goes on where the last one stopped. When a
//! callee fails and the caller still has time, the order stays pending for the caller's next
//! attempt; else it is cancelled. What no caller comes back for is cancelled by `recover`, which
//! also undoes the tickets and payments of cancelled orders.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::accounting::NewPayment;
use super::consumer::Check;
use super::kitchen::NewTicket;
use super::notification::Mail;
use super::{Role, Service, is_id, key};
use crate::call::Call;
use crate::mesh::{CallError, Reply};
use crate::request::Problem;
use crate::store::{Schema, StoreError, now_micros};

pub(super) const SCHEMA: Schema = Schema {
    create: "
        CREATE TABLE IF NOT EXISTS orders (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            consumer TEXT NOT NULL,
            amount_cents INTEGER NOT NULL,
            items TEXT NOT NULL,
            state TEXT NOT NULL,
            status INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            undone INTEGER NOT NULL DEFAULT 0,
            changed_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX IF NOT EXISTS unfinished ON orders (seq)
            WHERE state <> 'APPROVED' AND undone = 0;",
    prune: "DELETE FROM orders WHERE seq IN (
        SELECT seq FROM orders WHERE seq <= (SELECT max(seq) FROM orders) - ?1 ORDER BY seq LIMIT ?2)",
};

const APPROVAL_PENDING: &str = "APPROVAL-PENDING";
const CREATE_PENDING: &str = "CREATE-PENDING";
const PAYMENT_CONFIRMED: &str = "PAYMENT-CONFIRMED";
const APPROVED: &str = "APPROVED";
const CANCELLED: &str = "CANCELLED";

/// With less time left the caller is not expected to come again.
const LAST_CHANCE: Duration = Duration::from_millis(250);
/// An order that nobody has moved for this long is given up. Longer than any caller waits.
const ABANDONED: Duration = Duration::from_secs(5);
const RECOVER_EVERY: Duration = Duration::from_secs(1);
const RECOVER_ROWS: i64 = 50;
/// One undoing call; it is repeated a second later anyway.
const UNDO: Duration = Duration::from_millis(400);

/// One line of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// What.
    pub dish: String,
    /// How many.
    pub quantity: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewOrder {
    consumer: String,
    amount_cents: i64,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Row {
    consumer: String,
    amount_cents: i64,
    items: String,
    state: String,
    status: u16,
    reason: String,
}

const COLUMNS: &str = "SELECT consumer, amount_cents, items, state, status, reason FROM orders WHERE id = ?1";

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new().route("/orders", post(place).get(list)).route("/orders/{id}", get(show))
}

/// Most orders on one page of the list.
const PAGE: i64 = 5000;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Listing {
    after: i64,
    limit: i64,
}

impl Default for Listing {
    fn default() -> Self {
        Self { after: 0, limit: 100 }
    }
}

/// Ids and states in order of arrival, page by page; `next` is missing after the last page.
async fn list(
    State(service): State<Arc<Service>>,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = listing.limit.clamp(1, PAGE);
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT seq, id, state FROM orders WHERE seq > ?1 ORDER BY seq LIMIT ?2")
            .bind(listing.after)
            .bind(limit)
            .fetch_all(service.store.reader().await?)
            .await
            .map_err(StoreError::from)?;
    let full = rows.len() as i64 == limit;
    let next = rows.last().filter(|_| full).map(|(seq, ..)| *seq);
    let orders: Vec<_> = rows.iter().map(|(_, id, state)| json!({ "id": id, "state": state })).collect();
    Ok(Json(json!({ "orders": orders, "next": next })).into_response())
}

async fn find(service: &Service, id: &str) -> Result<Option<Row>, Problem> {
    let found: Option<(String, i64, String, String, u16, String)> = sqlx::query_as(COLUMNS)
        .bind(id)
        .fetch_optional(service.store.reader().await?)
        .await
        .map_err(StoreError::from)?;
    Ok(found.map(|(consumer, amount_cents, items, state, status, reason)| Row {
        consumer,
        amount_cents,
        items,
        state,
        status,
        reason,
    }))
}

async fn show(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = find(&service, &id).await?.ok_or_else(|| Problem::missing("order", &id))?;
    let items: serde_json::Value = serde_json::from_str(&row.items).unwrap_or_default();
    Ok(Json(json!({
        "id": id,
        "consumer": row.consumer,
        "amountCents": row.amount_cents,
        "items": items,
        "state": row.state,
        "reason": row.reason,
    }))
    .into_response())
}

async fn place(
    State(service): State<Arc<Service>>,
    Extension(call): Extension<Call>,
    headers: HeaderMap,
    Json(order): Json<NewOrder>,
) -> Result<Response, Problem> {
    let id = key(&headers)?;
    let invalid = |reason: &str| Problem::rejected(StatusCode::BAD_REQUEST, reason);
    if !is_id(&order.consumer) {
        return Err(invalid("consumer is malformed"));
    }
    if order.amount_cents <= 0 || order.items.is_empty() {
        return Err(invalid("an order has a positive amountCents and at least one item"));
    }
    let mut row = Row {
        consumer: order.consumer,
        amount_cents: order.amount_cents,
        items: serde_json::to_string(&order.items).unwrap_or_default(),
        state: APPROVAL_PENDING.to_owned(),
        status: 0,
        reason: String::new(),
    };
    let inserted = sqlx::query(
        "INSERT INTO orders (id, consumer, amount_cents, items, state, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(&row.consumer)
    .bind(row.amount_cents)
    .bind(&row.items)
    .bind(&row.state)
    .bind(now_micros())
    .execute(service.store.writer().await?)
    .await
    .map_err(StoreError::from)?;
    if inserted.rows_affected() == 0 {
        row = find(&service, id).await?.ok_or_else(|| Problem::missing("order", id))?;
    }
    drive(&service, &call, id, row).await
}

/// Moves an order on until it is approved, cancelled, or waits for the caller's next attempt.
async fn drive(service: &Service, call: &Call, id: &str, mut row: Row) -> Result<Response, Problem> {
    loop {
        let (step, next) = match row.state.as_str() {
            APPROVAL_PENDING => (Step::Admit, CREATE_PENDING),
            CREATE_PENDING => (Step::Pay, PAYMENT_CONFIRMED),
            PAYMENT_CONFIRMED => (Step::Tell, APPROVED),
            _ => return Ok(finished(id, &row)),
        };
        match take(service, call, id, &row, step).await {
            Ok(None) => advance(service, id, &mut row, next).await?,
            Ok(Some(refusal)) => {
                cancel(service, id, &mut row, StatusCode::CONFLICT, &refusal).await?;
            }
            Err(error) => {
                if call.request_end.saturating_duration_since(Instant::now()) > LAST_CHANCE {
                    return Err(error.into());
                }
                let reason = error.to_string();
                cancel(service, id, &mut row, StatusCode::SERVICE_UNAVAILABLE, &reason).await?;
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Step {
    Admit,
    Pay,
    Tell,
}

/// Does one step; `Some` is a callee's refusal.
async fn take(
    service: &Service,
    call: &Call,
    id: &str,
    row: &Row,
    step: Step,
) -> Result<Option<String>, CallError> {
    match step {
        Step::Admit => {
            let check = Check { order_id: id.to_owned(), amount_cents: row.amount_cents };
            let path = format!("/consumers/{}/checks", row.consumer);
            let template = "/consumers/{id}/checks";
            let reply = service.post(call, Role::Consumer, template, &path, id, &check).await?;
            if let Some(refusal) = refusal(Role::Consumer, &reply) {
                return Ok(Some(refusal));
            }
            let items = serde_json::from_str(&row.items).unwrap_or_default();
            let ticket = NewTicket { order_id: id.to_owned(), items };
            let reply = service.post(call, Role::Kitchen, "/tickets", "/tickets", id, &ticket).await?;
            Ok(refusal(Role::Kitchen, &reply))
        }
        Step::Pay => {
            let payment = NewPayment {
                order_id: id.to_owned(),
                consumer: row.consumer.clone(),
                amount_cents: row.amount_cents,
            };
            let reply = service.post(call, Role::Accounting, "/payments", "/payments", id, &payment).await?;
            Ok(refusal(Role::Accounting, &reply))
        }
        Step::Tell => {
            let mail = Mail {
                order_id: id.to_owned(),
                consumer: row.consumer.clone(),
                subject: format!("Your order {id} is on its way"),
            };
            let path = "/notifications";
            let reply = service.post(call, Role::Notification, path, path, id, &mail).await?;
            Ok(refusal(Role::Notification, &reply))
        }
    }
}

fn refusal(from: Role, reply: &Reply) -> Option<String> {
    if reply.status.is_success() {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let reason = body.get("error").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
    Some(format!("{} refused: {reason}", from.name()))
}

async fn advance(service: &Service, id: &str, row: &mut Row, next: &str) -> Result<(), Problem> {
    let moved = sqlx::query("UPDATE orders SET state = ?1, changed_at = ?2 WHERE id = ?3 AND state = ?4")
        .bind(next)
        .bind(now_micros())
        .bind(id)
        .bind(&row.state)
        .execute(service.store.writer().await?)
        .await
        .map_err(StoreError::from)?;
    if moved.rows_affected() == 1 {
        next.clone_into(&mut row.state);
    } else {
        // Another attempt for the same order was faster; its state counts.
        *row = find(service, id).await?.ok_or_else(|| Problem::missing("order", id))?;
    }
    Ok(())
}

async fn cancel(
    service: &Service,
    id: &str,
    row: &mut Row,
    status: StatusCode,
    reason: &str,
) -> Result<(), Problem> {
    sqlx::query(
        "UPDATE orders SET state = 'CANCELLED', status = ?1, reason = ?2, changed_at = ?3
         WHERE id = ?4 AND state NOT IN ('APPROVED', 'CANCELLED')",
    )
    .bind(status.as_u16())
    .bind(reason)
    .bind(now_micros())
    .bind(id)
    .execute(service.store.writer().await?)
    .await
    .map_err(StoreError::from)?;
    *row = find(service, id).await?.ok_or_else(|| Problem::missing("order", id))?;
    Ok(())
}

/// The first and every later answer for a finished order.
fn finished(id: &str, row: &Row) -> Response {
    if row.state == APPROVED {
        return (StatusCode::CREATED, Json(json!({ "id": id, "state": APPROVED }))).into_response();
    }
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let body = json!({ "id": id, "state": row.state, "error": row.reason });
    (status, Json(body)).into_response()
}

/// Gives up abandoned orders and undoes what cancelled ones left behind, forever.
pub async fn recover(service: Arc<Service>) {
    loop {
        tokio::time::sleep(RECOVER_EVERY).await;
        if let Err(problem) = recover_once(&service).await {
            tracing::warn!(problem = %problem, "unfinished orders remain; tried again in a second");
        }
    }
}

async fn recover_once(service: &Service) -> Result<(), Problem> {
    let abandoned = now_micros() - ABANDONED.as_micros() as i64;
    let unfinished: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, state FROM orders WHERE state <> 'APPROVED' AND undone = 0
         AND (state = 'CANCELLED' OR changed_at < ?1) ORDER BY seq LIMIT ?2",
    )
    .bind(abandoned)
    .bind(RECOVER_ROWS)
    .fetch_all(service.store.reader().await?)
    .await
    .map_err(StoreError::from)?;
    for (id, state) in unfinished {
        if state != CANCELLED {
            sqlx::query(
                "UPDATE orders SET state = 'CANCELLED', status = 503, reason = 'abandoned', changed_at = ?1
                 WHERE id = ?2 AND state <> 'APPROVED' AND changed_at < ?3",
            )
            .bind(now_micros())
            .bind(&id)
            .bind(abandoned)
            .execute(service.store.writer().await?)
            .await
            .map_err(StoreError::from)?;
            // Undone a second later, in case an attempt was just under way.
            continue;
        }
        let call = Call::own(UNDO);
        let template = "/tickets/{id}/cancel";
        service.post(&call, Role::Kitchen, template, &format!("/tickets/{id}/cancel"), &id, &()).await?;
        let call = Call::own(UNDO);
        let template = "/payments/{id}/void";
        service.post(&call, Role::Accounting, template, &format!("/payments/{id}/void"), &id, &()).await?;
        sqlx::query("UPDATE orders SET undone = 1 WHERE id = ?1")
            .bind(&id)
            .execute(service.store.writer().await?)
            .await
            .map_err(StoreError::from)?;
    }
    Ok(())
}
