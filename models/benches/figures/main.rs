//! Speed, size and quality figures of the models, joined into `target/bench/summary.json`.
//!
//! `make bench` runs it in the release profile, after the product's own figures. A figure names its floor and its goal, and
//! the peer that ran beside it on the same machine, where there is one. `HOMEOSTAT_DATA=folder` adds figures on
//! the public data.
//!
//! Speeds are the median of three runs over millions of points: rates that are compared with peers and
//! written to one file, for which criterion's statistics of a single call are the wrong tool.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench fails by panicking")]

mod cause;
mod correlate;
#[path = "../../examples/score/data.rs"]
#[allow(dead_code, reason = "the suites use more of it")]
mod data;
mod detect;
mod forecast;
mod logs;
mod python;
mod series;
#[path = "../../examples/score/forecast.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod suite;
mod usual;

use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::path::Path;
use std::time::Instant;

/// Figures of one module.
type Bench = fn() -> Vec<Row>;

/// Every module's figures. A new module adds its file and its line.
const BENCHES: &[(&str, Bench)] = &[
    ("series", series::rows),
    ("detect", detect::rows),
    ("forecast", forecast::rows),
    ("logs", logs::rows),
    ("cause", cause::rows),
    ("correlate", correlate::rows),
];

/// Counts what is allocated.
#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One figure.
pub struct Row {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    pub peer: Option<(String, f64)>,
    pub floor: Option<f64>,
    pub goal: Option<f64>,
    /// The lower, the better: floor and goal are met from above.
    pub lower: bool,
}

impl Row {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, peer: None, floor: None, goal: None, lower: false }
    }

    #[must_use]
    pub fn beside(mut self, peer: impl Into<String>, value: f64) -> Self {
        self.peer = Some((peer.into(), value));
        self
    }

    /// At least the floor is needed, the goal is aimed at.
    #[must_use]
    pub fn marks(mut self, floor: f64, goal: f64) -> Self {
        (self.floor, self.goal) = (Some(floor), Some(goal));
        self
    }

    /// The same for what should be small.
    #[must_use]
    pub fn at_most(mut self, floor: f64, goal: f64) -> Self {
        self.lower = true;
        self.marks(floor, goal)
    }

    /// How the value stands to its marks; empty without any.
    fn verdict(&self) -> &'static str {
        let meets = |mark: f64| if self.lower { self.value <= mark } else { self.value >= mark };
        match (self.floor, self.goal) {
            (_, Some(goal)) if meets(goal) => "goal met",
            (Some(floor), _) if meets(floor) => "floor met",
            (Some(_), _) => "MISSED",
            (None, _) => "",
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "peer": self.peer.as_ref().map(|(name, _)| name), "peerValue": self.peer.as_ref().map(|(_, value)| value),
            "floor": self.floor, "goal": self.goal, "lowerIsBetter": self.lower,
        })
    }
}

/// Seconds that this thread spent on a processor; on a shared machine the wall clock measures the neighbours.
fn busy() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// Items per second on one core: median of three runs. `work` returns how many items it did.
pub fn rate(mut work: impl FnMut() -> u64) -> f64 {
    let mut runs: Vec<f64> = (0..3).map(|_| rate_once(&mut work)).collect();
    runs.sort_unstable_by(f64::total_cmp);
    runs[1]
}

/// Items per second on one core in one run, for work that is long.
pub fn rate_once(work: impl FnOnce() -> u64) -> f64 {
    let (clock, before) = (Instant::now(), busy());
    let count = std::hint::black_box(work());
    let wall = clock.elapsed().as_secs_f64();
    let seconds = before.and_then(|before| Some(busy()? - before)).filter(|busy| *busy > 0.0).unwrap_or(wall);
    count as f64 / seconds
}

/// Random numbers from 0 to 1 that are the same in every run.
pub fn random(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64) / ((1_u64 << 53) as f64)
    }
}

fn main() {
    let summary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/summary.json");
    // `cargo bench` hands over `--bench`; any other word chooses modules.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut rows = Vec::new();
    for (name, bench) in BENCHES {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            rows.extend(bench());
        }
    }
    let text = std::fs::read_to_string(&summary).unwrap_or_else(|_| "[]".to_owned());
    let mut all: Vec<Value> =
        serde_json::from_str(&text).expect("target/bench/summary.json is a list of figures");
    all.retain(|known| rows.iter().all(|row| known["name"] != row.name.as_str()));
    all.extend(rows.iter().map(Row::json));
    std::fs::create_dir_all(summary.parent().expect("a folder")).expect("target/bench");
    std::fs::write(&summary, serde_json::to_string_pretty(&all).expect("JSON")).expect("written");

    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    println!("{:<62} {:>14}  {:<16} {:>10} {:>10}", "figure", "value", "unit", "floor", "goal");
    for row in &rows {
        let (floor, goal) = (number(row.floor), number(row.goal));
        let (value, verdict) = (number(Some(row.value)), row.verdict());
        println!("{:<62} {value:>14}  {:<16} {floor:>10} {goal:>10}  {verdict}", row.name, row.unit);
        if let Some((peer, value)) = &row.peer {
            println!("  beside: {peer} {}", number(Some(*value)));
        }
    }
    println!("joined into target/bench/summary.json");
}
