//! Instants and spans in whole microseconds, cheap enough to keep millions of them.

use std::fmt;
use std::ops::{Add, Sub};

use jiff::Timestamp;

/// An instant: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At(pub i64);

/// A length of time in microseconds; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl At {
    /// The current instant by the machine's clock, which all processes on one node share.
    pub fn now() -> Self {
        Self(Timestamp::now().as_microsecond())
    }

    /// Cuts a timestamp to microseconds.
    pub fn from_timestamp(at: Timestamp) -> Self {
        Self(at.as_microsecond())
    }

    /// RFC 3339 in UTC with six digits; `None` for instants outside of the calendar.
    pub fn to_text(self) -> Option<String> {
        let at = Timestamp::from_microsecond(self.0).ok()?;
        Some(at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
    }
}

impl Span {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Whole milliseconds.
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds * 1_000)
    }

    /// Seconds with fraction.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Sub for At {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        Span(self.0 - earlier.0)
    }
}

impl Add<Span> for At {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0 + span.0)
    }
}

impl Sub<Span> for At {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0 - span.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s", self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_microseconds_in_utc() {
        assert_eq!(At(1_700_000_000_000_001).to_text().unwrap(), "2023-11-14T22:13:20.000001Z");
        assert_eq!(At(i64::MAX).to_text(), None);
    }

    #[test]
    fn spans_count_in_seconds() {
        assert!(((At(3_500_000) - At(1_000_000)).seconds() - 2.5).abs() < 1e-9);
        assert_eq!(At(0) + Span::from_millis(2), At(2_000));
        assert_eq!(Span::from_secs(3).to_string(), "3.00 s");
    }
}
