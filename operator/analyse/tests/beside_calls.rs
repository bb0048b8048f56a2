//! Findings that need no failing call: replicas unlike their siblings, a node that slows everybody, named signals.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use homeostat_analyse::Analyser;
use homeostat_knowledge::observation::{Change, ObjectChange, Sample, Span, SpanKind};
use homeostat_knowledge::policy::{Measures, SignalPolicy};
use homeostat_knowledge::records::{ControllerKey, Memory, NodeRecord, OwnerRecord, RunTimes};
use homeostat_knowledge::{
    CallOutcome, ContainerRecord, ContainerState, ControllerKind, ControllerRecord, Entity, Finding,
    FindingKind, Name, ObjectKey, Observation, PodRecord, Signal, SignedDuration, Snapshot, Timestamp, Uid,
    WorkloadPolicy,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const REPLICAS: usize = 4;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

struct World {
    now: Timestamp,
    snapshot: Snapshot,
    analyser: Analyser,
    calls: u64,
    findings: Vec<Finding>,
}

impl World {
    /// Workloads with four replicas each, the first of them on `node-0`, and so on.
    fn new(workloads: &[(&str, Vec<SignalPolicy>)]) -> Self {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut world = Self {
            now,
            snapshot: Snapshot::default(),
            analyser: Analyser::new(),
            calls: 0,
            findings: Vec::new(),
        };
        for node in 0..REPLICAS {
            world.object(&ObjectChange::Node(Change::Applied(Arc::new(NodeRecord {
                name: Name::from(format!("node-{node}")),
                uid: Uid::new(format!("uid-node-{node}")),
                ready: true,
                cordoned: false,
                leaving: None,
                zone: None,
                allocatable_pods: 110,
                allocatable: homeostat_knowledge::records::Amounts::default(),
                pressures: Vec::new(),
                control_plane: false,
                hold: None,
            }))));
        }
        for (name, signals) in workloads {
            world.workload(name, signals.clone());
        }
        world
    }

    fn workload(&mut self, name: &str, signals: Vec<SignalPolicy>) {
        let target = ControllerKey { kind: ControllerKind::StatefulSet, object: key(name) };
        let replicas = i32::try_from(REPLICAS).unwrap();
        self.object(&ObjectChange::Controller(Change::Applied(Arc::new(ControllerRecord {
            key: target.clone(),
            uid: Uid::new(format!("uid-{name}")),
            resource_version: "1".into(),
            generation: 1,
            observed_generation: 1,
            replicas,
            current: replicas,
            ready: replicas,
            updated: replicas,
            revision: None,
            release: None,
            surges: true,
            paused: false,
            template_labels: BTreeMap::new(),
            owner: None,
            gitops_owner: None,
            finished: None,
            run: RunTimes::default(),
            work: None,
            hold: None,
            do_not_touch: None,
            api: None,
        }))));
        self.object(&ObjectChange::Workload(Change::Applied(Arc::new(WorkloadPolicy {
            signals,
            ..WorkloadPolicy::new(key(name), Uid::new(format!("w-{name}")), target)
        }))));
        for replica in 0..REPLICAS {
            let since = self.now - SignedDuration::from_hours(1);
            self.object(&ObjectChange::Pod(Change::Applied(Arc::new(PodRecord {
                node: Some(Name::from(format!("node-{replica}"))),
                owner: Some(OwnerRecord {
                    kind: ControllerKind::StatefulSet,
                    name: Name::from(name),
                    uid: Uid::new(format!("uid-{name}")),
                }),
                created: since,
                containers: vec![ContainerRecord {
                    memory: Memory { request: Some(1_000), limit: Some(1_000) },
                    name: "app".into(),
                    ready: true,
                    restarts: 0,
                    state: ContainerState::Running { since },
                    last_termination: None,
                    cpu_request: None,
                    cpu_limit: None,
                    ephemeral_storage_limit: None,
                }],
                ..PodRecord::bare(
                    key(&format!("{name}-{replica}")),
                    Uid::new(format!("uid-{name}-{replica}")),
                )
            }))));
        }
    }

    /// Only the replicas on `node-0` are left.
    fn without_siblings(&mut self) {
        let gone: Vec<_> = self.snapshot.pods.values().cloned().collect();
        for pod in gone.into_iter().filter(|pod| pod.node.as_deref() != Some("node-0")) {
            self.object(&ObjectChange::Pod(Change::Deleted(pod.key.clone())));
        }
    }

    fn pods(&mut self, edit: impl Fn(&mut PodRecord)) {
        let all: Vec<_> = self.snapshot.pods.values().cloned().collect();
        for pod in all {
            let mut pod = (*pod).clone();
            edit(&mut pod);
            self.object(&ObjectChange::Pod(Change::Applied(Arc::new(pod))));
        }
    }

    fn object(&mut self, change: &ObjectChange) {
        self.snapshot = self.snapshot.clone().apply(change, self.now);
    }

    /// Answers of every replica for a while, five a second; `seconds` and outcome of each.
    fn serve(&mut self, length: i64, names: &[&str], answer: &dyn Fn(&str, usize) -> (f64, CallOutcome)) {
        for _ in 0..length * 5 {
            let mut batch = Vec::new();
            for name in names {
                for replica in 0..REPLICAS {
                    self.calls += 1;
                    let (seconds, outcome) = answer(name, replica);
                    batch.push(Observation {
                        tenant: None,
                        entity: Entity::Pod {
                            key: key(&format!("{name}-{replica}")),
                            uid: Uid::new(format!("uid-{name}-{replica}")),
                            workload: Some(key(name)),
                        },
                        event_time: self.now,
                        arrival_time: self.now,
                        signal: Signal::Span(Span {
                            trace: u128::from(self.calls),
                            id: self.calls,
                            parent: 0,
                            kind: SpanKind::Server,
                            start: self.now - SignedDuration::from_secs_f64(seconds),
                            end: self.now,
                            operation: "op".into(),
                            outcome,
                            peer: None,
                        }),
                    });
                }
            }
            self.analyser.ingest(&self.snapshot, &batch);
            self.look(SignedDuration::from_millis(200));
        }
    }

    /// One sample of a signal of `order`, a minute after the one before.
    fn sample(&mut self, metric: &str, series: &str, value: f64) {
        let sample = Sample {
            metric: metric.into(),
            series: series.into(),
            value,
            counter: false,
            asked_by: Some(key("order")),
        };
        let observation = Observation {
            tenant: None,
            entity: Entity::Workload { key: key("order") },
            event_time: self.now,
            arrival_time: self.now,
            signal: Signal::Sample(sample),
        };
        self.analyser.ingest(&self.snapshot, &[observation]);
        self.look(SignedDuration::from_mins(1));
    }

    fn look(&mut self, step: SignedDuration) {
        let evaluation = self.analyser.evaluate(&self.snapshot, self.now);
        for (workload, health) in evaluation.health {
            self.snapshot.health.insert_mut(workload, health);
        }
        self.findings = evaluation.findings.into_iter().filter(|finding| finding.active).collect();
        self.now += step;
    }

    fn kinds(&self) -> Vec<(FindingKind, String)> {
        self.findings.iter().map(|finding| (finding.kind, finding.entity.name().to_owned())).collect()
    }
}

#[test]
fn one_slow_replica_is_named_and_forgotten_when_it_is_well() {
    let mut world = World::new(&[("order", Vec::new())]);
    let usual = |_: &str, replica: usize| (0.010 + 0.002 * replica as f64, CallOutcome::Ok);
    world.serve(30, &["order"], &usual);
    assert_eq!(world.kinds(), []);
    world.serve(25, &["order"], &|name, replica| {
        if replica == 2 { (0.4, CallOutcome::Ok) } else { usual(name, replica) }
    });
    assert_eq!(world.kinds(), [(FindingKind::ReplicaOutlier, "order-2".to_owned())]);
    let evidence = world.findings[0].evidence[0].to_string();
    assert!(evidence.contains("3 of 4 replicas") && evidence.contains("own time"), "{evidence}");
    world.serve(25, &["order"], &usual);
    assert_eq!(world.kinds(), []);
}

#[test]
fn a_replica_with_errors_of_its_own_is_named_and_a_fast_one_is_not() {
    let mut world = World::new(&[("order", Vec::new())]);
    world.serve(40, &["order"], &|_, replica| match replica {
        1 => (0.2, CallOutcome::ServerError),
        3 => (0.001, CallOutcome::Ok),
        _ => (0.2, CallOutcome::Ok),
    });
    assert_eq!(world.kinds(), [(FindingKind::ReplicaOutlier, "order-1".to_owned())]);
    assert!(world.findings[0].evidence[0].to_string().contains("own errors"));
}

#[test]
fn a_pod_that_takes_the_place_of_an_outlier_begins_without_its_past() {
    let mut world = World::new(&[("order", Vec::new())]);
    let one_slow = |_: &str, replica: usize| (if replica == 2 { 0.5 } else { 0.01 }, CallOutcome::Ok);
    world.serve(40, &["order"], &one_slow);
    assert_eq!(world.kinds(), [(FindingKind::ReplicaOutlier, "order-2".to_owned())]);
    let mut fresh = (**world.snapshot.pods.get(&key("order-2")).unwrap()).clone();
    (fresh.uid, fresh.created) = (Uid::new("uid-fresh"), world.now);
    world.object(&ObjectChange::Pod(Change::Applied(Arc::new(fresh))));
    for _ in 0..20 {
        world.serve(1, &["order"], &one_slow);
        assert_eq!(world.kinds(), [], "it warms up");
    }
}

#[test]
fn a_node_that_slows_replicas_of_two_workloads_is_the_reason_and_one_workload_is_not_enough() {
    let mut world = World::new(&[("order", Vec::new()), ("stock", Vec::new())]);
    let on_node = |victims: &'static [&'static str]| {
        move |name: &str, replica: usize| {
            let slow = replica == 0 && victims.contains(&name);
            (if slow { 0.5 } else { 0.01 }, CallOutcome::Ok)
        }
    };
    world.serve(30, &["order", "stock"], &on_node(&["order"]));
    assert_eq!(world.kinds(), [(FindingKind::ReplicaOutlier, "order-0".to_owned())]);
    world.serve(30, &["order", "stock"], &on_node(&["order", "stock"]));
    let kinds = world.kinds();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    assert!(kinds.contains(&(FindingKind::NoisyNeighbour, "node-0".to_owned())), "{kinds:?}");
}

#[test]
fn most_of_what_runs_on_a_node_late_at_once_is_the_nodes_trouble_and_one_alone_is_not() {
    let names = ["cart", "order", "search", "stock"];
    let mut world = World::new(&names.map(|name| (name, Vec::new())));
    world.without_siblings();
    let late = |victims: &'static [&'static str]| {
        let turn = std::cell::Cell::new(0_u64);
        move |name: &str, _: usize| {
            turn.set(turn.get() + 1);
            let usual = 0.01 * (1.0 + (turn.get() * 7_919 % 997) as f64 / 997.0);
            (if victims.contains(&name) { 0.5 + usual } else { usual }, CallOutcome::Ok)
        }
    };
    world.serve(240, &names, &late(&[]));
    assert_eq!(world.kinds(), []);
    world.serve(15, &names, &late(&["order"]));
    assert_eq!(world.kinds(), [(FindingKind::Slow, "order".to_owned())]);
    world.serve(30, &names, &late(&[]));
    assert_eq!(world.kinds(), []);
    world.serve(15, &names, &late(&["cart", "search", "stock"]));
    assert_eq!(world.kinds(), [(FindingKind::NoisyNeighbour, "node-0".to_owned())]);
    assert!(world.findings[0].evidence[0].to_string().contains("3 of 4"));
}

#[test]
fn everybody_slow_is_no_outlier() {
    let mut world = World::new(&[("order", Vec::new())]);
    world.serve(40, &["order"], &|_, replica| (0.4 + 0.05 * replica as f64, CallOutcome::Ok));
    assert!(
        world.kinds().iter().all(|(kind, _)| *kind != FindingKind::ReplicaOutlier),
        "{:?}",
        world.kinds()
    );
}

#[test]
fn what_was_slow_before_a_start_is_slow_until_it_answers_as_usual_and_a_start_alone_is_not() {
    let names = ["cart", "order", "search", "stock"];
    let mut world = World::new(&names.map(|name| (name, Vec::new())));
    world.without_siblings();
    let turn = std::cell::Cell::new(0_u64);
    let usual = |_: &str, _: usize| {
        turn.set(turn.get() + 1);
        (0.01 * (1.0 + (turn.get() * 7_919 % 997) as f64 / 997.0), CallOutcome::Ok)
    };
    let late = |name: &str, replica: usize| {
        let (seconds, outcome) = usual(name, replica);
        (if name == "order" { 0.5 + seconds } else { seconds }, outcome)
    };
    let begins = |world: &mut World| {
        let now = world.now;
        world.pods(|pod| {
            if pod.key.name.starts_with("order") {
                pod.created = now;
            }
        });
    };
    world.serve(240, &names, &usual);
    world.serve(15, &names, &late);
    assert_eq!(world.kinds(), [(FindingKind::Slow, "order".to_owned())]);
    begins(&mut world);
    world.serve(12, &names, &late);
    assert_eq!(world.kinds(), [(FindingKind::Slow, "order".to_owned())], "a new pod that is as slow");
    world.serve(5, &names, &usual);
    assert_eq!(world.kinds(), []);
    world.serve(120, &names, &usual);
    begins(&mut world);
    world.serve(12, &names, &late);
    assert_eq!(world.kinds(), [], "a start is slow by nature");
}

fn signal(measures: Measures, threshold: Option<f64>) -> SignalPolicy {
    SignalPolicy {
        name: "signal".into(),
        promql: "x".into(),
        metric: None,
        external: None,
        unit: "u".into(),
        bad_above: true,
        threshold,
        minimum_effect: None,
        measures,
    }
}

/// What is found at the end of samples a minute apart.
fn found(measures: Measures, threshold: Option<f64>, values: impl Iterator<Item = f64>) -> Vec<FindingKind> {
    let mut world = World::new(&[("order", vec![signal(measures, threshold)])]);
    for value in values {
        world.sample("signal", "", value);
    }
    world.kinds().into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn what_a_signal_measures_says_what_its_trouble_is() {
    let day = 86_400.0;
    let rising = || (0..6).map(|minute| 100.0 + 10.0 * f64::from(minute));
    let high = || std::iter::repeat_n(150.0, 6);
    assert_eq!(found(Measures::Backlog, Some(90.0), rising()), [FindingKind::QueueGrowing]);
    assert_eq!(
        found(Measures::Backlog, Some(90.0), high()),
        [FindingKind::SignalAbnormal],
        "it does not grow"
    );
    assert_eq!(found(Measures::Backlog, Some(200.0), rising()), []);
    assert_eq!(found(Measures::Other, Some(90.0), rising()), [FindingKind::SignalAbnormal]);
    let left = |days: f64| std::iter::repeat_n(days * day, 3);
    assert_eq!(found(Measures::CertificateSeconds, None, left(10.0)), [FindingKind::CertificateExpiring]);
    assert_eq!(found(Measures::CertificateSeconds, None, left(20.0)), []);
    assert_eq!(
        found(Measures::CertificateSeconds, Some(30.0 * day), left(20.0)),
        [FindingKind::CertificateExpiring]
    );
}

#[test]
fn memory_is_compared_with_its_threshold_or_with_the_limit_of_the_container() {
    let leak = || (0..45).map(|minute| 600.0 + 5.0 * f64::from(minute));
    assert_eq!(found(Measures::MemoryBytes, Some(1_000.0), leak()), [FindingKind::MemoryGrowing]);
    assert_eq!(
        found(Measures::MemoryBytes, None, leak()),
        [FindingKind::MemoryGrowing],
        "limit of the container"
    );
    assert_eq!(found(Measures::MemoryBytes, Some(10_000.0), leak()), []);
    let flat = (0..45).map(|minute| 900.0 + f64::from(minute % 3));
    assert_eq!(found(Measures::MemoryBytes, None, flat), []);
}

#[test]
fn what_is_stored_is_told_hours_before_it_is_full_with_the_time_that_is_left() {
    let fills = |minutes: i32| (0..minutes).map(|minute| 600.0 + f64::from(minute));
    for (measures, kind) in [
        (Measures::VolumeBytes, FindingKind::VolumeFilling),
        (Measures::QuotaUsed, FindingKind::QuotaFilling),
    ] {
        let mut world = World::new(&[("order", vec![signal(measures, Some(1_000.0))])]);
        fills(90).for_each(|value| world.sample("signal", "", value));
        assert_eq!(world.kinds(), [(kind, "order".to_owned())]);
        let told = world.findings[0].evidence[0].to_string();
        assert!(
            told.contains("689 u, limit reached in about 5 h 1") && told.contains("limit 1000 u"),
            "{told}"
        );
        assert!(told.contains("at the earliest"), "{told}");
        // It is cleaned up: people are not called off and on by single samples.
        (0..5).for_each(|_| world.sample("signal", "", 300.0));
        assert_eq!(world.kinds().len(), 1);
        (0..6).for_each(|_| world.sample("signal", "", 300.0));
        assert_eq!(world.kinds(), []);
        assert_eq!(found(measures, Some(1_000.0), std::iter::repeat_n(900.0, 60)), [], "it stays");
        assert_eq!(found(measures, Some(1_000.0), std::iter::repeat_n(1_000.0, 3)), [kind], "it is full");
        let rotated = (0..600).map(|minute| 500.0 + 4.0 * f64::from(minute % 100));
        assert_eq!(found(measures, Some(1_000.0), rotated), [], "rotated");
    }
    assert_eq!(found(Measures::MemoryBytes, Some(1_000.0), fills(90)), [], "too far ahead for memory");
}

#[test]
fn ephemeral_storage_is_compared_with_its_threshold_or_with_its_own_limit_of_the_container() {
    let scratch = Measures::EphemeralStorageBytes;
    let fills = || (0..60).map(|minute| 600.0 + 3.0 * f64::from(minute));
    let kind = FindingKind::EphemeralStorageFilling;
    assert_eq!(found(scratch, Some(1_000.0), fills()), [kind]);
    assert_eq!(found(scratch, None, fills()), [], "the limit of memory says nothing of it");
    assert_eq!(found(scratch, Some(10_000.0), fills()), []);
    assert_eq!(found(scratch, Some(1_000.0), std::iter::repeat_n(1_000.0, 3)), [kind], "it is full");
    let rotated = (0..600).map(|minute| 500.0 + 4.0 * f64::from(minute % 100));
    assert_eq!(found(scratch, Some(1_000.0), rotated), [], "rotated");
    let mut world = World::new(&[("order", vec![signal(scratch, None)])]);
    world.pods(|pod| pod.containers[0].ephemeral_storage_limit = Some(1_000));
    fills().for_each(|value| world.sample("signal", "", value));
    assert_eq!(world.kinds(), [(kind, "order".to_owned())]);
    let told = world.findings[0].evidence[0].to_string();
    assert!(told.contains("777 u, limit reached in about 1 h 1") && told.contains("limit 1000 u"), "{told}");
}

#[test]
fn what_new_pods_empty_is_told_as_early_each_time_and_is_no_clean_up() {
    let mut world = World::new(&[("order", vec![signal(Measures::EphemeralStorageBytes, Some(1_000.0))])]);
    for round in 0..4 {
        for minute in 0..100 {
            world.sample("signal", "", 300.0 + 5.0 * f64::from(minute));
        }
        let found = [(FindingKind::EphemeralStorageFilling, "order".to_owned())];
        assert_eq!(world.kinds(), found, "round {round}");
        let now = world.now;
        world.pods(|pod| pod.created = now);
        (0..4).for_each(|_| world.sample("signal", "", 300.0));
        assert_eq!(world.kinds(), [], "round {round}: they begin empty");
    }
}

#[test]
fn a_backlog_that_gets_smaller_is_told_apart_from_one_that_grows_stands_still_or_is_silent() {
    let mut world = World::new(&[("order", vec![signal(Measures::Backlog, Some(90.0))])]);
    world.serve(1, &["order"], &|_, _| (0.01, CallOutcome::Ok));
    let told = |world: &World| {
        let health = world.snapshot.health.get(&key("order"));
        health.map_or((false, false), |health| (health.backlog_falls, health.backlog_stopped))
    };
    for (value, gets_smaller, grows_no_more) in [
        (100.0, false, false),
        (110.0, false, false),
        (200.0, false, false),
        (200.0, false, false),
        (199.0, false, true),
        (180.0, true, true),
        (150.0, true, true),
        (160.0, false, false),
        (140.0, true, true),
    ] {
        world.sample("signal", "", value);
        assert_eq!(told(&world), (gets_smaller, grows_no_more), "{value}");
    }
    assert_eq!(world.kinds(), [(FindingKind::QueueGrowing, "order".to_owned())]);
    for _ in 0..3 {
        world.look(SignedDuration::from_mins(1));
    }
    assert_eq!(told(&world), (false, false), "nothing is known of now");
}

#[test]
fn what_is_silent_stays_abnormal_as_of_its_last_sample_and_a_signal_that_is_taken_out_is_over() {
    let mut world = World::new(&[("order", vec![signal(Measures::Backlog, Some(90.0))])]);
    for value in [100.0, 110.0, 120.0] {
        world.sample("signal", "", value);
    }
    let last = world.findings[0].last_seen;
    world.look(SignedDuration::from_mins(1));
    assert!(world.findings[0].last_seen > last, "a sample a minute ago still tells of now");
    for _ in 0..3 {
        world.look(SignedDuration::from_mins(1));
    }
    let silent = world.findings[0].last_seen;
    world.look(SignedDuration::from_mins(1));
    assert_eq!(world.kinds(), [(FindingKind::QueueGrowing, "order".to_owned())]);
    assert_eq!(world.findings[0].last_seen, silent, "nothing is known of now");
    assert!(world.now.duration_since(silent) > SignedDuration::from_mins(2));
    world.workload("order", Vec::new());
    world.look(SignedDuration::from_mins(1));
    assert_eq!(world.kinds(), []);
}

#[test]
fn a_signal_that_is_corrected_is_learnt_anew_and_a_limit_alone_changes_at_once() {
    let wrong = SignalPolicy { bad_above: false, ..signal(Measures::Other, None) };
    let mut world = World::new(&[("order", vec![wrong])]);
    for turn in 0..120 {
        world.sample("signal", "", 100.0 + f64::from(turn % 7));
    }
    world.workload("order", vec![signal(Measures::Other, None)]);
    for turn in 0..120 {
        world.sample("signal", "", 100.0 + f64::from(turn % 7));
    }
    assert_eq!(world.kinds(), []);
    for _ in 0..10 {
        world.sample("signal", "", 900.0);
    }
    assert_eq!(world.kinds(), [(FindingKind::SignalAbnormal, "order".to_owned())]);
    let mut world = World::new(&[("order", vec![signal(Measures::Other, Some(90.0))])]);
    world.sample("signal", "", 100.0);
    world.workload("order", vec![signal(Measures::Other, Some(95.0))]);
    world.sample("signal", "", 100.0);
    assert_eq!(world.kinds().len(), 1, "the sample before counts");
}

#[test]
fn the_series_of_a_replaced_pod_is_forgotten() {
    let mut world = World::new(&[("order", vec![signal(Measures::Other, Some(90.0))])]);
    for _ in 0..3 {
        world.sample("signal", "old", 100.0);
    }
    assert_eq!(world.kinds().len(), 1);
    for _ in 0..8 {
        world.sample("signal", "new", 10.0);
    }
    assert_eq!(world.kinds(), []);
}
