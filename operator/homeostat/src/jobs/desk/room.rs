//! What the planner is told of room: what there is, what others take of it, and what runs take at least.

use super::super::declared::Asked;
use super::super::seen::{Jobs, Phase};
use super::{Desk, Look, Told};
use homeostat_knowledge::{PodRecord, SignedDuration, Timestamp, Uid, WorkloadKey};
use homeostat_scale::jobs::{Event, Size};
use std::collections::BTreeMap;

/// Pods that found no node for so long leave their room to others, until they have one.
const STUCK: SignedDuration = SignedDuration::from_mins(5);

impl Desk {
    /// Tells the planner what there is, and what is taken of it beside the runs that it started or found: by Jobs that run
    /// and are ordered at the other desk, by Kueue or not at all, and by what running Jobs ask for beyond what they were
    /// planned with.
    pub(super) fn room(&mut self, capacity: Size, jobs: &Jobs, now: Timestamp) {
        // What the planner does not take now (a clock that went back) it is told at the next look.
        if self.capacity != Some(capacity) && self.tell(now, Event::Capacity(capacity)).is_ok() {
            self.capacity = Some(capacity);
        }
        let others = self.others(jobs);
        if others == self.others {
            return;
        }
        if let Some(planner) = &mut self.planner {
            planner.others(others.0, &others.1);
            self.others = others;
        }
    }

    /// Tells the planner what pods that are no runs take of the quotas of tenants. The capacity is told without them.
    pub(super) fn stand(&mut self, standing: &BTreeMap<String, Size>) {
        if *standing == self.standing {
            return;
        }
        if let Some(planner) = &mut self.planner {
            planner.standing(standing);
            self.standing.clone_from(standing);
        }
    }

    /// What pods that are no runs take of a tenant's quota.
    pub fn stands(&self, tenant: &str) -> Size {
        self.standing.get(tenant).copied().unwrap_or_default()
    }

    fn others(&self, jobs: &Jobs) -> (Size, BTreeMap<String, Size>) {
        let mut planned: BTreeMap<&Uid, Size> = BTreeMap::new();
        for live in self.runs.values() {
            if let Told::Running(size) | Told::Ending(size, _) = live.told {
                planned.insert(&live.job, size);
            }
        }
        let (mut all, mut of_tenants) = (Size::default(), BTreeMap::<String, Size>::new());
        let mut take = |tenant: Option<&str>, size: Size| {
            all = all.plus(size);
            if let Some(tenant) = tenant.filter(|_| size != Size::default()) {
                let taken = of_tenants.entry(tenant.to_owned()).or_default();
                *taken = taken.plus(size);
            }
        };
        for (uid, size) in &planned {
            if let Some(seen) = jobs.get(uid).filter(|seen| !seen.left) {
                take(Some(&seen.tenant.0), seen.size.minus(*size));
            }
        }
        for (uid, seen) in jobs.by_uid().filter(|(_, seen)| seen.phase == Phase::Running) {
            // Of what Kueue lets go the planner reserves nothing; it takes of Kueue's quotas and not of ours.
            if seen.left {
                take(None, jobs.takes(uid));
            } else if !planned.contains_key(uid) {
                take(Some(&seen.tenant.0), jobs.takes(uid));
            }
        }
        (all, of_tenants)
    }

    /// Tells the planner what runs that are under way take without their pods that found no node for long: these may never find
    /// one, and others wait.
    pub(super) fn stuck(&mut self, jobs: &Jobs, now: Timestamp) {
        let mut events = Vec::new();
        for (run, live) in &mut self.runs {
            let Told::Running(size) = live.told else {
                live.stuck = None;
                continue;
            };
            let pods = jobs.pods(&live.job);
            let nowhere = pods.iter().filter(|pod| found_none(pod, now)).count();
            let (placed, all) = ((pods.len() - nowhere) as u64, pods.len().max(1) as u64);
            let held = Size {
                millicores: size.millicores.saturating_mul(placed) / all,
                mebibytes: size.mebibytes.saturating_mul(placed) / all,
            };
            let stuck = (nowhere > 0).then_some((nowhere, held));
            if stuck != live.stuck {
                live.stuck = stuck;
                events.push(Event::Takes { run: *run, size: stuck.map_or(size, |(_, held)| held) });
            }
        }
        for event in events {
            let _known = self.tell(now, event);
        }
    }

    /// Pods of a workload's runs whose room is others' for now, in words.
    pub fn stuck_said(&self, workload: &WorkloadKey) -> Option<String> {
        let own = self.runs.values().filter(|live| live.workload == *workload);
        let pods: usize = own.filter_map(|live| live.stuck).map(|(pods, _)| pods).sum();
        let minutes = STUCK.as_mins();
        (pods > 0).then(|| {
            format!("{pods} of its pods found no node within {minutes} min: others may have their room until they do")
        })
    }

    /// Tells the planner what runs that wait ask for whatever was learnt, where their start cannot write another size.
    pub(super) fn least(&mut self, asked: &BTreeMap<WorkloadKey, Asked>, look: &Look<'_>, now: Timestamp) {
        let mut events = Vec::new();
        for (run, live) in self.runs.iter().filter(|(_, live)| matches!(live.told, Told::Due)) {
            if let (Some(asked), Some(seen)) = (asked.get(&live.workload), look.jobs.get(&live.job)) {
                events.push(Event::AtLeast { run: *run, size: (look.least)(asked, seen) });
            }
        }
        for event in events {
            let _known = self.tell(now, event);
        }
    }
}

/// The scheduler has found no node for it for long.
fn found_none(pod: &PodRecord, now: Timestamp) -> bool {
    pod.node.is_none() && pod.unschedulable.is_some() && now.duration_since(pod.created) >= STUCK
}
