//! Stored state that somebody spoiled neither panics nor gives a value that is none.
//! `cargo +nightly fuzz run history_spoiled_state` in `models/`.
#![no_main]

use homeostat_models::series::{History, HistoryConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As text, whatever it says; then as the bytes of a good state's blocks.
    if let Ok(history) = serde_json::from_slice::<History>(data) {
        drop(history.iter().take(100_000).count());
    }
    let mut history = History::new(HistoryConfig { block_bytes: 128, blocks: 4 }).expect("a valid setting");
    for turn in 0..200_i64 {
        let value = if turn % 3 == 0 { (turn as f64).sqrt() } else { turn as f64 / 10.0 };
        history.append(turn * 100, (turn % 17 != 0).then_some(value)).expect("in order");
    }
    let mut state = serde_json::to_value(&history).expect("serialises");
    let mut bytes = data.iter();
    for block in state["blocks"].as_array_mut().expect("blocks") {
        for place in block["bytes"].as_array_mut().expect("bytes") {
            if let Some(byte) = bytes.next() {
                *place = (*byte).into();
            }
        }
    }
    let mut spoiled: History = serde_json::from_value(state).expect("the same shape");
    assert!(spoiled.iter().all(|point| point.value.is_none_or(f64::is_finite)));
    spoiled.append(i64::MAX, Some(1.0)).expect("in order");
});
