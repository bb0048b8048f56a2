//! The decision: from what was seen to an absolute number of replicas, with its reason.

use super::choice::{Choice, Chosen};
use super::features::{Base, Expected};
use super::outlook::{Learner, Outlook};
use super::policy::{Mode, Owner, Policy, PolicyError, WhenOwned};
use serde::{Deserialize, Serialize};

/// A way down is judged by the objective for so long, in seconds.
const JUDGED: i64 = 600;

/// What is kept from one decision to the next. Store it, and a restart changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    learner: Learner,
    choice: Choice,
    /// The last number that was decided on usable signals.
    safe: Option<u32>,
    /// When the signals were last usable, in seconds since 1970.
    seen: Option<i64>,
    /// The way down that was asked for last and is not seen yet.
    asked: Option<Asked>,
    /// The last way down that took place: when it was seen, and from how many.
    down: Option<(i64, u32)>,
    /// Not fewer than so many until then.
    hold: Option<(i64, u32)>,
    /// The last safe number of before, where what was learnt was lost.
    #[serde(default)]
    resumed: Option<u32>,
}

/// A way down that was asked for. Whether it took place is seen in the replicas only: a pause, a level or a guard may keep
/// it from being done, and an autoscaler may hold more than its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When, in seconds since 1970.
    pub at: i64,
    /// From how many replicas, or from which floor of an autoscaler.
    pub from: u32,
    /// To how many.
    pub to: u32,
}

impl State {
    /// Nothing seen yet. Fails on a policy that cannot work.
    pub fn new(policy: &Policy) -> Result<Self, PolicyError> {
        policy.validate()?;
        Ok(Self {
            learner: Learner::new(policy.max, policy.step_seconds, policy.start_seconds),
            choice: Choice::default(),
            safe: None,
            seen: None,
            asked: None,
            down: None,
            hold: None,
            resumed: None,
        })
    }

    /// What was decided so far, without what was learnt: a few numbers.
    pub fn decided(&self) -> Decided {
        Decided { safe: self.safe, seen: self.seen, asked: self.asked, down: self.down, hold: self.hold }
    }

    /// Goes on from what was decided, with nothing learnt yet. Fails on a policy that cannot work.
    pub fn resume(policy: &Policy, decided: Decided) -> Result<Self, PolicyError> {
        let Decided { safe, seen, asked, down, hold } = decided;
        Ok(Self { safe, seen, asked, down, hold, resumed: safe, ..Self::new(policy)? })
    }

    /// Steps learnt from.
    pub fn steps(&self) -> u64 {
        self.learner.steps()
    }
}

/// The decisions in a [`State`], small enough to be kept anywhere. Instants are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The last number that was decided on usable signals.
    pub safe: Option<u32>,
    /// When the signals were last usable.
    pub seen: Option<i64>,
    /// The way down that was asked for last and is not seen yet.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// The last way down that took place: when it was seen, and from how many.
    pub down: Option<(i64, u32)>,
    /// Not fewer than so many until then.
    pub hold: Option<(i64, u32)>,
}

/// What was seen since the last decision.
#[derive(Clone, Copy, Debug)]
pub struct Observations<'a> {
    /// Load samples of the step that is over, in the signal's unit, oldest first. Empty: the source was silent.
    pub loads: &'a [f64],
    /// Why no load is usable, for people, where more is known than that the source is silent.
    pub missing: Option<&'a str>,
    /// Load that one replica carries inside its objective, in the same unit; see [`super::capacity`].
    pub per_replica: f64,
    /// Replicas that exist, ready or starting.
    pub replicas: u32,
    /// A number that another rule asks for, and why: more than it may be chosen, fewer not.
    pub asked: Option<(u32, &'a str)>,
    /// What a forecast expects over the next steps, in the signal's unit, when it has skill.
    pub expected: Option<Expected>,
    /// A number that the calendar asks for now.
    pub calendar: Option<u32>,
    /// Whether the objective is being missed for want of capacity.
    pub hurts: bool,
}

/// A limit that the decision ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// The fewest replicas.
    Min,
    /// The most replicas: more would have been better.
    Max,
    /// A way down that had hurt.
    Hold,
    /// The calendar's number.
    Calendar,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing: it is as it should be.
    Keep,
    /// Nothing: someone else owns the size.
    Refuse,
    /// Note it, as the mode says.
    Note,
    /// Recommend it, as the mode says.
    Recommend,
    /// Set the replicas.
    Scale,
    /// Set the bounds of the owner.
    DriveBounds {
        /// Its `minReplicas`.
        min: u32,
        /// Its `maxReplicas`.
        max: u32,
    },
}

/// How many replicas, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The absolute number; 0 only where the policy allows it.
    pub replicas: u32,
    /// What is to be done about it.
    pub effect: Effect,
    /// Why, in words and numbers.
    pub reason: String,
    /// The forecast that took part, in replicas' worth.
    pub forecast: Option<Expected>,
    /// Limits that were hit.
    pub limits: Vec<Limit>,
}

/// Decides one workload's size at `now`, in seconds since 1970. Pure: the same input gives the same answer. The policy
/// must be valid and the one that the state was made for, as far as steps and bounds go.
pub fn decide(
    now: i64,
    state: &mut State,
    seen: &Observations<'_>,
    policy: &Policy,
    owner: &Owner,
) -> Decision {
    let mut limits = Vec::new();
    gone_down(now, state, seen.replicas);
    let loads = in_replicas(seen);
    let forecast = expected(seen);
    let outlook = state.learner.observe(&loads, forecast);
    let (mut replicas, mut reason) = match outlook {
        Some(outlook) => {
            state.seen = Some(now);
            let how = policy.weighing();
            let lead = state.learner.lead();
            state.choice.charge(&loads, lead, &how);
            let chosen = state.choice.choose_after(state.resumed, &outlook, seen.replicas, lead, &how);
            if chosen.replicas >= policy.max && over(&outlook, &chosen) * policy.price > 1.0 {
                limits.push(Limit::Max);
            } else if chosen.replicas <= policy.min {
                limits.push(Limit::Min);
            }
            state.safe = Some(chosen.replicas);
            (chosen.replicas, words(state, &chosen, forecast, policy))
        }
        None if seen.asked.is_some() => (0, String::new()),
        None => silent(now, state, seen, policy),
    };
    if let Some((asked, why)) = seen.asked
        && asked >= replicas
    {
        (state.seen, state.safe) = (Some(now), Some(asked));
        (replicas, reason) = (asked, why.to_owned());
    }
    if let Some(wanted) = seen.calendar
        && wanted > replicas
    {
        replicas = wanted;
        limits.push(Limit::Calendar);
        reason.push_str("; the calendar asks for more");
    }
    held(now, state, seen, policy, &mut replicas, &mut reason, &mut limits);
    let replicas = replicas.clamp(policy.min, policy.max);
    let (effect, reason) = effect_of(replicas, seen.replicas, policy, owner, reason);
    ask_down(now, state, seen.replicas, replicas, effect, owner);
    Decision { replicas, effect, reason, forecast, limits }
}

/// One workload of a batch.
#[derive(Debug)]
pub struct Case<'a> {
    /// Kept from last time.
    pub state: &'a mut State,
    /// What was seen.
    pub seen: Observations<'a>,
    /// How it is sized.
    pub policy: &'a Policy,
    /// Who else scales it.
    pub owner: &'a Owner,
}

/// Decides many workloads, each by itself, in their order.
pub fn decide_all(now: i64, cases: &mut [Case<'_>]) -> Vec<Decision> {
    cases.iter_mut().map(|case| decide(now, case.state, &case.seen, case.policy, case.owner)).collect()
}

/// Usable loads in replicas' worth.
fn in_replicas(seen: &Observations<'_>) -> Vec<f64> {
    if !(seen.per_replica.is_finite() && seen.per_replica > 0.0) {
        return Vec::new();
    }
    let usable = seen.loads.iter().filter(|load| load.is_finite() && **load >= 0.0);
    usable.map(|load| load / seen.per_replica).filter(|load| *load <= 1e9).collect()
}

fn expected(seen: &Observations<'_>) -> Option<Expected> {
    let said = seen.expected?;
    let usable = |value: f64| value.is_finite() && (0.0..=1e9).contains(&(value / seen.per_replica));
    (usable(said.p50) && usable(said.p90))
        .then(|| Expected { p50: said.p50 / seen.per_replica, p90: said.p90 / seen.per_replica })
}

/// Chance that even the chosen number is too few.
fn over(outlook: &Outlook, chosen: &Chosen) -> f64 {
    let last = (chosen.rule + 1) * outlook.levels - 1;
    chosen.chance.max(f64::from(outlook.then[last]))
}

fn words(state: &State, chosen: &Chosen, forecast: Option<Expected>, policy: &Policy) -> String {
    let rule = match chosen.target {
        Some(target) => format!("a target of {:.0} % within what was seen to be possible", 100.0 * target),
        None => Base::ALL.get(chosen.rule).map_or("situations like this one", |base| base.name()).to_owned(),
    };
    let ahead = forecast.map_or_else(
        || "no forecast with skill, decided on what is seen".to_owned(),
        |said| format!("forecast p50 {:.1}, p90 {:.1} replicas' worth", said.p50, said.p90),
    );
    format!(
        "{} replicas: too few in {} s with a chance of {:.4} %, by {rule}, the cheapest rule over {} steps at {} \
         replica-minutes a minute of violation; {ahead}",
        chosen.replicas,
        policy.start_seconds,
        chosen.chance * 100.0,
        state.steps(),
        policy.price
    )
}

/// Without a usable signal: the last safe number, then the declared fallback; never fewer than now for want of data, and
/// never zero.
fn silent(now: i64, state: &State, seen: &Observations<'_>, policy: &Policy) -> (u32, String) {
    let silence = state.seen.map(|seen| now.saturating_sub(seen));
    let kept = state.safe.unwrap_or(seen.replicas).max(seen.replicas).max(1);
    let why = seen.missing.unwrap_or(if seen.loads.is_empty() {
        "the source is silent"
    } else {
        "no value is usable: each must be finite and not negative, and the load per replica positive"
    });
    let since = silence.map_or_else(|| "since the start".to_owned(), |silence| format!("for {silence} s"));
    match policy.fallback {
        Some(fallback) if silence.is_none_or(|silence| silence >= i64::from(fallback.after_seconds)) => {
            let replicas = fallback.replicas.max(1);
            (
                replicas,
                format!("{why}, {since}: the declared fallback of {replicas} replicas; check the source"),
            )
        }
        _ => {
            (kept, format!("{why}, {since}: the last safe size of {kept} replicas is kept; check the source"))
        }
    }
}

/// Notes a way down that was asked for and is seen now. Fewer than that are somebody else's doing.
fn gone_down(now: i64, state: &mut State, replicas: u32) {
    let Some(Asked { at, from, to }) = state.asked else { return };
    if now.saturating_sub(at) > JUDGED {
        state.asked = None;
    } else if replicas < from {
        state.asked = None;
        state.down = if replicas >= to { Some((now, from)) } else { state.down };
    }
}

/// Remembers that a way down is asked for: only where something is done, and from what is ours to set.
fn ask_down(now: i64, state: &mut State, present: u32, replicas: u32, effect: Effect, owner: &Owner) {
    let (from, to) = match (effect, owner) {
        (Effect::Scale, _) => (present, replicas),
        (Effect::DriveBounds { min, .. }, Owner::Hpa { bounds, .. }) => (bounds.0.min(present), min),
        _ => return,
    };
    if to < from {
        // A floor goes down in steps, and the autoscaler follows later: from where it began.
        let from = state.asked.map_or(from, |asked| asked.from.max(from));
        state.asked = Some(Asked { at: now, from, to });
    }
}

/// A way down that hurts is undone, and not tried again for a while.
fn held(
    now: i64,
    state: &mut State,
    seen: &Observations<'_>,
    policy: &Policy,
    replicas: &mut u32,
    reason: &mut String,
    limits: &mut Vec<Limit>,
) {
    if let Some((at, from)) = state.down
        && seen.hurts
        && now.saturating_sub(at) <= JUDGED
        && from > *replicas
    {
        state.hold = Some((now.saturating_add(i64::from(policy.hold_seconds)), from));
        state.down = None;
    }
    if let Some((until, least)) = state.hold {
        if now >= until {
            state.hold = None;
        } else if least > *replicas {
            *replicas = least;
            limits.push(Limit::Hold);
            *reason = format!("{reason}; {least} are held, as fewer hurt the objective");
        }
    }
}

/// What the mode and the owner leave to do.
pub(crate) fn effect_of(
    replicas: u32,
    current: u32,
    policy: &Policy,
    owner: &Owner,
    reason: String,
) -> (Effect, String) {
    let by_mode = |effect: Effect| match policy.mode {
        Mode::Observe => Effect::Note,
        Mode::Recommend => Effect::Recommend,
        Mode::Auto => effect,
    };
    match (owner, policy.when_owned) {
        (Owner::Hpa { bounds, peoples, .. }, WhenOwned::DriveBounds) => {
            // Its floor follows, never below people's own; its ceiling stays theirs as long as the floor fits under it.
            let min = replicas.max(peoples.0);
            let max = peoples.1.max(min);
            if *bounds == (min, max) {
                return (Effect::Keep, reason);
            }
            (by_mode(Effect::DriveBounds { min, max }), reason)
        }
        (Owner::Hpa { name, .. }, WhenOwned::Refuse) => (
            Effect::Refuse,
            format!(
                "HorizontalPodAutoscaler {name} scales it; remove it, or set scaling.whenOwned to DriveBounds; would be: {reason}"
            ),
        ),
        (Owner::Keda { name }, _) => (
            Effect::Refuse,
            format!(
                "ScaledObject {name} of KEDA scales it and would take back any change; remove one of the two; would be: {reason}"
            ),
        ),
        (Owner::Vpa { name, acts: true }, _) => (
            Effect::Refuse,
            format!(
                "VerticalPodAutoscaler {name} changes what one replica carries; set its updateMode to Off; would be: {reason}"
            ),
        ),
        (Owner::Several { names }, _) => (
            Effect::Refuse,
            format!("{names} size it against each other; keep one of them; would be: {reason}"),
        ),
        (Owner::Nobody | Owner::Vpa { acts: false, .. }, _) if replicas == current => (Effect::Keep, reason),
        (Owner::Nobody | Owner::Vpa { acts: false, .. }, _) => (by_mode(Effect::Scale), reason),
    }
}
