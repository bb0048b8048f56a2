//! Identifiers. New ones come from an [`IdSource`], never from a hidden random generator.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// Wraps a text that is already an identifier.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Kubernetes object UID: two objects of the same name are told apart by it.
    Uid
);
id!(
    /// A finding.
    FindingId
);
id!(
    /// An incident; also the name of its `Incident` object.
    IncidentId
);
id!(
    /// A plan.
    PlanId
);
id!(
    /// An action; also the name of its `Action` object, so that creating it twice is refused by the API server.
    ActionId
);
id!(
    /// The frozen evidence that an action (and an approval of it) is bound to.
    EvidenceId
);

/// Where new identifiers come from. The binary seeds one per process, tests and replays use a fixed seed.
pub trait IdSource: Send {
    /// Lower-case alphanumeric suffix of `length` characters, fit for a Kubernetes object name.
    fn suffix(&mut self, length: usize) -> String;
}

/// Deterministic id source: `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014) over a seed.
#[derive(Clone, Debug)]
pub struct SeededIds {
    state: u64,
}

impl SeededIds {
    /// A source that gives the same sequence for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }
}

impl IdSource for SeededIds {
    fn suffix(&mut self, length: usize) -> String {
        // Kubernetes leaves out vowels and look-alikes in generated names; so do we.
        const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length).map(|_| char::from(ALPHABET[(self.next() % 27) as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_ids_and_names_are_valid() {
        let (mut first, mut second) = (SeededIds::new(7), SeededIds::new(7));
        let ids: Vec<String> = (0..100).map(|_| first.suffix(5)).collect();
        assert_eq!(ids, (0..100).map(|_| second.suffix(5)).collect::<Vec<_>>());
        assert!(
            ids.iter()
                .all(|id| id.len() == 5 && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
        );
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
    }
}
