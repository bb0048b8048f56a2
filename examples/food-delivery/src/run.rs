//! The life of one service: listen first, open everything else behind it, end in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Json, Router};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, ConfigError};
use crate::faults::{self, Faults};
use crate::mesh::Mesh;
use crate::output;
use crate::request::{Around, around, around_probes};
use crate::roles::{Role, Service, order};
use crate::server::{self, ListenError};
use crate::store::{OpenError, Store};
use crate::telemetry::{Telemetry, TelemetryError};

/// Another pod may hold the lock for a moment while it switches the file to the write-ahead log.
const OPEN_TRIES: u32 = 10;
const OPEN_PAUSE: Duration = Duration::from_millis(300);
/// Telemetry gets this long at the end, then the process ends anyway.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// Why a service ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port is taken or the address is not ours.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The export address is wrong.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The operating system gave no thread or signal handler.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a service until SIGTERM or SIGINT.
pub fn run(role: Role, config: Config, started: Instant) -> Result<(), RunError> {
    output::start()?;
    // One thread: each service does a few hundred small things a second, and waking fewer
    // threads is cheaper than spreading them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(live(role, config, started));
    // A name lookup that hangs must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn live(role: Role, config: Config, started: Instant) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let business = server::listen(config.listen).await?;
    let admin = server::listen(config.admin).await?;
    let telemetry = Arc::new(Telemetry::start(role.name(), role.inside())?);
    tracing::info!(
        service = role.name(),
        address = %business.local_addr()?,
        admin = %admin.local_addr()?,
        milliseconds = started.elapsed().as_secs_f64() * 1e3,
        "listening"
    );

    let faults = Arc::new(Faults::default());
    let wrap = Arc::new(Around::new(Arc::clone(&telemetry), Arc::clone(&faults), config.max_in_flight));
    let service = Arc::new(Service {
        mesh: Mesh::new(role, &config, Arc::clone(&telemetry)),
        store: Store::default(),
        config,
    });
    let probes = Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .layer(from_fn_with_state(Arc::clone(&wrap), around_probes))
        .with_state((role, Arc::clone(&service), Arc::clone(&wrap)));
    let router =
        role.router(Arc::clone(&service)).layer(from_fn_with_state(Arc::clone(&wrap), around)).merge(probes);
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server::serve(business, router, stopped.clone(), Some(started)));
    tokio::spawn(server::serve(admin, faults::router(faults), stopped, None));

    let asked_to_end = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(asked_to_end);
    tokio::select! {
        biased;
        () = &mut asked_to_end => {}
        opened = open_store(role, &service, started) => {
            opened?;
            asked_to_end.await;
        }
    }

    tracing::info!("ending: no longer ready, still answering");
    wrap.draining.store(true, Ordering::Relaxed);
    tokio::time::sleep(service.config.lame_duck()).await;
    let _ = stop.send(true);
    let _ = serving.await;
    service.store.close().await;
    tracing::info!("ended");
    let last = tokio::task::spawn_blocking(move || telemetry.shut_down());
    let _ = tokio::time::timeout(LAST_FLUSH, last).await;
    Ok(())
}

/// Opens the store, if the role has one, and starts what works on it in the background.
async fn open_store(role: Role, service: &Arc<Service>, started: Instant) -> Result<(), RunError> {
    let Some(schema) = role.schema() else { return Ok(()) };
    let path = service.config.data.join(format!("{}.db", role.name()));
    let mut tries = 1;
    while let Err(error) = service.store.open(path.clone(), schema).await {
        if tries == OPEN_TRIES {
            return Err(error.into());
        }
        tracing::warn!(error = %error, tries, "the store does not open; tried again soon");
        tries += 1;
        tokio::time::sleep(OPEN_PAUSE).await;
    }
    tracing::info!(milliseconds = started.elapsed().as_secs_f64() * 1e3, "store open");
    let pruning = Arc::clone(service);
    tokio::spawn(async move { pruning.store.prune(schema, pruning.config.max_rows).await });
    if role == Role::Order {
        tokio::spawn(order::recover(Arc::clone(service)));
    }
    Ok(())
}

type Probed = (Role, Arc<Service>, Arc<Around>);

async fn healthy() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "alive": true }))
}

/// Ready when the own store answers; other services are their own affair.
async fn ready(State((role, service, around)): State<Probed>) -> (StatusCode, Json<serde_json::Value>) {
    let ending = around.draining.load(Ordering::Relaxed);
    let ready = !ending && (role.schema().is_none() || service.store.answers().await);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": ready })))
}
