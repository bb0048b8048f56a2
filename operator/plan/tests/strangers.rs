//! Victims of a pod that came to their node just before are left alone until it is known what it takes.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenPod, now, order};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord, PodPhase};
use homeostat_knowledge::*;
use homeostat_plan::{Decision, plan};
use homeostat_playbooks::shipped;
use std::sync::Arc;

fn hung() -> Given {
    Given { pods: vec![GivenPod::default()], ..Given::default() }
}

/// A pod of somebody else that runs on the same node, `began` seconds old.
fn stranger(snapshot: &Snapshot, began: f64, whose: Option<ControllerKind>) -> PodRecord {
    let mut pod = (**snapshot.pods_of(&order()).next().expect("a pod")).clone();
    (pod.key, pod.uid) = (ObjectKey::new("batch", "crunch"), Uid::new("uid-crunch"));
    pod.ip = None;
    pod.owner = whose.map(|kind| OwnerRecord { kind, name: "crunch".into(), uid: Uid::new("uid-job") });
    pod.created = now() - SignedDuration::from_secs_f64(began);
    for container in &mut pod.containers {
        container.state = ContainerState::Running { since: pod.created };
    }
    pod
}

/// What is done beside this pod, where a finding of this kind began `since` seconds ago and its incident `impact`.
fn decided(
    kind: &str,
    (impact, since): (f64, f64),
    declared: Option<ControllerKind>,
    pod: impl Fn(&Snapshot) -> PodRecord,
) -> Decision {
    let mut given = hung();
    (given.incident.kind, given.incident.since) = (kind.into(), since);
    let (mut snapshot, mut incident) = given.build();
    incident.instants.impact_start = now() - SignedDuration::from_secs_f64(impact);
    if let Some(kind) = declared {
        let target = ControllerKey { kind, object: ObjectKey::new("batch", "crunch") };
        let policy = WorkloadPolicy::new(target.object.clone(), Uid::new("uid-workload"), target);
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), now());
    }
    let pod = pod(&snapshot);
    snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), now());
    plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
}

#[track_caller]
fn waits(decision: &Decision) {
    assert!(decision.reason().contains("batch/crunch began on the same node"), "{decision:?}");
}

#[track_caller]
fn acts(decision: &Decision) {
    assert_eq!(decision.name(), "Act", "{decision:?}");
}

#[test]
fn the_second_victim_of_a_stranger_waits_like_the_first_one() {
    let decided =
        |impact| decided("ErrorBurst", (impact, 2.0), None, |snapshot| stranger(snapshot, 14.0, None));
    waits(&decided(9.5));
    acts(&decided(2.0));
}

#[test]
fn errors_that_begin_with_a_stranger_on_the_node_wait_until_it_would_be_named() {
    let decided = |kind, since, began, whose, ended| {
        decided(kind, (since, since), None, |snapshot| {
            let mut pod = stranger(snapshot, began, whose);
            pod.phase = if ended { PodPhase::Succeeded } else { PodPhase::Running };
            pod
        })
    };
    for whose in [None, Some(ControllerKind::Job), Some(ControllerKind::ReplicaSet)] {
        waits(&decided("ErrorBurst", 5.0, 8.0, whose, false));
        acts(&decided("ErrorBurst", 5.0, 8.0, whose, true));
        waits(&decided("ErrorBurst", 9.5, 11.5, whose, false));
        acts(&decided("ErrorBurst", 10.5, 12.5, whose, false));
    }
    acts(&decided("ErrorBurst", 5.0, 30.0, None, false));
    acts(&decided("ErrorBurst", 5.0, 2.0, None, false));
    waits(&decided("Slow", 5.0, 30.0, None, false));
    acts(&decided("Slow", 5.0, 36.0, None, false));
    acts(&decided("Hung", 5.0, 8.0, None, false));
}

#[test]
fn beside_another_declared_workload_only_its_runs_are_waited_for() {
    let declared = |kind: ControllerKind| {
        decided("ErrorBurst", (5.0, 5.0), Some(kind), |snapshot| stranger(snapshot, 8.0, Some(kind)))
    };
    waits(&declared(ControllerKind::Job));
    acts(&declared(ControllerKind::Deployment));
}
