//! Looks for the run that shows a defect.

use crate::defects::Defect;
use crate::drills;
use crate::histories;
use crate::plans::{self, Baselines};

/// A defect that was noticed.
#[derive(Clone, Debug)]
pub struct Caught {
    /// Which.
    pub defect: Defect,
    /// In which run.
    pub run: String,
    /// What was noticed first.
    pub first: String,
    /// Runs that it took.
    pub runs: usize,
}

/// Drawn histories that are tried for one defect.
const HISTORIES: u64 = 300;
/// Drills that are tried for a defect that nothing else can show.
const DRILLS: u64 = 80;

/// The drill that must show a defect, where nothing else can.
fn drill(defect: Defect) -> Option<(&'static str, drills::Mutated)> {
    match defect {
        Defect::TrustsItsClock => Some(("clocks", drills::clocks)),
        Defect::ReadsAfterTheSwitch => Some(("slow", drills::slow_reads)),
        _ => None,
    }
}

/// Runs programs with this defect until one is noticed: in drawn histories first, then in the perturbation plans.
/// `None` when nothing shows.
pub fn hunt(defect: Defect, baselines: &mut Baselines) -> std::io::Result<Option<Caught>> {
    let mut runs = 0;
    let drill = drill(defect);
    let histories = if defect.shows_with().is_some() || drill.is_some() { 0 } else { HISTORIES };
    for seed in 0..histories {
        runs += 1;
        let history = histories::run(seed, Some(defect))?;
        if let Some(first) = history.violations.into_iter().next() {
            return Ok(Some(Caught { defect, run: format!("history {seed}"), first, runs }));
        }
    }
    if let Some((name, drill)) = drill {
        for seed in 0..DRILLS {
            runs += 1;
            let drill = drill(seed, Some(defect))?;
            if let Some(first) = drill.violations.into_iter().next() {
                return Ok(Some(Caught { defect, run: format!("{name} {seed}"), first, runs }));
            }
        }
        return Ok(None);
    }
    let known = |plan: &plans::Plan| defect.shows_with().is_none_or(|action| action == plan.action);
    for plan in plans::all().into_iter().filter(known) {
        runs += 1;
        let outcome = plans::run(plan, Some(defect), baselines)?;
        if let Some(first) = outcome.failures.into_iter().next() {
            return Ok(Some(Caught { defect, run: plan.to_string(), first, runs }));
        }
    }
    Ok(None)
}
