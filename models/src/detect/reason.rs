//! Why a detector says what it says, in words a person can check.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which residual was the most surprising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Against {
    /// The level of the last dozen points.
    RecentLevel,
    /// The level of the last hundreds of points.
    LongLevel,
    /// The recent level, by how much the last dozens of points moved against how much they usually do.
    Activity,
    /// The swings of the last dozens of points.
    RecentSwings,
}

/// Reason of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reason {
    /// Too few points were seen.
    Learning {
        /// Points seen.
        seen: u32,
        /// Points needed.
        needed: u32,
    },
    /// The value is not a finite number; nothing was learned from it.
    NotFinite,
    /// A counter gives no rate here: its first point, or one that is not later than the one before.
    NoRate,
    /// The difference is too small, or on the side that is not bad.
    DoesNotMatter {
        /// Value.
        value: f64,
        /// What was expected.
        expected: f64,
    },
    /// As unusual a point came at this time of day on enough earlier days.
    Recurs {
        /// Value.
        value: f64,
        /// What was expected.
        expected: f64,
        /// Earlier days, of the bursts that are remembered.
        days: u32,
    },
    /// The counter started again: what it counted before that is lost, so its rate is not judged here.
    Restarted,
    /// How far the value is from what was expected.
    Distance {
        /// Value.
        value: f64,
        /// What was expected.
        expected: f64,
        /// Distance in usual spreads, signed.
        spreads: f64,
        /// What it was compared with.
        against: Against,
        /// The time of day was taken into account.
        seasonal: bool,
        /// Chance of a point at least as far off in the usual state.
        chance: f64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Learning { seen, needed } => write!(out, "still learning: {seen} of {needed} points seen"),
            Self::Restarted => write!(out, "the counter started again since the last point"),
            Self::NoRate => {
                write!(out, "no rate yet: the first point of a counter, or one not later than the last")
            }
            Self::NotFinite => write!(out, "the value is not a number"),
            Self::DoesNotMatter { value, expected } => {
                write!(out, "{value:.4} where {expected:.4} is usual: too small a difference to matter")
            }
            Self::Recurs { value, expected, days } => {
                write!(
                    out,
                    "{value:.4} where {expected:.4} is usual: as on {days} earlier days at this time, no news"
                )
            }
            Self::Distance { value, expected, spreads, against: Against::Activity, chance, .. } => {
                let change = if spreads < 0.0 { "less" } else { "more" };
                write!(
                    out,
                    "{value:.4} where {expected:.4} is usual: the last points move {change} than usual by {:.1} usual \
                     spreads, chance of that {chance:.1e}",
                    spreads.abs()
                )
            }
            Self::Distance { value, expected, spreads, against, seasonal, chance } => {
                let side = if spreads < 0.0 { "below" } else { "above" };
                let level = match against {
                    Against::RecentLevel | Against::Activity => "the recent level",
                    Against::LongLevel => "the long-term level",
                    Against::RecentSwings => "the recent level, given its recent swings",
                };
                let time = if seasonal { " at this time of day" } else { "" };
                write!(
                    out,
                    "{value:.4} where {expected:.4} is usual: {:.1} usual spreads {side} {level}{time}, \
                     chance of such a point {chance:.1e}",
                    spreads.abs()
                )
            }
        }
    }
}
