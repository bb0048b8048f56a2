//! Somebody made a workload larger than what it stands on can bear: its replicas are in each other's way.

use super::scale_up::{bounds, resize, serving, set_size};
use super::{Chosen, EffectRequest, Situation, change, on, workload_if};
use crate::kubernetes;
use crate::objects::Need;
use crate::server::Server;
use homeostat_knowledge::policy::Permits;
use homeostat_knowledge::{ActionKind, Entity, FindingKind, Parameters, Snapshot, Timestamp, WorkloadKey};

/// Replicas that are too many, and those that are not.
const MANY: i32 = 5;
const ENOUGH: i32 = 4;
const BEARABLE: usize = 4;

/// More replicas serve than do well together.
pub struct TooMany;

impl Situation for TooMany {
    fn kind(&self) -> ActionKind {
        ActionKind::ScaleDown
    }

    fn finding(&self) -> FindingKind {
        FindingKind::Slow
    }

    fn permits(&self) -> Permits {
        bounds()
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        kubernetes::deploy(server, workload, MANY, now);
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        resize(server, workload, MANY, Some(Need { most: BEARABLE, ..Need::default() }));
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        workload_if(server, self.targets(), workload, |deployment| {
            serving(server, workload) > deployment.need.most
        })
    }

    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, self.targets(), workload, |deployment| deployment.need = Need::default());
    }

    /// What is on its way counts as done.
    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        let deployment = snapshot.controller_of(workload).filter(|found| found.replicas > ENOUGH)?;
        on(deployment, Parameters::ScaleDown { replicas: ENOUGH })
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp) {
        set_size(server, request, now);
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        resize(server, workload, ENOUGH, None);
    }
}
