//! Change points: a cumulative sum that runs along, and an exact segmentation of a window after the fact.

use serde::{Deserialize, Serialize};

/// Two-sided cumulative sum of standardised residuals (Page 1954; Hinkley 1971). Says that the level moved and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    up: Side,
    down: Side,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Side {
    sum: f64,
    points: u32,
}

/// A level that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Points since the level moved, as estimated.
    pub points: u32,
    /// It moved upwards.
    pub up: bool,
}

/// Half the shift, in usual spreads, that is looked for.
const DRIFT: f64 = 0.5;
/// One point counts at most this much, so that a spike is no shift.
const CLIP: f64 = 3.0;
/// Sum at which a shift is told; on independent normal residuals about once in 10^7 points for either side.
const LEVEL: f64 = 14.0;

impl Side {
    fn observe(&mut self, residual: f64) -> bool {
        self.sum = (self.sum + residual - DRIFT).max(0.0);
        self.points = if self.sum > 0.0 { self.points.saturating_add(1) } else { 0 };
        self.sum > LEVEL
    }
}

impl Cusum {
    /// Takes a residual in usual spreads. Returns the shift when one is found, and starts again.
    pub fn observe(&mut self, spreads: f64) -> Option<Shift> {
        if !spreads.is_finite() {
            return None;
        }
        let spreads = spreads.clamp(-CLIP, CLIP);
        let (up, down) = (self.up.observe(spreads), self.down.observe(-spreads));
        if !up && !down {
            return None;
        }
        let points = if up { self.up.points } else { self.down.points };
        *self = Self::default();
        Some(Shift { points, up })
    }
}

/// Why a window cannot be cut.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SegmentError {
    /// Too long for a quadratic method.
    #[error("the window has {0} points, at most {MOST_POINTS} can be cut; take every n-th")]
    TooLong(usize),
    /// Not a number.
    #[error("point {0} is not finite; leave it out")]
    NotFinite(usize),
}

/// Longest window that is cut.
pub const MOST_POINTS: usize = 4_096;

/// Cuts a window where its mean moves: the indices at which new segments begin, in order.
///
/// Least squares with the penalty `3 s² ln n` a cut, where `s` is the spread of successive differences; solved exactly by
/// pruned dynamic programming (PELT: Killick, Fearnhead and Eckley 2012). Segments have `minimum` points at least.
pub fn segments(values: &[f64], minimum: usize) -> Result<Vec<usize>, SegmentError> {
    let n = values.len();
    if n > MOST_POINTS {
        return Err(SegmentError::TooLong(n));
    }
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(SegmentError::NotFinite(index));
    }
    let minimum = minimum.max(2);
    if n < 2 * minimum {
        return Ok(Vec::new());
    }
    // Scaled to order one, so that squares of huge values stay finite.
    let size = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    if size == 0.0 {
        return Ok(Vec::new());
    }
    let values: Vec<f64> = values.iter().map(|value| value / size).collect();
    let mut differences: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    differences.sort_by(f64::total_cmp);
    // Median absolute difference of neighbours: 0.954 spreads for independent normal noise.
    let spread = (differences[differences.len() / 2] / 0.954).max(1e-9);
    let penalty = 3.0 * spread * spread * crate::math::ln(n as f64);

    let (mut sums, mut squares) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    for (index, value) in values.iter().enumerate() {
        sums[index + 1] = sums[index] + value;
        squares[index + 1] = squares[index] + value * value;
    }
    let cost = |from: usize, to: usize| {
        let sum: f64 = sums[to] - sums[from];
        (squares[to] - squares[from] - sum * sum / (to - from) as f64).max(0.0)
    };
    let mut best = vec![f64::INFINITY; n + 1];
    let mut cut = vec![0_usize; n + 1];
    best[0] = -penalty;
    let mut candidates = vec![0_usize];
    for to in minimum..=n {
        for &from in &candidates {
            if to - from >= minimum {
                let total = best[from] + cost(from, to) + penalty;
                if total < best[to] {
                    best[to] = total;
                    cut[to] = from;
                }
            }
        }
        candidates.retain(|&from| to - from < minimum || best[from] + cost(from, to) <= best[to]);
        let next = to + 1 - minimum;
        if next >= minimum {
            candidates.push(next);
        }
    }
    let mut found = Vec::new();
    let mut at = n;
    while cut[at] > 0 {
        at = cut[at];
        found.push(at);
    }
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use changepoint::Bocpd;
    use changepoint::BocpdLike;
    use changepoint::rv::prelude::{Gaussian, NormalInvGamma};
    use changepoint::utils::map_changepoints;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn normal(random: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
    }

    fn two_levels(shift: f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        (0..200).map(|turn| normal(&mut random) + if turn < 120 { 0.0 } else { shift }).collect()
    }

    #[test]
    fn a_window_is_cut_where_its_level_moves_and_nowhere_else() {
        assert_eq!(segments(&two_levels(0.0), 5), Ok(vec![]));
        let cuts = segments(&two_levels(3.0), 5).expect("a short window");
        assert!(cuts.len() == 1 && cuts[0].abs_diff(120) <= 2, "{cuts:?}");
    }

    #[test]
    fn a_bayesian_detector_cuts_at_the_same_place() {
        let values = two_levels(4.0);
        let mut oracle = Bocpd::new(250.0, NormalInvGamma::new_unchecked(0.0, 1.0, 1.0, 1.0));
        let runs: Vec<Vec<f64>> = values.iter().map(|value| oracle.step(value).to_vec()).collect();
        let _: &Bocpd<f64, Gaussian, NormalInvGamma> = &oracle;
        let theirs = map_changepoints(&runs);
        let ours = segments(&values, 5).expect("a short window");
        let theirs: Vec<usize> = theirs.into_iter().filter(|&cut| cut > 0).collect();
        assert!(theirs.iter().any(|cut| cut.abs_diff(ours[0]) <= 3), "{theirs:?} {ours:?}");
    }

    #[test]
    fn the_running_sum_says_that_the_level_moved_and_since_when() {
        let mut cusum = Cusum::default();
        let found: Vec<(usize, Shift)> = two_levels(2.0)
            .into_iter()
            .enumerate()
            .filter_map(|(turn, value)| cusum.observe(value).map(|shift| (turn, shift)))
            .collect();
        let (turn, shift) = found[0];
        assert!(shift.up && (121..140).contains(&turn), "{found:?}");
        assert!((turn + 1 - shift.points as usize).abs_diff(120) <= 4, "{found:?}");
    }

    #[test]
    fn one_spike_is_no_shift() {
        let mut cusum = Cusum::default();
        assert!((0..100).all(|turn| cusum.observe(if turn == 50 { 1e6 } else { 0.0 }).is_none()));
    }

    proptest! {
        #[test]
        fn any_window_is_cut_or_refused(values in prop::collection::vec(any::<f64>(), 0..120), minimum in 0_usize..20) {
            if let Ok(cuts) = segments(&values, minimum) {
                prop_assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(cuts.iter().all(|&cut| cut > 0 && cut < values.len()));
            }
        }
    }
}
