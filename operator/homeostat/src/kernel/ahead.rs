//! What is coming for each workload, and whether the minute to act before it is now: the decision is [`ahead`]'s, what it
//! needs to know is kept here. The planner reads it from the snapshot.

use super::Kernel;
use crate::hearing::Hearing;
use homeostat_knowledge::{
    Ahead, FindingKind, SignedDuration, Snapshot, Timestamp, WorkloadHealth, WorkloadKey,
};
use homeostat_scale::ahead::{self, Advice, Coming, Day, Moment};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is coming is looked at so often.
const LOOK: SignedDuration = SignedDuration::from_secs(1);
/// A minute with up to this share of the day's highest load is a quiet one.
const QUIET: f64 = 0.5;
/// Seconds that a rolling restart takes: one replica, each further one, and no more in all.
const ONE_REPLICA: f64 = 300.0;
const EACH_FURTHER: f64 = 30.0;
const AT_MOST: f64 = 900.0;
/// Workloads whose load is followed.
const MOST: usize = 10_000;

/// What the loop keeps to tell what is coming.
#[derive(Default)]
pub(super) struct Foresight {
    looked: Option<Timestamp>,
    minute: Option<i64>,
    loads: BTreeMap<WorkloadKey, Followed>,
}

/// The load of one workload over a day.
#[derive(Default)]
struct Followed {
    hearing: Hearing,
    last: Option<(i64, u64)>,
    day: Day,
}

impl Followed {
    fn read(&mut self, snapshot: &Snapshot, key: &WorkloadKey, minute: i64, now: Timestamp) {
        let answered = self.hearing.answered(snapshot, key, now).map(|(answered, _)| answered);
        let before = std::mem::replace(&mut self.last, answered.map(|answered| (minute, answered)));
        let load = answered.zip(before).map(|(answered, (since, before))| {
            answered.saturating_sub(before) as f64 / (minute - since).max(1) as f64
        });
        self.day.observe(minute, load);
    }
}

impl Foresight {
    /// Reads the minute that is over.
    fn follow(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let minute = now.as_second().div_euclid(60);
        if self.minute == Some(minute) {
            return;
        }
        self.minute = Some(minute);
        self.loads.retain(|key, _| snapshot.workloads.contains_key(key));
        let answers = |health: &WorkloadHealth| health.answered > 0;
        for (key, _) in snapshot.health.iter().filter(|(_, health)| answers(health)) {
            if self.loads.len() < MOST || self.loads.contains_key(key) {
                self.loads.entry(key.clone()).or_default().read(snapshot, key, minute, now);
            }
        }
    }

    /// This moment, for a rolling restart of a workload.
    fn moment(&self, snapshot: &Snapshot, key: &WorkloadKey) -> Moment {
        let replicas = snapshot.controller_of(key).map_or(1, |controller| controller.replicas);
        let further = f64::from(replicas.max(1) - 1);
        Moment {
            load: self.loads.get(key).map_or(f64::NAN, |followed| followed.day.share()),
            quiet: QUIET,
            needs: (ONE_REPLICA + EACH_FURTHER * further).min(AT_MOST),
        }
    }
}

/// A decision as the planner reads it; `None` when nothing is coming.
fn decided(coming: Coming, moment: &Moment, now: Timestamp) -> Option<Ahead> {
    let earliest = coming.earliest?;
    let at = |seconds: f64| {
        let span = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
        now.checked_add(span).unwrap_or(now)
    };
    let wait_until = match coming.advice {
        Advice::Nothing => return None,
        Advice::Wait => Some(at(earliest - ahead::margin(moment.needs))),
        Advice::Act => None,
    };
    Some(Ahead { decided: now, earliest: at(earliest), wait_until, why: coming.reason })
}

impl Kernel {
    /// Decides anew what is coming. Cheap: once a second, and only workloads for which something is.
    pub(super) fn foresee(&mut self, now: Timestamp) {
        self.foresight.follow(&self.snapshot, now);
        if self.foresight.looked.is_some_and(|last| now.duration_since(last) < LOOK) {
            return;
        }
        self.foresight.looked = Some(now);
        let mut all = BTreeMap::new();
        for (key, earliest) in self.analyser.limits() {
            let moment = self.foresight.moment(&self.snapshot, key);
            let left = earliest.duration_since(now).as_secs_f64().max(0.0);
            if let Some(ahead) = decided(ahead::before_limit(Some(left), &moment), &moment, now) {
                all.insert((key.clone(), FindingKind::MemoryGrowing), Arc::new(ahead));
            }
        }
        self.snapshot.ahead = all.into_iter().collect();
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
