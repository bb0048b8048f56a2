//! `ControlPlane`: the one object that holds for the whole cluster.

mod ceilings;

pub use ceilings::{
    Ceilings, LaxestBreaker, LeastCooldown, LeastVerification, LongestApproval, MostBudgets, RunCeilings,
    SizeCeilings,
};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ActionKind, Condition, ConditionType, MicroTime, SecretKeyRef,
    common::{CAMEL_CASE, DNS_LABEL, HTTP_URL, LABEL_KEY, LABEL_VALUE},
};

/// The only name a `ControlPlane` can have.
pub const NAME: &str = "default";

/// Conditions that the `ControlPlane` carries.
pub const CONDITIONS: &[ConditionType] = &[
    ConditionType::Ready,
    ConditionType::KillSwitchEngaged,
    ConditionType::WarmedUp,
    ConditionType::KubernetesAvailable,
    ConditionType::PrometheusAvailable,
    ConditionType::OtlpAvailable,
    ConditionType::Storm,
    ConditionType::BreakerOpen,
    ConditionType::ActionsReadable,
];

/// Kill switch, ceilings and telemetry sources of the whole cluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "ControlPlane",
    plural = "controlplanes",
    shortname = "hctl",
    category = "homeostat",
    status = "ControlPlaneStatus",
    derive = "PartialEq",
    doc = "Kill switch, ceilings and telemetry sources of the whole cluster; the one object is named default.",
    validation = Rule::new("self.metadata.name == 'default'").message("there is one ControlPlane, and its name is default"),
    printcolumn(name = "Stopped", type_ = "boolean", json_path = ".spec.killSwitch.engaged", description = "Kill switch"),
    printcolumn(name = "Ceiling", type_ = "string", json_path = ".spec.ceilings.level", description = "Highest level that any Tenant may have"),
    printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.workloads", description = "Workloads under control"),
    printcolumn(name = "Incidents", type_ = "integer", json_path = ".status.openIncidents", description = "Incidents that are not over"),
    printcolumn(name = "Actions", type_ = "integer", json_path = ".status.actionsInFlight", description = "Actions under way"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", description = "Which replica acts", priority = "1"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "Version of the leader", priority = "1"),
    printcolumn(name = "Why", type_ = "string", json_path = ".spec.killSwitch.reason", description = "Reason of the kill switch", priority = "1"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, description = "Whether all is well with this object"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation")
)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneSpec {
    /// Stops every action at once; read from the API server before every effect.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!self.engaged || (has(self.reason) && self.reason.size() > 0)")
        .message("an engaged kill switch needs a reason"))]
    pub kill_switch: KillSwitch,
    /// What no Tenant can exceed.
    #[serde(default)]
    pub ceilings: Ceilings,
    /// After a start nothing is decided for this long, until two detection windows have passed.
    #[serde(default = "warm_up_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub warm_up_seconds: i32,
    /// When failed repairs lower every level to Recommend, until a person resets it.
    #[serde(default)]
    pub breaker: ClusterBreaker,
    /// Evidence older than this leads to no action.
    #[serde(default = "evidence_maximum_age_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub evidence_maximum_age_seconds: i32,
    /// Where telemetry comes from.
    #[serde(default)]
    pub sources: Sources,
    /// How a storm ends.
    #[serde(default)]
    pub storm: Storm,
    /// What no action touches, whatever a Tenant allows; the namespaces of the system and what carries the cluster's DNS and
    /// network never are touched, and need not be listed.
    #[serde(default)]
    pub protected: Protected,
}

const fn warm_up_seconds() -> i32 {
    60
}

const fn evidence_maximum_age_seconds() -> i32 {
    10
}

impl Default for ControlPlaneSpec {
    fn default() -> Self {
        Self {
            kill_switch: KillSwitch::default(),
            ceilings: Ceilings::default(),
            warm_up_seconds: warm_up_seconds(),
            breaker: ClusterBreaker::default(),
            evidence_maximum_age_seconds: evidence_maximum_age_seconds(),
            sources: Sources::default(),
            storm: Storm::default(),
            protected: Protected::default(),
        }
    }
}

/// What no action touches: for example storage, or the end points of admission webhooks that run among other workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct Protected {
    /// Namespaces in which nothing is touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = DNS_LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// Labels of pods, as their templates set them: what has one of these is not touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub labels: Vec<ProtectedLabel>,
}

/// A label of what no action touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProtectedLabel {
    /// Its key.
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_KEY))]
    pub key: String,
    /// Its value. Unset: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = LABEL_VALUE))]
    pub value: Option<String>,
}

/// Stops every action at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct KillSwitch {
    /// Whether everything is stopped.
    #[serde(default)]
    pub engaged: bool,
    /// Why; required when engaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
}

/// When so many repairs failed in the cluster that none is done until a person resets it (`homeostat resume --breaker`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterBreaker {
    /// Actions within 15 minutes whose effect did not help.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(rename = "failedVerificationsPer15Minutes")]
    pub failed_verifications_per_15_minutes: i32,
}

impl Default for ClusterBreaker {
    fn default() -> Self {
        Self { failed_verifications_per_15_minutes: 3 }
    }
}

/// How a storm ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Storm {
    /// Calm for this long, then actions are possible again.
    #[schemars(range(min = 1, max = 86_400))]
    pub calm_seconds: i32,
}

impl Default for Storm {
    fn default() -> Self {
        Self { calm_seconds: 600 }
    }
}

/// Where telemetry comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct Sources {
    /// A Prometheus to query for the signals that Workloads name. Unset: none is queried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSource>,
    /// Not used in this version: the arguments of the program say where telemetry is received.
    #[serde(default)]
    pub otlp: OtlpSource,
}

/// A Prometheus to query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.timeoutSeconds <= self.intervalSeconds")
    .message("timeoutSeconds must not exceed intervalSeconds"))]
pub struct PrometheusSource {
    /// Address of the API, without `/api/v1`.
    #[schemars(length(min = 8, max = 1024), regex(pattern = HTTP_URL))]
    pub url: String,
    /// Time between two queries of one signal.
    #[serde(default = "interval_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: i32,
    /// A query that takes longer is given up.
    #[serde(default = "timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: i32,
    /// A bearer token. Unset: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_from: Option<TokenSource>,
}

const fn interval_seconds() -> i32 {
    15
}

const fn timeout_seconds() -> i32 {
    5
}

/// Where a token comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenSource {
    /// A key of a Secret in the namespace that Homeostat is installed in.
    pub secret_key_ref: SecretKeyRef,
}

/// Not used in this version: the arguments of the program say where telemetry is received. An empty text switches that protocol
/// off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OtlpSource {
    /// Address for gRPC: host and port, the host may be empty.
    #[schemars(length(max = 261), regex(pattern = "^([^ ]*:[0-9]{1,5})?$"))]
    pub grpc: String,
    /// Address for HTTP: host and port, the host may be empty.
    #[schemars(length(max = 261), regex(pattern = "^([^ ]*:[0-9]{1,5})?$"))]
    pub http: String,
}

impl Default for OtlpSource {
    fn default() -> Self {
        Self { grpc: ":4317".to_owned(), http: ":4318".to_owned() }
    }
}

/// What Homeostat says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct ControlPlaneStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Which replica acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub leader: Option<String>,
    /// Version of the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Since when the leader leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leading_since: Option<MicroTime>,
    /// Tenants under control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub tenants: Option<i32>,
    /// Workloads under control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub workloads: Option<i32>,
    /// Incidents that are not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub open_incidents: Option<i32>,
    /// Actions under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub actions_in_flight: Option<i32>,
    /// Since when the breaker keeps every repair from being done; a person resets it with the annotation
    /// homeostat.dev/breaker-reset-at. Unset while it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_open_since: Option<MicroTime>,
    /// What the kill switch leaves half done, with the command that mends each; empty while it is off. What has to be mended
    /// comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub half_done: Vec<HalfDone>,
    /// How many more are half done than are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub half_done_more: Option<i32>,
    /// Health of every source of telemetry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sources: Vec<SourceStatus>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Changes that [`ControlPlaneStatus::half_done`] lists at most.
pub const HALF_DONE: usize = 50;

/// How far a change came that is half done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HalfDoneState {
    /// It may have been sent; nobody knows yet.
    Claimed,
    /// It was sent.
    Sent,
    /// It is there, and whether it helps is not known yet.
    Verifying,
    /// It did not help, and the kill switch kept it from being taken back.
    NotTakenBack,
    /// It is held, and nothing releases it meanwhile.
    Held,
}

/// One change that the kill switch leaves half done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HalfDone {
    /// Name of the Action that did it, or that holds it.
    #[schemars(length(max = 253))]
    pub action: String,
    /// What sort of action.
    pub kind: ActionKind,
    /// Kind, namespace and name of the object that it changed.
    #[schemars(length(max = 512))]
    pub target: String,
    /// How far it came.
    pub state: HalfDoneState,
    /// What the command does, or why nothing has to be mended.
    #[schemars(length(max = 512))]
    pub advice: String,
    /// The command that mends it, or that only looks where nothing has to be mended. It names absolute values: where the
    /// change never came, it changes nothing.
    #[schemars(length(max = 2048))]
    pub command: String,
}

/// Whether a source delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SourceState {
    /// Delivers.
    Available,
    /// Does not deliver, or too late.
    Unavailable,
    /// Not configured.
    NotConfigured,
    /// Not tried yet.
    Unknown,
}

/// Health of one source of telemetry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Kubernetes, Prometheus or Otlp.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub name: String,
    /// Whether it delivers.
    pub state: SourceState,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// When the state last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<MicroTime>,
}
