//! What a new leader does with the incidents that the one before left open.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Correlator, CorrelatorConfig};
use homeostat_knowledge::ids::SeededIds;
use homeostat_knowledge::incident::{Cause, Instants, TimelineKind};
use homeostat_knowledge::observation::{Change, ObjectChange, Span, StoredIncident};
use homeostat_knowledge::policy::{TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    CallOutcome, ControllerKind, Entity, EvidenceId, Finding, FindingId, FindingKind, Incident, IncidentId,
    IncidentState, Name, ObjectKey, Observation, Severity, Signal, SignedDuration, Snapshot, SpanKind,
    TenantName, Timestamp, Uid, WorkloadHealth,
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
            workload: Some(ObjectKey::new("shop", "kitchen")),
            severity: Severity::Critical,
            findings: vec![errors("kitchen", began)],
            causes: vec![Cause {
                entity: workload("kitchen"),
                kind: FindingKind::ErrorBurst,
                confidence: 0.9,
                evidence: Vec::new(),
            }],
            affected: affected.iter().map(|name| ObjectKey::new("shop", *name)).collect(),
            ..Incident::open(
                IncidentId::new("kitchen-abcde"),
                Name::from("shop"),
                EvidenceId::new("evidence"),
                Instants::new(began, began),
            )
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

/// The kitchen under control, ready, with an incident of which nothing but its pods' readiness is seen.
struct TakenUp {
    correlator: Correlator,
    calls: Calls,
    snapshot: Snapshot,
    began: Timestamp,
}

impl TakenUp {
    fn new(kind: FindingKind) -> Self {
        let began = Timestamp::from_second(1_000_000).unwrap();
        let (mut snapshot, key) = (Snapshot::default(), ObjectKey::new("shop", "kitchen"));
        let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
        let kitchen = WorkloadPolicy::new(key.clone(), Uid::new("w"), target);
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(kitchen))), began);
        let health = WorkloadHealth { good_since: Some(began), ..WorkloadHealth::default() };
        snapshot.health.insert_mut(key, health);
        let mut stored = left_open(&["order"], began - SignedDuration::from_secs(60));
        (stored.incident.findings[0].kind, stored.incident.causes[0].kind) = (kind, kind);
        let mut correlator = Correlator::new(CorrelatorConfig::default());
        correlator.follow(&stored);
        assert!(correlator.adopt(&stored, began));
        Self { correlator, calls: Calls::default(), snapshot, began }
    }

    /// One look so many seconds after it was taken up; the state of each incident, and its first cause.
    fn look(&mut self, second: i64, leads: bool, findings: &[Finding]) -> Vec<(IncidentState, Entity)> {
        let now = self.began + SignedDuration::from_secs(second);
        self.correlator.lead(leads, now);
        let mut ids = SeededIds::new(7);
        self.correlator.update(findings, &self.calls, &self.snapshot, now, &mut ids);
        let all = self.correlator.incidents();
        all.map(|incident| (incident.state, incident.causes[0].entity.clone())).collect()
    }

    /// The provider answers the kitchen well, five times in this second.
    fn provider_answers(&mut self, second: i64) {
        let now = self.began + SignedDuration::from_secs(second);
        for number in 0..5 {
            let id = (second * 10 + number).unsigned_abs();
            let caller = Some(ObjectKey::new("shop", "kitchen"));
            let pod = Entity::Pod {
                key: ObjectKey::new("shop", "kitchen-a"),
                uid: Uid::new("p"),
                workload: caller,
            };
            let span = Span {
                trace: id.into(),
                id,
                parent: 0,
                kind: SpanKind::Client,
                start: now,
                end: now,
                operation: "pay".into(),
                outcome: CallOutcome::Ok,
                peer: Some(PROVIDER.into()),
            };
            let signal = Signal::Span(span);
            let seen = Observation { tenant: None, entity: pod, event_time: now, arrival_time: now, signal };
            self.calls.ingest(&self.snapshot, &seen);
        }
    }
}

const PROVIDER: &str = "pay.provider.example";
const OPEN: IncidentState = IncidentState::Open;
const MITIGATED: IncidentState = IncidentState::Mitigated;

#[test]
fn what_was_found_before_stays_the_cause_until_its_calls_are_seen_again() {
    let mut new = TakenUp::new(FindingKind::ErrorBurst);
    let order = || errors("order", new_at(2));
    let kitchen = [(OPEN, workload("kitchen"))];
    assert_eq!(new.look(1, true, &[]), kitchen, "nothing is seen yet");
    assert_eq!(new.look(2, true, &[order()]), kitchen, "its caller fails");
    assert_eq!(new.look(3, true, &[order(), errors("kitchen", new_at(2))]), kitchen, "both fail");
}

fn new_at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

#[test]
fn that_nothing_is_seen_of_what_is_taken_up_does_not_end_it() {
    let mut new = TakenUp::new(FindingKind::ErrorBurst);
    for second in [1, 30, 179] {
        assert_eq!(new.look(second, true, &[])[0].0, OPEN, "after {second} s its callers may not send yet");
    }
    assert_eq!(new.look(182, true, &[])[0].0, MITIGATED, "whoever calls it would have sent");
    let mut quota = TakenUp::new(FindingKind::QuotaFilling);
    quota.look(1, true, &[]);
    assert_eq!(quota.look(600, true, &[])[0].0, OPEN, "its samples are too few");
    let mut crash = TakenUp::new(FindingKind::Crashed);
    crash.look(1, true, &[]);
    assert_eq!(crash.look(4, true, &[])[0].0, MITIGATED, "the pod itself is seen");
}

#[test]
fn what_is_taken_up_ends_as_soon_as_its_cause_is_seen_to_answer() {
    let mut new = TakenUp::new(FindingKind::DependencyDown);
    let incident = new.correlator.get_mut(&IncidentId::new("kitchen-abcde")).unwrap();
    incident.causes[0].entity = Entity::External { address: PROVIDER.into() };
    assert_eq!(new.look(4, true, &[])[0].0, OPEN);
    new.provider_answers(5);
    assert_eq!(new.look(6, true, &[])[0].0, OPEN, "not for long enough");
    new.provider_answers(8);
    assert_eq!(new.look(9, true, &[])[0].0, MITIGATED);
}

#[test]
fn who_follows_ends_nothing_that_it_did_not_see_and_looks_anew_when_it_leads() {
    let mut new = TakenUp::new(FindingKind::ErrorBurst);
    assert_eq!(new.look(1_000, false, &[])[0].0, OPEN, "the callers send to the leader");
    assert_eq!(new.look(1_001, true, &[])[0].0, OPEN);
    assert_eq!(new.look(1_010, true, &[errors("kitchen", new_at(1_009))]), [(OPEN, workload("kitchen"))]);
}

#[test]
fn what_was_handed_over_stays_with_people_when_it_comes_back() {
    let mut new = TakenUp::new(FindingKind::ErrorBurst);
    let id = IncidentId::new("kitchen-abcde");
    new.look(1, true, &[errors("kitchen", new_at(1))]);
    let own = new.correlator.get_mut(&id).unwrap();
    own.handed_over = Some("nothing helped".to_owned());
    own.state = IncidentState::HandedOver;
    new.snapshot.health.get_mut(&ObjectKey::new("shop", "kitchen")).unwrap().good_since = Some(new_at(2));
    assert_eq!(new.look(6, true, &[])[0].0, MITIGATED);
    assert_eq!(new.look(7, true, &[errors("kitchen", new_at(7))])[0].0, IncidentState::HandedOver);
}

#[test]
fn a_fault_is_taken_up_though_people_have_what_was_only_foretold() {
    let filling = Finding { kind: FindingKind::VolumeFilling, ..errors("kitchen", new_at(1)) };
    for (mine, state) in [(None, OPEN), (Some("ana"), IncidentState::HandedOver)] {
        let mut new = TakenUp::new(FindingKind::VolumeFilling);
        new.look(1, true, std::slice::from_ref(&filling));
        let id = IncidentId::new("kitchen-abcde");
        let own = new.correlator.get_mut(&id).unwrap();
        (own.handed_over, own.state) = (Some("grow the claim".to_owned()), IncidentState::HandedOver);
        own.acknowledged_by = mine.map(Name::from);
        assert_eq!(new.look(2, true, std::slice::from_ref(&filling))[0].0, IncidentState::HandedOver);
        let crash = Finding { kind: FindingKind::CrashLoop, ..errors("kitchen", new_at(3)) };
        assert_eq!(new.look(3, true, &[filling.clone(), crash])[0].0, state, "{mine:?}");
        let own = new.correlator.get_mut(&id).unwrap();
        assert_eq!(own.handed_over.is_some(), mine.is_some());
    }
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
