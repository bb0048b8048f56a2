//! The load: requests by the clock, at a rate that is given second by second, whether or not earlier ones were answered.
//! Each has a connection of its own, so that a new replica gets its share at once.
//!
//! It runs as a process of its own inside the cluster's network namespace, and says in the end what its callers saw.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::LoadError;

/// An answer within this time is good.
pub const OBJECTIVE: Duration = Duration::from_secs(1);
/// Nobody waits longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that may wait for an answer at once; beyond it they count as failed without being sent.
const MOST_OPEN: usize = 1_000;
/// Rates that are taken: five hours.
const MOST_SECONDS: usize = 18_000;

type Web = Client<HttpConnector, Empty<Bytes>>;

/// Arguments of `e2e scale-load`.
#[derive(Args, Clone, Debug)]
pub struct WaveArgs {
    /// Address of the service, e.g. `http://10.96.0.20:8080`
    #[arg(long)]
    pub target: Uri,
    /// Requests per second, second by second, with commas between
    #[arg(long, value_delimiter = ',', default_value = "")]
    pub rates: Vec<String>,
    /// Instead of rates: so many callers who ask again as soon as they are answered
    #[arg(long)]
    pub callers: Option<u32>,
    /// How long the callers ask
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Of all chance
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What the callers saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Requests that ended.
    pub requests: u64,
    /// Those that were answered well, but after the objective.
    pub slow: u64,
    /// Those without a good answer.
    pub failed: u64,
    /// 95 % of the good answers came within so many milliseconds.
    pub p95_milliseconds: f64,
    /// How long it took.
    pub seconds: f64,
}

/// Answers while they are counted.
#[derive(Default)]
struct Counted {
    seen: Seen,
    /// Of good answers, in milliseconds.
    times: Vec<f32>,
}

impl Counted {
    fn add(&mut self, took: Duration, good: bool) {
        self.seen.requests += 1;
        if good {
            self.seen.slow += u64::from(took > OBJECTIVE);
            self.times.push(took.as_secs_f32() * 1e3);
        } else {
            self.seen.failed += 1;
        }
    }

    fn result(&mut self, took: Duration) -> Seen {
        self.times.sort_by(f32::total_cmp);
        let rank = (self.times.len() * 95).div_ceil(100).saturating_sub(1);
        let p95_milliseconds = self.times.get(rank).copied().map_or(0.0, f64::from);
        Seen { p95_milliseconds, seconds: took.as_secs_f64(), ..self.seen.clone() }
    }
}

/// When requests are due after the beginning, by a seed alone: as many callers who know nothing of each other would ask.
pub fn arrivals(rates: &[f64], seed: u64) -> Vec<Duration> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut due = Vec::new();
    for (second, rate) in rates.iter().enumerate().take(MOST_SECONDS) {
        if *rate <= 0.0 {
            continue;
        }
        let mut at = 0.0;
        loop {
            at += -(1.0 - random.random::<f64>()).ln() / rate;
            if at >= 1.0 {
                break;
            }
            due.push(Duration::from_secs_f64(second as f64 + at));
        }
    }
    due
}

/// Runs until all is sent and answered; blocks.
pub fn run(args: &WaveArgs) -> Result<Seen, LoadError> {
    let rates: Result<Vec<f64>, LoadError> = args
        .rates
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| match text.parse::<f64>() {
            Ok(rate) if (0.0..=10_000.0).contains(&rate) => Ok(rate),
            _ => Err(LoadError::Arguments(format!("--rates has {text}, it must be 0 to 10000 a second"))),
        })
        .collect();
    let rates = rates?;
    if rates.is_empty() == args.callers.is_none() {
        return Err(LoadError::Arguments("give either --rates or --callers".to_owned()));
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Setup)?;
    let local = tokio::task::LocalSet::new();
    Ok(match args.callers {
        Some(callers) => local.block_on(&runtime, closed(args, callers.clamp(1, 100))),
        None => local.block_on(&runtime, open(args, &rates)),
    })
}

async fn open(args: &WaveArgs, rates: &[f64]) -> Seen {
    let (web, counted) = (client(), Rc::new(RefCell::new(Counted::default())));
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for (number, due) in arrivals(rates, args.seed).into_iter().enumerate() {
        tokio::time::sleep_until(begin + due).await;
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= MOST_OPEN {
            counted.borrow_mut().add(Duration::ZERO, false);
            continue;
        }
        let (web, counted, target) = (web.clone(), Rc::clone(&counted), args.target.clone());
        tasks.spawn_local(async move {
            let asked = Instant::now();
            let good = ask(&web, &target, number).await;
            counted.borrow_mut().add(asked.elapsed(), good);
        });
    }
    while tasks.join_next().await.is_some() {}
    counted.borrow_mut().result(begin.elapsed())
}

async fn closed(args: &WaveArgs, callers: u32) -> Seen {
    let counted = Rc::new(RefCell::new(Counted::default()));
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    let end = begin + Duration::from_secs(args.seconds);
    for caller in 0..callers {
        let (web, counted, target) = (client(), Rc::clone(&counted), args.target.clone());
        tasks.spawn_local(async move {
            while Instant::now() < end {
                let asked = Instant::now();
                let good = ask(&web, &target, caller as usize).await;
                counted.borrow_mut().add(asked.elapsed(), good);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    counted.borrow_mut().result(begin.elapsed())
}

fn client() -> Web {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(1)));
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// Whether it was answered well in time.
async fn ask(web: &Web, target: &Uri, number: usize) -> bool {
    let base = target.to_string();
    let request = Request::get(format!("{}/plan/{number}", base.trim_end_matches('/'))).body(Empty::new());
    let Ok(request) = request else { return false };
    let exchange = async {
        let response = web.request(request).await.ok()?;
        let good = response.status().is_success();
        response.into_body().collect().await.ok()?;
        Some(good)
    };
    tokio::time::timeout(TIMEOUT, exchange).await.ok().flatten().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_the_rate_of_each_second_and_repeat_with_the_seed() {
        let mut rates = vec![20.0; 300];
        rates.extend(vec![0.0; 60]);
        rates.extend(vec![60.0; 300]);
        let due = arrivals(&rates, 5);
        let within = |from: u64, to: u64| due.iter().filter(|at| (from..to).contains(&at.as_secs())).count();
        assert!((5_700..=6_300).contains(&within(0, 300)), "{}", within(0, 300));
        assert_eq!(within(300, 360), 0);
        assert!((17_500..=18_500).contains(&within(360, 660)), "{}", within(360, 660));
        assert!(due.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(due, arrivals(&rates, 5));
        assert_ne!(due, arrivals(&rates, 6));
    }

    #[test]
    fn slow_and_failed_answers_are_told_apart() {
        let mut counted = Counted::default();
        for (milliseconds, good) in [(100, true), (1_001, true), (50, false)] {
            counted.add(Duration::from_millis(milliseconds), good);
        }
        let seen = counted.result(Duration::from_secs(3));
        assert_eq!((seen.requests, seen.slow, seen.failed), (3, 1, 1));
        assert!((seen.p95_milliseconds - 1_001.0).abs() < 0.1);
    }

    #[test]
    fn rates_that_cannot_be_are_refused_by_name() {
        let args = |rates: &str, callers| WaveArgs {
            target: "http://127.0.0.1:1".parse().unwrap(),
            rates: rates.split(',').map(str::to_owned).collect(),
            callers,
            seconds: 1,
            seed: 1,
        };
        assert!(run(&args("1,NaN", None)).unwrap_err().to_string().contains("NaN"));
        assert!(run(&args("", None)).unwrap_err().to_string().contains("--callers"));
        assert!(run(&args("1", Some(1))).is_err());
    }
}
