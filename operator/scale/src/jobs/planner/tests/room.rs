//! Room that a run takes although it cannot start, or more than was learnt.

use super::*;
use std::collections::BTreeMap;

#[test]
fn what_cannot_be_started_gives_its_room_to_others_and_is_tried_again_later() {
    let mut bench = Bench::new(1);
    let ids = ["a", "b", "c"].map(|tenant| bench.declare(job(tenant, "plan", 1, 55)));
    for (id, minutes) in ids.into_iter().zip([20.0, 10.0, 5.0]) {
        bench.teach(id, minutes);
    }
    let runs = bench.due(0, &ids);
    assert_eq!(bench.starts(0), [ids[0]]);
    assert!(bench.planner.is_wanted(runs[0]));
    bench.planner.see(at(1), Event::PutOff { run: runs[0], until: at(3) }).unwrap();
    assert_eq!(bench.planner.reserved(), Size::default());
    assert_eq!(bench.starts(1), [ids[1]]);
    assert!(bench.planner.explain(runs[0]).unwrap().contains("cannot be started now"));
    assert_eq!(bench.planner.next_wake(), Some(at(3)));
    // From then on it has its place again: before the one that can wait longer.
    assert_eq!(bench.starts(3), []);
    bench.end(11, runs[1], Outcome::Succeeded, 10);
    assert_eq!(bench.starts(11), [ids[0]]);
    bench.end(31, runs[0], Outcome::Succeeded, 20);
    assert_eq!(bench.starts(31), [ids[2]]);
    assert!(!bench.planner.is_wanted(runs[2]));
}

#[test]
fn what_cannot_be_started_gives_its_tenants_quota_back() {
    let mut bench = Bench::new(4);
    let ids = ["one", "two"].map(|name| bench.declare(job("a", name, 1, 55)));
    bench.planner.limit("a", Some(Size { millicores: 1_000, mebibytes: 65_536 })).unwrap();
    let runs = bench.due(0, &ids);
    assert_eq!(bench.starts(0), [ids[0]]);
    assert!(bench.planner.is_wanted(runs[0]), "its tenant's other run waits for it");
    bench.planner.see(at(1), Event::PutOff { run: runs[0], until: at(9) }).unwrap();
    assert_eq!(bench.starts(1), [ids[1]]);
}

/// Three runs on two vCPU that ask for one each, and used a tenth in the past.
fn frugal(least: Option<Size>) -> usize {
    let mut bench = Bench::new(2);
    let id = bench.declare(job("a", "plan", 1, 55));
    let mut history = JobHistory::default();
    for _ in 0..5 {
        history.ran(300.0);
        let usage = Usage { millicores: Some(100), mebibytes: Some(700), cpu_limit: None };
        history.used(usage, true);
    }
    bench.planner.restore(id, history.into()).unwrap();
    for minute in 0..3 {
        let run = bench.due(minute, &[id])[0];
        if let Some(size) = least {
            bench.planner.see(at(minute), Event::AtLeast { run, size }).unwrap();
        }
    }
    bench.starts(3).len()
}

#[test]
fn a_size_that_cannot_be_written_is_reserved_as_it_is() {
    assert_eq!(frugal(None), 3);
    let asked = Size { millicores: 1_000, mebibytes: 0 };
    assert_eq!(frugal(Some(asked)), 2);
    assert_eq!(frugal(Some(Size { millicores: 0, mebibytes: 40_000 })), 1, "memory too");
    assert_eq!(frugal(Some(Size::default())), 3);
}

#[test]
fn a_run_that_waits_is_planned_anew_when_it_is_known_what_its_start_can_write() {
    let mut bench = Bench::new(2);
    let busy = bench.declare(job("b", "x", 2, 55));
    bench.teach(busy, 5.0);
    let first = bench.due(0, &[busy])[0];
    assert_eq!(bench.starts(0), [busy]);
    let id = bench.declare(job("a", "plan", 1, 55));
    let run = bench.due(1, &[id])[0];
    assert_eq!(bench.starts(1), []);
    let size = Size { millicores: 2_000, mebibytes: 0 };
    bench.planner.see(at(2), Event::AtLeast { run, size }).unwrap();
    assert_eq!(bench.starts(2), []);
    bench.end(5, first, Outcome::Succeeded, 5);
    assert_eq!(bench.starts(5), [id]);
    assert_eq!(bench.planner.reserved().millicores, 2_000);
    bench.end(9, run, Outcome::Succeeded, 4);
    assert!(bench.planner.least.is_empty() && bench.planner.reserved() == Size::default());
}

/// A job that asks for one vCPU and may have eight, whose last run was throttled at two: the next one is to have three.
fn throttled(bench: &mut Bench) -> JobId {
    let id = bench.declare(Job { most_millicores: Some(8_000), ..job("a", "plan", 1, 55) });
    let mut history = JobHistory::default();
    history.ran(300.0);
    history.used(Usage { millicores: Some(1_980), mebibytes: Some(700), cpu_limit: Some(2_000) }, true);
    bench.planner.restore(id, history.into()).unwrap();
    id
}

/// CPU of the only start at this minute.
fn started_with(bench: &mut Bench, minute: i64) -> Option<u64> {
    match bench.planner.decide(at(minute))[..] {
        [Decision::Start { size, .. }] => Some(size.millicores),
        _ => None,
    }
}

#[test]
fn a_run_that_was_throttled_gets_more_and_never_more_than_there_is() {
    for (vcpu, quota, expected) in [(8, None, 3_000), (2, None, 2_000), (8, Some(2_500), 2_500)] {
        let mut bench = Bench::new(vcpu);
        let id = throttled(&mut bench);
        let quota = quota.map(|millicores| Size { millicores, mebibytes: 65_536 });
        bench.planner.limit("a", quota).unwrap();
        bench.due(0, &[id]);
        assert_eq!(started_with(&mut bench, 0), Some(expected), "{vcpu} vCPU, quota {quota:?}");
    }
}

#[test]
fn what_a_run_does_not_take_is_free_at_once_and_its_end_frees_what_it_took() {
    let mut bench = Bench::new(4);
    let (wide, small) = (bench.declare(job("a", "x", 4, 100)), bench.declare(job("b", "plan", 1, 55)));
    bench.teach(wide, 20.0);
    bench.teach(small, 10.0);
    let run = bench.due(0, &[wide])[0];
    assert_eq!(bench.starts(0), [wide]);
    bench.due(1, &[small]);
    assert_eq!(bench.starts(1), []);
    bench.planner.see(at(5), Event::Takes { run, size: Size::default() }).unwrap();
    assert_eq!(bench.starts(5), [small]);
    let all = Size { millicores: 4_000, mebibytes: 1_024 };
    bench.planner.see(at(6), Event::Takes { run, size: all }).unwrap();
    bench.end(20, run, Outcome::Succeeded, 14);
    assert_eq!(bench.planner.reserved(), Size { millicores: 1_000, mebibytes: 1_024 });
}

#[test]
fn nobody_waits_for_cpu_beyond_what_the_run_asks_for() {
    let mut bench = Bench::new(4);
    let id = throttled(&mut bench);
    let beside = bench.declare(job("b", "x", 2, 100));
    bench.teach(beside, 10.0);
    bench.due(0, &[beside]);
    assert_eq!(bench.starts(0), [beside]);
    bench.due(1, &[id]);
    assert_eq!(started_with(&mut bench, 1), Some(2_000), "two of the three are free");
    let mut full = Bench::new(4);
    let id = throttled(&mut full);
    full.planner.others(Size { millicores: 3_000, mebibytes: 0 }, &BTreeMap::new());
    full.due(0, &[id]);
    assert_eq!(started_with(&mut full, 0), Some(1_000), "others leave what it asks for");
}

#[test]
fn a_second_try_gets_what_the_run_asks_for() {
    let mut bench = Bench::new(8);
    let id = throttled(&mut bench);
    let runs = bench.due(0, &[id]);
    assert_eq!(started_with(&mut bench, 0), Some(3_000));
    bench.end(5, runs[0], Outcome::Failed, 5);
    assert_eq!(started_with(&mut bench, 20), Some(1_000), "its size may be why it failed");
}

#[test]
fn what_waits_to_have_more_begins_with_less_when_there_is_less() {
    let mut bench = Bench::new(4);
    let id = throttled(&mut bench);
    let blocker = bench.declare(job("b", "x", 4, 100));
    bench.teach(blocker, 10.0);
    let runs = bench.due(0, &[blocker]);
    assert_eq!(bench.starts(0), [blocker]);
    bench.due(1, &[id]);
    assert_eq!(bench.starts(1), [], "no room");
    bench.planner.see(at(5), Event::Capacity(Size { millicores: 2_000, mebibytes: 65_536 })).unwrap();
    bench.end(10, runs[0], Outcome::Succeeded, 10);
    assert_eq!(started_with(&mut bench, 10), Some(2_000));
}
