use super::*;
use proptest::prelude::*;

fn small() -> History {
    History::new(HistoryConfig { block_bytes: 128, blocks: 1_000 }).unwrap()
}

/// What must come back: values that are not finite are gaps.
fn expected(points: &[(i64, Option<f64>)]) -> Vec<(i64, Option<u64>)> {
    points
        .iter()
        .map(|(at, value)| (*at, value.filter(|value| value.is_finite()).map(f64::to_bits)))
        .collect()
}

fn read(history: &History) -> Vec<(i64, Option<u64>)> {
    history.iter().map(|point| (point.at, point.value.map(f64::to_bits))).collect()
}

fn filled(points: &[(i64, Option<f64>)]) -> History {
    let mut history = small();
    for (at, value) in points {
        history.append(*at, *value).unwrap();
    }
    history
}

#[test]
fn regular_decimal_readings_take_under_two_bytes_and_the_rest_comes_back_too() {
    let points: Vec<(i64, Option<f64>)> = (0..5_000_i64)
        .map(|turn| (turn * 10_000, Some(((turn * 7_919) % 64) as f64 / 100.0 + 12.0)))
        .collect();
    let history = filled(&points);
    assert!(read(&history) == expected(&points), "a point changed");
    let each = history.packed_bytes() as f64 / history.len() as f64;
    assert!(each < 2.0, "{each} bytes a point");
}

#[test]
fn values_change_their_nature_and_still_come_back() {
    let nature = |turn: i64| match turn / 500 {
        0 => turn as f64,
        1 => (turn as f64).sqrt(),
        2 => 1e-300 * turn as f64,
        3 => -0.0,
        4 => f64::MAX / (turn as f64),
        5 => 0.1 + 0.2 * (turn % 3) as f64,
        _ => 1e15 + turn as f64,
    };
    let points: Vec<(i64, Option<f64>)> =
        (0..3_500).map(|turn| (turn, (turn % 97 != 0).then(|| nature(turn)))).collect();
    assert!(read(&filled(&points)) == expected(&points), "a point changed");
}

#[test]
fn an_older_point_is_refused_and_a_repeated_time_is_kept() {
    let mut history = small();
    assert_eq!(history.append(5, Some(1.0)), Ok(Appended::Value));
    assert_eq!(history.append(5, Some(f64::NAN)), Ok(Appended::Gap));
    let error = history.append(4, Some(1.0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a point at 4 is older than the newest one at 5; append in the order of time"
    );
    assert_eq!(read(&history), [(5, Some(1.0_f64.to_bits())), (5, None)]);
}

#[test]
fn a_setting_out_of_range_is_refused_with_its_field() {
    let error = History::new(HistoryConfig { blocks: 1, ..HistoryConfig::default() }).unwrap_err();
    assert_eq!(error.to_string(), "blocks is 1, it must be 2 to 65536");
}

#[test]
fn ten_million_points_stay_bounded_and_the_newest_are_kept() {
    let mut history = History::new(HistoryConfig::default()).unwrap();
    let mut most = 0;
    for turn in 0..10_000_000_i64 {
        let value = (turn.wrapping_mul(6_364_136_223_846_793_005) >> 40) as f64 / 1_000.0;
        history.append(turn * 1_000, Some(value)).unwrap();
        if turn % 100_000 == 0 {
            most = most.max(history.bytes());
        }
    }
    assert!(most < 12_000, "{most} bytes");
    assert_eq!(history.len() + history.dropped(), 10_000_000);
    let last: Vec<Point> = history.range(9_999_998_000, i64::MAX).collect();
    assert_eq!(last.iter().map(|point| point.at).collect::<Vec<_>>(), [9_999_998_000, 9_999_999_000]);
    assert_eq!(history.span().map(|(_, newest)| newest), Some(9_999_999_000));
}

#[test]
fn what_is_older_than_asked_is_forgotten_by_blocks() {
    let mut history = filled(&(0..2_000).map(|turn| (turn, Some((turn as f64).sin()))).collect::<Vec<_>>());
    history.forget_before(1_500);
    let (oldest, newest) = history.span().unwrap();
    assert!((1_400..=1_500).contains(&oldest) && newest == 1_999, "{oldest} {newest}");
    assert_eq!(history.len() + history.dropped(), 2_000);
    assert_eq!(history.iter().count() as u64, history.len());
}

/// Anything: usual, extreme, special values; small and huge steps, none.
fn anything() -> impl Strategy<Value = Vec<(i64, Option<f64>)>> {
    let value = prop_oneof![
        2 => Just(None),
        8 => (-1_000_i64..1_000).prop_map(|whole| Some(whole as f64)),
        8 => (-100_000_i64..100_000).prop_map(|whole| Some(whole as f64 / 1_000.0)),
        4 => any::<f64>().prop_map(Some),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::MAX)),
        1 => Just(Some(f64::MIN_POSITIVE)),
        1 => Just(Some(-0.0)),
    ];
    let step = prop_oneof![6 => Just(1_000_i64), 4 => 0_i64..2_000, 2 => Just(0), 1 => 0_i64..=i64::MAX];
    let start = prop_oneof![4 => Just(0_i64), 1 => Just(i64::MIN), 1 => any::<i64>()];
    (start, prop::collection::vec((step, value), 0..400)).prop_map(|(start, steps)| {
        let mut at = start;
        steps
            .into_iter()
            .map(|(step, value)| {
                at = at.saturating_add(step);
                (at, value)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn all_points_come_back_bit_by_bit(points in anything()) {
        prop_assert_eq!(read(&filled(&points)), expected(&points));
    }

    #[test]
    fn a_range_is_what_a_filter_gives(points in anything(), from in any::<i64>(), to in any::<i64>()) {
        let history = filled(&points);
        let range: Vec<i64> = history.range(from, to).map(|point| point.at).collect();
        let filter: Vec<i64> = history.iter().map(|point| point.at).filter(|at| (from..to).contains(at)).collect();
        prop_assert_eq!(range, filter);
    }

    #[test]
    fn any_order_of_time_is_taken_or_refused_and_memory_is_bounded(
        points in prop::collection::vec((any::<i64>(), any::<f64>()), 0..500),
    ) {
        let mut history = History::new(HistoryConfig { block_bytes: 64, blocks: 4 }).unwrap();
        let mut kept = Vec::new();
        for (at, value) in points {
            if history.append(at, Some(value)).is_ok() {
                kept.push((at, Some(value)));
            }
            prop_assert!(history.bytes() < 2_000, "{} bytes", history.bytes());
        }
        let read = read(&history);
        let expected = expected(&kept);
        prop_assert_eq!(&read[..], &expected[expected.len() - read.len()..]);
    }

    #[test]
    fn restored_state_continues_as_if_never_stopped(points in anything(), share in 0.0_f64..1.0) {
        let cut = (share * points.len() as f64) as usize;
        let mut history = filled(&points[..cut]);
        let mut restored: History = serde_json::from_str(&serde_json::to_string(&history).unwrap()).unwrap();
        for (at, value) in &points[cut..] {
            prop_assert_eq!(history.append(*at, *value), restored.append(*at, *value));
        }
        prop_assert_eq!(read(&history), read(&restored));
        prop_assert_eq!(history, restored);
    }

    #[test]
    fn spoiled_state_neither_panics_nor_gives_a_value_that_is_none(
        points in anything(),
        spoil in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let history = filled(&points);
        let mut state = serde_json::to_value(&history).unwrap();
        if let Some(blocks) = state["blocks"].as_array_mut() {
            for block in blocks {
                if let Some(bytes) = block["bytes"].as_array_mut().filter(|bytes| !bytes.is_empty()) {
                    for (place, byte) in &spoil {
                        let place = place.index(bytes.len());
                        bytes[place] = (*byte).into();
                    }
                }
            }
        }
        let mut spoiled: History = serde_json::from_value(state).unwrap();
        prop_assert!(spoiled.iter().all(|point| point.value.is_none_or(f64::is_finite)));
        prop_assert!(spoiled.append(i64::MAX, Some(1.0)).is_ok());
    }
}
