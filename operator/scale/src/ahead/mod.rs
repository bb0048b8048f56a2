//! Failures that can be seen coming: what nears a limit, and a fault that comes back regularly.
//!
//! Pure decisions: what is coming, when, and whether to act now or wait for a quieter minute.

mod day;
mod returns;

pub use day::Day;
pub use returns::{Foretold, Past, Rhythm, before_return};

use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "whole numbers")]

    use super::*;
    use homeostat_models::forecast::{History, time_to_limit};

    const BUSY: Moment = Moment { load: 0.9, quiet: 0.3, needs: 60.0 };
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
}
