//! Counters that only grow, until they start again at zero: turned into rates.

use serde::{Deserialize, Serialize};

/// A point that is earlier by more seconds than this does not come late: the clock was set back.
const SET_BACK: i64 = 60;

/// Turns a cumulative counter into a rate per second. A value below the one before is a restart from zero, as in
/// Prometheus' `rate`: what it shows was counted since the restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    last: Option<(i64, f64)>,
    resets: u64,
}

/// Rate between two points of a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Increase per second; 0 or more.
    pub per_second: f64,
    /// The counter started again between the points.
    pub reset: bool,
}

impl Counter {
    /// Takes the next point. `None` for the first, for a value that is negative or not finite, and for a time that is not
    /// later than the one before; such points change nothing. The first is remembered, and one that is more than a minute
    /// earlier than the one before: its clock was set back, and rates go on from there.
    pub fn observe(&mut self, at_seconds: i64, value: f64) -> Option<Rate> {
        if !(value.is_finite() && value >= 0.0) {
            return None;
        }
        let Some((last_at, last)) = self.last else {
            self.last = Some((at_seconds, value));
            return None;
        };
        let seconds = at_seconds.saturating_sub(last_at);
        if seconds < -SET_BACK {
            self.last = Some((at_seconds, value));
        }
        if seconds <= 0 {
            return None;
        }
        self.last = Some((at_seconds, value));
        let reset = value < last;
        let increase = if reset { value } else { value - last };
        self.resets += u64::from(reset);
        Some(Rate { per_second: increase / seconds as f64, reset })
    }

    /// Restarts seen so far.
    pub fn resets(&self) -> u64 {
        self.resets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_restart_is_no_negative_rate() {
        let mut counter = Counter::default();
        assert_eq!(counter.observe(0, 100.0), None);
        assert_eq!(counter.observe(10, 150.0), Some(Rate { per_second: 5.0, reset: false }));
        assert_eq!(counter.observe(10, 160.0), None);
        assert_eq!(counter.observe(20, 30.0), Some(Rate { per_second: 3.0, reset: true }));
        assert_eq!(counter.resets(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed_from_its_second_point_on() {
        let mut counter = Counter::default();
        assert_eq!(counter.observe(10_000, 100.0), None);
        assert_eq!(counter.observe(10_060, 160.0), Some(Rate { per_second: 1.0, reset: false }));
        assert_eq!(counter.observe(6_460, 220.0), None);
        assert_eq!(counter.observe(6_520, 280.0), Some(Rate { per_second: 1.0, reset: false }));
        // What only comes late changes nothing.
        assert_eq!(counter.observe(6_460, 240.0), None);
        assert_eq!(counter.observe(6_580, 400.0), Some(Rate { per_second: 2.0, reset: false }));
        assert_eq!(counter.resets(), 0);
    }

    proptest! {
        #[test]
        fn rates_are_never_negative(points in prop::collection::vec((any::<i64>(), any::<f64>()), 0..100)) {
            let mut counter = Counter::default();
            for (at, value) in points {
                if let Some(rate) = counter.observe(at, value) {
                    prop_assert!(rate.per_second >= 0.0);
                }
            }
        }
    }
}
