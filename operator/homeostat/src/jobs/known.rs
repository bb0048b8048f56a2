//! What is remembered of each workload's runs, at whichever desk they are ordered: a pause moves them to the other one.

use super::declared::Asked;
use super::kept::{KeptRuns, MOST, RunsMemory};
use super::parts::AllWaits;
use super::seen::{Jobs, Phase, Seen};
use homeostat_knowledge::{Timestamp, Uid, WorkloadKey};
use homeostat_scale::jobs::Job;
use homeostat_scale::jobs::backlog::Past;
use homeostat_scale::jobs::learned::Learnt;
use homeostat_scale::jobs::planner::Over;
use std::collections::BTreeMap;

/// Memory of all workloads that are asked for. History and ended Jobs are kept and forgotten together: a Job whose end
/// counts as learnt from teaches nothing a second time.
#[derive(Debug, Default)]
pub struct Known {
    workloads: BTreeMap<WorkloadKey, One>,
    /// Jobs whose end was learnt from, with workload and slot.
    ended: BTreeMap<Uid, (WorkloadKey, Timestamp)>,
    /// What Jobs had to do whose start was seen.
    items: BTreeMap<Uid, Items>,
    /// What earlier processes kept, and what was learnt of workloads whose target is away: until it is seen (again).
    kept: RunsMemory,
    /// Workloads whose target was away, and of which what was learnt found no room.
    pub dropped: u64,
}

/// What one run has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Items {
    /// The most that waited from its start on, which the same moment may have filled; `None`: silent so far.
    Seen(Option<f64>),
    /// Another run of the workload took of them too.
    Shared,
}

#[derive(Debug)]
struct One {
    /// Memory as people wrote it before anything was learnt; templates have been given other memory since.
    mebibytes: Option<u64>,
    /// Sizes and history are of one pod.
    by_pod: bool,
    learnt: Learnt,
    /// Which of its last runs are over, for those that need them.
    over: Over,
    /// What its runs came to that were made because work waited.
    past: Past,
}

impl Known {
    /// Knows what was kept, and nothing else yet.
    pub fn new(kept: RunsMemory) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Whether [`Known::keep`] would put something aside or forget it: what desks know more is to be noted first.
    pub fn misses(&self, asked: &BTreeMap<WorkloadKey, Asked>) -> bool {
        self.workloads.keys().any(|key| !asked.contains_key(key))
    }

    /// Forgets Jobs that are gone and workloads that are not `declared` any more, and takes note of new workloads. What was
    /// learnt of a workload whose target is away for now, as a `CronJob` that is replaced, is put aside.
    pub fn keep(
        &mut self,
        asked: &BTreeMap<WorkloadKey, Asked>,
        declared: impl Fn(&WorkloadKey) -> bool,
        jobs: &Jobs,
    ) {
        let away: Vec<WorkloadKey> =
            self.workloads.keys().filter(|key| !asked.contains_key(*key)).cloned().collect();
        for key in away {
            if let Some(one) = self.workloads.remove(&key).filter(|_| declared(&key)) {
                self.put_aside(key, one);
            }
        }
        self.ended.retain(|uid, _| jobs.contains(uid));
        self.items.retain(|uid, _| jobs.contains(uid));
        // What was learnt of whole runs says nothing of one pod, nor the other way round.
        self.workloads
            .retain(|key, known| asked.get(key).is_some_and(|one| one.job.pods.is_some() == known.by_pod));
        for (key, one) in asked {
            if let Some(known) = self.workloads.get_mut(key) {
                // Nothing was set by what was learnt: it is people's own.
                if known.learnt.is_empty() {
                    known.mebibytes = one.job.mebibytes;
                }
            } else {
                let mebibytes = one.job.mebibytes;
                let by_pod = one.job.pods.is_some();
                let kept = self.kept.remove(key).filter(|kept| kept.by_pod == by_pod);
                let kept = kept.map(|kept| {
                    let ended = jobs.by_uid().filter(|(_, seen)| matches!(seen.phase, Phase::Ended(_)));
                    let taught = ended
                        .filter(|(uid, seen)| seen.workload == *key && kept.has_taught(uid, seen.slot))
                        .map(|(uid, seen)| (uid.clone(), (key.clone(), seen.slot)));
                    self.ended.extend(taught);
                    (kept.learnt, kept.over, kept.past)
                });
                let (learnt, over, past) = kept.unwrap_or_default();
                self.workloads.insert(key.clone(), One { mebibytes, by_pod, learnt, over, past });
            }
        }
    }

    fn put_aside(&mut self, key: WorkloadKey, one: One) {
        if one.learnt.is_empty() && one.past.is_empty() {
            return;
        }
        if self.kept.len() >= MOST {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let taught = self.ended.iter().filter(|(_, (workload, _))| *workload == key);
        let taught = taught.map(|(uid, (_, slot))| (*slot, uid.clone())).collect();
        let kept = KeptRuns::new(one.by_pod, one.learnt, one.over, taught).with_past(one.past);
        self.kept.insert(key, kept);
    }

    /// Gives a job the memory that people wrote before anything was learnt. Its CPU is always theirs.
    pub fn as_first(&self, workload: &WorkloadKey, job: &mut Job) {
        if let Some(one) = self.workloads.get(workload) {
            job.mebibytes = one.mebibytes;
        }
    }

    /// What was learnt of a workload's runs, as of the last [`Known::note`].
    pub fn learnt(&self, workload: &WorkloadKey) -> Option<&Learnt> {
        self.workloads.get(workload).map(|one| &one.learnt)
    }

    /// Which of a workload's last runs are over, as of the last [`Known::note`].
    pub fn over(&self, workload: &WorkloadKey) -> Option<&Over> {
        self.workloads.get(workload).map(|one| &one.over)
    }

    /// Takes note of what a planner has learnt of a workload that is still asked for, and of its runs that are over; `by_pod`
    /// as its job was declared.
    pub fn note(&mut self, workload: &WorkloadKey, by_pod: bool, learnt: Learnt, over: Over) {
        if let Some(one) = self.workloads.get_mut(workload).filter(|one| one.by_pod == by_pod) {
            (one.learnt, one.over) = (learnt, over);
        }
    }

    /// What runs of a workload came to that were made because work waited.
    pub fn past(&self, workload: &WorkloadKey) -> Past {
        self.workloads.get(workload).map_or_else(Past::default, |one| one.past)
    }

    /// Takes note of it.
    pub fn note_past(&mut self, workload: &WorkloadKey, past: Past) {
        if let Some(one) = self.workloads.get_mut(workload) {
            one.past = past;
        }
    }

    /// Takes note of what waits for runs that wait or are under way.
    pub fn watch(&mut self, jobs: &Jobs, waits: &AllWaits) {
        let mut running: BTreeMap<&WorkloadKey, u32> = BTreeMap::new();
        let of_backlogs = || jobs.by_uid().filter(|(_, seen)| waits.contains_key(&seen.workload));
        for (_, seen) in of_backlogs().filter(|(_, seen)| seen.phase == Phase::Running) {
            *running.entry(&seen.workload).or_default() += 1;
        }
        for (uid, seen) in of_backlogs() {
            let now = waits.get(&seen.workload).and_then(|waits| waits.all());
            let alone = running.get(&seen.workload).is_none_or(|count| *count < 2);
            match (seen.phase, self.items.get_mut(uid)) {
                (Phase::Waiting, _) => {
                    self.items.insert(uid.clone(), Items::Seen(now));
                }
                (Phase::Running, Some(known)) if !alone => *known = Items::Shared,
                (Phase::Running, Some(Items::Seen(most))) => {
                    *most = most.iter().copied().chain(now).max_by(f64::total_cmp);
                }
                _ => {}
            }
        }
    }

    /// Items that a run had whose start was seen, if it had them for itself.
    pub fn items(&self, job: &Uid) -> Option<f64> {
        match self.items.get(job)? {
            Items::Seen(most) => *most,
            Items::Shared => None,
        }
    }

    /// Whether a Job's end was learnt from.
    pub fn has_taught(&self, job: &Uid) -> bool {
        self.ended.contains_key(job)
    }

    /// A Job's end is learnt from now; `false` when it was before.
    pub fn teaches(&mut self, job: &Uid, seen: &Seen) -> bool {
        self.ended.insert(job.clone(), (seen.workload.clone(), seen.slot)).is_none()
    }
}
