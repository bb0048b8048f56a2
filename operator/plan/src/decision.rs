//! What the planner can decide.

use homeostat_knowledge::{Draft, Plan, SignedDuration, Timestamp};

/// What to do about one incident now. Every variant says why, and what else was considered.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// This plan should pass the checker and the guards. Its explanation is in the plan.
    Act(Plan<Draft>),
    /// Nothing yet: something is under way, or it is too early.
    Wait {
        /// When to ask again at the latest; `None`: when something changes.
        until: Option<Timestamp>,
        /// Why.
        reason: String,
        /// What was considered, in order.
        explanation: Vec<String>,
    },
    /// People must take over.
    HandOver {
        /// Why.
        reason: String,
        /// What they can do: `kubectl` commands.
        advice: Vec<String>,
        /// What was considered, in order.
        explanation: Vec<String>,
    },
    /// There is nothing to do about it, now or later.
    Nothing {
        /// Why.
        reason: String,
        /// What was considered, in order.
        explanation: Vec<String>,
    },
}

impl Decision {
    /// `Act`, `Wait`, `HandOver` or `Nothing`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Act(_) => "Act",
            Self::Wait { .. } => "Wait",
            Self::HandOver { .. } => "HandOver",
            Self::Nothing { .. } => "Nothing",
        }
    }

    /// Why, in a sentence.
    pub fn reason(&self) -> &str {
        match self {
            Self::Act(plan) => plan.explanation.first().map_or("", String::as_str),
            Self::Wait { reason, .. } | Self::HandOver { reason, .. } | Self::Nothing { reason, .. } => {
                reason
            }
        }
    }

    /// What was considered, in order.
    pub fn explanation(&self) -> &[String] {
        match self {
            Self::Act(plan) => &plan.explanation,
            Self::Wait { explanation, .. }
            | Self::HandOver { explanation, .. }
            | Self::Nothing { explanation, .. } => explanation,
        }
    }
}

/// Why planning ended without a plan; becomes a [`Decision`] together with what was considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Wait { until: Option<Timestamp>, reason: String },
    HandOver { reason: String },
    Nothing { reason: String },
}

impl Stop {
    /// Wait until something changes.
    pub(crate) fn wait(reason: impl Into<String>) -> Self {
        Self::Wait { until: None, reason: reason.into() }
    }

    /// Wait at most until an instant.
    pub(crate) fn until(until: Timestamp, reason: impl Into<String>) -> Self {
        Self::Wait { until: Some(until), reason: reason.into() }
    }

    /// The same, but if it waits, then at most until an instant.
    pub(crate) fn at_latest(self, latest: Timestamp) -> Self {
        match self {
            Self::Wait { until, reason } => {
                Self::Wait { until: Some(until.map_or(latest, |until| until.min(latest))), reason }
            }
            other => other,
        }
    }

    pub(crate) fn hand_over(reason: impl Into<String>) -> Self {
        Self::HandOver { reason: reason.into() }
    }

    pub(crate) fn nothing(reason: impl Into<String>) -> Self {
        Self::Nothing { reason: reason.into() }
    }

    pub(crate) fn decide(self, advice: impl FnOnce() -> Vec<String>, explanation: Vec<String>) -> Decision {
        match self {
            Self::Wait { until, reason } => Decision::Wait { until, reason, explanation },
            Self::HandOver { reason } => Decision::HandOver { reason, advice: advice(), explanation },
            Self::Nothing { reason } => Decision::Nothing { reason, explanation },
        }
    }
}

/// `at` plus `duration`; the last instant there is instead of an overflow.
pub(crate) fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// A duration for people: `0.8 s`, `12 s`, `5 min`.
pub(crate) fn words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds.abs() < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds.abs() < 120.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}
