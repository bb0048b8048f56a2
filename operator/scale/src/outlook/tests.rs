use super::*;
use homeostat_knowledge::SignedDuration;
use homeostat_knowledge::policy::{Bounds, Fallback};

const DAY: i64 = 1_440;

fn given(min: u64, max: u64) -> Given {
    Given { bounds: Some(Bounds { min, max }), fallback: None }
}

fn forecasting() -> Forecasting {
    Forecasting::new(OutlookConfig::default()).unwrap()
}

fn fed(minutes: i64, load: impl Fn(i64) -> Option<f64>) -> LoadModel {
    let mut model = LoadModel::new(&OutlookConfig::default());
    for minute in 0..minutes {
        model.observe(minute, Reading { load: load(minute), ready: 4, healthy: true });
    }
    model
}

fn look(model: &mut LoadModel, given: &Given) -> Outlook {
    let now = instant(model.steps().end()).unwrap();
    let outlook = forecasting().look(model, given, now);
    let numbers = outlook
        .points
        .iter()
        .flat_map(|point| [point.p10, point.p50, point.p90])
        .chain(outlook.peak.into_iter().flat_map(|peak| [peak.p50, peak.p90]))
        .chain(outlook.error)
        .chain(outlook.now)
        .chain(outlook.per_replica);
    assert!(numbers.clone().all(f64::is_finite), "{outlook:?}");
    assert!(outlook.points.iter().all(|point| point.p10 <= point.p50 && point.p50 <= point.p90));
    assert!(outlook.points.len() <= 24 && outlook.reason.len() < 1_000 && !outlook.why.is_empty());
    if let (Some(wanted), Some(bounds)) = (outlook.wanted, given.bounds) {
        assert!(bounds.contains(u64::from(wanted)) || wanted == 1, "{outlook:?}");
    }
    outlook
}

/// A calm night and a busy day, some days busier than others, with a little noise that is always the same.
fn daily(minute: i64) -> f64 {
    let busy = [1.0, 1.3, 0.8, 1.2, 0.9][(minute.div_euclid(DAY) % 5) as usize];
    let phase = (minute.rem_euclid(DAY)) as f64 / DAY as f64 * std::f64::consts::TAU;
    let noise = (minute.wrapping_mul(2_654_435_761) >> 7).rem_euclid(100) as f64 / 100.0 - 0.5;
    busy * (100.0 - 80.0 * phase.cos() + 6.0 * noise)
}

#[test]
fn a_daily_wave_is_foreseen_and_sized_for_before_it_comes() {
    // Six in the morning of the fifth day: the load rises.
    let mut model = fed(4 * DAY + 360, |minute| Some(daily(minute)));
    let outlook = look(&mut model, &given(1, 50));
    assert_eq!(outlook.skill, ForecastSkill::Proven, "{}", outlook.reason);
    assert!(outlook.error.unwrap() < 1.0);
    let now = outlook.now.unwrap();
    let comes = (0..60).map(|ahead| daily(4 * DAY + 360 + ahead)).fold(0.0, f64::max);
    let peak = outlook.peak.unwrap();
    assert!((peak.p50 - comes).abs() < 0.1 * comes, "{now} now, {comes} to come: {peak:?}");
    assert!(peak.p90 > now + 10.0 && (comes..1.4 * comes).contains(&peak.p90), "{comes} to come: {peak:?}");
    let each = outlook.per_replica.unwrap();
    assert!((58.0..=60.0).contains(&each), "about 235 requests/s on four replicas: {each}");
    assert_eq!(outlook.wanted, Some((peak.p90 / each).ceil() as u32));
    assert!(outlook.why.contains("p90") && outlook.why.contains("carry"), "{}", outlook.why);
    assert_eq!(outlook.points.len(), 12);
    assert_eq!(outlook.points[0].at, instant(4 * DAY + 360).unwrap());
    assert!(outlook.next_choice.unwrap() > outlook.made);
}

#[test]
fn without_skill_the_recent_maximum_with_a_margin_counts_and_it_says_so() {
    let mut state = 7_u64;
    let noise: Vec<f64> = (0..600)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) * 10.0
        })
        .collect();
    // A load that jumps between levels without a pattern.
    let mut level = 50.0;
    let walk: Vec<f64> = noise
        .iter()
        .map(|jump| {
            level = (level + jump - 5.0_f64).max(1.0);
            level
        })
        .collect();
    let mut model = fed(600, |minute| Some(walk[minute as usize]));
    let outlook = look(&mut model, &given(1, 1_000));
    assert_ne!(outlook.skill, ForecastSkill::Proven, "{}", outlook.reason);
    let highest = walk[540..].iter().copied().fold(0.0, f64::max);
    let wanted = (1.2 * highest / outlook.per_replica.unwrap()).ceil() as u32;
    assert!(outlook.wanted.unwrap().abs_diff(wanted) <= 1, "{outlook:?}");
    assert!(outlook.why.starts_with("no proven skill") && outlook.why.contains("20 %"), "{}", outlook.why);
}

#[test]
fn a_new_workload_is_told_what_is_missing() {
    let mut model = fed(0, |_| None);
    let outlook = look(&mut model, &given(1, 9));
    assert!(outlook.reason.contains("0 of 10 minutes") && outlook.reason.contains("OTLP"));
    assert_eq!((outlook.wanted, outlook.points.len()), (None, 0));
    assert!(outlook.why.contains("no request was seen yet"));

    let mut model = fed(1, |_| Some(5.0));
    let outlook = look(&mut model, &given(1, 9));
    assert!(outlook.reason.contains("1 of 10 minutes"), "{}", outlook.reason);
    assert!(outlook.why.contains("1 of 10 healthy minutes"), "{}", outlook.why);
    assert_eq!(outlook.wanted, None);
}

#[test]
fn a_constant_load_is_forecast_as_it_is() {
    let mut model = fed(300, |_| Some(80.0));
    let outlook = look(&mut model, &given(1, 9));
    assert!((outlook.peak.unwrap().p50 - 80.0).abs() < 1e-3);
    assert_ne!(outlook.skill, ForecastSkill::Proven, "a naive forecast was exact");
    // 80 and a fifth more, at 20 each.
    assert_eq!(outlook.wanted, Some(5));
}

#[test]
fn an_exploding_load_ends_at_the_bounds() {
    let mut model = fed(400, |minute| Some(2.0_f64.powi(minute as i32)));
    let outlook = look(&mut model, &given(2, 7));
    assert!(outlook.wanted.is_none_or(|wanted| (2..=7).contains(&wanted)), "{outlook:?}");
    let mut model = fed(120, |minute| Some(2.0_f64.powi(minute as i32)));
    let outlook = look(&mut model, &given(2, 7));
    assert_eq!(outlook.wanted, Some(5), "the load of now and a fifth more, at a quarter of it each");
}

#[test]
fn what_is_no_load_is_a_gap() {
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];
    let mut model = fed(200, |minute| Some(bad[minute as usize % 4]));
    let outlook = look(&mut model, &given(1, 9));
    assert_eq!((model.steps().usable(), outlook.now, outlook.wanted), (0, None, None));

    let mut model = fed(200, |minute| Some(if minute % 2 == 0 { 40.0 } else { bad[minute as usize % 4] }));
    let outlook = look(&mut model, &given(1, 9));
    assert_eq!(model.steps().usable(), 100);
    assert!((outlook.peak.unwrap().p50 - 40.0).abs() < 1.0);
}

#[test]
fn when_the_load_is_not_seen_the_last_size_stays_then_the_fallback_never_zero() {
    let mut model = fed(120, |_| Some(80.0));
    let bounds = Given {
        fallback: Some(Fallback { after: SignedDuration::from_hours(1), replicas: 6 }),
        ..given(0, 9)
    };
    let before = look(&mut model, &bounds).wanted.unwrap();
    let silent = |model: &mut LoadModel, minutes: std::ops::Range<i64>| {
        for minute in minutes {
            model.observe(minute, Reading { load: None, ready: 4, healthy: true });
        }
        look(model, &bounds)
    };
    let soon = silent(&mut model, 120..150);
    assert_eq!(soon.wanted, Some(before));
    assert!(soon.why.contains("30 min") && soon.why.contains("the last size stays"), "{}", soon.why);
    let late = silent(&mut model, 150..185);
    assert_eq!(late.wanted, Some(6));
    assert!(late.why.contains("spec.scaling.fallback"), "{}", late.why);
    assert!(late.points.is_empty() && late.reason.contains("no load was seen"), "{}", late.reason);

    // Idle and scaled to zero, then silent: nobody knows whether it is still idle.
    let mut model = fed(120, |minute| Some(if minute < 30 { 10.0 } else { 0.0 }));
    assert_eq!(look(&mut model, &given(0, 9)).wanted, Some(0));
    for minute in 120..140 {
        model.observe(minute, Reading::default());
    }
    assert_eq!(look(&mut model, &given(0, 9)).wanted, Some(1));
}

#[test]
fn bounds_that_contradict_or_are_missing_are_named() {
    let mut model = fed(60, |_| Some(80.0));
    let outlook = look(&mut model, &given(9, 2));
    assert_eq!(outlook.wanted, None);
    assert!(outlook.why.contains("min 9 exceeds its max 2"), "{}", outlook.why);
    let outlook = look(&mut model, &Given::default());
    assert!(outlook.wanted.is_none() && outlook.why.contains("spec.scaling.replicas is not set"));
    let outlook = look(&mut model, &given(1, 2));
    assert_eq!(outlook.wanted, Some(2));
    assert!(outlook.why.contains("max is 2"), "{}", outlook.why);
}

#[test]
fn only_healthy_minutes_teach_what_a_replica_carries() {
    let mut model = LoadModel::new(&OutlookConfig::default());
    for minute in 0..60 {
        let overloaded = minute >= 30;
        let load = if overloaded { 400.0 } else { 80.0 };
        model.observe(minute, Reading { load: Some(load), ready: 4, healthy: !overloaded });
    }
    assert_eq!(look(&mut model, &given(1, 99)).per_replica, Some(20.0));
}

#[test]
fn what_is_stored_goes_on_as_if_nothing_had_happened() {
    let mut model = fed(2 * DAY, |minute| (minute % 97 != 0).then(|| daily(minute)));
    look(&mut model, &given(1, 50));
    let mut back: LoadModel = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    for model in [&mut model, &mut back] {
        model.observe(2 * DAY, Reading { load: Some(21.0), ready: 4, healthy: true });
    }
    let (one, other) = (look(&mut model, &given(1, 50)), look(&mut back, &given(1, 50)));
    assert_eq!((one.skill, &one.model, one.wanted), (other.skill, &other.model, other.wanted));
    assert_eq!((&one.reason, &one.why, one.next_choice), (&other.reason, &other.why, other.next_choice));
    // Text keeps all but the last bit of a number.
    let close = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs();
    assert!(one.points.iter().zip(&other.points).all(|(one, other)| close(one.p90, other.p90)));
}

#[test]
fn models_are_compared_again_when_twice_as_much_is_known_and_each_day() {
    let mut model = fed(20, |minute| Some(daily(minute)));
    look(&mut model, &given(1, 50));
    assert_eq!(model.compared, (20, 20));
    for minute in 20..40 {
        model.observe(minute, Reading { load: Some(daily(minute)), ready: 4, healthy: true });
        look(&mut model, &given(1, 50));
    }
    assert_eq!(model.compared, (40, 40));
}

#[test]
fn a_setting_that_cannot_work_is_named() {
    let bad = OutlookConfig { margin: f64::NAN, ..OutlookConfig::default() };
    assert!(Forecasting::new(bad).unwrap_err().to_string().contains("margin"));
    let config = ForecastConfig { horizon: 0, ..ForecastConfig::default() };
    let bad = OutlookConfig { forecast: config, ..OutlookConfig::default() };
    assert!(Forecasting::new(bad).unwrap_err().to_string().contains("horizon"));
}
