//! What runs taught of their items: how many a run has, and how long one takes.
//!
//! The time of a run says little of the next one where both the items and the pods that share them differ. What stays is
//! the time that one pod takes for one item: the run's time, times its pods, by its items.

use super::learned::{Level, run_time};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Runs that are looked back at.
const KEPT: usize = 20;
/// Runs below which what was declared of an item counts.
const FEW: usize = 5;
/// Share of runs that have no more items than are forecast.
const MOST: f64 = 0.9;

/// Items of the last runs, newest last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ItemHistory {
    /// Items of each run.
    counts: VecDeque<f64>,
    /// Seconds that a pod took for one item, of each run that had any.
    seconds: VecDeque<f64>,
}

impl ItemHistory {
    /// A run of so many items was done by so many pods at a time in so many seconds.
    pub fn push(&mut self, items: f64, pods: u32, seconds: f64) {
        if !items.is_finite() || items < 0.0 {
            return;
        }
        keep(&mut self.counts, items);
        // Pods without an item did nothing.
        let each = seconds * f64::from(pods).min(items) / items;
        if each.is_finite() && each > 0.0 {
            keep(&mut self.seconds, each);
        }
    }

    /// Whether it can be what runs taught.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |list: &VecDeque<f64>, least: f64| {
            list.len() <= KEPT && list.iter().all(|value| value.is_finite() && *value >= least)
        };
        sound(&self.counts, 0.0) && sound(&self.seconds, f64::MIN_POSITIVE)
    }

    /// Runs whose items were seen.
    pub fn runs(&self) -> usize {
        self.counts.len()
    }

    /// Runs that say how long an item takes.
    pub fn timed(&self) -> usize {
        self.seconds.len()
    }

    /// Items of the next run: the 90th percentile of the last ones, by nearest rank. `None` before the first.
    pub fn forecast(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.counts.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * MOST).ceil() as usize;
        sorted.get(rank.checked_sub(1)?).copied()
    }

    /// Seconds of a pod for one item, planned as run times are: `deviations` above the mean of the logarithm. `None` until
    /// five runs have said it.
    pub fn seconds(&self, deviations: f64) -> Option<f64> {
        if self.seconds.len() < FEW {
            return None;
        }
        let mut level = Level::default();
        self.seconds.iter().for_each(|seconds| level.push(seconds.ln()));
        run_time(&level, &level, &Level::default(), deviations).map(|time| time.quantile)
    }
}

fn keep(list: &mut VecDeque<f64>, value: f64) {
    if list.len() >= KEPT {
        list.pop_front();
    }
    list.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taught(runs: impl IntoIterator<Item = (f64, u32, f64)>) -> ItemHistory {
        let mut history = ItemHistory::default();
        runs.into_iter().for_each(|(items, pods, seconds)| history.push(items, pods, seconds));
        history
    }

    #[test]
    fn the_work_of_an_item_is_the_same_however_many_pods_shared_it() {
        let history = taught([(100.0, 1, 3_000.0), (100.0, 4, 750.0), (20.0, 2, 300.0), (60.0, 3, 600.0)]);
        assert_eq!(history.seconds(0.8), None, "four runs are too few");
        let five = taught([
            (100.0, 1, 3_000.0),
            (100.0, 4, 750.0),
            (20.0, 2, 300.0),
            (60.0, 3, 600.0),
            (30.0, 1, 900.0),
        ]);
        let seconds = five.seconds(0.0).unwrap();
        assert!((seconds - 30.0).abs() < 1e-6, "{seconds}");
        let planned = five.seconds(0.8).unwrap();
        assert!(planned > 30.0 && planned < 45.0, "few runs are not believed to be all alike: {planned}");
        let many = taught((0..20).map(|_| (100.0, 4, 750.0)));
        assert!(many.seconds(0.8).unwrap() < 33.0);
    }

    #[test]
    fn of_the_last_twenty_runs_nine_tenths_had_no_more_items_than_are_forecast() {
        assert_eq!(ItemHistory::default().forecast(), None);
        assert_eq!(taught([(7.0, 1, 70.0)]).forecast(), Some(7.0));
        let rising = taught((1..=40).map(|items| (f64::from(items), 1, 60.0)));
        assert_eq!(rising.forecast(), Some(38.0), "21 to 40 are left");
        assert_eq!(rising.runs(), 20);
    }

    #[test]
    fn a_run_without_items_says_nothing_of_their_work_and_idle_pods_do_not_count() {
        let empty = taught((0..9).map(|_| (0.0, 3, 5.0)));
        assert_eq!((empty.forecast(), empty.seconds(0.8), empty.timed()), (Some(0.0), None, 0));
        let idle = taught((0..9).map(|_| (1.0, 8, 30.0)));
        assert!((idle.seconds(0.0).unwrap() - 30.0).abs() < 1e-6);
        let wrong = taught([(f64::NAN, 1, 1.0), (-1.0, 1, 1.0), (3.0, 1, f64::INFINITY)]);
        assert_eq!((wrong.runs(), wrong.timed()), (1, 0));
        assert!(idle.is_sound() && empty.is_sound());
        for text in [r#"{"counts":[-1.0]}"#, r#"{"seconds":[0.0]}"#] {
            assert!(!serde_json::from_str::<ItemHistory>(text).unwrap().is_sound(), "{text}");
        }
    }
}
