//! When it does not fit: which run is late by how much, and what has to grow by how much: a tenant's quota, or the capacity.
//!
//! A list of runs with planned times is laid out by the planner's own rule (least slack first, nothing interrupted, all
//! at once known only for the look ahead), within the capacity and the quotas there are, and then with more of each by
//! whole vCPUs.

use super::later;
use crate::size::Size;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Bound;

/// A run that is expected, or that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// As it is called in the answer, such as `tenant/job`.
    pub title: String,
    /// Whose quota it counts in.
    pub tenant: String,
    /// From when on it can start.
    pub from: Timestamp,
    /// When it must have ended.
    pub due: Timestamp,
    /// Time it is planned with, start of its pod included; what is left of it where it runs.
    pub lasts: SignedDuration,
    /// Its reservation.
    pub size: Size,
    /// It runs: it has its room already, whatever limits say.
    pub running: bool,
    /// Place in the list of a run that must have ended before; it must stand before this one.
    pub needs: Option<usize>,
}

/// What the runs of one tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The whole of it.
    pub limit: Size,
    /// What pods that are no runs take of it.
    pub standing: Size,
}

impl Quota {
    /// What it leaves to runs with so much on top.
    fn left(self, more: Size) -> Size {
        self.limit.plus(more).minus(self.standing)
    }
}

/// A run that will be late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Late {
    /// Which.
    pub title: String,
    /// Whose.
    pub tenant: String,
    /// When it must have ended.
    pub due: Timestamp,
    /// By how much; `None`: it finds no room in what there is now.
    pub by: Option<SignedDuration>,
    /// By how much also with all room there could be: it, or a chain that it ends, is longer than its window.
    pub alone: Option<SignedDuration>,
    /// Late by its tenant's quota, however large the capacity.
    pub quota: bool,
    /// Late by the capacity, also when quotas have grown.
    pub capacity: bool,
}

/// What has to grow so that every run is in time that can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cure {
    /// Quotas, by tenant, each by so much.
    pub quotas: BTreeMap<String, Size>,
    /// The capacity, by so much, once quotas have grown.
    pub capacity: Option<Size>,
}

/// What limits runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<'a> {
    /// The quota of this tenant.
    Quota(&'a str),
    /// What there is for all runs.
    Capacity,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overload {
    /// Late runs, latest first.
    pub late: Vec<Late>,
    /// What helps.
    pub cure: Cure,
}

impl Overload {
    /// What has to grow by how much for one late run; nothing where only a longer window helps.
    pub fn cures(&self, late: &Late) -> Vec<(Limit<'_>, Size)> {
        // One that none of them makes late alone is late by both together.
        let all = late.alone.is_none() && !late.quota && !late.capacity;
        let quotas =
            self.cure.quotas.iter().filter(|(tenant, _)| all || (late.quota && **tenant == late.tenant));
        let capacity = self.cure.capacity.filter(|_| all || late.capacity);
        let quotas = quotas.map(|(tenant, more)| (Limit::Quota(tenant), *more));
        quotas.chain(capacity.map(|more| (Limit::Capacity, more))).collect()
    }
}

/// Most vCPU, or GiB, that are tried on top.
const MOST_MORE: u64 = 4_096;

/// Quotas of which is said by how much they must grow: those of the latest runs.
const MOST_QUOTAS: usize = 8;

/// Runs in order that are asked whether they fit.
const LOOK: usize = 256;

/// As much as could be.
const ALL: Size = Size { millicores: u64::MAX, mebibytes: u64::MAX };

/// Lays the `most` most urgent runs out within `capacity` and what the tenants' quotas leave to them; says what is late and
/// what would cure it. Where CPU and memory lack, both grow in the proportion of what there is.
pub fn overload(
    runs: &[Expected],
    capacity: Size,
    quotas: &BTreeMap<String, Quota>,
    most: usize,
) -> Overload {
    let mut runs = most_urgent(runs, most);
    let free = quotas.iter().map(|(tenant, quota)| (tenant.clone(), quota.left(Size::default())));
    let free: BTreeMap<String, Size> = free.collect();
    let found = lay_out(&runs, capacity, &free);
    if found.is_empty() {
        return Overload::default();
    }
    // What is late with all room there could be is not cured by any: it counts as in time if it is no later than that.
    let none = BTreeMap::new();
    let alone: BTreeMap<usize, Option<SignedDuration>> = lay_out(&runs, ALL, &none).into_iter().collect();
    let due: Vec<Timestamp> = runs.iter().map(|run| run.due).collect();
    for (place, by) in &alone {
        runs[*place].due = later(runs[*place].due, by.unwrap_or(SignedDuration::MAX));
    }
    let mut cure = Cure::default();
    let mut grown = free.clone();
    let tight = lay_out(&runs, ALL, &free);
    for (place, _) in &tight {
        let tenant = &runs[*place].tenant;
        let Some(quota) = quotas.get(tenant).filter(|_| !cure.quotas.contains_key(tenant)) else { continue };
        if cure.quotas.len() >= MOST_QUOTAS {
            // Not asked about; it must not look like a lack of capacity.
            grown.remove(tenant);
            continue;
        }
        let with = |more: Size| BTreeMap::from([(tenant.clone(), quota.left(more))]);
        let holds = |more: Size| lay_out(&runs, ALL, &with(more)).is_empty();
        // Late by what it needs of another tenant.
        if holds(Size::default()) {
            continue;
        }
        let more = smallest(quota.limit, holds);
        grown.insert(tenant.clone(), quota.left(more));
        cure.quotas.insert(tenant.clone(), more);
    }
    let short: BTreeSet<usize> =
        lay_out(&runs, capacity, &grown).into_iter().map(|(place, _)| place).collect();
    if !short.is_empty() {
        cure.capacity =
            Some(smallest(capacity, |more| lay_out(&runs, capacity.plus(more), &grown).is_empty()));
    }
    let tight: BTreeSet<usize> = tight.into_iter().map(|(place, _)| place).collect();
    let late = found.into_iter().map(|(place, by)| Late {
        title: runs[place].title.clone(),
        tenant: runs[place].tenant.clone(),
        due: due[place],
        by,
        alone: alone.get(&place).copied().flatten(),
        quota: tight.contains(&place),
        capacity: short.contains(&place),
    });
    Overload { late: late.collect(), cure }
}

/// The smallest amount on top of a limit with which all is in time. An amount without a limit does not grow, nor one that
/// does not lack.
fn smallest(limit: Size, holds: impl Fn(Size) -> bool) -> Size {
    let step = match (limit.millicores == u64::MAX, limit.mebibytes == u64::MAX) {
        (false, false) => Size {
            millicores: 1_000,
            mebibytes: (limit.mebibytes.saturating_mul(1_000) / limit.millicores.max(1))
                .clamp(1_024, 1 << 20),
        },
        (unlimited, _) => {
            Size { millicores: u64::from(!unlimited) * 1_000, mebibytes: u64::from(unlimited) * 1_024 }
        }
    };
    let more = |count: u64| Size { millicores: step.millicores * count, mebibytes: step.mebibytes * count };
    let (mut bad, mut good) = (0, 1);
    while !holds(more(good)) && good < MOST_MORE {
        (bad, good) = (good, good * 2);
    }
    while good - bad > 1 {
        let middle = u64::midpoint(bad, good);
        if holds(more(middle)) { good = middle } else { bad = middle }
    }
    let both = more(good);
    [Size { mebibytes: 0, ..both }, Size { millicores: 0, ..both }]
        .into_iter()
        .find(|one| *one != Size::default() && holds(*one))
        .unwrap_or(both)
}

/// Those whose latest start comes first, in their order. What one of them needs is among them.
fn most_urgent(runs: &[Expected], most: usize) -> Vec<Expected> {
    if runs.len() <= most {
        return runs.to_vec();
    }
    let latest = latest_starts(runs);
    let mut places: Vec<usize> = (0..runs.len()).collect();
    places.sort_by_key(|place| (latest[*place], *place));
    places.truncate(most);
    places.sort_unstable();
    let moved: BTreeMap<usize, usize> = places.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let take = |place: &usize| {
        let run = &runs[*place];
        Expected { needs: run.needs.and_then(|needs| moved.get(&needs)).copied(), ..run.clone() }
    };
    places.iter().map(take).collect()
}

/// Late runs within so much, by their place in the list, latest first; without a time those that never find room.
fn lay_out(
    runs: &[Expected],
    capacity: Size,
    quotas: &BTreeMap<String, Size>,
) -> Vec<(usize, Option<SignedDuration>)> {
    let mut laid = LaidOut::new(runs, capacity, quotas);
    while let Some(now) = laid.next_moment() {
        laid.end(now);
        laid.make_ready(now);
        laid.start(now);
    }
    laid.late()
}

/// Runs by a time, the earliest first.
type Queue = BinaryHeap<Reverse<(Timestamp, usize)>>;

/// Takes the earliest run whose time has come.
fn take_due(queue: &mut Queue, now: Timestamp) -> Option<usize> {
    let Reverse((at, place)) = queue.peek().copied()?;
    if at > now {
        return None;
    }
    queue.pop();
    Some(place)
}

/// A lay-out at one moment; runs by their places in the list.
struct LaidOut<'a> {
    runs: &'a [Expected],
    capacity: Size,
    quotas: &'a BTreeMap<String, Size>,
    /// Latest start of each.
    latest: Vec<Timestamp>,
    /// What waits for the end of each.
    followers: Vec<Vec<usize>>,
    /// Those that need nothing any more, by when they can start.
    possible: Queue,
    /// Those that run, by their ends.
    ends: Queue,
    /// Those that only lack room, by their latest starts.
    ready: BTreeSet<(Timestamp, usize)>,
    /// Those that their tenant's quota has no room for now.
    parked: BTreeMap<&'a str, BTreeSet<(Timestamp, usize)>>,
    used: Size,
    of_tenant: BTreeMap<&'a str, Size>,
    late: Vec<(usize, Option<SignedDuration>)>,
    /// Those that no room there is would be enough for.
    stuck: Vec<usize>,
}

impl<'a> LaidOut<'a> {
    fn new(runs: &'a [Expected], capacity: Size, quotas: &'a BTreeMap<String, Size>) -> Self {
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); runs.len()];
        let mut possible = Queue::new();
        for (place, run) in runs.iter().enumerate() {
            match run.needs.filter(|needs| *needs < place) {
                Some(needs) => followers[needs].push(place),
                None => possible.push(Reverse((run.from, place))),
            }
        }
        Self {
            runs,
            capacity,
            quotas,
            latest: latest_starts(runs),
            followers,
            possible,
            ends: Queue::new(),
            ready: BTreeSet::new(),
            parked: BTreeMap::new(),
            used: Size::default(),
            of_tenant: BTreeMap::new(),
            late: Vec::new(),
            stuck: Vec::new(),
        }
    }

    /// When something ends or can start next.
    fn next_moment(&self) -> Option<Timestamp> {
        let next = [&self.possible, &self.ends].map(|queue| queue.peek().map(|next| next.0.0));
        next.into_iter().flatten().min()
    }

    fn quota(&self, place: usize) -> Size {
        self.quotas.get(&self.runs[place].tenant).copied().unwrap_or(ALL)
    }

    fn fits_never(&self, place: usize) -> bool {
        let run = &self.runs[place];
        !(run.running || run.size.fits(self.capacity) && run.size.fits(self.quota(place)))
    }

    /// What ends now makes room, and lets others begin that need it.
    fn end(&mut self, now: Timestamp) {
        let runs = self.runs;
        while let Some(place) = take_due(&mut self.ends, now) {
            let (run, quota) = (&runs[place], self.quota(place));
            self.used = self.used.minus(run.size);
            let own = self.of_tenant.entry(&run.tenant).or_default();
            *own = own.minus(run.size);
            let by = now.duration_since(run.due);
            if by.is_positive() {
                self.late.push((place, Some(by)));
            }
            for follower in &self.followers[place] {
                self.possible.push(Reverse((runs[*follower].from.max(now), *follower)));
            }
            // As many as the quota has room for now.
            let (mut then, waiting) = (*own, self.parked.entry(&run.tenant).or_default());
            while let Some((_, first)) = waiting.first().copied() {
                then = then.plus(runs[first].size);
                if !then.fits(quota) {
                    break;
                }
                self.ready.extend(waiting.pop_first());
            }
        }
    }

    /// What can start now, or never.
    fn make_ready(&mut self, now: Timestamp) {
        while let Some(place) = take_due(&mut self.possible, now) {
            if self.fits_never(place) {
                self.stuck.push(place);
            } else {
                self.ready.insert((self.latest[place], place));
            }
        }
    }

    /// Starts what there is room for. Room only shrinks within a moment, so what did not fit need not be asked again; what
    /// starts or is parked makes place for the next to be asked.
    fn start(&mut self, now: Timestamp) {
        let runs = self.runs;
        let mut waits = 0;
        let mut at = self.ready.first().copied();
        while let Some(next) = at {
            let (run, quota) = (&runs[next.1], self.quota(next.1));
            let own = self.of_tenant.entry(&run.tenant).or_default();
            if !run.running && !own.plus(run.size).fits(quota) {
                self.ready.remove(&next);
                self.parked.entry(&run.tenant).or_default().insert(next);
            } else if run.running || self.used.plus(run.size).fits(self.capacity) {
                self.ready.remove(&next);
                *own = own.plus(run.size);
                self.used = self.used.plus(run.size);
                self.ends.push(Reverse((later(now, run.lasts), next.1)));
            } else {
                waits += 1;
            }
            let after = (Bound::Excluded(next), Bound::Unbounded);
            at = self.ready.range(after).next().copied().filter(|_| waits < LOOK);
        }
    }

    /// All that is late once nothing happens any more.
    fn late(self) -> Vec<(usize, Option<SignedDuration>)> {
        let Self { runs, followers, ready, parked, mut late, mut stuck, .. } = self;
        // What never fitted, and what waits for it.
        stuck.extend(ready.into_iter().chain(parked.into_values().flatten()).map(|(_, place)| place));
        while let Some(place) = stuck.pop() {
            late.push((place, None));
            stuck.extend(&followers[place]);
        }
        late.sort_by(|(one, by), (other, than)| {
            let order = |place: usize, by: &Option<SignedDuration>| {
                (Reverse(by.unwrap_or(SignedDuration::MAX)), runs[place].due, runs[place].title.clone())
            };
            order(*one, by).cmp(&order(*other, than))
        });
        late
    }
}

/// Latest start of each run so that it, and what needs it, can still be in time; what runs comes before all.
fn latest_starts(runs: &[Expected]) -> Vec<Timestamp> {
    let start = |run: &Expected| if run.running { Timestamp::MIN } else { later(run.due, -run.lasts) };
    let mut latest: Vec<Timestamp> = runs.iter().map(start).collect();
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
            tenant: title.split('/').next().unwrap().to_owned(),
            from: at(from),
            due: at(due),
            lasts: SignedDuration::from_mins(lasts),
            size: Size::new(vcpu, 1.0).unwrap(),
            running: false,
            needs,
        }
    }

    fn capacity(vcpu: f64) -> Size {
        Size::new(vcpu, 64.0).unwrap()
    }

    fn quotas(all: &[(&str, Size)]) -> BTreeMap<String, Size> {
        all.iter().map(|(tenant, quota)| ((*tenant).to_owned(), *quota)).collect()
    }

    /// Quotas of which pods that are no runs take so much.
    fn limited(all: &[(&str, Size)], standing: Size) -> BTreeMap<String, Quota> {
        let quota = |limit: &Size| Quota { limit: *limit, standing };
        all.iter().map(|(tenant, limit)| ((*tenant).to_owned(), quota(limit))).collect()
    }

    fn told(runs: &[Expected], vcpu: f64) -> Overload {
        overload(runs, capacity(vcpu), &BTreeMap::new(), 100)
    }

    /// Four runs of two vCPU and ten minutes each, due after twenty.
    fn four(tenant: impl Fn(usize) -> String) -> Vec<Expected> {
        (0..4).map(|place| run(&format!("{}/plan-{place}", tenant(place)), 0, 20, 10, 2.0, None)).collect()
    }

    #[test]
    fn it_says_who_is_late_by_how_much_and_how_many_vcpu_cure_it() {
        let runs = four(|place| format!("t{place}"));
        let overloaded = told(&runs, 2.0);
        assert_eq!(overloaded.late.len(), 2);
        assert_eq!(overloaded.late[0].by, Some(SignedDuration::from_mins(20)));
        // Two at a time are enough, and memory does not lack.
        let more = Size { millicores: 2_000, mebibytes: 0 };
        assert_eq!(overloaded.cures(&overloaded.late[0]), [(Limit::Capacity, more)]);
        assert_eq!(told(&runs, 4.0), Overload::default());
    }

    #[test]
    fn a_quota_that_makes_its_own_runs_late_has_to_grow_and_nothing_else() {
        let mut runs = four(|_| "a".to_owned());
        runs.push(run("b/plan", 0, 20, 10, 2.0, None));
        let all = [("a", Size { millicores: 2_000, mebibytes: u64::MAX }), ("b", capacity(2.0))];
        let overloaded = overload(&runs, capacity(64.0), &limited(&all, Size::default()), 100);
        assert_eq!(overloaded.late.len(), 2, "one after the other: {overloaded:?}");
        let more = Size { millicores: 2_000, mebibytes: 0 };
        assert_eq!(overloaded.cure, Cure { quotas: quotas(&[("a", more)]), capacity: None });
        for late in &overloaded.late {
            assert_eq!(overloaded.cures(late), [(Limit::Quota("a"), more)]);
        }
    }

    #[test]
    fn what_pods_that_are_no_runs_take_of_a_quota_is_not_there_for_its_runs() {
        let runs = four(|_| "a".to_owned());
        let all = [("a", Size { millicores: 8_000, mebibytes: u64::MAX })];
        let with = |millicores| {
            let standing = Size { millicores, mebibytes: 512 };
            overload(&runs, capacity(64.0), &limited(&all, standing), 100)
        };
        assert_eq!(with(4_000), Overload::default(), "two at a time are in time");
        for (standing, lacks, by) in [(6_000, 2_000, Some(20)), (7_000, 3_000, None), (9_000, 5_000, None)] {
            let overloaded = with(standing);
            let more = Size { millicores: lacks, mebibytes: 0 };
            assert_eq!(overloaded.late[0].by, by.map(SignedDuration::from_mins), "{standing}");
            assert_eq!(overloaded.cures(&overloaded.late[0]), [(Limit::Quota("a"), more)], "{standing}");
        }
    }

    #[test]
    fn memory_that_lacks_in_a_quota_is_what_grows() {
        let all = [("a", Size { millicores: u64::MAX, mebibytes: 1_024 })];
        let limited = limited(&all, Size::default());
        let overloaded = overload(&four(|_| "a".to_owned()), capacity(64.0), &limited, 100);
        assert_eq!(overloaded.cure.quotas["a"], Size { millicores: 0, mebibytes: 1_024 });
    }

    #[test]
    fn where_both_are_short_each_run_hears_what_keeps_it() {
        let mut runs = four(|_| "a".to_owned());
        runs.push(run("b/plan", 0, 10, 10, 8.0, None));
        let all = [("a", Size { millicores: 2_000, mebibytes: u64::MAX })];
        let overloaded = overload(&runs, capacity(4.0), &limited(&all, Size::default()), 100);
        let of = |tenant: &str| {
            let late = overloaded.late.iter().find(|late| late.tenant == tenant).unwrap();
            overloaded.cures(late).into_iter().map(|(limit, _)| limit).collect::<Vec<_>>()
        };
        assert_eq!(of("b"), [Limit::Capacity], "{overloaded:?}");
        assert!(of("a").contains(&Limit::Quota("a")), "{overloaded:?}");
    }

    #[test]
    fn a_tenant_at_its_quota_keeps_nobody_else_waiting() {
        let mut runs: Vec<Expected> =
            (0..600).map(|place| run(&format!("a/{place}"), 0, 5, 1, 1.0, None)).collect();
        runs.push(run("b/plan", 0, 20, 10, 1.0, None));
        let all = [("a", Size { millicores: 1_000, mebibytes: u64::MAX })];
        let overloaded = overload(&runs, capacity(4.0), &limited(&all, Size::default()), 1_000);
        assert!(overloaded.late.iter().all(|late| late.tenant == "a"), "{:?}", overloaded.late);
    }

    #[test]
    fn a_chain_longer_than_its_window_is_not_cured_by_capacity() {
        let chain = [run("a/first", 0, 60, 30, 1.0, None), run("a/second", 0, 55, 30, 1.0, Some(0))];
        let overloaded = told(&chain, 8.0);
        assert_eq!(overloaded.late[0].alone, Some(SignedDuration::from_mins(5)));
        assert_eq!(overloaded.cures(&overloaded.late[0]), []);
        // Others still hear what helps them.
        let mut runs = chain.to_vec();
        runs.extend([run("b/one", 0, 10, 10, 8.0, None), run("b/two", 0, 10, 10, 8.0, None)]);
        let overloaded = told(&runs, 9.0);
        let late = overloaded.late.iter().find(|late| late.tenant == "b").unwrap();
        assert!(matches!(overloaded.cures(late)[..], [(Limit::Capacity, _)]), "{overloaded:?}");
    }

    #[test]
    fn what_never_finds_room_is_told_with_all_that_waits_for_it() {
        let runs = [run("a/first", 0, 60, 10, 4.0, None), run("a/second", 0, 60, 10, 1.0, Some(0))];
        let overloaded = told(&runs, 2.0);
        assert!(overloaded.late.iter().all(|late| late.by.is_none()) && overloaded.late.len() == 2);
        assert_eq!(overloaded.cure.capacity.unwrap().millicores, 2_000);
    }

    #[test]
    fn what_runs_has_its_room_before_what_is_more_urgent() {
        let mut busy = run("a/busy", 0, 90, 15, 2.0, None);
        busy.running = true;
        let overloaded = told(&[busy, run("b/plan", 0, 20, 10, 2.0, None)], 2.0);
        assert_eq!(overloaded.late.len(), 1);
        assert_eq!((overloaded.late[0].tenant.as_str(), overloaded.late[0].by.unwrap().as_mins()), ("b", 5));
    }

    #[test]
    fn the_most_urgent_ones_are_laid_out_with_what_they_need() {
        let runs = [
            run("a/can-wait", 0, 900, 10, 1.0, None),
            run("b/first", 0, 800, 10, 1.0, None),
            run("c/can-wait", 0, 900, 10, 1.0, None),
            run("b/second", 0, 15, 10, 1.0, Some(1)),
        ];
        let kept = most_urgent(&runs, 2);
        let titles: Vec<&str> = kept.iter().map(|run| run.title.as_str()).collect();
        assert_eq!(titles, ["b/first", "b/second"]);
        assert_eq!(kept[1].needs, Some(0));
        let overloaded = overload(&runs, capacity(4.0), &BTreeMap::new(), 2);
        assert_eq!(overloaded.late[0].title, "b/second");
    }

    #[test]
    fn urgency_is_inherited_by_what_is_needed() {
        // The first of the chain is due late itself, but what needs it is due soon.
        let runs = [
            run("a/long", 0, 40, 20, 1.0, None),
            run("b/first", 0, 60, 10, 1.0, None),
            run("b/second", 0, 20, 10, 1.0, Some(1)),
        ];
        assert_eq!(told(&runs, 1.0).late, []);
    }
}
