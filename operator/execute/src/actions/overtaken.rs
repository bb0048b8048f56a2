//! Whether the incident moved on while a restart is still verified. A restart of what turned out not to be the cause
//! cannot help, and only one action of an incident is under way at a time: waiting for the end of its window would keep
//! the right one waiting.
//!
//! What is taken back when it did not help keeps its whole window: taking a change back on a passing doubt would be a
//! second disturbance.

use homeostat_knowledge::{
    ActionKind, ActionRecord, Cause, Entity, Finding, Incident, IncidentState, PodRecord, SignedDuration,
    Snapshot, Timestamp, Uid,
};
use std::collections::BTreeSet;

/// So long after the effect the other cause must still be seen: what is seen earlier may be the echo of the effect.
const STILL_SEEN: SignedDuration = SignedDuration::from_secs(5);

/// Why this restart is not worth waiting for any longer, in words; `None` as long as it is. Pure.
///
/// The first-ranked cause must be something that the restart did not reach (another workload, a node, something outside,
/// or a pod that was there before and still is), fresh evidence must support it, and every other pod that the restart
/// made or left must serve: never two disturbances at a time.
pub(crate) fn overtaken(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<String> {
    if !matches!(record.kind(), ActionKind::EvictPod | ActionKind::RollingRestart) {
        return None;
    }
    let sent = record.instants.sent?;
    let incident = going_on(record, snapshot)?;
    let cause = incident.top_cause()?;
    let seen = supporting(incident, cause).map(|finding| finding.last_seen).max()?;
    if seen.duration_since(sent) < STILL_SEEN || now.duration_since(sent) < STILL_SEEN {
        return None;
    }
    let sick = match (&cause.entity, cause.entity.workload()) {
        (_, Some(workload)) if *workload == record.workload => {
            untouched(record, sent, incident, cause, snapshot)?
        }
        (Entity::Pod { .. } | Entity::Workload { .. } | Entity::Node { .. } | Entity::External { .. }, _) => {
            BTreeSet::new()
        }
        (Entity::Source { .. } | Entity::Cluster, _) => return None,
    };
    all_serve(record, snapshot, &sick).then(|| {
        format!(
            "the evidence moved to {} ({}), which this did not reach: not waited for any longer",
            cause.entity, cause.kind
        )
    })
}

/// Why nobody has to answer a question about this action any more, in words: the incident has another cause for some time, and
/// the question would keep every action on that waiting. Pure.
pub(crate) fn asked_in_vain(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Option<String> {
    let incident = going_on(record, snapshot)?;
    let cause = incident.top_cause()?;
    let other = match &cause.entity {
        Entity::Source { .. } | Entity::Cluster => return None,
        Entity::Node { name } => !(record.target.is_node() && record.target.key.name == *name),
        entity => entity.workload() != Some(&record.workload),
    };
    let long = |finding: &&Finding| now.duration_since(finding.since) >= STILL_SEEN;
    let seen = supporting(incident, cause).filter(long).map(|finding| finding.last_seen).max()?;
    (other && seen.duration_since(record.evidence.taken_at) >= STILL_SEEN).then(|| {
        format!("the evidence moved to {} ({}): this needs no approval any more", cause.entity, cause.kind)
    })
}

/// The incident, while something may still be done for it.
fn going_on<'a>(record: &ActionRecord, snapshot: &'a Snapshot) -> Option<&'a Incident> {
    let incident = snapshot.incidents.get(&record.incident)?;
    let open = matches!(incident.state, IncidentState::Open | IncidentState::Acting);
    (open && incident.instants.mitigated.is_none()).then_some(&**incident)
}

/// Active findings that the first-ranked cause stands on.
fn supporting<'a>(incident: &'a Incident, cause: &'a Cause) -> impl Iterator<Item = &'a Finding> {
    incident.findings.iter().filter(|finding| {
        let same = finding.entity == cause.entity
            || (matches!(cause.entity, Entity::Workload { .. })
                && finding.entity.workload() == cause.entity.workload());
        finding.active && finding.kind == cause.kind && same
    })
}

/// Pods that the cause names, when all of them were there before the effect and none is the one that was evicted.
/// `None`: the cause may be what came after, or speaks of no pod.
fn untouched(
    record: &ActionRecord,
    sent: Timestamp,
    incident: &Incident,
    cause: &Cause,
    snapshot: &Snapshot,
) -> Option<BTreeSet<Uid>> {
    // A rolling restart reaches every pod.
    if &*record.target.kind != "Pod" {
        return None;
    }
    let entities =
        std::iter::once(&cause.entity).chain(supporting(incident, cause).map(|finding| &finding.entity));
    let mut named = BTreeSet::new();
    for entity in entities {
        let Entity::Pod { key, uid, .. } = entity else { continue };
        let there = |pod: &&std::sync::Arc<PodRecord>| {
            // Creation times have whole seconds, rounded down.
            pod.uid == *uid && !pod.deleting && pod.created.as_second() < sent.as_second()
        };
        if *uid == record.target.uid || !snapshot.pods.get(key).is_some_and(|pod| there(&pod)) {
            return None;
        }
        named.insert(uid.clone());
    }
    (!named.is_empty()).then_some(named)
}

/// Whether all replicas are there and serve, but for these pods.
fn all_serve(record: &ActionRecord, snapshot: &Snapshot, but: &BTreeSet<Uid>) -> bool {
    let Some(controller) = snapshot.controller_of(&record.workload) else { return false };
    let mut count = 0;
    for pod in snapshot.pods_of(&record.workload).filter(|pod| !pod.deleting) {
        if !(pod.serving() || but.contains(&pod.uid)) {
            return false;
        }
        count += 1;
    }
    !controller.rolling_out() && count >= controller.replicas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, incident, pod, pod_entity, put_controller, put_pod, record, restart, snapshot};
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::{FindingKind, Name, ObjectKey};
    use std::sync::Arc;

    /// `order-abc` was evicted at second 0; its replacement serves since second 2.
    fn replaced() -> Snapshot {
        let mut snapshot = snapshot();
        snapshot.commit(&ObjectChange::Pod(Change::Deleted(pod().key)), at(1));
        put_pod(&mut snapshot, named("order-new", 2));
        snapshot
    }

    fn named(name: &str, created: i64) -> PodRecord {
        PodRecord {
            key: ObjectKey::new("shop", name),
            uid: Uid::new(format!("uid-{name}")),
            created: at(created),
            ..pod()
        }
    }

    fn entity(name: &str) -> Entity {
        Entity::Pod {
            key: ObjectKey::new("shop", name),
            uid: Uid::new(format!("uid-{name}")),
            workload: Some(ObjectKey::new("shop", "order")),
        }
    }

    fn sent(mut record: ActionRecord) -> ActionRecord {
        record.instants.sent = Some(at(0));
        record
    }

    /// What is said at second 7, when the incident points there, last seen at that second.
    fn said(snapshot: &mut Snapshot, record: &ActionRecord, cause: Entity, seen: i64) -> Option<String> {
        point(snapshot, record, cause, FindingKind::Hung, seen, |_| {});
        overtaken(record, snapshot, at(7))
    }

    fn point(
        snapshot: &mut Snapshot,
        record: &ActionRecord,
        cause: Entity,
        kind: FindingKind,
        seen: i64,
        change: impl FnOnce(&mut Incident),
    ) {
        let mut points = incident(&record.incident.0, cause, kind, -9);
        points.findings[0].last_seen = at(seen);
        change(&mut points);
        snapshot.incidents.insert_mut(points.id.clone(), Arc::new(points));
    }

    fn stock() -> Entity {
        Entity::Workload { key: ObjectKey::new("shop", "stock") }
    }

    #[test]
    fn a_restart_of_what_is_not_the_cause_is_not_waited_for() {
        for cause in [
            stock(),
            Entity::Node { name: Name::from("node") },
            Entity::External { address: Name::from("pay.example.com") },
        ] {
            for record in [sent(record("order-1-1")), sent(restart("order-1-1"))] {
                let said = said(&mut replaced(), &record, cause.clone(), 6).expect("overtaken");
                assert!(said.contains(&cause.to_string()), "people read what it is now: {said}");
            }
        }
    }

    #[test]
    fn a_question_about_what_is_not_the_cause_any_more_makes_way() {
        let mut asked = record("order-1-1");
        asked.evidence.taken_at = at(0);
        let said = |cause: Entity, seen: i64| {
            let mut snapshot = snapshot();
            point(&mut snapshot, &asked, cause, FindingKind::Hung, seen, |_| {});
            asked_in_vain(&asked, &snapshot, at(30))
        };
        for cause in [stock(), Entity::External { address: Name::from("pay.example.com") }] {
            assert!(said(cause.clone(), 29).is_some_and(|text| text.contains(&cause.to_string())));
            assert_eq!(said(cause, 3), None, "that may pass");
        }
        let own = Entity::Workload { key: ObjectKey::new("shop", "order") };
        assert_eq!(said(own, 29), None);
        assert_eq!(said(pod_entity(), 29), None);
    }

    #[test]
    fn what_is_seen_of_the_same_workload_or_too_early_is_waited_for() {
        let own = Entity::Workload { key: ObjectKey::new("shop", "order") };
        let record = sent(record("order-1-1"));
        assert_eq!(
            said(&mut replaced(), &record, own, 6),
            None,
            "the workload as a whole: it may come to help"
        );
        assert_eq!(
            said(&mut replaced(), &record, pod_entity(), 6),
            None,
            "the evicted pod's own last failures"
        );
        assert_eq!(
            said(&mut replaced(), &record, entity("order-new"), 6),
            None,
            "the replacement gets its window"
        );
        assert_eq!(said(&mut replaced(), &record, stock(), 2), None, "not seen any more");
        let source = Entity::Source { name: Name::from("otlp") };
        assert_eq!(said(&mut replaced(), &record, source, 6), None, "nothing is decided by a silent source");
        let mut early = replaced();
        point(&mut early, &record, stock(), FindingKind::Hung, 4, |_| {});
        assert_eq!(overtaken(&record, &early, at(4)), None, "four seconds after the effect");
    }

    #[test]
    fn another_sick_pod_of_the_workload_has_its_turn_once_the_first_is_replaced() {
        let record = sent(record("order-1-1"));
        let mut two = replaced();
        let mut deployment =
            crate::testing::controller(homeostat_knowledge::ControllerKind::Deployment, "order");
        (deployment.replicas, deployment.current, deployment.updated) = (2, 2, 2);
        put_controller(&mut two, deployment);
        put_pod(&mut two, named("order-b", -500));
        assert!(said(&mut two, &record, entity("order-b"), 6).is_some());
        assert_eq!(
            said(&mut two, &sent(restart("order-1-1")), entity("order-b"), 6),
            None,
            "a rollout reaches it"
        );
        // Told by the container itself: the cause is the workload, the finding names the pod.
        let own = Entity::Workload { key: ObjectKey::new("shop", "order") };
        point(&mut two, &record, own, FindingKind::Crashed, 6, |points| {
            points.findings[0].entity = entity("order-b");
        });
        assert!(overtaken(&record, &two, at(7)).is_some());
        put_pod(&mut two, PodRecord { ready: false, ..named("order-new", 2) });
        assert_eq!(said(&mut two, &record, entity("order-b"), 6), None, "never two pods at a time");
        two.commit(&ObjectChange::Pod(Change::Deleted(ObjectKey::new("shop", "order-new"))), at(4));
        assert_eq!(said(&mut two, &record, entity("order-b"), 6), None, "the replacement is not made yet");
    }

    #[test]
    fn only_a_live_incident_with_live_evidence_moves_on() {
        let record = sent(record("order-1-1"));
        let judged = |change: fn(&mut Incident)| {
            let mut snapshot = replaced();
            point(&mut snapshot, &record, stock(), FindingKind::Hung, 6, change);
            overtaken(&record, &snapshot, at(7))
        };
        assert!(judged(|_| {}).is_some());
        assert_eq!(judged(|points| points.state = IncidentState::HandedOver), None);
        assert_eq!(judged(|points| points.instants.mitigated = Some(at(3))), None);
        assert_eq!(judged(|points| points.findings[0].active = false), None);
        assert_eq!(judged(|points| points.causes.clear()), None);
        let mut unsent = record.clone();
        unsent.instants.sent = None;
        let mut snapshot = replaced();
        assert_eq!(said(&mut snapshot, &unsent, stock(), 6), None);
        let mut other = record.clone();
        other.incident = homeostat_knowledge::IncidentId::new("order-9");
        assert_eq!(overtaken(&other, &snapshot, at(7)), None, "the incident is not known");
    }

    #[test]
    fn what_would_be_taken_back_keeps_its_window() {
        let mut record = sent(restart("order-1-1"));
        record.parameters = homeostat_knowledge::Parameters::ScaleUp { replicas: 3 };
        assert_eq!(said(&mut replaced(), &record, stock(), 6), None);
    }
}
