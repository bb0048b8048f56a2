#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use homeostat_knowledge::SignedDuration;
use homeostat_knowledge::policy::{Archetype, Bounds, Fallback, ScalingMode, ScalingPolicy, WhenOwned};

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

/// A backlog, on what was decided before; the replicas after each step.
fn queue(sizer: &mut Sizer, from: i64, waiting: impl IntoIterator<Item = Option<f64>>) -> Vec<u32> {
    let mut replicas = 0;
    let sizes = (from..).zip(waiting).map(|(step, value)| {
        let loads = [Load { name: "jobs".into(), value, per_replica: 10.0 }];
        let seen = Seen {
            requests: Requests::default(),
            loads: &loads,
            replicas,
            ready: replicas,
            expected: None,
            calendar: None,
            hurts: false,
        };
        replicas = sizer.decide(at(step), &seen, &Owner::Nobody).wanted.unwrap_or(replicas);
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
        let loads = [Load { name: "jobs".into(), value: Some(waiting), per_replica: 10.0 }];
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
