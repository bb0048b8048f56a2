//! Faults of a small application, as its spans and pods tell them: each gives one incident with the right cause.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, clippy::too_many_arguments, reason = "short calls read better here")]

mod charges;
mod world;

use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::records::{EventRecord, PodPhase, SetupWait};
use homeostat_knowledge::{
    CallOutcome, ContainerState, Entity, FindingKind, Incident, IncidentState, Name, SignedDuration,
    SpanKind, Uid, WorkloadKey,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use world::{Behaviour, World, failing, good, key, millis, usual_delay, workload};

#[test]
fn minutes_of_load_without_a_fault_give_no_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_mins(3), &good);
    assert!(world.incidents.is_empty());
}

#[test]
fn answered_requests_are_counted_and_only_grow() {
    let mut world = World::new(usual_delay);
    let mut before = 0;
    for seconds in [10_u64, 20] {
        world.run(SignedDuration::from_secs(10), &good);
        let answered = world.snapshot.health.get(&key("order")).unwrap().answered;
        // Each order is one request; the last ones are still on their way.
        assert!((80 * seconds..=100 * seconds).contains(&answered) && answered > before, "{answered}");
        before = answered;
    }
}

#[test]
fn each_way_to_fail_gives_one_incident_with_its_cause_within_two_seconds() {
    let cases = [
        (Behaviour::Hung, FindingKind::Hung),
        (Behaviour::Late, FindingKind::Slow),
        (Behaviour::Errors, FindingKind::ErrorBurst),
        (Behaviour::Gone, FindingKind::Unreachable),
    ];
    for service in ["order", "consumer", "kitchen", "accounting", "notification"] {
        for (how, kind) in cases {
            let mut world = World::new(usual_delay);
            world.run(SignedDuration::from_secs(20), &good);
            world.run(SignedDuration::from_secs(6), &failing(service, how));
            world.run(SignedDuration::from_secs(8), &good);
            world.assert_cause(&workload(service), kind);
            let incident = world.only();
            let took =
                incident.instants.detected.duration_since(incident.instants.impact_start).as_secs_f64();
            assert!(took <= 2.0, "{service} {kind}: detected after {took} s");
            assert_eq!(incident.state, IncidentState::Mitigated, "{service} {kind}");
            let back = incident
                .instants
                .mitigated
                .unwrap()
                .duration_since(incident.instants.impact_start)
                .as_secs_f64();
            assert!((4.0..8.0).contains(&back), "{service} {kind}: mitigated after {back} s");
        }
    }
}

#[test]
fn a_dead_provider_is_external_and_nobody_inside_is_blamed() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(10), &failing("provider", Behaviour::Gone));
    world.assert_cause(
        &Entity::External { address: Name::from("payments.example") },
        FindingKind::DependencyDown,
    );
    let incident = world.only();
    assert_eq!(incident.workload, Some(key("accounting")));
    assert!(incident.affected.contains(&key("order")), "{:?}", incident.affected);
    assert_eq!(incident.causes.len(), 1);
}

#[test]
fn a_crawler_with_ever_new_addresses_hides_no_workload() {
    let mut world = World::new(usual_delay);
    for host in 0..50_001_u64 {
        world.trace += 1;
        let (peer, start) = (format!("host-{host}.example"), world.now - millis(200));
        let ids = (10_000_000 + host, 0);
        world.span("gateway", SpanKind::Client, Some(&peer), start, 0.01, CallOutcome::Ok, ids);
    }
    world.run(SignedDuration::from_secs(20), &good);
    let counted = |(name, total): &(&str, u64)| *name == "calls" && *total > 0;
    assert!(world.analyser.dropped().iter().any(counted), "what is not tracked is counted");
    world.run(SignedDuration::from_secs(3), &failing("kitchen", Behaviour::Errors));
    world.assert_cause(&workload("kitchen"), FindingKind::ErrorBurst);
}

#[test]
fn what_runs_no_more_or_is_called_by_nobody_any_more_is_over() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(5), &failing("kitchen", Behaviour::Errors));
    world.silence(SignedDuration::from_secs(60));
    assert_eq!(world.only().state, IncidentState::Open, "nobody has seen it answer");
    world.scale("kitchen", 0);
    world.silence(SignedDuration::from_secs(5));
    assert_eq!(world.only().state, IncidentState::Mitigated);

    let mut world = World::new(usual_delay);
    world.snapshot.synced_since = Some(world.now);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(10), &failing("provider", Behaviour::Gone));
    world.silence(SignedDuration::from_mins(29));
    assert_eq!(world.only().state, IncidentState::Open, "it may be called again");
    world.silence(SignedDuration::from_mins(2));
    assert_eq!(world.only().state, IncidentState::Mitigated);
}

#[test]
fn the_caller_is_not_blamed_when_its_spans_arrive_before_those_of_the_callee() {
    fn delay(service: &str) -> i64 {
        if service == "gateway" { 100 } else { 3_000 }
    }
    for how in [Behaviour::Errors, Behaviour::Hung] {
        let mut world = World::new(delay);
        world.run(SignedDuration::from_secs(30), &good);
        world.run(SignedDuration::from_secs(12), &failing("kitchen", how));
        let top: Entity = world.only().top_cause().unwrap().entity.clone();
        assert_eq!(top, workload("kitchen"));
    }
}

#[test]
fn a_kill_is_a_crash_and_a_second_one_backs_off_in_the_same_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(millis(400), &failing("kitchen", Behaviour::Gone));
    world.pod_dies("kitchen", 0, 137, "Error", 3_600);
    world.run(millis(600), &failing("kitchen", Behaviour::Gone));
    world.assert_cause(&workload("kitchen"), FindingKind::Crashed);
    world.pod_runs("kitchen", 1);
    world.run(millis(1_500), &good);
    world.run(millis(300), &failing("kitchen", Behaviour::Gone));
    world.pod_dies("kitchen", 1, 137, "Error", 1);
    world.run(SignedDuration::from_secs(2), &failing("kitchen", Behaviour::Gone));
    world.assert_cause(&workload("kitchen"), FindingKind::BackingOff);
}

#[test]
fn a_crash_at_every_start_is_told_apart_from_a_kill() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.pod_dies("consumer", 0, 137, "Error", 3_600);
    world.run(SignedDuration::from_secs(1), &failing("consumer", Behaviour::Gone));
    world.pod_dies("consumer", 1, 1, "Error", 0);
    world.run(SignedDuration::from_secs(2), &failing("consumer", Behaviour::Gone));
    world.assert_cause(&workload("consumer"), FindingKind::CrashLoop);
}

#[test]
fn a_new_release_that_fails_beside_the_serving_old_one_is_one_incident_that_stays_open() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    for restarts in 0..4 {
        let mut fresh = world.dead("kitchen", restarts, 1, "Error", 0);
        fresh.key = key("kitchen-new");
        fresh.uid = Uid::new("uid-kitchen-new");
        world.object(ObjectChange::Pod(Change::Applied(Arc::new(fresh))));
        world.run(SignedDuration::from_secs(5), &good);
    }
    world.assert_cause(&workload("kitchen"), FindingKind::CrashLoop);
    let incident = world.only();
    assert_eq!((incident.reopen_count, incident.instants.mitigated), (0, None), "{:#?}", incident.timeline);
}

/// `order` finds nobody at `consumer`, whom the gateway reaches.
fn cut_off() -> World {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    for call in 0..100 {
        world.trace += 1;
        let start = world.now + millis(40) * i32::try_from(call).unwrap();
        let ids = (9_000_000 + call, 0);
        world.span("gateway", SpanKind::Client, Some("consumer"), start, 0.005, CallOutcome::Ok, ids);
    }
    world.run(SignedDuration::from_secs(4), &failing("consumer", Behaviour::Gone));
    world
}

#[test]
fn a_caller_that_reaches_nobody_while_others_do_is_the_cause_itself() {
    cut_off().assert_cause(&workload("order"), FindingKind::Unreachable);
}

#[test]
fn what_a_cut_off_caller_alone_complains_of_is_not_blamed() {
    let mut world = cut_off();
    // The first one answers it again, the next one does not, and nobody else calls that one.
    world.run(SignedDuration::from_secs(4), &failing("kitchen", Behaviour::Gone));
    world.assert_cause(&workload("order"), FindingKind::Unreachable);
    let blamed: BTreeSet<&Entity> = world.only().findings.iter().map(|finding| &finding.entity).collect();
    assert_eq!(blamed, [&workload("order")].into());
}

#[test]
fn two_faults_of_unrelated_kinds_are_two_incidents() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.pod_dies("kitchen", 0, 137, "Error", 3_600);
    world.pod_dies("accounting", 0, 137, "Error", 3_600);
    world.run(SignedDuration::from_secs(2), &|service| match service {
        "kitchen" | "accounting" => Behaviour::Gone,
        _ => Behaviour::Good,
    });
    let causes: BTreeSet<WorkloadKey> =
        world.incidents.values().filter_map(|incident| incident.workload.clone()).collect();
    assert_eq!(causes, [key("accounting"), key("kitchen")].into());
}

#[test]
fn a_handful_of_broken_connections_in_a_rollout_is_no_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(millis(100), &failing("kitchen", Behaviour::Gone));
    world.run(SignedDuration::from_secs(10), &good);
    assert!(
        world.incidents.is_empty(),
        "{:?}",
        world.incidents.values().map(Incident::summary).collect::<Vec<_>>()
    );
}

#[test]
fn the_same_input_gives_the_same_incidents() {
    let story = || {
        let mut world = World::new(usual_delay);
        world.run(SignedDuration::from_secs(20), &good);
        world.run(SignedDuration::from_secs(5), &failing("order", Behaviour::Hung));
        world.run(SignedDuration::from_secs(8), &good);
        serde_json::to_string(&world.incidents).unwrap()
    };
    assert_eq!(story(), story());
}

#[test]
fn a_service_that_falls_back_into_a_fault_later_opens_a_new_incident() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(5), &failing("order", Behaviour::Errors));
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(5), &failing("order", Behaviour::Errors));
    world.run(SignedDuration::from_secs(20), &good);
    assert_eq!(world.incidents.len(), 2);
}

#[test]
fn a_caller_that_only_answers_wrongly_soon_after_its_callee_was_healed_is_a_fault_of_its_own() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    world.run(SignedDuration::from_secs(3), &failing("consumer", Behaviour::Errors));
    world.run(SignedDuration::from_secs(7), &good);
    let before = world.incidents.len();
    world.run(SignedDuration::from_secs(2), &failing("order", Behaviour::Errors));
    assert_eq!((before, world.incidents.len()), (1, 2));
    let top = world.incidents.values().map(|incident| incident.top_cause().unwrap().entity.clone());
    assert!(top.collect::<Vec<_>>().contains(&workload("order")));
}

#[test]
fn who_is_late_for_a_moment_when_its_callers_work_off_what_piled_up_elsewhere_has_no_incident() {
    let after = |late: i64, pause: i64| {
        let mut world = World::new(usual_delay);
        world.run_apart(SignedDuration::from_secs(20), &good);
        world.run_apart(SignedDuration::from_secs(4), &failing("consumer", Behaviour::Errors));
        world.run_apart(millis(500 + pause), &good);
        world.run_apart(millis(late), &failing("notification", Behaviour::Late));
        world.run_apart(SignedDuration::from_secs(10), &good);
        world.incidents.len()
    };
    assert_eq!(after(1_000, 0), 1, "a moment beside what was healed");
    assert_eq!(after(5_000, 0), 2, "it lasts");
    assert_eq!(after(1_000, 6_000), 2, "nothing was healed just now");
}

#[test]
fn a_caller_that_takes_no_connections_while_it_waits_for_a_hung_callee_is_not_the_cause() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(20), &good);
    for step in 0_u64..40 {
        // Its queue is full long before the first of its own calls is given up; what needs nobody else still goes on.
        if (4..20).contains(&step) {
            for call in 0..3 {
                let id = 900_000_000 + step * 10 + call;
                let start = world.now - millis(300);
                world.trace += 1;
                world.span(
                    "gateway",
                    SpanKind::Client,
                    Some("order"),
                    start,
                    0.3,
                    CallOutcome::Timeout,
                    (id, id + 1_000_000),
                );
            }
            let start = world.now;
            let id = 950_000_000 + step;
            world.trace += 1;
            world.span("order", SpanKind::Server, None, start, 0.002, CallOutcome::Ok, (id, id + 1_000_000));
        }
        world.run(millis(100), &failing("consumer", Behaviour::Hung));
    }
    world.assert_cause(&workload("consumer"), FindingKind::Hung);
    // And at no time was the caller.
    let ranked = world.only().timeline.iter().filter(|entry| entry.what == TimelineKind::Cause);
    let wrong: Vec<&str> =
        ranked.map(|entry| entry.text.as_str()).filter(|text| text.contains("/order")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Three services on the node are late; the fourth behaves like this.
fn beside_three_late(fourth: Behaviour) -> World {
    let mut world = World::new(usual_delay);
    world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
    world.run_apart(SignedDuration::from_secs(20), &good);
    world.run_apart(SignedDuration::from_secs(6), &move |service| match service {
        "notification" => fourth,
        _ => Behaviour::Late,
    });
    world
}

#[test]
fn victims_of_a_busy_node_are_not_blamed_whether_they_are_late_fail_or_fall_silent() {
    let mut errors = beside_three_late(Behaviour::Late);
    errors.run_apart(SignedDuration::from_secs(6), &|service| match service {
        "notification" => Behaviour::LateErrors,
        _ => Behaviour::Late,
    });
    let silent = [Behaviour::Good, Behaviour::Late, Behaviour::Hung].map(beside_three_late);
    for world in silent.into_iter().chain([errors]) {
        world.assert_cause(&Entity::Node { name: Name::from("node") }, FindingKind::NoisyNeighbour);
        let blamed: BTreeSet<&Entity> = world.only().findings.iter().map(|finding| &finding.entity).collect();
        assert_eq!(blamed.len(), 1, "{blamed:?}");
    }
}

#[test]
fn a_moment_in_which_all_are_late_is_no_busy_node() {
    let slow = |service: &str| if service == "gateway" { Behaviour::Good } else { Behaviour::Slower };
    for millis in [500, 1_000, 2_000] {
        let mut world = World::new(usual_delay);
        world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
        world.run_apart(SignedDuration::from_secs(20), &good);
        world.run_apart(SignedDuration::from_millis(millis), &slow);
        world.run_apart(SignedDuration::from_secs(15), &good);
        assert!(world.incidents.is_empty(), "{millis}: {:?}", world.incidents);
    }
}

#[test]
fn who_answers_wrong_at_once_on_a_busy_node_is_found_within_two_seconds() {
    let mut world = beside_three_late(Behaviour::Good);
    world.assert_cause(&Entity::Node { name: Name::from("node") }, FindingKind::NoisyNeighbour);
    let began = world.now;
    world.run_apart(SignedDuration::from_secs(6), &|service| match service {
        "notification" => Behaviour::Errors,
        _ => Behaviour::Late,
    });
    let own = world.incidents.values().find(|incident| {
        incident.top_cause().is_some_and(|cause| {
            (&cause.entity, cause.kind) == (&workload("notification"), FindingKind::ErrorBurst)
        })
    });
    let detected = own.map(|incident| incident.instants.detected.duration_since(began));
    assert!(detected.is_some_and(|after| after <= SignedDuration::from_secs(2)), "{detected:?}");
    assert_eq!(world.incidents.len(), 2, "the node's and its own");
    assert!(world.snapshot.health[&world::key("notification")].wrong_at_once.is_some());
}

/// A node that is short of processor time from the tenth second on: three services answer late, and soon the fourth does not
/// answer in time. What is usual is hardly known by then.
fn busy_from_the_start(others: Behaviour) -> World {
    let mut world = World::new(usual_delay);
    world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
    world.run_apart(SignedDuration::from_secs(10), &good);
    world.run_apart(SignedDuration::from_secs(3), &move |service| match service {
        "notification" => Behaviour::Slower,
        _ => others,
    });
    world.run_apart(SignedDuration::from_secs(60), &move |service| match service {
        "notification" => Behaviour::Late,
        _ => others,
    });
    world
}

#[test]
fn a_node_that_is_busy_before_much_is_known_is_named_too() {
    let world = busy_from_the_start(Behaviour::Slower);
    world.assert_cause(&Entity::Node { name: Name::from("node") }, FindingKind::NoisyNeighbour);
    let blamed: BTreeSet<&Entity> = world.only().findings.iter().map(|finding| &finding.entity).collect();
    assert_eq!(blamed.len(), 1, "{blamed:?}");
    busy_from_the_start(Behaviour::Good).assert_cause(&workload("notification"), FindingKind::Slow);
}

/// Calls wait like this from the twentieth second on, before they are taken up; nobody's own time tells of it.
fn kept_waiting(wait: fn(&str, &str) -> i64, broken: &dyn Fn(&str) -> Behaviour) -> World {
    let mut world = World::new(usual_delay);
    world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
    world.run_both(SignedDuration::from_secs(20), &good);
    world.wait = wait;
    world.run_both(SignedDuration::from_secs(4), &good);
    world.run_both(SignedDuration::from_secs(10), broken);
    world
}

#[test]
fn a_node_where_all_calls_wait_is_named_before_anybody_is_blamed() {
    let world = kept_waiting(|_, _| 100, &failing("order", Behaviour::LateErrors));
    world.assert_cause(&Entity::Node { name: Name::from("node") }, FindingKind::NoisyNeighbour);
    let blamed: BTreeSet<&Entity> = world.only().findings.iter().map(|finding| &finding.entity).collect();
    assert_eq!(blamed.len(), 1, "{blamed:?}");
}

#[test]
fn one_workload_whose_calls_wait_makes_no_busy_node() {
    // The network of one, in both directions; one that is full of work; and a caller that is.
    let waits: [fn(&str, &str) -> i64; 3] = [
        |caller, callee| if [caller, callee].contains(&"order") { 100 } else { 0 },
        |_, callee| if callee == "kitchen" { 300 } else { 0 },
        |caller, _| if caller == "gateway" { 100 } else { 0 },
    ];
    for wait in waits {
        let world = kept_waiting(wait, &good);
        assert!(world.incidents.is_empty(), "{:?}", world.incidents);
        let world = kept_waiting(wait, &failing("kitchen", Behaviour::Errors));
        world.assert_cause(&workload("kitchen"), FindingKind::ErrorBurst);
    }
}

#[test]
fn three_slow_starts_make_no_busy_node() {
    let slow = |service: &str| if service == "notification" { Behaviour::Good } else { Behaviour::Slower };
    for seconds in 1..=8 {
        let mut world = World::new(usual_delay);
        world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
        world.run_apart(SignedDuration::from_secs(seconds), &slow);
        world.run_apart(SignedDuration::from_secs(60), &good);
        assert!(world.incidents.is_empty(), "{seconds}: {:?}", world.incidents);
    }
}

/// Everything is called by the gateway, whose telemetry comes so many milliseconds late.
fn told_late(late: fn(&str) -> i64, broken: &dyn Fn(&str) -> Behaviour) -> World {
    let mut world = World::new(usual_delay);
    world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
    world.run_apart(SignedDuration::from_secs(20), &good);
    world.late = late;
    world.run_apart(SignedDuration::from_secs(5), broken);
    world
}

#[test]
fn who_is_short_of_time_itself_is_not_believed_when_it_calls_others_late() {
    let late: fn(&str) -> i64 = |service| if service == "gateway" { 100 } else { 0 };
    for how in [Behaviour::Late, Behaviour::Hung, Behaviour::LateErrors] {
        let world = told_late(late, &failing("kitchen", how));
        assert!(world.incidents.is_empty(), "{:?}", world.incidents);
        let world = told_late(|_| 0, &failing("kitchen", how));
        assert_eq!(world.only().top_cause().unwrap().entity, workload("kitchen"));
    }
    // A closed door is a fact, and what the callee itself tells that it answers wrong at once.
    let world = told_late(late, &failing("kitchen", Behaviour::Errors));
    world.assert_cause(&workload("kitchen"), FindingKind::ErrorBurst);
    let world = told_late(late, &failing("kitchen", Behaviour::Gone));
    world.assert_cause(&workload("kitchen"), FindingKind::Unreachable);
}

#[test]
fn what_only_a_starved_caller_complains_of_is_told_in_time_but_not_surely() {
    let late: fn(&str) -> i64 = |service| if service == "gateway" { 100 } else { 0 };
    let mut world = told_late(late, &failing("kitchen", Behaviour::Late));
    world.run_apart(SignedDuration::from_secs(15), &failing("kitchen", Behaviour::Late));
    world.assert_cause(&workload("kitchen"), FindingKind::Slow);
    let sure = |world: &World| world.only().findings.iter().map(|found| found.confidence).fold(0.0, f64::max);
    assert!(sure(&world) < 0.9, "no playbook acts on it: {}", sure(&world));
    world.late = |_| 0;
    world.run_apart(SignedDuration::from_secs(4), &failing("kitchen", Behaviour::Late));
    assert!(sure(&world) > 0.9, "who complains is well again: {}", sure(&world));
}

#[test]
fn late_telemetry_counts_among_what_is_late_on_a_busy_node() {
    let late: fn(&str) -> i64 = |service| if service == "gateway" { 400 } else { 0 };
    let world = told_late(late, &|service| match service {
        "kitchen" | "consumer" => Behaviour::Late,
        _ => Behaviour::Good,
    });
    world.assert_cause(&Entity::Node { name: Name::from("node") }, FindingKind::NoisyNeighbour);
}

#[test]
fn a_node_that_is_not_busy_any_more_is_found_well() {
    let mut world = beside_three_late(Behaviour::Late);
    world.run_apart(SignedDuration::from_secs(120), &good);
    let sick: Vec<_> =
        world.incidents.values().filter(|incident| incident.instants.mitigated.is_none()).collect();
    assert!(sick.is_empty(), "{sick:?}");
}

#[test]
fn services_that_were_silent_just_now_and_answer_late_again_make_no_busy_node() {
    let three =
        |how: Behaviour| move |service: &str| if service == "notification" { Behaviour::Good } else { how };
    // As much as a new operator knows of what is usual, and all of it.
    for known in [20, 60] {
        let mut world = World::new(usual_delay);
        world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
        world.run_apart(SignedDuration::from_secs(known), &good);
        world.run_apart(SignedDuration::from_secs(3), &three(Behaviour::Hung));
        // What waited meanwhile is given up now: alive and late, but not by the node.
        world.run_apart(SignedDuration::from_secs(3), &three(Behaviour::Late));
        world.run_apart(SignedDuration::from_secs(10), &good);
        assert!(!world.incidents.is_empty(), "the silence is told");
        let busy = world.incidents.values().flat_map(|incident| &incident.findings);
        let busy: Vec<_> = busy.filter(|finding| finding.kind == FindingKind::NoisyNeighbour).collect();
        assert!(busy.is_empty(), "{busy:?}");
    }
}

#[test]
fn a_closed_door_on_a_busy_node_is_a_fault_of_its_own() {
    let world = beside_three_late(Behaviour::Gone);
    let causes: Vec<_> =
        world.incidents.values().map(|incident| &incident.top_cause().unwrap().entity).collect();
    assert!(causes.contains(&&workload("notification")), "{causes:?}");
}

#[test]
fn a_hung_service_beside_two_late_ones_is_the_cause_itself() {
    let mut world = World::new(usual_delay);
    world.object(ObjectChange::Node(Change::Applied(Arc::new(world::node()))));
    world.run_apart(SignedDuration::from_secs(20), &good);
    world.run_apart(SignedDuration::from_secs(6), &|service| match service {
        "notification" => Behaviour::Hung,
        "consumer" | "kitchen" => Behaviour::Late,
        _ => Behaviour::Good,
    });
    let hung = world
        .incidents
        .values()
        .filter_map(Incident::top_cause)
        .find(|cause| cause.kind == FindingKind::Hung);
    assert_eq!(hung.map(|cause| &cause.entity), Some(&workload("notification")));
}

/// A second pod of `order` that is placed, and whose containers are not made.
fn not_made(reason: &str) -> ObjectChange {
    let mut pod = world::pod("order");
    pod.key = key("order-1");
    pod.uid = Uid::new("uid-order-1");
    (pod.phase, pod.ready) = (PodPhase::Pending, false);
    pod.containers[0].ready = false;
    pod.containers[0].state = ContainerState::Waiting { reason: Name::from(reason) };
    pod.setup = Some(SetupWait { reason: Name::from(reason), message: None });
    ObjectChange::Pod(Change::Applied(Arc::new(pod)))
}

#[test]
fn a_pod_that_waits_for_what_an_event_names_is_found_and_the_name_is_told() {
    let mut world = World::new(usual_delay);
    world.run(SignedDuration::from_secs(5), &good);
    world.object(not_made("ContainerCreating"));
    world.run(SignedDuration::from_secs(40), &good);
    assert!(world.incidents.is_empty(), "it may be pulling its image");
    world.object(ObjectChange::Event(Arc::new(EventRecord {
        kind: Name::from("Pod"),
        object: key("order-1"),
        uid: Some(Uid::new("uid-order-1")),
        warning: true,
        reason: Name::from("FailedMount"),
        note: Name::from(
            "MountVolume.SetUp failed for volume \"settings\" : configmap \"order-settings\" not found",
        ),
    })));
    world.run(SignedDuration::from_secs(2), &good);
    world.assert_cause(&workload("order"), FindingKind::SetupFailed);
    assert_eq!(world.only().summary(), "order (SetupFailed): waits for: ConfigMap order-settings");
}
