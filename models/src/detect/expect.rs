//! What is expected of the next point: a fast and a slow level, each with and without the profile of the day.

use super::seasonal::{Confirmation, DayProfile};
use serde::{Deserialize, Serialize};

/// Weight of a new point in the fast level.
const FAST: f64 = 0.1;
/// Weight of a new point in the slow level.
const SLOW: f64 = 0.008;

/// Exponentially weighted levels of a series and of the series without its profile, and the profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    seen: u32,
    fast: [f64; 2],
    slow: [f64; 2],
    profile: DayProfile,
    confirmation: Confirmation,
}

/// What was expected of a point, and how far off it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residuals {
    /// Value expected from the fast level.
    pub expected: f64,
    /// Value minus the fast level (and profile).
    pub fast: f64,
    /// Value minus the slow level (and profile).
    pub slow: f64,
    /// Usual spread at this time of day as a multiple of the usual spread.
    pub spread_factor: f64,
    /// The profile of the day was used.
    pub seasonal: bool,
    plain: f64,
    profiled: f64,
}

impl Expectation {
    /// Residuals of a point that is not learned yet.
    pub fn residuals(&self, at_seconds: i64, step: i64, value: f64) -> Residuals {
        let profile = self.profile.level(at_seconds);
        let (fast, slow) =
            if self.seen == 0 { ([value, value], [value, value]) } else { (self.fast, self.slow) };
        let seasonal = self.confirmation.confirmed(step);
        let (side, season) = if seasonal { (1, profile) } else { (0, 0.0) };
        let spread_factor = match self.profile.spread(at_seconds) {
            Some(spread) if seasonal && self.confirmation.with() > 0.0 => {
                (spread / self.confirmation.with()).clamp(0.7, 5.0)
            }
            _ => 1.0,
        };
        Residuals {
            expected: fast[side] + season,
            fast: value - season - fast[side],
            slow: value - season - slow[side],
            spread_factor,
            seasonal,
            plain: value - fast[0],
            profiled: value - profile - fast[1],
        }
    }

    /// Learns from the point; `reach` is the largest fast residual that is taken at face value.
    pub fn learn(&mut self, at_seconds: i64, step: i64, value: f64, residuals: &Residuals, reach: f64) {
        if self.seen == 0 {
            self.fast = [value, value];
            self.slow = [value, value];
        }
        self.seen = self.seen.saturating_add(1);
        let count = f64::from(self.seen);
        let (fast, slow) = (FAST.max(1.0 / count), SLOW.max(1.0 / count));
        let plain = residuals.plain.clamp(-reach, reach);
        let profiled = residuals.profiled.clamp(-reach, reach);
        let profile = self.profile.level(at_seconds);
        self.slow[0] += slow * (value - self.slow[0]);
        self.slow[1] += slow * (value - profile - self.slow[1]);
        self.fast[0] += fast * plain;
        self.fast[1] += fast * profiled;
        self.profile.learn(at_seconds, step, profiled * (1.0 - fast), profiled.abs());
        self.confirmation.observe(plain.abs(), profiled.abs());
    }
}
