//! The API of a tenant: plans pumps on request, with a fixed amount of CPU time for each, one after the other.

use crate::queue::{Order, Queue, QueueError, Subject};
use crate::shape::Kind;
use crate::work;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Semaphore};

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
    /// Address of the tenant's queue; without it there are only plans
    #[arg(long, env = "QUEUE")]
    queue: Option<String>,
}

/// Kinds of run that wait in the queue.
const QUEUED: [Kind; 2] = [Kind::Forecast, Kind::Kpi];
/// Who asks for numbers waits no longer for the queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// The queue, opened when it is first needed.
struct Runs {
    url: String,
    open: Mutex<Option<Queue>>,
}

impl Runs {
    fn new(url: String) -> Self {
        Self { url, open: Mutex::new(None) }
    }

    async fn queue(&self) -> Result<Queue, QueueError> {
        let mut open = self.open.lock().await;
        if let Some(queue) = open.as_ref() {
            return Ok(queue.clone());
        }
        let queue = Queue::open(&self.url).await?;
        *open = Some(queue.clone());
        Ok(queue)
    }

    /// Lines for Prometheus. A queue that does not answer has no numbers: that is not the same as an empty one.
    async fn lines(&self) -> Result<String, QueueError> {
        let queue = self.queue().await?;
        let mut text = String::from(
            "# HELP runs_waiting Runs that wait in the queue or are under way.\n# TYPE runs_waiting gauge\n",
        );
        let mut done =
            String::from("# HELP runs_done_total Runs worked off.\n# TYPE runs_done_total counter\n");
        for kind in QUEUED {
            let count = queue.count(kind).await?;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "runs_waiting{{kind=\"{}\"}} {}", kind.name(), count.waiting);
            let _ = writeln!(done, "runs_done_total{{kind=\"{}\"}} {}", kind.name(), count.done);
        }
        Ok(text + &done)
    }
}

/// A run by hand: into the queue, as the beat does.
async fn order(
    State(api): State<Arc<Api>>,
    Path((kind, hour)): Path<(String, u32)>,
) -> Result<StatusCode, (StatusCode, String)> {
    let Some(kind) = QUEUED.into_iter().find(|one| one.name() == kind) else {
        return Err((StatusCode::NOT_FOUND, "runs of the queue are forecast and kpi".to_owned()));
    };
    let Some(runs) = &api.runs else {
        return Err((StatusCode::NOT_FOUND, "this API has no queue: start it with --queue".to_owned()));
    };
    let told = |error: QueueError| (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let queue = runs.queue().await.map_err(told)?;
    queue.put(Subject::Due(kind), Order { hour }).await.map_err(told)?;
    Ok(StatusCode::ACCEPTED)
}

struct Api {
    runs: Option<Runs>,
    /// CPU time of one plan.
    cost: Duration,
    /// Plans are computed one at a time.
    turn: Semaphore,
    /// Places to wait in.
    room: Semaphore,
    asked: AtomicU64,
    answered: AtomicU64,
}

/// Why the API ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It cannot listen.
    #[error("cannot listen on {0}: {1}; is another process using the port?")]
    Listen(SocketAddr, std::io::Error),
    /// It cannot go on.
    #[error("the server ended: {0}")]
    Ended(#[from] std::io::Error),
}

/// Serves until SIGTERM.
pub async fn serve(args: ServeArgs) -> Result<(), ServeError> {
    let listener =
        TcpListener::bind(args.listen).await.map_err(|error| ServeError::Listen(args.listen, error))?;
    println!("listening on {}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = async move {
        let _ = terminate.recv().await;
        tokio::time::sleep(LAME_DUCK).await;
    };
    axum::serve(listener, router(Duration::from_millis(args.plan_milliseconds), args.queue))
        .with_graceful_shutdown(ended)
        .await?;
    Ok(())
}

fn router(cost: Duration, queue: Option<String>) -> Router {
    let api = Api {
        cost,
        runs: queue.map(Runs::new),
        turn: Semaphore::new(1),
        room: Semaphore::new(WAITING),
        asked: AtomicU64::new(0),
        answered: AtomicU64::new(0),
    };
    Router::new()
        .route("/plan/{seed}", get(plan))
        .route("/runs/{kind}/{hour}", post(order))
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
    if let Some(runs) = &api.runs {
        match tokio::time::timeout(PATIENCE, runs.lines()).await {
            Ok(Ok(lines)) => text += &lines,
            Ok(Err(error)) => eprintln!("water-dss: {error}"),
            Err(_) => eprintln!("water-dss: the queue did not answer within {} s", PATIENCE.as_secs()),
        }
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
            runs: None,
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
