//! Runs that are given a number of pods at their start: what the planner is told of it, and what people are.

use super::super::declared::Asked;
use super::super::known::Known;
use super::super::parts::{self, Chosen, Waits};
use super::super::seen::Seen;
use super::{Desk, Look, Told};
use homeostat_knowledge::{LateRun, Timestamp, Uid, WorkloadKey};
use homeostat_scale::jobs::{Event, PlannerError, Run, Size};
use std::collections::BTreeMap;

impl Desk {
    /// Tells the planner with how many pods each run would begin now that has not begun, and one that is announced at its
    /// slot: of that only is known what former runs had.
    pub(super) fn share(
        &mut self,
        asked: &BTreeMap<WorkloadKey, Asked>,
        look: &Look<'_>,
        capacity: Size,
        now: Timestamp,
    ) {
        let Some(planner) = &self.planner else { return };
        let standing = &self.standing;
        let stands = |asked: &Asked| standing.get(&asked.job.tenant).copied().unwrap_or_default();
        let mut events = Vec::new();
        for (run, live) in &mut self.runs {
            if !matches!(live.told, Told::Nothing(_) | Told::Due) {
                continue;
            }
            let (Some(pod), Some(history)) = (planner.pod_of(run.job), planner.history(run.job)) else {
                continue;
            };
            let (Some(asked), Some(seen)) = (asked.get(&live.workload), look.jobs.get(&live.job)) else {
                continue;
            };
            let Some(work) = &seen.record.work else { continue };
            let waits = look.waits.get(&live.workload).copied().unwrap_or_default();
            // As many as have room with what each will ask for.
            let least = (look.least)(asked, seen);
            let pod = Size {
                millicores: pod.millicores.max(least.millicores),
                mebibytes: pod.mebibytes.max(least.mebibytes),
            };
            let (history, standing, slot) = (&history.items, stands(asked), run.slot);
            let chosen = Chosen { asked, work, slot, waits, history, pod, capacity, standing }.parts(now);
            events.push(Event::Pods { run: *run, pods: chosen.pods, seconds: chosen.seconds });
            live.parts = Some(chosen);
        }
        for (key, slot) in self.slots.all() {
            let (Some(asked), Some(job)) = (asked.get(key), self.declared.get(key).copied()) else {
                continue;
            };
            let run = Run { job, slot };
            let (Some(pod), Some(history)) = (planner.pod_of(job), planner.history(job)) else { continue };
            if self.runs.contains_key(&run) {
                continue;
            }
            let (waits, work, history) = (Waits::default(), &asked.work, &history.items);
            let standing = stands(asked);
            let chosen = Chosen { asked, work, slot, waits, history, pod, capacity, standing };
            let chosen = chosen.parts(now.max(slot));
            events.push(Event::Pods { run, pods: chosen.pods, seconds: chosen.seconds });
        }
        for event in events {
            let _known = self.tell(now, event);
        }
    }

    /// Tells the planner how many pods a run has, as its Job says: a person may have set another number.
    pub(super) fn tell_pods(&mut self, run: Run, seen: &Seen, now: Timestamp) -> Result<(), PlannerError> {
        let Some(work) = &seen.record.work else { return Ok(()) };
        self.tell(now, Event::Pods { run, pods: work.at_once(), seconds: None })
    }

    /// What is learnt from beside its end: the pods that it had, and the items.
    pub(super) fn tell_shared(
        &mut self,
        run: Run,
        (uid, seen): (&Uid, &Seen),
        known: &Known,
        now: Timestamp,
    ) -> Result<(), PlannerError> {
        self.tell_pods(run, seen, now)?;
        match known.items(uid) {
            Some(items) => self.tell(now, Event::Items { run, items }),
            None => Ok(()),
        }
    }

    /// What is known of the number of pods of a workload's next run, in words.
    pub fn parts_said(&self, workload: &WorkloadKey) -> Option<&str> {
        let waiting = self.runs.values().filter(|live| matches!(live.told, Told::Due | Told::Nothing(_)));
        let parts = waiting.filter(|live| live.workload == *workload).find_map(|live| live.parts.as_ref())?;
        Some(parts.reason.as_str())
    }

    /// Runs of a workload that are late with as many pods as they can have.
    pub fn late_in_parts(&self, workload: &WorkloadKey) -> Vec<LateRun> {
        let Some(asked) = self.told.get(workload) else { return Vec::new() };
        let own = self.runs.iter().filter(|(_, live)| live.workload == *workload);
        own.filter_map(|(run, live)| parts::late(run.slot, asked, live.parts.as_ref()?)).collect()
    }
}
