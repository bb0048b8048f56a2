//! Load has come back to a workload that an autoscaler sizes, and the autoscaler sees it late: its floor is too low.

use super::scale_up::{resize, serving};
use super::{Chosen, EffectRequest, HOLD, Situation, change, same_uid, same_version, workload_if};
use crate::kubernetes;
use crate::objects::{Autoscaler, Need, OTHERS, OURS, autoscaler, controller_key, edit};
use crate::server::{Refused, Server};
use homeostat_execute::ports::Field;
use homeostat_knowledge::policy::{Bounds, Permits, ScalingMode, ScalingPolicy, WhenOwned};
use homeostat_knowledge::records::{ControllerKey, Drive, Hold};
use homeostat_knowledge::{
    ActionKind, Before, ControllerKind, Entity, FindingKind, Name, Parameters, SizeAdvice, SizeEffect,
    Snapshot, Timestamp, WorkloadKey,
};
use std::sync::Arc;

/// Replicas that are too few, and the floor and ceiling of people.
const FEW: i32 = 2;
const PEOPLES: Bounds = Bounds { min: 2, max: 8 };
/// Replicas that are enough, as a number and as a floor.
const ENOUGH: u32 = 4;
const NEED: usize = 4;
const FLOOR: Bounds = Bounds { min: 4, max: 8 };

/// Fewer replicas serve than the load takes, and only the autoscaler's floor may be moved.
pub struct LateAutoscaler;

fn key(workload: &WorkloadKey) -> ControllerKey {
    controller_key(ControllerKind::Deployment, workload)
}

fn write(server: &mut Server, key: &ControllerKey, change: impl FnOnce(&mut Autoscaler)) {
    if let Some(mut autoscaler) = server.autoscalers.get(key).cloned() {
        change(&mut autoscaler);
        server.put_autoscaler(autoscaler);
    }
}

/// People's own bounds come back, and no mark is left.
pub(super) fn give_back(server: &mut Server, key: &ControllerKey) {
    write(server, key, |autoscaler| {
        let peoples = autoscaler.record.peoples();
        if autoscaler.record.bounds != peoples {
            autoscaler.set_by = edit(Field::Bounds, OURS, None);
        }
        autoscaler.record.bounds = peoples;
        autoscaler.record.drive = None;
    });
}

/// Somebody else sets the bounds. One that they change is theirs until we change it, whatever number it gets.
pub fn set_by_others(server: &mut Server, key: &ControllerKey, bounds: Bounds) {
    write(server, key, |autoscaler| {
        let present = autoscaler.record.bounds;
        if let Some(drive) = &mut autoscaler.record.drive {
            drive.before.min = if bounds.min == present.min { drive.before.min } else { bounds.min };
            drive.before.max = if bounds.max == present.max { drive.before.max } else { bounds.max };
        }
        if bounds != present {
            autoscaler.set_by = edit(Field::Bounds, OTHERS, None);
        }
        autoscaler.record.bounds = bounds;
    });
}

/// What a forecast asks for: enough replicas as long as the load is seen to be there.
pub fn foresee(snapshot: &mut Snapshot) {
    let workloads: Vec<WorkloadKey> = snapshot
        .workloads
        .values()
        .filter(|workload| workload.drives_bounds())
        .map(|workload| workload.key.clone())
        .collect();
    for workload in workloads {
        let incidents = snapshot.incidents.values();
        let of_workload = incidents.filter(|incident| incident.workload.as_ref() == Some(&workload));
        let active = of_workload.flat_map(|incident| &incident.findings).filter(|finding| finding.active);
        match active.map(|finding| finding.last_seen).max() {
            None => {
                snapshot.sizes.remove_mut(&workload);
            }
            Some(decided) => {
                let advice = SizeAdvice {
                    wanted: Some(ENOUGH),
                    effect: SizeEffect::DriveBounds { min: ENOUGH, max: 8 },
                    why: "the load is back".to_owned(),
                    ..SizeAdvice::keep(decided)
                };
                snapshot.sizes.insert_mut(workload, Arc::new(advice));
            }
        }
    }
}

impl Situation for LateAutoscaler {
    fn kind(&self) -> ActionKind {
        ActionKind::DriveBounds
    }

    fn finding(&self) -> FindingKind {
        FindingKind::Slow
    }

    fn permits(&self) -> Permits {
        let scaling = ScalingPolicy {
            mode: ScalingMode::Auto,
            when_owned: WhenOwned::DriveBounds,
            ..ScalingPolicy::default()
        };
        let replicas = Some(Bounds { min: 1, max: PEOPLES.max });
        Permits { replicas, scaling: Some(scaling), ..Permits::default() }
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        kubernetes::deploy(server, workload, FEW, now);
        let uid = server.uid("autoscaler");
        server.put_autoscaler(autoscaler(workload, uid, PEOPLES));
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
    fn step(
        &self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        _: &Entity,
        now: Timestamp,
    ) -> Option<Chosen> {
        let policy = snapshot.workloads.get(workload)?;
        let autoscaler = snapshot.autoscaler_of(policy).filter(|found| found.bounds.min < FLOOR.min)?;
        let before = Before {
            replicas: snapshot.controller_of(workload).map(|found| found.replicas),
            bounds: Some(autoscaler.bounds),
            ..Before::default()
        };
        Some(Chosen {
            target: Snapshot::autoscaler_target(autoscaler),
            parameters: Parameters::DriveBounds { bounds: FLOOR, until: now + HOLD },
            before,
        })
    }

    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let autoscaler = server.autoscaler(&request.target.key).ok_or(Refused::NotFound)?;
        same_uid(request, &autoscaler.record.uid)?;
        same_version(request, &autoscaler.record.resource_version)
    }

    /// Bounds, mark and people's own bounds in one write; back at those there is no mark.
    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp) {
        let Parameters::DriveBounds { bounds, until } = request.parameters else { return };
        let Some(found) = server.autoscaler(&request.target.key) else { return };
        let (peoples, key) = (found.record.peoples(), found.record.scales.clone());
        write(server, &key, |autoscaler| {
            let hold = Hold { by: Name::from(request.action.as_str()), until: Some(until) };
            autoscaler.record.drive =
                (bounds != peoples).then_some(Drive { hold, before: peoples, set: bounds });
            if autoscaler.record.bounds != bounds {
                autoscaler.set_by = edit(Field::Bounds, OURS, Some(now));
            }
            autoscaler.record.bounds = bounds;
        });
    }

    /// Somebody raises the floor.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        set_by_others(server, &key(workload), FLOOR);
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        server.touch_autoscaler(&key(workload));
    }
}
