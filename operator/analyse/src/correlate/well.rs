//! Since when the cause of an incident is well.

use crate::calls::Calls;
use crate::objects::runs_ended;
use crate::ranking::{root_of, root_of_cause};
use homeostat_knowledge::{
    Cause, ControllerKind, Entity, EvidenceSource, FindingKind, Incident, SignedDuration, Snapshot,
    Timestamp, WorkloadKey,
};

/// An address outside of the cluster that nobody called for so long harms nobody any more.
const UNCALLED: SignedDuration = SignedDuration::from_mins(30);
/// A crash is found for about so long after its pod is ready again: it must stay ready.
const OUTLASTS: SignedDuration = SignedDuration::from_millis(1_500);

/// Since when what the first cause is about is well, if it is. Good calls tell it; of what answers none, that nothing is found
/// any more.
pub(super) fn well_since(
    incident: &Incident,
    calls: &Calls,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Timestamp> {
    let cause = incident.causes.first()?;
    let root = root_of_cause(cause);
    let last_found = incident.findings.iter().map(|finding| finding.last_seen).max();
    let last_found = last_found.unwrap_or(incident.instants.detected);
    match &root {
        Entity::Node { name } => snapshot.nodes.get(name).is_none_or(|node| node.ready).then_some(last_found),
        Entity::Workload { key } if !snapshot.workloads.contains_key(key) => Some(last_found),
        Entity::Workload { key } if let Some(ended) = runs_ended(snapshot, key) => {
            ended.then_some(last_found)
        }
        Entity::Workload { key } if scaled_to_nothing(snapshot, key) => Some(last_found),
        root => health_of(root, calls, snapshot)
            .map(|(good, _)| not_found_since(incident, cause, good))
            .or_else(|| uncalled(root, calls, snapshot, now).then_some(last_found)),
    }
}

/// Good calls end what calls have shown. They may have gone well all along while it was seen otherwise: that is over only once
/// it is not found any more.
fn not_found_since(incident: &Incident, cause: &Cause, good: Timestamp) -> Timestamp {
    // Slow answers are good calls all along; one that failed in between says nothing about them.
    let shown = cause.kind.source() == EvidenceSource::Callers
        && cause.kind != FindingKind::Slow
        && good > incident.instants.impact_start;
    if shown {
        return good;
    }
    let root = root_of_cause(cause);
    let own = incident.findings.iter().filter(|finding| root_of(finding).as_ref() == Some(&root));
    let ended = own.map(|finding| finding.last_seen).max();
    ended.and_then(|ended| ended.checked_sub(OUTLASTS).ok()).map_or(good, |ended| ended.max(good))
}

/// Nothing of it is to run, and nothing of it runs.
fn scaled_to_nothing(snapshot: &Snapshot, workload: &WorkloadKey) -> bool {
    let target = snapshot.workloads.get(workload).map(|policy| &policy.target);
    let scales = |kind| matches!(kind, ControllerKind::Deployment | ControllerKind::StatefulSet);
    target
        .filter(|target| scales(target.kind))
        .and_then(|target| snapshot.controllers.get(target))
        .is_some_and(|controller| {
            controller.replicas == 0 && snapshot.pods_of(workload).all(|pod| pod.deleting)
        })
}

/// Outside of the cluster, and nobody called it for long, as far as this process has seen.
fn uncalled(root: &Entity, calls: &Calls, snapshot: &Snapshot, now: Timestamp) -> bool {
    let called = calls.callee(root).and_then(|callee| callee.last_good.max(callee.last_failure));
    matches!(root, Entity::External { .. })
        && called.max(snapshot.synced_since).is_some_and(|last| now.duration_since(last) >= UNCALLED)
}

/// Since when a root answers well, and how many calls say so.
pub(super) fn health_of(root: &Entity, calls: &Calls, snapshot: &Snapshot) -> Option<(Timestamp, u64)> {
    if let Entity::Workload { key } = root
        && let Some(health) = snapshot.health.get(key)
        && (health.last_failure.is_none() || health.good_since.is_some())
    {
        return health.good_since.map(|since| (since, health.good_calls));
    }
    let callee = calls.callee(root)?;
    callee.good_since.map(|since| (since, callee.good_calls))
}
