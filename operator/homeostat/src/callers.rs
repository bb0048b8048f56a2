//! Who calls whom, in the snapshot: what was changed is also judged by how its neighbours do.

use homeostat_knowledge::{Snapshot, WorkloadKey};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Notes new callers. Forgets those of workloads that are gone, once there are more of them than workloads.
pub fn note(snapshot: &mut Snapshot, news: Vec<(WorkloadKey, BTreeSet<WorkloadKey>)>) {
    for (workload, callers) in news {
        snapshot.callers.insert_mut(workload, Arc::new(callers));
    }
    if snapshot.callers.size() > snapshot.workloads.size() {
        let gone: Vec<WorkloadKey> =
            snapshot.callers.keys().filter(|key| !snapshot.workloads.contains_key(key)).cloned().collect();
        for key in gone {
            snapshot.callers.remove_mut(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::records::{ControllerKey, ControllerKind};
    use homeostat_knowledge::{ObjectKey, Timestamp, Uid, WorkloadPolicy};

    fn key(name: &str) -> WorkloadKey {
        ObjectKey::new("shop", name)
    }

    #[test]
    fn who_calls_whom_is_known_until_the_callee_is_gone() {
        let mut snapshot = Snapshot::default();
        let target = ControllerKey { kind: ControllerKind::Deployment, object: key("order") };
        let policy = WorkloadPolicy::new(key("order"), Uid::new("order"), target);
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), Timestamp::UNIX_EPOCH);
        note(&mut snapshot, vec![(key("order"), BTreeSet::from([key("front")]))]);
        assert!(snapshot.calls(&key("front"), &key("order")));
        assert!(!snapshot.calls(&key("order"), &key("front")), "calls have a direction");
        note(&mut snapshot, vec![(key("stock"), BTreeSet::from([key("order")]))]);
        assert!(!snapshot.calls(&key("order"), &key("stock")), "of what is gone nothing is kept");
        assert!(snapshot.calls(&key("front"), &key("order")));
    }
}
