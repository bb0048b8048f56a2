//! Runs that get their number of pods from a backlog.

use super::*;
use homeostat_knowledge::policy::{BACKLOG, LoadPolicy, RunItems};

/// Workload `a/plan`: one to eight pods, ten minutes, so many seconds for an item.
fn by_backlog(world: &mut World, each: Option<i64>) {
    world.workload("a", "plan", |policy| rules(policy, each));
}

pub(super) fn rules(policy: &mut WorkloadPolicy, each: Option<i64>) {
    let runs = &mut policy.permits.runs;
    runs.parallelism = Some(Bounds { min: 1, max: 8 });
    runs.items = Some(RunItems { each: each.map(SignedDuration::from_secs), run_from: None });
    if let Some(scaling) = &mut policy.permits.scaling {
        scaling.loads = vec![LoadPolicy { signal: Name::from(BACKLOG), per_replica: 1.0, due: None }];
    }
}

/// So many items wait at this second.
pub(super) fn waits(world: &mut World, items: f64, second: i64) {
    let place = (ObjectKey::new("a", "plan"), Name::from(BACKLOG), Name::from("queue=plan"));
    world.snapshot.loads.insert_mut(place, (items, at(second)));
}

/// Pods at once that are set now for each start, those before, and the memory of each in MiB.
fn starts(world: &mut World, second: i64) -> Vec<(Option<u32>, Option<u32>, Option<u64>)> {
    let ordered = world.runs.step(&world.snapshot, at(second), &mut world.ids).expect("a second has passed");
    for (key, report) in ordered.reports {
        world.snapshot.runs.insert_mut(key, Arc::new(report));
    }
    let started = ordered.plans.iter().filter_map(|plan| match &plan.steps[0].parameters {
        Parameters::StartJob { parallelism, memory_bytes, .. } => {
            let before = plan.steps[0].before.parallelism;
            Some((*parallelism, before, memory_bytes.map(|bytes| bytes / MIB)))
        }
        _ => None,
    });
    started.collect()
}

/// The Job begins with so many pods.
fn begin(world: &mut World, mut job: ControllerRecord, pods: u32) -> ControllerRecord {
    if let Some(work) = &mut job.work {
        work.pods = pods;
    }
    world.begin(job)
}

fn said(world: &World) -> String {
    world.report("a", "plan").said
}

#[test]
fn a_run_begins_with_as_many_pods_as_its_backlog_asks_for_and_reserves_them() {
    let mut world = World::new(5);
    world.tenant("a", None);
    by_backlog(&mut world, Some(30));
    world.workload("a", "other", |_| {});
    waits(&mut world, 70.0, 0);
    world.job("a", "plan", 0);
    assert_eq!(starts(&mut world, 1), [(Some(4), Some(1), None)], "594 s are left: 19 items for each pod");
    let text = said(&world);
    assert!(text.contains("with 4 vCPU, 2.00 GiB") && text.contains("4 pods at once for 70 items"), "{text}");
    world.job("a", "other", 1);
    world.job("a", "other", 2);
    assert_eq!(starts(&mut world, 3).len(), 1, "one vCPU is left beside its four pods");
}

#[test]
fn a_run_waits_until_all_its_pods_have_room_and_takes_more_the_longer_it_waited() {
    let mut world = World::new(6);
    world.tenant("a", None);
    world.workload("a", "other", |_| {});
    let busy: Vec<_> = (0..3).map(|slot| world.job("a", "other", slot)).collect();
    assert_eq!(starts(&mut world, 3).len(), 3);
    let busy: Vec<_> = busy.into_iter().map(|job| world.begin(job)).collect();
    by_backlog(&mut world, Some(30));
    waits(&mut world, 70.0, 10);
    world.job("a", "plan", 10);
    assert_eq!(starts(&mut world, 11), [], "four pods, and three vCPU");
    assert!(said(&world).contains("it would have 4 pods at once"), "{}", said(&world));
    for job in busy {
        world.end(job, "Completed", 150, 140, Some(200));
    }
    waits(&mut world, 70.0, 150);
    assert_eq!(starts(&mut world, 151), [(Some(5), Some(1), None)], "454 s are left: 15 items for each pod");
}

#[test]
fn what_is_not_known_leaves_the_number_that_the_job_is_written_with_and_says_so() {
    let mut world = World::new(8);
    world.tenant("a", None);
    by_backlog(&mut world, Some(30));
    world.job("a", "plan", 0);
    assert_eq!(starts(&mut world, 1), [(None, None, None)]);
    assert!(
        said(&world).contains("1 pod at once as the Job is written: the backlog is silent"),
        "{}",
        said(&world)
    );
    let mut stale = World::new(8);
    stale.tenant("a", None);
    by_backlog(&mut stale, Some(30));
    waits(&mut stale, 70.0, -300);
    stale.job("a", "plan", 0);
    assert_eq!(starts(&mut stale, 1), [(None, None, None)], "that is long ago");
}

#[test]
fn an_indexed_job_keeps_its_number_and_completions_bound_it() {
    for (indexed, completions, set) in
        [(true, Some(9), None), (false, Some(2), Some(2)), (false, None, Some(4))]
    {
        let mut world = World::new(8);
        world.tenant("a", None);
        by_backlog(&mut world, Some(30));
        waits(&mut world, 70.0, 0);
        let mut job = world.job("a", "plan", 0);
        let work = job.work.as_mut().expect("a Job");
        (work.indexed, work.completions) = (indexed, completions);
        world.put(job);
        let started = starts(&mut world, 1);
        assert!(matches!(started[..], [(pods, _, _)] if pods == set), "{started:?}");
        let why = if indexed { "completionMode Indexed" } else { "4 pods at once" };
        let why = if completions == Some(2) { "completions" } else { why };
        assert!(said(&world).contains(why), "{}", said(&world));
    }
}

#[test]
fn the_work_of_an_item_is_learnt_from_five_runs_and_their_number_when_the_backlog_is_silent() {
    let mut world = World::new(8);
    world.tenant("a", None);
    by_backlog(&mut world, None);
    for slot in (0..3_500).step_by(700) {
        // The beat fills the queue a moment after the run began.
        waits(&mut world, 0.0, slot);
        let job = world.job("a", "plan", slot);
        assert_eq!(starts(&mut world, slot + 1), [(None, None, None)], "at {slot}");
        let job = begin(&mut world, job, 1);
        waits(&mut world, 60.0, slot + 10);
        starts(&mut world, slot + 10);
        waits(&mut world, 0.0, slot + 550);
        world.end(job, "Completed", slot + 570, 540, None);
        starts(&mut world, slot + 571);
    }
    let key = ObjectKey::new("a", "plan");
    let learnt = world.runs.acting.history(&key).expect("declared").items.clone();
    assert_eq!((learnt.forecast(), learnt.timed()), (Some(60.0), 5));
    // 9 s for each, and few runs are not taken to be all alike: 11 s are planned, 54 items for each pod.
    world.job("a", "plan", 3_500);
    assert_eq!(starts(&mut world, 3_501), [(Some(2), Some(1), None)], "60 are forecast, nobody tells");
    assert!(said(&world).contains("90th percentile of 5 runs"), "{}", said(&world));
    assert!(said(&world).contains("learnt from 5 runs"), "{}", said(&world));
}

#[test]
fn two_runs_at_once_teach_nothing_of_items() {
    let mut world = World::new(8);
    world.tenant("a", None);
    by_backlog(&mut world, Some(9));
    waits(&mut world, 60.0, 0);
    let both = [0, 1].map(|slot| world.job("a", "plan", slot));
    assert_eq!(starts(&mut world, 2).len(), 2);
    let both = both.map(|job| begin(&mut world, job, 2));
    starts(&mut world, 3);
    for job in both {
        world.end(job, "Completed", 200, 190, None);
    }
    starts(&mut world, 201);
    let history = world.runs.acting.history(&ObjectKey::new("a", "plan")).expect("declared");
    assert_eq!((history.items.runs(), history.run_time.count), (0, 2));
}

#[test]
fn a_second_try_is_sized_by_what_is_left() {
    let mut world = World::new(8);
    world.tenant("a", None);
    by_backlog(&mut world, Some(30));
    waits(&mut world, 70.0, 0);
    let job = world.job("a", "plan", 0);
    assert_eq!(starts(&mut world, 1), [(Some(4), Some(1), None)]);
    let job = begin(&mut world, job, 4);
    starts(&mut world, 2);
    waits(&mut world, 20.0, 20);
    world.end(job, "Error", 20, 10, None);
    assert_eq!(starts(&mut world, 23), [(Some(2), Some(4), None)]);
    assert!(said(&world).contains("try 2"), "{}", said(&world));
}

#[test]
fn late_although_with_the_most_pods_says_by_how_much() {
    let mut world = World::new(16);
    world.tenant("a", None);
    by_backlog(&mut world, Some(30));
    waits(&mut world, 400.0, 0);
    let job = world.job("a", "plan", 0);
    assert_eq!(starts(&mut world, 1), [(Some(8), Some(1), None)]);
    // 50 items of 30 s for each pod, and 594 s.
    let late = world.report("a", "plan").late.expect("late");
    assert!(late.contains("906 s after it is due") && late.contains("8 at most"), "{late}");
    let job = begin(&mut world, job, 8);
    starts(&mut world, 2);
    assert!(world.report("a", "plan").late.is_some(), "it runs, and is late all the same");
    world.end(job, "Completed", 500, 490, None);
    starts(&mut world, 501);
    assert_eq!(world.report("a", "plan").late, None);
    let mut small = World::new(3);
    small.tenant("a", None);
    by_backlog(&mut small, Some(30));
    waits(&mut small, 400.0, 0);
    small.job("a", "plan", 0);
    assert_eq!(starts(&mut small, 1), [(Some(3), Some(1), None)]);
    let late = small.report("a", "plan").late.expect("late");
    assert!(late.contains("3 at most by the room"), "{late}");
}

#[test]
fn a_job_that_is_the_target_itself_is_sized_by_its_backlog_too() {
    let mut world = World::new(8);
    world.tenant("a", None);
    let key = ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new("a", "plan-once") };
    world.workload("a", "plan", |policy| {
        rules(policy, Some(30));
        policy.target = key.clone();
    });
    waits(&mut world, 70.0, 0);
    let mut job = record(key, "once");
    job.paused = true;
    job.work = Some(Box::new(Work { pods: 2, ..work(0, 512) }));
    world.put(job.clone());
    assert_eq!(starts(&mut world, 1), [(Some(4), Some(2), None)]);
    let job = begin(&mut world, job, 4);
    starts(&mut world, 2);
    assert_eq!(world.report("a", "plan").running, 1);
    world.end(job, "Completed", 500, 490, Some(200));
    starts(&mut world, 501);
    assert_eq!((world.report("a", "plan").running, world.report("a", "plan").problem), (0, None));
}

#[test]
fn without_a_backlog_a_run_has_the_pods_of_its_manifest_and_each_gets_the_memory_of_one() {
    let mut world = World::new(16);
    world.tenant("a", None);
    world.workload("a", "plan", |policy| policy.permits.runs.parallelism = Some(Bounds { min: 4, max: 8 }));
    for slot in [0, 100, 200] {
        world.one_run(slot, 1_000);
    }
    let started = world.next_start();
    assert!(matches!(started[..], [(_, Some(memory))] if (1_000..2_000).contains(&memory)), "{started:?}");
    assert!(said(&world).contains("with 1 vCPU"), "{}", said(&world));
}

#[test]
fn memory_follows_what_one_pod_used_whatever_their_number() {
    let mut world = World::new(8);
    world.tenant("a", None);
    by_backlog(&mut world, Some(30));
    waits(&mut world, 70.0, 0);
    let job = world.job("a", "plan", 0);
    starts(&mut world, 1);
    let job = begin(&mut world, job, 4);
    starts(&mut world, 2);
    world.end(job, "Completed", 500, 490, Some(700));
    starts(&mut world, 501);
    waits(&mut world, 19.0, 700);
    world.job("a", "plan", 700);
    // One would do for what waits, but the queue may still be filled: as many as the last run had.
    let next = starts(&mut world, 701);
    assert!(
        matches!(next[..], [(Some(4), Some(1), Some(memory))] if (800..900).contains(&memory)),
        "{next:?}"
    );
}
