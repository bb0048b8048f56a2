//! A small world made from the fields of a situation: snapshot and incident, as the loop would hold them.

use crate::given::{
    Given, GivenIncident, GivenJob, GivenNode, GivenPod, GivenTenant, GivenWorkload, Reach, Switch, Written,
};
use crate::words;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{
    Change, ConfigRecord, ObjectChange, ObjectKind, SourceReport, SourceState,
};
use homeostat_knowledge::policy::{Bounds, Freeze, KillSwitch, PLATFORM_TENANT, Permits};
use homeostat_knowledge::records::{
    AutoscalerRecord, ControllerKey, Hold, JobEnd, Memory, NodeRecord, OwnerRecord, PodPhase, ReleaseRecord,
    Termination,
};
use homeostat_knowledge::{
    ActionKind, Ahead, Cause, ContainerRecord, ContainerState, ControlPolicy, ControllerKind,
    ControllerRecord, Entity, Evidence, EvidenceId, Finding, FindingId, FindingKind, Incident, IncidentId,
    IncidentState, Instants, Level, Name, ObjectKey, PodRecord, Severity, SignedDuration, Snapshot,
    TenantName, TenantPolicy, Timestamp, Uid, WorkloadHealth, WorkloadKey, WorkloadPolicy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespace that Homeostat runs in.
pub const HOME: &str = "homeostat-system";
/// Namespace of everything that says nothing else.
pub(crate) const SHOP: &str = "shop";

/// The instant of every decision.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap_or_default()
}

/// So many seconds before [`now`]; [`now`] itself for what is no time.
pub fn ago(seconds: f64) -> Timestamp {
    let span = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    now().checked_sub(span).unwrap_or_else(|_| now())
}

/// The workload that incidents are about when they say nothing else.
pub fn order() -> WorkloadKey {
    ObjectKey::new(SHOP, "order")
}

/// The tenant as it is when nothing is said about it: recommends only.
pub fn tenant() -> TenantPolicy {
    TenantPolicy::new(TenantName::new(SHOP), Uid::new("uid-tenant"), [Name::from(SHOP)])
}

impl Given {
    /// The snapshot and the incident of this situation. Names of the situation mean objects in its namespace.
    pub fn build(&self) -> (Snapshot, Incident) {
        let mut snapshot = Snapshot::default();
        snapshot.generation = 41;
        let space = self.tenant.namespace.as_deref().unwrap_or(SHOP);
        let mut commit = |change: ObjectChange| snapshot.commit(&change, ago(self.cluster.warm));
        for kind in ObjectKind::REQUIRED {
            commit(ObjectChange::Synced(kind));
        }
        commit(ObjectChange::Control(Some(Arc::new(ControlPolicy {
            kill_switch: self.switch(),
            ceiling: self.cluster.ceiling,
            ..ControlPolicy::default()
        }))));
        // An incident belongs to the tenant that owns the namespace of its workload; one of a node alone to none.
        let of_workload = self.incident.workload != "none" && !self.incident.cause.starts_with("node ");
        let owned = self.incident.tenant != "none" || !of_workload;
        if !self.orphan && owned {
            commit(ObjectChange::Tenant(Change::Applied(Arc::new(self.tenant.policy(space)))));
        }
        if let Some(level) = self.tenant.platform {
            commit(ObjectChange::Tenant(Change::Applied(Arc::new(platform(level)))));
        }
        commit(ObjectChange::Node(Change::Applied(Arc::new(self.node.record()))));
        for number in 0..self.node.others {
            let mut other = GivenNode::default().record();
            other.name = Name::from(format!("node-{}", number + 2));
            other.uid = Uid::new(format!("uid-{}", other.name));
            commit(ObjectChange::Node(Change::Applied(Arc::new(other))));
        }
        let usual = GivenWorkload::default();
        for (name, given) in [("order", &self.workload), ("stock", &usual)] {
            let kind = ControllerKind::from_kind(&given.target);
            commit(ObjectChange::Workload(Change::Applied(Arc::new(policy(space, name, given, kind)))));
            if given.exists {
                let old = self.pods.iter().any(|pod| pod.of == name && pod.old_release);
                let ready = self.ready(name, given.replicas);
                for record in controllers(space, name, given, kind, old) {
                    let record = ControllerRecord { ready, ..record };
                    commit(ObjectChange::Controller(Change::Applied(Arc::new(record))));
                }
                beside(space, given).into_iter().for_each(&mut commit);
            }
        }
        for number in 2..self.tenant.workloads {
            let name = format!("other-{number}");
            let record = policy(space, &name, &usual, ControllerKind::Deployment);
            commit(ObjectChange::Workload(Change::Applied(Arc::new(record))));
        }
        for job in &self.runs() {
            commit(ObjectChange::Controller(Change::Applied(Arc::new(self.job(space, job)))));
        }
        let home = GivenPod {
            name: "homeostat-a".into(),
            of: "homeostat".into(),
            node: Some(self.cluster.runs_on.clone()),
            ..GivenPod::default()
        };
        let home = home.record(HOME, ControllerKind::Deployment);
        commit(ObjectChange::Pod(Change::Applied(Arc::new(home))));
        let stock_pod = GivenPod { name: "stock-a".into(), of: "stock".into(), ..GivenPod::default() };
        for pod in self.pods.iter().chain([&stock_pod]) {
            let kind = if pod.of == "order" { self.workload.target.as_str() } else { "Deployment" };
            let record = pod.record(space, ControllerKind::from_kind(kind));
            commit(ObjectChange::Pod(Change::Applied(Arc::new(record))));
        }
        let sized = ControllerKey {
            kind: ControllerKind::from_kind(&self.workload.target),
            object: ObjectKey::new(space, "order"),
        };
        if let Some(scaler) = self.workload.gitops.as_deref().and_then(|tool| scaler(tool, &sized)) {
            commit(ObjectChange::Scalers(Arc::new(BTreeMap::from([(sized, scaler)]))));
        }
        for (number, action) in (1..).zip(&self.actions) {
            commit(ObjectChange::Action(Change::Applied(Arc::new(self.action(space, action, number)))));
        }
        self.sources(&mut snapshot);
        if let Some(good) = self.good {
            let health = WorkloadHealth {
                last_good: Some(ago(0.5)),
                good_since: Some(ago(good)),
                good_calls: 100,
                ..WorkloadHealth::default()
            };
            snapshot.health.insert_mut(ObjectKey::new(space, "order"), health);
        }
        if let Some((given, kind)) = self.ahead.as_ref().zip(FindingKind::from_name(&self.incident.kind)) {
            let ahead = Ahead {
                decided: ago(given.decided),
                since: ago(self.incident.since),
                what: String::new(),
                earliest: ago(-given.left),
                wait_until: given.wait.map(|wait| ago(-wait)),
                why: if given.wait.is_some() { "waiting for a quiet minute" } else { "a quiet minute" }
                    .into(),
            };
            snapshot.ahead.insert_mut((ObjectKey::new(space, "order"), kind), Arc::new(ahead));
        }
        for (number, other) in (1..).zip(&self.others) {
            let given = GivenIncident {
                cause: format!("workload {}", other.workload),
                workload: other.workload.clone(),
                state: other.state.clone(),
                ..GivenIncident::default()
            };
            let mut incident = given.incident_in(space);
            incident.id = IncidentId::new(format!("other-{number}"));
            snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
        }
        let incident = self.incident.incident_in(space);
        snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident.clone()));
        (snapshot, incident)
    }

    /// The kill switch as it is read.
    pub fn switch(&self) -> KillSwitch {
        match self.cluster.kill_switch {
            Switch::Released => KillSwitch::Off,
            Switch::Engaged => KillSwitch::Engaged { reason: "a person pulled it".into(), by: None },
            Switch::Unreadable => KillSwitch::Unreadable,
        }
    }

    /// Runs of the workload. Where none are told, there is the one that the incident speaks of: of a Job itself.
    pub(crate) fn runs(&self) -> Vec<GivenJob> {
        let failed = match self.incident.kind.as_str() {
            "JobFailed" => Some(true),
            _ => None,
        };
        let name = match self.workload.target.as_str() {
            "Job" => "order",
            _ => "order-1",
        };
        let runs = matches!(self.workload.target.as_str(), "Job" | "CronJob");
        let spoken_of = runs && matches!(self.incident.kind.as_str(), "JobFailed" | "JobStuck");
        match &self.jobs {
            Some(told) => told.clone(),
            None if spoken_of && !self.incident.ended && self.workload.exists => {
                vec![GivenJob { name: name.to_owned(), failed }]
            }
            None => Vec::new(),
        }
    }

    /// Replicas that are ready: those that are not named are. Pods that have ended are replaced; what replaces one that leaves
    /// is ready where it is named.
    fn ready(&self, name: &str, replicas: i32) -> i32 {
        let stays = |pod: &&GivenPod| pod.of == name && !matches!(pod.phase.as_str(), "Succeeded" | "Failed");
        let serves = |pod: &&GivenPod| pod.ready && pod.phase == "Running" && !pod.deleting;
        let (serving, others): (Vec<_>, Vec<_>) = self.pods.iter().filter(stays).partition(serves);
        let count = |pods: Vec<&GivenPod>| i32::try_from(pods.len()).unwrap_or(i32::MAX);
        replicas.saturating_sub(count(others)).max(count(serving)).clamp(0, replicas)
    }

    fn sources(&self, snapshot: &mut Snapshot) {
        let report = |state| SourceReport { state, accepted: 0, dropped: 0 };
        let watch = match &self.blind {
            Some(why) => SourceState::Down(why.as_str().into()),
            None => SourceState::Healthy,
        };
        snapshot.sources.insert_mut("kubernetes".into(), report(watch));
        for (name, reach) in [("otlp", self.cluster.spans), ("prometheus", self.cluster.metrics)] {
            let state = match reach {
                Reach::Up => SourceState::Healthy,
                Reach::Down => SourceState::Down("no answer".into()),
                Reach::Unset => SourceState::Off,
                Reach::Unknown => continue,
            };
            snapshot.sources.insert_mut(name.into(), report(state));
        }
    }

    fn job(&self, space: &str, job: &GivenJob) -> ControllerRecord {
        let kind = ControllerKind::from_kind(&self.workload.target);
        let owner = OwnerRecord { kind, name: "order".into(), uid: Uid::new(format!("uid-{kind:?}-order")) };
        let key =
            ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new(space, job.name.as_str()) };
        let mut record = controller(key, &self.workload, "order", "1", Some(owner));
        record.finished = job.failed.map(|failed| if failed { JobEnd::Failed } else { JobEnd::Complete });
        record
    }
}

impl GivenTenant {
    fn policy(&self, space: &str) -> TenantPolicy {
        let mut policy = tenant();
        policy.namespaces = BTreeSet::from([space.into()]);
        policy.levels = ActionKind::ALL
            .into_iter()
            .map(|kind| (kind, self.levels.get(&kind).copied().unwrap_or(self.level)))
            .collect();
        policy.paused = self.paused;
        if self.frozen {
            policy.freezes = vec![Freeze {
                name: "always".into(),
                schedule: "0 0 * * *".into(),
                time_zone: "UTC".into(),
                duration: SignedDuration::from_hours(24),
            }];
        }
        if let Some(limit) = self.per_workload_hour {
            policy.limits.per_workload_hour = limit;
        }
        if let Some(limit) = self.per_hour {
            policy.limits.per_tenant_hour = limit;
        }
        policy
    }
}

fn platform(level: Level) -> TenantPolicy {
    TenantPolicy {
        name: TenantName::new(PLATFORM_TENANT),
        uid: Uid::new("uid-platform"),
        namespaces: BTreeSet::from([HOME.into()]),
        levels: ActionKind::ALL.into_iter().map(|kind| (kind, level)).collect(),
        ..tenant()
    }
}

fn policy(space: &str, name: &str, given: &GivenWorkload, kind: ControllerKind) -> WorkloadPolicy {
    WorkloadPolicy {
        criticality: 100,
        playbooks: given.playbooks.iter().map(|name| Name::from(name.as_str())).collect(),
        paused: given.held,
        do_not_touch_until: given.do_not_touch.map(|seconds| ago(-seconds)),
        maximum_useless_restarts: given.maximum_useless_restarts,
        surge_after_crash: given.surge_after_crash,
        permits: Permits {
            allow: given.allow.iter().copied().collect(),
            repeatable: given.repeatable,
            replicas: given.bounds.map(|[min, max]| Bounds { min, max }),
            memory_bytes: given.memory_bounds.map(|[min, max]| Bounds { min: min << 20, max: max << 20 }),
            ..Permits::default()
        },
        ..WorkloadPolicy::new(
            ObjectKey::new(space, name),
            Uid::new(format!("uid-workload-{name}")),
            ControllerKey { kind, object: ObjectKey::new(space, name) },
        )
    }
}

fn controller(
    key: ControllerKey,
    given: &GivenWorkload,
    app: &str,
    revision: &str,
    owner: Option<OwnerRecord>,
) -> ControllerRecord {
    let labels =
        given.labels.iter().map(|(key, value)| (Name::from(key.as_str()), Name::from(value.as_str())));
    let kind = key.kind;
    let uid = Uid::new(format!("uid-{kind:?}-{}", key.object.name));
    ControllerRecord {
        resource_version: "7".into(),
        generation: 2,
        observed_generation: 2,
        replicas: given.replicas,
        current: given.replicas,
        ready: given.replicas,
        updated: given.replicas - i32::from(given.rolling_out),
        revision: Some(revision.into()),
        surges: given.surges && !matches!(kind, ControllerKind::StatefulSet),
        paused: given.paused,
        template_labels: labels.chain([("app".into(), app.into())]).collect(),
        owner,
        gitops_owner: given
            .gitops
            .as_deref()
            .filter(|tool| words::autoscaler(tool).is_none())
            .map(Name::from),
        ..ControllerRecord::bare(key, uid)
    }
}

/// What a release may bring beside its pods: `ConfigMap`s, and a Job that is nobody's run.
fn beside(space: &str, given: &GivenWorkload) -> Vec<ObjectChange> {
    let configs = given.configs.iter().map(|(name, written)| {
        ObjectChange::Config(Change::Applied(Arc::new(ConfigRecord {
            key: ObjectKey::new(space, name.as_str()),
            resource_version: "3".into(),
            changed: match written {
                Written::Ago(seconds) => Some(ago(*seconds)),
                Written::Unknown(_) => None,
            },
        })))
    });
    let job = given.job_ran.map(|began| {
        let key = ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new(space, "migrate") };
        let mut job = controller(key, &GivenWorkload::default(), "migrate", "1", None);
        job.run.started = Some(ago(began));
        ObjectChange::Controller(Change::Applied(Arc::new(job)))
    });
    configs.chain(job).chain([ObjectChange::Synced(ObjectKind::Config)]).collect()
}

/// What the named tool is when it sizes the workload; `None`: it owns the whole spec.
fn scaler(tool: &str, sized: &ControllerKey) -> Option<Scaler> {
    let name = sized.object.name.clone();
    Some(match words::autoscaler(tool)? {
        words::Autoscaler::Horizontal => Scaler::Hpa(Box::new(AutoscalerRecord {
            key: sized.object.clone(),
            uid: Uid::new(format!("uid-hpa-{name}")),
            resource_version: "1".into(),
            scales: sized.clone(),
            bounds: Bounds { min: 1, max: 10 },
            drive: None,
            keda: None,
            gitops_owner: None,
        })),
        words::Autoscaler::Keda => Scaler::Keda { name },
        words::Autoscaler::Vertical => Scaler::Vpa { name },
    })
}

fn controllers(
    space: &str,
    app: &str,
    given: &GivenWorkload,
    kind: ControllerKind,
    old_release: bool,
) -> Vec<ControllerRecord> {
    let key = |kind, name: &str| ControllerKey { kind, object: ObjectKey::new(space, name) };
    let top = controller(key(kind, app), given, app, "4", None);
    let owner = OwnerRecord { kind, name: app.into(), uid: top.uid.clone() };
    let mut records = vec![top];
    if kind == ControllerKind::Deployment {
        let set = key(ControllerKind::ReplicaSet, &format!("{app}-rs"));
        records.push(controller(set, given, app, "4", Some(owner.clone())));
        if old_release {
            let set = key(ControllerKind::ReplicaSet, &format!("{app}-rs-old"));
            let reads = given.configs.keys().map(|name| Name::from(name.as_str())).collect();
            let release = Some(Box::new(ReleaseRecord { reads, ..ReleaseRecord::default() }));
            records.push(ControllerRecord { release, ..controller(set, given, app, "3", Some(owner)) });
        }
    }
    records
}

impl GivenNode {
    fn record(&self) -> NodeRecord {
        NodeRecord {
            ready: self.ready,
            cordoned: self.cordoned,
            leaving: self.leaving.as_deref().map(Name::from),
            allocatable_pods: self.allocatable_pods,
            pressures: self.pressures.iter().map(|name| Name::from(name.as_str())).collect(),
            control_plane: self.control_plane,
            hold: self.own_cordon.then(|| Hold { by: "node-1-1".into(), until: Some(ago(-1800.0)) }),
            ..NodeRecord::bare("node-1".into(), Uid::new("uid-node-1"))
        }
    }
}

impl GivenPod {
    fn uid(&self) -> Uid {
        Uid::new(self.uid.clone().unwrap_or_else(|| format!("uid-{}", self.name)))
    }

    /// The record, owned through a `ReplicaSet` when the workload is a Deployment.
    pub fn record(&self, space: &str, kind: ControllerKind) -> PodRecord {
        let since = ago(self.state_since.unwrap_or(self.created));
        let ended = |finished: Option<Timestamp>, started: Option<f64>| Termination {
            reason: self.reason.as_str().into(),
            exit_code: self.exit_code,
            started: started.map(ago),
            finished,
            used: homeostat_knowledge::records::Amounts::default(),
        };
        let end = |at: f64, started| ended(Some(ago(at)), started);
        // A container that backs off has ended, and one that was restarted ended just before.
        let before = match (self.last_end, self.state.as_str()) {
            (Some(at), "Running" | "Terminated") => Some(end(at, None)),
            (Some(at), _) => Some(end(at, self.started)),
            (None, "CrashLoopBackOff") => Some(ended(None, None)),
            (None, "Running") if self.restarts > 0 => Some(ended(Some(since), None)),
            _ => None,
        };
        let state = match self.state.as_str() {
            "Running" => ContainerState::Running { since },
            "Terminated" => {
                ContainerState::Terminated(end(self.state_since.unwrap_or(self.created), self.started))
            }
            reason => ContainerState::Waiting { reason: reason.into() },
        };
        let (kind, name) = match kind {
            ControllerKind::Deployment if self.old_release => {
                (ControllerKind::ReplicaSet, format!("{}-rs-old", self.of))
            }
            ControllerKind::Deployment => (ControllerKind::ReplicaSet, format!("{}-rs", self.of)),
            other => (other, self.of.clone()),
        };
        let owner = OwnerRecord { kind, name: name.as_str().into(), uid: Uid::new("uid-owner") };
        PodRecord {
            key: ObjectKey::new(space, self.name.as_str()),
            uid: self.uid(),
            resource_version: "9".into(),
            node: self.node.as_deref().filter(|node| !node.is_empty()).map(Name::from),
            ip: None,
            phase: words::phase(&self.phase).unwrap_or(PodPhase::Unknown),
            owner: (!self.bare).then_some(owner),
            deleting: self.deleting,
            ready: self.ready,
            unschedulable: None,
            setup: None,
            resize: None,
            created: ago(self.created),
            template_hash: None,
            local_data: self.local_data,
            containers: vec![ContainerRecord {
                memory: self.memory.map_or_else(Memory::default, |[request, limit]| Memory {
                    request: Some(request << 20),
                    limit: Some(limit << 20),
                }),
                name: "app".into(),
                ready: self.ready,
                restarts: self.restarts,
                state,
                last_termination: before,
                cpu_request: None,
                cpu_limit: None,
                ephemeral_storage_limit: None,
            }],
        }
    }
}

impl GivenIncident {
    /// The incident in the usual namespace.
    pub fn incident(&self) -> Incident {
        self.incident_in(SHOP)
    }

    /// UID of the pod that the finding is on.
    pub(crate) fn pod_uid(&self) -> Option<String> {
        let named = |name: &str| self.uid.clone().unwrap_or_else(|| format!("uid-{name}"));
        self.seen_on.as_deref().or_else(|| self.cause.strip_prefix("pod ")).map(named)
    }

    fn entity(&self, space: &str, cause: &str, workload: Option<&WorkloadKey>) -> Entity {
        let (sort, name) = cause.split_once(' ').unwrap_or(("pod", cause));
        match sort {
            "workload" => Entity::Workload { key: ObjectKey::new(space, name) },
            "node" => Entity::Node { name: name.into() },
            "external" => Entity::External { address: name.into() },
            "source" => Entity::Source { name: name.into() },
            _ => Entity::Pod {
                key: ObjectKey::new(space, name),
                uid: Uid::new(self.uid.clone().unwrap_or_else(|| format!("uid-{name}"))),
                workload: workload.cloned(),
            },
        }
    }

    fn findings(&self, seen_on: Entity, kind: FindingKind, evidence: &[Evidence]) -> Vec<Finding> {
        let finding = |id: &str, entity: Entity, kind: FindingKind| Finding {
            id: FindingId::new(id),
            entity,
            kind,
            since: ago(self.since),
            detected: ago(self.since.min(self.last_seen + 0.1)),
            last_seen: ago(self.last_seen),
            confidence: self.confidence,
            evidence: evidence.to_vec(),
            active: !self.ended,
        };
        let also = self.also.as_deref().and_then(FindingKind::from_name);
        let second = also
            .zip(seen_on.workload().cloned())
            .map(|(kind, key)| finding("finding-2", Entity::Workload { key }, kind));
        std::iter::once(finding("finding-1", seen_on, kind)).chain(second).collect()
    }

    fn incident_in(&self, space: &str) -> Incident {
        let workload = (self.workload != "none").then(|| ObjectKey::new(space, self.workload.as_str()));
        let entity = self.entity(space, &self.cause, workload.as_ref());
        let seen_on = match &self.seen_on {
            Some(pod) => self.entity(space, &format!("pod {pod}"), workload.as_ref()),
            None => entity.clone(),
        };
        let kind = FindingKind::from_name(&self.kind).unwrap_or(FindingKind::Hung);
        let state = words::incident_state(&self.state).unwrap_or(IncidentState::Open);
        let healed = matches!(state, IncidentState::Mitigated | IncidentState::Resolved);
        let evidence = vec![Evidence::new("calls that failed", "12 of 12 in 0.8 s").usual("0 of 1,000")];
        let impact = ago(self.impact.unwrap_or(self.since));
        let instants =
            Instants { mitigated: healed.then(|| ago(self.last_seen)), ..Instants::new(impact, impact) };
        Incident {
            tenant: (self.tenant != "none").then(|| TenantName::new(self.tenant.as_str())),
            workload,
            state,
            severity: Severity::Critical,
            findings: self.findings(seen_on, kind, &evidence),
            // The confidence of a cause ranks it; that of its findings says how sure they are.
            causes: vec![Cause { entity, kind, confidence: self.confidence * 0.6, evidence }],
            reopen_count: self.reopened,
            handed_over: (state == IncidentState::HandedOver).then(|| "two restarts did not help".to_owned()),
            ..Incident::open(
                IncidentId::new("order-1"),
                space.into(),
                EvidenceId::new("evidence-1"),
                instants,
            )
        }
    }
}
