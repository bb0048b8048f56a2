//! The application as its spans and pods tell it, in virtual time.

use homeostat_analyse::{Analyser, Correlator, CorrelatorConfig};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::ControlPolicy;
use homeostat_knowledge::records::{ControllerKey, NodeRecord, OwnerRecord, ServiceRecord, Termination};
use homeostat_knowledge::{
    CallOutcome, ContainerRecord, ContainerState, ControllerKind, ControllerRecord, Entity, FindingKind,
    Incident, Name, ObjectKey, Observation, PodRecord, SeededIds, Signal, SignedDuration, Snapshot, Span,
    SpanKind, Timestamp, Uid, WorkloadPolicy,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const SERVICES: [&str; 6] = ["gateway", "order", "consumer", "kitchen", "accounting", "notification"];

pub fn key(name: &str) -> ObjectKey {
    ObjectKey::new("food", name)
}

pub fn millis(count: i64) -> SignedDuration {
    SignedDuration::from_millis(count)
}

/// The application as seen from outside, one step of 100 ms at a time.
pub struct World {
    pub now: Timestamp,
    pub snapshot: Snapshot,
    pub analyser: Analyser,
    pub correlator: Correlator,
    pub ids: SeededIds,
    pub trace: u128,
    pub outbox: Vec<(Timestamp, Observation)>,
    /// Every incident ever seen, newest version.
    pub incidents: BTreeMap<String, Incident>,
    /// Export delay per service, in milliseconds.
    pub delay: fn(&str) -> i64,
    /// By how much later than that it arrives, in milliseconds.
    pub late: fn(&str) -> i64,
    /// How long a call of one service waits until the other one takes it up, in milliseconds.
    pub wait: fn(&str, &str) -> i64,
}

/// The node that everything runs on.
pub fn node() -> NodeRecord {
    NodeRecord {
        name: Name::from("node"),
        uid: Uid::new("uid-node"),
        ready: true,
        cordoned: false,
        leaving: None,
        zone: None,
        allocatable_pods: 110,
        allocatable: homeostat_knowledge::records::Amounts::default(),
        pressures: Vec::new(),
        control_plane: false,
        hold: None,
    }
}

pub fn pod(name: &str) -> PodRecord {
    PodRecord {
        node: Some(Name::from("node")),
        owner: Some(OwnerRecord {
            kind: ControllerKind::Deployment,
            name: Name::from(name),
            uid: Uid::new("d"),
        }),
        created: Timestamp::from_second(1_000).unwrap(),
        containers: vec![ContainerRecord {
            memory: homeostat_knowledge::records::Memory::default(),
            name: Name::from(name),
            ready: true,
            restarts: 0,
            state: ContainerState::Running { since: Timestamp::from_second(1_000).unwrap() },
            last_termination: None,
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
        }],
        ..PodRecord::bare(key(&format!("{name}-0")), Uid::new(format!("uid-{name}-0")))
    }
}

impl World {
    pub fn new(delay: fn(&str) -> i64) -> Self {
        let now = Timestamp::from_second(10_000).unwrap();
        let mut world = Self {
            now,
            snapshot: Snapshot::default(),
            analyser: Analyser::new(),
            correlator: Correlator::new(CorrelatorConfig::default()),
            ids: SeededIds::new(1),
            trace: 0,
            outbox: Vec::new(),
            incidents: BTreeMap::new(),
            delay,
            late: |_| 0,
            wait: |_, _| 0,
        };
        world.object(ObjectChange::Control(Some(Arc::new(ControlPolicy::default()))));
        for name in SERVICES {
            let target = ControllerKey { kind: ControllerKind::Deployment, object: key(name) };
            let labels: BTreeMap<Name, Name> = [(Name::from("app"), Name::from(name))].into();
            world.object(ObjectChange::Controller(Change::Applied(Arc::new(ControllerRecord {
                key: target.clone(),
                uid: Uid::new(format!("uid-{name}")),
                resource_version: Name::from("1"),
                generation: 1,
                observed_generation: 1,
                replicas: 1,
                current: 1,
                ready: 1,
                updated: 1,
                revision: None,
                release: None,
                surges: true,
                paused: false,
                template_labels: labels.clone(),
                owner: None,
                gitops_owner: None,
                finished: None,
                run: homeostat_knowledge::records::RunTimes::default(),
                work: None,
                hold: None,
                do_not_touch: None,
                api: None,
            }))));
            world.object(ObjectChange::Service(Change::Applied(Arc::new(ServiceRecord {
                key: key(name),
                selector: labels,
                cluster_ip: None,
            }))));
            world.object(ObjectChange::Workload(Change::Applied(Arc::new(WorkloadPolicy {
                availability: Some(0.995),
                ..WorkloadPolicy::new(key(name), Uid::new(format!("w-{name}")), target)
            }))));
            world.object(ObjectChange::Pod(Change::Applied(Arc::new(pod(name)))));
        }
        world
    }

    pub fn object(&mut self, change: ObjectChange) {
        let observation = Observation {
            tenant: None,
            entity: Entity::Cluster,
            event_time: self.now,
            arrival_time: self.now,
            signal: Signal::Object(change.clone()),
        };
        self.snapshot = self.snapshot.clone().apply(&change, self.now);
        self.analyser.ingest(&self.snapshot, &[observation]);
    }

    pub fn span(
        &mut self,
        service: &str,
        kind: SpanKind,
        peer: Option<&str>,
        start: Timestamp,
        seconds: f64,
        outcome: CallOutcome,
        ids: (u64, u64),
    ) {
        let end = start + SignedDuration::from_secs_f64(seconds);
        let span = Span {
            trace: self.trace,
            id: ids.0,
            parent: ids.1,
            kind,
            start,
            end,
            operation: Name::from("op"),
            outcome,
            peer: peer.map(Name::from),
        };
        // Exporters send full batches on a beat of their own.
        let beat = (self.delay)(service);
        let arrival = Timestamp::from_millisecond((end.as_millisecond() / beat + 1) * beat).unwrap()
            + millis((self.late)(service));
        let observation = Observation {
            tenant: None,
            entity: Entity::Pod {
                key: key(&format!("{service}-0")),
                uid: Uid::new(format!("uid-{service}-0")),
                workload: Some(key(service)),
            },
            event_time: end,
            arrival_time: arrival,
            signal: Signal::Span(span),
        };
        self.outbox.push((arrival, observation));
    }

    /// One full order; `broken` says how a callee behaves.
    pub fn order(&mut self, start: Timestamp, broken: &dyn Fn(&str) -> Behaviour) {
        self.trace += 1;
        let base = (self.trace as u64) * 100;
        let called = start;
        let start = start + millis((self.wait)("gateway", "order"));
        let mut at = start + millis(1);
        let order = broken("order");
        let mut outcome = CallOutcome::Ok;
        if order == Behaviour::Good {
            for (index, callee) in
                ["consumer", "kitchen", "accounting", "notification"].into_iter().enumerate()
            {
                let (seconds, result) =
                    self.call("order", callee, at, base + 10 + index as u64, base + 2, broken);
                at += SignedDuration::from_secs_f64(seconds);
                if !result.good() {
                    outcome = CallOutcome::ServerError;
                    break;
                }
            }
            self.span(
                "order",
                SpanKind::Server,
                None,
                start,
                at.duration_since(start).as_secs_f64(),
                outcome,
                (base + 2, base + 1),
            );
        } else {
            let (seconds, result) = order.answer(0.01);
            at = start + SignedDuration::from_secs_f64(seconds);
            outcome = result;
            order.own_span(seconds).into_iter().for_each(|(seconds, result)| {
                self.span("order", SpanKind::Server, None, start, seconds, result, (base + 2, base + 1));
            });
        }
        self.span(
            "gateway",
            SpanKind::Client,
            Some("order"),
            called,
            at.duration_since(called).as_secs_f64(),
            outcome,
            (base + 1, base),
        );
    }

    pub fn call(
        &mut self,
        caller: &str,
        callee: &str,
        start: Timestamp,
        id: u64,
        parent: u64,
        broken: &dyn Fn(&str) -> Behaviour,
    ) -> (f64, CallOutcome) {
        let behaviour = broken(callee);
        let (mut seconds, mut outcome) = behaviour.answer(0.005);
        let wait = millis((self.wait)(caller, callee));
        let (called, start) = (start, start + wait);
        if callee == "accounting" && behaviour == Behaviour::Good {
            let provider = broken("provider");
            let (below, result) = provider.answer(0.002);
            self.span(
                "accounting",
                SpanKind::Client,
                Some("payments.example"),
                start,
                below,
                result,
                (id + 50, id + 1_000_000),
            );
            seconds = below + 0.003;
            if !result.good() {
                outcome = CallOutcome::ServerError;
            }
        }
        let own =
            if behaviour == Behaviour::Good { vec![(seconds, outcome)] } else { behaviour.own_span(seconds) };
        for (seconds, result) in own {
            self.span(callee, SpanKind::Server, None, start, seconds, result, (id + 1_000_000, id));
        }
        seconds += wait.as_secs_f64();
        self.span(caller, SpanKind::Client, Some(callee), called, seconds, outcome, (id, parent));
        (seconds, outcome)
    }

    /// Runs for a while at ten orders per step of 100 ms.
    pub fn run(&mut self, length: SignedDuration, broken: &dyn Fn(&str) -> Behaviour) {
        self.steps(length, &|world, start| world.order(start, broken));
    }

    /// The same, and as often every service is called by the gateway too.
    pub fn run_both(&mut self, length: SignedDuration, broken: &dyn Fn(&str) -> Behaviour) {
        self.steps(length, &|world, start| {
            world.order(start, broken);
            world.each(start, broken);
        });
    }

    /// The same, but every service is called on its own: none keeps another one from being called.
    pub fn run_apart(&mut self, length: SignedDuration, broken: &dyn Fn(&str) -> Behaviour) {
        self.steps(length, &|world, start| world.each(start, broken));
    }

    fn each(&mut self, start: Timestamp, broken: &dyn Fn(&str) -> Behaviour) {
        for callee in ["consumer", "kitchen", "accounting", "notification"] {
            self.trace += 1;
            let base = (self.trace as u64) * 100;
            self.call("gateway", callee, start, base + 10, base + 2, broken);
        }
    }

    fn steps(&mut self, length: SignedDuration, calls: &dyn Fn(&mut Self, Timestamp)) {
        let end = self.now + length;
        while self.now < end {
            for turn in 0..10 {
                let start = self.now + millis(turn * 10);
                calls(self, start);
            }
            self.now += millis(100);
            self.look();
        }
    }

    /// Nobody calls anybody for so long.
    pub fn silence(&mut self, length: SignedDuration) {
        let end = self.now + length;
        while self.now < end {
            self.now += SignedDuration::from_secs(1);
            self.look();
        }
    }

    /// How many pods of the service are to run.
    pub fn scale(&mut self, name: &str, replicas: i32) {
        let target = ControllerKey { kind: ControllerKind::Deployment, object: key(name) };
        let mut record = (*self.snapshot.controllers[&target]).clone();
        record.replicas = replicas;
        self.object(ObjectChange::Controller(Change::Applied(Arc::new(record))));
        if replicas == 0 {
            self.object(ObjectChange::Pod(Change::Deleted(pod(name).key)));
        }
    }

    /// One look at what has arrived by now.
    pub fn look(&mut self) {
        let now = self.now;
        self.outbox.sort_by_key(|(arrival, _)| *arrival);
        let due = self.outbox.partition_point(|(arrival, _)| *arrival <= now);
        let batch: Vec<Observation> = self.outbox.drain(..due).map(|(_, observation)| observation).collect();
        self.analyser.ingest(&self.snapshot, &batch);
        let evaluation = self.analyser.evaluate(&self.snapshot, now);
        for (workload, health) in evaluation.health {
            self.snapshot.health.insert_mut(workload, health);
        }
        self.correlator.update(
            &evaluation.findings,
            self.analyser.calls(),
            &self.snapshot,
            now,
            &mut self.ids,
        );
        self.snapshot.incidents = self
            .correlator
            .incidents()
            .map(|incident| (incident.id.clone(), Arc::new(incident.clone())))
            .collect();
        for incident in self.correlator.incidents() {
            self.incidents.insert(incident.id.to_string(), incident.clone());
        }
    }

    pub fn pod_dies(&mut self, name: &str, restarts: u32, exit_code: i32, reason: &str, ran: i64) {
        let record = self.dead(name, restarts, exit_code, reason, ran);
        self.object(ObjectChange::Pod(Change::Applied(Arc::new(record))));
    }

    pub fn dead(&self, name: &str, restarts: u32, exit_code: i32, reason: &str, ran: i64) -> PodRecord {
        let mut record = pod(name);
        record.ready = false;
        record.containers[0].ready = false;
        record.containers[0].restarts = restarts;
        record.containers[0].state = ContainerState::Terminated(Termination {
            reason: Name::from(reason),
            exit_code,
            started: Some(self.now - SignedDuration::from_secs(ran)),
            finished: Some(self.now),
            used: homeostat_knowledge::records::Amounts::default(),
        });
        record
    }

    pub fn pod_runs(&mut self, name: &str, restarts: u32) {
        let mut record = pod(name);
        record.containers[0].restarts = restarts;
        record.containers[0].state = ContainerState::Running { since: self.now };
        self.object(ObjectChange::Pod(Change::Applied(Arc::new(record))));
    }

    pub fn only(&self) -> &Incident {
        assert_eq!(
            self.incidents.len(),
            1,
            "{:#?}",
            self.incidents.values().map(Incident::summary).collect::<Vec<_>>()
        );
        self.incidents.values().next().unwrap()
    }

    pub fn assert_cause(&self, entity: &Entity, kind: FindingKind) {
        let top = self.only().top_cause().expect("a cause");
        assert_eq!((&top.entity, top.kind), (entity, kind), "{:#?}", self.only().timeline);
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Behaviour {
    Good,
    /// An error at once.
    Errors,
    /// An error after a time in which others give up.
    LateErrors,
    Hung,
    Late,
    /// Well, but twenty times as late as usual.
    Slower,
    Gone,
}

impl Behaviour {
    /// What the caller sees: seconds and outcome.
    fn answer(self, usual: f64) -> (f64, CallOutcome) {
        match self {
            Self::Good => (usual, CallOutcome::Ok),
            Self::Slower => (usual * 20.0, CallOutcome::Ok),
            Self::Errors => (usual, CallOutcome::ServerError),
            Self::LateErrors => (usual * 100.0, CallOutcome::ServerError),
            Self::Hung | Self::Late => (1.0, CallOutcome::Timeout),
            Self::Gone => (0.001, CallOutcome::Refused),
        }
    }

    /// What the callee itself reports.
    fn own_span(self, seconds: f64) -> Vec<(f64, CallOutcome)> {
        match self {
            Self::Good | Self::Slower => vec![(seconds, CallOutcome::Ok)],
            Self::Errors | Self::LateErrors => vec![(seconds, CallOutcome::ServerError)],
            Self::Late => vec![(seconds, CallOutcome::Cancelled)],
            Self::Hung | Self::Gone => Vec::new(),
        }
    }
}

pub fn good(_: &str) -> Behaviour {
    Behaviour::Good
}

pub fn usual_delay(_: &str) -> i64 {
    200
}

pub fn workload(name: &str) -> Entity {
    Entity::Workload { key: key(name) }
}

pub fn failing(name: &'static str, how: Behaviour) -> impl Fn(&str) -> Behaviour {
    move |service| if service == name { how } else { Behaviour::Good }
}
