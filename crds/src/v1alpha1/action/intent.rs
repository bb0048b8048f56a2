//! What is to be done, exactly, and on which grounds.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    MicroTime, Quantity, Severity,
    common::{API_VERSION, CAMEL_CASE, DNS_LABEL, DNS_NAME, HEX},
};

/// What asks for an Action.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Origin {
    /// An Incident.
    #[default]
    Incident,
    /// A Forecast, for another size.
    Forecast,
    /// The schedule of the Workload's runs: it is a run's turn, or the next runs need another size.
    Schedule,
}

/// The Playbook, its version and the step that asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookRef {
    /// Name of the Playbook.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
    /// Its generation; 0 for a shipped one.
    #[schemars(range(min = 0))]
    pub version: i64,
    /// Step of its ladder, from 1.
    #[schemars(range(min = 1, max = 64))]
    pub step: i32,
}

/// The one object that an Action changes, exactly as it was when this was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Group and version, for example `v1`.
    #[schemars(length(min = 1, max = 253), regex(pattern = API_VERSION))]
    pub api_version: String,
    /// Kind, for example Pod.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub kind: String,
    /// Namespace; unset for a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub namespace: Option<String>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
    /// UID: an object of the same name with another UID is another object.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// Version as it was read.
    #[schemars(length(min = 1, max = 128))]
    pub resource_version: String,
}

/// Absolute values of an Action; each action uses the ones that it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct Parameters {
    /// Replicas to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,
    /// Fewest replicas that an autoscaler is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub min_replicas: Option<i32>,
    /// Most replicas that an autoscaler is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_replicas: Option<i32>,
    /// Pods of a run to have at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub parallelism: Option<i32>,
    /// Of an eviction: seconds between SIGTERM and SIGKILL. Unset: the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_600))]
    pub grace_period_seconds: Option<i32>,
    /// Revision to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub revision: Option<String>,
    /// Container whose resources are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub container: Option<String>,
    /// CPU to have, as the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// CPU limit to have. Unset: it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Quantity>,
    /// Memory to have, as the request; of a Job and of the template of a CronJob as the limit too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Memory limit to have. Unset: that of a pod stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Quantity>,
    /// When what is held (a cordon, a suspension, driven bounds) is released at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,
    /// Whole second of the decision to make a Job: its name follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<MicroTime>,
    /// How urgent a message is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What people should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// The target before, as far as an undo or a reader needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct Before {
    /// Wanted replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,
    /// Fewest replicas of the autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub min_replicas: Option<i32>,
    /// Most replicas of the autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_replicas: Option<i32>,
    /// Ready replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub ready: Option<i32>,
    /// Revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub revision: Option<String>,
    /// Restarts of the target pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub restarts: Option<i32>,
    /// Pods of a run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub parallelism: Option<i32>,
    /// Whether it was suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// Whether the node was closed for new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<bool>,
    /// CPU request of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// CPU limit of the container, where it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Quantity>,
    /// Memory request of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Memory limit of the container, where it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Quantity>,
}

/// Frozen evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceRef {
    /// Changes with the evidence.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// When it was taken.
    pub taken_at: MicroTime,
    /// In one sentence.
    #[schemars(length(min = 1, max = 1024))]
    pub summary: String,
}

/// What must hold after an action.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum Expectation {
    /// The workload answers well and its pods are ready.
    #[default]
    ObjectivesMet,
    /// The rollout ended and all replicas are ready.
    RolloutComplete,
    /// Nothing: only people are told.
    Nothing,
}

/// What counts as success, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Verify {
    /// Window after the effect.
    #[schemars(range(min = 0, max = 86_400))]
    pub within_seconds: i32,
    /// What must hold.
    pub expect: Expectation,
}

impl Default for Verify {
    fn default() -> Self {
        Self { within_seconds: 30, expect: Expectation::ObjectivesMet }
    }
}

/// What is done when an action does not help.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum Undo {
    /// Nothing: a replaced pod stays replaced.
    #[default]
    Never,
    /// The state before is brought back, once.
    Restore,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// Do it.
    Approve,
    /// Do not do it.
    Deny,
}

/// The decision of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Yes or no.
    pub decision: Decision,
    /// Who: the name that the API server knows the person by.
    #[schemars(length(min = 1, max = 253))]
    pub approved_by: String,
    /// The evidence that the person saw.
    #[schemars(length(min = 1, max = 128))]
    pub evidence_id: String,
    /// `spec.digest` as the person saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = HEX))]
    pub digest: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
}
