//! `Workload`: what should be kept alive, and what "well" means for it.

mod objectives;
mod scaling;

pub use objectives::{
    Across, BadDirection, Dependency, DependencyKind, Heartbeat, LatencyObjective, Measures, Objectives,
    Signal,
};
pub use scaling::{
    Backlog, CalendarEntry, Fallback, Load, Parallelism, QuantityBounds, ReplicaBounds, ResourceBounds,
    Scaling, ScalingMode, ScalingOwner,
};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, ConditionType, Level, MicroTime, ObjectRef, common::DNS_NAME};

/// Conditions that every Workload carries.
pub const CONDITIONS: &[ConditionType] = &[
    ConditionType::Ready,
    ConditionType::Paused,
    ConditionType::TargetFound,
    ConditionType::TargetUnique,
    ConditionType::ObjectivesMet,
    ConditionType::BreakerOpen,
];

/// Something that runs and should keep running well.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "Workload",
    plural = "workloads",
    shortname = "hwl",
    category = "homeostat",
    namespaced,
    status = "WorkloadStatus",
    derive = "PartialEq",
    doc = "Something that runs and should keep running well: what it is, and what well means for it.",
    validation = Rule::new("!has(self.spec.dependencies) || self.spec.dependencies.all(d, d.name != self.metadata.name || has(d.__namespace__) || d.kind != 'Workload')")
        .message("a Workload cannot depend on itself"),
    selectable = ".spec.archetype",
    selectable = ".spec.criticality",
    selectable = ".spec.targetRef.name",
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target", description = "The object under control"),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health", description = "How it is"),
    printcolumn(name = "Incidents", type_ = "integer", json_path = ".status.openIncidents", description = "Incidents that are not over"),
    printcolumn(name = "Level", type_ = "string", json_path = ".status.level", description = "Highest level in effect for any action"),
    printcolumn(name = "Archetype", type_ = "string", json_path = ".spec.archetype", description = "What sort of workload it is", priority = "1"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, description = "Why it is ready or not", priority = "1"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, description = "Whether all is well with this object"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation")
)]
#[x_kube(validation = Rule::new("!(self.targetRef.kind in ['Job', 'CronJob']) || self.archetype == 'Batch'")
    .message("a Job or CronJob has the archetype Batch"))]
#[x_kube(validation = Rule::new("!(self.targetRef.kind in ['Deployment', 'StatefulSet', 'DaemonSet']) || self.archetype != 'Batch'")
    .message("the archetype Batch is for what runs to completion, not for a Deployment, StatefulSet or DaemonSet"))]
#[x_kube(validation = Rule::new("!self.repeatable || self.archetype == 'Batch'")
    .message("repeatable is for the archetype Batch"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.parallelism) || self.archetype == 'Batch'")
    .message("scaling.parallelism is for the archetype Batch; use scaling.replicas"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.replicas) || self.archetype != 'Batch'")
    .message("scaling.replicas is not for the archetype Batch; use scaling.parallelism"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.deadlineSeconds) || self.archetype == 'Batch' || (has(self.scaling.backlog) && has(self.scaling.backlog.secondsPerItem))")
    .message("scaling.deadlineSeconds needs scaling.backlog.secondsPerItem, the work of one item, except with the archetype Batch"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.backlog) || self.archetype != 'Batch' || (has(self.scaling.parallelism) && has(self.scaling.deadlineSeconds))")
    .message("scaling.backlog needs scaling.parallelism and scaling.deadlineSeconds with the archetype Batch: between how many pods, and until when"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.backlog) || !has(self.scaling.backlog.itemsPerReplica) || self.archetype != 'Batch'")
    .message("scaling.backlog.itemsPerReplica is not for the archetype Batch; use secondsPerItem, or leave it to be learnt"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.backlog) || !has(self.scaling.backlog.runFrom) || self.targetRef.kind == 'CronJob'")
    .message("scaling.backlog.runFrom is for a CronJob: from so many waiting items on, a run is made although its schedule asks for none"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.startWindowSeconds) || self.archetype == 'Batch'")
    .message("scaling.startWindowSeconds is for the archetype Batch"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.calendar) || size(self.scaling.calendar) == 0 || self.archetype != 'Batch'")
    .message("scaling.calendar is not for the archetype Batch; its runs come by the schedule of the CronJob, and scaling.exceptions names the days without one"))]
#[x_kube(validation = Rule::new("!has(self.scaling) || !has(self.scaling.exceptions) || size(self.scaling.exceptions) == 0 || self.targetRef.kind == 'CronJob'")
    .message("scaling.exceptions is for a CronJob: days on which its schedule makes no run; each entry of scaling.calendar has exceptions of its own"))]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// The object to look after: Deployment, `StatefulSet`, `DaemonSet`, Job, `CronJob`, or
    /// anything with a scale subresource, in the same namespace. One Workload per object.
    #[x_kube(validation = Rule::new("!(self.kind in ['Deployment', 'StatefulSet', 'DaemonSet']) || self.apiVersion == 'apps/v1'")
        .message("a Deployment, StatefulSet or DaemonSet has the apiVersion apps/v1"))]
    #[x_kube(validation = Rule::new("!(self.kind in ['Job', 'CronJob']) || self.apiVersion == 'batch/v1'")
        .message("a Job or CronJob has the apiVersion batch/v1"))]
    #[x_kube(validation = Rule::new("!(self.kind in ['Pod', 'ReplicaSet', 'Node'])")
        .message("a Workload looks after what creates pods: name the Deployment, StatefulSet, DaemonSet, Job or CronJob"))]
    pub target_ref: ObjectRef,
    /// What sort of workload it is: for Batch other rules hold, and what waits for a Worker weighs less than a late answer.
    /// Conditions of playbooks can ask for it.
    pub archetype: Archetype,
    /// Which runs of Jobs go first when not all fit, and which services when their quota has no room for all. Conditions of
    /// playbooks can ask for it.
    #[serde(default)]
    pub criticality: Criticality,
    /// What "well" means. Unset: what is usual is learned from the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("has(self.availability) || has(self.latency)")
        .message("objectives need availability, latency or both"))]
    pub objectives: Option<Objectives>,
    /// Further signals, beside those that every archetype has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub signals: Vec<Signal>,
    /// What this workload calls, where traces do not show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub dependencies: Vec<Dependency>,
    /// A sign of life that must come regularly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// Sizing ahead of the load. Unset: size is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Which Playbooks may be used. Unset: every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253), regex(pattern = DNS_NAME)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub playbooks: Vec<String>,
    /// How restarts are used.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// What is not done unless people say so may be done here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow: Vec<Allowance>,
    /// Running it twice does no harm, so a failed run may be started again.
    #[serde(default)]
    pub repeatable: bool,
    /// Stops every action for this workload; watching and reporting go on.
    #[serde(default)]
    pub paused: bool,
}

/// What sort of workload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Archetype {
    /// Answers requests.
    Service,
    /// Takes work from a queue or a timer.
    Worker,
    /// Runs to completion.
    Batch,
    /// Runs at the edge, with an unreliable connection.
    Edge,
}

/// Who goes first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum Criticality {
    /// Can wait.
    Low,
    /// Like most.
    #[default]
    Normal,
    /// Before most others.
    High,
    /// Before everything else.
    Critical,
}

/// How restarts are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartPolicy {
    /// After so many restarts that did not help, people take over.
    #[schemars(range(min = 0, max = 100))]
    pub maximum_useless_restarts: i32,
    /// After a healed crash, replace the pod in a quiet minute, the new one Ready first, so
    /// that the kubelet forgets its back-off.
    pub surge_after_crash: bool,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { maximum_useless_restarts: 2, surge_after_crash: true }
    }
}

/// What is not done unless people say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Allowance {
    /// Pods with local or emptyDir data.
    LocalData,
    /// Members of a quorum.
    QuorumMember,
    /// The only replica of a `StatefulSet`.
    SingleReplica,
    /// A roll back without asking: no release changes a Secret, a schema or anything else beside its pods in a way that
    /// the release before cannot bear. That no `ConfigMap` was written and no Job ran with it is looked at.
    RollBackUnasked,
}

/// How a workload is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum Health {
    /// Inside its objectives.
    Healthy,
    /// Outside of an objective, or on the way there.
    Degraded,
    /// Users cannot use it.
    Unhealthy,
    /// There is no data to tell by.
    #[default]
    Unknown,
}

/// What Homeostat sees of a Workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct WorkloadStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The object under control, as `Kind/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub target: Option<String>,
    /// The UID of the object under control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub target_uid: Option<String>,
    /// The Tenant that the namespace belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tenant: Option<String>,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Incidents that are not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub open_incidents: Option<i32>,
    /// Highest level in effect for any action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Restarts in a row that did not help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub useless_restarts: Option<i32>,
    /// No action before this time; set after an action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_until: Option<MicroTime>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
