//! Series in their usual state: what a calibrated detector must keep quiet on. Shared by the bench and the tests.

use homeostat_models::detect::{SeriesConfig, SeriesDetector};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Seconds between points.
pub const STEP: i64 = 300;
/// Days that a detector sees before its alarms are counted.
const LEARNING_DAYS: i64 = 7;

/// Every kind of series.
pub const KINDS: [&str; 5] = ["normal", "ar1", "student_t3", "counts", "weekly"];

/// A standard normal number (Box and Muller 1958).
pub fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

fn poisson(random: &mut ChaCha8Rng, mean: f64) -> f64 {
    let (limit, mut product, mut count) = ((-mean).exp(), random.random::<f64>(), 0.0);
    while product > limit {
        product *= random.random::<f64>();
        count += 1.0;
    }
    count
}

/// The next value of a kind; `last` is the state of the autoregression.
pub fn next(kind: &str, at: i64, last: &mut f64, random: &mut ChaCha8Rng) -> f64 {
    match kind {
        "ar1" => {
            *last = 0.8 * *last + normal(random);
            100.0 + *last
        }
        "student_t3" => {
            let square: f64 = (0..3).map(|_| normal(random).powi(2)).sum();
            100.0 + normal(random) / (square / 3.0).sqrt()
        }
        "counts" => poisson(random, 8.0),
        "weekly" => {
            let day = (at as f64 * std::f64::consts::TAU / 86_400.0).sin();
            let weekend = if (at / 86_400) % 7 >= 5 { 0.6 } else { 1.0 };
            1_000.0 + 300.0 * weekend * day + 10.0 * normal(random)
        }
        _ => 100.0 + normal(random),
    }
}

/// False alarms per series-day of the shipped setting on `series` series of `days` days each.
pub fn false_alarms_per_day(kind: &str, series: u64, days: i64) -> f64 {
    let mut raised = 0_u32;
    for seed in 0..series {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut detector =
            SeriesDetector::new(SeriesConfig::default()).expect("the shipped setting is valid");
        let mut last = 0.0;
        for turn in 0..(days + LEARNING_DAYS) * 86_400 / STEP {
            let at = turn * STEP;
            let verdict = detector.observe(at, next(kind, at, &mut last, &mut random));
            raised += u32::from(verdict.raised && at >= LEARNING_DAYS * 86_400);
        }
    }
    f64::from(raised) / (series as f64 * days as f64)
}
