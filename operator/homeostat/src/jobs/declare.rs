//! A planner that is told of every workload, and why it does not take some.

use super::declared::Asked;
use super::known::Known;
use homeostat_knowledge::{SignedDuration, WorkloadKey};
use homeostat_scale::jobs::{Fill, JobError, JobId, Planner, Settings, Size};
use std::collections::{BTreeMap, BTreeSet};

/// Deadline from which on known work is looked ahead at.
const LONG: SignedDuration = SignedDuration::from_mins(15);
/// Share of the capacity that no work fills.
const NEVER_FULL: f64 = 1e9;

/// A planner, the workloads that it took, and why it did not take the others.
pub struct Declared {
    /// It knows what was learnt, and nothing yet of any run.
    pub planner: Planner,
    /// Those that it took.
    pub ids: BTreeMap<WorkloadKey, JobId>,
    /// Why it did not take the others.
    pub refused: BTreeMap<WorkloadKey, String>,
    /// Those of them whose runs have no room in the capacity of this moment: a node may have gone.
    pub without_room: BTreeSet<WorkloadKey>,
}

/// Why a planner does not take a workload.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    /// Its Workload contradicts itself.
    #[error("{0}")]
    Problem(String),
    /// It has no room in all that there is now.
    #[error(
        "a run asks for {asks} and the cluster has {capacity} left for runs now; add a node or ask for less, it is tried \
         again when there is more"
    )]
    NoRoom {
        /// What a run asks for.
        asks: Size,
        /// What there is.
        capacity: Size,
    },
    /// The planner says why.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// Declares every workload to a new planner; what others need comes before them. Those with a `running` run are taken
/// however little room is left. The planner may hold the capacity for larger than it is: it is to be told.
pub fn declare(
    told: &BTreeMap<WorkloadKey, Asked>,
    known: &Known,
    capacity: Size,
    running: &BTreeSet<&WorkloadKey>,
) -> Declared {
    // Which of them have room is decided here, by what they ask for now.
    let most = told.values().map(|one| one.job.asks()).fold(capacity, |most, asks| Size {
        millicores: most.millicores.max(asks.millicores),
        mebibytes: most.mebibytes.max(asks.mebibytes),
    });
    let mut planner = Planner::new(settings(told), most);
    let mut ids: BTreeMap<WorkloadKey, JobId> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    let mut without_room = BTreeSet::new();
    let mut left: Vec<&WorkloadKey> = told.keys().collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|key| {
            let one = &told[*key];
            let needed = match &one.needs {
                None => None,
                // Where that waits for room, its own runs are held.
                Some(needs) if refused.contains_key(needs) => None,
                Some(needs) if ids.contains_key(needs) => Some(told[needs].job.name.clone()),
                Some(_) => return true,
            };
            let has_room = one.asks().fits(capacity) || running.contains(*key);
            let lacks = (!has_room).then_some(capacity);
            match take(&mut planner, one, needed, lacks) {
                Ok(id) => {
                    let _known = known.learnt(key).map(|learnt| planner.restore(id, learnt.clone()));
                    if let Some(over) = known.over(key) {
                        planner.recall(id, over);
                    }
                    ids.insert((*key).clone(), id);
                }
                Err(why) => {
                    if let NotTaken::NoRoom { .. } = why {
                        without_room.insert((*key).clone());
                    }
                    refused.insert((*key).clone(), why.to_string());
                }
            }
            false
        });
        if left.len() == before {
            for key in left.drain(..) {
                refused.insert(key.clone(), "what its runs need is not ordered".to_owned());
            }
        }
    }
    Declared { planner, ids, refused, without_room }
}

/// The planner looks ahead in steps of five minutes: where deadlines are hardly longer, a run that could wait is not kept
/// waiting for others.
fn settings(told: &BTreeMap<WorkloadKey, Asked>) -> Settings {
    let standard = Settings::default();
    if told.values().all(|asked| asked.job.due_after >= LONG) {
        return standard;
    }
    Settings { fill: Fill { now: NEVER_FULL, next: NEVER_FULL }, ..standard }
}

/// `lacks`: it has no room in this capacity.
fn take(
    planner: &mut Planner,
    one: &Asked,
    needed: Option<String>,
    lacks: Option<Size>,
) -> Result<JobId, NotTaken> {
    if let Some(problem) = &one.problem {
        return Err(NotTaken::Problem(problem.clone()));
    }
    planner.limit(&one.job.tenant, one.quota)?;
    let asks = one.asks();
    // What its tenant may never have is not tried again.
    if let Some(capacity) = lacks.filter(|_| one.quota.is_none_or(|quota| asks.fits(quota))) {
        return Err(NotTaken::NoRoom { asks, capacity });
    }
    let mut job = one.job.clone();
    job.needs = needed;
    Ok(planner.declare(job, &one.orderer)?)
}
