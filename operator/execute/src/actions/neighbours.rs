//! Whether a change hurts who is beside its target: who calls it, whom it calls and, where a pod gets more of its node, who
//! shares the node. What helped its own target and hurts a neighbour did not help, and is taken back once like everything
//! that did not.
//!
//! Asked at the moment when the change itself counts as a success, and only of what can be taken back: a restart cannot.
//! A cordon touches nothing that runs, and its node is sick already, so who is on that node says nothing about it. Only
//! neighbours of the own tenant count: no tenant's telemetry takes back what is done for another.

use super::{Verdict, verify};
use homeostat_knowledge::{
    ActionKind, ActionRecord, Entity, Finding, FindingKind, Incident, Name, SignedDuration, Snapshot,
    Timestamp, WorkloadKey,
};

/// So long a neighbour must have been worse. Callers that work off what piled up before the target was well stumble too,
/// for less than that; the analysis waits as long before it makes an incident of it.
const LASTS: SignedDuration = SignedDuration::from_secs(4);
/// What is no surer than that is told by callers that are short of time themselves; nothing is done on its account.
const UNSURE: f64 = 0.5;

/// The verdict on an action, with its neighbours in view. Pure.
///
/// A neighbour counts as hurt by the change when a finding that users feel began after the effect, lasts, and is explained
/// by nothing else: its incident did not begin before, its first cause is the neighbour or the target, and the neighbour is
/// not being rolled out. While such a finding is young, it is waited for, up to the end of the window.
pub(crate) fn weighed(
    verdict: Verdict,
    record: &ActionRecord,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Verdict {
    let Verdict::Helped(reason) = verdict else { return verdict };
    let mut young = None;
    for (finding, how) in hurt(record, snapshot) {
        let text = format!("{how}, got worse since: {} ({})", finding.entity, finding.kind);
        if finding.last_seen.duration_since(finding.since) >= LASTS {
            return Verdict::NotHelped(format!("{reason}; but {text}"));
        }
        young.get_or_insert(text);
    }
    match young {
        Some(text) if now < verify::deadline(record, now) => Verdict::Wait(text),
        _ => Verdict::Helped(reason),
    }
}

/// Findings that show a neighbour hurt by the change, each with who it is.
fn hurt<'a>(record: &ActionRecord, snapshot: &'a Snapshot) -> Vec<(&'a Finding, String)> {
    let Some(sent) = record.instants.sent.filter(|_| crate::history::may_undo(record)) else {
        return Vec::new();
    };
    let mut hurt = Vec::new();
    for incident in snapshot.incidents.values().filter(|incident| !incident.state.closed()) {
        for finding in &incident.findings {
            let Some(workload) = finding.entity.workload().filter(|key| **key != record.workload) else {
                continue;
            };
            let began = finding.active && finding.since > sent && finding.confidence > UNSURE;
            if began
                && users_feel(finding.kind)
                && !explained(record, sent, incident, workload, snapshot)
                && let Some(how) = beside(record, finding, workload, snapshot)
            {
                hurt.push((finding, how));
            }
        }
    }
    hurt
}

/// Somebody is failed or waits by it.
fn users_feel(kind: FindingKind) -> bool {
    match kind {
        FindingKind::Crashed
        | FindingKind::BackingOff
        | FindingKind::CrashLoop
        | FindingKind::OutOfMemory
        | FindingKind::Unreachable
        | FindingKind::Hung
        | FindingKind::ErrorBurst
        | FindingKind::Slow => true,
        FindingKind::DependencyDown
        | FindingKind::NotReady
        | FindingKind::Unschedulable
        | FindingKind::ImagePullFailed
        | FindingKind::SetupFailed
        | FindingKind::SignalAbnormal
        | FindingKind::NodeNotReady
        | FindingKind::NodePressure
        | FindingKind::JobFailed
        | FindingKind::JobStuck
        | FindingKind::ReplicaOutlier
        | FindingKind::NoisyNeighbour
        | FindingKind::MemoryGrowing
        | FindingKind::VolumeFilling
        | FindingKind::QuotaFilling
        | FindingKind::EphemeralStorageFilling
        | FindingKind::QueueGrowing
        | FindingKind::CertificateExpiring
        | FindingKind::FaultExpected
        | FindingKind::OwnershipConflict
        | FindingKind::NoData => false,
    }
}

/// Whether the finding has another reason than the change: a rollout of its own, another cause, or one from before.
fn explained(
    record: &ActionRecord,
    sent: Timestamp,
    incident: &Incident,
    workload: &WorkloadKey,
    snapshot: &Snapshot,
) -> bool {
    if snapshot.controller_of(workload).is_some_and(|controller| controller.rolling_out()) {
        return true;
    }
    if incident.id == record.incident {
        return false;
    }
    let cause = incident.top_cause().and_then(|cause| cause.entity.workload());
    let near = cause.is_some_and(|cause| cause == workload || *cause == record.workload);
    incident.instants.impact_start <= sent || !near
}

/// How the workload stands beside the target of the change, in words; `None`: it does not.
fn beside(
    record: &ActionRecord,
    finding: &Finding,
    workload: &WorkloadKey,
    snapshot: &Snapshot,
) -> Option<String> {
    let tenant = snapshot.tenant_of_namespace(&workload.namespace)?;
    if tenant.name != record.tenant {
        return None;
    }
    let how = if snapshot.calls(workload, &record.workload) {
        "which calls it"
    } else if snapshot.calls(&record.workload, workload) {
        "which it calls"
    } else if shares_the_node(record, finding, workload, snapshot) {
        "which is on its node"
    } else {
        return None;
    };
    Some(format!("{workload}, {how}"))
}

/// Whether what the finding is about runs on the node of the pod that was given another size.
fn shares_the_node(
    record: &ActionRecord,
    finding: &Finding,
    workload: &WorkloadKey,
    snapshot: &Snapshot,
) -> bool {
    if record.kind() != ActionKind::ResizePod {
        return false;
    }
    let Some(node) = snapshot.pods.get(&record.target.key).and_then(|pod| pod.node.as_ref()) else {
        return false;
    };
    let there = |on: Option<&Name>| on == Some(node);
    match &finding.entity {
        Entity::Pod { key, .. } => snapshot.pods.get(key).is_some_and(|pod| there(pod.node.as_ref())),
        _ => snapshot.pods_of(workload).any(|pod| there(pod.node.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::workload as policy;
    use crate::testing::{
        at, change, controller, incident, pod, put_controller, put_pod, record, restart, snapshot,
    };
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::plan::Undo;
    use homeostat_knowledge::records::OwnerRecord;
    use homeostat_knowledge::{
        ControllerKind, IncidentId, ObjectKey, Parameters, PodRecord, TenantName, Uid,
    };
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn key(name: &str) -> WorkloadKey {
        ObjectKey::new("shop", name)
    }

    fn of(name: &str) -> Entity {
        Entity::Workload { key: key(name) }
    }

    /// `order` was scaled up at second 0. `front` calls it, it calls `stock`; `other` is a stranger.
    fn world() -> (Snapshot, ActionRecord) {
        let mut snapshot = snapshot();
        for name in ["front", "stock", "other"] {
            snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy(name)))), at(-1_000));
            put_controller(&mut snapshot, controller(ControllerKind::Deployment, name));
        }
        snapshot.callers.insert_mut(key("order"), Arc::new(BTreeSet::from([key("front")])));
        snapshot.callers.insert_mut(key("stock"), Arc::new(BTreeSet::from([key("order")])));
        let mut record = change("order-1-1", Parameters::ScaleUp { replicas: 2 });
        record.undo = Undo::Restore;
        record.instants.sent = Some(at(0));
        (snapshot, record)
    }

    /// An incident of its own, with this first cause, seen until second 9.
    fn falls_sick(snapshot: &mut Snapshot, entity: Entity, kind: FindingKind, since: i64) -> IncidentId {
        let mut found = incident("beside-1", entity, kind, since);
        found.findings[0].last_seen = at(9);
        let id = found.id.clone();
        snapshot.incidents.insert_mut(id.clone(), Arc::new(found));
        id
    }

    fn adjust(snapshot: &mut Snapshot, id: &IncidentId, change: impl FnOnce(&mut Incident)) {
        let mut found = (**snapshot.incidents.get(id).expect("an incident")).clone();
        change(&mut found);
        snapshot.incidents.insert_mut(id.clone(), Arc::new(found));
    }

    fn judged(snapshot: &Snapshot, record: &ActionRecord) -> Verdict {
        weighed(Verdict::Helped("well".to_owned()), record, snapshot, at(9))
    }

    fn helped(snapshot: &Snapshot, record: &ActionRecord) -> bool {
        judged(snapshot, record) == Verdict::Helped("well".to_owned())
    }

    #[test]
    fn what_hurts_a_caller_or_a_callee_did_not_help_and_says_whom_and_how() {
        for (name, how) in [("front", "which calls it"), ("stock", "which it calls")] {
            for kind in [FindingKind::ErrorBurst, FindingKind::Slow, FindingKind::Hung, FindingKind::Crashed]
            {
                let (mut snapshot, record) = world();
                assert!(helped(&snapshot, &record));
                falls_sick(&mut snapshot, of(name), kind, 2);
                let Verdict::NotHelped(why) = judged(&snapshot, &record) else {
                    panic!("{name} {kind}: not seen");
                };
                for part in ["well", name, how, kind.name()] {
                    assert!(why.contains(part), "{part}: {why}");
                }
            }
        }
    }

    #[test]
    fn strangers_and_what_users_do_not_feel_do_not_count() {
        let (mut snapshot, record) = world();
        falls_sick(&mut snapshot, of("other"), FindingKind::ErrorBurst, 2);
        assert!(helped(&snapshot, &record), "neither calls it nor is called");
        for kind in [FindingKind::NoData, FindingKind::QueueGrowing, FindingKind::MemoryGrowing] {
            falls_sick(&mut snapshot, of("front"), kind, 2);
            assert!(helped(&snapshot, &record), "{kind}");
        }
        falls_sick(&mut snapshot, of("order"), FindingKind::ErrorBurst, 2);
        assert!(helped(&snapshot, &record), "its own state is the action's own question");
    }

    #[test]
    fn what_was_there_before_or_has_another_cause_does_not_count() {
        for since in [-5, 0] {
            let (mut snapshot, record) = world();
            falls_sick(&mut snapshot, of("front"), FindingKind::ErrorBurst, since);
            assert!(helped(&snapshot, &record), "began at second {since}");
        }
        let changes: [fn(&mut Incident); 6] = [
            |found| found.instants.impact_start = at(-1),
            |found| found.causes[0].entity = of("other"),
            |found| found.causes[0].entity = Entity::External { address: "bank.example.com".into() },
            |found| found.findings[0].active = false,
            |found| found.findings[0].confidence = 0.5,
            |found| found.state = homeostat_knowledge::IncidentState::Resolved,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (mut snapshot, record) = world();
            let id = falls_sick(&mut snapshot, of("front"), FindingKind::ErrorBurst, 2);
            adjust(&mut snapshot, &id, change);
            assert!(helped(&snapshot, &record), "case {number}");
        }
        let (mut snapshot, record) = world();
        falls_sick(&mut snapshot, of("front"), FindingKind::ErrorBurst, 2);
        let mut rolling = controller(ControllerKind::Deployment, "front");
        rolling.updated = 0;
        put_controller(&mut snapshot, rolling);
        assert!(helped(&snapshot, &record), "it is being rolled out");
    }

    #[test]
    fn in_the_incident_of_the_change_what_began_after_it_counts() {
        let (mut snapshot, record) = world();
        let mut found = incident("front-1", of("front"), FindingKind::Slow, 3).findings.remove(0);
        found.last_seen = at(9);
        adjust(&mut snapshot, &record.incident, |own| own.findings.push(found));
        assert!(matches!(judged(&snapshot, &record), Verdict::NotHelped(_)));
    }

    #[test]
    fn what_is_young_is_waited_for_until_the_window_ends() {
        let (mut snapshot, mut record) = world();
        falls_sick(&mut snapshot, of("front"), FindingKind::ErrorBurst, 6);
        assert!(matches!(judged(&snapshot, &record), Verdict::Wait(_)), "3 s old");
        record.verification.within = SignedDuration::from_secs(9);
        assert!(helped(&snapshot, &record), "its window is over");
        let (mut snapshot, record) = world();
        falls_sick(&mut snapshot, of("front"), FindingKind::ErrorBurst, 5);
        assert!(matches!(judged(&snapshot, &record), Verdict::NotHelped(_)), "4 s old");
    }

    #[test]
    fn what_cannot_be_taken_back_keeps_its_verdict() {
        let (mut snapshot, scaled) = world();
        falls_sick(&mut snapshot, of("front"), FindingKind::ErrorBurst, 2);
        for mut cannot in [record("order-1-1"), restart("order-1-1"), scaled.clone()] {
            cannot.instants.sent = Some(at(0));
            cannot.undo = Undo::None;
            assert!(helped(&snapshot, &cannot), "{}", cannot.kind());
        }
        let undo = ActionRecord { undo_of: Some(scaled.id.clone()), ..scaled.clone() };
        assert!(helped(&snapshot, &undo), "no undo of an undo");
        let waits = Verdict::Wait("ready".to_owned());
        assert_eq!(weighed(waits.clone(), &scaled, &snapshot, at(9)), waits);
    }

    /// A pod of `other` on that node, and what is found of it.
    fn stranger(node: &str) -> (PodRecord, Entity) {
        let record = PodRecord {
            key: key("other-a"),
            uid: Uid::new("uid-other-a"),
            node: Some(node.into()),
            owner: Some(OwnerRecord {
                kind: ControllerKind::Deployment,
                name: "other".into(),
                uid: Uid::new("uid-other"),
            }),
            ..pod()
        };
        let entity =
            Entity::Pod { key: record.key.clone(), uid: record.uid.clone(), workload: Some(key("other")) };
        (record, entity)
    }

    #[test]
    fn a_pod_that_gets_more_of_its_node_must_not_hurt_who_is_there() {
        let resized = |parameters: Parameters| {
            let mut resized = ActionRecord { parameters, undo: Undo::Restore, ..record("order-1-1") };
            resized.instants.sent = Some(at(0));
            resized.before.cpu_millis = Some(100);
            resized
        };
        let resize = resized(Parameters::ResizePod {
            container: "app".into(),
            cpu_millis: Some(400),
            cpu_limit_millis: None,
            memory_bytes: None,
            memory_limit_bytes: None,
        });
        for (node, expected) in [("node", false), ("node-2", true)] {
            for whole in [false, true] {
                let (mut snapshot, scaled) = world();
                let (there, entity) = stranger(node);
                put_pod(&mut snapshot, there);
                let entity = if whole { of("other") } else { entity };
                falls_sick(&mut snapshot, entity, FindingKind::Slow, 2);
                assert_eq!(helped(&snapshot, &resize), expected, "on {node}");
                assert!(helped(&snapshot, &scaled), "more pods go where there is room");
            }
        }
    }

    #[test]
    fn nobody_elses_telemetry_takes_a_change_back() {
        let (mut snapshot, mut record) = world();
        falls_sick(&mut snapshot, of("front"), FindingKind::ErrorBurst, 2);
        record.tenant = TenantName::new("bank");
        assert!(helped(&snapshot, &record));
    }
}
