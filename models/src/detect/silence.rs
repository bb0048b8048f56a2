//! A series that stopped: nothing came for longer than it ever keeps quiet.

use serde::{Deserialize, Serialize};

/// A gap of this many usual longest gaps is silence.
const TIMES_LONGEST: f64 = 2.0;
/// The longest gap is forgotten by this share at each point.
const FORGET: f64 = 0.001;
/// Points that must be missing at least.
const LEAST_POINTS: i64 = 4;
/// Points before silence can be told.
const WARM_UP: u32 = 10;

/// Learns how long a series usually keeps quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SilenceWatch {
    last: Option<i64>,
    longest: f64,
    seen: u32,
}

/// A silence, and why it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Time of the last point in seconds.
    pub last_seen: i64,
    /// Seconds since.
    pub seconds: i64,
    /// Points that are missing.
    pub missing: i64,
    /// Longest gap in seconds that is usual.
    pub usual_longest: i64,
}

impl std::fmt::Display for Silence {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seconds, missing, usual_longest, .. } = self;
        write!(
            out,
            "no point for {seconds} s ({missing} missing); usually never longer than {usual_longest} s"
        )
    }
}

impl SilenceWatch {
    /// Takes the time of a point and the usual step, in seconds.
    pub fn observe(&mut self, at_seconds: i64, step: i64) {
        let gap = self.last.map_or(0, |last| at_seconds.saturating_sub(last).max(0));
        self.last = Some(self.last.map_or(at_seconds, |last| last.max(at_seconds)));
        self.seen = self.seen.saturating_add(1);
        // An outage of hours must not teach that hours are usual: a gap counts at most four times the longest so far.
        let gap = (gap as f64).min(4.0 * self.longest.max(step.max(1) as f64));
        self.longest = (self.longest * (1.0 - FORGET)).max(gap);
    }

    /// Whether the series is silent at `now_seconds`.
    pub fn check(&self, now_seconds: i64, step: i64) -> Option<Silence> {
        let last_seen = self.last?;
        let step = step.max(1);
        let seconds = now_seconds.saturating_sub(last_seen);
        let limit = (TIMES_LONGEST * self.longest).max((LEAST_POINTS * step) as f64);
        (self.seen >= WARM_UP && seconds as f64 > limit).then(|| Silence {
            last_seen,
            seconds,
            missing: seconds / step,
            usual_longest: self.longest.round() as i64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_series_is_silent_after_a_few_steps_a_patchy_one_later() {
        let (mut steady, mut patchy) = (SilenceWatch::default(), SilenceWatch::default());
        for turn in 0..100 {
            steady.observe(15 * turn, 15);
            patchy.observe(15 * turn + if turn % 10 == 9 { 100 } else { 0 }, 15);
        }
        let end = 15 * 99;
        assert_eq!(steady.check(end + 60, 15), None);
        let silence = steady.check(end + 75, 15).expect("five points are missing");
        assert_eq!(silence.to_string(), "no point for 75 s (5 missing); usually never longer than 15 s");
        assert_eq!(patchy.check(end + 100 + 75, 15), None);
        assert!(patchy.check(end + 600, 15).is_some());
    }
}
