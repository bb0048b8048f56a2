//! What is remembered of each workload's runs, at whichever desk they are ordered: a pause moves them to the other one.

use super::declared::Asked;
use super::seen::Jobs;
use homeostat_knowledge::{Uid, WorkloadKey};
use homeostat_scale::jobs::Job;
use homeostat_scale::jobs::learned::JobHistory;
use std::collections::{BTreeMap, BTreeSet};

/// Memory of all workloads that are asked for. History and ended Jobs are kept and forgotten together: a Job whose end
/// counts as learnt from teaches nothing a second time.
#[derive(Debug, Default)]
pub struct Known {
    workloads: BTreeMap<WorkloadKey, One>,
    /// Jobs whose end was learnt from.
    ended: BTreeSet<Uid>,
}

#[derive(Debug)]
struct One {
    /// Sizes as people wrote them first; templates have been given others since.
    millicores: u64,
    mebibytes: Option<u64>,
    history: JobHistory,
}

impl Known {
    /// Forgets workloads and Jobs that are gone, and takes note of new workloads.
    pub fn keep(&mut self, asked: &BTreeMap<WorkloadKey, Asked>, jobs: &Jobs) {
        self.ended.retain(|uid| jobs.contains(uid));
        self.workloads.retain(|key, _| asked.contains_key(key));
        for (key, one) in asked {
            if !self.workloads.contains_key(key) {
                let (millicores, mebibytes) = (one.job.millicores, one.job.mebibytes);
                let history = JobHistory::default();
                self.workloads.insert(key.clone(), One { millicores, mebibytes, history });
            }
        }
    }

    /// Gives a job the sizes that people wrote first.
    pub fn as_first(&self, workload: &WorkloadKey, job: &mut Job) {
        if let Some(one) = self.workloads.get(workload) {
            (job.millicores, job.mebibytes) = (one.millicores, one.mebibytes);
        }
    }

    /// What was learnt of a workload's runs, as of the last [`Known::note`].
    pub fn history(&self, workload: &WorkloadKey) -> Option<&JobHistory> {
        self.workloads.get(workload).map(|one| &one.history)
    }

    /// Takes note of what a planner has learnt of a workload that is still asked for.
    pub fn note(&mut self, workload: &WorkloadKey, history: &JobHistory) {
        if let Some(one) = self.workloads.get_mut(workload) {
            one.history = history.clone();
        }
    }

    /// Whether a Job's end was learnt from.
    pub fn has_taught(&self, job: &Uid) -> bool {
        self.ended.contains(job)
    }

    /// A Job's end is learnt from now; `false` when it was before.
    pub fn teaches(&mut self, job: &Uid) -> bool {
        self.ended.insert(job.clone())
    }
}
