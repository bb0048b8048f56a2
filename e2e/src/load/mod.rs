//! Load: 100 users who send requests at the gateway by the clock, whether or not earlier ones were
//! answered (open loop), and write down each one.
//!
//! It runs as a process of its own inside the cluster's network namespace, so that what it costs
//! and what it measures are not mixed with the harness.

pub mod arrivals;
pub mod client;
pub mod orders;
pub mod process;
pub mod record;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use http::Uri;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use arrivals::Arrivals;
use client::User;
use record::Recorder;

use crate::truth::{At, Outcome};

/// Requests that may wait for an answer at once. A request waits 3 s at most, so that 210 a second
/// reach 630; beyond the bound they count as failed without being sent.
const MAX_IN_FLIGHT: usize = 2000;
/// A request sent later than this is late.
const LATE: Duration = Duration::from_millis(250);
/// How often the file is written.
const FLUSH: Duration = Duration::from_millis(200);

/// Settings of one run.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Address of the gateway, e.g. `http://10.96.0.20:8080`.
    #[arg(long)]
    pub target: Uri,
    /// File to append one line per request to.
    #[arg(long)]
    pub out: PathBuf,
    /// Users; each has connections of its own.
    #[arg(long, default_value_t = 100)]
    pub users: u32,
    /// Requests per second of all users together.
    #[arg(long, default_value_t = 210)]
    pub rate: u32,
    /// Share of full orders, percent.
    #[arg(long, default_value_t = 55)]
    pub orders: u32,
    /// Longest duration in seconds; a signal ends it earlier.
    #[arg(long, default_value_t = 7200)]
    pub seconds: u64,
    /// Decides the mix and the ids.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Why a run ended badly.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A number is out of range.
    #[error("{0}")]
    Arguments(String),
    /// The file of requests cannot be written.
    #[error("cannot write {}: {source}; the ground truth would be incomplete", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A signal handler or the runtime could not be set up.
    #[error("cannot set up the load generator: {0}")]
    Setup(std::io::Error),
    /// The process could not be started or ended badly.
    #[error("the load generator {what}: {source}")]
    Process {
        /// What it did not do.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

/// What one run sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadSummary {
    /// Requests sent or refused for the bound.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Orders that were acknowledged.
    pub acknowledged: u64,
    /// Requests sent more than 0.25 s after they were due: the machine had no time for the generator.
    #[serde(default)]
    pub late: u64,
    /// Acknowledged orders, tickets, payments or mails that a later read did not find.
    pub missing: u64,
}

/// Runs until the time is over or a signal comes; blocks.
pub fn run(args: &LoadArgs) -> Result<LoadSummary, LoadError> {
    if args.users == 0 || args.users > 10_000 || args.rate == 0 || args.rate > 10_000 || args.orders > 100 {
        return Err(LoadError::Arguments(
            "give 1 to 10000 --users, a --rate of 1 to 10000 and 0 to 100 percent --orders".to_owned(),
        ));
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Setup)?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, generate(args))
}

async fn generate(args: &LoadArgs) -> Result<LoadSummary, LoadError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(LoadError::Setup)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(LoadError::Setup)?;
    let recorder = Rc::new(RefCell::new(Recorder::open(&args.out)?));
    let users: Vec<Rc<User>> = (0..args.users).map(|_| Rc::new(User::new(&args.target))).collect();
    let mut arrivals = Arrivals::new(args.seed, args.rate, args.orders);
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    let end = begin + Duration::from_secs(args.seconds);
    let mut flush = tokio::time::interval(FLUSH);
    let mut arrival = arrivals.draw();
    loop {
        let due = begin + arrival.due;
        if due > end {
            break;
        }
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = flush.tick() => {
                while tasks.try_join_next().is_some() {}
                recorder.borrow_mut().flush()?;
            }
            () = tokio::time::sleep_until(due) => {
                if Instant::now() > due + LATE {
                    recorder.borrow_mut().late();
                }
                let user = &users[arrival.number as usize % users.len()];
                if tasks.len() < MAX_IN_FLIGHT {
                    tasks.spawn_local(one(Rc::clone(user), Rc::clone(&recorder), arrival));
                } else {
                    let now = At::now();
                    let plan = recorder.borrow().plan(&arrival);
                    recorder.borrow_mut().add(now, now, Outcome::Error, &plan);
                }
                arrival = arrivals.draw();
            }
        }
    }
    let grace = tokio::time::timeout(client::TIMEOUT + Duration::from_secs(1), async {
        while tasks.join_next().await.is_some() {}
    });
    // What is still open after its own timeout never gets an outcome and does not count.
    let _ = grace.await;
    let mut recorder = recorder.borrow_mut();
    recorder.flush()?;
    Ok(recorder.summary())
}

async fn one(user: Rc<User>, recorder: Rc<RefCell<Recorder>>, arrival: arrivals::Arrival) {
    let plan = recorder.borrow().plan(&arrival);
    let start = At::now();
    let outcome = user.send(&plan).await;
    recorder.borrow_mut().add(start, At::now(), outcome, &plan);
}
