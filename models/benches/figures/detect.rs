//! Cost of the detectors: points a second with score, calibration, alarm and reason, and bytes a series.

use super::{HEAP, Row, python, random, rate, usual};
use changepoint::rv::prelude::NormalGamma;
use changepoint::{BocpdLike, BocpdTruncated};
use homeostat_models::detect::change::Cusum;
use homeostat_models::detect::{
    MultivariateConfig, MultivariateDetector, RhythmConfig, RhythmDetector, SeriesConfig, SeriesDetector,
    SeriesVerdict, SubspaceConfig, SubspaceDetector,
};
use stats_alloc::Region;
use std::hint::black_box;

/// Points at 60 s: a rhythm of the day with noise, and a fault each four days.
const POINTS: usize = 500_000;
/// Points that one series lives through while its memory is counted.
const LIFE: i64 = 10_000_000;
/// Series-days on which false alarms are counted, for each kind of series.
const CALM_SERIES: u64 = 100;
const CALM_DAYS: i64 = 100;
/// Series whose state is counted together.
const SERIES: usize = 1_000;
/// Dimensions of a machine of the public data, and rows.
const DIMENSIONS: usize = 38;
const ROWS: usize = 50_000;
/// Points for the peer, which takes much longer for each.
const PEER_POINTS: usize = 20_000;

/// Streams of values one by one; both print points (or rows) a second.
const RIVER: &str = "
import sys, time
from river.anomaly import HalfSpaceTrees
values = [float(line) for line in sys.stdin]
model = HalfSpaceTrees(n_trees=10, height=8, window_size=250, limits={'x': (0.0, 120.0)})
start = time.process_time()
for value in values:
    model.score_one({'x': value})
    model.learn_one({'x': value})
print(len(values) / (time.process_time() - start))
";
const PYOD: &str = "
import sys, time
import numpy
from pyod.models.ecod import ECOD
rows = numpy.loadtxt(sys.stdin, delimiter=',')
start = time.process_time()
ECOD().fit(rows)
print(len(rows) / (time.process_time() - start))
";

fn series(points: usize) -> Vec<f64> {
    let mut random = random(4);
    (0..points)
        .map(|turn| {
            let day = (turn % 1_440) as f64 / 1_440.0;
            let noise = random() + random() + random() - 1.5;
            let fault = if turn % 5_760 > 5_750 { 40.0 } else { 0.0 };
            50.0 + 80.0 * day * (1.0 - day) + noise + fault
        })
        .collect()
}

fn observe(detector: &mut SeriesDetector, values: &[f64]) -> SeriesVerdict {
    let mut last = None;
    for (turn, &value) in values.iter().enumerate() {
        last = Some(black_box(detector.observe(60 * turn as i64, black_box(value))));
    }
    last.unwrap()
}

/// Bytes on the heap and in place of a thousand detectors after a week each.
fn bytes(values: &[f64]) -> f64 {
    let region = Region::new(HEAP);
    let detectors: Vec<SeriesDetector> = (0..SERIES)
        .map(|_| {
            let mut detector = SeriesDetector::new(SeriesConfig::default()).unwrap();
            observe(&mut detector, &values[..2_000]);
            detector
        })
        .collect();
    let change = region.change();
    let kept = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    drop(black_box(detectors));
    kept / SERIES as f64
}

/// Bytes by which the state grows over ten million points after its first hundred thousand.
fn growth(values: &[f64]) -> f64 {
    let mut detector = SeriesDetector::new(SeriesConfig::default()).unwrap();
    let region = Region::new(HEAP);
    let mut after_start = 0.0;
    for turn in 0..LIFE {
        let value = values[turn as usize % values.len()];
        black_box(detector.observe(60 * turn, black_box(value)));
        if turn == 100_000 || turn == LIFE - 1 {
            let change = region.change();
            after_start = change.bytes_allocated as f64 - change.bytes_deallocated as f64 - after_start;
        }
    }
    after_start
}

/// Speeds of the detectors that a library user may add; the product does not use them.
fn on_request(values: &[f64]) -> Vec<Row> {
    let rhythm = rate(|| {
        let mut detector = RhythmDetector::new(RhythmConfig::default()).unwrap();
        for (turn, &value) in values.iter().enumerate() {
            black_box(detector.observe(60 * turn as i64, black_box(value)));
        }
        values.len() as u64
    });
    let shape = rate(|| {
        let mut detector = SubspaceDetector::new(SubspaceConfig::default()).unwrap();
        for &value in values {
            black_box(detector.observe(black_box(value)));
        }
        values.len() as u64
    });
    vec![
        Row::new("detect, rhythms of hour, day and week", rhythm, "points/s/core"),
        Row::new("detect, shape of the last 24 points", shape, "points/s/core"),
    ]
}

/// Realised false alarms on series in their usual state: at most twice the stated bound, better a fifth more.
fn calm() -> Vec<Row> {
    let bound = SeriesConfig::default().false_alarms_per_day;
    let row = |kind: &&str| {
        let realised = usual::false_alarms_per_day(kind, CALM_SERIES, CALM_DAYS);
        let name = format!("detect, false alarms at a bound of {bound}: {kind}");
        Row::new(name, realised, "1/series-day").at_most(2.0 * bound, 1.2 * bound)
    };
    usual::KINDS.iter().map(row).collect()
}

pub fn rows() -> Vec<Row> {
    let values = series(POINTS);
    let points = rate(|| {
        let mut detector = SeriesDetector::new(SeriesConfig::default()).unwrap();
        observe(&mut detector, &values);
        POINTS as u64
    });

    let steps: Vec<f64> = values.iter().map(|value| value / 10.0).collect();
    let ours = rate(|| {
        let mut cusum = Cusum::default();
        for &value in &steps {
            black_box(cusum.observe(black_box(value)));
        }
        POINTS as u64
    });
    let peer = rate(|| {
        let mut bocpd = BocpdTruncated::new(250.0, NormalGamma::new_unchecked(0.0, 1.0, 1.0, 1.0));
        for value in &steps[..PEER_POINTS] {
            black_box(bocpd.step(black_box(value)));
        }
        PEER_POINTS as u64
    });

    let mut random = random(5);
    let machine: Vec<Vec<f64>> = (0..ROWS).map(|_| (0..DIMENSIONS).map(|_| random()).collect()).collect();
    let machine_rows = rate(|| {
        let mut detector = MultivariateDetector::new(DIMENSIONS, MultivariateConfig::default()).unwrap();
        for row in &machine {
            black_box(detector.observe(black_box(row)));
        }
        ROWS as u64
    });
    let state = MultivariateDetector::new(DIMENSIONS, MultivariateConfig::default()).unwrap().state_bytes();

    let words: Vec<String> = values[..PEER_POINTS].iter().map(ToString::to_string).collect();
    let lines = words.join("\n") + "\n";
    let river = python::peer("river", RIVER, lines.as_bytes());
    let line = |row: &Vec<f64>| row.iter().map(f64::to_string).collect::<Vec<_>>().join(",") + "\n";
    let lines: String = machine[..PEER_POINTS].iter().map(line).collect();
    let pyod = python::peer("pyod", PYOD, lines.as_bytes());

    let mut rows = vec![
        Row::new("detect, one series: score, calibration, alarm", points, "points/s/core").marks(1e6, 2e6),
        Row::new("detect, state of one series", bytes(&values), "bytes").at_most(6_144.0, 4_096.0),
        Row::new("detect, growth of its state over ten million points", growth(&values), "bytes")
            .at_most(0.0, 0.0),
        Row::new("detect, change point", ours, "points/s/core").beside("BOCPD (changepoint crate)", peer),
        Row::new("detect, 38 dimensions", machine_rows, "rows/s/core"),
        Row::new("detect, state of 38 dimensions", state as f64, "bytes"),
    ];
    rows[0].peer = river.map(|value| ("half-space trees (river)".to_owned(), value));
    rows[4].peer = pyod.map(|value| ("ECOD over the whole table (pyod)".to_owned(), value));
    rows.extend(on_request(&values));
    rows.extend(calm());
    rows
}
