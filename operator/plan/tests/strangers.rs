//! Victims of a pod that came to their node just before are left alone until it is known what it takes.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenPod, now, order};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::records::{OwnerRecord, PodPhase};
use homeostat_knowledge::*;
use homeostat_plan::{Decision, plan};
use homeostat_playbooks::shipped;
use std::sync::Arc;

fn hung() -> Given {
    Given { pods: vec![GivenPod::default()], ..Given::default() }
}

#[test]
fn the_second_victim_of_a_stranger_waits_like_the_first_one() {
    let mut given = hung();
    (given.incident.kind, given.incident.since) = ("ErrorBurst".into(), 60.0);
    let decided = |impact: f64| {
        let (mut snapshot, mut incident) = given.build();
        incident.instants.impact_start = now() - SignedDuration::from_secs_f64(impact);
        let mut stranger = (**snapshot.pods_of(&order()).next().expect("a pod")).clone();
        (stranger.key, stranger.uid) = (ObjectKey::new("batch", "crunch"), Uid::new("uid-crunch"));
        (stranger.ip, stranger.owner) = (None, None);
        stranger.created = now() - SignedDuration::from_secs(93);
        for container in &mut stranger.containers {
            container.state = ContainerState::Running { since: stranger.created };
        }
        snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(stranger))), now());
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    let waits = decided(90.0);
    assert!(waits.reason().contains("batch/crunch began on the same node"), "{waits:?}");
    let acts = decided(60.0);
    assert_eq!(acts.name(), "Act", "{acts:?}");
}

#[test]
fn errors_that_begin_with_a_stranger_on_the_node_wait_until_it_would_be_named() {
    let decided = |kind: &str, since: f64, began: f64, whose: Option<ControllerKind>, ended: bool| {
        let mut given = hung();
        (given.incident.kind, given.incident.since) = (kind.into(), since);
        let (mut snapshot, incident) = given.build();
        let mut stranger = (**snapshot.pods_of(&order()).next().expect("a pod")).clone();
        stranger.key = ObjectKey::new("batch", "crunch");
        stranger.uid = Uid::new("uid-crunch");
        stranger.ip = None;
        stranger.created = now() - SignedDuration::from_secs_f64(began);
        stranger.phase = if ended { PodPhase::Succeeded } else { PodPhase::Running };
        stranger.owner =
            whose.map(|kind| OwnerRecord { kind, name: "crunch".into(), uid: Uid::new("uid-job") });
        for container in &mut stranger.containers {
            container.state = ContainerState::Running { since: stranger.created };
        }
        snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(stranger))), now());
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    for whose in [None, Some(ControllerKind::Job), Some(ControllerKind::ReplicaSet)] {
        let waits = decided("ErrorBurst", 5.0, 8.0, whose, false);
        assert!(waits.reason().contains("batch/crunch began on the same node"), "{whose:?}: {waits:?}");
    }
    let act = |decision: Decision| assert_eq!(decision.name(), "Act", "{decision:?}");
    for seconds in [16.0, 179.0] {
        let waits = decided("ErrorBurst", seconds, seconds + 2.0, None, false);
        assert!(waits.reason().contains("batch/crunch began on the same node"), "{seconds}: {waits:?}");
        act(decided("ErrorBurst", seconds, seconds + 2.0, None, true));
    }
    act(decided("ErrorBurst", 181.0, 183.0, None, false));
    act(decided("ErrorBurst", 5.0, 30.0, None, false));
    act(decided("ErrorBurst", 5.0, 2.0, None, false));
    let late = decided("Slow", 5.0, 30.0, None, false);
    assert!(late.reason().contains("batch/crunch began on the same node"), "{late:?}");
    act(decided("Slow", 5.0, 36.0, None, false));
    act(decided("ErrorBurst", 5.0, 8.0, Some(ControllerKind::Job), true));
    act(decided("Hung", 5.0, 8.0, None, false));
}
