//! With how many pods at once each run starts, where its Workload names a backlog: what waits is read here, and the number
//! follows in [`homeostat_scale::jobs::parts`].

use super::declared::Asked;
use crate::loads::Series;
use homeostat_knowledge::policy::BACKLOG;
use homeostat_knowledge::records::Work;
use homeostat_knowledge::{LateRun, Snapshot, Timestamp, WorkloadKey};
use homeostat_scale::jobs::items::ItemHistory;
use homeostat_scale::jobs::parts::{Asks, Parts, parts};
use homeostat_scale::jobs::{Settings, Size};
use std::collections::BTreeMap;

/// What waits for a workload's runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waits {
    /// Items; `None`: the source is silent. No number, or negative, where that is what it says.
    pub items: Option<f64>,
    /// Series of it that are missing, so that there are more.
    pub missing: usize,
}

impl Waits {
    /// Items, where all of them are seen and are a number.
    pub fn all(self) -> Option<f64> {
        self.items.filter(|items| self.missing == 0 && items.is_finite() && *items >= 0.0)
    }
}

/// What waits, by workload; those without a backlog are missing.
pub type AllWaits = BTreeMap<WorkloadKey, Waits>;

/// The backlogs of all workloads whose runs are sized by one.
#[derive(Debug, Default)]
pub struct Backlogs {
    series: BTreeMap<WorkloadKey, Series>,
}

impl Backlogs {
    /// Reads them off the snapshot, as the loads of services are read.
    pub fn read(
        &mut self,
        snapshot: &Snapshot,
        asked: &BTreeMap<WorkloadKey, Asked>,
        now: Timestamp,
    ) -> AllWaits {
        let counted = |key: &WorkloadKey| asked.get(key).is_some_and(|one| one.job.pods.is_some());
        self.series.retain(|key, _| counted(key));
        let mut all = AllWaits::new();
        for (key, one) in asked.iter().filter(|(key, _)| counted(key)) {
            let Some(scaling) = &one.policy.permits.scaling else { continue };
            let loads = self.series.entry(key.clone()).or_default().read(snapshot, &one.policy, scaling, now);
            let backlog = loads.into_iter().find(|load| *load.name == *BACKLOG);
            let waits = backlog
                .map_or_else(Waits::default, |load| Waits { items: load.value, missing: load.silent.len() });
            all.insert(key.clone(), waits);
        }
        all
    }
}

/// A run for which a number is chosen.
pub struct Chosen<'a> {
    /// Whose.
    pub asked: &'a Asked,
    /// How its Job is written.
    pub work: &'a Work,
    /// Moment that it was made for.
    pub slot: Timestamp,
    /// What waits for it.
    pub waits: Waits,
    /// What former runs had.
    pub history: &'a ItemHistory,
    /// What one pod reserves.
    pub pod: Size,
    /// What there is for all runs.
    pub capacity: Size,
    /// What pods that are no runs take of its tenant's quota.
    pub standing: Size,
}

impl Chosen<'_> {
    /// With how many it would start now.
    pub fn parts(&self, now: Timestamp) -> Parts {
        let rules = &self.asked.policy.permits.runs;
        let settings = Settings::default();
        let due = self.slot.checked_add(rules.deadline).unwrap_or(Timestamp::MAX);
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let quota = self.asked.quota.map(|quota| quota.minus(self.standing));
        let quota = quota.map_or(u64::MAX, |quota| self.pod.count_in(quota));
        let bounds = rules.parallelism;
        let asks = Asks {
            min: bounds.map_or(1, |bounds| small(bounds.min)),
            max: bounds.map_or(self.work.at_once(), |bounds| small(bounds.max)),
            written: self.work.pods,
            completions: self.work.completions,
            indexed: self.work.indexed,
            room: small(self.pod.count_in(self.capacity).min(quota)),
            each: rules.items.and_then(|items| items.each).map(|each| each.as_secs_f64()),
            items: self.waits.items,
            missing: self.waits.missing,
            window: due.duration_since(now).saturating_sub(settings.pod_start),
            deviations: settings.deviations,
        };
        parts(&asks, self.history)
    }
}

/// A run that is late although it has as many pods as it can have.
pub fn late(slot: Timestamp, asked: &Asked, parts: &Parts) -> Option<LateRun> {
    let by = parts.late?;
    Some(LateRun {
        run: slot.to_string(),
        due: slot.checked_add(asked.job.due_after).unwrap_or(Timestamp::MAX),
        by: Some(by),
        help: format!("it has the most pods that it can have: {}", parts.reason),
    })
}
