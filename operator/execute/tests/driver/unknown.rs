//! What nobody can tell: the process died between claim and effect, and others changed the target before anybody looked.

use crate::undo;
use crate::world::{Fault, World};
use homeostat_execute::{ActionHistory, outcome_unknown};
use homeostat_knowledge::{ActionState, FindingKind, Parameters};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Number of the request that is the effect.
const EFFECT: usize = 8;

#[tokio::test(start_paused = true)]
async fn what_nobody_can_tell_counts_as_done_and_is_never_sent_again() {
    let world = World::new(FindingKind::Hung);
    world.lock().faults = BTreeMap::from([(EFFECT, Fault::CrashBefore)]);
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let first = world.executor();
    tokio::select! {
        _ = first.run(&plan, Some(finding)) => {}
        () = world.crashed(1) => {}
    }
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
