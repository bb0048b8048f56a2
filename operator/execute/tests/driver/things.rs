//! The objects of the world: one service of one pod, its controllers, policies, finding and incident.

use homeostat_knowledge::policy::{TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord};
use homeostat_knowledge::{
    ActionKind, Cause, ContainerRecord, ContainerState, ControllerKind, ControllerRecord, Entity, Evidence,
    EvidenceId, Finding, FindingId, FindingKind, Incident, IncidentId, IncidentState, Instants, Level, Name,
    ObjectKey, PodRecord, Severity, Snapshot, TenantName, Timestamp, Uid,
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
        containers: vec![ContainerRecord {
            memory: homeostat_knowledge::records::Memory::default(),
            name: Name::from("app"),
            ready: true,
            restarts: 0,
            state: ContainerState::Running { since: created },
            last_termination: None,
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
        }],
        ..PodRecord::bare(
            ObjectKey::new("shop", format!("order-{number}")),
            Uid::new(format!("pod-uid-{number}")),
        )
    }
}

pub fn controller(kind: ControllerKind, name: &str, owner: Option<OwnerRecord>) -> ControllerRecord {
    ControllerRecord {
        key: ControllerKey { kind, object: ObjectKey::new("shop", name) },
        uid: Uid::new(format!("uid-{name}")),
        resource_version: Name::from("1"),
        generation: 1,
        observed_generation: 1,
        replicas: 1,
        current: 1,
        ready: 1,
        updated: 1,
        revision: Some(Name::from("1")),
        release: None,
        surges: true,
        paused: false,
        template_labels: BTreeMap::new(),
        owner,
        gitops_owner: None,
        finished: None,
        run: homeostat_knowledge::records::RunTimes::default(),
        work: None,
        hold: None,
        do_not_touch: None,
        api: None,
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
    Incident {
        id,
        namespace: Name::from("shop"),
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
        affected: Vec::new(),
        instants: Instants {
            impact_start: base(),
            detected: base(),
            acknowledged: None,
            mitigated,
            resolved: None,
        },
        timeline: Vec::new(),
        actions: Vec::new(),
        reopen_count: 0,
        evidence: EvidenceId::new("evidence"),
        handed_over: None,
        acknowledged_by: None,
    }
}
