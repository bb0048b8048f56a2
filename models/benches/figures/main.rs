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

mod correlate;
mod series;

use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Figures of one module.
type Bench = fn() -> Vec<Row>;

/// Every module's figures. A new module adds its file and its line.
const BENCHES: &[(&str, Bench)] = &[("series", series::rows), ("correlate", correlate::rows)];

/// One figure.
pub struct Row {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    pub peer: Option<(String, f64)>,
    pub floor: Option<f64>,
    pub goal: Option<f64>,
}

impl Row {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, peer: None, floor: None, goal: None }
    }

    #[must_use]
    pub fn beside(mut self, peer: impl Into<String>, value: f64) -> Self {
        self.peer = Some((peer.into(), value));
        self
    }

    #[allow(dead_code, reason = "for modules whose benchmarks set a mark")]
    #[must_use]
    pub fn marks(mut self, floor: f64, goal: f64) -> Self {
        (self.floor, self.goal) = (Some(floor), Some(goal));
        self
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "peer": self.peer.as_ref().map(|(name, _)| name), "peerValue": self.peer.as_ref().map(|(_, value)| value),
            "floor": self.floor, "goal": self.goal,
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
    let mut runs: Vec<f64> = (0..3)
        .map(|_| {
            let (clock, before) = (Instant::now(), busy());
            let count = std::hint::black_box(work());
            let wall = clock.elapsed().as_secs_f64();
            let seconds =
                before.and_then(|before| Some(busy()? - before)).filter(|busy| *busy > 0.0).unwrap_or(wall);
            count as f64 / seconds
        })
        .collect();
    runs.sort_unstable_by(f64::total_cmp);
    runs[1]
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
    println!("{:<62} {:>14}  {:<14} {:>10} {:>10}", "figure", "value", "unit", "floor", "goal");
    for row in &rows {
        let (floor, goal) = (number(row.floor), number(row.goal));
        println!("{:<62} {:>14}  {:<14} {floor:>10} {goal:>10}", row.name, number(Some(row.value)), row.unit);
        if let Some((peer, value)) = &row.peer {
            println!("  beside: {peer} {}", number(Some(*value)));
        }
    }
    println!("joined into target/bench/summary.json");
}
