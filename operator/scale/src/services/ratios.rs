//! How far the load goes beyond a base: an empirical distribution of ratios with a Pareto tail where nothing was seen.
//!
//! Peaks over a threshold are close to a Pareto distribution (Pickands 1975); its index is fixed, as a series has too few
//! extremes to learn it from, and the tail starts at the largest ratio that was seen.

use serde::{Deserialize, Serialize};

const BINS: usize = 256;
/// Bins to a factor of e: about 3 % each.
const FINE: f64 = 32.0;
/// Index of the tail: twice as far is an eighth as likely.
const INDEX: f64 = 3.0;
/// Weight of the tail, in observations.
const WEIGHT: f64 = 2.0;
/// Share of the steps that may go beyond the base when nothing was seen yet.
const UNSEEN: f64 = 0.2;

/// Ratios of what came to a base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    bins: Vec<f32>,
    total: f64,
    /// One past the highest bin that is not empty.
    end: usize,
}

impl Default for Ratios {
    fn default() -> Self {
        Self { bins: vec![0.0; BINS], total: 0.0, end: 0 }
    }
}

/// The bin of a ratio's logarithm.
fn bin(ratio: f64) -> usize {
    ((ratio * FINE).floor() + BINS as f64 / 2.0).clamp(0.0, BINS as f64 - 1.0) as usize
}

impl Ratios {
    /// Takes a ratio with a weight.
    pub fn add(&mut self, ratio: f64, weight: f64) {
        self.total += weight;
        if ratio <= 0.0 {
            // No load at all exceeds nothing.
            return;
        }
        let bin = bin(ratio.ln());
        self.bins[bin] += weight as f32;
        self.end = self.end.max(bin + 1);
    }

    /// Writes the chance of each level to be exceeded, the base given in replicas' worth. `logarithms` are those of the
    /// levels' replicas.
    pub fn exceedance(&self, base: f64, logarithms: &[f64], out: &mut [f32]) {
        let mut above = [0.0_f32; BINS + 1];
        for bin in (0..self.end).rev() {
            above[bin] = above[bin + 1] + self.bins[bin];
        }
        let unseen = self.total == 0.0;
        let top = if unseen { 0.0 } else { (self.end as f64 - BINS as f64 / 2.0) / FINE };
        let (base, share) = (base.ln(), if unseen { UNSEEN } else { 1.0 });
        let mut least = 1.0_f64;
        for (chance, level) in out.iter_mut().zip(logarithms) {
            let ratio = level - base;
            let beyond = (ratio - top).max(0.0);
            let tail = if beyond > 0.0 { (-INDEX * beyond).exp() } else { 1.0 };
            let seen = f64::from(above[bin(ratio)]);
            least = least.min((seen + WEIGHT * share * tail) / (self.total + WEIGHT));
            *chance = least as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_and_what_was_not_is_rare_but_possible() {
        let mut ratios = Ratios::default();
        for step in 0..1_000 {
            ratios.add(if step % 10 == 0 { 1.9 } else { 0.95 }, 1.0);
        }
        let mut chance = [0.0; 24];
        let logarithms: Vec<f64> = (0..24).map(|level| f64::from(level).ln()).collect();
        ratios.exceedance(5.0, &logarithms, &mut chance);
        assert!(chance[4] > 0.99 && (0.09..0.12).contains(&chance[6]), "{chance:?}");
        assert!(chance[10] < 0.005 && chance[20] > 0.0, "{chance:?}");
        assert!(chance.windows(2).all(|pair| pair[1] <= pair[0]), "{chance:?}");
    }
}
