//! `targets::history_round_trip`: `cargo +nightly fuzz run history_round_trip` in `models/`.
#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::history_round_trip(data));
