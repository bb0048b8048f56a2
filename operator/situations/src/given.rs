//! The fields of a situation: one workload `order` in the namespace `shop` of the tenant `shop`, beside a healthy
//! workload `stock`. Times are seconds before now. Everything that is usual is the default.

#![allow(clippy::struct_excessive_bools, reason = "the words of the recorded files")]

use crate::words;
use homeostat_knowledge::policy::Allowance;
use homeostat_knowledge::{ActionKind, Level};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One recorded situation with the right answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Situation {
    /// What it is, in a few words.
    pub name: String,
    /// The right answer.
    pub label: Label,
    /// What was known.
    #[serde(default)]
    pub given: Given,
    /// What the answer must look like beyond its label.
    #[serde(default)]
    pub expect: Expect,
}

/// The right answer.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub enum Label {
    /// Do it, without a person.
    MustAct,
    /// Propose it to a person who approves.
    MustAsk,
    /// Only say what would be done: the level allows no more.
    MustRecommend,
    /// Not yet: something is under way, or it is too early.
    MustWait,
    /// Nothing, or not now.
    MustNotAct,
    /// People take over.
    MustGiveUp,
    /// It would be planned, and a guard or the checker stops it.
    MustRefuse,
}

impl Label {
    /// An action is the right answer, alone or after a person approved.
    pub fn acts(self) -> bool {
        matches!(self, Self::MustAct | Self::MustAsk)
    }

    /// As written in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::MustAct => "mustAct",
            Self::MustAsk => "mustAsk",
            Self::MustRecommend => "mustRecommend",
            Self::MustWait => "mustWait",
            Self::MustNotAct => "mustNotAct",
            Self::MustGiveUp => "mustGiveUp",
            Self::MustRefuse => "mustRefuse",
        }
    }
}

/// What the answer must look like beyond its label.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// Kind of the action.
    pub action: Option<String>,
    /// Name of the object that it is done to.
    pub target: Option<String>,
    /// Step of the ladder, from 1.
    pub step: Option<u32>,
    /// Seconds from now until it asks again.
    pub until: Option<f64>,
    /// A part of the reason.
    pub reason: Option<String>,
    /// The guard that refuses; `Checker` for the checker.
    pub guard: Option<String>,
    /// The playbook that is followed.
    pub playbook: Option<String>,
}

/// What was known at the instant of the decision.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Given {
    /// What is wrong.
    #[serde(deserialize_with = "words::read_or_default")]
    pub incident: GivenIncident,
    /// The workload `order`: its policy and what it targets.
    #[serde(deserialize_with = "words::read_or_default")]
    pub workload: GivenWorkload,
    /// Pods; those of `stock` are there without being named.
    #[serde(deserialize_with = "words::read_or_default")]
    pub pods: Vec<GivenPod>,
    /// Jobs of the workload; absent: the one that the incident speaks of.
    pub jobs: Option<Vec<GivenJob>>,
    /// Actions of the last day, oldest first.
    #[serde(deserialize_with = "words::read_or_default")]
    pub actions: Vec<GivenAction>,
    /// Good without a failure since, seconds ago.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub good: Option<f64>,
    /// What the incident says is coming, as decided last; absent: nothing is known of the time that is left.
    pub ahead: Option<GivenAhead>,
    /// The node `node-1`.
    #[serde(deserialize_with = "words::read_or_default")]
    pub node: GivenNode,
    /// Other incidents.
    #[serde(deserialize_with = "words::read_or_default")]
    pub others: Vec<GivenOther>,
    /// Why the cluster cannot be watched.
    pub blind: Option<String>,
    /// No tenant owns the namespace.
    pub orphan: bool,
    /// The tenant's policy.
    #[serde(deserialize_with = "words::read_or_default")]
    pub tenant: GivenTenant,
    /// The control plane and its surroundings.
    #[serde(deserialize_with = "words::read_or_default")]
    pub cluster: GivenCluster,
}

/// The incident with one finding and one cause.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenIncident {
    /// Kind of the finding and of the first-ranked cause.
    #[serde(deserialize_with = "words::read_finding")]
    pub kind: String,
    /// `pod NAME`, `workload NAME`, `node NAME`, `external ADDRESS` or `source NAME`.
    #[serde(deserialize_with = "words::read_cause")]
    pub cause: String,
    /// The pod that the finding is on, where the cause is the workload as a whole.
    pub seen_on: Option<String>,
    /// UID of the pod of the cause; `uid-NAME` when absent.
    pub uid: Option<String>,
    /// A second active finding on the workload.
    #[serde(deserialize_with = "words::read_some_finding")]
    pub also: Option<String>,
    /// How sure the finding is, 0 to 1.
    pub confidence: f64,
    /// `Open`, `Acting`, `Mitigated`, `Resolved` or `HandedOver`.
    #[serde(deserialize_with = "words::read_incident_state")]
    pub state: String,
    /// First bad sample of the finding.
    #[serde(deserialize_with = "words::read_seconds")]
    pub since: f64,
    /// Last time that the evidence was renewed.
    #[serde(deserialize_with = "words::read_seconds")]
    pub last_seen: f64,
    /// First bad sample of the whole incident; `since` when absent.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub impact: Option<f64>,
    /// The evidence stopped.
    pub ended: bool,
    /// Workload that it is about; `none`: no workload.
    pub workload: String,
    /// Tenant that it belongs to; `none`: no tenant.
    pub tenant: String,
    /// Times that it came back after it was mitigated.
    pub reopened: u32,
}

impl Default for GivenIncident {
    fn default() -> Self {
        Self {
            kind: "Hung".into(),
            cause: "pod order-a".into(),
            seen_on: None,
            uid: None,
            also: None,
            confidence: 0.97,
            state: "Open".into(),
            since: 1.5,
            last_seen: 0.2,
            impact: None,
            ended: false,
            workload: "order".into(),
            tenant: "shop".into(),
            reopened: 0,
        }
    }
}

/// A workload: its policy and its controller.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenWorkload {
    /// Kind of the controller.
    #[serde(deserialize_with = "words::read_controller")]
    pub target: String,
    /// Desired replicas.
    #[serde(deserialize_with = "words::read_replicas")]
    pub replicas: i32,
    /// Its rollout makes the new pod before the old one goes.
    pub surges: bool,
    /// A rollout is under way.
    pub rolling_out: bool,
    /// The rollout is paused.
    pub paused: bool,
    /// `spec.restart.surgeAfterCrash` of the `Workload`.
    pub surge_after_crash: bool,
    /// Restarts that may be useless within one incident.
    pub maximum_useless_restarts: u32,
    /// Playbooks that its people allow; empty: all.
    pub playbooks: Vec<String>,
    /// The controller exists.
    pub exists: bool,
    /// A person paused automation for the workload.
    pub held: bool,
    /// A person asked not to touch it for so many seconds from now.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub do_not_touch: Option<f64>,
    /// The GitOps tool that owns its spec, or the autoscaler that owns its size.
    pub gitops: Option<String>,
    /// What its people explicitly allow.
    pub allow: Vec<Allowance>,
    /// Its runs may be repeated.
    pub repeatable: bool,
    /// Least and most replicas.
    pub bounds: Option<[u64; 2]>,
    /// Least and most memory of a container, MiB.
    pub memory_bounds: Option<[u64; 2]>,
    /// Labels of its pods beside `app`.
    pub labels: BTreeMap<String, String>,
    /// `ConfigMap`s that its pods read, and how long ago each was written.
    pub configs: BTreeMap<String, Written>,
    /// How long ago a Job that is nobody's run began in its namespace; absent: there was none.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub job_ran: Option<f64>,
}

impl Default for GivenWorkload {
    fn default() -> Self {
        Self {
            target: "Deployment".into(),
            replicas: 1,
            surges: true,
            rolling_out: false,
            paused: false,
            surge_after_crash: true,
            maximum_useless_restarts: 2,
            playbooks: Vec::new(),
            exists: true,
            held: false,
            do_not_touch: None,
            gitops: None,
            allow: Vec::new(),
            repeatable: false,
            bounds: None,
            memory_bounds: None,
            labels: BTreeMap::new(),
            configs: BTreeMap::new(),
            job_ran: None,
        }
    }
}

/// When a `ConfigMap` was written last.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum Written {
    /// So many seconds ago.
    Ago(f64),
    /// It is not known.
    Unknown(NotKnown),
}

/// The word for what is not known.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotKnown {
    /// `unknown`.
    Unknown,
}

/// One pod with one container.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenPod {
    /// Name.
    pub name: String,
    /// UID; `uid-NAME` when absent.
    pub uid: Option<String>,
    /// Made so long ago.
    #[serde(deserialize_with = "words::read_seconds")]
    pub created: f64,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(deserialize_with = "words::read_phase")]
    pub phase: String,
    /// Ready by its probe.
    pub ready: bool,
    /// On its way out.
    pub deleting: bool,
    /// Restarts by the kubelet.
    pub restarts: u32,
    /// `Running`, `Terminated`, or the reason of `Waiting`.
    pub state: String,
    /// Running since, or ended; `created` when absent.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub state_since: Option<f64>,
    /// Start of the run that ended.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub started: Option<f64>,
    /// End of the run before.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub last_end: Option<f64>,
    /// Why its container ended, e.g. `OOMKilled`.
    pub reason: String,
    /// Exit code of its container's ends.
    pub exit_code: i32,
    /// Memory request and limit of its container, MiB; absent: none.
    pub memory: Option<[u64; 2]>,
    /// Node that it runs on; null: none yet.
    pub node: Option<String>,
    /// Keeps data that goes with it.
    pub local_data: bool,
    /// Workload that it belongs to.
    pub of: String,
    /// Belongs to the release before the present one.
    pub old_release: bool,
    /// Nothing controls it.
    pub bare: bool,
}

impl Default for GivenPod {
    fn default() -> Self {
        Self {
            name: "order-a".into(),
            uid: None,
            created: 3600.0,
            phase: "Running".into(),
            ready: true,
            deleting: false,
            restarts: 0,
            state: "Running".into(),
            state_since: None,
            started: None,
            last_end: None,
            reason: "Error".into(),
            exit_code: 137,
            memory: None,
            node: Some("node-1".into()),
            local_data: false,
            of: "order".into(),
            old_release: false,
            bare: false,
        }
    }
}

/// One Job of the workload (of its `CronJob`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenJob {
    /// Name.
    pub name: String,
    /// `true`: it failed; `false`: it completed; absent: it runs.
    #[serde(default)]
    pub failed: Option<bool>,
}

/// One action of the last day.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenAction {
    /// Kind: of an action that an incident may have.
    #[serde(deserialize_with = "words::read_past_action")]
    pub kind: String,
    /// UID of the target. Empty: `uid-before` of a pod that was replaced, of another the one that the finding is on; else that
    /// of what the workload targets, of its last failed run, or of the node.
    pub uid: String,
    /// State of the action.
    #[serde(deserialize_with = "words::read_action_state")]
    pub state: String,
    /// Sent so long ago; null: never sent.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub sent: Option<f64>,
    /// Ended so long ago; null: it has not ended.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub closed: Option<f64>,
    /// Incident that it serves.
    pub incident: String,
    /// Workload that it serves.
    pub of: String,
    /// What it said last.
    pub message: String,
}

impl Default for GivenAction {
    fn default() -> Self {
        Self {
            kind: "EvictPod".into(),
            uid: String::new(),
            state: "Failed".into(),
            sent: Some(40.0),
            closed: Some(10.0),
            incident: "order-1".into(),
            of: "order".into(),
            message: String::new(),
        }
    }
}

/// What is coming.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GivenAhead {
    /// Seconds until then at the earliest.
    #[serde(deserialize_with = "words::read_seconds")]
    pub left: f64,
    /// Seconds for which a quieter minute is waited for; absent: now is the minute.
    #[serde(deserialize_with = "words::read_some_seconds")]
    pub wait: Option<f64>,
    /// Decided so long ago.
    #[serde(deserialize_with = "words::read_seconds")]
    pub decided: f64,
}

/// The node `node-1`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenNode {
    /// Ready.
    pub ready: bool,
    /// Takes no new pods.
    pub cordoned: bool,
    /// Who takes it away, as its taints tell.
    pub leaving: Option<String>,
    /// Pods that it takes at most.
    pub allocatable_pods: u32,
    /// Pressures that it reports, e.g. `DiskPressure`.
    pub pressures: Vec<String>,
    /// Belongs to the control plane.
    pub control_plane: bool,
    /// The cordon is Homeostat's own.
    pub own_cordon: bool,
    /// Further healthy nodes.
    #[serde(deserialize_with = "words::read_count")]
    pub others: u32,
}

impl Default for GivenNode {
    fn default() -> Self {
        Self {
            ready: true,
            cordoned: false,
            leaving: None,
            allocatable_pods: 110,
            pressures: Vec::new(),
            control_plane: false,
            own_cordon: false,
            others: 19,
        }
    }
}

/// Another incident.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenOther {
    /// Workload that it is about.
    pub workload: String,
    /// Its state.
    #[serde(deserialize_with = "words::read_incident_state")]
    pub state: String,
}

/// The tenant's policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenTenant {
    /// Level of every action that `levels` does not name.
    pub level: Level,
    /// Levels by action.
    pub levels: BTreeMap<ActionKind, Level>,
    /// A person paused automation.
    pub paused: bool,
    /// A freeze window is open.
    pub frozen: bool,
    /// Workloads that it has, with `order` and `stock`.
    #[serde(deserialize_with = "words::read_count")]
    pub workloads: u32,
    /// Actions per workload and hour; the shipped limit when absent.
    pub per_workload_hour: Option<u32>,
    /// Actions per hour; the shipped limit when absent.
    pub per_hour: Option<u32>,
    /// Namespace that everything lies in.
    pub namespace: Option<String>,
    /// The level of node actions of the platform tenant; absent: there is no platform tenant.
    pub platform: Option<Level>,
}

impl Default for GivenTenant {
    fn default() -> Self {
        Self {
            level: Level::ActFull,
            levels: BTreeMap::new(),
            paused: false,
            frozen: false,
            workloads: 20,
            per_workload_hour: None,
            per_hour: None,
            namespace: None,
            platform: None,
        }
    }
}

/// The control plane and its surroundings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenCluster {
    /// Ceiling of every tenant's level.
    pub ceiling: Level,
    /// `Released`, `Engaged` or `Unreadable`.
    pub kill_switch: Switch,
    /// This replica holds the lease.
    pub leads: bool,
    /// Every kind is listed since, seconds ago.
    #[serde(deserialize_with = "words::read_seconds")]
    pub warm: f64,
    /// What spans say comes from a source that is `Up`, `Down`, `Unset` or of which nothing is known (`Unknown`).
    pub spans: Reach,
    /// The same for queried metrics.
    pub metrics: Reach,
    /// What the API server says to a dry run: `Accepts`, `Refuses` or `Silent`.
    pub dry_run: Answer,
    /// The fresh read shows what was decided on (`Accepts`), something else (`Refuses`), or nothing (`Silent`).
    pub fresh: Answer,
    /// An invariant was found broken.
    pub breach: bool,
    /// Node that Homeostat itself runs on.
    pub runs_on: String,
}

impl Default for GivenCluster {
    fn default() -> Self {
        Self {
            ceiling: Level::ActFull,
            kill_switch: Switch::Released,
            leads: true,
            warm: 3600.0,
            spans: Reach::Up,
            metrics: Reach::Up,
            dry_run: Answer::Accepts,
            fresh: Answer::Accepts,
            breach: false,
            runs_on: "node-2".into(),
        }
    }
}

/// The kill switch.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Switch {
    /// Not pulled.
    Released,
    /// Pulled.
    Engaged,
    /// Nobody knows.
    Unreadable,
}

/// State of a source.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Reach {
    /// Delivers.
    Up,
    /// Does not deliver.
    Down,
    /// Not configured.
    Unset,
    /// Reports nothing about itself.
    Unknown,
}

/// What the API server answers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Answer {
    /// It would do it; it is as decided on.
    Accepts,
    /// It refuses; it is something else.
    Refuses,
    /// No answer.
    Silent,
}
