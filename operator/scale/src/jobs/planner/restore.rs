//! What was learnt, for another planner: over a restart, or when other jobs are declared.

use super::super::learned::{JobHistory, Learnt, Program};
use super::{JobId, Planner, PlannerError, Run};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Slots of a job's last runs that are over, for those that need them. Without one that was given up there are none: no
/// run is kept from beginning by what is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Over {
    /// Of runs that were given up.
    pub lost: Vec<Timestamp>,
    /// Of later runs that did their work.
    pub done: Vec<Timestamp>,
    /// The newest of those before them whose run was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The oldest after that which did its work and is none of `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Over {
    /// Whether nothing is to be kept.
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.until.is_none()
    }
}

impl Planner {
    /// Which of a job's last runs are over.
    pub fn over(&self, id: JobId) -> Over {
        let Some(declared) = self.jobs.get(id.index()) else { return Over::default() };
        let since = declared.done_since.filter(|_| declared.lost_until.is_some());
        let mut over = Over { until: declared.lost_until, since, ..Over::default() };
        for (slot, lost) in &declared.slots {
            if *lost {
                over.lost.push(*slot);
            } else if !over.is_empty() && !self.live.contains_key(&Run { slot: *slot, job: id }) {
                over.done.push(*slot);
            }
        }
        over
    }

    /// Gives back which runs of a job are over, before anything is told of others.
    pub fn recall(&mut self, id: JobId, over: &Over) {
        let Some(declared) = self.jobs.get_mut(id.index()) else { return };
        declared.lost_until = declared.lost_until.max(over.until);
        let since = declared.done_since.into_iter().chain(over.since).min();
        declared.done_since = since.filter(|since| Some(*since) > declared.lost_until);
        let all = over.lost.iter().map(|slot| (*slot, true));
        for (slot, lost) in all.chain(over.done.iter().map(|slot| (*slot, false))) {
            self.keep_slot(Run { slot, job: id }, lost);
        }
    }

    /// What was learnt of a job's own runs.
    pub fn history(&self, id: JobId) -> Option<&JobHistory> {
        self.jobs.get(id.index()).map(|declared| &declared.history)
    }

    /// All that a job's next run is planned by, to be kept.
    pub fn learnt(&self, id: JobId) -> Option<Learnt> {
        let declared = self.jobs.get(id.index())?;
        Some(Learnt {
            history: declared.history.clone(),
            program: self.kinds[declared.kind],
            pace: self.tenants[declared.tenant].pace,
        })
    }

    /// Gives back what was learnt of a job. Of its program and its tenant the one counts that rests on the most runs, here or
    /// there; where nothing is known of its program, its own runs tell of it.
    ///
    /// # Errors
    /// The job is not declared.
    pub fn restore(&mut self, id: JobId, learnt: Learnt) -> Result<(), PlannerError> {
        let declared = self.jobs.get_mut(id.index()).ok_or(PlannerError::UnknownJob(id.0))?;
        let Learnt { history, program, pace } = learnt;
        let (kind, tenant) = (&mut self.kinds[declared.kind], &mut self.tenants[declared.tenant]);
        let largest = kind.largest.max(program.largest).max(history.peaks.iter().copied().max());
        if program == Program::default() {
            if history.run_time.count > 0 {
                let mean = history.run_time.mean;
                if kind.run_time.count > 0 {
                    tenant.pace.push(mean - kind.run_time.mean);
                }
                kind.run_time.push(mean);
            }
            kind.failures.add(&history.failures);
        } else if program.rests_on() > kind.rests_on() {
            *kind = program;
        }
        kind.largest = largest;
        if pace.count > tenant.pace.count {
            tenant.pace = pace;
        }
        let others = kind.largest;
        declared.history = history;
        declared.sized = None;
        if !declared.history.peaks.is_empty() {
            declared.sized = Some(declared.size(others, &self.settings));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::{Bench, at, job};
    use super::super::{Event, Outcome, Run};
    use super::*;
    use crate::size::Usage;
    use jiff::SignedDuration;

    /// Runs of two programs at three tenants, of different lengths, some failed or killed for memory.
    fn taught() -> (Bench, Vec<JobId>) {
        let mut bench = declared();
        let ids: Vec<JobId> = bench.1.clone();
        for round in 0..30 {
            for (place, id) in ids.iter().enumerate().take(5) {
                let slot = round * 60;
                let run = Run { slot: at(slot), job: *id };
                bench.0.planner.see(at(slot), Event::Due(run)).unwrap();
                bench.0.planner.decide(at(slot));
                let minutes = 3 + 2 * place as i64 + round % 4;
                let end = |outcome, mebibytes| Event::Ended {
                    run,
                    outcome,
                    ran: SignedDuration::from_mins(minutes),
                    usage: Usage {
                        millicores: Some(700),
                        mebibytes: Some(mebibytes),
                        cpu_limit: Some(1_000),
                    },
                };
                let used = 300 + 40 * place as u64 + 13 * round as u64;
                if round % 9 == 4 {
                    let outcome = if place == 1 { Outcome::OutOfMemory } else { Outcome::Failed };
                    bench.0.planner.see(at(slot + minutes), end(outcome, used)).unwrap();
                    bench.0.planner.decide(at(slot + minutes));
                }
                bench.0.planner.see(at(slot + minutes), end(Outcome::Succeeded, used)).unwrap();
            }
        }
        bench
    }

    fn declared() -> (Bench, Vec<JobId>) {
        let mut bench = Bench::new(64);
        let jobs =
            [("a", "plan"), ("b", "plan"), ("a", "report"), ("c", "plan"), ("b", "report"), ("d", "plan")];
        let ids = jobs.map(|(tenant, name)| {
            let mut job = job(tenant, name, 1, 55);
            (job.retries, job.mebibytes) = (2, None);
            bench.declare(job)
        });
        (bench, ids.to_vec())
    }

    #[test]
    fn a_planner_that_was_restored_plans_the_same_memory_and_time_as_before() {
        let (before, ids) = taught();
        let (mut after, _) = declared();
        for id in &ids {
            let text = serde_json::to_string(&before.planner.learnt(*id).unwrap()).unwrap();
            assert!(text.len() < 2_000, "{}", text.len());
            let learnt: Learnt = serde_json::from_str(&text).unwrap();
            assert!(learnt.is_sound());
            after.planner.restore(*id, learnt).unwrap();
        }
        for id in ids {
            // One of them never ran: it leans on its program and on its tenant.
            assert_eq!(before.planner.expects(id), after.planner.expects(id));
            assert_eq!(before.planner.learnt(id), after.planner.learnt(id));
        }
    }

    #[test]
    fn memory_after_a_kill_is_doubled_after_a_restart_too() {
        let (mut before, ids) = declared();
        let run = Run { slot: at(0), job: ids[0] };
        let size = crate::size::Size { millicores: 1_000, mebibytes: 512 };
        before.planner.see(at(0), Event::Found { run, size, attempt: 1 }).unwrap();
        let (outcome, ran) = (Outcome::OutOfMemory, SignedDuration::from_mins(1));
        before.planner.see(at(1), Event::Ended { run, outcome, ran, usage: Usage::default() }).unwrap();
        let (mut after, _) = declared();
        after.planner.restore(ids[0], before.planner.learnt(ids[0]).unwrap()).unwrap();
        assert_eq!(after.planner.expects(ids[0]).unwrap().1.mebibytes, 1_024);
    }
}
