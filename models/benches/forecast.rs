//! Speed and size of forecasts, one line `name value unit` each, with augurs beside ours on the same series.
//!
//! `cargo bench -p homeostat-models --bench forecast`; with `HOMEOSTAT_DATA` set to a folder of data sets, the series of
//! its `workload` part are used, otherwise generated ones.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench fails by panicking")]

use std::alloc::System;
use std::path::Path;

use augurs::ets::AutoETS;
use augurs::mstl::MSTLModel;
use augurs::prelude::*;
use homeostat_models::forecast::{Calendar, Chosen, ForecastConfig, Forecaster, History};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "../examples/score/data.rs"]
#[allow(dead_code, reason = "the suites use more of it")]
mod data;
#[path = "../examples/score/forecast.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod suite;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const DAY: usize = 288;
const HORIZON: usize = 12;

fn main() {
    for (name, value, unit) in figures(&series()) {
        println!("{name} {value:.1} {unit}");
    }
}

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

/// Seconds that this thread has been on a core: other work on the machine does not count.
fn on_core() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's time");
    let nanoseconds = text.split_whitespace().next().expect("the first field is the time on a core");
    nanoseconds.parse::<f64>().expect("a number") / 1e9
}

/// Median of three runs of the seconds on a core that `work` takes.
fn seconds(mut work: impl FnMut()) -> f64 {
    let mut times = [0.0; 3];
    for time in &mut times {
        let start = on_core();
        work();
        *time = on_core() - start;
    }
    times.sort_by(f64::total_cmp);
    times[1]
}

/// The history without its last `left` steps.
fn past<'a>(history: &History<'a>, left: usize) -> History<'a> {
    history.before(history.end() - left as i64).unwrap()
}

/// Every figure.
fn figures(series: &[(i64, Vec<f64>)]) -> Vec<(&'static str, f64, &'static str)> {
    let forecaster = Forecaster::new(ForecastConfig::default()).unwrap();
    let calendar = Calendar::default();
    let histories: Vec<History<'_>> =
        series.iter().map(|(start, values)| History::new(*start, 300, values).unwrap()).collect();
    let choose = |history: &History<'_>| forecaster.choose(history, &calendar).unwrap();
    let count = histories.len() as f64;

    let choosing = seconds(|| histories.iter().for_each(|history| drop(choose(history)))) / count;

    // A day of hourly forecasts: one choice, then outcomes taken in and the next hour forecast, 24 times.
    let day = seconds(|| {
        for history in &histories {
            let mut chosen = choose(&past(history, DAY));
            for hour in 0..24 {
                let past = past(history, DAY - hour * HORIZON);
                forecaster.keep(&mut chosen, &past, &calendar).unwrap();
                chosen.forecast(&past, HORIZON).unwrap();
            }
        }
    }) / (24.0 * count);

    let chosen: Vec<Chosen> = histories.iter().map(choose).collect();
    let ten_thousand = seconds(|| {
        for turn in 0..10_000 {
            let place = turn % histories.len();
            chosen[place].forecast(&histories[place], HORIZON).unwrap();
        }
    });

    let region = Region::new(HEAP);
    let kept: Vec<Chosen> = histories.iter().map(choose).collect();
    let change = region.change();
    // Growth in place is counted as allocated already.
    let bytes = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    drop(kept);

    let peer = seconds(|| {
        for history in &histories {
            let model = MSTLModel::new(vec![DAY], AutoETS::non_seasonal().into_trend_model());
            if let Ok(fitted) = model.fit(history.values()) {
                fitted.predict(HORIZON, None).expect("a fitted model predicts");
            }
        }
    }) / count;

    vec![
        ("forecast_choice", choosing * 1e3, "ms/series"),
        ("forecast_hourly_with_daily_choice", 1.0 / day, "forecasts/s/core"),
        ("forecast_chosen", 10_000.0 / ten_thousand, "forecasts/s/core"),
        ("forecast_chosen_10000", ten_thousand, "s"),
        ("forecast_state", bytes / count, "bytes/series"),
        ("peer_augurs_mstl_ets", 1.0 / peer, "forecasts/s/core"),
        ("forecast_speed_against_peer", peer / day, "times"),
    ]
}
