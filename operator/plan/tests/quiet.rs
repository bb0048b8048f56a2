//! When it is time: in a quiet minute after a healed crash, and after a start of Homeostat itself.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenAction, GivenIncident, GivenPod, ago, decide, drafted, now};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::*;
use homeostat_plan::{Decision, check, plan};
use homeostat_playbooks::{parse, shipped};
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

#[test]
fn what_people_took_over_stays_theirs_when_it_has_healed() {
    let (before, mut snapshot) = drafted(&crashed_once());
    let (_, mut incident) = crashed_once().build();
    incident.handed_over = Some("two restarts did not help".to_owned());
    let decision = plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7));
    assert_eq!(decision.name(), "Nothing", "{decision:?}");
    assert!(decision.reason().contains("people have taken it over"), "{}", decision.reason());
    snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
    assert!(check(before, &snapshot, now()).is_err(), "nor is it admitted any more");
}

#[test]
fn a_step_for_a_quiet_minute_is_taken_from_its_own_level_on() {
    let own = parse(
        "apiVersion: homeostat.dev/v1alpha1\nkind: Playbook\nmetadata: { name: own }\nspec:\n  trigger: { findings: [Crashed] }\n  ladder:\n    - { action: RollingRestart, after: InQuietMinute, requires: ActFull, verify: { withinSeconds: 120, expect: RolloutComplete } }\n",
    )
    .expect("valid");
    let at = |level: Level| {
        let mut given = crashed_once();
        given.tenant.level = level;
        let (snapshot, incident) = given.build();
        plan(&incident, &snapshot, std::slice::from_ref(&own), now(), &mut SeededIds::new(7))
    };
    assert_eq!(at(Level::ActFull).name(), "Act");
    let bounded = at(Level::ActBounded);
    assert_eq!(bounded.name(), "Nothing", "{bounded:?}");
    assert!(bounded.reason().contains("only for ActFull"), "{}", bounded.reason());
}

#[test]
fn what_is_refused_while_a_replica_warms_up_is_tried_once_and_counts_for_nothing_afterwards() {
    let refused = |count: usize, by: GuardName, synced: f64| {
        let action = || GivenAction {
            uid: "uid-order-a".into(),
            state: "Refused".into(),
            sent: None,
            closed: Some(15.0),
            ..GivenAction::default()
        };
        let actions = std::iter::repeat_with(action).take(count).collect();
        let (mut snapshot, incident) =
            Given { pods: vec![GivenPod::default()], actions, ..Given::default() }.build();
        let stored: Vec<_> = snapshot.actions.values().cloned().collect();
        for action in stored {
            let mut record = (*action).clone();
            let (observed, limit, message) = (String::new(), String::new(), "warming up".to_owned());
            record.guards =
                vec![GuardReport { name: by, result: GuardResult::Refused, observed, limit, message }];
            snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(record))), now());
        }
        snapshot.synced_since = Some(ago(synced));
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    let warms = refused(1, GuardName::Invariants, 20.0);
    assert!(matches!(warms, Decision::Wait { until: Some(at), .. } if at == ago(-40.0)), "{warms:?}");
    let again = refused(1, GuardName::Budget, 20.0);
    assert!(matches!(again, Decision::Act(_)), "{again:?}");
    let many = refused(12, GuardName::Invariants, 3_600.0);
    assert!(!matches!(many, Decision::HandOver { .. }), "{many:?}");
    let others = refused(12, GuardName::Budget, 3_600.0);
    assert!(matches!(others, Decision::HandOver { .. }), "{others:?}");
}

#[test]
fn no_time_counts_in_which_nobody_looked() {
    // An hour old, and nothing of it is seen since the start.
    let incident = GivenIncident { since: 3_600.0, ended: true, ..GivenIncident::default() };
    let (mut snapshot, incident) =
        Given { pods: vec![GivenPod::default()], incident, ..Given::default() }.build();
    let mut after = |seconds: f64| {
        snapshot.synced_since = Some(ago(seconds));
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    assert!(matches!(after(70.0), Decision::Wait { .. }), "{:?}", after(70.0));
    assert!(matches!(after(3_600.0), Decision::HandOver { .. }), "{:?}", after(3_600.0));
}
