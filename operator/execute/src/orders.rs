//! What is different for a run whose turn it is: no incident stands behind it, and it is no repair.
//!
//! Repairs are rare, and one that does not help must not be repeated; runs begin all day. So runs have budgets of their
//! own, which only a loop that went wrong would use up, and neither counts for the other. A storm of faults does not keep
//! a tenant's daily work from beginning. Everything else holds for both: kill switch, level, pauses, freezes, ownership,
//! breaker, dry run, stored intent, fresh read.

use crate::guards::{EvidenceFacts, Purpose, SourceFacts};
use crate::history::ActionHistory;
use homeostat_knowledge::policy::{ControlPolicy, GuardLimits};
use homeostat_knowledge::records::{ControllerKey, PodPhase};
use homeostat_knowledge::{
    ActionRecord, ControllerKind, FindingKind, Origin, Parameters, SignedDuration, Snapshot,
};

/// Orders under way per tenant.
const IN_FLIGHT_TENANT: u32 = 24;
/// Orders under way per workload.
const IN_FLIGHT_WORKLOAD: u32 = 8;
/// Orders per tenant and hour.
const HOUR_TENANT: u32 = 2_000;
/// Orders per workload and hour.
const HOUR_WORKLOAD: u32 = 600;

/// A tenant's limits for orders. No cool-down: a Job is let go once.
pub fn limits(limits: &GuardLimits) -> GuardLimits {
    GuardLimits {
        in_flight_per_workload: IN_FLIGHT_WORKLOAD,
        in_flight_per_tenant: IN_FLIGHT_TENANT,
        per_workload_hour: HOUR_WORKLOAD,
        per_tenant_hour: HOUR_TENANT,
        percent_per_10_minutes: 100,
        cooldown_success: SignedDuration::ZERO,
        cooldown_failure: SignedDuration::ZERO,
        ..limits.clone()
    }
}

/// The cluster's limits for orders.
pub fn control(control: &ControlPolicy) -> ControlPolicy {
    ControlPolicy { in_flight: control.runs_in_flight, per_hour: control.runs_per_hour, ..control.clone() }
}

/// Whether an earlier action counts when this one is judged: of the same sort, or on the same object.
pub(crate) fn counts(entry: &ActionHistory, record: &ActionRecord) -> bool {
    (entry.origin == Origin::Schedule) == (record.origin == Origin::Schedule)
        || entry.target == record.target.uid
}

/// It gives one pod of a run more memory.
pub(crate) fn of_pod(record: &ActionRecord) -> bool {
    record.origin == Origin::Schedule && &*record.target.kind == "Pod"
}

/// The limit of memory that such an action is to set, in bytes.
pub(crate) fn limit_of_pod(record: &ActionRecord) -> Option<u64> {
    match record.parameters {
        Parameters::ResizePod { memory_bytes, memory_limit_bytes, .. } => memory_limit_bytes.or(memory_bytes),
        _ => None,
    }
}

/// Whether the pod of a run has not ended and has less memory than the action gives it.
fn lacks_memory(record: &ActionRecord, snapshot: &Snapshot) -> bool {
    let Parameters::ResizePod { container, .. } = &record.parameters else { return false };
    let pod = snapshot.pods.get(&record.target.key).filter(|pod| pod.uid == record.target.uid);
    pod.is_some_and(|pod| {
        let lives = !pod.deleting && matches!(pod.phase, PodPhase::Pending | PodPhase::Running);
        let found = pod.containers.iter().find(|found| found.name == *container);
        lives && found.is_some_and(|found| found.memory.limit < limit_of_pod(record))
    })
}

/// Whether the object still waits for what is ordered: a Job that was not let go or may be tried again, a `CronJob` that
/// is there, and of which no run waits or is under way where one is to be made, a pod of a run that lacks memory.
pub(crate) fn still_waits(record: &ActionRecord, snapshot: &Snapshot) -> bool {
    if of_pod(record) {
        return lacks_memory(record, snapshot);
    }
    let key = ControllerKey {
        kind: ControllerKind::from_kind(&record.target.kind),
        object: record.target.key.clone(),
    };
    let found = snapshot.controllers.get(&key).filter(|found| found.uid == record.target.uid);
    found.is_some_and(|found| match record.parameters {
        Parameters::StartJob { .. } => {
            found.paused || found.finished == Some(homeostat_knowledge::records::JobEnd::Failed)
        }
        Parameters::CreateJob { .. } => !found.paused && crate::actions::under_way(snapshot, found).is_none(),
        _ => true,
    })
}

/// What an order stands on: the object that waits, as the watch shows it.
pub(crate) fn evidence(record: &ActionRecord, snapshot: &Snapshot, source: SourceFacts) -> EvidenceFacts {
    EvidenceFacts {
        purpose: Purpose::Order,
        kind: Some(FindingKind::JobStuck),
        since: record.evidence.taken_at,
        last_seen: record.evidence.taken_at,
        confidence: Some(1.0),
        active: still_waits(record, snapshot),
        source,
        sources: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{put_controller, run, run_action, runs};
    use homeostat_knowledge::ControllerRecord;

    #[test]
    fn orders_and_repairs_do_not_use_up_each_others_budgets() {
        let parameters = Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: None };
        let mut order = run_action("run-order-1", ControllerKind::Job, parameters);
        order.origin = Origin::Schedule;
        let mut repair = run_action("order-1-1", ControllerKind::Job, Parameters::RetryJob);
        repair.target.uid = homeostat_knowledge::Uid::new("another");
        assert!(!counts(&ActionHistory::of(&repair), &order));
        assert!(!counts(&ActionHistory::of(&order), &repair));
        repair.target.uid = order.target.uid.clone();
        assert!(counts(&ActionHistory::of(&repair), &order), "on the same object they do");
    }

    #[test]
    fn the_cluster_s_limits_of_orders_are_those_of_the_control_plane_whatever_it_says_of_repairs() {
        let said =
            ControlPolicy { runs_in_flight: 2, runs_per_hour: 30, in_flight: 1, ..ControlPolicy::default() };
        let counts = control(&said);
        assert_eq!((counts.in_flight, counts.per_hour), (2, 30));
        let shipped = control(&ControlPolicy::default());
        assert_eq!((shipped.in_flight, shipped.per_hour), (48, 20_000));
    }

    #[test]
    fn a_run_that_came_meanwhile_or_a_suspended_cron_job_is_no_evidence_for_another_run() {
        let slot = crate::testing::at(60);
        let order = run_action("run-order-1", ControllerKind::CronJob, Parameters::CreateJob { slot });
        let mut snapshot = runs(ControllerKind::CronJob, true);
        let active = |snapshot: &Snapshot| evidence(&order, snapshot, SourceFacts::Healthy).active;
        assert!(active(&snapshot));
        let cron = run(ControllerKind::CronJob);
        let mut job = run(ControllerKind::Job);
        job.key.object.name = homeostat_knowledge::Name::from("order-1");
        job.owner = Some(homeostat_knowledge::records::OwnerRecord {
            kind: ControllerKind::CronJob,
            name: cron.key.object.name.clone(),
            uid: cron.uid.clone(),
        });
        put_controller(&mut snapshot, job.clone());
        assert!(!active(&snapshot), "its schedule made one");
        job.finished = Some(homeostat_knowledge::records::JobEnd::Complete);
        put_controller(&mut snapshot, job);
        assert!(active(&snapshot));
        put_controller(&mut snapshot, ControllerRecord { paused: true, ..cron });
        assert!(!active(&snapshot));
    }

    #[test]
    fn a_job_that_runs_or_is_gone_is_no_evidence() {
        let parameters = Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: None };
        let order = run_action("run-order-1", ControllerKind::Job, parameters);
        let mut snapshot = runs(ControllerKind::Job, true);
        let active = |snapshot: &Snapshot| evidence(&order, snapshot, SourceFacts::Healthy).active;
        assert!(!active(&snapshot), "it runs");
        let mut job = run(ControllerKind::Job);
        job.paused = true;
        put_controller(&mut snapshot, job.clone());
        assert!(active(&snapshot));
        job.uid = homeostat_knowledge::Uid::new("another");
        put_controller(&mut snapshot, job);
        assert!(!active(&snapshot), "another Job has its name");
    }
}
