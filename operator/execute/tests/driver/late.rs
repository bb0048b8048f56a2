//! Reads that succeed and take long: whatever they are, the write stands on an answer of the kill switch, a lease and a
//! claim of its own moment.

use crate::world::World;
use homeostat_execute::ExecuteError;
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionRecord, ActionState, FindingKind, GuardName, Name, Parameters, SignedDuration,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A world in which these requests take so many milliseconds, with something to look at before each effect.
fn world(slow: &[(&'static str, u64)]) -> Arc<World> {
    let world = World::new(FindingKind::Hung);
    {
        let mut inner = world.lock();
        inner.slow = slow.iter().map(|(name, millis)| (*name, Duration::from_millis(*millis))).collect();
        inner.looks = true;
    }
    world
}

async fn run(world: &Arc<World>, parameters: Parameters) -> Result<ActionRecord, ExecuteError> {
    let (plan, finding) = world.plan(parameters);
    let executor = world.executor();
    let ended = executor.run(&plan, Some(finding)).await;
    assert_eq!(executor.breaches(), []);
    ended
}

fn count(world: &World, request: &str) -> usize {
    world.lock().requests.iter().filter(|name| **name == request).count()
}

/// Waits until so many of this request have arrived.
async fn arrived(world: &World, request: &str, number: usize) {
    for _ in 0..10_000 {
        if count(world, request) >= number {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{request} did not arrive {number} times: {:?}", world.lock().requests);
}

const EVICT: Parameters = Parameters::EvictPod { grace_seconds: None };

#[tokio::test(start_paused = true)]
async fn however_long_reads_take_no_effect_stands_on_an_old_answer_of_the_kill_switch() {
    let half = SignedDuration::from_millis(510);
    let (mut after, mut latest) = (0, SignedDuration::ZERO);
    for slow in [
        vec![("fresh", 1_200)],
        vec![("look", 1_200)],
        vec![("fresh", 900), ("look", 900)],
        vec![("look", 700), ("kill switch", 400)],
        vec![("update Claimed", 700), ("look", 800)],
    ] {
        for step in 0..60 {
            let world = world(&slow);
            let engage = async {
                tokio::time::sleep(Duration::from_millis(100 * step)).await;
                let reason = Name::from("drill");
                world.lock().kill_switch = KillSwitch::Engaged { reason, by: None };
                world.now()
            };
            let (ended, engaged) = tokio::join!(run(&world, EVICT), engage);
            let context = format!("{slow:?}, engaged after {} ms", 100 * step);
            assert!(ended.expect("it ends").state.ended(), "{context}");
            for effect in &world.lock().effects {
                let late = effect.at.duration_since(engaged);
                assert!(late <= half, "{context}: an effect {late:?} later");
                latest = latest.max(late);
                after += 1;
            }
        }
    }
    assert!(
        after > 0 && latest.is_positive(),
        "slow reads alone keep nobody from acting: {after} {latest:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kill_switch_that_never_answers_in_time_ends_the_action_after_five_tries() {
    for parameters in [EVICT, Parameters::RollingRestart] {
        let world = world(&[("kill switch", 600)]);
        let ended = run(&world, parameters.clone()).await.expect("it ends");
        assert_eq!(ended.state, ActionState::Cancelled, "{parameters:?}: {}", ended.message);
        assert!(
            ended.message.contains("the kill switch took longer to answer than 500 ms"),
            "{}",
            ended.message
        );
        assert_eq!(world.lock().effects.len(), 0);
        // Before the intent, with the claim, and once for each try.
        assert_eq!(count(&world, "kill switch"), 7, "{:?}", world.lock().requests);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_in_time_at_last_is_enough() {
    let world = world(&[("kill switch", 600)]);
    let better = async {
        arrived(&world, "kill switch", 4).await;
        world.lock().slow = BTreeMap::new();
    };
    let (ended, ()) = tokio::join!(run(&world, EVICT), better);
    assert_eq!(ended.expect("it ends").state, ActionState::Verified);
    assert_eq!(world.lock().effects.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_grew_old_while_something_was_read_sends_nothing() {
    let world = world(&[("look", 10_500)]);
    let ended = run(&world, EVICT).await.expect("it ends");
    assert!(matches!(ended.state, ActionState::Cancelled | ActionState::Refused), "{}", ended.message);
    assert_eq!(world.lock().effects.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_lost_while_something_was_read_sends_nothing() {
    for slow in [("look", 3_000), ("fresh", 3_000)] {
        let world = world(&[slow]);
        let lose = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert_eq!(count(&world, slow.0), 2, "in the middle of the second read");
            world.lock().leader = 0;
            world.announce_leader();
        };
        let (ended, ()) = tokio::join!(run(&world, EVICT), lose);
        assert!(matches!(ended, Err(ExecuteError::NotLeading { .. })), "{slow:?}: {ended:?}");
        assert_eq!(world.lock().effects.len(), 0, "{slow:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_for_the_write_is_tried_again_and_the_guards_come_first() {
    let world = world(&[("look", 600)]);
    let stop = async {
        arrived(&world, "look", 2).await;
        world.lock().kill_switch = KillSwitch::Unreadable;
    };
    let (ended, ()) = tokio::join!(run(&world, EVICT), stop);
    let ended = ended.expect("it ends");
    assert_eq!(ended.state, ActionState::Refused, "{}", ended.message);
    assert_eq!(ended.guards.last().map(|guard| guard.name), Some(GuardName::KillSwitch));
    assert_eq!(world.lock().effects.len(), 0);
}
