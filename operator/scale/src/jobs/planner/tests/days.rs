//! Slots on work days and on weekends.

use super::super::super::days::{Day, Week};
use super::*;

/// So many hours after a Monday, 0:00 in Athens.
fn hours(hours: i64) -> Timestamp {
    Timestamp::from_second(1_793_570_400 + hours * 3_600).unwrap()
}

/// Three weeks of an hourly run that takes ten minutes, and seven on Saturdays and Sundays in Athens.
fn taught(zone: Option<&str>) -> (Bench, JobId) {
    let mut bench = Bench::new(4);
    let id = bench.declare(Job { zone: zone.map(str::to_owned), ..job("a", "plan", 1, 55) });
    let athens = Week::in_zone("Europe/Athens").unwrap();
    for hour in 0..21 * 24 {
        let run = Run { slot: hours(hour), job: id };
        bench.planner.see(run.slot, Event::Due(run)).unwrap();
        assert_eq!(bench.planner.decide(run.slot).len(), 1, "it starts");
        let ran = MINUTE * if athens.day(run.slot) == Day::Weekend { 7 } else { 10 };
        let now = run.slot + ran;
        let usage = Usage { mebibytes: Some(700), ..Usage::default() };
        bench.planner.see(now, Event::Ended { run, outcome: Outcome::Succeeded, ran, usage }).unwrap();
    }
    (bench, id)
}

/// What runs on the Monday and on the Saturday after that are planned with.
fn planned((bench, id): &(Bench, JobId)) -> [RunTime; 2] {
    [0, 5].map(|day| {
        let run = Run { slot: hours((21 + day) * 24 + 1), job: *id };
        bench.planner.expects_of(run).unwrap().0
    })
}

#[test]
fn a_run_is_planned_by_the_day_of_its_slot_in_its_own_zone() {
    let [monday, saturday] = planned(&taught(Some("Europe/Athens"))).map(|time| time.median / 60.0);
    assert!((monday - 10.0).abs() < 0.5 && (saturday - 7.0).abs() < 0.35, "{monday} {saturday}");
}

#[test]
fn without_a_zone_that_is_known_every_day_is_alike_and_memory_never_knows_of_days() {
    let (with, without) = (taught(Some("Europe/Athens")), taught(None));
    let [monday, saturday] = planned(&without);
    assert_eq!(monday, saturday);
    assert_eq!(planned(&taught(Some("Mars/Olympus"))), [monday, saturday]);
    let next = |(bench, id): &(Bench, JobId)| bench.planner.expects(*id).unwrap();
    assert_eq!(next(&with), next(&without), "of no slot nothing is known of its day");
    let on = |hour: i64| with.0.planner.expects_of(Run { slot: hours(hour), job: with.1 }).unwrap().1;
    assert_eq!(on(21 * 24), on(26 * 24));
}

#[test]
fn what_was_learnt_of_days_survives_a_restart() {
    let before = taught(Some("Europe/Athens"));
    let text = serde_json::to_string(&before.0.planner.learnt(before.1).unwrap()).unwrap();
    let mut after = Bench::new(4);
    let id = after.declare(Job { zone: Some("Europe/Athens".to_owned()), ..job("a", "plan", 1, 55) });
    after.planner.restore(id, serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(planned(&(after, id)), planned(&before));
}
