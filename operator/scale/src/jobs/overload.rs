//! When it does not fit: which run is late by how much, and what more capacity would cure it.
//!
//! A list of runs with planned times is laid out by the planner's own rule (least slack first, nothing interrupted, all
//! at once known only for the look ahead), once with the capacity there is and then with more by whole vCPUs.

use super::later;
use crate::size::Size;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// A run that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// As it is called in the answer, such as `tenant/job`.
    pub title: String,
    /// From when on it can start.
    pub from: Timestamp,
    /// When it must have ended.
    pub due: Timestamp,
    /// Time it is planned with, start of its pod included.
    pub lasts: SignedDuration,
    /// Its reservation.
    pub size: Size,
    /// Place in the list of a run that must have ended before; it must stand before this one.
    pub needs: Option<usize>,
}

/// A run that will be late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Late {
    /// Which.
    pub title: String,
    /// When it must have ended.
    pub due: Timestamp,
    /// By how much; `None`: it never finds room.
    pub by: Option<SignedDuration>,
}

/// What would make every run in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cure {
    /// Nothing is late.
    NotNeeded,
    /// So much more of both.
    More(Size),
    /// No capacity helps: a chain of runs is longer than its window even alone.
    Longer {
        /// By so much.
        by: SignedDuration,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overload {
    /// Late runs, latest first.
    pub late: Vec<Late>,
    /// What helps.
    pub cure: Cure,
}

impl Overload {
    /// In words, for the tenant and whoever pays.
    pub fn words(&self) -> String {
        let Some(first) = self.late.first() else { return "every run fits".to_owned() };
        let by = first.by.map_or("it never finds room".to_owned(), |by| {
            format!("{} min late", by.as_secs().div_euclid(60).max(1))
        });
        let cure = match self.cure {
            Cure::NotNeeded => String::new(),
            Cure::More(size) => format!("; {size} more would make all in time"),
            Cure::Longer { by } => {
                format!("; no capacity helps: give its window {} min more", by.as_secs().div_euclid(60) + 1)
            }
        };
        format!(
            "{} of {} ({by}) and {} more runs will be late{cure}",
            first.title,
            first.due,
            self.late.len() - 1
        )
    }
}

/// Most vCPU that are tried on top.
const MOST_MORE: u64 = 4_096;

/// Runs in order that are asked whether they fit.
const LOOK: usize = 256;

/// Lays the runs out on `capacity`; says what is late and what would cure it. Memory that is asked for grows in
/// proportion to the CPU.
pub fn overload(runs: &[Expected], capacity: Size) -> Overload {
    let late = lay_out(runs, capacity);
    if late.is_empty() {
        return Overload { late, cure: Cure::NotNeeded };
    }
    let alone = Size { millicores: u64::MAX, mebibytes: u64::MAX };
    if let Some(by) = lay_out(runs, alone).iter().filter_map(|late| late.by).max() {
        return Overload { late, cure: Cure::Longer { by } };
    }
    let per_vcpu = capacity.mebibytes * 1_000 / capacity.millicores.max(1);
    let more = |vcpu: u64| Size { millicores: vcpu * 1_000, mebibytes: vcpu * per_vcpu.max(1_024) };
    let holds = |vcpu: u64| lay_out(runs, capacity.plus(more(vcpu))).is_empty();
    let (mut bad, mut good) = (0, 1);
    while !holds(good) && good < MOST_MORE {
        (bad, good) = (good, good * 2);
    }
    while good - bad > 1 {
        let middle = u64::midpoint(bad, good);
        if holds(middle) { good = middle } else { bad = middle }
    }
    Overload { late, cure: Cure::More(more(good)) }
}

/// Late runs on so much, latest first.
fn lay_out(runs: &[Expected], capacity: Size) -> Vec<Late> {
    let latest = latest_starts(runs);
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); runs.len()];
    let mut possible: BinaryHeap<Reverse<(Timestamp, usize)>> = BinaryHeap::new();
    for (place, run) in runs.iter().enumerate() {
        match run.needs.filter(|needs| *needs < place) {
            Some(needs) => followers[needs].push(place),
            None => possible.push(Reverse((run.from, place))),
        }
    }
    let mut ends: BinaryHeap<Reverse<(Timestamp, usize)>> = BinaryHeap::new();
    let mut ready: BTreeSet<(Timestamp, usize)> = BTreeSet::new();
    let mut free = capacity;
    let mut late = Vec::new();
    loop {
        let next = [possible.peek().map(|next| next.0.0), ends.peek().map(|next| next.0.0)];
        let Some(now) = next.into_iter().flatten().min() else { break };
        while let Some(Reverse((_, place))) = ends.peek().copied().filter(|next| next.0.0 <= now) {
            ends.pop();
            free = free.plus(runs[place].size);
            let by = now.duration_since(runs[place].due);
            if by.is_positive() {
                late.push(Late { title: runs[place].title.clone(), due: runs[place].due, by: Some(by) });
            }
            for follower in &followers[place] {
                possible.push(Reverse((runs[*follower].from.max(now), *follower)));
            }
        }
        while let Some(Reverse((_, place))) = possible.peek().copied().filter(|next| next.0.0 <= now) {
            possible.pop();
            ready.insert((latest[place], place));
        }
        while let Some(next) =
            ready.iter().copied().take(LOOK).find(|(_, place)| runs[*place].size.fits(free))
        {
            ready.remove(&next);
            free = free.minus(runs[next.1].size);
            ends.push(Reverse((later(now, runs[next.1].lasts), next.1)));
        }
    }
    // What never fitted, and what waits for it.
    let mut stuck: Vec<usize> = ready.into_iter().map(|(_, place)| place).collect();
    while let Some(place) = stuck.pop() {
        late.push(Late { title: runs[place].title.clone(), due: runs[place].due, by: None });
        stuck.extend(&followers[place]);
    }
    late.sort_by(|one, other| {
        let order =
            |late: &Late| (Reverse(late.by.unwrap_or(SignedDuration::MAX)), late.due, late.title.clone());
        order(one).cmp(&order(other))
    });
    late
}

/// Latest start of each run so that it, and what needs it, can still be in time.
fn latest_starts(runs: &[Expected]) -> Vec<Timestamp> {
    let mut latest: Vec<Timestamp> = runs.iter().map(|run| later(run.due, -run.lasts)).collect();
    for place in (0..runs.len()).rev() {
        if let Some(needs) = runs[place].needs.filter(|needs| *needs < place) {
            latest[needs] = latest[needs].min(later(latest[place], -runs[needs].lasts));
        }
    }
    latest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(title: &str, from: i64, due: i64, lasts: i64, vcpu: f64, needs: Option<usize>) -> Expected {
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        Expected {
            title: title.to_owned(),
            from: at(from),
            due: at(due),
            lasts: SignedDuration::from_mins(lasts),
            size: Size::new(vcpu, 1.0).unwrap(),
            needs,
        }
    }

    fn capacity(vcpu: f64) -> Size {
        Size::new(vcpu, 64.0).unwrap()
    }

    #[test]
    fn it_says_who_is_late_by_how_much_and_how_many_vcpu_cure_it() {
        let runs: Vec<Expected> =
            (0..4).map(|tenant| run(&format!("t{tenant}/plan"), 0, 20, 10, 2.0, None)).collect();
        let told = overload(&runs, capacity(2.0));
        assert_eq!(told.late.len(), 2);
        assert_eq!(told.late[0].by, Some(SignedDuration::from_mins(20)));
        // Two at a time are enough.
        assert!(matches!(told.cure, Cure::More(more) if more.millicores == 2_000), "{:?}", told.cure);
        assert!(told.words().contains("20 min late") && told.words().contains("2 vCPU"), "{}", told.words());
        assert_eq!(overload(&runs, capacity(4.0)), Overload { late: vec![], cure: Cure::NotNeeded });
    }

    #[test]
    fn a_chain_longer_than_its_window_is_not_cured_by_capacity() {
        let runs = [run("a/first", 0, 60, 30, 1.0, None), run("a/second", 0, 55, 30, 1.0, Some(0))];
        let told = overload(&runs, capacity(8.0));
        assert_eq!(told.cure, Cure::Longer { by: SignedDuration::from_mins(5) });
        assert!(told.words().contains("window"), "{}", told.words());
    }

    #[test]
    fn what_never_finds_room_is_told_with_all_that_waits_for_it() {
        let runs = [run("a/first", 0, 60, 10, 4.0, None), run("a/second", 0, 60, 10, 1.0, Some(0))];
        let told = overload(&runs, capacity(2.0));
        assert!(told.late.iter().all(|late| late.by.is_none()) && told.late.len() == 2);
        assert!(matches!(told.cure, Cure::More(more) if more.millicores == 2_000));
    }

    #[test]
    fn urgency_is_inherited_by_what_is_needed() {
        // The first of the chain is due late itself, but what needs it is due soon.
        let runs = [
            run("a/long", 0, 40, 20, 1.0, None),
            run("b/first", 0, 60, 10, 1.0, None),
            run("b/second", 0, 20, 10, 1.0, Some(1)),
        ];
        assert_eq!(overload(&runs, capacity(1.0)).late, []);
    }
}
