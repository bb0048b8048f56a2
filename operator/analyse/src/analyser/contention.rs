//! A node that is short of processor time: most of what runs there answers late by its own time, all at once. Then a
//! restart of one of the victims helps nobody; without siblings elsewhere to compare with, this is all that tells.

use super::Seen;
use crate::golden::Golden;
use homeostat_knowledge::{
    Entity, Evidence, FindingKind, Name, ObjectKey, SignedDuration, Snapshot, Timestamp, WorkloadKey,
};
use std::collections::BTreeMap;

/// So many workloads must be late at once: a single fault makes its own workload late, and rarely one more.
const LEAST_LATE: usize = 3;
/// And this share of those that answer there.
const LEAST_SHARE: f64 = 0.5;
/// Pods that came so shortly before are named.
const SUSPECT_FOR: SignedDuration = SignedDuration::from_secs(120);
const MOST_NAMES: usize = 5;

/// One node and what runs late on it.
#[derive(Debug)]
pub struct Contention<'a> {
    since: Timestamp,
    late: Vec<&'a WorkloadKey>,
    measured: usize,
}

/// Nodes on which most is late.
pub fn nodes<'a>(golden: &'a Golden, snapshot: &Snapshot) -> BTreeMap<Name, Contention<'a>> {
    let mut all: BTreeMap<Name, Contention<'a>> = BTreeMap::new();
    for (workload, late_since) in golden.measured() {
        let Some(node) = only_node(snapshot, workload) else { continue };
        let entry = all.entry(node).or_insert_with(|| Contention {
            since: Timestamp::MAX,
            late: Vec::new(),
            measured: 0,
        });
        entry.measured += 1;
        if let Some(since) = late_since {
            entry.late.push(workload);
            entry.since = entry.since.min(since);
        }
    }
    all.retain(|node, found| {
        // A node that says itself what is wrong with it needs no other explanation.
        let quiet = snapshot.nodes.get(node).is_some_and(|node| node.ready && node.pressures.is_empty());
        quiet
            && found.late.len() >= LEAST_LATE
            && found.late.len() as f64 >= LEAST_SHARE * found.measured as f64
    });
    all
}

/// Whether this workload's lateness is the node's.
pub fn explains(nodes: &BTreeMap<Name, Contention<'_>>, snapshot: &Snapshot, entity: &Entity) -> bool {
    !nodes.is_empty()
        && entity
            .workload()
            .and_then(|workload| only_node(snapshot, workload))
            .is_some_and(|node| nodes.contains_key(&node))
}

/// The findings about the nodes.
pub fn findings(
    nodes: &BTreeMap<Name, Contention<'_>>,
    snapshot: &Snapshot,
    now: Timestamp,
    seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
) {
    for (node, found) in nodes {
        let names: Vec<&str> = found.late.iter().take(MOST_NAMES).map(|key| &*key.name).collect();
        let mut evidence = vec![Evidence::new(
            "workloads late by their own time on this node",
            format!("{} of {}: {}", found.late.len(), found.measured, names.join(", ")),
        )];
        let suspects = suspects(snapshot, node, found.since);
        if !suspects.is_empty() {
            let names: Vec<String> = suspects.iter().take(MOST_NAMES).map(ToString::to_string).collect();
            evidence.push(Evidence::new("pods that came here shortly before", names.join(", ")));
        }
        seen.entry((Entity::Node { name: node.clone() }, FindingKind::NoisyNeighbour)).or_insert(Seen {
            since: found.since,
            at: now,
            confidence: 0.95,
            evidence,
        });
    }
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
