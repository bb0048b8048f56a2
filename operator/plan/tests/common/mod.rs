//! A small world to decide in, as data: one workload `order` in the namespace `shop` of the tenant `shop`,
//! beside a healthy workload `kitchen`. Times are seconds before now. The format of the recorded situations.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::enum_variant_names,
    clippy::struct_excessive_bools,
    reason = "the words of the recorded files"
)]

use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, SourceReport, SourceState};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::policy::Archetype;
use homeostat_knowledge::records::{ControllerKey, NodeRecord, OwnerRecord, PodPhase, Termination};
use homeostat_knowledge::*;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One recorded situation with the right answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Situation {
    pub name: String,
    pub label: Label,
    #[serde(default)]
    pub given: Given,
    #[serde(default)]
    pub expect: Expect,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum Label {
    MustAct,
    MustWait,
    MustNotAct,
    MustGiveUp,
}

/// What the answer must look like beyond its label.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    pub action: Option<String>,
    pub target: Option<String>,
    pub step: Option<u32>,
    /// Seconds from now.
    pub until: Option<f64>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Given {
    pub incident: GivenIncident,
    pub workload: GivenWorkload,
    pub pods: Vec<GivenPod>,
    pub actions: Vec<GivenAction>,
    /// Good without a failure since, seconds ago.
    pub good: Option<f64>,
    pub node: GivenNode,
    /// Other incidents.
    pub others: Vec<GivenOther>,
    /// Why the cluster cannot be watched.
    pub blind: Option<String>,
    /// No tenant owns the namespace.
    pub orphan: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenIncident {
    pub kind: String,
    /// `pod NAME`, `workload NAME`, `node NAME`, `external ADDRESS` or `source NAME`.
    pub cause: String,
    /// The pod that the finding is on, where the cause is the workload as a whole.
    pub seen_on: Option<String>,
    /// UID of the pod of the cause; `uid-NAME` when absent.
    pub uid: Option<String>,
    pub confidence: f64,
    pub state: String,
    pub since: f64,
    pub last_seen: f64,
    /// First bad sample of the whole incident; `since` when absent.
    pub impact: Option<f64>,
    /// Evidence stopped.
    pub ended: bool,
    /// `order` unless said otherwise; `none`: no workload.
    pub workload: String,
    pub tenant: String,
}

impl Default for GivenIncident {
    fn default() -> Self {
        Self {
            kind: "Hung".into(),
            cause: "pod order-a".into(),
            seen_on: None,
            uid: None,
            confidence: 0.97,
            state: "Open".into(),
            since: 1.5,
            last_seen: 0.2,
            impact: None,
            ended: false,
            workload: "order".into(),
            tenant: "shop".into(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenWorkload {
    pub target: String,
    pub replicas: i32,
    pub surges: bool,
    pub rolling_out: bool,
    pub paused: bool,
    pub surge_after_crash: bool,
    pub maximum_useless_restarts: u32,
    pub playbooks: Vec<String>,
    pub exists: bool,
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
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenPod {
    pub name: String,
    pub uid: Option<String>,
    pub created: f64,
    pub phase: String,
    pub ready: bool,
    pub deleting: bool,
    pub restarts: u32,
    /// `Running`, `Terminated`, or the reason of `Waiting`.
    pub state: String,
    /// Running since, or ended; `created` when absent.
    pub state_since: Option<f64>,
    /// Start of the run that ended.
    pub started: Option<f64>,
    /// End of the run before.
    pub last_end: Option<f64>,
    pub node: String,
    pub local_data: bool,
    /// Workload that it belongs to.
    pub of: String,
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
            node: "node-1".into(),
            local_data: false,
            of: "order".into(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenAction {
    pub kind: String,
    /// UID of the target.
    pub uid: String,
    pub state: String,
    /// Sent so long ago; absent: never sent.
    pub sent: Option<f64>,
    /// Ended so long ago.
    pub closed: Option<f64>,
    /// Incident that it serves.
    pub incident: String,
    pub of: String,
    pub message: String,
}

impl Default for GivenAction {
    fn default() -> Self {
        Self {
            kind: "EvictPod".into(),
            uid: "uid-before".into(),
            state: "Failed".into(),
            sent: Some(40.0),
            closed: Some(10.0),
            incident: "order-1".into(),
            of: "order".into(),
            message: String::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenNode {
    pub ready: bool,
    pub cordoned: bool,
    pub allocatable_pods: u32,
}

impl Default for GivenNode {
    fn default() -> Self {
        Self { ready: true, cordoned: false, allocatable_pods: 110 }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenOther {
    pub workload: String,
    pub state: String,
}

/// The instant of every decision.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

pub fn ago(seconds: f64) -> Timestamp {
    now().checked_sub(SignedDuration::try_from_secs_f64(seconds).expect("a small number")).expect("in range")
}

pub fn order() -> WorkloadKey {
    ObjectKey::new("shop", "order")
}

impl Given {
    /// The snapshot and the incident of this situation.
    pub fn build(&self) -> (Snapshot, Incident) {
        let mut snapshot = Snapshot::default();
        snapshot.generation = 41;
        let mut commit = |change: ObjectChange| snapshot.commit(&change, now());
        for kind in ObjectKind::REQUIRED {
            commit(ObjectChange::Synced(kind));
        }
        if !self.orphan {
            commit(ObjectChange::Tenant(Change::Applied(Arc::new(tenant()))));
        }
        commit(ObjectChange::Node(Change::Applied(Arc::new(NodeRecord {
            name: "node-1".into(),
            uid: Uid::new("uid-node-1"),
            ready: self.node.ready,
            cordoned: self.node.cordoned,
            zone: None,
            allocatable_pods: self.node.allocatable_pods,
            pressures: Vec::new(),
            control_plane: false,
            hold: None,
        }))));
        let kitchen = GivenWorkload::default();
        for (name, given) in [("order", &self.workload), ("kitchen", &kitchen)] {
            let kind = ControllerKind::from_kind(&given.target);
            commit(ObjectChange::Workload(Change::Applied(Arc::new(policy(name, given, kind)))));
            if given.exists {
                for record in controllers(name, given, kind) {
                    commit(ObjectChange::Controller(Change::Applied(Arc::new(record))));
                }
            }
        }
        let kitchen_pod = GivenPod { name: "kitchen-a".into(), of: "kitchen".into(), ..GivenPod::default() };
        for pod in self.pods.iter().chain([&kitchen_pod]) {
            let kind = if pod.of == "order" { self.workload.target.as_str() } else { "Deployment" };
            commit(ObjectChange::Pod(Change::Applied(Arc::new(pod.record(ControllerKind::from_kind(kind))))));
        }
        for (number, action) in (1..).zip(&self.actions) {
            commit(ObjectChange::Action(Change::Applied(Arc::new(action.record(number)))));
        }
        if let Some(why) = &self.blind {
            let report =
                SourceReport { state: SourceState::Down(why.as_str().into()), accepted: 0, dropped: 0 };
            snapshot.sources.insert_mut("kubernetes".into(), report);
        }
        if let Some(good) = self.good {
            snapshot.health.insert_mut(
                order(),
                WorkloadHealth { good_since: Some(ago(good)), good_calls: 100, ..WorkloadHealth::default() },
            );
        }
        for (number, other) in (1..).zip(&self.others) {
            let mut incident = GivenIncident::default().incident();
            incident.id = IncidentId::new(format!("other-{number}"));
            incident.workload = Some(ObjectKey::new("shop", other.workload.as_str()));
            incident.state = state(&other.state);
            snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
        }
        let incident = self.incident.incident();
        snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident.clone()));
        (snapshot, incident)
    }
}

pub fn tenant() -> TenantPolicy {
    TenantPolicy {
        name: TenantName::new("shop"),
        uid: Uid::new("uid-tenant"),
        generation: 1,
        namespaces: BTreeSet::from(["shop".into()]),
        levels: BTreeMap::new(),
        limits: GuardLimits::default(),
        verification: SignedDuration::from_secs(30),
        freezes: Vec::new(),
        approvers: Vec::new(),
        paused: false,
        do_not_touch_until: None,
    }
}

fn policy(name: &str, given: &GivenWorkload, kind: ControllerKind) -> WorkloadPolicy {
    WorkloadPolicy {
        key: ObjectKey::new("shop", name),
        uid: Uid::new(format!("uid-workload-{name}")),
        generation: 1,
        target: ControllerKey { kind, object: ObjectKey::new("shop", name) },
        archetype: Archetype::Service,
        criticality: 100,
        availability: None,
        latency: None,
        signals: Vec::new(),
        dependencies: Vec::new(),
        playbooks: given.playbooks.iter().map(|name| Name::from(name.as_str())).collect(),
        paused: false,
        do_not_touch_until: None,
        maximum_useless_restarts: given.maximum_useless_restarts,
        surge_after_crash: given.surge_after_crash,
        permits: homeostat_knowledge::policy::Permits::default(),
    }
}

fn controllers(app: &str, given: &GivenWorkload, kind: ControllerKind) -> Vec<ControllerRecord> {
    let record = |kind, name: String, owner| ControllerRecord {
        uid: Uid::new(format!("uid-{kind:?}-{name}")),
        key: ControllerKey { kind, object: ObjectKey::new("shop", name) },
        resource_version: "7".into(),
        generation: 2,
        observed_generation: 2,
        replicas: given.replicas,
        current: given.replicas,
        ready: given.replicas,
        updated: given.replicas - i32::from(given.rolling_out),
        revision: Some("4".into()),
        surges: given.surges,
        paused: given.paused,
        template_labels: BTreeMap::from([("app".into(), app.into())]),
        owner,
        gitops_owner: None,
        finished: None,
        hold: None,
    };
    let top = record(kind, app.to_owned(), None);
    let owner = OwnerRecord { kind, name: app.into(), uid: top.uid.clone() };
    match kind {
        ControllerKind::Deployment => {
            vec![top, record(ControllerKind::ReplicaSet, format!("{app}-rs"), Some(owner))]
        }
        _ => vec![top],
    }
}

impl GivenPod {
    fn uid(&self) -> Uid {
        Uid::new(self.uid.clone().unwrap_or_else(|| format!("uid-{}", self.name)))
    }

    /// The record, owned through a `ReplicaSet` when the workload is a Deployment.
    pub fn record(&self, kind: ControllerKind) -> PodRecord {
        let since = ago(self.state_since.unwrap_or(self.created));
        let end = |at: f64, started: Option<f64>| Termination {
            reason: "Error".into(),
            exit_code: 137,
            started: started.map(ago),
            finished: Some(ago(at)),
        };
        let state = match self.state.as_str() {
            "Running" => ContainerState::Running { since },
            "Terminated" => {
                ContainerState::Terminated(end(self.state_since.unwrap_or(self.created), self.started))
            }
            reason => ContainerState::Waiting { reason: reason.into() },
        };
        let (kind, name) = match kind {
            ControllerKind::Deployment => (ControllerKind::ReplicaSet, format!("{}-rs", self.of)),
            other => (other, self.of.clone()),
        };
        PodRecord {
            key: ObjectKey::new("shop", self.name.as_str()),
            uid: self.uid(),
            resource_version: "9".into(),
            node: Some(self.node.as_str().into()),
            ip: None,
            phase: match self.phase.as_str() {
                "Pending" => PodPhase::Pending,
                "Running" => PodPhase::Running,
                "Succeeded" => PodPhase::Succeeded,
                "Failed" => PodPhase::Failed,
                _ => PodPhase::Unknown,
            },
            owner: Some(OwnerRecord { kind, name: name.as_str().into(), uid: Uid::new("uid-owner") }),
            deleting: self.deleting,
            ready: self.ready,
            unschedulable: None,
            created: ago(self.created),
            template_hash: None,
            local_data: self.local_data,
            containers: vec![ContainerRecord {
                name: "app".into(),
                ready: self.ready,
                restarts: self.restarts,
                state,
                last_termination: self.last_end.map(|at| end(at, None)),
            }],
        }
    }
}

impl GivenAction {
    fn record(&self, number: u32) -> ActionRecord {
        let kind = ActionKind::from_name(&self.kind).expect("a known action");
        let (object_kind, parameters) = match kind {
            ActionKind::RollingRestart => ("Deployment", Parameters::RollingRestart),
            _ => ("Pod", Parameters::EvictPod),
        };
        let sent = self.sent.map(ago);
        ActionRecord {
            id: ActionId::new(format!("{}-{number}", self.incident)),
            namespace: "shop".into(),
            resource_version: "3".into(),
            incident: IncidentId::new(self.incident.as_str()),
            tenant: TenantName::new("shop"),
            workload: ObjectKey::new("shop", self.of.as_str()),
            playbook: PlaybookRef { name: "before".into(), version: 0, step: 1 },
            target: Target {
                api_version: if object_kind == "Pod" { "v1".into() } else { "apps/v1".into() },
                kind: object_kind.into(),
                key: ObjectKey::new("shop", "some"),
                uid: Uid::new(self.uid.as_str()),
                resource_version: "1".into(),
            },
            parameters,
            before: Before::default(),
            epoch: 1,
            evidence: EvidenceRef {
                id: EvidenceId::new("evidence-0"),
                taken_at: sent.unwrap_or_else(|| ago(self.closed.unwrap_or(0.0))),
                summary: String::new(),
            },
            verification: Verification {
                within: SignedDuration::from_secs(30),
                expect: Expectation::ObjectivesMet,
            },
            undo: homeostat_knowledge::plan::Undo::None,
            undo_of: None,
            state: match self.state.as_str() {
                "Proposed" => ActionState::Proposed,
                "AwaitingApproval" => ActionState::AwaitingApproval,
                "Admitted" => ActionState::Admitted,
                "Refused" => ActionState::Refused,
                "Sent" => ActionState::Sent,
                "Verifying" => ActionState::Verifying,
                "Verified" => ActionState::Verified,
                "Failed" => ActionState::Failed,
                "Cancelled" => ActionState::Cancelled,
                other => panic!("{other} is not used here"),
            },
            guards: Vec::new(),
            instants: ActionInstants { sent, closed: self.closed.map(ago), ..ActionInstants::default() },
            outcome: None,
            approval: None,
            message: self.message.clone(),
        }
    }
}

fn state(name: &str) -> IncidentState {
    match name {
        "Open" => IncidentState::Open,
        "Acting" => IncidentState::Acting,
        "Mitigated" => IncidentState::Mitigated,
        "Resolved" => IncidentState::Resolved,
        "HandedOver" => IncidentState::HandedOver,
        other => panic!("no incident state is called {other}"),
    }
}

impl GivenIncident {
    pub fn incident(&self) -> Incident {
        let workload = (self.workload != "none").then(|| ObjectKey::new("shop", self.workload.as_str()));
        let (sort, name) = self.cause.split_once(' ').expect("sort and name");
        let pod = |name: &str| Entity::Pod {
            key: ObjectKey::new("shop", name),
            uid: Uid::new(self.uid.clone().unwrap_or_else(|| format!("uid-{name}"))),
            workload: workload.clone(),
        };
        let entity = match sort {
            "pod" => pod(name),
            "workload" => Entity::Workload { key: ObjectKey::new("shop", name) },
            "node" => Entity::Node { name: name.into() },
            "external" => Entity::External { address: name.into() },
            "source" => Entity::Source { name: name.into() },
            other => panic!("no entity is called {other}"),
        };
        let seen_on = self.seen_on.as_deref().map_or_else(|| entity.clone(), pod);
        let kind = FindingKind::from_name(&self.kind).expect("a known finding");
        let evidence = vec![Evidence::new("calls that failed", "12 of 12 in 0.8 s").usual("0 of 1,000")];
        Incident {
            id: IncidentId::new("order-1"),
            namespace: "shop".into(),
            tenant: (self.tenant != "none").then(|| TenantName::new(self.tenant.as_str())),
            workload: workload.clone(),
            state: state(&self.state),
            severity: Severity::Critical,
            findings: vec![Finding {
                id: FindingId::new("finding-1"),
                entity: seen_on,
                kind,
                since: ago(self.since),
                detected: ago(self.since.min(self.last_seen + 0.1)),
                last_seen: ago(self.last_seen),
                confidence: self.confidence,
                evidence: evidence.clone(),
                active: !self.ended,
            }],
            // The confidence of a cause ranks it; that of its findings says how sure they are.
            causes: vec![Cause { entity, kind, confidence: self.confidence * 0.6, evidence }],
            affected: Vec::new(),
            instants: Instants {
                impact_start: ago(self.impact.unwrap_or(self.since)),
                detected: ago(self.impact.unwrap_or(self.since)),
                acknowledged: None,
                mitigated: None,
                resolved: None,
            },
            timeline: Vec::new(),
            actions: Vec::new(),
            reopen_count: 0,
            evidence: EvidenceId::new("evidence-1"),
            handed_over: (self.state == "HandedOver").then(|| "two restarts did not help".to_owned()),
            acknowledged_by: None,
        }
    }
}
