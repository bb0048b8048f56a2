//! Who is charged with a failed call, for how long, and what is learned of it.

use crate::world::{Behaviour, World, failing, good, key, millis, pod, usual_delay, workload};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::{
    CallOutcome, Entity, FindingId, FindingKind, Name, ObjectKey, SignedDuration, SpanKind, Uid,
};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One call that begins in so many milliseconds and takes so many.
fn call(world: &mut World, (caller, callee): (&str, &str), (begin, took): (i64, i64), outcome: CallOutcome) {
    let id = world.trace as u64 * 1_000 + begin.unsigned_abs();
    let (start, seconds) = (world.now + millis(begin), millis(took).as_secs_f64());
    world.span(caller, SpanKind::Client, Some(callee), start, seconds, outcome, (id, 0));
}

fn step(world: &mut World, steps: i64) {
    for _ in 0..steps {
        world.now += millis(100);
        world.look();
    }
}

/// Two calls a second to a provider outside.
fn pay(world: &mut World, length: SignedDuration, outcome: CallOutcome) {
    let end = world.now + length;
    while world.now < end {
        world.trace += 1;
        call(world, ("accounting", "payments.example"), (0, 10), outcome);
        step(world, 5);
    }
}

#[test]
fn a_long_outage_of_what_is_called_seldom_does_not_hide_the_next_one() {
    let mut world = World::new(usual_delay);
    pay(&mut world, SignedDuration::from_mins(1), CallOutcome::Ok);
    pay(&mut world, SignedDuration::from_mins(5), CallOutcome::Refused);
    pay(&mut world, SignedDuration::from_mins(1), CallOutcome::Ok);
    assert_eq!(world.incidents.len(), 1);
    let began = world.now;
    pay(&mut world, SignedDuration::from_secs(3), CallOutcome::Refused);
    let found = world.incidents.values().map(|incident| incident.instants.detected).max().unwrap();
    assert_eq!(world.incidents.len(), 2);
    assert!(found.duration_since(began) <= SignedDuration::from_secs(2), "{found} after {began}");
}

#[test]
fn what_always_fails_now_and_then_becomes_usual() {
    let mut world = World::new(usual_delay);
    // Six of forty calls, spread over two seconds.
    for turn in 0..24_000_u32 {
        world.trace += 1;
        let outcome = if turn % 20 % 7 == 3 { CallOutcome::ServerError } else { CallOutcome::Ok };
        call(&mut world, ("accounting", "payments.example"), (0, 10), outcome);
        if turn % 2 == 1 {
            step(&mut world, 1);
        }
    }
    let provider = Entity::External { address: Name::from("payments.example") };
    let rate = world.analyser.calls().callee(&provider).unwrap().usual_rate;
    assert!(rate > 0.1, "{rate}");
}

#[test]
fn single_failures_of_what_is_called_seldom_are_usual() {
    let mut world = World::new(usual_delay);
    let rate = |world: &World| {
        let provider = Entity::External { address: Name::from("payments.example") };
        world.analyser.calls().callee(&provider).unwrap().usual_rate
    };
    for _ in 0..100 {
        pay(&mut world, millis(9_500), CallOutcome::Ok);
        pay(&mut world, millis(500), CallOutcome::ServerError);
    }
    assert!(rate(&world) > 0.004, "one of twenty: {}", rate(&world));
    assert!(world.incidents.is_empty());
}

#[test]
fn one_name_in_two_namespaces_is_two_dependencies_and_the_quiet_one_is_found() {
    let mut world = World::new(usual_delay);
    for second in 0..24 {
        for _ in 0..10 {
            for _ in 0..20 {
                world.trace += 1;
                call(&mut world, ("accounting", "redis"), (0, 2), CallOutcome::Ok);
            }
            world.trace += 1;
            let outcome = if second < 20 { CallOutcome::Ok } else { CallOutcome::Refused };
            call(&mut world, ("ledger", "redis"), (0, 2), outcome);
            let (_, last) = world.outbox.last_mut().unwrap();
            last.entity = Entity::Pod {
                key: ObjectKey::new("bank", "ledger-0"),
                uid: Uid::new("ledger"),
                workload: Some(ObjectKey::new("bank", "ledger")),
            };
            step(&mut world, 1);
        }
    }
    let redis = Entity::External { address: Name::from("redis.bank") };
    world.assert_cause(&redis, FindingKind::DependencyDown);
    assert_eq!(&*world.only().namespace, "bank");
}

#[test]
fn a_service_that_hangs_on_a_callback_to_itself_is_the_cause_whoever_gives_up_first() {
    // Milliseconds after which the order gives up its own call; the callback in it is given up after a second too. And how
    // far the clock of accounting is behind.
    for (patience, behind) in [(1_000, 0), (1_100, 0), (1_000, 8)] {
        let mut world = World::new(usual_delay);
        world.run(SignedDuration::from_secs(20), &good);
        for _ in 0..60 {
            for turn in 0..10 {
                let begin = turn * 10;
                world.trace += 1;
                call(&mut world, ("order", "accounting"), (begin + 1, patience), CallOutcome::Timeout);
                let begun = begin + 2 - behind;
                call(&mut world, ("accounting", "order"), (begun, 1_000), CallOutcome::Timeout);
                call(&mut world, ("gateway", "order"), (begin, patience + 3), CallOutcome::ServerError);
            }
            step(&mut world, 1);
        }
        let top = world.only().top_cause().expect("a cause");
        assert_eq!(top.entity, workload("order"), "gives up after {patience} ms, {behind} ms behind");
    }
}

#[test]
fn a_service_that_does_not_reach_itself_is_charged_with_it() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    for _ in 0..40 {
        for turn in 0..10 {
            let begin = turn * 10;
            world.trace += 1;
            call(&mut world, ("kitchen", "kitchen"), (begin + 1, 1), CallOutcome::Refused);
            call(&mut world, ("gateway", "kitchen"), (begin, 3), CallOutcome::ServerError);
        }
        step(&mut world, 1);
    }
    assert_eq!(world.only().top_cause().expect("a cause").entity, workload("kitchen"));
}

/// Active findings of the kitchen, as its incidents tell them.
fn of_kitchen(world: &World) -> BTreeSet<(FindingId, Entity)> {
    let all = world.incidents.values().flat_map(|incident| &incident.findings);
    all.filter(|finding| finding.active && finding.entity.workload() == Some(&key("kitchen")))
        .map(|finding| (finding.id.clone(), finding.entity.clone()))
        .collect()
}

#[test]
fn what_was_narrowed_down_to_a_pod_stays_one_finding_also_when_it_is_hardly_called() {
    let mut world = World::new(|service| if service == "kitchen" { 5_000 } else { 200 });
    let mut second = pod("kitchen");
    (second.key, second.uid) = (key("kitchen-1"), Uid::new("uid-kitchen-1"));
    let hung =
        Entity::Pod { key: second.key.clone(), uid: second.uid.clone(), workload: Some(key("kitchen")) };
    world.object(ObjectChange::Pod(Change::Applied(Arc::new(second))));
    world.run(SignedDuration::from_secs(20), &good);
    let turn = Cell::new(0_u32);
    let every_other = |service: &str| {
        turn.set(turn.get() + u32::from(service == "kitchen"));
        let hangs = service == "kitchen" && turn.get().is_multiple_of(2);
        if hangs { Behaviour::Hung } else { Behaviour::Good }
    };
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        world.run(millis(200), &every_other);
        seen.extend(of_kitchen(&world));
    }
    // Its callers keep away from it: one of them tries it once a second.
    for _ in 0..10 {
        let start = world.now;
        world.order(start, &failing("kitchen", Behaviour::Hung));
        world.silence(SignedDuration::from_secs(1));
        assert!(!of_kitchen(&world).is_empty(), "it hangs still");
        seen.extend(of_kitchen(&world));
    }
    let entities: Vec<&Entity> = seen.iter().map(|(_, entity)| entity).collect();
    assert_eq!(entities, [&hung], "{seen:?}");
}
