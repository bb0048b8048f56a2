//! What becomes of Jobs and `CronJob`s whose runs end with errors: one incident, named as what it is.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Analyser, Correlator, CorrelatorConfig};
use homeostat_knowledge::ids::SeededIds;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::records::{ControllerKey, JobEnd, Work};
use homeostat_knowledge::{
    ControllerKind, ControllerRecord, Entity, FindingKind, Incident, ObjectKey, Observation, PodRecord,
    Signal, Snapshot, Timestamp, Uid, WorkloadPolicy,
};
use serde_json::{Value, json};
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn controller(kind: &str, name: &str, owner: &Value, finished: &Value, started: &Value) -> ObjectChange {
    applied(record(kind, name, owner, finished, started))
}

fn applied(record: ControllerRecord) -> ObjectChange {
    ObjectChange::Controller(Change::Applied(Arc::new(record)))
}

fn record(kind: &str, name: &str, owner: &Value, finished: &Value, started: &Value) -> ControllerRecord {
    serde_json::from_value(json!({
        "key": {"kind": kind, "object": {"namespace": "water", "name": name}},
        "uid": name, "resource_version": "1", "generation": 1, "observed_generation": 1, "replicas": 1, "current": 1,
        "ready": 0, "updated": 1, "revision": null, "surges": false, "paused": false, "template_labels": {},
        "gitops_owner": null, "work": null, "hold": null, "do_not_touch": null, "owner": owner, "finished": finished,
        "run": {"started": started, "completed": null, "deadline": null},
    }))
    .unwrap()
}

/// A run of the `CronJob` as it stands.
fn run(finished: &Value) -> ObjectChange {
    job("plan-1", finished, &json!(null))
}

/// A Job of the `CronJob`.
fn job(name: &str, finished: &Value, started: &Value) -> ObjectChange {
    controller("Job", name, &json!({"kind": "CronJob", "name": "plan", "uid": "plan"}), finished, started)
}

/// The pod of a try that ended after two seconds.
fn failed_try(name: &str, reason: &str, exit_code: i32) -> ObjectChange {
    let end =
        json!({"reason": reason, "exit_code": exit_code, "started": at(98), "finished": at(100), "used": {}});
    let record: PodRecord = serde_json::from_value(json!({
        "key": {"namespace": "water", "name": name}, "uid": name, "resource_version": "1", "node": "one",
        "ip": null, "phase": "Failed", "owner": {"kind": "Job", "name": "plan-1", "uid": "plan-1"},
        "deleting": false, "ready": false, "unschedulable": null, "created": at(97), "template_hash": null,
        "local_data": false,
        "containers": [{
            "name": "run", "ready": false, "restarts": 0, "last_termination": null, "cpu_request": null,
            "memory": {"request": null, "limit": null}, "state": {"Terminated": end},
        }],
    }))
    .unwrap();
    ObjectChange::Pod(Change::Applied(Arc::new(record)))
}

/// Incidents after these changes of a `CronJob` under control, one second each.
fn incidents(changes: &[ObjectChange]) -> Vec<Incident> {
    let mut all = vec![controller("CronJob", "plan", &json!(null), &json!(null), &json!(null))];
    all.extend_from_slice(changes);
    incidents_of(ControllerKind::CronJob, "plan", &all)
}

/// Incidents of the workload `plan`, whose target this is, after these changes, one second each.
fn incidents_of(kind: ControllerKind, target: &str, changes: &[ObjectChange]) -> Vec<Incident> {
    let target = ControllerKey { kind, object: ObjectKey::new("water", target) };
    let workload = WorkloadPolicy::new(ObjectKey::new("water", "plan"), Uid::new("w"), target);
    let before = [ObjectChange::Workload(Change::Applied(Arc::new(workload)))];
    let (mut snapshot, mut analyser) = (Snapshot::default(), Analyser::new());
    let mut correlator = Correlator::new(CorrelatorConfig::default());
    let mut ids = SeededIds::new(7);
    for (second, change) in before.iter().chain(changes).enumerate() {
        let now = at(100 + i64::try_from(second).unwrap());
        snapshot.commit(change, now);
        let observation = Observation {
            tenant: None,
            entity: Entity::Cluster,
            event_time: now,
            arrival_time: now,
            signal: Signal::Object(change.clone()),
        };
        analyser.ingest(&snapshot, &[observation]);
        let found = analyser.evaluate(&snapshot, now).findings;
        correlator.update(&found, &Calls::default(), &snapshot, now, &mut ids);
    }
    correlator.incidents().cloned().collect()
}

#[test]
fn a_run_whose_tries_end_with_errors_is_one_incident_of_a_failed_run() {
    let tries = [
        run(&json!(null)),
        failed_try("plan-1-a", "Error", 3),
        failed_try("plan-1-b", "Error", 3),
        run(&json!("Failed")),
    ];
    // As soon as a try failed, and to the end, whatever the Job says by then.
    for known in 2..=tries.len() {
        let [incident] = incidents(&tries[..known]).try_into().unwrap();
        let cause = incident.top_cause().unwrap();
        assert_eq!(cause.kind, FindingKind::JobFailed, "{:?}", incident.findings);
        assert_eq!(cause.entity, Entity::Workload { key: ObjectKey::new("water", "plan") });
        let evidence: Vec<String> = cause.evidence.iter().map(ToString::to_string).collect();
        assert!(evidence[0].contains("exit code 3") && evidence[1].contains("plan-1"), "{evidence:?}");
    }
}

#[test]
fn a_run_that_had_too_little_memory_is_told_apart() {
    let [incident] =
        incidents(&[run(&json!(null)), failed_try("plan-1-a", "OOMKilled", 137), run(&json!("Failed"))])
            .try_into()
            .unwrap();
    assert_eq!(incident.top_cause().unwrap().kind, FindingKind::OutOfMemory);
}

#[test]
fn a_failed_run_that_people_made_is_over_once_a_later_one_went_well_whatever_its_name() {
    let failed = job("try-it-by-hand", &json!("Failed"), &json!(at(90)));
    let later = |finished: Value| job("plan-2", &finished, &json!(at(95)));
    let fails = |changes: &[ObjectChange]| {
        let [incident] = incidents(changes).try_into().unwrap();
        incident.findings.iter().any(|finding| finding.active)
    };
    assert!(fails(std::slice::from_ref(&failed)));
    assert!(!fails(&[failed.clone(), later(json!("Complete"))]));
    assert!(!fails(&[failed.clone(), later(json!(null))]), "the next one goes");
    assert!(fails(&[later(json!("Complete")), job("again", &json!("Failed"), &json!(at(99)))]));
}

#[test]
fn the_incident_of_a_failed_run_is_mitigated_once_a_later_one_ended_well_not_while_it_goes() {
    let failed = job("plan-1", &json!("Failed"), &json!(at(90)));
    let later = |finished: Value| job("plan-2", &finished, &json!(at(104)));
    let then = |change: ObjectChange| {
        let mut changes = vec![failed.clone(), failed.clone(), change.clone()];
        // Seconds that pass.
        changes.extend(std::iter::repeat_n(change, 6));
        let [incident] = incidents(&changes).try_into().unwrap();
        incident.instants.mitigated
    };
    assert_eq!(then(failed.clone()), None);
    assert_eq!(then(later(json!(null))), None, "it may fail as well");
    assert_eq!(then(later(json!("Complete"))), Some(at(103)), "since it was found failed for the last time");
}

/// A Job that repeats another one.
fn repeat(name: &str, of: &str, finished: &Value) -> ObjectChange {
    let mut job = record("Job", name, &json!(null), finished, &json!(at(102)));
    job.run.completed = (job.finished == Some(JobEnd::Complete)).then(|| at(103));
    job.work = Some(Box::new(Work { retry_of: Some(Uid::new(of)), ..Work::default() }));
    applied(job)
}

#[test]
fn a_failed_job_is_over_once_a_repeat_of_it_ended_well_and_not_while_that_goes() {
    let failed = || controller("Job", "plan-1", &json!(null), &json!("Failed"), &json!(at(90)));
    // With the pod of a failed try, and without.
    for tries in [vec![failed_try("plan-1-a", "Error", 3)], vec![failed()]] {
        let then = |later: &[ObjectChange]| {
            let mut changes = vec![failed()];
            changes.extend_from_slice(&tries);
            changes.extend_from_slice(later);
            // Seconds that pass.
            changes.extend(std::iter::repeat_n(failed(), 6));
            let [incident] = incidents_of(ControllerKind::Job, "plan-1", &changes).try_into().unwrap();
            let fails = incident.findings.iter().any(|finding| finding.active);
            (fails, incident.instants.mitigated.is_some())
        };
        assert_eq!(then(&[]), (true, false));
        let goes = repeat("plan-1-retry", "plan-1", &json!(null));
        assert!(!then(&[goes]).1, "it may fail as well");
        let again = repeat("plan-1-retry", "plan-1", &json!("Failed"));
        assert_eq!(then(std::slice::from_ref(&again)), (true, false));
        let well = repeat("plan-1-retry", "plan-1", &json!("Complete"));
        assert_eq!(then(&[well]), (false, true));
        let at_last = repeat("plan-1-retry-retry", "plan-1-retry", &json!("Complete"));
        assert_eq!(then(&[again, at_last]), (false, true), "the repeat of a repeat");
        let other = repeat("plan-2-retry", "plan-2", &json!("Complete"));
        assert_eq!(then(&[other]), (true, false), "that was another Job");
    }
}
