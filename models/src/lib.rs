//! Numbers in, numbers out: streaming detectors with calibrated scores.
//!
//! No clock, no I/O, no async, no Kubernetes: every function is deterministic and usable as a library.
//! One file per detector below [`detect`]; [`tail`] turns counts and scores into chances.

pub mod cause;
pub mod detect;
pub mod tail;
