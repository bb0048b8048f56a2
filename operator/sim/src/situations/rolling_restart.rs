//! All processes of a workload are ill in a way that a new process is not; the workload must be restarted.

use super::evict_pod::ill_pod;
use super::{EffectRequest, Situation, same_uid, same_version};
use crate::kubernetes;
use crate::objects::controller_key;
use crate::server::{Refused, Server};
use homeostat_knowledge::{
    ActionKind, ControllerKind, Entity, FindingKind, Name, ObjectKey, Parameters, Snapshot, Target,
    Timestamp, WorkloadKey,
};

/// Every process is ill until it is replaced.
pub struct TiredProcesses;

fn pods(server: &Server, workload: &WorkloadKey) -> Vec<ObjectKey> {
    let controller = controller_key(ControllerKind::Deployment, workload);
    server.pods_of(&controller).map(|pod| pod.record.key.clone()).collect()
}

impl Situation for TiredProcesses {
    fn kind(&self) -> ActionKind {
        ActionKind::RollingRestart
    }

    fn finding(&self) -> FindingKind {
        FindingKind::ErrorBurst
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        kubernetes::deploy(server, workload, 2, now);
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        for key in pods(server, workload) {
            kubernetes::fall_ill(server, &key, self.finding());
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        ill_pod(server, workload).map(|_| Entity::Workload { key: workload.clone() })
    }

    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity) -> Option<(Target, Parameters)> {
        let controller = snapshot.controller_of(workload)?;
        Some((Snapshot::controller_target(controller)?, Parameters::RollingRestart))
    }

    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let key = controller_key(ControllerKind::from_kind(&request.target.kind), &request.target.key);
        let controller = server.controllers.get(&key).ok_or(Refused::NotFound)?;
        same_uid(request, &controller.record.uid)?;
        same_version(request, &controller.record.resource_version)
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        let key = controller_key(ControllerKind::from_kind(&request.target.kind), &request.target.key);
        let mark = Some(Name::from(request.action.as_str()));
        if server.controllers.get(&key).is_some_and(|controller| controller.template.restarted_by != mark) {
            kubernetes::roll_out(server, &key, |template| template.restarted_by = mark);
        }
    }

    /// The Deployment is deleted and created again: another object of the same name, with new processes.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        let key = controller_key(ControllerKind::Deployment, workload);
        let Some(mut controller) = server.controllers.get(&key).cloned() else { return };
        controller.record.uid = server.uid(&workload.name);
        controller.template.restarted_by = None;
        server.put_controller(controller);
        for pod in pods(server, workload) {
            kubernetes::replace_pod(server, &pod, now);
        }
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        let key = controller_key(ControllerKind::Deployment, workload);
        if let Some(controller) = server.controllers.get(&key).cloned() {
            server.put_controller(controller);
        }
    }
}
