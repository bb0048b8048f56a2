//! Work that is known before it is there.

use super::*;

/// One vCPU that an hourly run will fill from minute 60 to 80 nearly, and a long run that could wait.
fn bench() -> (Bench, Run, JobId) {
    let mut bench = Bench::new(1);
    let hourly = bench.declare(job("a", "plan", 1, 20));
    let report = bench.declare(job("b", "report", 1, 100));
    bench.teach(hourly, 18.0);
    bench.teach(report, 30.0);
    (bench, Run { slot: at(60), job: hourly }, report)
}

fn see(bench: &mut Bench, minute: i64, event: Event) {
    bench.planner.see(at(minute), event).unwrap();
}

#[test]
fn room_is_kept_for_what_is_announced_and_it_starts_only_when_it_is_due() {
    let (mut bench, run, report) = bench();
    see(&mut bench, 50, Event::Announced(run));
    bench.due(50, &[report]);
    assert_eq!(bench.starts(50), [], "it would reach into the announced work");
    assert_eq!(bench.starts(61), [], "nothing is there that could be started");
    assert!(bench.planner.explain(run).unwrap().contains("announced"));
    see(&mut bench, 62, Event::Due(run));
    assert_eq!(bench.starts(62), [run.job]);
    assert!(bench.planner.see(at(62), Event::Announced(run)).is_err(), "it is more than announced");
    see(&mut bench, 63, Event::Withdrawn(run));
    bench.end(70, run, Outcome::Succeeded, 8);
    assert_eq!(bench.starts(70), [report]);
}

#[test]
fn what_was_announced_and_came_is_counted_once() {
    let (mut announced, run, _) = bench();
    see(&mut announced, 50, Event::Announced(run));
    see(&mut announced, 60, Event::Due(run));
    let (mut plain, ..) = bench();
    see(&mut plain, 60, Event::Due(run));
    assert_eq!(format!("{:?}", announced.planner.ahead), format!("{:?}", plain.planner.ahead));
    let (mut found, ..) = bench();
    see(&mut found, 50, Event::Announced(run));
    see(&mut found, 61, Event::Found { run, size: Size { millicores: 1_000, mebibytes: 512 }, attempt: 1 });
    assert_eq!(format!("{:?}", found.planner.ahead), format!("{:?}", bench().0.planner.ahead));
    assert_eq!(found.planner.reserved().millicores, 1_000);
}

#[test]
fn what_is_taken_back_keeps_no_room_and_nobody_waiting() {
    let (mut bench, run, report) = bench();
    let follower = bench.declare(Job { needs: Some("plan".to_owned()), ..job("a", "after", 1, 40) });
    see(&mut bench, 50, Event::Announced(run));
    bench.due(50, &[report]);
    assert_eq!(bench.starts(50), []);
    let waits = Run { slot: run.slot, job: follower };
    see(&mut bench, 60, Event::Due(waits));
    assert_eq!(bench.starts(60), []);
    assert!(bench.planner.explain(waits).unwrap().contains("whose Job is not there yet"));
    see(&mut bench, 61, Event::Withdrawn(run));
    see(&mut bench, 61, Event::Withdrawn(run));
    assert_eq!(bench.starts(61), [follower]);
    bench.end(65, waits, Outcome::Succeeded, 4);
    assert_eq!(bench.starts(65), [report]);
}

#[test]
fn those_that_wait_for_an_announced_run_go_on_waiting_when_it_comes() {
    let (mut bench, run, _) = bench();
    let follower = bench.declare(Job { needs: Some("plan".to_owned()), ..job("a", "after", 1, 40) });
    see(&mut bench, 50, Event::Announced(run));
    let waits = Run { slot: run.slot, job: follower };
    see(&mut bench, 60, Event::Due(waits));
    assert_eq!(bench.starts(60), []);
    see(&mut bench, 61, Event::Due(run));
    assert_eq!(bench.starts(61), [run.job]);
    bench.end(70, run, Outcome::Succeeded, 9);
    assert_eq!(bench.starts(70), [follower]);
}
