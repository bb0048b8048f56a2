//! A replica that follows sees what the leader sees; when it leads, there is one incident of one fault all the same.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod common;

use homeostat::kernel::{Effect, Kernel};
use homeostat_knowledge::incident::{Cause, Instants, TimelineKind};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, StoredIncident};
use homeostat_knowledge::records::NodeRecord;
use homeostat_knowledge::*;
use std::sync::Arc;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn observed(change: ObjectChange, second: i64) -> Observation {
    common::observed(change, at(second))
}

fn node(name: &str, ready: bool, second: i64) -> Observation {
    let record = NodeRecord { ready, ..NodeRecord::bare(name.into(), Uid::new(name)) };
    observed(ObjectChange::Node(Change::Applied(Arc::new(record))), second)
}

/// A loop whose lists are complete.
fn kernel() -> Kernel {
    let batch = ObjectKind::REQUIRED.map(|kind| observed(ObjectChange::Synced(kind), 0));
    let mut kernel = Kernel::new(Vec::new(), Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    kernel.step(&batch, at(0), false);
    kernel
}

/// The leader's incident about a node.
fn stored(id: &str, node: &str, state: IncidentState) -> Observation {
    let mut incident = Incident {
        state,
        severity: Severity::Critical,
        causes: vec![Cause {
            entity: Entity::Node { name: node.into() },
            kind: FindingKind::NodeNotReady,
            confidence: 0.9,
            evidence: Vec::new(),
        }],
        ..Incident::open(
            IncidentId::new(id),
            Name::from("homeostat-system"),
            EvidenceId::new("e"),
            Instants::new(at(1), at(1)),
        )
    };
    incident.record(at(1), TimelineKind::State, "opened");
    if state.closed() {
        (incident.instants.mitigated, incident.instants.resolved) = (Some(at(2)), Some(at(2)));
        incident.record(at(3), TimelineKind::State, "resolved: stayed inside its objective");
    }
    let stored = StoredIncident { incident, acknowledged_by: None, closed: false };
    observed(ObjectChange::Incident(Change::Applied(Arc::new(stored))), 2)
}

fn open(kernel: &Kernel) -> Vec<String> {
    kernel.snapshot().incidents.keys().map(ToString::to_string).collect()
}

#[test]
fn one_fault_is_one_incident_when_a_follower_becomes_the_leader() {
    let mut kernel = kernel();
    kernel.step(&[node("one", false, 1)], at(1), false);
    assert_eq!(open(&kernel).len(), 1, "it found the fault by itself");
    kernel.step(&[stored("one-bcdfg", "one", IncidentState::Open)], at(2), false);
    assert_eq!(open(&kernel), ["one-bcdfg"]);
    let effects = kernel.step(&[], at(3), true);
    let written: Vec<String> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Write(incident) => Some(incident.id.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(written, ["one-bcdfg"]);
}

#[test]
fn what_the_leader_resolved_is_over_for_a_follower_and_is_not_resolved_again_when_it_leads() {
    let mut kernel = kernel();
    kernel.step(&[node("one", true, 1)], at(1), false);
    kernel.step(&[stored("one-bcdfg", "one", IncidentState::Open)], at(2), false);
    assert_eq!(open(&kernel), ["one-bcdfg"]);
    kernel.step(&[stored("one-bcdfg", "one", IncidentState::Resolved)], at(3), false);
    assert_eq!(open(&kernel), Vec::<String>::new());
    let effects: Vec<_> = (4..700).flat_map(|second| kernel.step(&[], at(second), true)).collect();
    assert!(effects.iter().all(|effect| !matches!(effect, Effect::Write(_))), "{effects:?}");
}

#[test]
fn what_a_follower_found_does_not_pile_up() {
    let mut kernel = kernel();
    for round in 0..5 {
        let begins = 10_000 * round;
        let name = format!("node-{round}");
        kernel.step(&[node(&name, false, begins + 1)], at(begins + 1), false);
        assert_eq!(open(&kernel).len(), 1);
        kernel.step(&[node(&name, true, begins + 20)], at(begins + 20), false);
        kernel.step(&[], at(begins + 30), false);
        assert_eq!(open(&kernel).len(), 1, "it may still have to be told, should this replica lead soon");
        kernel.step(&[], at(begins + 1_000), false);
        assert_eq!(
            open(&kernel),
            Vec::<String>::new(),
            "it is well since long ago, and the leader's to tell"
        );
    }
}

#[test]
fn what_a_lone_replica_found_while_it_could_not_lead_is_written_when_it_leads_again() {
    let mut kernel = kernel();
    kernel.step(&[], at(1), true);
    kernel.step(&[node("one", false, 2)], at(2), false);
    let effects = kernel.step(&[], at(30), true);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Write(_))), "{effects:?}");
}
