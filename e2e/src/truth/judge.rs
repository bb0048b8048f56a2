//! Impact, mitigation and the figures of one fault, by the definitions of the comparison:
//!
//! - impact: end of the first failed attempt on the broken service after the injection;
//! - detected: the harness's own watch delivers an Incident, opened after the injection, that
//!   names the broken entity among its causes;
//! - mitigated: end of the first good attempt, started after the impact, that opens 3 s without a
//!   failed attempt on the broken service, all of it before the harness began to restore.
//!
//! All of it is pure. Attempts count at their end, when the caller knew how they ended: a call
//! that hung since before the recovery and times out after it still is a failure after it.

use super::at::{At, Span};
use super::attempt::Attempt;

/// Time without a failed attempt that makes a good one the recovery.
pub const CALM: Span = Span::from_secs(3);
/// What a fault that was not healed counts as downtime.
pub const NOT_HEALED: Span = Span::from_secs(60);

/// End of the first failed attempt that ended at or after `since`.
///
/// `attempts` are those on the broken service, in order of their end.
pub fn impact(attempts: &[Attempt], since: At) -> Option<At> {
    attempts.iter().find(|a| a.end >= since && a.outcome.failed()).map(|a| a.end)
}

/// End of the first good attempt, started after `impact`, with no failed attempt for [`CALM`]
/// after it. The calm must be over by `until`: later attempts are not the service's own doing,
/// or not known yet.
///
/// `attempts` are those on the broken service, in order of their end.
pub fn mitigated(attempts: &[Attempt], impact: At, until: At) -> Option<At> {
    let failures: Vec<At> =
        attempts.iter().filter(|a| a.outcome.failed() && a.end >= impact).map(|a| a.end).collect();
    let mut next = 0;
    for good in attempts.iter().filter(|a| !a.outcome.failed() && a.start > impact) {
        if good.end + CALM > until {
            return None;
        }
        while failures.get(next).is_some_and(|failure| *failure < good.end) {
            next += 1;
        }
        if failures.get(next).is_none_or(|failure| *failure >= good.end + CALM) {
            return Some(good.end);
        }
    }
    None
}

/// What became of one fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// When callers began to suffer; `None` when they never did.
    pub impact: Option<At>,
    /// When an incident named the broken entity.
    pub detected: Option<At>,
    /// When callers were served again.
    pub mitigated: Option<At>,
    /// Seconds from impact to detection, never negative; infinite when undetected; `None`
    /// without impact.
    pub mttd: Option<f64>,
    /// Seconds from detection (or the impact, when that is later) to mitigation, never negative;
    /// infinite when not healed; `None` without impact, and when it recovered before it was detected.
    pub mttr: Option<f64>,
    /// Seconds from impact to mitigation; 60 when not healed; 0 without impact.
    pub downtime: f64,
    /// Callers were served again before the harness restored (or never suffered).
    pub healed: bool,
    /// It recovered before it was detected.
    pub before_alert: bool,
}

impl Verdict {
    /// Judges one fault from the attempts on the broken service, in order of their end.
    ///
    /// `since` is the injection, or the second kill of a double kill; `until` is when the harness
    /// began to restore; `detected` is what the watch said.
    pub fn new(attempts: &[Attempt], since: At, until: At, detected: Option<At>) -> Self {
        let impact = impact(attempts, since).filter(|impact| *impact < until);
        let Some(began) = impact else {
            return Self {
                impact: None,
                detected,
                mitigated: None,
                mttd: None,
                mttr: None,
                downtime: 0.0,
                healed: true,
                before_alert: false,
            };
        };
        let mitigated = mitigated(attempts, began, until);
        let mttd = detected.map_or(f64::INFINITY, |at| (at - began).seconds().max(0.0));
        let mttr = match (detected, mitigated) {
            (_, None) => Some(f64::INFINITY),
            (Some(detected), Some(ended)) if detected <= ended => {
                Some((ended - detected.max(began)).seconds())
            }
            // Nobody repaired it knowingly: counted apart, so that it does not make repairs look short.
            (_, Some(_)) => None,
        };
        Self {
            impact,
            detected,
            mitigated,
            mttd: Some(mttd),
            mttr,
            downtime: mitigated.map_or(NOT_HEALED.seconds(), |ended| (ended - began).seconds()),
            healed: mitigated.is_some(),
            before_alert: mitigated.is_some_and(|ended| detected.is_none_or(|at| at > ended)),
        }
    }
}

#[cfg(test)]
mod tests;
