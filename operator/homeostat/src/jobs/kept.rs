//! What runs taught, as a restart and another leader find it again: one text for each workload, in the status of its
//! `Forecast` of signal `runs`.
//!
//! Pure: texts come in and go out.

use super::declared::Asked;
use super::desk::Desk;
use super::known::Known;
use super::seen::{Jobs, Phase};
use homeostat_crds::v1alpha1::forecast::MAX_MEMORY;
use homeostat_knowledge::forecast::{Outlook, RUNS};
use homeostat_knowledge::{
    ForecastRecord, ForecastSkill, Name, SignedDuration, SizeAdvice, Snapshot, Timestamp, Uid, WorkloadKey,
};
use homeostat_scale::jobs::backlog::Past;
use homeostat_scale::jobs::learned::Learnt;
use homeostat_scale::jobs::planner::Over;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The form in which it is written.
const FORMAT: u32 = 1;
/// Workloads that are kept at most.
pub const MOST: usize = 10_000;
/// Ended Jobs of one workload that are named; of older ones their slot tells.
const MOST_TAUGHT: usize = 40;
/// What is kept is put together so often: a run that ends right before a restart and is not in it teaches after that, as
/// long as its Job is there.
const EVERY: SignedDuration = SignedDuration::from_secs(15);
/// The object needs one; nothing is forecast.
const HORIZON_SECONDS: u32 = 3_600;

/// What is kept of one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptRuns {
    /// Another number is another form, and says nothing to this version.
    format: u32,
    /// Sizes and history are of one pod.
    pub by_pod: bool,
    /// What its runs taught.
    pub learnt: Learnt,
    /// Which of its last runs were given up, and which did their work since: others need them, and their Jobs may be gone.
    #[serde(default, skip_serializing_if = "Over::is_empty")]
    pub over: Over,
    /// What its runs came to that were made because work waited.
    #[serde(default, skip_serializing_if = "Past::is_empty")]
    pub past: Past,
    /// Ended Jobs that are still there and taught: they must not teach twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taught: Vec<Uid>,
    /// So did all of this slot or an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

/// Only what is needed to tell the form.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// By workload.
pub type RunsMemory = BTreeMap<WorkloadKey, KeptRuns>;

/// What is to be kept now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keep {
    /// One for each workload of which something was learnt.
    pub records: Vec<ForecastRecord>,
    /// Workloads that found no room; those are kept first of which a kill for memory is known, then those with the most runs.
    pub dropped: usize,
}

impl KeptRuns {
    /// Of what was learnt and of the Jobs that taught it.
    pub fn new(by_pod: bool, learnt: Learnt, over: Over, mut taught: Vec<(Timestamp, Uid)>) -> Self {
        taught.sort_by(|one, other| other.cmp(one));
        let until = taught.get(MOST_TAUGHT).map(|(slot, _)| *slot);
        let taught = taught.into_iter().take(MOST_TAUGHT).map(|(_, uid)| uid).collect();
        Self { format: FORMAT, by_pod, learnt, over, past: Past::default(), taught, until }
    }

    /// The same with what became of runs that were made because work waited.
    #[must_use]
    pub fn with_past(self, past: Past) -> Self {
        Self { past, ..self }
    }

    /// Whether a Job of this slot that has ended taught something.
    pub fn has_taught(&self, uid: &Uid, slot: Timestamp) -> bool {
        self.taught.contains(uid) || self.until.is_some_and(|until| slot <= until)
    }

    /// As it is written.
    pub fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text.len() <= MAX_MEMORY)
    }

    /// # Errors
    /// Why it is set aside.
    pub fn read(text: &str) -> Result<Self, String> {
        let form: Form =
            serde_json::from_str(text).map_err(|error| format!("it is not readable: {error}"))?;
        if form.format != FORMAT {
            let age = if form.format > FORMAT { "newer" } else { "older" };
            return Err(format!(
                "its form {} is {age} than {FORMAT}, which this version writes",
                form.format
            ));
        }
        let kept: Self =
            serde_json::from_str(text).map_err(|error| format!("it is not readable: {error}"))?;
        if kept.learnt.is_sound() && kept.past.is_sound() && kept.taught.len() <= MOST_TAUGHT {
            Ok(kept)
        } else {
            Err("it holds numbers that cannot have been learnt".to_owned())
        }
    }
}

/// Reads what earlier processes kept, and says why the rest is set aside.
pub fn runs(texts: &BTreeMap<(WorkloadKey, Name), String>) -> (RunsMemory, Vec<(WorkloadKey, String)>) {
    let (mut memory, mut aside) = (RunsMemory::new(), Vec::new());
    for ((workload, _), text) in texts {
        match KeptRuns::read(text) {
            Ok(kept) => {
                memory.insert(workload.clone(), kept);
            }
            Err(why) => aside.push((workload.clone(), why)),
        }
    }
    (memory, aside)
}

/// When what is to be kept was put together last.
#[derive(Debug, Default)]
pub struct Keeper {
    last: Option<Timestamp>,
}

impl Keeper {
    /// Whether it is time again.
    pub fn due(&mut self, now: Timestamp) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= EVERY || now < last);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// What is to be kept of these workloads, whichever desk orders their runs: of so many at most, the most valuable.
pub fn keep(
    known: &Known,
    jobs: &Jobs,
    desks: [(&Desk, &BTreeMap<WorkloadKey, Asked>); 2],
    (snapshot, now): (&Snapshot, Timestamp),
    most: usize,
) -> Keep {
    let mut taught: BTreeMap<&WorkloadKey, Vec<(Timestamp, Uid)>> = BTreeMap::new();
    for (uid, seen) in jobs.by_uid() {
        if matches!(seen.phase, Phase::Ended(_)) && known.has_taught(uid) {
            taught.entry(&seen.workload).or_default().push((seen.slot, uid.clone()));
        }
    }
    let mut all: Vec<(&WorkloadKey, KeptRuns, &Asked, &Desk)> = Vec::new();
    for (desk, asked) in desks {
        for (key, one) in asked {
            let past = known.past(key);
            let new = |learnt: &&Learnt| learnt.is_empty() && past.is_empty();
            let Some(learnt) = known.learnt(key).filter(|learnt| !new(learnt)) else { continue };
            let taught = taught.remove(key).unwrap_or_default();
            let over = known.over(key).cloned().unwrap_or_default();
            let kept = KeptRuns::new(one.job.pods.is_some(), learnt.clone(), over, taught);
            let kept = kept.with_past(past);
            all.push((key, kept, one, desk));
        }
    }
    all.sort_by_key(|(key, kept, _, _)| {
        let history = &kept.learnt.history;
        (history.at_least.is_none(), Reverse(history.failures.tries), *key)
    });
    let wanted = all.len();
    let records: Vec<ForecastRecord> = all
        .into_iter()
        .filter_map(|(key, kept, asked, desk)| record(key, &kept, asked, desk, snapshot, now))
        .take(most)
        .collect();
    Keep { dropped: wanted - records.len(), records }
}

fn record(
    key: &WorkloadKey,
    kept: &KeptRuns,
    asked: &Asked,
    desk: &Desk,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<ForecastRecord> {
    let memory = kept.text()?;
    let policy = snapshot.workloads.get(key)?;
    let planned = desk.expects(key).map_or_else(String::new, |(seconds, size)| {
        format!("; the next one is planned with {seconds:.0} s and {size}")
    });
    Some(ForecastRecord {
        workload: key.clone(),
        workload_uid: policy.uid.clone(),
        tenant: Some(asked.tenant.clone()),
        signal: Name::from(RUNS),
        mode: asked.mode,
        replicas: 0,
        outlook: Outlook {
            made: now,
            horizon_seconds: HORIZON_SECONDS,
            now: None,
            skill: ForecastSkill::Unknown,
            model: None,
            reason: format!("kept of {} tries{planned}", kept.learnt.history.failures.tries),
            error: None,
            peak: None,
            points: Vec::new(),
            next_choice: None,
            limit: None,
        },
        size: SizeAdvice::keep(now),
        memory: Some(memory),
    })
}
