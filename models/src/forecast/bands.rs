//! Bands: how far above and below its median a forecast must reach so that a given share of outcomes lies inside.
//!
//! Split conformal prediction on back-test errors (Vovk, Gammerman and Shafer 2005) divided by an expected size, as in
//! locally weighted conformal bands (Lei et al. 2018). The size grows with how much similar days disagree, with the
//! step, and with how wrong the last day was. The level follows misses (adaptive conformal inference, Gibbs and Candès
//! 2021), so that coverage holds when the series changes. No distribution is assumed.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Weight of the usual error of a step against the disagreement of similar days.
const USUAL: f64 = 0.6;
/// How fast the level follows misses, per origin.
const FOLLOW: f64 = 0.02;
/// What is left of an old error's weight after each origin: half after eight.
const FADE: f64 = 0.917;
/// One error counts as at most this many usual ones.
const CAP: f64 = 5.0;
/// Scaled errors below which bands are the largest error seen.
const FEW: usize = 40;

/// Errors of past forecasts, and what follows for the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bands {
    /// Usual absolute error of each step.
    usual: Vec<f64>,
    /// The same over all steps.
    error: f64,
    /// Something was back-tested, and without any error.
    #[serde(default)]
    exact: bool,
    /// What turns a disagreement into an error of the same size.
    spread_to_error: f64,
    /// Errors in units of their expected size, oldest first.
    scaled: VecDeque<f32>,
    /// Errors that are kept.
    kept: usize,
    /// Weighted sum of the last errors, and of the weights.
    recent: (f64, f64),
    /// What misses have added to the level, below and above.
    shift: (f64, f64),
    /// Scaled errors at the 10th and the 90th percentile.
    edges: (f64, f64),
}

impl Bands {
    /// Learns from back-tested origins, oldest first: error (actual minus forecast; NaN where nothing was seen) and
    /// disagreement of each step. `shift` is what an earlier choice had learnt from misses.
    pub fn learn(errors: &[Vec<f64>], spreads: &[Vec<f64>], horizon: usize, shift: (f64, f64)) -> Self {
        let per_step: Vec<f64> =
            (0..horizon).map(|step| mean_absolute(errors.iter().map(|row| row[step]))).collect();
        let usual = (0..horizon)
            .map(|step| {
                let near = &per_step[step.saturating_sub(1)..(step + 2).min(horizon)];
                near.iter().sum::<f64>() / near.len() as f64
            })
            .collect();
        let error = mean_absolute(errors.iter().flatten().copied());
        let spread = mean_absolute(spreads.iter().flatten().copied());
        let mut bands = Self {
            usual,
            error,
            exact: error <= 0.0 && errors.iter().flatten().any(|error| error.is_finite()),
            spread_to_error: if spread > 0.0 { error / spread } else { 0.0 },
            scaled: VecDeque::with_capacity(errors.len() * horizon),
            kept: errors.len().max(1) * horizon,
            recent: (0.0, 0.0),
            shift,
            edges: (0.0, 0.0),
        };
        for (row, spread) in errors.iter().zip(spreads) {
            bands.remember(row, spread);
        }
        bands.settle();
        bands
    }

    /// Takes the errors of a forecast whose outcome is known now.
    pub fn observe(&mut self, errors: &[f64], spread: &[f64]) {
        let scaled = self.remember(errors, spread);
        if scaled.is_empty() {
            return;
        }
        let share = |count: usize| count as f64 / scaled.len() as f64;
        let below = share(scaled.iter().filter(|error| f64::from(**error) < self.edges.0).count());
        let above = share(scaled.iter().filter(|error| f64::from(**error) > self.edges.1).count());
        self.shift.0 = (self.shift.0 + FOLLOW * (below - 0.1)).clamp(-0.3, 0.095);
        self.shift.1 = (self.shift.1 + FOLLOW * (above - 0.1)).clamp(-0.3, 0.095);
        self.settle();
    }

    /// Distances below and above the median, for each step; the disagreement of similar days given.
    pub fn reach(&self, spread: &[f64]) -> Vec<(f64, f64)> {
        let sizes = self.sizes(spread);
        sizes
            .into_iter()
            .map(|size| ((self.edges.0 * size).min(0.0), (self.edges.1 * size).max(0.0)))
            .collect()
    }

    /// How large the recent errors are against the usual; 1 is as usual. Infinite when there are any where the back-test was
    /// exact.
    pub fn recent(&self) -> f64 {
        if self.recent.1 > 0.0 && self.error > 0.0 {
            self.recent.0 / self.recent.1 / self.error
        } else if self.exact && self.recent.0 > 0.0 {
            f64::INFINITY
        } else {
            1.0
        }
    }

    /// What misses have added to the level.
    pub fn shift(&self) -> (f64, f64) {
        self.shift
    }

    /// Expected size of the error of each step. Steps beyond the back-tested ones grow with the root of the time.
    fn sizes(&self, spread: &[f64]) -> Vec<f64> {
        // Nothing is expected where the back-test was exact, however large the recent errors are.
        let recent = if self.error > 0.0 { self.recent().sqrt() } else { 1.0 };
        let known = self.usual.len();
        (0..spread.len())
            .map(|step| {
                let usual =
                    self.usual[step.min(known - 1)] * ((step + 1).max(known) as f64 / known as f64).sqrt();
                (self.spread_to_error * spread[step] + USUAL * usual) * recent + 1e-3 * self.error
            })
            .collect()
    }

    /// Scales errors by what was expected before them, and keeps them.
    fn remember(&mut self, errors: &[f64], spread: &[f64]) -> Vec<f32> {
        let scaled: Vec<f32> = errors
            .iter()
            .zip(self.sizes(spread))
            .filter(|(error, _)| error.is_finite())
            .map(|(error, size)| if size > 0.0 { (error / size) as f32 } else { 0.0 })
            .collect();
        if scaled.is_empty() {
            return scaled;
        }
        let cap = if self.error > 0.0 { CAP * self.error } else { f64::INFINITY };
        let error = mean_absolute(errors.iter().copied()).min(cap);
        self.recent = (self.recent.0 * FADE + error, self.recent.1 * FADE + 1.0);
        let over = (self.scaled.len() + scaled.len()).saturating_sub(self.kept);
        self.scaled.drain(..over.min(self.scaled.len()));
        self.scaled.extend(&scaled);
        scaled
    }

    /// Finds the percentiles anew.
    fn settle(&mut self) {
        let mut all: Vec<f32> = self.scaled.iter().copied().collect();
        let count = all.len();
        if count == 0 {
            self.edges = (0.0, 0.0);
            return;
        }
        let mut at = |share: f64| {
            let rank = if count < FEW && share > 0.5 {
                count
            } else if count < FEW {
                1
            } else {
                (share * (count + 1) as f64).round() as usize
            };
            let (_, value, _) = all.select_nth_unstable_by(rank.clamp(1, count) - 1, f32::total_cmp);
            f64::from(*value)
        };
        self.edges = (at(0.1 - self.shift.0), at(0.9 + self.shift.1));
    }
}

/// Mean absolute value of what is finite; 0 of nothing.
fn mean_absolute(values: impl Iterator<Item = f64>) -> f64 {
    super::history::mean(values.map(f64::abs)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors that run evenly through -1 to 1.
    fn even(rows: usize) -> Vec<Vec<f64>> {
        (0..rows)
            .map(|row| {
                (0..12).map(|step| f64::from((row * 12 + step) as u32 * 37 % 200) / 100.0 - 1.0).collect()
            })
            .collect()
    }

    #[test]
    fn four_fifths_of_even_errors_lie_inside() {
        let (errors, spreads) = (even(120), vec![vec![1.0; 12]; 120]);
        let bands = Bands::learn(&errors, &spreads, 12, (0.0, 0.0));
        let (low, high) = bands.reach(&[1.0; 12])[5];
        assert!((low + 0.8).abs() < 0.1 && (high - 0.8).abs() < 0.1, "{low} {high}");
        assert_eq!(bands.scaled.len(), 1_440);
    }

    #[test]
    fn bands_widen_when_errors_grow_and_stay_bounded_in_memory() {
        let (errors, spreads) = (even(60), vec![vec![1.0; 12]; 60]);
        let mut bands = Bands::learn(&errors, &spreads, 12, (0.0, 0.0));
        let before = bands.reach(&[1.0; 12])[0].1;
        for _ in 0..30 {
            bands.observe(&[2.0; 12], &[1.0; 12]);
        }
        assert!(bands.reach(&[1.0; 12])[0].1 > 1.5 * before);
        assert!(bands.recent() > 2.0);
        assert_eq!(bands.scaled.len(), 720);
    }

    #[test]
    fn an_error_after_an_exact_back_test_is_beyond_all_that_is_usual() {
        let seen = |back_tested: &[Vec<f64>]| {
            let mut bands = Bands::learn(back_tested, back_tested, 12, (0.0, 0.0));
            let before = bands.recent();
            bands.observe(&[2.0; 12], &[1.0; 12]);
            (before, bands.recent(), bands.reach(&[1.0; 12])[0])
        };
        let exact: Vec<Vec<f64>> = even(60).iter().map(|row| vec![0.0; row.len()]).collect();
        assert_eq!(seen(&exact), (1.0, f64::INFINITY, (0.0, 0.0)));
        assert_eq!(seen(&[]), (1.0, 1.0, (0.0, 0.0)), "nothing was back-tested");
    }

    #[test]
    fn nothing_seen_gives_no_reach() {
        let bands = Bands::learn(&[vec![f64::NAN; 12]], &[vec![0.0; 12]], 12, (0.0, 0.0));
        assert_eq!(bands.reach(&[0.0; 2]), [(0.0, 0.0); 2]);
    }
}
