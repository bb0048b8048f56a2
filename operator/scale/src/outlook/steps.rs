//! A bounded series of minutes with explicit gaps.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Steps for which room is made at once: a day of minutes.
const ROOM: usize = 1_440;
/// A step that is so many older than the newest comes late; an older one may mean that the clock was ahead.
const LATE: i64 = 5;

/// The newest minutes of a series. A gap is a value that is not finite; in storage it is null. Single precision halves
/// the memory and is finer than any load is known; a value beyond its range counts as a gap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steps {
    first: i64,
    #[serde(with = "gaps")]
    values: VecDeque<f32>,
    keep: usize,
    usable: usize,
    /// The last step, where that lay so far back that the clock may have been ahead before it.
    #[serde(skip)]
    back: Option<i64>,
}

impl Steps {
    /// Empty; keeps the newest `keep` steps.
    pub fn new(keep: usize) -> Self {
        Self { first: 0, values: VecDeque::new(), keep, usable: 0, back: None }
    }

    /// Adds the step with this number, and gaps for those left out before it. `false` when it is not newer than the
    /// last. Where next to nothing is known from this step on, the clock was ahead for a while: the series goes on from the
    /// second step in a row that says so. A series does not begin with gaps.
    pub fn push(&mut self, number: i64, value: Option<f64>) -> bool {
        let value = value.map_or(f32::NAN, |value| value as f32);
        if self.values.is_empty() {
            if value.is_finite() {
                self.first = number;
                self.values.push_back(value);
                self.usable = 1;
            }
            return true;
        }
        let missing = number.saturating_sub(self.end());
        if missing < 0 {
            let (place, known) = self.since(number);
            // What a clock that is behind now tells is no reason to forget what was seen.
            if missing >= -LATE || (known as i64).saturating_mul(2) >= missing.saturating_abs() {
                return false;
            }
            // One alone may be of a clock that is behind for a moment.
            if self.back.replace(number).is_none_or(|before| before >= number) {
                return false;
            }
            self.back = None;
            self.values.truncate(place);
            self.usable -= known;
            return self.push(number, Some(f64::from(value)));
        }
        self.back = None;
        if missing >= self.keep as i64 {
            *self = Self::new(self.keep);
            return self.push(number, Some(f64::from(value)));
        }
        for _ in 0..missing {
            self.append(f32::NAN);
        }
        self.append(value);
        self.usable += usize::from(value.is_finite());
        while self.values.len() > self.keep {
            if self.values.pop_front().is_some_and(f32::is_finite) {
                self.usable -= 1;
            }
            self.first += 1;
        }
        true
    }

    /// Place of the step with this number, and how many from there on are no gaps.
    fn since(&self, number: i64) -> (usize, usize) {
        let place = usize::try_from(number.saturating_sub(self.first)).unwrap_or(0).min(self.values.len());
        (place, self.values.range(place..).filter(|value| value.is_finite()).count())
    }

    /// A series that doubled its room would hold half of it empty for most of its life.
    fn append(&mut self, value: f32) {
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(ROOM);
        }
        self.values.push_back(value);
    }

    /// Number of the oldest step.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// Number of the step after the newest.
    pub fn end(&self) -> i64 {
        self.first.saturating_add_unsigned(self.values.len() as u64)
    }

    /// Steps that are no gaps.
    pub fn usable(&self) -> usize {
        self.usable
    }

    /// Oldest first; gaps are NaN.
    pub fn values(&self) -> Vec<f64> {
        self.values.iter().map(|value| if value.is_finite() { f64::from(*value) } else { f64::NAN }).collect()
    }

    /// The newest value; `None` for a gap.
    pub fn last(&self) -> Option<f64> {
        self.values.back().filter(|value| value.is_finite()).map(|value| f64::from(*value))
    }

    /// Gaps since the last value; `None` when there never was one.
    pub fn silent(&self) -> Option<usize> {
        self.values.iter().rev().position(|value| value.is_finite())
    }
}

/// JSON has no NaN.
mod gaps {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::VecDeque;

    pub fn serialize<S: Serializer>(values: &VecDeque<f32>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| Some(*value).filter(|value| value.is_finite())))
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<VecDeque<f32>, D::Error> {
        let values: Vec<Option<f32>> = Vec::deserialize(from)?;
        Ok(values.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps_and_the_oldest_go() {
        let mut steps = Steps::new(4);
        assert!(steps.push(10, None) && steps.values().is_empty(), "no series begins with a gap");
        for (number, value) in [(11, Some(1.0)), (13, Some(3.0)), (14, None)] {
            assert!(steps.push(number, value));
        }
        assert!(!steps.push(13, Some(9.0)), "the past is not written again");
        assert_eq!((steps.first(), steps.end(), steps.usable(), steps.silent()), (11, 15, 2, Some(1)));
        assert!(steps.values()[1].is_nan() && steps.last().is_none());
        steps.push(15, Some(5.0));
        assert_eq!((steps.first(), steps.usable(), steps.values().len()), (12, 2, 4));
        steps.push(1_000_000_000, Some(7.0));
        assert_eq!(
            (steps.first(), steps.values()),
            (1_000_000_000, vec![7.0]),
            "a long silence ends a series"
        );
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_holds_nothing_up_and_one_that_is_behind_takes_nothing_away() {
        let mut steps = Steps::new(20_000);
        for number in 0..3_000 {
            steps.push(number, Some(number as f64));
        }
        assert!(steps.push(4_440, Some(9.0)), "a day ahead");
        assert!(!steps.push(3_000, Some(3_000.0)), "and back");
        assert!(steps.push(3_001, Some(3_001.0)), "for certain");
        assert_eq!((steps.first(), steps.end(), steps.usable()), (0, 3_002, 3_001));
        assert_eq!((steps.last(), steps.silent()), (Some(3_001.0), Some(0)));
        assert!(steps.values()[3_000].is_nan());
        assert!(!steps.push(1_562, Some(7.0)), "a day behind");
        assert!(steps.push(3_002, Some(5.0)));
        assert_eq!((steps.first(), steps.usable()), (0, 3_002));
        assert!(steps.push(1_000_000, Some(1.0)), "years ahead, so that it ends the series");
        assert!(!steps.push(3_002, Some(5.0)));
        assert!(steps.push(3_003, Some(5.0)));
        assert_eq!((steps.first(), steps.values()), (3_003, vec![5.0]));
    }

    #[test]
    fn a_clock_that_is_behind_for_a_moment_takes_nothing_away_from_a_young_series() {
        let mut steps = Steps::new(20_000);
        for number in 1_000..1_020 {
            steps.push(number, Some(1.0));
        }
        for number in [1_020, 1_021] {
            assert!(!steps.push(10, Some(7.0)), "hours behind");
            assert!(steps.push(number, Some(1.0)));
        }
        assert_eq!((steps.first(), steps.end(), steps.usable()), (1_000, 1_022, 22));
    }

    #[test]
    fn what_is_stored_comes_back_with_its_gaps() {
        let mut steps = Steps::new(100);
        for (number, value) in [(1, 1.5), (2, f64::NAN), (3, 1e300), (6, 2.5)] {
            steps.push(number, Some(value));
        }
        assert_eq!(steps.usable(), 2);
        let text = serde_json::to_string(&steps).unwrap();
        let back: Steps = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{back:?}"), format!("{steps:?}").replace("inf", "NaN"));
    }
}
