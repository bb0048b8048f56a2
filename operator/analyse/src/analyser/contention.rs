//! A node that is short of processor time: most of what runs there answers late at once, by its own time or because its
//! callers give up, its calls wait or its telemetry comes late, and is still alive. Then a restart of one of the victims helps nobody; without siblings elsewhere to
//! compare with, this is all that tells.

use super::{Seen, witness};
use crate::calls::{Callee, Calls, Tally};
use crate::golden::Golden;
use homeostat_knowledge::{
    CallOutcome, Entity, Evidence, FindingKind, Name, ObjectKey, SignedDuration, Snapshot, Timestamp,
    WorkloadKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// So many workloads must be late at once: a single fault makes its own workload late, and rarely one more.
const LEAST_LATE: usize = 3;
/// And this share of those that answer there.
const LEAST_SHARE: f64 = 0.5;
/// Pods that came so shortly before are named.
const SUSPECT_FOR: SignedDuration = SignedDuration::from_secs(120);
const MOST_NAMES: usize = 5;

/// Signs must come for so long before the node is told of: what piled up while a callee was away makes everybody late for a
/// moment once it is back, and so does a start. Nobody is blamed for being late meanwhile.
const TOLD_AFTER: SignedDuration = SignedDuration::from_secs(3);
/// So long after the last sign it still holds: victims answer in fits and starts.
const HOLDS: SignedDuration = SignedDuration::from_secs(30);
/// The same while it is not told of yet.
const HOLDS_UNTOLD: SignedDuration = SignedDuration::from_secs(8);
/// Calls given up lately that count as late.
const LEAST_GIVEN_UP: u64 = 2;
const WINDOW: SignedDuration = SignedDuration::from_secs(2);

/// Calls into so many workloads still wait where those of any single one are left out.
const APART_FROM_ONE: usize = 2;

/// Telemetry that is so much later than usual, in seconds, shows a process that waits for its turn.
const LATE_TELEMETRY: f64 = 0.2;

/// Calls that were given up come to light after what they waited for is well again.
const ECHO: SignedDuration = SignedDuration::from_secs(10);

/// Nodes on which most is late.
#[derive(Debug, Default)]
pub struct Contention {
    nodes: BTreeMap<Name, Node>,
    /// Callees that showed no sign of life, and when last; not older than [`ECHO`].
    dead: BTreeMap<Entity, Timestamp>,
}

#[derive(Debug)]
struct Node {
    since: Timestamp,
    /// First and last look that showed it.
    first: Timestamp,
    last: Timestamp,
    late: BTreeSet<WorkloadKey>,
    measured: usize,
}

impl Node {
    fn told(&self) -> bool {
        self.last.duration_since(self.first) >= TOLD_AFTER
    }

    fn holds(&self, now: Timestamp) -> bool {
        now.duration_since(self.last) <= if self.told() { HOLDS } else { HOLDS_UNTOLD }
    }
}

impl Contention {
    /// Looks at all nodes.
    pub fn update(&mut self, golden: &Golden, calls: &Calls, snapshot: &Snapshot, now: Timestamp) {
        self.dead.extend(dead(calls, now).map(|entity| (entity.clone(), now)));
        self.dead.retain(|_, last| now.duration_since(*last) <= ECHO);
        for (name, node) in look(golden, calls, &self.dead, snapshot, now) {
            match self.nodes.get_mut(&name) {
                Some(known) => {
                    known.last = now;
                    known.late = node.late;
                    known.measured = node.measured;
                }
                None => {
                    self.nodes.insert(name, node);
                }
            }
        }
        // A node that says itself what is wrong with it needs no other explanation.
        let quiet = |name: &Name| {
            snapshot.nodes.get(name).is_some_and(|node| node.ready && node.pressures.is_empty())
        };
        self.nodes.retain(|name, node| quiet(name) && node.holds(now));
    }

    /// Whether this workload's lateness is its node's.
    pub fn explains(&self, snapshot: &Snapshot, entity: &Entity) -> bool {
        self.of(snapshot, entity).is_some()
    }

    /// Whether what callers find of this workload is, or may be, its node's.
    pub fn holds_back(&self, calls: &Calls, snapshot: &Snapshot, entity: &Entity, kind: FindingKind) -> bool {
        match kind {
            FindingKind::Slow | FindingKind::ErrorBurst => self.explains(snapshot, entity),
            FindingKind::Hung => self.starves(calls, snapshot, entity),
            // A closed door is never the node's.
            _ => false,
        }
    }

    /// Whether this workload, which shows no sign of life, may be starved by its node: enough others there are late that do
    /// not wait for it. A process that hangs makes only those late that call it.
    fn starves(&self, calls: &Calls, snapshot: &Snapshot, entity: &Entity) -> bool {
        self.of(snapshot, entity).is_some_and(|node| {
            let others = node
                .late
                .iter()
                .filter(|late| entity.workload() != Some(*late) && !calls.reaches(late, entity));
            others.count() >= LEAST_LATE
        })
    }

    /// The busy node that carries all of this workload.
    fn of(&self, snapshot: &Snapshot, entity: &Entity) -> Option<&Node> {
        if self.nodes.is_empty() {
            return None;
        }
        self.nodes.get(&only_node(snapshot, entity.workload()?)?)
    }

    /// The findings about the nodes.
    pub(super) fn findings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
    ) {
        for (name, node) in self.nodes.iter().filter(|(_, node)| node.told()) {
            let names: Vec<&str> = node.late.iter().take(MOST_NAMES).map(|key| &*key.name).collect();
            let mut evidence = vec![Evidence::new(
                "workloads late at once on this node",
                format!("{} of {}: {}", node.late.len(), node.measured, names.join(", ")),
            )];
            let suspects = suspects(snapshot, name, node.since);
            if !suspects.is_empty() {
                let names: Vec<String> = suspects.iter().take(MOST_NAMES).map(ToString::to_string).collect();
                evidence.push(Evidence::new("pods that came here shortly before", names.join(", ")));
            }
            seen.entry((Entity::Node { name: name.clone() }, FindingKind::NoisyNeighbour)).or_insert(Seen {
                since: node.since,
                at: now,
                confidence: 0.95,
                evidence,
            });
        }
    }
}

/// Nodes on which most is late now.
fn look(
    golden: &Golden,
    calls: &Calls,
    dead: &BTreeMap<Entity, Timestamp>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> BTreeMap<Name, Node> {
    // What showed no sign of life just now answers late what waited meanwhile.
    let silent = |workload: &WorkloadKey| dead.keys().any(|dead| dead.workload() == Some(workload));
    let mut late: BTreeMap<&WorkloadKey, Timestamp> = golden
        .measured()
        .filter_map(|(workload, since)| Some((workload, since?)))
        .filter(|(workload, _)| !silent(workload))
        .collect();
    for (workload, since) in given_up(calls, dead, now) {
        late.entry(workload).or_insert(since);
    }
    for (workload, since) in kept_waiting(calls, dead, &late, snapshot, now) {
        late.entry(workload).or_insert(since);
    }
    let slow_to_tell = calls.late_pods(now).filter(|(_, by)| *by > LATE_TELEMETRY);
    for (pod, by) in slow_to_tell {
        let workload = snapshot.pods.get(pod).and_then(|pod| snapshot.workload_of(pod));
        if let Some(workload) = workload.filter(|key| witness::late_by(calls, snapshot, key, now).is_some()) {
            late.entry(workload).or_insert(now - SignedDuration::from_secs_f64(by));
        }
    }
    let mut all: BTreeMap<Name, Node> = BTreeMap::new();
    if late.len() < LEAST_LATE {
        return all;
    }
    for (workload, since) in late {
        let Some(name) = only_node(snapshot, workload) else { continue };
        let new = || Node { since, first: now, last: now, late: BTreeSet::new(), measured: 0 };
        let node = all.entry(name).or_insert_with(new);
        node.late.insert(workload.clone());
        node.since = node.since.min(since);
    }
    all.retain(|_, node| node.late.len() >= LEAST_LATE);
    if all.is_empty() {
        return all;
    }
    let known: BTreeSet<&WorkloadKey> = golden
        .measured()
        .map(|(workload, _)| workload)
        .chain(calls.callees().filter_map(|(entity, _)| entity.workload()))
        .collect();
    for workload in known {
        if let Some(node) = only_node(snapshot, workload).and_then(|name| all.get_mut(&name)) {
            node.measured += 1;
        }
    }
    all.retain(|_, node| node.late.len() as f64 >= LEAST_SHARE * node.measured as f64);
    all
}

/// Since when calls fail, of those of the last moments, and what became of these; `None` when none failed.
fn failing(callee: &Callee, now: Timestamp) -> Option<(Timestamp, Tally)> {
    // Most callees do not fail: they are not counted.
    callee.last_failure.filter(|last| now.duration_since(*last) <= WINDOW)?;
    let tally = callee.tally(now, WINDOW);
    Some((tally.first_failure?, tally))
}

/// Callees that fail lately without a sign of life.
fn dead(calls: &Calls, now: Timestamp) -> impl Iterator<Item = &Entity> {
    calls.callees().filter_map(move |(entity, callee)| {
        let (first, _) = failing(callee, now)?;
        let silent = entity.workload().is_none_or(|workload| !calls.alive(workload, first));
        silent.then_some(entity)
    })
}

/// Workloads that are alive and whose callers gave up lately, and since when. What shows no sign of life, or showed none
/// just now, and who calls it are late by that, not by the node.
fn given_up<'a>(
    calls: &'a Calls,
    dead: &'a BTreeMap<Entity, Timestamp>,
    now: Timestamp,
) -> impl Iterator<Item = (&'a WorkloadKey, Timestamp)> {
    calls.callees().filter_map(move |(entity, callee)| {
        let workload = entity.workload()?;
        let (first, tally) = failing(callee, now)?;
        let given_up = tally.main_failure() == Some(CallOutcome::Timeout)
            && tally.failures() >= LEAST_GIVEN_UP
            && calls.alive(workload, first)
            && !dead.keys().any(|dead| dead == entity || calls.reaches(workload, dead));
        given_up.then_some((workload, first))
    })
}

/// Workloads whose calls wait before they are taken up, on a node where no single workload is the reason: without the calls
/// that any one of them takes or makes, those into at least [`APART_FROM_ONE`] others still wait. What waits for somebody that
/// is late or shows no sign of life is late by that.
fn kept_waiting<'a>(
    calls: &'a Calls,
    dead: &BTreeMap<Entity, Timestamp>,
    late: &BTreeMap<&WorkloadKey, Timestamp>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> BTreeMap<&'a WorkloadKey, Timestamp> {
    let waits_itself = |callee: &WorkloadKey| {
        let slow = late.keys().map(|key| Entity::Workload { key: (*key).clone() });
        dead.keys().cloned().chain(slow).any(|below| calls.reaches(callee, &below))
    };
    let mut nodes: BTreeMap<Name, Vec<(&WorkloadKey, &WorkloadKey, Timestamp)>> = BTreeMap::new();
    for (caller, callee, since) in calls.waits().waiting(now) {
        let node = only_node(snapshot, callee).filter(|_| !waits_itself(callee));
        if let Some(node) = node.filter(|node| only_node(snapshot, caller).as_ref() == Some(node)) {
            nodes.entry(node).or_default().push((caller, callee, since));
        }
    }
    let mut found = BTreeMap::new();
    for edges in nodes.values() {
        let either: BTreeSet<&WorkloadKey> =
            edges.iter().flat_map(|(caller, callee, _)| [*caller, *callee]).collect();
        let all_of_one = either.iter().any(|one| {
            let apart = edges.iter().filter(|(caller, callee, _)| caller != one && callee != one);
            apart.map(|(_, callee, _)| callee).collect::<BTreeSet<_>>().len() < APART_FROM_ONE
        });
        for (_, callee, since) in edges.iter().filter(|_| !all_of_one) {
            let first = found.entry(*callee).or_insert(*since);
            *first = (*first).min(*since);
        }
    }
    found
}

/// The node that carries all pods of a workload, if one does.
fn only_node(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<Name> {
    let mut pods = snapshot.pods_of(workload);
    let node = pods.next()?.node.clone()?;
    pods.all(|pod| pod.node.as_ref() == Some(&node)).then_some(node)
}

/// Pods on the node that started shortly before and are nobody's patient: newest first.
fn suspects<'a>(snapshot: &'a Snapshot, node: &Name, since: Timestamp) -> Vec<&'a ObjectKey> {
    // Creation times have whole seconds, rounded down.
    let mut found: Vec<(Timestamp, &ObjectKey)> = snapshot
        .pods
        .values()
        .filter(|pod| {
            pod.node.as_ref() == Some(node)
                && pod.created <= since
                && since.duration_since(pod.created) <= SUSPECT_FOR
                && snapshot.workload_of(pod).is_none()
        })
        .map(|pod| (pod.created, &pod.key))
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, key)| key).collect()
}
