//! The cordon of a drain ended well long before the drain turns out not to help. It is taken back all the same: once, as an
//! undo of its own, also by a process that did not see it done.

use crate::world::{Fault, World};
use homeostat_execute::driver::undo_id;
use homeostat_knowledge::action::ActionInstants;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::{Expectation, Undo, Verification};
use homeostat_knowledge::policy::{Freeze, KillSwitch, PLATFORM_TENANT, TenantPolicy};
use homeostat_knowledge::records::{Hold, NodeRecord};
use homeostat_knowledge::{
    ActionId, ActionOutcome, ActionRecord, ActionState, Admitted, Before, FindingKind, GuardName,
    GuardReport, GuardResult, Name, ObjectKey, Parameters, Plan, PlanId, SignedDuration, Snapshot, Step,
    TenantName, Uid,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const HOME: &str = "homeostat-system";
const NODE: &str = "node-5";
const CORDON: &str = "order-x-1";

fn put(world: &World, change: &ObjectChange) {
    let now = world.now();
    Arc::make_mut(&mut world.lock().snapshot).commit(change, now);
}

fn put_node(world: &World, change: impl FnOnce(&mut NodeRecord)) {
    let mut node = NodeRecord {
        ready: false,
        cordoned: true,
        hold: Some(Hold { by: Name::from(CORDON), until: Some(world.now() + SignedDuration::from_hours(1)) }),
        ..NodeRecord::bare(Name::from(NODE), Uid::new("node-uid"))
    };
    change(&mut node);
    put(world, &ObjectChange::Node(Change::Applied(Arc::new(node))));
}

fn put_platform(world: &World, change: impl FnOnce(&mut TenantPolicy)) {
    let mut platform =
        TenantPolicy::new(TenantName::new(PLATFORM_TENANT), Uid::new("platform"), [Name::from(HOME)]);
    change(&mut platform);
    put(world, &ObjectChange::Tenant(Change::Applied(Arc::new(platform))));
}

/// A node that a drain closed, and the plan that opens it again. No level lets anything be done on nodes any more.
fn world() -> (Arc<World>, Plan<Admitted>) {
    let world = World::new(FindingKind::Hung);
    put_platform(&world, |_| {});
    put_node(&world, |_| {});
    let now = world.now();
    let node = Arc::clone(world.lock().snapshot.nodes.get(NODE).expect("a node"));
    let (decided, _) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let base = decided.record(ActionId::new(CORDON), Name::from("test")).expect("a step");
    let passed = GuardReport {
        name: GuardName::FreshRead,
        result: GuardResult::Passed,
        observed: String::new(),
        limit: String::new(),
        message: String::new(),
    };
    let cordon = ActionRecord {
        namespace: Name::from(HOME),
        resource_version: Name::from("7"),
        tenant: TenantName::new(PLATFORM_TENANT),
        workload: ObjectKey::new(HOME, NODE),
        target: Snapshot::node_target(&node),
        parameters: Parameters::Cordon { until: now + SignedDuration::from_hours(1) },
        before: Before { cordoned: Some(false), ..Before::default() },
        undo: Undo::Restore,
        state: ActionState::Verified,
        guards: vec![passed],
        instants: ActionInstants {
            intent: Some(now),
            claimed: Some(now),
            sent: Some(now),
            acknowledged: Some(now),
            verified: Some(now),
            closed: Some(now),
        },
        outcome: Some(ActionOutcome { helped: true, reason: "the node takes no new pods".to_owned() }),
        message: "the node takes no new pods".to_owned(),
        ..base
    };
    put(&world, &ObjectChange::Action(Change::Applied(Arc::new(cordon.clone()))));
    let step = Step {
        target: cordon.target.clone(),
        parameters: Parameters::Uncordon,
        before: Before { cordoned: Some(true), ..Before::default() },
        verification: Verification { within: SignedDuration::from_secs(30), expect: Expectation::Nothing },
        undo: Undo::None,
        evidence: cordon.evidence.clone(),
    };
    let plan = Plan::draft(
        PlanId::new("back"),
        cordon.incident.clone(),
        cordon.tenant.clone(),
        cordon.workload.clone(),
        world.lock().snapshot.generation,
        cordon.playbook.clone(),
        vec![step],
        vec!["the drain did not help".to_owned()],
    );
    world.lock().actions.insert(cordon.key(), cordon.clone());
    (world, plan.taking_back(cordon.id).admit())
}

fn closed(world: &World) -> bool {
    world.lock().snapshot.nodes.get(NODE).expect("a node").cordoned
}

fn undo(world: &World) -> Option<ActionRecord> {
    world.lock().actions.values().find(|record| record.undo_of.is_some()).cloned()
}

#[tokio::test(start_paused = true)]
async fn an_ended_cordon_is_taken_back_by_a_process_that_did_not_see_it_done() {
    let (world, plan) = world();
    // What did not help is taken back in a freeze window too.
    put_platform(&world, |tenant| {
        tenant.freezes = vec![Freeze {
            name: Name::from("always"),
            schedule: Name::from("0 0 * * *"),
            time_zone: Name::from("UTC"),
            duration: SignedDuration::from_hours(24),
        }];
    });
    let executor = world.executor();
    let ended = executor.run(&plan, None).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Verified, "{}", ended.message);
    assert_eq!((&ended.id, &ended.undo_of), (&undo_id(&ActionId::new(CORDON)), &plan.undo_of));
    assert!(!closed(&world), "the node takes new pods again");
    assert_eq!((world.lock().effects.len(), executor.breaches()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_is_another_s_stays_closed_and_people_who_say_stop_are_obeyed() {
    type Change = fn(&World);
    let changes: [(Change, GuardName); 4] = [
        (
            |world| world.lock().kill_switch = KillSwitch::Engaged { reason: Name::from("drill"), by: None },
            GuardName::KillSwitch,
        ),
        (|world| put_platform(world, |tenant| tenant.paused = true), GuardName::Level),
        (|world| put_node(world, |node| node.hold = None), GuardName::Ownership),
        (
            |world| put_node(world, |node| node.hold = Some(Hold { by: Name::from("other-1"), until: None })),
            GuardName::Ownership,
        ),
    ];
    for (change, guard) in changes {
        let (world, plan) = world();
        change(&world);
        let executor = world.executor();
        let ended = executor.run(&plan, None).await.expect("it is judged");
        let refused = ended.guards.iter().find(|guard| !guard.result.permits()).map(|guard| guard.name);
        assert_eq!((ended.state, refused), (ActionState::Refused, Some(guard)), "{}", ended.message);
        assert!(closed(&world), "{guard:?}");
        assert_eq!((world.lock().effects.len(), executor.breaches()), (0, vec![]));
    }
}

/// Decides until the undo is there, and goes on through crashes until nothing is open.
async fn run(world: &Arc<World>, plan: &Plan<Admitted>) {
    for _ in 0..30 {
        let executor = world.executor();
        let life = world.lock().life;
        let work = async {
            if undo(world).is_none() {
                drop(executor.run(plan, None).await);
            }
            while !world.lock().open_actions().is_empty() {
                let open = world.lock().open_actions();
                executor.resume(open);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(executor.breaches(), [], "no invariant was broken");
        };
        tokio::select! {
            () = work => {}
            () = world.crashed(life) => {}
        }
        if undo(world).is_some_and(|undo| undo.state.ended()) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.restart();
    }
    panic!("the world did not come to rest: {:?}", world.lock().requests);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_request_neither_repeats_nor_loses_it() {
    let (undisturbed, plan) = world();
    run(&undisturbed, &plan).await;
    let requests = undisturbed.lock().requests.len();
    assert!(requests > 6 && !closed(&undisturbed), "{:?}", undisturbed.lock().requests);
    for number in 1..=requests {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::Timeout { done: true }] {
            let context = format!("{fault:?} at request {number}");
            let (world, plan) = world();
            world.lock().faults = BTreeMap::from([(number, fault)]);
            run(&world, &plan).await;
            let ended = undo(&world).expect("one undo");
            assert!(world.lock().effects.len() <= 1, "{context}: sent twice");
            let opened = !closed(&world);
            assert_eq!(opened, !world.lock().effects.is_empty(), "{context}");
            assert!(ended.state != ActionState::Verified || opened, "{context}: {}", ended.message);
        }
    }
}
