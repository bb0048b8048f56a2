//! What a workload is judged and sized by beside its calls: signals that people name.

use crate::entity::{Name, WorkloadKey};
use crate::records::ContainerRecord;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A signal that a workload names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalPolicy {
    /// Name.
    pub name: Name,
    /// PromQL expression; empty where `metric` or `external` is set.
    pub promql: Name,
    /// A metric that pods send over OTLP, instead of a query.
    #[serde(default)]
    pub metric: Option<MetricPolicy>,
    /// A metric of the cluster's external metrics API, instead of a query.
    #[serde(default)]
    pub external: Option<ExternalPolicy>,
    /// Unit, for people.
    pub unit: Name,
    /// `true` when large values are bad, `false` when small ones are.
    pub bad_above: bool,
    /// Fixed limit, when people know one.
    pub threshold: Option<f64>,
    /// Smallest change worth an incident, in the signal's unit.
    pub minimum_effect: Option<f64>,
    /// What it measures, where that says what its trouble is.
    #[serde(default)]
    pub measures: Measures,
}

impl SignalPolicy {
    /// Whether Prometheus is asked for it.
    pub fn queried(&self) -> bool {
        self.metric.is_none() && self.external.is_none()
    }
}

/// A metric of the external metrics API, in the namespace of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExternalPolicy {
    /// Its name.
    pub name: Name,
    /// Label selector; empty for all of its items.
    pub selector: Name,
}

/// A metric that the pods of a workload send: of the one that is judged by it, or of another one in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricPolicy {
    /// Its name, as it is sent.
    pub name: Name,
    /// How the values of the pods become one.
    pub across: Across,
    /// Name of the workload that sends it; `None`: the one that is judged by it.
    #[serde(default)]
    pub from: Option<Name>,
}

impl MetricPolicy {
    /// The workload whose pods send it, where `workload` is judged by it. One namespace belongs to one tenant.
    pub fn sender(&self, workload: &WorkloadKey) -> WorkloadKey {
        let name = self.from.as_ref().unwrap_or(&workload.name).clone();
        WorkloadKey { namespace: workload.namespace.clone(), name }
    }
}

/// How the values of several pods become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Across {
    /// All together.
    #[default]
    Sum,
    /// The highest of them.
    Max,
}

/// What a signal measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Measures {
    /// Something that only the workload's people understand.
    #[default]
    Other,
    /// Work that waits, in items.
    Backlog,
    /// Memory in use, in bytes; `threshold` is its limit.
    MemoryBytes,
    /// CPU in use by the busiest pod, in cores.
    CpuCores,
    /// Bytes in use of a volume; `threshold` is its capacity.
    VolumeBytes,
    /// Use of a quota in its own unit; `threshold` is the hard limit.
    QuotaUsed,
    /// Bytes that one pod keeps on the disk of its node (writable layer, logs, `emptyDir`); `threshold` is the most.
    EphemeralStorageBytes,
    /// Seconds until a certificate ends.
    CertificateSeconds,
    /// A load that the workload is sized by: no level of it is trouble by itself.
    Load,
    /// Unix time of the last sign of life, as [`HEARTBEAT`] asks for it.
    Heartbeat,
}

/// Name of the signal that `spec.heartbeat.promql` becomes; no signal that people name can have it.
pub const HEARTBEAT: &str = "workload.heartbeat";

/// A sign of life that must come regularly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatPolicy {
    /// Longest silence that is still well.
    pub maximum_silence: SignedDuration,
    /// The signal [`HEARTBEAT`] tells when the last sign came; else any telemetry of the workload is one.
    pub queried: bool,
}

impl Measures {
    /// Whether it fills what outlives the process: only somebody who cleans up makes it less.
    pub fn stored(self) -> bool {
        matches!(self, Self::VolumeBytes | Self::QuotaUsed)
    }

    /// Whether it fills over hours and falls when somebody cleans up: it has a forecast a day ahead under the signal's own name.
    pub fn fills(self) -> bool {
        self.stored() || self == Self::EphemeralStorageBytes
    }

    /// The limit that a container has for it, in bytes.
    pub fn container_limit(self, container: &ContainerRecord) -> Option<u64> {
        match self {
            Self::MemoryBytes => container.memory.limit,
            Self::EphemeralStorageBytes => container.ephemeral_storage_limit,
            _ => None,
        }
    }
}
