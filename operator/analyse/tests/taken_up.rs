//! What a new leader does with the incidents that the one before left open.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Correlator, CorrelatorConfig};
use homeostat_knowledge::ids::SeededIds;
use homeostat_knowledge::incident::{Cause, Instants, TimelineKind};
use homeostat_knowledge::observation::{Change, ObjectChange, StoredIncident};
use homeostat_knowledge::policy::{TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ControllerKind, Entity, EvidenceId, Finding, FindingId, FindingKind, Incident, IncidentId, IncidentState,
    Name, ObjectKey, Severity, SignedDuration, Snapshot, TenantName, Timestamp, Uid,
};
use std::sync::Arc;

fn workload(name: &str) -> Entity {
    Entity::Workload { key: ObjectKey::new("shop", name) }
}

fn errors(name: &str, since: Timestamp) -> Finding {
    Finding {
        id: FindingId::new(format!("{name}-errors")),
        entity: workload(name),
        kind: FindingKind::ErrorBurst,
        since,
        detected: since,
        last_seen: since,
        confidence: 0.999,
        evidence: Vec::new(),
        active: true,
    }
}

/// Wrong answers of the kitchen, of which the callers in `affected` suffered.
fn left_open(affected: &[&str], began: Timestamp) -> StoredIncident {
    StoredIncident {
        incident: Incident {
            id: IncidentId::new("kitchen-abcde"),
            namespace: Name::from("shop"),
            tenant: None,
            workload: Some(ObjectKey::new("shop", "kitchen")),
            state: IncidentState::Open,
            severity: Severity::Critical,
            findings: vec![errors("kitchen", began)],
            causes: vec![Cause {
                entity: workload("kitchen"),
                kind: FindingKind::ErrorBurst,
                confidence: 0.9,
                evidence: Vec::new(),
            }],
            affected: affected.iter().map(|name| ObjectKey::new("shop", *name)).collect(),
            instants: Instants {
                impact_start: began,
                detected: began,
                acknowledged: None,
                mitigated: None,
                resolved: None,
            },
            timeline: Vec::new(),
            actions: Vec::new(),
            reopen_count: 0,
            evidence: EvidenceId::new("evidence"),
            handed_over: None,
            acknowledged_by: None,
        },
        acknowledged_by: None,
        closed: false,
    }
}

/// Names of the open incidents after a caller's telemetry came back before anything else is known.
fn incidents_once_order_fails(affected: &[&str]) -> Vec<String> {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let mut correlator = Correlator::new(CorrelatorConfig::default());
    assert!(correlator.adopt(&left_open(affected, now - SignedDuration::from_secs(60)), now));
    let findings = [errors("order", now)];
    correlator.update(&findings, &Calls::default(), &Snapshot::default(), now, &mut SeededIds::new(7));
    correlator.incidents().map(|incident| incident.id.0.to_string()).collect()
}

#[test]
fn a_caller_known_to_suffer_joins_before_the_call_graph_is_known_again() {
    assert_eq!(incidents_once_order_fails(&["order", "gateway"]), ["kitchen-abcde"]);
}

#[test]
fn what_was_found_before_stays_the_cause_until_its_calls_are_seen_again() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let mut correlator = Correlator::new(CorrelatorConfig::default());
    assert!(correlator.adopt(&left_open(&["order"], now - SignedDuration::from_secs(60)), now));
    let (mut snapshot, key) = (Snapshot::default(), ObjectKey::new("shop", "kitchen"));
    let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
    let kitchen = WorkloadPolicy::new(key, Uid::new("w"), target);
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(kitchen))), now);
    let mut step = |findings: &[Finding], after: i64| {
        let now = now + SignedDuration::from_secs(after);
        correlator.update(findings, &Calls::default(), &snapshot, now, &mut SeededIds::new(7));
        let causes = correlator.incidents().map(|incident| incident.causes[0].entity.clone());
        causes.collect::<Vec<_>>()
    };
    assert_eq!(step(&[], 1), [workload("kitchen")], "nothing is seen yet");
    assert_eq!(step(&[errors("order", now)], 2), [workload("kitchen")], "its caller fails");
    assert_eq!(step(&[errors("order", now), errors("kitchen", now)], 3), [workload("kitchen")], "both fail");
}

#[test]
fn a_stranger_gets_an_incident_of_its_own() {
    assert_eq!(incidents_once_order_fails(&["gateway"]).len(), 2);
}

fn shop() -> TenantPolicy {
    TenantPolicy::new(TenantName::new("shop"), Uid::new("uid-shop"), [Name::from("shop")])
}

#[test]
fn an_incident_older_than_its_tenant_becomes_that_tenants() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let mut correlator = Correlator::new(CorrelatorConfig::default());
    assert!(correlator.adopt(&left_open(&[], now - SignedDuration::from_secs(60)), now));
    let findings = [errors("kitchen", now)];
    let mut snapshot = Snapshot::default();
    correlator.update(&findings, &Calls::default(), &snapshot, now, &mut SeededIds::new(7));
    let of = |correlator: &Correlator| correlator.incidents().next().unwrap().tenant.clone();
    assert_eq!(of(&correlator), None, "nobody owns the namespace");
    snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(shop()))), now);
    let changed = correlator.update(&findings, &Calls::default(), &snapshot, now, &mut SeededIds::new(8));
    assert_eq!(of(&correlator), Some(TenantName::new("shop")));
    assert_eq!(changed.len(), 1, "it is written");
}

/// A replica that follows and found the kitchen's errors by itself, a moment before the leader's incident reached it.
fn follower(now: Timestamp) -> Correlator {
    let mut correlator = Correlator::new(CorrelatorConfig::default());
    let findings = [errors("kitchen", now)];
    correlator.update(&findings, &Calls::default(), &Snapshot::default(), now, &mut SeededIds::new(7));
    assert_eq!(correlator.incidents().count(), 1);
    correlator
}

fn names(correlator: &Correlator) -> Vec<String> {
    correlator.incidents().map(|incident| incident.id.0.to_string()).collect()
}

#[test]
fn what_a_follower_found_by_itself_is_the_incident_that_the_leader_stored() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let mut correlator = follower(now);
    let stored = left_open(&[], now);
    correlator.follow(&stored);
    assert!(correlator.adopt(&stored, now));
    assert_eq!(names(&correlator), ["kitchen-abcde"]);
    // What is stored gives way to nothing, and another fault is another incident.
    let mut twin = left_open(&[], now);
    twin.incident.id = IncidentId::new("kitchen-fghij");
    twin.incident.causes[0].entity = workload("cellar");
    correlator.follow(&twin);
    correlator.adopt(&twin, now);
    correlator.follow(&stored);
    assert_eq!(names(&correlator), ["kitchen-abcde", "kitchen-fghij"]);
}

#[test]
fn what_only_a_follower_found_is_forgotten_some_time_after_it_is_well_and_what_is_stored_is_not() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let after = SignedDuration::from_mins(10);
    let mut correlator = follower(now);
    let mut other = left_open(&[], now);
    other.incident.causes[0].entity = workload("cellar");
    correlator.adopt(&other, now);
    let own = names(&correlator).into_iter().find(|id| id != "kitchen-abcde").unwrap();
    correlator.let_go(now + after * 2, after);
    assert_eq!(names(&correlator).len(), 2, "both are still sick");
    for id in [own.as_str(), "kitchen-abcde"] {
        correlator.get_mut(&IncidentId::new(id)).unwrap().instants.mitigated = Some(now);
    }
    correlator.let_go(now + after - SignedDuration::from_secs(1), after);
    assert_eq!(names(&correlator).len(), 2);
    correlator.let_go(now + after, after);
    assert_eq!(names(&correlator), ["kitchen-abcde"]);
}

#[test]
fn a_follower_has_the_history_that_the_leader_stored_and_a_late_copy_of_its_own_changes_nothing() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let later = now + SignedDuration::from_secs(5);
    let id = IncidentId::new("kitchen-abcde");
    let mut correlator = follower(now);
    let mut stored = left_open(&[], now);
    stored.incident.record(now, TimelineKind::State, "opened");
    correlator.follow(&stored);
    correlator.adopt(&stored, now);
    stored.incident.record(later, TimelineKind::Decision, "nobody approved it");
    stored.incident.handed_over = Some("nobody approved it".to_owned());
    stored.incident.state = IncidentState::HandedOver;
    correlator.follow(&stored);
    correlator.adopt(&stored, later);
    assert_eq!(correlator.get(&id).unwrap(), &stored.incident);

    let own = correlator.get_mut(&id).unwrap();
    own.record(later + SignedDuration::from_secs(1), TimelineKind::State, "mitigated");
    own.instants.mitigated = Some(later);
    correlator.follow(&stored);
    assert_eq!(
        correlator.get(&id).unwrap().instants.mitigated,
        Some(later),
        "it is newer than what is stored"
    );
}
