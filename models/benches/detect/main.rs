//! Speed, state and calibration of the detector of one series: `cargo bench -p homeostat-models --bench detect`.
//! Prints one `name value unit` line a figure.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod usual;

use homeostat_models::detect::{SeriesConfig, SeriesDetector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const POINTS: i64 = 2_000_000;

/// Seconds that this thread spent on a processor, as Linux counts them: other work on the machine does not count.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts processor time");
    let nanoseconds = text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.expect("the first field is in nanoseconds") * 1e-9
}

/// Points per second of processor time: scoring, calibration and alarm state; median of three runs.
fn speed() -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut last = 0.0;
    let values: Vec<f64> =
        (0..POINTS).map(|turn| usual::next("weekly", turn * 60, &mut last, &mut random)).collect();
    let mut rates: Vec<f64> = (0..3)
        .map(|_| {
            let mut detector =
                SeriesDetector::new(SeriesConfig::default()).expect("the shipped setting is valid");
            let start = processor_seconds();
            let alarms: u64 = values
                .iter()
                .zip(0_i64..)
                .map(|(&value, turn)| {
                    u64::from(std::hint::black_box(detector.observe(turn * 60, value)).alarm)
                })
                .sum();
            std::hint::black_box(alarms);
            POINTS as f64 / (processor_seconds() - start)
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[1]
}

fn main() {
    println!("detect_points_per_second {:.0} points/s", speed());
    let detector = SeriesDetector::new(SeriesConfig::default()).expect("the shipped setting is valid");
    println!("detect_state {} bytes/series", detector.state_bytes());
    println!("detect_false_alarms_bound {} 1/series-day", SeriesConfig::default().false_alarms_per_day);
    for kind in usual::KINDS {
        let realised = usual::false_alarms_per_day(kind, 100, 100);
        println!("detect_false_alarms_{kind} {realised:.4} 1/series-day");
    }
}
