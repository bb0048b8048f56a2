//! When the minute after a healed crash is quiet enough for a new pod.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenIncident, GivenPod, decide, drafted, now};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::*;
use homeostat_plan::{check, plan};
use homeostat_playbooks::shipped;
use std::sync::Arc;

/// A crash that healed half a minute ago.
fn crashed_once() -> Given {
    Given {
        incident: GivenIncident {
            kind: "Crashed".into(),
            state: "Mitigated".into(),
            since: 30.0,
            last_seen: 29.0,
            ended: true,
            ..GivenIncident::default()
        },
        pods: vec![GivenPod {
            restarts: 1,
            state_since: Some(28.0),
            last_end: Some(29.5),
            ..GivenPod::default()
        }],
        good: Some(27.0),
        ..Given::default()
    }
}

#[test]
fn a_restart_in_a_quiet_minute_targets_the_deployment_by_its_uid() {
    let given = crashed_once();
    let (plan, snapshot) = drafted(&given);
    let step = &plan.steps[0];
    assert_eq!((&*step.target.api_version, &*step.target.kind), ("apps/v1", "Deployment"));
    assert_eq!(step.target.uid, Uid::new("uid-Deployment-order"));
    assert_eq!(step.verification.expect, Expectation::RolloutComplete);
    assert_eq!(step.before.restarts, Some(1));
    assert!(check(plan, &snapshot, now()).is_ok());
    let mut two = given;
    two.workload.replicas = 2;
    two.pods.push(GivenPod { name: "order-b".into(), ..GivenPod::default() });
    let decision = decide(&two);
    assert_eq!(decision.name(), "Nothing", "{decision:?}");
    assert!(decision.reason().contains("other pods of shop/order serve"), "{}", decision.reason());
}

#[test]
fn what_its_node_ended_gets_no_fresh_pod_and_no_minute_is_quiet_while_the_node_is_ill() {
    let (mut snapshot, incident) = crashed_once().build();
    let node = snapshot.pods[&ObjectKey::new("shop", "order-a")].node.clone().expect("it runs");
    let mut other =
        Incident { id: IncidentId::new("node-7f3k2"), state: IncidentState::HandedOver, ..incident.clone() };
    (other.namespace, other.workload) = ("homeostat-system".into(), None);
    (other.causes[0].kind, other.causes[0].entity) =
        (FindingKind::NoisyNeighbour, Entity::Node { name: node });
    let mut decided = |other: &Incident| {
        snapshot.incidents.insert_mut(other.id.clone(), Arc::new(other.clone()));
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    // The pod ended 29.5 s ago.
    let began = |seconds: i64| now() - SignedDuration::from_secs(seconds);
    for (seconds, name, words) in [
        (40, "Nothing", "its node was in trouble"),
        (25, "Nothing", "its node"),
        (15, "Wait", "is open on the"),
    ] {
        other.instants.impact_start = began(seconds);
        let decision = decided(&other);
        assert_eq!(decision.name(), name, "{seconds} s: {decision:?}");
        assert!(decision.reason().contains(words), "{seconds} s: {decision:?}");
    }
    other.causes[0].entity = Entity::Node { name: "another".into() };
    assert_eq!(decided(&other).name(), "Act", "that of another node does not matter");
}
