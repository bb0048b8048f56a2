//! An alarm level that tunes itself to an accepted rate of alarm starts.
//!
//! Peaks of a score come in clusters, so single rows say little about how often an alarm would start. The largest
//! score of each block of rows does (block maxima: Gumbel 1958; Coles 2001, chapter 3). The level is the quantile
//! of the last block maxima that an accepted share of blocks passes, moved part of the way to a prior level so that
//! a very quiet series does not alarm on trifles, but never so low that twice the accepted share passes. Until the blocks can show so small a share, the prior stands alone.
//!
//! The level is made by comparing, adding and multiplying only, so it is the same on every machine.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The prior may lower the level until so many times the accepted starts pass it, not further.
pub(super) const MOST_FACTOR: f64 = 2.0;

/// What the alarm level is tuned by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ThresholdSetting {
    pub block_rows: u32,
    pub blocks: u32,
    pub onsets_per_row: f64,
    pub prior: f64,
    pub prior_share: f64,
}

/// Bounded memory of block maxima.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Threshold {
    setting: ThresholdSetting,
    /// Oldest first.
    maxima: VecDeque<f64>,
    /// The same, largest first.
    ranked: Vec<f64>,
    rows: u32,
    largest: f64,
    level: f64,
    /// Level over quantile: how far the tail is moved towards the prior.
    moved: f64,
}

impl Threshold {
    pub fn new(setting: ThresholdSetting) -> Self {
        Self {
            setting,
            maxima: VecDeque::new(),
            ranked: Vec::new(),
            rows: 0,
            largest: 0.0,
            level: setting.prior,
            moved: 1.0,
        }
    }

    /// Score above which an alarm starts.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Share of blocks that may pass the level.
    fn accepted(&self) -> f64 {
        self.setting.onsets_per_row * f64::from(self.setting.block_rows)
    }

    /// Whether the remembered blocks can show the accepted share.
    fn tuned(&self) -> bool {
        self.accepted() * (self.ranked.len() as f64 + 1.0) >= 1.0
    }

    /// Chance, for each usual row, that an alarm this strong starts there: between 0 and 1. At the level it is
    /// the accepted rate.
    pub fn chance(&self, score: f64) -> f64 {
        let block = if self.tuned() {
            self.tail(score / self.moved)
        } else {
            (self.accepted() * (self.level / score.max(1e-300)).powi(2)).min(1.0)
        };
        (block / f64::from(self.setting.block_rows)).clamp(0.0, 1.0)
    }

    /// Share of remembered blocks whose largest score is above `score`; a power law beyond the largest, with the
    /// exponent of the top tenth (Hill 1975), kept at 10 or less.
    fn tail(&self, score: f64) -> f64 {
        let count = self.ranked.len() as f64 + 1.0;
        let above = self.ranked.partition_point(|&maximum| maximum > score);
        match (above.checked_sub(1).and_then(|i| self.ranked.get(i)), self.ranked.get(above)) {
            (None, Some(&largest)) if largest > 0.0 => {
                let top = &self.ranked[..=(self.ranked.len() / 10).min(self.ranked.len() - 1)];
                let least = top[top.len() - 1].max(1e-300);
                let excess =
                    top.iter().map(|&maximum| (maximum / least).ln()).sum::<f64>() / top.len() as f64;
                (score / largest).powf(-1.0 / excess.max(0.1)) / count
            }
            (None, _) => 1.0 / count,
            (Some(&upper), Some(&lower)) => {
                let part = if upper > lower { (upper - score) / (upper - lower) } else { 0.0 };
                (above as f64 + part) / count
            }
            (Some(_), None) => 1.0,
        }
    }

    /// Takes the score of the next row.
    pub fn learn(&mut self, score: f64) {
        self.largest = self.largest.max(score);
        self.rows += 1;
        if self.rows >= self.setting.block_rows {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let maximum = self.largest;
        (self.rows, self.largest) = (0, 0.0);
        if self.maxima.len() >= self.setting.blocks as usize
            && let Some(oldest) = self.maxima.pop_front()
        {
            let place = self.ranked.partition_point(|&kept| kept > oldest);
            self.ranked.remove(place);
        }
        self.maxima.push_back(maximum);
        let place = self.ranked.partition_point(|&kept| kept > maximum);
        self.ranked.insert(place, maximum);
        if self.tuned() {
            self.tune();
        }
    }

    fn tune(&mut self) {
        let quantile = self.quantile(self.accepted());
        let share = self.setting.prior_share;
        let moved = (1.0 - share) * quantile + share * self.setting.prior;
        // However low the prior, no more blocks than the bound allows may pass.
        self.level = moved.max(self.quantile(MOST_FACTOR * self.accepted()));
        self.moved = if quantile > 0.0 { self.level / quantile } else { 1.0 };
    }

    /// Score that this share of the remembered blocks passes, between two of them where it falls between.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.ranked.len() - 1;
        let rank = share * (self.ranked.len() as f64 + 1.0) - 1.0;
        let upper = (rank.floor() as usize).min(last);
        let lower = (upper + 1).min(last);
        self.ranked[upper] + rank.fract() * (self.ranked[lower] - self.ranked[upper])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> ThresholdSetting {
        ThresholdSetting { block_rows: 10, blocks: 50, onsets_per_row: 0.01, prior: 5.0, prior_share: 0.5 }
    }

    #[test]
    fn the_level_lies_between_the_prior_and_what_an_accepted_share_of_blocks_passes() {
        let mut threshold = Threshold::new(setting());
        assert!((threshold.level() - 5.0).abs() < 1e-12);
        for row in 0..500 {
            threshold.learn(f64::from(row % 100));
        }
        // Block maxima are 9, 19, ... 99 in turn: one block in ten passes 89 or a little more.
        // Half way to the prior would be 47; one block in five passes 79 or a little more, and the level stays there.
        assert!((78.0..90.0).contains(&threshold.level()), "{}", threshold.level());
        let accepted = threshold.chance(threshold.level());
        assert!((accepted - 0.01).abs() < 0.001, "{accepted}");
        assert!(threshold.chance(threshold.level() * 4.0) < accepted);
        assert!(threshold.chance(0.0) > accepted);
    }

    #[test]
    fn old_blocks_leave() {
        let mut threshold = Threshold::new(setting());
        (0..1_000).for_each(|_| threshold.learn(1_000.0));
        (0..500).for_each(|_| threshold.learn(1.0));
        assert_eq!(threshold.maxima.len(), 50);
        assert_eq!(threshold.ranked, vec![1.0; 50]);
        assert!((threshold.level() - 3.0).abs() < 1e-12);
    }
}
