//! A backlog whose items must be done in time: how many replicas that takes, and how late the last of them are.
//!
//! Only the number of waiting items is seen. What came when is inferred from it: the oldest items are done first, as many
//! as the ready replicas do at the declared work of one item, or as are gone where that is more; what waits beyond that
//! came just now. Each part must be done by its own deadline together with all that came before it.

use super::{IDLE, Seen, usable};
use crate::jobs::workers::{Bounds, Queue, Wanted, workers};
use homeostat_knowledge::forecast::LateItems;
use homeostat_knowledge::policy::DuePolicy;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Parts of one deadline by when they came; twice as many are kept while the oldest are overdue.
const PARTS: i64 = 16;
/// Seconds after which a number that did not change counts as a new one: questions are further apart than decisions.
const SAME: i64 = 60;
/// Less of an item than this is none.
const NOTHING: f64 = 1e-6;

/// Replicas beyond which nobody is asked whether more would be enough.
const MANY: u32 = 10_000;

/// What is known of the backlog of one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Due {
    /// Items by the second until which they must be done, oldest first.
    parts: VecDeque<(i64, f64)>,
    /// The last number of waiting items, when it was new, and how many replicas were ready then.
    waiting: Option<(i64, f64, u32)>,
    /// When there were items last.
    busy: Option<i64>,
    /// What was wanted of late: fewer replicas than that are wanted only later.
    #[serde(skip)]
    wishes: VecDeque<(i64, u32)>,
}

/// Replicas for the backlog, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Needed {
    pub replicas: u32,
    pub why: String,
    /// Items that are done after their deadline.
    pub late: Option<LateItems>,
}

impl Due {
    /// Takes note of what is seen, and says how many replicas it takes within these bounds, where one takes `start` seconds
    /// to be ready. `None` without such a backlog, and while its source is silent.
    pub fn look(&mut self, now: i64, seen: &Seen<'_>, bounds: (u32, u32), start: i64) -> Option<Needed> {
        let (waiting, due) = seen.loads.iter().find_map(|load| Some((load.value, load.due?)))?;
        let waiting = waiting.filter(|waiting| usable(*waiting))?;
        if waiting > 0.0 || !self.parts.is_empty() {
            self.busy = Some(now);
        }
        self.count(now, waiting, seen.ready, &due);
        self.needed(now, waiting, seen, (&due, start), bounds)
    }

    /// Finds out which items are done and which are new.
    fn count(&mut self, now: i64, waiting: f64, ready: u32, due: &DuePolicy) {
        let (since, before, were) = self.waiting.unwrap_or((now, 0.0, ready));
        let passed = now.saturating_sub(since);
        if self.waiting.is_some() && (waiting - before).abs() <= NOTHING && passed < SAME {
            return;
        }
        self.waiting = Some((now, waiting, ready));
        let known: f64 = self.parts.iter().map(|(_, items)| items).sum();
        let could = f64::from(ready.min(were)) * passed.max(0) as f64 / due.seconds_per_item;
        let mut done = could.max(known - waiting).min(known);
        let new = waiting - (known - done);
        while let Some((_, items)) = self.parts.front_mut() {
            if *items - done > NOTHING {
                *items -= done;
                break;
            }
            done -= *items;
            self.parts.pop_front();
        }
        if new > NOTHING {
            self.came(now, new, due.within.as_secs());
        }
    }

    /// New items. Those that came shortly after others are due with them.
    fn came(&mut self, now: i64, items: f64, within: i64) {
        let until = now.saturating_add(within);
        match self.parts.back_mut() {
            Some((last, part)) if until.saturating_sub(*last) < within / PARTS => *part += items,
            _ => self.parts.push_back((until, items)),
        }
        while self.parts.len() > 2 * PARTS as usize {
            let Some((first, overdue)) = self.parts.pop_front() else { break };
            if let Some(next) = self.parts.front_mut() {
                *next = (first, next.1 + overdue);
            }
        }
    }

    fn needed(
        &mut self,
        now: i64,
        waiting: f64,
        seen: &Seen<'_>,
        (due, start): (&DuePolicy, i64),
        (min, max): (u32, u32),
    ) -> Option<Needed> {
        let moment = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        let bounds = Bounds {
            min,
            max,
            idle: SignedDuration::from_secs(idle(due)),
            start: SignedDuration::from_secs(start),
        };
        let queue = Queue {
            messages: Some(0.0),
            seconds_per_message: Some(due.seconds_per_item),
            due: moment(now),
            last_busy: moment(self.busy.unwrap_or(now - idle(due))),
            next: None,
            workers: seen.replicas,
        };
        if self.parts.is_empty() {
            let Wanted { workers, reason, .. } = workers(moment(now), &bounds, &queue).ok()?;
            return Some(Needed { replicas: workers, why: reason, late: None });
        }
        let mut items = 0.0;
        let mut most: Option<(u32, i64, f64)> = None;
        let mut late: Option<(SignedDuration, i64)> = None;
        let of = |until: i64, items: f64| Queue {
            messages: Some(items),
            due: moment(until),
            workers: seen.ready,
            ..queue
        };
        for (until, part) in &self.parts {
            items += part;
            let wanted = workers(moment(now), &bounds, &of(*until, items)).ok()?;
            late = late.max(wanted.late.map(|by| (by, *until)));
            if most.is_none_or(|(most, ..)| wanted.workers > most) {
                most = Some((wanted.workers, until.saturating_sub(now), items));
            }
        }
        let (needed, left, items) = most?;
        let replicas = self.calm(now, needed, idle(due));
        let each = due.seconds_per_item;
        let when = if left >= 0 {
            format!("{items:.0} of them due in {left} s")
        } else {
            format!("{items:.0} of them due {} s ago", -left)
        };
        let kept = if replicas > needed {
            format!("; {replicas} were needed within {} s and are kept", idle(due))
        } else {
            String::new()
        };
        let late = late.map(|(by, until)| {
            let wide = Bounds { max: MANY.max(max), ..bounds };
            let mut items = 0.0;
            // Each part in time, or none of them.
            let enough = self.parts.iter().try_fold(0, |most: u32, (until, part)| {
                items += part;
                let wanted = workers(moment(now), &wide, &of(*until, items)).ok()?;
                wanted.late.is_none().then(|| most.max(wanted.workers))
            });
            LateItems { due: moment(until), by, more: enough.map_or(0, |enough| enough.saturating_sub(max)) }
        });
        let missed = late.map_or_else(String::new, |late| {
            let cure = if needed >= max { "raise spec.scaling.replicas.max or" } else { "raise" };
            format!(
                "; the last of them will be done about {} s after their deadline: {cure} spec.scaling.deadlineSeconds",
                late.by.as_secs().max(1)
            )
        });
        let why = format!(
            "{waiting:.0} items of {each} s each wait, {when}: {needed} replicas, where a start takes {start} s{kept}{missed}"
        );
        Some(Needed { replicas, why, late })
    }

    /// The highest wish of late: a replica that goes leaves its item half done.
    fn calm(&mut self, now: i64, needed: u32, idle: i64) -> u32 {
        self.wishes.retain(|(at, wish)| now.saturating_sub(*at) < idle && *wish > needed);
        self.wishes.push_back((now, needed));
        self.wishes.iter().map(|(_, wish)| *wish).max().unwrap_or(needed)
    }

    /// What is kept over a restart; `None` when nothing is known.
    pub fn kept(&self) -> Option<Self> {
        (!self.parts.is_empty()).then(|| Self {
            parts: self.parts.clone(),
            waiting: self.waiting,
            busy: self.busy,
            ..Self::default()
        })
    }
}

/// Nothing waits for so long, in seconds, before fewer replicas are wanted: an item that was taken up is not seen to wait any
/// more, and whoever does it is needed until it is done.
#[allow(
    clippy::cast_possible_truncation,
    reason = "less than the deadline, which is a whole number of seconds"
)]
pub(super) fn idle(due: &DuePolicy) -> i64 {
    IDLE.max(due.seconds_per_item.ceil() as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::starts::UNSEEN;
    use super::super::{Load, Requests, STEP_SECONDS};
    use super::*;

    const BOUNDS: (u32, u32) = (0, 20);

    fn policy(seconds: f64, within: i64) -> DuePolicy {
        DuePolicy { seconds_per_item: seconds, within: SignedDuration::from_secs(within) }
    }

    fn look(due: &mut Due, now: i64, waiting: Option<f64>, replicas: (u32, u32)) -> Option<Needed> {
        started(due, now, waiting, replicas, UNSEEN)
    }

    fn started(
        due: &mut Due,
        now: i64,
        waiting: Option<f64>,
        replicas: (u32, u32),
        start: i64,
    ) -> Option<Needed> {
        asked(due, now, (waiting, policy(60.0, 600)), replicas, start)
    }

    /// What it says to a backlog of so many items with this deadline, and nothing beside it.
    fn asked(
        due: &mut Due,
        now: i64,
        (waiting, deadline): (Option<f64>, DuePolicy),
        (replicas, ready): (u32, u32),
        start: i64,
    ) -> Option<Needed> {
        let loads = [Load {
            name: "scaling.backlog".into(),
            value: waiting,
            per_replica: deadline.within.as_secs() as f64 / deadline.seconds_per_item,
            silent: Vec::new(),
            due: Some(deadline),
            unsent: None,
            expected: None,
            soon: Vec::new(),
        }];
        let seen = Seen {
            requests: Requests::default(),
            loads: &loads,
            replicas,
            ready,
            expected: None,
            calendar: None,
            hurts: false,
        };
        due.look(now, &seen, BOUNDS, start)
    }

    /// A queue whose items take so long, worked off by what is wanted, each replica ready 30 s after it is wanted. `comes`:
    /// items that come in a second. The longest time from coming to done, and the most replicas.
    fn served(seconds: f64, within: i64, work: f64, comes: impl Fn(i64) -> f64) -> (f64, u32) {
        let mut due = Due::default();
        let mut queue: VecDeque<(i64, f64)> = VecDeque::new();
        let (mut ready, mut replicas) = (0_u32, 0_u32);
        let mut starting: VecDeque<(i64, u32)> = VecDeque::new();
        let (mut longest, mut most, mut owed) = (0.0_f64, 0, 0.0);
        for now in 0..3 * 3_600 {
            owed += comes(now);
            if owed >= 1.0 {
                queue.push_back((now, owed.floor()));
                owed -= owed.floor();
            }
            while starting.front().is_some_and(|(at, _)| *at <= now) {
                ready = starting.pop_front().unwrap().1.min(replicas);
            }
            let mut can = f64::from(ready) / work;
            while can > 0.0
                && let Some((came, items)) = queue.front_mut()
            {
                let done = items.min(can);
                (*items, can) = (*items - done, can - done);
                longest = longest.max((now - *came) as f64);
                if *items <= NOTHING {
                    queue.pop_front();
                }
            }
            if now % i64::from(STEP_SECONDS) == 0 {
                let waiting = queue.iter().map(|(_, items)| items).sum::<f64>().ceil();
                let waits = (Some(waiting), policy(seconds, within));
                let wanted = asked(&mut due, now, waits, (replicas, ready), UNSEEN).unwrap().replicas;
                if wanted > replicas {
                    starting.push_back((now + 30, wanted));
                }
                (replicas, ready) = (wanted, ready.min(wanted));
                most = most.max(wanted);
            }
        }
        assert!(queue.is_empty(), "{} parts are left", queue.len());
        (longest, most)
    }

    #[test]
    fn a_crowd_and_a_stream_are_done_in_time_with_as_few_as_that_takes() {
        let crowd = |now: i64| if now == 600 { 100.0 } else { 0.0 };
        let (longest, most) = served(30.0, 600, 30.0, crowd);
        assert!(longest <= 600.0, "{longest}");
        assert!((5..=7).contains(&most), "3,000 s of work in 570 s: {most}");
        // 4 replicas are busy all the time; the work of an item is declared a little longer than it is.
        let stream = |now: i64| if now < 3_600 { 0.2 } else { 0.0 };
        let (longest, most) = served(22.0, 300, 20.0, stream);
        assert!(longest <= 300.0, "{longest}");
        assert!(most <= 10, "{most}");
    }

    #[test]
    fn the_deadline_counts_from_when_items_came_and_survives_a_restart() {
        let mut due = Due::default();
        assert_eq!(look(&mut due, 0, Some(20.0), (0, 0)).unwrap().replicas, 3, "nine each in 570 s");
        // Nothing was done for five minutes.
        let said = look(&mut due, 300, Some(20.0), (0, 0)).unwrap();
        assert_eq!(said.replicas, 5, "{}", said.why);
        let kept = serde_json::to_string(&due.kept().unwrap()).unwrap();
        let mut other: Due = serde_json::from_str(&kept).unwrap();
        let after = look(&mut other, 315, Some(20.0), (0, 0)).unwrap();
        assert_eq!(after.replicas, 5, "{}", after.why);
        assert!(after.why.contains("due in 285 s"), "{}", after.why);
    }

    #[test]
    fn how_late_it_will_be_and_what_to_change_is_said() {
        let mut due = Due::default();
        let said = look(&mut due, 0, Some(400.0), (0, 0)).unwrap();
        let late = said.late.map(|late| (late.due.as_second(), late.by.as_secs(), late.more));
        // Nine each in time by those that start now: 45 of them.
        assert_eq!((said.replicas, late), (20, Some((600, 630, 25))));
        // Twenty rounds of a minute each, 570 s are left after a start.
        assert!(said.why.contains("about 630 s after their deadline"), "{}", said.why);
        assert!(said.why.contains("raise spec.scaling.replicas.max or"), "{}", said.why);
        assert_eq!(look(&mut Due::default(), 0, Some(100.0), (0, 0)).unwrap().late, None);
    }

    #[test]
    fn a_start_that_was_seen_is_part_of_the_deadline() {
        let said = started(&mut Due::default(), 330, Some(40.0), (0, 0), 315).unwrap();
        assert_eq!(said.replicas, 10, "four each in 285 s: {}", said.why);
    }

    #[test]
    fn fewer_only_after_five_minutes_none_after_five_without_work_and_nothing_while_it_is_silent() {
        let mut due = Due::default();
        assert_eq!(look(&mut due, 0, Some(40.0), (0, 0)).unwrap().replicas, 5);
        assert_eq!(look(&mut due, 15, Some(1.0), (5, 5)).unwrap().replicas, 5);
        assert_eq!(look(&mut due, 300, Some(1.0), (5, 5)).unwrap().replicas, 1);
        assert_eq!(look(&mut due, 315, None, (1, 1)), None);
        assert_eq!(look(&mut due, 330, Some(0.0), (1, 1)).unwrap().replicas, 1);
        assert_eq!(look(&mut due, 629, Some(0.0), (1, 1)).unwrap().replicas, 1);
        assert_eq!(look(&mut due, 630, Some(0.0), (1, 1)).unwrap().replicas, 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut due = Due::default();
        for step in 0..4_000 {
            look(&mut due, step * 61, Some(step as f64), (0, 0));
        }
        assert!(due.parts.len() <= 32, "{}", due.parts.len());
        assert!(serde_json::to_string(&due.kept().unwrap()).unwrap().len() < 1_200);
    }
}
