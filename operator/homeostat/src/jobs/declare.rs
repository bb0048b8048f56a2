//! A planner that is told of every workload, and why it does not take some.

use super::declared::Asked;
use super::known::Known;
use super::largest::Largest;
use homeostat_knowledge::{SignedDuration, WorkloadKey};
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::{Fill, JobId, Planner, Settings, Size};
use std::collections::BTreeMap;

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
    /// What runs of those ask for that have no room in the capacity of this moment: a node may have gone.
    pub lacking: Vec<Size>,
}

/// Declares every workload to a new planner; what others need comes before them. `largest` are the nodes that its pods may
/// find.
pub fn declare(
    told: &BTreeMap<WorkloadKey, Asked>,
    known: &Known,
    capacity: Size,
    largest: &Largest,
) -> Declared {
    let mut planner = Planner::new(settings(told), capacity);
    let mut ids: BTreeMap<WorkloadKey, JobId> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    let mut lacking = Vec::new();
    let mut left: Vec<&WorkloadKey> = told.keys().collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|key| {
            let one = &told[*key];
            let needed = match &one.needs {
                None => None,
                Some(needs) if refused.contains_key(needs) => None,
                Some(needs) if ids.contains_key(needs) => Some(told[needs].job.name.clone()),
                Some(_) => return true,
            };
            match take(&mut planner, one, needed, (capacity, largest)) {
                Ok(id) => {
                    let _known = known.learnt(key).map(|learnt| planner.restore(id, learnt.clone()));
                    if let Some(over) = known.over(key) {
                        planner.recall(id, over);
                    }
                    ids.insert((*key).clone(), id);
                }
                Err(why) => {
                    lacking.extend(Some(one.job.asks()).filter(|asks| !asks.fits(capacity)));
                    refused.insert((*key).clone(), why);
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
    Declared { planner, ids, refused, lacking }
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

fn take(
    planner: &mut Planner,
    one: &Asked,
    needed: Option<String>,
    (capacity, largest): (Size, &Largest),
) -> Result<JobId, String> {
    if let Some(problem) = &one.problem {
        return Err(problem.clone());
    }
    planner.limit(&one.job.tenant, one.quota).map_err(|error| error.to_string())?;
    let mut job = one.job.clone();
    job.needs = needed;
    let asks = job.asks();
    let allowed = one.quota.is_none_or(|quota| asks.fits(quota));
    // Its pods would wait for a node for ever, with its room. What Kueue orders it also counts.
    let ours = allowed && matches!(one.orderer, Orderer::Homeostat { .. });
    if let Some(lacks) = largest.lacks(one.pod()).filter(|_| ours) {
        return Err(lacks);
    }
    if !asks.fits(capacity) && allowed {
        return Err(format!(
            "a run asks for {asks} and the cluster has {capacity} left for runs now; add a node or ask for less, it is \
             tried again when there is more"
        ));
    }
    planner.declare(job, &one.orderer).map_err(|error| error.to_string())
}
