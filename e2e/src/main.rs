//! `e2e`: the test cluster and what is done with it.
#![allow(clippy::disallowed_methods, reason = "what happens on a real machine is measured with its clocks")]

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A real Kubernetes on this machine, and what is tested and shown on it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start, look at, use and remove a test cluster.
    #[command(subcommand)]
    Cluster(commands::cluster::Command),
    /// Make container images without Docker and load them.
    #[command(subcommand)]
    Image(commands::image::Command),
    /// Break a real application on a real cluster, with Homeostat and without, and measure.
    Demo(homeostat_e2e::demo::DemoArgs),
    /// Every kind of fault of the catalogue on a real node: healed, or handed over, as it must be.
    Scenarios(homeostat_e2e::scenarios::ScenariosArgs),
    /// Jobs of a water utility's tenants with deadlines, started and sized by Homeostat.
    Water(homeostat_e2e::water::WaterArgs),
    /// A real HPA with metrics-server and Homeostat on the same service and load, side by side.
    Scale(homeostat_e2e::scale::ScaleArgs),
    /// Requests at rates that are given second by second.
    #[command(hide = true)]
    ScaleLoad(homeostat_e2e::scale::load::WaveArgs),
    /// The executor on a real API server, killed and lied to at each request: nothing twice, nothing lost.
    Proof(homeostat_e2e::proof::ProofArgs),
    /// The process that the proof kills.
    #[command(hide = true)]
    ProofProcess(commands::proof::ProcessArgs),
    /// Minutes under load without any fault: count incidents and writes.
    Quiet(homeostat_e2e::demo::quiet::QuietArgs),
    /// Send requests at a gateway by the clock and write down each one.
    Load(homeostat_e2e::load::LoadArgs),
    /// Signal a container's first process on this node.
    #[command(hide = true)]
    Signal(commands::demo::SignalArgs),
    /// Delay calls to a port of the network namespace that this runs in.
    #[command(hide = true)]
    Delay(homeostat_e2e::scenarios::delay::DelayArgs),
    /// Wait for a signal.
    #[command(hide = true)]
    Wait,
    /// Find, unpack or build a piece of the test cluster and print its folder.
    Piece(commands::piece::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Cluster(command) => commands::cluster::run(command),
        Command::Image(command) => commands::image::run(command),
        Command::Demo(arguments) => commands::demo::demo(&arguments),
        Command::Scenarios(arguments) => commands::demo::scenarios(&arguments),
        Command::Water(arguments) => commands::demo::water(&arguments),
        Command::Scale(arguments) => commands::demo::scale(&arguments),
        Command::ScaleLoad(arguments) => commands::demo::scale_load(&arguments),
        Command::Proof(arguments) => commands::proof::proof(&arguments),
        Command::ProofProcess(arguments) => commands::proof::process(&arguments),
        Command::Quiet(arguments) => commands::demo::quiet(&arguments),
        Command::Load(arguments) => commands::demo::load(&arguments),
        Command::Signal(arguments) => commands::demo::signal(&arguments),
        Command::Delay(arguments) => commands::demo::delay(&arguments),
        Command::Wait => commands::demo::wait(),
        Command::Piece(arguments) => commands::piece::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
