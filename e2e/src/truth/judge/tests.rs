//! The judge on hand-made histories. Times are milliseconds.

use super::*;
use crate::truth::attempt::{History, Outcome};

fn ms(at: i64) -> At {
    At(at * 1000)
}

/// A history of attempts on one service, written as `(start, end, good)`.
fn on(attempts: &[(i64, i64, bool)]) -> Vec<Attempt> {
    let mut history = History::default();
    let (caller, callee) = (history.peer("gateway"), history.peer("order"));
    for &(start, end, good) in attempts {
        let outcome = if good { Outcome::Status(200) } else { Outcome::Reset };
        history.push(Attempt { start: ms(start), end: ms(end), caller, callee, outcome });
    }
    history.on("order", At(i64::MIN), At(i64::MAX))
}

/// Good attempts of 10 ms, one each 100 ms, in `[from, to)`.
fn good(from: i64, to: i64) -> Vec<(i64, i64, bool)> {
    (from..to).step_by(100).map(|at| (at, at + 10, true)).collect()
}

fn judge(attempts: &[(i64, i64, bool)], until: i64, detected: Option<i64>) -> Verdict {
    Verdict::new(&on(attempts), ms(1000), ms(until), detected.map(ms))
}

fn near(value: Option<f64>, expected: f64) {
    assert!(value.is_some_and(|v| (v - expected).abs() < 1e-9), "{value:?} is not {expected}");
}

#[test]
fn a_kill_that_heals() {
    let mut all = good(0, 1000);
    all.extend([(995, 1005, false), (1100, 1101, false), (2500, 2501, false)]);
    all.extend(good(2600, 9000));
    let verdict = judge(&all, 60_000, Some(1500));
    assert_eq!(verdict.impact, Some(ms(1005)), "an attempt cut by the kill counts, at its end");
    assert_eq!(verdict.mitigated, Some(ms(2610)));
    near(verdict.mttd, 0.495);
    near(verdict.mttr, 1.110);
    assert!((verdict.downtime - 1.605).abs() < 1e-9);
    assert!(verdict.healed && !verdict.before_alert);
}

#[test]
fn mttd_and_mttr_add_up_to_downtime_when_detected_in_between() {
    let mut all = vec![(1010, 1020, false)];
    all.extend(good(4000, 9000));
    let verdict = judge(&all, 60_000, Some(2020));
    let sum = verdict.mttd.unwrap() + verdict.mttr.unwrap();
    assert!((sum - verdict.downtime).abs() < 1e-9);
}

#[test]
fn failures_before_the_injection_are_not_its_impact() {
    let mut all = vec![(500, 990, false), (980, 999, false)];
    all.extend(good(1000, 5000));
    let verdict = judge(&all, 60_000, None);
    assert_eq!(verdict.impact, None);
    assert_eq!((verdict.mttd, verdict.mttr), (None, None));
    assert!(verdict.healed && verdict.downtime.abs() < 1e-9, "nobody suffered: {verdict:?}");
}

#[test]
fn a_recovery_shorter_than_three_seconds_is_none() {
    let mut all = vec![(1000, 1010, false)];
    all.extend(good(1100, 4000));
    all.push((4005, 4009, false));
    all.extend(good(4100, 9000));
    let verdict = judge(&all, 60_000, Some(1100));
    // Good ones after 1010 end from 1110 on; the failure at 4009 is within 3 s of all that end after 1009.
    assert_eq!(verdict.mitigated, Some(ms(4110)));
}

#[test]
fn three_seconds_to_the_microsecond_are_enough() {
    let attempts = on(&[(1000, 1010, false), (1100, 1110, true), (4100, 4110, false)]);
    assert_eq!(mitigated(&attempts, ms(1010), ms(9000)), Some(ms(1110)));
    let attempts = on(&[(1000, 1010, false), (1100, 1110, true), (4100, 4109, false)]);
    assert_eq!(mitigated(&attempts, ms(1010), ms(9000)), None);
}

#[test]
fn a_good_attempt_that_started_before_the_impact_does_not_heal() {
    // A slow answer of the old process arrives after the first failure.
    let mut all = vec![(990, 1010, false), (980, 1500, true)];
    all.extend([(1600, 1700, false), (2000, 2010, true)]);
    let attempts = on(&all);
    assert_eq!(mitigated(&attempts, ms(1010), ms(60_000)), Some(ms(2010)));
    let attempts = on(&[(990, 1010, false), (1010, 1020, true)]);
    assert_eq!(mitigated(&attempts, ms(1010), ms(60_000)), None, "started at the impact, not after it");
}

#[test]
fn overlapping_attempts_count_at_their_ends() {
    // Two calls hang at the old process until their timeout while new ones are served already.
    let mut all = vec![(1000, 2000, false), (1500, 2500, false)];
    all.extend([(2100, 2110, true), (2200, 2210, true), (2505, 2515, true)]);
    let verdict = judge(&all, 60_000, Some(1500));
    assert_eq!(verdict.impact, Some(ms(2000)));
    assert_eq!(verdict.mitigated, Some(ms(2515)), "the timeout at 2500 is a failure after 2110");
    near(verdict.mttd, 0.0);
    near(verdict.mttr, 0.515);
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let mut all = vec![(1000, 2000, false)];
    all.extend(good(2100, 9000));
    let forward = judge(&all, 60_000, Some(2100));
    all.reverse();
    assert_eq!(judge(&all, 60_000, Some(2100)), forward);
}

#[test]
fn retries_that_succeed_elsewhere_do_not_hide_failed_attempts() {
    // Each request fails once and is retried with success: never 3 s without a failure.
    let mut all = Vec::new();
    for at in (1000..61_000).step_by(1000) {
        all.extend([(at, at + 5, false), (at + 10, at + 20, true)]);
    }
    let verdict = judge(&all, 61_000, Some(1200));
    assert!(!verdict.healed);
    assert_eq!(verdict.mttr, Some(f64::INFINITY));
    assert!((verdict.downtime - 60.0).abs() < 1e-9, "not healed counts as 60 s");
}

#[test]
fn what_happens_after_the_restore_is_not_healing() {
    let mut all = vec![(1000, 1010, false), (59_000, 59_010, false)];
    all.extend(good(61_100, 70_000));
    let verdict = judge(&all, 61_000, None);
    assert!(!verdict.healed);
    assert_eq!(verdict.mttd, Some(f64::INFINITY));
    // Served again just before the restore, but the calm was not over by then.
    let mut all = vec![(1000, 1010, false)];
    all.extend(good(58_500, 70_000));
    assert!(!judge(&all, 61_000, None).healed);
    assert!(judge(&all, 61_600, None).healed);
}

#[test]
fn a_failure_caused_by_the_restore_is_no_impact() {
    let all = [(1000, 1010, true), (5000, 5010, false)];
    let verdict = judge(&all, 5000, None);
    assert_eq!(verdict.impact, None);
}

#[test]
fn silence_is_not_recovery() {
    let verdict = judge(&[(1000, 1010, false)], 60_000, Some(1100));
    assert!(!verdict.healed, "no good attempt, no recovery: {verdict:?}");
}

#[test]
fn an_incident_before_the_impact_gives_zero_mttd_and_mttr_from_the_impact() {
    // As after a double kill: the incident came with the first, the impact counts from the second.
    let mut all = vec![(3000, 3010, false)];
    all.extend(good(5000, 9000));
    let verdict = judge(&all, 60_000, Some(1200));
    near(verdict.mttd, 0.0);
    near(verdict.mttr, 2.0);
    assert!((verdict.downtime - 2.0).abs() < 1e-9);
    assert!(!verdict.before_alert);
}

#[test]
fn recovery_before_the_alert_is_counted_apart_and_no_repair() {
    let mut all = vec![(1000, 1010, false)];
    all.extend(good(1500, 9000));
    let verdict = judge(&all, 60_000, Some(4000));
    near(verdict.mttd, 2.99);
    assert_eq!(verdict.mttr, None);
    assert!(verdict.before_alert && verdict.healed);
    let verdict = judge(&all, 60_000, None);
    assert_eq!((verdict.mttd, verdict.mttr), (Some(f64::INFINITY), None));
    assert!(verdict.before_alert && verdict.healed);
}

#[test]
fn callers_that_fail_do_not_count_against_the_broken_service() {
    let mut history = History::default();
    let (gateway, order, kitchen) = (history.peer("gateway"), history.peer("order"), history.peer("kitchen"));
    let mut add = |start, end, caller, callee, outcome| {
        history.push(Attempt { start: ms(start), end: ms(end), caller, callee, outcome });
    };
    // Kitchen is broken; Order answers 503 to the gateway for longer, and before.
    add(1000, 1005, gateway, order, Outcome::Status(503));
    add(1000, 1020, order, kitchen, Outcome::Refused);
    add(2000, 2010, order, kitchen, Outcome::Status(201));
    add(3000, 3010, gateway, order, Outcome::Status(503));
    add(5500, 5510, order, kitchen, Outcome::Status(201));
    let verdict = Verdict::new(&history.on("kitchen", ms(1000), ms(9000)), ms(1000), ms(9000), None);
    assert_eq!(verdict.impact, Some(ms(1020)));
    assert_eq!(verdict.mitigated, Some(ms(2010)));
}

#[test]
fn business_refusals_heal_and_server_errors_do_not() {
    let mut history = History::default();
    let (gateway, order) = (history.peer("gateway"), history.peer("order"));
    for (start, status) in [(1000, 500), (2000, 503), (3000, 422), (6100, 500)] {
        let outcome = Outcome::Status(status);
        history.push(Attempt {
            start: ms(start),
            end: ms(start + 10),
            caller: gateway,
            callee: order,
            outcome,
        });
    }
    let attempts = history.on("order", ms(0), ms(60_000));
    assert_eq!(mitigated(&attempts, ms(1010), ms(60_000)), Some(ms(3010)));
}
