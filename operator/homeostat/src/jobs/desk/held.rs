//! Workloads whose runs are held: no node is large enough for a pod of theirs, or what they need is held itself. What is under
//! way goes on, is followed and teaches, and so does what has its input; nothing else of theirs begins, and no room is kept
//! for it.

use super::super::declared::{Asked, MEBIBYTE};
use super::super::known::Known;
use super::super::largest::Largest;
use super::super::seen::{Jobs, Phase, Seen};
use super::Desk;
use homeostat_knowledge::WorkloadKey;
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::learned::JobHistory;
use homeostat_scale::jobs::{Outcome, Size};
use std::collections::BTreeMap;

impl Desk {
    /// Why no node has room for a pod of a workload's runs, as they are written or by what they were seen to need, of each
    /// where that is so.
    pub(super) fn without_node(
        &self,
        asked: &BTreeMap<WorkloadKey, Asked>,
        largest: &Largest,
        known: &Known,
    ) -> BTreeMap<WorkloadKey, String> {
        let why = |(key, one): (&WorkloadKey, &Asked)| {
            // What Kueue orders it also counts.
            if matches!(one.orderer, Orderer::Kueue { .. }) {
                return None;
            }
            let pod = one.pod();
            let lacks = largest.lacks(pod).or_else(|| {
                let history = self.history(key).or_else(|| known.learnt(key).map(|learnt| &learnt.history));
                // Learnt of one pod, where each run has its own number of them.
                let pods = if one.job.pods.is_some() { 1 } else { one.pods.max(1) };
                let needs = history.and_then(JobHistory::needs)? / pods;
                let most = one.policy.permits.memory_bytes.map_or(u64::MAX, |bounds| bounds.max / MEBIBYTE);
                let learnt = Size { mebibytes: pod.mebibytes.max(needs.min(most)), ..pod };
                let lacks = largest.lacks(learnt)?;
                Some(format!("by the memory that its runs were seen to need, {lacks}"))
            })?;
            Some((key.clone(), lacks))
        };
        asked.iter().filter_map(why).collect()
    }

    /// All that are held, and why: what nobody could start, and all that needs it.
    pub(super) fn all_held(&self) -> BTreeMap<WorkloadKey, String> {
        let waits = |key: &WorkloadKey| !self.refused.contains_key(key) || self.without_room.contains(key);
        let own = self.without_node.iter().filter(|(key, _)| waits(key));
        let mut held: BTreeMap<WorkloadKey, String> =
            own.map(|(key, why)| (key.clone(), why.clone())).collect();
        // Each round is one further along the chains, which are no rings.
        loop {
            let next = self.told.iter().filter_map(|(key, one)| {
                let needs = one.needs.as_ref()?;
                let waits = held.contains_key(needs) || self.without_room.contains(needs);
                let free = !held.contains_key(key) && !self.refused.contains_key(key);
                let why = || {
                    format!(
                        "its runs need those of {needs}, which cannot begin now (see its RunsInTime); they go on once \
                         those do, or once spec.dependencies does not name it"
                    )
                };
                (waits && free).then(|| (key.clone(), why()))
            });
            let next: Vec<(WorkloadKey, String)> = next.collect();
            if next.is_empty() {
                return held;
            }
            held.extend(next);
        }
    }

    /// Whether a run may not begin. One whose input is there, or is being made, waits for nothing that is held.
    pub(super) fn holds(&self, seen: &Seen, jobs: &Jobs) -> bool {
        if !self.held.contains_key(&seen.workload) {
            return false;
        }
        if self.without_node.contains_key(&seen.workload) {
            return true;
        }
        let needs = self.told.get(&seen.workload).and_then(|one| one.needs.as_ref());
        let Some(needs) = needs else { return true };
        let inputs = jobs.by_uid().map(|(_, job)| job);
        let newest = inputs
            .filter(|job| job.workload == *needs && job.slot <= seen.slot)
            .max_by_key(|job| (job.slot, job.retry_of.is_some()));
        newest.is_none_or(|job| !matches!(job.phase, Phase::Running | Phase::Ended(Outcome::Succeeded)))
    }

    /// Whether what the planner did not take is to be asked again: there is room for it, or it asks for something else.
    pub(super) fn asks_again(&self, asked: &BTreeMap<WorkloadKey, Asked>, capacity: Size) -> bool {
        let asks = |all: &BTreeMap<WorkloadKey, Asked>, key: &WorkloadKey| all.get(key).map(Asked::asks);
        let fits = |key: &WorkloadKey| asks(asked, key).is_some_and(|asks| asks.fits(capacity));
        self.without_room.iter().any(fits)
            || self.refused.keys().any(|key| asks(asked, key) != asks(&self.told, key))
    }

    /// Whether a workload's runs are ordered here, and may begin.
    pub fn orders(&self, workload: &WorkloadKey) -> bool {
        self.declared.contains_key(workload) && !self.held.contains_key(workload)
    }
}
