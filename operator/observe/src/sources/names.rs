//! Interning: the same few operation, peer, metric and series names come with every request.

use homeostat_knowledge::Name;
use std::collections::HashSet;
use std::fmt::Write;

/// A bounded set of shared names. Two halves: when the young one is full it becomes the old one, so names
/// in use survive and the others go, without bookkeeping per use.
#[derive(Debug)]
pub struct Names {
    young: HashSet<Name>,
    old: HashSet<Name>,
    capacity: usize,
}

impl Names {
    /// Holds at most `capacity` names.
    pub fn new(capacity: usize) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), capacity: (capacity / 2).max(1) }
    }

    /// The shared form of `text`.
    pub fn get(&mut self, text: &str) -> Name {
        if let Some(name) = self.young.get(text) {
            return Name::clone(name);
        }
        let name = self.old.get(text).map_or_else(|| Name::from(text), Name::clone);
        if self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(Name::clone(&name));
        name
    }

    /// How many names are held.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// `true` before the first name.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }
}

/// The longest beginning of `text` with at most `bytes` bytes that is still text.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Longest series name, in bytes; longer label sets end in a hash of the whole.
pub const SERIES_BYTES: usize = 256;

/// A series name of at most [`SERIES_BYTES`] bytes. Two long label sets with the same beginning stay two series.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > SERIES_BYTES {
        // FNV-1a (Fowler, Noll, Vo), 64 bits.
        let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        text.truncate(text.floor_char_boundary(SERIES_BYTES - 17));
        // Writing to a String cannot fail.
        let _ = write!(text, "~{hash:016x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_name_in_use_is_shared_and_the_set_stays_bounded() {
        let mut names = Names::new(100);
        let first = names.get("GET /orders");
        for number in 0..10_000 {
            names.get(&format!("GET /orders/{number}"));
            assert!(Arc::ptr_eq(&first, &names.get("GET /orders")));
            assert!(names.len() <= 100);
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("häuser", 2), "h");
        assert_eq!(cut("häuser", 3), "hä");
        assert_eq!(cut("häuser", 100), "häuser");
    }

    #[test]
    fn long_series_names_stay_bounded_and_distinct() {
        let (first, second) = (format!("{}1", "x".repeat(5_000)), format!("{}2", "x".repeat(5_000)));
        let (first, second) = (bounded(first), bounded(second));
        assert_eq!((first.len(), second.len()), (SERIES_BYTES, SERIES_BYTES));
        assert_ne!(first, second);
        assert_eq!(bounded("route=/orders".to_owned()), "route=/orders");
    }
}
