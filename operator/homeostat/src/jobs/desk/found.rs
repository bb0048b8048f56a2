//! Jobs that were not seen before: after a restart, and whenever a planner is made anew.

use super::super::known::Known;
use super::super::seen::{Jobs, Phase, Seen};
use super::{Desk, Live, Told, stranger};
use homeostat_knowledge::{SignedDuration, Timestamp, Uid, WorkloadKey};
use homeostat_scale::jobs::{Event, JobId, Outcome, PlannerError, Run};

impl Desk {
    /// A Job that was not seen before.
    pub(super) fn found(
        &mut self,
        id: JobId,
        uid: &Uid,
        seen: &Seen,
        jobs: &Jobs,
        known: &mut Known,
        now: Timestamp,
    ) -> Result<(), PlannerError> {
        // A second try goes on under the run of the first.
        if let Some(run) = seen.retry_of.as_ref().and_then(|first| self.assigned.get(first)).copied()
            && let Some(live) = self.runs.get_mut(&run)
        {
            let ordered = matches!(live.told, Told::Turn { .. });
            live.job = uid.clone();
            self.assigned.insert(uid.clone(), run);
            return if ordered { self.moved(run, uid, seen, jobs, known, now) } else { Err(stranger(run)) };
        }
        let mut slot = seen.slot;
        while self.runs.contains_key(&Run { job: id, slot }) {
            slot = slot.checked_add(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
        }
        let run = Run { job: id, slot };
        let told = match seen.phase {
            Phase::Waiting => Told::Nothing(now),
            Phase::Running => {
                self.tell(now, Event::Found { run, size: seen.size, attempt: jobs.tries(uid) })?;
                self.tell_pods(run, seen, now)?;
                Told::Running(seen.size)
            }
            Phase::Ended(outcome) => {
                self.assigned.insert(uid.clone(), run);
                return self.found_ended(run, (uid, seen, outcome), jobs, known, now);
            }
        };
        self.assigned.insert(uid.clone(), run);
        self.runs.insert(run, Live::new(seen, uid, told));
        self.moved(run, uid, seen, jobs, known, now)
    }

    /// A Job that was over when it was first seen: it taught something, and if it failed and is still in time, its run
    /// goes on.
    fn found_ended(
        &mut self,
        run: Run,
        (uid, seen, outcome): (&Uid, &Seen, Outcome),
        jobs: &Jobs,
        known: &mut Known,
        now: Timestamp,
    ) -> Result<(), PlannerError> {
        if !known.has_taught(uid) {
            self.tell(now, Event::Found { run, size: seen.size, attempt: jobs.tries(uid) })?;
            known.teaches(uid, seen);
            self.tell_shared(run, (uid, seen), known, now)?;
            self.tell(now, Event::Taught { run, outcome, ran: seen.ran, usage: seen.usage })?;
        }
        if outcome == Outcome::Succeeded {
            return self.tell(now, Event::Done(run));
        }
        // What became of its run, its next try tells.
        if jobs.repeated(uid) {
            return Ok(());
        }
        if !self.in_time(run, &seen.workload, now) {
            return self.tell(now, Event::Lost(run));
        }
        // Its next try is told of once it may begin.
        if self.holds(seen, jobs) {
            return Ok(());
        }
        self.tell(now, Event::Again { run, attempt: jobs.tries(uid).saturating_add(1) })?;
        self.runs.insert(run, Live::new(seen, uid, Told::Due));
        Ok(())
    }

    /// A run that failed may be tried again, and there is time for it.
    pub(super) fn in_time(&self, run: Run, workload: &WorkloadKey, now: Timestamp) -> bool {
        let Some(asked) = self.told.get(workload) else { return false };
        asked.job.retries > 0 && now.duration_since(run.slot) < asked.job.due_after
    }
}
