//! Chances: how likely an observation is when nothing is wrong.

/// Upper bound on the chance of seeing at least `successes` in `trials` when each succeeds with `rate`.
///
/// The Chernoff bound `exp(-n · KL(k/n ‖ p))` (Chernoff 1952; Hoeffding 1963, theorem 1). Always at least the
/// true tail, so an alarm made from it is never too eager. Returns 1 when the share is not above `rate`,
/// and for empty or meaningless input.
///
/// ```
/// use homeostat_models::tail::binomial_upper;
/// assert!(binomial_upper(12, 12, 0.001) < 1e-30);
/// assert!(binomial_upper(1, 1000, 0.001) > 0.3);
/// ```
pub fn binomial_upper(successes: u64, trials: u64, rate: f64) -> f64 {
    if trials == 0 || successes == 0 || !rate.is_finite() || rate >= 1.0 {
        return 1.0;
    }
    let trials_f = trials as f64;
    let share = (successes.min(trials) as f64) / trials_f;
    let rate = rate.max(1e-9);
    if share <= rate {
        return 1.0;
    }
    let mut divergence = share * (share / rate).ln();
    if share < 1.0 {
        divergence += (1.0 - share) * ((1.0 - share) / (1.0 - rate)).ln();
    }
    (-trials_f * divergence).exp().min(1.0)
}

/// Tail of scores that tunes itself: beyond a high quantile, scores are modelled as exponential
/// (peaks over threshold, Pickands 1975; used for streams by Siffer et al., KDD 2017, here with shape 0).
///
/// Fixed memory: the quantile is tracked by stochastic approximation (Robbins and Monro 1951), the mean
/// excess by a decaying average.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ScoreTail {
    /// Share of scores above `threshold` that is aimed at.
    share: f64,
    threshold: f64,
    excess: f64,
    seen: u64,
}

impl ScoreTail {
    /// A tail that models the top `share` (0 < share < 1) of the scores. The prior is a half-normal
    /// score with unit spread, so a fresh tail already gives sane chances.
    pub fn new(share: f64) -> Self {
        let share = if share.is_finite() { share.clamp(1e-4, 0.5) } else { 0.02 };
        Self { share, threshold: 2.33, excess: 0.45, seen: 0 }
    }

    /// Learns from a score that belongs to the usual state. Non-finite and negative scores are ignored.
    pub fn learn(&mut self, score: f64) {
        if !score.is_finite() || score < 0.0 {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        // A step that shrinks to 1 % keeps the quantile able to follow slow change.
        let step = (1.0 / (self.seen as f64).sqrt()).clamp(0.01, 0.2);
        if score > self.threshold {
            let weight = 0.05;
            // A single wild score must not make the tail blind: its weight is bounded.
            let excess = (score - self.threshold).min(5.0 * self.excess + 1.0);
            self.excess += weight * (excess - self.excess);
            self.threshold += step * (1.0 - self.share);
        } else {
            self.threshold -= step * self.share;
        }
        self.threshold = self.threshold.max(0.5);
        self.excess = self.excess.max(0.2);
    }

    /// Chance of a score at least this large in the usual state, 0 to 1.
    pub fn chance(&self, score: f64) -> f64 {
        if !score.is_finite() {
            return 1.0;
        }
        if score <= self.threshold {
            // Between 1 at zero and `share` at the threshold, log-linear: only the order matters here.
            return self.share.powf((score / self.threshold).clamp(0.0, 1.0));
        }
        self.share * (-(score - self.threshold) / self.excess).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chance_is_honest_on_half_normal_scores() {
        // Sum of uniforms as a stand-in for a normal variable; deterministic.
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64) / ((1_u64 << 53) as f64)
        };
        let mut tail = ScoreTail::new(0.02);
        let mut alarms = 0_u32;
        for turn in 0..200_000 {
            let score = ((0..12).map(|_| uniform()).sum::<f64>() - 6.0).abs();
            if turn > 1_000 && tail.chance(score) < 1e-3 {
                alarms += 1;
            }
            tail.learn(score);
        }
        assert!((20..800).contains(&alarms), "{alarms} of 200000 below a chance of 1e-3");
        assert!(tail.chance(30.0) < 1e-9);
    }

    proptest! {
        #[test]
        fn binomial_is_a_probability_and_grows_rarer(k in 0_u64..2_000, n in 0_u64..2_000, p in 0.0_f64..1.0) {
            let chance = binomial_upper(k, n, p);
            prop_assert!((0.0..=1.0).contains(&chance));
            prop_assert!(binomial_upper(k + 1, n.max(k + 1), p) <= 1.0);
            if k < n {
                prop_assert!(binomial_upper(k + 1, n, p) <= chance + 1e-12);
            }
        }

        #[test]
        fn tail_survives_any_input(scores in prop::collection::vec(any::<f64>(), 0..200), probe in any::<f64>()) {
            let mut tail = ScoreTail::new(0.02);
            for score in scores {
                tail.learn(score);
            }
            let chance = tail.chance(probe);
            prop_assert!((0.0..=1.0).contains(&chance));
        }
    }
}
