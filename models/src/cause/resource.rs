//! Resources: processor and memory above their usual level.
//!
//! The deviation is counted in robust standard deviations (median and median absolute deviation, Hampel 1974), with
//! a twentieth of the level and a hundredth of the limit as the least spread, because a flat baseline knows no noise and
//! a small use may double without meaning anything.

use super::case::{Measure, Series};
use super::evidence::{Evidence, Kind};
use super::shift::quantile;
use super::{Context, Finding};

/// Least spread, as a share of the limit.
const LEAST_SPREAD: f64 = 0.01;

/// Strength just below the threshold: it orders candidates of whom nothing clear is known.
const WEAK: f64 = 0.04;

/// Findings from processor and memory series.
pub(super) fn gather(context: &Context<'_>) -> Vec<Finding> {
    let of_resource = |series: &&Series| matches!(series.measure, Measure::Cpu | Measure::Memory);
    (context.case.series.iter().filter(of_resource))
        .filter(|series| series.entity < context.case.entities.len())
        .filter_map(|series| {
            let (usual, seen, deviation) = deviation(&series.baseline, &series.suspect, LEAST_SPREAD)?;
            if deviation <= 0.0 {
                return None;
            }
            let threshold = context.config.resource_threshold;
            let weak = WEAK * deviation.min(threshold) / threshold;
            let name = context.case.entity(series.entity);
            let what = if series.measure == Measure::Cpu { "processor use" } else { "memory" };
            Some(Finding {
                entity: series.entity,
                evidence: Evidence {
                    kind: Kind::Resources,
                    strength: weak + 0.5 * (deviation - threshold).max(0.0).ln_1p(),
                    usual,
                    seen,
                    text: format!(
                        "{what} of {name} is {:.1} % of its limit, usually {:.1} %: {deviation:.1} robust standard deviations",
                        100.0 * seen,
                        100.0 * usual
                    ),
                },
            })
        })
        .collect()
}

/// Usual level, level now, and their distance in robust standard deviations.
pub(super) fn deviation(baseline: &[f64], suspect: &[f64], least: f64) -> Option<(f64, f64, f64)> {
    let finite =
        |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
    let mut before = finite(baseline);
    let now = finite(suspect);
    if now.is_empty() {
        return None;
    }
    let usual = quantile(&mut before, 0.5)?;
    let mut distances: Vec<f64> = before.iter().map(|value| (value - usual).abs()).collect();
    let spread = 1.4826 * quantile(&mut distances, 0.5)?;
    let seen = now.iter().sum::<f64>() / now.len() as f64;
    let spread = spread.max(0.05 * usual.abs()).max(least);
    let deviation = (seen - usual) / spread;
    deviation.is_finite().then_some((usual, seen, deviation))
}
