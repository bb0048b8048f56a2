//! Numbers in, numbers out: streaming detectors with calibrated scores.
//!
//! No clock, no I/O, no async, no Kubernetes: every function is deterministic and usable as a library.
//! One file per detector below [`detect`]; [`calibrate`] and [`tail`] turn scores and counts into chances.

pub mod calibrate;
pub mod detect;
mod math;
pub mod tail;
