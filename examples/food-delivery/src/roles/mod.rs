//! The services, one file each, and what they have in common.

pub mod accounting;
pub mod consumer;
pub mod gateway;
pub mod kitchen;
pub mod notification;
pub mod order;
pub mod payment_provider;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use hyper::body::Bytes;
use serde::Serialize;

use crate::call::{Call, IDEMPOTENCY_KEY};
use crate::config::Config;
use crate::mesh::{CallError, Mesh, Outgoing, Reply};
use crate::request::Problem;
use crate::store::{Schema, Store};

/// A service, or the provider outside the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The only entrance.
    Gateway,
    /// Orders and their states; calls all others.
    Order,
    /// Who may order what.
    Consumer,
    /// Tickets.
    Kitchen,
    /// Payments, through the provider.
    Accounting,
    /// Mails.
    Notification,
    /// Outside the application: authorises payments.
    PaymentProvider,
}

impl Role {
    /// All of them, callees before callers.
    pub const ALL: [Self; 7] = [
        Self::PaymentProvider,
        Self::Notification,
        Self::Accounting,
        Self::Kitchen,
        Self::Consumer,
        Self::Order,
        Self::Gateway,
    ];

    /// Name of the role, its Deployment and its Service.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Order => "order",
            Self::Consumer => "consumer",
            Self::Kitchen => "kitchen",
            Self::Accounting => "accounting",
            Self::Notification => "notification",
            Self::PaymentProvider => "payment-provider",
        }
    }

    /// Whom it calls.
    pub fn callees(self) -> &'static [Self] {
        match self {
            Self::Gateway => {
                &[Self::Order, Self::Consumer, Self::Kitchen, Self::Accounting, Self::Notification]
            }
            Self::Order => &[Self::Consumer, Self::Kitchen, Self::Accounting, Self::Notification],
            Self::Accounting => &[Self::PaymentProvider],
            Self::Consumer | Self::Kitchen | Self::Notification | Self::PaymentProvider => &[],
        }
    }

    /// What it keeps in SQLite, if anything.
    pub fn schema(self) -> Option<Schema> {
        match self {
            Self::Order => Some(order::SCHEMA),
            Self::Consumer => Some(consumer::SCHEMA),
            Self::Kitchen => Some(kitchen::SCHEMA),
            Self::Accounting => Some(accounting::SCHEMA),
            Self::Notification => Some(notification::SCHEMA),
            Self::Gateway | Self::PaymentProvider => None,
        }
    }

    /// Whether it is part of the application.
    pub fn inside(self) -> bool {
        self != Self::PaymentProvider
    }

    /// Its business paths.
    pub fn router(self, service: Arc<Service>) -> Router {
        match self {
            Self::Gateway => gateway::router(),
            Self::Order => order::router(),
            Self::Consumer => consumer::router(),
            Self::Kitchen => kitchen::router(),
            Self::Accounting => accounting::router(),
            Self::Notification => notification::router(),
            Self::PaymentProvider => payment_provider::router(),
        }
        .with_state(service)
    }
}

/// What the handlers of one service share.
pub struct Service {
    /// Its settings.
    pub config: Config,
    /// Its store (unused by roles without a schema).
    pub store: Store,
    /// Its callees.
    pub mesh: Mesh,
}

impl Service {
    /// Writes to a callee under a key.
    pub async fn post<T: Serialize>(
        &self,
        call: &Call,
        to: Role,
        template: &'static str,
        path: &str,
        key: &str,
        body: &T,
    ) -> Result<Reply, CallError> {
        // Only maps with keys that are not strings fail, and no message has one.
        let body = serde_json::to_vec(body).unwrap_or_default();
        let outgoing =
            Outgoing { method: Method::POST, path, template, key: Some(key), body: Bytes::from(body) };
        self.mesh.call(call, to, outgoing).await
    }
}

/// The idempotency key of a write: made by the client, and the id of what is written.
pub fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok()).filter(|key| is_id(key)).ok_or_else(|| {
        Problem::rejected(
            StatusCode::BAD_REQUEST,
            "the header Idempotency-Key is missing or malformed; send 1 to 64 letters, digits, '-' or '_'",
        )
    })
}

/// Whether a text can be an id.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_in_paths() {
        assert!(is_id("o-1_A"));
        for bad in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(!is_id(bad), "{bad:?} must be refused");
        }
    }

    #[test]
    fn nobody_calls_itself_or_a_caller_of_its_own() {
        let at = |role: Role| Role::ALL.iter().position(|r| *r == role);
        for role in Role::ALL {
            for callee in role.callees() {
                assert!(at(*callee) < at(role), "{} calls {}", role.name(), callee.name());
            }
        }
    }
}
