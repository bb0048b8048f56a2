//! What an end brings: room, experience, a further try, or that a run is given up.

use super::{Decision, GaveUp, Live, Outcome, Planner, PlannerError, Run, Size, State, Usage};
use jiff::{SignedDuration, Timestamp};

/// How a run, or a try of it, ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    /// Time its program ran.
    pub(super) ran: SignedDuration,
    /// What it used.
    pub(super) usage: Usage,
}

impl Planner {
    pub(super) fn ended(&mut self, now: Timestamp, run: Run, end: End) -> Result<(), PlannerError> {
        self.learn(run, end)?;
        let declared = &self.jobs[run.job.index()];
        let (tenant, retries) = (declared.tenant, declared.job.retries);
        let Some(live) = self.live.get_mut(&run) else { return Ok(()) };
        if end.outcome == Outcome::Succeeded {
            let late = now.duration_since(live.due);
            let behind = &mut self.tenants[tenant].behind;
            *behind = if late.is_positive() { (*behind).max(late) } else { *behind / 2 };
            let followers = std::mem::take(&mut live.followers);
            self.forget(run);
            for follower in &followers {
                if let Some(live) = self.live.get_mut(follower) {
                    live.fed = true;
                }
            }
            self.arrived.extend(followers);
        } else if live.attempt > retries {
            let attempts = live.attempt;
            self.give_up(run, GaveUp::Retries { attempts });
        } else {
            live.attempt += 1;
            live.state = State::Arrived;
            self.wait(run);
            self.arrived.push(run);
        }
        self.unpark(tenant);
        Ok(())
    }

    /// A run that was found had ended before: it teaches, and is known no more.
    pub(super) fn taught(&mut self, run: Run, end: End) -> Result<(), PlannerError> {
        self.learn(run, end)?;
        if let Some(live) = self.forget(run) {
            self.arrived.extend(live.followers);
        }
        self.unpark(self.jobs[run.job.index()].tenant);
        Ok(())
    }

    /// Takes back the room of a run that has ended, and learns from it.
    fn learn(&mut self, run: Run, end: End) -> Result<(), PlannerError> {
        let End { outcome, ran, usage } = end;
        if run.job.index() >= self.jobs.len() {
            return Err(PlannerError::UnknownJob(run.job.0));
        }
        let median = self.time_of(run).median;
        let expected = self.foretells(run);
        // What is learnt is of one pod, where runs have different numbers of them.
        let pods = self.pods_of(run).map_or(1, |(pods, _)| pods);
        let day = self.day_of(run);
        let of_one = |amount: u64| amount.div_ceil(u64::from(pods));
        let declared = &mut self.jobs[run.job.index()];
        let title = || declared.job.title();
        let Some(live) = self.live.get_mut(&run) else {
            return Err(PlannerError::NotRunning { job: title(), slot: run.slot });
        };
        let size = match live.state {
            State::Running(size) => size,
            State::Left => Size::default(),
            _ => return Err(PlannerError::NotRunning { job: title(), slot: run.slot }),
        };
        self.reserved = self.reserved.minus(size);
        self.ahead.run(live.until, -(size.millicores as i64));
        let tenant = &mut self.tenants[declared.tenant];
        tenant.used = tenant.used.minus(size);
        let kind = &mut self.kinds[declared.kind];
        match outcome {
            Outcome::OutOfMemory => {
                let limit = size.mebibytes.max(usage.mebibytes.unwrap_or(0));
                declared.history.killed(of_one(limit));
            }
            Outcome::Failed | Outcome::Succeeded => {
                let succeeded = outcome == Outcome::Succeeded;
                let memory = usage.mebibytes.map(of_one);
                let millicores = usage.millicores.map(of_one);
                let cpu_limit = usage.cpu_limit.map(of_one);
                declared.history.used(Usage { millicores, cpu_limit, mebibytes: memory }, succeeded);
                kind.largest = kind.largest.max(memory);
                let taken = ran.as_secs_f64();
                let failed_after = (!succeeded).then_some(taken / median);
                kind.failures.push(failed_after);
                declared.history.failures.push(failed_after);
                if let (true, Some(items)) = (succeeded && declared.job.pods.is_some(), live.items.take()) {
                    declared.history.items.push(items, pods, taken);
                }
                if succeeded && taken > 0.0 {
                    let together = taken * f64::from(pods);
                    if kind.run_time.count > 0 {
                        tenant.pace.push(together.ln() - kind.run_time.mean);
                    }
                    kind.run_time.push(together.ln());
                    declared.history.ran_on(together, run.slot, day);
                    declared.history.foretold.push(together, expected, day);
                }
            }
        }
        let others = kind.largest;
        declared.sized = Some(declared.size(others, &self.settings));
        Ok(())
    }

    /// Takes a run's room back whose turn came and that cannot be started now.
    pub(super) fn put_off(&mut self, run: Run, until: Timestamp) {
        let Some(live) = self.live.get_mut(&run) else { return };
        let State::Running(size) = live.state else { return };
        live.state = State::PutOff(until);
        self.reserved = self.reserved.minus(size);
        self.ahead.run(live.until, -(size.millicores as i64));
        self.early.insert((until, run));
        let place = self.jobs[run.job.index()].tenant;
        let tenant = &mut self.tenants[place];
        tenant.used = tenant.used.minus(size);
        self.unpark(place);
    }

    /// Ends a run and all that wait for it.
    pub(super) fn give_up(&mut self, run: Run, why: GaveUp) {
        let mut ends = vec![(run, why)];
        while let Some((run, why)) = ends.pop() {
            if let Some(live) = self.forget(run) {
                self.ahead.wait(run.slot, live.due, -live.work);
                ends.extend(live.followers.into_iter().map(|follower| (follower, GaveUp::Needs(run))));
            }
            self.keep_slot(run, true);
            self.decided.push(Decision::GiveUp { run, why });
        }
    }

    /// What is known of one run goes.
    pub(super) fn forget(&mut self, run: Run) -> Option<Live> {
        self.least.remove(&run);
        self.live.remove(&run)
    }
}
