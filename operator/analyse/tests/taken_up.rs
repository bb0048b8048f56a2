//! What a new leader does with the incidents that the one before left open.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Correlator, CorrelatorConfig};
use homeostat_knowledge::ids::SeededIds;
use homeostat_knowledge::incident::{Cause, Instants};
use homeostat_knowledge::observation::{Change, ObjectChange, StoredIncident};
use homeostat_knowledge::policy::{GuardLimits, TenantPolicy};
use homeostat_knowledge::{
    Entity, EvidenceId, Finding, FindingId, FindingKind, Incident, IncidentId, IncidentState, Name,
    ObjectKey, Severity, SignedDuration, Snapshot, TenantName, Timestamp, Uid,
};
use std::collections::{BTreeMap, BTreeSet};
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
fn a_stranger_gets_an_incident_of_its_own() {
    assert_eq!(incidents_once_order_fails(&["gateway"]).len(), 2);
}

fn shop() -> TenantPolicy {
    TenantPolicy {
        name: TenantName::new("shop"),
        uid: Uid::new("uid-shop"),
        generation: 1,
        namespaces: BTreeSet::from([Name::from("shop")]),
        levels: BTreeMap::new(),
        limits: GuardLimits::default(),
        verification: SignedDuration::from_secs(30),
        freezes: Vec::new(),
        approvers: Vec::new(),
        owners: Vec::new(),
        approval_timeout: SignedDuration::from_mins(15),
        caps: BTreeMap::new(),
        levels_restored: None,
        quota: None,
        paused: false,
        do_not_touch_until: None,
    }
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
