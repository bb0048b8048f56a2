//! What becomes of incidents that last: what calls do not show, many pods in turn, and callers of whom only some suffer.

#![allow(clippy::unwrap_used, reason = "tests")]

use homeostat_analyse::calls::Calls;
use homeostat_analyse::{Correlator, CorrelatorConfig};
use homeostat_knowledge::ids::SeededIds;
use homeostat_knowledge::observation::Span;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    CallOutcome, ControllerKind, Entity, Finding, FindingId, FindingKind, Incident, IncidentState, ObjectKey,
    Observation, Signal, SignedDuration, Snapshot, SpanKind, Timestamp, Uid, WorkloadHealth, WorkloadPolicy,
};
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn kitchen() -> ObjectKey {
    ObjectKey::new("shop", "kitchen")
}

/// A pod of the workload of that name.
fn pod(workload: &ObjectKey, number: usize) -> Entity {
    let name = format!("{}-{number}", workload.name);
    Entity::Pod {
        key: ObjectKey::new(workload.namespace.clone(), name.as_str()),
        uid: Uid::new(format!("uid-{name}")),
        workload: Some(workload.clone()),
    }
}

fn found(entity: Entity, kind: FindingKind, since: i64, second: i64) -> Finding {
    Finding {
        id: FindingId::new(format!("{}-{kind}", entity.name())),
        entity,
        kind,
        since: at(since),
        detected: at(since),
        last_seen: at(second),
        confidence: 0.999,
        evidence: Vec::new(),
        active: true,
    }
}

/// The kitchen, whose calls go well since this second.
struct World {
    correlator: Correlator,
    calls: Calls,
    snapshot: Snapshot,
    ids: SeededIds,
}

impl World {
    fn new(good_since: i64) -> Self {
        let mut snapshot = Snapshot::default();
        let target = ControllerKey { kind: ControllerKind::Deployment, object: kitchen() };
        let policy = WorkloadPolicy::new(kitchen(), Uid::new("w"), target);
        snapshot.workloads.insert_mut(kitchen(), Arc::new(policy));
        let good_since = Some(at(good_since));
        let health = WorkloadHealth { last_good: good_since, good_since, ..WorkloadHealth::default() };
        snapshot.health.insert_mut(kitchen(), health);
        Self {
            correlator: Correlator::new(CorrelatorConfig::default()),
            calls: Calls::default(),
            snapshot,
            ids: SeededIds::new(7),
        }
    }

    fn look(&mut self, second: i64, findings: &[Finding]) {
        self.correlator.update(findings, &self.calls, &self.snapshot, at(second), &mut self.ids);
    }

    fn only(&self) -> &Incident {
        assert_eq!(self.correlator.incidents().count(), 1);
        self.correlator.incidents().next().unwrap()
    }

    /// `api` in this namespace calls the provider.
    fn call(&mut self, namespace: &str, millisecond: i64, outcome: CallOutcome) {
        let end = at(0) + SignedDuration::from_millis(millisecond);
        let id = millisecond.unsigned_abs() + 1;
        let span = Span {
            trace: id.into(),
            id,
            parent: 0,
            kind: SpanKind::Client,
            start: end - SignedDuration::from_millis(1),
            end,
            operation: "get".into(),
            outcome,
            peer: Some(PROVIDER.into()),
        };
        let entity = pod(&ObjectKey::new(namespace, "api"), 0);
        let signal = Signal::Span(span);
        let seen = Observation { tenant: None, entity, event_time: end, arrival_time: end, signal };
        self.calls.ingest(&self.snapshot, &seen);
    }
}

const PROVIDER: &str = "cache.provider.example";

#[test]
fn what_calls_do_not_show_is_over_once_it_is_not_found_any_more_and_comes_back_as_the_same_incident() {
    for kind in [FindingKind::SignalAbnormal, FindingKind::MemoryGrowing, FindingKind::Slow] {
        let mut world = World::new(-3_600);
        let abnormal = |second: i64| [found(Entity::Workload { key: kitchen() }, kind, 0, second)];
        for second in 0..=900 {
            world.look(second, &abnormal(second));
        }
        world.look(901, &[]);
        assert_eq!(world.only().instants.mitigated, None, "{kind}: it was there a second ago");
        world.look(902, &[]);
        assert_eq!(world.only().state, IncidentState::Mitigated, "{kind}");
        let after = world.only().instants.mitigated.unwrap().duration_since(at(0));
        assert_eq!(after, SignedDuration::from_millis(898_500), "{kind}");
        world.look(905, &abnormal(905));
        let again = world.only();
        assert_eq!((again.state, again.reopen_count), (IncidentState::Open, 1), "{kind}");
    }
}

#[test]
fn what_calls_show_is_over_with_the_first_good_one() {
    for (kind, last_found) in [(FindingKind::Crashed, 6), (FindingKind::Unreachable, 8)] {
        let mut world = World::new(5);
        for second in 0..=last_found {
            world.look(second, &[found(pod(&kitchen(), 0), kind, 0, second)]);
        }
        world.look(last_found + 1, &[]);
        world.look(last_found + 2, &[]);
        assert_eq!(world.only().instants.mitigated, Some(at(5)), "{kind}");
    }
}

#[test]
fn an_incident_of_ever_new_pods_knows_the_newest_ones() {
    let mut world = World::new(-3_600);
    let loops = |number: i64| {
        let name = usize::try_from(number).unwrap();
        found(pod(&kitchen(), name), FindingKind::CrashLoop, number, number)
    };
    for number in 0..60 {
        world.look(number, &[loops(number)]);
    }
    let known = &world.only().findings;
    let active: Vec<&str> =
        known.iter().filter(|finding| finding.active).map(|finding| finding.entity.name()).collect();
    assert_eq!((known.len(), active), (50, vec!["kitchen-59"]));
    // Of those that last none gives way.
    let all: Vec<Finding> = (0..60).map(loops).collect();
    world.look(60, &all);
    world.look(61, &all);
    let known = &world.only().findings;
    assert_eq!(known.iter().filter(|finding| finding.active).count(), 50);
}

#[test]
fn what_fails_one_of_its_callers_is_an_incident_in_the_namespace_of_that_one() {
    let mut world = World::new(0);
    for turn in 0..30 {
        let start = turn * 10;
        world.call("a", start, CallOutcome::Ok);
        world.call("b", start + 1, CallOutcome::Refused);
        // One that fails now and then has its own reasons.
        let now_and_then = if turn % 10 == 5 { CallOutcome::Refused } else { CallOutcome::Ok };
        world.call("c", start + 2, now_and_then);
    }
    let provider = Entity::External { address: PROVIDER.into() };
    world.look(1, &[found(provider, FindingKind::DependencyDown, 0, 1)]);
    let incident = world.only();
    assert_eq!((&*incident.namespace, &incident.workload), ("b", &Some(ObjectKey::new("b", "api"))));
}
