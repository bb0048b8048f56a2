//! The proof on a real API server: a process that runs the shipped executor over the shipped ports is killed and lied
//! to at each of its requests, and the API server's own audit log says what came of it.

pub mod audit;
pub mod error;
pub mod faults;
pub mod frozen;
pub mod kill_loop;
pub mod kubelet;
pub mod objects;
pub mod old_server;
pub mod patients;
pub mod plans;
pub mod process;
pub mod product;
pub mod proxy;
pub mod relist;
pub mod request;
pub mod result;
pub mod stage;
pub mod switch;
pub mod under_test;
pub mod upgrade;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, ValueEnum};

use crate::cluster::Cluster;
use crate::demo::live::Live;
pub use error::ProofError;
use result::ProofResult;
use stage::Stage;

/// Arguments of `e2e proof`.
#[derive(Args, Clone, Debug)]
pub struct ProofArgs {
    /// The test cluster's name; one that runs already is used and left running
    #[arg(long, default_value = "proof")]
    pub name: String,
    /// Only this part
    #[arg(long, value_enum)]
    pub only: Option<Part>,
    /// Only plans whose name contains this, such as `EvictPod/Effect`
    #[arg(long)]
    pub plan: Option<String>,
    /// Of the plans of each action only every n-th, for a shorter run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub every: u16,
    /// Plans that run at once
    #[arg(long, default_value_t = 8)]
    pub lanes: usize,
    /// Illnesses in the kill loop
    #[arg(long, default_value_t = 1_000)]
    pub actions: usize,
    /// Shortest and longest life of a process in the kill loop, milliseconds
    #[arg(long, num_args = 2, default_values_t = [5_000, 15_000])]
    pub life: Vec<u64>,
    /// How often the kill switch is engaged, and how often a leader is frozen; kills for want of memory are 5 at most, trials with an old server 30
    #[arg(long, default_value_t = 200)]
    pub times: usize,
    /// Workloads that are listed anew after a kill for want of memory
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2_000..=50_000))]
    pub workloads: u32,
    /// `homeostat` of an earlier version, for the upgrades; once for each, oldest first (`scripts/earlier` builds them)
    #[arg(long, value_name = "PATH")]
    pub earlier: Vec<PathBuf>,
    /// Workloads that fall ill before each change of the version
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub open: u16,
    /// Seed of all random times
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Root of the clone
    #[arg(long, default_value = ".", hide = true)]
    pub root: PathBuf,
}

/// A part of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Every action but the starts of runs, disturbed at each of its requests.
    Plans,
    /// Random kills while many workloads fall ill.
    KillLoop,
    /// The kill switch on the shipped binary.
    KillSwitch,
    /// A frozen leader of two processes of the shipped binary.
    FrozenLeader,
    /// Kills for want of memory while the shipped binary lists many workloads.
    Relist,
    /// Earlier versions of the shipped binary, each followed by the next, and one step back.
    Upgrade,
    /// Decisions on the picture of a second API server that stands still.
    OldServer,
}

/// Runs the proof, prints its table and writes `target/proof/result.json`; false when something does not hold.
pub async fn run(args: &ProofArgs) -> Result<bool, ProofError> {
    let live = Live::start();
    // Said before a cluster is brought up for it.
    if args.only == Some(Part::Upgrade) || !args.earlier.is_empty() {
        upgrade::check(&args.earlier)?;
    }
    let running = Cluster::attach(&args.name).is_ok();
    let outcome = match Stage::up(&args.name, &args.root, None).await {
        Ok(stage) => {
            let path = stage.out.join("result.json");
            parts(args, &stage, &path, &live).await.map(|result| (result, path))
        }
        Err(error) => Err(error),
    };
    if !running {
        Cluster::remove(&args.name)?;
    }
    let (result, path) = outcome?;
    live.plain(&result.text());
    live.say(format!("written   {}", path.display()));
    Ok(result.holds())
}

/// Runs the parts; what each of them found is written at once, whatever becomes of the next one.
async fn parts(args: &ProofArgs, stage: &Stage, path: &Path, live: &Live) -> Result<ProofResult, ProofError> {
    let mut result = ProofResult::read(path);
    let wanted = |part| args.only.is_none_or(|only| only == part);
    if wanted(Part::Plans) {
        let chosen = |plan: &plans::Plan| {
            args.plan.as_ref().is_none_or(|text| plan.to_string().contains(text.as_str()))
        };
        let plans: Vec<plans::Plan> =
            plans::all().into_iter().filter(chosen).step_by(usize::from(args.every)).collect();
        let (count, done) = (plans.len(), AtomicUsize::new(0));
        live.say(format!("plans     {count}, {} at once", args.lanes));
        let lines = live.clone();
        let outcomes = plans::run_all(stage, plans, args.lanes, move |outcome| {
            let number = done.fetch_add(1, Ordering::Relaxed) + 1;
            if outcome.failures.is_empty() {
                if number.is_multiple_of(25) {
                    lines.say(format!("plans     {number} ran"));
                }
                return;
            }
            lines.say(format!(
                "FAILED    {} ({:.1} s, {} lives)",
                outcome.plan, outcome.seconds, outcome.lives
            ));
            for failure in &outcome.failures {
                lines.plain(&format!("            {failure}"));
            }
            let mut trace = outcome.trace.clone();
            trace.dedup();
            for line in &trace {
                lines.plain(&format!("              {line}"));
            }
        })
        .await;
        result.plans(&outcomes);
        result.write(path)?;
    }
    if wanted(Part::KillLoop) {
        let life = match args.life.as_slice() {
            [short, long] if short <= long => (*short, *long),
            _ => return Err(ProofError::Broken("--life takes the shortest and the longest life".to_owned())),
        };
        let settings = kill_loop::Settings { actions: args.actions, workloads: 80, life, seed: args.seed };
        live.say(format!("kill loop {} illnesses", args.actions));
        result.kill_loop = kill_loop::run(stage, settings, live).await?;
        result.write(path)?;
    }
    if wanted(Part::KillSwitch) {
        live.say(format!("switch    {} times", args.times));
        result.kill_switch = switch::run(stage, args.times, args.seed, live).await?;
        result.write(path)?;
    }
    if wanted(Part::FrozenLeader) {
        live.say(format!("frozen    {} times", args.times));
        result.frozen_leader = frozen::run(stage, args.times, args.seed, live).await?;
        result.write(path)?;
    }
    if wanted(Part::Relist) {
        live.say(format!("relist    {} workloads", args.workloads));
        let settings =
            relist::Settings { workloads: args.workloads as usize, kills: args.times, root: &args.root };
        result.relist = relist::run(stage, settings, live).await?;
        result.write(path)?;
    }
    if wanted(Part::Upgrade) {
        if args.earlier.is_empty() {
            live.say("upgrades  left out: they need --earlier PATH; `make upgrade` builds earlier versions");
        } else {
            let settings =
                upgrade::Settings { earlier: &args.earlier, open: usize::from(args.open), seed: args.seed };
            live.say(format!("upgrades  from {} earlier versions", args.earlier.len()));
            result.upgrade = upgrade::run(stage, settings, live).await?;
            result.write(path)?;
        }
    }
    if wanted(Part::OldServer) {
        live.say("old       a second API server that stands still");
        result.old_server = old_server::run(stage, args.times, live).await?;
        result.write(path)?;
    }
    Ok(result)
}

/// Runs a few plans of each of [`plans::ACTIONS`] on a cluster of this name; what failed, in words.
pub async fn slice(name: &str, root: &Path, program: PathBuf) -> Result<Vec<String>, ProofError> {
    let outcomes = match Stage::up(name, root, Some(program)).await {
        Ok(stage) => Ok(plans::run_all(&stage, plans::slice(), 8, |_| {}).await),
        Err(error) => Err(error),
    };
    Cluster::remove(name)?;
    let failed = outcomes?.into_iter().filter(|outcome| !outcome.failures.is_empty());
    Ok(failed.map(|outcome| format!("{}: {}", outcome.plan, outcome.failures.join("; "))).collect())
}
