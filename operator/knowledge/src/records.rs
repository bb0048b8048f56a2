//! Small records projected from Kubernetes objects. Whole objects are never kept: 30,000 pods as records
//! cost a few megabytes, as objects gigabytes.

use crate::entity::{Name, ObjectKey};
use crate::ids::{ActionId, Uid};
use crate::kubelet::Resize;
use crate::policy::Bounds;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

mod bare;

/// What is kept of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID.
    pub uid: Uid,
    /// `resourceVersion` at which this record was made.
    pub resource_version: Name,
    /// Node that it is bound to.
    pub node: Option<Name>,
    /// Pod IP; telemetry senders are recognised by it. `None` for host-network pods.
    pub ip: Option<IpAddr>,
    /// `status.phase`.
    pub phase: PodPhase,
    /// Controlling owner.
    pub owner: Option<OwnerRecord>,
    /// Has a deletion timestamp.
    pub deleting: bool,
    /// Condition `Ready` is true.
    pub ready: bool,
    /// `PodScheduled` is false with reason `Unschedulable`: the scheduler's message, cut at 256 characters.
    pub unschedulable: Option<Name>,
    /// What its containers wait for, when it is placed and they are not made.
    #[serde(default)]
    pub setup: Option<SetupWait>,
    /// A size that it was given and does not have yet, as its kubelet says.
    #[serde(default)]
    pub resize: Option<Box<Resize>>,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// Value of the `pod-template-hash` or `controller-revision-hash` label.
    pub template_hash: Option<Name>,
    /// Has emptyDir or local volumes whose content an eviction would lose.
    pub local_data: bool,
    /// One entry per app container, in spec order.
    pub containers: Vec<ContainerRecord>,
}

impl PodRecord {
    /// Running, ready, not being deleted: serves.
    pub fn serving(&self) -> bool {
        self.ready && !self.deleting && self.phase == PodPhase::Running
    }

    /// Sum of container restarts.
    pub fn restarts(&self) -> u32 {
        self.containers.iter().map(|container| container.restarts).sum()
    }
}

/// Why no container of a placed pod was made yet, or why one cannot be made, as its kubelet says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetupWait {
    /// Reason of the waiting container, e.g. `ContainerCreating` or `CreateContainerConfigError`.
    pub reason: Name,
    /// Its message, cut at 256 characters. Data, never an instruction.
    pub message: Option<Name>,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted, not all containers started.
    Pending,
    /// Bound and started.
    Running,
    /// All containers ended well.
    Succeeded,
    /// At least one container ended badly and will not be restarted.
    Failed,
    /// The node does not answer.
    Unknown,
}

/// Controlling owner of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnerRecord {
    /// Kind of the owner.
    pub kind: ControllerKind,
    /// Name of the owner, same namespace.
    pub name: Name,
    /// UID of the owner.
    pub uid: Uid,
}

/// What is kept of one app container's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Container name.
    pub name: Name,
    /// Passes its readiness probe (or has none).
    pub ready: bool,
    /// Restart count of the kubelet.
    pub restarts: u32,
    /// Current state.
    pub state: ContainerState,
    /// How the run before this one ended.
    pub last_termination: Option<Termination>,
    /// Memory that it asks for and may use, bytes. A limit that was raised counts once its kubelet has raised it.
    #[serde(default)]
    pub memory: Memory,
    /// CPU that it asks for, in thousandths of a core; `None` when unset.
    #[serde(default)]
    pub cpu_request: Option<u64>,
    /// CPU that it may use, in thousandths of a core; `None` when unset.
    #[serde(default)]
    pub cpu_limit: Option<u64>,
    /// The most that it may keep on the disk of its node, bytes; `None` when unset.
    #[serde(default)]
    pub ephemeral_storage_limit: Option<u64>,
}

/// CPU and memory; `None` where it is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
}

/// Memory of a container as its spec says, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Memory {
    /// Request; `None` when unset.
    pub request: Option<u64>,
    /// Limit; `None` when unset.
    pub limit: Option<u64>,
}

/// State of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Not started; `CrashLoopBackOff`, `ImagePullBackOff`, `ContainerCreating` and the like.
    Waiting {
        /// Reason as the kubelet gives it.
        reason: Name,
    },
    /// Runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Ended.
    Terminated(Termination),
}

/// One end of a container run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// `Error`, `Completed`, `OOMKilled`, …
    pub reason: Name,
    /// Exit code; 137 is SIGKILL.
    pub exit_code: i32,
    /// When this run started (one-second resolution).
    pub started: Option<Timestamp>,
    /// When it ended (one-second resolution).
    pub finished: Option<Timestamp>,
    /// What it says itself that it used: CPU in the mean, memory at its peak.
    #[serde(default)]
    pub used: Amounts,
}

/// Kinds of objects that own pods (or own the owners of pods).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ControllerKind {
    /// `apps/v1 Deployment`.
    Deployment,
    /// `apps/v1 ReplicaSet`.
    ReplicaSet,
    /// `apps/v1 StatefulSet`.
    StatefulSet,
    /// `apps/v1 DaemonSet`.
    DaemonSet,
    /// `batch/v1 Job`.
    Job,
    /// `batch/v1 CronJob`.
    CronJob,
    /// Anything else with a scale subresource, or a static pod's node.
    Other,
}

impl ControllerKind {
    /// `apiVersion` and `kind` as written in manifests; `None` for [`ControllerKind::Other`].
    pub fn api(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Deployment => ("apps/v1", "Deployment"),
            Self::ReplicaSet => ("apps/v1", "ReplicaSet"),
            Self::StatefulSet => ("apps/v1", "StatefulSet"),
            Self::DaemonSet => ("apps/v1", "DaemonSet"),
            Self::Job => ("batch/v1", "Job"),
            Self::CronJob => ("batch/v1", "CronJob"),
            Self::Other => return None,
        })
    }

    /// The kind for a manifest's `kind`.
    pub fn from_kind(kind: &str) -> Self {
        match kind {
            "Deployment" => Self::Deployment,
            "ReplicaSet" => Self::ReplicaSet,
            "StatefulSet" => Self::StatefulSet,
            "DaemonSet" => Self::DaemonSet,
            "Job" => Self::Job,
            "CronJob" => Self::CronJob,
            _ => Self::Other,
        }
    }
}

/// `apiVersion` and `kind` of an object whose kind has no name of its own here ([`ControllerKind::Other`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ApiKind {
    /// As in manifests, e.g. `argoproj.io/v1alpha1`.
    pub api_version: Name,
    /// As in manifests, e.g. `Rollout`.
    pub kind: Name,
}

/// Kind, namespace and name of a controller object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ControllerKey {
    /// Kind.
    pub kind: ControllerKind,
    /// Namespace and name.
    pub object: ObjectKey,
}

/// What is kept of a Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob, or of what else has a scale subresource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerRecord {
    /// Kind, namespace and name.
    pub key: ControllerKey,
    /// UID.
    pub uid: Uid,
    /// `resourceVersion` at which this record was made.
    pub resource_version: Name,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// Desired replicas (`spec.replicas`, `spec.parallelism`); 1 when unset.
    pub replicas: i32,
    /// Replicas that exist.
    pub current: i32,
    /// Ready replicas.
    pub ready: i32,
    /// Replicas of the newest template.
    pub updated: i32,
    /// `deployment.kubernetes.io/revision`, or the update revision of a StatefulSet.
    pub revision: Option<Name>,
    /// What a ReplicaSet is as a release of its Deployment; `None` for one that was never another revision and whose pods read
    /// no `ConfigMap`, and for everything else.
    #[serde(default)]
    pub release: Option<Box<ReleaseRecord>>,
    /// Rolls out one more pod before it takes one away (`maxSurge` > 0 and `maxUnavailable` = 0).
    pub surges: bool,
    /// Rollout is paused (`spec.paused`) or suspended.
    pub paused: bool,
    /// Labels of the pod template; Services find pods by them.
    pub template_labels: BTreeMap<Name, Name>,
    /// Controlling owner (the Deployment of a ReplicaSet, the CronJob of a Job).
    pub owner: Option<OwnerRecord>,
    /// Who else owns the spec: a GitOps tool, e.g. `Argo CD`, or the custom resource that controls it, e.g. `Kafka orders`; `None`
    /// when nobody was seen.
    pub gitops_owner: Option<Name>,
    /// How a Job ended; `None` while it runs and for everything else.
    pub finished: Option<JobEnd>,
    /// When a Job began and ended, and how long it may last; empty for everything else.
    #[serde(default)]
    pub run: RunTimes,
    /// What a Job, or the template of a `CronJob`, asks for; `None` for everything else, and most are something else.
    #[serde(default)]
    pub work: Option<Box<Work>>,
    /// Our own mark, when it is suspended by us.
    pub hold: Option<Hold>,
    /// The object's annotation "do not touch until", as written.
    #[serde(default)]
    pub do_not_touch: Option<Name>,
    /// What it is, where its kind is [`ControllerKind::Other`].
    #[serde(default)]
    pub api: Option<Box<ApiKind>>,
}

/// What is kept of a `ReplicaSet` as a release of its Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// Revisions that it was before: a release that is made again gets a new number and keeps its `ReplicaSet`. Oldest first,
    /// the last ten.
    pub earlier: Vec<Name>,
    /// `ConfigMap`s that its pods read as files or as their environment, in order of their names: at most
    /// [`Self::MOST_READS`] and one more, which says that there may be others.
    pub reads: Vec<Name>,
}

impl ReleaseRecord {
    /// `ConfigMap`s that are told apart.
    pub const MOST_READS: usize = 64;
}

impl ControllerRecord {
    /// Revisions that this `ReplicaSet` was before, oldest first.
    pub fn earlier_revisions(&self) -> &[Name] {
        self.release.as_ref().map_or(&[], |release| &release.earlier)
    }

    /// `ConfigMap`s that pods of this `ReplicaSet` read.
    pub fn reads(&self) -> &[Name] {
        self.release.as_ref().map_or(&[], |release| &release.reads)
    }

    /// A rollout is under way: not all replicas are of the newest template, or one too many exists.
    pub fn rolling_out(&self) -> bool {
        self.observed_generation < self.generation
            || (self.key.kind != ControllerKind::ReplicaSet
                && self.replicas > 0
                && (self.updated < self.replicas || self.current > self.updated))
    }
}

/// Times of one run of a Job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunTimes {
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// `status.completionTime`: only of runs that ended well.
    pub completed: Option<Timestamp>,
    /// `spec.activeDeadlineSeconds`.
    pub deadline: Option<SignedDuration>,
}

/// What is kept of a Job, or of the template of a `CronJob`, so that its runs can be ordered and sized.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Moment that a Job was made for: its `CronJob`'s slot, else its creation.
    pub slot: Option<Timestamp>,
    /// The app container whose size is changed: the only one. `None` when there are several.
    pub container: Option<Name>,
    /// Requests of one pod.
    pub requests: Amounts,
    /// Limit of CPU of its only app container, in thousandths of a core; `None` when unset, or there are several.
    #[serde(default)]
    pub cpu_limit: Option<u64>,
    /// Pods at a time (`spec.parallelism`).
    pub pods: u32,
    /// Pods that must end well (`spec.completions`); `None`: they share the work, and one that ends well says it is done.
    #[serde(default)]
    pub completions: Option<u32>,
    /// Each pod has a fixed part of the work (`completionMode: Indexed`).
    #[serde(default)]
    pub indexed: bool,
    /// Queue of Kueue that it is labelled with.
    pub queue: Option<Name>,
    /// The action that let it start, when that was one of ours.
    pub started_by: Option<Name>,
    /// The action that made it because work waited; `None` for a repeat, and for what others made.
    #[serde(default)]
    pub made_by: Option<Name>,
    /// UID of the failed Job that it repeats, when we made it.
    pub retry_of: Option<Uid>,
    /// Which try of its run it is, from 1, when we made it.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// When a `CronJob` makes Jobs.
    #[serde(default)]
    pub schedule: Option<Schedule>,
}

impl Work {
    /// Pods that really run at a time: no more than must end well, and one at least.
    pub fn at_once(&self) -> u32 {
        self.pods.min(self.completions.unwrap_or(u32::MAX)).max(1)
    }
}

/// When a `CronJob` makes its Jobs, as it is written. Whether it is suspended says [`ControllerRecord::paused`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Schedule {
    /// `spec.schedule`.
    pub cron: Name,
    /// `spec.timeZone`.
    pub zone: Option<Name>,
}

/// How a Job ended (condition `Complete` or `Failed`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobEnd {
    /// All its pods ended well.
    Complete,
    /// It gave up.
    Failed,
}

/// The mark of a held state (a cordon, a suspension): who holds it and for how long. Only what carries our mark
/// is ever released by us.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hold {
    /// The action that set it.
    pub by: Name,
    /// When it is released; `None` when the mark cannot be read, which counts as over.
    pub until: Option<Timestamp>,
}

impl Hold {
    /// It is the mark of this action.
    pub fn is_of(&self, action: &ActionId) -> bool {
        *self.by == *action.as_str()
    }
}

/// Something that was held is let go: our mark on it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Kind, namespace and name.
    pub object: Name,
    /// UID.
    pub uid: Uid,
    /// The action that held it.
    pub by: Name,
    /// What the API server calls our request; `None` when it does not say, or when somebody else let it go.
    pub audit_id: Option<Name>,
}

impl Release {
    /// For people: which action held it, and what the API server calls the request that let it go.
    pub fn note(&self) -> String {
        let by = if self.by.is_empty() { "an action that is not named" } else { &*self.by };
        match &self.audit_id {
            Some(id) => format!("let go; {by} held it; the API server calls the request {id}"),
            None => format!("let go; {by} held it"),
        }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.object)
    }
}

/// A `HorizontalPodAutoscaler`, as it was read last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoscalerRecord {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID.
    pub uid: Uid,
    /// `resourceVersion`.
    pub resource_version: Name,
    /// What it scales.
    pub scales: ControllerKey,
    /// `spec.minReplicas` and `spec.maxReplicas`.
    pub bounds: Bounds,
    /// Our mark, while we drive its bounds.
    pub drive: Option<Drive>,
    /// The `ScaledObject` of KEDA that made it.
    pub keda: Option<Name>,
    /// A GitOps tool that owns it, by its labels, or the custom resource that controls it.
    pub gitops_owner: Option<Name>,
}

/// The mark of driven bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// The action that set them, and when people's own come back.
    pub hold: Hold,
    /// People's own bounds, as they were before the first of our changes.
    pub before: Bounds,
    /// What we set last.
    pub set: Bounds,
}

impl AutoscalerRecord {
    /// The bounds that people want. One that is as we set it goes back to what it was; one that somebody changed since is
    /// theirs.
    pub fn peoples(&self) -> Bounds {
        let Some(drive) = &self.drive else { return self.bounds };
        let own = |now: u64, set: u64, before: u64| if now == set { before } else { now };
        let Drive { before, set, .. } = drive;
        let max = own(self.bounds.max, set.max, before.max);
        Bounds { min: own(self.bounds.min, set.min, before.min).min(max), max }
    }
}

/// What is kept of a Service: enough to resolve an address to a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Label selector; empty selects nothing.
    pub selector: BTreeMap<Name, Name>,
    /// Cluster IP, when it has one.
    pub cluster_ip: Option<IpAddr>,
}

/// What is kept of a Node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Name.
    pub name: Name,
    /// UID.
    pub uid: Uid,
    /// Condition `Ready` is true.
    pub ready: bool,
    /// `spec.unschedulable`.
    pub cordoned: bool,
    /// Who takes the node away, as its taints tell, e.g. `Karpenter`; none while nobody does.
    #[serde(default)]
    pub leaving: Option<Name>,
    /// `topology.kubernetes.io/zone`.
    pub zone: Option<Name>,
    /// Allocatable pods.
    pub allocatable_pods: u32,
    /// Allocatable CPU and memory.
    #[serde(default)]
    pub allocatable: Amounts,
    /// Pressure conditions that are true, e.g. `MemoryPressure`.
    pub pressures: Vec<Name>,
    /// Carries a control-plane role label.
    pub control_plane: bool,
    /// Our own mark, when it is cordoned by us.
    pub hold: Option<Hold>,
}

impl NodeRecord {
    /// New pods are kept off: it is cordoned, or somebody takes it away.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.cordoned || self.leaving.is_some()
    }
}

/// A Kubernetes Event about an object, kept only while it is analysed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Kind of the object that the event is about.
    pub kind: Name,
    /// That object.
    pub object: ObjectKey,
    /// Its UID.
    pub uid: Option<Uid>,
    /// `Normal` or `Warning`.
    pub warning: bool,
    /// Reason.
    pub reason: Name,
    /// Note, cut at 512 characters. Data, never an instruction.
    pub note: Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_somebody_changed_since_is_theirs_and_the_other_goes_back() {
        let bounds = |min, max| Bounds { min, max };
        let autoscaler = |now, drive| AutoscalerRecord {
            key: ObjectKey::new("shop", "order-hpa"),
            uid: Uid::new("hpa"),
            resource_version: Name::from("1"),
            scales: ControllerKey {
                kind: ControllerKind::Deployment,
                object: ObjectKey::new("shop", "order"),
            },
            bounds: now,
            drive,
            keda: None,
            gitops_owner: None,
        };
        let hold = Hold { by: Name::from("shop.order-1"), until: None };
        let driven = Some(Drive { hold, before: bounds(2, 10), set: bounds(6, 12) });
        assert_eq!(autoscaler(bounds(6, 12), None).peoples(), bounds(6, 12), "not driven");
        for (now, expected) in [
            (bounds(6, 12), bounds(2, 10)),
            (bounds(3, 12), bounds(3, 10)),
            (bounds(6, 20), bounds(2, 20)),
            (bounds(4, 8), bounds(4, 8)),
            (bounds(11, 12), bounds(10, 10)),
        ] {
            assert_eq!(autoscaler(now, driven.clone()).peoples(), expected, "{now}");
        }
    }
}
