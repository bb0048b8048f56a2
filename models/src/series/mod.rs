//! One series over time: compact history, even steps, robust summaries.
//!
//! A missing value is a gap (`None`) everywhere, never zero. Values that are not finite become gaps where they come in
//! ([`History`]) and are left out and counted where numbers are summed up ([`robust`]).

mod bits;
mod codec;
mod history;
pub mod resample;
pub mod robust;

pub use history::{Appended, History, HistoryConfig, HistoryError};
pub use resample::{Aggregate, ResampleConfig, ResampleError, resample};

use serde::{Deserialize, Serialize};

/// A reading, or the place of one that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, in the caller's unit.
    pub at: i64,
    /// What; `None` is a gap.
    pub value: Option<f64>,
}

#[cfg(test)]
mod tests;
