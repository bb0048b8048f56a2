//! Sizing ahead of the load.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity,
    common::{CRON, DAY, DECIMAL, DNS_LABEL, POSITIVE_SECONDS, TIME_ZONE},
    v1alpha1::tenant,
};

/// Sizing ahead of the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.startWindowSeconds) || !has(self.deadlineSeconds) || self.startWindowSeconds < self.deadlineSeconds")
    .message("startWindowSeconds must be shorter than deadlineSeconds"))]
#[x_kube(validation = Rule::new("!has(self.backlog) || !has(self.backlog.secondsPerItem) || has(self.deadlineSeconds)")
    .message("backlog.secondsPerItem needs deadlineSeconds: until when an item must be done"))]
#[x_kube(validation = Rule::new("!has(self.backlog) || !has(self.backlog.secondsPerItem) || !has(self.deadlineSeconds) || double(self.backlog.secondsPerItem) < double(self.deadlineSeconds)")
    .message("backlog.secondsPerItem must be less than deadlineSeconds"))]
#[x_kube(validation = Rule::new("!has(self.replicas) || !has(self.calendar) || self.calendar.all(c, c.replicas >= self.replicas.min && c.replicas <= self.replicas.max)")
    .message("the replicas of each calendar entry must lie within scaling.replicas"))]
#[x_kube(validation = Rule::new("!has(self.replicas) || !has(self.fallback) || (self.fallback.replicas >= self.replicas.min && self.fallback.replicas <= self.replicas.max)")
    .message("fallback.replicas must lie within scaling.replicas: not below replicas.min, not above replicas.max"))]
pub struct Scaling {
    /// What is done with a forecast.
    #[serde(default)]
    pub mode: ScalingMode,
    /// Bounds for services and workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaBounds>,
    /// Bounds for what runs to completion: pods of a run at once. With `backlog` their number is chosen at each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<Parallelism>,
    /// Bounds for requests and limits of one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceBounds>,
    /// Work that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// Loads that count beside requests and backlog: the one that asks for the most replicas decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["signal".into()]))]
    pub loads: Vec<Load>,
    /// Sizes that are known beforehand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub calendar: Vec<CalendarEntry>,
    /// Days, as `2026-12-25`, on which no run of the `CronJob` is expected, in the time zone of its schedule: no room is kept for
    /// one. A Job that is made then all the same is ordered like any other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 10, max = 10), regex(pattern = DAY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub exceptions: Vec<String>,
    /// A run may start this much later, so that peaks do not coincide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub start_window_seconds: Option<i32>,
    /// A run must be done this long after its slot. With `backlog.secondsPerItem`, except with the archetype Batch: an item
    /// must be done this long after it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub deadline_seconds: Option<i32>,
    /// What is done when something else scales the same object.
    #[serde(default)]
    pub when_owned: ScalingOwner,
    /// Minutes of one replica that a minute in which the load is more than the replicas carry is worth: a low number saves,
    /// a high one hardly ever runs short. Unset: 1024, and 16 for what works off a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8, max = 2_097_152))]
    pub price: Option<i32>,
    /// Size when the signals are gone for long. Unset: the last safe size stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// What is done with a forecast.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum ScalingMode {
    /// Note what would have been done.
    Observe,
    /// Say what should be done.
    #[default]
    Recommend,
    /// Do it, through the same guards as every action.
    Auto,
}

/// What is done when a `HorizontalPodAutoscaler` or the like scales the same object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum ScalingOwner {
    /// Leave it alone and say who owns it.
    #[default]
    Refuse,
    /// Move the bounds of the autoscaler.
    DriveBounds,
}

/// Fewest and most replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("replicas.min must not exceed replicas.max"))]
pub struct ReplicaBounds {
    /// Fewest; 0 lets an idle workload go away.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100_000))]
    pub min: i32,
    /// Most.
    #[schemars(range(min = 1, max = 100_000))]
    pub max: i32,
}

const fn one() -> i32 {
    1
}

/// Fewest and most pods of a run at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("parallelism.min must not exceed parallelism.max"))]
pub struct Parallelism {
    /// Fewest; a run that is let go has one at least.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub min: i32,
    /// Most.
    #[schemars(range(min = 1, max = 100_000))]
    pub max: i32,
}

/// Bounds for one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceBounds {
    /// CPU cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<QuantityBounds>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<QuantityBounds>,
    /// The container of each pod that the bounds, and the signals that measure CPU and memory, are about; init containers do not
    /// count. Unset: the only one; of pods with several none is given another size. Runs are sized where they have one
    /// container, whatever this says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub container: Option<String>,
}

/// Least and most of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("quantity(string(self.min)).compareTo(quantity(string(self.max))) <= 0")
    .message("min must not exceed max"))]
pub struct QuantityBounds {
    /// Least.
    pub min: Quantity,
    /// Most.
    pub max: Quantity,
}

/// Work that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.itemsPerReplica) || !has(self.secondsPerItem)")
    .message("itemsPerReplica and secondsPerItem exclude each other: with secondsPerItem the deadline says how many items one replica does"))]
#[x_kube(validation = Rule::new("has(self.promql) != has(self.signal)")
    .message("a backlog has either promql or signal"))]
pub struct Backlog {
    /// A query whose value is the number of waiting items, without those that are worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
    /// Instead of a query: name of one of `spec.signals` with that value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub signal: Option<String>,
    /// Items that one replica works off in time. Unset: one replica for each item that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub items_per_replica: Option<i32>,
    /// Seconds that one replica needs for one item, as a decimal number: one that few items exceed. With it there are as
    /// many replicas as it takes for each item to be done within `deadlineSeconds`. With the archetype Batch: of one pod of a
    /// run, until it is learnt from five runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10), regex(pattern = POSITIVE_SECONDS))]
    pub seconds_per_item: Option<String>,
    /// Of a `CronJob`: from so many waiting items on, a run is made although the schedule does not ask for one; one at a time.
    /// Unset: runs come by the schedule alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub run_from: Option<i32>,
}

/// A load that is read from a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Name of one of `spec.signals`, e.g. the CPU that all replicas use together.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub signal: String,
    /// How much of it one replica carries, in the signal's unit; above 0.
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub per_replica: String,
}

/// A size that is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CalendarEntry {
    /// Name of the entry.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
    /// When it begins: a cron schedule of five fields.
    #[schemars(length(min = 6, max = 128), regex(pattern = CRON))]
    pub schedule: String,
    /// Time zone of the schedule, by IANA name.
    #[serde(default = "tenant::utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = TIME_ZONE))]
    pub time_zone: String,
    /// How long it lasts.
    #[schemars(range(min = 60, max = 2_678_400))]
    pub duration_seconds: i64,
    /// At least so many replicas.
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: i32,
    /// Days on which it does not count, as `2026-12-25`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 10, max = 10), regex(pattern = DAY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub exceptions: Vec<String>,
}

/// Size when the signals are gone for long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Signals are gone for this long.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 60, max = 604_800))]
    pub after_seconds: i32,
    /// Then this many replicas, within `scaling.replicas`; never zero.
    #[schemars(range(min = 1, max = 100_000))]
    pub replicas: i32,
}

const fn one_hour() -> i32 {
    3_600
}
