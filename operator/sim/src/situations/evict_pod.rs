//! One process of a workload hangs, or crashes again and again; its pod must be replaced.

use super::{EffectRequest, Situation, same_uid};
use crate::kubernetes;
use crate::objects::controller_key;
use crate::server::{Refused, Server};
use homeostat_knowledge::{
    ActionKind, ControllerKind, Entity, FindingKind, ObjectKey, Parameters, Snapshot, Target, Timestamp,
    WorkloadKey,
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

impl Situation for SickPod {
    fn kind(&self) -> ActionKind {
        ActionKind::EvictPod
    }

    fn finding(&self) -> FindingKind {
        self.finding
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        kubernetes::deploy(server, workload, 2, now);
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        if let Some(key) = first_pod(server, workload) {
            kubernetes::fall_ill(server, &key, self.finding);
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        ill_pod(server, workload)
    }

    fn step(&self, snapshot: &Snapshot, _: &WorkloadKey, cause: &Entity) -> Option<(Target, Parameters)> {
        let Entity::Pod { key, uid, .. } = cause else { return None };
        let pod = snapshot.pods.get(key).filter(|pod| pod.uid == *uid && !pod.deleting)?;
        Some((Snapshot::pod_target(pod), Parameters::EvictPod))
    }

    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let pod = server.pods.get(&request.target.key).ok_or(Refused::NotFound)?;
        same_uid(request, &pod.record.uid)?;
        if pod.record.deleting {
            return Ok(()); // As the Eviction API: a pod that is going may be evicted without further questions.
        }
        server.may_evict(pod)
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp) {
        kubernetes::delete_pod(server, &request.target.key, now);
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        let ill = ill_pod(server, workload).map(|entity| match entity {
            Entity::Pod { key, .. } => key,
            _ => workload.clone(),
        });
        if let Some(key) = ill.or_else(|| first_pod(server, workload)) {
            kubernetes::replace_pod(server, &key, now);
        }
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        let key = first_pod(server, workload);
        if let Some(pod) = key.and_then(|key| server.pods.get(&key).cloned()) {
            server.put_pod(pod);
        }
    }
}
