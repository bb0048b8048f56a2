//! What did not help is taken back: once, whatever happens meanwhile, and never what a person changed since.

use crate::sizes::first_effect;
use crate::things::base;
use crate::world::{Fault, Inner, World};
use homeostat_execute::driver::undo_id;
use homeostat_execute::outcome_unknown;
use homeostat_knowledge::policy::{Bounds, Freeze, KillSwitch};
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, FindingKind, GuardName, GuardResult, Level, Name, Parameters,
    SignedDuration,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const UP: Parameters = Parameters::ScaleUp { replicas: 2 };

/// A world in which two replicas are as sick as one.
pub(crate) fn world() -> Arc<World> {
    let world = World::new(FindingKind::Hung);
    {
        let mut inner = world.lock();
        inner.set_tenant(|tenant| {
            tenant.levels.insert(ActionKind::ScaleUp, Level::ActBounded);
        });
        inner.set_workload(|policy| policy.permits.replicas = Some(Bounds { min: 1, max: 4 }));
    }
    world
}

pub(crate) fn end(world: &World, undo: bool) -> ActionRecord {
    let inner = world.lock();
    let found = inner.actions.values().find(|record| record.undo_of.is_some() == undo);
    found.cloned().unwrap_or_else(|| panic!("no such action: {:?}", inner.actions.keys()))
}

/// Decides once, then goes on, through crashes, until nothing is open.
pub(crate) async fn run(world: &Arc<World>) {
    let executor = world.executor();
    let life = world.lock().life;
    let (plan, finding) = world.plan(UP);
    tokio::select! {
        result = executor.run(&plan, Some(finding)) => drop(result),
        () = world.crashed(life) => {}
    }
    for _ in 0..30 {
        if world.lock().open_actions().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.restart();
        let executor = world.executor();
        let life = world.lock().life;
        let work = async {
            while !world.lock().open_actions().is_empty() {
                let open = world.lock().open_actions();
                executor.resume(open);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(executor.breaches(), [], "no invariant was broken");
        };
        tokio::select! {
            () = work => return,
            () = world.crashed(life) => {}
        }
    }
    panic!("the world did not come to rest: {:?}", world.lock().requests);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_help_is_taken_back_once_as_an_action_of_its_own() {
    let world = world();
    run(&world).await;
    let (done, undo) = (end(&world, false), end(&world, true));
    assert_eq!((done.state, undo.state), (ActionState::Undone, ActionState::Verified));
    assert!(done.outcome.as_ref().is_some_and(|outcome| !outcome.helped), "undone is no success");
    assert!(done.message.contains(undo.id.as_str()), "{}", done.message);
    assert_eq!((undo.id.clone(), undo.undo_of.clone()), (undo_id(&done.id), Some(done.id.clone())));
    assert_eq!(undo.parameters, Parameters::ScaleDown { replicas: 1 });
    assert_eq!(undo.before.replicas, Some(2), "what we had set is its state before");
    let inner = world.lock();
    assert_eq!((inner.controller.replicas, inner.effects.len(), inner.actions.len()), (1, 2, 2));
}

/// In a fifth of the 2 MiB that a worker has: what a client of the API server needs comes on top.
#[test]
fn an_undo_fits_the_stack_of_a_worker() {
    let whole = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let world = world();
            run(&world).await;
            end(&world, true).state
        })
    };
    let thread = std::thread::Builder::new().stack_size(384 << 10).spawn(whole).expect("a thread");
    assert_eq!(thread.join().expect("it fits"), ActionState::Verified);
}

#[tokio::test(start_paused = true)]
async fn an_undo_waits_until_the_process_is_warm() {
    let world = world();
    let starting = async {
        first_effect(&world).await;
        let now = world.now();
        Arc::make_mut(&mut world.lock().snapshot).synced_since = Some(now);
        now
    };
    let ((), began) = tokio::join!(run(&world), starting);
    let (done, undo) = (end(&world, false), end(&world, true));
    assert_eq!((done.state, undo.state), (ActionState::Undone, ActionState::Verified), "{}", done.message);
    let sent = undo.instants.sent.expect("sent");
    assert!(sent.duration_since(began) >= SignedDuration::from_secs(60), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn what_helped_is_left_as_it_is() {
    let world = world();
    let healing = {
        let world = Arc::clone(&world);
        async move {
            first_effect(&world).await;
            let now = world.now();
            let mut inner = world.lock();
            inner.complete(now);
            // One pod stands for all in this world.
            inner.controller.replicas = 2;
            inner.second_pod(now);
        }
    };
    tokio::join!(run(&world), healing);
    assert_eq!(end(&world, false).state, ActionState::Verified);
    let inner = world.lock();
    assert_eq!((inner.actions.len(), inner.controller.replicas), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_a_person_changed_since_is_left_to_them() {
    let world = world();
    let person = {
        let world = Arc::clone(&world);
        async move {
            first_effect(&world).await;
            world.lock().controller.replicas = 3;
        }
    };
    tokio::join!(run(&world), person);
    let (done, undo) = (end(&world, false), end(&world, true));
    assert_eq!((done.state, undo.state), (ActionState::Failed, ActionState::Refused));
    assert_eq!(world.lock().controller.replicas, 3);
    assert!(done.message.contains("not taken back"), "{}", done.message);
}

/// Something changes right after the effect.
async fn after_the_effect(change: fn(&mut Inner)) -> Arc<World> {
    let world = world();
    let changing = {
        let world = Arc::clone(&world);
        async move {
            first_effect(&world).await;
            change(&mut world.lock());
        }
    };
    tokio::join!(run(&world), changing);
    world
}

/// The kill switch is engaged right after the effect, for ten minutes in which somebody else does something. Returns how
/// many replicas there were at their end.
async fn while_engaged(change: fn(&mut Inner)) -> (Arc<World>, i32) {
    let world = world();
    let drill = async {
        first_effect(&world).await;
        world.lock().kill_switch = KillSwitch::Engaged { reason: Name::from("drill"), by: None };
        tokio::time::sleep(Duration::from_mins(5)).await;
        change(&mut world.lock());
        tokio::time::sleep(Duration::from_mins(5)).await;
        let mut inner = world.lock();
        let open: Vec<ActionState> = inner.open_actions().iter().map(|action| action.state).collect();
        assert_eq!(open, [ActionState::Verifying], "what waits to be taken back is listed as half done");
        inner.kill_switch = KillSwitch::Off;
        inner.controller.replicas
    };
    let ((), left) = tokio::join!(run(&world), drill);
    (world, left)
}

#[tokio::test(start_paused = true)]
async fn what_a_person_changed_while_an_undo_waited_for_the_kill_switch_is_left_to_them() {
    let (world, left) = while_engaged(|inner| inner.controller.replicas = 3).await;
    let (done, undo) = (end(&world, false), end(&world, true));
    assert_eq!((done.state, undo.state), (ActionState::Failed, ActionState::Refused), "{}", undo.message);
    let inner = world.lock();
    assert_eq!((left, inner.controller.replicas, inner.effects.len()), (3, 3, 1));
    assert!(done.message.contains("not taken back"), "{}", done.message);
}

/// Both replicas are there and answer well.
fn get_well(inner: &mut Inner) {
    let at = base() + SignedDuration::from_secs(30);
    inner.complete(at);
    inner.second_pod(at);
}

/// It is well by now with what was to be taken back, so that is left as it is and people are told.
fn is_left(world: &World) {
    let (done, undo) = (end(world, false), end(world, true));
    assert_eq!((done.state, undo.state), (ActionState::Failed, ActionState::Cancelled), "{}", done.message);
    assert!(done.message.contains("well by now"), "{}", done.message);
    let inner = world.lock();
    assert_eq!((inner.controller.replicas, inner.effects.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_got_well_while_an_undo_waited_for_the_kill_switch_is_left_as_it_is() {
    let (world, left) = while_engaged(get_well).await;
    assert_eq!(left, 2);
    is_left(&world);
}

#[tokio::test(start_paused = true)]
async fn what_got_well_long_after_a_crash_before_its_undo_is_left_as_it_is() {
    let number = nth("create", 2).await;
    let world = world();
    world.lock().faults = BTreeMap::from([(number, Fault::CrashAfter)]);
    let life = world.lock().life;
    let executor = world.executor();
    let (plan, finding) = world.plan(UP);
    tokio::select! {
        result = executor.run(&plan, Some(finding)) => panic!("no crash: {result:?}"),
        () = world.crashed(life) => {}
    }
    get_well(&mut world.lock());
    tokio::time::sleep(Duration::from_mins(20)).await;
    world.restart();
    let executor = world.executor();
    for _ in 0..60 {
        let open = world.lock().open_actions();
        executor.resume(open);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    is_left(&world);
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_and_a_pause_stop_an_undo_a_freeze_and_a_lower_level_do_not() {
    let (engaged, left) = while_engaged(|_| {}).await;
    assert_eq!((left, engaged.lock().effects.len()), (2, 2), "nothing before the switch was off");
    assert_eq!((end(&engaged, false).state, engaged.lock().controller.replicas), (ActionState::Undone, 1));

    let paused = after_the_effect(|inner| inner.set_tenant(|tenant| tenant.paused = true)).await;
    assert_eq!((end(&paused, false).state, paused.lock().controller.replicas), (ActionState::Failed, 2));

    let frozen = after_the_effect(|inner| {
        inner.set_tenant(|tenant| {
            tenant.levels.insert(ActionKind::ScaleUp, Level::Observe);
            tenant.freezes = vec![Freeze {
                name: Name::from("always"),
                schedule: Name::from("0 0 * * *"),
                time_zone: Name::from("UTC"),
                duration: SignedDuration::from_hours(24),
            }];
        });
    })
    .await;
    assert_eq!((end(&frozen, false).state, frozen.lock().controller.replicas), (ActionState::Undone, 1));
    let skipped = [GuardName::FreezeWindow, GuardName::Cooldown, GuardName::Storm, GuardName::Budget];
    for guard in end(&frozen, true).guards {
        assert_eq!(
            guard.result == GuardResult::Unset && skipped.contains(&guard.name),
            skipped.contains(&guard.name)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_needs_room_in_the_budget_from_the_beginning() {
    let world = world();
    world.lock().set_tenant(|tenant| tenant.limits.per_workload_hour = 1);
    run(&world).await;
    let refused = end(&world, false);
    assert_eq!(refused.state, ActionState::Refused);
    let budget = refused.guards.last().map(|guard| guard.name);
    assert_eq!((budget, world.lock().effects.len()), (Some(GuardName::Budget), 0));
}

/// What may happen at one request and pass.
const FAULTS: [Fault; 6] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Timeout { done: true },
    Fault::Timeout { done: false },
    Fault::ServerError,
    Fault::TooManyRequests,
];

/// Number of the n-th request of this name in an undisturbed life.
async fn nth(what: &str, n: usize) -> usize {
    let undisturbed = world();
    run(&undisturbed).await;
    let inner = undisturbed.lock();
    let mut found = inner.requests.iter().zip(1..).filter(|(request, _)| *request == what);
    let number = found.nth(n - 1).map(|(_, number)| number);
    number.unwrap_or_else(|| panic!("no {what}: {:?}", inner.requests))
}

/// Whatever fault strikes the n-th request of this name, the undo is made, once.
async fn undone_in_spite_of(what: &str, n: usize, faults: &[Fault]) {
    let number = nth(what, n).await;
    for fault in faults {
        let context = format!("{fault:?} at {what}, request {number}");
        let world = world();
        world.lock().faults = BTreeMap::from([(number, fault.clone())]);
        run(&world).await;
        let (done, undo) = (end(&world, false), end(&world, true));
        let states = (done.state, undo.state);
        assert_eq!(states, (ActionState::Undone, ActionState::Verified), "{context}: {}", done.message);
        let inner = world.lock();
        assert_eq!((inner.controller.replicas, inner.effects.len()), (1, 2), "{context}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_whose_requests_fail_for_a_while_is_tried_again() {
    let passing = [Fault::ServerError, Fault::TooManyRequests, Fault::Timeout { done: false }];
    // The undo's own: of the switch at its admission and before its effect.
    for (what, n) in [("kill switch", 3), ("kill switch", 4), ("dry run", 2), ("fresh", 2), ("effect", 2)] {
        undone_in_spite_of(what, n, &passing).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_was_created_or_claimed_before_a_crash_is_made_all_the_same() {
    // Created without a state; claimed, and nothing sent.
    for what in ["create", "update Claimed"] {
        undone_in_spite_of(what, 2, &[Fault::CrashAfter]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_good_is_not_tried_again() {
    for what in ["dry run", "effect"] {
        let number = nth(what, 2).await;
        let world = world();
        world.lock().faults = BTreeMap::from([(number, Fault::Denied)]);
        run(&world).await;
        let done = end(&world, false);
        assert_eq!((done.state, world.lock().controller.replicas), (ActionState::Failed, 2), "{what}");
        assert!(done.message.contains("not taken back"), "{what}: {}", done.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_request_neither_repeats_nor_loses_the_undo() {
    let undisturbed = world();
    run(&undisturbed).await;
    let requests = undisturbed.lock().requests.len();
    assert!(requests > 15, "{:?}", undisturbed.lock().requests);
    for number in 1..=requests {
        for fault in FAULTS {
            let context = format!("{fault:?} at request {number}");
            let world = world();
            world.lock().faults = BTreeMap::from([(number, fault)]);
            run(&world).await;
            let inner = world.lock();
            for record in inner.actions.values() {
                assert!(record.state.ended(), "{context}: {} is left {:?}", record.id, record.state);
                let effects = inner.effects.iter().filter(|effect| effect.action == record.id).count();
                assert!(effects <= 1, "{context}: {} was sent {effects} times", record.id);
            }
            let changed = inner.effects.iter().any(|effect| effect.action.as_str() == "order-x-1");
            let restored = inner.controller.replicas == 1;
            // Whose effect was never answered may be somebody else's; then people are told.
            let told = inner.actions.values().any(|record| {
                record.state == ActionState::Failed
                    && record.undo_of.is_none()
                    && outcome_unknown(record)
                    && record.message.contains("not taken back")
            });
            assert!(!changed || restored || told, "{context}: {:?}", inner.actions.values());
            let undone = inner.actions.values().any(|record| record.state == ActionState::Undone);
            assert!(!undone || restored, "{context}: undone, and not as before");
        }
    }
    assert!(undisturbed.now() > base());
}
