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
    /// Find, unpack or build a piece of the test cluster and print its folder.
    Piece(commands::piece::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Cluster(command) => commands::cluster::run(command),
        Command::Image(command) => commands::image::run(command),
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
