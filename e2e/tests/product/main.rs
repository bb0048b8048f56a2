//! The installed product on a real cluster: one cluster for all scenarios, which run one after the other in this
//! order. Debug binaries, a low load, real faults.
//!
//! A harness of its own, because the scenarios share a cluster that must be removed whatever happens. Like other
//! test programs it takes a part of a name (`-- kill_switch`) and `--list`.
#![allow(clippy::disallowed_methods, reason = "what happens on a real machine is measured with its clocks")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "scenarios fail by panicking")]

mod audit;
mod backlog;
mod chained;
mod envelope;
mod healing;
mod held_back;
mod installing;
mod interrupted;
mod rules;
mod scaling;
mod seen;
mod signals;
mod stage;
mod versions;

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use stage::Stage;

/// A scenario that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(5);

type Scenario = for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, ()>;

/// Every scenario. The first three prepare nothing; every other one begins with [`Stage::ready`].
const SCENARIOS: &[(&str, Scenario)] = &[
    ("definitions_and_their_rules", |stage| rules::hold(stage).boxed_local()),
    ("definitions_store_another_version", |stage| versions::store_another_and_back(stage).boxed_local()),
    ("install_and_upgrade", |stage| installing::upgrade_changes_no_settings(stage).boxed_local()),
    ("crash_is_left_to_the_kubelet", |stage| healing::crash(stage).boxed_local()),
    ("hang_is_healed_by_one_eviction", |stage| healing::hang(stage).boxed_local()),
    ("default_level_only_recommends", |stage| held_back::default_level(stage).boxed_local()),
    ("kill_switch_stops_and_releases", |stage| held_back::kill_switch(stage).boxed_local()),
    ("unusable_workloads_are_told", |stage| held_back::unusable_workloads(stage).boxed_local()),
    ("chain_of_changes_as_a_fresh_start", |stage| chained::fresh_start_says_the_same(stage).boxed_local()),
    ("killed_homeostat_goes_on", |stage| interrupted::killed_homeostat(stage).boxed_local()),
    ("api_server_away", |stage| interrupted::api_server_away(stage).boxed_local()),
    ("prometheus_away", |stage| signals::prometheus_away(stage).boxed_local()),
    ("service_follows_its_load", |stage| scaling::follows_its_load(stage).boxed_local()),
    ("backlog_makes_a_run", |stage| backlog::runs_are_made(stage).boxed_local()),
    ("rogue_client_stays_in_the_envelope", |stage| envelope::rogue_client(stage).boxed_local()),
    ("two_installs_never_both_lead", |stage| installing::second_install(stage).boxed_local()),
    ("uninstall_keeps_the_records", |stage| installing::uninstall(stage).boxed_local()),
];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| {
        let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let chosen: Vec<_> = SCENARIOS.iter().filter(|(name, _)| wanted(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in &chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    if chosen.is_empty() {
        println!(
            "\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; {} filtered out",
            SCENARIOS.len()
        );
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let stage = Stage::up().await;
    let interrupted = tokio::signal::ctrl_c();
    let (mut passed, mut failed) = (0, Vec::new());
    let play = async {
        for &&(name, scenario) in &chosen {
            if run(&stage, name, scenario).await {
                passed += 1;
            } else {
                failed.push(name);
            }
        }
    };
    let stopped = tokio::select! {
        () = play => false,
        _ = interrupted => true,
    };
    stage.down().await;
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    let good = failed.is_empty() && !stopped;
    println!(
        "\ntest result: {}. {passed} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if good { "ok" } else { "FAILED" },
        failed.len(),
        SCENARIOS.len() - chosen.len(),
        begun.elapsed().as_secs_f64()
    );
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says whether the scenario passed; what explains a failure is kept.
async fn run(stage: &Stage, name: &str, scenario: Scenario) -> bool {
    let begun = Instant::now();
    stage.live.say(format!("scenario  {name}"));
    let play = AssertUnwindSafe(scenario(stage)).catch_unwind();
    let result = tokio::time::timeout(LIMIT, play).await;
    let words = match &result {
        Ok(Ok(())) => "ok",
        Ok(Err(_)) => "FAILED",
        Err(_) => "FAILED (too slow)",
    };
    let passed = matches!(result, Ok(Ok(())));
    if !passed {
        stage.keep(name).await;
    }
    println!("test {name} ... {words} ({:.1} s)", begun.elapsed().as_secs_f64());
    let _ = std::io::stdout().flush();
    passed
}
