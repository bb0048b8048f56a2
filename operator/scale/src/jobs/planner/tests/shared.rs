//! Runs whose work is shared by a number of pods that each run is given at its start.

use super::*;

/// One vCPU and 1 GiB for a pod; two of them as the Job is written.
fn shared(tenant: &str, due: i64) -> Job {
    Job { pods: Some(2), ..job(tenant, "plan", 1, due) }
}

fn pods(bench: &mut Bench, minute: i64, run: Run, pods: u32, seconds: Option<f64>) {
    bench.planner.see(at(minute), Event::Pods { run, pods, seconds }).unwrap();
}

/// The size of the only start at this minute.
fn size(bench: &mut Bench, minute: i64) -> Option<Size> {
    match bench.planner.decide(at(minute))[..] {
        [Decision::Start { size, .. }] => Some(size),
        _ => None,
    }
}

#[test]
fn a_run_reserves_as_much_as_its_pods_and_waits_until_all_have_room() {
    let mut bench = Bench::new(5);
    let other = bench.declare(job("b", "x", 2, 55));
    bench.teach(other, 10.0);
    let busy = bench.due(0, &[other]);
    assert_eq!(bench.starts(0), [other]);
    let id = bench.declare(shared("a", 55));
    let run = bench.due(1, &[id])[0];
    pods(&mut bench, 1, run, 4, Some(600.0));
    assert_eq!(size(&mut bench, 1), None, "three of four have room");
    bench.end(10, busy[0], Outcome::Succeeded, 10);
    assert_eq!(size(&mut bench, 10), Some(Size { millicores: 4_000, mebibytes: 4_096 }));
    assert_eq!(bench.planner.reserved().millicores, 4_000);
    pods(&mut bench, 11, run, 3, None);
    bench.end(20, run, Outcome::Succeeded, 10);
    assert_eq!(bench.planner.reserved(), Size::default(), "what it began with is given back");
}

#[test]
fn its_place_in_the_order_follows_the_time_that_it_takes_with_them() {
    let mut bench = Bench::new(2);
    let id = bench.declare(shared("a", 60));
    let other = bench.declare(job("b", "x", 2, 55));
    bench.teach(other, 20.0);
    let run = bench.due(0, &[id, other])[0];
    pods(&mut bench, 0, run, 2, Some(600.0));
    assert_eq!(bench.starts(0), [other], "35 minutes are left for it, 50 for the one with the parts");
    let mut bench = Bench::new(2);
    let id = bench.declare(shared("a", 60));
    let other = bench.declare(job("b", "x", 2, 55));
    bench.teach(other, 20.0);
    let run = bench.due(0, &[id, other])[0];
    pods(&mut bench, 0, run, 2, Some(600.0));
    pods(&mut bench, 0, run, 2, Some(3_000.0));
    assert_eq!(bench.starts(0), [id]);
}

#[test]
fn times_of_runs_with_different_numbers_of_pods_are_not_mixed() {
    let mut bench = Bench::new(8);
    let id = bench.declare(shared("a", 55));
    for slot in 0..12 {
        let count = if slot % 2 == 0 { 1 } else { 4 };
        let run = bench.due(slot * 60, &[id])[0];
        pods(&mut bench, slot * 60, run, count, None);
        assert_eq!(bench.starts(slot * 60), [id]);
        bench.end(slot * 60 + 40, run, Outcome::Succeeded, 40 / i64::from(count));
    }
    let planned = |bench: &mut Bench, minute: i64, count: u32| {
        let run = bench.due(minute, &[id])[0];
        pods(bench, minute, run, count, None);
        bench.planner.expects_of(run).unwrap().0.median / 60.0
    };
    let (one, four) = (planned(&mut bench, 800, 1), planned(&mut bench, 801, 4));
    assert!((one - 40.0).abs() < 0.1 && (four - 10.0).abs() < 0.1, "{one} {four}");
    let other = bench.declare(Job { pods: None, ..shared("b", 55) });
    assert_eq!(bench.planner.expects(other).unwrap().0.runs, 0);
    let guess = bench.planner.expects(other).unwrap().0.median / 60.0;
    assert!((guess - 16.5).abs() < 0.1, "a whole run of that name learns nothing from shared ones: {guess}");
}

#[test]
fn what_is_told_of_the_time_of_an_announced_run_does_not_follow_the_room_of_the_moment() {
    let mut bench = Bench::new(8);
    let id = bench.declare(shared("a", 55));
    let run = bench.due(0, &[id])[0];
    pods(&mut bench, 0, run, 4, None);
    assert_eq!(bench.starts(0), [id]);
    bench.end(10, run, Outcome::Succeeded, 10);
    let next = Run { slot: at(60), job: id };
    bench.planner.see(at(11), Event::Announced(next)).unwrap();
    for room in [1, 4, 7] {
        pods(&mut bench, 11, next, room, None);
        let minutes = bench.planner.times_of(next).unwrap().p50 / 60.0;
        assert!((minutes - 20.0).abs() < 0.1, "two pods, as it is written: {minutes}");
    }
}

#[test]
fn memory_is_learnt_of_one_pod_and_items_of_the_run() {
    let mut bench = Bench::new(8);
    let id = bench.declare(shared("a", 55));
    let run = bench.due(0, &[id])[0];
    pods(&mut bench, 0, run, 7, Some(60.0));
    assert_eq!(bench.starts(0), [id]);
    bench.planner.see(at(3), Event::Items { run, items: 70.0 }).unwrap();
    bench.end(3, run, Outcome::Succeeded, 3);
    let history = bench.planner.history(id).unwrap();
    assert_eq!(history.peaks, [100], "700 MiB of seven pods");
    assert_eq!((history.items.forecast(), history.items.timed()), (Some(70.0), 1));
    assert_eq!(bench.planner.pod_of(id).unwrap().mebibytes, 128);
    let next = bench.due(60, &[id])[0];
    pods(&mut bench, 60, next, 3, Some(60.0));
    assert_eq!(size(&mut bench, 60), Some(Size { millicores: 3_000, mebibytes: 384 }));
    bench.planner.see(at(61), Event::Items { run: next, items: 9.0 }).unwrap();
    bench.end(61, next, Outcome::Failed, 1);
    assert_eq!(bench.planner.history(id).unwrap().items.runs(), 1, "a run that failed has not done them");
}

#[test]
fn what_is_announced_keeps_room_for_the_pods_that_are_forecast() {
    let work = |count: Option<u32>| {
        let mut bench = Bench::new(8);
        let id = bench.declare(shared("a", 55));
        let run = Run { slot: at(60), job: id };
        bench.planner.see(at(50), Event::Announced(run)).unwrap();
        if let Some(count) = count {
            pods(&mut bench, 50, run, count, Some(1_195.0));
        }
        bench.planner.live[&run].work
    };
    assert_eq!(work(Some(4)), 4 * 1_000 * 1_200);
    assert_eq!(work(Some(1)), 1_000 * 1_200);
    assert_eq!(work(None), 2 * 1_000 * (55 * 60 * 3 / 10 + 5), "two as it is written, and nothing is known");
}
