//! Replicas of one workload should look alike: which of them does not?
//!
//! Each metric is scaled by its median absolute deviation (Hampel 1974, with the small-sample factors of Croux and
//! Rousseeuw 1992), then DBSCAN (Ester et al. 1996) groups the replicas whose values lie close together. A replica
//! outside the group that holds a majority is an outlier. Without a majority there is no usual state to compare
//! with, and nobody is accused. One snapshot in, one verdict for each replica out; the order of the replicas does
//! not matter.
//!
//! ```
//! use homeostat_models::detect::{PeerConfig, PeerMetric, outliers};
//! let latency = [PeerMetric::new("latency", "s", 0.05)];
//! let verdicts = outliers(&[vec![0.2], vec![0.2], vec![1.9], vec![0.2]], &latency, PeerConfig::default())?;
//! assert!(verdicts[2].outlier);
//! assert_eq!(verdicts[2].reason, "latency: 3 of 4 replicas at 0.2 s, this one 1.9 s");
//! # Ok::<(), homeostat_models::detect::PeerError>(())
//! ```

use linfa::ParamGuard;
use linfa::traits::Transformer;
use linfa_clustering::Dbscan;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::words::number;

/// Most replicas of one call: every pair is compared.
pub const MOST_REPLICAS: usize = 512;
/// Spreads beyond which a distance is only "far".
const FAR: f64 = 1e6;

/// One metric of the replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerMetric {
    /// Name, for the reason.
    pub name: String,
    /// Unit, for the reason; may be empty.
    pub unit: String,
    /// Smallest difference from the majority that matters, in that unit, 0 or more.
    pub minimum_effect: f64,
}

impl PeerMetric {
    /// A metric with its unit and the smallest difference that matters.
    pub fn new(name: &str, unit: &str, minimum_effect: f64) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), minimum_effect }
    }

    fn words(&self, value: f64) -> String {
        let space = if self.unit.is_empty() { "" } else { " " };
        format!("{}{space}{}", number(value), self.unit)
    }
}

/// When a replica is an outlier. The default is the shipped setting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerConfig {
    /// Replicas with a finite value that are needed for a verdict, 3 or more.
    pub least_replicas: usize,
    /// Spreads between neighbours that separate groups.
    pub cutoff: f64,
    /// Smallest difference that matters, as a share of the majority's median.
    pub minimum_share: f64,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self { least_replicas: 3, cutoff: 6.0, minimum_share: 0.5 }
    }
}

/// Input that cannot be judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PeerError {
    /// A setting is out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Which.
        field: String,
        /// What was given.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
    /// A replica has a different number of values than there are metrics.
    #[error(
        "replica {replica} has {given} values for {metrics} metrics; give one value for each, NaN for a missing one"
    )]
    Shape {
        /// Index of the replica.
        replica: usize,
        /// Its values.
        given: usize,
        /// Metrics.
        metrics: usize,
    },
    /// More than [`MOST_REPLICAS`].
    #[error("{given} replicas, at most {MOST_REPLICAS} are compared at once; compare them in groups")]
    Replicas {
        /// What was given.
        given: usize,
    },
}

/// What is said of one replica.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerVerdict {
    /// At least one metric could be compared.
    pub known: bool,
    /// The replica stands apart from the majority.
    pub outlier: bool,
    /// Largest distance from the majority's median over the metrics, in spreads, at most 1e6.
    pub score: f64,
    /// Metric of that distance.
    pub metric: Option<usize>,
    /// Why it is an outlier, in words with numbers; empty when it is not.
    pub reason: String,
}

/// Judges replicas: `rows` is one row of values for each replica, in the order of `metrics`. A value that is not
/// finite is missing: its replica is left out of that metric. Verdicts come in the order of the rows.
pub fn outliers(
    rows: &[Vec<f64>],
    metrics: &[PeerMetric],
    config: PeerConfig,
) -> Result<Vec<PeerVerdict>, PeerError> {
    validate(rows, metrics, config)?;
    let unknown =
        PeerVerdict { known: false, outlier: false, score: 0.0, metric: None, reason: String::new() };
    let mut verdicts = vec![unknown; rows.len()];
    for (index, metric) in metrics.iter().enumerate() {
        let mut values: Vec<(f64, usize)> = rows
            .iter()
            .enumerate()
            .map(|(replica, row)| (row[index], replica))
            .filter(|(value, _)| value.is_finite())
            .collect();
        // From here on only the sorted values decide, so the order of the replicas cannot.
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        if values.len() >= config.least_replicas {
            judge(index, metric, &values, config, &mut verdicts);
        }
    }
    Ok(verdicts)
}

fn validate(rows: &[Vec<f64>], metrics: &[PeerMetric], config: PeerConfig) -> Result<(), PeerError> {
    let check = |field: &str, value: f64, good: bool, limit| {
        if good { Ok(()) } else { Err(PeerError::OutOfRange { field: field.to_owned(), value, limit }) }
    };
    check("least_replicas", config.least_replicas as f64, config.least_replicas >= 3, "3 or more")?;
    check("cutoff", config.cutoff, (1.0..=1e3).contains(&config.cutoff), "1 to 1000 spreads")?;
    check("minimum_share", config.minimum_share, (0.0..=1e3).contains(&config.minimum_share), "0 to 1000")?;
    for metric in metrics {
        let least = metric.minimum_effect;
        check(
            &format!("minimum_effect of {}", metric.name),
            least,
            (0.0..=1e300).contains(&least),
            "0 or more",
        )?;
    }
    if rows.len() > MOST_REPLICAS {
        return Err(PeerError::Replicas { given: rows.len() });
    }
    for (replica, row) in rows.iter().enumerate() {
        if row.len() != metrics.len() {
            return Err(PeerError::Shape { replica, given: row.len(), metrics: metrics.len() });
        }
    }
    Ok(())
}

/// Judges one metric; `values` are sorted.
fn judge(
    index: usize,
    metric: &PeerMetric,
    values: &[(f64, usize)],
    config: PeerConfig,
    verdicts: &mut [PeerVerdict],
) {
    let sorted: Vec<f64> = values.iter().map(|(value, _)| *value).collect();
    let middle = median(&sorted);
    let mut distances: Vec<f64> = sorted.iter().map(|value| (value - middle).abs()).collect();
    distances.sort_by(f64::total_cmp);
    let deviation = 1.4826 * small_sample(sorted.len()) * median(&distances);
    // The least difference that matters is worth as many spreads as separate groups.
    let least = metric.minimum_effect.max(config.minimum_share * middle.abs());
    let spread = deviation.max(least / config.cutoff);
    let scaled: Vec<f64> = sorted.iter().map(|value| in_spreads(value - middle, spread)).collect();

    let groups = group(&scaled, config.cutoff);
    let Some((first, last)) = majority(&groups) else { return };
    let usual = median(&sorted[first..=last]);
    let members = last - first + 1;
    for (place, &(value, replica)) in values.iter().enumerate() {
        let distance = in_spreads(value - usual, spread).abs();
        let verdict = &mut verdicts[replica];
        verdict.known = true;
        let outlier = !(first..=last).contains(&place);
        if (outlier, distance) > (verdict.outlier, verdict.score) || verdict.metric.is_none() {
            verdict.outlier = outlier;
            verdict.score = distance;
            verdict.metric = Some(index);
            verdict.reason = if outlier {
                let (all, usual, own) = (values.len(), metric.words(usual), metric.words(value));
                format!("{}: {members} of {all} replicas at {usual}, this one {own}", metric.name)
            } else {
                String::new()
            };
        }
    }
}

/// Group of each sorted value: values closer than the cutoff hang together; a lone value has none.
fn group(scaled: &[f64], cutoff: f64) -> Vec<Option<usize>> {
    let Ok(points) = Array2::from_shape_vec((scaled.len(), 1), scaled.to_vec()) else { return Vec::new() };
    Dbscan::params(2)
        .tolerance(cutoff)
        .check()
        .map(|valid| valid.transform(&points).to_vec())
        .unwrap_or_default()
}

/// First and last place of the group that holds more than half. Groups of sorted values are runs.
fn majority(groups: &[Option<usize>]) -> Option<(usize, usize)> {
    // More than half of a sorted list includes its middle.
    let middle = groups.get(groups.len() / 2).copied().flatten()?;
    let first = groups.iter().position(|group| *group == Some(middle))?;
    let last = groups.iter().rposition(|group| *group == Some(middle))?;
    (2 * (last - first + 1) > groups.len()).then_some((first, last))
}

fn in_spreads(distance: f64, spread: f64) -> f64 {
    if distance == 0.0 { 0.0 } else { (distance / spread).clamp(-FAR, FAR) }
}

/// Median of sorted finite values; 0 without any.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(lower), Some(upper)) if sorted.len().is_multiple_of(2) => 0.5 * lower + 0.5 * upper,
        (_, Some(value)) => *value,
        _ => 0.0,
    }
}

/// What the median absolute deviation of so few values is too small by.
fn small_sample(count: usize) -> f64 {
    match count {
        0..=2 => 1.196,
        3 => 1.495,
        4 => 1.363,
        5 => 1.206,
        6 => 1.200,
        7 => 1.140,
        8 => 1.129,
        9 => 1.107,
        _ => count as f64 / (count as f64 - 0.8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latency(values: &[f64]) -> Vec<PeerVerdict> {
        let rows: Vec<Vec<f64>> = values.iter().map(|value| vec![*value]).collect();
        outliers(&rows, &[PeerMetric::new("latency", "s", 0.05)], PeerConfig::default()).expect("valid")
    }

    fn names(verdicts: &[PeerVerdict]) -> Vec<usize> {
        (0..verdicts.len()).filter(|&replica| verdicts[replica].outlier).collect()
    }

    #[test]
    fn a_slow_replica_is_told_apart_with_a_reason() {
        let verdicts = latency(&[0.21, 0.2, 1.9, 0.19]);
        assert_eq!(names(&verdicts), vec![2]);
        assert_eq!(verdicts[2].reason, "latency: 3 of 4 replicas at 0.2 s, this one 1.9 s");
    }

    #[test]
    fn usual_differences_and_small_effects_are_no_outliers() {
        assert!(names(&latency(&[0.10, 0.14, 0.22, 0.13, 0.17])).is_empty());
        assert!(names(&latency(&[0.001, 0.001, 0.001, 0.004])).is_empty(), "below the least effect");
        assert!(names(&latency(&[0.2; 100])).is_empty());
    }

    #[test]
    fn without_a_majority_or_enough_replicas_nobody_is_accused() {
        assert!(names(&latency(&[0.2, 0.2, 1.9, 1.9])).is_empty());
        let two = latency(&[0.2, 1.9]);
        assert!(names(&two).is_empty() && !two[0].known);
        assert!(latency(&[]).is_empty());
    }

    #[test]
    fn two_sick_of_six_are_both_found_and_the_worst_metric_is_named() {
        let metrics = [PeerMetric::new("latency", "s", 0.05), PeerMetric::new("errors", "", 0.01)];
        let rows: Vec<Vec<f64>> = [[0.2, 0.0], [0.2, 0.0], [1.1, 0.4], [0.2, 0.0], [1.0, 0.0], [0.2, 0.0]]
            .iter()
            .map(|row| row.to_vec())
            .collect();
        let verdicts = outliers(&rows, &metrics, PeerConfig::default()).expect("valid");
        assert_eq!(names(&verdicts), vec![2, 4]);
        assert_eq!(verdicts[2].reason, "errors: 5 of 6 replicas at 0, this one 0.4");
        assert_eq!(verdicts[4].reason, "latency: 4 of 6 replicas at 0.2 s, this one 1 s");
    }

    #[test]
    fn a_replica_without_a_value_is_unknown_and_hides_nobody() {
        let verdicts = latency(&[0.2, f64::NAN, 0.2, 0.2, 1.9]);
        assert!(!verdicts[1].known && !verdicts[1].outlier);
        assert_eq!(verdicts[4].reason, "latency: 3 of 4 replicas at 0.2 s, this one 1.9 s");
    }

    #[test]
    fn wrong_input_is_refused_with_its_place() {
        let metrics = [PeerMetric::new("latency", "s", 0.05)];
        let error = outliers(&[vec![1.0], vec![]], &metrics, PeerConfig::default()).expect_err("a short row");
        assert_eq!(
            error.to_string(),
            "replica 1 has 0 values for 1 metrics; give one value for each, NaN for a missing one"
        );
        let config = PeerConfig { cutoff: f64::NAN, ..PeerConfig::default() };
        assert!(outliers(&[], &metrics, config).is_err());
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_most_are_never_outliers(
            values in prop::collection::vec(prop_oneof![any::<f64>(), 0.1_f64..0.3], 0..24),
            turn in 0_usize..24,
        ) {
            let verdicts = latency(&values);
            let known = verdicts.iter().filter(|verdict| verdict.known).count();
            prop_assert!(2 * names(&verdicts).len() <= known);
            let turn = if values.is_empty() { 0 } else { turn % values.len() };
            let mut turned = values.clone();
            turned.rotate_left(turn);
            turned.reverse();
            let mut other = latency(&turned);
            other.reverse();
            other.rotate_right(turn);
            prop_assert_eq!(verdicts, other);
        }

        #[test]
        fn scaling_by_a_power_of_two_changes_no_verdict(values in prop::collection::vec(0.0_f64..10.0, 3..12), power in -20_i32..20) {
            let factor = 2_f64.powi(power);
            let metric = [PeerMetric::new("rate", "", 0.0)];
            let plain: Vec<Vec<f64>> = values.iter().map(|value| vec![*value]).collect();
            let scaled: Vec<Vec<f64>> = values.iter().map(|value| vec![value * factor]).collect();
            let (plain, scaled) = (outliers(&plain, &metric, PeerConfig::default()), outliers(&scaled, &metric, PeerConfig::default()));
            prop_assert_eq!(names(&plain.expect("valid")), names(&scaled.expect("valid")));
        }
    }
}
