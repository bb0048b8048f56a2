//! A week in which nothing is wrong: how often does the loop disturb people, and does it touch anything?
//!
//! `make quiet-week`, or `cargo run --release -p homeostat --example quiet_week -- WORKLOADS DAYS SEED`.
//! Writes `target/quiet-week/result.json`. The loop is the
//! binary's; the cluster around it is made up.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::expect_used, missing_docs, reason = "a program for developers")]

mod noise;
#[allow(dead_code, reason = "the test uses more of it")]
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use world::{SIGNALS, STEP, World};

/// A workload may disturb people so often in a month without a reason.
const MOST_PER_WORKLOAD_MONTH: f64 = 1.0;

fn main() -> std::process::ExitCode {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("WORKLOADS DAYS SEED"));
    let (workloads, days, seed) =
        (words.next().unwrap_or(1_000), words.next().unwrap_or(7), words.next().unwrap_or(1));
    let clock = Instant::now();
    let mut world = World::new(workloads as usize, seed, Vec::new());
    for day in 1..=days {
        for _ in 0..86_400 / STEP {
            world.step();
        }
        let (found, seconds) = (world.outcome.incidents.len(), clock.elapsed().as_secs());
        eprintln!("day {day}: {found} incidents so far, {seconds} s");
    }
    let seconds = clock.elapsed().as_secs_f64();
    let outcome = &world.outcome;
    let months = workloads as f64 * days as f64 / 30.0;
    let rate = outcome.incidents.len() as f64 / months;

    let mut by_sign: BTreeMap<String, usize> = BTreeMap::new();
    for (_, _, kind, evidence) in &outcome.incidents {
        let signal = SIGNALS.iter().find(|(name, _, _)| evidence.starts_with(name));
        let sign = signal.map_or_else(|| kind.to_string(), |(name, _, _)| format!("{kind}, {name}"));
        *by_sign.entry(sign).or_default() += 1;
    }
    println!("workloads                     {workloads:>12}");
    println!("days                          {days:>12}");
    println!("samples                       {:>12}", outcome.samples);
    println!("spans                         {:>12}", outcome.spans);
    println!("rollouts                      {:>12}", outcome.rollouts);
    println!("incidents                     {:>12}", outcome.incidents.len());
    println!("incidents per workload-month  {rate:>12.3}   (at most {MOST_PER_WORKLOAD_MONTH})");
    println!("disruptive actions            {:>12}   (at most 0)", outcome.disruptive.len());
    println!("seconds                       {seconds:>12.0}");
    for (sign, count) in &by_sign {
        println!("  {sign:<28}{count:>12}");
    }
    for (step, workload, kind, evidence) in outcome.incidents.iter().take(10) {
        println!("  step {step} {workload} {kind}: {evidence}");
    }
    let result = serde_json::json!({
        "workloads": workloads, "days": days, "seed": seed, "samples": outcome.samples, "spans": outcome.spans,
        "rollouts": outcome.rollouts, "incidents": outcome.incidents.len(), "incidentsPerWorkloadMonth": rate,
        "bySign": by_sign, "disruptiveActions": outcome.disruptive, "seconds": seconds,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/quiet-week");
    std::fs::create_dir_all(&folder).expect("target/quiet-week");
    let text = serde_json::to_string_pretty(&result).expect("JSON");
    std::fs::write(folder.join("result.json"), text + "\n").expect("written");
    println!("written to target/quiet-week/result.json");
    let good = outcome.disruptive.is_empty() && rate <= MOST_PER_WORKLOAD_MONTH;
    std::process::ExitCode::from(u8::from(!good))
}
