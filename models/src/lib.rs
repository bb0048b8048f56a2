//! Numbers in, numbers out: streaming detectors with calibrated scores.
//!
//! No clock, no I/O, no async, no Kubernetes: every function is deterministic and usable as a library.
//! One file per detector below [`detect`]; [`tail`] turns counts and scores into chances; [`series`] keeps and sums up
//! what was measured; [`slo`] watches objectives; [`correlate`] puts the findings of one fault together.

pub mod correlate;
pub mod detect;
pub mod series;
pub mod slo;
pub mod logs;
pub mod tail;
mod words;
