//! One tenant sends ten times what the loop takes, for half an hour of virtual time: what is decided of another is the same.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use homeostat::kernel::{Effect, Kernel};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, Sample};
use homeostat_knowledge::policy::{Across, Measures, MetricPolicy, SignalPolicy};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord};
use homeostat_knowledge::*;
use homeostat_observe::{Outlet, queue};
use homeostat_situations::{Given, GivenPod, now, order};
use std::sync::Arc;

const LOUD: &str = "loud";
/// Half-seconds in half an hour; the fault begins after half of them.
const STEPS: i64 = 3_600;

fn at(step: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_millis(500 * step)).unwrap()
}

fn signal(name: &str, metric: &str, limit: f64) -> SignalPolicy {
    SignalPolicy {
        name: Name::from(name),
        promql: Name::from(""),
        metric: Some(MetricPolicy { name: Name::from(metric), across: Across::Max, from: None }),
        external: None,
        unit: Name::from(""),
        bad_above: true,
        threshold: Some(limit),
        minimum_effect: None,
        measures: Measures::Other,
    }
}

/// `order` with a limit on what its pod sends, and a tenant whose pod sends a metric that thirty of its signals are made of.
fn world() -> (Vec<ObjectChange>, Entity, Entity) {
    let pod = GivenPod { name: "order-1".into(), of: "order".into(), ..GivenPod::default() };
    let (mut snapshot, _) = Given { pods: vec![pod], ..Given::default() }.build();
    let mut workload = (**snapshot.workloads.get(&order()).unwrap()).clone();
    workload.signals = vec![signal("busy", "active", 10.0)];
    let pod = snapshot.pods_of(&order()).next().unwrap().clone();
    let quiet = snapshot.entity_of(&pod);

    let target = ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("noise", "rival") };
    let mut rival =
        WorkloadPolicy::new(ObjectKey::new("noise", "rival"), Uid::new("uid-rival"), target.clone());
    rival.signals = (0..30).map(|number| signal(&format!("s{number}"), "orders", 1e9)).collect();
    let mut noisy = (*pod).clone();
    noisy.key = ObjectKey::new("noise", "rival-1");
    (noisy.uid, noisy.ip) = (Uid::new("uid-rival-1"), None);
    noisy.owner = Some(OwnerRecord {
        kind: target.kind,
        name: target.object.name.clone(),
        uid: Uid::new("uid-deployment"),
    });
    let tenant = TenantPolicy::new(TenantName::new(LOUD), Uid::new(LOUD), [Name::from("noise")]);

    let mut changes = vec![
        ObjectChange::Control(Some(snapshot.control.clone())),
        ObjectChange::Tenant(Change::Applied(Arc::new(tenant))),
        ObjectChange::Workload(Change::Applied(Arc::new(workload))),
        ObjectChange::Workload(Change::Applied(Arc::new(rival))),
        ObjectChange::Pod(Change::Applied(Arc::new(noisy.clone()))),
    ];
    for change in &changes {
        snapshot.commit(change, now());
    }
    changes.extend(snapshot.tenants.values().cloned().map(|one| ObjectChange::Tenant(Change::Applied(one))));
    changes.extend(snapshot.nodes.values().cloned().map(|one| ObjectChange::Node(Change::Applied(one))));
    let controllers = snapshot.controllers.values().cloned();
    changes.extend(controllers.map(|one| ObjectChange::Controller(Change::Applied(one))));
    changes.extend(snapshot.pods.values().cloned().map(|one| ObjectChange::Pod(Change::Applied(one))));
    changes.extend(ObjectKind::REQUIRED.map(ObjectChange::Synced));
    (changes, quiet, snapshot.entity_of(&noisy))
}

fn observed(tenant: Option<&str>, entity: &Entity, signal: Signal, at: Timestamp) -> Observation {
    let tenant = tenant.map(TenantName::new);
    Observation { tenant, entity: entity.clone(), event_time: at, arrival_time: at, signal }
}

fn sample(metric: &str, series: String, value: f64) -> Signal {
    let (metric, series) = (Name::from(metric), Name::from(series));
    Signal::Sample(Sample { metric, series, value, counter: false, asked_by: None })
}

/// What came of it.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// When an answer was given about `order`, and which.
    said: Vec<(Timestamp, String)>,
    refused_quiet: u64,
    sent_loud: u64,
    refused_loud: u64,
}

impl Outcome {
    fn flood(&mut self, outlet: &Outlet, noisy: &Entity, step: i64) {
        for turn in 0..10 {
            // Each with label sets that were never seen before.
            let series = (0..4).map(|n| sample("orders", format!("order={step}-{turn}-{n}"), 1.0));
            let batch: Vec<Observation> =
                series.map(|signal| observed(Some(LOUD), noisy, signal, at(step))).collect();
            self.sent_loud += 1;
            self.refused_loud += u64::from(outlet.send(Some(TenantName::new(LOUD)), batch).is_err());
        }
    }
}

fn half_an_hour(loud: bool) -> Outcome {
    let (changes, quiet, noisy) = world();
    let playbooks = homeostat_playbooks::library::shipped();
    let mut kernel = Kernel::new(playbooks, Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    let object = |change| observed(None, &Entity::Cluster, Signal::Object(change), now());
    kernel.step(&changes.into_iter().map(object).collect::<Vec<_>>(), now(), true);
    let owner = kernel.snapshot().tenant_of_namespace(&order().namespace).unwrap().name.clone();
    let (outlet, mut inlet) = queue(8);
    let mut outcome = Outcome::default();
    for step in 1..=STEPS {
        if loud {
            outcome.flood(&outlet, &noisy, step);
        }
        // Every ten seconds, as exporters do; the fault shows in a series that was not there before.
        if step % 20 == 0 {
            let mut batch =
                vec![observed(Some(&owner.0), &quiet, sample("active", "a".into(), 3.0), at(step))];
            if step > STEPS / 2 {
                batch.push(observed(Some(&owner.0), &quiet, sample("active", "b".into(), 30.0), at(step)));
            }
            outcome.refused_quiet += u64::from(outlet.send(Some(owner.clone()), batch).is_err());
        }
        // The loop takes three batches where ten and one come.
        let batch: Vec<Observation> = std::iter::from_fn(|| inlet.try_recv()).take(3).flatten().collect();
        for effect in kernel.step(&batch, at(step), true) {
            if let Effect::Said(incident, text) = effect
                && incident.workload == Some(order())
            {
                outcome.said.push((at(step), text));
            }
        }
    }
    outcome
}

#[test]
fn half_an_hour_of_ten_times_the_load_changes_nothing_of_what_is_decided_for_another_tenant() {
    let (alone, beside) = (half_an_hour(false), half_an_hour(true));
    assert_eq!((alone.sent_loud, alone.refused_quiet, beside.refused_quiet), (0, 0, 0));
    assert!(beside.refused_loud > beside.sent_loud / 2, "{} of {}", beside.refused_loud, beside.sent_loud);
    assert!(!alone.said.is_empty(), "the fault is decided on");
    let texts = |outcome: &Outcome| outcome.said.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&alone), texts(&beside));
    for ((then, text), (now, _)) in alone.said.iter().zip(&beside.said) {
        let later = now.duration_since(*then);
        assert!(later.abs() <= SignedDuration::from_secs(15), "{text}: {later:?} later");
    }
}
