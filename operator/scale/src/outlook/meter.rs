//! A counter of answered requests becomes a load per minute.

use super::STEP_SECONDS;
use homeostat_knowledge::Timestamp;
use serde::{Deserialize, Serialize};

/// Reads a counter about once a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    last: Option<(i64, f64, u64)>,
}

/// A minute that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minute {
    /// Its number since 1970.
    pub number: i64,
    /// Mean rate, per second; `None` when it cannot be told.
    pub rate: Option<f64>,
}

impl Meter {
    /// The minute that ended with this reading; `None` while it goes on. A counter that was not there, went back, or
    /// was not read for more than a minute says nothing of the time in between.
    pub fn read(&mut self, at: Timestamp, count: Option<u64>) -> Option<Minute> {
        let seconds = at.as_millisecond() as f64 / 1e3;
        let minute = at.as_second().div_euclid(i64::from(STEP_SECONDS));
        let next = count.map(|count| (minute, seconds, count));
        let Some((last_minute, last_seconds, last_count)) = self.last else {
            self.last = next;
            return Some(Minute { number: minute - 1, rate: None });
        };
        if minute <= last_minute {
            // The clock was set back: begin anew.
            if minute < last_minute {
                self.last = next;
            }
            return None;
        }
        self.last = next;
        let grown = count.and_then(|count| count.checked_sub(last_count));
        let passed = seconds - last_seconds;
        let rate =
            grown.filter(|_| minute == last_minute + 1 && passed > 0.0).map(|grown| grown as f64 / passed);
        Some(Minute { number: minute - 1, rate })
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
        let mut meter = Meter::default();
        assert_eq!(meter.read(at(6_000), Some(1_000)), Some(Minute { number: 99, rate: None }));
        assert_eq!(meter.read(at(6_030), Some(1_100)), None, "the minute is not over");
        let minute = meter.read(at(6_061), Some(1_610)).unwrap();
        assert_eq!(minute, Minute { number: 100, rate: Some(10.0) });
    }

    #[test]
    fn what_cannot_be_told_is_a_gap_and_never_a_number() {
        let mut meter = Meter::default();
        meter.read(at(6_000), Some(1_000));
        let reset = meter.read(at(6_060), Some(5)).unwrap();
        assert_eq!(reset.rate, None, "the counter began anew");
        assert_eq!(meter.read(at(6_120), None).unwrap().rate, None, "nothing to read");
        assert_eq!(meter.read(at(6_180), Some(50)).unwrap().rate, None, "nothing to compare with");
        let late = meter.read(at(6_360), Some(90)).unwrap();
        assert_eq!(late, Minute { number: 105, rate: None }, "three minutes are not one");
        assert_eq!(meter.read(at(6_000), Some(95)), None, "the clock was set back");
        assert_eq!(meter.read(at(6_060), Some(155)).unwrap().rate, Some(1.0));
    }
}
