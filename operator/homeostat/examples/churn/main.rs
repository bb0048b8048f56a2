//! A day in which 20 objects change in each second and nothing is wrong: does memory stay, how long does a step take, and does
//! the loop disturb anybody?
//!
//! `make churn`, or `cargo run --release -p homeostat --example churn -- HOURS SEED WORKLOADS`. Writes
//! `target/churn/result.json`. The loop and the way from objects to records are the binary's; the cluster is made up.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::expect_used, missing_docs, reason = "a program for developers")]

mod cluster;
mod heap;
#[path = "../quiet_week/noise.rs"]
#[allow(dead_code, reason = "the quiet week uses more of it")]
mod noise;
mod objects;
#[allow(dead_code, reason = "the test uses more of it")]
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use world::{Size, World};

/// The heap in use after the last hour is at most so much larger than after the first.
const MOST_GROWTH: f64 = 0.05;
/// Of a hundred steps of the loop, 99 take no longer; milliseconds.
const MOST_STEP: f64 = 100.0;
/// Megabytes of heap in use after any hour.
const MOST_HEAP: f64 = 400.0;
/// Seconds until all lists are read and looked at.
const MOST_START: f64 = 60.0;
const HOUR: usize = 3_600;
/// Steps between two lines of progress.
const PROGRESS: usize = 900;

/// The value below which this share of sorted ones is.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((share * last).round() as usize).copied().unwrap_or(f64::NAN)
}

fn sorted(times: &[f64]) -> Vec<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("HOURS SEED WORKLOADS"));
    let mut word = |usual: u64| words.next().unwrap_or(usual);
    let (hours, seed, workloads) = (word(24) as usize, word(1), word(10_000) as usize);
    assert!(hours >= 2, "the first hour is compared with the last: HOURS must be 2 or more");
    let clock = Instant::now();
    let size = Size::of(workloads, 1);
    let mut world = World::new(size, seed);
    let start = clock.elapsed().as_secs_f64();
    let (pods, _) = world.pods();
    eprintln!("{workloads} workloads, {pods} pods and {} nodes are known after {start:.1} s", size.nodes);

    // Made at once, so that measuring does not look like growth.
    let mut steps: Vec<f64> = Vec::with_capacity(hours * HOUR);
    let mut heaps: Vec<f64> = Vec::with_capacity(hours);
    while steps.len() < hours * HOUR {
        let batch = world.changes();
        let begin = Instant::now();
        world.look(&batch);
        steps.push(begin.elapsed().as_secs_f64() * 1e3);
        drop(batch);
        let heap = heap::live() as f64 / 1e6;
        if steps.len().is_multiple_of(HOUR) {
            heaps.push(heap);
        }
        if steps.len().is_multiple_of(PROGRESS) {
            let times = sorted(&steps[steps.len() - PROGRESS..]);
            eprintln!(
                "hour {:.2}: {heap:.1} MB, steps of {:.1} ms (p99 {:.1}), {} changes, {} incidents, {:.0} s",
                steps.len() as f64 / HOUR as f64,
                percentile(&times, 0.5),
                percentile(&times, 0.99),
                world.outcome.changes,
                world.outcome.incidents.len(),
                clock.elapsed().as_secs_f64(),
            );
        }
    }
    let (first, last) = (heaps[0], heaps[hours - 1]);
    let highest = heaps.iter().copied().fold(first, f64::max);
    let growth = last / first - 1.0;
    let times = sorted(&steps);
    let (middle, slow) = (percentile(&times, 0.5), percentile(&times, 0.99));
    let slowest = percentile(&times, 1.0);
    let outcome = &world.outcome;
    let (pods, known) = world.pods();
    let rate = outcome.changes as f64 / (hours * HOUR) as f64;
    let seconds = clock.elapsed().as_secs_f64();

    println!("workloads                    {workloads:>12}");
    println!("pods, nodes                  {pods:>12}  {}", size.nodes);
    println!("hours                        {hours:>12}");
    println!("changes, per second          {:>12}  {rate:.1}", outcome.changes);
    println!("rollouts                     {:>12}", outcome.rollouts);
    println!("pods replaced                {:>12}", outcome.replaced);
    println!("changes of size              {:>12}", outcome.resized);
    println!("seconds until all is known   {start:>12.1}  (at most {MOST_START})");
    println!("MB of heap, first hour       {first:>12.1}");
    println!("MB of heap, last hour        {last:>12.1}");
    println!("MB of heap, highest          {highest:>12.1}  (at most {MOST_HEAP})");
    println!("growth, %                    {:>12.2}  (at most {})", 100.0 * growth, 100.0 * MOST_GROWTH);
    println!("step, p50, ms                {middle:>12.1}");
    println!("step, p99, ms                {slow:>12.1}  (at most {MOST_STEP})");
    println!("step, longest, ms            {slowest:>12.1}");
    println!("incidents                    {:>12}  (at most 0)", outcome.incidents.len());
    println!("plans                        {:>12}  (at most 0)", outcome.plans.len());
    println!("seconds                      {seconds:>12.0}");
    for (since, workload, kind) in outcome.incidents.iter().take(10) {
        println!("  after {since} s {workload}: {kind}");
    }
    let result = serde_json::json!({
        "workloads": workloads, "pods": pods, "nodes": size.nodes, "hours": hours, "seed": seed,
        "changes": outcome.changes, "changesPerSecond": rate, "rollouts": outcome.rollouts,
        "podsReplaced": outcome.replaced, "changesOfSize": outcome.resized, "secondsUntilKnown": start,
        "heapMegabytes": { "firstHour": first, "lastHour": last, "highest": highest, "growth": growth },
        "stepMilliseconds": { "p50": middle, "p99": slow, "longest": slowest },
        "incidents": outcome.incidents.len(), "plans": outcome.plans, "seconds": seconds,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/churn");
    std::fs::create_dir_all(&folder).expect("target/churn");
    let text = serde_json::to_string_pretty(&result).expect("JSON");
    std::fs::write(folder.join("result.json"), text + "\n").expect("written");
    println!("written to target/churn/result.json");

    let missed = [
        (pods != known, "the loop does not know the pods that there are"),
        (growth > MOST_GROWTH, "memory grew"),
        (highest > MOST_HEAP, "it takes too much memory"),
        (slow > MOST_STEP, "a step takes too long"),
        (start > MOST_START, "it takes too long until all is known"),
        (!outcome.incidents.is_empty(), "changes alone were taken for a fault"),
        (!outcome.plans.is_empty(), "something was done about changes alone"),
    ];
    let missed: Vec<&str> = missed.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    for what in &missed {
        println!("failed: {what}");
    }
    ExitCode::from(u8::from(!missed.is_empty()))
}
