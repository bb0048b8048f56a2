//! Sample application: food delivery behind a gateway, each service with its own database.
//!
//! One binary, one image; the first argument chooses the service.
#![allow(clippy::disallowed_methods, reason = "the application is its own world: it reads the clock")]

mod call;
mod config;
mod faults;
mod manifests;
mod mesh;
mod output;
mod request;
mod resolve;
mod roles;
mod run;
mod server;
mod store;
mod telemetry;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::roles::Role;

#[derive(Parser)]
#[command(name = "food-delivery", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The entrance; passes requests to the services that own them
    Gateway(RunArgs),
    /// Orders; calls consumer, kitchen, accounting and notification
    Order(RunArgs),
    /// Who may order what
    Consumer(RunArgs),
    /// Tickets of the kitchen
    Kitchen(RunArgs),
    /// Payments; calls the payment provider
    Accounting(RunArgs),
    /// Mails
    Notification(RunArgs),
    /// Stands for a company outside the application
    PaymentProvider(RunArgs),
    /// Prints the Kubernetes manifests
    Manifests(manifests::Options),
}

#[derive(Args)]
struct RunArgs {
    /// Configuration file
    #[arg(long, env = "FOOD_DELIVERY_CONFIG", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

fn main() -> ExitCode {
    let started = Instant::now();
    let (role, args) = match Cli::parse().command {
        Command::Gateway(args) => (Role::Gateway, args),
        Command::Order(args) => (Role::Order, args),
        Command::Consumer(args) => (Role::Consumer, args),
        Command::Kitchen(args) => (Role::Kitchen, args),
        Command::Accounting(args) => (Role::Accounting, args),
        Command::Notification(args) => (Role::Notification, args),
        Command::PaymentProvider(args) => (Role::PaymentProvider, args),
        Command::Manifests(options) => return manifests::print(&options),
    };
    let outcome = Config::load(&args.config, role)
        .map_err(run::RunError::from)
        .and_then(|config| run::run(role, config, started));
    output::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("food-delivery {}: {error}", role.name());
            ExitCode::FAILURE
        }
    }
}
