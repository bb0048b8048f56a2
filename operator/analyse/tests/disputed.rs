//! What becomes of a size that somebody else takes back again and again: one incident that names them.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Analyser, Correlator, CorrelatorConfig};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::ids::{EvidenceId, SeededIds};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Before, ControllerKind, Entity, FindingKind, Incident, IncidentId,
    Name, ObjectKey, Origin, Parameters, PlaybookRef, Request, Severity, SignedDuration, Snapshot, Target,
    TenantName, Timestamp, Uid, Verification, WorkloadPolicy,
};
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A size that was set, or refused with these words.
fn size(id: &str, second: i64, refused: Option<&str>) -> ActionRecord {
    ActionRecord {
        id: ActionId::new(id),
        namespace: Name::from("shop"),
        resource_version: Name::from("1"),
        incident: IncidentId::new("shop.order"),
        origin: Origin::Forecast,
        tenant: TenantName::new("shop"),
        workload: ObjectKey::new("shop", "order"),
        playbook: PlaybookRef { name: Name::from("size-by-forecast"), version: 0, step: 0 },
        target: Target {
            api_version: Name::from("apps/v1"),
            kind: Name::from("Deployment"),
            key: ObjectKey::new("shop", "order"),
            uid: Uid::new("order"),
            resource_version: Name::from("1"),
        },
        parameters: Parameters::ScaleUp { replicas: 4 },
        before: Before { replicas: Some(1), ..Before::default() },
        epoch: 1,
        evidence: EvidenceRef { id: EvidenceId::new("e"), taken_at: at(second), summary: String::new() },
        verification: Verification { within: SignedDuration::from_secs(30), expect: Expectation::Nothing },
        undo: Undo::None,
        undo_of: None,
        request: Request::default(),
        state: if refused.is_some() { ActionState::Refused } else { ActionState::Verified },
        guards: Vec::new(),
        instants: ActionInstants { sent: refused.is_none().then(|| at(second)), ..ActionInstants::default() },
        outcome: None,
        approval: None,
        message: refused.unwrap_or_default().to_owned(),
    }
}

/// Incidents at an instant, of a replica that began then and knows what the API server has.
fn incidents(actions: &[ActionRecord], now: Timestamp) -> Vec<Incident> {
    let key = ObjectKey::new("shop", "order");
    let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
    let mut snapshot = Snapshot::default();
    let workload = WorkloadPolicy::new(key.clone(), Uid::new("w"), target);
    snapshot.workloads.insert_mut(key, Arc::new(workload));
    for action in actions {
        snapshot.actions.insert_mut(action.id.clone(), Arc::new(action.clone()));
    }
    let mut correlator = Correlator::new(CorrelatorConfig::default());
    let found = Analyser::new().evaluate(&snapshot, now).findings;
    correlator.update(&found, &Calls::default(), &snapshot, now, &mut SeededIds::new(7));
    correlator.incidents().cloned().collect()
}

#[test]
fn two_changes_that_were_taken_back_are_one_incident_that_names_who_did() {
    let words = "spec.replicas of shop/order was set by shop-operator at 1970-01-01T00:00:01Z; it is left to them for 15 min";
    let mut actions = vec![size("a", 0, None), size("b", 60, Some(words)), size("c", 960, None)];
    assert_eq!(incidents(&actions, at(1_000)).len(), 0, "once is none");
    actions.push(size("d", 1_020, Some(words)));
    let [incident] = incidents(&actions, at(1_030)).try_into().unwrap();
    let cause = incident.top_cause().unwrap();
    assert_eq!(cause.kind, FindingKind::OwnershipConflict);
    assert_eq!(cause.entity, Entity::Workload { key: ObjectKey::new("shop", "order") });
    assert_eq!(incident.severity, Severity::Warning, "nobody is failed");
    assert!(incident.only_tells(), "it makes nothing sick");
    let told = incident.summary();
    assert!(
        told.contains("shop-operator took spec.replicas of Deployment shop/order back 2 times"),
        "{told}"
    );
    assert_eq!(incidents(&actions, at(1_020 + 3_600)).len(), 0, "an hour later it is no news");
}
