//! `e2e proof`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use homeostat_e2e::proof::{self, ProofArgs, under_test};
use nix::sys::signal::Signal;

use super::{Outcome, runtime};

/// Arguments of `e2e proof-process`.
#[derive(Args, Debug)]
pub struct ProcessArgs {
    /// What the process is told.
    #[arg(long)]
    file: PathBuf,
}

/// Runs the proof; fails when something does not hold.
pub fn proof(args: &ProofArgs) -> Outcome {
    let held = runtime()?.block_on(proof::run(args))?;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The process under test, until it is killed.
pub fn process(args: &ProcessArgs) -> Outcome {
    // The proof may be killed itself; nobody would end this process then.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false).init();
    let config = serde_json::from_slice(&std::fs::read(&args.file)?)?;
    runtime()?.block_on(under_test::run(config))?;
    Ok(ExitCode::SUCCESS)
}
