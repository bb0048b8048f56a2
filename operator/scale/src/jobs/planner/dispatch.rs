//! From what has arrived to what starts.

use super::super::ahead::Asks;
use super::{Decision, GaveUp, Live, Place, Planner, Run, Size, State, Timestamp, Why, later, seconds};
use jiff::SignedDuration;

/// Where memory is taken elsewhere, so many times further the first is looked for that fits beside that.
const LOOK_FURTHER: usize = 16;

impl Planner {
    /// What to do now, in this order.
    pub fn decide(&mut self, now: Timestamp) -> Vec<Decision> {
        self.wake(now);
        self.let_back(now);
        let arrived = std::mem::take(&mut self.arrived);
        // First all who wait for another run, so that each of those knows whom it keeps waiting.
        let (waiting, free): (Vec<Run>, Vec<Run>) = arrived.into_iter().partition(|run| self.follow(*run));
        // The last in a chain first: urgency is inherited against the direction of need.
        for run in waiting.iter().rev() {
            let (latest, spare) = (self.latest(*run), self.spare(*run));
            if let Some(live) = self.live.get_mut(run) {
                (live.latest, live.spare) = (latest, spare);
            }
        }
        let hurried = self.hurried(&waiting);
        for run in free.into_iter().chain(hurried) {
            match self.lost(run) {
                Some(needed) => self.give_up(run, GaveUp::Needs(needed)),
                None => self.admit(now, run),
            }
        }
        self.dispatch(now);
        if self.let_go(now) {
            self.dispatch(now);
        }
        std::mem::take(&mut self.decided)
    }

    /// Takes back those that wait for their place in their window and now keep one of `waiting` waiting.
    fn hurried(&mut self, waiting: &[Run]) -> Vec<Run> {
        let mut hurried = Vec::new();
        for run in waiting {
            let Some(State::Needs(needed)) = self.live.get(run).map(|live| live.state) else { continue };
            if let Some(State::Shifted(at)) = self.live.get(&needed).map(|live| live.state)
                && self.shifted.remove(&(at, needed))
            {
                hurried.push(needed);
            }
        }
        hurried
    }

    /// While a run waits for room nobody waits for a place in a window: that would only waste room.
    fn let_go(&mut self, now: Timestamp) -> bool {
        if self.ready.len() == 0 || self.shifted.is_empty() {
            return false;
        }
        for (_, run) in std::mem::take(&mut self.shifted) {
            if let Some(live) = self.live.get_mut(&run).filter(|live| matches!(live.state, State::Shifted(_)))
            {
                live.place = None;
                self.admit(now, run);
            }
        }
        true
    }

    /// Until when a run waits for its place in its window: not so long that less slack would be left than its run is
    /// planned to take.
    fn place(&self, run: Run, latest: Timestamp, forward: SignedDuration) -> Option<Timestamp> {
        let live = self.live.get(&run).filter(|live| live.attempt == 1)?;
        let keeps = seconds(self.time_of(run).quantile)
            .saturating_add(self.spare(run))
            .saturating_add(forward.max(SignedDuration::ZERO));
        Some(live.place?.min(later(latest, -keeps)))
    }

    fn wake(&mut self, now: Timestamp) {
        while let Some((at, run)) = self.first_early() {
            if at > now {
                break;
            }
            self.early.remove(&(at, run));
            self.shifted.remove(&(at, run));
            if self.live.get(&run).is_some_and(|live| matches!(live.state, State::PutOff(_))) {
                self.wait(run);
            }
            self.arrived.push(run);
        }
    }

    /// Puts a run behind the one that it needs, if that is not done.
    fn follow(&mut self, run: Run) -> bool {
        let Some(needed) = self.needed(run).filter(|needed| self.live.contains_key(needed)) else {
            return false;
        };
        if let Some(live) = self.live.get_mut(&needed) {
            live.followers.push(run);
        }
        if let Some(live) = self.live.get_mut(&run) {
            live.state = State::Needs(needed);
        }
        true
    }

    /// The run that one needs: of the newest slot up to its own.
    fn needed(&self, run: Run) -> Option<Run> {
        let job = self.jobs[run.job.index()].needs?;
        let own = Run { job, ..run };
        if self.live.contains_key(&own) {
            return Some(own);
        }
        let (slot, _) = self.jobs[job.index()].slots.range(..=run.slot).next_back()?;
        Some(Run { slot: *slot, job })
    }

    /// The run that it needs, if that was given up.
    fn lost(&self, run: Run) -> Option<Run> {
        let job = self.jobs[run.job.index()].needs?;
        if self.live.get(&run).is_some_and(|live| live.fed) {
            return None;
        }
        let needs = &self.jobs[job.index()];
        if let Some(needed) = self.needed(run) {
            return (needs.slots.get(&needed.slot) == Some(&true)).then_some(needed);
        }
        // Older than all that is remembered: its input is the last one that was given up, unless one did its work since.
        let slot = needs.lost_until?;
        let done = slot < run.slot && needs.done_since.is_some_and(|since| since <= run.slot);
        (!done).then_some(Run { slot: slot.min(run.slot), job })
    }

    /// Latest moment at which a run, or those that wait for it, can start and end in time.
    fn latest(&self, run: Run) -> Timestamp {
        let Some(live) = self.live.get(&run) else { return run.slot };
        let followers = live.followers.iter().filter_map(|follower| self.live.get(follower));
        let until = followers.map(Live::turn).fold(live.due, Timestamp::min);
        let needs = seconds(self.time_of(run).quantile);
        later(until, -(needs.saturating_add(self.settings.pod_start)))
    }

    /// How much earlier a run should start where a failure is not rare: one that fails is found to have failed after
    /// some share of its time, and needs all of it once more. A further try has the place of the first, so that the time
    /// that was kept for it is not spent in the queue.
    fn spare(&self, run: Run) -> SignedDuration {
        let declared = &self.jobs[run.job.index()];
        let failures = &self.kinds[declared.kind].failures;
        if declared.job.retries == 0 || failures.chance() < self.settings.retry_from {
            return SignedDuration::ZERO;
        }
        let time = self.time_of(run);
        let more = seconds(time.quantile * failures.passed()).saturating_add(self.settings.pod_start);
        more.min(self.settings.most_credit)
    }

    /// Puts a run that nothing keeps waiting but room into its queue.
    fn admit(&mut self, now: Timestamp, run: Run) {
        let latest = self.latest(run);
        let declared = &self.jobs[run.job.index()];
        let begins = later(run.slot, declared.job.not_before);
        if let Some(queue) = declared.queue.clone().filter(|_| begins <= now) {
            let size = self.size_of(run).0;
            self.decided.push(Decision::LeaveToKueue { run, queue, size });
            self.set(run, latest, State::Left);
        } else if begins > now {
            self.early.insert((begins, run));
            self.set(run, latest, State::Early);
        } else {
            let behind = self.tenants[declared.tenant].behind.min(self.settings.most_credit);
            let forward = declared.job.criticality.head_start().saturating_add(behind);
            if let Some(at) = self.place(run, latest, forward).filter(|at| *at > now) {
                self.shifted.insert((at, run));
                self.set(run, latest, State::Shifted(at));
                return;
            }
            let spare = self.spare(run);
            if let Some(live) = self.live.get_mut(&run) {
                live.spare = spare;
            }
            let place = (later(latest, -forward.saturating_add(spare)), run);
            let cpu = self.size_of(run).0.millicores;
            self.ready.insert(cpu, place);
            self.set(run, latest, State::Ready(cpu, place));
            if cpu > self.capacity.millicores {
                self.wait_anew(run);
            }
        }
    }

    fn set(&mut self, run: Run, latest: Timestamp, state: State) {
        if let Some(live) = self.live.get_mut(&run) {
            live.latest = latest;
            live.state = state;
        }
    }

    /// Starts what fits, most urgent first. What is larger than all there is now, as a node went or others have taken it, keeps
    /// nobody waiting.
    fn dispatch(&mut self, now: Timestamp) {
        self.held = None;
        let room = self.capacity.minus(self.others);
        let most = self.settings.look.saturating_mul(LOOK_FURTHER);
        while let Some((cpu, place)) =
            self.ready.first_within(room.millicores, most, |cpu, place| self.sized(place.1, cpu).fits(room))
        {
            self.ahead.sum_up(now);
            if self.over_quota(place.1, cpu) || self.kept_for_another(now, &place) {
                self.keep_apart(now, &place);
                self.park(cpu, place);
                continue;
            }
            let free = room.minus(self.reserved);
            let fits = self.sized(place.1, cpu).fits(free);
            if fits && !self.hold(now, cpu, place.1) {
                self.start(now, cpu, place);
            } else if let Some((cpu, other)) = self.passes(now, free, &place, fits) {
                self.start(now, cpu, other);
            } else {
                self.held = self.live.get(&place.1).and_then(|live| {
                    if fits {
                        Some(live.latest.max(now))
                    } else {
                        (live.latest < now).then(|| self.lets_pass_again(now, live.latest))
                    }
                });
                break;
            }
        }
        self.ahead.forget();
    }

    /// Whether a run that can wait would take room from known work that cannot.
    pub(super) fn hold(&self, now: Timestamp, millicores: u64, run: Run) -> bool {
        let Some(latest) = self.live.get(&run).map(|live| live.latest) else { return false };
        let lasts = seconds(self.time_of(run).median).saturating_add(self.settings.pod_start);
        let asks = Asks { now, latest, lasts, millicores };
        self.ahead.overfilled(&asks, self.capacity.minus(self.others).millicores, self.settings.fill)
    }

    /// The most urgent run that may start while the first does not. If the first has no room, it must end before the
    /// first must start; if the first is held back, it must not be held back itself.
    fn passes(&self, now: Timestamp, free: Size, first: &Place, first_fits: bool) -> Option<(u64, Place)> {
        let latest = self.live.get(&first.1)?.latest;
        let until = self.lets_pass_until(now, latest);
        self.ready.first_within(free.millicores, self.settings.look, |cpu, place| {
            place != first
                && (first_fits || self.would_end(now, place.1) <= until)
                && !self.over_quota(place.1, cpu)
                && !self.kept_for_another(now, place)
                && self.sized(place.1, cpu).fits(free)
                && !self.hold(now, cpu, place.1)
        })
    }

    /// Until when others may use the room that is too small for a run. What is lost already cannot be lost again: past its
    /// latest start they may for a while, then they may not for as long, and so on, as its room may never come.
    pub(super) fn lets_pass_until(&self, now: Timestamp, latest: Timestamp) -> Timestamp {
        if latest >= now {
            return latest;
        }
        later(latest, self.rounds(now, latest).saturating_add(self.settings.lets_pass))
    }

    /// When others may pass a run again that is past its latest start.
    pub(super) fn lets_pass_again(&self, now: Timestamp, latest: Timestamp) -> Timestamp {
        let round = SignedDuration::from_secs(self.round());
        later(latest, self.rounds(now, latest).saturating_add(round))
    }

    /// Seconds for which a late run lets others pass and then holds them back.
    fn round(&self) -> i64 {
        self.settings.lets_pass.as_secs().saturating_mul(2).max(1)
    }

    /// All such rounds since then that are over.
    fn rounds(&self, now: Timestamp, since: Timestamp) -> SignedDuration {
        let passed = now.duration_since(since).as_secs().max(0);
        SignedDuration::from_secs(passed - passed % self.round())
    }

    /// When a run that starts now will have ended, as it is planned.
    pub(super) fn would_end(&self, now: Timestamp, run: Run) -> Timestamp {
        later(now, seconds(self.time_of(run).quantile).saturating_add(self.settings.pod_start))
    }

    pub(super) fn sized(&self, run: Run, millicores: u64) -> Size {
        Size { millicores, ..self.size_of(run).0 }
    }

    fn start(&mut self, now: Timestamp, cpu: u64, place: Place) {
        let run = place.1;
        self.ready.remove(cpu, &place);
        let (size, memory) = self.size_of(run);
        let size = Size { millicores: cpu, ..size };
        let size = Size { millicores: self.more_for(now, run, size), ..size };
        let time = self.time_of(run);
        let tenant = self.jobs[run.job.index()].tenant;
        let Some(Live { state, attempt, due, latest, spare, work, until, .. }) = self.live.get_mut(&run)
        else {
            return;
        };
        *state = State::Running(size);
        self.ahead.wait(run.slot, *due, -*work);
        *work = 0;
        *until = later(now, seconds(time.median).saturating_add(self.settings.pod_start));
        self.ahead.run(*until, size.millicores as i64);
        let why = Why {
            latest: *latest,
            slack: latest.duration_since(now),
            spare: *spare,
            due: *due,
            time,
            memory,
        };
        let attempt = *attempt;
        self.reserved = self.reserved.plus(size);
        self.tenants[tenant].used = self.tenants[tenant].used.plus(size);
        self.decided.push(Decision::Start { run, attempt, size, why });
    }
}
