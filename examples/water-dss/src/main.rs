//! A water utility's decision support: each tenant forecasts its demand every hour, plans its pumps with that, and writes a
//! report every night. `run` is one of these runs, as a Job; `work` takes runs from the tenant's queue; `beat` says what is
//! due, on a clock of its own; `serve` is the API; `manifests` prints what a cluster needs for all.

#![allow(clippy::disallowed_methods, reason = "the application is its own world: it reads the clock")]

mod beat;
mod manifests;
mod queue;
mod sensors;
mod serve;
mod shape;
mod usage;
mod work;
mod worker;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One run: computes for as long, with as much CPU and memory, as its shape says
    Run(work::RunArgs),
    /// Takes runs of one kind from the queue, one after the other
    Work(worker::WorkArgs),
    /// Says every simulated hour what is due: to the queue, and as Jobs
    Beat(beat::BeatArgs),
    /// The API: `GET /plan` computes a plan of pumps, `/ready` and `/metrics` say how it does
    Serve(serve::ServeArgs),
    /// Tenants, namespaces, `CronJob`s and Workloads as YAML
    Manifests(manifests::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => work::run(&args),
        Command::Work(args) => asynchronous("work", worker::work(args)),
        Command::Beat(args) => asynchronous("keep the beat", beat::keep(args)),
        Command::Serve(args) => asynchronous("serve", serve::serve(args)),
        Command::Manifests(options) => manifests::print(&options),
    }
}

/// Runs a long-lived part until it ends.
fn asynchronous<E: std::fmt::Display>(what: &str, part: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("water-dss: cannot {what}: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("water-dss: cannot {what}: {error}");
            ExitCode::FAILURE
        }
    }
}
