#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use homeostat_knowledge::SignedDuration;
use homeostat_knowledge::policy::{Archetype, Bounds, Fallback, ScalingMode, ScalingPolicy, WhenOwned};

mod calendar;
mod full;

fn at(step: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + step * i64::from(STEP_SECONDS)).unwrap()
}

fn scaling(mode: ScalingMode) -> ScalingPolicy {
    let fallback = Some(Fallback { after: SignedDuration::from_hours(1), replicas: 3 });
    ScalingPolicy { mode, fallback, ..ScalingPolicy::default() }
}

fn sizer(min: u64, max: u64, archetype: Archetype) -> Sizer {
    let policy = policy(&scaling(ScalingMode::Auto), Some(Bounds { min, max }), archetype).unwrap();
    Sizer::new(policy, 0.05, at(0)).unwrap()
}

fn requests(rate: Option<f64>) -> Requests {
    let answered = rate.map_or(0, |rate| (rate * f64::from(STEP_SECONDS)) as u64);
    Requests { rate, answered, outside: 0, telling: true }
}

/// Steps of this load, on what was decided before.
fn run(sizer: &mut Sizer, from: i64, loads: impl IntoIterator<Item = Option<f64>>, start: u32) -> SizeAdvice {
    let mut replicas = start;
    let mut said = None;
    for (step, rate) in (from..).zip(loads) {
        let seen = Seen {
            requests: requests(rate),
            loads: &[],
            replicas,
            ready: replicas,
            expected: None,
            calendar: None,
            hurts: false,
        };
        let advice = sizer.decide(at(step), &seen, &Owner::Nobody);
        replicas = advice.wanted.unwrap_or(replicas);
        said = Some(advice);
    }
    said.unwrap()
}

/// A backlog of which one replica carries ten items.
fn jobs(value: Option<f64>) -> Load {
    Load {
        name: "jobs".into(),
        value,
        per_replica: 10.0,
        silent: Vec::new(),
        due: None,
        unsent: None,
        expected: None,
        soon: Vec::new(),
    }
}

/// One look at a backlog, with as many replicas as are there, ten items each; `said` is its forecast.
fn backlog(
    sizer: &mut Sizer,
    step: i64,
    waiting: Option<f64>,
    replicas: u32,
    said: Option<Expected>,
) -> SizeAdvice {
    let loads = [Load { expected: said, ..jobs(waiting) }];
    let seen = Seen {
        requests: Requests::default(),
        loads: &loads,
        replicas,
        ready: replicas,
        expected: None,
        calendar: None,
        hurts: false,
    };
    sizer.decide(at(step), &seen, &Owner::Nobody)
}

/// A backlog, on what was decided before; the replicas after each step.
fn queue(sizer: &mut Sizer, from: i64, waiting: impl IntoIterator<Item = Option<f64>>) -> Vec<u32> {
    let mut replicas = 0;
    let sizes = (from..).zip(waiting).map(|(step, value)| {
        replicas = backlog(sizer, step, value, replicas, None).wanted.unwrap_or(replicas);
        replicas
    });
    sizes.collect()
}

#[test]
fn a_new_workload_is_told_what_is_missing() {
    let mut one = sizer(1, 9, Archetype::Service);
    let said = run(&mut one, 0, [None], 1);
    assert!(said.wanted.is_none() && said.why.contains("OTLP"), "{}", said.why);
    let said = run(&mut one, 1, [Some(20.0)], 1);
    assert!(said.wanted.is_none() && said.why.contains("1 of 40 steps"), "{}", said.why);
    assert_eq!(said.effect, SizeEffect::Keep);
}

#[test]
fn what_a_replica_carries_is_learnt_and_shown_and_only_telling_steps_teach() {
    let mut one = sizer(1, 20, Archetype::Service);
    let said = run(&mut one, 0, vec![Some(80.0); 60], 4);
    let each = said.per_replica.unwrap();
    assert!((20.0..24.0).contains(&each), "four replicas answered 80 requests/s well: {each}");
    assert!(said.why.contains("carries") && said.wanted.is_some_and(|wanted| wanted >= 4), "{said:?}");
    let mut other = sizer(1, 20, Archetype::Service);
    let seen = Seen {
        requests: Requests { telling: false, ..requests(Some(400.0)) },
        loads: &[],
        replicas: 4,
        ready: 4,
        expected: None,
        calendar: None,
        hurts: false,
    };
    for step in 0..60 {
        assert_eq!(other.decide(at(step), &seen, &Owner::Nobody).per_replica, None);
    }
}

#[test]
fn what_one_replica_carries_ends_where_the_objective_is_missed() {
    let mut one = sizer(1, 50, Archetype::Service);
    for step in 0..200 {
        let rate = 10.0 + step as f64;
        let slow = if rate > 100.0 { 0.5 } else { 0.001 };
        let answered = (rate * 15.0) as u64;
        let seen = Seen {
            requests: Requests {
                rate: Some(rate),
                answered,
                outside: (answered as f64 * slow) as u64,
                telling: true,
            },
            loads: &[],
            replicas: 1,
            ready: 1,
            expected: None,
            calendar: None,
            hurts: false,
        };
        one.decide(at(step), &seen, &Owner::Nobody);
    }
    let each = one.per_replica().unwrap();
    assert!((80.0..=110.0).contains(&each), "{each}");
}

#[test]
fn a_forecast_with_skill_takes_part_and_is_named() {
    let mut flat = sizer(1, 50, Archetype::Service);
    run(&mut flat, 0, vec![Some(80.0); 400], 4);
    let mut warned = flat.clone();
    let seen = |expected| Seen {
        requests: requests(Some(80.0)),
        loads: &[],
        replicas: 5,
        ready: 5,
        expected,
        calendar: None,
        hurts: false,
    };
    let coming = Some(Expected { p50: 300.0, p90: 330.0 });
    let (mut with, mut without) = (None, None);
    for step in 400..440 {
        with = Some(warned.decide(at(step), &seen(coming), &Owner::Nobody));
        without = Some(flat.decide(at(step), &seen(None), &Owner::Nobody));
    }
    let (with, without) = (with.unwrap(), without.unwrap());
    assert!(
        with.why.contains("forecast p50") && without.why.contains("no forecast"),
        "{} | {}",
        with.why,
        without.why
    );
}

#[test]
fn without_signals_the_last_safe_size_stays_then_the_fallback_never_zero() {
    let mut one = sizer(0, 9, Archetype::Service);
    let before = run(&mut one, 0, vec![Some(80.0); 100], 4).wanted.unwrap();
    let soon = run(&mut one, 100, vec![None; 100], before);
    assert_eq!(soon.wanted, Some(before), "{}", soon.why);
    assert!(soon.why.contains("last safe size") && soon.why.contains("check the source"), "{}", soon.why);
    let late = run(&mut one, 200, vec![None; 150], before);
    assert_eq!(late.wanted, Some(3), "{}", late.why);
    assert!(late.why.contains("fallback"), "{}", late.why);
    // Never seen since the start: the fallback too, after the same time and not at once.
    let mut blind = sizer(0, 9, Archetype::Service);
    assert_eq!(run(&mut blind, 0, vec![None; 10], 2).wanted, None);
    assert_eq!(run(&mut blind, 10, vec![None; 235], 2).wanted, Some(3));
}

#[test]
fn workers_come_from_zero_for_a_backlog_and_go_to_zero_when_it_is_done() {
    let mut one = sizer(0, 10, Archetype::Worker);
    let quiet = std::iter::repeat_n(Some(0.0), 40);
    let busy = std::iter::repeat_n(Some(35.0), 20);
    let sizes = queue(&mut one, 0, quiet.clone().chain(busy).chain(std::iter::repeat_n(Some(0.0), 240)));
    assert!(sizes[..40].iter().all(|size| *size == 0), "nothing waits, nor ever did: {sizes:?}");
    assert!(sizes[40] >= 1 && sizes[42] >= 4, "35 items, ten for each: {:?}", &sizes[40..60]);
    assert_eq!(sizes.last(), Some(&0), "{:?}", &sizes[60..]);
    // The source is gone while it is idle: nobody knows that nothing waits.
    assert!(queue(&mut one, 300, [None]).iter().all(|size| *size >= 1));
}

#[test]
fn what_an_autoscaler_sizes_is_never_scaled_beside_it_not_even_to_or_from_zero() {
    let scaling = ScalingPolicy { when_owned: WhenOwned::DriveBounds, ..scaling(ScalingMode::Auto) };
    let policy = policy(&scaling, Some(Bounds { min: 0, max: 9 }), Archetype::Worker).unwrap();
    let mut one = Sizer::new(policy, 0.05, at(0)).unwrap();
    let owner = Owner::Hpa { name: "web".to_owned(), bounds: (1, 9), peoples: (1, 9) };
    let mut decide = |step, waiting, replicas| {
        let loads = [jobs(Some(waiting))];
        let seen = Seen {
            requests: Requests::default(),
            loads: &loads,
            replicas,
            ready: replicas,
            expected: None,
            calendar: None,
            hurts: false,
        };
        one.decide(at(step), &seen, &owner)
    };
    let idle = (0..240).map(|step| decide(step, 0.0, 3)).last().unwrap();
    assert_eq!((idle.wanted, idle.effect), (Some(0), SizeEffect::Keep), "people's floor: {}", idle.why);
    let woken = decide(240, 35.0, 0);
    let wanted = woken.wanted.unwrap();
    assert!(wanted >= 4, "{}", woken.why);
    assert_eq!(woken.effect, SizeEffect::DriveBounds { min: wanted, max: 9 }, "{}", woken.why);
}

#[test]
fn what_is_only_asked_by_requests_keeps_a_replica_that_can_be_asked() {
    let mut one = sizer(0, 9, Archetype::Service);
    run(&mut one, 0, vec![Some(80.0); 100], 4);
    let idle = run(&mut one, 100, vec![Some(0.0); 400], 4);
    assert!(idle.wanted.is_some_and(|wanted| wanted >= 1), "{}", idle.why);
}

#[test]
fn what_cannot_work_is_named_and_what_was_decided_outlives_other_bounds() {
    let service = Archetype::Service;
    let error = policy(&scaling(ScalingMode::Auto), None, service).unwrap_err().to_string();
    assert!(error.contains("spec.scaling.replicas is not set"), "{error}");
    let error = policy(&scaling(ScalingMode::Auto), Some(Bounds { min: 9, max: 2 }), service).unwrap_err();
    assert!(error.to_string().contains("min is 9"), "{error}");
    let mut one = sizer(1, 9, service);
    let before = run(&mut one, 0, vec![Some(80.0); 100], 4).wanted.unwrap();
    let wider = policy(&scaling(ScalingMode::Auto), Some(Bounds { min: 1, max: 30 }), service).unwrap();
    one.follow(wider).unwrap();
    assert_eq!(run(&mut one, 100, [None], before).wanted, Some(before));
    assert!(one.per_replica().is_some(), "what a replica carries was learnt");
}

#[test]
fn what_is_stored_goes_on_as_if_nothing_had_happened() {
    let mut one = sizer(1, 30, Archetype::Service);
    run(&mut one, 0, (0..200).map(|step| Some(60.0 + f64::from(step % 37))), 4);
    let mut back: Sizer = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
    let next = || (0..50).map(|step| Some(90.0 + f64::from(step % 11)));
    assert_eq!(run(&mut one, 200, next(), 4).wanted, run(&mut back, 200, next(), 4).wanted);
}

#[test]
fn decisions_and_what_a_replica_carries_survive_a_restart_in_little_room() {
    let mut one = sizer(1, 30, Archetype::Service);
    let before = run(&mut one, 0, vec![Some(80.0); 200], 4).wanted.unwrap();
    let text = serde_json::to_string(&one.kept()).unwrap();
    assert!(text.len() < 2_000, "{}", text.len());
    let mut back = sizer(1, 30, Archetype::Service);
    back.restore(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(back.per_replica(), one.per_replica());
    // The source is not heard yet after the restart: the last safe size, whatever was scaled by others meanwhile.
    let said = run(&mut back, 201, [None], 2);
    assert_eq!(said.wanted, Some(before), "{}", said.why);
}

#[test]
fn a_way_down_that_hurts_is_held_also_after_a_restart() {
    let mut one = sizer(1, 30, Archetype::Service);
    run(&mut one, 0, vec![Some(80.0); 100], 4);
    let mut replicas = 12;
    let look = |sizer: &mut Sizer, step: i64, replicas: u32, hurts: bool| {
        let seen = Seen {
            requests: Requests { telling: false, ..requests(Some(60.0)) },
            loads: &[],
            replicas,
            ready: replicas,
            expected: None,
            calendar: None,
            hurts,
        };
        sizer.decide(at(step), &seen, &Owner::Nobody).wanted.unwrap()
    };
    let (mut step, mut from) = (100, replicas);
    while replicas >= from {
        from = replicas;
        replicas = look(&mut one, step, replicas, false);
        step += 1;
        assert!(step < 400, "it never goes down");
    }
    assert_eq!(look(&mut one, step, replicas, true), from, "fewer hurt: as many as before");
    let mut back = sizer(1, 30, Archetype::Service);
    back.restore(&one.kept()).unwrap();
    assert!(look(&mut back, step + 20, from, false) >= from, "held for an hour, across a restart");
}

/// Loads by name at ten a replica, with so many requests, on so many replicas.
fn look(
    sizer: &mut Sizer,
    step: i64,
    values: &[(&str, Option<f64>)],
    rate: Option<f64>,
    replicas: u32,
) -> SizeAdvice {
    let load = |(name, value): &(&str, Option<f64>)| Load { name: (*name).into(), ..jobs(*value) };
    let loads: Vec<Load> = values.iter().map(load).collect();
    let seen = Seen {
        requests: requests(rate),
        loads: &loads,
        replicas,
        ready: replicas,
        expected: None,
        calendar: None,
        hurts: false,
    };
    sizer.decide(at(step), &seen, &Owner::Nobody)
}

#[test]
fn a_queue_that_is_not_seen_beside_an_empty_one_takes_no_worker_away() {
    let mut one = sizer(0, 10, Archetype::Worker);
    let mut replicas = 4;
    for step in 0..100 {
        let said = look(&mut one, step, &[("a", Some(35.0)), ("b", Some(0.0))], None, replicas);
        replicas = said.wanted.unwrap();
    }
    let before = replicas;
    for step in 100..339 {
        let said = look(&mut one, step, &[("a", None), ("b", Some(0.0))], None, replicas);
        assert_eq!(said.wanted, Some(before), "{step}: {}", said.why);
        assert!(said.why.contains("signal a is not seen") && said.why.contains("kept"), "{}", said.why);
    }
    // Missing for longer than the fallback waits: not fewer than that, and never none.
    for step in 341..2_000 {
        let said = look(&mut one, step, &[("a", None), ("b", Some(0.0))], None, replicas);
        replicas = said.wanted.unwrap();
        assert!(replicas >= 3, "{step}: {}", said.why);
        assert!(said.why.contains("signal a is not seen"), "{}", said.why);
    }
    assert_eq!(replicas, 3);
    // Both are seen and empty again: nothing is waited for any more.
    for step in 2_000..2_100 {
        replicas =
            look(&mut one, step, &[("a", Some(0.0)), ("b", Some(0.0))], None, replicas).wanted.unwrap();
    }
    assert_eq!(replicas, 0);
}

#[test]
fn what_is_seen_beside_a_missing_load_still_asks_for_more() {
    let mut one = sizer(0, 10, Archetype::Worker);
    for step in 0..40 {
        look(&mut one, step, &[("a", Some(15.0)), ("b", Some(12.0))], None, 2);
    }
    let more = look(&mut one, 40, &[("a", None), ("b", Some(55.0))], None, 2);
    assert!(more.wanted.is_some_and(|wanted| (6..=9).contains(&wanted)), "{}", more.why);
    assert!(more.effect == SizeEffect::Scale && more.why.contains("signal a is not seen"), "{}", more.why);
    let asleep = look(&mut one, 41, &[("a", None), ("b", Some(0.0))], None, 0);
    assert!(
        asleep.wanted.is_some_and(|wanted| wanted >= 1),
        "nobody knows that nothing waits: {}",
        asleep.why
    );
}

#[test]
fn a_load_that_was_never_seen_takes_nothing_away_and_begins_no_fallback_at_once() {
    let mut one = sizer(0, 10, Archetype::Worker);
    for step in 0..200 {
        let said = look(&mut one, step, &[("a", Some(0.0)), ("typo", None)], None, 5);
        assert_eq!(said.wanted, Some(5), "{}", said.why);
        assert!(said.why.contains("signal typo is not seen"), "{}", said.why);
    }
    let silent = look(&mut one, 200, &[("a", None), ("typo", None)], None, 5);
    assert_eq!(silent.wanted, Some(5), "listened to for less than an hour: {}", silent.why);
}

#[test]
fn requests_that_are_not_seen_any_more_let_no_other_load_take_replicas_away() {
    let mut one = sizer(0, 20, Archetype::Service);
    for step in 0..100 {
        look(&mut one, step, &[("cpu", Some(5.0))], Some(80.0), 4);
    }
    let before = look(&mut one, 100, &[("cpu", Some(5.0))], Some(80.0), 4).wanted.unwrap();
    let mut back = sizer(0, 20, Archetype::Service);
    back.restore(&one.kept()).unwrap();
    for (when, sizer) in [("running", &mut one), ("after a restart", &mut back)] {
        for step in 101..180 {
            let said = look(sizer, step, &[("cpu", Some(5.0))], None, before);
            assert_eq!(said.wanted, Some(before), "{when}: {}", said.why);
            assert!(said.why.contains("requests are not seen"), "{when}: {}", said.why);
        }
    }
}

#[test]
fn requests_of_unknown_worth_keep_a_replica_though_the_queue_is_empty() {
    let mut one = sizer(0, 10, Archetype::Worker);
    for step in 0..39 {
        let said = look(&mut one, step, &[("jobs", Some(0.0))], Some(4.0), 1);
        assert_eq!(said.wanted, Some(1), "somebody asks it: {}", said.why);
    }
}

#[test]
fn a_series_that_is_missing_makes_its_signal_a_lower_bound() {
    let mut one = sizer(0, 10, Archetype::Worker);
    let mut decide = |step: i64, silent: &[&str]| {
        let silent = silent.iter().map(|series| Name::from(*series)).collect();
        let loads = [Load {
            name: "jobs".into(),
            value: Some(0.0),
            per_replica: 10.0,
            silent,
            due: None,
            unsent: None,
            expected: None,
            soon: Vec::new(),
        }];
        let seen = Seen {
            requests: Requests::default(),
            loads: &loads,
            replicas: 2,
            ready: 2,
            expected: None,
            calendar: None,
            hurts: false,
        };
        one.decide(at(step), &seen, &Owner::Nobody)
    };
    for step in 0..60 {
        let said = decide(step, &["queue=a", "queue=b", "queue=c", "queue=d"]);
        assert_eq!(said.wanted, Some(2), "{}", said.why);
        let named = "series queue=a, queue=b, queue=c and 1 more of signal jobs is not seen any more";
        assert!(said.why.contains(named), "{}", said.why);
        assert_eq!(said.troubles, [SizeTrouble::SeriesNotSeen]);
    }
    let whole = (60..100).map(|step| decide(step, &[])).last().unwrap();
    assert_eq!(whole.wanted, Some(0), "{}", whole.why);
}

#[test]
fn a_load_that_is_no_number_is_named_with_what_it_is() {
    let (less, ratio) = ("clamp_min(QUERY, 0)", "clamp_min(DIVISOR, 1)");
    for (value, said, fix) in [(-3.0, "-3", less), (f64::NAN, "NaN", ratio), (f64::INFINITY, "inf", ratio)] {
        let mut one = sizer(0, 9, Archetype::Worker);
        let new = look(&mut one, 0, &[("jobs", Some(value))], None, 2);
        let named = |why: &str| why.contains(&format!("jobs gave {said}, which")) && why.contains(fix);
        assert!(new.wanted.is_none() && named(&new.why), "{}", new.why);
        look(&mut one, 1, &[("jobs", Some(15.0))], None, 2);
        let later = look(&mut one, 2, &[("jobs", Some(value))], None, 2);
        assert!(later.wanted.is_some_and(|wanted| wanted >= 2) && named(&later.why), "{}", later.why);
        let beside = look(&mut one, 3, &[("jobs", Some(value)), ("others", Some(0.0))], None, 2);
        assert!(beside.wanted.is_some_and(|wanted| wanted >= 2) && named(&beside.why), "{}", beside.why);
    }
}

#[test]
fn silence_counts_from_the_restart_and_not_from_what_was_written_before_it() {
    let mut one = sizer(1, 30, Archetype::Service);
    let before = run(&mut one, 0, vec![Some(80.0); 200], 8).wanted.unwrap();
    assert!(before > 3, "{before}");
    // Written three hours ago; the fallback of 3 is for an hour of silence.
    let (start, hour) = (200 + 3 * 240, 240);
    let mut back = Sizer::new(*one.policy(), 0.05, at(start)).unwrap();
    back.restore(&one.kept()).unwrap();
    let said = run(&mut back, start, [None], before);
    assert!(said.why.contains("requests are not seen (server spans over OTLP), for 0 s"), "{}", said.why);
    let said = run(&mut back, start + 1, vec![None; 238], before);
    assert_eq!(said.wanted, Some(before), "{}", said.why);
    assert!(said.why.contains("last safe size"), "{}", said.why);
    let said = run(&mut back, start + hour, [None], before);
    assert_eq!(said.wanted, Some(3), "{}", said.why);
}

#[test]
fn each_kind_of_missing_load_has_its_own_word() {
    let mut one = sizer(0, 10, Archetype::Service);
    assert_eq!(run(&mut one, 0, [None], 2).troubles, [SizeTrouble::NothingSeen]);
    assert_eq!(run(&mut one, 1, [Some(20.0)], 2).troubles, [SizeTrouble::CapacityNotKnown]);
    assert_eq!(run(&mut one, 2, vec![Some(20.0); 60], 2).troubles, []);
    assert_eq!(run(&mut one, 62, [None], 2).troubles, [SizeTrouble::RequestsNotSeen]);
    assert_eq!(run(&mut one, 63, [Some(20.0)], 2).troubles, []);
    let all = [("a", None), ("b", Some(-1.0)), ("c", Some(1.0))];
    let said = look(&mut one, 64, &all, None, 2).troubles;
    let named = [SizeTrouble::SignalNotUsable, SizeTrouble::SignalNotSeen, SizeTrouble::RequestsNotSeen];
    assert_eq!(said, named, "all of them, what is to be changed first");
}

#[test]
fn a_backlog_with_a_deadline_gets_what_it_needs_from_zero_and_to_zero_and_keeps_it_while_it_is_silent() {
    let mut one = sizer(0, 9, Archetype::Worker);
    let due = DuePolicy { seconds_per_item: 30.0, within: SignedDuration::from_mins(10) };
    let mut decide = |step, value, replicas| {
        let loads = [Load {
            name: "scaling.backlog".into(),
            value,
            per_replica: 20.0,
            silent: Vec::new(),
            due: Some(due),
            unsent: None,
            expected: None,
            soon: Vec::new(),
        }];
        let seen = Seen {
            requests: Requests::default(),
            loads: &loads,
            replicas,
            ready: replicas,
            expected: None,
            calendar: None,
            hurts: false,
        };
        one.decide(at(step), &seen, &Owner::Nobody)
    };
    assert_eq!(decide(0, Some(0.0), 0).wanted, Some(0));
    // 19 items each in the 570 s that are left after a start.
    let said = decide(1, Some(76.0), 0);
    assert_eq!((said.wanted, said.effect), (Some(4), SizeEffect::Scale), "{}", said.why);
    assert!(said.why.contains("76 items of 30 s each wait") && said.troubles.is_empty(), "{}", said.why);
    let said = decide(2, Some(76.0), 4);
    assert_eq!((said.wanted, said.effect), (Some(4), SizeEffect::Keep), "{}", said.why);
    let crowd = decide(3, Some(400.0), 4);
    assert_eq!((crowd.wanted, &crowd.troubles[..]), (Some(9), &[SizeTrouble::DeadlineNotKept][..]));
    assert!(crowd.why.contains("after their deadline: raise spec.scaling.replicas.max"), "{}", crowd.why);
    // Nobody knows what waits: the last size, then the fallback of three, never none.
    let silent = decide(4, None, 9);
    assert_eq!((silent.wanted, &silent.troubles[..]), (Some(9), &[SizeTrouble::SignalNotSeen][..]));
    assert_eq!(decide(400, None, 9).wanted, Some(3));
    assert_eq!(decide(401, Some(0.0), 3).wanted, Some(3), "empty for less than five minutes");
    assert_eq!(decide(430, Some(0.0), 3).wanted, Some(0));
}

#[test]
fn of_a_deadline_and_another_load_the_one_that_asks_for_more_counts() {
    let mut one = sizer(1, 9, Archetype::Worker);
    let mut decide = |step, cpu, waiting| {
        let within = SignedDuration::from_mins(10);
        let load = |name: &str, value, per_replica, due| Load {
            name: name.into(),
            value,
            per_replica,
            silent: Vec::new(),
            due,
            unsent: None,
            expected: None,
            soon: Vec::new(),
        };
        let loads = [
            load("cpu", cpu, 1.0, None),
            load("scaling.backlog", waiting, 20.0, Some(DuePolicy { seconds_per_item: 30.0, within })),
        ];
        let seen = Seen {
            requests: Requests::default(),
            loads: &loads,
            replicas: 3,
            ready: 3,
            expected: None,
            calendar: None,
            hurts: false,
        };
        one.decide(at(step), &seen, &Owner::Nobody)
    };
    for step in 0..40 {
        let said = decide(step, Some(2.9), Some(1.0));
        assert!(said.wanted.is_some_and(|wanted| wanted >= 3), "{}", said.why);
    }
    assert_eq!(decide(40, Some(2.9), Some(130.0)).wanted, Some(7));
    let partly = decide(41, None, Some(170.0));
    assert_eq!(partly.wanted, Some(9), "{}", partly.why);
    let partly = decide(42, None, Some(0.0));
    assert!(partly.wanted.is_some_and(|wanted| wanted >= 7), "ways up only: {}", partly.why);
}
