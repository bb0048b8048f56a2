//! A release that was rolled back is made again, also after a restart: the old incident goes on, and a person is asked again.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod common;

use common::observed;
use homeostat::kernel::{Effect, Kernel};
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, StoredIncident};
use homeostat_knowledge::policy::{ControlPolicy, KillSwitch};
use homeostat_knowledge::records::ReleaseRecord;
use homeostat_knowledge::*;
use homeostat_situations::{Given, GivenAction, GivenPod, now, order};
use std::sync::Arc;

fn later(seconds: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// The release of `order` that runs now, called `revision` and `earlier` before that, fails at every start; the one before it
/// serves. An hour ago revision 4 was taken back, which helped, and the incident was closed.
fn world(revision: &str, earlier: &[&str]) -> (Vec<ObjectChange>, Incident) {
    let old = |name: &str| GivenPod { name: name.into(), old_release: true, ..GivenPod::default() };
    let mut given = Given {
        pods: vec![
            GivenPod {
                name: "order-n".into(),
                created: 70.0,
                ready: false,
                restarts: 4,
                state: "CrashLoopBackOff".into(),
                last_end: Some(10.0),
                ..GivenPod::default()
            },
            old("order-a"),
            old("order-b"),
        ],
        actions: vec![GivenAction {
            kind: "RollBack".into(),
            state: "Verified".into(),
            sent: Some(3_700.0),
            closed: Some(3_640.0),
            ..GivenAction::default()
        }],
        ..Given::default()
    };
    (given.workload.replicas, given.workload.rolling_out) = (2, true);
    let (snapshot, mut incident) = given.build();
    incident.state = IncidentState::Resolved;
    incident.findings.clear();
    incident.instants.mitigated = Some(later(-3_640));
    incident.instants.resolved = Some(later(-3_600));
    incident.record(
        later(-3_640),
        TimelineKind::Action,
        "RollBack Deployment/order: Verified (the roll back ended)",
    );
    let mut action = (**snapshot.actions.values().next().unwrap()).clone();
    action.before.revision = Some(Name::from("4"));
    incident.actions.push(action.id.clone());

    let control =
        ControlPolicy { kill_switch: KillSwitch::Off, ceiling: Level::ActFull, ..ControlPolicy::default() };
    let mut tenant = (**snapshot.tenant_of_namespace(&order().namespace).unwrap()).clone();
    tenant.levels.insert(ActionKind::RollBack, Level::Approve);
    let stored = StoredIncident { incident: incident.clone(), acknowledged_by: None, closed: false };
    let mut changes = vec![
        ObjectChange::Control(Some(Arc::new(control))),
        ObjectChange::Tenant(Change::Applied(Arc::new(tenant))),
        ObjectChange::Incident(Change::Applied(Arc::new(stored))),
        ObjectChange::Action(Change::Applied(Arc::new(action))),
    ];
    changes.extend(snapshot.nodes.values().cloned().map(|node| ObjectChange::Node(Change::Applied(node))));
    let workloads = snapshot.workloads.values().cloned();
    changes.extend(workloads.map(|workload| ObjectChange::Workload(Change::Applied(workload))));
    for controller in snapshot.controllers.values() {
        let mut record = (**controller).clone();
        let of_order = record.key.object.name.starts_with("order");
        if of_order && record.revision.as_deref() == Some("4") {
            record.revision = Some(Name::from(revision));
            if record.key.kind == ControllerKind::ReplicaSet {
                record.release = Some(Box::new(release(earlier)));
            }
        } else if of_order {
            (record.revision, record.release) = (Some(Name::from("5")), Some(Box::new(release(&["3"]))));
        }
        changes.push(ObjectChange::Controller(Change::Applied(Arc::new(record))));
    }
    changes.extend(snapshot.pods.values().cloned().map(|pod| ObjectChange::Pod(Change::Applied(pod))));
    (changes, incident)
}

fn release(earlier: &[&str]) -> ReleaseRecord {
    let earlier = earlier.iter().map(|number| Name::from(*number)).collect();
    ReleaseRecord { earlier, reads: Vec::new() }
}

/// What a process does that starts in this world and leads for a minute.
fn effects(changes: Vec<ObjectChange>) -> Vec<Effect> {
    let playbooks = homeostat_playbooks::library::shipped();
    let mut kernel = Kernel::new(playbooks, Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    let synced = ObjectKind::REQUIRED.map(ObjectChange::Synced);
    let batch: Vec<_> = changes.into_iter().chain(synced).map(|change| observed(change, now())).collect();
    let mut effects = kernel.step(&batch, now(), true);
    for second in 1..60 {
        effects.extend(kernel.step(&[], later(second), true));
    }
    effects
}

fn written(effects: &[Effect]) -> Vec<&Incident> {
    let writes = effects.iter().filter_map(|effect| match effect {
        Effect::Write(incident) => Some(&**incident),
        _ => None,
    });
    writes.filter(|incident| incident.workload == Some(order())).collect()
}

#[test]
fn the_old_incident_is_open_again_and_the_roll_back_is_asked_for_again() {
    let (changes, before) = world("6", &["4"]);
    let effects = effects(changes);
    let written = written(&effects);
    assert!(written.iter().all(|incident| incident.id == before.id), "{written:#?}");
    let again = written[0];
    assert_eq!((again.state, again.reopen_count), (IncidentState::Open, before.reopen_count + 1));
    assert!(again.timeline.starts_with(&before.timeline), "its history is kept");
    assert_eq!((again.instants.detected, again.instants.resolved), (now(), None));
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Execute(plan, _) => Some(plan),
        _ => None,
    });
    let plan = asked.unwrap();
    assert_eq!(plan.incident, before.id);
    let back = Parameters::RollBack { revision: Name::from("order-rs-old") };
    assert_eq!(plan.steps[0].parameters, back);
}

#[test]
fn another_release_that_fails_has_an_incident_of_its_own() {
    let (changes, before) = world("6", &[]);
    let effects = effects(changes);
    let written = written(&effects);
    assert!(!written.is_empty() && written.iter().all(|incident| incident.id != before.id));
    assert_eq!(written[0].reopen_count, 0);
}
