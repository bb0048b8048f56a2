use super::*;
use homeostat_knowledge::SignedDuration;

const DAY: i64 = 1_440;

fn forecasting() -> Forecasting {
    Forecasting::new(OutlookConfig::default()).unwrap()
}

fn fed(minutes: i64, load: impl Fn(i64) -> Option<f64>) -> LoadModel {
    let mut model = LoadModel::new(&OutlookConfig::default());
    for minute in 0..minutes {
        model.observe(minute, load(minute));
    }
    model
}

fn look(model: &mut LoadModel) -> Outlook {
    let now = instant(model.steps().end(), STEP_SECONDS).unwrap();
    let outlook = forecasting().look(model, None, &[], true, now);
    let numbers = outlook
        .points
        .iter()
        .flat_map(|point| [point.p10, point.p50, point.p90])
        .chain(outlook.peak.into_iter().flat_map(|peak| [peak.p50, peak.p90]))
        .chain(outlook.error)
        .chain(outlook.now);
    assert!(numbers.clone().all(f64::is_finite), "{outlook:?}");
    assert!(outlook.points.iter().all(|point| point.p10 <= point.p50 && point.p50 <= point.p90));
    assert!(outlook.points.len() <= 24 && outlook.reason.len() < 1_000);
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
fn a_daily_wave_is_foreseen_before_it_comes() {
    // Six in the morning of the fifth day: the load rises.
    let mut model = fed(4 * DAY + 360, |minute| Some(daily(minute)));
    let outlook = look(&mut model);
    assert_eq!(outlook.skill, ForecastSkill::Proven, "{}", outlook.reason);
    assert!(outlook.error.unwrap() < 1.0);
    let now = outlook.now.unwrap();
    let comes = (0..60).map(|ahead| daily(4 * DAY + 360 + ahead)).fold(0.0, f64::max);
    let peak = outlook.peak.unwrap();
    assert!((peak.p50 - comes).abs() < 0.1 * comes, "{now} now, {comes} to come: {peak:?}");
    assert!(peak.p90 > now + 10.0 && (comes..1.4 * comes).contains(&peak.p90), "{comes} to come: {peak:?}");
    assert_eq!(outlook.points.len(), 12);
    assert_eq!(outlook.points[0].at, instant(4 * DAY + 360, STEP_SECONDS).unwrap());
    assert!(outlook.next_choice.unwrap() > outlook.made);
}

#[test]
fn what_an_entry_did_on_two_mondays_is_expected_on_the_third_but_not_on_its_exception() {
    // Five to eight on the third Monday of 1970, whose fifth day was the first.
    let end = 18 * DAY + 475;
    let load = |minute: i64| {
        let report = minute.div_euclid(DAY) % 7 == 4 && (480..540).contains(&minute.rem_euclid(DAY));
        daily(minute) + if report { 100.0 } else { 0.0 }
    };
    let report = |exceptions: &[&str]| CalendarEntry {
        name: "report".into(),
        schedule: "0 8 * * 1".into(),
        time_zone: "UTC".into(),
        duration: SignedDuration::from_hours(1),
        replicas: 5,
        exceptions: exceptions.iter().map(|day| Name::from(*day)).collect(),
    };
    let expected = |entries: &[CalendarEntry]| {
        let mut model = fed(end, |minute| Some(load(minute)));
        let now = instant(end, STEP_SECONDS).unwrap();
        forecasting().look(&mut model, None, entries, true, now)
    };
    let comes = (0..60).map(|ahead| load(end + ahead)).fold(0.0, f64::max);
    let told = expected(&[report(&[])]);
    let peak = told.peak.unwrap().p50;
    assert!((peak - comes).abs() < 0.1 * comes, "{comes} to come, {peak} expected: {}", told.reason);
    assert!(told.reason.contains("known jobs: report"), "{}", told.reason);
    for entries in [vec![], vec![report(&["1970-01-19"])]] {
        let other = expected(&entries);
        assert!(other.peak.unwrap().p50 < comes - 50.0, "{entries:?}: {:?}", other.peak);
    }
}

#[test]
fn a_walk_without_a_pattern_has_no_proven_skill() {
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
    let outlook = look(&mut model);
    assert_ne!(outlook.skill, ForecastSkill::Proven, "{}", outlook.reason);
}

#[test]
fn a_new_workload_is_told_what_is_missing() {
    let mut model = fed(0, |_| None);
    let outlook = look(&mut model);
    assert!(outlook.reason.contains("0 of 10 minutes") && outlook.reason.contains("OTLP"));
    assert_eq!(outlook.points.len(), 0);

    let mut model = fed(1, |_| Some(5.0));
    let outlook = look(&mut model);
    assert!(outlook.reason.contains("1 of 10 minutes"), "{}", outlook.reason);
}

#[test]
fn a_constant_load_is_forecast_as_it_is() {
    let mut model = fed(300, |_| Some(80.0));
    let outlook = look(&mut model);
    assert!((outlook.peak.unwrap().p50 - 80.0).abs() < 1e-3);
    assert_ne!(outlook.skill, ForecastSkill::Proven, "a naive forecast was exact");
}

#[test]
fn an_exploding_load_stays_finite() {
    for minutes in [120, 400] {
        let mut model = fed(minutes, |minute| Some(2.0_f64.powi(minute as i32)));
        look(&mut model);
    }
}

#[test]
fn what_is_no_load_is_a_gap() {
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];
    let mut model = fed(200, |minute| Some(bad[minute as usize % 4]));
    let outlook = look(&mut model);
    assert_eq!((model.steps().usable(), outlook.now), (0, None));

    let mut model = fed(200, |minute| Some(if minute % 2 == 0 { 40.0 } else { bad[minute as usize % 4] }));
    let outlook = look(&mut model);
    assert_eq!(model.steps().usable(), 100);
    assert!((outlook.peak.unwrap().p50 - 40.0).abs() < 1.0);
}

#[test]
fn a_load_that_is_not_seen_for_an_hour_is_not_forecast() {
    let mut model = fed(120, |_| Some(80.0));
    for minute in 120..185 {
        model.observe(minute, None);
    }
    let late = look(&mut model);
    assert!(late.points.is_empty() && late.reason.contains("no load was seen"), "{}", late.reason);
}

#[test]
fn what_is_stored_goes_on_as_if_nothing_had_happened() {
    let mut model = fed(2 * DAY, |minute| (minute % 97 != 0).then(|| daily(minute)));
    look(&mut model);
    let mut back: LoadModel = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    for model in [&mut model, &mut back] {
        model.observe(2 * DAY, Some(21.0));
    }
    let (one, other) = (look(&mut model), look(&mut back));
    assert_eq!((one.skill, &one.model), (other.skill, &other.model));
    assert_eq!((&one.reason, one.next_choice), (&other.reason, other.next_choice));
    // Text keeps all but the last bit of a number.
    let close = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs();
    assert!(one.points.iter().zip(&other.points).all(|(one, other)| close(one.p90, other.p90)));
}

#[test]
fn models_are_compared_again_when_twice_as_much_is_known_and_each_day() {
    let mut model = fed(20, |minute| Some(daily(minute)));
    look(&mut model);
    assert_eq!(model.compared, (20, 20));
    for minute in 20..40 {
        model.observe(minute, Some(daily(minute)));
        look(&mut model);
    }
    assert_eq!(model.compared, (40, 40));
}

#[test]
fn a_setting_that_cannot_work_is_named() {
    let bad = OutlookConfig { keep: 0, ..OutlookConfig::default() };
    assert!(Forecasting::new(bad).unwrap_err().to_string().contains("keep"));
    let config = ForecastConfig { horizon: 0, ..ForecastConfig::default() };
    let bad = OutlookConfig { forecast: config, ..OutlookConfig::default() };
    assert!(Forecasting::new(bad).unwrap_err().to_string().contains("horizon"));
}

#[test]
fn a_look_without_a_comparison_asks_the_models_that_were_chosen() {
    let mut model = fed(20, |minute| Some(daily(minute)));
    let now = instant(20, STEP_SECONDS).unwrap();
    assert!(model.unchosen(forecasting().config()));
    let early = forecasting().look(&mut model, None, &[], false, now);
    assert!(early.points.is_empty() && early.reason.contains("in turn"), "{}", early.reason);
    assert_eq!(early.reason, forecasting().waiting(&model, now).reason);
    look(&mut model);
    for minute in 20..60 {
        model.observe(minute, Some(daily(minute)));
    }
    let later = forecasting().look(&mut model, None, &[], false, now);
    assert_eq!((later.points.len(), model.compared()), (12, (20, 20)), "no comparison, though one is due");
    look(&mut model);
    assert_eq!(model.compared(), (60, 60));
}

#[test]
fn what_is_supposed_of_a_minute_is_foreseen_and_not_remembered() {
    let mut model = fed(120, |_| Some(80.0));
    let calm = look(&mut model);
    let mut supposed = model.supposing(120, 300.0);
    let steep = forecasting().look(&mut supposed, None, &[], false, instant(120, STEP_SECONDS).unwrap());
    assert!(steep.peak.unwrap().p90 > 2.0 * calm.peak.unwrap().p90, "{:?}", steep.peak);
    assert_eq!((model.steps().end(), look(&mut model).now), (120, Some(80.0)));
}
