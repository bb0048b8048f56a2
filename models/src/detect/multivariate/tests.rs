use super::*;
use proptest::prelude::*;

fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64) / ((1_u64 << 53) as f64) - 0.5
    }
}

/// Ten dimensions in different units; some move together, one hardly ever moves.
fn row(noise: &mut impl FnMut() -> f64, index: u32) -> Vec<f64> {
    let load = (f64::from(index) / 50.0).sin() + 0.4 * noise();
    let mut row = vec![3.0];
    row.extend((1..10).map(|dim| 10_f64.powi(dim - 5) * (2.0 + load + 0.3 * noise())));
    row
}

fn shipped(dims: usize) -> MultivariateDetector {
    MultivariateDetector::new(dims, MultivariateConfig::default()).expect("a valid setting")
}

/// Short memories, so that small inputs reach every branch.
fn quick(dims: usize) -> MultivariateDetector {
    let config =
        MultivariateConfig { warm_up: 3, block_rows: 5, blocks: 300, ..MultivariateConfig::default() };
    MultivariateDetector::new(dims, config).expect("a valid setting")
}

fn trained(rows: u32) -> (MultivariateDetector, impl FnMut() -> f64) {
    let (mut detector, mut noise) = (shipped(10), noise(7));
    for index in 0..rows {
        detector.observe(&row(&mut noise, index));
    }
    (detector, noise)
}

#[test]
fn a_fault_in_two_dimensions_is_one_alarm_that_names_them() {
    let (mut detector, mut noise) = trained(5_000);
    let before = detector.onsets();
    let mut first = None;
    for index in 5_000..5_020 {
        let mut faulty = row(&mut noise, index);
        faulty[4] *= 6.0;
        faulty[7] *= 5.0;
        let verdict = detector.observe(&faulty);
        if verdict.onset {
            first = Some((index, verdict));
        }
    }
    let (index, verdict) = first.expect("an alarm");
    assert_eq!(index, 5_000, "at the first row");
    assert_eq!(detector.onsets(), before + 1);
    assert!(verdict.alarm && verdict.chance < 1.0 / 1_200.0, "{verdict:?}");
    let mut order: Vec<usize> = (0..10).collect();
    order.sort_by(|&a, &b| verdict.contributions[b].total_cmp(&verdict.contributions[a]));
    assert_eq!(order[..2].iter().sum::<usize>(), 11, "{order:?}");
    assert!(verdict.reason.contains("d4 ") && verdict.reason.contains("d7 "), "{}", verdict.reason);
    assert!(verdict.reason.contains("one start in 1200 usual rows accepted"), "{}", verdict.reason);
}

#[test]
fn the_alarm_is_left_after_quiet_rows_only() {
    let (mut detector, mut noise) = trained(5_000);
    let mut faulty = row(&mut noise, 5_000);
    faulty[4] *= 12.0;
    assert!(detector.observe(&faulty).onset);
    let after: Vec<bool> =
        (5_001..5_040).map(|index| detector.observe(&row(&mut noise, index)).alarm).collect();
    assert!(after[..4].iter().all(|on| *on), "it stays on for the leave rows");
    assert!(!after[38] && after.windows(2).all(|pair| pair[0] >= pair[1]), "it is left once: {after:?}");
}

#[test]
fn alarm_starts_stay_within_twice_the_accepted_rate_whatever_the_tail() {
    // Uniform noise; rare spikes of any size (1/u has no mean); log-normal noise.
    for kind in ["uniform", "spikes", "log-normal"] {
        let (mut detector, mut noise) = (shipped(8), noise(11));
        let mut value = || match kind {
            "spikes" if noise() > 0.499 => 1.0 / (noise() + 0.5001),
            "log-normal" => (1.5 * (0..12).map(|_| noise()).sum::<f64>()).exp(),
            _ => noise(),
        };
        let mut starts = |detector: &mut MultivariateDetector, rows: u32| {
            let before = detector.onsets();
            for _ in 0..rows {
                let row: Vec<f64> = (0..8).map(|_| value()).collect();
                detector.observe(&row);
            }
            (detector.onsets() - before) as f64
        };
        starts(&mut detector, 40_000);
        let bound = MultivariateConfig::default().most_alarms_per_day(1.0) / 86_400.0 * 60_000.0;
        let most = if kind == "uniform" { 0.01 * bound } else { 1.15 * bound };
        let starts = starts(&mut detector, 60_000);
        assert!(starts <= most, "{starts} starts of {kind} noise, the bound is {bound}");
    }
}

#[test]
fn a_new_level_becomes_usual() {
    let (mut detector, mut noise) = trained(5_000);
    let mut on = 0;
    for index in 5_000..8_000 {
        let mut moved = row(&mut noise, index);
        moved[4] += 20.0;
        on += u32::from(detector.observe(&moved).alarm);
    }
    assert!((1..400).contains(&on), "{on} rows of alarm");
    assert!(!detector.alarm());
}

#[test]
fn a_dimension_that_never_moved_alarms_when_it_does() {
    let (mut detector, mut noise) = trained(5_000);
    let mut moved = row(&mut noise, 5_000);
    moved[0] = 4.0;
    let verdict = detector.observe(&moved);
    assert!(verdict.onset && verdict.reason.contains("; d0 "), "{}", verdict.reason);
}

#[test]
fn one_wild_value_does_not_blind_the_detector() {
    let (mut detector, mut noise) = trained(5_000);
    let mut wild = row(&mut noise, 5_000);
    wild[4] = 1e300;
    assert!(detector.observe(&wild).onset);
    for index in 5_001..5_200 {
        detector.observe(&row(&mut noise, index));
    }
    assert!(!detector.alarm());
    let mut faulty = row(&mut noise, 5_200);
    faulty[4] *= 12.0;
    assert!(detector.observe(&faulty).onset);
}

#[test]
fn a_missing_value_is_marked_and_touches_no_other_dimension() {
    let (mut whole, mut noise) = trained(2_000);
    let mut gapped = whole.clone();
    let full = row(&mut noise, 2_000);
    let mut part = full.clone();
    part[3] = f64::NAN;
    part[5] = f64::INFINITY;
    part.truncate(9);
    let (all, some) = (whole.observe(&full), gapped.observe(&part));
    assert_eq!((all.missing, some.missing), (0, 3));
    for dim in 0..10 {
        let expected = if [3, 5, 9].contains(&dim) { 0.0 } else { all.contributions[dim] };
        assert_eq!(some.contributions[dim].to_bits(), expected.to_bits(), "dimension {dim}");
    }
}

#[test]
fn a_gap_leaves_the_alarm_as_it_is() {
    let (mut detector, mut noise) = trained(2_000);
    let mut faulty = row(&mut noise, 2_000);
    faulty[2] *= 12.0;
    assert!(detector.observe(&faulty).alarm);
    for _ in 0..100 {
        let verdict = detector.observe(&[f64::NAN; 10]);
        assert!(verdict.alarm && !verdict.ready && !verdict.onset && verdict.missing == 10);
    }
    assert_eq!(detector.onsets(), 1);
}

#[test]
fn restored_state_continues_as_if_never_stopped() {
    let (mut detector, mut noise) = trained(3_000);
    let text = serde_json::to_string(&detector).expect("serialises");
    let mut restored: MultivariateDetector = serde_json::from_str(&text).expect("deserialises");
    for index in 3_000..4_000 {
        let next = row(&mut noise, index);
        assert_eq!(detector.observe(&next), restored.observe(&next));
    }
}

#[test]
fn memory_does_not_grow() {
    let mut detector = quick(3);
    let mut noise = noise(5);
    let mut length = 0;
    for index in 0..200_000 {
        detector.observe(&[noise(), noise(), noise()]);
        if index == 10_000 {
            length = serde_json::to_string(&detector).expect("serialises").len();
        }
    }
    assert!(serde_json::to_string(&detector).expect("serialises").len() < length + length / 10);
    assert!(shipped(38).state_bytes() < 10_000, "{} bytes for 38 dimensions", shipped(38).state_bytes());
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_field() {
    let wrong = |config| MultivariateDetector::new(2, config).expect_err("refused").to_string();
    let shipped = MultivariateConfig::default();
    assert_eq!(
        wrong(MultivariateConfig { level_rows: f64::NAN, ..shipped }),
        "level_rows is NaN, it must be 1 to 1000000000"
    );
    let rare = wrong(MultivariateConfig { onsets_per_row: 1e-6, ..shipped });
    assert!(rare.starts_with("onsets_per_row × block_rows"), "{rare}");
    assert!(MultivariateDetector::new(0, shipped).is_err());
    assert!(MultivariateDetector::new(MOST_DIMENSIONS + 1, shipped).is_err());
    assert!((shipped.alarms_per_day(60.0) - 1.2).abs() < 1e-9);
    assert!((shipped.most_alarms_per_day(300.0) - 0.48).abs() < 1e-9);
}

proptest! {
    #[test]
    fn any_input_gives_finite_verdicts(
        rows in prop::collection::vec(prop::collection::vec(any::<f64>(), 0..5), 0..120),
    ) {
        let mut detector = quick(3);
        for row in rows {
            let verdict = detector.observe(&row);
            prop_assert!(verdict.score.is_finite() && verdict.score >= 0.0, "{verdict:?}");
            prop_assert!((0.0..=1.0).contains(&verdict.chance), "{verdict:?}");
            prop_assert!(verdict.contributions.iter().all(|part| part.is_finite() && *part >= 0.0), "{verdict:?}");
            prop_assert_eq!(verdict.contributions.len(), 3);
            prop_assert!(!verdict.onset || !verdict.reason.is_empty());
        }
        let text = serde_json::to_string(&detector).expect("serialises");
        prop_assert_eq!(serde_json::from_str::<MultivariateDetector>(&text).expect("deserialises"), detector);
    }

    #[test]
    fn scaling_by_powers_of_two_changes_nothing_but_units(
        rows in prop::collection::vec(prop::array::uniform3(-1e3_f64..1e3), 1..150),
        powers in prop::array::uniform3(-30_i32..30),
    ) {
        let (mut plain, mut scaled) = (quick(3), quick(3));
        for row in rows {
            let other = [0, 1, 2].map(|dim| row[dim] * 2_f64.powi(powers[dim]));
            let (a, b) = (plain.observe(&row), scaled.observe(&other));
            prop_assert_eq!((a.alarm, a.score.to_bits(), a.contributions), (b.alarm, b.score.to_bits(), b.contributions));
        }
    }

    #[test]
    fn the_future_does_not_change_the_past(
        rows in prop::collection::vec(prop::array::uniform2(-1.0_f64..1.0), 2..80), cut in 1_usize..80,
    ) {
        let verdicts = |rows: &[[f64; 2]]| {
            let mut detector = quick(2);
            rows.iter().map(|row| detector.observe(row)).collect::<Vec<_>>()
        };
        let cut = cut.min(rows.len());
        prop_assert_eq!(&verdicts(&rows)[..cut], &verdicts(&rows[..cut])[..]);
    }
}
