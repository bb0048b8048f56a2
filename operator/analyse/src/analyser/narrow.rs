//! Which of several pods is to blame.

use super::Analyser;
use crate::ranking::root_of;
use homeostat_knowledge::{Entity, Finding, FindingKind, PodRecord, Snapshot, Timestamp};
use std::collections::BTreeMap;

/// Kinds of findings that are made from calls; the first of them that a callee has is its present one.
const FROM_CALLS: [FindingKind; 5] = [
    FindingKind::Hung,
    FindingKind::Slow,
    FindingKind::ErrorBurst,
    FindingKind::Unreachable,
    FindingKind::DependencyDown,
];

impl Analyser {
    /// Present findings made from calls, by callee: one that was narrowed down to a pod is its workload's all the same.
    /// What was found of a pod that is gone, or leaves, says nothing about the others.
    pub(super) fn known_from_calls(&self, snapshot: &Snapshot) -> BTreeMap<Entity, (FindingKind, &Finding)> {
        let stays = |entity: &Entity| match entity {
            Entity::Pod { key, uid, .. } => {
                snapshot.pods.get(key).is_some_and(|pod| pod.uid == *uid && !pod.deleting)
            }
            _ => true,
        };
        let mut known = BTreeMap::new();
        for kind in FROM_CALLS {
            let of_kind = self.findings.values().filter(|finding| finding.active && finding.kind == kind);
            for finding in of_kind.filter(|finding| stays(&finding.entity)) {
                if let Some(callee) = root_of(finding) {
                    known.entry(callee).or_insert((kind, finding));
                }
            }
        }
        known
    }

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
