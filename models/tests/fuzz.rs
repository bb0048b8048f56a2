//! The fuzz targets of the coder and the miner on 100,000 seeded inputs: good ones, mutated as fuzzers do it. `cargo fuzz` finds
//! more, as it sees which branches an input takes, but needs a nightly compiler; this runs with every `cargo test`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../fuzz/targets.rs"]
mod targets;

use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Longest input.
const LONGEST: usize = 600;
/// Numbers at which codes change their length.
const EDGES: [u64; 8] = [0, 1, 63, 64, 255, 2_048, i64::MAX as u64, u64::MAX];

/// Lines as programs write them, and the state of a history as text.
fn texts() -> Vec<Vec<u8>> {
    let mut history = homeostat_models::series::History::new(homeostat_models::series::HistoryConfig {
        block_bytes: 64,
        blocks: 2,
    })
    .unwrap();
    for turn in 0..20 {
        history.append(turn * 10, Some(turn as f64 / 4.0)).unwrap();
    }
    [
        "2026-01-02 10:00:01,123 INFO [main] a.b.C: user alice logged in from 10.0.0.1 after 3 ms\n\
         2026-01-02 10:00:02,001 ERROR [main] a.b.C: request failed\njava.lang.Error: gone\n\tat a.b.C.run(C.java:7)\n\tat a.b.D\n",
        "Jan  2 10:00:01 host kernel[12]: disk sda1 has <*> errors\r\nJan  2 10:00:02 host sshd[99]: Failed password for root\r\n",
        "W0102 10:00:01.123456       7 file.go:12] \"Pod is late\" pod=\"a/b-5f6585d649-fnmft\" took=\"2.5s\"\n{\"level\":\"warn\",\"x\":[1,2]}\n",
        "a\n\nb b\n\n| x | 0x1f | /a/b/c | true | ((([[{{\n\u{fffd}\u{0}\u{7f}\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([serde_json::to_vec(&history).unwrap()])
    .collect()
}

/// Records of a history: gauges, counters, gaps, numbers with all their digits.
fn records(random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(0..LONGEST / 17) {
        bytes.push(*[0_u8, 0, 1, 2, 4, 5, 8, 12, 7].choose(random).unwrap());
        for _ in 0..2 {
            let number =
                if random.random_bool(0.3) { *EDGES.choose(random).unwrap() } else { random.next_u64() };
            bytes.extend(number.to_le_bytes());
        }
    }
    bytes
}

/// One to eight changes: bits, bytes, pieces left out, doubled, or taken from another input.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..=8) {
        let place = random.random_range(0..=input.len());
        let end = (place + random.random_range(1..=32)).min(input.len());
        match random.random_range(0..7) {
            0 if place < input.len() => input[place] ^= 1 << random.random_range(0..8),
            1 if place < input.len() => input[place] = random.random(),
            2 => drop(input.drain(place..end)),
            3 => {
                let piece = input[place..end].to_vec();
                input.splice(place..place, piece);
            }
            4 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let to = (from + random.random_range(1..=64)).min(other.len());
                input.splice(place..end, other[from..to].iter().copied());
            }
            5 => {
                input.splice(place..place, EDGES.choose(random).unwrap().to_le_bytes());
            }
            _ => input.insert(place, *b" \n\t\r<*>[]\"=0\xff".choose(random).unwrap()),
        }
    }
    input.truncate(LONGEST);
}

fn drive(inputs: u64, seed: u64, good: impl Fn(&mut ChaCha8Rng) -> Vec<u8>, target: fn(&[u8])) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for turn in 0..inputs {
        let mut input = good(&mut random);
        // Every fiftieth as it is.
        if turn % 50 > 0 {
            let other = good(&mut random);
            mutate(&mut input, &other, &mut random);
        }
        target(&input);
    }
}

#[test]
fn sixty_thousand_histories_come_back_bit_by_bit() {
    drive(60_000, 1, records, targets::history_round_trip);
}

#[test]
fn ten_thousand_spoiled_states_do_no_harm() {
    let texts = texts();
    let good = |random: &mut ChaCha8Rng| {
        if random.random_bool(0.5) { records(random) } else { texts.choose(random).unwrap().clone() }
    };
    drive(10_000, 2, good, targets::history_spoiled_state);
}

#[test]
fn thirty_thousand_logs_are_mined_within_bounds() {
    let texts = texts();
    drive(30_000, 3, |random| texts.choose(random).unwrap().clone(), targets::miner);
}
