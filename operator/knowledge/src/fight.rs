//! Did somebody else take our changes back, again and again? Read from the actions of the last day alone, so that a restart
//! forgets nothing.
//!
//! A change was taken back when whoever looked at the field next, to change it again, did not find what was set, and no action
//! of ours stood between. Two such changes within [`WITHIN`] of each other are a fight: that field is left to the others until
//! [`OPEN`] is over, and people are told.

use crate::action::{ActionKind, ActionRecord, Parameters};
use crate::entity::{Entity, Name, WorkloadKey};
use crate::ids::{ActionId, Uid};
use crate::policy::{Bounds, BreakerLatch};
use crate::snapshot::Snapshot;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So close to each other two changes that were taken back are a fight; and so soon must each have been found gone.
pub const WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// So long after the last of them the field is left alone, unless a person resets the cluster's breaker before.
pub const OPEN: SignedDuration = SignedDuration::from_hours(24);
/// So many changes that were taken back are a fight.
pub const TIMES: usize = 2;
/// A picture of the cluster that is younger than this may not show what was set.
const SETTLES: SignedDuration = SignedDuration::from_secs(30);
/// A field manager's name is no longer (`metadata.managedFields[].manager`).
const LONGEST_NAME: usize = 128;

/// Words after which a refusal names who set the field, and those that end the name.
pub const SET_BY: &str = "was set by ";
/// Words after which a refusal names the field manager of a tool; a closing parenthesis ends the name.
pub const MANAGED_BY: &str = "(field manager ";

/// How a person lets it be tried again before [`OPEN`] is over.
pub const RESET: &str = "kubectl annotate controlplanes.homeostat.dev default --overwrite \
     homeostat.dev/breaker-reset-at=$(date -u +%Y-%m-%dT%H:%M:%SZ)";

/// Somebody else takes back what we set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fight {
    /// Workload that the changes served.
    pub workload: WorkloadKey,
    /// Kind of the last change.
    pub kind: ActionKind,
    /// What is fought about, e.g. `spec.replicas of Deployment shop/order`.
    pub field: Name,
    /// Field manager of the others, as refusals between the changes named it; `None`: none of them did.
    pub who: Option<Name>,
    /// Changes that were taken back.
    pub times: usize,
    /// When the first of them was made.
    pub since: Timestamp,
    /// When the last of them was made.
    pub last: Timestamp,
    /// When that one was found taken back.
    pub seen: Timestamp,
    /// That one.
    pub action: ActionId,
}

impl Fight {
    /// The field is left to the others now.
    pub fn open(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen) < OPEN
    }

    /// The workload, as findings are about it.
    pub fn entity(&self) -> Entity {
        Entity::Workload { key: self.workload.clone() }
    }

    /// Who fights, in words.
    pub fn rival(&self) -> &str {
        self.who.as_deref().unwrap_or("somebody else")
    }
}

impl std::fmt::Display for Fight {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let minutes = self.seen.duration_since(self.since).as_secs().div_euclid(60) + 1;
        write!(
            formatter,
            "{} took {} back {} times in {minutes} min ({})",
            self.rival(),
            self.field,
            self.times,
            self.action
        )
    }
}

/// One field of one object; of a container where there are several.
type Place = (Uid, &'static str, Option<Name>);

/// What a field can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Replicas(i32),
    Bounds(Bounds),
    Suspended(bool),
    Requests(Option<u64>, Option<u64>),
}

/// The field that the action sets for longer. What has no value to come back to is no such field: pods go, rollouts end. A
/// node's is not one either: it serves no workload, and the first person who opens it again is heeded.
fn place(record: &ActionRecord) -> Option<Place> {
    let (field, container) = match &record.parameters {
        Parameters::ScaleUp { .. } | Parameters::ScaleDown { .. } => ("spec.replicas", None),
        Parameters::DriveBounds { .. } => ("spec.minReplicas and spec.maxReplicas", None),
        Parameters::Suspend { .. } | Parameters::Resume => ("spec.suspend", None),
        Parameters::ResizePod { container, .. } => ("resources", Some(container.clone())),
        _ => return None,
    };
    Some((record.target.uid.clone(), field, container))
}

/// What the action sets.
fn set(record: &ActionRecord) -> Option<Value> {
    Some(match record.parameters {
        Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => Value::Replicas(replicas),
        Parameters::DriveBounds { bounds, .. } => Value::Bounds(bounds),
        Parameters::Suspend { .. } => Value::Suspended(true),
        Parameters::Resume => Value::Suspended(false),
        Parameters::ResizePod { cpu_millis, memory_bytes, .. } => Value::Requests(cpu_millis, memory_bytes),
        _ => return None,
    })
}

/// What it found there.
fn found(record: &ActionRecord) -> Option<Value> {
    let before = &record.before;
    match set(record)? {
        Value::Replicas(_) => before.replicas.map(Value::Replicas),
        Value::Bounds(_) => before.bounds.map(Value::Bounds),
        Value::Suspended(_) => before.suspended.map(Value::Suspended),
        Value::Requests(..) => Some(Value::Requests(before.cpu_millis, before.memory_bytes)),
    }
}

/// When its effect was sent.
fn sent(record: &ActionRecord) -> Option<Timestamp> {
    record.instants.sent
}

/// What is `there` at an instant is not what this action set, but lies on the side that it came from. More of the same is no
/// fight, and what had its end by then ended by itself.
fn gone(ours: &ActionRecord, there: Value, at: Timestamp) -> bool {
    let ends = match ours.parameters {
        Parameters::DriveBounds { until, .. } | Parameters::Suspend { until } => Some(until),
        _ => None,
    };
    if ends.is_some_and(|until| at >= until) {
        return false;
    }
    match (set(ours), found(ours), there) {
        (Some(Value::Replicas(set)), Some(Value::Replicas(before)), Value::Replicas(there)) => {
            back(before, set, there)
        }
        (Some(Value::Bounds(set)), Some(Value::Bounds(before)), Value::Bounds(there)) => {
            back(before.min, set.min, there.min) || back(before.max, set.max, there.max)
        }
        (Some(Value::Suspended(set)), Some(Value::Suspended(before)), Value::Suspended(there)) => {
            set != before && there != set
        }
        (Some(Value::Requests(cpu, memory)), Some(_), Value::Requests(there_cpu, there_memory)) => {
            let other = |set: Option<u64>, there: Option<u64>| {
                set.is_some_and(|set| there.is_some_and(|there| there != set))
            };
            other(cpu, there_cpu) || other(memory, there_memory)
        }
        _ => false,
    }
}

fn back<T: Ord + Copy>(before: T, set: T, there: T) -> bool {
    if set > before { there < set } else { set < before && there > set }
}

/// A change of ours that was taken back.
struct Lost<'a> {
    ours: &'a ActionRecord,
    sent: Timestamp,
    seen: Timestamp,
}

/// The last fight about one field. `changes`: what had an effect there, oldest first; `looks`: what an action that had none,
/// or the object itself, showed of it, and when.
fn last_fight(
    changes: &[(Timestamp, &ActionRecord)],
    looks: &[(Timestamp, Value)],
    rivals: &[(Timestamp, Name)],
    latch: &BreakerLatch,
    now: Timestamp,
) -> Option<Fight> {
    let lost: Vec<Lost<'_>> = changes
        .iter()
        .enumerate()
        .filter_map(|(index, (sent, ours))| {
            let next = changes.get(index + 1);
            let until = next.map_or(now, |(next, _)| *next);
            let settled = sent.checked_add(SETTLES).ok()?;
            let looked = looks.iter().filter(|(at, _)| *at >= settled && *at <= until);
            let by_next = next.and_then(|(at, next)| Some((*at, found(next)?)));
            let seen = looked.copied().chain(by_next).filter(|(at, there)| gone(ours, *there, *at));
            let seen = seen.map(|(at, _)| at).min()?;
            let soon = seen.duration_since(*sent) <= WITHIN;
            (soon && latch.counts(seen, now)).then_some(Lost { ours, sent: *sent, seen })
        })
        .collect();
    let close = |pair: &&[Lost<'_>]| pair[1].sent.duration_since(pair[0].sent) <= WITHIN;
    let last = lost.windows(TIMES).rev().find(close)?.last()?;
    let of_it =
        lost.iter().filter(|one| one.sent <= last.sent && last.sent.duration_since(one.sent) <= WITHIN);
    let since = of_it.clone().map(|one| one.sent).min()?;
    let (_, field, container) = place(last.ours)?;
    let target = &last.ours.target;
    let of = container.map_or_else(String::new, |container| format!(" of container {container}"));
    let who = rivals.iter().filter(|(at, _)| *at >= since).max_by_key(|(at, _)| *at);
    Some(Fight {
        workload: last.ours.workload.clone(),
        kind: last.ours.kind(),
        field: Name::from(format!("{field}{of} of {} {}", target.kind, target.key)),
        who: who.map(|(_, who)| who.clone()),
        times: of_it.count(),
        since,
        last: last.sent,
        seen: last.seen,
        action: last.ours.id.clone(),
    })
}

/// Who a refusal says set the field.
pub fn named(message: &str) -> Option<Name> {
    let after = |words: &str, end: &str| {
        let (_, rest) = message.split_once(words)?;
        rest.split_once(end).map(|(name, _)| name)
    };
    let name = after(MANAGED_BY, ")").or_else(|| after(SET_BY, " at "))?;
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
    (!name.is_empty()).then(|| Name::from(name))
}

/// The open fight about the field that this action would set: `all` are the actions of the last day, and what this one found
/// counts as a look at it.
pub fn against<'a>(
    record: &'a ActionRecord,
    all: impl Iterator<Item = &'a ActionRecord>,
    latch: &BreakerLatch,
    now: Timestamp,
) -> Option<Fight> {
    // Our own taking back ends a fight instead of going on with it.
    if record.undo_of.is_some() {
        return None;
    }
    let own = place(record)?;
    let others = all.filter(|other| other.id != record.id && place(other).as_ref() == Some(&own));
    let all: Vec<&ActionRecord> = others.chain([record]).collect();
    judged(&all, None, latch, now).filter(|fight| fight.open(now))
}

fn judged(
    all: &[&ActionRecord],
    present: Option<Value>,
    latch: &BreakerLatch,
    now: Timestamp,
) -> Option<Fight> {
    let mut changes: Vec<_> = all.iter().filter_map(|record| Some((sent(record)?, *record))).collect();
    changes.sort_by_key(|(at, record)| (*at, &record.id));
    if changes.len() < TIMES {
        return None;
    }
    let idle = || all.iter().filter(|record| sent(record).is_none());
    let mut looks: Vec<_> =
        idle().filter_map(|record| Some((record.evidence.taken_at, found(record)?))).collect();
    // What the object shows now it shows since the last change is settled, as far as anybody can say.
    let settled = changes.last().and_then(|(at, _)| at.checked_add(SETTLES).ok());
    looks.extend(settled.filter(|settled| *settled <= now).zip(present));
    let rivals: Vec<_> =
        idle().filter_map(|record| Some((record.evidence.taken_at, named(&record.message)?))).collect();
    last_fight(&changes, &looks, &rivals, latch, now)
}

/// Fights that were seen within [`WITHIN`], at most one of each workload under control: the newest.
pub fn fights(snapshot: &Snapshot, now: Timestamp) -> Vec<Fight> {
    let reach = WITHIN.saturating_mul(3);
    let young = |at: Timestamp| now.duration_since(at) <= reach;
    // Asked ten times a second: most fields were set once at most.
    let mut changed: BTreeMap<Place, usize> = BTreeMap::new();
    for record in snapshot.actions.values().filter(|record| sent(record).is_some_and(young)) {
        if let Some(place) = place(record) {
            *changed.entry(place).or_default() += 1;
        }
    }
    changed.retain(|_, times| *times >= TIMES);
    if changed.is_empty() {
        return Vec::new();
    }
    let mut of_place: BTreeMap<Place, Vec<&ActionRecord>> = BTreeMap::new();
    for record in snapshot.actions.values() {
        if let Some(place) = place(record).filter(|place| changed.contains_key(place)) {
            of_place.entry(place).or_default().push(record);
        }
    }
    let mut newest: BTreeMap<WorkloadKey, Fight> = BTreeMap::new();
    for all in of_place.values() {
        let present = all.first().and_then(|record| present(record, snapshot));
        let fight = judged(all, present, &snapshot.control.breaker, now);
        let Some(fight) = fight.filter(|fight| now.duration_since(fight.seen) < WITHIN) else { continue };
        if !snapshot.workloads.contains_key(&fight.workload) {
            continue;
        }
        let known = newest.entry(fight.workload.clone()).or_insert_with(|| fight.clone());
        if known.seen < fight.seen {
            *known = fight;
        }
    }
    newest.into_values().collect()
}

/// What the object shows of the field now.
fn present(record: &ActionRecord, snapshot: &Snapshot) -> Option<Value> {
    let workload = snapshot.workloads.get(&record.workload)?;
    let controller =
        || snapshot.controller_of(&record.workload).filter(|controller| controller.uid == record.target.uid);
    match set(record)? {
        Value::Replicas(_) => controller().map(|controller| Value::Replicas(controller.replicas)),
        Value::Suspended(_) => controller().map(|controller| Value::Suspended(controller.paused)),
        Value::Bounds(_) => {
            let autoscaler = snapshot.autoscaler_named(workload, &record.target.key)?;
            (autoscaler.uid == record.target.uid).then_some(Value::Bounds(autoscaler.bounds))
        }
        Value::Requests(..) => None,
    }
}

#[cfg(test)]
#[path = "fight_tests.rs"]
mod tests;
