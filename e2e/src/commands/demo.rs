//! `e2e demo`, its fellows on the same cluster, and what they start.

use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use homeostat_e2e::demo::quiet::{self, QuietArgs};
use homeostat_e2e::demo::{self, DemoArgs};
use homeostat_e2e::faults::signals;
use homeostat_e2e::load::{self, LoadArgs};
use homeostat_e2e::scale::load::WaveArgs;
use homeostat_e2e::scale::{self, ScaleArgs};
use homeostat_e2e::scenarios::delay::{self, DelayArgs};
use homeostat_e2e::scenarios::{self, ScenariosArgs};
use homeostat_e2e::water::{self, WaterArgs};
use nix::sys::signal::Signal;

use super::{Outcome, runtime};

/// Arguments of `e2e signal`.
#[derive(Args, Debug)]
pub struct SignalArgs {
    /// Id of the container, as Kubernetes shows it.
    #[arg(long)]
    container: String,
    /// Name of the signal, such as SIGKILL.
    #[arg(long)]
    signal: String,
}

/// Runs the demo.
pub fn demo(args: &DemoArgs) -> Outcome {
    runtime()?.block_on(interruptible(demo::run(args)))
}

/// Runs the fault catalogue; fails when something is not as it must be.
pub fn scenarios(args: &ScenariosArgs) -> Outcome {
    let mut passed = false;
    let outcome = runtime()?.block_on(interruptible(async {
        passed = scenarios::run(args).await?;
        Ok(())
    }))?;
    Ok(if passed || outcome != ExitCode::SUCCESS { outcome } else { ExitCode::FAILURE })
}

/// Runs the water utility; fails when something is not as it must be.
pub fn water(args: &WaterArgs) -> Outcome {
    let mut passed = false;
    let outcome = runtime()?.block_on(interruptible(async {
        passed = water::scenario(args).await?;
        Ok(())
    }))?;
    Ok(if passed || outcome != ExitCode::SUCCESS { outcome } else { ExitCode::FAILURE })
}

/// Runs an HPA and Homeostat side by side.
pub fn scale(args: &ScaleArgs) -> Outcome {
    runtime()?.block_on(interruptible(scale::scenario(args)))
}

/// Runs the load of that until it is over.
pub fn scale_load(args: &WaveArgs) -> Outcome {
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    println!("{}", serde_json::to_string(&scale::load::run(args)?)?);
    Ok(ExitCode::SUCCESS)
}

/// Runs quiet minutes and prints what was counted.
pub fn quiet(args: &QuietArgs) -> Outcome {
    runtime()?.block_on(interruptible(async {
        let result = quiet::run(args).await?;
        println!(
            "{}",
            serde_json::to_string_pretty(&result)
                .map_err(|error| demo::DemoError::Broken(error.to_string()))?
        );
        Ok(())
    }))
}

/// Runs the load generator until a signal comes.
pub fn load(args: &LoadArgs) -> Outcome {
    // The harness that started it may be killed; nobody would end the load then.
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    let summary = load::run(args)?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(ExitCode::SUCCESS)
}

/// Sends a signal to a container's first process on this node.
pub fn signal(args: &SignalArgs) -> Outcome {
    let signal = Signal::from_str(&args.signal)?;
    signals::send_here(&args.container, signal)?;
    Ok(ExitCode::SUCCESS)
}

/// Delays calls until the harness lets go of it.
pub fn delay(args: &DelayArgs) -> Outcome {
    runtime()?.block_on(delay::run(args))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for a signal: what the helper pod does while nothing is asked of it.
pub fn wait() -> Outcome {
    runtime()?.block_on(interruptible(std::future::pending()))
}

/// Ends in order when a person interrupts: children are ended by dropping what holds them.
async fn interruptible(work: impl Future<Output = Result<(), demo::DemoError>>) -> Outcome {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => result?,
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            return Ok(ExitCode::from(130));
        }
    }
    Ok(ExitCode::SUCCESS)
}
