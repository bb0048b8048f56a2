//! Units that are known, and the smallest change in each that is worth a person's time.
//!
//! A series that sits at 0.1 % processor use and goes to 0.3 % has tripled, and nothing happened. Chances cannot tell
//! that, the unit can. The sizes are conventions of operations, chosen low: below them no user notices.

use serde::{Deserialize, Serialize};

/// A unit whose sizes mean the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Hundredths of what there may be: processor, memory, requests that failed.
    Percent,
    /// The same from 0 to 1.
    Share,
    /// Processors in use.
    Cores,
    /// Thousandths of a processor in use.
    Millicores,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Millions of bytes, decimal or binary.
    Megabytes,
}

/// Every unit with the ways people write it, and its smallest effect.
const UNITS: [(Unit, &[&str], f64); 8] = [
    (Unit::Percent, &["%", "percent", "pct"], 0.5),
    (Unit::Share, &["share", "ratio", "fraction"], 0.005),
    (Unit::Cores, &["cores", "core", "cpu", "cpus", "vcpu"], 0.02),
    (Unit::Millicores, &["millicores", "millicore", "mcpu"], 20.0),
    (Unit::Seconds, &["s", "sec", "second", "seconds"], 0.005),
    (Unit::Milliseconds, &["ms", "millisecond", "milliseconds"], 5.0),
    (Unit::Bytes, &["b", "byte", "bytes"], 4_000_000.0),
    (Unit::Megabytes, &["mb", "mib", "megabytes", "mebibytes"], 4.0),
];

impl Unit {
    /// The unit that a text names, in any case; `None` for one that is not known, such as items or requests: what is much
    /// there depends on the workload.
    pub fn named(text: &str) -> Option<Self> {
        let text = text.trim();
        let found =
            UNITS.iter().find(|(_, names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(text)));
        found.map(|(unit, _, _)| *unit)
    }

    /// Smallest change, in this unit, that matters; for [`super::SeriesConfig::minimum_effect`].
    pub fn minimum_effect(self) -> f64 {
        UNITS.iter().find(|(unit, _, _)| *unit == self).map_or(0.0, |(_, _, effect)| *effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{SeriesConfig, SeriesDetector};

    #[test]
    fn units_are_known_by_their_usual_names() {
        assert_eq!(Unit::named(" % "), Some(Unit::Percent));
        assert_eq!(Unit::named("MiB"), Some(Unit::Megabytes));
        // Minutes, metres, thousandths, millions: not known.
        assert_eq!((Unit::named("m"), Unit::named("messages"), Unit::named("")), (None, None, None));
        for (unit, names, effect) in UNITS {
            assert!(effect > 0.0 && names.iter().all(|name| Unit::named(name) == Some(unit)));
            assert!((unit.minimum_effect() - effect).abs() < 1e-12);
        }
        // The same change in two units of one kind.
        assert!((Unit::Seconds.minimum_effect() * 1e3 - Unit::Milliseconds.minimum_effect()).abs() < 1e-9);
        assert!((Unit::Share.minimum_effect() * 1e2 - Unit::Percent.minimum_effect()).abs() < 1e-9);
    }

    #[test]
    fn a_tripled_trifle_is_no_incident_and_a_full_processor_is() {
        let minimum_effect = Unit::Percent.minimum_effect();
        let config = SeriesConfig { minimum_effect, ..SeriesConfig::default() };
        let mut detector = SeriesDetector::new(config).expect("a valid setting");
        for turn in 0..1_000 {
            assert!(!detector.observe(15 * turn, 0.1 + 0.001 * (turn % 3) as f64).alarm);
        }
        for turn in 1_000..1_020 {
            assert!(!detector.observe(15 * turn, 0.3).alarm);
        }
        assert!(detector.observe(15 * 1_020, 90.0).alarm);
    }
}
