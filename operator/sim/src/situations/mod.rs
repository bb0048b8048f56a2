//! One situation per action that changes something: what is wrong, how the API server takes the action's effect, and
//! how somebody else would have helped. A new action joins the proof with one file and one entry in [`ALL`].

mod evict_pod;
mod rolling_restart;

pub use evict_pod::SickPod;

use crate::server::{Refused, Server};
use homeostat_knowledge::{
    ActionId, ActionKind, Entity, FindingKind, Name, Parameters, Snapshot, Target, Timestamp, Uid,
    WorkloadKey,
};

/// Every situation. A test holds that each action of the product that changes something has one.
pub const ALL: &[&dyn Situation] =
    &[&SickPod { finding: FindingKind::Hung }, &rolling_restart::TiredProcesses];

/// Actions that change something and have no situation yet. What they do is tested in `operator/execute` and against a
/// scripted API server, but not under every disturbance; the chart grants none of them as shipped.
pub const WITHOUT: &[ActionKind] = &[
    ActionKind::ScaleUp,
    ActionKind::ScaleDown,
    ActionKind::RollBack,
    ActionKind::Cordon,
    ActionKind::Uncordon,
    ActionKind::Suspend,
    ActionKind::Resume,
    ActionKind::RetryJob,
    ActionKind::ResizePod,
];

/// A pod that crashes: evidence that is read off the object and does not age, so the fresh read has the last word.
pub const CRASHING: &dyn Situation = &SickPod { finding: FindingKind::BackingOff };

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

/// What makes an action necessary, and what the API server makes of it.
pub trait Situation: Sync {
    /// The action that helps.
    fn kind(&self) -> ActionKind;

    /// What the analysis finds.
    fn finding(&self) -> FindingKind;

    /// Creates the objects of one workload, all well.
    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp);

    /// Something goes wrong.
    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey);

    /// Who is ill now, in truth; `None` when the workload is well.
    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity>;

    /// The step that the planner would take; `None` when its snapshot does not show the patient.
    fn step(
        &self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        cause: &Entity,
    ) -> Option<(Target, Parameters)>;

    /// What the API server says of the request before it changes anything.
    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused>;

    /// Changes the object. Called when [`Situation::check`] permits.
    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp);

    /// Somebody else helps, by putting another object in the place of the one that is ill.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp);

    /// Another writer touches the target without changing what matters.
    fn touch(&self, server: &mut Server, workload: &WorkloadKey);
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
