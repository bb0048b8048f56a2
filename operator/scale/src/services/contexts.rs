//! Situations: what followed when the load looked like this before.
//!
//! Chains of ever closer descriptions of a moment, each with a table of what came. A closer description is trusted with
//! the number of *exceedances* it has seen: a rate is drawn to that of the coarser one by a gamma prior (empirical Bayes,
//! Robbins 1956), so one surprise in a rare situation does not make it dangerous, and none in a frequent one does not make
//! it safe. Backing off along a chain follows context-tree methods (Willems, Shtarkov and Tjalkens 1995).

use super::features::Features;
use super::levels::place;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Chains, and descriptions in each.
pub const CHAINS: usize = 4;
/// Descriptions in a chain, from coarse to close.
pub const DEPTH: usize = 3;
/// Situations of one description that are remembered; later ones go by the coarser description.
const MOST: usize = 256;
/// Counts of a situation are halved above this, so that it can change.
const FULL: f32 = 4_000.0;
/// Strength of the coarser rate, in exceedances.
const PRIOR: f32 = 2.0;

/// Keys of one moment.
pub type Keys = [[u64; DEPTH]; CHAINS];

/// Shares of time by level, for both questions, from the lowest level that came to the highest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    low: usize,
    levels: Vec<[f32; 2]>,
}

/// Tables of what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contexts {
    tables: Vec<BTreeMap<u64, Counts>>,
}

impl Default for Contexts {
    fn default() -> Self {
        Self { tables: vec![BTreeMap::new(); CHAINS * DEPTH] }
    }
}

/// Describes a moment.
pub fn keys(now: &Features) -> Keys {
    let last = |parts: f64| place(now.last, parts);
    let five = place(now.highest[1], 1.0);
    let signed = |value: f64| (value.round().clamp(-4.0, 4.0) + 8.0) as u32;
    let change = signed(2.0 * now.change);
    let yesterday = now.yesterday.map_or(0, |value| place(value, 1.0) + 1);
    [
        [pack(&[last(1.0)]), pack(&[last(3.0), five]), pack(&[last(3.0), five, place(now.highest[2], 0.5)])],
        [
            pack(&[last(2.0)]),
            pack(&[last(2.0), change]),
            pack(&[last(2.0), change, place(now.highest[0], 1.0)]),
        ],
        [pack(&[yesterday]), pack(&[yesterday, last(1.0)]), pack(&[yesterday, last(1.0), five])],
        [pack(&[now.hour]), pack(&[now.hour, last(1.0)]), pack(&[now.hour, last(1.0), five])],
    ]
}

/// Up to three numbers below 2^20 as one.
fn pack(parts: &[u32]) -> u64 {
    parts.iter().fold(0, |key, part| key << 20 | u64::from(*part & 0xF_FFFF))
}

impl Counts {
    /// Adds to a level, making room for it.
    fn add(&mut self, level: usize, question: usize, share: f32) {
        if self.levels.is_empty() {
            self.low = level;
        }
        if level < self.low {
            let missing = self.low - level;
            self.levels.splice(0..0, std::iter::repeat_n([0.0; 2], missing));
            self.low = level;
        }
        if level - self.low >= self.levels.len() {
            self.levels.resize(level - self.low + 1, [0.0; 2]);
        }
        self.levels[level - self.low][question] += share;
    }

    /// Rates of one question, drawn to the coarser ones.
    fn draw(&self, question: usize, coarser: &[f32], row: &mut [f32]) {
        let total: f32 = self.levels.iter().map(|shares| shares[question]).sum();
        let mut above = 0.0;
        for level in (0..row.len()).rev() {
            let rate = coarser[level].max(1e-20);
            row[level] = ((above + PRIOR) * rate / (total * rate + PRIOR)).min(1.0);
            if let Some(shares) = level.checked_sub(self.low).and_then(|place| self.levels.get(place)) {
                above += shares[question];
            }
        }
    }
}

impl Contexts {
    /// Takes what came after a moment: for each question, shares of time per level.
    pub fn add(&mut self, keys: &Keys, came: &[Vec<(usize, f32)>; 2]) {
        for (table, key) in self.tables.iter_mut().zip(keys.iter().flatten()) {
            let room = table.len() < MOST;
            let counts = match table.entry(*key) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) if room => entry.insert(Counts::default()),
                Entry::Vacant(_) => continue,
            };
            for (question, came) in came.iter().enumerate() {
                for (level, share) in came {
                    counts.add(*level, question, *share);
                }
            }
            if counts.levels.iter().map(|shares| shares[0]).sum::<f32>() > FULL {
                for share in counts.levels.iter_mut().flatten() {
                    *share /= 2.0;
                }
            }
        }
    }

    /// What came after moments like this one, by description.
    pub fn like(&self, keys: &Keys) -> Vec<Option<&Counts>> {
        self.tables.iter().zip(keys.iter().flatten()).map(|(table, key)| table.get(key)).collect()
    }
}

/// Chances of each level to be exceeded by each description of a moment, starting from those without one. Writes
/// `CHAINS * DEPTH` rows of `root.len()`.
pub fn exceedance(like: &[Option<&Counts>], question: usize, root: &[f32], out: &mut [f32]) {
    let levels = root.len();
    for (place, counts) in like.iter().enumerate() {
        let (done, rest) = out.split_at_mut(place * levels);
        let coarser = if place % DEPTH == 0 { root } else { &done[(place - 1) * levels..] };
        let row = &mut rest[..levels];
        match counts {
            Some(counts) => counts.draw(question, coarser, row),
            None => row.copy_from_slice(&coarser[..levels]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(came: &[(usize, f32)]) -> Counts {
        let mut counts = Counts::default();
        for (level, share) in came {
            counts.add(*level, 0, *share);
        }
        counts
    }

    #[test]
    fn levels_are_counted_in_any_order() {
        let up = counts(&[(2, 1.0), (5, 2.0)]);
        assert_eq!(up, counts(&[(5, 2.0), (2, 1.0)]));
        let mut row = [0.0; 7];
        up.draw(0, &[0.5; 7], &mut row);
        // Five more in four of prior to three of weight: above level 2 two of three, above level 5 none.
        assert!((row[3] - 4.0 / 7.0).abs() < 1e-6 && (row[6] - 2.0 / 7.0).abs() < 1e-6, "{row:?}");
    }

    #[test]
    fn a_surprise_in_a_rare_situation_moves_its_rate_little() {
        let root = [1.0, 0.5, 1e-3, 1e-4];
        let mut row = [0.0; 4];
        // Ten visits, one of them at level 3: exceeds levels 0 to 2.
        counts(&[(1, 9.0), (3, 1.0)]).draw(0, &root, &mut row);
        assert!(row[2] < 2e-3 && row[2] > 1e-3, "{row:?}");
        // Ten thousand visits without one: down, but not to nothing.
        counts(&[(1, 10_000.0)]).draw(0, &root, &mut row);
        assert!(row[2] < 5e-4 && row[2] > 1e-5, "{row:?}");
    }
}
