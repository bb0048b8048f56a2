//! What is coming for a workload, and whether the minute to act before it is now.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Something that can be seen coming, as decided last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// When it was decided.
    pub decided: Timestamp,
    /// Since when it was looked for a minute to act.
    pub since: Timestamp,
    /// What is coming, in words that stay while it does; empty where a finding of its own says it.
    pub what: String,
    /// Before this it comes in one of ten cases only.
    pub earliest: Timestamp,
    /// There is time: until then a quieter minute is waited for. `None`: now is the minute to act.
    pub wait_until: Option<Timestamp>,
    /// Why now, or why not yet, in words.
    pub why: String,
}

/// What was decided longer ago says nothing of now.
const FRESH: SignedDuration = SignedDuration::from_mins(2);

impl Ahead {
    /// It was decided lately enough to count.
    pub fn counts(&self, now: Timestamp) -> bool {
        now.duration_since(self.decided) <= FRESH
    }

    /// Until when a quieter minute is waited for; `None` when it is time.
    pub fn waits(&self, now: Timestamp) -> Option<Timestamp> {
        self.wait_until.filter(|until| now < *until)
    }

    /// Minutes that are left at the least.
    pub fn minutes_left(&self, now: Timestamp) -> i64 {
        self.earliest.duration_since(now).as_mins().max(0)
    }
}
