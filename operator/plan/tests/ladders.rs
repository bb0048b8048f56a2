//! How far a ladder is climbed: what counts as tried, and when people take over.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenAction, GivenIncident, GivenPod, GivenWorkload, decide, now};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::*;
use homeostat_plan::{Decision, plan};
use homeostat_playbooks::{Playbook, parse, shipped};
use std::sync::Arc;

fn own(spec: &str) -> Playbook {
    parse(&format!(
        "apiVersion: homeostat.dev/v1alpha1\nkind: Playbook\nmetadata: {{ name: own }}\nspec:\n{spec}"
    ))
    .expect("valid")
}

/// One of three replicas answers with errors for a minute.
fn failing(actions: Vec<GivenAction>) -> Given {
    let pod = |name: &str| GivenPod { name: name.into(), ..GivenPod::default() };
    Given {
        incident: GivenIncident { kind: "ErrorBurst".into(), since: 60.0, ..GivenIncident::default() },
        workload: GivenWorkload { replicas: 3, bounds: Some([1, 10]), ..GivenWorkload::default() },
        pods: vec![pod("order-a"), pod("order-b"), pod("order-c")],
        actions,
        ..Given::default()
    }
}

fn tried(kind: &str, state: &str) -> GivenAction {
    GivenAction { kind: kind.into(), state: state.into(), ..GivenAction::default() }
}

fn follow(given: &Given, playbooks: &[Playbook]) -> Decision {
    let (snapshot, incident) = given.build();
    plan(&incident, &snapshot, playbooks, now(), &mut SeededIds::new(7))
}

/// Number of the step that is planned.
fn step_of(decision: &Decision) -> Option<u32> {
    match decision {
        Decision::Act(plan) => Some(plan.playbook.step),
        _ => None,
    }
}

#[test]
fn what_one_kind_of_action_was_tried_for_nothing_gives_another_kind_no_more_tries() {
    let ladder = own(
        "  trigger: { findings: [ErrorBurst] }\n  ladder:\n    - { action: ScaleUp, undo: Restore, verify: { withinSeconds: 60 } }\n    - { action: RollingRestart, verify: { withinSeconds: 60 } }\n    - { action: Notify }\n  limits: { uselessActions: 5 }\n",
    );
    let after = |actions| follow(&failing(actions), std::slice::from_ref(&ladder));
    assert_eq!(step_of(&after(Vec::new())), Some(1));
    assert_eq!(step_of(&after(vec![tried("ScaleUp", "Undone")])), Some(2));
    let both = after(vec![tried("ScaleUp", "Undone"), tried("RollingRestart", "Failed")]);
    assert_eq!(both.name(), "HandOver", "{both:?}");
    assert!(both.explanation().iter().any(|line| line.contains("step 2 (RollingRestart) was tried 1 times")));
}

#[test]
fn what_a_step_did_at_a_level_that_is_gone_takes_no_try_from_the_next_step_of_its_kind() {
    let ladder = own(
        "  trigger: { findings: [ErrorBurst] }\n  ladder:\n    - { action: EvictPod, requires: ActFull, verify: { withinSeconds: 60 } }\n    - { action: EvictPod, verify: { withinSeconds: 60 } }\n    - { action: Notify }\n  limits: { uselessActions: 5 }\n",
    );
    let by_step = |step: u32| {
        let mut given = failing(vec![tried("EvictPod", "Failed")]);
        given.tenant.level = Level::ActBounded;
        let (mut snapshot, incident) = given.build();
        let mut record = (**snapshot.actions.values().next().expect("an action")).clone();
        record.playbook = PlaybookRef { name: "own".into(), version: 0, step };
        snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(record))), now());
        plan(&incident, &snapshot, std::slice::from_ref(&ladder), now(), &mut SeededIds::new(7))
    };
    let first = by_step(1);
    assert_eq!(step_of(&first), Some(2), "{first:?}");
    let second = by_step(2);
    assert_eq!(second.name(), "HandOver", "one try is what it has: {second:?}");
}

#[test]
fn a_playbook_ends_after_as_many_useless_actions_as_it_allows_whatever_they_were() {
    let ladder = own(
        "  trigger: { findings: [ErrorBurst] }\n  ladder:\n    - { action: ScaleUp, times: 3, undo: Restore, verify: { withinSeconds: 60 } }\n    - { action: Notify }\n  limits: { uselessActions: 1 }\n",
    );
    let after = |actions| follow(&failing(actions), std::slice::from_ref(&ladder));
    assert_eq!(step_of(&after(Vec::new())), Some(1));
    let undone = after(vec![tried("ScaleUp", "Undone")]);
    assert_eq!(undone.name(), "HandOver", "{undone:?}");
    assert!(undone.reason().contains("1 actions did not help, 1 are allowed"), "{}", undone.reason());
}

#[test]
fn tries_that_sent_nothing_are_no_actions_taken() {
    let queue = |sent: Option<f64>| {
        let mut given = failing(Vec::new());
        (given.incident.kind, given.incident.cause) = ("QueueGrowing".into(), "workload order".into());
        given.incident.since = 300.0;
        given.actions = vec![GivenAction { sent, closed: Some(120.0), ..tried("ScaleUp", "Failed") }; 3];
        decide(&given)
    };
    let unsent = queue(None);
    assert_eq!(step_of(&unsent), Some(1), "{unsent:?}");
    assert_eq!(queue(Some(130.0)).name(), "HandOver");
}

#[test]
fn a_playbook_that_people_switched_off_or_do_not_allow_here_sets_no_time_to_give_up() {
    let spec = |paused: bool| {
        own(&format!(
            "  trigger: {{ findings: [Hung] }}\n  paused: {paused}\n  ladder:\n    - {{ action: EvictPod, verify: {{ withinSeconds: 30 }} }}\n  limits: {{ giveUpSeconds: 10 }}\n"
        ))
    };
    // Not sure enough for either yet.
    let incident = GivenIncident { since: 12.0, confidence: 0.8, ..GivenIncident::default() };
    let given = Given { incident, pods: vec![GivenPod::default()], ..Given::default() };
    let with = |own: Playbook, given: &Given| {
        let mut playbooks = shipped();
        playbooks.push(own);
        follow(given, &playbooks)
    };
    let used = with(spec(false), &given);
    assert_eq!(used.name(), "HandOver", "its ten seconds are over: {used:?}");
    let paused = with(spec(true), &given);
    assert_eq!(paused.name(), "Wait", "{paused:?}");
    let mut others = given.clone();
    others.workload.playbooks = vec!["hung-process".into()];
    let not_allowed = with(spec(false), &others);
    assert_eq!(not_allowed.name(), "Wait", "{not_allowed:?}");
}
