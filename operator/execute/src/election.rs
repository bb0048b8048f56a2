//! The election rules, pure: no clock, no I/O. Instants are monotonic and local.
//!
//! Method: client-go's `tools/leaderelection`. Two rules matter most. (1) A lease of another holder counts as
//! valid until *we* have seen it unchanged for its whole duration by *our* monotonic clock; times written by
//! others are never compared, so skewed wall clocks cannot make two leaders. (2) A leader that could not renew
//! for the renew deadline stops leading by itself, and the deadline is shorter than the lease.

use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// Times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease is valid after it was seen to change.
    pub lease: Duration,
    /// A leader that could not renew for so long stops.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// Refuses times under which two replicas could lead: lease > deadline > 1.2 × retry, whole seconds of lease.
    pub fn check(self) -> Result<Self, InvalidTiming> {
        if self.lease.as_secs() == 0 || self.lease.subsec_nanos() != 0 {
            return Err(InvalidTiming::LeaseNotInSeconds(self.lease));
        }
        if self.lease <= self.renew_deadline {
            return Err(InvalidTiming::DeadlineTooLong { lease: self.lease, deadline: self.renew_deadline });
        }
        if self.renew_deadline <= self.retry.mul_f64(1.2) {
            return Err(InvalidTiming::RetryTooLong { deadline: self.renew_deadline, retry: self.retry });
        }
        Ok(self)
    }
}

/// Times that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// The wire format holds whole seconds.
    #[error("the lease duration must be a positive number of whole seconds, not {0:?}")]
    LeaseNotInSeconds(Duration),
    /// A leader would still act when another may take over.
    #[error("the renew deadline ({deadline:?}) must be shorter than the lease duration ({lease:?})")]
    DeadlineTooLong {
        /// Lease duration.
        lease: Duration,
        /// Renew deadline.
        deadline: Duration,
    },
    /// There would be no second attempt.
    #[error("the renew deadline ({deadline:?}) must be longer than 1.2 times the retry period ({retry:?})")]
    RetryTooLong {
        /// Renew deadline.
        deadline: Duration,
        /// Retry period.
        retry: Duration,
    },
}

/// Content of a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Who holds it; empty when released.
    pub holder: String,
    /// How long it is valid, in seconds.
    pub duration_seconds: i32,
    /// When this holder got it, by the holder's wall clock; for people only.
    pub acquired: Option<Timestamp>,
    /// When it was renewed last, by the holder's wall clock; for people only.
    pub renewed: Option<Timestamp>,
    /// How often the holder changed.
    pub transitions: i32,
}

/// What to ask of the API server next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// There is no Lease: create this one.
    Create(LeaseRecord),
    /// Write this record over the version that was read.
    Update(LeaseRecord),
    /// Another holder's lease is valid: wait.
    Held {
        /// Who holds it.
        by: String,
    },
}

/// Election state of one replica.
#[derive(Clone, Debug)]
pub struct Machine {
    identity: String,
    timing: Timing,
    observed: Option<Observed>,
    leading: Option<Leading>,
}

#[derive(Clone, Debug)]
struct Observed {
    record: LeaseRecord,
    version: String,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Leading {
    /// When the last successful renewal was *sent*: others count their lease from later than this.
    renewed: Instant,
    transitions: i32,
}

impl Machine {
    /// A replica that has seen nothing yet. `identity` must differ between replicas and between restarts.
    pub fn new(identity: impl Into<String>, timing: Timing) -> Self {
        Self { identity: identity.into(), timing, observed: None, leading: None }
    }

    /// Takes in what the API server holds (`None`: no Lease) and says what to ask of it.
    pub fn observe(&mut self, seen: Option<(LeaseRecord, String)>, now: Instant, wall: Timestamp) -> Intent {
        let Some((record, version)) = seen else {
            self.observed = None;
            return Intent::Create(self.record(wall, wall, 0));
        };
        let changed = self.observed.as_ref().is_none_or(|old| old.version != version || old.record != record);
        if changed {
            self.observed = Some(Observed { record: record.clone(), version, at: now });
        }
        let since = self.observed.as_ref().map_or(now, |observed| observed.at);
        if record.holder == self.identity {
            return Intent::Update(self.record(record.acquired.unwrap_or(wall), wall, record.transitions));
        }
        if !record.holder.is_empty() && now < since + duration(&record) {
            return Intent::Held { by: record.holder };
        }
        Intent::Update(self.record(wall, wall, record.transitions.saturating_add(1)))
    }

    /// The write of `record` that was sent at `sent` succeeded and gave `version`.
    pub fn written(&mut self, record: LeaseRecord, version: String, sent: Instant, now: Instant) {
        self.leading = Some(Leading { renewed: sent, transitions: record.transitions });
        self.observed = Some(Observed { record, version, at: now });
    }

    /// Somebody else holds the lease, for sure.
    pub fn lost(&mut self) {
        self.leading = None;
    }

    /// Until when this replica may act; `None` when it does not lead.
    pub fn leads_until(&self) -> Option<Instant> {
        self.leading.map(|leading| leading.renewed + self.timing.renew_deadline)
    }

    /// Holder changes so far, as of our term.
    pub fn term(&self) -> Option<i32> {
        self.leading.map(|leading| leading.transitions)
    }

    /// Gives up leading when the renew deadline has passed. `true` when it just did.
    pub fn expire(&mut self, now: Instant) -> bool {
        let expired = self.leads_until().is_some_and(|until| now >= until);
        if expired {
            self.leading = None;
        }
        expired
    }

    /// The record that gives the lease away, and the version that it replaces; `None` when there is nothing to give.
    pub fn release(&mut self, wall: Timestamp) -> Option<(LeaseRecord, String)> {
        let leading = self.leading.take()?;
        let observed = self.observed.as_ref().filter(|observed| observed.record.holder == self.identity)?;
        let record = LeaseRecord {
            holder: String::new(),
            duration_seconds: 1,
            acquired: Some(wall),
            renewed: Some(wall),
            transitions: leading.transitions,
        };
        Some((record, observed.version.clone()))
    }

    /// Wait before attempt number `attempt`: the retry period plus up to 20 %, different for each identity, so
    /// that replicas that started together do not ask together.
    pub fn wait(&self, attempt: u64) -> Duration {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ attempt;
        for byte in self.identity.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.timing.retry + self.timing.retry.mul_f64(0.2 * (hash % 1_000) as f64 / 1_000.0)
    }

    /// When to ask again after attempt number `attempt`, which began then: after [`Machine::wait`], when the own right to
    /// act ends, or at once when the lease of another holder runs out, whichever comes first.
    pub fn wake(&self, began: Instant, attempt: u64) -> Instant {
        let wake = began + self.wait(attempt);
        let sooner = self.leads_until().or_else(|| self.frees_at().filter(|frees| *frees > began));
        sooner.map_or(wake, |sooner| wake.min(sooner))
    }

    /// When the lease of another holder has been seen unchanged for its whole duration.
    fn frees_at(&self) -> Option<Instant> {
        let Observed { record, at, .. } = self.observed.as_ref()?;
        let held = !record.holder.is_empty() && record.holder != self.identity;
        held.then(|| *at + duration(record))
    }

    fn record(&self, acquired: Timestamp, renewed: Timestamp, transitions: i32) -> LeaseRecord {
        LeaseRecord {
            holder: self.identity.clone(),
            duration_seconds: i32::try_from(self.timing.lease.as_secs()).unwrap_or(i32::MAX),
            acquired: Some(acquired),
            renewed: Some(renewed),
            transitions,
        }
    }
}

fn duration(record: &LeaseRecord) -> Duration {
    Duration::from_secs(u64::try_from(record.duration_seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

    use super::*;

    fn held_by(holder: &str, wall: i64) -> LeaseRecord {
        LeaseRecord {
            holder: holder.to_owned(),
            duration_seconds: 15,
            acquired: None,
            renewed: Some(Timestamp::from_second(wall).unwrap()),
            transitions: 3,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn times_written_by_others_are_never_compared() {
        let start = Instant::now();
        for wall in [0, 1_000_000, 4_000_000_000] {
            let mut machine = Machine::new("b", Timing::default());
            let seen = || Some((held_by("a", wall), "7".to_owned()));
            let here = Timestamp::from_second(2_000_000).unwrap();
            assert_eq!(machine.observe(seen(), start, here), Intent::Held { by: "a".into() });
            let almost = start + Duration::from_millis(14_999);
            assert_eq!(machine.observe(seen(), almost, here), Intent::Held { by: "a".into() });
            let Intent::Update(record) = machine.observe(seen(), start + Duration::from_secs(15), here)
            else {
                panic!("an unchanged lease is free after its duration")
            };
            assert_eq!((record.holder.as_str(), record.transitions), ("b", 4));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_runs_out_is_asked_for_at_that_moment_and_then_at_the_usual_pace() {
        let start = Instant::now();
        let after = |millis: u64| start + Duration::from_millis(millis);
        let mut machine = Machine::new("b", Timing::default());
        let seen = || Some((held_by("a", 1), "7".to_owned()));
        machine.observe(seen(), after(0), Timestamp::UNIX_EPOCH);
        for (began, attempt) in [(0, 1), (2_200, 2), (8_000, 4)] {
            assert_eq!(machine.wake(after(began), attempt), after(began) + machine.wait(attempt));
        }
        assert_eq!(machine.wake(after(13_500), 7), after(15_000));
        // It is free, and the attempt at that moment failed.
        assert_eq!(machine.wake(after(15_000), 8), after(15_000) + machine.wait(8));
        // It was renewed at the last moment.
        machine.observe(Some((held_by("a", 2), "8".to_owned())), after(15_001), Timestamp::UNIX_EPOCH);
        assert_eq!(machine.wake(after(15_001), 9), after(15_001) + machine.wait(9));
    }

    #[tokio::test(start_paused = true)]
    async fn every_renewal_seen_starts_the_wait_again() {
        let start = Instant::now();
        let mut machine = Machine::new("b", Timing::default());
        let here = Timestamp::UNIX_EPOCH;
        for step in 0..20_u64 {
            let seen = Some((held_by("a", 1), step.to_string()));
            let now = start + Duration::from_secs(10 * step);
            assert_eq!(machine.observe(seen, now, here), Intent::Held { by: "a".into() });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_stops_before_anybody_can_follow() {
        let start = Instant::now();
        let mut machine = Machine::new("a", Timing::default());
        let here = Timestamp::UNIX_EPOCH;
        let Intent::Create(record) = machine.observe(None, start, here) else { panic!() };
        // The answer took three seconds; leadership counts from when the request was sent.
        machine.written(record, "1".into(), start, start + Duration::from_secs(3));
        assert_eq!(machine.leads_until(), Some(start + Duration::from_secs(10)));
        assert!(!machine.expire(start + Duration::from_millis(9_999)));
        assert!(machine.expire(start + Duration::from_secs(10)));
        assert_eq!(machine.leads_until(), None);
    }

    #[test]
    fn times_that_allow_two_leaders_are_refused() {
        let seconds = Duration::from_secs;
        assert!(Timing::default().check().is_ok());
        for (lease, deadline, retry) in [(10, 10, 2), (15, 2, 2), (0, 0, 0)] {
            let timing =
                Timing { lease: seconds(lease), renew_deadline: seconds(deadline), retry: seconds(retry) };
            assert!(timing.check().is_err(), "{timing:?}");
        }
    }
}
