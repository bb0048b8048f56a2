//! Faults of a small application, as its spans and pods tell them: each gives one incident with the right cause.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, clippy::too_many_arguments, reason = "short calls read better here")]

use homeostat_analyse::{Analyser, Correlator, CorrelatorConfig};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::{Archetype, ControlPolicy};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord, PodPhase, ServiceRecord, Termination};
use homeostat_knowledge::{
    CallOutcome, ContainerRecord, ContainerState, ControllerKind, ControllerRecord, Entity, FindingKind,
    Incident, IncidentState, Name, ObjectKey, Observation, PodRecord, SeededIds, Signal, SignedDuration,
    Snapshot, Span, SpanKind, Timestamp, Uid, WorkloadKey, WorkloadPolicy,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SERVICES: [&str; 6] = ["gateway", "order", "consumer", "kitchen", "accounting", "notification"];

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("food", name)
}

fn millis(count: i64) -> SignedDuration {
    SignedDuration::from_millis(count)
}

/// The application as seen from outside, one step of 100 ms at a time.
struct World {
    now: Timestamp,
    snapshot: Snapshot,
    analyser: Analyser,
    correlator: Correlator,
    ids: SeededIds,
    trace: u128,
    outbox: Vec<(Timestamp, Observation)>,
    /// Every incident ever seen, newest version.
    incidents: BTreeMap<String, Incident>,
    /// Export delay per service, in milliseconds.
    delay: fn(&str) -> i64,
}

fn pod(name: &str) -> PodRecord {
    PodRecord {
        key: key(&format!("{name}-0")),
        uid: Uid::new(format!("uid-{name}-0")),
        resource_version: Name::from("1"),
        node: Some(Name::from("node")),
        ip: None,
        phase: PodPhase::Running,
        owner: Some(OwnerRecord {
            kind: ControllerKind::Deployment,
            name: Name::from(name),
            uid: Uid::new("d"),
        }),
        deleting: false,
        ready: true,
        unschedulable: None,
        created: Timestamp::from_second(1_000).unwrap(),
        template_hash: None,
        local_data: false,
        containers: vec![ContainerRecord {
            memory: homeostat_knowledge::records::Memory::default(),
            name: Name::from(name),
            ready: true,
            restarts: 0,
            state: ContainerState::Running { since: Timestamp::from_second(1_000).unwrap() },
            last_termination: None,
            cpu_request: None,
        }],
    }
}

impl World {
    fn new(delay: fn(&str) -> i64) -> Self {
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
            }))));
            world.object(ObjectChange::Service(Change::Applied(Arc::new(ServiceRecord {
                key: key(name),
                selector: labels,
                cluster_ip: None,
            }))));
            world.object(ObjectChange::Workload(Change::Applied(Arc::new(WorkloadPolicy {
                key: key(name),
                uid: Uid::new(format!("w-{name}")),
                generation: 1,
                target,
                archetype: Archetype::Service,
                criticality: 500,
                availability: Some(0.995),
                latency: None,
                signals: Vec::new(),
                dependencies: Vec::new(),
                playbooks: BTreeSet::new(),
                paused: false,
                do_not_touch_until: None,
                maximum_useless_restarts: 2,
                surge_after_crash: true,
                permits: homeostat_knowledge::policy::Permits::default(),
            }))));
            world.object(ObjectChange::Pod(Change::Applied(Arc::new(pod(name)))));
        }
        world
    }

    fn object(&mut self, change: ObjectChange) {
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

    fn span(
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
        let arrival = Timestamp::from_millisecond((end.as_millisecond() / beat + 1) * beat).unwrap();
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
    fn order(&mut self, start: Timestamp, broken: &dyn Fn(&str) -> Behaviour) {
        self.trace += 1;
        let base = (self.trace as u64) * 100;
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
            start,
            at.duration_since(start).as_secs_f64(),
            outcome,
            (base + 1, base),
        );
    }

    fn call(
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
        self.span(caller, SpanKind::Client, Some(callee), start, seconds, outcome, (id, parent));
        (seconds, outcome)
    }

    /// Runs for a while at ten orders per step of 100 ms.
    fn run(&mut self, length: SignedDuration, broken: &dyn Fn(&str) -> Behaviour) {
        let end = self.now + length;
        while self.now < end {
            for turn in 0..10 {
                let start = self.now + millis(turn * 10);
                self.order(start, broken);
            }
            self.now += millis(100);
            let now = self.now;
            self.outbox.sort_by_key(|(arrival, _)| *arrival);
            let due = self.outbox.partition_point(|(arrival, _)| *arrival <= now);
            let batch: Vec<Observation> =
                self.outbox.drain(..due).map(|(_, observation)| observation).collect();
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
    }

    fn pod_dies(&mut self, name: &str, restarts: u32, exit_code: i32, reason: &str, ran: i64) {
        let record = self.dead(name, restarts, exit_code, reason, ran);
        self.object(ObjectChange::Pod(Change::Applied(Arc::new(record))));
    }

    fn dead(&self, name: &str, restarts: u32, exit_code: i32, reason: &str, ran: i64) -> PodRecord {
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

    fn pod_runs(&mut self, name: &str, restarts: u32) {
        let mut record = pod(name);
        record.containers[0].restarts = restarts;
        record.containers[0].state = ContainerState::Running { since: self.now };
        self.object(ObjectChange::Pod(Change::Applied(Arc::new(record))));
    }

    fn only(&self) -> &Incident {
        assert_eq!(
            self.incidents.len(),
            1,
            "{:#?}",
            self.incidents.values().map(Incident::summary).collect::<Vec<_>>()
        );
        self.incidents.values().next().unwrap()
    }

    fn assert_cause(&self, entity: &Entity, kind: FindingKind) {
        let top = self.only().top_cause().expect("a cause");
        assert_eq!((&top.entity, top.kind), (entity, kind), "{:#?}", self.only().timeline);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Good,
    Errors,
    Hung,
    Late,
    Gone,
}

impl Behaviour {
    /// What the caller sees: seconds and outcome.
    fn answer(self, usual: f64) -> (f64, CallOutcome) {
        match self {
            Self::Good => (usual, CallOutcome::Ok),
            Self::Errors => (usual, CallOutcome::ServerError),
            Self::Hung | Self::Late => (1.0, CallOutcome::Timeout),
            Self::Gone => (0.001, CallOutcome::Refused),
        }
    }

    /// What the callee itself reports.
    fn own_span(self, seconds: f64) -> Vec<(f64, CallOutcome)> {
        match self {
            Self::Good => vec![(seconds, CallOutcome::Ok)],
            Self::Errors => vec![(seconds, CallOutcome::ServerError)],
            Self::Late => vec![(seconds, CallOutcome::Cancelled)],
            Self::Hung | Self::Gone => Vec::new(),
        }
    }
}

fn good(_: &str) -> Behaviour {
    Behaviour::Good
}

fn usual_delay(_: &str) -> i64 {
    200
}

fn workload(name: &str) -> Entity {
    Entity::Workload { key: key(name) }
}

fn failing(name: &'static str, how: Behaviour) -> impl Fn(&str) -> Behaviour {
    move |service| if service == name { how } else { Behaviour::Good }
}

#[test]
fn minutes_of_load_without_a_fault_give_no_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_mins(3), &good);
    assert!(world.incidents.is_empty());
}

#[test]
fn answered_requests_are_counted_and_only_grow() {
    let mut world = World::new(usual_delay);
    let mut before = 0;
    for seconds in [10_u64, 20] {
        world.run(SignedDuration::from_secs(10), &good);
        let answered = world.snapshot.health.get(&key("order")).unwrap().answered;
        // Each order is one request; the last ones are still on their way.
        assert!((80 * seconds..=100 * seconds).contains(&answered) && answered > before, "{answered}");
        before = answered;
    }
}

#[test]
fn each_way_to_fail_gives_one_incident_with_its_cause_within_two_seconds() {
    let cases = [
        (Behaviour::Hung, FindingKind::Hung),
        (Behaviour::Late, FindingKind::Slow),
        (Behaviour::Errors, FindingKind::ErrorBurst),
        (Behaviour::Gone, FindingKind::Unreachable),
    ];
    for service in ["order", "consumer", "kitchen", "accounting", "notification"] {
        for (how, kind) in cases {
            let mut world = World::new(usual_delay);
            world.run(SignedDuration::from_secs(20), &good);
            world.run(SignedDuration::from_secs(6), &failing(service, how));
            world.run(SignedDuration::from_secs(8), &good);
            world.assert_cause(&workload(service), kind);
            let incident = world.only();
            let took =
                incident.instants.detected.duration_since(incident.instants.impact_start).as_secs_f64();
            assert!(took <= 2.0, "{service} {kind}: detected after {took} s");
            assert_eq!(incident.state, IncidentState::Mitigated, "{service} {kind}");
            let back = incident
                .instants
                .mitigated
                .unwrap()
                .duration_since(incident.instants.impact_start)
                .as_secs_f64();
            assert!((4.0..8.0).contains(&back), "{service} {kind}: mitigated after {back} s");
        }
    }
}

#[test]
fn a_dead_provider_is_external_and_nobody_inside_is_blamed() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(10), &failing("provider", Behaviour::Gone));
    world.assert_cause(
        &Entity::External { address: Name::from("payments.example") },
        FindingKind::DependencyDown,
    );
    let incident = world.only();
    assert_eq!(incident.workload, Some(key("accounting")));
    assert!(incident.affected.contains(&key("order")), "{:?}", incident.affected);
    assert_eq!(incident.causes.len(), 1);
}

#[test]
fn the_caller_is_not_blamed_when_its_spans_arrive_before_those_of_the_callee() {
    fn delay(service: &str) -> i64 {
        if service == "gateway" { 100 } else { 3_000 }
    }
    for how in [Behaviour::Errors, Behaviour::Hung] {
        let mut world = World::new(delay);
        world.run(SignedDuration::from_secs(30), &good);
        world.run(SignedDuration::from_secs(12), &failing("kitchen", how));
        let top: Entity = world.only().top_cause().unwrap().entity.clone();
        assert_eq!(top, workload("kitchen"));
    }
}

#[test]
fn a_kill_is_a_crash_and_a_second_one_backs_off_in_the_same_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(millis(400), &failing("kitchen", Behaviour::Gone));
    world.pod_dies("kitchen", 0, 137, "Error", 3_600);
    world.run(millis(600), &failing("kitchen", Behaviour::Gone));
    world.assert_cause(&workload("kitchen"), FindingKind::Crashed);
    world.pod_runs("kitchen", 1);
    world.run(millis(1_500), &good);
    world.run(millis(300), &failing("kitchen", Behaviour::Gone));
    world.pod_dies("kitchen", 1, 137, "Error", 1);
    world.run(SignedDuration::from_secs(2), &failing("kitchen", Behaviour::Gone));
    world.assert_cause(&workload("kitchen"), FindingKind::BackingOff);
}

#[test]
fn a_crash_at_every_start_is_told_apart_from_a_kill() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.pod_dies("consumer", 0, 137, "Error", 3_600);
    world.run(SignedDuration::from_secs(1), &failing("consumer", Behaviour::Gone));
    world.pod_dies("consumer", 1, 1, "Error", 0);
    world.run(SignedDuration::from_secs(2), &failing("consumer", Behaviour::Gone));
    world.assert_cause(&workload("consumer"), FindingKind::CrashLoop);
}

#[test]
fn a_new_release_that_fails_beside_the_serving_old_one_is_one_incident_that_stays_open() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    for restarts in 0..4 {
        let mut fresh = world.dead("kitchen", restarts, 1, "Error", 0);
        fresh.key = key("kitchen-new");
        fresh.uid = Uid::new("uid-kitchen-new");
        world.object(ObjectChange::Pod(Change::Applied(Arc::new(fresh))));
        world.run(SignedDuration::from_secs(5), &good);
    }
    world.assert_cause(&workload("kitchen"), FindingKind::CrashLoop);
    let incident = world.only();
    assert_eq!((incident.reopen_count, incident.instants.mitigated), (0, None), "{:#?}", incident.timeline);
}

#[test]
fn a_caller_that_reaches_nobody_while_others_do_is_the_cause_itself() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    for call in 0..100 {
        world.trace += 1;
        let start = world.now + millis(40) * i32::try_from(call).unwrap();
        let ids = (9_000_000 + call, 0);
        world.span("gateway", SpanKind::Client, Some("consumer"), start, 0.005, CallOutcome::Ok, ids);
    }
    world.run(SignedDuration::from_secs(4), &failing("consumer", Behaviour::Gone));
    world.assert_cause(&workload("order"), FindingKind::Unreachable);
}

#[test]
fn two_faults_of_unrelated_kinds_are_two_incidents() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.pod_dies("kitchen", 0, 137, "Error", 3_600);
    world.pod_dies("accounting", 0, 137, "Error", 3_600);
    world.run(SignedDuration::from_secs(2), &|service| match service {
        "kitchen" | "accounting" => Behaviour::Gone,
        _ => Behaviour::Good,
    });
    let causes: BTreeSet<WorkloadKey> =
        world.incidents.values().filter_map(|incident| incident.workload.clone()).collect();
    assert_eq!(causes, [key("accounting"), key("kitchen")].into());
}

#[test]
fn a_handful_of_broken_connections_in_a_rollout_is_no_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(millis(100), &failing("kitchen", Behaviour::Gone));
    world.run(SignedDuration::from_secs(10), &good);
    assert!(
        world.incidents.is_empty(),
        "{:?}",
        world.incidents.values().map(Incident::summary).collect::<Vec<_>>()
    );
}

#[test]
fn the_same_input_gives_the_same_incidents() {
    let story = || {
        let mut world = World::new(usual_delay);
        world.run(SignedDuration::from_secs(20), &good);
        world.run(SignedDuration::from_secs(5), &failing("order", Behaviour::Hung));
        world.run(SignedDuration::from_secs(8), &good);
        serde_json::to_string(&world.incidents).unwrap()
    };
    assert_eq!(story(), story());
}

#[test]
fn a_service_that_falls_back_into_a_fault_later_opens_a_new_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(5), &failing("order", Behaviour::Errors));
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(5), &failing("order", Behaviour::Errors));
    world.run(SignedDuration::from_secs(20), &good);
    assert_eq!(world.incidents.len(), 2);
}

#[test]
fn a_caller_that_only_answers_wrongly_soon_after_its_callee_was_healed_is_a_fault_of_its_own() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(3), &failing("consumer", Behaviour::Errors));
    world.run(SignedDuration::from_secs(7), &good);
    let before = world.incidents.len();
    world.run(SignedDuration::from_secs(2), &failing("order", Behaviour::Errors));
    assert_eq!((before, world.incidents.len()), (1, 2));
    let top = world.incidents.values().map(|incident| incident.top_cause().unwrap().entity.clone());
    assert!(top.collect::<Vec<_>>().contains(&workload("order")));
}
