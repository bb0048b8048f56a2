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
