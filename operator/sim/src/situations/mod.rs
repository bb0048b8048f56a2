//! One situation per action that changes something: what is wrong, how the API server takes the action's effect, and
//! how somebody else would have helped. A new action joins the proof with one file and one entry in [`ALL`].

mod cordon;
mod create_job;
pub mod drive_bounds;
mod evict_pod;
mod resize_pod;
mod resume;
mod retry_job;
mod roll_back;
mod rolling_restart;
mod scale_down;
mod scale_up;
mod start_job;
mod suspend;
mod uncordon;

pub use evict_pod::SickPod;

use crate::kubernetes;
use crate::objects::{Controller, controller_key};
use crate::server::{Held, Refused, Server};
use homeostat_knowledge::policy::Permits;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionId, ActionKind, Before, ControllerKind, ControllerRecord, Entity, FindingKind, Name, ObjectKey,
    Parameters, SignedDuration, Snapshot, Target, Timestamp, Uid, WorkloadKey,
};

/// Every situation. A test holds that each action of the product that changes something has one.
pub const ALL: &[&dyn Situation] = &[
    &SickPod { finding: FindingKind::Hung },
    &rolling_restart::TiredProcesses,
    &scale_up::TooFew,
    &scale_down::TooMany,
    &drive_bounds::LateAutoscaler,
    &roll_back::BadRelease,
    &cordon::SickNode,
    &uncordon::ClosedNode,
    &suspend::BadRuns,
    &resume::MissingRuns,
    &retry_job::FailedRun,
    &start_job::WaitingRun,
    &create_job::WaitingWork,
    &resize_pod::StarvedPod,
];

/// A pod that crashes: evidence that is read off the object and does not age, so the fresh read has the last word.
pub const CRASHING: &dyn Situation = &SickPod { finding: FindingKind::BackingOff };

/// How long a state is held in these situations.
const HOLD: SignedDuration = SignedDuration::from_secs(40);

/// The situation of an action; `None` for actions that only tell people.
pub fn of(kind: ActionKind) -> Option<&'static dyn Situation> {
    ALL.iter().copied().find(|situation| situation.kind() == kind)
}

/// The request that carries an effect, with the conditions that the client put on it.
#[derive(Clone, Debug)]
pub struct EffectRequest {
    /// The object, by kind and name.
    pub target: Target,
    /// What is to be changed.
    pub parameters: Parameters,
    /// The action's id.
    pub action: ActionId,
    /// Precondition on the UID.
    pub uid: Option<Uid>,
    /// Precondition on the version, for changes of an object.
    pub version: Option<Name>,
}

/// The step that a planner takes.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The object.
    pub target: Target,
    /// What is to be there.
    pub parameters: Parameters,
    /// What is there.
    pub before: Before,
}

/// What makes an action necessary, and what the API server makes of it. What is written out here is for actions on the
/// Deployment that a workload targets; others say what is different.
pub trait Situation: Sync {
    /// The action that helps.
    fn kind(&self) -> ActionKind;

    /// What the analysis finds.
    fn finding(&self) -> FindingKind;

    /// Kind of the object that the workload targets; `None` when it is about a node, which no workload targets.
    fn targets(&self) -> Option<ControllerKind> {
        Some(ControllerKind::Deployment)
    }

    /// What the workload's people permit.
    fn permits(&self) -> Permits {
        Permits::default()
    }

    /// A person must approve, whatever the level.
    fn needs_approval(&self) -> bool {
        false
    }

    /// Creates the objects of one workload, all well.
    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        kubernetes::deploy(server, workload, 2, now);
    }

    /// Something goes wrong.
    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey);

    /// Who is ill now, in truth; `None` when the workload is well.
    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity>;

    /// It gets well by itself.
    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        for key in pods(server, workload) {
            kubernetes::recover(server, &key);
        }
    }

    /// The step that the planner would take; `None` when its snapshot does not show the patient.
    fn step(
        &self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        cause: &Entity,
        now: Timestamp,
    ) -> Option<Chosen>;

    /// What the API server says of the request before it changes anything.
    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let controller = target(server, request).ok_or(Refused::NotFound)?;
        same_uid(request, &controller.record.uid)?;
        same_version(request, &controller.record.resource_version)
    }

    /// Changes the object. Called when [`Situation::check`] permits.
    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp);

    /// Somebody else helps: by putting another object in the place of the one that is ill, or by changing it.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp);

    /// Another writer touches the target without changing what matters.
    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        touch(server, self.targets(), workload);
    }
}

/// Pods of the workload's Deployment.
fn pods(server: &Server, workload: &WorkloadKey) -> Vec<ObjectKey> {
    let controller = controller_key(ControllerKind::Deployment, workload);
    server.pods_of(&controller).map(|pod| pod.record.key.clone()).collect()
}

/// Key of what a request is about, when that is a controller.
fn target_key(request: &EffectRequest) -> ControllerKey {
    controller_key(ControllerKind::from_kind(&request.target.kind), &request.target.key)
}

/// What a request is about, when that is a controller.
fn target<'a>(server: &'a Server, request: &EffectRequest) -> Option<&'a Controller> {
    server.controllers.get(&target_key(request))
}

/// What the workload targets.
fn controller<'a>(
    server: &'a Server,
    kind: Option<ControllerKind>,
    workload: &WorkloadKey,
) -> Option<&'a Controller> {
    server.controllers.get(&controller_key(kind?, workload))
}

/// Writes what the workload targets.
fn change(
    server: &mut Server,
    kind: Option<ControllerKind>,
    workload: &WorkloadKey,
    change: impl FnOnce(&mut Controller),
) {
    if let Some(mut controller) = controller(server, kind, workload).cloned() {
        change(&mut controller);
        server.put_controller(controller);
    }
}

/// Another writer touches what the workload targets.
fn touch(server: &mut Server, kind: Option<ControllerKind>, workload: &WorkloadKey) {
    if let Some(kind) = kind {
        server.touch_controller(&controller_key(kind, workload));
    }
}

/// Writes what a request is about.
fn change_target(server: &mut Server, request: &EffectRequest, change: impl FnOnce(&mut Controller)) {
    if let Some(mut controller) = target(server, request).cloned() {
        change(&mut controller);
        server.put_controller(controller);
    }
}

/// The workload as a whole, when this holds for what it targets.
fn workload_if(
    server: &Server,
    kind: Option<ControllerKind>,
    workload: &WorkloadKey,
    ill: impl FnOnce(&Controller) -> bool,
) -> Option<Entity> {
    controller(server, kind, workload)
        .filter(|controller| ill(controller))
        .map(|_| Entity::Workload { key: workload.clone() })
}

/// Lets go of what is held: flag and mark in one write.
pub fn release(server: &mut Server, held: &Held) {
    match held {
        Held::Node(name) => cordon::change(server, name, uncordon::open),
        Held::Run(key) => {
            if let Some(mut run) = server.controllers.get(key).cloned() {
                resume::go_on(&mut run);
                server.put_controller(run);
            }
        }
        Held::Bounds(key) => drive_bounds::give_back(server, key),
    }
}

/// A step on a controller.
fn on(controller: &ControllerRecord, parameters: Parameters) -> Option<Chosen> {
    let before = Before {
        replicas: Some(controller.replicas),
        ready: Some(controller.ready),
        revision: controller.revision.clone(),
        suspended: Some(controller.paused),
        ..Before::default()
    };
    Some(Chosen { target: Snapshot::controller_target(controller)?, parameters, before })
}

/// 409 unless the object has the UID that was asked for.
fn same_uid(request: &EffectRequest, uid: &Uid) -> Result<(), Refused> {
    match &request.uid {
        Some(wanted) if wanted != uid => Err(Refused::Conflict(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid})"
        ))),
        _ => Ok(()),
    }
}

/// 409 unless the object has the version that was asked for.
fn same_version(request: &EffectRequest, version: &Name) -> Result<(), Refused> {
    match &request.version {
        Some(wanted) if wanted != version => Err(Refused::Conflict(
            "the object has been modified; apply your changes to the latest version".to_owned(),
        )),
        _ => Ok(()),
    }
}
