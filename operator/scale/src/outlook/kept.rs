//! The load of two weeks in a few kilobytes, so that a restart does not begin with nothing: means of quarter hours, two
//! letters each.

use super::{LoadModel, OutlookConfig};
use crate::letters;
use serde::{Deserialize, Serialize};

/// Minutes of one value.
const QUARTER: i64 = 15;
/// Values that are kept: 14 days.
const MOST: usize = 1_344;
/// The largest value; one more stands for a gap. Steps are even in the square root: fine where the load is small.
const LARGEST: u32 = 4_094;
const GAP: u32 = 4_095;

/// A series that is kept. Bounded: less than 3 kB as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptLoad {
    /// Number of the first quarter hour since 1970.
    first: i64,
    /// What the largest value stands for.
    most: f64,
    /// Two letters for each quarter hour.
    values: String,
}

impl LoadModel {
    /// What is kept of the series; `None` before a quarter hour was seen.
    pub fn kept(&self) -> Option<KeptLoad> {
        let minutes = self.steps.values();
        let begin = self.steps.first();
        let first = begin.div_euclid(QUARTER);
        let last = self.steps.end().div_euclid(QUARTER);
        let from = first.max(last - MOST as i64);
        let mean = |quarter: i64| {
            let place = |minute: i64| usize::try_from(minute - begin).unwrap_or(0).min(minutes.len());
            let seen = minutes[place(quarter * QUARTER)..place((quarter + 1) * QUARTER)].iter();
            let (count, sum) = seen
                .filter(|value| value.is_finite())
                .fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
            (count > 0).then(|| sum / f64::from(count))
        };
        let means: Vec<Option<f64>> = (from..last).map(mean).collect();
        let most = means.iter().flatten().copied().fold(0.0, f64::max);
        if means.is_empty() || !most.is_finite() {
            return None;
        }
        let digit = |mean: &Option<f64>| match mean {
            Some(mean) if most > 0.0 => ((mean / most).sqrt() * f64::from(LARGEST)).round() as u32,
            Some(_) => 0,
            None => GAP,
        };
        let values = means.iter().map(digit).flat_map(|value| letters::write(value, 2)).collect();
        Some(KeptLoad { first: from, most, values })
    }

    /// A model that begins with what was kept, each quarter hour held for its minutes. What cannot be read is a gap.
    pub fn restored(config: &OutlookConfig, kept: &KeptLoad) -> Self {
        let mut model = Self::new(config);
        if !(kept.most.is_finite() && kept.most >= 0.0) {
            return model;
        }
        for (offset, pair) in (0_i64..).zip(kept.values.as_bytes().chunks_exact(2).take(MOST)) {
            let value = letters::read(pair);
            let load = (value != GAP).then(|| kept.most * (f64::from(value) / f64::from(LARGEST)).powi(2));
            let quarter = kept.first.checked_add(offset);
            let Some(begin) = quarter.and_then(|quarter| quarter.checked_mul(QUARTER)) else { break };
            for minute in begin..begin.saturating_add(QUARTER) {
                model.observe(minute, load);
            }
        }
        model
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn two_weeks_come_back_within_a_thousandth_of_their_peak_and_stay_small() {
        let config = OutlookConfig::default();
        let mut model = LoadModel::new(&config);
        let load = |minute: i64| {
            let quarter = minute.div_euclid(QUARTER);
            (quarter % 50 != 7).then(|| 500.0 + 499.0 * (quarter as f64 / 15.0).sin())
        };
        for minute in 29_000_000..29_000_000 + 14 * 1_440 {
            model.observe(minute, load(minute));
        }
        let kept = model.kept().unwrap();
        assert!(serde_json::to_string(&kept).unwrap().len() < 3_000);
        let back = LoadModel::restored(&config, &kept);
        assert!(back.steps().usable() > 19_000);
        for (minute, value) in (back.steps().first()..).zip(back.steps().values()) {
            match load(minute) {
                Some(load) => assert!((value - load).abs() < 1.0, "{minute}: {value} for {load}"),
                None => assert!(value.is_nan(), "{minute}: a gap stays one"),
            }
        }
    }

    #[test]
    fn nothing_is_kept_of_nothing_and_nonsense_restores_nothing() {
        let config = OutlookConfig::default();
        assert_eq!(LoadModel::new(&config).kept(), None);
        for kept in [
            KeptLoad { first: i64::MAX, most: 1.0, values: "AAAA".to_owned() },
            KeptLoad { first: 0, most: f64::NAN, values: "AAAA".to_owned() },
            KeptLoad { first: 0, most: 5.0, values: "é!?".to_owned() },
        ] {
            let back = LoadModel::restored(&config, &kept);
            assert!(back.steps().values().iter().all(|value| !value.is_infinite()));
        }
    }
}
