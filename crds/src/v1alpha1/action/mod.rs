//! `Action`: the ledger. One object is one effect on one target, written before it happens.

mod intent;
mod outcome;
mod verdict;

pub use intent::{
    Approval, Before, Decision, EvidenceRef, Expectation, Origin, Parameters, PlaybookRef, Target, Undo,
    Verify,
};
pub use outcome::{ActionInstants, Guard, GuardResult, Outcome, OutcomeResult};
pub use verdict::{aimed_at_cause, word_of_a_person};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ActionKind, Condition, ConditionType,
    common::{DNS_NAME, HEX},
};

/// Conditions that every Action carries.
pub const CONDITIONS: &[ConditionType] = &[
    ConditionType::Ready,
    ConditionType::Admitted,
    ConditionType::Approved,
    ConditionType::Verified,
    ConditionType::HandedOver,
];

/// One effect on one target. Homeostat writes it; a person may approve it.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "Action",
    plural = "actions",
    shortname = "hact",
    category = "homeostat",
    namespaced,
    status = "ActionStatus",
    derive = "PartialEq",
    doc = "One effect on one target, written before it happens: why, what exactly, what the guards said, whether it helped.",
    selectable = ".spec.tenant",
    selectable = ".spec.origin",
    selectable = ".spec.incidentRef.name",
    selectable = ".spec.workloadRef.name",
    selectable = ".spec.action",
    selectable = ".status.state",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action", description = "What is done"),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".status.target",
        description = "What it is done to"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "How far it is"
    ),
    printcolumn(
        name = "Because",
        type_ = "string",
        json_path = ".status.message",
        description = "Why it is done, or why it waits or was refused"
    ),
    printcolumn(
        name = "Outcome",
        type_ = "string",
        json_path = ".status.outcome.result",
        description = "Whether it helped"
    ),
    printcolumn(
        name = "Origin",
        type_ = "string",
        json_path = ".spec.origin",
        description = "What asks for it: an Incident, a Forecast, or the Schedule of its Workload's runs",
        priority = "1"
    ),
    printcolumn(
        name = "Incident",
        type_ = "string",
        json_path = ".spec.incidentRef.name",
        description = "The Incident that it serves",
        priority = "1"
    ),
    printcolumn(
        name = "Forecast",
        type_ = "string",
        json_path = ".spec.forecastRef.name",
        description = "The Forecast that asks for it",
        priority = "1"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether it ended well"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[x_kube(validation = Rule::new("self.action == oldSelf.action && self.origin == oldSelf.origin && self.tenant == oldSelf.tenant && self.epoch == oldSelf.epoch && self.undo == oldSelf.undo && has(self.expiresAt) == has(oldSelf.expiresAt) && (!has(self.expiresAt) || self.expiresAt == oldSelf.expiresAt) && has(self.undoOf) == has(oldSelf.undoOf) && (!has(self.undoOf) || self.undoOf == oldSelf.undoOf) && has(self.incidentRef) == has(oldSelf.incidentRef)")
    .message("an Action is immutable apart from spec.approval: action, origin, tenant, epoch, undo, undoOf and expiresAt cannot change"))]
#[x_kube(validation = Rule::new("has(self.incidentRef) == (self.origin == 'Incident') && has(self.forecastRef) == (self.origin == 'Forecast')")
    .message("an Action of origin Incident has incidentRef, one of origin Forecast has forecastRef, one of origin Schedule has neither but its workloadRef"))]
#[x_kube(validation = Rule::new("self.origin != 'Schedule' || self.target.kind in ['Job', 'CronJob'] || (self.target.kind == 'Pod' && self.action == 'ResizePod')")
    .message("an Action of origin Schedule is about runs: its target is a Job, a CronJob or, of ResizePod, a Pod"))]
#[x_kube(validation = Rule::new("!has(oldSelf.approval) || (has(self.approval) && self.approval == oldSelf.approval)")
    .message("an approval is given once and cannot be changed or taken back"))]
#[x_kube(validation = Rule::new("!has(self.approval) || self.approval.evidenceId == self.evidence.id")
    .message("approval.evidenceId must be spec.evidence.id: what was approved is what was seen"))]
#[x_kube(validation = Rule::new("!has(self.approval) || !has(self.approval.digest) || (has(self.digest) && self.approval.digest == self.digest)")
    .message("approval.digest must be spec.digest: what was approved is what was asked for"))]
#[x_kube(validation = Rule::new("!has(self.approval) || !has(self.requestedBy) || self.approval.approvedBy != self.requestedBy")
    .message("who asked for an action may not approve it"))]
#[x_kube(validation = Rule::new("has(self.digest) == has(oldSelf.digest) && (!has(self.digest) || self.digest == oldSelf.digest) && has(self.requestedBy) == has(oldSelf.requestedBy) && (!has(self.requestedBy) || self.requestedBy == oldSelf.requestedBy)")
    .message("digest and requestedBy cannot change: they say what was asked for, and by whom"))]
#[x_kube(validation = Rule::new("!(self.action in ['Cordon', 'Suspend']) || (has(self.parameters) && has(self.parameters.until))")
    .message("Cordon and Suspend need parameters.until: what is held must end"))]
#[x_kube(validation = Rule::new("self.action != 'DriveBounds' || (has(self.parameters) && has(self.parameters.until) && has(self.parameters.minReplicas) && has(self.parameters.maxReplicas) && self.parameters.minReplicas <= self.parameters.maxReplicas && self.target.kind == 'HorizontalPodAutoscaler')")
    .message("DriveBounds needs parameters.minReplicas, maxReplicas, not below it, and until, and a HorizontalPodAutoscaler as its target"))]
#[x_kube(validation = Rule::new("self.action != 'CreateJob' || (has(self.parameters) && has(self.parameters.slot) && self.target.kind == 'CronJob')")
    .message("CreateJob needs parameters.slot, of which the name of the new Job follows, and a CronJob as its target"))]
#[serde(rename_all = "camelCase")]
pub struct ActionSpec {
    /// What asks for it: an Incident, a Forecast, or the schedule of the Workload's runs.
    #[serde(default)]
    pub origin: Origin,
    /// The Incident that it serves, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("incidentRef is immutable"))]
    pub incident_ref: Option<NameRef>,
    /// The Forecast that asks for another size, in the same namespace; then there is no Incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("forecastRef is immutable"))]
    pub forecast_ref: Option<NameRef>,
    /// The Tenant whose rules apply.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub tenant: String,
    /// The Workload that it serves, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("workloadRef is immutable"))]
    pub workload_ref: NameRef,
    /// The Playbook, its version and the step that asked for it.
    #[x_kube(validation = Rule::new("self == oldSelf").message("playbook is immutable"))]
    pub playbook: PlaybookRef,
    /// What is done.
    pub action: ActionKind,
    /// The one object that it changes.
    #[x_kube(validation = Rule::new("self == oldSelf").message("target is immutable"))]
    pub target: Target,
    /// Absolute values, never differences.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("parameters are immutable"))]
    pub parameters: Parameters,
    /// The target before.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("before is immutable"))]
    pub before: Before,
    /// Generation of the picture of the cluster that it was decided on; older ones are refused.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// What it was decided on.
    #[x_kube(validation = Rule::new("self == oldSelf").message("evidence is immutable"))]
    pub evidence: EvidenceRef,
    /// What counts as success, and by when.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("verify is immutable"))]
    pub verify: Verify,
    /// What is done when it does not help.
    #[serde(default)]
    pub undo: Undo,
    /// The Action that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub undo_of: Option<String>,
    /// Not approved or not begun by then: cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<crate::MicroTime>,
    /// Who asked for it, by the name that the API server knows; that one may not approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub requested_by: Option<String>,
    /// SHA-256 of what a person approves: target and its UID, parameters, the fields read, the evidence, the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = HEX))]
    pub digest: Option<String>,
    /// The decision of a person; the only part that people write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

impl ActionSpec {
    /// Name of the Incident or the Forecast that it serves, or of the Workload whose run it is.
    pub fn serves(&self) -> &str {
        let served = self.incident_ref.as_ref().or(self.forecast_ref.as_ref());
        &served.unwrap_or(&self.workload_ref).name
    }
}

/// An object of a known kind in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
}

/// How far an Action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ActionState {
    /// Decided; at level Recommend it stays here.
    Proposed,
    /// A person must approve.
    AwaitingApproval,
    /// The intent is stored and the guards passed.
    Admitted,
    /// A guard refused; nothing was done.
    Refused,
    /// The effect is about to be sent; who finds this after a crash looks before doing anything.
    Claimed,
    /// The API server took the effect.
    Sent,
    /// Waiting for the signals to get well.
    Verifying,
    /// It helped.
    Verified,
    /// It did not help and was taken back.
    Undone,
    /// It did not help, or could not be done.
    Failed,
    /// The situation changed before the effect; nothing was done.
    Cancelled,
    /// People have to go on.
    HandedOver,
}

/// What became of an Action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct ActionStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ActionState>,
    /// The target for people, as `Pod/order-6c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub target: Option<String>,
    /// Why it is done, or why it waits or was refused, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// What each guard said, in running order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub guards: Vec<Guard>,
    /// When what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instants: Option<ActionInstants>,
    /// Whether it helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What a dry run would change, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub diff: Option<String>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
