//! A cluster in which nothing is wrong, in virtual time, and what the loop makes of it.
//!
//! Every workload has two pods, calls from a neighbour, and five signals that it names itself, sampled once a minute, with a
//! rhythm of the day and of the week and each with its own kind of noise. New versions are rolled out, each
//! with a short warm-up and a level that is a little different from before. The loop is the product's own.

use crate::noise::Noise;
use homeostat::kernel::{Effect, Kernel};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, Sample};
use homeostat_knowledge::policy::{KillSwitch, SignalPolicy};
use homeostat_knowledge::records::{ControllerKey, NodeRecord, OwnerRecord, PodPhase, ServiceRecord};
use homeostat_knowledge::{
    ActionKind, CallOutcome, ContainerRecord, ContainerState, ControlPolicy, ControllerKind,
    ControllerRecord, Entity, FindingKind, IncidentId, Level, Name, ObjectKey, Observation, PodRecord,
    SeededIds, Signal, SignedDuration, Span, SpanKind, TenantName, TenantPolicy, Timestamp, Uid, WorkloadKey,
    WorkloadPolicy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::sync::Arc;

/// Seconds between two samples of a signal.
pub const STEP: i64 = 60;
const DAY: f64 = 86_400.0;
const WEEK: f64 = 7.0 * DAY;
/// A Monday at midnight.
const START: i64 = 1_767_571_200;
const WORKLOADS_PER_TEAM: usize = 50;
/// Server spans of a workload a minute.
const SPANS: u64 = 4;
/// Seconds from one rollout of a workload to the next, on average.
const ROLLOUT_EVERY: f64 = 2.0 * DAY;

/// The signals: name, unit, whether high is bad.
pub const SIGNALS: [(&str, &str, bool); 5] = [
    ("processor", "cores", true),
    ("latency", "s", true),
    ("failures", "per minute", true),
    ("queue", "messages", true),
    ("throughput", "per second", false),
];

/// A fault that is put in on purpose: one signal of one workload is so many times worse from a step on.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub workload: usize,
    pub signal: usize,
    pub from_step: i64,
    pub steps: i64,
    pub factor: f64,
}

/// What came out of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub samples: u64,
    pub spans: u64,
    pub rollouts: u64,
    /// When each incident was opened (steps), its workload, its kind, and the evidence.
    pub incidents: Vec<(i64, String, FindingKind, String)>,
    /// Actions other than telling people, that were planned and admitted.
    pub disruptive: Vec<String>,
}

/// A rollout under way: which of its stages comes next, and when.
#[derive(Clone, Copy, Debug)]
struct Rollout {
    stage: u8,
    at: i64,
}

struct Workload {
    key: WorkloadKey,
    names: [Name; 2],
    noise: Noise,
    /// Size of each signal, changed a little by each version.
    size: [f64; 5],
    /// Hour of the day with the highest load, and how much of the load has the rhythm.
    peak: f64,
    swing: f64,
    weekend: f64,
    queue: f64,
    own_seconds: f64,
    generation: i64,
    pods: [(ObjectKey, Uid); 2],
    rollout: Option<Rollout>,
    next_rollout: i64,
    warm_until: i64,
}

/// The cluster and the loop that watches it.
pub struct World {
    kernel: Kernel,
    now: i64,
    workloads: Vec<Workload>,
    seen: BTreeSet<IncidentId>,
    trace: u128,
    batch: Vec<Observation>,
    faults: Vec<Fault>,
    /// From this step on every series has another name, as after a new version of an exporter.
    pub renamed_from: Option<i64>,
    operation: Name,
    metrics: [Name; 5],
    pub outcome: Outcome,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time of this century")
}

impl World {
    /// A cluster with this many workloads.
    pub fn new(count: usize, seed: u64, faults: Vec<Fault>) -> Self {
        let kernel = Kernel::new(
            homeostat_playbooks::shipped(),
            Box::new(SeededIds::new(seed)),
            Name::from("homeostat-system"),
        );
        let workloads = (0..count).map(|index| Workload::new(index, seed)).collect();
        let mut world = Self {
            kernel,
            now: START,
            workloads,
            seen: BTreeSet::new(),
            trace: 0,
            batch: Vec::new(),
            faults,
            renamed_from: None,
            operation: Name::from("GET /"),
            metrics: SIGNALS.map(|(name, _, _)| Name::from(name)),
            outcome: Outcome::default(),
        };
        world.objects();
        world
    }

    /// Lets one step pass: samples and spans, whatever the rollouts do, and three looks of the loop.
    pub fn step(&mut self) {
        self.minute();
        for part in 0..3 {
            for index in 0..self.workloads.len() {
                self.roll(index);
            }
            let batch = std::mem::take(&mut self.batch);
            let effects = self.kernel.step(&batch, at(self.now), true);
            self.batch = batch;
            self.batch.clear();
            self.note(effects);
            self.now += if part < 2 { 20 } else { STEP - 40 };
        }
    }

    /// Steps since the start.
    pub fn steps(&self) -> i64 {
        (self.now - START) / STEP
    }

    fn note(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Said(..) | Effect::Held(..) => {}
                Effect::Write(incident) => {
                    if self.seen.insert(incident.id.clone()) {
                        let kind = incident.top_cause().map_or(FindingKind::NoData, |cause| cause.kind);
                        let evidence = incident.top_cause().and_then(|cause| cause.evidence.first());
                        let workload = incident.workload.as_ref().map(|key| key.name.to_string());
                        let text = evidence.map(ToString::to_string).unwrap_or_default();
                        let steps = (self.now - START) / STEP;
                        self.outcome.incidents.push((steps, workload.unwrap_or_default(), kind, text));
                    }
                }
                Effect::Execute(plan, _) => {
                    for step in &plan.steps {
                        if step.parameters.kind() != ActionKind::Notify {
                            let text = format!("{} {}", step.parameters.kind(), step.target.key);
                            self.outcome.disruptive.push(text);
                        }
                    }
                }
            }
        }
    }

    fn push(&mut self, entity: Entity, signal: Signal) {
        let now = at(self.now);
        self.batch.push(Observation { tenant: None, entity, event_time: now, arrival_time: now, signal });
    }

    fn object(&mut self, change: ObjectChange) {
        self.push(Entity::Cluster, Signal::Object(change));
    }

    fn objects(&mut self) {
        let control = ControlPolicy { kill_switch: KillSwitch::Off, ..ControlPolicy::default() };
        self.object(ObjectChange::Control(Some(Arc::new(control))));
        let teams: BTreeSet<Name> =
            self.workloads.iter().map(|workload| workload.key.namespace.clone()).collect();
        for team in teams {
            self.object(ObjectChange::Tenant(Change::Applied(Arc::new(tenant(&team)))));
        }
        for node in 0..=self.workloads.len() / 25 {
            let name = format!("node-{node}");
            let node = NodeRecord::bare(Name::from(&*name), Uid::new(format!("uid-{name}")));
            self.object(ObjectChange::Node(Change::Applied(Arc::new(node))));
        }
        for index in 0..self.workloads.len() {
            self.controllers(index, 2, 2);
            let workload = &self.workloads[index];
            let key = workload.key.clone();
            let selector = BTreeMap::from([(Name::from("app"), key.name.clone())]);
            let service = ServiceRecord { key: key.clone(), selector, cluster_ip: None };
            let policy = policy(&key);
            let pods = [0, 1].map(|place| workload.pod(place, START - 86_400, true, false));
            self.object(ObjectChange::Service(Change::Applied(Arc::new(service))));
            self.object(ObjectChange::Workload(Change::Applied(Arc::new(policy))));
            for pod in pods {
                self.object(ObjectChange::Pod(Change::Applied(Arc::new(pod))));
            }
        }
        for kind in ObjectKind::REQUIRED {
            self.object(ObjectChange::Synced(kind));
        }
    }

    /// The Deployment and its `ReplicaSet`, with so many pods of the newest version, and so many pods in all.
    fn controllers(&mut self, index: usize, updated: i32, current: i32) {
        let workload = &self.workloads[index];
        let deployment = ControllerKey { kind: ControllerKind::Deployment, object: workload.key.clone() };
        let mut record = ControllerRecord {
            resource_version: Name::from(self.now.to_string()),
            generation: workload.generation,
            observed_generation: workload.generation,
            replicas: 2,
            current,
            ready: 2,
            updated,
            revision: Some(Name::from(workload.generation.to_string())),
            template_labels: BTreeMap::from([(Name::from("app"), workload.key.name.clone())]),
            ..ControllerRecord::bare(deployment, Uid::new(format!("uid-{}", workload.key.name)))
        };
        self.object(ObjectChange::Controller(Change::Applied(Arc::new(record.clone()))));
        let owner = OwnerRecord {
            kind: ControllerKind::Deployment,
            name: record.key.object.name.clone(),
            uid: record.uid.clone(),
        };
        let name = format!("{}-rs", record.key.object.name);
        record.uid = Uid::new(format!("uid-{name}"));
        let object = ObjectKey { name: Name::from(name), ..record.key.object };
        record.key = ControllerKey { kind: ControllerKind::ReplicaSet, object };
        record.owner = Some(owner);
        self.object(ObjectChange::Controller(Change::Applied(Arc::new(record))));
    }

    /// Samples and spans of this minute.
    fn minute(&mut self) {
        let step = self.steps();
        for index in 0..self.workloads.len() {
            let mut values = self.workloads[index].values(self.now);
            for fault in self.faults.iter().filter(|fault| fault.workload == index) {
                if (fault.from_step..fault.from_step + fault.steps).contains(&step) {
                    let factor = if SIGNALS[fault.signal].2 { fault.factor } else { 1.0 / fault.factor };
                    values[fault.signal] *= factor;
                }
            }
            let key = self.workloads[index].key.clone();
            let renamed = self.renamed_from.is_some_and(|from| step >= from);
            let series = if renamed { Name::from(format!("{}-new", key.name)) } else { key.name.clone() };
            for (metric, value) in values.into_iter().enumerate() {
                let sample = Sample {
                    metric: self.metrics[metric].clone(),
                    series: series.clone(),
                    value,
                    counter: false,
                    asked_by: Some(key.clone()),
                };
                self.push(Entity::Workload { key: key.clone() }, Signal::Sample(sample));
                self.outcome.samples += 1;
            }
            self.spans(index);
        }
    }

    /// Calls of a neighbour in the same namespace, one after another within a second.
    fn spans(&mut self, index: usize) {
        let team = index / WORKLOADS_PER_TEAM * WORKLOADS_PER_TEAM;
        let caller = team + (index - team) / 2;
        let from = self.workloads[caller].entity(0);
        let address = self.workloads[index].key.name.clone();
        for turn in 0..SPANS {
            self.trace += 1;
            let workload = &mut self.workloads[index];
            let seconds = workload.own_seconds * (0.3 * workload.noise.normal()).exp();
            let to = workload.entity(turn as usize % 2);
            let end = at(self.now);
            let start = end - SignedDuration::from_secs_f64(seconds);
            let server = Span {
                trace: self.trace,
                id: 2,
                parent: 1,
                kind: SpanKind::Server,
                start,
                end,
                operation: self.operation.clone(),
                outcome: CallOutcome::Ok,
                peer: None,
            };
            if turn == 0 {
                let (kind, peer) = (SpanKind::Client, Some(address.clone()));
                let client = Span { id: 1, parent: 0, kind, peer, ..server.clone() };
                self.push(from.clone(), Signal::Span(client));
                self.outcome.spans += 1;
            }
            // Ids are unique in the cluster, not only in a trace.
            let server = Span { id: 2 * self.trace as u64 + 1, ..server };
            self.push(to, Signal::Span(server));
            self.outcome.spans += 1;
        }
    }

    /// A rollout as the API server tells it: per pod a new one, ready some seconds later, then the old one goes.
    fn roll(&mut self, index: usize) {
        let now = self.now;
        let workload = &mut self.workloads[index];
        let Some(rollout) = workload.rollout else {
            if now >= workload.next_rollout {
                workload.generation += 1;
                workload.rollout = Some(Rollout { stage: 0, at: now });
                self.outcome.rollouts += 1;
                self.roll(index);
            }
            return;
        };
        if now < rollout.at {
            return;
        }
        let place = usize::from(rollout.stage / 4);
        match rollout.stage % 4 {
            0 => {
                self.controllers(index, place as i32, 2);
                let pod = self.workloads[index].new_pod(place, now, false);
                self.object(ObjectChange::Pod(Change::Applied(Arc::new(pod))));
                self.controllers(index, place as i32 + 1, 3);
            }
            1 => {
                let pod = self.workloads[index].new_pod(place, now, true);
                self.object(ObjectChange::Pod(Change::Applied(Arc::new(pod))));
            }
            2 => {
                let old = self.workloads[index].pod(place, START - 86_400, true, true);
                self.object(ObjectChange::Pod(Change::Applied(Arc::new(old))));
            }
            _ => {
                let workload = &mut self.workloads[index];
                let new = workload.new_pod(place, now, true);
                let (old, _) = std::mem::replace(&mut workload.pods[place], (new.key, new.uid));
                self.object(ObjectChange::Pod(Change::Deleted(old)));
                self.controllers(index, place as i32 + 1, 2);
            }
        }
        let workload = &mut self.workloads[index];
        workload.rollout = Some(Rollout { stage: rollout.stage + 1, at: now + 20 });
        if rollout.stage == 7 {
            workload.rollout = None;
            workload.version(now);
        }
    }
}

impl Workload {
    fn new(index: usize, seed: u64) -> Self {
        let mut noise = Noise::new(seed.wrapping_mul(1_000_003) + index as u64);
        let namespace = format!("team-{:02}", index / WORKLOADS_PER_TEAM);
        let key = ObjectKey::new(namespace, format!("w{index:04}"));
        let pods = [0, 1].map(|place| {
            let name = format!("{}-1-{place}", key.name);
            (ObjectKey { name: Name::from(name.as_str()), ..key.clone() }, Uid::new(format!("uid-{name}")))
        });
        let mut spread = |low: f64, high: f64| (noise.between(low.ln(), high.ln())).exp();
        let size =
            [spread(0.05, 8.0), spread(0.005, 1.0), spread(0.02, 20.0), spread(2.0, 2e3), spread(1.0, 5e3)];
        let own_seconds = spread(0.002, 0.3);
        Self {
            names: [key.name.clone(), key.namespace.clone()],
            key,
            size,
            peak: noise.between(9.0, 21.0),
            swing: noise.between(0.1, 0.8),
            weekend: noise.between(0.5, 1.1),
            queue: 0.0,
            own_seconds,
            generation: 1,
            pods,
            rollout: None,
            // The first week day is calm: everything is new to the loop anyway.
            next_rollout: START + (noise.exponential() * ROLLOUT_EVERY) as i64,
            warm_until: 0,
            noise,
        }
    }

    /// Load relative to its highest, by the time of the day and of the week.
    fn load(&self, now: i64) -> f64 {
        let since = (now - START) as f64;
        let hour = (since % DAY) / 3_600.0;
        let day = 1.0 - self.swing * 0.5 * (1.0 - ((hour - self.peak) / 24.0 * TAU).cos());
        // From Friday night to Saturday morning the load goes over to that of the weekend, and back on Sunday night.
        let hours = (since % WEEK) / 3_600.0;
        let part = ((hours - 116.0) / 8.0).clamp(0.0, 1.0) * ((168.0 - hours) / 8.0).clamp(0.0, 1.0);
        day * (1.0 - part * (1.0 - self.weekend))
    }

    /// Values of the five signals.
    fn values(&mut self, now: i64) -> [f64; 5] {
        let load = self.load(now);
        let warm = if now < self.warm_until { 1.5 } else { 1.0 };
        let noise = &mut self.noise;
        // Normal noise that grows with the level.
        let processor = self.size[0] * load * warm * (1.0 + 0.05 * noise.normal()).max(0.0);
        // A p99 of few calls: log-normal, one minute in fifty with a heavy tail (a pause, a slow disk).
        let pause = if noise.uniform() < 0.02 { (1.0 / noise.uniform()).powf(0.4) } else { 1.0 };
        let latency = self.size[1] * (0.7 + 0.3 * load) * warm * (0.15 * noise.normal()).exp() * pause;
        // Counts.
        let failures = noise.count(self.size[2] * load);
        // Messages that wait: autoregressive around the load, never negative.
        self.queue = 0.9 * self.queue + noise.normal() * 0.436;
        let queue = (self.size[3] * load * (1.0 + 0.3 * self.queue).max(0.0)).round();
        let throughput = noise.count(self.size[4] * load * 60.0) / 60.0;
        [processor, latency, failures, queue, throughput]
    }

    /// A new version: every level is a little different, and the first minutes are slow.
    fn version(&mut self, now: i64) {
        for size in &mut self.size[..2] {
            *size *= (0.05 * self.noise.normal()).exp();
        }
        self.own_seconds *= (0.05 * self.noise.normal()).exp();
        self.warm_until = now + self.noise.between(60.0, 240.0) as i64;
        self.next_rollout = now + 600 + (self.noise.exponential() * ROLLOUT_EVERY) as i64;
    }

    fn entity(&self, place: usize) -> Entity {
        let (key, uid) = self.pods[place].clone();
        Entity::Pod { key, uid, workload: Some(self.key.clone()) }
    }

    fn new_pod(&self, place: usize, created: i64, ready: bool) -> PodRecord {
        let name = format!("{}-{}-{place}", self.names[0], self.generation);
        let mut pod = self.pod(place, created, ready, false);
        pod.uid = Uid::new(format!("uid-{name}"));
        pod.key.name = Name::from(name);
        pod
    }

    fn pod(&self, place: usize, created: i64, ready: bool, deleting: bool) -> PodRecord {
        let (key, uid) = self.pods[place].clone();
        PodRecord {
            node: Some(Name::from("node-0")),
            phase: if ready { PodPhase::Running } else { PodPhase::Pending },
            owner: Some(OwnerRecord {
                kind: ControllerKind::ReplicaSet,
                name: Name::from(format!("{}-rs", self.names[0])),
                uid: Uid::new(format!("uid-{}-rs", self.names[0])),
            }),
            deleting,
            ready: ready && !deleting,
            created: at(created),
            containers: vec![ContainerRecord {
                memory: homeostat_knowledge::records::Memory::default(),
                name: Name::from("app"),
                ready: ready && !deleting,
                restarts: 0,
                state: if ready {
                    ContainerState::Running { since: at(created) }
                } else {
                    ContainerState::Waiting { reason: Name::from("ContainerCreating") }
                },
                last_termination: None,
                cpu_request: None,
                cpu_limit: None,
                ephemeral_storage_limit: None,
            }],
            ..PodRecord::bare(key, uid)
        }
    }
}

fn tenant(team: &Name) -> TenantPolicy {
    let levels = [ActionKind::EvictPod, ActionKind::RollingRestart].map(|kind| (kind, Level::ActFull));
    TenantPolicy {
        levels: BTreeMap::from(levels),
        ..TenantPolicy::new(TenantName::new(team.clone()), Uid::new(format!("uid-{team}")), [team.clone()])
    }
}

fn policy(key: &WorkloadKey) -> WorkloadPolicy {
    let signals = SIGNALS.map(|(name, unit, bad_above)| SignalPolicy {
        name: Name::from(name),
        promql: Name::from(format!("{name}{{app=\"{}\"}}", key.name)),
        metric: None,
        external: None,
        unit: Name::from(unit),
        bad_above,
        threshold: None,
        minimum_effect: None,
        measures: homeostat_knowledge::policy::Measures::default(),
    });
    WorkloadPolicy {
        availability: Some(0.995),
        signals: signals.to_vec(),
        ..WorkloadPolicy::new(
            key.clone(),
            Uid::new(format!("uid-workload-{}", key.name)),
            ControllerKey { kind: ControllerKind::Deployment, object: key.clone() },
        )
    }
}
