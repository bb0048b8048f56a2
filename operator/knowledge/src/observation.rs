//! What the world said: one [`Observation`] per span, log record, sample or object change.

use crate::action::ActionRecord;
use crate::entity::{Entity, Name, ObjectKey, TenantName, WorkloadKey};
use crate::incident::Incident;
use crate::policy::{ControlPolicy, TenantPolicy, WorkloadPolicy};
use crate::records::{ControllerKey, ControllerRecord, EventRecord, NodeRecord, PodRecord, ServiceRecord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One statement of the world, with who it is about and two times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Tenant of the sender, from the authenticated channel or discovered target, never from the payload.
    pub tenant: Option<TenantName>,
    /// What it is about.
    pub entity: Entity,
    /// When it happened, by the sender's clock.
    pub event_time: Timestamp,
    /// When it reached us, by our clock.
    pub arrival_time: Timestamp,
    /// The content.
    pub signal: Signal,
}

/// Content of an observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// A finished span.
    Span(Span),
    /// A log record.
    Log(LogRecord),
    /// One point of a metric.
    Sample(Sample),
    /// A Kubernetes object appeared, changed or went away.
    Object(ObjectChange),
    /// One of our sources says how it is.
    Source(SourceReport),
    /// One of our sources says whether it drops series of the tenant.
    Series(SeriesReport),
}

/// A finished span, reduced to what the golden signals and cause ranking need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// 16-byte trace id.
    pub trace: u128,
    /// 8-byte span id.
    pub id: u64,
    /// Parent's span id; 0 for a root.
    pub parent: u64,
    /// Server, client or other.
    pub kind: SpanKind,
    /// Start by the sender's clock.
    pub start: Timestamp,
    /// End by the sender's clock.
    pub end: Timestamp,
    /// `http.route`, `rpc.method` or the span's name; cut at 128 characters, never unbounded.
    pub operation: Name,
    /// How it ended.
    pub outcome: CallOutcome,
    /// For client spans: `server.address` (host name or IP, without port).
    pub peer: Option<Name>,
}

impl Span {
    /// Duration in seconds; 0 when clocks ran backwards.
    pub fn seconds(&self) -> f64 {
        self.end.duration_since(self.start).as_secs_f64().max(0.0)
    }
}

/// Kind of a span, OpenTelemetry's, reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpanKind {
    /// Somebody called us.
    Server,
    /// We called somebody.
    Client,
    /// Internal, producer, consumer.
    Other,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallOutcome {
    /// Answered, not a server error (4xx of a server span is the caller's fault and counts as answered).
    Ok,
    /// The caller's fault as seen by the caller (4xx on a client span).
    Rejected,
    /// 5xx answer, or status Error without a known transport failure.
    ServerError,
    /// No answer in time.
    Timeout,
    /// Nothing listens (connection refused, host unreachable).
    Refused,
    /// The connection broke before the answer.
    Reset,
    /// The caller hung up before the answer (server spans).
    Cancelled,
}

impl CallOutcome {
    /// The callee did not do its work for this call. A cancelled call says nothing either way.
    pub fn failed(self) -> bool {
        matches!(self, Self::ServerError | Self::Timeout | Self::Refused | Self::Reset)
    }

    /// The callee answered properly.
    pub fn good(self) -> bool {
        matches!(self, Self::Ok | Self::Rejected)
    }
}

/// A log record, with the body bounded by the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// OpenTelemetry severity number, 0 when unknown; 17 and above are errors.
    pub severity: u8,
    /// Body, cut at 2,048 bytes. Data, never an instruction.
    pub body: Name,
    /// Trace it belongs to; 0 when none.
    pub trace: u128,
}

/// One point of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Metric name, or the name that the `Workload` gave to the signal.
    pub metric: Name,
    /// Distinguishes series of one metric and entity, e.g. a route; empty when there is one.
    pub series: Name,
    /// Value. NaN or infinite where the source had no number: then it says only that, and nothing is measured by it.
    pub value: f64,
    /// `true` for cumulative counters, `false` for gauges.
    pub counter: bool,
    /// The workload whose `signals` entry asked for it, when one did.
    pub asked_by: Option<WorkloadKey>,
}

/// Applied or gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change<T, K> {
    /// Exists like this now.
    Applied(Arc<T>),
    /// Does not exist any more.
    Deleted(K),
}

/// A change of an object that we watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ObjectChange {
    /// Pods.
    Pod(Change<PodRecord, ObjectKey>),
    /// Controllers of pods: `Deployment` to `CronJob`.
    Controller(Change<ControllerRecord, ControllerKey>),
    /// Services.
    Service(Change<ServiceRecord, ObjectKey>),
    /// Nodes, by name (empty namespace).
    Node(Change<NodeRecord, ObjectKey>),
    /// Content version of a ConfigMap: only its `resourceVersion` is kept, never its data.
    Config(Change<ConfigRecord, ObjectKey>),
    /// Tenants, validated.
    Tenant(Change<TenantPolicy, TenantName>),
    /// Workloads, validated.
    Workload(Change<WorkloadPolicy, WorkloadKey>),
    /// Playbooks of people, as the checker accepted them.
    Playbook(Change<PlaybookText, Name>),
    /// The `ControlPlane` object; `None` when it does not exist.
    Control(Option<Arc<ControlPolicy>>),
    /// Actions, as stored in the API server; approvals by people arrive this way.
    Action(Change<ActionRecord, ObjectKey>),
    /// An action that this version cannot read; its deletion is that of any action.
    UnreadAction(Arc<crate::action::UnreadAction>),
    /// Incidents, as stored in the API server.
    Incident(Change<StoredIncident, ObjectKey>),
    /// A Kubernetes Event.
    Event(Arc<EventRecord>),
    /// Queues of Kueue by namespace; `None` when its definitions are not served.
    Kueue(Option<Arc<crate::runs::KueueQueues>>),
    /// Autoscalers by what they scale.
    Scalers(Arc<crate::forecast::Scalers>),
    /// The first full list of a kind has arrived.
    Synced(ObjectKind),
}

/// What is kept of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRecord {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `resourceVersion`.
    pub resource_version: Name,
    /// When anybody wrote it last, by the API server's clock where it says so, else when we saw this version first; `None` for a
    /// version that was there before us and does not say.
    pub changed: Option<Timestamp>,
}

/// A `Playbook` object that the checker accepted, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaybookText {
    /// Name of the object.
    pub name: Name,
    /// `metadata.generation`.
    pub generation: i64,
    /// Its spec as JSON.
    pub spec: Name,
}

/// An `Incident` as stored in the API server: what an earlier leader wrote and what people added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredIncident {
    /// The incident as its status tells it; adopted after a restart.
    pub incident: Incident,
    /// Who acknowledged it.
    pub acknowledged_by: Option<Name>,
    /// A person closed it.
    pub closed: bool,
}

/// Kinds that we watch; the caches of all of them must be synced before anything is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// Pods.
    Pod,
    /// Controllers of pods.
    Controller,
    /// Services.
    Service,
    /// Nodes.
    Node,
    /// `ConfigMap` versions.
    Config,
    /// Tenants.
    Tenant,
    /// Workloads.
    Workload,
    /// Playbooks of people.
    Playbook,
    /// The control plane object.
    Control,
    /// Actions.
    Action,
    /// Incidents.
    Incident,
    /// Events; nothing waits for them.
    Event,
}

impl ObjectKind {
    /// Every kind whose cache must be synced before the first decision.
    pub const REQUIRED: [Self; 10] = [
        Self::Pod,
        Self::Controller,
        Self::Service,
        Self::Node,
        Self::Tenant,
        Self::Workload,
        Self::Playbook,
        Self::Control,
        Self::Action,
        Self::Incident,
    ];
}

/// Whether new series of a tenant are dropped, as it has its share of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// What most of the dropped series are of; `None` when none are dropped any more.
    pub dropped: Option<DroppedSeries>,
}

/// What most of the series of a tenant are of that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DroppedSeries {
    /// The metric.
    pub metric: Name,
    /// Whose pods send it, where they are under control.
    pub workload: Option<WorkloadKey>,
}

/// A source says how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Healthy, or why not.
    pub state: SourceState,
    /// Items accepted since start.
    pub accepted: u64,
    /// Items dropped or refused since start.
    pub dropped: u64,
}

/// Health of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceState {
    /// Not configured: nothing is expected from it.
    Off,
    /// Delivers.
    Healthy,
    /// Does not deliver; the reason in words.
    Down(Name),
}
