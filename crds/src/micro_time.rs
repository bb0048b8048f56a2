//! An instant with microsecond precision.

use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// An instant, cut to whole microseconds so that what is written is equal to what is read back.
///
/// On the wire always UTC with six digits, as Kubernetes writes its own `MicroTime`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroTime(Timestamp);

impl MicroTime {
    /// Cuts `at` to whole microseconds (towards the past).
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        let nanoseconds = at.as_nanosecond();
        let whole = nanoseconds - nanoseconds.rem_euclid(1_000);
        // Only the lowest instants of all time can leave the range; those stay as they are.
        Self(Timestamp::from_nanosecond(whole).unwrap_or(at))
    }

    /// The instant for calculations.
    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Seconds from `earlier` to `self`; negative when `self` is the earlier one.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.duration_since(earlier.0).as_secs_f64()
    }
}

impl From<Timestamp> for MicroTime {
    fn from(at: Timestamp) -> Self {
        Self::new(at)
    }
}

impl From<MicroTime> for Timestamp {
    fn from(at: MicroTime) -> Self {
        at.0
    }
}

impl fmt::Display for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%S%.6fZ", self.0).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%S%.6fZ", self.0).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for MicroTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self::new(at))
    }
}

impl JsonSchema for MicroTime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MicroTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_equal() {
        let at = MicroTime::new("2026-11-22T09:14:03.512999999Z".parse().unwrap());
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(text, "\"2026-11-22T09:14:03.512999Z\"");
        assert_eq!(serde_json::from_str::<MicroTime>(&text).unwrap(), at);
    }

    #[test]
    fn other_zones_and_precisions_are_understood() {
        let a: MicroTime = serde_json::from_str("\"2026-11-22T10:14:03+01:00\"").unwrap();
        let b: MicroTime = serde_json::from_str("\"2026-11-22T09:14:03.000000Z\"").unwrap();
        assert_eq!(a, b);
        assert!((b.seconds_since(a)).abs() < f64::EPSILON);
    }
}
