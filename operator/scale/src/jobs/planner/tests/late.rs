//! Runs that are late, or that cannot run now: they hold others up for a while at most.

use super::*;

/// When a wide run that is late begins beside two streams of small ones without end.
fn wide_beside_small() -> Option<i64> {
    let mut bench = Bench::new(2);
    let small = bench.declare(job("a", "small", 1, 5_000));
    let wide = bench.declare(job("b", "wide", 2, 15));
    bench.teach(small, 10.0);
    bench.teach(wide, 10.0);
    let mut running: Vec<(i64, Run)> = Vec::new();
    for minute in 0..1_000 {
        let (over, still): (Vec<_>, Vec<_>) = running.drain(..).partition(|(end, _)| *end <= minute);
        running = still;
        for (_, run) in over {
            bench.end(minute, run, Outcome::Succeeded, 10);
        }
        if minute % 5 == 0 {
            bench.due(minute, &[small]);
        }
        if minute == 20 {
            // Its Job came late: it was due five minutes ago.
            bench.planner.see(at(20), Event::Due(Run { slot: at(0), job: wide })).unwrap();
        }
        for decision in bench.planner.decide(at(minute)) {
            let Decision::Start { run, .. } = decision else { continue };
            if run.job == wide {
                return Some(minute);
            }
            running.push((minute + 10, run));
        }
    }
    None
}

#[test]
fn a_wide_run_that_is_late_lets_others_pass_for_a_while_and_not_for_ever() {
    let begins = wide_beside_small();
    assert!(begins.is_some_and(|minute| (60..=150).contains(&minute)), "{begins:?}");
}

#[test]
fn a_run_that_is_larger_than_what_is_left_keeps_nobody_waiting_and_starts_when_there_is_more() {
    let mut bench = Bench::new(2);
    let blocker = bench.declare(job("a", "x", 2, 300));
    let wide = bench.declare(job("b", "wide", 2, 40));
    let small = bench.declare(job("c", "small", 1, 300));
    for (id, minutes) in [(blocker, 5.0), (wide, 10.0), (small, 45.0)] {
        bench.teach(id, minutes);
    }
    let first = bench.due(0, &[blocker])[0];
    assert_eq!(bench.starts(0), [blocker]);
    let waits = bench.due(1, &[wide, small]);
    assert_eq!(bench.starts(1), []);
    bench.planner.see(at(2), Event::Capacity(Size { millicores: 1_000, mebibytes: 65_536 })).unwrap();
    bench.end(5, first, Outcome::Succeeded, 5);
    assert_eq!(bench.starts(5), [small], "a node went: the wide one has no room, whoever waits");
    bench.planner.see(at(40), Event::Capacity(Size { millicores: 2_000, mebibytes: 65_536 })).unwrap();
    assert_eq!(bench.starts(40), []);
    bench.end(50, waits[1], Outcome::Succeeded, 45);
    assert_eq!(bench.starts(50), [wide]);
}

/// So many vCPU, a wide job that must start within half an hour, and a small one.
fn late_wide(vcpu: u64) -> (Bench, JobId, JobId) {
    let mut bench = Bench::new(vcpu);
    let wide = bench.declare(job("a", "wide", 2, 40));
    let small = bench.declare(job("b", "small", 1, 60));
    bench.teach(wide, 10.0);
    bench.teach(small, 10.0);
    (bench, wide, small)
}

#[test]
fn a_late_run_that_has_no_room_beside_what_runs_elsewhere_keeps_nobody_waiting() {
    let (mut bench, wide, small) = late_wide(4);
    let elsewhere = Size { millicores: 3_000, mebibytes: 512 };
    bench.planner.others(elsewhere, &BTreeMap::new());
    bench.due(0, &[wide]);
    assert_eq!(bench.starts(0), []);
    bench.due(200, &[small]);
    assert_eq!(bench.starts(200), [small]);
    bench.planner.others(Size::default(), &BTreeMap::new());
    assert_eq!(bench.starts(201), [wide]);
}

#[test]
fn a_late_run_whose_memory_has_no_room_beside_what_runs_elsewhere_keeps_nobody_waiting() {
    let mut bench = Bench::new(4);
    let large = bench.declare(Job { mebibytes: Some(65_536), ..job("a", "large", 1, 40) });
    let small = bench.declare(job("b", "small", 1, 60));
    bench.planner.others(Size { millicores: 0, mebibytes: 512 }, &BTreeMap::new());
    bench.due(0, &[large]);
    assert_eq!(bench.starts(0), []);
    bench.due(200, &[small]);
    assert_eq!(bench.starts(200), [small]);
}

#[test]
fn a_late_run_beside_one_that_never_ends_lets_others_pass_again_and_again() {
    let (mut bench, wide, small) = late_wide(2);
    let hung = bench.declare(job("c", "hung", 1, 30));
    bench.due(0, &[hung]);
    assert_eq!(bench.starts(0), [hung]);
    bench.due(1, &[wide]);
    assert_eq!(bench.starts(1), []);
    bench.due(200, &[small]);
    assert_eq!(bench.starts(200), [], "for a while its room is kept");
    let again = bench.planner.next_wake().unwrap();
    assert!(at(240) < again && again <= at(272), "{again}");
    assert_eq!(bench.starts(273), [small]);
}
