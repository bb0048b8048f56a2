//! What is appended comes back bit by bit, or is refused. `cargo +nightly fuzz run history_round_trip` in `models/`.
#![no_main]

use homeostat_models::series::{History, HistoryConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let config = HistoryConfig { block_bytes: 64, blocks: 65_536 };
    let mut history = History::new(config).expect("a valid setting");
    let mut kept = Vec::new();
    let mut at = 0_i64;
    // Records of a tag, a step and a value; the tag chooses how wild they are.
    for record in data.chunks_exact(17) {
        let number = |from: usize| u64::from_le_bytes(record[from..from + 8].try_into().expect("eight bytes"));
        at = at.wrapping_add(match record[0] & 3 {
            0 => 1_000,
            1 => (number(1) % 5_000) as i64,
            2 => 0,
            _ => number(1) as i64,
        });
        let value = match record[0] >> 2 & 3 {
            0 => (number(9) % 100_000) as f64 / 1_000.0,
            1 => f64::from_bits(number(9)),
            2 => number(9) as f64,
            _ => f64::NAN,
        };
        match history.append(at, Some(value)) {
            Ok(_) => kept.push((at, value.is_finite().then_some(value.to_bits()))),
            Err(_) => at = history.span().map_or(0, |(_, newest)| newest),
        }
    }
    let read: Vec<_> = history.iter().map(|point| (point.at, point.value.map(f64::to_bits))).collect();
    assert_eq!(read, kept);
});
