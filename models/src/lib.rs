//! Numbers in, numbers out: streaming detectors with calibrated scores, forecasts with bands, log templates, causes.
//!
//! No clock, no I/O, no async, no Kubernetes: every function is deterministic and usable as a library.
//!
//! | module | what it does |
//! |---|---|
//! | [`series`] | keeps and sums up what was measured |
//! | [`detect`] | says what is abnormal; one file per detector |
//! | [`calibrate`] | turns each score into a chance that means the same for every series |
//! | [`slo`] | watches objectives |
//! | [`forecast`] | says what comes, with bands; one file per forecaster |
//! | [`backtest`] | judges forecasts by the past |
//! | [`logs`] | finds the templates behind log lines, and what is new about them |
//! | [`cause`] | ranks what may be behind a fault, with the evidence |
//! | [`correlate`] | puts the findings of one fault together |
//! | [`tail`] | turns counts and scores into chances |

pub mod backtest;
pub mod calibrate;
pub mod cause;
pub mod correlate;
pub mod detect;
pub mod forecast;
pub mod logs;
mod math;
pub mod series;
pub mod slo;
pub mod tail;
mod words;
