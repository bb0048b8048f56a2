//! What comes back at the same time of day: a nightly job is no news on its third night.
//!
//! The last bursts are remembered with their heights. A burst is expected when earlier days had one at least three quarters
//! as high at nearly the same time, on more days than bursts spread evenly over the day would give.

use serde::{Deserialize, Serialize};

/// Bursts that are remembered.
const BURSTS: usize = 24;
/// Seconds of a day.
const DAY: i64 = 86_400;
/// Two bursts this near in time of day are at the same time; points this near are one burst.
const NEAR: i64 = 900;
/// Surprisal (nats) from which a point is a burst.
const BURST: f64 = 5.0;
/// Share of the height that an earlier burst must have had.
const AS_HIGH: f64 = 0.75;
/// Earlier days that are needed at least.
const LEAST_DAYS: f64 = 2.0;
/// Further days, as a multiple of what chance gives.
const OVER_CHANCE: f64 = 2.0;
/// Surprisal (nats) of a burst that was expected.
const EXPECTED: f64 = 3.0;

/// The last bursts of a series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recurring {
    /// Time of the start and surprisal, oldest first.
    bursts: [(i64, f64); BURSTS],
    known: usize,
}

impl Recurring {
    /// Takes the time and surprisal of a point; returns its surprisal given the bursts of earlier days, and the number of
    /// those that it repeats (0: it repeats none, or too few).
    pub fn observe(&mut self, at_seconds: i64, surprisal: f64) -> (f64, u32) {
        if surprisal <= BURST {
            return (surprisal, 0);
        }
        let known = self.known.min(BURSTS);
        let repeats = |&&(at, height): &&(i64, f64)| {
            let passed = at_seconds.saturating_sub(at);
            let off = passed.saturating_add(DAY / 2).rem_euclid(DAY) - DAY / 2;
            passed > DAY / 2 && off.abs() <= NEAR && height >= AS_HIGH * surprisal
        };
        let days = self.bursts[..known].iter().filter(repeats).count() as u32;
        let by_chance = known as f64 * (2 * NEAR) as f64 / DAY as f64;
        self.remember(at_seconds, surprisal);
        if f64::from(days) >= LEAST_DAYS + OVER_CHANCE * by_chance {
            (EXPECTED, days)
        } else {
            (surprisal, 0)
        }
    }

    fn remember(&mut self, at_seconds: i64, surprisal: f64) {
        let known = self.known.min(BURSTS);
        if let Some(last) = self.bursts[..known].last_mut()
            && at_seconds.saturating_sub(last.0) < NEAR
        {
            last.1 = last.1.max(surprisal);
            return;
        }
        if known == BURSTS {
            self.bursts.rotate_left(1);
            self.bursts[BURSTS - 1] = (at_seconds, surprisal);
        } else {
            self.bursts[known] = (at_seconds, surprisal);
            self.known = known + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nightly_burst_is_expected_from_the_third_night_a_higher_one_and_another_hour_are_not() {
        let mut recurring = Recurring::default();
        let night = |day: i64| day * DAY + 3 * 3_600 + day * 100;
        assert_eq!(recurring.observe(night(0), 20.0), (20.0, 0));
        assert_eq!(recurring.observe(night(1), 20.0), (20.0, 0));
        for day in 2..6 {
            recurring.observe(night(day), 20.0);
        }
        let (surprisal, days) = recurring.observe(night(6), 22.0);
        assert!(surprisal < 4.0 && days == 6, "{surprisal} {days}");
        assert_eq!(recurring.observe(night(7) + 7_200, 22.0), (22.0, 0));
        assert_eq!(recurring.observe(night(8), 60.0), (60.0, 0));
        assert_eq!(recurring.observe(night(8), 1.0), (1.0, 0));
    }

    #[test]
    fn bursts_all_over_the_day_explain_nothing_and_any_time_is_taken() {
        let mut recurring = Recurring::default();
        for turn in 0..400_i64 {
            let (_, days) = recurring.observe(turn * 7_001, 20.0);
            assert_eq!(days, 0, "burst {turn}");
        }
        for at in [i64::MAX, i64::MIN, 0, i64::MIN, i64::MAX] {
            assert!(recurring.observe(at, 30.0).0 >= EXPECTED);
        }
    }
}
