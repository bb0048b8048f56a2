//! How far the load goes beyond a base: an empirical distribution of ratios with a Pareto tail where nothing was seen.
//!
//! Peaks over a threshold are close to a Pareto distribution (Pickands 1975); its index is fixed, as a series has too few
//! extremes to learn it from, and the tail starts at the largest ratio that was seen.

use serde::{Deserialize, Serialize};

const BINS: usize = 512;
/// Bins to a factor of e: about 3 % each.
const FINE: f64 = 32.0;
/// Index of the tail: twice as far is an eighth as likely.
const INDEX: i32 = 3;
/// Weight of the tail, in observations.
const WEIGHT: f64 = 2.0;
/// Share of the steps that may go beyond the base when nothing was seen yet.
const UNSEEN: f64 = 0.2;

/// Ratios of what came to a base.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    /// The lowest bin that is not empty, and all up to the highest.
    low: usize,
    bins: Vec<f32>,
    total: f64,
}

/// The bin of a ratio's logarithm.
fn bin(logarithm: f64) -> usize {
    ((logarithm * FINE).floor() + BINS as f64 / 2.0).clamp(0.0, BINS as f64 - 1.0) as usize
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
        if self.bins.is_empty() {
            self.low = bin;
        }
        if bin < self.low {
            let missing = self.low - bin;
            self.bins.splice(0..0, std::iter::repeat_n(0.0, missing));
            self.low = bin;
        }
        if bin - self.low >= self.bins.len() {
            self.bins.resize(bin - self.low + 1, 0.0);
        }
        self.bins[bin - self.low] += weight as f32;
    }

    /// Writes the chance of each number of replicas, in rising order, to be exceeded, the base given in replicas' worth.
    /// Each number comes with its logarithm.
    pub fn exceedance(&self, base: f64, replicas: &[(f64, f64)], out: &mut [f32]) {
        let unseen = self.total == 0.0;
        let end = self.low + self.bins.len();
        let top = if unseen { 0.0 } else { (end as f64 - BINS as f64 / 2.0) / FINE };
        // The most that was seen of this base, in replicas' worth.
        let most = base * top.exp();
        let (mut above, mut next) = (0.0_f32, self.bins.len());
        let logarithm_of_base = base.ln();
        for (chance, (level, logarithm)) in out.iter_mut().zip(replicas).rev() {
            let from = bin(logarithm - logarithm_of_base).saturating_sub(self.low).min(next);
            above += self.bins[from..next].iter().rev().sum::<f32>();
            next = from;
            let tail = if *level > most { (most / level).powi(INDEX) } else { 1.0 };
            // Before anything was seen it stays as it is: what does not carry it now is too little for sure.
            let share = if unseen && *level >= most { UNSEEN } else { 1.0 };
            *chance = ((f64::from(above) + WEIGHT * share * tail) / (self.total + WEIGHT)).min(1.0) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_anything_was_seen_the_load_stays_and_may_grow() {
        let mut chance = [0.0; 24];
        let replicas: Vec<(f64, f64)> =
            (0..24).map(|level| (f64::from(level), f64::from(level).ln())).collect();
        Ratios::default().exceedance(8.0, &replicas, &mut chance);
        assert!(chance[..8].iter().all(|chance| *chance > 0.99), "{chance:?}");
        assert!((0.1..0.3).contains(&chance[8]) && chance[16] < 0.05 && chance[23] > 0.0, "{chance:?}");
    }

    #[test]
    fn what_was_seen_counts_and_what_was_not_is_rare_but_possible() {
        let mut ratios = Ratios::default();
        for step in 0..1_000 {
            ratios.add(if step % 10 == 0 { 1.9 } else { 0.95 }, 1.0);
        }
        let mut chance = [0.0; 24];
        let replicas: Vec<(f64, f64)> =
            (0..24).map(|level| (f64::from(level), f64::from(level).ln())).collect();
        ratios.exceedance(5.0, &replicas, &mut chance);
        assert!(chance[4] > 0.99 && (0.09..0.12).contains(&chance[6]), "{chance:?}");
        assert!(chance[10] < 0.005 && chance[20] > 0.0, "{chance:?}");
        assert!(chance.windows(2).all(|pair| pair[1] <= pair[0]), "{chance:?}");
    }
}
