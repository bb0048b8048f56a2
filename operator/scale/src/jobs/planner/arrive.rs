//! How runs become known: announced, due, or found running.

use super::super::later;
use super::{Decision, GaveUp, Live, Planner, PlannerError, Run, Size, State};

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
        if let Some(live) = self.forget(run) {
            self.ahead.wait(run.slot, live.due, -live.work);
            self.jobs[run.job.index()].slots.remove(&run.slot);
            self.arrived.extend(live.followers);
        }
    }

    /// A run can be started from its slot on, for its first or a further try.
    pub(super) fn arrives(&mut self, run: Run, attempt: u32) -> Result<(), PlannerError> {
        self.withdrawn(run);
        self.unknown(run)?;
        if self.live.len() >= self.settings.most_runs {
            self.decided
                .push(Decision::GiveUp { run, why: GaveUp::TooMany { most: self.settings.most_runs } });
            return Ok(());
        }
        self.begin(run, attempt, State::Arrived);
        let tries = self.jobs[run.job.index()].job.retries.saturating_add(1);
        if attempt > tries {
            self.give_up(run, GaveUp::Retries { attempts: attempt - 1 });
        } else {
            self.wait(run);
            self.arrived.push(run);
        }
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

    /// A run was over before this planner was made: it did its work, or it is `lost`.
    pub(super) fn over_before(&mut self, run: Run, lost: bool) -> Result<(), PlannerError> {
        self.withdrawn(run);
        self.unknown(run)?;
        self.keep_slot(run, lost);
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
        self.keep_slot(run, false);
        let declared = &mut self.jobs[run.job.index()];
        if let Some(week) = &mut declared.week {
            week.turn(run.slot);
        }
        let due = later(run.slot, declared.job.due_after);
        let pods = declared.job.pods.unwrap_or(1).max(1);
        self.live.insert(run, Live { pods, ..Live::new(due, attempt, state) });
    }

    /// Remembers that a job had a run of that slot, and whether it was given up.
    pub(super) fn keep_slot(&mut self, run: Run, lost: bool) {
        let declared = &mut self.jobs[run.job.index()];
        declared.slots.insert(run.slot, lost);
        if declared.slots.len() > SLOTS
            && let Some((slot, lost)) = declared.slots.pop_first()
        {
            if lost {
                declared.lost_until = declared.lost_until.max(Some(slot));
            } else if Some(slot) > declared.lost_until {
                declared.done_since = Some(declared.done_since.map_or(slot, |since| since.min(slot)));
            }
            declared.done_since = declared.done_since.filter(|since| Some(*since) > declared.lost_until);
        }
    }
}
