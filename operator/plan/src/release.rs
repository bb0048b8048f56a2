//! Is it the new release that fails? Two releases of one Deployment run side by side during its rollout, behind the
//! same dependencies: where only the new one fails, the release is the reason.

use crate::case::Subject;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{ControllerKind, ObjectKey, PodRecord, Snapshot};
use std::sync::Arc;

/// How the releases of one Deployment do beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Releases {
    /// Pods of the newest release exist, and none of them serves.
    pub new_fails: bool,
    /// A pod of an older release serves.
    pub old_serves: bool,
}

/// Compares the pods of the newest release with those before; `None` where releases cannot be told apart.
pub(crate) fn compare(
    snapshot: &Snapshot,
    subject: &Subject<'_>,
    pods: &[&Arc<PodRecord>],
) -> Option<Releases> {
    let controller = subject.controller?;
    if controller.key.kind != ControllerKind::Deployment {
        return None;
    }
    let newest = controller.revision.as_ref()?.parse::<u64>().ok()?;
    let (mut new, mut new_serving, mut old_serving) = (0_usize, 0_usize, 0_usize);
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        let Some(revision) = revision(snapshot, pod) else { continue };
        if revision >= newest {
            new += 1;
            new_serving += usize::from(pod.serving());
        } else {
            old_serving += usize::from(pod.serving());
        }
    }
    Some(Releases { new_fails: new > 0 && new_serving == 0, old_serves: old_serving > 0 })
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
