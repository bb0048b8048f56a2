//! Failures that can be seen coming: what nears a limit, and a fault that comes back regularly.
//!
//! Pure decisions: what is coming, when, and whether to act now or wait for a quieter minute.

mod day;

pub use day::Day;

use serde::{Deserialize, Serialize};

/// Faults below which nothing is called regular.
const FEW: usize = 4;
/// Largest median deviation of the gaps, as a share of the median gap, of what is regular.
const REGULAR: f64 = 0.1;

/// What can be done about something that is coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Advice {
    /// Nothing is coming, or nothing that can be told.
    Nothing,
    /// There is time: wait for a quieter minute.
    Wait,
    /// Act now: a quiet minute, or no time left.
    Act,
}

/// What is coming.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coming {
    /// Seconds until then that are too early in nine of ten cases.
    pub earliest: Option<f64>,
    /// What to do.
    pub advice: Advice,
    /// Why, in words and numbers.
    pub reason: String,
}

/// A moment to act in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Load now, as a share of the day's highest; not finite when unknown.
    pub load: f64,
    /// Up to this share it is a quiet minute.
    pub quiet: f64,
    /// Seconds that acting takes, from the decision to the effect.
    pub needs: f64,
    /// Seconds that are looked ahead for what comes back.
    pub within: f64,
}

/// Whether what reaches its limit in so many seconds at the earliest asks for an act now: replace the pod (a leak) or make
/// room (a disk) before it, in a quiet minute if there is time for one.
pub fn before_limit(earliest: Option<f64>, moment: &Moment) -> Coming {
    let Some(earliest) = earliest.filter(|seconds| seconds.is_finite()) else {
        let reason = "no limit is known to be reached".to_owned();
        return Coming { earliest: None, advice: Advice::Nothing, reason };
    };
    let (advice, why) = weigh(earliest, moment);
    Coming { earliest: Some(earliest), advice, reason: why.to_owned() }
}

/// Whether a fault that came at these times, in seconds and in order, comes back regularly; `now` is on the same clock.
pub fn before_recurrence(faults: &[i64], now: i64, moment: &Moment) -> Coming {
    let nothing = |reason: String| Coming { earliest: None, advice: Advice::Nothing, reason };
    let mut gaps: Vec<f64> = faults
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]) as f64)
        .filter(|gap| *gap > 0.0)
        .collect();
    if gaps.len() + 1 < FEW {
        return nothing(format!("{} faults are too few to be regular, {FEW} are needed", faults.len()));
    }
    let median = middle(&mut gaps);
    let mut off: Vec<f64> = gaps.iter().map(|gap| (gap - median).abs()).collect();
    let deviation = middle(&mut off);
    if deviation > REGULAR * median {
        return nothing(format!("not regular: every {median:.0} s, give or take {deviation:.0} s"));
    }
    let last = faults.last().copied().unwrap_or(now);
    let since = now.saturating_sub(last) as f64;
    let earliest = median - 3.0 * deviation - since;
    if earliest > moment.within {
        return nothing(format!("every {median:.0} s; the next is {earliest:.0} s away"));
    }
    if since > 2.0 * median {
        return nothing(format!("came every {median:.0} s, but not for {since:.0} s"));
    }
    let (advice, why) = weigh(earliest, moment);
    Coming {
        earliest: Some(earliest.max(0.0)),
        advice,
        reason: format!(
            "came {} times, every {median:.0} s; the next in {:.0} s; {why}",
            faults.len(),
            earliest.max(0.0)
        ),
    }
}

/// Seconds before it comes from which on a quiet minute is not waited for: twice what acting needs, once for it and once for a
/// second try.
pub fn margin(needs: f64) -> f64 {
    2.0 * needs
}

fn weigh(earliest: f64, moment: &Moment) -> (Advice, &'static str) {
    if earliest <= margin(moment.needs) {
        (Advice::Act, "no time to wait for a quiet minute")
    } else if !moment.load.is_finite() {
        (Advice::Act, "which minute is quiet is not known")
    } else if moment.load <= moment.quiet {
        (Advice::Act, "a quiet minute")
    } else {
        (Advice::Wait, "waiting for a quiet minute")
    }
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "whole numbers")]

    use super::*;
    use homeostat_models::forecast::{History, time_to_limit};

    const BUSY: Moment = Moment { load: 0.9, quiet: 0.3, needs: 60.0, within: 86_400.0 };
    const QUIET: Moment = Moment { load: 0.1, ..BUSY };

    #[test]
    fn a_leak_is_met_in_a_quiet_minute_or_when_time_is_up() {
        // A leak of 1 MiB a minute from 100.
        let leak: Vec<f64> = (0..120).map(|minute| 100.0 + f64::from(minute)).collect();
        let history = History::new(0, 60, &leak).unwrap();
        let before =
            |limit: f64, moment: &Moment| before_limit(time_to_limit(&history, limit, 86_400.0).p10, moment);
        assert_eq!(before(300.0, &BUSY).advice, Advice::Wait);
        let now = before(300.0, &QUIET);
        assert!(now.advice == Advice::Act && now.reason.contains("a quiet minute"), "{now:?}");
        let late = before(220.0, &BUSY);
        assert!(late.advice == Advice::Act && late.reason.contains("no time"), "{late:?}");
        let blind = before(300.0, &Moment { load: f64::NAN, ..BUSY });
        assert!(blind.advice == Advice::Act && blind.reason.contains("not known"), "{blind:?}");
    }

    #[test]
    fn it_waits_up_to_the_margin_and_not_a_second_longer() {
        assert_eq!(margin(BUSY.needs), 120.0);
        for (earliest, advice) in [(121.0, Advice::Wait), (120.0, Advice::Act), (0.0, Advice::Act)] {
            assert_eq!(before_limit(Some(earliest), &BUSY).advice, advice, "{earliest}");
        }
        for earliest in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(before_limit(earliest, &BUSY).advice, Advice::Nothing, "{earliest:?}");
        }
    }

    #[test]
    fn a_nightly_fault_is_expected_and_an_irregular_one_is_not() {
        let nightly: Vec<i64> = (0..6).map(|day| day * 86_400 + day % 2 * 60).collect();
        let said = before_recurrence(&nightly, 5 * 86_400 + 83_000, &Moment { within: 7_200.0, ..QUIET });
        assert!(said.advice == Advice::Act && said.reason.contains("6 times"), "{said:?}");
        assert_eq!(
            before_recurrence(&nightly, 5 * 86_400 + 1_000, &Moment { within: 7_200.0, ..QUIET }).advice,
            Advice::Nothing
        );
        assert_eq!(before_recurrence(&[0, 50, 900, 1_000, 9_000], 9_100, &QUIET).advice, Advice::Nothing);
        assert!(before_recurrence(&[1, 2], 3, &QUIET).reason.contains("too few"));
        let over = before_recurrence(&nightly, 30 * 86_400, &QUIET);
        assert!(over.advice == Advice::Nothing && over.reason.contains("not for"), "{over:?}");
    }
}
