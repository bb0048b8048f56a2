//! What the loop remembers of actions that ended, and for how long.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use homeostat::kernel::Kernel;
use homeostat_knowledge::action::EvidenceRef;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::{
    ActionId, ActionState, Before, Entity, EvidenceId, IncidentId, Name, ObjectKey, Observation, Parameters,
    Plan, PlanId, PlaybookRef, SeededIds, Signal, SignedDuration, Step, Target, TenantName, Timestamp, Uid,
    Verification,
};
use std::sync::Arc;

const DAY: i64 = 86_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// An eviction for this workload that ended at this second; one that was refused was never sent.
fn ended(id: &str, workload: &str, second: i64, state: ActionState) -> Observation {
    let key = ObjectKey::new("shop", workload);
    let step = Step {
        target: Target {
            api_version: Name::from("v1"),
            kind: Name::from("Pod"),
            key: key.clone(),
            uid: Uid::new(workload),
            resource_version: Name::from("1"),
        },
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before::default(),
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        undo: Undo::None,
        evidence: EvidenceRef { id: EvidenceId::new("e"), taken_at: at(second), summary: String::new() },
    };
    let plan = Plan::draft(
        PlanId::new("plan"),
        IncidentId::new(workload),
        TenantName::new("shop"),
        key,
        1,
        PlaybookRef { name: Name::from("hung-process"), version: 0, step: 1 },
        vec![step],
        vec!["it hangs".to_owned()],
    );
    let mut action = plan.admit().record(ActionId::new(id), Name::from("test")).expect("a step");
    action.resource_version = Name::from("1");
    action.state = state;
    action.instants.sent = (state != ActionState::Refused).then(|| at(second));
    action.instants.closed = Some(at(second));
    Observation {
        tenant: None,
        entity: Entity::Cluster,
        event_time: at(second),
        arrival_time: at(second),
        signal: Signal::Object(ObjectChange::Action(Change::Applied(Arc::new(action)))),
    }
}

#[test]
fn repairs_in_vain_are_remembered_for_a_week_unless_one_helps_and_all_else_for_a_day() {
    let mut kernel = Kernel::new(Vec::new(), Box::new(SeededIds::new(1)), "homeostat-system".into());
    let mut known = |batch: &[Observation], second: i64| {
        kernel.step(batch, at(second), false);
        let ids = kernel.snapshot().actions.keys().map(ToString::to_string);
        ids.collect::<Vec<String>>()
    };
    let first = [
        ended("cart-1", "cart", 0, ActionState::Refused),
        ended("order-1", "order", 0, ActionState::Failed),
        ended("order-2", "order", DAY / 2, ActionState::Undone),
        ended("stock-1", "stock", 0, ActionState::Failed),
        ended("stock-2", "stock", 100, ActionState::Verified),
    ];
    assert_eq!(known(&first, DAY), ["cart-1", "order-1", "order-2", "stock-1", "stock-2"]);
    assert_eq!(known(&[], 2 * DAY), ["order-1", "order-2"]);
    assert_eq!(known(&[], 7 * DAY), ["order-1", "order-2"]);
    assert_eq!(known(&[], 7 * DAY + 60), ["order-2"]);
    let helped = ended("order-3", "order", 7 * DAY + 100, ActionState::Verified);
    assert_eq!(known(&[helped], 7 * DAY + 120), ["order-3"]);
}
