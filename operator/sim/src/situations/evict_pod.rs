//! One process of a workload hangs, or crashes again and again; its pod must be replaced.

use super::{Chosen, EffectRequest, Situation, same_uid};
use crate::kubernetes;
use crate::objects::controller_key;
use crate::server::{Refused, Server};
use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{
    ActionKind, Before, ControllerKind, Entity, FindingKind, ObjectKey, Parameters, PodRecord, Snapshot,
    Timestamp, WorkloadKey,
};

/// A pod that is ill, in the way that is found, until it is replaced.
pub struct SickPod {
    /// What the analysis finds.
    pub finding: FindingKind,
}

pub(super) fn ill_pod(server: &Server, workload: &WorkloadKey) -> Option<Entity> {
    let controller = controller_key(ControllerKind::Deployment, workload);
    let pod = server.pods_of(&controller).find(|pod| pod.ailment.is_some())?;
    Some(Entity::Pod {
        key: pod.record.key.clone(),
        uid: pod.record.uid.clone(),
        workload: Some(workload.clone()),
    })
}

/// The first pod that serves, in name order.
pub(super) fn first_pod(server: &Server, workload: &WorkloadKey) -> Option<ObjectKey> {
    let controller = controller_key(ControllerKind::Deployment, workload);
    let pod = server.pods_of(&controller).find(|pod| !pod.record.deleting)?;
    Some(pod.record.key.clone())
}

/// The pod that a finding is about, as the snapshot shows it.
pub(super) fn pod_of<'a>(snapshot: &'a Snapshot, cause: &Entity) -> Option<&'a PodRecord> {
    let Entity::Pod { key, uid, .. } = cause else { return None };
    snapshot.pods.get(key).map(|pod| &**pod).filter(|pod| pod.uid == *uid && !pod.deleting)
}

/// Somebody replaces the pod that is ill, or else the first.
pub(super) fn replace(server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
    let ill = ill_pod(server, workload).and_then(|entity| match entity {
        Entity::Pod { key, .. } => Some(key),
        _ => None,
    });
    if let Some(key) = ill.or_else(|| first_pod(server, workload)) {
        kubernetes::replace_pod(server, &key, now);
    }
}

/// Somebody writes the first pod without changing what matters.
pub(super) fn touch(server: &mut Server, workload: &WorkloadKey) {
    let key = first_pod(server, workload);
    if let Some(key) = key {
        server.touch_pod(&key);
    }
}

impl Situation for SickPod {
    fn kind(&self) -> ActionKind {
        ActionKind::EvictPod
    }

    fn finding(&self) -> FindingKind {
        self.finding
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        if let Some(key) = first_pod(server, workload) {
            kubernetes::fall_ill(server, &key, self.finding);
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        ill_pod(server, workload)
    }

    fn step(&self, snapshot: &Snapshot, _: &WorkloadKey, cause: &Entity, _: Timestamp) -> Option<Chosen> {
        let pod = pod_of(snapshot, cause)?;
        let before = Before { restarts: Some(pod.restarts()), ..Before::default() };
        Some(Chosen {
            target: Snapshot::pod_target(pod),
            parameters: Parameters::EvictPod { grace_seconds: None },
            before,
        })
    }

    /// In the order of the Eviction API: budgets first, for the UID is a condition of the deletion at the end.
    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let pod = server.pods.get(&request.target.key).ok_or(Refused::NotFound)?;
        let same = same_uid(request, &pod.record.uid);
        let PodRecord { deleting, phase, ready, .. } = pod.record;
        if deleting || matches!(phase, PodPhase::Pending | PodPhase::Succeeded | PodPhase::Failed) {
            // No budget asks for it. Another UID is taken for a conflict that passes, and tried for ten seconds.
            return same.map_err(|_| Refused::Late("another UID, tried again and again".to_owned()));
        }
        server.may_evict(pod)?;
        match same {
            // What was not ready is taken to have become so meanwhile.
            Err(_) if !ready && server.some_must_serve(pod) => {
                Err(Refused::Budget("the budget is still being processed".to_owned()))
            }
            same => same,
        }
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp) {
        kubernetes::delete_pod(server, &request.target.key, now);
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        replace(server, workload, now);
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        touch(server, workload);
    }
}
