//! `targets::history_spoiled_state`: `cargo +nightly fuzz run history_spoiled_state` in `models/`.
#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::history_spoiled_state(data));
