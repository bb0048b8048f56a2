//! Load has come back to a workload that somebody made small: it is too slow until it has enough replicas.

use super::{Chosen, EffectRequest, Situation, change, change_target, on, workload_if};
use crate::objects::{Need, OTHERS, OURS, controller_key, edit};
use crate::server::Server;
use homeostat_execute::ports::Field;
use homeostat_knowledge::policy::{Bounds, Permits};
use homeostat_knowledge::{
    ActionKind, ControllerKind, Entity, FindingKind, Parameters, Snapshot, Timestamp, WorkloadKey,
};

/// Replicas that are too few, and those that are enough.
const FEW: i32 = 2;
const ENOUGH: i32 = 4;
const NEED: usize = 4;

/// Fewer replicas serve than the load takes.
pub struct TooFew;

/// Replicas that serve.
pub(super) fn serving(server: &Server, workload: &WorkloadKey) -> usize {
    let key = controller_key(ControllerKind::Deployment, workload);
    server.pods_of(&key).filter(|pod| pod.record.serving()).count()
}

/// Both directions set the number that is asked for.
pub(super) fn set_size(server: &mut Server, request: &EffectRequest, now: Timestamp) {
    if let Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } = request.parameters {
        change_target(server, request, |deployment| {
            if deployment.record.replicas != replicas {
                deployment.record.generation += 1;
                deployment.sized_by = edit(Field::Replicas, OURS, Some(now));
            }
            deployment.record.replicas = replicas;
        });
    }
}

/// Somebody sets size and need.
pub(super) fn resize(server: &mut Server, workload: &WorkloadKey, replicas: i32, need: Option<Need>) {
    change(server, Some(ControllerKind::Deployment), workload, |deployment| {
        if deployment.record.replicas != replicas {
            deployment.record.generation += 1;
            deployment.sized_by = edit(Field::Replicas, OTHERS, None);
        }
        deployment.record.replicas = replicas;
        deployment.need = need.unwrap_or(deployment.need);
    });
}

/// Bounds of both directions.
pub(super) fn bounds() -> Permits {
    Permits { replicas: Some(Bounds { min: 1, max: 8 }), ..Permits::default() }
}

impl Situation for TooFew {
    fn kind(&self) -> ActionKind {
        ActionKind::ScaleUp
    }

    fn finding(&self) -> FindingKind {
        FindingKind::Slow
    }

    fn permits(&self) -> Permits {
        bounds()
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        resize(server, workload, FEW, Some(Need { least: NEED, ..Need::default() }));
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        workload_if(server, self.targets(), workload, |deployment| {
            serving(server, workload) < deployment.need.least
        })
    }

    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, self.targets(), workload, |deployment| deployment.need = Need::default());
    }

    /// What is on its way counts as done.
    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        let deployment = snapshot.controller_of(workload).filter(|found| found.replicas < ENOUGH)?;
        on(deployment, Parameters::ScaleUp { replicas: ENOUGH })
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp) {
        set_size(server, request, now);
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        resize(server, workload, ENOUGH, None);
    }
}
