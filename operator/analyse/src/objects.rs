//! Findings that nodes and Jobs show by themselves: what the kubelet and the Job controller say. Those that the past of a
//! workload foretells; and those that our own actions show, where others take them back.

use homeostat_knowledge::fight;
use homeostat_knowledge::records::JobEnd;
use homeostat_knowledge::runs::{age, first_tries, repeats};
use homeostat_knowledge::{
    ControllerKind, ControllerRecord, Entity, Evidence, FindingKind, Name, SignedDuration, Snapshot,
    Timestamp, Uid, WorkloadKey,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kubernetes ends a run at its own deadline; later than this it did not.
const DEADLINE_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// Runs that ended well from which on it is known how long one usually takes.
const LEAST_RUNS: usize = 2;
/// Times the longest of them, and so much more, before a run is stuck.
const TIMES_LONGEST: i32 = 3;
const LEAST_EXCESS: SignedDuration = SignedDuration::from_mins(10);

/// Something wrong with an object: what, since when if it tells, and the line of evidence.
pub type Found = (Entity, FindingKind, Option<Timestamp>, Evidence);

/// What is wrong with nodes and Jobs now, what is expected of workloads and what is disputed, with the line of evidence for each.
pub fn findings(snapshot: &Snapshot, now: Timestamp) -> Vec<Found> {
    let mut found = Vec::new();
    for node in snapshot.nodes.values() {
        let entity = Entity::Node { name: node.name.clone() };
        if !node.ready {
            found.push((entity, FindingKind::NodeNotReady, None, Evidence::new("node", "not ready")));
        } else if !node.pressures.is_empty() {
            let evidence = Evidence::new("node", node.pressures.join(", "));
            found.push((entity, FindingKind::NodePressure, None, evidence));
        }
    }
    jobs(snapshot, now, &mut found);
    expected(snapshot, now, &mut found);
    disputed(snapshot, now, &mut found);
    found
}

/// Workloads whose fault is expected back; see [`Snapshot::ahead`].
fn expected(snapshot: &Snapshot, now: Timestamp, found: &mut Vec<Found>) {
    for ((key, kind), ahead) in &snapshot.ahead {
        if *kind == FindingKind::FaultExpected && snapshot.workloads.contains_key(key) && ahead.counts(now) {
            let evidence = Evidence::new("comes back", ahead.what.clone());
            found.push((Entity::Workload { key: key.clone() }, *kind, Some(ahead.since), evidence));
        }
    }
}

/// Workloads of which others take back what was set; see [`fight`].
fn disputed(snapshot: &Snapshot, now: Timestamp, found: &mut Vec<Found>) {
    for fight in fight::fights(snapshot, now) {
        let evidence = Evidence::new("taken back", fight.to_string());
        found.push((fight.entity(), FindingKind::OwnershipConflict, Some(fight.since), evidence));
    }
}

/// Workloads whose newest run failed or does not end. A later run that began or ended well ends the finding: of a Job, the
/// repeats of it.
fn jobs(snapshot: &Snapshot, now: Timestamp, found: &mut Vec<Found>) {
    let runs = |kind| matches!(kind, ControllerKind::Job | ControllerKind::CronJob);
    let mut workloads = snapshot.workloads.values().filter(|workload| runs(workload.target.kind)).peekable();
    if workloads.peek().is_none() {
        return;
    }
    let firsts = first_tries(snapshot);
    let mut newest: BTreeMap<(&Name, &Uid), &Arc<ControllerRecord>> = BTreeMap::new();
    let mut took: BTreeMap<&Uid, Vec<SignedDuration>> = BTreeMap::new();
    let jobs = snapshot.controllers.values().filter(|record| record.key.kind == ControllerKind::Job);
    for job in jobs {
        let owner = job.owner.as_ref().map(|owner| &owner.uid);
        for of in owner.into_iter().chain(firsts.get(&job.uid).copied()) {
            let known = newest.entry((&job.key.object.namespace, of)).or_insert(job);
            if age(known) < age(job) {
                *known = job;
            }
        }
        if let Some((owner, (started, completed))) = owner.zip(job.run.started.zip(job.run.completed)) {
            took.entry(owner).or_default().push(completed.duration_since(started));
        }
    }
    for workload in workloads {
        let Some(target) = snapshot.controllers.get(&workload.target) else { continue };
        let run = newest.get(&(&target.key.object.namespace, &target.uid)).copied().unwrap_or(target);
        if run.finished == Some(JobEnd::Failed) {
            let evidence = Evidence::new("newest run", format!("{} failed", run.key.object.name));
            found.push((
                Entity::Workload { key: workload.key.clone() },
                FindingKind::JobFailed,
                None,
                evidence,
            ));
        } else if run.key.kind == ControllerKind::Job
            && let Some((since, evidence)) =
                stuck(run, took.get(&target.uid).map_or(&[][..], Vec::as_slice), now)
        {
            let entity = Entity::Workload { key: workload.key.clone() };
            found.push((entity, FindingKind::JobStuck, Some(since), evidence));
        }
    }
}

/// Whether no run is under way, of a workload whose target is a Job or `CronJob`; `None` for others. Nobody calls it and it has
/// no pods that stay: that nothing is found any more once its runs have ended is all that tells that it is well.
pub fn runs_ended(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<bool> {
    let target = &snapshot.workloads.get(workload)?.target;
    let goes = |job: &ControllerRecord| job.run.started.is_some() && job.finished.is_none();
    let record = snapshot.controllers.get(target);
    match target.kind {
        ControllerKind::Job => {
            let firsts = first_tries(snapshot);
            let again = |job: &ControllerRecord| record.is_some_and(|first| repeats(&firsts, job, first));
            // A repeat may wait for its turn or its queue: it is not over for that.
            let repeated = snapshot.controllers.values().any(|job| again(job) && job.finished.is_none());
            Some(!repeated && !record.is_some_and(|job| goes(job)))
        }
        ControllerKind::CronJob => {
            let of_it = |job: &ControllerRecord| {
                job.key.kind == ControllerKind::Job
                    && job.owner.as_ref().zip(record).is_some_and(|(owner, record)| owner.uid == record.uid)
            };
            Some(!snapshot.controllers.values().any(|job| of_it(job) && goes(job)))
        }
        _ => None,
    }
}

/// Since when a run should have ended: by its own deadline, else by what runs before it took.
fn stuck(run: &ControllerRecord, took: &[SignedDuration], now: Timestamp) -> Option<(Timestamp, Evidence)> {
    let started = run.run.started.filter(|_| run.finished.is_none() && !run.paused)?;
    let longest = took.iter().max().copied().filter(|_| took.len() >= LEAST_RUNS);
    let (allowed, usual) = match (run.run.deadline, longest) {
        (Some(deadline), _) => (deadline + DEADLINE_GRACE, format!("deadline {}", minutes(deadline))),
        (None, Some(longest)) => {
            let allowed = longest.saturating_mul(TIMES_LONGEST).max(longest + LEAST_EXCESS);
            (allowed, format!("up to {} in the last {} runs", minutes(longest), took.len()))
        }
        (None, None) => return None,
    };
    let since = started.checked_add(allowed).ok().filter(|since| *since <= now)?;
    let lasts = minutes(now.duration_since(started));
    Some((
        since,
        Evidence::new("newest run", format!("{} lasts for {lasts}", run.key.object.name)).usual(usual),
    ))
}

fn minutes(duration: SignedDuration) -> String {
    format!("{:.0} min", duration.as_secs_f64() / 60.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::records::{ControllerKey, NodeRecord, RunTimes};
    use homeostat_knowledge::{Timestamp, Uid};

    #[test]
    fn a_node_under_pressure_is_told_apart_from_one_that_is_gone() {
        let mut snapshot = Snapshot::default();
        let mut node = NodeRecord {
            pressures: vec!["DiskPressure".into()],
            ..NodeRecord::bare("node-1".into(), Uid::new("uid"))
        };
        let kinds = |snapshot: &Snapshot| -> Vec<FindingKind> {
            findings(snapshot, Timestamp::UNIX_EPOCH).into_iter().map(|(_, kind, _, _)| kind).collect()
        };
        let put = |snapshot: &mut Snapshot, node: &NodeRecord| {
            let change = ObjectChange::Node(Change::Applied(Arc::new(node.clone())));
            snapshot.commit(&change, Timestamp::UNIX_EPOCH);
        };
        put(&mut snapshot, &node);
        assert_eq!(kinds(&snapshot), [FindingKind::NodePressure]);
        node.ready = false;
        put(&mut snapshot, &node);
        assert_eq!(kinds(&snapshot), [FindingKind::NodeNotReady]);
        node.ready = true;
        node.pressures.clear();
        put(&mut snapshot, &node);
        assert_eq!(kinds(&snapshot), []);
    }

    #[test]
    fn a_run_is_stuck_by_its_deadline_or_by_what_its_runs_usually_take() {
        let minute = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let job = |name: &str, started: i64, completed: Option<i64>, deadline: Option<i64>| {
            let object = homeostat_knowledge::ObjectKey::new("shop", name);
            let key = ControllerKey { kind: ControllerKind::Job, object };
            ControllerRecord {
                surges: false,
                finished: completed.map(|_| JobEnd::Complete),
                run: RunTimes {
                    started: Some(minute(started)),
                    completed: completed.map(minute),
                    deadline: deadline.map(SignedDuration::from_mins),
                },
                ..ControllerRecord::bare(key, Uid::new(name))
            }
        };
        let since = |run: &ControllerRecord, took: &[i64], now: i64| {
            let took: Vec<_> = took.iter().map(|minutes| SignedDuration::from_mins(*minutes)).collect();
            stuck(run, &took, minute(now)).map(|(since, _)| since)
        };
        let running = job("run", 100, None, None);
        assert_eq!(since(&running, &[5, 4], 114), None);
        assert_eq!(since(&running, &[5, 4], 116), Some(minute(115)), "three times the longest");
        assert_eq!(since(&running, &[5], 1_000), None, "one run does not say what is usual");
        assert_eq!(since(&running, &[], 1_000), None);
        let bounded = job("run", 100, None, Some(10));
        assert_eq!(since(&bounded, &[], 110), None, "Kubernetes gets a moment to end it");
        assert_eq!(since(&bounded, &[500, 500], 111), Some(minute(111)));
        assert_eq!(since(&job("run", 100, Some(101), Some(10)), &[], 900), None);
        let paused = ControllerRecord { paused: true, ..job("run", 100, None, Some(10)) };
        assert_eq!(since(&paused, &[], 900), None, "it is suspended");
    }
}
