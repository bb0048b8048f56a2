//! A counter of answered requests becomes a load per step.

use homeostat_knowledge::Timestamp;
use serde::{Deserialize, Serialize};

/// Reads a counter about once a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    seconds: u32,
    last: Option<(i64, f64, u64)>,
}

/// A step that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its number since 1970.
    pub number: i64,
    /// Mean rate, per second; `None` when it cannot be told.
    pub rate: Option<f64>,
    /// What was counted in it; 0 when it cannot be told.
    pub count: u64,
}

impl Meter {
    /// Steps of so many seconds, at least one.
    pub fn every(seconds: u32) -> Self {
        Self { seconds: seconds.max(1), last: None }
    }

    /// The step that ended with this reading; `None` while it goes on. A counter that was not there, went back, or
    /// was not read for more than a step says nothing of the time in between.
    pub fn read(&mut self, at: Timestamp, count: Option<u64>) -> Option<Step> {
        let seconds = at.as_millisecond() as f64 / 1e3;
        let step = at.as_second().div_euclid(i64::from(self.seconds));
        let next = count.map(|count| (step, seconds, count));
        let Some((last_step, last_seconds, last_count)) = self.last else {
            self.last = next;
            return Some(Step { number: step - 1, rate: None, count: 0 });
        };
        if step <= last_step {
            // The clock was set back: begin anew.
            if step < last_step {
                self.last = next;
            }
            return None;
        }
        self.last = next;
        let passed = seconds - last_seconds;
        let grown = count
            .and_then(|count| count.checked_sub(last_count))
            .filter(|_| step == last_step + 1 && passed > 0.0);
        let rate = grown.map(|grown| grown as f64 / passed);
        Some(Step { number: step - 1, rate, count: grown.unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_minute_has_the_mean_rate_of_its_seconds() {
        let mut meter = Meter::every(60);
        assert_eq!(meter.read(at(6_000), Some(1_000)), Some(Step { number: 99, rate: None, count: 0 }));
        assert_eq!(meter.read(at(6_030), Some(1_100)), None, "the minute is not over");
        let minute = meter.read(at(6_061), Some(1_610)).unwrap();
        assert_eq!(minute, Step { number: 100, rate: Some(10.0), count: 610 });
    }

    #[test]
    fn what_cannot_be_told_is_a_gap_and_never_a_number() {
        let mut meter = Meter::every(60);
        meter.read(at(6_000), Some(1_000));
        let reset = meter.read(at(6_060), Some(5)).unwrap();
        assert_eq!(reset.rate, None, "the counter began anew");
        assert_eq!(meter.read(at(6_120), None).unwrap().rate, None, "nothing to read");
        assert_eq!(meter.read(at(6_180), Some(50)).unwrap().rate, None, "nothing to compare with");
        let late = meter.read(at(6_360), Some(90)).unwrap();
        assert_eq!(late, Step { number: 105, rate: None, count: 0 }, "three minutes are not one");
        assert_eq!(meter.read(at(6_000), Some(95)), None, "the clock was set back");
        assert_eq!(meter.read(at(6_060), Some(155)).unwrap().rate, Some(1.0));
    }
}
