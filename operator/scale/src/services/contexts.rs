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
pub const CHAINS: usize = 7;
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

/// Tables of what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contexts {
    tables: Vec<BTreeMap<u64, Vec<f32>>>,
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
    let off = signed(now.last - now.means[0]);
    let mean = place(now.means[0], 2.0);
    let yesterday = now.yesterday.map_or(0, |value| place(value, 1.0) + 1);
    let expected = |parts: f64| now.expected.map_or(0, |value| place(value, parts) + 1);
    let hour = place(now.highest[3], 1.0);
    let hour_mean = place(now.means[1], 1.0);
    [
        [pack(&[last(1.0)]), pack(&[last(3.0), five]), pack(&[last(3.0), five, place(now.highest[2], 0.5)])],
        [
            pack(&[last(2.0)]),
            pack(&[last(2.0), change]),
            pack(&[last(2.0), change, place(now.highest[0], 1.0)]),
        ],
        [pack(&[yesterday]), pack(&[yesterday, last(1.0)]), pack(&[yesterday, last(1.0), five])],
        [pack(&[expected(1.0)]), pack(&[expected(2.0)]), pack(&[expected(2.0), last(1.0)])],
        [pack(&[now.hour]), pack(&[now.hour, last(1.0)]), pack(&[now.hour, last(1.0), five])],
        [pack(&[mean]), pack(&[mean, off]), pack(&[mean, off, place(now.highest[2], 1.0)])],
        [pack(&[hour]), pack(&[hour, hour_mean]), pack(&[hour, hour_mean, last(1.0)])],
    ]
}

/// Up to three numbers below 2^20 as one.
fn pack(parts: &[u32]) -> u64 {
    parts.iter().fold(0, |key, part| key << 20 | u64::from(*part & 0xF_FFFF))
}

impl Contexts {
    /// Takes what came after a moment: shares of time per level.
    pub fn add(&mut self, keys: &Keys, came: &[(usize, f32)], levels: usize) {
        for (table, key) in self.tables.iter_mut().zip(keys.iter().flatten()) {
            let room = table.len() < MOST;
            let counts = match table.entry(*key) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) if room => entry.insert(Vec::new()),
                Entry::Vacant(_) => continue,
            };
            counts.resize(levels, 0.0);
            for (level, share) in came {
                counts[(*level).min(levels - 1)] += share;
            }
            if counts.iter().sum::<f32>() > FULL {
                for count in counts {
                    *count /= 2.0;
                }
            }
        }
    }

    /// Chances of each level to be exceeded by each description of a moment, starting from those without one. Writes
    /// `CHAINS * DEPTH` rows of `root.len()`.
    pub fn exceedance(&self, keys: &Keys, root: &[f32], out: &mut [f32]) {
        let levels = root.len();
        for (place, key) in keys.iter().flatten().enumerate() {
            let (done, rest) = out.split_at_mut(place * levels);
            let coarser = if place % DEPTH == 0 { root } else { &done[(place - 1) * levels..] };
            let row = &mut rest[..levels];
            match self.tables[place].get(key) {
                Some(counts) => draw(counts, coarser, row),
                None => row.copy_from_slice(coarser),
            }
        }
    }
}

/// Rates of a table, drawn to the coarser ones.
fn draw(counts: &[f32], coarser: &[f32], row: &mut [f32]) {
    let total: f32 = counts.iter().sum();
    let mut above = 0.0;
    for level in (0..row.len()).rev() {
        let rate = (above + PRIOR) / (total + PRIOR / coarser[level].max(1e-20));
        row[level] = rate.min(1.0);
        above += counts.get(level).copied().unwrap_or(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surprise_in_a_rare_situation_moves_its_rate_little() {
        let root = [1.0, 0.5, 1e-3, 1e-4];
        let mut row = [0.0; 4];
        // Ten visits, one of them at level 3: exceeds levels 0 to 2.
        draw(&[0.0, 9.0, 0.0, 1.0], &root, &mut row);
        assert!(row[2] < 2e-3 && row[2] > 1e-3, "{row:?}");
        // Ten thousand visits without one: down, but not to nothing.
        draw(&[0.0, 10_000.0, 0.0, 0.0], &root, &mut row);
        assert!(row[2] < 5e-4 && row[2] > 1e-5, "{row:?}");
    }
}
