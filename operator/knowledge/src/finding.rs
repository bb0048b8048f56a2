//! What is abnormal: one [`Finding`] per entity and kind, with its evidence.

use crate::entity::Entity;
use crate::ids::FindingId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Something abnormal, or about to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Identifier, stable while the finding is active.
    pub id: FindingId,
    /// What it is about.
    pub entity: Entity,
    /// What it is.
    pub kind: FindingKind,
    /// First bad sample or failed request.
    pub since: Timestamp,
    /// When it was recognised.
    pub detected: Timestamp,
    /// Last time that the evidence was renewed.
    pub last_seen: Timestamp,
    /// How sure, 0 to 1: one minus the chance of this evidence without a fault.
    pub confidence: f64,
    /// What a person can check.
    pub evidence: Vec<Evidence>,
    /// `false` once the evidence stopped.
    pub active: bool,
}

/// One line of evidence in words and numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was measured, e.g. `calls that failed`.
    pub signal: String,
    /// What was seen, e.g. `12 of 12 in 0.8 s`.
    pub observed: String,
    /// What is usual, when known, e.g. `0 of 1,000`.
    pub usual: Option<String>,
}

impl Evidence {
    /// A line of evidence without a usual value.
    pub fn new(signal: impl Into<String>, observed: impl Into<String>) -> Self {
        Self { signal: signal.into(), observed: observed.into(), usual: None }
    }

    /// The same line with what is usual.
    #[must_use]
    pub fn usual(mut self, usual: impl Into<String>) -> Self {
        self.usual = Some(usual.into());
        self
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.signal, self.observed)?;
        match &self.usual {
            Some(usual) => write!(formatter, " (usual {usual})"),
            None => Ok(()),
        }
    }
}

/// Every kind of finding; causes carry the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FindingKind {
    /// A container ended unexpectedly; the kubelet restarts it.
    Crashed,
    /// A container ended again soon after a restart: the kubelet will wait, or waits, before it starts it.
    BackingOff,
    /// The container fails at every start by itself (not killed from outside).
    CrashLoop,
    /// The container was ended because it reached its memory limit.
    OutOfMemory,
    /// Callers cannot connect and the reason is not known yet.
    Unreachable,
    /// Accepts calls and answers none.
    Hung,
    /// Answers with errors of its own (no failing dependency behind them).
    ErrorBurst,
    /// Answers much later than usual, by its own time.
    Slow,
    /// Something outside the controlled workloads fails its callers.
    DependencyDown,
    /// Not ready by its probe for long.
    NotReady,
    /// A pod cannot be placed on a node.
    Unschedulable,
    /// An image cannot be pulled.
    ImagePullFailed,
    /// A pod is placed and its containers cannot be made: a volume, a `ConfigMap`, a `Secret` or its network is missing.
    SetupFailed,
    /// A signal named by the workload leaves its usual range.
    SignalAbnormal,
    /// A node is not ready.
    NodeNotReady,
    /// A node is short of memory, disk or process numbers, as its kubelet says.
    NodePressure,
    /// The newest run of a Job or `CronJob` failed, or a try of it did: a pod that ended with an error.
    JobFailed,
    /// A run of a Job or `CronJob` lasts much longer than its deadline, or than its runs usually do.
    JobStuck,
    /// One replica is slower than its siblings, or answers with errors where they do not.
    ReplicaOutlier,
    /// Replicas of several workloads are slow on one node while their siblings elsewhere are well.
    NoisyNeighbour,
    /// Memory grows and will reach its limit soon.
    MemoryGrowing,
    /// A volume fills and will reach its capacity within hours.
    VolumeFilling,
    /// The use of a quota grows and will reach its hard limit within hours.
    QuotaFilling,
    /// A pod's ephemeral storage fills and will reach its limit within hours; a new pod begins empty.
    EphemeralStorageFilling,
    /// A backlog is larger than it should be and still grows.
    QueueGrowing,
    /// A certificate ends soon.
    CertificateExpiring,
    /// A fault that came back regularly is expected again soon: nothing is wrong yet.
    FaultExpected,
    /// Somebody else takes back again and again what actions set: one of the two must give the field up.
    OwnershipConflict,
    /// A source is silent: nothing can be said, nothing may be done on its account.
    NoData,
}

/// What a kind of finding is read off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceSource {
    /// The state of watched objects, which the first list tells whole.
    Objects,
    /// Earlier incidents and actions, which are objects too.
    Records,
    /// Spans of callers: what does not answer seldom tells of itself.
    Callers,
    /// Spans of several, compared with each other.
    Siblings,
    /// Samples of a series.
    Series,
    /// Nothing: its source is silent.
    Silence,
}

impl FindingKind {
    /// What findings of this kind are read off.
    pub fn source(self) -> EvidenceSource {
        match self {
            Self::Crashed
            | Self::BackingOff
            | Self::CrashLoop
            | Self::OutOfMemory
            | Self::NotReady
            | Self::Unschedulable
            | Self::ImagePullFailed
            | Self::SetupFailed
            | Self::NodeNotReady
            | Self::NodePressure
            | Self::JobFailed
            | Self::JobStuck => EvidenceSource::Objects,
            Self::FaultExpected | Self::OwnershipConflict => EvidenceSource::Records,
            Self::Unreachable | Self::Hung | Self::ErrorBurst | Self::Slow | Self::DependencyDown => {
                EvidenceSource::Callers
            }
            Self::ReplicaOutlier | Self::NoisyNeighbour => EvidenceSource::Siblings,
            Self::SignalAbnormal
            | Self::MemoryGrowing
            | Self::VolumeFilling
            | Self::QuotaFilling
            | Self::EphemeralStorageFilling
            | Self::QueueGrowing
            | Self::CertificateExpiring => EvidenceSource::Series,
            Self::NoData => EvidenceSource::Silence,
        }
    }

    /// Nothing is wrong with what it is about: it was never to be repaired, and counts in no figure of repairs.
    pub fn only_tells(self) -> bool {
        matches!(self, Self::FaultExpected | Self::OwnershipConflict)
    }

    /// Every kind, in the order above.
    pub const ALL: [Self; 29] = [
        Self::Crashed,
        Self::BackingOff,
        Self::CrashLoop,
        Self::OutOfMemory,
        Self::Unreachable,
        Self::Hung,
        Self::ErrorBurst,
        Self::Slow,
        Self::DependencyDown,
        Self::NotReady,
        Self::Unschedulable,
        Self::ImagePullFailed,
        Self::SetupFailed,
        Self::SignalAbnormal,
        Self::NodeNotReady,
        Self::NodePressure,
        Self::JobFailed,
        Self::JobStuck,
        Self::ReplicaOutlier,
        Self::NoisyNeighbour,
        Self::MemoryGrowing,
        Self::VolumeFilling,
        Self::QuotaFilling,
        Self::EphemeralStorageFilling,
        Self::QueueGrowing,
        Self::CertificateExpiring,
        Self::FaultExpected,
        Self::OwnershipConflict,
        Self::NoData,
    ];

    /// How long a finding of this kind must have lasted before it is acted on.
    ///
    /// Crashes are facts, and detectors of failing calls are calibrated on the number of calls, not on time, so
    /// for those waiting longer only fails more users. Slow or noisy states must last.
    pub fn minimum_duration(self) -> SignedDuration {
        match self {
            Self::Crashed
            | Self::BackingOff
            | Self::CrashLoop
            | Self::OutOfMemory
            | Self::Unreachable
            | Self::Hung
            | Self::ErrorBurst
            | Self::DependencyDown
            | Self::JobFailed
            | Self::CertificateExpiring
            | Self::FaultExpected
            | Self::OwnershipConflict
            | Self::NoData => SignedDuration::ZERO,
            // What is slow still answers.
            Self::Slow => SignedDuration::from_secs(1),
            Self::NotReady | Self::SignalAbnormal | Self::ReplicaOutlier | Self::MemoryGrowing => {
                SignedDuration::from_secs(10)
            }
            // A short peak of load, or a node that is busy with a start, passes.
            Self::Unschedulable
            | Self::ImagePullFailed
            | Self::SetupFailed
            | Self::NoisyNeighbour
            | Self::QueueGrowing
            | Self::JobStuck => SignedDuration::from_secs(30),
            // The node controller waits as long before it calls a node unready.
            Self::NodeNotReady => SignedDuration::from_secs(40),
            // The kubelet first tries to free what it is short of by itself; what lies hours ahead has a minute to be taken back.
            Self::NodePressure | Self::VolumeFilling | Self::QuotaFilling | Self::EphemeralStorageFilling => {
                SignedDuration::from_secs(60)
            }
        }
    }

    /// The name as written in resources and playbooks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "Crashed",
            Self::BackingOff => "BackingOff",
            Self::CrashLoop => "CrashLoop",
            Self::OutOfMemory => "OutOfMemory",
            Self::Unreachable => "Unreachable",
            Self::Hung => "Hung",
            Self::ErrorBurst => "ErrorBurst",
            Self::Slow => "Slow",
            Self::DependencyDown => "DependencyDown",
            Self::NotReady => "NotReady",
            Self::Unschedulable => "Unschedulable",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::SetupFailed => "SetupFailed",
            Self::SignalAbnormal => "SignalAbnormal",
            Self::NodeNotReady => "NodeNotReady",
            Self::NodePressure => "NodePressure",
            Self::JobFailed => "JobFailed",
            Self::JobStuck => "JobStuck",
            Self::ReplicaOutlier => "ReplicaOutlier",
            Self::NoisyNeighbour => "NoisyNeighbour",
            Self::MemoryGrowing => "MemoryGrowing",
            Self::VolumeFilling => "VolumeFilling",
            Self::QuotaFilling => "QuotaFilling",
            Self::EphemeralStorageFilling => "EphemeralStorageFilling",
            Self::QueueGrowing => "QueueGrowing",
            Self::CertificateExpiring => "CertificateExpiring",
            Self::FaultExpected => "FaultExpected",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::NoData => "NoData",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for FindingKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::FindingKind;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in FindingKind::ALL {
            assert_eq!(FindingKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(FindingKind::from_name("crashed"), None);
    }
}
