//! Settings of a forecaster. `Default` is what is shipped: one setting for all series.

use serde::{Deserialize, Serialize};

/// Setting of a [`Forecaster`](super::Forecaster).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastConfig {
    /// Steps that the back-test looks ahead, and the distance of its origins. All windows follow from it: an hour of
    /// 5-minute steps is 12.
    pub horizon: usize,
    /// Days (or 24 horizons, in a series without a season) that the back-test covers; its errors make the bands.
    pub back_test_days: usize,
    /// Of these, the latest days that weigh the models.
    pub weight_days: usize,
    /// Past cycles that are searched for days like this one.
    pub memory_cycles: usize,
    /// Largest error against the better of the naive forecasts that still counts as skill.
    pub skill: f64,
    /// Try decomposition and exponential smoothing (30 to 100 times the cost) when the error of the cheap models against
    /// the seasonal naive forecast is above this. 0 always tries, 1e9 never.
    pub decompose_above: f64,
    /// Choose again before the day is over when the recent error is this many times the back-tested one.
    pub drift: f64,
    /// Longest horizon a caller may ask for, in steps.
    pub longest_horizon: usize,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self {
            horizon: 12,
            back_test_days: 5,
            weight_days: 3,
            memory_cycles: 28,
            skill: 0.95,
            decompose_above: 0.9,
            drift: 2.5,
            longest_horizon: 10_000,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[error("forecast setting {field} is {value}, it must be {limit}")]
pub struct ForecastConfigError {
    /// Field of [`ForecastConfig`].
    pub field: &'static str,
    /// What was given.
    pub value: f64,
    /// What is allowed.
    pub limit: &'static str,
}

impl ForecastConfig {
    /// Refuses settings out of range, naming the field.
    pub fn validate(&self) -> Result<(), ForecastConfigError> {
        let check = |field, value: f64, low: f64, high: f64, limit| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(ForecastConfigError { field, value, limit })
            }
        };
        check("horizon", self.horizon as f64, 1.0, 1_000.0, "1 to 1,000 steps")?;
        check("back_test_days", self.back_test_days as f64, 1.0, 60.0, "1 to 60")?;
        check(
            "weight_days",
            self.weight_days as f64,
            1.0,
            self.back_test_days as f64,
            "1 to back_test_days",
        )?;
        check("memory_cycles", self.memory_cycles as f64, 1.0, 366.0, "1 to 366")?;
        check("skill", self.skill, 0.0, 1.0, "0 to 1")?;
        check("decompose_above", self.decompose_above, 0.0, 1e9, "0 to 1e9")?;
        check("drift", self.drift, 1.0, 1e9, "1 to 1e9")?;
        check("longest_horizon", self.longest_horizon as f64, 1.0, 1e6, "1 to 1,000,000 steps")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_setting_is_valid_and_a_bad_one_is_named() {
        assert_eq!(ForecastConfig::default().validate(), Ok(()));
        let bad = ForecastConfig { weight_days: 9, ..ForecastConfig::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("weight_days"));
        assert!(ForecastConfig { skill: f64::NAN, ..ForecastConfig::default() }.validate().is_err());
    }
}
