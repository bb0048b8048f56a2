//! An own invariant that was found broken, or a store of the API server that takes no writes, is an incident for people: one
//! for each fault, also over a restart, and nobody acts on it.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod common;

use homeostat::kernel::{Effect, Kernel};
use homeostat_console::Metrics;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, StoredIncident};
use homeostat_knowledge::*;
use std::sync::Arc;

const FAULT: &str = "S2 broken by action order-1-1 at ";
const BREACH: &str = "S2 broken by action order-1-1 at 2027-01-15T08:00:01Z: sent twice";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn observed(change: ObjectChange, second: i64) -> Observation {
    common::observed(change, at(second))
}

/// A loop with everything that ships, whose lists are not complete yet.
fn kernel(seed: u64) -> Kernel {
    let playbooks = homeostat_playbooks::library::shipped();
    Kernel::new(playbooks, Box::new(SeededIds::new(seed)), Name::from("homeostat-system"))
}

fn lists() -> Vec<Observation> {
    ObjectKind::REQUIRED.map(|kind| observed(ObjectChange::Synced(kind), 0)).to_vec()
}

/// A new process with complete lists, among them this incident, which people closed.
fn kernel_after(closed: &Incident) -> Kernel {
    let mut kernel = kernel(2);
    kernel.step(&[stored(closed, true)], at(20), true);
    kernel.step(&lists(), at(21), true);
    kernel
}

fn stored(incident: &Incident, closed: bool) -> Observation {
    let stored = StoredIncident { incident: incident.clone(), acknowledged_by: None, closed };
    observed(ObjectChange::Incident(Change::Applied(Arc::new(stored))), 2)
}

fn open(kernel: &Kernel) -> Vec<Incident> {
    kernel.snapshot().incidents.values().map(|incident| (**incident).clone()).collect()
}

fn written(effects: &[Effect]) -> usize {
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Execute(..))), "{effects:?}");
    effects.iter().filter(|effect| matches!(effect, Effect::Write(_))).count()
}

/// The incident of [`FAULT`].
fn opened() -> Incident {
    let mut kernel = kernel(1);
    kernel.step(&lists(), at(0), true);
    kernel.halt(FAULT, Name::from(BREACH));
    kernel.step(&[], at(1), true);
    open(&kernel).remove(0)
}

#[test]
fn a_breach_is_one_critical_incident_of_the_platform_that_people_have_and_nobody_acts_on() {
    let mut kernel = kernel(1);
    kernel.step(&lists(), at(0), true);
    kernel.halt(FAULT, Name::from(BREACH));
    assert_eq!(written(&kernel.step(&[], at(1), true)), 1);
    let all = open(&kernel);
    assert_eq!(all.len(), 1, "{all:?}");
    let incident = &all[0];
    assert_eq!((incident.state, incident.severity), (IncidentState::HandedOver, Severity::Critical));
    assert_eq!(&*incident.namespace, "homeostat-system");
    assert_eq!(incident.tenant, Some(TenantName::new("platform")));
    assert!(incident.handed_over.as_deref().unwrap().contains(BREACH), "{incident:?}");
    assert!(incident.summary().contains(BREACH), "people read it in every list");
    let mut later = 0;
    for second in 2..900 {
        kernel.halt(FAULT, Name::from(BREACH));
        later += written(&kernel.step(&[], at(second), true));
    }
    assert_eq!((open(&kernel).len(), later), (1, 0), "told once, and it does not end by itself");
}

#[test]
fn after_a_restart_the_same_fault_is_the_same_incident_and_another_one_is_another() {
    let before = opened();
    for (fault, count) in
        [(FAULT, 1), ("S2 broken by action order-1-10 at ", 2), ("S3 broken by action order-1-1 at ", 2)]
    {
        let mut kernel = kernel(2);
        // Broken before the lists are complete: what is open is not known yet.
        kernel.halt(fault, Name::from(format!("{fault}2027-01-15T09:00:00Z: sent twice")));
        assert_eq!(written(&kernel.step(&[], at(1), true)), 0);
        kernel.step(&[stored(&before, false)], at(2), true);
        kernel.step(&lists(), at(3), true);
        let all = open(&kernel);
        assert_eq!(all.len(), count, "{fault}: {all:?}");
        let same = all.iter().find(|incident| incident.id == before.id).unwrap();
        let again = same.timeline.iter().any(|line| line.text.starts_with("came again"));
        assert_eq!(again, count == 1, "{fault}");
    }
}

#[test]
fn what_a_person_closed_is_not_opened_again_by_the_replica_that_is_still_stopped() {
    let before = opened();
    let mut kernel = kernel(1);
    kernel.step(&lists(), at(0), true);
    kernel.halt(FAULT, Name::from(BREACH));
    kernel.step(&[], at(1), true);
    kernel.step(&[stored(&before, true)], at(2), true);
    for second in 3..20 {
        kernel.halt(FAULT, Name::from(BREACH));
        kernel.step(&[], at(second), true);
    }
    assert_eq!(open(&kernel), Vec::new());
    assert!(kernel.snapshot().halted.is_some(), "it is still stopped");
    // After a restart the fault comes back: that is news again.
    let mut restarted = kernel_after(&before);
    restarted.halt(FAULT, Name::from(BREACH));
    assert_eq!(written(&restarted.step(&[], at(30), true)), 1);
    assert!(open(&restarted).iter().all(|incident| incident.id != before.id));
}

fn shown(kernel: &Kernel) -> String {
    let metrics = Metrics::new("test");
    metrics.snapshot(kernel.snapshot());
    metrics.text()
}

#[test]
fn a_full_store_is_one_critical_incident_that_is_shown_at_once_and_stored_when_that_is_possible_again() {
    let mut kernel = kernel(1);
    kernel.step(&lists(), at(0), true);
    // The lease cannot be renewed: seconds later this replica leads no more, and no other one does.
    for second in 1..900 {
        kernel.store_full(true);
        let leads = second < 8;
        let count = written(&kernel.step(&[], at(second), leads));
        assert_eq!(count, usize::from(second == 1), "nothing that could not be stored, again and again");
    }
    let all = open(&kernel);
    assert_eq!(all.len(), 1, "{all:?}");
    let incident = &all[0];
    assert_eq!((incident.state, incident.severity), (IncidentState::HandedOver, Severity::Critical));
    assert_eq!(&*incident.namespace, "homeostat-system");
    for told in ["database space exceeded", "defragment", "nothing is done"] {
        assert!(incident.summary().contains(told), "{}", incident.summary());
    }
    let page = shown(&kernel);
    assert!(
        page.contains("homeostat_open_incidents{state=\"HandedOver\",severity=\"Critical\"} 1"),
        "{page}"
    );

    // There is room: the lease is written first, and then what happened.
    kernel.store_full(false);
    let effects = kernel.step(&[], at(900), true);
    assert_eq!(written(&effects), 1);
    let over = effects.iter().any(|effect| {
        matches!(effect, Effect::Write(written)
            if written.id == incident.id && written.state == IncidentState::Resolved)
    });
    assert!(over, "{effects:?}");
    assert_eq!(open(&kernel), Vec::new());
}

#[test]
fn the_incident_of_a_full_store_that_is_stored_is_closed_by_the_leader_alone() {
    let mut before = kernel(1);
    before.step(&lists(), at(0), true);
    before.store_full(true);
    before.step(&[], at(1), true);
    let incident = open(&before).remove(0);
    for leads in [false, true] {
        // Another process, which never saw the store full.
        let mut kernel = kernel(2);
        kernel.step(&[stored(&incident, false)], at(20), leads);
        kernel.step(&lists(), at(21), leads);
        kernel.step(&[], at(22), leads);
        assert_eq!(open(&kernel).len(), usize::from(!leads), "who leads says that it is over");
    }
}
