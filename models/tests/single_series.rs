//! What the detector of one series promises: causal, deterministic, bounded, calm on usual series, awake on incidents.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../examples/score/data.rs"]
#[allow(dead_code)]
mod data;
#[path = "../examples/score/series.rs"]
mod series;
#[path = "../benches/figures/usual.rs"]
mod usual;

use std::fs;
use std::path::{Path, PathBuf};

use homeostat_models::detect::{SeriesConfig, SeriesDetector, SeriesVerdict};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn detector(config: SeriesConfig) -> SeriesDetector {
    SeriesDetector::new(config).expect("a valid setting")
}

fn usual_points(kind: &str, points: i64) -> Vec<(i64, f64)> {
    let (mut random, mut last) = (ChaCha8Rng::seed_from_u64(3), 0.0);
    (0..points).map(|turn| (60 * turn, usual::next(kind, 60 * turn, &mut last, &mut random))).collect()
}

fn run(detector: &mut SeriesDetector, points: &[(i64, f64)]) -> Vec<SeriesVerdict> {
    points.iter().map(|&(at, value)| detector.observe(at, value)).collect()
}

#[test]
fn realised_false_alarms_stay_within_twice_the_bound() {
    let bound = SeriesConfig::default().false_alarms_per_day;
    for kind in usual::KINDS {
        let realised = usual::false_alarms_per_day(kind, 6, 40);
        assert!(realised <= 2.0 * bound, "{kind}: {realised} a day, the bound is {bound}");
    }
}

#[test]
fn an_outage_is_found_at_its_first_point_and_explained() {
    let mut detector = detector(SeriesConfig::default());
    run(&mut detector, &usual_points("weekly", 3_000));
    let verdict = detector.observe(60 * 3_000, 0.0);
    assert!(verdict.raised && verdict.chance < 1e-6, "{verdict:?}");
    assert!(verdict.usual.0 > 0.0);
    let reason = verdict.reason.to_string();
    assert!(reason.starts_with("0.0000 where ") && reason.contains("below"), "{reason}");
}

#[test]
fn a_change_below_the_minimum_effect_is_no_incident_whatever_its_ratio() {
    let mut detector = detector(SeriesConfig { minimum_effect: 0.05, ..SeriesConfig::default() });
    for turn in 0..1_000 {
        detector.observe(15 * turn, 0.001 + 1e-5 * (turn % 3) as f64);
    }
    for turn in 1_000..1_020 {
        let verdict = detector.observe(15 * turn, 0.003);
        assert!(
            !verdict.alarm && verdict.reason.to_string().contains("too small a difference"),
            "{verdict:?}"
        );
    }
    assert!(detector.observe(15 * 1_020, 0.9).alarm);
}

#[test]
fn a_restarted_counter_is_no_incident_and_a_stopped_series_is_silent() {
    let mut detector = detector(SeriesConfig { counter: true, ..SeriesConfig::default() });
    let mut total = 0.0;
    for turn in 0..2_000_i64 {
        total = if turn % 500 == 499 { 40.0 } else { total + 50.0 + (turn % 7) as f64 };
        assert!(!detector.observe(15 * turn, total).alarm, "point {turn}");
    }
    assert_eq!(detector.counter_resets(), 4);
    assert_eq!(detector.silence(15 * 2_000), None);
    assert!(detector.silence(15 * 2_010).is_some());
}

#[test]
fn later_points_do_not_change_earlier_verdicts() {
    let points = usual_points("ar1", 2_000);
    let all = run(&mut detector(SeriesConfig::default()), &points);
    let half = run(&mut detector(SeriesConfig::default()), &points[..1_000]);
    assert_eq!(all[..1_000], half[..]);
}

#[test]
fn a_restored_state_goes_on_after_a_gap_as_if_never_stopped() {
    let mut points = usual_points("weekly", 4_000);
    for (at, _) in &mut points[2_500..] {
        *at += 7_200;
    }
    let mut first = detector(SeriesConfig::default());
    run(&mut first, &points[..2_500]);
    let text = serde_json::to_string(&first).expect("serialises");
    let mut restored: SeriesDetector = serde_json::from_str(&text).expect("deserialises");
    assert_eq!(run(&mut first, &points[2_500..]), run(&mut restored, &points[2_500..]));
}

#[test]
fn a_day_of_noise_at_its_usual_hour_is_expected_after_a_week() {
    let mut detector = detector(SeriesConfig::default());
    let mut late = 0;
    for turn in 0..14 * 288_i64 {
        let at = 300 * turn;
        let busy = if (at % 86_400) / 3_600 == 3 { 50.0 } else { 0.0 };
        let verdict = detector.observe(at, 100.0 + busy + ((turn * 31) % 11) as f64);
        late += u32::from(verdict.raised && turn >= 10 * 288);
    }
    assert!(late <= 1, "{late} alarms on the daily job in four days");
}

#[test]
fn a_spike_at_the_same_time_of_every_night_is_told_in_the_first_nights_only() {
    let mut detector = detector(SeriesConfig::default());
    let (mut random, mut last) = (ChaCha8Rng::seed_from_u64(5), 0.0);
    for turn in 0..14 * 288_i64 {
        let (day, slot) = (turn / 288, turn % 288);
        let (nightly, other) = (slot == 36 + day % 3, day == 13 && slot == 200);
        let spike = if nightly || other { 60.0 } else { 0.0 };
        let value = usual::next("normal", 300 * turn, &mut last, &mut random) + spike;
        let verdict = detector.observe(300 * turn, value);
        if other || (nightly && day < 2) {
            assert!(verdict.raised, "day {day}, slot {slot}");
        }
        if nightly && day > 6 {
            assert!(!verdict.alarm, "day {day}: {}", verdict.reason);
            assert!(verdict.reason.to_string().contains("earlier days at this time"), "{}", verdict.reason);
        }
    }
}

#[test]
fn the_first_points_after_the_warm_up_raise_no_alarm() {
    for kind in usual::KINDS {
        let verdicts = run(&mut detector(SeriesConfig::default()), &usual_points(kind, 300));
        let raised = verdicts.iter().filter(|verdict| verdict.raised).count();
        assert!(raised <= 1, "{kind}: {raised} alarms in the first 300 points");
    }
}

#[test]
fn state_fits_in_four_kilobytes_and_stays_so() {
    let mut detector = detector(SeriesConfig::default());
    let (mut random, mut last) = (ChaCha8Rng::seed_from_u64(7), 0.0);
    // The bench takes ten million.
    let sizes: Vec<usize> = (0..300_000_i64)
        .filter_map(|turn| {
            detector.observe(300 * turn, usual::next("weekly", 300 * turn, &mut last, &mut random));
            (turn % 100_000 == 2_000 || turn == 299_999)
                .then(|| serde_json::to_string(&detector).unwrap().len())
        })
        .collect();
    assert!(detector.state_bytes() <= 4_096);
    // Numbers get longer, lists do not.
    assert!(sizes.iter().all(|size| *size < 16_000) && sizes[3] < sizes[0] * 11 / 10, "{sizes:?}");
}

#[test]
fn reversed_and_repeated_timestamps_are_no_alarm_and_blind_nobody() {
    let mut points = usual_points("normal", 6_000);
    points[2_000..2_500].reverse();
    points[3_000..3_100].iter_mut().for_each(|(at, _)| *at = 180_000);
    points[4_000..4_300].iter_mut().for_each(|(at, _)| *at -= 86_400);
    let mut detector = detector(SeriesConfig::default());
    let raised = run(&mut detector, &points).iter().filter(|verdict| verdict.raised).count();
    assert!(raised <= 2, "{raised} alarms for timestamps");
    assert!(detector.observe(60 * 6_000, 150.0).raised);
}

/// A folder of the system's own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("homeostat-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a writable temporary folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes the first two columns of `rows` rows of a series, and junk in a column after them.
fn copy(from: &Path, to: &Path, rows: usize, junk: &str) {
    let (header, records) = data::table(from).expect("readable");
    let file = data::create(to).expect("creatable");
    let mut out = csv::Writer::from_writer(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    out.write_record([&header[0], &header[1], "label"]).expect("writable");
    for record in records.iter().take(rows) {
        out.write_record([&record[0], &record[1], junk]).expect("writable");
    }
    out.into_inner().expect("flushes").finish().expect("finishes");
}

fn dumps_are_causal_and_blind(from: &Path) {
    let folder = Folder::new("series");
    let (whole, cut) = (folder.0.join("whole"), folder.0.join("cut"));
    copy(from, &whole.join("a.csv.gz"), usize::MAX, "0");
    copy(from, &cut.join("a.csv.gz"), 700, "1");
    let suite = if from.to_string_lossy().contains("nab") { series::nab } else { series::kpi };
    for name in ["whole", "cut"] {
        assert_eq!(suite(&folder.0.join(name), &folder.0.join(name).join("dump")).expect("runs"), 1);
    }
    let read = |name: &str| fs::read_to_string(folder.0.join(name).join("dump/a.csv")).expect("written");
    assert!(read("whole").starts_with(&read("cut")), "{}", from.display());
}

#[test]
fn dumps_are_the_same_without_labels_and_with_the_future_cut_off() {
    let folder = Folder::new("made");
    let path = folder.0.join("kpi.csv.gz");
    let file = data::create(&path).expect("creatable");
    let mut out = csv::Writer::from_writer(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    out.write_record(["timestamp", "value"]).expect("writable");
    for (at, value) in usual_points("counts", 1_500) {
        out.write_record([at.to_string(), value.to_string()]).expect("writable");
    }
    out.into_inner().expect("flushes").finish().expect("finishes");
    dumps_are_causal_and_blind(&path);
    if let Ok(real) = std::env::var("HOMEOSTAT_DATA") {
        for suite in ["nab", "kpi_aiops2018"] {
            let files = data::files(&Path::new(&real).join(suite), ".csv.gz").expect("the folder is there");
            for file in files.iter().step_by(6) {
                dumps_are_causal_and_blind(file);
            }
        }
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -10.0..10.0_f64,
        Just(0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(1e308),
        Just(5e-324)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_input_gives_a_bounded_verdict(points in prop::collection::vec((any::<i64>(), value()), 0..400), counter in any::<bool>()) {
        let mut detector = detector(SeriesConfig { warm_up: 3, counter, ..SeriesConfig::default() });
        for (at, value) in points {
            let verdict = detector.observe(at, value);
            prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
            prop_assert!((0.0..=1.0).contains(&verdict.chance), "{verdict:?}");
            prop_assert!(!verdict.reason.to_string().is_empty());
        }
        let text = serde_json::to_string(&detector).expect("serialises");
        prop_assert!(text.len() < 20_000);
        prop_assert_eq!(serde_json::from_str::<SeriesDetector>(&text).expect("deserialises"), detector);
    }

    #[test]
    fn a_power_of_two_changes_no_alarm(power in -20_i32..20, values in prop::collection::vec(-100.0..100.0_f64, 200..400)) {
        let scale = 2.0_f64.powi(power);
        let (mut plain, mut scaled) = (detector(SeriesConfig::default()), detector(SeriesConfig::default()));
        for (turn, &value) in values.iter().enumerate() {
            // A spike now and then, so that there are alarms to compare.
            let value = if turn % 97 == 96 { value + 1e4 } else { value };
            let at = 300 * turn as i64;
            let (first, second) = (plain.observe(at, value), scaled.observe(at, value * scale));
            prop_assert_eq!((first.score, first.alarm, first.chance), (second.score, second.alarm, second.chance));
        }
    }
}
