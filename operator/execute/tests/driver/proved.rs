//! What good calls do not show: an action that was for it helped once it is not found any more, and not before.

use crate::sizes::first_effect;
use crate::things::workload;
use crate::undo::{end, run};
use crate::world::World;
use homeostat_knowledge::observation::{SourceReport, SourceState};
use homeostat_knowledge::{
    ActionRecord, ActionState, Entity, FindingKind, IncidentId, IncidentState, Name, Parameters,
    SignedDuration, Timestamp, WorkloadHealth,
};
use std::sync::Arc;
use std::time::Duration;

/// They may go on while every call is answered well.
const NOT_SHOWN_BY_CALLS: [FindingKind; 4] =
    [FindingKind::Slow, FindingKind::ReplicaOutlier, FindingKind::QueueGrowing, FindingKind::SignalAbnormal];

/// `order` is found so, as it will be, or not, after the incident's own finding ended; it was measured then for the last time.
fn find(world: &World, active: bool, measured: Timestamp) {
    let mut inner = world.lock();
    let snapshot = Arc::make_mut(&mut inner.snapshot);
    let mut again = (**snapshot.incidents.values().next().expect("the incident of order")).clone();
    (again.id, again.state, again.instants.mitigated) =
        (IncidentId::new("order-y"), IncidentState::Open, None);
    again.causes[0].entity = Entity::Workload { key: workload() };
    let finding = &mut again.findings[0];
    (finding.entity, finding.active, finding.last_seen) =
        (Entity::Workload { key: workload() }, active, measured);
    snapshot.incidents.insert_mut(again.id.clone(), Arc::new(again));
}

/// `order` gets a second replica, and its callers are content at once. It is still found as it was for so long; if so, its
/// backlog gets smaller meanwhile.
async fn content_and_found(kind: FindingKind, lasts: SignedDuration, falls: bool) -> Arc<World> {
    content(kind, lasts, true, |health| health.backlog_falls = falls).await
}

/// The same with what is known of its health, `measured` after the effect or not any more.
async fn content(
    kind: FindingKind,
    lasts: SignedDuration,
    measured: bool,
    known: impl FnOnce(&mut WorkloadHealth),
) -> Arc<World> {
    let world = crate::undo::world();
    {
        let mut inner = world.lock();
        inner.fall_sick(kind);
        let report = SourceReport { state: SourceState::Healthy, accepted: 1, dropped: 0 };
        Arc::make_mut(&mut inner.snapshot).sources.insert_mut(Name::from("prometheus"), report);
    }
    world.refresh();
    // As long as any of them must last before something is done.
    tokio::time::sleep(Duration::from_secs(40)).await;
    let meanwhile = {
        let world = Arc::clone(&world);
        async move {
            first_effect(&world).await;
            let sent = world.now();
            {
                let mut inner = world.lock();
                inner.complete(sent);
                let size = &mut inner.controller;
                (size.replicas, size.current, size.ready, size.updated) = (2, 2, 2, 2);
                inner.second_pod(sent);
                let snapshot = Arc::make_mut(&mut inner.snapshot);
                let mut health = snapshot.health.get(&workload()).cloned().unwrap_or_default();
                known(&mut health);
                snapshot.health.insert_mut(workload(), health);
            }
            while world.lock().open_actions().iter().any(|action| action.undo_of.is_none()) {
                let now = world.now();
                let seen = if measured { now } else { sent - SignedDuration::from_secs(1) };
                find(&world, now.duration_since(sent) < lasts, seen);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::join!(run(&world), meanwhile);
    world
}

const FOR_EVER: SignedDuration = SignedDuration::from_hours(1);

/// From its effect to its end.
fn took(done: &ActionRecord) -> Option<SignedDuration> {
    done.instants.closed.zip(done.instants.sent).map(|(closed, sent)| closed.duration_since(sent))
}

#[tokio::test(start_paused = true)]
async fn what_is_still_found_when_callers_are_content_is_no_success_and_is_taken_back() {
    for kind in NOT_SHOWN_BY_CALLS {
        let world = content_and_found(kind, FOR_EVER, false).await;
        let (done, undo) = (end(&world, false), end(&world, true));
        assert_eq!(
            (done.state, undo.state),
            (ActionState::Undone, ActionState::Verified),
            "{kind}: {}",
            done.message
        );
        assert!(done.message.contains(&format!("{kind} is still found")), "{kind}: {}", done.message);
        assert_eq!(undo.parameters, Parameters::ScaleDown { replicas: 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn it_helped_once_it_is_not_found_any_more() {
    for kind in NOT_SHOWN_BY_CALLS {
        let world = content_and_found(kind, SignedDuration::from_secs(10), false).await;
        let done = end(&world, false);
        assert_eq!(done.state, ActionState::Verified, "{kind}: {}", done.message);
        let took = took(&done);
        assert!(took.is_some_and(|took| took >= SignedDuration::from_secs(9)), "{kind}: {took:?}");
    }
}

/// It is left as it is, at the end of its window and not before.
fn left_at_the_end(world: &World, context: &str) {
    let done = end(world, false);
    assert_eq!(done.state, ActionState::Verified, "{context}: {}", done.message);
    assert!(took(&done).is_some_and(|took| took >= SignedDuration::from_secs(29)), "{context}: {done:?}");
    assert_eq!(world.lock().controller.replicas, 2, "{context}");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_measured_since_takes_nothing_back() {
    for kind in NOT_SHOWN_BY_CALLS {
        let world = content(kind, FOR_EVER, false, |_| {}).await;
        left_at_the_end(&world, kind.name());
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_grows_no_more_at_the_end_of_the_window_takes_nothing_back() {
    let world =
        content(FindingKind::QueueGrowing, FOR_EVER, true, |health| health.backlog_stopped = true).await;
    left_at_the_end(&world, "a backlog that stands");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_gets_smaller_needs_not_be_gone() {
    let world = content_and_found(FindingKind::QueueGrowing, FOR_EVER, true).await;
    assert_eq!(end(&world, false).state, ActionState::Verified);
    assert_eq!(world.lock().controller.replicas, 2);
}

#[tokio::test(start_paused = true)]
async fn what_callers_complained_of_is_over_when_they_are_content() {
    let world = content_and_found(FindingKind::Hung, FOR_EVER, false).await;
    let done = end(&world, false);
    assert_eq!(done.state, ActionState::Verified, "{}", done.message);
    let took = took(&done);
    assert!(took.is_some_and(|took| took < SignedDuration::from_secs(6)), "{took:?}");
}
