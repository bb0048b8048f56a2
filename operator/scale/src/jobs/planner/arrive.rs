//! How runs become known: announced, due, or found running.

use super::super::later;
use super::{Decision, GaveUp, Live, Planner, PlannerError, Run, Size, State};
use jiff::Timestamp;
use std::collections::VecDeque;

/// Slots of a job that are remembered, for those who need its runs.
const SLOTS: usize = 8;

impl Planner {
    /// Counts a run as known work that waits, without starting it: nothing is there yet that could be started.
    pub(super) fn announced(&mut self, run: Run) -> Result<(), PlannerError> {
        self.unknown(run)?;
        // One that finds no place is told again when it is due.
        if self.live.len() < self.settings.most_runs {
            self.begin(run, 1, State::Announced);
            self.wait(run);
        }
        Ok(())
    }

    /// Takes an announcement back; those that waited for it go on. Nothing changes for a run that is more than announced.
    pub(super) fn withdrawn(&mut self, run: Run) {
        if self.live.get(&run).is_none_or(|live| live.state != State::Announced) {
            return;
        }
        if let Some(live) = self.live.remove(&run) {
            self.ahead.wait(run.slot, live.due, -live.work);
            self.jobs[run.job.index()].slots.retain(|slot| *slot != run.slot);
            self.arrived.extend(live.followers);
        }
    }

    pub(super) fn due(&mut self, run: Run) -> Result<(), PlannerError> {
        self.withdrawn(run);
        self.unknown(run)?;
        if self.live.len() >= self.settings.most_runs {
            self.decided
                .push(Decision::GiveUp { run, why: GaveUp::TooMany { most: self.settings.most_runs } });
            return Ok(());
        }
        self.begin(run, 1, State::Arrived);
        self.wait(run);
        self.arrived.push(run);
        Ok(())
    }

    pub(super) fn found(&mut self, run: Run, size: Size, attempt: u32) -> Result<(), PlannerError> {
        self.withdrawn(run);
        self.unknown(run)?;
        let declared = &self.jobs[run.job.index()];
        let state = if declared.queue.is_some() { State::Left } else { State::Running(size) };
        if matches!(state, State::Running(_)) {
            self.reserved = self.reserved.plus(size);
            let tenant = &mut self.tenants[declared.tenant];
            tenant.used = tenant.used.plus(size);
        }
        self.begin(run, attempt, state);
        Ok(())
    }

    pub(super) fn lost_before(&mut self, run: Run) -> Result<(), PlannerError> {
        self.withdrawn(run);
        self.unknown(run)?;
        let declared = &mut self.jobs[run.job.index()];
        keep_slot(&mut declared.slots, run.slot);
        declared.lost = declared.lost.max(Some(run.slot));
        Ok(())
    }

    /// Its job is declared, and nothing is known of it yet.
    fn unknown(&self, run: Run) -> Result<(), PlannerError> {
        let declared = self.jobs.get(run.job.index()).ok_or(PlannerError::UnknownJob(run.job.0))?;
        if self.live.contains_key(&run) {
            return Err(PlannerError::Twice { job: declared.job.title(), slot: run.slot });
        }
        Ok(())
    }

    fn begin(&mut self, run: Run, attempt: u32, state: State) {
        let declared = &mut self.jobs[run.job.index()];
        keep_slot(&mut declared.slots, run.slot);
        let due = later(run.slot, declared.job.due_after);
        let pods = declared.job.pods.unwrap_or(1).max(1);
        self.live.insert(run, Live { pods, ..Live::new(due, attempt, state) });
    }
}

fn keep_slot(slots: &mut VecDeque<Timestamp>, slot: Timestamp) {
    if slots.len() >= SLOTS {
        slots.pop_front();
    }
    slots.push_back(slot);
}
