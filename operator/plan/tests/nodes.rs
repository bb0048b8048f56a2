//! Steps on nodes: for whom they are planned, what a drain is, and that its cordon is taken back when it did not help.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenIncident, GivenNode, GivenPod, admitted, ago, now, own, planned, tenant};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::records::Hold;
use homeostat_knowledge::*;
use homeostat_plan::{Checker, Decision, plan};
use std::sync::Arc;

const DRAIN: &str = "action: Drain, to: SickNode, undo: Restore, times: 5";

/// A node that does not answer, with two pods of `order` on it.
fn dead_node() -> (Snapshot, Incident) {
    let pod = |name: &str| GivenPod { name: name.into(), ..GivenPod::default() };
    let given = Given {
        incident: GivenIncident {
            kind: "NodeNotReady".into(),
            since: 60.0,
            cause: "node node-1".into(),
            workload: "none".into(),
            ..GivenIncident::default()
        },
        pods: vec![pod("order-a"), pod("order-b")],
        node: GivenNode { ready: false, ..GivenNode::default() },
        ..Given::default()
    };
    let (mut snapshot, mut incident) = given.build();
    incident.tenant = None;
    snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident.clone()));
    (snapshot, incident)
}

fn with_platform(snapshot: &mut Snapshot) {
    let platform = TenantPolicy {
        name: TenantName::new(PLATFORM_TENANT),
        namespaces: ["homeostat".into()].into(),
        ..tenant()
    };
    snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(platform))), now());
}

#[test]
fn a_node_is_acted_on_for_the_platform_tenant_only() {
    let (mut snapshot, incident) = dead_node();
    let cordon = || own("NodeNotReady", "action: Cordon, undo: Restore");
    assert!(planned(&snapshot, &incident, cordon()).is_err(), "nobody allowed to act on nodes");
    with_platform(&mut snapshot);
    let (step, tenant) = planned(&snapshot, &incident, cordon()).expect("a plan");
    assert_eq!((&*tenant.0, &*step.target.kind, &*step.target.key.name), (PLATFORM_TENANT, "Node", "node-1"));
    assert_eq!(
        (step.parameters, step.before.cordoned),
        (Parameters::Cordon { until: ago(-3_600.0) }, Some(false))
    );
    assert!(planned(&snapshot, &incident, own("NodeNotReady", "action: Uncordon")).is_err(), "not ours");
}

#[test]
fn a_node_is_closed_for_what_it_is_short_of_now() {
    let given = |ready, last_seen| Given {
        incident: GivenIncident {
            kind: "NodePressure".into(),
            cause: "node node-1".into(),
            workload: "none".into(),
            tenant: "none".into(),
            since: 300.0,
            last_seen,
            ..GivenIncident::default()
        },
        node: GivenNode { ready, pressures: vec!["DiskPressure".into()], ..GivenNode::default() },
        ..Given::default()
    };
    let decide = |ready, last_seen| {
        let (mut snapshot, incident) = given(ready, last_seen).build();
        with_platform(&mut snapshot);
        planned(&snapshot, &incident, own("NodePressure", "action: Cordon, undo: Restore"))
    };
    decide(true, 60.0).expect("seen within the minute");
    assert!(decide(true, 61.0).expect_err("old").contains("old"));
    assert!(decide(false, 1.0).expect_err("silent").contains("does not answer"));
}

#[test]
fn a_node_that_is_taken_away_and_its_pods_are_left_alone() {
    let (mut snapshot, incident) = dead_node();
    with_platform(&mut snapshot);
    let mut node = (**snapshot.nodes.get("node-1").expect("a node")).clone();
    (node.cordoned, node.hold) = (true, Some(Hold { by: "node-1-1".into(), until: None }));
    node.leaving = Some("Karpenter".into());
    snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node.clone()))), now());
    for action in ["action: Cordon, undo: Restore", DRAIN] {
        let said = planned(&snapshot, &incident, own("NodeNotReady", action));
        assert!(format!("{said:?}").contains("node node-1 is being taken away (Karpenter)"), "{said:?}");
    }
    // What is ours is let go of all the same.
    assert!(planned(&snapshot, &incident, own("NodeNotReady", "action: Uncordon")).is_ok());
    node.leaving = None;
    snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node))), now());
    assert!(planned(&snapshot, &incident, own("NodeNotReady", DRAIN)).is_ok());
}

#[test]
fn a_drain_is_a_cordon_and_then_one_eviction_at_a_time() {
    let (mut snapshot, incident) = dead_node();
    with_platform(&mut snapshot);
    let drain = || own("NodeNotReady", DRAIN);
    let (first, _) = planned(&snapshot, &incident, drain()).expect("a plan");
    assert_eq!(first.parameters.kind(), ActionKind::Cordon);

    let mut node = (**snapshot.nodes.get("node-1").expect("a node")).clone();
    node.cordoned = true;
    snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node.clone()))), now());
    assert!(
        planned(&snapshot, &incident, drain()).is_err(),
        "somebody else's cordon is somebody else's drain"
    );
    node.hold = Some(Hold { by: "node-1-1".into(), until: None });
    snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node))), now());

    let mut moved = Vec::new();
    for _ in 0..3 {
        let (step, tenant) = planned(&snapshot, &incident, drain()).expect("a plan");
        assert_eq!(
            (step.parameters.clone(), &*tenant.0),
            (Parameters::EvictPod { grace_seconds: None }, "shop"),
            "the pod's own tenant"
        );
        moved.push(step.target.key.name.to_string());
        let mut going = (**snapshot.pods.get(&step.target.key).expect("a pod")).clone();
        going.deleting = true;
        snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(going))), now());
    }
    assert_eq!(moved, ["order-a", "order-b", "stock-a"], "also what is well: it stands on a dead node");
    assert!(planned(&snapshot, &incident, drain()).is_err(), "nothing is left to move");
}

/// The planned action as the ledger tells of it, sent and ended so many seconds ago.
fn recorded(
    snapshot: &mut Snapshot,
    plan: &Plan<Admitted>,
    id: &str,
    state: ActionState,
    [sent, closed]: [f64; 2],
) {
    let mut action = plan.record(ActionId::new(id), Name::from("test")).expect("a step");
    action.state = state;
    action.instants.sent = Some(ago(sent));
    action.instants.closed = state.ended().then(|| ago(closed));
    snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(action))), now());
}

/// The node is closed by this action, or open again.
fn put_hold(snapshot: &mut Snapshot, by: Option<&str>) {
    let mut node = (**snapshot.nodes.get("node-1").expect("a node")).clone();
    node.cordoned = by.is_some();
    node.hold = by.map(|by| Hold { by: by.into(), until: None });
    snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node))), now());
}

/// A drain by this step whose cordon is there and whose two evictions did not help.
fn drained_in_vain(step: &str) -> (Snapshot, Incident) {
    let (mut snapshot, incident) = dead_node();
    with_platform(&mut snapshot);
    let next = |snapshot: &Snapshot| {
        admitted(snapshot, &incident, own("NodeNotReady", step)).expect("the next step of the drain")
    };
    let cordon = next(&snapshot);
    assert_eq!(cordon.steps[0].parameters.kind(), ActionKind::Cordon);
    recorded(&mut snapshot, &cordon, "order-1-1", ActionState::Verified, [50.0, 49.0]);
    put_hold(&mut snapshot, Some("order-1-1"));
    for (number, pod) in [(2, "order-a"), (3, "order-b")] {
        let eviction = next(&snapshot);
        assert_eq!((&*eviction.steps[0].target.key.name, eviction.steps[0].undo), (pod, Undo::None));
        assert_eq!(eviction.undo_of, None);
        let ended = 40.0 - 10.0 * f64::from(number);
        recorded(
            &mut snapshot,
            &eviction,
            &format!("order-1-{number}"),
            ActionState::Failed,
            [ended + 9.0, ended],
        );
    }
    (snapshot, incident)
}

#[test]
fn the_cordon_of_a_drain_that_did_not_help_is_taken_back_before_people_take_over() {
    let (mut snapshot, incident) = drained_in_vain(DRAIN);
    let decide = |snapshot: &Snapshot| admitted(snapshot, &incident, own("NodeNotReady", DRAIN));
    let back = decide(&snapshot).expect("a plan");
    let step = &back.steps[0];
    assert_eq!((&step.parameters, step.undo), (&Parameters::Uncordon, Undo::None));
    assert_eq!((&*step.target.kind, &*step.target.key.name), ("Node", "node-1"));
    assert_eq!((&*back.tenant.0, step.before.cordoned), (PLATFORM_TENANT, Some(true)));
    assert_eq!(back.undo_of, Some(ActionId::new("order-1-1")), "it is an undo of the cordon");
    assert!(back.explanation[0].contains("did not help"), "{:?}", back.explanation);

    let undo = "order-1-1-undo";
    recorded(&mut snapshot, &back, undo, ActionState::Verifying, [1.0, 0.0]);
    let (name, why) = decide(&snapshot).expect_err("it is under way");
    assert!(name == "Wait" && why.contains(undo), "{name}: {why}");

    recorded(&mut snapshot, &back, undo, ActionState::Verified, [1.0, 0.5]);
    put_hold(&mut snapshot, None);
    let (name, why) = decide(&snapshot).expect_err("the node is open, and nothing is tried once more");
    assert_eq!(name, "HandOver", "{why}");
}

#[test]
fn what_could_not_be_taken_back_is_left_to_people_and_not_tried_again() {
    let (mut snapshot, incident) = drained_in_vain(DRAIN);
    let back = admitted(&snapshot, &incident, own("NodeNotReady", DRAIN)).expect("a plan");
    recorded(&mut snapshot, &back, "order-1-1-undo", ActionState::Refused, [1.0, 0.5]);
    let (name, why) = admitted(&snapshot, &incident, own("NodeNotReady", DRAIN)).expect_err("once");
    assert_eq!(name, "HandOver", "{why}");
}

#[test]
fn only_the_own_cordon_of_a_drain_that_says_so_is_taken_back() {
    let handed_over = |snapshot: &Snapshot, incident: &Incident, step: &str| {
        let decision = admitted(snapshot, incident, own("NodeNotReady", step));
        decision.err().is_some_and(|(name, _)| name == "HandOver")
    };
    let never = "action: Drain, to: SickNode, undo: Never, times: 5";
    let (snapshot, incident) = drained_in_vain(never);
    assert!(handed_over(&snapshot, &incident, never), "its step says Never");

    for by in [None, Some("node-9-1")] {
        let (mut snapshot, incident) = drained_in_vain(DRAIN);
        put_hold(&mut snapshot, by);
        assert!(handed_over(&snapshot, &incident, DRAIN), "held by {by:?}");
    }

    // A cordon that is a step of its own keeps new pods off for as long as it was meant to.
    let alone = "action: Cordon, undo: Restore";
    let (mut snapshot, incident) = dead_node();
    with_platform(&mut snapshot);
    let cordon = admitted(&snapshot, &incident, own("NodeNotReady", alone)).expect("a plan");
    recorded(&mut snapshot, &cordon, "order-1-1", ActionState::Verified, [1_300.0, 1_299.0]);
    put_hold(&mut snapshot, Some("order-1-1"));
    let mut long = incident.clone();
    long.instants.detected = ago(1_400.0);
    for finding in &mut long.findings {
        finding.since = ago(1_400.0);
    }
    assert!(handed_over(&snapshot, &long, alone));
}

#[test]
fn the_second_opinion_lets_an_undo_be_nothing_but_the_way_back_of_its_own_action() {
    let (snapshot, incident) = drained_in_vain(DRAIN);
    let decided = || plan(&incident, &snapshot, &[own("NodeNotReady", DRAIN)], now(), &mut SeededIds::new(7));
    let changed = |change: fn(&mut Plan<Draft>)| {
        let Decision::Act(mut draft) = decided() else { panic!("expected a plan") };
        change(&mut draft);
        Checker::new("homeostat").check(draft, &snapshot, now())
    };
    assert!(changed(|_| {}).is_ok());
    let others: [fn(&mut Plan<Draft>); 4] = [
        |draft| draft.undo_of = Some(ActionId::new("order-1-2")),
        |draft| draft.undo_of = Some(ActionId::new("node-9-1")),
        |draft| draft.steps[0].parameters = Parameters::Cordon { until: ago(-60.0) },
        |draft| draft.steps[0].undo = Undo::Restore,
    ];
    for (index, change) in others.into_iter().enumerate() {
        let said = format!("{:?}", changed(change).expect_err("refused"));
        assert!(said.contains("is not what takes"), "case {index}: {said}");
    }
}
