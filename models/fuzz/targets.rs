//! What the fuzz targets do with their bytes: shared by the targets, which `cargo fuzz` drives, and by `tests/fuzz.rs`, which
//! drives them with seeded inputs on any compiler. A broken promise is a panic.

use homeostat_models::logs::{FoldConfig, Folder, Miner, MinerConfig};
use homeostat_models::series::{History, HistoryConfig};

/// What is appended comes back bit by bit, or is refused.
pub fn history_round_trip(data: &[u8]) {
    let config = HistoryConfig { block_bytes: 64, blocks: 65_536 };
    let mut history = History::new(config).expect("a valid setting");
    let mut kept = Vec::new();
    let mut at = 0_i64;
    // Records of a tag, a step and a value; the tag chooses how wild they are.
    for record in data.chunks_exact(17) {
        let number =
            |from: usize| u64::from_le_bytes(record[from..from + 8].try_into().expect("eight bytes"));
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
}

/// Stored state that somebody spoiled neither panics nor gives a value that is none.
pub fn history_spoiled_state(data: &[u8]) {
    // As text, whatever it says; then as the bytes of a good state's blocks.
    if let Ok(history) = serde_json::from_slice::<History>(data) {
        assert!(history.iter().take(100_000).all(|point| point.value.is_none_or(f64::is_finite)));
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
}

/// Any bytes, split at line feeds, are mined within bounds; a saved and restored miner goes on in the same way.
pub fn miner(data: &[u8]) {
    let config = MinerConfig {
        max_clusters: 8,
        max_siblings: 3,
        remembered_shapes: 16,
        max_line_bytes: 128,
        max_words: 8,
        ..MinerConfig::default()
    };
    let mut miner = Miner::new(config).expect("a valid setting");
    let mut folder = Folder::new(FoldConfig { max_lines: 4, max_bytes: 256 }).expect("a valid setting");
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    let mut twin: Option<Miner> = None;
    for (at, line) in lines.iter().enumerate() {
        if at == lines.len() / 2 {
            let text = serde_json::to_vec(&miner).expect("serialises");
            twin = Some(serde_json::from_slice(&text).expect("deserialises"));
        }
        let mined = miner.push(line);
        assert!(miner.len() <= 8 && mined.message <= line.len());
        assert!(miner.template(mined.id).is_some());
        if let Some(twin) = &mut twin {
            assert_eq!(twin.push(line), mined);
        }
        if let Some(record) = folder.push(line) {
            assert!(record.text.len() <= 256);
        }
    }
}
