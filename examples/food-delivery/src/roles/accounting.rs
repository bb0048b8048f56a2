//! Payments. The payment adapter asks a provider outside the application; its answer is kept, so
//! that a repeated request never charges twice.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::payment_provider::{Authorisation, Authorise};
use super::{Role, Service};
use crate::call::Call;
use crate::request::Problem;
use crate::store::{Schema, StoreError, now_micros, returned};

pub(super) const SCHEMA: Schema = Schema {
    create: "
        CREATE TABLE IF NOT EXISTS payments (
            seq INTEGER PRIMARY KEY,
            order_id TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            amount_cents INTEGER NOT NULL,
            authorisation TEXT NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;",
    prune: "DELETE FROM payments WHERE seq IN (
        SELECT seq FROM payments WHERE seq <= (SELECT max(seq) FROM payments) - ?1 ORDER BY seq LIMIT ?2)",
};

const AUTHORISED: &str = "AUTHORISED";
const DECLINED: &str = "DECLINED";
const VOIDED: &str = "VOIDED";

/// What Order asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewPayment {
    /// The order, and the key of the payment.
    pub order_id: String,
    /// Who pays.
    pub consumer: String,
    /// How much, in cents.
    pub amount_cents: i64,
}

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/payments", post(authorise))
        .route("/payments/{id}", get(show))
        .route("/payments/{id}/void", post(void))
}

async fn find(service: &Service, id: &str) -> Result<Option<(String, i64, String)>, Problem> {
    let found = sqlx::query_as("SELECT state, amount_cents, authorisation FROM payments WHERE order_id = ?1")
        .bind(id)
        .fetch_optional(service.store.reader().await?)
        .await
        .map_err(StoreError::from)?;
    Ok(found)
}

fn answer(id: &str, state: &str, authorisation: &str) -> Result<Response, Problem> {
    match state {
        AUTHORISED => {
            let body = json!({ "orderId": id, "state": state, "authorisation": authorisation });
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        DECLINED => Err(Problem::rejected(StatusCode::PAYMENT_REQUIRED, format!("payment {id} is declined"))),
        _ => Err(Problem::rejected(StatusCode::CONFLICT, format!("payment {id} is {state}"))),
    }
}

async fn authorise(
    State(service): State<Arc<Service>>,
    Extension(call): Extension<Call>,
    Json(payment): Json<NewPayment>,
) -> Result<Response, Problem> {
    let id = payment.order_id.as_str();
    if let Some((state, _, authorisation)) = find(&service, id).await? {
        return answer(id, &state, &authorisation);
    }
    let (state, authorisation) = ask_provider(&service, &call, &payment).await?;
    let (state, authorisation): (String, String) = sqlx::query_as(
        "INSERT INTO payments (order_id, state, amount_cents, authorisation, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (order_id) DO UPDATE SET order_id = excluded.order_id RETURNING state, authorisation",
    )
    .bind(id)
    .bind(state)
    .bind(payment.amount_cents)
    .bind(authorisation)
    .bind(now_micros())
    .fetch_all(service.store.writer().await?)
    .await
    .map_err(StoreError::from)
    .and_then(returned)?;
    answer(id, &state, &authorisation)
}

/// The payment adapter.
async fn ask_provider(
    service: &Service,
    call: &Call,
    payment: &NewPayment,
) -> Result<(&'static str, String), Problem> {
    let request = Authorise { payer: payment.consumer.clone(), amount_cents: payment.amount_cents };
    let key = payment.order_id.as_str();
    let path = "/authorisations";
    let reply = service.post(call, Role::PaymentProvider, path, path, key, &request).await?;
    match reply.status {
        StatusCode::PAYMENT_REQUIRED => Ok((DECLINED, String::new())),
        status if status.is_success() => {
            let authorisation: Authorisation = serde_json::from_slice(&reply.body).map_err(|error| {
                Problem::rejected(
                    StatusCode::BAD_GATEWAY,
                    format!("the provider's answer is broken: {error}"),
                )
            })?;
            Ok((AUTHORISED, authorisation.code))
        }
        status => Err(Problem::rejected(StatusCode::BAD_GATEWAY, format!("the provider answered {status}"))),
    }
}

async fn show(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (state, amount, authorisation) =
        find(&service, &id).await?.ok_or_else(|| Problem::missing("payment", &id))?;
    Ok(Json(json!({ "orderId": id, "state": state, "amountCents": amount, "authorisation": authorisation }))
        .into_response())
}

/// Gives an authorisation back. One that is not there yet is noted as voided, so that a request
/// still on its way cannot charge.
async fn void(
    State(service): State<Arc<Service>>,
    Extension(call): Extension<Call>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    if let Some((state, _, _)) = find(&service, &id).await?
        && state == AUTHORISED
    {
        let path = format!("/authorisations/{id}/void");
        let template = "/authorisations/{id}/void";
        service.post(&call, Role::PaymentProvider, template, &path, &id, &()).await?;
    }
    sqlx::query(
        "INSERT INTO payments (order_id, state, amount_cents, authorisation, at) VALUES (?1, ?2, 0, '', ?3)
         ON CONFLICT (order_id) DO UPDATE SET state = excluded.state WHERE state = 'AUTHORISED'",
    )
    .bind(&id)
    .bind(VOIDED)
    .bind(now_micros())
    .execute(service.store.writer().await?)
    .await
    .map_err(StoreError::from)?;
    Ok(Json(json!({ "orderId": id, "state": VOIDED })).into_response())
}
