//! Runs that may start, in order of urgency, one queue per CPU size: whatever room there is, the most urgent run that fits
//! is found at the head of a queue.

use super::planner::Run;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Place in the order: what must start first, comes first; ties go by job and slot.
pub(super) type Place = (Timestamp, Run);

/// The queues.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    by_cpu: BTreeMap<u64, BTreeSet<Place>>,
    count: usize,
}

impl Ready {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn insert(&mut self, millicores: u64, place: Place) {
        if self.by_cpu.entry(millicores).or_default().insert(place) {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, millicores: u64, place: &Place) {
        if let Some(queue) = self.by_cpu.get_mut(&millicores) {
            if queue.remove(place) {
                self.count -= 1;
            }
            if queue.is_empty() {
                self.by_cpu.remove(&millicores);
            }
        }
    }

    /// The most urgent up to so much CPU that `may` accepts; at most `look` are asked in each queue.
    pub(super) fn first_within(
        &self,
        millicores: u64,
        look: usize,
        may: impl Fn(u64, &Place) -> bool,
    ) -> Option<(u64, Place)> {
        let queues = self.by_cpu.range(..=millicores);
        let found = queues.filter_map(|(cpu, queue)| {
            queue.iter().take(look).find(|place| may(*cpu, place)).map(|place| (*cpu, *place))
        });
        found.min_by_key(|(_, place)| *place)
    }

    /// All that ask for more CPU than `from`, and for `to` at most.
    pub(super) fn between(&self, from: u64, to: u64) -> Vec<Run> {
        let queues = self.by_cpu.range((Bound::Excluded(from), Bound::Included(to)));
        queues.flat_map(|(_, queue)| queue.iter().map(|(_, run)| *run)).collect()
    }

    /// Runs that come before this one.
    pub(super) fn before(&self, place: &Place) -> usize {
        self.by_cpu.values().map(|queue| queue.range(..place).count()).sum()
    }
}
