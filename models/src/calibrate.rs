//! From scores to chances: the tail of each series' own scores, tuned by itself.
//!
//! Peaks over threshold (Pickands 1975; for streams Siffer et al., KDD 2017): a high quantile is tracked, and what
//! lies beyond is modelled by a generalised Pareto tail. Its shape comes from the moments of the log excesses
//! (Dekkers, Einmahl and de Haan 1989), which exist for every tail weight and need two numbers. Heavy tails are
//! followed; a tail lighter than exponential is treated as exponential, so that a chance never drops to zero at an
//! end point that was only guessed. Fixed memory, one update a point.
//!
//! Scores that are themselves very unlikely say little of the usual state. The caller passes a weight below 1 for
//! them (a redescending influence, Hampel 1974): incidents do not teach the tail, a slowly widening tail does.

use crate::math::{exp, ln};
use serde::{Deserialize, Serialize};

/// Share of the scores that the tail models.
const SHARE: f64 = 0.05;
/// Threshold before anything was seen: the 90 % point of a half-normal score.
const FIRST_THRESHOLD: f64 = 1.6;
/// Mean log excess before anything was seen, that of a normal score.
const FIRST_MEAN_LOG: f64 = 0.25;
/// How many excesses the prior is worth.
const PRIOR_EXCESSES: f64 = 10.0;
/// Excesses that are remembered (exponential forgetting after that many).
const MEMORY: f64 = 200.0;
/// Log excesses count at most this many times their mean, so one wild score cannot make the tail blind.
const LOG_CLIP: f64 = 5.0;
/// Largest surprisal that is told apart, in nats beyond the threshold.
const MOST: f64 = 60.0;

/// The upper tail of one stream of non-negative scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    threshold: f64,
    mean_log: f64,
    mean_log_square: f64,
    excesses: f64,
    seen: f64,
    exceeding: f64,
}

impl Default for Tail {
    fn default() -> Self {
        Self::new()
    }
}

impl Tail {
    /// A tail that has seen nothing and starts as that of a half-normal score.
    pub fn new() -> Self {
        Self {
            threshold: FIRST_THRESHOLD,
            mean_log: FIRST_MEAN_LOG,
            mean_log_square: 1.8 * FIRST_MEAN_LOG * FIRST_MEAN_LOG,
            excesses: PRIOR_EXCESSES,
            seen: 0.0,
            exceeding: SHARE,
        }
    }

    /// Learns from a score with a weight in [0, 1]. Scores that are not finite or negative are ignored.
    pub fn learn(&mut self, score: f64, weight: f64) {
        if !(score >= 0.0 && score.is_finite() && weight > 0.0) {
            return;
        }
        let weight = weight.min(1.0);
        self.seen = (self.seen + weight).min(1e9);
        let over = score > self.threshold;
        let rate = (1.0 / self.seen).max(0.0005) * weight;
        self.exceeding += rate.min(1.0) * (f64::from(u8::from(over)) - self.exceeding);
        let step = (8.0 / (self.seen + 20.0)).clamp(0.004, 0.3) * weight;
        if over {
            let excess = ln(score / self.threshold).min(LOG_CLIP * self.mean_log);
            self.excesses = (self.excesses + weight).min(MEMORY);
            let share = weight / self.excesses;
            self.mean_log += share * (excess - self.mean_log);
            self.mean_log_square += share * (excess * excess - self.mean_log_square);
            self.threshold *= exp(step * (1.0 - SHARE));
        } else {
            // exp(-y) for small y, to second order: this branch is taken by nearly every point.
            let y = step * SHARE;
            self.threshold *= 1.0 - y + 0.5 * y * y;
        }
        // Below one usual spread nothing is a tail.
        self.threshold = self.threshold.clamp(1.0, 1e12);
    }

    /// `-ln` of the chance of a score at least this large in the usual state, in nats (0 = certain).
    pub fn surprisal(&self, score: f64) -> f64 {
        if score.is_nan() || score <= 0.0 {
            return 0.0;
        }
        let base = -ln(SHARE.min(self.exceeding.max(1e-4)));
        if score <= self.threshold {
            // Log-linear from 1 at zero: only the order matters here.
            return base * score / self.threshold;
        }
        let mean = self.mean_log.max(0.03);
        let ratio = (mean * mean / self.mean_log_square.max(1.02 * mean * mean)).min(0.95);
        let negative = (1.0 - 0.5 / (1.0 - ratio)).clamp(-0.5, 0.0);
        let shape = (mean + negative).clamp(0.0, 0.5);
        let scale = self.threshold * mean * (1.0 - negative);
        let excess = (score - self.threshold) / scale;
        let beyond = if shape < 1e-4 { excess } else { ln(1.0 + shape * excess) / shape };
        base + beyond.min(MOST)
    }

    /// Chance of a score at least this large in the usual state, 0 to 1.
    pub fn chance(&self, score: f64) -> f64 {
        exp(-self.surprisal(score)).min(1.0)
    }

    /// The score beyond which the tail is modelled.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }
}
