//! What is done: the ledger's record of one action on one target.

use crate::entity::{Name, ObjectKey, TenantName, WorkloadKey};
use crate::guard::{GuardName, GuardReport};
use crate::ids::{ActionId, EvidenceId, IncidentId, Uid};
use crate::plan::{PlaybookRef, Undo, Verification};
use crate::policy::Bounds;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Every kind of action that the API knows. The list of those that are implemented is `execute::actions::ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ActionKind {
    /// More replicas.
    ScaleUp,
    /// Fewer replicas.
    ScaleDown,
    /// Move the bounds of the autoscaler that sizes the workload.
    DriveBounds,
    /// Replace one pod through the Eviction API.
    EvictPod,
    /// Replace all pods of a workload by its own rollout.
    RollingRestart,
    /// Back to a named revision.
    RollBack,
    /// Keep new pods off a node.
    Cordon,
    /// Allow them again.
    Uncordon,
    /// Cordon, then one eviction per pod.
    Drain,
    /// Stop a Job or `CronJob` from starting pods.
    Suspend,
    /// Let it start pods again.
    Resume,
    /// Run a failed Job again.
    RetryJob,
    /// Let a run of a Job begin when it is its turn.
    StartJob,
    /// Make a run of a `CronJob` because work waits.
    CreateJob,
    /// Change a pod's resources in place.
    ResizePod,
    /// Tell a person.
    Notify,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::ScaleUp,
        Self::ScaleDown,
        Self::DriveBounds,
        Self::EvictPod,
        Self::RollingRestart,
        Self::RollBack,
        Self::Cordon,
        Self::Uncordon,
        Self::Drain,
        Self::Suspend,
        Self::Resume,
        Self::RetryJob,
        Self::StartJob,
        Self::CreateJob,
        Self::ResizePod,
        Self::Notify,
    ];

    /// The name as written in resources.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScaleUp => "ScaleUp",
            Self::ScaleDown => "ScaleDown",
            Self::DriveBounds => "DriveBounds",
            Self::EvictPod => "EvictPod",
            Self::RollingRestart => "RollingRestart",
            Self::RollBack => "RollBack",
            Self::Cordon => "Cordon",
            Self::Uncordon => "Uncordon",
            Self::Drain => "Drain",
            Self::Suspend => "Suspend",
            Self::Resume => "Resume",
            Self::RetryJob => "RetryJob",
            Self::StartJob => "StartJob",
            Self::CreateJob => "CreateJob",
            Self::ResizePod => "ResizePod",
            Self::Notify => "Notify",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for ActionKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why an action is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// An incident asks for it.
    #[default]
    Incident,
    /// A forecast asks for another size; there is no incident. Guarded by budgets and steps of its own.
    Forecast,
    /// It is a run's turn, or the next runs of a schedule need another size; there is no incident. Budgets of its own.
    Schedule,
}

impl Origin {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Incident, Self::Forecast, Self::Schedule];

    /// The name as written in resources.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incident => "Incident",
            Self::Forecast => "Forecast",
            Self::Schedule => "Schedule",
        }
    }
}

/// The one object that an action changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// `apiVersion`, e.g. `v1`, `apps/v1`.
    pub api_version: Name,
    /// Kind, e.g. `Pod`.
    pub kind: Name,
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID as decided on; another UID under the same name is another object.
    pub uid: Uid,
    /// `resourceVersion` as decided on; context for people, the effect is conditioned on the UID and fields.
    pub resource_version: Name,
}

impl Target {
    /// Nodes have no namespace and no workload; their actions belong to the platform tenant.
    pub fn is_node(&self) -> bool {
        &*self.kind == "Node" && self.key.namespace.is_empty()
    }
}

/// What exactly is done: absolute values, never differences.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Parameters {
    /// Evict the target pod.
    EvictPod {
        /// Seconds between SIGTERM and SIGKILL; `None`: the pod's own grace period. Shorter for processes that answer
        /// nothing any more and so cannot end by themselves either.
        grace_seconds: Option<u32>,
    },
    /// Set the pod template's annotation `homeostat.dev/restarted-by` to this action's id.
    RollingRestart,
    /// Have so many replicas, more than now.
    ScaleUp {
        /// Replicas to have.
        replicas: i32,
    },
    /// Have so many replicas, fewer than now.
    ScaleDown {
        /// Replicas to have.
        replicas: i32,
    },
    /// Give the autoscaler these bounds.
    DriveBounds {
        /// `minReplicas` and `maxReplicas` to have.
        bounds: Bounds,
        /// When it gets people's own bounds again at the latest, unless it is driven anew before.
        until: Timestamp,
    },
    /// Have the pod template of this revision again.
    RollBack {
        /// Name of the `ReplicaSet` (of a Deployment) or `ControllerRevision` that holds the template.
        revision: Name,
    },
    /// Keep new pods off the node.
    Cordon {
        /// When it is allowed again at the latest, whatever happened meanwhile.
        until: Timestamp,
    },
    /// Take back a cordon of ours.
    Uncordon,
    /// Stop a Job or `CronJob` from starting pods.
    Suspend {
        /// When it goes on at the latest, whatever happened meanwhile.
        until: Timestamp,
    },
    /// Take back a suspension of ours.
    Resume,
    /// Run a failed Job again as a new Job of the same template.
    RetryJob,
    /// Let a suspended Job start, or run one that failed again as a new Job, with these resources for each pod.
    StartJob {
        /// CPU request to have, in thousandths of a core; `None` leaves it.
        cpu_millis: Option<u64>,
        /// Memory request and limit to have, in bytes; `None` leaves them.
        memory_bytes: Option<u64>,
        /// Pods at a time to have; `None` leaves them as the Job is written.
        #[serde(default)]
        parallelism: Option<u32>,
    },
    /// Make a Job of a `CronJob`'s template, suspended.
    CreateJob {
        /// Whole second of the decision, of which its name follows.
        slot: Timestamp,
    },
    /// Give one container of a running pod, or of the template of a `CronJob`, these resources.
    ResizePod {
        /// Container.
        container: Name,
        /// CPU request to have, in thousandths of a core; `None` leaves it.
        cpu_millis: Option<u64>,
        /// CPU limit to have, in thousandths of a core; `None` leaves it.
        #[serde(default)]
        cpu_limit_millis: Option<u64>,
        /// Memory request to have, in bytes; `None` leaves it.
        memory_bytes: Option<u64>,
        /// Memory limit to have, in bytes; `None` leaves that of a pod, and gives the template of a `CronJob` its request.
        #[serde(default)]
        memory_limit_bytes: Option<u64>,
    },
    /// Tell people; nothing is changed.
    Notify {
        /// What they must know and can do.
        message: String,
    },
}

impl Parameters {
    /// The same parameters as they are read back: stored instants have a resolution of one microsecond.
    #[must_use]
    pub fn as_stored(&self) -> Self {
        let micros = |at: Timestamp| Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
        match self {
            Self::DriveBounds { bounds, until } => {
                Self::DriveBounds { bounds: *bounds, until: micros(*until) }
            }
            Self::Cordon { until } => Self::Cordon { until: micros(*until) },
            Self::Suspend { until } => Self::Suspend { until: micros(*until) },
            Self::CreateJob { slot } => Self::CreateJob { slot: micros(*slot) },
            _ => self.clone(),
        }
    }

    /// The action kind that these parameters belong to.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::EvictPod { .. } => ActionKind::EvictPod,
            Self::RollingRestart => ActionKind::RollingRestart,
            Self::ScaleUp { .. } => ActionKind::ScaleUp,
            Self::ScaleDown { .. } => ActionKind::ScaleDown,
            Self::DriveBounds { .. } => ActionKind::DriveBounds,
            Self::RollBack { .. } => ActionKind::RollBack,
            Self::Cordon { .. } => ActionKind::Cordon,
            Self::Uncordon => ActionKind::Uncordon,
            Self::Suspend { .. } => ActionKind::Suspend,
            Self::Resume => ActionKind::Resume,
            Self::RetryJob => ActionKind::RetryJob,
            Self::StartJob { .. } => ActionKind::StartJob,
            Self::CreateJob { .. } => ActionKind::CreateJob,
            Self::ResizePod { .. } => ActionKind::ResizePod,
            Self::Notify { .. } => ActionKind::Notify,
        }
    }
}

/// The target as it was before, as far as an undo or a reader needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Desired replicas.
    pub replicas: Option<i32>,
    /// Ready replicas.
    pub ready: Option<i32>,
    /// Revision.
    pub revision: Option<Name>,
    /// Restarts of the target pod.
    pub restarts: Option<u32>,
    /// The node was closed for new pods.
    pub cordoned: Option<bool>,
    /// The Job or `CronJob` was suspended.
    pub suspended: Option<bool>,
    /// CPU request of the container, in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// CPU limit of the container, in thousandths of a core, where it is changed.
    #[serde(default)]
    pub cpu_limit_millis: Option<u64>,
    /// Memory request of the container, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory limit of the container, in bytes, where it is changed.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    /// Bounds of the autoscaler.
    #[serde(default)]
    pub bounds: Option<Bounds>,
    /// Pods of a run at a time, where another number is set.
    #[serde(default)]
    pub parallelism: Option<u32>,
}

/// States of an action. Arrows: `execute::ledger`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ActionState {
    /// Decided; at level Recommend it stays here.
    Proposed,
    /// A person must approve.
    AwaitingApproval,
    /// Intent stored, guards passed.
    Admitted,
    /// A guard refused; nothing was done.
    Refused,
    /// This replica is about to send the effect; whoever finds this state resolves it by reading, not by resending.
    Claimed,
    /// The API server took the effect.
    Sent,
    /// The effect is there; waiting for the signals to get well.
    Verifying,
    /// It helped.
    Verified,
    /// It did not help and was undone.
    Undone,
    /// It did not help, or could not be done.
    Failed,
    /// The situation changed before the effect; nothing was done.
    Cancelled,
    /// People must take over.
    HandedOver,
}

impl ActionState {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Proposed,
        Self::AwaitingApproval,
        Self::Admitted,
        Self::Refused,
        Self::Claimed,
        Self::Sent,
        Self::Verifying,
        Self::Verified,
        Self::Undone,
        Self::Failed,
        Self::Cancelled,
        Self::HandedOver,
    ];

    /// Nothing will change any more.
    pub fn ended(self) -> bool {
        match self {
            Self::Proposed
            | Self::AwaitingApproval
            | Self::Admitted
            | Self::Claimed
            | Self::Sent
            | Self::Verifying => false,
            Self::Refused
            | Self::Verified
            | Self::Undone
            | Self::Failed
            | Self::Cancelled
            | Self::HandedOver => true,
        }
    }

    /// Counts against budgets and cool-downs: the effect was sent or may have been.
    pub fn had_effect(self) -> bool {
        match self {
            Self::Claimed | Self::Sent | Self::Verifying | Self::Verified | Self::Undone | Self::Failed => {
                true
            }
            Self::Proposed
            | Self::AwaitingApproval
            | Self::Admitted
            | Self::Refused
            | Self::Cancelled
            | Self::HandedOver => false,
        }
    }

    /// Reserved and not ended: counts as in flight.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Admitted | Self::Claimed | Self::Sent | Self::Verifying)
    }
}

/// One action: one target, one effect, at most once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// Identifier; also the object's name.
    pub id: ActionId,
    /// Namespace that the `Action` object lives in.
    pub namespace: Name,
    /// The object's `resourceVersion`; empty before it is stored.
    pub resource_version: Name,
    /// Incident that it serves; for the others what stands for one, see [`crate::forecast::occasion`] and
    /// [`crate::runs::occasion`].
    pub incident: IncidentId,
    /// What asks for it.
    #[serde(default)]
    pub origin: Origin,
    /// Tenant whose rules apply.
    pub tenant: TenantName,
    /// Workload that it serves.
    pub workload: WorkloadKey,
    /// Playbook, version and step that asked for it.
    pub playbook: PlaybookRef,
    /// The one object that it changes.
    pub target: Target,
    /// What exactly is done.
    pub parameters: Parameters,
    /// The target before.
    pub before: Before,
    /// Generation of the snapshot it was decided on; older epochs are refused after newer ones.
    pub epoch: u64,
    /// Frozen evidence: identity, when it was taken, one sentence.
    pub evidence: EvidenceRef,
    /// What counts as success and by when.
    pub verification: Verification,
    /// What is done when it does not help.
    pub undo: Undo,
    /// The action that this one takes back. An undo is never undone.
    pub undo_of: Option<ActionId>,
    /// Who asked for it, and what exactly a person approves.
    #[serde(default)]
    pub request: Request,
    /// Where it stands.
    pub state: ActionState,
    /// Every guard's result.
    pub guards: Vec<GuardReport>,
    /// When what happened.
    pub instants: ActionInstants,
    /// Did it help?
    pub outcome: Option<ActionOutcome>,
    /// A person's decision, when one is needed and given.
    pub approval: Option<Approval>,
    /// One sentence on the present state.
    pub message: String,
}

impl ActionRecord {
    /// The object's namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey { namespace: self.namespace.clone(), name: self.id.0.clone() }
    }

    /// Kind of the action.
    pub fn kind(&self) -> ActionKind {
        self.parameters.kind()
    }

    /// An autoscaler gets a lower floor than it had.
    pub fn lowers_floor(&self) -> bool {
        match (&self.parameters, self.before.bounds) {
            (Parameters::DriveBounds { bounds, .. }, Some(before)) => bounds.min < before.min,
            _ => false,
        }
    }

    /// A change of size that takes capacity away, or may: another size of a pod is as strictly limited in both directions.
    pub fn goes_down(&self) -> bool {
        let of_pod = self.kind() == ActionKind::ResizePod && self.origin == Origin::Forecast;
        self.kind() == ActionKind::ScaleDown || self.lowers_floor() || of_pod
    }

    /// The guard that refused a way up by forecast and passes by itself: it is soon asked again. Not so after the intent was
    /// stored: each such try is an object of its own.
    pub fn waits_for(&self) -> Option<GuardName> {
        let way_up = self.origin == Origin::Forecast && self.undo_of.is_none() && !self.goes_down();
        let refusal = self.guards.iter().find(|guard| !guard.result.permits())?;
        let early = self.state == ActionState::Refused && self.instants.intent.is_none();
        let waits = way_up && early && refusal.passes_by_itself();
        waits.then_some(refusal.name)
    }
}

/// An action in the ledger in words that this version does not know: a newer one wrote it. It is not carried on here, it
/// counts as what it may have done, and nothing else is done to its target before it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadAction {
    /// Identifier; also the object's name.
    pub id: ActionId,
    /// The object's `resourceVersion`.
    pub resource_version: Name,
    /// Incident that it serves; empty when there is none.
    pub incident: IncidentId,
    /// What asks for it.
    pub origin: Origin,
    /// Tenant whose rules apply.
    pub tenant: TenantName,
    /// Workload that it serves.
    pub workload: WorkloadKey,
    /// UID of the one object that it changes.
    pub target: Uid,
    /// Where it stands; `Claimed`, as if sent, where that is not readable either.
    pub state: ActionState,
    /// Claimed, or stored before that.
    pub at: Option<Timestamp>,
    /// Ended.
    pub closed: Option<Timestamp>,
    /// What cannot be read.
    pub why: String,
}

impl UnreadAction {
    /// It may still do something, or be doing it.
    pub fn open(&self) -> bool {
        !self.state.ended()
    }

    /// Why its target is left alone, and what to do.
    pub fn advice(&self) -> String {
        format!(
            "this version cannot read action {} ({}); let the newer version that wrote it finish it, or delete the \
             Action when its effect is known",
            self.id, self.why
        )
    }
}

/// What a person is asked for. An approval holds for exactly this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asked, as the API server knows the requester; that one may not approve. Empty when not known.
    pub by: Name,
    /// No approval counts after this; `None` when none was asked for.
    pub expires: Option<Timestamp>,
    /// Digest of target, parameters, the fields read and the frozen evidence (`execute::asking::digest`).
    pub digest: Name,
}

/// Reference to frozen evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRef {
    /// Identity; changes with the evidence.
    pub id: EvidenceId,
    /// When it was last renewed.
    pub taken_at: Timestamp,
    /// For people.
    pub summary: String,
}

/// Instants of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionInstants {
    /// Intent stored.
    pub intent: Option<Timestamp>,
    /// Claimed, just before the effect.
    pub claimed: Option<Timestamp>,
    /// Effect sent.
    pub sent: Option<Timestamp>,
    /// API server answered.
    pub acknowledged: Option<Timestamp>,
    /// Verification ended.
    pub verified: Option<Timestamp>,
    /// Ended.
    pub closed: Option<Timestamp>,
}

/// Did it help?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionOutcome {
    /// Yes or no.
    pub helped: bool,
    /// In words and numbers.
    pub reason: String,
}

/// A person's decision about an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Yes or no.
    pub decision: ApprovalDecision,
    /// Who, as proved by admission.
    pub approved_by: Name,
    /// The evidence that the person saw.
    pub evidence: EvidenceId,
    /// Digest of what the person saw, when it was given.
    #[serde(default)]
    pub digest: Option<Name>,
    /// When.
    pub at: Timestamp,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ApprovalDecision {
    /// Do it.
    Approve,
    /// Do not.
    Deny,
}
