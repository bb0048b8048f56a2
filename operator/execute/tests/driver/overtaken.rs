//! The evidence moves to something else while an eviction is verified.

use crate::world::World;
use homeostat_knowledge::{ActionState, Entity, FindingKind, Name, Parameters, SignedDuration};

#[tokio::test(start_paused = true)]
async fn an_eviction_of_what_is_not_the_cause_ends_soon_and_makes_way() {
    let world = World::new(FindingKind::Hung);
    world.lock().moves_to = Some(Entity::External { address: Name::from("pay.example.com") });
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Failed);
    let outcome = ended.outcome.expect("an outcome");
    assert!(!outcome.helped && outcome.reason.contains("pay.example.com"), "{}", outcome.reason);
    let took = ended.instants.closed.expect("closed").duration_since(ended.instants.sent.expect("sent"));
    assert!(took < SignedDuration::from_secs(10), "of a window of 30 s: {took:?}");
    assert_eq!(executor.under_way(), 0, "the next action of the incident may begin");
    assert_eq!(world.lock().effects.len(), 1);
}
