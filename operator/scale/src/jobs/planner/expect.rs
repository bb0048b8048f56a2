//! What a run is expected to take: time, CPU and memory, by what was learnt and by the number of its pods.

use super::super::days::Day;
use super::super::learned::{Logarithm, RunTime, Times, logarithm};
use super::{JobId, Planner, Run, Size, Source, State, Timestamp};

impl Planner {
    /// Time and reservation that a job's next run is planned with, on whatever day; `None` when it is not declared.
    pub fn expects(&self, id: JobId) -> Option<(RunTime, Size)> {
        self.expects_of(Run { slot: Timestamp::MAX, job: id })
    }

    /// Time and reservation that a run is planned with; `None` when its job is not declared.
    pub fn expects_of(&self, run: Run) -> Option<(RunTime, Size)> {
        self.job(run.job)?;
        Some((self.time_of(run), self.size_of(run).0))
    }

    /// What one pod of a job's next run reserves, where each run has its own number of them.
    pub fn pod_of(&self, id: JobId) -> Option<Size> {
        let declared = self.jobs.get(id.index()).filter(|declared| declared.job.pods.is_some())?;
        Some(declared.sized.unwrap_or_else(|| self.size_anew(id)).0)
    }

    /// Pods at a time of a run, and the seconds that it takes with them; `None` where that is not chosen for each run.
    pub(super) fn pods_of(&self, run: Run) -> Option<(u32, Option<f64>)> {
        let written = self.jobs[run.job.index()].job.pods?;
        Some(self.live.get(&run).map_or((written.max(1), None), |live| (live.pods, live.seconds)))
    }

    /// The kind of day of a run's slot in its job's time zone; `None` where that is not known, or no slot.
    pub(super) fn day_of(&self, run: Run) -> Option<Day> {
        let week = self.jobs[run.job.index()].week.as_ref()?;
        (run.slot < Timestamp::MAX).then(|| week.day(run.slot))
    }

    /// Time that a run is planned with.
    pub(super) fn time_of(&self, run: Run) -> RunTime {
        let declared = &self.jobs[run.job.index()];
        let pods = self.pods_of(run);
        if let Some((_, Some(seconds))) = pods {
            let runs = u32::try_from(declared.history.items.timed()).unwrap_or(u32::MAX);
            return RunTime { median: seconds, quantile: seconds, runs };
        }
        let known = self.learnt_of(run).map(|(known, _)| known.run_time(self.settings.deviations));
        match (known, pods) {
            (Some(known), None) => known,
            // Learnt of all pods together.
            (Some(known), Some((pods, _))) => {
                let share = |seconds: f64| seconds / f64::from(pods);
                RunTime { median: share(known.median), quantile: share(known.quantile), ..known }
            }
            (None, _) => {
                let guess = declared.job.due_after.as_secs_f64() * self.settings.unknown_share;
                RunTime { median: guess, quantile: guess, runs: 0 }
            }
        }
    }

    /// What was learnt of the time of a run, of all its pods together, and whether its day makes a difference; `None` while
    /// nothing is known of its program.
    fn learnt_of(&self, run: Run) -> Option<(Logarithm, bool)> {
        let declared = &self.jobs[run.job.index()];
        let (kind, tenant) = (&self.kinds[declared.kind], &self.tenants[declared.tenant]);
        let day = if declared.history.days.tell() { self.day_of(run) } else { None };
        let own = declared.history.run_time_on(day);
        let by_day = own != declared.history.run_time;
        logarithm(&own, &kind.run_time, &tenant.pace).map(|known| (known, by_day))
    }

    /// Median of the time of all pods of a run together, in seconds, as far as it was learnt.
    pub(super) fn foretells(&self, run: Run) -> Option<f64> {
        self.learnt_of(run).map(|(known, _)| known.at(0.0))
    }

    /// Time of a run as its job's runs taught it, with its uncertainty; `None` while nothing is known of its program. With as
    /// many pods as the job is written with: how many an announced run would have changes with the room of the moment.
    pub fn times_of(&self, run: Run) -> Option<Times> {
        let pods = self.job(run.job)?.pods.unwrap_or(1);
        self.learnt_of(run).map(|(known, by_day)| known.times(by_day, pods))
    }

    /// What a run reserves at least. What was learnt of CPU above what it asks for is no reason to wait: a run gets that where
    /// it is free when it begins ([`Self::more_for`]).
    pub(super) fn size_of(&self, run: Run) -> (Size, Source) {
        let declared = &self.jobs[run.job.index()];
        let (mut size, source) = declared.sized.unwrap_or_else(|| self.size_anew(run.job));
        let least = self.least.get(&run).copied().unwrap_or_default();
        size.millicores = size.millicores.max(least.millicores);
        size.mebibytes = size.mebibytes.max(least.mebibytes);
        let mut asks = declared.job.millicores.max(least.millicores);
        if let Some((pods, _)) = self.pods_of(run) {
            size = size.times(pods);
            asks = asks.saturating_mul(u64::from(pods));
        }
        size.mebibytes = size.mebibytes.min(self.capacity.mebibytes);
        if let Some(quota) = self.tenants[declared.tenant].quota {
            size.mebibytes = size.mebibytes.min(quota.mebibytes);
        }
        size.millicores = size.millicores.min(asks);
        (size, source)
    }

    /// CPU for a run that begins with `size`: what was learnt, as far as nobody else needs or has it. A second try gets what
    /// it asks for: it may have been the size that the first one did not end with.
    pub(super) fn more_for(&self, now: Timestamp, run: Run, size: Size) -> u64 {
        let declared = &self.jobs[run.job.index()];
        let first = self.live.get(&run).is_some_and(|live| live.attempt == 1);
        let pods = self.pods_of(run).map_or(1, |(pods, _)| u64::from(pods));
        let learnt = declared.sized.map_or(0, |(size, _)| size.millicores).saturating_mul(pods);
        let tenant = &self.tenants[declared.tenant];
        let free = |all: Size, taken: Size| all.minus(taken.plus(size)).millicores;
        let mut spare = free(self.capacity, self.others.plus(self.reserved));
        if let Some(quota) = tenant.quota {
            spare = spare.min(free(quota, tenant.used.plus(tenant.elsewhere())));
        }
        let wanted = learnt.min(size.millicores.saturating_add(spare));
        if first && wanted > size.millicores && !self.hold(now, wanted, run) {
            wanted
        } else {
            size.millicores
        }
    }

    fn size_anew(&self, id: JobId) -> (Size, Source) {
        let declared = &self.jobs[id.index()];
        declared.size(self.kinds[declared.kind].largest, &self.settings)
    }

    /// A run would have, or has, another number of pods; one that waits finds its place in the order anew.
    pub(super) fn shared_by(&mut self, run: Run, pods: u32, seconds: Option<f64>) {
        let by_run = self.jobs.get(run.job.index()).is_some_and(|declared| declared.job.pods.is_some());
        let Some(live) = self.live.get_mut(&run).filter(|_| by_run) else { return };
        let told = (pods.max(1), seconds);
        if told == (live.pods, live.seconds) {
            return;
        }
        let state = live.state;
        if let State::Running(_) | State::Left = state {
            // What it reserves was decided when it began.
            live.pods = told.0;
            live.seconds = seconds.or(live.seconds);
            return;
        }
        (live.pods, live.seconds) = told;
        // It is no known work until it is tried again.
        if let State::PutOff(_) = state {
            return;
        }
        self.wait_anew(run);
        self.anew(run, state);
    }

    /// A run asks for so much at least, whatever was learnt.
    pub(super) fn at_least(&mut self, run: Run, size: Size) {
        let Some(state) = self.live.get(&run).map(|live| live.state) else { return };
        if self.least.get(&run).copied().unwrap_or_default() == size {
            return;
        }
        if size == Size::default() {
            self.least.remove(&run);
        } else {
            self.least.insert(run, size);
        }
        self.anew(run, state);
    }

    /// A run that waits for its turn finds its place in the order anew.
    fn anew(&mut self, run: Run, state: State) {
        match state {
            State::Ready(cpu, place) => {
                self.ready.remove(cpu, &place);
            }
            State::Parked(cpu, place) => {
                let tenant = self.jobs[run.job.index()].tenant;
                self.tenants[tenant].parked.remove(&(place, cpu));
            }
            State::Shifted(at) => {
                self.shifted.remove(&(at, run));
            }
            _ => return,
        }
        if let Some(live) = self.live.get_mut(&run) {
            live.state = State::Arrived;
        }
        self.arrived.push(run);
    }
}
