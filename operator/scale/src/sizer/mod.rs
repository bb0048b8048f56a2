//! The size of one workload over time: what is seen of it, in replicas' worth, goes into [`crate::services::decide()`].
//!
//! The load is the highest of the requests (what one replica carries is learnt, see [`Capacity`]) and of the loads that the
//! Workload names (what one replica carries is declared), each divided by what one replica carries; so is what is expected of
//! them. A backlog with a deadline is not weighed but asks for what it needs, and any backlog for what its forecast says. While a load is missing, what is seen of the others can only ask for more.
//! Pure and serialisable.

mod ahead;
pub mod calendar;
mod coming;
mod due;
mod gaps;
mod kept;
mod policy;
mod starts;
#[cfg(test)]
mod tests;

pub use gaps::unusable;
pub use kept::KeptSize;
pub use policy::{SetupError, policy};

use crate::services::capacity::Capacity;
use crate::services::{
    Decision, Effect, Expected, Fallback, Observations, Owner, Policy, PolicyError, State, WhenOwned, decide,
    effect_of,
};
use ahead::expected;
use coming::Coming;
use due::{Due, Needed};
use gaps::{Gaps, usable};
use homeostat_knowledge::forecast::{SizeAdvice, SizeEffect, SizeTrouble};
use homeostat_knowledge::policy::DuePolicy;
use homeostat_knowledge::{Name, Timestamp};
use serde::{Deserialize, Serialize};
use starts::Starts;
use std::collections::BTreeSet;

/// Seconds between two decisions, as the comparison with others measures them.
pub const STEP_SECONDS: u32 = 15;
/// Steps with requests, in all of which nothing else was wrong, before what one replica carries counts as known: 10 min.
const FEW_STEPS: u32 = 40;
/// Nothing waits anywhere for so long, in seconds, before no replica is left: as long as KEDA waits.
const IDLE: i64 = 300;
/// Replicas' worth that a forecast must expect for replicas to stay though nothing waits.
const FORESEEN: f64 = 0.05;
/// Share of the kept replicas above which the part of a load that is seen asks for more while the rest is missing, and the
/// share that it then fills.
const FULL: f64 = 0.9;
const TARGET: f64 = 0.7;
/// Learning steps after which what was learnt of one replica counts half: a week.
const FORGET: u32 = 7 * 86_400 / STEP_SECONDS;

/// What was seen of the requests in the step that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// Per second; `None` when they were not seen.
    pub rate: Option<f64>,
    /// How many were answered.
    pub answered: u64,
    /// How many of them were outside of the objective.
    pub outside: u64,
    /// Nothing but the load can be the reason for it: no rollout, no young replica, no other fault.
    pub telling: bool,
}

/// A load that the Workload names.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Its name, for people.
    pub name: Name,
    /// Its value; `None` when it was not seen lately.
    pub value: Option<f64>,
    /// How much of it one replica carries.
    pub per_replica: f64,
    /// Series of it that were seen lately and are not in the value: the load is at least that.
    pub silent: Vec<Name>,
    /// Its items must be done in time.
    pub due: Option<DuePolicy>,
    /// What is said while it is not seen, where the workload's own pods should send it.
    pub unsent: Option<Name>,
    /// What the next ten minutes bring of it, in its own unit, when its forecast has skill.
    pub expected: Option<Expected>,
    /// Of a backlog the same minute by minute: items that come, where they are due, else the most that wait.
    pub soon: Vec<Expected>,
}

/// Everything that is seen of a workload at the end of a step.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Requests.
    pub requests: Requests,
    /// Other loads.
    pub loads: &'a [Load],
    /// Replicas that exist, ready or starting.
    pub replicas: u32,
    /// Ready replicas.
    pub ready: u32,
    /// What the next ten minutes bring, in requests per second, when the forecast has skill.
    pub expected: Option<Expected>,
    /// A number that the calendar asks for now.
    pub calendar: Option<u32>,
    /// The objective is being missed, as it is for want of capacity.
    pub hurts: bool,
}

/// Sizes one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sizer {
    policy: Policy,
    state: State,
    capacity: Capacity,
    taught: u32,
    /// When it first looked, in seconds since 1970.
    began: i64,
    /// A usable load was seen, now or before a restart.
    seen: bool,
    /// A load above nothing was seen.
    worked: bool,
    /// Since when nothing waits anywhere, in seconds since 1970.
    idle: Option<i64>,
    gaps: Gaps,
    #[serde(default)]
    due: Due,
    #[serde(default)]
    starts: Starts,
    #[serde(skip)]
    coming: Coming,
}

/// What follows from what is missing in this step.
struct Partly {
    /// In words; empty when nothing is missing.
    what: String,
    /// Some of the load is seen, and the rest is waited for: nothing is learnt, and there are only ways up.
    waits: bool,
    /// Some of the load is seen, and the rest is missing for longer than this waits: not fewer than this.
    least: Option<Fallback>,
}

impl Sizer {
    /// Nothing was seen yet, under this policy, at this moment. `allowed`: share of requests that may be outside of the
    /// objective; where it is no share, one in a hundred.
    pub fn new(policy: Policy, allowed: f64, now: Timestamp) -> Result<Self, PolicyError> {
        let state = State::new(&policy)?;
        let capacity = Capacity::new(allowed).unwrap_or_default();
        Ok(Self {
            policy,
            state,
            capacity,
            taught: 0,
            began: now.as_second(),
            seen: false,
            worked: false,
            idle: None,
            gaps: Gaps::default(),
            due: Due::default(),
            starts: Starts::default(),
            coming: Coming::default(),
        })
    }

    /// How it sizes.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sizes by another policy from now on. What was learnt stays where it still fits; what was decided stays.
    pub fn follow(&mut self, policy: Policy) -> Result<(), PolicyError> {
        policy.validate()?;
        let learnt = |policy: &Policy| (policy.max, policy.step_seconds, policy.start_seconds);
        // What the rules would have cost was counted at the price before.
        let dearer = (policy.price - self.policy.price).abs() > 0.0;
        if dearer || learnt(&policy) != learnt(&self.policy) {
            self.state = State::resume(&policy, self.state.decided())?;
        }
        self.policy = policy;
        Ok(())
    }

    /// Requests per second that one replica carries; `None` before enough was seen.
    pub fn per_replica(&self) -> Option<f64> {
        self.capacity.per_replica().filter(|_| self.taught >= FEW_STEPS).map(|known| known.load)
    }

    /// Decides at the end of a step. The same input gives the same answer.
    pub fn decide(&mut self, now: Timestamp, seen: &Seen<'_>, owner: &Owner) -> SizeAdvice {
        self.learn(seen);
        self.starts.look(now.as_second(), seen.replicas, seen.ready);
        let per_replica = self.per_replica();
        let weighed = worth(seen, per_replica, |load| load.due.is_none());
        let worth = worth(seen, per_replica, |_| true);
        self.seen |= worth.is_some();
        self.worked |= worth.is_some_and(|worth| worth > 0.0);
        self.gaps.look(now.as_second(), self.began, seen, per_replica);
        let partly = self.partly(now, seen, worth);
        let policy = self.policy_now(now, seen, &partly);
        let needed = self.due.look(now.as_second(), seen, (policy.min, policy.max), self.starts.longest());
        let troubles = self.troubles(seen, worth, needed.as_ref(), owner);
        let late = needed.as_ref().and_then(|needed| needed.late);
        let advice = |wanted, effect, why| SizeAdvice {
            decided: now,
            per_replica,
            wanted,
            effect,
            why,
            troubles,
            done: None,
            pod: None,
            late,
        };
        if let Some(missing) = self.missing(now, seen, worth, &partly) {
            let (wanted, effect, why) = announced(seen, &policy, owner, missing);
            return advice(wanted, effect, why);
        }
        let expected = expected(seen, per_replica);
        let coming = self.coming.look(now.as_second(), seen, policy.max);
        // A part of the load would teach that the whole fell.
        let loads: Vec<f64> = weighed.into_iter().filter(|_| !partly.waits).collect();
        // Replicas that are there for work that is foreseen wait for it.
        let ahead = coming.is_some();
        let due = needed.map(|Needed { replicas, why, .. }| (replicas, why));
        let asked = coming.into_iter().chain(due).max_by_key(|(replicas, _)| *replicas);
        let observations = Observations {
            loads: &loads,
            missing: (!partly.what.is_empty()).then_some(&partly.what),
            per_replica: 1.0,
            replicas: seen.replicas,
            asked: asked.as_ref().filter(|_| !partly.waits).map(|(replicas, why)| (*replicas, why.as_str())),
            expected,
            calendar: seen.calendar,
            hurts: seen.hurts,
        };
        let Decision { replicas, effect, reason, .. } =
            decide(now.as_second(), &mut self.state, &observations, &policy, owner);
        let gone = self.gone(now, seen, worth, &policy);
        let other = if gone && !ahead {
            Some((0, "nothing waits anywhere any more: no replica is needed".to_owned()))
        } else if !ahead && self.never(seen, worth, &policy) {
            Some((0, "nothing waits, and nothing ever did: no replica comes before work does".to_owned()))
        } else {
            let more = [
                self.woken(seen, weighed),
                self.rising(weighed, replicas, &partly),
                self.saturated(seen, per_replica),
                floor(&partly),
                asked,
            ];
            more.into_iter()
                .flatten()
                .filter(|(needed, _)| *needed > replicas)
                .max_by_key(|(needed, _)| *needed)
        };
        let (replicas, (effect, reason)) = match other {
            Some((number, why)) => (number, effect_of(number, seen.replicas, &policy, owner, why)),
            None => (replicas, (effect, reason)),
        };
        let lacking = if worth.is_none() || reason.contains(&partly.what) {
            String::new()
        } else {
            format!("; {}", partly.what)
        };
        let carries = per_replica
            .map_or_else(String::new, |each| format!("; one replica carries {} requests/s", short(each)));
        advice(Some(replicas), shown(effect), format!("{reason}{lacking}{carries}"))
    }

    /// What is in the way of a decision on everything that should count.
    fn troubles(
        &self,
        seen: &Seen<'_>,
        worth: Option<f64>,
        needed: Option<&Needed>,
        owner: &Owner,
    ) -> Vec<SizeTrouble> {
        let mut all: BTreeSet<SizeTrouble> = self.gaps.troubles().collect();
        all.extend(needed.filter(|needed| needed.late.is_some()).map(|_| SizeTrouble::DeadlineNotKept));
        if worth.is_none() && seen.requests.rate.is_some() {
            all.insert(SizeTrouble::CapacityNotKnown);
        } else if worth.is_none() && all.is_empty() {
            all.insert(if self.seen { SizeTrouble::RequestsNotSeen } else { SizeTrouble::NothingSeen });
        }
        all.extend(match (owner, self.policy.when_owned) {
            (Owner::Several { .. }, _) => Some(SizeTrouble::ScaledTwice),
            (Owner::Hpa { .. }, WhenOwned::Refuse)
            | (Owner::Keda { .. } | Owner::Vpa { acts: true, .. }, _) => Some(SizeTrouble::ScaledByOther),
            (Owner::Nobody | Owner::Hpa { .. } | Owner::Vpa { .. }, _) => None,
        });
        all.into_iter().collect()
    }

    /// What is missing of the load, and what that leaves to do.
    fn partly(&self, now: Timestamp, seen: &Seen<'_>, worth: Option<f64>) -> Partly {
        let mut what = self.gaps.words();
        if what.is_empty() && worth.is_none() && seen.requests.rate.is_some() {
            "what one replica carries of the requests is not known yet".clone_into(&mut what);
        }
        let partly = worth.is_some() && self.gaps.since().is_some();
        let least = self.policy.fallback.filter(|fallback| {
            let long =
                |since: i64| now.as_second().saturating_sub(since) >= i64::from(fallback.after_seconds);
            partly && self.gaps.since().is_some_and(long)
        });
        Partly { what, waits: partly && least.is_none(), least }
    }

    /// The policy of this step. Without a replica nobody can ask it anything, so requests alone never let it go away: that
    /// takes a load that is seen elsewhere, such as a queue, and nothing of the load that is missing or of unknown worth.
    fn policy_now(&self, now: Timestamp, seen: &Seen<'_>, partly: &Partly) -> Policy {
        let seen_elsewhere = seen.loads.iter().any(|load| load.value.is_some());
        let unknown = self.per_replica().is_none() && seen.requests.rate.is_some_and(|rate| rate > 0.0);
        let whole = seen_elsewhere && partly.what.is_empty() && !unknown;
        let listened = now.as_second().saturating_sub(self.began);
        let fallback = self
            .policy
            .fallback
            .filter(|fallback| !partly.waits && listened >= i64::from(fallback.after_seconds));
        Policy { min: if whole { self.policy.min } else { self.policy.min.max(1) }, fallback, ..self.policy }
    }

    /// Whether nothing was to be done long enough for no replica, where the bounds allow that. What was learnt of a load
    /// says how likely work comes; an empty queue says that there is none.
    fn gone(&mut self, now: Timestamp, seen: &Seen<'_>, worth: Option<f64>, policy: &Policy) -> bool {
        let nothing = worth.is_some_and(|worth| worth <= 0.0) && policy.min == 0;
        self.idle = if nothing { self.idle.or(Some(now.as_second())) } else { None };
        let idle = seen.loads.iter().filter_map(|load| load.due.as_ref()).map(due::idle).fold(IDLE, i64::max);
        let long = self.idle.is_some_and(|since| now.as_second().saturating_sub(since) >= idle);
        // A faint p90 keeps nobody; what is expected in the middle does.
        let foreseen = expected(seen, self.per_replica()).is_some_and(|said| said.p50 >= FORESEEN);
        long && !foreseen && seen.calendar.is_none_or(|wanted| wanted == 0) && !seen.hurts
    }

    /// Whether there is no replica, nothing to do, and nothing from which work could be expected.
    fn never(&self, seen: &Seen<'_>, worth: Option<f64>, policy: &Policy) -> bool {
        let asleep = seen.replicas == 0 && worth.is_some_and(|worth| worth <= 0.0);
        asleep
            && !self.worked
            && policy.min == 0
            && seen.calendar.is_none_or(|wanted| wanted == 0)
            && seen.expected.is_none_or(|said| said.p90 <= 0.0)
            && expected(seen, None).is_none_or(|said| said.p90 <= 0.0)
    }

    /// Replicas for work that came while there was none: nobody works on it meanwhile, so nothing is weighed.
    fn woken(&self, seen: &Seen<'_>, worth: Option<f64>) -> Option<(u32, String)> {
        let needed = self.replicas(worth.filter(|worth| seen.replicas == 0 && *worth > 0.0)?);
        Some((needed, format!("work came to no replica: {needed} are needed for it")))
    }

    /// Replicas for the part of the load that is seen, where it fills what is kept for the whole: as an HPA would say, as
    /// what was learnt is of the whole.
    fn rising(&self, worth: Option<f64>, kept: u32, partly: &Partly) -> Option<(u32, String)> {
        let worth = worth.filter(|worth| partly.waits && *worth > FULL * f64::from(kept))?;
        let needed = self.replicas(worth / TARGET);
        let what = &partly.what;
        let target = 100.0 * TARGET;
        Some((
            needed,
            format!("{what}; what is seen beside it needs {needed} replicas at a target of {target:.0} %"),
        ))
    }

    /// Twice the replicas where all are full and more answers are outside of the objective than may be: requests are counted
    /// by their answers, so the load is at least what is seen, and how much more nobody can say. One doubling per start.
    fn saturated(&self, seen: &Seen<'_>, per_replica: Option<f64>) -> Option<(u32, String)> {
        let Requests { rate, answered, outside, telling } = seen.requests;
        let (ready, worth) = (f64::from(seen.ready), rate? / per_replica?);
        let full = telling && seen.ready == seen.replicas && worth > FULL * ready;
        let missed = outside as f64 > self.capacity.allowed() * answered as f64;
        (full && missed && answered > 0).then(|| {
            let needed = self.replicas(2.0 * ready);
            (needed, format!("all {} replicas are full and miss the objective: {needed} now", seen.ready))
        })
    }

    fn replicas(&self, worth: f64) -> u32 {
        (worth.ceil().min(f64::from(self.policy.max)) as u32).max(1)
    }

    fn learn(&mut self, seen: &Seen<'_>) {
        let Requests { rate, answered, outside, telling } = seen.requests;
        let Some(rate) = rate.filter(|_| telling && seen.ready > 0 && answered > 0) else { return };
        let each = rate / f64::from(seen.ready);
        // A sample that is no number teaches nothing; what it was is seen in the load.
        if self.capacity.observe(each, answered as f64, outside.min(answered) as f64).is_ok() {
            self.taught = self.taught.saturating_add(1);
            if self.taught.is_multiple_of(FORGET / 16) {
                self.capacity.fade(0.5_f64.powf(1.0 / 16.0));
            }
        }
    }

    /// Why nothing can be decided yet, and what to do.
    fn missing(
        &self,
        now: Timestamp,
        seen: &Seen<'_>,
        worth: Option<f64>,
        partly: &Partly,
    ) -> Option<String> {
        if worth.is_some() || self.seen {
            return None;
        }
        if seen.requests.rate.is_some_and(|rate| rate > 0.0) {
            let gaps = self.gaps.words();
            let lacking = if gaps.is_empty() { gaps } else { format!("; {gaps}") };
            return Some(format!(
                "what one replica carries is not known yet: {} of {FEW_STEPS} steps of {STEP_SECONDS} s with requests and \
                 without another fault were seen{lacking}",
                self.taught
            ));
        }
        let waited = now.as_second().saturating_sub(self.began);
        if self.policy.fallback.is_some_and(|fallback| waited >= i64::from(fallback.after_seconds)) {
            return None;
        }
        Some(if seen.loads.is_empty() {
            "no request was seen yet; send traces with server spans over OTLP, or name a load in spec.scaling"
                .to_owned()
        } else {
            format!("nothing was seen yet: {}; check spec.signals and the Prometheus source", partly.what)
        })
    }
}

/// Not fewer than the fallback when a part of the load is missing for long.
fn floor(partly: &Partly) -> Option<(u32, String)> {
    let replicas = partly.least?.replicas.max(1);
    Some((
        replicas,
        format!("{}: at least the declared fallback of {replicas} replicas; check the source", partly.what),
    ))
}

/// What to do while nothing can be decided, which is said in `missing`: nothing but what the calendar adds. It is for what
/// no history tells, so it waits for no load; it lowers nothing.
fn announced(
    seen: &Seen<'_>,
    policy: &Policy,
    owner: &Owner,
    missing: String,
) -> (Option<u32>, SizeEffect, String) {
    let Some(asked) = seen.calendar.filter(|asked| *asked > 0) else {
        return (None, SizeEffect::Keep, missing);
    };
    let least = asked.clamp(policy.min, policy.max);
    // Of an autoscaler the floor is moved; what it makes of it is its own.
    let there = match (owner, policy.when_owned) {
        (Owner::Hpa { bounds, .. }, WhenOwned::DriveBounds) => bounds.0,
        _ => seen.replicas,
    };
    let bounded =
        if least == asked { String::new() } else { format!(", {least} within spec.scaling.replicas") };
    let why = format!("{missing}; meanwhile the calendar asks for at least {asked} replicas{bounded}");
    let wanted = least.max(there);
    let (effect, why) = effect_of(wanted, seen.replicas, policy, owner, why);
    (Some(wanted), shown(effect), why)
}

/// The highest of requests and of the usable loads that count, in replicas' worth. With a gap the whole load is at least
/// that.
fn worth(seen: &Seen<'_>, per_replica: Option<f64>, counts: impl Fn(&Load) -> bool) -> Option<f64> {
    let requests = seen.requests.rate.zip(per_replica).map(|(rate, each)| rate / each);
    // Nobody asks: no replica is needed for it, whatever one carries.
    let requests = requests.or_else(|| seen.requests.rate.filter(|rate| *rate <= 0.0));
    let loads = seen.loads.iter().filter(|load| counts(load));
    let loads = loads.filter_map(|load| Some(load.value? / load.per_replica));
    requests.into_iter().chain(loads).filter(|worth| usable(*worth)).max_by(f64::total_cmp)
}

fn shown(effect: Effect) -> SizeEffect {
    match effect {
        Effect::Keep => SizeEffect::Keep,
        Effect::Refuse => SizeEffect::Refuse,
        Effect::Note => SizeEffect::Note,
        Effect::Recommend => SizeEffect::Recommend,
        Effect::Scale => SizeEffect::Scale,
        Effect::DriveBounds { min, max } => SizeEffect::DriveBounds { min, max },
    }
}

/// A number for a sentence.
fn short(value: f64) -> String {
    if value.abs() < 1e7 { format!("{value:.1}") } else { format!("{value:.2e}") }
}
