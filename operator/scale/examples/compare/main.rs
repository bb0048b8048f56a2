//! How many violations and replica-minutes a policy costs on recorded loads, beside HPA, KEDA and Crane.
//!
//! `make scale-compare DATA=folder`, or `cargo run --release -p homeostat-scale --example compare -- folder`. Writes
//! `target/scale/result.json` and `target/scale/report.html`; with `--only X` `result-X.json` and `report-X.html`, so that a part
//! does not replace the whole.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::expect_used, missing_docs, reason = "a program for developers")]

mod curve;
mod data;
mod drills;
mod ours;
mod peers;
mod report;
mod simulate;

use clap::Parser;
use curve::{Point, cost_at, sum_up};
use data::Series;
use homeostat_scale::services::Leading;
use ours::Tuning;
use report::Compared;
use serde_json::json;
use simulate::{Outcome, SYNC};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// Compares autoscaling policies on recorded loads.
#[derive(Parser)]
struct Arguments {
    /// Folder with series of load (*.csv.gz); without it, `HOMEOSTAT_DATA`.
    folder: Option<PathBuf>,
    /// Only series whose name contains this; the files that are written have it in their names.
    #[arg(long)]
    only: Option<String>,
    /// Choose the setting on a random half of the series and say what it does on the other.
    #[arg(long)]
    split: bool,
    /// Only what no recorded series shows: a doubled load, flat noise, ten thousand decisions. Writes nothing.
    #[arg(long)]
    drills: bool,
}

/// Replica-minutes that a minute of violation is worth: the sweep of our one knob.
fn prices() -> Vec<f64> {
    // Quarter octaves: what ours costs at a peer's violations is read between two prices.
    (12..=84).map(|quarter| 2.0_f64.powf(f64::from(quarter) / 4.0).round()).collect()
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Instant::now();
    if arguments.drills {
        drills::doubling(&prices(), Tuning::shipped());
        drills::oscillation(1_024.0, Tuning::shipped());
        drills::batch();
        return Ok(());
    }
    let folder = data::folder(arguments.folder.clone())?;
    let mut series = data::read(&folder)?;
    if let Some(only) = &arguments.only {
        series.retain(|series| series.name.contains(only.as_str()));
    }
    if arguments.split {
        split(&series);
        return Ok(());
    }
    let mut all: Vec<Compared> = Vec::new();
    for (text, one) in each(series, |series| compare(series, Tuning::shipped())) {
        print!("{text}");
        all.push(one);
    }
    println!(
        "\nat equal violations: points of the peers' curves, fewer replica-minutes, half the excess or less, median share"
    );
    for policy in ["hpa", "keda", "crane"] {
        let points = all.iter().flat_map(|one| &one.points).filter(|point| point.policy == policy);
        let (points, won, half, middle) = sum_up(points);
        println!("  {policy:<10} {points:>4} points, {won:>4} won, {half:>4} by half, median {middle:.2}");
    }
    let (points, won, half, middle) = sum_up(all.iter().flat_map(|one| &one.points));
    println!("  {:<10} {points:>4} points, {won:>4} won, {half:>4} by half, median {middle:.2}", "all");
    let doubling = drills::doubling(&prices(), Tuning::shipped());
    let oscillation = drills::oscillation(1_024.0, Tuning::shipped());
    let batch = drills::batch();
    let mut rows = Vec::new();
    for one in &all {
        let row = |policy: &str, target: f64, outcome: &Outcome| {
            json!({
                "policy": policy, "target": target, "series": one.series.name,
                "violationMinutes": outcome.violation_minutes, "replicaMinutes": outcome.replica_minutes,
                "changes": outcome.changes, "oracleReplicaMinutes": one.oracle,
            })
        };
        rows.extend(one.ours.iter().map(|(price, outcome)| row("homeostat", *price, outcome)));
        rows.extend(one.points.iter().map(|point| row(point.policy, f64::from(point.target), &point.peer)));
    }
    let result = json!({
        "peers": rows,
        "summary": { "points": points, "won": won, "half": half, "medianShare": middle },
        "doubling": doubling, "oscillation": oscillation, "batch": batch,
        "seconds": clock.elapsed().as_secs_f64(),
    });
    let out = Path::new("target/scale");
    std::fs::create_dir_all(out)?;
    let part = part(arguments.only.as_deref());
    let (figures, page) = (out.join(format!("result{part}.json")), out.join(format!("report{part}.html")));
    std::fs::write(&figures, serde_json::to_vec_pretty(&result)?)?;
    std::fs::write(&page, report::html(&all))?;
    println!("\n{:.0} s; wrote {} and {}", clock.elapsed().as_secs_f64(), figures.display(), page.display());
    Ok(())
}

/// What names the files of a part of the series; nothing where all were asked for.
fn part(only: Option<&str>) -> String {
    let safe =
        |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    only.map_or_else(String::new, |only| format!("-{}", only.chars().map(safe).collect::<String>()))
}

/// Does the same with every series, on all cores; the results are in the order of the series.
fn each<T: Send>(series: Vec<Series>, work: impl Fn(Series) -> T + Sync) -> Vec<T> {
    let left = Mutex::new(series.into_iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no thread panics with it").next();
                    let Some((place, series)) = next else { break };
                    let name = series.name.clone();
                    let result = work(series);
                    eprintln!("{name} is done");
                    done.lock().expect("no thread panics with it").insert(place, result);
                }
            });
        }
    });
    done.into_inner().expect("no thread panics with it").into_values().collect()
}

/// Runs everything on one series and writes its table.
fn compare(series: Series, tuning: Tuning) -> (String, Compared) {
    let oracle = simulate::oracle(&series);
    let outlooks = ours::learn(&series, SYNC);
    let ours: Vec<(f64, Outcome)> = prices()
        .into_iter()
        .map(|price| (price, simulate::run(&series, &mut ours::Ours::new(&outlooks, price, tuning))))
        .collect();
    let curve: Vec<Outcome> = ours.iter().map(|(_, outcome)| *outcome).collect();
    let mut points = Vec::new();
    for (policy, prepare) in peers::ALL {
        let make = prepare(&series);
        for target in peers::targets() {
            let peer = simulate::run(&series, make(f64::from(target) / 100.0).as_mut());
            points.push(Point {
                policy,
                target,
                peer,
                ours: cost_at(&curve, peer.violation_minutes),
                oracle,
            });
        }
    }
    let (count, won, half, middle) = sum_up(points.iter());
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\n{} ({} steps of {} s; at least {oracle:.0} replica-minutes): {won} of {count} won, {half} by half, median {middle:.2}",
        series.name,
        series.loads.len(),
        series.step
    );
    let _ = writeln!(
        text,
        "  {:<10} {:>9} {:>11} {:>10} {:>10}",
        "policy", "target", "violation m", "excess", "ours"
    );
    for (price, outcome) in &ours {
        let excess = outcome.replica_minutes - oracle;
        let _ = writeln!(
            text,
            "  {:<10} {price:>9} {:>11.1} {excess:>10.0}",
            "homeostat", outcome.violation_minutes
        );
    }
    for point in &points {
        let ours = point.ours.map_or("never".to_owned(), |ours| format!("{:.0}", ours - oracle));
        let _ = writeln!(
            text,
            "  {:<10} {:>7} % {:>11.1} {:>10.0} {ours:>10} {}",
            point.policy,
            point.target,
            point.peer.violation_minutes,
            point.peer.replica_minutes - oracle,
            if point.won() { "won" } else { "LOST" }
        );
    }
    (text, Compared { series, oracle, ours, points })
}

/// What the split check chooses from, by name.
fn tunings() -> Vec<(String, Tuning)> {
    let shipped = Tuning::shipped();
    let mut all = vec![("shipped".to_owned(), shipped)];
    let shipped_leading = shipped.leading;
    let mut add = |name: &str, leading: Leading| all.push((name.to_owned(), Tuning { leading, ..shipped }));
    add("one leader for all situations", Leading { close: 0.0, ..shipped_leading });
    add("situations at every price", Leading { close: f64::INFINITY, ..shipped_leading });
    add("targets without a band", Leading { doubt: 1e9, ..shipped_leading });
    add("a band of factor 8", Leading { doubt: 8.0, ..shipped_leading });
    add("a margin of 2 min", Leading { margin: 2.0, ..shipped_leading });
    all
}

/// Says what each setting does on both halves of the series; the choice is made by the first.
fn split(series: &[Series]) {
    let mut order: Vec<usize> = (0..series.len()).collect();
    // A fixed shuffle: by a hash of the place.
    order.sort_by_key(|place| (*place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20);
    let half = series.len() / 2;
    let names = |places: &[usize]| {
        places.iter().map(|place| series[*place].name.as_str()).collect::<Vec<_>>().join(", ")
    };
    println!("chosen on: {}\nheld on: {}", names(&order[..half]), names(&order[half..]));
    // Points by setting and half.
    let tunings = tunings();
    let mut points: Vec<[Vec<Point>; 2]> = tunings.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    let ordered = order.iter().map(|place| series[*place].clone()).collect();
    for (rank, (text, settings)) in
        each(ordered, |series| settings(&series, &tunings)).into_iter().enumerate()
    {
        print!("{text}");
        for (halves, all) in points.iter_mut().zip(settings) {
            halves[usize::from(rank >= half)].extend(all);
        }
    }
    for ((name, _), halves) in tunings.iter().zip(&points) {
        for (half, points) in ["chosen on", "held on"].into_iter().zip(halves) {
            let (count, won, half_excess, middle) = sum_up(points.iter());
            println!(
                "{name:<32} {half:<9}: {won:>3} of {count} won, {half_excess:>3} by half, median {middle:.2}"
            );
        }
    }
}

/// What each setting does on one series.
fn settings(series: &Series, tunings: &[(String, Tuning)]) -> (String, Vec<Vec<Point>>) {
    let outlooks = ours::learn(series, SYNC);
    let oracle = simulate::oracle(series);
    let mut peers = Vec::new();
    for (policy, prepare) in peers::ALL {
        let make = prepare(series);
        for target in peers::targets() {
            peers.push((policy, target, simulate::run(series, make(f64::from(target) / 100.0).as_mut())));
        }
    }
    let mut text = format!("{}\n", series.name);
    let one = |(name, tuning): &(String, Tuning)| {
        let run = |price| simulate::run(series, &mut ours::Ours::new(&outlooks, price, *tuning));
        let curve: Vec<Outcome> = prices().into_iter().map(run).collect();
        let all: Vec<Point> = peers
            .iter()
            .map(|(policy, target, peer)| {
                let ours = cost_at(&curve, peer.violation_minutes);
                Point { policy, target: *target, peer: *peer, ours, oracle }
            })
            .collect();
        let (count, won, half_excess, middle) = sum_up(all.iter());
        let _ = writeln!(
            text,
            "  {name:<32} {won:>3} of {count} won, {half_excess:>3} by half, median {middle:.2}"
        );
        all
    };
    let all = tunings.iter().map(one).collect();
    (text, all)
}
