//! Summaries that a few wild values do not move.
//!
//! All leave out values that are not finite, and give `None` when nothing is left. Differences beyond the largest double
//! stop there. None of them changes its input.

use serde::{Deserialize, Serialize};

/// Factor that makes the median absolute deviation of a normal variable its standard deviation.
pub const MAD_TO_DEVIATION: f64 = 1.482_602_218_505_602;

/// The finite values in ascending order.
fn sorted(values: &[f64]) -> Vec<f64> {
    let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.sort_unstable_by(f64::total_cmp);
    finite
}

/// Quantile of ascending values by linear interpolation (Hyndman and Fan 1996, type 7).
fn of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let low = (place.floor() as usize).min(last);
    let rest = place - low as f64;
    let (below, above) = (sorted[low], sorted[(low + 1).min(last)]);
    if rest == 0.0 {
        return Some(below);
    }
    // Rounding must not leave the two neighbours.
    Some((below * (1.0 - rest) + above * rest).clamp(below, above))
}

/// Value below which `share` (0 to 1) of the finite values lie; `None` without any, or when `share` is not a number.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    if share.is_nan() {
        return None;
    }
    of_sorted(&sorted(values), share)
}

/// Several quantiles for one sort, in the order of `shares`.
pub fn quantiles(values: &[f64], shares: &[f64]) -> Vec<Option<f64>> {
    let sorted = sorted(values);
    shares.iter().map(|&share| if share.is_nan() { None } else { of_sorted(&sorted, share) }).collect()
}

/// Middle of the finite values.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Median absolute deviation from the median (Hampel 1974), unscaled; times [`MAD_TO_DEVIATION`] it estimates the
/// standard deviation of normal values.
pub fn mad(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    deviation(&sorted, of_sorted(&sorted, 0.5)?)
}

fn deviation(sorted: &[f64], median: f64) -> Option<f64> {
    let mut distances: Vec<f64> = sorted.iter().map(|value| (value - median).abs().min(f64::MAX)).collect();
    distances.sort_unstable_by(f64::total_cmp);
    of_sorted(&distances, 0.5)
}

/// Mean of what is left when the share `trim` (0 to below 0.5) of the finite values is cut off at each end, rounded down to
/// whole values. `None` without values or for another `trim`.
pub fn trimmed_mean(values: &[f64], trim: f64) -> Option<f64> {
    if !(0.0..0.5).contains(&trim) {
        return None;
    }
    let sorted = sorted(values);
    let cut = (trim * sorted.len() as f64).floor() as usize;
    let kept = sorted.get(cut..sorted.len().checked_sub(cut)?)?;
    mean(kept)
}

/// Mean of finite ascending values; between the smallest and the largest one, whatever rounding does.
fn mean(sorted: &[f64]) -> Option<f64> {
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let count = sorted.len() as f64;
    let sum: f64 = sorted.iter().sum();
    let mean = if sum.is_finite() { sum / count } else { sorted.iter().map(|value| value / count).sum() };
    Some(mean.clamp(first, last))
}

/// What a set of values looks like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Finite values.
    pub count: usize,
    /// Values left out because they are not finite.
    pub left_out: usize,
    /// Smallest.
    pub minimum: f64,
    /// A quarter lies below.
    pub lower_quartile: f64,
    /// Half lies below.
    pub median: f64,
    /// Three quarters lie below.
    pub upper_quartile: f64,
    /// Largest.
    pub maximum: f64,
    /// Median absolute deviation, unscaled.
    pub mad: f64,
}

impl Summary {
    /// Summary of the finite values; `None` without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let median = of_sorted(&sorted, 0.5)?;
        Some(Self {
            count: sorted.len(),
            left_out: values.len() - sorted.len(),
            minimum: of_sorted(&sorted, 0.0)?,
            lower_quartile: of_sorted(&sorted, 0.25)?,
            median,
            upper_quartile: of_sorted(&sorted, 0.75)?,
            maximum: of_sorted(&sorted, 1.0)?,
            mad: deviation(&sorted, median)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wild_value_moves_nothing_and_a_non_finite_one_is_left_out() {
        let values = [3.0, f64::NAN, 1.0, 2.0, 1e12, f64::INFINITY, 4.0];
        assert_eq!(median(&values), Some(3.0));
        assert_eq!(mad(&values), Some(1.0));
        assert_eq!(trimmed_mean(&values, 0.2), Some(3.0));
        assert_eq!(quantiles(&values, &[0.0, 0.25, 1.0, f64::NAN]), [Some(1.0), Some(2.0), Some(1e12), None]);
        let summary = Summary::of(&values).unwrap();
        assert_eq!((summary.count, summary.left_out), (5, 2));
    }

    #[test]
    fn nothing_left_is_none_and_not_zero() {
        assert_eq!(median(&[]), None);
        assert_eq!(mad(&[f64::NAN]), None);
        assert_eq!(trimmed_mean(&[1.0], 0.5), None);
        assert_eq!(Summary::of(&[f64::NEG_INFINITY]), None);
    }

    proptest! {
        #[test]
        fn any_values_give_finite_summaries_in_order(values in prop::collection::vec(any::<f64>(), 0..50)) {
            if let Some(summary) = Summary::of(&values) {
                let order = [summary.minimum, summary.lower_quartile, summary.median, summary.upper_quartile, summary.maximum];
                prop_assert!(order.windows(2).all(|pair| pair[0] <= pair[1]), "{summary:?}");
                prop_assert!(summary.mad >= 0.0 && summary.mad.is_finite());
                let trimmed = trimmed_mean(&values, 0.1).unwrap();
                prop_assert!((summary.minimum..=summary.maximum).contains(&trimmed));
            }
        }
    }
}
