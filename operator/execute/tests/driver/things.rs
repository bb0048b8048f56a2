//! The objects of the world: one service of one pod, its controllers, policies, finding and incident.

use homeostat_knowledge::policy::{TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord};
use homeostat_knowledge::{
    ActionKind, Cause, ContainerRecord, ControllerKind, ControllerRecord, Entity, Evidence, EvidenceId,
    Finding, FindingId, FindingKind, Incident, IncidentId, IncidentState, Instants, Level, Name, ObjectKey,
    PodRecord, Severity, Snapshot, TenantName, Timestamp, Uid,
};
use std::collections::BTreeMap;

pub fn workload() -> ObjectKey {
    ObjectKey::new("shop", "order")
}

pub fn pod(number: u64, created: Timestamp) -> PodRecord {
    PodRecord {
        node: Some(Name::from("node")),
        owner: Some(OwnerRecord {
            kind: ControllerKind::ReplicaSet,
            name: Name::from("order-rs"),
            uid: Uid::new("rs"),
        }),
        created,
        containers: vec![ContainerRecord::bare(Name::from("app"), created)],
        ..PodRecord::bare(
            ObjectKey::new("shop", format!("order-{number}")),
            Uid::new(format!("pod-uid-{number}")),
        )
    }
}

pub fn controller(kind: ControllerKind, name: &str, owner: Option<OwnerRecord>) -> ControllerRecord {
    let key = ControllerKey { kind, object: ObjectKey::new("shop", name) };
    ControllerRecord {
        revision: Some(Name::from("1")),
        owner,
        ..ControllerRecord::bare(key, Uid::new(format!("uid-{name}")))
    }
}

pub fn tenant_policy() -> TenantPolicy {
    TenantPolicy {
        levels: BTreeMap::from([
            (ActionKind::EvictPod, Level::ActBounded),
            (ActionKind::RollingRestart, Level::ActBounded),
        ]),
        approvers: vec![(Name::from("Group"), Name::from("sre"))],
        ..TenantPolicy::new(TenantName::new("shop"), Uid::new("tenant"), [Name::from("shop")])
    }
}

pub fn workload_policy() -> WorkloadPolicy {
    WorkloadPolicy::new(
        workload(),
        Uid::new("workload"),
        ControllerKey { kind: ControllerKind::Deployment, object: workload() },
    )
}

pub fn base() -> Timestamp {
    "2026-11-18T12:00:00Z".parse().expect("a timestamp")
}

pub fn finding(pod: &PodRecord, kind: FindingKind, now: Timestamp) -> Finding {
    Finding {
        id: FindingId::new("finding"),
        entity: Entity::Pod { key: pod.key.clone(), uid: pod.uid.clone(), workload: Some(workload()) },
        kind,
        since: base(),
        detected: base(),
        last_seen: now,
        confidence: 0.999,
        evidence: vec![Evidence::new("calls that failed", "12 of 12 in 0.8 s")],
        active: true,
    }
}

pub fn incident(pod: &PodRecord, kind: Option<FindingKind>, now: Timestamp, snapshot: &Snapshot) -> Incident {
    let id = IncidentId::new("order-x");
    let before = snapshot.incidents.get(&id);
    let kind_then = kind.or_else(|| before.and_then(|incident| incident.top_cause().map(|cause| cause.kind)));
    let known = kind_then.unwrap_or(FindingKind::Crashed);
    let mut finding = finding(pod, known, now);
    finding.active = kind.is_some();
    if kind.is_none()
        && let Some(old) = before.and_then(|incident| incident.findings.first())
    {
        finding.last_seen = old.last_seen;
        finding.entity = old.entity.clone();
    }
    let mitigated = if kind.is_none() {
        before.and_then(|incident| incident.instants.mitigated).or(Some(now))
    } else {
        None
    };
    let instants = Instants { mitigated, ..Instants::new(base(), base()) };
    Incident {
        tenant: Some(TenantName::new("shop")),
        workload: Some(workload()),
        state: if kind.is_none() { IncidentState::Mitigated } else { IncidentState::Acting },
        severity: Severity::Critical,
        causes: vec![Cause {
            entity: finding.entity.clone(),
            kind: known,
            confidence: 0.999,
            evidence: finding.evidence.clone(),
        }],
        findings: vec![finding],
        ..Incident::open(id, Name::from("shop"), EvidenceId::new("evidence"), instants)
    }
}
