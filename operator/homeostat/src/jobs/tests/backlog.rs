//! Runs that are made because work waits, although no schedule asks for them.

use super::kept::Texts;
use super::parts::{rules, waits};
use super::slots::HOUR;
use super::*;
use homeostat_knowledge::policy::RunItems;

/// The Workload's deadline, which is also the shortest time after a run that was given up.
const DEADLINE: i64 = 600;

/// What is ordered for `a/plan`.
#[derive(Debug, PartialEq)]
enum Order {
    /// A Job is made, by the name of that second.
    Make(i64),
    /// It is let go, with so many pods.
    Start(Option<u32>),
}

fn plan() -> ObjectKey {
    ObjectKey::new("a", "plan")
}

fn cron_job() -> ControllerKey {
    ControllerKey { kind: ControllerKind::CronJob, object: plan() }
}

/// From twenty items of 30 s on a run is made.
fn asks(policy: &mut WorkloadPolicy) {
    rules(policy, Some(30));
    policy.permits.runs.items =
        Some(RunItems { each: Some(SignedDuration::from_secs(30)), run_from: Some(20) });
}

fn world(change: impl FnOnce(&mut WorkloadPolicy)) -> World {
    let mut world = World::new(16);
    world.tenant("a", None);
    world.workload("a", "plan", |policy| {
        asks(policy);
        change(policy);
    });
    world
}

/// A world with a run that was made at second 20 because 70 items wait, and is under way at 22.
fn under_way(change: impl FnOnce(&mut WorkloadPolicy)) -> (World, ControllerRecord) {
    let mut world = world(change);
    world.orders(0.0, 1);
    assert_eq!(world.orders(70.0, 20), [Order::Make(20)]);
    let job = world.made(20);
    assert!(matches!(world.orders(70.0, 21)[..], [Order::Start(_)]));
    let job = world.begin(job);
    assert_eq!(world.orders(70.0, 22), []);
    (world, job)
}

impl World {
    /// So many items wait at this second; what is ordered then.
    fn orders(&mut self, items: f64, second: i64) -> Vec<Order> {
        waits(self, items, second);
        self.ordered(second)
    }

    /// The same with a source that says nothing new.
    fn ordered(&mut self, second: i64) -> Vec<Order> {
        let ordered = self.runs.step(&self.snapshot, at(second), &mut self.ids).expect("a second has passed");
        for (key, report) in ordered.reports {
            self.snapshot.runs.insert_mut(key, Arc::new(report));
        }
        let of = |parameters: &Parameters| match parameters {
            Parameters::CreateJob { slot } => Order::Make(slot.as_second() - at(0).as_second()),
            Parameters::StartJob { parallelism, .. } => Order::Start(*parallelism),
            other => panic!("{other:?}"),
        };
        ordered.plans.iter().map(|plan| of(&plan.steps[0].parameters)).collect()
    }

    /// The Job that such an order makes.
    fn made(&mut self, slot: i64) -> ControllerRecord {
        let mut job = self.job("a", "plan", slot);
        self.gone(&job);
        job.key.object.name = Name::from(format!("plan-backlog-{}", at(slot).as_second()));
        job.work.get_or_insert_default().made_by = Some(Name::from("run-plan-cronapla-1"));
        self.put(job.clone());
        job
    }

    fn gone(&mut self, job: &ControllerRecord) {
        self.snapshot.commit(&ObjectChange::Controller(Change::Deleted(job.key.clone())), at(0));
        self.snapshot.generation += 1;
    }

    /// The first second from this one on at which a run is made.
    fn next_made(&mut self, items: f64, from: i64) -> i64 {
        let made = (from..from + 5_000).find(|second| match self.orders(items, *second)[..] {
            [] => false,
            [Order::Make(slot)] => slot == *second,
            ref other => panic!("{other:?}"),
        });
        made.expect("some time")
    }

    /// A run from its making to its end, one second after which it returns; so many items wait all the time.
    fn run_of(&mut self, items: f64, slot: i64, reason: &str) -> i64 {
        let job = self.made(slot);
        assert!(matches!(self.orders(items, slot + 1)[..], [Order::Start(_)]));
        let job = self.begin(job);
        assert_eq!(self.orders(items, slot + 2), []);
        self.end(job, reason, slot + 20, 15, Some(100));
        assert_eq!(self.orders(items, slot + 21), []);
        slot + 21
    }
}

#[test]
fn a_backlog_makes_one_run_that_has_its_turn_with_the_pods_that_it_needs() {
    let mut world = world(|_| {});
    assert_eq!(world.orders(19.0, 1), []);
    assert!(world.said("plan").contains("fewer than 20 items wait"), "{}", world.said("plan"));
    assert_eq!(world.orders(70.0, 9), [], "the process has just begun");
    assert_eq!(world.orders(70.0, 20), [Order::Make(20)]);
    assert!(world.said("plan").contains("a run is made: 70 items wait"), "{}", world.said("plan"));
    let job = world.made(20);
    assert_eq!(world.orders(70.0, 21), [Order::Start(Some(4))], "594 s are left: 19 items for each pod");
    assert!(world.said("plan").contains("one at a time"), "{}", world.said("plan"));
    let job = world.begin(job);
    assert_eq!(world.orders(70.0, 22), []);
    assert_eq!(world.orders(700.0, 60), [], "however many wait");
    world.end(job, "Completed", 70, 45, Some(100));
    assert_eq!(world.orders(30.0, 71), [], "it ended a moment ago");
    assert_eq!(world.next_made(30.0, 72), 116);
}

#[test]
fn an_order_for_a_run_is_given_again_later_and_later_under_the_same_name_until_its_job_is_seen() {
    let mut world = world(|_| {});
    world.orders(0.0, 1);
    let mut given = Vec::new();
    for second in 20..57 {
        match world.orders(70.0, second)[..] {
            [] => {}
            [Order::Make(slot)] => given.push((second, slot)),
            ref other => panic!("{other:?}"),
        }
    }
    assert_eq!(given, [(20, 20), (25, 20), (35, 20), (55, 20)]);
    // Somebody else's has that name: another one is made under another name.
    let mut theirs = world.made(20);
    theirs.owner = None;
    world.put(theirs);
    assert_eq!(world.orders(70.0, 57), [Order::Make(57)]);
    assert_eq!(world.orders(19.0, 58), [], "and none once fewer wait");
    assert_eq!(world.orders(70.0, 59), [Order::Make(59)], "that is another decision");
}

#[test]
fn a_silent_source_makes_nothing_and_is_told() {
    let mut silent = world(|_| {});
    for second in 1..40 {
        assert_eq!(silent.ordered(second), []);
    }
    let report = silent.report("a", "plan");
    assert!(report.problem.is_some_and(|text| text.contains("the backlog is silent")), "{}", report.said);
    let mut stale = world(|_| {});
    waits(&mut stale, 70.0, -300);
    assert_eq!((stale.ordered(1), stale.ordered(30)), (Vec::new(), Vec::new()), "that is long ago");
}

#[test]
fn a_suspended_cron_job_makes_nothing_and_a_run_of_its_schedule_that_is_near_comes_by_itself() {
    let mut suspended = world(|_| {});
    suspended.schedule("plan", "0 * * * *", None, true);
    suspended.orders(70.0, 1);
    assert_eq!(suspended.orders(70.0, 60), []);
    assert!(suspended.said("plan").contains("is suspended"), "{}", suspended.said("plan"));
    for (before, made) in [(70, true), (50, false)] {
        let mut world = world(|_| {});
        world.schedule("plan", "0 * * * *", None, false);
        world.orders(0.0, HOUR - 200);
        let ordered = world.orders(70.0, HOUR - before);
        assert_eq!(!ordered.is_empty(), made, "{before} s before its slot: {ordered:?}");
        assert_eq!(world.said("plan").contains("comes by itself"), !made, "{}", world.said("plan"));
    }
}

#[test]
fn whoever_made_a_run_that_waits_or_is_under_way_no_other_one_is_made_beside_it() {
    let mut world = world(|_| {});
    world.orders(0.0, 1);
    let by_hand = world.job("a", "plan", 20);
    assert!(matches!(world.orders(70.0, 21)[..], [Order::Start(_)]));
    let mut held = world.begin(by_hand);
    assert_eq!(world.orders(70.0, 40), []);
    // A person suspends it: it is theirs, and it has not ended.
    held.paused = true;
    held.current = 0;
    held.work.get_or_insert_default().started_by = Some(Name::from("run-plan-1"));
    world.put(held.clone());
    assert_eq!(world.orders(70.0, 90), []);
    world.gone(&held);
    assert_eq!(world.next_made(70.0, 91), 100, "not at once");
}

#[test]
fn outside_of_auto_or_below_the_level_it_says_that_it_would_make_a_run_and_makes_none() {
    for mode in [ScalingMode::Observe, ScalingMode::Recommend] {
        let mut world = world(|policy| {
            if let Some(scaling) = &mut policy.permits.scaling {
                scaling.mode = mode;
            }
        });
        world.orders(70.0, 1);
        assert_eq!(world.orders(70.0, 20), [], "{mode:?}");
        assert!(world.said("plan").contains("would make a run: 70 items wait"), "{}", world.said("plan"));
        assert_eq!(world.report("a", "plan").problem, None);
    }
    let mut low = world(|_| {});
    let mut tenant = (**low.snapshot.tenant_of_namespace("a").expect("a tenant")).clone();
    tenant.levels.insert(ActionKind::CreateJob, Level::Recommend);
    low.snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), at(0));
    low.orders(70.0, 1);
    assert_eq!(low.orders(70.0, 20), []);
    assert!(low.said("plan").contains("the level of CreateJob does not allow it"), "{}", low.said("plan"));
    low.job("a", "plan", 21);
    assert!(matches!(low.orders(70.0, 22)[..], [Order::Start(_)]), "what people make is started");
}

#[test]
fn without_the_field_no_backlog_makes_a_run() {
    let mut world = world(|policy| rules(policy, Some(30)));
    for second in 1..60 {
        assert_eq!(world.orders(700.0, second), []);
    }
    assert!(!world.said("plan").contains("made"), "{}", world.said("plan"));
}

#[test]
fn a_run_that_was_given_up_or_deleted_while_it_waited_keeps_the_next_one_away_for_long_and_one_that_ended_well_not()
 {
    let mut world = world(|policy| policy.permits.repeatable = false);
    world.orders(0.0, 1);
    let given_up = world.run_of(70.0, 20, "Error");
    let report = world.report("a", "plan");
    assert!(report.said.contains("came to nothing"), "{}", report.said);
    assert!(report.problem.is_some_and(|text| text.contains("given up")));
    let second = world.next_made(70.0, given_up + 1);
    assert_eq!(second, given_up + DEADLINE);
    // A person deletes the next one before its turn.
    let job = world.made(second);
    world.orders(70.0, second + 1);
    world.gone(&job);
    world.orders(70.0, second + 2);
    let third = world.next_made(70.0, second + 3);
    assert_eq!(third, second + 2 + 2 * DEADLINE, "twice as long");
    let ended = world.run_of(70.0, third, "Completed");
    assert_eq!(world.next_made(30.0, ended + 1), ended + 45);
}

#[test]
fn a_try_that_may_be_repeated_gives_nothing_up() {
    let (mut world, first) = under_way(|_| {});
    world.end(first.clone(), "Error", 40, 15, Some(100));
    assert!(matches!(world.orders(70.0, 41)[..], [Order::Start(_)]), "its second try");
    let mut second = first.clone();
    second.key.object.name = Name::from("plan-backlog-retry");
    second.uid = Uid::new("second");
    second.work = Some(Box::new(Work { retry_of: Some(first.uid.clone()), ..work(20, 512) }));
    let second = world.begin(second);
    world.orders(70.0, 42);
    // The first one is cleared away meanwhile.
    world.gone(&first);
    assert_eq!(world.orders(70.0, 43), []);
    world.end(second, "Completed", 60, 15, Some(100));
    assert_eq!(world.orders(30.0, 61), []);
    assert_eq!(world.next_made(30.0, 62), 106);
}

#[test]
fn after_three_runs_that_ended_well_and_took_nothing_off_the_next_one_waits_ten_minutes_and_it_is_told() {
    let mut world = world(|_| {});
    world.orders(0.0, 1);
    let (mut ended, mut waited) = (1, Vec::new());
    for _ in 0..4 {
        let made = world.next_made(70.0, ended + 1);
        waited.push(made - ended);
        ended = world.run_of(70.0, made, "Completed");
    }
    assert_eq!(waited, [10, 45, 45, 600]);
    let report = world.report("a", "plan");
    assert!(report.problem.is_some_and(|text| text.contains("no fewer items wait")), "{}", report.said);
    assert_eq!(world.orders(69.0, ended + 5), [], "it took one off after all");
    assert_eq!(world.next_made(69.0, ended + 6), ended + 45);
}

#[test]
fn a_restart_neither_forgets_what_was_given_up_nor_makes_a_run_in_haste() {
    // Second at which the next run is made by a process that began at 100, by what it finds.
    let next = |kept: bool, job: bool| {
        let mut world = world(|policy| policy.permits.repeatable = false);
        world.orders(0.0, 1);
        let given_up = world.run_of(70.0, 20, "Error");
        assert_eq!(given_up, 41);
        waits(&mut world, 70.0, 60);
        let texts = if kept { world.texts(60) } else { Texts::new() };
        if !job {
            let name = Name::from(format!("plan-backlog-{}", at(20).as_second()));
            let key = ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new("a", name) };
            let failed = (**world.snapshot.controllers.get(&key).expect("the Job")).clone();
            world.gone(&failed);
        }
        world.restart(&texts);
        world.next_made(70.0, 100)
    };
    assert_eq!(next(true, true), 41 + DEADLINE);
    assert_eq!(next(true, false), 41 + DEADLINE, "its Job is cleared away");
    assert_eq!(next(false, true), 100 + DEADLINE, "the Job that is there tells of it, but not when");
    assert_eq!(next(false, false), 110, "of what nobody knows nothing is waited for but a moment");
}

#[test]
fn a_run_that_is_under_way_at_a_restart_is_followed_to_its_end() {
    let (mut world, job) = under_way(|policy| policy.permits.repeatable = false);
    waits(&mut world, 70.0, 60);
    let texts = world.texts(60);
    world.restart(&texts);
    assert_eq!(world.orders(70.0, 70), []);
    world.end(job, "Error", 80, 50, Some(100));
    assert_eq!(world.orders(70.0, 81), []);
    assert_eq!(world.next_made(70.0, 82), 81 + DEADLINE);
    assert_eq!(world.report("a", "plan").waiting, 0);
    let cron = (**world.snapshot.controllers.get(&cron_job()).expect("the CronJob")).clone();
    world.gone(&cron);
    assert_eq!(world.ordered(900), [], "without its CronJob nothing is made");
}

#[test]
fn a_failed_run_that_is_cleared_away_before_its_next_try_counts_as_given_up() {
    let (mut world, job) = under_way(|_| {});
    world.end(job.clone(), "Error", 40, 15, Some(100));
    world.orders(70.0, 41);
    world.gone(&job);
    world.orders(70.0, 42);
    let next = world.next_made(70.0, 43);
    assert!(next >= 42 + DEADLINE, "{next}");
}
