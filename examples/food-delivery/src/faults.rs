//! Faults inside the process, for chaos tests: switched over the admin port, kept in memory only,
//! so that a restarted process is healthy.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing: healthy.
    #[default]
    None,
    /// Requests are answered 500.
    Errors,
    /// Requests wait first.
    Slow,
    /// Memory grows.
    Leak,
}

/// The switch, as `GET /fault` shows it and `POST /fault` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Whether `/healthz` and `/readyz` suffer too (errors and slow).
    pub include_probes: bool,
    /// How long slow requests wait.
    pub delay_milliseconds: u64,
    /// Growth of a leak.
    pub mebibytes_per_second: u32,
    /// Where a leak stops when no memory limit ends the process first.
    pub limit_mebibytes: usize,
    /// What a leak holds now; ignored on input.
    pub leaked_mebibytes: usize,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            kind: Kind::None,
            include_probes: false,
            delay_milliseconds: 2000,
            mebibytes_per_second: 20,
            limit_mebibytes: 1024,
            leaked_mebibytes: 0,
        }
    }
}

/// The switch of one process.
#[derive(Default)]
pub struct Faults {
    current: Mutex<Fault>,
    leaked: AtomicUsize,
    epoch: AtomicU64,
}

impl Faults {
    /// The fault that is on.
    pub fn current(&self) -> Fault {
        let mut fault = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fault.leaked_mebibytes = self.leaked.load(Ordering::Relaxed);
        fault
    }

    /// Suffers the current fault: waits, or gives the answer that replaces the real one.
    pub async fn suffer(&self, probe: bool) -> Option<Response> {
        let (kind, delay) = {
            let fault = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if probe && !fault.include_probes {
                return None;
            }
            (fault.kind, fault.delay_milliseconds)
        };
        match kind {
            Kind::None | Kind::Leak => None,
            Kind::Errors => {
                let body = Json(serde_json::json!({ "error": "internal error" }));
                Some((StatusCode::INTERNAL_SERVER_ERROR, body).into_response())
            }
            Kind::Slow => {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                None
            }
        }
    }

    fn switch(self: &Arc<Self>, fault: Fault) {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let leak = (fault.kind == Kind::Leak).then(|| fault.clone());
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        if let Some(fault) = leak {
            let faults = Arc::clone(self);
            tokio::spawn(async move { faults.leak(fault, epoch).await });
        }
    }

    /// Allocates and touches one mebibyte at a time until switched off.
    async fn leak(&self, fault: Fault, epoch: u64) {
        let mut held: Vec<Vec<u8>> = Vec::new();
        let pause = Duration::from_secs(1) / fault.mebibytes_per_second.max(1);
        while self.epoch.load(Ordering::Relaxed) == epoch {
            if held.len() < fault.limit_mebibytes {
                // A pattern that differs, so that no two pages could ever be shared.
                let seed = held.len();
                held.push((0..1 << 20).map(|at: usize| (at.wrapping_mul(31) ^ seed) as u8).collect());
                self.leaked.store(std::hint::black_box(&held).len(), Ordering::Relaxed);
            }
            tokio::time::sleep(pause).await;
        }
        self.leaked.store(0, Ordering::Relaxed);
    }
}

/// The admin paths.
pub fn router(faults: Arc<Faults>) -> axum::Router {
    axum::Router::new().route("/fault", get(show).post(switch)).with_state(faults)
}

async fn show(State(faults): State<Arc<Faults>>) -> Json<Fault> {
    Json(faults.current())
}

async fn switch(State(faults): State<Arc<Faults>>, Json(fault): Json<Fault>) -> Json<Fault> {
    faults.switch(fault);
    Json(faults.current())
}
