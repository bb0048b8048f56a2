//! Percentiles by nearest rank: always a value that was measured.

/// The smallest value that at least `percent` percent of `values` do not exceed; `None` without
/// values. Infinity stands for "never" and sorts last.
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_is_rounded_up() {
        let five = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(percentile(&five, 50.0), Some(3.0));
        assert_eq!(percentile(&five, 95.0), Some(5.0));
        assert_eq!(percentile(&five, 20.0), Some(1.0));
        assert_eq!(percentile(&five, 21.0), Some(2.0));
        assert_eq!(percentile(&five, 0.0), Some(1.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn twenty_values_allow_one_outlier_at_p95() {
        let mut values: Vec<f64> = (1..=19).map(f64::from).collect();
        values.push(f64::INFINITY);
        assert_eq!(percentile(&values, 95.0), Some(19.0));
        values[18] = f64::INFINITY;
        assert_eq!(percentile(&values, 95.0), Some(f64::INFINITY));
    }
}
