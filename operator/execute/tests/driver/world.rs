//! A small world to run the executor against: an API server with resource versions, conditional writes and a
//! request counter, a kubelet that replaces what is evicted, and faults at chosen requests. Time is tokio's
//! paused clock, so every run is the same.

use crate::api::{Api, Lease};
use crate::things::{base, controller, finding, incident, pod, tenant_policy, workload, workload_policy};
use crate::traces::heard_everywhere;
use homeostat_execute::Changes;
use homeostat_execute::driver::{ExecutorConfig, Ports};
use homeostat_execute::ports::{FieldEdit, Recorder};
use homeostat_execute::{Executor, GuardInput};
use homeostat_knowledge::action::EvidenceRef;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, SourceReport, SourceState};
use homeostat_knowledge::plan::{Expectation, Undo, Verification};
use homeostat_knowledge::policy::{Bounds, ControlPolicy, KillSwitch, TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::records::{AutoscalerRecord, Drive, Hold, OwnerRecord};
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Admitted, Approval, ApprovalDecision, Before, Clock, ControllerKind,
    ControllerRecord, Entity, EvidenceId, Finding, FindingKind, IncidentId, Name, ObjectKey, Parameters,
    Plan, PlanId, PlaybookRef, PodRecord, SignedDuration, Snapshot, SnapshotSource, Step, TenantName,
    Timestamp, Uid, UnreadAction, WorkloadHealth,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What happens at one request.
#[derive(Clone)]
pub enum Fault {
    /// The process dies before the request arrives.
    CrashBefore,
    /// The request is carried out; the process dies before it has the reply.
    CrashAfter,
    /// No reply in time; the request was carried out, or not.
    Timeout {
        /// Was it carried out?
        done: bool,
    },
    /// 409.
    Conflict,
    /// 403.
    Denied,
    /// 429 of a disruption budget (for evictions), 429 with retry-after for others.
    TooManyRequests,
    /// 500 or 503: not carried out.
    ServerError,
    /// Something else changes just before the request is carried out.
    Meanwhile(fn(&mut Inner)),
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::CrashBefore => "CrashBefore",
            Self::CrashAfter => "CrashAfter",
            Self::Timeout { done: true } => "Timeout(done)",
            Self::Timeout { done: false } => "Timeout(not done)",
            Self::Conflict => "Conflict",
            Self::Denied => "Denied",
            Self::TooManyRequests => "TooManyRequests",
            Self::ServerError => "ServerError",
            Self::Meanwhile(_) => "Meanwhile",
        })
    }
}

/// An effect as the API server saw it.
#[derive(Clone, Debug)]
pub struct Effect {
    pub action: ActionId,
    pub uid: Uid,
    pub at: Timestamp,
    /// State of the stored action at that moment.
    pub stored: Option<ActionState>,
    pub kill_switch: KillSwitch,
    pub paused: bool,
}

/// Everything inside.
#[allow(clippy::struct_excessive_bools, reason = "switches that a test sets")]
pub struct Inner {
    pub snapshot: Arc<Snapshot>,
    pub actions: BTreeMap<ObjectKey, ActionRecord>,
    pub pod: PodRecord,
    pub controller: ControllerRecord,
    /// What sizes it by itself; it keeps its bounds at once.
    pub autoscaler: Option<AutoscalerRecord>,
    pub restarted_by: Option<Name>,
    /// The target's annotation, which only a fresh read shows.
    pub do_not_touch: Option<Name>,
    /// Who set the fields that actions change.
    pub edits: Vec<FieldEdit>,
    pub kill_switch: KillSwitch,
    pub effects: Vec<Effect>,
    pub notified: Vec<ActionId>,
    pub requests: Vec<String>,
    pub faults: BTreeMap<usize, Fault>,
    /// The process that lives; older ones hang for ever.
    pub life: u64,
    pub leader: u64,
    pub recorded: Vec<GuardInput>,
    /// Requests of this name are answered at once, and their answers take so long.
    pub slow: BTreeMap<&'static str, Duration>,
    /// Something else is read before the write, as for sizes and roll backs.
    pub looks: bool,
    /// How far the API server's clock is ahead of ours; `None` when its answers tell no time.
    pub server_ahead: Option<SignedDuration>,
    versions: u64,
    pods: u64,
    /// Pod events reach the snapshot only while this holds.
    pub watching: bool,
    /// A second replica, when there is one.
    second: Option<PodRecord>,
    evidence: Option<(FindingKind, bool)>,
    /// Where the evidence moves once the pod is replaced: its calls fail on.
    pub moves_to: Option<Entity>,
    /// Nothing is seen of the open incident.
    pub unseen: bool,
    /// Without evidence there is no incident either, not even one that is over.
    calm: bool,
    /// The store has no room: every write is answered with 500, reads go on.
    pub full: bool,
    /// The namespace is being deleted: what is to be created in it is answered with 403.
    pub ending: bool,
}

pub struct World {
    inner: Mutex<Inner>,
    generations: Changes,
    pub leader: watch::Sender<u64>,
    pub crashes: watch::Sender<u64>,
    begun: tokio::time::Instant,
}

impl Inner {
    fn commit(&mut self, change: &ObjectChange, now: Timestamp) {
        let snapshot = Arc::make_mut(&mut self.snapshot);
        snapshot.commit(change, now);
        snapshot.generation += 1;
    }

    pub fn set_tenant(&mut self, change: impl FnOnce(&mut TenantPolicy)) {
        let mut policy = tenant_policy();
        if let Some(present) = self.snapshot.tenants.get(&policy.name) {
            policy = (**present).clone();
        }
        change(&mut policy);
        self.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(policy))), Timestamp::UNIX_EPOCH);
    }

    pub fn set_workload(&mut self, change: impl FnOnce(&mut WorkloadPolicy)) {
        let mut policy = (**self.snapshot.workloads.get(&workload()).expect("workload")).clone();
        change(&mut policy);
        self.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), Timestamp::UNIX_EPOCH);
    }

    pub fn delete_tenant(&mut self) {
        self.commit(&ObjectChange::Tenant(Change::Deleted(TenantName::new("shop"))), Timestamp::UNIX_EPOCH);
    }

    /// A newer version stores an action that is not readable here.
    pub fn unread(&mut self, action: UnreadAction) {
        self.commit(&ObjectChange::UnreadAction(Arc::new(action)), Timestamp::UNIX_EPOCH);
    }

    /// Somebody deletes an action.
    pub fn delete_action(&mut self, key: ObjectKey) {
        self.commit(&ObjectChange::Action(Change::Deleted(key)), Timestamp::UNIX_EPOCH);
    }

    pub fn delete_workload(&mut self) {
        self.commit(&ObjectChange::Workload(Change::Deleted(workload())), Timestamp::UNIX_EPOCH);
    }

    /// The namespace is deleted: what is in it goes, actions too, and nothing new is taken.
    pub fn end_namespace(&mut self) {
        self.ending = true;
        self.pod.deleting = true;
        self.pod.ready = false;
        let records: Vec<ObjectKey> = std::mem::take(&mut self.actions).into_keys().collect();
        for key in records {
            self.delete_action(key);
        }
        self.delete_workload();
    }

    /// The pod was replaced, but nothing of it reached the caches: they still show the old one, sick.
    pub fn replace_pod_unseen(&mut self) {
        self.pods += 1;
        self.watching = false;
        let mut other = pod(self.pods, self.pod.created);
        other.key = self.pod.key.clone();
        self.pod = other;
    }

    /// Somebody else deletes the pod; another one has its name at once.
    pub fn replace_pod_under_the_same_name(&mut self) {
        self.pods += 1;
        let mut other = pod(self.pods, self.pod.created);
        other.key = self.pod.key.clone();
        self.pod = other;
        self.evidence = None;
    }

    pub fn version(&mut self) -> Name {
        self.versions += 1;
        Name::from(self.versions.to_string())
    }

    /// What an effect asked for is complete: a new pod is ready.
    pub fn complete(&mut self, now: Timestamp) {
        self.pods += 1;
        self.pod = pod(self.pods, now);
        self.evidence = None;
        self.controller.ready = 1;
        self.controller.updated = 1;
        self.controller.observed_generation = self.controller.generation;
        self.controller.revision = Some(Name::from(self.controller.generation.to_string()));
    }

    /// A second replica comes up.
    pub fn second_pod(&mut self, now: Timestamp) {
        self.pods += 1;
        self.second = Some(pod(self.pods, now));
    }

    /// Nothing is wrong any more.
    /// An autoscaler gets these bounds, with the mark that gives people's own back, and keeps them at once.
    pub fn drive(&mut self, bounds: Bounds, by: &ActionId, until: Timestamp) {
        let version = self.version();
        let Some(found) = &mut self.autoscaler else { return };
        let peoples = found.peoples();
        let hold = Hold { by: Name::from(by.as_str()), until: Some(until) };
        found.drive = (bounds != peoples).then_some(Drive { hold, before: peoples, set: bounds });
        (found.bounds, found.resource_version) = (bounds, version);
        let least = i32::try_from(bounds.min).expect("few");
        let size = &mut self.controller;
        if size.replicas < least {
            (size.replicas, size.current, size.ready, size.updated) = (least, least, least, least);
        }
    }

    pub fn get_well(&mut self) {
        (self.evidence, self.calm) = (None, true);
    }

    /// A process that has just started, and has seen nothing of the open incident yet.
    pub fn begin_anew(&mut self, now: Timestamp) {
        (self.evidence, self.calm, self.unseen) = (None, false, true);
        Arc::make_mut(&mut self.snapshot).synced_since = Some(now);
    }

    /// It falls sick, in the way `kind` says.
    pub fn fall_sick(&mut self, kind: FindingKind) {
        (self.evidence, self.unseen) = (Some((kind, true)), false);
    }

    /// Is the pod that the incident is about still there?
    pub fn sick(&self) -> bool {
        self.evidence.is_some()
    }

    pub fn open_actions(&self) -> Vec<ActionRecord> {
        self.actions
            .values()
            .filter(|record| {
                let stands = record.state == ActionState::Proposed && !record.guards.is_empty();
                !record.state.ended() && !stands
            })
            .cloned()
            .collect()
    }
}

impl World {
    /// One service with one hung pod, seen hung for a second.
    pub fn new(kind: FindingKind) -> Arc<Self> {
        heard_everywhere();
        let begun = tokio::time::Instant::now();
        let start = base();
        let hour_ago = start - SignedDuration::from_hours(1);
        let mut snapshot = Snapshot::default();
        let control = ControlPolicy {
            uid: Uid::new("control"),
            kill_switch: KillSwitch::Off,
            ..ControlPolicy::default()
        };
        let deployment = controller(ControllerKind::Deployment, "order", None);
        let owner = OwnerRecord {
            kind: ControllerKind::Deployment,
            name: Name::from("order"),
            uid: deployment.uid.clone(),
        };
        let first = pod(0, hour_ago);
        let mut changes = vec![
            ObjectChange::Control(Some(Arc::new(control))),
            ObjectChange::Tenant(Change::Applied(Arc::new(tenant_policy()))),
            ObjectChange::Workload(Change::Applied(Arc::new(workload_policy()))),
            ObjectChange::Controller(Change::Applied(Arc::new(deployment.clone()))),
            ObjectChange::Controller(Change::Applied(Arc::new(controller(
                ControllerKind::ReplicaSet,
                "order-rs",
                Some(owner),
            )))),
            ObjectChange::Pod(Change::Applied(Arc::new(first.clone()))),
        ];
        changes.extend(ObjectKind::REQUIRED.map(ObjectChange::Synced));
        for change in &changes {
            snapshot.commit(change, hour_ago);
        }
        for source in ["kubernetes", "otlp"] {
            let report = SourceReport { state: SourceState::Healthy, accepted: 1, dropped: 0 };
            snapshot.sources.insert_mut(Name::from(source), report);
        }
        snapshot.generation = 100;
        let inner = Inner {
            snapshot: Arc::new(snapshot),
            actions: BTreeMap::new(),
            pod: first,
            controller: deployment,
            autoscaler: None,
            restarted_by: None,
            do_not_touch: None,
            kill_switch: KillSwitch::Off,
            effects: Vec::new(),
            notified: Vec::new(),
            requests: Vec::new(),
            faults: BTreeMap::new(),
            life: 1,
            leader: 1,
            recorded: Vec::new(),
            server_ahead: Some(SignedDuration::ZERO),
            slow: BTreeMap::new(),
            looks: false,
            versions: 0,
            pods: 0,
            watching: true,
            second: None,
            evidence: Some((kind, true)),
            moves_to: None,
            unseen: false,
            calm: false,
            edits: Vec::new(),
            full: false,
            ending: false,
        };
        let world = Arc::new(Self {
            inner: Mutex::new(inner),
            generations: Changes::default(),
            leader: watch::Sender::new(1),
            crashes: watch::Sender::new(0),
            begun,
        });
        world.refresh();
        let ticking = Arc::downgrade(&world);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let Some(world) = ticking.upgrade() else { return };
                world.refresh();
            }
        });
        world
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while locked")
    }

    pub fn now(&self) -> Timestamp {
        base() + SignedDuration::try_from(self.begun.elapsed()).expect("short")
    }

    /// What the analysis would say now: evidence while the sick pod is there, health when it is gone.
    pub fn refresh(&self) {
        let now = self.now();
        let mut inner = self.lock();
        let (evidence, pod) = (inner.evidence, inner.pod.clone());
        let (watching, second, calm, unseen) =
            (inner.watching, inner.second.clone(), inner.calm, inner.unseen);
        let moved = inner.moves_to.clone().filter(|_| evidence.is_none());
        let snapshot = Arc::make_mut(&mut inner.snapshot);
        let kind = evidence.map(|(kind, _)| kind).or(moved.as_ref().map(|_| FindingKind::DependencyDown));
        let mut incident = incident(&pod, kind, now, snapshot);
        if unseen {
            (incident.state, incident.instants.mitigated) = (homeostat_knowledge::IncidentState::Open, None);
        }
        if let Some(entity) = &moved {
            incident.causes[0].entity = entity.clone();
            incident.findings[0].entity = entity.clone();
        }
        if evidence.is_none() && calm {
            snapshot.incidents.remove_mut(&incident.id);
        } else {
            snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
        }
        let well = evidence.is_none() && moved.is_none() && pod.serving();
        let before = snapshot.health.get(&workload()).cloned().unwrap_or_default();
        let health = if unseen {
            WorkloadHealth::default()
        } else if well {
            WorkloadHealth {
                last_good: Some(now),
                good_since: before.good_since.or(Some(now)),
                good_calls: before.good_calls + 10,
                ..before
            }
        } else {
            WorkloadHealth { last_failure: Some(now), good_since: None, good_calls: 0, ..before }
        };
        snapshot.health.insert_mut(workload(), health);
        if watching {
            let stale: Vec<ObjectKey> =
                snapshot.pods.keys().filter(|key| **key != pod.key).cloned().collect();
            for key in stale {
                snapshot.commit(&ObjectChange::Pod(Change::Deleted(key)), now);
            }
            if let Some(second) = &second {
                snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(second.clone()))), now);
            }
            snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), now);
        }
        snapshot.generation += 1;
        let controller = inner.controller.clone();
        let scaler =
            inner.autoscaler.clone().map(|found| (found.scales.clone(), Scaler::Hpa(Box::new(found))));
        if watching {
            inner.commit(&ObjectChange::Scalers(Arc::new(scaler.into_iter().collect())), now);
            inner.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), now);
        }
        drop(inner);
        self.generations.tell();
    }

    fn apply(&self, change: &ObjectChange) {
        let now = self.now();
        let mut inner = self.lock();
        inner.commit(change, now);
        drop(inner);
        self.generations.tell();
    }

    /// An executor of the present life, with its stored states flowing back into the snapshot.
    pub fn executor(self: &Arc<Self>) -> Executor<Api, Api, Lease> {
        let life = self.lock().life;
        let api = Api::new(self, life);
        let (published, mut states) = mpsc::channel(64);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(record) = states.recv().await {
                if world.lock().watching {
                    world.apply(&ObjectChange::Action(Change::Applied(Arc::new(record))));
                }
            }
        });
        let ports = Ports {
            ledger: api.clone(),
            actuator: api.clone(),
            leadership: Lease::new(self, life),
            clock: Arc::new(api.clone()) as Arc<dyn Clock>,
            snapshots: Arc::new(api.clone()) as Arc<dyn SnapshotSource>,
            generations: self.generations.follow(),
            published,
            recorder: Arc::new(api) as Arc<dyn Recorder>,
        };
        Executor::new(ports, ExecutorConfig::new("homeostat-system"))
    }

    /// Waits until the present process has died.
    pub async fn crashed(&self, life: u64) {
        let mut crashes = self.crashes.subscribe();
        let _ = crashes.wait_for(|dead| *dead >= life).await;
    }

    /// A new process, leading, with a cache made anew from the API server.
    pub fn restart(&self) {
        let now = self.now();
        let mut inner = self.lock();
        inner.life = inner.life.max(*self.crashes.borrow() + 1);
        inner.leader = inner.life;
        let leader = inner.leader;
        let stored: Vec<ActionRecord> = inner.actions.values().cloned().collect();
        for record in stored {
            inner.commit(&ObjectChange::Action(Change::Applied(Arc::new(record))), now);
        }
        inner.watching = true;
        drop(inner);
        self.leader.send_replace(leader);
        self.refresh();
    }

    /// Another process leads from now on; the old one goes on living.
    pub fn depose(&self) {
        let mut inner = self.lock();
        inner.life += 1;
        inner.leader = 0;
        drop(inner);
        self.leader.send_replace(0);
    }

    pub fn announce_leader(&self) {
        let leader = self.lock().leader;
        self.leader.send_replace(leader);
    }

    /// A person approves or denies.
    pub fn approve(&self, decision: ApprovalDecision, evidence: &str) {
        self.approve_as("jane", decision, evidence);
    }

    /// As [`World::approve`], by somebody else.
    pub fn approve_as(&self, who: &str, decision: ApprovalDecision, evidence: &str) {
        let now = self.now();
        let mut inner = self.lock();
        let version = inner.version();
        let record = inner
            .actions
            .values_mut()
            .find(|record| record.state == ActionState::AwaitingApproval)
            .expect("an action waits for approval");
        record.approval = Some(Approval {
            decision,
            approved_by: Name::from(who),
            evidence: EvidenceId::new(evidence),
            digest: None,
            at: now,
        });
        record.resource_version = version;
        let record = record.clone();
        drop(inner);
        self.apply(&ObjectChange::Action(Change::Applied(Arc::new(record))));
    }

    /// The plan that the planner would make now.
    pub fn plan(&self, parameters: Parameters) -> (Plan<Admitted>, Finding) {
        let now = self.now();
        let inner = self.lock();
        let (target, expect) = match &parameters {
            Parameters::RollingRestart => (
                Snapshot::controller_target(&inner.controller).expect("a deployment"),
                // A healthy workload is restarted to prevent, a sick one to heal.
                if inner.evidence.is_some() {
                    Expectation::ObjectivesMet
                } else {
                    Expectation::RolloutComplete
                },
            ),
            Parameters::ScaleUp { .. } | Parameters::ScaleDown { .. } => (
                Snapshot::controller_target(&inner.controller).expect("a deployment"),
                Expectation::ObjectivesMet,
            ),
            Parameters::DriveBounds { .. } => (
                Snapshot::autoscaler_target(inner.autoscaler.as_ref().expect("an autoscaler")),
                Expectation::ObjectivesMet,
            ),
            Parameters::Notify { .. } => (Snapshot::pod_target(&inner.pod), Expectation::Nothing),
            _ => (Snapshot::pod_target(&inner.pod), Expectation::ObjectivesMet),
        };
        let undo = match parameters {
            Parameters::ScaleUp { .. } | Parameters::ScaleDown { .. } | Parameters::DriveBounds { .. } => {
                Undo::Restore
            }
            _ => Undo::None,
        };
        let finding = finding(&inner.pod, inner.evidence.map_or(FindingKind::Crashed, |(kind, _)| kind), now);
        let step = Step {
            target,
            parameters,
            before: Before {
                replicas: Some(inner.controller.replicas),
                ready: Some(inner.controller.ready),
                revision: inner.controller.revision.clone(),
                restarts: Some(inner.pod.restarts()),
                bounds: inner.autoscaler.as_ref().map(|found| found.bounds),
                ..Before::default()
            },
            verification: Verification { within: SignedDuration::from_secs(30), expect },
            undo,
            evidence: EvidenceRef {
                id: EvidenceId::new("evidence"),
                taken_at: now,
                summary: "12 of 12 calls failed".to_owned(),
            },
        };
        let plan = Plan::draft(
            PlanId::new("plan"),
            IncidentId::new("order-x"),
            TenantName::new("shop"),
            workload(),
            inner.snapshot.generation,
            PlaybookRef { name: Name::from("hung-process"), version: 1, step: 1 },
            vec![step],
            vec!["the process hangs".to_owned()],
        );
        (plan.admit(), finding)
    }
}
