//! What the executor needs from outside. The cluster crate implements these over the API server, tests over
//! a fake one. Every request is bounded in time by the implementation; a request that ran into that bound
//! says so as *unknown*, never as failed.

use crate::guards::GuardInput;
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::records::{AutoscalerRecord, NodeRecord, Release};
use homeostat_knowledge::{
    ActionId, ActionRecord, ControllerRecord, Name, ObjectKey, Parameters, PodRecord, Restraint,
    SignedDuration, Target, Timestamp, Uid,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;

/// Stores actions. The truth about open actions is in the API server, so it shares fate with what they change.
pub trait Ledger: Send + Sync + 'static {
    /// Stores a new action under its id, with its present state. Returns the stored `resourceVersion`.
    /// An object of that name is never overwritten.
    fn create(&self, record: &ActionRecord) -> impl Future<Output = Result<Name, LedgerStoreError>> + Send;

    /// Stores a new state if, and only if, the stored object still has `record.resource_version`.
    /// Returns the new `resourceVersion`.
    fn update(&self, record: &ActionRecord) -> impl Future<Output = Result<Name, LedgerStoreError>> + Send;

    /// Reads one action uncached, with the approval that a person may have added; `None` when it does not exist.
    fn read(
        &self,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<ActionRecord>, LedgerStoreError>> + Send;
}

/// Why the ledger could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerStoreError {
    /// An action of that id exists.
    #[error("an Action of this name exists already")]
    AlreadyExists,
    /// The stored object has another `resourceVersion`.
    #[error("the Action was changed by somebody else meanwhile")]
    Conflict,
    /// The object does not exist (any more).
    #[error("the Action does not exist")]
    NotFound,
    /// Missing rights, or refused by admission; trying again does not help.
    #[error("the API server refused to store the Action: {0}; check the role of Homeostat's service account")]
    Denied(String),
    /// The API server said no for now (429, 500, 503): nothing was stored.
    #[error("the API server cannot store the Action now: {reason}")]
    Transient {
        /// In words.
        reason: String,
        /// How long the server asked to wait.
        retry_after: Option<SignedDuration>,
    },
    /// No answer in time: it may have been stored.
    #[error("no answer from the API server: {0}")]
    Unknown(String),
}

/// Changes and reads what actions are about. All reads go to the API server, never to a cache.
pub trait Actuator: Send + Sync + 'static {
    /// One write, ready to be sent.
    type Prepared: Send;

    /// The kill switch, read uncached. A missing object is [`KillSwitch::Unreadable`].
    fn kill_switch(&self) -> impl Future<Output = Result<KillSwitch, ReadError>> + Send;

    /// The same read, with the API server's own time in its answer, cut off to whole seconds; `None` when the answer
    /// told none. A replica whose clock is proved to be another one does nothing ([`crate::skew`]).
    fn kill_switch_and_time(
        &self,
    ) -> impl Future<Output = Result<(KillSwitch, Option<Timestamp>), ReadError>> + Send {
        async { Ok((self.kill_switch().await?, None)) }
    }

    /// The target by kind, namespace and name, whatever its UID is now; `None` when nothing has that name.
    fn fresh_target(
        &self,
        target: &Target,
    ) -> impl Future<Output = Result<Option<FreshTarget>, ReadError>> + Send;

    /// The same, with the mark of what an effect with these parameters makes beside its target, under a name that follows
    /// from them.
    fn fresh_for(
        &self,
        target: &Target,
        _parameters: &Parameters,
    ) -> impl Future<Output = Result<Option<FreshTarget>, ReadError>> + Send {
        self.fresh_target(target)
    }

    /// The server-side dry run of the effect. Changes nothing.
    fn dry_run(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Reads everything else that the effect needs and makes the one write that it is, on the condition that the target
    /// still has `target.uid` (and, for changes of an object, `resource_version`, which is the one of the fresh read).
    /// Changes nothing, so it never fails with [`EffectError::Unknown`].
    fn prepare(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        resource_version: &Name,
    ) -> impl Future<Output = Result<Self::Prepared, EffectError>> + Send;

    /// Sends what was prepared: one write and nothing before it, because whatever permits the effect is looked at for
    /// the last time right before this. Never retries by itself.
    fn send(
        &self,
        prepared: Self::Prepared,
    ) -> impl Future<Output = Result<Acknowledged, EffectError>> + Send;
}

/// A read did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Missing rights.
    #[error("not allowed to read: {0}; check the role of Homeostat's service account")]
    Denied(String),
    /// No answer, or not now.
    #[error("cannot be read now: {0}")]
    Unavailable(String),
}

/// What a dry run answered when it did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The API server would refuse the effect.
    #[error("the API server would refuse it: {0}")]
    WouldFail(String),
    /// A `PodDisruptionBudget` would refuse the eviction.
    #[error("a PodDisruptionBudget would refuse it: {0}")]
    BlockedByBudget(String),
    /// Homeostat's service account lacks a right.
    #[error("the service account of Homeostat may not do it: {0}")]
    Forbidden(String),
    /// Something else in the cluster owns what would be changed, e.g. a `HorizontalPodAutoscaler`.
    #[error("owned by somebody else: {0}")]
    Owned(String),
    /// No answer, or not now: nothing is known.
    #[error("the dry run got no answer: {0}")]
    Unavailable(String),
}

/// The API server took the effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// What it answered, for people, e.g. `eviction created`.
    pub message: String,
    /// What it calls the request in its own audit log, when it said so.
    pub audit_id: Option<Name>,
}

/// Why an effect was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// Another object has that name now, or it changed since the fresh read; nothing was changed.
    #[error("the target changed meanwhile: {0}")]
    Conflict(String),
    /// A `PodDisruptionBudget` refuses. That is told, never worked around.
    #[error("a PodDisruptionBudget refuses it: {0}")]
    BlockedByBudget(String),
    /// Missing rights, or refused by admission; nothing was changed.
    #[error("the API server refused the effect: {0}")]
    Denied(String),
    /// Something else in the cluster owns what would be changed; nothing was changed.
    #[error("owned by somebody else: {0}")]
    Owned(String),
    /// The target is gone; nothing was changed.
    #[error("the target does not exist any more")]
    NotFound,
    /// No answer: it may have landed. To be resolved by reading, never by sending again.
    #[error("no answer to the effect: {0}")]
    Unknown(String),
    /// The API server said no for now and changed nothing.
    #[error("the API server cannot take the effect now: {reason}")]
    Transient {
        /// In words.
        reason: String,
        /// How long the server asked to wait.
        retry_after: Option<SignedDuration>,
    },
}

/// The target as the API server has it at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreshTarget {
    /// UID.
    pub uid: Uid,
    /// `resourceVersion`.
    pub resource_version: Name,
    /// Has a deletion timestamp.
    pub deleting: bool,
    /// For pods.
    pub pod: Option<PodRecord>,
    /// For controllers.
    pub controller: Option<ControllerRecord>,
    /// For nodes.
    pub node: Option<NodeRecord>,
    /// For autoscalers.
    pub autoscaler: Option<AutoscalerRecord>,
    /// The pod template's annotation `homeostat.dev/restarted-by`.
    pub restarted_by: Option<Name>,
    /// Marks that we and others left on it.
    pub marks: Marks,
}

/// Marks on an object that only a fresh read shows; snapshots do not keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The annotation `homeostat.dev/rolled-back-by`.
    pub rolled_back_by: Option<Name>,
    /// The annotation "do not touch until", as written.
    pub do_not_touch: Option<Name>,
    /// Its own labels.
    #[serde(default)]
    pub labels: BTreeMap<Name, Name>,
    /// For a failed Job: the action that the Job of its retry name was created by.
    pub retried_by: Option<Name>,
    /// For a `CronJob` of which a Job is made: the action that the Job of that name was created by.
    #[serde(default)]
    pub made_by: Option<Name>,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// Who set the fields that actions change, newest last. From `metadata.managedFields`.
    pub edits: Vec<FieldEdit>,
    /// Requests of each container of a pod.
    pub requests: BTreeMap<Name, Requests>,
}

/// Who set a field, and when (`metadata.managedFields`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldEdit {
    /// Which field.
    pub field: Field,
    /// The field manager's name, e.g. `kubectl-edit`.
    pub manager: Name,
    /// Written through this subresource, e.g. `scale`; empty for the object itself.
    pub subresource: Name,
    /// When it last wrote any of its fields.
    pub at: Option<Timestamp>,
}

/// Fields that actions change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Field {
    /// `spec.replicas`.
    Replicas,
    /// `spec.template`.
    Template,
    /// `spec.suspend`.
    Suspend,
    /// `spec.unschedulable`.
    Unschedulable,
    /// `spec.containers[*].resources`.
    Resources,
    /// `spec.minReplicas` and `spec.maxReplicas`.
    Bounds,
}

impl Field {
    /// Path as people write it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Replicas => "spec.replicas",
            Self::Template => "spec.template",
            Self::Suspend => "spec.suspend",
            Self::Unschedulable => "spec.unschedulable",
            Self::Resources => "spec.containers[*].resources",
            Self::Bounds => "spec.minReplicas and spec.maxReplicas",
        }
    }
}

/// What a container asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// CPU request, in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// CPU limit, in thousandths of a core.
    #[serde(default)]
    pub cpu_limit_millis: Option<u64>,
    /// Memory request, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory limit, in bytes.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
}

/// Who leads. Leading is no mutual exclusion: safety comes from conditional writes; this only keeps the peace.
pub trait Leadership: Send + Sync + 'static {
    /// This replica holds the lease right now.
    fn leads(&self) -> bool;

    /// Waits until this replica does not hold the lease; returns at once when it does not.
    fn lost(&self) -> impl Future<Output = ()> + Send;
}

/// Keeps every input that the guards judged, so that a run can be replayed under other limits.
pub trait Recorder: Send + Sync + 'static {
    /// Keeps one input. Must not block.
    fn record(&self, input: &GuardInput);

    /// Keeps one decision about an action: every stored state, and refusals that are not stored because the same one
    /// was a moment ago. Must not block.
    fn decided(&self, record: &ActionRecord) {
        let _ = record;
    }

    /// Keeps what the API server calls the request that had the effect of an action. Must not block.
    fn acknowledged(&self, record: &ActionRecord, audit_id: &Name) {
        let _ = (record, audit_id);
    }

    /// Keeps that something held was let go. Must not block.
    fn released(&self, release: &Release) {
        let _ = release;
    }

    /// Keeps that a level was lowered or a breaker opened. Must not block.
    fn restrained(&self, restraint: &Restraint) {
        let _ = restraint;
    }
}

/// A recorder that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn record(&self, _input: &GuardInput) {}
}
