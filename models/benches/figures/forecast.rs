//! Speed and size of forecasts, with augurs beside ours on the same series.
//!
//! With `HOMEOSTAT_DATA` set to a folder of data sets the series of its `workload` part are used, otherwise generated ones.

use super::{HEAP, Row, data, rate, suite};
use augurs::ets::AutoETS;
use augurs::mstl::MSTLModel;
use augurs::prelude::*;
use homeostat_models::forecast::{Calendar, Chosen, ForecastConfig, Forecaster, History};
use stats_alloc::Region;
use std::path::Path;

const DAY: usize = 288;
const HORIZON: usize = 12;

/// Start in seconds and 5-minute values of every series.
fn series() -> Vec<(i64, Vec<f64>)> {
    let Ok(folder) = std::env::var("HOMEOSTAT_DATA") else {
        return (0..8).map(|seed| (0, generated(seed))).collect();
    };
    data::files(&Path::new(&folder).join("workload"), ".csv.gz")
        .expect("HOMEOSTAT_DATA holds the data sets")
        .iter()
        .filter(|path| !data::stem(path).starts_with("azure"))
        .map(|path| suite::means(path).expect("a workload series"))
        .collect()
}

/// Sixteen days of a daily hump with noise.
fn generated(seed: u64) -> Vec<f64> {
    let mut state = 2 * seed + 1;
    (0..16 * DAY)
        .map(|step| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let part = (step % DAY) as f64 / DAY as f64;
            50.0 + 1_200.0 * part * (1.0 - part) + ((state >> 40) as f64) / 1e6
        })
        .collect()
}

/// The history without its last `left` steps.
fn past<'a>(history: &History<'a>, left: usize) -> History<'a> {
    history.before(history.end() - left as i64).unwrap()
}

/// Forecasts a second as the control plane makes them: two weeks of minutes, an hour ahead, models chosen before.
fn by_minutes() -> f64 {
    let config = ForecastConfig { horizon: 60, decompose_above: 1e9, ..ForecastConfig::default() };
    let forecaster = Forecaster::new(config).unwrap();
    let minutes: Vec<Vec<f64>> = (0..4)
        .map(|seed| generated(seed).iter().take(14 * DAY).flat_map(|value| [*value; 5]).collect())
        .collect();
    let histories: Vec<History<'_>> =
        minutes.iter().map(|values| History::new(0, 60, values).unwrap()).collect();
    let choose = |history: &History<'_>| forecaster.choose(history, &Calendar::default()).unwrap();
    let chosen: Vec<Chosen> = histories.iter().map(choose).collect();
    rate(|| {
        for turn in 0..400 {
            let place = turn % histories.len();
            chosen[place].forecast(&histories[place], 60).unwrap();
        }
        400
    })
}

pub fn rows() -> Vec<Row> {
    let series = series();
    let forecaster = Forecaster::new(ForecastConfig::default()).unwrap();
    let calendar = Calendar::default();
    let histories: Vec<History<'_>> =
        series.iter().map(|(start, values)| History::new(*start, 300, values).unwrap()).collect();
    let choose = |history: &History<'_>| forecaster.choose(history, &calendar).unwrap();
    let count = histories.len() as u64;

    let choices = rate(|| {
        for history in &histories {
            drop(choose(history));
        }
        count
    });

    // A day of hourly forecasts: one choice, then outcomes taken in and the next hour forecast, 24 times.
    let hourly = rate(|| {
        for history in &histories {
            let mut chosen = choose(&past(history, DAY));
            for hour in 0..24 {
                let past = past(history, DAY - hour * HORIZON);
                forecaster.keep(&mut chosen, &past, &calendar).unwrap();
                chosen.forecast(&past, HORIZON).unwrap();
            }
        }
        24 * count
    });

    let region = Region::new(HEAP);
    let chosen: Vec<Chosen> = histories.iter().map(choose).collect();
    let change = region.change();
    // Growth in place is counted as allocated already.
    let bytes = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    let from_chosen = rate(|| {
        for turn in 0..10_000 {
            let place = turn % histories.len();
            chosen[place].forecast(&histories[place], HORIZON).unwrap();
        }
        10_000
    });

    let peer = rate(|| {
        for history in &histories {
            let model = MSTLModel::new(vec![DAY], AutoETS::non_seasonal().into_trend_model());
            if let Ok(fitted) = model.fit(history.values()) {
                fitted.predict(HORIZON, None).expect("a fitted model predicts");
            }
        }
        count
    });

    vec![
        Row::new("forecast, choice of a model", 1e3 / choices, "ms/series"),
        Row::new("forecast, hourly with a choice a day", hourly, "forecasts/s/core")
            .beside("MSTL with ETS (augurs)", peer)
            .marks(500.0, 5_000.0),
        Row::new("forecast, from a chosen model", from_chosen, "forecasts/s/core").marks(500.0, 5_000.0),
        Row::new("forecast, 10,000 of 1 h from chosen models", 1e4 / from_chosen, "s").at_most(10.0, 10.0),
        Row::new("forecast, 10,000 of 1 h by minutes from chosen models", 1e4 / by_minutes(), "s")
            .at_most(10.0, 10.0),
        Row::new("forecast, state of one series", bytes / count as f64, "bytes"),
    ]
}
