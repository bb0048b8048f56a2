//! How much a series moves lately, against how much it usually moves.
//!
//! The logarithm of a short mean of absolute residuals against its own long mean: an exponentially weighted chart of
//! dispersion (Sweet 1986; logarithm of the spread: Crowder and Hamilton 1992). It sees what no single point shows: a
//! series that swings more or less than usual, and a run of residuals that are each only a little odd (the
//! short window against the long one of Ahmad et al. 2017).

use super::spread::Spread;
use crate::math::{exp, ln};
use serde::{Deserialize, Serialize};

/// Weight of a new point in the short mean.
const SHORT: f64 = 0.07;
/// Weight of a new point in the long mean of the logarithm.
const LONG: f64 = 0.0044;
/// Residuals, in usual spreads, count at most so much: one wild point is no activity.
const MOST: f64 = 7.0;
/// Less than this share of a usual spread is told apart no further.
const LEAST: f64 = 1e-3;
/// Points before anything is said.
const SETTLED: u32 = 60;
/// Smallest usual spread of the logarithm: a tenth more or less is never news.
const LEAST_SPREAD: f64 = 0.1;

/// Short mean of absolute residuals, and its usual logarithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    short: f64,
    usual: f64,
    spread: Spread,
    seen: u32,
}

impl Activity {
    /// Takes a residual in usual spreads; returns how far the recent activity is from its usual, in its own usual spreads
    /// (above 0: it moves more), 0 for the first points. `rate` and `clip` are those of [`Spread::learn`].
    pub fn observe(&mut self, spreads: f64, rate: f64, clip: f64) -> f64 {
        self.seen = self.seen.saturating_add(1);
        let first = 1.0 / f64::from(self.seen);
        self.short += SHORT.max(first) * (spreads.abs().min(MOST) - self.short);
        let distance = ln(self.short.max(LEAST)) - self.usual;
        self.usual += LONG.max(first) * distance;
        if self.seen <= SETTLED {
            return 0.0;
        }
        let answer = distance / self.spread.value().max(LEAST_SPREAD);
        self.spread.learn(distance, rate, clip);
        answer
    }

    /// The recent activity as a multiple of its usual.
    pub fn ratio(&self) -> f64 {
        self.short.max(LEAST) / exp(self.usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_swings_more_or_stops_moving_is_told_though_no_point_is_odd() {
        let usual = |turn: u32| f64::from(turn * 7 % 5) / 2.0 - 1.0;
        let mut activity = Activity::default();
        let mut last = 0.0;
        for turn in 1..=3_000 {
            last = activity.observe(usual(turn), 0.0007, 7.0);
        }
        assert!(last.abs() < 3.0, "{last}");
        let mut wide = activity;
        let more = (1..40).map(|turn| wide.observe(2.5 * usual(turn), 0.0007, 7.0)).fold(0.0, f64::max);
        assert!(more > 4.0 && (1.8..2.6).contains(&wide.ratio()), "{more}, {}", wide.ratio());
        let less = (1..40).map(|_| activity.observe(0.0, 0.0007, 7.0)).fold(0.0, f64::min);
        assert!(less < -8.0 && activity.ratio() < 0.2, "{less}, {}", activity.ratio());
    }
}
