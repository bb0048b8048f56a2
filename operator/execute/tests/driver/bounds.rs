//! Bounds of an autoscaler by forecast: through the same guards and the same ledger as sizes.

use crate::sizes;
use crate::world::World;
use homeostat_execute::driver::undo_id;
use homeostat_knowledge::policy::{Bounds, ScalingMode, ScalingPolicy, WhenOwned};
use homeostat_knowledge::records::AutoscalerRecord;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionState, Admitted, FindingKind, GuardName, Level, Name, ObjectKey, Parameters,
    Plan, SignedDuration, SizeEffect, Uid,
};
use std::sync::Arc;
use std::time::Duration;

/// People's own.
const OWN: Bounds = Bounds { min: 2, max: 10 };

/// A healthy world of `replicas` by an autoscaler whose bounds may be moved.
fn world(replicas: i32) -> Arc<World> {
    let world = World::new(FindingKind::Hung);
    let mut inner = world.lock();
    inner.get_well();
    let size = &mut inner.controller;
    (size.replicas, size.current, size.ready, size.updated) = (replicas, replicas, replicas, replicas);
    let scales = size.key.clone();
    inner.autoscaler = Some(AutoscalerRecord {
        key: ObjectKey::new("shop", "order-hpa"),
        uid: Uid::new("order-hpa"),
        resource_version: Name::from("1"),
        scales,
        bounds: OWN,
        drive: None,
        keda: None,
        gitops_owner: None,
    });
    inner.set_tenant(|tenant| {
        tenant.levels.insert(ActionKind::DriveBounds, Level::ActBounded);
    });
    inner.set_workload(|policy| {
        policy.permits.replicas = Some(Bounds { min: 1, max: 20 });
        policy.permits.scaling = Some(ScalingPolicy {
            mode: ScalingMode::Auto,
            when_owned: WhenOwned::DriveBounds,
            ..ScalingPolicy::default()
        });
    });
    drop(inner);
    world.refresh();
    world
}

fn want(world: &World, wanted: u32) {
    sizes::decide(world, wanted, SizeEffect::DriveBounds { min: wanted, max: 10 });
}

fn plan(world: &World, min: u64) -> Plan<Admitted> {
    let until = world.now() + SignedDuration::from_hours(1);
    sizes::plan(world, Parameters::DriveBounds { bounds: Bounds { min, max: 10 }, until })
}

fn bounds(world: &World) -> Bounds {
    world.lock().autoscaler.as_ref().expect("an autoscaler").bounds
}

#[tokio::test(start_paused = true)]
async fn a_floor_is_raised_and_the_autoscaler_brings_the_replicas() {
    let world = world(3);
    want(&world, 6);
    let executor = world.executor();
    let ended = executor.run(&plan(&world, 6), None).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Verified, "{}", ended.message);
    assert_eq!((bounds(&world), world.lock().controller.replicas), (Bounds { min: 6, max: 10 }, 6));
    let found = world.lock().autoscaler.clone().expect("an autoscaler");
    assert_eq!(found.peoples(), OWN);
    assert_eq!(executor.breaches(), []);
}

#[tokio::test(start_paused = true)]
async fn a_floor_is_had_only_as_long_as_the_newest_decision_wants_it() {
    // (floor now, wanted by the newest decision, asked for)
    for (present, wanted, asked, had) in [
        (2, 5, 6, false),
        (2, 6, 6, true),
        (2, 8, 6, true),
        (7, 6, 5, false),
        (7, 5, 5, true),
        (7, 2, 5, true),
    ] {
        let world = world(3);
        let until = world.now() + SignedDuration::from_hours(1);
        let earlier = ActionId::new("shop.order-0");
        world.lock().drive(Bounds { min: present, max: 10 }, &earlier, until);
        world.refresh();
        want(&world, wanted);
        let ended = world.executor().run(&plan(&world, asked), None).await.expect("it ends");
        let refused = ended.guards.iter().find(|guard| !guard.result.permits()).map(|guard| guard.name);
        let expected = (!had).then_some(GuardName::Evidence);
        assert_eq!(refused, expected, "{present} to {asked}, {wanted} wanted: {}", ended.message);
        assert_eq!(bounds(&world).min == asked, had, "{present} to {asked}, {wanted} wanted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lower_floor_that_hurts_is_taken_back_by_the_ledger() {
    let world = world(6);
    want(&world, 6);
    let executor = world.executor();
    let up = executor.run(&plan(&world, 6), None).await.expect("it ends");
    assert_eq!(up.state, ActionState::Verified, "{}", up.message);
    // Fewer wait for a minute after any change.
    tokio::time::sleep(Duration::from_secs(90)).await;
    want(&world, 4);
    let hurting = {
        let world = Arc::clone(&world);
        async move {
            for _ in 0..100 {
                if world.lock().effects.len() > 1 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
            world.lock().fall_sick(FindingKind::Slow);
        }
    };
    let down = plan(&world, 4);
    let (ended, ()) = tokio::join!(executor.run(&down, None), hurting);
    let ended = ended.expect("it ends");
    assert_eq!(ended.state, ActionState::Undone, "{}", ended.message);
    assert_eq!(bounds(&world), Bounds { min: 6, max: 10 });
    let undone = world.lock().actions.values().any(|record| record.id == undo_id(&ended.id));
    assert!(undone, "an action of its own");
    assert_eq!(executor.breaches(), []);
    // Not tried again for an hour, while a higher floor is had at once.
    world.lock().get_well();
    tokio::time::sleep(Duration::from_mins(2)).await;
    want(&world, 4);
    let again = executor.run(&plan(&world, 4), None).await.expect("it is judged");
    let refused = again.guards.iter().find(|guard| !guard.result.permits()).map(|guard| guard.name);
    assert_eq!(refused, Some(GuardName::Cooldown), "{}", again.message);
    // Decisions are fifteen seconds apart, and an action is named by the time of its own.
    tokio::time::sleep(Duration::from_secs(15)).await;
    want(&world, 9);
    let more = executor.run(&plan(&world, 9), None).await.expect("it ends");
    assert_eq!(more.state, ActionState::Verified, "{}", more.message);
}
