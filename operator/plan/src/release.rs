//! Is it the new release that fails? Two releases of one Deployment run side by side during its rollout, behind the
//! same dependencies: where only the new one fails, the release is the reason.

use crate::case::{Case, Subject};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{ControllerKind, Entity, FindingKind, ObjectKey, PodRecord, Snapshot, Uid};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How the releases of one Deployment do beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Releases {
    /// Pods of the newest release exist, and none of them serves; or those that are ready fail their callers, as far as
    /// findings name pods, and none of a release before does.
    pub new_fails: bool,
    /// A pod of an older release serves.
    pub old_serves: bool,
}

/// Compares the pods of the newest release with those before; `None` where releases cannot be told apart.
pub(crate) fn compare(case: &Case<'_>, subject: &Subject<'_>, pods: &[&Arc<PodRecord>]) -> Option<Releases> {
    let controller = subject.controller?;
    if controller.key.kind != ControllerKind::Deployment {
        return None;
    }
    let newest = controller.revision.as_ref()?.parse::<u64>().ok()?;
    let failing = if controller.paused { BTreeSet::new() } else { fail_callers(case) };
    let (mut new, mut new_serving, mut new_failing) = (0_usize, 0_usize, 0_usize);
    let (mut old_serving, mut old_failing) = (0_usize, 0_usize);
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        let Some(revision) = revision(case.snapshot, pod) else { continue };
        let (serves, fails) = (usize::from(pod.serving()), usize::from(failing.contains(&pod.uid)));
        if revision >= newest {
            new += 1;
            new_serving += serves;
            new_failing += serves * fails;
        } else {
            old_serving += usize::from(case.snapshot.serves(pod));
            old_failing += fails;
        }
    }
    let alone = new_failing > 0 && new_failing * 2 >= new_serving && old_failing == 0;
    Some(Releases { new_fails: new > 0 && (new_serving == 0 || alone), old_serves: old_serving > 0 })
}

/// Pods that are seen to fail their callers as the cause says. A rollout that people paused is left out: they look at it.
fn fail_callers<'a>(case: &Case<'a>) -> BTreeSet<&'a Uid> {
    let kind = case.cause.kind;
    if !matches!(kind, FindingKind::ErrorBurst | FindingKind::Hung | FindingKind::Unreachable) {
        return BTreeSet::new();
    }
    let active = case.incident.findings.iter().filter(|finding| finding.active && finding.kind == kind);
    let pods = active.filter_map(|finding| match &finding.entity {
        Entity::Pod { uid, .. } => Some(uid),
        _ => None,
    });
    pods.collect()
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
