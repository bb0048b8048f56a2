//! What is known of the runs of workloads that run to completion: who orders them, what waits, what will be late.

use crate::action::Target;
use crate::entity::Name;
use crate::ids::{IncidentId, Uid};
use crate::policy::ScalingMode;
use crate::records::ControllerRecord;
use crate::snapshot::Snapshot;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Queues of Kueue, by namespace, in name order.
pub type KueueQueues = BTreeMap<Name, Vec<Name>>;

/// What stands in the place of an incident where a run's turn has come or a `CronJob`'s next runs get another size: one for
/// each object, the same after a restart. It begins with [`OCCASION`].
pub fn occasion(target: &Target) -> IncidentId {
    let name: String = target.key.name.chars().take(44).collect();
    let uid: String = target.uid.as_str().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let name = name.trim_end_matches(['-', '.']);
    IncidentId::new(format!("{OCCASION}{name}-{}", uid.to_ascii_lowercase()))
}

/// How every [`occasion`] begins.
pub const OCCASION: &str = "run-";

/// Name of the Job that is made of this `CronJob` because work waits, by the moment of the decision: a name is used once, so
/// one decision makes one Job. Short enough for the label that Kubernetes puts on its pods, and for their index.
pub fn made_name(target: &Target, slot: Timestamp) -> Name {
    let base: String = target.key.name.chars().take(38).collect();
    Name::from(format!("{}-{MADE}-{}", base.trim_end_matches(['-', '.']), slot.as_second()))
}

/// Stands between the name of a `CronJob` and the moment, in names of Jobs that are made because work waits.
pub const MADE: &str = "backlog";

/// Orders the runs of one owner, the newest last: by the moment that each was made for, then what repeats or follows it. The
/// name comes last: people name the Jobs that they make of a `CronJob` as they like.
pub fn age(job: &ControllerRecord) -> (Option<Timestamp>, bool, Option<Timestamp>, &str) {
    let waits = job.run.started.is_none() && job.finished.is_none();
    (job.work.as_ref().and_then(|work| work.slot), waits, job.run.started, &job.key.object.name)
}

/// The Job that each repeat goes back to, by the UID of the repeat: one that failed too may have been repeated itself. Where the
/// Job before is gone, its UID is known all the same.
pub fn first_tries(snapshot: &Snapshot) -> BTreeMap<&Uid, &Uid> {
    let retried = snapshot.controllers.values().filter_map(|job| {
        let before = job.work.as_ref()?.retry_of.as_ref()?;
        Some((&job.uid, before))
    });
    let retried: BTreeMap<&Uid, &Uid> = retried.collect();
    retried.iter().map(|(&uid, &before)| (uid, first_of(&retried, before))).collect()
}

/// Repeats of one run that are followed back.
const MOST_TRIES: usize = 8;

fn first_of<'a>(retried: &BTreeMap<&'a Uid, &'a Uid>, before: &'a Uid) -> &'a Uid {
    let mut first = before;
    // Three tries are made; annotations that people write could lead on for ever.
    for _ in 0..MOST_TRIES {
        let Some(&earlier) = retried.get(first) else { break };
        first = earlier;
    }
    first
}

/// Whether a Job repeats that one, or a repeat of it, as [`first_tries`] tell. Who may make Jobs elsewhere has no say here.
pub fn repeats(firsts: &BTreeMap<&Uid, &Uid>, job: &ControllerRecord, failed: &ControllerRecord) -> bool {
    job.key.object.namespace == failed.key.object.namespace
        && firsts.get(&job.uid).is_some_and(|first| **first == failed.uid)
}

/// The runs of one workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsReport {
    /// What is done with them.
    pub mode: ScalingMode,
    /// Jobs that wait for their turn.
    pub waiting: u32,
    /// Jobs that run.
    pub running: u32,
    /// How they do, in a sentence: what was or would be started with how much, and why.
    pub said: String,
    /// Which run is or will be late by how much, and what would cure it; `None` when every run is in time.
    pub late: Option<String>,
    /// Runs that are or will be late.
    #[serde(default)]
    pub late_runs: u32,
    /// The latest of them, latest first; the others are only counted.
    #[serde(default)]
    pub latest: Vec<LateRun>,
    /// Why its runs are not ordered, when they should be.
    pub problem: Option<String>,
}

impl RunsReport {
    /// By how much its latest run is late: without end where that finds no room now; `None` when every run is in time.
    pub fn late_by(&self) -> Option<SignedDuration> {
        self.late.as_ref()?;
        let latest = self.latest.first();
        Some(latest.map_or(SignedDuration::ZERO, |late| late.by.unwrap_or(SignedDuration::MAX)))
    }
}

/// A run that is or will be late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateRun {
    /// The moment that it was made for, as text.
    pub run: String,
    /// When it must have ended.
    pub due: Timestamp,
    /// By how much it is late; `None`: it finds no room in what there is now.
    pub by: Option<SignedDuration>,
    /// What has to grow by how much and what that costs, or why nothing helps.
    pub help: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_run_from_the_backlog_follows_from_its_cron_job_and_the_moment_and_fits() {
        let mut target = Target {
            api_version: Name::from("batch/v1"),
            kind: Name::from("CronJob"),
            key: crate::entity::ObjectKey::new("a", "plan"),
            uid: Uid::new("u"),
            resource_version: Name::from("1"),
        };
        let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        assert_eq!(&*made_name(&target, at(1_790_000_000)), "plan-backlog-1790000000");
        assert_ne!(made_name(&target, at(1)), made_name(&target, at(2)));
        target.key.name = Name::from(format!("{}-end", "n".repeat(37)));
        assert_eq!(&*made_name(&target, at(7)), format!("{}-backlog-7", "n".repeat(37)));
        assert!(made_name(&target, Timestamp::MAX).len() <= 59, "room for -999");
    }

    #[test]
    fn repeats_that_name_each_other_in_a_ring_are_followed_only_a_few_steps() {
        let uids: Vec<Uid> = (0..100).map(|number| Uid::new(format!("job-{number:03}"))).collect();
        let next = uids.iter().cycle().skip(1);
        let ring: BTreeMap<&Uid, &Uid> = uids.iter().zip(next).collect();
        assert_eq!(first_of(&ring, &uids[0]), &uids[MOST_TRIES]);
        let chain: BTreeMap<&Uid, &Uid> = [(&uids[2], &uids[1]), (&uids[1], &uids[0])].into();
        assert_eq!(first_of(&chain, &uids[2]), &uids[0]);
    }
}
