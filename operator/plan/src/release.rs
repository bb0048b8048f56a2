//! Is it the new release that fails? Two releases of one Deployment run side by side during its rollout, behind the
//! same dependencies: where only the new one fails, the release is the reason.

use crate::case::{Case, Subject};
use crate::decision::later;
use crate::kubelet;
use homeostat_knowledge::records::{ControllerKey, PodPhase};
use homeostat_knowledge::{
    ControllerKind, Entity, Finding, FindingKind, ObjectKey, PodRecord, Snapshot, Timestamp, Uid,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How the releases of one Deployment do beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Releases {
    /// Pods of the newest release exist, none of them serves, and what is found is about one of them, or about no pod; or those
    /// that are ready fail their callers, as far as findings name pods, and none of a release before does.
    pub new_fails: bool,
    /// A pod of an older release serves.
    pub old_serves: bool,
}

/// Compares the pods of the newest release with those before; `None` where releases cannot be told apart.
pub(crate) fn compare(case: &Case<'_>, subject: &Subject<'_>, pods: &[&Arc<PodRecord>]) -> Option<Releases> {
    let controller = subject.controller?;
    let newest = newest(subject)?;
    let named = named(case);
    let failing = if controller.paused { BTreeSet::new() } else { fail_callers(case) };
    let (mut new_serving, mut new_failing, mut new_down) = (0_usize, 0_usize, false);
    let (mut old_serving, mut old_failing) = (0_usize, 0_usize);
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        let Some(revision) = revision(case.snapshot, pod) else { continue };
        let (serves, fails) = (usize::from(pod.serving()), usize::from(failing.contains(&pod.uid)));
        if revision >= newest {
            new_serving += serves;
            new_failing += serves * fails;
            new_down |= named.is_empty() || named.contains(&pod.uid);
        } else {
            old_serving += usize::from(case.snapshot.serves(pod));
            old_failing += fails;
        }
    }
    let alone = new_failing > 0 && new_failing * 2 >= new_serving && old_failing == 0;
    Some(Releases { new_fails: (new_serving == 0 && new_down) || alone, old_serves: old_serving > 0 })
}

/// Since when the newest release is seen to fail as the cause says: a pod of one before may have been sick for longer.
pub(crate) fn since(case: &Case<'_>, subject: &Subject<'_>) -> Timestamp {
    let of_newest = |finding: &&Finding| match (&finding.entity, newest(subject)) {
        (Entity::Pod { key, uid, .. }, Some(newest)) => {
            let pod = case.snapshot.pods.get(key).filter(|pod| pod.uid == *uid);
            pod.and_then(|pod| revision(case.snapshot, pod)).is_some_and(|revision| revision >= newest)
        }
        _ => false,
    };
    let own = alike(case).filter(of_newest).map(|finding| finding.since).min();
    own.map_or(case.since(), |own| own.min(case.now).max(case.since()))
}

/// The revision of the newest release; `None` where releases cannot be told apart.
fn newest(subject: &Subject<'_>) -> Option<u64> {
    let controller = subject.controller.filter(|found| found.key.kind == ControllerKind::Deployment)?;
    controller.revision.as_ref()?.parse().ok()
}

/// Until when the pods of the newest release may be starting, where each was made a moment ago, no process of them has ended
/// yet, and nothing is found about one of them.
pub(crate) fn begins(case: &Case<'_>, subject: &Subject<'_>) -> Option<Timestamp> {
    let (newest, named) = (newest(subject)?, named(case));
    let of_newest = |pod: &&Arc<PodRecord>| {
        !pod.deleting
            && !matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed)
            && revision(case.snapshot, pod).is_some_and(|revision| revision >= newest)
    };
    let pods: Vec<_> = case.pods().into_iter().filter(of_newest).collect();
    let young = |pod: &&Arc<PodRecord>| {
        kubelet::starting(pod, case.now) && pod.restarts() == 0 && !named.contains(&pod.uid)
    };
    let last = pods.iter().map(|pod| kubelet::newest_start(pod)).max()?;
    pods.iter().all(young).then(|| later(last, kubelet::START_ALLOWANCE))
}

/// Active findings of the kind of the cause on the workload, whichever pod they are on.
fn alike<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Finding> {
    let (kind, own) = (case.cause.kind, case.subject.as_ref().map(|subject| subject.key));
    let active = case.incident.findings.iter().filter(|finding| finding.active);
    active.filter(move |finding| finding.kind == kind && finding.entity.workload() == own)
}

/// Pods of the workload that the cause, or a finding of its kind, speaks of.
fn named<'a>(case: &Case<'a>) -> BTreeSet<&'a Uid> {
    let cause = std::iter::once(&case.cause.entity);
    let own = case.subject.as_ref().map(|subject| subject.key);
    let entities = cause.filter(|entity| entity.workload() == own);
    entities.chain(alike(case).map(|finding| &finding.entity)).filter_map(uid_of_pod).collect()
}

fn uid_of_pod(entity: &Entity) -> Option<&Uid> {
    match entity {
        Entity::Pod { uid, .. } => Some(uid),
        _ => None,
    }
}

/// Pods that are seen to fail their callers as the cause says. A rollout that people paused is left out: they look at it.
fn fail_callers<'a>(case: &Case<'a>) -> BTreeSet<&'a Uid> {
    if !matches!(case.cause.kind, FindingKind::ErrorBurst | FindingKind::Hung | FindingKind::Unreachable) {
        return BTreeSet::new();
    }
    alike(case).filter_map(|finding| uid_of_pod(&finding.entity)).collect()
}

/// The revision of the `ReplicaSet` that the pod belongs to.
fn revision(snapshot: &Snapshot, pod: &PodRecord) -> Option<u64> {
    let owner = pod.owner.as_ref().filter(|owner| owner.kind == ControllerKind::ReplicaSet)?;
    let key = ControllerKey {
        kind: owner.kind,
        object: ObjectKey { namespace: pod.key.namespace.clone(), name: owner.name.clone() },
    };
    snapshot.controllers.get(&key)?.revision.as_ref()?.parse().ok()
}
