//! Which of several pods is to blame.

use super::Analyser;
use homeostat_knowledge::{Entity, PodRecord, Snapshot, Timestamp};

impl Analyser {
    /// The one pod of several that is to blame, when the evidence tells; else the workload.
    pub(super) fn narrow(
        &self,
        snapshot: &Snapshot,
        entity: &Entity,
        since: Timestamp,
        now: Timestamp,
    ) -> Entity {
        let Entity::Workload { key } = entity else { return entity.clone() };
        let serving: Vec<_> = snapshot.pods_of(key).filter(|pod| !pod.deleting).collect();
        if serving.len() < 2 {
            return entity.clone();
        }
        let mute: Vec<_> = serving
            .iter()
            .filter(|pod| match self.calls.pod_sender(&pod.key) {
                Some(sender) => sender.watermark <= since,
                None => never_sends(snapshot, pod, now),
            })
            .collect();
        if let [pod] = mute.as_slice() {
            return snapshot.entity_of(pod);
        }
        let wrong: Vec<_> = serving
            .iter()
            .filter(|pod| {
                self.golden.error_share(&pod.key).is_some_and(|(share, calls)| share > 0.3 && calls >= 3.0)
            })
            .collect();
        match wrong.as_slice() {
            [pod] => snapshot.entity_of(pod),
            _ => entity.clone(),
        }
    }
}

/// Whether a pod that was never heard is silent: it is new, or this process has listened long enough to know.
fn never_sends(snapshot: &Snapshot, pod: &PodRecord, now: Timestamp) -> bool {
    snapshot.synced_since.is_none_or(|began| pod.created >= began || snapshot.listened(now))
}
