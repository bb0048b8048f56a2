//! Numbers in, numbers out: streaming detectors with calibrated scores, and forecasts with bands.
//!
//! No clock, no I/O, no async, no Kubernetes: every function is deterministic and usable as a library.
//! One file per detector below [`detect`]; [`tail`] turns counts and scores into chances; [`series`] keeps and sums up
//! what was measured; [`slo`] watches objectives; [`correlate`] puts the findings of one fault together.

pub mod correlate;
pub mod cause;
pub mod detect;
pub mod series;
pub mod slo;
pub mod logs;
//! One file per detector below [`detect`] and per forecaster below [`forecast`]; [`backtest`] judges forecasts; [`tail`] turns counts and scores into chances.

pub mod backtest;
pub mod detect;
pub mod forecast;
pub mod tail;
mod words;
