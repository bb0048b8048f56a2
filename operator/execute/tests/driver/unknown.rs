//! What nobody can tell: the process died between claim and effect, and others changed the target before anybody looked.

use crate::undo;
use crate::world::{Fault, World};
use homeostat_execute::{ActionHistory, outcome_unknown};
use homeostat_knowledge::{ActionState, FindingKind, Parameters, SignedDuration};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Number of the request that is the effect.
const EFFECT: usize = 8;

/// A world whose process died at its effect.
async fn died(how: Fault) -> Arc<World> {
    let world = World::new(FindingKind::Hung);
    world.lock().faults = BTreeMap::from([(EFFECT, how)]);
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let first = world.executor();
    tokio::select! {
        _ = first.run(&plan, Some(finding)) => {}
        () = world.crashed(1) => {}
    }
    world
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_tell_counts_as_done_and_is_never_sent_again() {
    let world = died(Fault::CrashBefore).await;
    // Somebody else replaces the pod before anybody looks who did it.
    world.lock().replace_pod_under_the_same_name();
    world.restart();
    let executor = world.executor();
    let open = world.lock().open_actions();
    assert_eq!(executor.resume(open), 1);
    executor.drain().await;
    let inner = world.lock();
    let record = inner.actions.values().next().expect("one action");
    assert!(outcome_unknown(record) && record.message.starts_with("outcome unknown"), "{record:?}");
    assert_eq!((record.state, inner.effects.len()), (ActionState::Verified, 0));
    let history = ActionHistory::of(record);
    assert!(history.counts() && history.at == record.instants.claimed, "it used budget up from its claim on");
}

#[tokio::test(start_paused = true)]
async fn a_size_that_may_be_somebody_elses_is_not_taken_back() {
    let world = undo::world();
    // The process dies just before the effect, and a person sets the same size before anybody looks.
    world.lock().faults = BTreeMap::from([(EFFECT, Fault::CrashBefore)]);
    let person = {
        let world = Arc::clone(&world);
        async move {
            world.crashed(1).await;
            world.lock().controller.replicas = 2;
        }
    };
    tokio::join!(undo::run(&world), person);
    let done = undo::end(&world, false);
    assert_eq!(done.state, ActionState::Failed);
    assert!(outcome_unknown(&done) && done.message.contains("not taken back"), "{}", done.message);
    let inner = world.lock();
    assert_eq!((inner.controller.replicas, inner.effects.len(), inner.actions.len()), (2, 0, 1));
}

/// Starts processes one after the other, each of which is killed after six seconds; gives how many it took until the
/// claim was resolved.
async fn short_lives(world: &Arc<World>, most: u32) -> Option<u32> {
    for life in 1..=most {
        world.restart();
        let executor = world.executor();
        let open = world.lock().open_actions();
        executor.resume(open);
        let ended = tokio::time::timeout(Duration::from_secs(6), executor.drain()).await.is_ok();
        if ended {
            return Some(life);
        }
        let present = world.lock().life;
        world.crashes.send_replace(present);
    }
    None
}

#[tokio::test(start_paused = true)]
async fn however_often_it_is_restarted_a_claim_of_which_nothing_came_is_given_up() {
    let world = died(Fault::CrashBefore).await;
    // 35 s after the claim: to send it 10 s, to work on it 15 s, for clocks that differ 10 s.
    assert_eq!(short_lives(&world, 20).await, Some(6));
    let inner = world.lock();
    let record = inner.actions.values().next().expect("one action");
    assert_eq!((record.state, inner.effects.len()), (ActionState::Cancelled, 0), "{}", record.message);
    let (claimed, closed) = (record.instants.claimed, record.instants.closed);
    let took = closed.expect("closed").duration_since(claimed.expect("claimed"));
    assert!(took >= SignedDuration::from_secs(35), "not before nothing can come any more: {took}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_not_proved_to_be_right_waits_anew() {
    for ahead in [None, Some(SignedDuration::from_secs(4)), Some(SignedDuration::from_secs(-4))] {
        let world = died(Fault::CrashBefore).await;
        world.lock().server_ahead = ahead;
        assert_eq!(short_lives(&world, 20).await, None, "{ahead:?}");
        // The first life that is long enough ends it.
        world.restart();
        let executor = world.executor();
        let open = world.lock().open_actions();
        executor.resume(open);
        executor.drain().await;
        let inner = world.lock();
        let state = inner.actions.values().next().map(|record| record.state);
        assert_eq!((state, inner.effects.len()), (Some(ActionState::Cancelled), 0), "{ahead:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_came_is_found_whatever_the_age_of_its_claim() {
    let world = died(Fault::CrashAfter).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    world.restart();
    let executor = world.executor();
    let open = world.lock().open_actions();
    executor.resume(open);
    executor.drain().await;
    let inner = world.lock();
    let record = inner.actions.values().next().expect("one action");
    assert!(record.instants.sent.is_some(), "it had its effect: {record:?}");
    assert_eq!(inner.effects.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_took_long_to_store_sends_nothing_and_is_judged_anew() {
    // The claim is stored, its reply is lost twice over ten seconds: whoever found it might have given it up by then.
    let lost = Fault::Timeout { done: true };
    let faults = BTreeMap::from([(EFFECT - 3, lost.clone()), (EFFECT, lost)]);
    let world = crate::run_with(faults, Parameters::EvictPod { grace_seconds: None }).await;
    crate::check(&world, "late claim");
    let inner = world.lock();
    let first = inner.actions.values().next().expect("an action");
    assert_eq!(first.state, ActionState::Cancelled, "{}", first.message);
    assert!(first.message.contains("not sent within 10 s"), "{}", first.message);
    assert_eq!((inner.actions.len(), inner.effects.len()), (2, 1), "the second one helped");
}
