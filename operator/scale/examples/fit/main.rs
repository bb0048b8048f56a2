//! How many tenants' jobs fit a fixed capacity? Every policy runs a week in virtual time on the same catalogue and the
//! same chance. `make fit`, or `cargo run --release -p homeostat-scale --example fit -- --help`. Writes
//! `target/fit/result.json`. docs/scaling-jobs.md explains the catalogue and the figures.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(missing_docs, reason = "a program for developers")]

mod bound;
mod draws;
mod policies;
mod search;
mod shapes;
mod world;

#[cfg(test)]
mod tests;

use clap::Parser;
use homeostat_scale::jobs::Settings;
use policies::Kind;
use search::{Asked, Row};
use serde::Serialize;
use shapes::Catalogue;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// The large week must be done within so many seconds.
const LARGE_WITHIN: f64 = 300.0;

#[derive(Parser)]
#[command(name = "fit", about = "How many tenants' jobs fit a fixed capacity, by policy")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Tenants at which missed deadlines are counted.
    #[arg(long, default_value_t = 64)]
    tenants: u32,
    /// Simulated days.
    #[arg(long, default_value_t = 7)]
    days: u32,
    /// Another catalogue.
    #[arg(long, default_value = "operator/scale/catalogue/water.yaml")]
    shapes: PathBuf,
    /// Seconds from the order of a pod until its program runs, instead of the catalogue's podStartSeconds: as measured.
    #[arg(long, value_name = "SECONDS")]
    pod_start: Option<f64>,
    /// Settings of the planner as JSON; what is left out is as shipped.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// Only policies whose name begins with this.
    #[arg(long)]
    policy: Option<String>,
    /// Every missed deadline at so many tenants, instead of the comparison.
    #[arg(long)]
    misses: bool,
    /// One week of 10,000 tenants with capacity in proportion, only; fails when that takes more than 300 s.
    #[arg(long)]
    large: bool,
    /// Tenants of that week.
    #[arg(long, default_value_t = 10_000)]
    large_tenants: u32,
    /// Folder of the result.
    #[arg(long, default_value = "target/fit")]
    out: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    catalogue: String,
    pod_start_seconds: f64,
    first_seed: u64,
    seeds: u64,
    days: u32,
    missed_counted_at_tenants: u32,
    policies: Vec<Row>,
    lower_bound: Bound,
    seconds: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bound {
    tenants: u32,
    missed_deadlines_at64: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fit: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Instant::now();
    let mut catalogue = shapes::read(&arguments.shapes, arguments.days)?;
    if let Some(seconds) = arguments.pod_start {
        catalogue.start_pods_within(seconds)?;
    }
    let settings = match &arguments.settings {
        None => Settings::default(),
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?,
    };
    std::fs::create_dir_all(&arguments.out)?;
    if arguments.large {
        return large(arguments, &catalogue, settings);
    }
    let mut kinds = Kind::all();
    if let Some(wanted) = &arguments.policy {
        kinds.retain(|kind| kind.name().starts_with(wanted.as_str()));
        if kinds.is_empty() {
            let mut names: Vec<String> = Kind::all().into_iter().map(Kind::name).collect();
            names.dedup();
            return Err(format!("no policy begins with {wanted:?}; there are {}", names.join(", ")).into());
        }
    }
    if arguments.misses {
        misses(arguments, &catalogue, &kinds, settings);
        return Ok(());
    }
    let (seeds, days, tenants) = (arguments.seeds.max(1), arguments.days, arguments.tenants);
    let asked = Asked { first_seed: arguments.first_seed, seeds, days, tenants, settings };
    let say = |text: &str| eprintln!("{:6.1} s  {text}", clock.elapsed().as_secs_f64());
    let policies = search::compare(&catalogue, &kinds, asked, &say);
    let (tenants, missed) = search::bound(&catalogue, asked);
    say(&format!("lower bound: {tenants} tenants"));
    table(&policies, asked);
    println!("{:<24}{tenants:>8}{missed:>11}   preemptive, run times known", "lower bound");
    let output = Output {
        catalogue: catalogue.shapes.name.clone(),
        pod_start_seconds: catalogue.shapes.pod_start_seconds,
        first_seed: asked.first_seed,
        seeds: asked.seeds,
        days: asked.days,
        missed_counted_at_tenants: asked.tenants,
        policies,
        lower_bound: Bound { tenants, missed_deadlines_at64: missed },
        seconds: clock.elapsed().as_secs_f64(),
    };
    let path = arguments.out.join("result.json");
    std::fs::write(&path, serde_json::to_string_pretty(&output)?)?;
    println!("\n{:.0} s; {}", output.seconds, path.display());
    Ok(())
}

/// Which runs are late, and how they went.
fn misses(arguments: &Arguments, catalogue: &Catalogue, kinds: &[Kind], settings: Settings) {
    for kind in kinds {
        for seed in arguments.first_seed..arguments.first_seed.saturating_add(arguments.seeds) {
            let (tenants, days) = (arguments.tenants, arguments.days);
            let setting = world::Setting { seed, tenants, days, until_missed: false };
            let result = search::simulate(catalogue, *kind, setting, settings);
            println!(
                "{} {} seed {seed}: {} of {} missed; digest {:016x}",
                kind.name(),
                kind.target(),
                result.missed,
                result.runs,
                result.digest
            );
            for miss in &result.misses {
                let minutes = |ms: i64| ms as f64 / 60_000.0;
                println!(
                    "  tenant {} {} hour {}: {:.1} min late; possible at {:.1}, started at {:.1}, takes {:.1} min{}",
                    miss.info.tenant,
                    catalogue.kinds[miss.info.kind].name,
                    (miss.info.slot_ms - catalogue.begins_ms) / 3_600_000,
                    minutes(miss.late_ms),
                    minutes(miss.possible_ms),
                    minutes(miss.started_ms.unwrap_or(-1)),
                    minutes(miss.lasts_ms),
                    if miss.failed { ", failed once" } else { "" }
                );
            }
        }
    }
}

fn table(rows: &[Row], asked: Asked) {
    println!(
        "\n{} seeds of {} days; delay, utilisation and cost at {} tenants, or at the most that are held\n",
        asked.seeds, asked.days, asked.tenants
    );
    println!(
        "{:<24}{:>8}{:>11}{:>12}{:>12}{:>11}{:>11}{:>7}  target",
        "policy",
        "tenants",
        format!("missed@{}", asked.tenants),
        "delay p95 s",
        "utilised %",
        "of all %",
        "vCPU h",
        "at"
    );
    let number = |value: Option<f64>, scale: f64| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{:.1}", value * scale))
    };
    for row in rows {
        println!(
            "{:<24}{:>8}{:>11}{:>12}{:>12}{:>11}{:>11}{:>7}  {}",
            row.policy,
            row.tenants,
            row.missed_deadlines_at64,
            number(row.start_delay_p95_seconds, 1.0),
            number(row.utilisation, 100.0),
            number(row.capacity_used, 100.0),
            number(row.cost_vcpu_hours, 1.0),
            row.measured_at_tenants,
            row.target
        );
    }
}

/// A week of very many tenants: what the planner costs.
fn large(
    arguments: &Arguments,
    catalogue: &Catalogue,
    settings: Settings,
) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Instant::now();
    let tenants = arguments.large_tenants;
    // In proportion to what 64 tenants have.
    let share = |of: u64| of * u64::from(tenants) / 64;
    let capacity = homeostat_scale::jobs::Size {
        millicores: share(catalogue.capacity.millicores),
        mebibytes: share(catalogue.capacity.mebibytes),
    };
    let setting = world::Setting { seed: 1, tenants, days: arguments.days, until_missed: false };
    let world = world::World::new(catalogue, setting, capacity, false);
    let mut policy = Kind::Homeostat.build(catalogue, capacity, tenants, settings);
    let seconds = || clock.elapsed().as_secs_f64();
    let result = world.run(policy.as_mut(), Some(&seconds));
    let slowest = result.slowest_decision_seconds * 1_000.0;
    let took = seconds();
    println!(
        "{tenants} tenants, {} runs in {} days on {capacity}: {} deadlines missed, {took:.1} s of {LARGE_WITHIN:.0} s\nslowest decision: {slowest:.1} ms (all runs of an hour become due in it); digest {:016x}",
        result.runs, arguments.days, result.missed, result.digest
    );
    let output = serde_json::json!({
        "tenants": tenants, "runs": result.runs, "days": arguments.days, "missedDeadlines": result.missed,
        "seconds": took, "digest": format!("{:016x}", result.digest), "slowestDecisionMilliseconds": slowest,
    });
    std::fs::write(arguments.out.join("large.json"), serde_json::to_string_pretty(&output)?)?;
    in_time(took).map_err(Into::into)
}

fn in_time(seconds: f64) -> Result<(), String> {
    if seconds <= LARGE_WITHIN {
        return Ok(());
    }
    Err(format!(
        "the large week took {seconds:.1} s, {LARGE_WITHIN:.0} s are the most; run it on an idle machine, or look for what became slower"
    ))
}
