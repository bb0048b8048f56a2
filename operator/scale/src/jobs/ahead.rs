//! Looking ahead: would a run that can wait take room from work that cannot?
//!
//! Work that is known (waiting, or announced by its calendar) is summed by the moment from which it is possible and the
//! moment at which it is due, in steps of five minutes. A window between two such moments is overfilled when the work
//! that lies inside it, what runs reach into it, and the new run's share of it exceed a share of the capacity: the
//! demand bound of Baruah, Rosier and Howell (1990) with what cannot be interrupted carried in.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Step of the sums, in seconds.
const STEP: i64 = 300;
/// Work that becomes possible later than this is not looked at, in seconds.
const FAR: i64 = 3 * 3_600;

/// Known work.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    /// By (possible from, due): thousandths of a vCPU times seconds.
    waiting: BTreeMap<(i64, i64), i64>,
    /// Thousandths of a vCPU by the minute at which they are expected to be free.
    running: BTreeMap<i64, i64>,
}

/// Shares of the capacity that work may fill before a run that can wait is held back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Of windows that have begun: little, as the run's turn comes as soon as the work is done.
    pub now: f64,
    /// Of windows that begin while it would run.
    pub next: f64,
}

/// A run that asks to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asks {
    pub(super) now: Timestamp,
    /// Latest moment at which it can start.
    pub(super) latest: Timestamp,
    /// Time that it is expected to take.
    pub(super) lasts: SignedDuration,
    pub(super) millicores: u64,
}

impl Ahead {
    pub(super) fn wait(&mut self, from: Timestamp, due: Timestamp, work: i64) {
        let key = (from.as_second().div_euclid(STEP), due.as_second().div_euclid(STEP));
        change(&mut self.waiting, key, work);
    }

    pub(super) fn run(&mut self, until: Timestamp, millicores: i64) {
        change(&mut self.running, until.as_second().div_euclid(60), millicores);
    }

    /// Whether it would overfill a window that ends while it could still wait.
    pub(super) fn overfilled(&self, asks: &Asks, capacity: u64, fill: Fill) -> bool {
        let now = asks.now.as_second();
        let ends = now + asks.lasts.as_secs();
        let latest = asks.latest.as_second();
        let mut work: Vec<(i64, i64, i64)> = self
            .waiting
            .range(..((now + FAR) / STEP, i64::MIN))
            .map(|((from, due), work)| ((due * STEP).max(now), (from * STEP).max(now), *work))
            .filter(|(due, ..)| *due <= latest)
            .collect();
        work.sort_unstable();
        let mut starts: Vec<i64> =
            work.iter().map(|(_, from, _)| *from).filter(|from| *from < ends).collect();
        starts.push(now);
        starts.sort_unstable();
        starts.dedup();
        starts.into_iter().any(|start| {
            let mut inside = 0;
            let share = if start == now { fill.now } else { fill.next };
            work.iter().filter(|(_, from, _)| *from >= start).any(|(due, _, more)| {
                inside += more;
                let own = asks.millicores as i64 * (ends.min(*due) - start).max(0);
                let taken = inside + own + self.reaches(start, *due);
                own > 0 && taken as f64 > share * capacity as f64 * (due - start) as f64
            })
        })
    }

    /// What runs take of a window.
    fn reaches(&self, start: i64, due: i64) -> i64 {
        let running = self.running.range((start / 60)..);
        running.map(|(until, millicores)| millicores * ((until * 60).min(due) - start).max(0)).sum()
    }
}

/// Adds to a sum; sums of nothing are dropped.
fn change<K: Ord>(sums: &mut BTreeMap<K, i64>, key: K, by: i64) {
    use std::collections::btree_map::Entry;
    match sums.entry(key) {
        Entry::Vacant(place) => {
            place.insert(by);
        }
        Entry::Occupied(mut place) => {
            *place.get_mut() += by;
            if *place.get() == 0 {
                place.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILL: Fill = Fill { now: 0.9, next: 0.9 };

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    fn asks(now: i64, lasts: i64, latest: i64) -> Asks {
        Asks { now: at(now), latest: at(latest), lasts: SignedDuration::from_mins(lasts), millicores: 1_000 }
    }

    #[test]
    fn a_run_that_can_wait_is_held_while_the_hour_is_full_and_let_in_when_it_is_done() {
        let mut ahead = Ahead::default();
        // 45 of 55 minutes of the only vCPU are wanted in this hour and in the next.
        ahead.wait(at(0), at(55), 45 * 60_000);
        ahead.wait(at(60), at(115), 45 * 60_000);
        assert!(ahead.overfilled(&asks(0, 15, 200), 1_000, FILL));
        assert!(!ahead.overfilled(&asks(0, 15, 50), 1_000, FILL), "it cannot wait that long");
        ahead.wait(at(0), at(55), -45 * 60_000);
        assert!(!ahead.overfilled(&asks(44, 15, 200), 1_000, FILL), "it is done before the next hour");
        assert!(ahead.overfilled(&asks(55, 15, 200), 1_000, FILL), "it would reach into the next hour");
    }

    #[test]
    fn what_runs_already_counts() {
        let mut ahead = Ahead::default();
        ahead.wait(at(0), at(60), 30 * 60_000);
        assert!(!ahead.overfilled(&asks(0, 15, 200), 1_000, FILL));
        ahead.run(at(20), 1_000);
        assert!(ahead.overfilled(&asks(0, 15, 200), 1_000, FILL));
        ahead.run(at(20), -1_000);
        assert!(!ahead.overfilled(&asks(0, 15, 200), 1_000, FILL));
    }
}
