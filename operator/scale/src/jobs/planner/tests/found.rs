//! What had ended before a planner was made.

use super::*;

/// A job, and one that needs it.
fn chain() -> (Bench, [JobId; 2]) {
    let mut bench = Bench::new(8);
    let first = bench.declare(job("a", "forecast", 1, 55));
    let second = bench.declare(Job { needs: Some("forecast".to_owned()), ..job("a", "plan", 1, 55) });
    (bench, [first, second])
}

fn see(bench: &mut Bench, event: Event) {
    bench.planner.see(at(300), event).unwrap();
}

/// Slots, in minutes, of runs of a job that start or are given up.
fn decided(bench: &mut Bench, minute: i64) -> (Vec<i64>, Vec<i64>) {
    let (mut starts, mut lost) = (Vec::new(), Vec::new());
    for decision in bench.planner.decide(at(minute)) {
        match decision {
            Decision::Start { run, .. } => starts.push(run.slot.duration_since(at(0)).as_mins()),
            Decision::GiveUp { run, .. } => lost.push(run.slot.duration_since(at(0)).as_mins()),
            Decision::LeaveToKueue { .. } => {}
        }
    }
    (starts, lost)
}

#[test]
fn of_several_runs_that_were_given_up_each_keeps_those_that_need_it_from_beginning() {
    let (mut bench, [first, second]) = chain();
    for slot in [0, 60, 120] {
        see(&mut bench, Event::Lost(Run { slot: at(slot), job: first }));
    }
    see(&mut bench, Event::Done(Run { slot: at(180), job: first }));
    for slot in [0, 60, 120, 180] {
        see(&mut bench, Event::Due(Run { slot: at(slot), job: second }));
    }
    let (starts, mut lost) = decided(&mut bench, 300);
    lost.sort_unstable();
    assert_eq!((starts, lost), (vec![180], vec![0, 60, 120]));
}

#[test]
fn another_planner_knows_which_runs_were_given_up_and_which_did_their_work_since() {
    let (mut before, [first, second]) = chain();
    for (slot, outcome) in [(0, Outcome::Succeeded), (60, Outcome::Failed), (120, Outcome::Succeeded)] {
        let run = before.due(slot, &[first])[0];
        for _ in 0..3 {
            before.planner.decide(at(slot));
            before.end(slot + 1, run, outcome, 1);
            if outcome == Outcome::Succeeded {
                break;
            }
        }
        before.planner.decide(at(slot + 1));
    }
    let over = before.planner.over(first);
    assert_eq!(over, Over { lost: vec![at(60)], done: vec![at(120)], ..Over::default() });
    assert!(before.planner.over(second).is_empty());
    let (mut after, ids) = chain();
    let over: Over = serde_json::from_str(&serde_json::to_string(&over).unwrap()).unwrap();
    after.planner.recall(ids[0], &over);
    for slot in [60, 120] {
        see(&mut after, Event::Due(Run { slot: at(slot), job: second }));
    }
    assert_eq!(decided(&mut after, 300), (vec![120], vec![60]));
}

#[test]
fn slots_that_are_remembered_are_bounded_and_what_is_older_does_not_begin_without_its_input_either() {
    let (mut bench, [first, second]) = chain();
    for slot in 0..20 {
        see(&mut bench, Event::Lost(Run { slot: at(slot), job: first }));
    }
    see(&mut bench, Event::Done(Run { slot: at(20), job: first }));
    let over = bench.planner.over(first);
    assert_eq!((over.lost.len(), &over.done, over.until), (7, &vec![at(20)], Some(at(12))));
    let (mut after, ids) = chain();
    after.planner.recall(ids[0], &over);
    for bench in [&mut bench, &mut after] {
        for slot in 0..=20 {
            see(bench, Event::Due(Run { slot: at(slot), job: second }));
        }
        let (starts, lost) = decided(bench, 300);
        assert_eq!((starts, lost.len()), (vec![20], 20));
    }
}

#[test]
fn of_many_inputs_that_wait_each_keeps_its_run_waiting() {
    let (mut bench, [first, second]) = chain();
    bench.planner.see(at(0), Event::Capacity(Size::default())).unwrap();
    for job in [first, second] {
        for slot in 0..20 {
            see(&mut bench, Event::Due(Run { slot: at(slot), job }));
        }
    }
    assert_eq!(decided(&mut bench, 300), (vec![], vec![]));
    bench.planner.see(at(300), Event::Capacity(Size { millicores: 64_000, mebibytes: 65_536 })).unwrap();
    assert_eq!(bench.starts(300), [first; 20]);
}

#[test]
fn of_many_inputs_that_did_their_work_each_lets_its_run_begin_whatever_was_given_up_long_before() {
    let (mut bench, [first, second]) = chain();
    see(&mut bench, Event::Lost(Run { slot: at(-100), job: first }));
    bench.planner.see(at(0), Event::Capacity(Size::default())).unwrap();
    for job in [first, second] {
        for slot in 0..20 {
            see(&mut bench, Event::Due(Run { slot: at(slot), job }));
        }
    }
    bench.planner.see(at(300), Event::Capacity(Size { millicores: 64_000, mebibytes: 65_536 })).unwrap();
    assert_eq!(bench.starts(300), [first; 20]);
    for slot in 0..20 {
        bench.end(301, Run { slot: at(slot), job: first }, Outcome::Succeeded, 1);
    }
    let (mut starts, lost) = decided(&mut bench, 301);
    starts.sort_unstable();
    assert_eq!((starts, lost), ((0..20).collect::<Vec<i64>>(), vec![]));
}

#[test]
fn another_planner_knows_that_inputs_did_their_work_that_are_not_remembered_one_by_one() {
    let (mut before, [first, _]) = chain();
    see(&mut before, Event::Lost(Run { slot: at(-100), job: first }));
    for slot in 0..20 {
        see(&mut before, Event::Done(Run { slot: at(slot), job: first }));
    }
    let over = before.planner.over(first);
    let over: Over = serde_json::from_str(&serde_json::to_string(&over).unwrap()).unwrap();
    let (mut after, [first, second]) = chain();
    after.planner.recall(first, &over);
    for slot in [-100, -50, 0, 5] {
        see(&mut after, Event::Due(Run { slot: at(slot), job: second }));
    }
    let (mut starts, mut lost) = decided(&mut after, 300);
    starts.sort_unstable();
    lost.sort_unstable();
    assert_eq!(
        (starts, lost),
        (vec![0, 5], vec![-100, -50]),
        "those before the first good one need the lost one"
    );
}

#[test]
fn a_try_that_failed_before_teaches_once_and_its_next_try_goes_on() {
    let (mut bench, [first, _]) = chain();
    let run = Run { slot: at(290), job: first };
    let size = Size { millicores: 1_000, mebibytes: 512 };
    let (ran, usage) = (MINUTE, Usage::default());
    see(&mut bench, Event::Found { run, size, attempt: 1 });
    see(&mut bench, Event::Taught { run, outcome: Outcome::Failed, ran, usage });
    assert_eq!(bench.planner.reserved(), Size::default());
    // Its second try runs already.
    see(&mut bench, Event::Found { run, size, attempt: 2 });
    assert_eq!(decided(&mut bench, 300), (vec![], vec![]), "nothing is given up");
    bench.end(301, run, Outcome::Succeeded, 1);
    assert_eq!(bench.planner.reserved(), Size::default());
    assert_eq!(bench.planner.history(first).unwrap().failures.tries, 2);

    let (mut again, [first, _]) = chain();
    let run = Run { job: first, ..run };
    see(&mut again, Event::Again { run, attempt: 3 });
    let decisions = again.planner.decide(at(300));
    assert!(matches!(decisions[..], [Decision::Start { attempt: 3, .. }]), "{decisions:?}");
    assert_eq!(again.planner.history(first).unwrap().failures.tries, 0);
    let (mut last, [first, _]) = chain();
    see(&mut last, Event::Again { run: Run { job: first, ..run }, attempt: 4 });
    let decisions = last.planner.decide(at(300));
    let [Decision::GiveUp { why, .. }] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert!(why.to_string().contains("failed 3 times"), "{why}");
}
