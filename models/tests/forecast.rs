//! Forecasts as their users see them: honest about skill, calm about bad input, the same every time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../examples/score/data.rs"]
#[allow(dead_code, reason = "the suites use more of it")]
mod data;
#[path = "../examples/score/forecast.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod suite;

use homeostat_models::backtest;
use homeostat_models::forecast::{
    Calendar, Chosen, Due, Event, Forecast, ForecastConfig, ForecastError, Forecaster, History, Model, When,
    time_to_limit,
};
use proptest::prelude::*;

const STEP: u32 = 300;
const DAY: usize = 288;

fn forecaster() -> Forecaster {
    Forecaster::new(ForecastConfig::default()).unwrap()
}

/// Numbers in [-1, 1], the same every time.
fn noise(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64) / ((1_u64 << 52) as f64) - 1.0
        })
        .collect()
}

/// Requests of a shop: a daily hump of changing height, and noise.
fn shop(days: usize, seed: u64) -> Vec<f64> {
    let noise = noise(days * DAY, seed);
    (0..days * DAY)
        .map(|step| {
            let part = (step % DAY) as f64 / DAY as f64;
            let height = 300.0 + 60.0 * ((step / DAY * 37 % 11) as f64 / 11.0);
            20.0 + height * 4.0 * part * (1.0 - part) + 15.0 * noise[step]
        })
        .collect()
}

/// A walk at random: nothing about its future can be known but where it is.
fn walk(count: usize, seed: u64) -> Vec<f64> {
    let mut at = 1_000.0;
    noise(count, seed)
        .iter()
        .map(|step| {
            at += step;
            at
        })
        .collect()
}

fn once(values: &[f64], horizon: usize) -> Result<Forecast, ForecastError> {
    let history = History::new(0, STEP, values).unwrap();
    forecaster().choose(&history, &Calendar::default())?.forecast(&history, horizon)
}

fn is_sane(forecast: &Forecast, horizon: usize) -> bool {
    let bands = forecast.p10.iter().zip(&forecast.p50).zip(&forecast.p90);
    [&forecast.p10, &forecast.p50, &forecast.p90].iter().all(|row| row.len() == horizon)
        && bands.into_iter().all(|((low, middle), high)| {
            low.is_finite() && high.is_finite() && low <= middle && middle <= high
        })
        && !forecast.reason.is_empty()
}

#[test]
fn a_daily_series_is_forecast_better_than_yesterday_and_says_so() {
    let values = shop(12, 3);
    let history = History::new(0, STEP, &values).unwrap();
    let mut last = None;
    let score = backtest::run(&forecaster(), &history, &Calendar::default(), 10 * DAY as i64, |_, said| {
        last = Some(said.clone());
    })
    .unwrap();
    let report = score.report().unwrap();
    assert_eq!(report.points, 2 * DAY as u64);
    assert!(report.error_against_naive.unwrap() < 0.8, "{report:?}");
    assert!((0.03..0.2).contains(&report.under_provisioned), "{report:?}");
    assert!((0.03..0.2).contains(&report.below_p10), "{report:?}");
    let last = last.unwrap();
    assert!(last.skill && last.error_against_naive < 0.8, "{}", last.reason);
    assert!(last.reason.contains("daily season"), "{}", last.reason);
}

#[test]
fn a_random_walk_has_no_skill() {
    for seed in 0..3 {
        let said = once(&walk(10 * DAY, seed), 12).unwrap();
        assert!(!said.skill, "{}", said.reason);
        assert!(said.reason.starts_with("no skill"), "{}", said.reason);
    }
}

#[test]
fn bands_of_noise_cover_what_they_promise() {
    let values: Vec<f64> = noise(12 * DAY, 5).iter().map(|value| 100.0 + 10.0 * value).collect();
    let history = History::new(0, STEP, &values).unwrap();
    let score =
        backtest::run(&forecaster(), &history, &Calendar::default(), 9 * DAY as i64, |_, _| {}).unwrap();
    let report = score.report().unwrap();
    assert!((0.06..0.14).contains(&report.under_provisioned), "{report:?}");
    assert!((0.06..0.14).contains(&report.below_p10), "{report:?}");
}

#[test]
fn a_constant_is_forecast_as_itself_without_a_claim() {
    for value in [0.0, 7.5, -3.0] {
        let said = once(&[value; 4 * DAY], 12).unwrap();
        assert_eq!((said.p10[0], said.p50[11], said.p90[5]), (value, value, value), "{}", said.reason);
        assert!(!said.skill, "{}", said.reason);
    }
}

#[test]
fn an_empty_series_has_no_forecast_and_one_point_is_repeated() {
    assert_eq!(once(&[], 12), Err(ForecastError::NoData(0)));
    assert_eq!(once(&[f64::NAN; 900], 12), Err(ForecastError::NoData(900)));
    let said = once(&[4.0], 12).unwrap();
    assert_eq!((said.p50, said.skill, said.model), (vec![4.0; 12], false, Model::LastValue));
    assert!(said.reason.contains("no skill can be claimed from 0 back-tested steps"), "{}", said.reason);
}

#[test]
fn an_exploding_series_stays_finite() {
    let values: Vec<f64> = (0..5 * DAY).map(|step| 1.5_f64.powi(step as i32)).collect();
    assert!(is_sane(&once(&values, 40).unwrap(), 40));
    let values: Vec<f64> =
        (0..5 * DAY).map(|step| if step % 7 == 0 { f64::MAX } else { -f64::MAX }).collect();
    let refused = once(&values, 12).unwrap_err();
    assert_eq!(refused, ForecastError::TooLarge(5 * DAY));
    assert!(refused.to_string().contains("correct the query or the unit"), "{refused}");
}

#[test]
fn gaps_are_neither_filled_nor_spread() {
    let whole = shop(10, 8);
    let mut gappy = whole.clone();
    for start in [500, 1_200, 2_000, 10 * DAY - 30] {
        gappy[start..start + 20].fill(f64::NAN);
    }
    gappy[700] = f64::INFINITY;
    let (one, other) = (once(&whole, 12).unwrap(), once(&gappy, 12).unwrap());
    assert!(is_sane(&other, 12) && other.skill, "{}", other.reason);
    for (one, other) in one.p50.iter().zip(&other.p50) {
        assert!((one - other).abs() < 30.0, "{one} {other}");
    }
}

#[test]
fn only_a_series_that_was_negative_is_forecast_negative() {
    let rate: Vec<f64> = shop(8, 1).iter().map(|value| (value - 100.0).max(0.0)).collect();
    let said = once(&rate, 12).unwrap();
    assert!(said.p10.iter().all(|value| *value >= 0.0), "{:?}", said.p10);
    let balance: Vec<f64> = shop(8, 1).iter().map(|value| value - 400.0).collect();
    assert!(once(&balance, 12).unwrap().p90.iter().all(|value| *value < 0.0));
}

#[test]
fn a_horizon_out_of_range_is_refused_with_the_limit() {
    let error = once(&shop(3, 1), 0).unwrap_err();
    assert!(error.to_string().contains("1 to 10000"), "{error}");
    assert!(is_sane(&once(&shop(3, 1), 3 * DAY).unwrap(), 3 * DAY));
}

#[test]
fn the_future_cannot_reach_back() {
    let mut values = shop(9, 4);
    let (from, cut) = (7 * DAY as i64, 8 * DAY);
    let run = |values: &[f64]| {
        let mut said = Vec::new();
        let history = History::new(86_400 * 365, STEP, values).unwrap();
        let from = history.start() + from;
        backtest::run(&forecaster(), &history, &Calendar::default(), from, |origin, forecast| {
            said.push((origin, forecast.clone()));
        })
        .unwrap();
        said
    };
    let whole = run(&values);
    let short = run(&values[..cut]);
    values[cut..].fill(1e6);
    let changed = run(&values);
    assert_eq!(short.len(), 24);
    assert_eq!(short[..], whole[..24]);
    assert_eq!(short[..], changed[..24]);
}

#[test]
fn rows_seen_one_by_one_give_the_same_as_all_at_once() {
    let values = shop(7, 6);
    let forecaster = forecaster();
    let past = |end: usize| History::new(0, STEP, &values[..end]).unwrap();
    let mut slowly = forecaster.choose(&past(6 * DAY), &Calendar::default()).unwrap();
    let mut at_once = slowly.clone();
    for end in 6 * DAY..=6 * DAY + 60 {
        slowly.observe(&past(end)).unwrap();
    }
    assert_eq!(at_once.observe(&past(6 * DAY + 60)), Ok(5));
    assert_eq!(slowly, at_once);
}

#[test]
fn a_restored_choice_goes_on_as_if_never_stopped() {
    let values = shop(8, 9);
    let forecaster = forecaster();
    let past = |end: usize| History::new(0, STEP, &values[..end]).unwrap();
    let mut chosen = forecaster.choose(&past(6 * DAY), &Calendar::default()).unwrap();
    forecaster.keep(&mut chosen, &past(6 * DAY + 36), &Calendar::default()).unwrap();
    let mut restored: Chosen = serde_json::from_str(&serde_json::to_string(&chosen).unwrap()).unwrap();
    for end in (6 * DAY + 48..8 * DAY).step_by(12) {
        let one = forecaster.keep(&mut chosen, &past(end), &Calendar::default()).unwrap();
        let other = forecaster.keep(&mut restored, &past(end), &Calendar::default()).unwrap();
        assert_eq!(one, other);
        assert_eq!(chosen.forecast(&past(end), 12), restored.forecast(&past(end), 12));
    }
}

#[test]
fn the_choice_is_made_again_every_day_and_on_drift() {
    let mut values = shop(9, 2);
    let jump = 7 * DAY + 60;
    let forecaster = forecaster();
    let calendar = Calendar::default();
    let dues = |values: &[f64]| {
        let past = |end: usize| History::new(0, STEP, &values[..end]).unwrap();
        let mut chosen = forecaster.choose(&past(7 * DAY), &calendar).unwrap();
        (7 * DAY + 12..=8 * DAY)
            .step_by(12)
            .filter_map(|end| Some((end, forecaster.keep(&mut chosen, &past(end), &calendar).unwrap()?)))
            .collect::<Vec<_>>()
    };
    assert_eq!(dues(&values), [(8 * DAY, Due::Daily)]);
    // The load becomes wild.
    for (place, value) in values[jump..].iter_mut().enumerate() {
        *value = if place % 5 < 2 { 4_000.0 } else { 0.0 };
    }
    let wild = dues(&values);
    assert_eq!(wild[0].1, Due::Drift);
    assert!(wild[0].0 <= jump + 10 * 12, "{wild:?}");
}

#[test]
fn load_after_constant_days_is_drift() {
    let forecaster = forecaster();
    let due = |values: &[f64]| {
        let past = |end: usize| History::new(0, STEP, &values[..end]).unwrap();
        let mut chosen = forecaster.choose(&past(7 * DAY), &Calendar::default()).unwrap();
        let mut ends = (7 * DAY + 12..=8 * DAY).step_by(12);
        ends.find_map(|end| {
            Some((end, forecaster.keep(&mut chosen, &past(end), &Calendar::default()).unwrap()?))
        })
    };
    for usual in [0.0, 7.5] {
        let mut values = vec![usual; 8 * DAY];
        assert_eq!(due(&values), Some((8 * DAY, Due::Daily)), "it stays at {usual}");
        for (place, value) in values[7 * DAY..].iter_mut().enumerate() {
            *value += (place % 24) as f64;
        }
        assert_eq!(due(&values), Some((7 * DAY + 6 * 12, Due::Drift)), "from {usual}");
    }
}

#[test]
fn another_step_or_an_unknown_past_is_refused() {
    let values = shop(4, 2);
    let history = History::new(0, STEP, &values).unwrap();
    let chosen = forecaster().choose(&history, &Calendar::default()).unwrap();
    let other = History::new(0, 60, &values).unwrap();
    assert_eq!(chosen.forecast(&other, 12), Err(ForecastError::Step { chosen: 300, given: 60 }));
}

/// A quiet service with a batch every seven hours and ten minutes, which no daily pattern can know.
fn batches(days: usize) -> (Vec<f64>, Calendar) {
    let period = 7 * 3_600 + 600;
    let mut values: Vec<f64> = noise(days * DAY, 11).iter().map(|value| 20.0 + value).collect();
    for start in (0..days * 86_400).step_by(period) {
        for value in values.iter_mut().skip(start / STEP as usize).take(6) {
            *value += 60.0;
        }
    }
    let when = When::Every { period_seconds: period as u32, offset_seconds: 0 };
    let batch = Event { name: "batch".to_owned(), when, duration_seconds: 1_800 };
    (values, Calendar { events: vec![batch] })
}

#[test]
fn known_jobs_are_foreseen() {
    let (values, calendar) = batches(12);
    let history = History::new(0, STEP, &values).unwrap();
    let error = |calendar: &Calendar| {
        let score = backtest::run(&forecaster(), &history, calendar, 10 * DAY as i64, |_, _| {}).unwrap();
        score.report().unwrap().error
    };
    let (with, without) = (error(&calendar), error(&Calendar::default()));
    assert!(with < 0.3 * without, "{with} with the calendar, {without} without");
    let chosen = forecaster().choose(&history, &calendar).unwrap();
    assert!(chosen.forecast(&history, 12).unwrap().reason.contains("known jobs: batch"));
}

#[test]
fn a_wrong_calendar_is_not_used() {
    let values = shop(10, 12);
    let (_, calendar) = batches(1);
    let history = History::new(0, STEP, &values).unwrap();
    let chosen = forecaster().choose(&history, &calendar).unwrap();
    assert!(!chosen.forecast(&history, 12).unwrap().reason.contains("known jobs"));
}

const WEEK: usize = 7 * DAY;
/// Eight o'clock on the day of the first weekly report.
const EIGHT: usize = 3 * DAY + 96;
/// The hour of the third one.
const THIRD: usize = EIGHT + 2 * WEEK;

/// A shop to which an hour of reports added so much, at eight on three days a week apart.
fn reports(seed: u64, added: [f64; 3]) -> Vec<f64> {
    let mut values = shop(18, seed);
    for (week, added) in added.into_iter().enumerate() {
        for value in &mut values[EIGHT + week * WEEK..][..12] {
            *value += added;
        }
    }
    values
}

/// What is expected of the hour from step `end` on, by so many days before it: with the reports told, and without.
fn beside(values: &[f64], end: usize, days: usize) -> [Forecast; 2] {
    let seconds = |step: usize| step as i64 * i64::from(STEP);
    let first = end - days * DAY;
    let history = History::new(seconds(first), STEP, &values[first..end]).unwrap();
    let when = When::Every { period_seconds: 604_800, offset_seconds: seconds(EIGHT) };
    let report = Event { name: "report".to_owned(), when, duration_seconds: 3_600 };
    let said = |calendar: &Calendar| {
        let chosen = forecaster().choose(&history, calendar).unwrap();
        chosen.forecast(&history, 12).unwrap()
    };
    [said(&Calendar { events: vec![report] }), said(&Calendar::default())]
}

/// Mean of what was said beyond what came, over some steps of a forecast from step `end` on.
fn beyond(said: &Forecast, values: &[f64], end: usize, steps: std::ops::Range<usize>) -> f64 {
    let count = steps.len() as f64;
    steps.map(|step| said.p50[step] - values[end + step]).sum::<f64>() / count
}

#[test]
fn what_a_weekly_job_did_twice_is_expected_of_its_third_run() {
    for seed in 20..24 {
        let values = reports(seed, [150.0; 3]);
        let [with, without] = beside(&values, THIRD, 14);
        assert!(with.reason.contains("known jobs: report"), "{}", with.reason);
        let (with, without) = (beyond(&with, &values, THIRD, 0..12), beyond(&without, &values, THIRD, 0..12));
        assert!(
            with.abs() < 40.0 && without < -75.0,
            "150 more came: {with} beyond it with the job told, {without} without"
        );
        // Half an hour into it, when two weeks hold its beginning twice and its end twice: the rest of it, and its end.
        let [on, _] = beside(&values, THIRD + 6, 14);
        for steps in [0..6, 6..12] {
            let off = beyond(&on, &values, THIRD + 6, steps.clone());
            assert!(off.abs() < 40.0, "{off} in steps {steps:?}: {}", on.reason);
        }
    }
}

#[test]
fn a_weekly_job_that_ran_once_or_did_not_the_same_twice_is_not_expected() {
    for added in [[150.0, 0.0], [0.0, 150.0], [150.0, -100.0], [150.0, 50.0]] {
        let values = reports(25, [added[0], added[1], 0.0]);
        let [with, without] = beside(&values, THIRD, 14);
        assert_eq!(with, without, "{added:?}");
    }
    let [with, without] = beside(&reports(25, [150.0; 3]), THIRD, 13);
    assert_eq!(with, without, "one run in the history");
}

#[test]
fn a_weekly_job_that_does_nothing_changes_no_forecast() {
    // How often chance teaches an effect is counted beside the rule, over more series.
    for seed in 30..40 {
        let [with, without] = beside(&reports(seed, [0.0; 3]), THIRD, 14);
        assert_eq!(with, without, "seed {seed}");
    }
}

#[test]
fn a_power_of_two_changes_the_unit_and_nothing_else() {
    let values = shop(8, 13);
    let scaled: Vec<f64> = values.iter().map(|value| value * 1_024.0).collect();
    let (one, other) = (once(&values, 12).unwrap(), once(&scaled, 12).unwrap());
    let rows = [(&one.p10, &other.p10), (&one.p50, &other.p50), (&one.p90, &other.p90)];
    for (one, other) in rows {
        assert_eq!(one.iter().map(|value| value * 1_024.0).collect::<Vec<_>>(), *other);
    }
    assert_eq!(one.skill, other.skill);
}

#[test]
fn a_choice_stays_small_however_long_it_lives() {
    let values = shop(16, 14);
    let past = |end: usize| History::new(0, STEP, &values[..end]).unwrap();
    let mut chosen = forecaster().choose(&past(6 * DAY), &Calendar::default()).unwrap();
    let fresh = serde_json::to_string(&chosen).unwrap().len();
    for end in (6 * DAY..16 * DAY).step_by(12) {
        chosen.observe(&past(end)).unwrap();
    }
    assert!(serde_json::to_string(&chosen).unwrap().len() < fresh * 6 / 5);
}

/// Forecasts of the last two days of public workloads, when their folder is named: at least the floors that the
/// documentation states, and nothing seen too early.
#[test]
fn real_workloads_are_forecast_above_the_floor() {
    let Ok(folder) = std::env::var("HOMEOSTAT_DATA") else { return };
    let files = data::files(&std::path::Path::new(&folder).join("workload"), ".csv.gz").unwrap();
    let (mut logs, mut loss, mut under, mut count) = (0.0, 0.0, 0.0, 0.0);
    for path in files.iter().filter(|path| !data::stem(path).starts_with("azure")) {
        let (start, values) = suite::means(path).unwrap();
        let run = |values: &[f64], from: usize| {
            let history = History::new(start, STEP, values).unwrap();
            let mut said = Vec::new();
            let from = history.start() + from as i64;
            let score = backtest::run(&forecaster(), &history, &Calendar::default(), from, |_, one| {
                said.push(one.clone());
            });
            (score.unwrap().report().unwrap(), said)
        };
        let from = values.len() - 2 * DAY;
        let (report, whole) = run(&values, from);
        let (_, short) = run(&values[..values.len() - DAY], from);
        assert_eq!(short[..], whole[..short.len()], "{}", path.display());
        logs += report.error_against_naive.unwrap().ln();
        loss += report.quantile_loss;
        under += report.under_provisioned;
        count += 1.0;
    }
    let error: f64 = logs / count;
    assert!(error.exp() < 0.72, "error against the seasonal naive forecast {}", error.exp());
    assert!(loss / count < 0.145, "quantile loss {}", loss / count);
    assert!((0.08..0.12).contains(&(under / count)), "under-provisioned {}", under / count);
}

fn any_series() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        6 => -1e3..1e3_f64,
        1 => Just(f64::NAN),
        1 => Just(0.0),
        1 => any::<f64>(),
    ];
    prop::collection::vec(value, 0..700)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_breaks_a_forecast(
        values in any_series(),
        start in any::<i64>(),
        step in prop_oneof![Just(60_u32), Just(900), Just(3_600), Just(7_000), 1_u32..604_800],
        horizon in 1_usize..60,
        period in any::<u32>(),
        offset in any::<i64>(),
    ) {
        let history = History::new(start, step, &values).unwrap();
        let event = Event {
            name: "job".to_owned(),
            when: When::Every { period_seconds: period, offset_seconds: offset },
            duration_seconds: 3_600,
        };
        let calendar = Calendar { events: vec![event] };
        let forecaster = forecaster();
        match forecaster.choose(&history, &calendar) {
            Err(error) => {
                let large = values.iter().any(|value| value.is_finite() && value.abs() > 1e280);
                let said = if large { ForecastError::TooLarge } else { ForecastError::NoData };
                prop_assert_eq!(error, said(values.len()));
            }
            Ok(mut chosen) => {
                let said = chosen.forecast(&history, horizon).unwrap();
                prop_assert!(is_sane(&said, horizon), "{:?}", said);
                if values.iter().all(|value| value.is_nan() || *value >= 0.0) {
                    prop_assert!(said.p10.iter().all(|value| *value >= 0.0));
                }
                // Another history, even an earlier or a later one, is taken without complaint.
                let later = History::new(start.wrapping_add(1 << 40), step, &values).unwrap();
                prop_assert!(chosen.observe(&later).is_ok());
                prop_assert!(chosen.observe(&history).is_ok());
            }
        }
        let said = time_to_limit(&history, 500.0, 1e7);
        let times: Vec<f64> = [said.p10, said.p50, said.p90].iter().map(|time| time.unwrap_or(f64::INFINITY)).collect();
        prop_assert!(times[0] <= times[1] && times[1] <= times[2] && times[0] >= 0.0, "{:?}", said);
    }
}
