//! Whose turn it is: what the planner decides, what is ordered of it, and whose turn is taken back.

use super::super::again;
use super::{Desk, Look, Start, Told};
use homeostat_knowledge::{SignedDuration, Timestamp};
use homeostat_scale::jobs::{Decision, Event, Run};

/// Orders that are refused before a run's turn is taken back.
const REFUSALS: u32 = 3;
/// An order is answered by then, or what answered the one before holds for it too.
const ANSWERED: SignedDuration = SignedDuration::from_secs(2);
/// Of the same refusal again there may be no further action: after so long the last one answers for this order too.
const NO_NEWS: SignedDuration = SignedDuration::from_secs(10);
/// A run whose turn was taken back waits as long as after so many orders without effect, then twice as long, and so on.
const COOLS_DOWN: u32 = 4;

impl Desk {
    /// Takes the turn of runs back that cannot be started, where others wait for their room.
    pub(super) fn put_off(&mut self, look: &Look<'_>, now: Timestamp) {
        let Some(planner) = &self.planner else { return };
        let mut refused: Vec<Run> = Vec::new();
        for (run, live) in &self.runs {
            let Told::Turn { at, tries, .. } = &live.told else { continue };
            let passed = now.duration_since(*at);
            // Objects may keep whole seconds only.
            let made = at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(*at);
            let since = if passed < NO_NEWS { made } else { Timestamp::MIN };
            let enough = if live.put_off == 0 { REFUSALS } else { 1 };
            if *tries >= enough
                && passed >= ANSWERED
                && planner.is_wanted(*run)
                && look.jobs.get(&live.job).is_some_and(|seen| (look.refused)(&live.workload, seen, since))
            {
                refused.push(*run);
            }
        }
        for run in refused {
            let Some(live) = self.runs.get_mut(&run) else { continue };
            let until = again(now, live.put_off.saturating_add(COOLS_DOWN));
            live.put_off = live.put_off.saturating_add(1);
            live.told = Told::Due;
            let _known = self.tell(now, Event::PutOff { run, until });
        }
    }

    /// Takes note of what the planner decides.
    pub(super) fn decide(&mut self, now: Timestamp) {
        let Some(planner) = &mut self.planner else { return };
        for decision in planner.decide(now) {
            match decision {
                Decision::Start { run, attempt, size, why } => {
                    let Some(live) = self.runs.get_mut(&run) else { continue };
                    let again = if attempt > 1 { format!("try {attempt}, ") } else { String::new() };
                    let parts =
                        live.parts.as_ref().map_or_else(String::new, |parts| format!("; {}", parts.reason));
                    let why = format!("{again}{why}{parts}");
                    let said = format!("{} of {} with {size}: {why}", live.workload.name, run.slot);
                    self.last_start.insert(live.workload.clone(), said);
                    live.told = Told::Turn { size, why, at: now, tries: 0 };
                }
                // Its queue lets it go; it is seen when it runs.
                Decision::LeaveToKueue { run, size, .. } => {
                    if let Some(live) = self.runs.get_mut(&run) {
                        live.told = Told::Left(size);
                    }
                }
                Decision::GiveUp { run, why } => {
                    if let Some(live) = self.runs.remove(&run) {
                        let text = format!("the run of {} is given up: {why}", run.slot);
                        self.given_up.insert(live.workload, text);
                    }
                }
            }
        }
    }

    /// Runs whose turn it is and that were not ordered lately.
    pub(super) fn due_starts(&mut self, now: Timestamp) -> Vec<Start> {
        let mut starts = Vec::new();
        for (run, live) in &mut self.runs {
            let Told::Turn { size, why, at, tries } = &mut live.told else { continue };
            if *tries > 0 && now < again(*at, *tries - 1) {
                continue;
            }
            starts.push(Start {
                workload: live.workload.clone(),
                job: live.job.clone(),
                size: *size,
                pods: live.parts.as_ref().map(|parts| (parts.pods, parts.chosen)),
                why: why.clone(),
                seen: self
                    .planner
                    .as_ref()
                    .and_then(|planner| planner.history(run.job))
                    .map_or(0, |known| known.peaks.len()),
                tries: *tries,
            });
            *at = now;
            *tries = tries.saturating_add(1);
        }
        starts
    }
}
