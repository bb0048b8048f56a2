//! A release that was rolled back and is made again has its incident again.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Correlator, CorrelatorConfig};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef, Request};
use homeostat_knowledge::ids::SeededIds;
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::observation::{Change, ObjectChange, StoredIncident};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord, ReleaseRecord};
use homeostat_knowledge::*;
use std::sync::Arc;

/// Homeostat with a view of the Deployments of one shop.
struct World {
    correlator: Correlator,
    snapshot: Snapshot,
    ids: SeededIds,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

const HOURS: i64 = 3_600;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

/// The `ReplicaSet` that holds a release of this Deployment.
fn release(deployment: &str, hash: &str, revision: u32, earlier: &[&str]) -> ControllerRecord {
    let name = format!("{deployment}-{hash}");
    let set = ControllerKey { kind: ControllerKind::ReplicaSet, object: key(&name) };
    ControllerRecord {
        revision: Some(Name::from(revision.to_string())),
        release: Some(Box::new(ReleaseRecord {
            earlier: earlier.iter().map(|number| Name::from(*number)).collect(),
            reads: Vec::new(),
        })),
        surges: false,
        owner: Some(OwnerRecord {
            kind: ControllerKind::Deployment,
            name: Name::from(deployment),
            uid: Uid::new(format!("uid-{deployment}")),
        }),
        ..ControllerRecord::bare(set, Uid::new(format!("uid-{name}")))
    }
}

/// Revision 4 of this Deployment was taken back, which helped.
fn roll_back(incident: &IncidentId, deployment: &str, closed: Timestamp) -> ActionRecord {
    ActionRecord {
        id: ActionId::new(format!("{incident}-1")),
        namespace: Name::from("shop"),
        resource_version: Name::from("1"),
        incident: incident.clone(),
        origin: Origin::Incident,
        tenant: TenantName::new("shop"),
        workload: key(deployment),
        playbook: PlaybookRef { name: Name::from("release"), version: 0, step: 1 },
        target: Target {
            api_version: Name::from("apps/v1"),
            kind: Name::from("Deployment"),
            key: key(deployment),
            uid: Uid::new(format!("uid-{deployment}")),
            resource_version: Name::from("1"),
        },
        parameters: Parameters::RollBack { revision: Name::from(format!("{deployment}-good")) },
        before: Before { revision: Some(Name::from("4")), ..Before::default() },
        epoch: 1,
        evidence: EvidenceRef { id: EvidenceId::new("e"), taken_at: closed, summary: String::new() },
        verification: Verification {
            within: SignedDuration::from_secs(60),
            expect: Expectation::ObjectivesMet,
        },
        undo: Undo::None,
        undo_of: None,
        request: Request::default(),
        state: ActionState::Verified,
        guards: Vec::new(),
        instants: ActionInstants { closed: Some(closed), ..ActionInstants::default() },
        outcome: None,
        approval: None,
        message: String::new(),
    }
}

fn stored(incident: &Incident, closed: bool) -> StoredIncident {
    StoredIncident { incident: incident.clone(), acknowledged_by: None, closed }
}

impl World {
    fn new() -> Self {
        Self {
            correlator: Correlator::new(CorrelatorConfig::default()),
            snapshot: Snapshot::default(),
            ids: SeededIds::new(7),
        }
    }

    fn run(&mut self, release: ControllerRecord) {
        let change = ObjectChange::Controller(Change::Applied(Arc::new(release)));
        self.snapshot.commit(&change, at(0));
    }

    /// The pods of this Deployment fail at every start.
    fn fails(&mut self, deployment: &str, now: Timestamp) -> IncidentId {
        let finding = Finding {
            id: FindingId::new(format!("{deployment}-loop")),
            entity: Entity::Workload { key: key(deployment) },
            kind: FindingKind::CrashLoop,
            since: now - SignedDuration::from_secs(2),
            detected: now,
            last_seen: now,
            confidence: 0.999,
            evidence: Vec::new(),
            active: true,
        };
        let changed =
            self.correlator.update(&[finding], &Calls::default(), &self.snapshot, now, &mut self.ids);
        let concerns = |id: &&IncidentId| {
            let incident = self.correlator.get(id).unwrap();
            incident.state == IncidentState::Open && incident.workload == Some(key(deployment))
        };
        changed.iter().find(concerns).unwrap().clone()
    }

    /// The bad release fails, is taken back, and the incident is over. The incident as it is stored then.
    fn taken_back(&mut self, deployment: &str, now: Timestamp) -> Incident {
        self.run(release(deployment, "good", 3, &[]));
        self.run(release(deployment, "bad", 4, &[]));
        let id = self.fails(deployment, now);
        self.run(release(deployment, "good", 5, &["3"]));
        self.correlator.note(&roll_back(&id, deployment, now));
        let incident = self.correlator.get_mut(&id).unwrap();
        let line = format!("RollBack Deployment/{deployment}: Verified (the roll back ended)");
        incident.record(now, TimelineKind::Action, line);
        incident.actions.push(ActionId::new(format!("{id}-1")));
        incident.handed_over = Some("nobody approved it at first".to_owned());
        incident.instants.acknowledged = Some(now);
        assert!(self.correlator.resolve(&id, now));
        let incident = self.correlator.get(&id).unwrap().clone();
        self.correlator.drop_closed();
        assert!(self.correlator.get(&id).is_none(), "it is over");
        incident
    }

    fn learn(&mut self, action: Option<&ActionRecord>) {
        if let Some(action) = action {
            self.correlator.note(action);
        }
    }

    fn released_again(&mut self, deployment: &str) {
        self.run(release(deployment, "bad", 6, &["4"]));
    }
}

#[test]
fn the_same_release_again_is_the_same_incident_with_its_history_and_times_of_its_own() {
    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    world.released_again("order");
    let now = at(24 * HOURS);
    let id = world.fails("order", now);
    assert_eq!(id, before.id);
    let again = world.correlator.get(&id).unwrap();
    assert_eq!((again.state, again.severity), (IncidentState::Open, Severity::Critical));
    assert_eq!((again.reopen_count, &again.actions), (1, &before.actions));
    assert_eq!(again.timeline[..before.timeline.len()], before.timeline);
    let told = again.timeline[before.timeline.len()].text.clone();
    assert!(told.contains("revision 4") && told.contains("was released again"), "{told}");
    assert_eq!(again.handed_over, None, "Homeostat may act again");
    assert_ne!(again.evidence, before.evidence);
    assert_eq!((again.findings.len(), again.findings[0].detected), (1, now));
    let Instants { impact_start, detected, acknowledged, mitigated, resolved } = again.instants;
    assert_eq!((impact_start, detected), (now - SignedDuration::from_secs(2), now));
    assert_eq!((acknowledged, mitigated, resolved), (None, None, None));
    // It goes on, and is not opened once more with each look.
    let changed = world.correlator.update(
        &again.findings.clone(),
        &Calls::default(),
        &world.snapshot,
        now + SignedDuration::from_millis(100),
        &mut world.ids,
    );
    assert!(changed.is_empty());
    assert_eq!(world.correlator.incidents().count(), 1);
}

#[test]
fn it_comes_back_each_time_and_also_before_it_was_closed() {
    let mut world = World::new();
    let id = world.taken_back("order", at(0)).id;
    world.released_again("order");
    world.fails("order", at(HOURS));
    // Taken back once more, by then as revision 6, and released a third time while it is still watched.
    world.run(release("order", "good", 7, &["3", "5"]));
    let second = ActionRecord {
        id: ActionId::new(format!("{id}-2")),
        before: Before { revision: Some(Name::from("6")), ..Before::default() },
        ..roll_back(&id, "order", at(HOURS + 20))
    };
    world.correlator.note(&second);
    let incident = world.correlator.get_mut(&id).unwrap();
    (incident.state, incident.instants.mitigated) = (IncidentState::Mitigated, Some(at(HOURS + 20)));
    world.run(release("order", "bad", 8, &["4", "6"]));
    assert_eq!(world.fails("order", at(HOURS + 60)), id);
    assert_eq!(world.correlator.get(&id).unwrap().reopen_count, 2);
}

#[test]
fn another_release_another_object_and_another_workload_have_incidents_of_their_own() {
    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    let good = world.fails("order", at(HOURS));
    assert_ne!(good, before.id, "the release that it was taken back to");

    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    world.run(release("order", "other", 6, &[]));
    assert_ne!(world.fails("order", at(HOURS)), before.id, "a release that is new");

    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    let mut anew = release("order", "bad", 6, &["4"]);
    anew.owner.as_mut().unwrap().uid = Uid::new("uid-of-another-deployment");
    world.run(anew);
    assert_ne!(world.fails("order", at(HOURS)), before.id, "the Deployment was made anew");

    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    world.released_again("order");
    assert_ne!(world.fails("kitchen", at(HOURS)), before.id, "another workload fails");
}

#[test]
fn after_25_hours_it_is_a_new_incident() {
    for (second, same) in [(25 * HOURS, true), (25 * HOURS + 1, false)] {
        let mut world = World::new();
        let before = world.taken_back("order", at(0));
        world.released_again("order");
        assert_eq!(world.fails("order", at(second)) == before.id, same, "after {second} s");
    }
}

#[test]
fn a_hundred_are_kept_and_the_oldest_go_first() {
    let mut world = World::new();
    let closed: Vec<(String, IncidentId)> = (0..101)
        .map(|number| {
            let name = format!("service-{number}");
            let id = world.taken_back(&name, at(number)).id;
            (name, id)
        })
        .collect();
    for (place, (name, id)) in closed.iter().enumerate() {
        world.released_again(name);
        assert_eq!(world.fails(name, at(HOURS)) == *id, place > 0, "{name}");
    }
}

#[test]
fn after_a_restart_it_is_known_from_what_is_stored_in_any_order() {
    let (closed, action) = {
        let mut world = World::new();
        let closed = world.taken_back("order", at(0));
        let action = roll_back(&closed.id, "order", at(0));
        (closed, action)
    };
    let reopens = |stored: &StoredIncident, action: Option<&ActionRecord>, first: bool, started: i64| {
        let mut world = World { ids: SeededIds::new(8), ..World::new() };
        if first {
            world.learn(action);
        }
        assert!(!world.correlator.adopt(stored, at(started)), "it is closed");
        if !first {
            world.learn(action);
        }
        world.correlator.drop_closed();
        world.run(release("order", "good", 5, &["3"]));
        world.released_again("order");
        world.fails("order", at(started + 60)) == stored.incident.id
    };
    for first in [true, false] {
        assert!(reopens(&stored(&closed, false), Some(&action), first, HOURS));
        assert!(!reopens(&stored(&closed, false), None, first, HOURS), "nothing was taken back");
        let failed = ActionRecord { state: ActionState::Failed, ..action.clone() };
        assert!(!reopens(&stored(&closed, false), Some(&failed), first, HOURS), "it did not help");
        assert!(!reopens(&stored(&closed, true), Some(&action), first, HOURS), "a person closed it");
        assert!(!reopens(&stored(&closed, false), Some(&action), first, 26 * HOURS), "it is too old");
    }
}

#[test]
fn what_a_person_closes_or_deletes_stays_closed() {
    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    world.correlator.adopt(&stored(&before, true), at(60));
    world.released_again("order");
    assert_ne!(world.fails("order", at(HOURS)), before.id);

    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    world.correlator.forget(&before.key());
    world.released_again("order");
    assert_ne!(world.fails("order", at(HOURS)), before.id);

    // Closed by a person while it was open; that the roll back helped is read again later.
    let mut world = World::new();
    world.run(release("order", "bad", 4, &[]));
    let id = world.fails("order", at(0));
    world.correlator.note(&roll_back(&id, "order", at(1)));
    let open = world.correlator.get(&id).unwrap().clone();
    assert!(world.correlator.adopt(&stored(&open, true), at(2)));
    world.correlator.drop_closed();
    world.correlator.note(&roll_back(&id, "order", at(1)));
    world.released_again("order");
    assert_ne!(world.fails("order", at(HOURS)), id);
}

#[test]
fn a_late_copy_opens_nothing_and_what_another_leader_opened_again_is_taken_up() {
    let mut world = World::new();
    let before = world.taken_back("order", at(0));
    let mut late = before.clone();
    late.timeline.pop();
    (late.state, late.instants.resolved) = (IncidentState::Mitigated, None);
    assert!(!world.correlator.adopt(&stored(&late, false), at(1)), "it is from before it was closed");
    let mut theirs = late;
    theirs.record(at(HOURS), TimelineKind::State, "reopened: revision 4 was released again");
    (theirs.state, theirs.reopen_count) = (IncidentState::Open, 1);
    theirs.instants.mitigated = None;
    assert!(world.correlator.adopt(&stored(&theirs, false), at(HOURS + 1)));
    assert_eq!(world.correlator.get(&before.id).unwrap().reopen_count, 1);
    world.released_again("order");
    assert_eq!(world.fails("order", at(HOURS + 2)), before.id);
    assert_eq!(world.correlator.get(&before.id).unwrap().reopen_count, 1, "once");
}

#[test]
fn a_stateful_set_has_the_same_revision_by_name() {
    let mut world = World::new();
    let id = world.fails("db", at(0));
    let mut action = roll_back(&id, "db", at(10));
    action.target.kind = Name::from("StatefulSet");
    action.before.revision = Some(Name::from("db-bad"));
    world.correlator.note(&action);
    world.correlator.resolve(&id, at(10));
    world.correlator.drop_closed();
    let mut set = release("db", "", 1, &[]);
    set.key = ControllerKey { kind: ControllerKind::StatefulSet, object: key("db") };
    (set.uid, set.owner, set.revision) = (Uid::new("uid-db"), None, Some(Name::from("db-bad")));
    world.run(set);
    assert_eq!(world.fails("db", at(HOURS)), id);
}
