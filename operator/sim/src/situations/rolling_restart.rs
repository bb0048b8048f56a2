//! All processes of a workload are ill in a way that a new process is not; the workload must be restarted.

use super::evict_pod::ill_pod;
use super::{Chosen, EffectRequest, Situation, change, on, pods, target, target_key};
use crate::kubernetes;
use crate::server::Server;
use homeostat_knowledge::{
    ActionKind, Entity, FindingKind, Name, Parameters, Snapshot, Timestamp, WorkloadKey,
};

/// Every process is ill until it is replaced.
pub struct TiredProcesses;

impl Situation for TiredProcesses {
    fn kind(&self) -> ActionKind {
        ActionKind::RollingRestart
    }

    fn finding(&self) -> FindingKind {
        FindingKind::ErrorBurst
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        for key in pods(server, workload) {
            kubernetes::fall_ill(server, &key, self.finding());
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        ill_pod(server, workload).map(|_| Entity::Workload { key: workload.clone() })
    }

    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        on(snapshot.controller_of(workload)?, Parameters::RollingRestart)
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        let mark = Some(Name::from(request.action.as_str()));
        if target(server, request).is_some_and(|controller| controller.template.restarted_by != mark) {
            kubernetes::roll_out(server, &target_key(request), |template| template.restarted_by = mark);
        }
    }

    /// The Deployment is deleted and created again: another object of the same name, with new processes.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        let uid = server.uid(&workload.name);
        change(server, self.targets(), workload, |deployment| {
            deployment.record.uid = uid;
            deployment.template.restarted_by = None;
        });
        for pod in pods(server, workload) {
            kubernetes::replace_pod(server, &pod, now);
        }
    }
}
