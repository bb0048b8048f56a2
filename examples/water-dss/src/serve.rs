//! The API of a tenant: plans pumps on request, with a fixed amount of CPU time for each, one after the other.

use crate::work;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

/// Requests that may wait for their turn; more are answered 503.
const WAITING: usize = 200;
/// After SIGTERM it still answers for so long, until callers are told.
const LAME_DUCK: Duration = Duration::from_secs(1);

/// Where it listens and how much a plan costs.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address of the API, of readiness and of metrics
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// CPU time of one plan, in milliseconds
    #[arg(long, env = "PLAN_MILLISECONDS", default_value_t = 5)]
    plan_milliseconds: u64,
}

struct Api {
    /// CPU time of one plan.
    cost: Duration,
    /// Plans are computed one at a time.
    turn: Semaphore,
    /// Places to wait in.
    room: Semaphore,
    asked: AtomicU64,
    answered: AtomicU64,
}

pub fn run(args: &ServeArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("water-dss: cannot set up the API: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("water-dss: cannot serve {}: {error}; is another process using the port?", args.listen);
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &ServeArgs) -> std::io::Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = async move {
        let _ = terminate.recv().await;
        tokio::time::sleep(LAME_DUCK).await;
    };
    axum::serve(listener, router(Duration::from_millis(args.plan_milliseconds)))
        .with_graceful_shutdown(ended)
        .await
}

fn router(cost: Duration) -> Router {
    let api = Api {
        cost,
        turn: Semaphore::new(1),
        room: Semaphore::new(WAITING),
        asked: AtomicU64::new(0),
        answered: AtomicU64::new(0),
    };
    Router::new()
        .route("/plan/{seed}", get(plan))
        .route("/ready", get(async || "ok"))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(api))
}

async fn plan(State(api): State<Arc<Api>>, Path(seed): Path<u64>) -> Result<Json<Value>, StatusCode> {
    api.asked.fetch_add(1, Ordering::Relaxed);
    let _place = api.room.try_acquire().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let _turn = api.turn.acquire().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let cost = api.cost;
    let cheapest = tokio::task::spawn_blocking(move || {
        let began = cpu_time();
        work::plan(seed, || cpu_time().saturating_sub(began) >= cost)
    })
    .await
    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    api.answered.fetch_add(1, Ordering::Relaxed);
    Ok(Json(json!({ "seed": seed, "cost": cheapest })))
}

/// CPU time of this thread. A clock that cannot be read counts as far advanced: the plan ends.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from)
}

/// For Prometheus: requests are counted when they come, so that the load is seen also when it is too much.
async fn metrics(State(api): State<Arc<Api>>) -> String {
    let [asked, answered] = [&api.asked, &api.answered].map(|count| count.load(Ordering::Relaxed));
    let mut text = String::new();
    for (name, help, value) in [
        ("http_requests_total", "Requests that came.", asked),
        ("http_responses_total", "Plans that were answered.", answered),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_costs_the_cpu_time_that_was_said() {
        let began = cpu_time();
        let cost = Duration::from_millis(20);
        work::plan(7, || cpu_time().saturating_sub(began) >= cost);
        assert!(cpu_time().saturating_sub(began) >= cost);
    }

    #[tokio::test]
    async fn requests_are_counted_when_they_come() {
        let api = Arc::new(Api {
            cost: Duration::from_millis(1),
            turn: Semaphore::new(1),
            room: Semaphore::new(1),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        });
        assert!(plan(State(Arc::clone(&api)), Path(1)).await.is_ok());
        let full = api.room.try_acquire().unwrap();
        assert_eq!(
            plan(State(Arc::clone(&api)), Path(2)).await.unwrap_err(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        drop(full);
        let text = metrics(State(api)).await;
        assert!(
            text.contains("\nhttp_requests_total 2\n") && text.contains("\nhttp_responses_total 1\n"),
            "{text}"
        );
    }
}
