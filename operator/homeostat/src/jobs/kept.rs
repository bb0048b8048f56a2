//! What runs taught, as a restart and another leader find it again: one text for each workload, in the status of its
//! `Forecast` of signal `runs`, which forecasts how long the next run takes.
//!
//! Pure: texts come in and go out.

use super::declared::Asked;
use super::desk::Desk;
use super::known::Known;
use super::seen::{Jobs, Phase};
use homeostat_crds::v1alpha1::forecast::MAX_MEMORY;
use homeostat_knowledge::forecast::{ForecastPoint, Outlook, Peak, RUNS};
use homeostat_knowledge::{
    ForecastRecord, ForecastSkill, Name, SignedDuration, SizeAdvice, Snapshot, Timestamp, Uid, WorkloadKey,
};
use homeostat_scale::jobs::backlog::Past;
use homeostat_scale::jobs::foretold::{FEW, Foretold};
use homeostat_scale::jobs::learned::{Learnt, Times};
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
/// The object needs one; what is forecast is the next run, whenever that is.
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
        outlook: outlook(kept, desk.times(key), &planned, now),
        size: SizeAdvice::keep(now),
        memory: Some(memory),
    })
}

/// How long the next run takes, in seconds, and how good such forecasts were.
fn outlook(
    kept: &KeptRuns,
    times: Option<(Times, Option<Timestamp>)>,
    planned: &str,
    now: Timestamp,
) -> Outlook {
    let history = &kept.learnt.history;
    let (skill, error, said) = skill(&history.foretold);
    let point = |(times, slot): (Times, Option<Timestamp>)| ForecastPoint {
        at: slot.unwrap_or(now),
        p10: times.p10,
        p50: times.p50,
        p90: times.p90,
    };
    Outlook {
        made: now,
        horizon_seconds: HORIZON_SECONDS,
        // Of all pods together it would be no time that a run took.
        now: history.foretold.last().filter(|_| !kept.by_pod),
        skill,
        model: times.map(|(times, _)| Name::from(times.model())),
        reason: format!("kept of {} tries{planned}; {said}", history.failures.tries),
        error,
        peak: times.map(|(times, _)| Peak { p50: times.p50, p90: times.p90 }),
        points: times.map(point).into_iter().collect(),
        // Each run may change it.
        next_choice: None,
        limit: None,
    }
}

/// Whether run times were foretold better than by the last run of the same kind of day, the error as a share of that one's, and
/// both in words.
fn skill(foretold: &Foretold) -> (ForecastSkill, Option<f64>, String) {
    let Some((error, naive)) = foretold.errors() else {
        let said = format!("{} of {FEW} runs foretold; from there on their error is told", foretold.runs());
        return (ForecastSkill::Unknown, None, said);
    };
    let skill = if error < naive { ForecastSkill::Proven } else { ForecastSkill::Absent };
    let said = format!(
        "run times were foretold with a mean error of {error:.1} s, by the last run of the same kind of day with {naive:.1} s"
    );
    // Where all runs take equally long there is nothing to compare with.
    (skill, (naive > 0.0).then(|| error / naive), said)
}
