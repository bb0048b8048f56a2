//! What a user would notice of a decision.

use super::*;

const NOW: i64 = 1_700_000_000;

fn seen(loads: &[f64], replicas: u32) -> Observations<'_> {
    Observations {
        loads,
        missing: None,
        per_replica: 10.0,
        replicas,
        asked: None,
        expected: None,
        calendar: None,
        hurts: false,
    }
}

fn auto() -> Policy {
    Policy { mode: Mode::Auto, max: 20, ..Policy::default() }
}

/// Feeds loads one step after another, doing what is decided; returns the decisions.
fn follow(
    state: &mut State,
    policy: &Policy,
    start: i64,
    loads: &[f64],
    replicas: &mut u32,
) -> Vec<Decision> {
    let one = |(step, load): (usize, &f64)| {
        let at = start + 15 * step as i64;
        let decision = decide(at, state, &seen(&[*load], *replicas), policy, &Owner::Nobody);
        *replicas = decision.replicas;
        decision
    };
    loads.iter().enumerate().map(one).collect()
}

#[test]
fn a_load_gets_what_it_needs_and_the_reason_says_by_what() {
    let policy = auto();
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 2;
    let said = follow(&mut state, &policy, NOW, &[42.0; 400], &mut replicas);
    assert!((5..=8).contains(&replicas), "{replicas}");
    let reason = &said[399].reason;
    assert!(reason.contains("400 steps") && reason.contains("no forecast"), "{reason}");
}

#[test]
fn a_doubled_load_is_answered_at_the_first_look() {
    let policy = auto();
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 8;
    follow(&mut state, &policy, NOW, &[42.0; 400], &mut replicas);
    let said = decide(NOW + 6_000, &mut state, &seen(&[84.0], replicas), &policy, &Owner::Nobody);
    assert!(said.replicas >= 9 && said.effect == Effect::Scale, "{said:?}");
}

#[test]
fn flat_noise_does_not_make_it_oscillate() {
    let policy = auto();
    let mut state = State::new(&policy).unwrap();
    let noise = |step: u64| {
        (step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33) % 1_000
    };
    let loads: Vec<f64> = (0..240 * 8).map(|step| 80.0 + noise(step * step) as f64 / 100.0).collect();
    let mut replicas = 12;
    let said = follow(&mut state, &policy, NOW, &loads, &mut replicas);
    // The first two hours are for learning.
    let changes = said[480..].windows(2).filter(|pair| pair[0].replicas != pair[1].replicas).count();
    assert!(changes <= 6, "{changes} changes in six hours");
}

/// Seconds of violation of a load that comes after some seconds without any: four minutes of a day from 0.6 to 4.5 replicas'
/// worth, then a doubling from 1.6 to 3.2. Asserts that there are never more than two and a half times what is needed within a
/// minute or was needed in the last six, and one.
fn first_load(nothing: usize, phase: usize) -> u32 {
    let flat = |seconds: usize, load: f64| (0..seconds).map(move |_| load);
    let day = (0..240).map(|second| 2.55 - 1.95 * (f64::from(second) / 240.0 * std::f64::consts::TAU).cos());
    let loads: Vec<f64> = flat(nothing, 0.0)
        .chain(flat(45, 0.6))
        .chain(day)
        .chain(flat(45, 0.6))
        .chain(flat(60, 1.6))
        .chain(flat(75, 3.2))
        .chain(flat(45, 0.6))
        .collect();
    let policy = Policy { max: 40, ..auto() };
    let mut state = State::new(&policy).unwrap();
    let (mut totals, mut violated) = (vec![1], 0);
    for (second, load) in loads.iter().enumerate() {
        let mut replicas = totals[second];
        if second >= 15 && second % 15 == phase {
            let mean = loads[second - 15..second].iter().sum::<f64>() / 15.0;
            let at = NOW + second as i64;
            replicas =
                decide(at, &mut state, &seen(&[10.0 * mean], replicas), &policy, &Owner::Nobody).replicas;
            let around = &loads[second.saturating_sub(360)..(second + 60).min(loads.len())];
            let needed = around.iter().copied().fold(1.0, f64::max).ceil() as u32;
            assert!(
                replicas <= 5 * needed / 2 + 1,
                "{replicas} for {needed} after {second} s, {nothing} of nothing"
            );
        }
        totals.push(replicas);
        let ready = totals[second.saturating_sub(30)..].iter().min().copied().unwrap_or_default();
        violated += u32::from(*load > f64::from(ready));
    }
    violated
}

#[test]
fn the_first_load_ever_gets_what_it_needs_and_little_more() {
    for nothing in [0, 30, 600, 14_400] {
        for phase in [0, 5, 10] {
            let violated = first_load(nothing, phase);
            assert!(violated <= 15, "{violated} s of violation after {nothing} s of nothing");
        }
    }
}

#[test]
fn a_load_that_regularly_goes_to_nothing_and_comes_back_is_learnt() {
    // A quarter of an hour at 6 replicas' worth, then nothing for the rest of the hour.
    let load = |step: usize| if step % 240 >= 180 { 60.0 } else { 0.0 };
    let loads: Vec<f64> = (0..240 * 16).map(load).collect();
    let play = |policy: &Policy| {
        let mut replicas = 1;
        follow(&mut State::new(policy).unwrap(), policy, NOW, &loads, &mut replicas)
    };
    let last = |said: &[Decision], step: usize| -> Vec<u32> {
        (13..16).map(|hour| said[240 * hour + step].replicas).collect()
    };
    // Where violations are dear, what the load needs is there before it comes.
    let service = play(&auto());
    assert!(
        last(&service, 177).iter().all(|replicas| (6..=9).contains(replicas)),
        "{:?}",
        last(&service, 177)
    );
    // A worker goes away meanwhile, and comes back at the first look.
    let worker = play(&Policy { min: 0, price: 16.0, ..auto() });
    assert!(last(&worker, 177).iter().all(|replicas| *replicas == 0), "{:?}", last(&worker, 177));
    assert!(last(&worker, 180).iter().all(|replicas| (6..=9).contains(replicas)), "{:?}", last(&worker, 180));
}

#[test]
fn a_forecast_raises_before_the_load_comes() {
    let policy = auto();
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 4;
    // Every hour a peak of 15 minutes, foretold.
    let load = |step: usize| if step % 240 >= 180 { 120.0 } else { 20.0 };
    let mut ahead = 0;
    for step in 0..240 * 24 {
        let mut seen = seen(&[], replicas);
        let loads = [load(step)];
        seen.loads = &loads;
        let next = load(step + 3);
        seen.expected = Some(Expected { p50: next, p90: next });
        let said = decide(NOW + 15 * step as i64, &mut state, &seen, &policy, &Owner::Nobody);
        replicas = said.replicas;
        if step > 240 * 20 && step % 240 == 178 {
            ahead += usize::from(replicas >= 12);
        }
    }
    assert!(ahead >= 2, "ready before {ahead} of 3 peaks");
}

#[test]
fn a_silent_source_keeps_the_last_safe_size_then_the_fallback_and_never_zero() {
    let policy = Policy { min: 0, fallback: Some(Fallback { after_seconds: 1_800, replicas: 9 }), ..auto() };
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 6;
    follow(&mut state, &policy, NOW, &[42.0; 100], &mut replicas);
    let at = NOW + 1_500;
    let soon = decide(at + 60, &mut state, &seen(&[], replicas), &policy, &Owner::Nobody);
    assert_eq!(soon.replicas, replicas, "{soon:?}");
    assert!(soon.reason.contains("silent") && soon.reason.contains("check the source"), "{}", soon.reason);
    let late = decide(at + 3_600, &mut state, &seen(&[f64::NAN, -3.0], replicas), &policy, &Owner::Nobody);
    assert_eq!(late.replicas, 9, "{late:?}");
    assert!(late.reason.contains("finite") && late.reason.contains("fallback"), "{}", late.reason);
    let open = Policy { fallback: None, ..policy };
    let kept = decide(at + 9_000, &mut State::new(&open).unwrap(), &seen(&[], 0), &open, &Owner::Nobody);
    assert_eq!(kept.replicas, 1, "{kept:?}");
}

#[test]
fn idle_goes_to_zero_only_where_allowed() {
    for (min, expected) in [(0, 0), (1, 1)] {
        let policy = Policy { min, ..auto() };
        let mut state = State::new(&policy).unwrap();
        let mut replicas = 3;
        let said = follow(&mut state, &policy, NOW, &vec![0.0; 4_000], &mut replicas);
        assert_eq!(replicas, expected);
        assert!(said[3_999].limits.contains(&Limit::Min));
    }
}

#[test]
fn the_owner_is_respected() {
    let policy = auto();
    let owned = |bounds, peoples| Owner::Hpa { name: "web".to_owned(), bounds, peoples };
    let hpa = owned((2, 20), (2, 20));
    let ask = |policy: &Policy, owner: &Owner| {
        let mut state = State::new(policy).unwrap();
        decide(NOW, &mut state, &seen(&[60.0], 3), policy, owner)
    };
    let refused = ask(&policy, &hpa);
    assert_eq!(refused.effect, Effect::Refuse);
    assert!(refused.reason.contains("HorizontalPodAutoscaler web") && refused.reason.contains("DriveBounds"));
    let drives = Policy { when_owned: WhenOwned::DriveBounds, ..policy };
    let driven = ask(&drives, &hpa);
    assert!(
        matches!(driven.effect, Effect::DriveBounds { min, max: 20 } if min == driven.replicas),
        "{driven:?}"
    );
    let wanted = driven.replicas;
    let effect = |bounds, peoples| ask(&drives, &owned(bounds, peoples)).effect;
    assert_eq!(effect((wanted, 20), (2, 20)), Effect::Keep, "as it is wanted");
    let back = wanted + 3;
    let lowered = Effect::DriveBounds { min: back, max: 99 };
    assert_eq!(effect((back + 5, 99), (back, 99)), lowered, "people's floor");
    assert_eq!(effect((back, 99), (back, 99)), Effect::Keep, "nothing below people's floor is asked for");
    let low = wanted - 1;
    let raised = Effect::DriveBounds { min: wanted, max: wanted };
    assert_eq!(effect((2, low), (2, low)), raised, "no more than needed");
    let recommends = Policy { mode: Mode::Recommend, ..drives };
    assert_eq!(ask(&recommends, &hpa).effect, Effect::Recommend);
    let keda = ask(&drives, &Owner::Keda { name: "queue".to_owned() });
    assert!(keda.effect == Effect::Refuse && keda.reason.contains("ScaledObject queue"));
    for policy in [&policy, &drives] {
        let rivals = ask(policy, &Owner::Several { names: "HorizontalPodAutoscaler a and b".to_owned() });
        assert!(rivals.effect == Effect::Refuse && rivals.reason.contains("a and b"), "{rivals:?}");
    }
    let vpa = |acts| ask(&policy, &Owner::Vpa { name: "web".to_owned(), acts }).effect;
    assert_eq!((vpa(true), vpa(false)), (Effect::Refuse, Effect::Scale));
}

#[test]
fn the_mode_says_what_is_done() {
    let done = |mode| {
        let policy = Policy { mode, ..auto() };
        decide(NOW, &mut State::new(&policy).unwrap(), &seen(&[60.0], 3), &policy, &Owner::Nobody).effect
    };
    assert_eq!(
        [done(Mode::Observe), done(Mode::Recommend), done(Mode::Auto)],
        [Effect::Note, Effect::Recommend, Effect::Scale]
    );
}

#[test]
fn a_way_down_that_hurts_is_undone_and_not_tried_again_soon() {
    let policy = Policy { patience_minutes: 0.0, ..auto() };
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 15;
    let said = follow(&mut state, &policy, NOW, &[42.0; 200], &mut replicas);
    let fell = said.windows(2).rposition(|pair| pair[1].replicas < pair[0].replicas).unwrap();
    let before = said[fell].replicas;
    let at = NOW + 15 * (fell as i64 + 2);
    let hurt = Observations { hurts: true, ..seen(&[42.0], replicas) };
    let undone = decide(at, &mut state, &hurt, &policy, &Owner::Nobody);
    assert_eq!(undone.replicas, before, "{undone:?}");
    assert!(undone.limits.contains(&Limit::Hold) && undone.reason.contains("held"));
    let later = decide(at + 600, &mut state, &seen(&[42.0], before), &policy, &Owner::Nobody);
    assert_eq!(later.replicas, before);
    let free = decide(at + 4_000, &mut state, &seen(&[42.0], before), &policy, &Owner::Nobody);
    assert!(free.replicas <= before && !free.limits.contains(&Limit::Hold));
}

#[test]
fn a_way_down_that_nobody_made_is_no_reason_to_hold_more() {
    // Recommended only, or kept from being done by a pause: the replicas stay, and something else makes it slow.
    for mode in [Mode::Observe, Mode::Recommend, Mode::Auto] {
        let policy = Policy { mode, patience_minutes: 0.0, ..auto() };
        let mut state = State::new(&policy).unwrap();
        let mut ask = |step: i64, hurts| {
            let seen = Observations { hurts, ..seen(&[42.0], 15) };
            decide(NOW + 15 * step, &mut state, &seen, &policy, &Owner::Nobody)
        };
        let fewer = (0..200).map(|step| ask(step, false)).last().unwrap();
        assert!(fewer.replicas < 15, "{fewer:?}");
        let hurt = ask(200, true);
        assert!(hurt.replicas < 15 && !hurt.limits.contains(&Limit::Hold), "{mode:?}: {hurt:?}");
    }
}

#[test]
fn a_lower_floor_is_a_way_down_only_once_the_autoscaler_followed() {
    let policy = Policy { patience_minutes: 0.0, when_owned: WhenOwned::DriveBounds, ..auto() };
    let owner = |floor| Owner::Hpa { name: "web".to_owned(), bounds: (floor, 20), peoples: (1, 20) };
    let lowered = || {
        let mut state = State::new(&policy).unwrap();
        let mut step = 0;
        loop {
            let at = NOW + 15 * step;
            let said = decide(at, &mut state, &seen(&[42.0], 15), &policy, &owner(12));
            if let Effect::DriveBounds { min, .. } = said.effect
                && min < 12
            {
                return (at, state, min);
            }
            step += 1;
            assert!(step < 400, "the floor never goes down");
        }
    };
    let hurt = |at, state: &mut State, replicas, floor| {
        let seen = Observations { hurts: true, ..seen(&[42.0], replicas) };
        decide(at, state, &seen, &policy, &owner(floor))
    };
    let (at, mut state, floor) = lowered();
    let held = hurt(at + 60, &mut state, 15, floor);
    assert!(!held.limits.contains(&Limit::Hold), "the autoscaler still holds 15: {held:?}");
    let (at, mut state, floor) = lowered();
    decide(at + 15, &mut state, &seen(&[42.0], 15), &policy, &owner(floor));
    decide(at + 300, &mut state, &seen(&[42.0], floor), &policy, &owner(floor));
    let undone = hurt(at + 315, &mut state, floor, floor);
    assert_eq!(undone.replicas, 12, "{undone:?}");
    assert_eq!(undone.effect, Effect::DriveBounds { min: 12, max: 20 });
    assert!(undone.limits.contains(&Limit::Hold) && undone.reason.contains("12 are held"), "{undone:?}");
}

#[test]
fn fewer_than_were_asked_for_are_somebody_elses_doing() {
    let policy = Policy { patience_minutes: 0.0, ..auto() };
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 15;
    for step in 0..400 {
        let said = decide(NOW + 15 * step, &mut state, &seen(&[42.0], replicas), &policy, &Owner::Nobody);
        if said.replicas < replicas {
            let hurt = Observations { hurts: true, ..seen(&[42.0], 1) };
            let said = decide(NOW + 15 * (step + 1), &mut state, &hurt, &policy, &Owner::Nobody);
            assert!(!said.limits.contains(&Limit::Hold), "a person left one: {said:?}");
            return;
        }
        replicas = said.replicas;
    }
    panic!("it never goes down");
}

#[test]
fn the_calendar_only_adds() {
    let policy = auto();
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 8;
    follow(&mut state, &policy, NOW, &[60.0; 400], &mut replicas);
    let ask = |calendar| {
        let seen = Observations { calendar: Some(calendar), ..seen(&[60.0], replicas) };
        decide(NOW + 6_000, &mut state.clone(), &seen, &policy, &Owner::Nobody)
    };
    assert_eq!(ask(19).replicas, 19);
    assert!(ask(19).limits.contains(&Limit::Calendar));
    assert!(ask(1).replicas >= 6);
}

#[test]
fn a_restart_changes_nothing() {
    let policy = auto();
    let mut state = State::new(&policy).unwrap();
    let mut replicas = 3;
    let loads: Vec<f64> = (0..500).map(|step| 30.0 + f64::from(step * 7 % 40)).collect();
    follow(&mut state, &policy, NOW, &loads, &mut replicas);
    let stored = serde_json::to_string(&state).unwrap();
    let mut restored: State = serde_json::from_str(&stored).unwrap();
    let again =
        |state: &mut State| decide(NOW + 9_000, state, &seen(&[66.0], replicas), &policy, &Owner::Nobody);
    assert_eq!(again(&mut restored), again(&mut state));
}

#[test]
fn contradicting_bounds_are_refused_with_what_to_change() {
    let message = |policy: Policy| State::new(&policy).unwrap_err().to_string();
    assert!(message(Policy { min: 5, max: 3, ..auto() }).contains("min must not exceed max"));
    assert!(message(Policy { min: 0, max: 0, ..auto() }).contains("at least 1"));
    let fallback = Some(Fallback { after_seconds: 60, replicas: 0 });
    assert!(message(Policy { fallback, ..auto() }).contains("fallback.replicas is 0"));
    assert!(message(Policy { price: f64::NAN, ..auto() }).contains("price"));
    assert!(message(Policy { step_seconds: 0, ..auto() }).contains("step_seconds"));
}

#[test]
fn constant_single_exploding_and_broken_series_stay_within_bounds() {
    let policy = auto();
    let exploding: Vec<f64> = (0..400).map(|step| f64::from(step).exp()).collect();
    let broken = [f64::NAN, f64::INFINITY, -5.0, 1e308, 0.0];
    for loads in [&[7.0; 300][..], &[7.0], &exploding, &broken] {
        let mut state = State::new(&policy).unwrap();
        let mut replicas = 2;
        for said in follow(&mut state, &policy, NOW, loads, &mut replicas) {
            assert!((1..=20).contains(&said.replicas) && !said.reason.is_empty(), "{said:?}");
        }
    }
    let zero = Observations { per_replica: 0.0, ..seen(&[50.0], 4) };
    let said = decide(NOW, &mut State::new(&policy).unwrap(), &zero, &policy, &Owner::Nobody);
    assert!(said.replicas == 4 && said.reason.contains("load per replica positive"), "{said:?}");
}

#[test]
fn a_batch_is_each_by_itself() {
    let policy = auto();
    let mut states = vec![State::new(&policy).unwrap(); 3];
    let loads = [[10.0], [60.0], [120.0]];
    let mut cases: Vec<Case<'_>> = states
        .iter_mut()
        .zip(&loads)
        .map(|(state, loads)| Case { state, seen: seen(loads, 3), policy: &policy, owner: &Owner::Nobody })
        .collect();
    let said = decide_all(NOW, &mut cases);
    let alone = decide(NOW, &mut State::new(&policy).unwrap(), &seen(&[60.0], 3), &policy, &Owner::Nobody);
    assert_eq!(said[1], alone);
    assert!(said[0].replicas <= said[1].replicas && said[1].replicas <= said[2].replicas);
}
