//! Trouble that is not about the action itself: a store without room, a tenant that goes, a newer version, many others.

use crate::world::{Fault, Inner, World};
use crate::{REQUESTS, check, live, settle};
use homeostat_knowledge::{
    ActionId, ActionState, FindingKind, GuardName, IncidentId, Name, ObjectKey, Origin, Parameters,
    TenantName, UnreadAction,
};
use std::collections::BTreeMap;
use std::time::Duration;

const EVICT: Parameters = Parameters::EvictPod { grace_seconds: None };

/// The store is full from any request on, and has room again later.
#[tokio::test(start_paused = true)]
async fn without_room_for_an_intent_nothing_is_done_and_it_goes_on_by_itself_later() {
    for number in 1..=REQUESTS {
        let world = World::new(FindingKind::Hung);
        world.lock().faults = BTreeMap::from([(number, Fault::Meanwhile(|inner| inner.full = true))]);
        let executor = world.executor();
        live(&world, &executor, &EVICT, Duration::from_mins(1)).await;
        // The eighth is the effect: from there on the intent is stored, and the effect is what finds no room.
        let context = format!("full from request {number} on");
        assert_eq!(world.lock().effects.len(), usize::from(number > 8), "{context}");
        let asked = world.lock().requests.len();
        assert!(asked < 400, "{context}: {asked} requests in a minute are a tight loop");
        world.lock().full = false;
        drop(executor);
        world.restart();
        settle(&world, &EVICT).await;
        check(&world, &context);
        assert_eq!(world.lock().effects.len(), 1, "{context}");
        assert!(!world.lock().sick(), "{context}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_deleted_sees_no_effect_any_more_and_keeps_its_record() {
    for number in 1..=REQUESTS {
        let world = World::new(FindingKind::Hung);
        world.lock().faults = BTreeMap::from([(number, Fault::Meanwhile(Inner::delete_tenant))]);
        let executor = world.executor();
        let (plan, finding) = world.plan(EVICT);
        let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
        let context = format!("deleted at {number}: {:?} {}", ended.state, ended.message);
        assert!(ended.state.ended(), "{context}");
        // The last look at the policies comes with request 7.
        assert_eq!(world.lock().effects.len(), usize::from(number > 7), "{context}");
        let inner = world.lock();
        let stored = inner.actions.get(&ended.key()).expect("the record stays");
        assert_eq!((stored.state, &stored.tenant), (ended.state, &TenantName::new("shop")), "{context}");
        assert_eq!(executor.breaches(), [], "{context}");
    }
}

/// The namespace is deleted at any request: with it go the pod, the policy and the record itself.
#[tokio::test(start_paused = true)]
async fn in_a_namespace_that_ends_an_action_ends_with_it_and_nothing_is_begun_any_more() {
    for number in 1..=REQUESTS {
        let world = World::new(FindingKind::Hung);
        world.lock().faults = BTreeMap::from([(number, Fault::Meanwhile(Inner::end_namespace))]);
        let executor = world.executor();
        let (plan, finding) = world.plan(EVICT);
        let ended = tokio::time::timeout(Duration::from_mins(5), executor.run(&plan, Some(finding)));
        let ended = ended.await.unwrap_or_else(|_| panic!("at {number}: it hangs"));
        let context = format!("ends at {number}: {ended:?}");
        assert_eq!(world.lock().effects.len(), usize::from(number > 8), "{context}");
        let asked = world.lock().requests.len();
        assert!(asked <= 40, "{context}: {asked} requests");

        // What is left to do in it is refused before anything is sent, and nobody waits for it.
        world.restart();
        let next = world.executor();
        assert_eq!(next.resume(world.lock().open_actions()), 0, "{context}");
        let (plan, finding) = world.plan(EVICT);
        let refused = next.run(&plan, Some(finding)).await;
        let context = format!("{context}, then {refused:?}");
        assert!(refused.map_or(true, |record| record.state == ActionState::Refused), "{context}");
        assert_eq!(world.lock().effects.len(), usize::from(number > 8), "{context}");
        assert_eq!((executor.under_way(), next.under_way()), (0, 0), "{context}");
        assert_eq!((executor.breaches(), next.breaches()), (Vec::new(), Vec::new()), "{context}");
        assert!(world.lock().actions.is_empty(), "{context}: no record comes back");
    }
}

/// An action of a newer version is under way on the target of the plan, or was.
fn of_a_newer_version(world: &World, state: ActionState) -> UnreadAction {
    let inner = world.lock();
    UnreadAction {
        id: ActionId::new("order-w-1"),
        resource_version: Name::from("7"),
        incident: IncidentId::new("order-w"),
        origin: Origin::Incident,
        tenant: TenantName::new("shop"),
        workload: ObjectKey::new("shop", "order"),
        target: inner.pod.uid.clone(),
        state,
        at: None,
        closed: None,
        why: "spec.action: unknown variant `Teleport`".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_version_has_under_way_is_left_to_it() {
    let under_way = [ActionState::Admitted, ActionState::Claimed, ActionState::Sent, ActionState::Verifying];
    for state in under_way {
        let world = World::new(FindingKind::Hung);
        let action = of_a_newer_version(&world, state);
        world.lock().unread(action);
        let executor = world.executor();
        assert_eq!(executor.resume(world.lock().open_actions()), 0, "it is not carried on here");
        let (plan, finding) = world.plan(EVICT);
        let refused = executor.run(&plan, Some(finding)).await.expect("it ends");
        let last = refused.guards.last().expect("guards are recorded");
        assert_eq!((refused.state, last.name), (ActionState::Refused, GuardName::Ownership), "{state:?}");
        for words in ["order-w-1", "Teleport", "newer version"] {
            assert!(last.message.contains(words), "{}", last.message);
        }
        assert_eq!(world.lock().effects.len(), 0);

        // It is gone: the pod, which is still ill, is helped.
        world.lock().delete_action(ObjectKey::new("shop", "order-w-1"));
        world.restart();
        settle(&world, &EVICT).await;
        assert_eq!(world.lock().effects.len(), 1, "{state:?}");
    }
    // One that only proposes, or did nothing, is in nobody's way.
    for state in [ActionState::Proposed, ActionState::Refused, ActionState::Cancelled] {
        let world = World::new(FindingKind::Hung);
        let action = of_a_newer_version(&world, state);
        world.lock().unread(action);
        settle(&world, &EVICT).await;
        assert_eq!(world.lock().effects.len(), 1, "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_only_watched_takes_no_place_of_what_is_to_be_done() {
    let world = World::new(FindingKind::Hung);
    let (plan, _) = world.plan(EVICT);
    let now = world.now();
    for number in 0..80 {
        let id = ActionId::new(format!("order-{number}-1"));
        let mut record = plan.record(id, Name::from("homeostat")).expect("one step");
        record.incident = IncidentId::new(format!("order-{number}"));
        record.state = ActionState::Verifying;
        (record.instants.claimed, record.instants.sent) = (Some(now), Some(now));
        let mut inner = world.lock();
        record.resource_version = inner.version();
        inner.actions.insert(record.key(), record);
    }
    let executor = world.executor();
    let open = world.lock().open_actions();
    assert_eq!(executor.resume(open.clone()), 64, "no more at once, as long as it is not known what they do");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(executor.resume(open), 16, "those are watched");
    assert_eq!(executor.under_way(), 80);
}
