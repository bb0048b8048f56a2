//! Comparing two samples of times without being fooled by a few wild values.

use super::config::CauseConfig;
use super::forest::{Forest, NONE};

/// Share of a ratio that counts although it is usual: it orders those of whom nothing clear is known.
const WEAK: f64 = 0.02;

/// How the times of one group moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shift {
    /// Usual time, seconds.
    pub usual: f64,
    /// Time now, seconds.
    pub seen: f64,
    /// How many are new.
    pub count: usize,
    /// Log of the ratio, less what noise explains and what is too short to matter; at least 0.
    pub strength: f64,
}

/// The size of a request in this system, by which slow-downs are judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typical {
    /// Median time of whole traces in the baseline, seconds.
    request: f64,
    floor: f64,
    share: f64,
    usual_ratio: f64,
}

impl Typical {
    /// From the first spans of the baseline's traces.
    pub fn new(baseline: &Forest<'_>, config: &CauseConfig) -> Self {
        let mut whole: Vec<f64> = (baseline.parent.iter().zip(&baseline.spans))
            .filter(|(above, _)| **above == NONE)
            .map(|(_, span)| span.duration)
            .collect();
        let request = quantile(&mut whole, 0.5).unwrap_or(0.1);
        Self {
            request,
            floor: config.time_floor_seconds,
            share: config.material_share,
            usual_ratio: config.usual_slow_down,
        }
    }

    /// Compares usual times with times now; `None` when either is empty. Both are reordered.
    ///
    /// The level is Tukey's trimean (1977), the spread the interquartile range of the usual times, each robust to
    /// a quarter of wild values. Noise is the standard error of the difference of two such levels.
    pub fn compare(&self, usual: &mut [f64], seen: &mut [f64]) -> Option<Shift> {
        let (before, spread) = trimean(usual)?;
        let (after, _) = trimean(seen)?;
        let count = seen.len();
        let still = Shift { usual: before, seen: after, count, strength: 0.0 };
        let change = after - before;
        if change <= 0.0 {
            return Some(still);
        }
        let sigma = (spread / 1.349).max(0.1 * before).max(0.2 * self.floor);
        let error = sigma * (1.0 / usual.len() as f64 + 1.0 / count as f64).sqrt();
        let z = change / error;
        let sure = z * z / (z * z + 9.0);
        let matters = change / (change + self.share * self.request);
        // Own times and gaps grow like this by chance when a virtual machine or a neighbour is busy.
        let ratio = ((after + self.floor) / (before + self.floor)).ln();
        let ratio = (ratio - self.usual_ratio.ln()).max(0.0) + WEAK * ratio;
        Some(Shift { strength: ratio * sure * matters, ..still })
    }
}

/// The value below which the share `at` of the values lies, interpolated; `None` for none. Reorders them.
pub(super) fn quantile(values: &mut [f64], at: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let place = at.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let low = place.floor() as usize;
    let (_, &mut below, above) = values.select_nth_unstable_by(low, f64::total_cmp);
    let next = above.iter().copied().fold(f64::INFINITY, f64::min);
    let part = place - low as f64;
    Some(if part > 0.0 && next.is_finite() { below + part * (next - below) } else { below })
}

/// Trimean and interquartile range.
fn trimean(values: &mut [f64]) -> Option<(f64, f64)> {
    let low = quantile(values, 0.25)?;
    let middle = quantile(values, 0.5)?;
    let high = quantile(values, 0.75)?;
    Some(((low + 2.0 * middle + high) / 4.0, high - low))
}

/// Samples by key, sorted, to be walked side by side.
pub(super) fn groups<K: Ord + Copy>(samples: &mut [(K, f64)]) -> Vec<(K, Vec<f64>)> {
    samples.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut grouped: Vec<(K, Vec<f64>)> = Vec::new();
    for &(key, value) in samples.iter() {
        match grouped.last_mut() {
            Some((last, values)) if *last == key => values.push(value),
            _ => grouped.push((key, vec![value])),
        }
    }
    grouped
}
