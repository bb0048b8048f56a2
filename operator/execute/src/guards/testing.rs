//! One situation in which every guard permits; tests change one thing each.

use super::*;
use crate::history::ActionHistory;
use homeostat_knowledge::policy::{ControlPolicy, KillSwitch, TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::records::{ControllerKey, ControllerKind};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionState, EvidenceId, FindingKind, IncidentId, Level, Name, ObjectKey,
    PlaybookRef, SignedDuration, Target, TenantName, Timestamp, Uid,
};
use std::collections::BTreeMap;

pub(crate) fn now() -> Timestamp {
    "2026-11-18T12:00:00Z".parse().expect("a timestamp")
}

pub(crate) fn tenant() -> TenantPolicy {
    TenantPolicy {
        levels: BTreeMap::from([
            (ActionKind::EvictPod, Level::ActBounded),
            (ActionKind::RollingRestart, Level::ActBounded),
        ]),
        approvers: vec![(Name::from("Group"), Name::from("sre"))],
        ..TenantPolicy::new(TenantName::new("shop"), Uid::new("tenant-uid"), [Name::from("shop")])
    }
}

pub(crate) fn workload(name: &str) -> WorkloadPolicy {
    WorkloadPolicy::new(
        ObjectKey::new("shop", name),
        Uid::new(format!("workload-{name}")),
        ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", name) },
    )
}

pub(crate) fn input() -> GuardInput {
    let now = now();
    let before = |seconds| now.checked_sub(SignedDuration::from_secs(seconds)).expect("a timestamp");
    GuardInput {
        now,
        through: GuardName::FreshRead,
        resumed: false,
        action: ActionFacts {
            id: ActionId::new("order-1-2"),
            kind: ActionKind::EvictPod,
            incident: IncidentId::new("order-1"),
            origin: homeostat_knowledge::Origin::Incident,
            tenant: TenantName::new("shop"),
            workload: ObjectKey::new("shop", "order"),
            target: Target {
                api_version: Name::from("v1"),
                kind: Name::from("Pod"),
                key: ObjectKey::new("shop", "order-abc"),
                uid: Uid::new("pod-uid"),
                resource_version: Name::from("7"),
            },
            playbook: PlaybookRef { name: Name::from("hung-process"), version: 1, step: 1 },
            epoch: 100,
            evidence: EvidenceId::new("evidence"),
            evidence_taken_at: now,
            undo_of: None,
            may_undo: false,
            lowers_floor: false,
            asks: crate::actions::Asks::ByLevel,
            request: homeostat_knowledge::Request::default(),
            digest: Name::from("what-is-asked"),
        },
        kill_switch: KillSwitch::Off,
        clock_off: SignedDuration::ZERO,
        leads: true,
        synced_since: Some(before(3_600)),
        breaches: Vec::new(),
        control: ControlPolicy::default(),
        tenant: Some(tenant()),
        workload: Some(workload("order")),
        neighbours: Vec::new(),
        history: Vec::new(),
        evidence: Some(EvidenceFacts {
            purpose: Purpose::Heal,
            kind: Some(FindingKind::Hung),
            since: before(2),
            last_seen: before(1),
            confidence: Some(0.999),
            active: true,
            source: SourceFacts::Healthy,
            sources: vec![Name::from("spans of callers of shop/order")],
        }),
        roots: Vec::new(),
        places: Vec::new(),
        workloads_in_tenant: 6,
        ownership: OwnershipFacts::default(),
        dry_run: DryRunFacts::Passed,
        approval: None,
        intent_stored: true,
        fresh: FreshFacts::Same,
    }
}

/// An ended action of the same workload and another incident, `ago` seconds before.
pub(crate) fn past(input: &GuardInput, id: &str, ago: i64, helped: bool) -> ActionHistory {
    let at = input.now.checked_sub(SignedDuration::from_secs(ago)).expect("a timestamp");
    ActionHistory {
        id: ActionId::new(id),
        incident: IncidentId::new(format!("incident-of-{id}")),
        origin: homeostat_knowledge::Origin::Incident,
        tenant: input.action.tenant.clone(),
        workload: input.action.workload.clone(),
        target: Uid::new(format!("target-of-{id}")),
        kind: ActionKind::EvictPod,
        playbook: PlaybookRef { name: Name::from("hung-process"), version: 1, step: 1 },
        state: if helped { ActionState::Verified } else { ActionState::Failed },
        effect: true,
        at: Some(at),
        closed: Some(at),
        undo_of: None,
        may_undo: false,
        lowers_floor: false,
        helped: Some(helped),
        unread: None,
    }
}

pub(crate) fn first_refusal(input: &GuardInput) -> Option<GuardName> {
    refusal(&evaluate(input)).map(|report| report.name)
}
