//! Runs that cannot be started hold no room that others wait for.

use super::*;
use homeostat_knowledge::ActionState;

/// One vCPU, and a run of each of two tenants: that of `a` is due first.
fn two_for_one() -> (World, ControllerRecord) {
    let mut world = World::new(1);
    for tenant in ["a", "b"] {
        world.tenant(tenant, None);
        world.workload(tenant, "plan", |_| {});
    }
    world.workload("a", "plan", |policy| policy.permits.runs.deadline = SignedDuration::from_mins(5));
    let job = world.job("a", "plan", 0);
    world.job("b", "plan", 0);
    (world, job)
}

/// The first of these seconds in which a run of that name is ordered, and what is told of each order of `a` on the way.
fn ordered(world: &mut World, name: &str, seconds: std::ops::Range<i64>, told: Option<&str>) -> Option<i64> {
    for second in seconds {
        let started = world.step(second);
        if names(&started).contains(&"a/plan-0") {
            world.runs.checked(&ObjectKey::new("a", "plan"), told);
        }
        if names(&started).contains(&name) {
            return Some(second);
        }
    }
    None
}

#[test]
fn an_order_that_the_checker_refuses_for_good_holds_nobody_else_up() {
    let (mut world, _) = two_for_one();
    let begins = ordered(&mut world, "b/plan-0", 1..61, Some("nothing there is ever touched"));
    assert!(begins.is_some_and(|second| second <= 30), "{begins:?}");
    let report = world.report("a", "plan");
    assert!(report.problem.is_some_and(|text| text.contains("nothing there is ever touched")));
    assert!(report.said.contains("cannot be started now, and is tried again at"), "{}", report.said);
    assert_eq!((report.waiting, report.running), (1, 0));
    // Its turn comes again, and by then it is admitted.
    let object = ObjectKey::new("b", "plan-0");
    let other = ControllerKey { kind: ControllerKind::Job, object };
    let other = (**world.snapshot.controllers.get(&other).expect("the Job of b")).clone();
    let other = world.begin(other);
    world.step(62);
    world.end(other, "Completed", 70, 5, Some(100));
    let again = ordered(&mut world, "a/plan-0", 71..200, None);
    assert!(again.is_some(), "it is not forgotten");
    assert_eq!(world.step(again.unwrap_or_default() + 1), []);
    assert_eq!(world.report("a", "plan").problem, None);
}

#[test]
fn an_order_whose_action_is_stopped_for_good_holds_nobody_else_up() {
    for state in [ActionState::Refused, ActionState::Cancelled] {
        let (mut world, job) = two_for_one();
        assert_eq!(names(&world.step(1)), ["a/plan-0"]);
        let mut stopped = refused_action(&job, None);
        stopped.incident = homeostat_knowledge::runs::occasion(&stopped.target);
        stopped.id = homeostat_knowledge::ActionId::new(format!("{}-1", stopped.incident));
        (stopped.state, stopped.evidence.taken_at) = (state, at(1));
        world.snapshot.actions.insert_mut(stopped.id.clone(), Arc::new(stopped));
        let begins = ordered(&mut world, "b/plan-0", 2..61, None);
        assert!(begins.is_some_and(|second| second <= 30), "{state:?}: {begins:?}");
    }
}

#[test]
fn where_nobody_waits_for_its_room_a_refused_order_is_given_again_as_before() {
    let mut world = World::new(2);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.job("a", "plan", 0);
    let mut given = Vec::new();
    for second in 1..40 {
        if !world.step(second).is_empty() {
            given.push(second);
            world.runs.checked(&ObjectKey::new("a", "plan"), Some("not now"));
        }
    }
    assert_eq!(given, [1, 6, 16, 36]);
}

#[test]
fn what_was_said_of_an_earlier_order_does_not_answer_the_present_one_at_once() {
    let (mut world, job) = two_for_one();
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let mut stopped = refused_action(&job, None);
    stopped.incident = homeostat_knowledge::runs::occasion(&stopped.target);
    stopped.id = homeostat_knowledge::ActionId::new(format!("{}-1", stopped.incident));
    (stopped.state, stopped.evidence.taken_at) = (ActionState::Refused, at(1));
    world.snapshot.actions.insert_mut(stopped.id.clone(), Arc::new(stopped));
    let begins = ordered(&mut world, "b/plan-0", 2..61, None).expect("b does not wait for ever");
    let object = ObjectKey::new("b", "plan-0");
    let other = ControllerKey { kind: ControllerKind::Job, object };
    let other = (**world.snapshot.controllers.get(&other).expect("the Job of b")).clone();
    let other = world.begin(other);
    world.step(begins + 1);
    world.end(other, "Completed", begins + 10, 5, Some(100));
    let again = ordered(&mut world, "a/plan-0", begins + 11..400, None).expect("its turn comes again");
    world.job("b", "plan", again);
    let next = format!("b/plan-{again}");
    let passes = ordered(&mut world, &next, again + 1..again + 60, None).expect("nor does the next of b");
    assert!(passes - again >= 10, "ordered at {again}, taken back at {passes}");
}
