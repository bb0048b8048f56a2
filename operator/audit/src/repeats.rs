//! The same decision again and again (a guard that refuses for an hour) becomes one entry at its beginning and one
//! with first, last and count, instead of thousands.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// A decision that did not come again for so long is over.
const QUIET: SignedDuration = SignedDuration::from_mins(5);
/// One that goes on is counted into the record so often.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// Different decisions that may go on at once; the one that was silent longest is closed for a new one.
const LIMIT: usize = 1_000;

/// How often the same was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// First time, which has an entry of its own.
    pub first: Timestamp,
    /// Last time.
    pub last: Timestamp,
    /// How often, the first one counted.
    pub count: u64,
}

#[derive(Clone, Debug)]
struct Open<T> {
    run: Run,
    reported: u64,
    since: Timestamp,
    what: T,
}

/// What is being repeated. `T` is what the entry of a run is made of.
#[derive(Clone, Debug)]
pub struct Repeats<T> {
    open: BTreeMap<String, Open<T>>,
}

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Self { open: BTreeMap::new() }
    }
}

impl<T: Clone> Repeats<T> {
    /// Counts a decision. `key` is what makes two the same; times do not belong into it. Gives back what is to be
    /// recorded now: the decision itself when it is new, and before it a run that had to make room.
    pub fn seen(&mut self, key: &str, what: T, now: Timestamp) -> Vec<(T, Option<Run>)> {
        if let Some(open) = self.open.get_mut(key) {
            open.run.last = now;
            open.run.count += 1;
            return Vec::new();
        }
        let mut due = Vec::new();
        if self.open.len() >= LIMIT {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.run.last).map(|(key, _)| key.clone());
            due.extend(oldest.and_then(|key| self.open.remove(&key)).and_then(|open| ended(&open)));
        }
        let run = Run { first: now, last: now, count: 1 };
        self.open.insert(key.to_owned(), Open { run, reported: 1, since: now, what: what.clone() });
        due.push((what, None));
        due
    }

    /// Runs that are over, or have gone on for an hour. Those over are forgotten.
    pub fn due(&mut self, now: Timestamp) -> Vec<(T, Option<Run>)> {
        let mut due = Vec::new();
        self.open.retain(|_, open| {
            let over = now.duration_since(open.run.last) >= QUIET;
            if over || now.duration_since(open.since) >= LONGEST {
                due.extend(ended(open));
                (open.reported, open.since) = (open.run.count, now);
            }
            !over
        });
        due
    }

    /// Everything that is not recorded yet, for the end of the program.
    pub fn close(&mut self) -> Vec<(T, Option<Run>)> {
        std::mem::take(&mut self.open).into_values().filter_map(|open| ended(&open)).collect()
    }
}

/// The entry of a run; none when it says no more than what is recorded.
fn ended<T: Clone>(open: &Open<T>) -> Option<(T, Option<Run>)> {
    (open.run.count > open.reported).then(|| (open.what.clone(), Some(open.run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn the_first_is_recorded_at_once_and_the_rest_as_one_entry() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.seen("freeze", "x", at(0)), [("x", None)]);
        for second in 1..=99 {
            assert_eq!(repeats.seen("freeze", "x", at(second)), []);
        }
        assert_eq!(repeats.due(at(200)), [], "it may come again");
        let run = Run { first: at(0), last: at(99), count: 100 };
        assert_eq!(repeats.due(at(99 + 300)), [("x", Some(run))]);
        assert_eq!(repeats.due(at(10_000)), [], "told once");
        assert_eq!(repeats.seen("freeze", "x", at(10_001)), [("x", None)], "a new run");
    }

    #[test]
    fn what_happened_once_needs_no_second_entry_and_what_goes_on_is_told_each_hour() {
        let mut repeats = Repeats::default();
        repeats.seen("once", "x", at(0));
        assert_eq!(repeats.due(at(300)), []);
        for minute in 0..=60 {
            repeats.seen("on", "y", at(1_000 + 60 * minute));
        }
        let run = Run { first: at(1_000), last: at(4_600), count: 61 };
        assert_eq!(repeats.due(at(4_600)), [("y", Some(run))]);
        assert_eq!(repeats.close(), [], "nothing new since");
        repeats.seen("on", "y", at(4_660));
        assert_eq!(repeats.due(at(4_700)), []);
        repeats.seen("on", "y", at(4_720));
        assert_eq!(repeats.close().len(), 1);
    }

    #[test]
    fn different_decisions_are_bounded_and_none_is_lost() {
        let mut repeats = Repeats::default();
        let mut told = 0;
        for number in 0..3_000_i64 {
            let key = number.to_string();
            told += repeats.seen(&key, number, at(number)).len();
            told += repeats.seen(&key, number, at(number)).len();
        }
        assert!(repeats.open.len() <= LIMIT);
        told += repeats.close().len();
        assert_eq!(told, 6_000, "each was told of when it came and when it was over");
    }
}
