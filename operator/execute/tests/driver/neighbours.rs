//! A change that helps its target and hurts who calls it is taken back.

use crate::sizes::first_effect;
use crate::undo::{end, run, world};
use crate::world::World;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionState, Cause, ControllerKind, Entity, Finding, FindingId, FindingKind, Incident, IncidentId,
    Instants, ObjectKey, SignedDuration, Timestamp, Uid, WorkloadPolicy,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn front() -> ObjectKey {
    ObjectKey::new("shop", "front")
}

/// `front` answers with errors since then, and is seen to.
fn fails(world: &World, since: Timestamp) {
    let now = world.now();
    let mut inner = world.lock();
    let snapshot = Arc::make_mut(&mut inner.snapshot);
    let known = snapshot.incidents.values().next().expect("the incident of order");
    let entity = Entity::Workload { key: front() };
    let found = Incident {
        id: IncidentId::new("front-x"),
        workload: Some(front()),
        state: homeostat_knowledge::IncidentState::Open,
        findings: vec![Finding {
            id: FindingId::new("front-finding"),
            entity: entity.clone(),
            kind: FindingKind::ErrorBurst,
            since,
            detected: since,
            last_seen: now,
            confidence: 0.999,
            evidence: Vec::new(),
            active: true,
        }],
        causes: vec![Cause {
            entity,
            kind: FindingKind::ErrorBurst,
            confidence: 0.999,
            evidence: Vec::new(),
        }],
        instants: Instants { impact_start: since, mitigated: None, ..known.instants },
        actions: Vec::new(),
        ..(**known).clone()
    };
    snapshot.incidents.insert_mut(found.id.clone(), Arc::new(found));
}

/// `order` gets a second replica and is well with it; its caller has been failing since so long after (before, when
/// negative) the effect.
async fn helped_while_its_caller_fails(after: SignedDuration) -> Arc<World> {
    let world = world();
    {
        let mut inner = world.lock();
        let snapshot = Arc::make_mut(&mut inner.snapshot);
        let target = ControllerKey { kind: ControllerKind::Deployment, object: front() };
        let policy = WorkloadPolicy::new(front(), Uid::new("front"), target);
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), Timestamp::UNIX_EPOCH);
        snapshot.callers.insert_mut(crate::things::workload(), Arc::new(BTreeSet::from([front()])));
    }
    let meanwhile = {
        let world = Arc::clone(&world);
        async move {
            first_effect(&world).await;
            let now = world.now();
            {
                let mut inner = world.lock();
                inner.complete(now);
                let size = &mut inner.controller;
                (size.replicas, size.current, size.ready, size.updated) = (2, 2, 2, 2);
                inner.second_pod(now);
            }
            while world.lock().open_actions().iter().any(|action| action.undo_of.is_none()) {
                if world.now() > now + after {
                    fails(&world, now + after);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::join!(run(&world), meanwhile);
    world
}

#[tokio::test(start_paused = true)]
async fn what_helps_and_hurts_a_caller_is_taken_back_once() {
    let world = helped_while_its_caller_fails(SignedDuration::from_secs(1)).await;
    let (done, undo) = (end(&world, false), end(&world, true));
    assert_eq!((done.state, undo.state), (ActionState::Undone, ActionState::Verified), "{}", done.message);
    assert!(done.message.contains("shop/front, which calls it"), "{}", done.message);
    assert!(done.message.contains("ErrorBurst"), "{}", done.message);
    let inner = world.lock();
    assert_eq!((inner.controller.replicas, inner.effects.len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_failed_before_takes_nothing_back() {
    let world = helped_while_its_caller_fails(SignedDuration::from_secs(-20)).await;
    assert_eq!(end(&world, false).state, ActionState::Verified);
    let inner = world.lock();
    assert_eq!((inner.controller.replicas, inner.effects.len()), (2, 1));
}
