//! Runs that wait for their place in their window.

use super::*;

impl Bench {
    fn shifted(&mut self, minute: i64, id: JobId, until: i64) -> Run {
        let run = self.due(minute, &[id])[0];
        self.planner.see(at(minute), Event::Shifted { run, until: at(until) }).unwrap();
        run
    }
}

#[test]
fn a_run_with_slack_waits_for_its_place_and_says_so() {
    let mut bench = Bench::new(4);
    let id = bench.declare(job("a", "plan", 1, 55));
    bench.teach(id, 5.0);
    let run = bench.shifted(0, id, 20);
    assert_eq!(bench.starts(0), []);
    assert_eq!(bench.planner.next_wake(), Some(at(20)));
    let said = bench.planner.explain(run).unwrap();
    assert!(said.contains("1200 s after its slot: there the load"), "{said}");
    assert_eq!(bench.starts(19), []);
    assert_eq!(bench.starts(20), [id]);
}

#[test]
fn it_never_waits_so_long_that_less_slack_than_one_run_is_left() {
    let mut bench = Bench::new(4);
    let id = bench.declare(job("a", "plan", 1, 55));
    bench.teach(id, 20.0);
    bench.shifted(0, id, 50);
    assert_eq!(bench.starts(0), []);
    // Due at 55, and planned with 20 min and a start: 35 would be the latest.
    assert!(
        bench.planner.next_wake().is_some_and(|at| at < super::at(15)),
        "{:?}",
        bench.planner.next_wake()
    );
    assert_eq!(bench.starts(15), [id]);
    let tight = bench.declare(job("b", "tight", 1, 30));
    bench.teach(tight, 15.0);
    bench.shifted(20, tight, 30);
    assert_eq!(bench.starts(20), [tight], "it has no slack to give");
}

#[test]
fn while_anybody_waits_for_room_nobody_waits_for_a_place() {
    let mut bench = Bench::new(1);
    let [first, second, third] = ["a", "b", "c"].map(|tenant| {
        let id = bench.declare(job(tenant, "plan", 1, 55));
        bench.teach(id, 5.0);
        id
    });
    bench.shifted(0, third, 40);
    let runs = bench.due(0, &[first]);
    assert_eq!(bench.starts(0), [first], "there is room for it");
    assert!(bench.planner.explain(Run { slot: at(0), job: third }).unwrap().contains("waits until"));
    bench.due(1, &[second]);
    assert_eq!(bench.starts(1), [], "no room");
    assert!(bench.planner.explain(Run { slot: at(0), job: third }).unwrap().contains("waits for room"));
    bench.end(5, runs[0], Outcome::Succeeded, 5);
    assert_eq!(bench.starts(5), [third], "it is due a minute before the other");
}

#[test]
fn one_that_others_come_to_wait_for_goes_as_early_as_they_need() {
    let mut bench = Bench::new(4);
    let plan = bench.declare(job("a", "plan", 1, 55));
    bench.teach(plan, 5.0);
    let after = bench.declare(Job { needs: Some("plan".to_owned()), ..job("a", "after", 1, 25) });
    bench.teach(after, 10.0);
    let run = bench.shifted(0, plan, 30);
    assert_eq!(bench.starts(0), []);
    assert_eq!(bench.planner.next_wake(), Some(at(30)));
    bench.due(0, &[after]);
    assert_eq!(bench.starts(1), []);
    assert!(bench.planner.next_wake().is_some_and(|wake| wake < at(10)), "{:?}", bench.planner.next_wake());
    assert_eq!(bench.starts(10), [plan]);
    bench.end(15, run, Outcome::Succeeded, 5);
    assert_eq!(bench.starts(15), [after]);
}

#[test]
fn a_further_try_waits_for_no_place() {
    let mut bench = Bench::new(4);
    let id = bench.declare(job("a", "plan", 1, 55));
    bench.teach(id, 5.0);
    let run = bench.shifted(0, id, 10);
    assert_eq!(bench.starts(10), [id]);
    bench.end(12, run, Outcome::Failed, 2);
    assert_eq!(bench.starts(12), [id]);
}
