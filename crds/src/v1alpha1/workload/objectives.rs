//! What "well" means for a workload, and the signals to see it by.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{
    DECIMAL, DNS_LABEL, DNS_NAME, EXTERNAL_METRIC, FRACTION, METRIC_NAME, PERCENT, SELECTOR,
};

/// What "well" means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objectives {
    /// Share of requests or runs that succeed, in percent, as a text such as `99.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), regex(pattern = PERCENT))]
    pub availability: Option<String>,
    /// How fast most answers come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyObjective>,
}

/// How fast most answers come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyObjective {
    /// Which share of the answers, from 0 to 1, as a text such as `0.95`.
    #[serde(default = "p95")]
    #[schemars(length(min = 1, max = 8), regex(pattern = FRACTION))]
    pub quantile: String,
    /// They come within this time.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub milliseconds: i32,
}

fn p95() -> String {
    "0.95".to_owned()
}

/// Which way is bad.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum BadDirection {
    /// High values are bad.
    #[default]
    Above,
    /// Low values are bad.
    Below,
}

/// How the values of several pods become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Across {
    /// All together.
    Sum,
    /// The highest of them.
    Max,
}

/// A metric of the cluster's external metrics API (`external.metrics.k8s.io/v1beta1`), as the adapters of KEDA, Prometheus and
/// the clouds serve it. It is read in the Workload's namespace; its items count as series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalMetric {
    /// Name of the metric. Homeostat may read those that the chart value `externalMetrics` lists.
    #[schemars(length(min = 1, max = 253), regex(pattern = EXTERNAL_METRIC))]
    pub name: String,
    /// Label selector, for example `queue=orders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = SELECTOR))]
    pub selector: Option<String>,
}

/// A signal that Prometheus knows, that pods of the workload or of another one send, or that the cluster's external metrics
/// API serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.promql), has(self.metric), has(self.external)].exists_one(set, set)")
    .message("a signal has either promql, metric or external"))]
#[x_kube(validation = Rule::new("!has(self.across) || has(self.metric)")
    .message("across is for metric: a query says itself how values become one"))]
#[x_kube(validation = Rule::new("!has(self.from) || has(self.metric)")
    .message("from is for metric: it names the Workload whose pods send it"))]
#[x_kube(validation = Rule::new("!has(self.measures) || !(self.measures in ['VolumeBytes', 'QuotaUsed']) || has(self.threshold)")
    .message("a signal that measures VolumeBytes or QuotaUsed needs a threshold: the capacity of the volume, or the hard limit of the quota"))]
#[x_kube(validation = Rule::new("!has(self.measures) || !(self.measures in ['VolumeBytes', 'QuotaUsed', 'EphemeralStorageBytes']) || !(self.name in ['requests', 'memory', 'runs'])")
    .message("a signal that measures VolumeBytes, QuotaUsed or EphemeralStorageBytes is not called requests, memory or runs: its Forecast would have the name of another one"))]
pub struct Signal {
    /// Name of the signal.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
    /// A query with one number as its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
    /// Instead of a query: name of a metric that the workload's own pods, or those of `from`, send over OTLP. A counter
    /// counts as its increase per second; of a histogram there are `NAME_count` and `NAME_sum`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = METRIC_NAME))]
    pub metric: Option<String>,
    /// Name of the Workload in the same namespace whose pods send `metric`: what fills a queue is there while nobody works on
    /// it. Unset: the workload itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub from: Option<String>,
    /// Instead of a query: a metric of the cluster's external metrics API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMetric>,
    /// How the values that the pods sent in the last minute and a half become one. Unset: `Sum`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub across: Option<Across>,
    /// Unit for people, for example `requests/s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub unit: Option<String>,
    /// Which way is bad.
    #[serde(default)]
    pub bad_direction: BadDirection,
    /// Bad beyond this number. Unset: learned from the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub threshold: Option<String>,
    /// Smaller changes are not worth a finding, in the signal's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub minimum_effect: Option<String>,
    /// What it measures, where that says what its trouble is and what may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measures: Option<Measures>,
}

/// What a signal measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Measures {
    /// Work that waits, in items: too much of it that still grows is `QueueGrowing`.
    Backlog,
    /// Memory in use, in bytes: `MemoryGrowing` when it will reach `threshold`, or the container's limit, within an hour.
    MemoryBytes,
    /// CPU in use by the busiest pod, in cores.
    CpuCores,
    /// Bytes in use of a volume, with its capacity as `threshold`: `VolumeFilling` when it may be full within six hours.
    VolumeBytes,
    /// Use of a quota in its own unit, with the hard limit as `threshold`: `QuotaFilling` when it may be used up within six
    /// hours.
    QuotaUsed,
    /// Bytes that one pod keeps on the disk of its node (writable layer, logs, `emptyDir`): `EphemeralStorageFilling` when they
    /// may reach `threshold`, or the `ephemeral-storage` limit of the only container, within three hours.
    EphemeralStorageBytes,
    /// Seconds until a certificate ends: `CertificateExpiring` below `threshold`, or below two weeks.
    CertificateSeconds,
}

/// Where a dependency is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum DependencyKind {
    /// Another Workload in this cluster.
    #[default]
    Workload,
    /// Outside of the cluster: a fault there is never repaired by restarts here.
    External,
}

/// Something that this workload calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind != 'External' || !has(self.__namespace__)")
    .message("an External dependency has no namespace"))]
pub struct Dependency {
    /// Name of the Workload, or the host name of what is outside.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
    /// Inside or outside of the cluster.
    #[serde(default)]
    pub kind: DependencyKind,
    /// Namespace of the Workload. Unset: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub namespace: Option<String>,
}

/// A sign of life that must come regularly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Longest silence that is still well.
    #[schemars(range(min = 1, max = 604_800))]
    pub maximum_silence_seconds: i32,
    /// A query whose value is the Unix time of the last sign of life. Unset: any telemetry counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
}
