//! Records for this crate's own tests.

use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::plan::{Expectation, Verification};
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Before, EvidenceId, IncidentId, Name, ObjectKey, Parameters,
    PlaybookRef, SignedDuration, Target, TenantName, Timestamp, Uid,
};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a timestamp")
}

/// An eviction of pod `shop/order-abc`, decided at second 0.
pub(crate) fn record(id: &str) -> ActionRecord {
    ActionRecord {
        id: ActionId::new(id),
        namespace: Name::from("shop"),
        resource_version: Name::from(""),
        incident: IncidentId::new("order-1"),
        tenant: TenantName::new("shop"),
        workload: ObjectKey::new("shop", "order"),
        playbook: PlaybookRef { name: Name::from("hung-process"), version: 1, step: 1 },
        target: Target {
            api_version: Name::from("v1"),
            kind: Name::from("Pod"),
            key: ObjectKey::new("shop", "order-abc"),
            uid: Uid::new("pod-uid"),
            resource_version: Name::from("7"),
        },
        parameters: Parameters::EvictPod,
        before: Before {
            replicas: Some(1),
            ready: Some(1),
            revision: Some(Name::from("4")),
            restarts: Some(0),
        },
        epoch: 100,
        evidence: EvidenceRef {
            id: EvidenceId::new("evidence"),
            taken_at: at(0),
            summary: "12 of 12 calls failed".to_owned(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        state: ActionState::Proposed,
        guards: Vec::new(),
        instants: ActionInstants::default(),
        outcome: None,
        approval: None,
        message: "decided".to_owned(),
    }
}
