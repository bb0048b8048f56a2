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
    /// Of the decision that is being taken.
    sums: Option<Sums>,
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
        // A window in which nothing is wanted holds nobody back.
        if work == 0 {
            return;
        }
        let key = (from.as_second().div_euclid(STEP), due.as_second().div_euclid(STEP));
        let same_windows = change(&mut self.waiting, key, work);
        match &mut self.sums {
            Some(sums) if same_windows => sums.wait(key, work),
            sums => *sums = None,
        }
    }

    pub(super) fn run(&mut self, until: Timestamp, millicores: i64) {
        let minute = until.as_second().div_euclid(60);
        change(&mut self.running, minute, millicores);
        if let Some(sums) = &mut self.sums {
            sums.run(minute * 60, millicores);
        }
    }

    /// Adds known work up for many questions at one moment.
    pub(super) fn sum_up(&mut self, now: Timestamp) {
        let now = now.as_second();
        if self.sums.as_ref().is_none_or(|sums| sums.now != now) {
            self.sums = Some(Sums::of(self, now));
        }
    }

    /// Ends what [`Ahead::sum_up`] began, so that events in between cost nothing.
    pub(super) fn forget(&mut self) {
        self.sums = None;
    }

    /// Whether it would overfill a window that ends while it could still wait.
    pub(super) fn overfilled(&self, asks: &Asks, capacity: u64, fill: Fill) -> bool {
        let now = asks.now.as_second();
        match &self.sums {
            Some(sums) if sums.now == now => sums.overfilled(asks, capacity, fill),
            _ => Sums::of(self, now).overfilled(asks, capacity, fill),
        }
    }
}

/// Known work summed by windows at one moment, kept up to date as runs start: a decision asks about thousands of runs.
#[derive(Clone, Debug)]
struct Sums {
    now: i64,
    /// Where windows begin, ascending, and the first moment at which work that becomes possible there is due.
    starts: Vec<(i64, i64)>,
    /// Where they end, ascending.
    dues: Vec<i64>,
    /// What is taken of each window, a row per start; `None` where no work that lies inside ends it.
    taken: Vec<Option<i64>>,
}

impl Sums {
    fn of(ahead: &Ahead, now: i64) -> Self {
        let known = ahead.waiting.range(..((now + FAR) / STEP, i64::MIN));
        let mut work: Vec<(i64, i64, i64)> =
            known.map(|((from, due), work)| ((due * STEP).max(now), (from * STEP).max(now), *work)).collect();
        work.sort_unstable();
        let mut first_due = BTreeMap::from([(now, i64::MIN)]);
        for (due, from, _) in &work {
            first_due.entry(*from).or_insert(*due);
        }
        let starts: Vec<(i64, i64)> = first_due.into_iter().collect();
        let mut dues: Vec<i64> = work.iter().map(|(due, ..)| *due).collect();
        dues.dedup();
        let mut taken = Vec::with_capacity(starts.len() * dues.len());
        for (start, _) in &starts {
            let mut inside = work.iter().filter(|(_, from, _)| from >= start).peekable();
            let mut reaches = Reaches::of(ahead, *start);
            let mut sum = 0;
            for due in &dues {
                let mut ends = false;
                while let Some((_, _, more)) = inside.next_if(|(at, ..)| at <= due) {
                    sum += more;
                    ends = true;
                }
                let reach = reaches.until(*due);
                taken.push(ends.then_some(sum + reach));
            }
        }
        Self { now, starts, dues, taken }
    }

    /// Work of windows that stay has changed.
    fn wait(&mut self, (from, due): (i64, i64), work: i64) {
        if from < (self.now + FAR) / STEP {
            let (from, due) = ((from * STEP).max(self.now), (due * STEP).max(self.now));
            self.each(|start, end| if start <= from && due <= end { work } else { 0 });
        }
    }

    fn run(&mut self, until: i64, millicores: i64) {
        self.each(|start, end| millicores * (until.min(end) - start).max(0));
    }

    fn each(&mut self, by: impl Fn(i64, i64) -> i64) {
        let windows = self.starts.iter().flat_map(|start| self.dues.iter().map(move |due| (start.0, *due)));
        for (taken, (start, due)) in self.taken.iter_mut().zip(windows) {
            if let Some(taken) = taken {
                *taken += by(start, due);
            }
        }
    }

    fn overfilled(&self, asks: &Asks, capacity: u64, fill: Fill) -> bool {
        let ends = self.now + asks.lasts.as_secs();
        let latest = asks.latest.as_second();
        let before = self.dues.partition_point(|due| *due <= latest);
        let starts = self.starts.iter().enumerate();
        let reached = starts.take_while(|(_, (start, _))| *start < ends || *start == self.now);
        reached.filter(|(_, (_, first_due))| *first_due <= latest).any(|(row, (start, _))| {
            let share = if *start == self.now { fill.now } else { fill.next };
            let row = &self.taken[row * self.dues.len()..][..before];
            row.iter().zip(&self.dues).any(|(taken, due)| {
                let own = asks.millicores as i64 * (ends.min(*due) - start).max(0);
                let full = share * capacity as f64 * (due - start) as f64;
                taken.is_some_and(|taken| own > 0 && (taken + own) as f64 > full)
            })
        })
    }
}

/// What runs take of windows with one start, asked in the order of their ends.
struct Reaches<'a> {
    start: i64,
    running: std::iter::Peekable<std::collections::btree_map::Range<'a, i64, i64>>,
    /// Of those that have ended.
    ended: i64,
    /// Thousandths of a vCPU of those that have not.
    rest: i64,
}

impl<'a> Reaches<'a> {
    fn of(ahead: &'a Ahead, start: i64) -> Self {
        let running = ahead.running.range((start / 60)..);
        let rest = running.clone().map(|(_, millicores)| millicores).sum();
        Self { start, running: running.peekable(), ended: 0, rest }
    }

    fn until(&mut self, due: i64) -> i64 {
        while let Some((until, millicores)) = self.running.next_if(|(until, _)| **until * 60 <= due) {
            self.ended += millicores * (until * 60 - self.start).max(0);
            self.rest -= millicores;
        }
        self.ended + self.rest * (due - self.start).max(0)
    }
}

/// Adds to a sum; sums of nothing are dropped. Whether the sum was there and still is.
fn change<K: Ord>(sums: &mut BTreeMap<K, i64>, key: K, by: i64) -> bool {
    use std::collections::btree_map::Entry;
    match sums.entry(key) {
        Entry::Vacant(place) => {
            place.insert(by);
            false
        }
        Entry::Occupied(mut place) => {
            *place.get_mut() += by;
            let stays = *place.get() != 0;
            if !stays {
                place.remove();
            }
            stays
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    /// The same question, everything added up anew.
    fn plainly(ahead: &Ahead, asks: &Asks, capacity: u64, fill: Fill) -> bool {
        let now = asks.now.as_second();
        let ends = now + asks.lasts.as_secs();
        let known = ahead.waiting.range(..((now + FAR) / STEP, i64::MIN));
        let work: Vec<(i64, i64, i64)> = known
            .map(|((from, due), work)| ((from * STEP).max(now), (due * STEP).max(now), *work))
            .filter(|(_, due, _)| *due <= asks.latest.as_second())
            .collect();
        let starts = work.iter().map(|(from, ..)| *from).filter(|from| *from < ends);
        starts.chain([now]).any(|start| {
            work.iter().filter(|(from, ..)| *from >= start).any(|(_, due, _)| {
                let inside = work.iter().filter(|(from, end, _)| *from >= start && end <= due);
                let inside: i64 = inside.map(|(_, _, work)| work).sum();
                let runs = ahead.running.iter();
                let runs =
                    runs.map(|(until, cpu)| cpu * ((until * 60).min(*due) - start).max(0)).sum::<i64>();
                let own = asks.millicores as i64 * (ends.min(*due) - start).max(0);
                let share = if start == now { fill.now } else { fill.next };
                own > 0 && (inside + runs + own) as f64 > share * capacity as f64 * (due - start) as f64
            })
        })
    }

    proptest! {
        /// Sums that are kept over a decision answer as if all were added up for each question.
        #[test]
        fn kept_sums_answer_as_new_ones(
            waiting in prop::collection::vec((-60_i64..240, 1_i64..120, 1_i64..40), 1..20),
            running in prop::collection::vec((-5_i64..60, 1_i64..3), 0..10),
            turns in prop::collection::vec((any::<prop::sample::Index>(), 1_i64..30, 1_i64..300, 1_u64..3), 1..30),
            minutes in 0_i64..60,
            vcpu in 1_u64..8,
        ) {
            let now = at(minutes);
            let mut ahead = Ahead::default();
            let mut left: Vec<_> =
                waiting.iter().map(|(from, lasts, work)| (at(*from), at(from + lasts), work * 60_000)).collect();
            for (from, due, work) in &left {
                ahead.wait(*from, *due, *work);
            }
            for (until, cpu) in &running {
                ahead.run(at(*until), cpu * 1_000);
            }
            ahead.sum_up(now);
            for (which, lasts, latest, cpu) in turns {
                let lasts = SignedDuration::from_mins(lasts);
                let asks = Asks { now, latest: at(latest), lasts, millicores: cpu * 1_000 };
                let answer = ahead.overfilled(&asks, vcpu * 1_000, FILL);
                prop_assert_eq!(answer, plainly(&ahead, &asks, vcpu * 1_000, FILL));
                if !left.is_empty() {
                    let (from, due, work) = left.swap_remove(which.index(left.len()));
                    ahead.wait(from, due, -work);
                    ahead.run(now + lasts, cpu as i64 * 1_000);
                }
                ahead.sum_up(now);
            }
        }
    }
}
