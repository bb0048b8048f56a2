//! The usual distance between two points, learned from the timestamps.

use serde::{Deserialize, Serialize};

/// Majority vote over the distances of successive points (Boyer and Moore 1991), in whole seconds. Missing and
/// repeated points do not move it; a lasting change of the scrape interval does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    last: Option<i64>,
    candidate: i64,
    votes: u32,
}

/// Votes are capped so that a new interval is believed after this many points.
const MOST_VOTES: u32 = 200;

impl Step {
    /// Takes the time of the next point in seconds; returns the distance from the point before, at least 0.
    pub fn observe(&mut self, at_seconds: i64) -> i64 {
        let distance = self.last.map_or(0, |last| at_seconds.saturating_sub(last).max(0));
        self.last = Some(at_seconds);
        if distance > 0 {
            if distance == self.candidate {
                self.votes = (self.votes + 1).min(MOST_VOTES);
            } else if self.votes <= 1 {
                self.candidate = distance;
                self.votes = 1;
            } else {
                self.votes -= 1;
            }
        }
        distance
    }

    /// The step in seconds; 60 before two points were seen.
    pub fn seconds(&self) -> i64 {
        if self.candidate > 0 { self.candidate } else { 60 }
    }

    /// Time of the last point.
    pub fn last(&self) -> Option<i64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_repeats_do_not_move_the_step_a_new_interval_does() {
        let mut step = Step::default();
        for at in [0, 300, 600, 900, 900, 9_000, 9_300, 9_600] {
            step.observe(at);
        }
        assert_eq!(step.seconds(), 300);
        for turn in 0..600 {
            step.observe(10_000 + 60 * turn);
        }
        assert_eq!(step.seconds(), 60);
        assert_eq!(step.observe(i64::MIN), 0);
    }
}
