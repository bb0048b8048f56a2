//! Sizes by forecast: without an incident, through the same guards and the same ledger, with budgets of their own.

use crate::world::World;
use homeostat_execute::driver::undo_id;
use homeostat_execute::ports::{Field, FieldEdit};
use homeostat_knowledge::forecast::occasion;
use homeostat_knowledge::policy::{Bounds, BreakerLatch, Freeze, KillSwitch, ScalingMode, ScalingPolicy};
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, Admitted, FindingKind, GuardName, Level, Name, ObjectKey, Origin,
    Parameters, Plan, SignedDuration, SizeAdvice, SizeEffect,
};
use std::sync::Arc;
use std::time::Duration;

/// A healthy world with so many replicas, in which sizes are done alone, also down to zero.
fn world(replicas: i32) -> Arc<World> {
    let world = World::new(FindingKind::Hung);
    let mut inner = world.lock();
    inner.get_well();
    let size = &mut inner.controller;
    (size.replicas, size.current, size.ready, size.updated) = (replicas, replicas, replicas, replicas);
    inner.set_tenant(|tenant| {
        for kind in [ActionKind::ScaleUp, ActionKind::ScaleDown] {
            tenant.levels.insert(kind, Level::ActBounded);
        }
    });
    inner.set_workload(|policy| {
        policy.permits.replicas = Some(Bounds { min: 0, max: 40 });
        policy.permits.scaling = Some(ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() });
    });
    drop(inner);
    world.refresh();
    world
}

fn want(world: &World, wanted: u32) {
    decide(world, wanted, SizeEffect::Scale);
}

/// The newest decision: so many replicas, to be had in this way.
pub fn decide(world: &World, wanted: u32, effect: SizeEffect) {
    let advice = SizeAdvice {
        per_replica: Some(20.0),
        wanted: Some(wanted),
        effect,
        why: format!("{wanted} replicas are wanted"),
        ..SizeAdvice::keep(world.now())
    };
    Arc::make_mut(&mut world.lock().snapshot)
        .sizes
        .insert_mut(ObjectKey::new("shop", "order"), Arc::new(advice));
}

/// A plan as a forecast asks for it: an occasion stands in the place of its incident.
pub fn plan(world: &World, parameters: Parameters) -> Plan<Admitted> {
    let (mut plan, _) = world.plan(parameters);
    plan.origin = Origin::Forecast;
    plan.incident = occasion(&plan.workload);
    plan
}

/// Waits for the first effect; not for ever, so that a refusal fails the test.
pub async fn first_effect(world: &World) {
    for _ in 0..600 {
        if !world.lock().effects.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("there is no effect: {:?}", all(world));
}

fn all(world: &World) -> Vec<ActionRecord> {
    world.lock().actions.values().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_size_is_had_without_an_incident_and_named_by_its_time() {
    let world = world(1);
    want(&world, 4);
    let executor = world.executor();
    let ended =
        executor.run(&plan(&world, Parameters::ScaleUp { replicas: 4 }), None).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Verified, "{}", ended.message);
    assert_eq!(ended.origin, Origin::Forecast);
    assert!(ended.id.as_str().starts_with("shop.order-"), "{}", ended.id);
    assert_eq!(world.lock().controller.replicas, 4);
    assert_eq!(world.lock().effects.len(), 1);
    assert_eq!(executor.breaches(), []);
    // The same decision again is the same action: it cannot be done twice.
    let again = executor.run(&plan(&world, Parameters::ScaleUp { replicas: 4 }), None).await;
    assert!(again.is_err() || world.lock().effects.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn fewer_replicas_that_hurt_are_taken_back_by_the_ledger() {
    let world = world(4);
    want(&world, 3);
    let hurting = {
        let world = Arc::clone(&world);
        async move {
            first_effect(&world).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            world.lock().fall_sick(FindingKind::Slow);
        }
    };
    let executor = world.executor();
    let plan = plan(&world, Parameters::ScaleDown { replicas: 3 });
    let (ended, ()) = tokio::join!(executor.run(&plan, None), hurting);
    let ended = ended.expect("it ends");
    assert_eq!(ended.state, ActionState::Undone, "{}", ended.message);
    let undo = all(&world).into_iter().find(|record| record.id == undo_id(&ended.id)).expect("an undo");
    assert_eq!((undo.state, undo.parameters), (ActionState::Verified, Parameters::ScaleUp { replicas: 4 }));
    assert_eq!(world.lock().controller.replicas, 4);
    assert_eq!(executor.breaches(), []);
    // Not tried again for an hour.
    world.lock().get_well();
    tokio::time::sleep(Duration::from_mins(2)).await;
    want(&world, 3);
    let again = executor.run(&self::plan(&world, Parameters::ScaleDown { replicas: 3 }), None).await;
    let again = again.expect("it is judged");
    let refused = again.guards.iter().find(|guard| !guard.result.permits()).map(|guard| guard.name);
    assert_eq!(
        (again.state, refused),
        (ActionState::Refused, Some(GuardName::Cooldown)),
        "{}",
        again.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_over_fewer_replicas_ends_when_more_are_wanted_again() {
    let world = world(4);
    want(&world, 3);
    let growing = {
        let world = Arc::clone(&world);
        async move {
            first_effect(&world).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            want(&world, 6);
        }
    };
    let executor = world.executor();
    let begun = tokio::time::Instant::now();
    let down = plan(&world, Parameters::ScaleDown { replicas: 3 });
    let (ended, ()) = tokio::join!(executor.run(&down, None), growing);
    assert_eq!(ended.expect("it ends").state, ActionState::Verified);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let up = plan(&world, Parameters::ScaleUp { replicas: 6 });
    assert_eq!(executor.run(&up, None).await.expect("it ends").state, ActionState::Verified);
    assert_eq!(world.lock().controller.replicas, 6);
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_zero_and_from_zero_only_where_the_workload_says_so() {
    let world = world(1);
    want(&world, 0);
    let executor = world.executor();
    let down = plan(&world, Parameters::ScaleDown { replicas: 0 });
    assert_eq!(executor.run(&down, None).await.expect("it ends").state, ActionState::Verified);
    assert_eq!(world.lock().controller.replicas, 0);
    world.lock().controller.ready = 0;
    tokio::time::sleep(Duration::from_secs(20)).await;
    want(&world, 2);
    let up = plan(&world, Parameters::ScaleUp { replicas: 2 });
    let ended = executor.run(&up, None).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Verified, "{}", ended.message);

    let other = self::world(1);
    other.lock().set_workload(|policy| policy.permits.replicas = Some(Bounds { min: 1, max: 40 }));
    want(&other, 0);
    let refused = other.executor().run(&plan(&other, Parameters::ScaleDown { replicas: 0 }), None).await;
    let refused = refused.expect("it is judged");
    assert_eq!(refused.state, ActionState::Refused);
    assert!(
        refused.message.contains("zero") || refused.guards.iter().any(|guard| guard.message.contains("zero"))
    );
}

#[tokio::test(start_paused = true)]
async fn people_who_say_stop_are_obeyed_for_sizes_too() {
    type Stop = fn(&World);
    let stops: [(Stop, GuardName); 6] = [
        (|world| world.lock().kill_switch = KillSwitch::Unreadable, GuardName::KillSwitch),
        (|world| world.lock().set_tenant(|tenant| tenant.paused = true), GuardName::Level),
        (|world| world.lock().set_workload(|policy| policy.paused = true), GuardName::Level),
        (
            |world| {
                world.lock().set_tenant(|tenant| {
                    tenant.freezes = vec![Freeze {
                        name: Name::from("always"),
                        schedule: Name::from("0 0 * * *"),
                        time_zone: Name::from("UTC"),
                        duration: SignedDuration::from_hours(24),
                    }];
                });
            },
            GuardName::FreezeWindow,
        ),
        (|world| want(world, 2), GuardName::Evidence),
        (
            |world| world.lock().set_tenant(|tenant| tenant.limits.scaling.per_workload_hour = 0),
            GuardName::Budget,
        ),
    ];
    for (stop, guard) in stops {
        let world = world(1);
        want(&world, 4);
        stop(&world);
        let up = plan(&world, Parameters::ScaleUp { replicas: 4 });
        let ended = world.executor().run(&up, None).await.expect("it is judged");
        let refused = ended.guards.iter().find(|guard| !guard.result.permits()).map(|guard| guard.name);
        assert_eq!((ended.state, refused), (ActionState::Refused, Some(guard)), "{}", ended.message);
        assert!(world.lock().effects.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn sizes_and_repairs_use_up_nothing_of_each_other() {
    let world = world(1);
    let executor = world.executor();
    for wanted in 2..=8 {
        want(&world, wanted as u32);
        let up = plan(&world, Parameters::ScaleUp { replicas: wanted });
        let ended = executor.run(&up, None).await.expect("it ends");
        assert_eq!(ended.state, ActionState::Verified, "{}", ended.message);
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    // Seven changes in two minutes: three actions an hour and fifteen minutes of rest are for repairs.
    {
        let mut inner = world.lock();
        let size = &mut inner.controller;
        (size.replicas, size.current, size.ready, size.updated) = (1, 1, 1, 1);
        inner.fall_sick(FindingKind::Hung);
    }
    world.refresh();
    let (eviction, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let ended = executor.run(&eviction, Some(finding)).await.expect("it ends");
    assert!(ended.instants.sent.is_some(), "{:?}: {}", ended.state, ended.message);
}

/// Somebody sets the size back at once, each time; what wants more asks every 15 s for two hours, in the second of them after
/// a restart.
async fn taken_back(manager: &'static str) -> (Arc<World>, Vec<SignedDuration>) {
    let world = world(1);
    let begun = world.now();
    let rival = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let now = world.now();
                let mut inner = world.lock();
                if inner.controller.replicas != 1 {
                    let size = &mut inner.controller;
                    (size.replicas, size.current, size.ready, size.updated) = (1, 1, 1, 1);
                    let (field, subresource) = (Field::Replicas, Name::from(""));
                    inner.edits =
                        vec![FieldEdit { field, manager: Name::from(manager), subresource, at: Some(now) }];
                    drop(inner);
                    world.refresh();
                }
            }
        })
    };
    for _life in 0..2 {
        let executor = world.executor();
        for _ in 0..240 {
            want(&world, 4);
            // Refused or failed is an end; a world without an end would hang here.
            let _ended = executor.run(&plan(&world, Parameters::ScaleUp { replicas: 4 }), None).await;
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
        assert_eq!(executor.breaches(), []);
    }
    rival.abort();
    let writes = world.lock().effects.iter().map(|effect| effect.at.duration_since(begun)).collect();
    (world, writes)
}

#[tokio::test(start_paused = true)]
async fn who_takes_our_change_back_is_named_and_there_is_no_fight() {
    let (world, writes) = taken_back("shop-operator").await;
    assert_eq!(writes.len(), 2, "never a third: {writes:?}");
    assert!(writes[1] - writes[0] > SignedDuration::from_mins(10), "{writes:?}");
    let records = all(&world);
    assert!(records.iter().any(|record| record.message.contains("was set by shop-operator")));
    let last = records.iter().max_by_key(|record| record.evidence.taken_at).expect("actions");
    let refused = last.guards.iter().find(|guard| !guard.result.permits()).expect("it is refused");
    assert_eq!(refused.name, GuardName::Breaker, "{}", last.message);
    assert!(
        refused.observed.contains("shop-operator took spec.replicas of Deployment shop/order back 2 times")
    );
    assert!(refused.message.contains("breaker-reset-at"), "{}", refused.message);
    // The ledger alone tells it.
    let told = |world: &World| {
        homeostat_knowledge::fight::against(last, records.iter(), &BreakerLatch::default(), world.now())
    };
    let fight = told(&world).expect("a fight");
    assert_eq!((fight.who.as_deref(), fight.times), (Some("shop-operator"), 2));

    // The other kinds of the workload are as free as before; a day later, or when a person says so, it is tried again.
    let executor = world.executor();
    let reset = BreakerLatch { opened: None, reset: Some(world.now()) };
    {
        let mut inner = world.lock();
        let snapshot = Arc::make_mut(&mut inner.snapshot);
        Arc::make_mut(&mut snapshot.control).breaker = reset;
    }
    want(&world, 4);
    let again = executor.run(&plan(&world, Parameters::ScaleUp { replicas: 4 }), None).await;
    assert_eq!(again.expect("it ends").state, ActionState::Verified);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_takes_our_change_back_gets_the_field_at_once() {
    let (world, writes) = taken_back("argocd-controller").await;
    assert_eq!(writes.len(), 1, "{writes:?}");
    let records = all(&world);
    let named = records.iter().any(|record| record.message.contains("belongs to Argo CD"));
    assert!(named, "{:?}", records.last());
}
