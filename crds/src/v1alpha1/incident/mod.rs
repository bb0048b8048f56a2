//! `Incident`: one fault, its causes, its five instants, and what was done about it.

mod record;

pub use record::{
    Acknowledgement, Cause, Closing, Comment, EvidenceLine, Finding, Handover, IncidentInstants,
    TimelineEntry, TimelineKind,
};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, ConditionType, Severity, common::DNS_NAME};

/// Most findings that one Incident keeps.
pub const MAX_FINDINGS: usize = 50;
/// Most causes that one Incident keeps.
pub const MAX_CAUSES: usize = 10;
/// Most lines of the timeline that one Incident keeps.
pub const MAX_TIMELINE: usize = 100;
/// Most actions that one Incident names.
pub const MAX_ACTIONS: usize = 64;
/// Most affected workloads that one Incident names.
pub const MAX_AFFECTED: usize = 64;
/// Most lines of evidence of one finding or cause.
pub const MAX_EVIDENCE: usize = 8;

/// Conditions that every Incident carries.
pub const CONDITIONS: &[ConditionType] =
    &[ConditionType::Ready, ConditionType::Acknowledged, ConditionType::Resolved, ConditionType::HandedOver];

/// One fault. Homeostat opens it; people acknowledge, comment and close it.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "Incident",
    plural = "incidents",
    shortname = "hinc",
    category = "homeostat",
    namespaced,
    status = "IncidentStatus",
    derive = "PartialEq",
    doc = "One fault: its causes, its five instants, and what was done about it.",
    selectable = ".spec.tenant",
    selectable = ".spec.fingerprint",
    selectable = ".status.state",
    selectable = ".status.severity",
    printcolumn(
        name = "Severity",
        type_ = "string",
        json_path = ".status.severity",
        description = "How bad it is"
    ),
    printcolumn(
        name = "Cause",
        type_ = "string",
        json_path = ".status.cause",
        description = "The most likely cause"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "How far it is"
    ),
    printcolumn(
        name = "Detected",
        type_ = "string",
        json_path = ".status.detectedIn",
        description = "From the first sign to detection"
    ),
    printcolumn(
        name = "Repaired-In",
        type_ = "string",
        json_path = ".status.repairedIn",
        description = "From detection until mitigated"
    ),
    printcolumn(
        name = "Actions",
        type_ = "integer",
        json_path = ".status.actionCount",
        description = "Actions taken or proposed"
    ),
    printcolumn(
        name = "Summary",
        type_ = "string",
        json_path = ".status.summary",
        description = "In one sentence",
        priority = "1"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether nothing is left to do"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[x_kube(validation = Rule::new("has(self.tenant) == has(oldSelf.tenant) && (!has(self.tenant) || self.tenant == oldSelf.tenant)")
    .message("tenant is immutable"))]
#[x_kube(validation = Rule::new("!has(oldSelf.closed) || has(self.closed)")
    .message("a closed incident stays closed; a fault that comes back reopens by itself"))]
#[x_kube(validation = Rule::new("!has(oldSelf.comments) || (has(self.comments) && self.comments.size() >= oldSelf.comments.size() && oldSelf.comments.all(c, c in self.comments))")
    .message("comments may be added, not changed or removed"))]
#[serde(rename_all = "camelCase")]
pub struct IncidentSpec {
    /// Identity of the fault: the same one that comes back has the same.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9._:/-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("fingerprint is immutable"))]
    pub fingerprint: String,
    /// The Tenant that the namespace belongs to, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub tenant: Option<String>,
    /// Who opened it: Homeostat's identity, or a person.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("openedBy is immutable"))]
    pub opened_by: String,
    /// Set by a person who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// Written by people; only ever added to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub comments: Vec<Comment>,
    /// Set by a person to end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closing>,
}

/// How far an Incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum IncidentState {
    /// Recognised, nothing is being done (yet).
    Open,
    /// An action is under way.
    Acting,
    /// Back inside the objective; being watched.
    Mitigated,
    /// The verification window passed.
    Resolved,
    /// People have to go on.
    HandedOver,
}

/// What Homeostat knows of an Incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct IncidentStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<IncidentState>,
    /// How bad it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The most likely cause, as `order (Hung)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub cause: Option<String>,
    /// In one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub summary: Option<String>,
    /// The Workload that the first cause is or belongs to; the first affected one for causes outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub workload: Option<String>,
    /// The five instants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instants: Option<IncidentInstants>,
    /// From impact to detection, for people, as `1.4s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub detected_in: Option<String>,
    /// From detection to mitigation, for people, as `2.1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub repaired_in: Option<String>,
    /// Everything abnormal that belongs to it, most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub findings: Vec<Finding>,
    /// Why, most likely first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["rank".into()]))]
    pub causes: Vec<Cause>,
    /// Workloads, as `namespace/name`, that suffer from it without being its cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 317)))]
    pub affected: Vec<String>,
    /// Names of the Actions for it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = DNS_NAME)))]
    pub actions: Vec<String>,
    /// How many Actions there were, also those no longer named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub action_count: Option<i32>,
    /// How often it came back after it was mitigated.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub reopen_count: i32,
    /// Identity of the evidence as it stood when the causes last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub evidence_id: Option<String>,
    /// What happened, oldest first; the middle of a long one is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub timeline: Vec<TimelineEntry>,
    /// Why people have to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
