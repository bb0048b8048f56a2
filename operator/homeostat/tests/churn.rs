//! An hour of churn in a small cluster; `make churn` takes 10,000 workloads and a day.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../examples/churn/cluster.rs"]
mod cluster;
#[path = "../examples/churn/heap.rs"]
mod heap;
#[path = "../examples/quiet_week/noise.rs"]
#[allow(dead_code, reason = "the quiet week uses more of it")]
mod noise;
#[path = "../examples/churn/objects.rs"]
mod objects;
#[path = "../examples/churn/world.rs"]
mod world;

use homeostat_knowledge::FindingKind;
use world::{Size, World};

const WORKLOADS: usize = 300;
/// Seconds between two looks of the loop.
const STEP: usize = 10;

fn pass(world: &mut World, minutes: usize) {
    for _ in 0..minutes * 60 / STEP {
        let batch = world.changes();
        world.look(&batch);
    }
}

// The only test of this program: another one beside it would count as growth.
#[test]
fn an_hour_of_churn_leaves_nothing_behind_and_alarms_nobody_but_for_a_pod_that_is_sick() {
    let mut world = World::new(Size::of(WORKLOADS, STEP), 7);
    pass(&mut world, 20);
    let early = heap::live();
    pass(&mut world, 40);
    let late = heap::live();
    let outcome = &world.outcome;
    assert!((1_800..2_600).contains(&outcome.changes), "0.6 a second: {}", outcome.changes);
    let (rollouts, replaced, resized) = (outcome.rollouts, outcome.replaced, outcome.resized);
    assert!(rollouts > 10 && replaced > 20 && resized > 20, "{rollouts} {replaced} {resized}");
    assert!(outcome.incidents.is_empty(), "{:?}", outcome.incidents);
    assert!(outcome.plans.is_empty(), "{:?}", outcome.plans);
    let (there, known) = world.pods();
    assert_eq!(there, known);
    assert!(there.abs_diff(3 * WORKLOADS) < 100, "{there}");
    assert!(late as f64 <= 1.05 * early as f64, "from {early} to {late} bytes in 40 minutes");

    let sick = world.sicken();
    pass(&mut world, 2);
    let found: Vec<_> = world.outcome.incidents.iter().map(|(_, of, kind)| (of.as_str(), *kind)).collect();
    assert_eq!(found, [(sick.as_str(), FindingKind::NotReady)]);
}
