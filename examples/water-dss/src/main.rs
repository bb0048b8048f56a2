//! A water utility's decision support as runs of jobs: each tenant forecasts its demand every hour, plans its pumps with
//! that, and writes a report every night. `run` is one of them; `manifests` prints what a cluster needs for all; `serve` is
//! the API that plans pumps on request.

#![allow(clippy::disallowed_methods, reason = "the application is its own world: it reads the clock")]

mod manifests;
mod serve;
mod shape;
mod usage;
mod work;

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
    /// The API: `GET /plan` computes a plan of pumps, `/ready` and `/metrics` say how it does
    Serve(serve::ServeArgs),
    /// Tenants, namespaces, `CronJob`s and Workloads as YAML
    Manifests(manifests::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => work::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Manifests(options) => manifests::print(&options),
    }
}
