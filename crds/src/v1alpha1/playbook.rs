//! `Playbook`: what to do about which finding, as data.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{Expectation, Undo};
use crate::{
    ActionKind, Condition, ConditionType, Level, Quantity, Severity,
    common::{CAMEL_CASE, FRACTION},
};

/// Conditions that every Playbook carries.
pub const CONDITIONS: &[ConditionType] = &[ConditionType::Ready, ConditionType::Accepted];

/// What to do about which finding.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "Playbook",
    plural = "playbooks",
    shortname = "hpb",
    category = "homeostat",
    status = "PlaybookStatus",
    derive = "PartialEq",
    doc = "What to do about which finding: trigger, conditions, and a ladder of steps that ends with people. Its version is metadata.generation.",
    printcolumn(
        name = "Findings",
        type_ = "string",
        json_path = ".spec.trigger.findings",
        description = "What it is for"
    ),
    printcolumn(
        name = "Priority",
        type_ = "integer",
        json_path = ".spec.priority",
        description = "The highest one that fits is used"
    ),
    printcolumn(
        name = "Version",
        type_ = "integer",
        json_path = ".metadata.generation",
        description = "Written into every Action"
    ),
    printcolumn(
        name = "Paused",
        type_ = "boolean",
        json_path = ".spec.paused",
        description = "Not used while paused",
        priority = "1"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not",
        priority = "1"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the checker accepted it"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookSpec {
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// When it is looked at.
    #[x_kube(validation = Rule::new("(has(self.findings) && self.findings.size() > 0) || (has(self.causes) && self.causes.size() > 0)")
        .message("a trigger needs findings, causes or both"))]
    pub trigger: Trigger,
    /// What else must be true; every line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub when: Vec<When>,
    /// What is done, step after step, while it does not help.
    #[schemars(length(min = 1, max = 16))]
    pub ladder: Vec<LadderStep>,
    /// Least level at which it acts. Unset: what its actions need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_needed: Option<Level>,
    /// The highest one that fits is used.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Not used while paused.
    #[serde(default)]
    pub paused: bool,
    /// Where it gives up and people take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Where a Playbook gives up and people take over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Actions within one incident that did not help. Unset: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub useless_actions: Option<i32>,
    /// Actions within one incident, whether they helped or not. Unset: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub actions: Option<i32>,
    /// Time that an incident may stay open with nothing under way. Unset: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub give_up_seconds: Option<i32>,
}

/// When a Playbook is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Kinds of findings, for example `CrashLoop`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63), regex(pattern = CAMEL_CASE)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub findings: Vec<String>,
    /// Kinds of first-ranked causes, for example `DependencyDown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63), regex(pattern = CAMEL_CASE)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub causes: Vec<String>,
    /// How sure it must be, from 0 to 1, as a text such as `0.9`.
    #[serde(default = "minimum_confidence")]
    #[schemars(length(min = 1, max = 8), regex(pattern = FRACTION))]
    pub minimum_confidence: String,
}

fn minimum_confidence() -> String {
    "0.9".to_owned()
}

/// A named condition in CEL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct When {
    /// Shown where a Playbook was not used because of it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-zA-Z][A-Za-z0-9-]*$"))]
    pub name: String,
    /// CEL over `incident`, `workload` and `tenant`; true or false.
    #[schemars(length(min = 1, max = 512))]
    pub expression: String,
}

/// One step of a ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.action != 'RollBack' || has(self.to) || (has(self.parameters) && has(self.parameters.revision))")
    .message("RollBack needs to: PreviousRevision or parameters.revision"))]
#[x_kube(validation = Rule::new("self.action != 'Notify' || !has(self.undo) || self.undo == 'Never'")
    .message("Notify cannot be undone"))]
pub struct LadderStep {
    /// What is done.
    pub action: ActionKind,
    /// What it is done to or where it goes to, where the action leaves a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<StepTarget>,
    /// Absolute values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<StepParameters>,
    /// Least level at which this step is taken. Unset: what the action needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Level>,
    /// What it waits for. Unset: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// Seconds that `after` speaks of. Unset: what is usual for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub after_seconds: Option<i32>,
    /// How often it is tried within one incident without success before the next step. Unset: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub times: Option<i32>,
    /// What counts as success, and by when. Everything but Notify needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<StepVerify>,
    /// What is done when it does not help. Actions that can be taken back need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// How urgent the message of Notify is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum After {
    /// Nothing.
    Immediately,
    /// The kubelet, which restarts ended containers by itself: until it backs off, or so long after the end.
    WhenKubeletGaveUp,
    /// The finding lasted so long.
    WhenStillAbnormal,
    /// The incident is mitigated, and the workload did well for so long.
    InQuietMinute,
}

/// What a step is done to or where it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StepTarget {
    /// The revision before the present one.
    PreviousRevision,
    /// The pod that is the cause.
    SickPod,
    /// The workload that is the cause.
    SickWorkload,
    /// The node that is the cause.
    SickNode,
}

/// Absolute values of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepParameters {
    /// Replicas to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub replicas: Option<i32>,
    /// Pods of a run to have at once. No action of this version takes it: a playbook that sets it is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub parallelism: Option<i32>,
    /// Of `EvictPod`: seconds between SIGTERM and SIGKILL. Unset, and always for a `StatefulSet`: the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_600))]
    pub grace_period_seconds: Option<i32>,
    /// Revision to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub revision: Option<String>,
    /// CPU to have. No action of this version takes it: a playbook that sets it is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// What counts as success, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepVerify {
    /// Window after the effect.
    #[schemars(range(min = 1, max = 3600))]
    pub within_seconds: i32,
    /// What must hold.
    #[serde(default)]
    pub expect: Expectation,
}

/// What Homeostat says of a Playbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct PlaybookStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
