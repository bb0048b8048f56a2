//! The load that one replica was seen to carry.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Hours that are remembered: 14 days.
const HOURS: usize = 336;

/// Highest load per ready replica of each hour, of minutes in which the workload was healthy.
///
/// What was never tried is not claimed: a service that was never busy has a low load per replica, and is given more
/// replicas than it may need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerReplica {
    /// Number of the hour since 1970, and its highest; oldest first.
    hours: VecDeque<(i64, f64)>,
    minutes: u32,
}

impl PerReplica {
    /// Takes in a healthy minute. One without a load or without a replica says nothing.
    pub fn learn(&mut self, minute: i64, load: f64, ready: u32) {
        let each = load / f64::from(ready);
        if ready == 0 || each <= 0.0 || !each.is_finite() {
            return;
        }
        self.minutes = self.minutes.saturating_add(1);
        let hour = minute.div_euclid(60);
        match self.hours.back_mut() {
            Some((last, highest)) if *last >= hour => *highest = highest.max(each),
            _ => self.hours.push_back((hour, each)),
        }
        while self.hours.front().is_some_and(|(first, _)| hour - first >= HOURS as i64) {
            self.hours.pop_front();
        }
    }

    /// Healthy minutes with requests that were seen.
    pub fn minutes(&self) -> u32 {
        self.minutes
    }

    /// The highest of the last 14 days; `None` before so many healthy minutes were seen.
    pub fn load(&self, minutes: u32) -> Option<f64> {
        let highest = self.hours.iter().map(|(_, load)| *load).max_by(f64::total_cmp);
        highest.filter(|_| self.minutes >= minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_healthy_load_counts_for_two_weeks() {
        let mut known = PerReplica::default();
        known.learn(0, 120.0, 4);
        known.learn(1, 100.0, 4);
        known.learn(2, 50.0, 0);
        known.learn(3, 0.0, 4);
        assert_eq!((known.load(2), known.load(3), known.minutes()), (Some(30.0), None, 2));
        for hour in 1..=400 {
            known.learn(hour * 60, 40.0, 4);
        }
        assert_eq!(known.load(2), Some(10.0), "the old peak is forgotten");
        assert_eq!(known.hours.len(), HOURS);
    }
}
