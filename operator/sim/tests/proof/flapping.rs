//! An illness that comes and goes at any pace: at most one action in a cool-down, whoever recovers it.

use homeostat_knowledge::policy::GuardLimits;
use homeostat_knowledge::{ActionKind, Level, Timestamp, WorkloadKey};
use homeostat_sim::faults::Meddle;
use homeostat_sim::oracle;
use homeostat_sim::run::{Lives, simulate, spread};
use homeostat_sim::situations;
use homeostat_sim::world::World;
use std::time::Duration;

/// Each pace is looked at for so long.
const LASTS: u64 = 45 * 60;

/// When effects came while a workload fell ill and got well in turn, so many seconds each.
fn effects(half: u64) -> Vec<Timestamp> {
    simulate(async move {
        let world = World::new(&[("shop", Level::ActFull)]);
        world.crowd("shop", 18);
        let key = WorkloadKey::new("shop", "order");
        world.add(&key, situations::of(ActionKind::EvictPod).expect("a situation"));
        let mut lives = Lives::begin(&world, None);
        lives.pass(Duration::from_secs(4)).await;
        for _ in 0..(LASTS / half / 2).max(1) {
            world.meddle(&Meddle::FallIll(key.clone()));
            lives.pass(Duration::from_secs(half)).await;
            world.meddle(&Meddle::Recover(key.clone()));
            lives.pass(Duration::from_secs(half)).await;
        }
        let inner = world.lock();
        assert_eq!(oracle::violations(&inner), [""; 0], "{half} s");
        assert_eq!(lives.breaches(), [""; 0], "{half} s");
        inner.audit.effects.iter().map(|effect| effect.landed.at).collect()
    })
    .expect("a runtime")
}

#[test]
fn an_illness_that_flaps_at_any_pace_gets_one_action_in_a_cool_down() {
    let halves = [2, 5, 10, 30, 120, 500, 1_300];
    let runs = spread(&halves, |half| effects(*half));
    let cooldown = GuardLimits::default().cooldown_success;
    // At the quickest pace it is still ill when it is looked whether it helped: the second and last try of one incident.
    let (quickest, others) = runs.split_first().expect("runs");
    assert_eq!(quickest.len(), 2, "two useless actions, then people: {quickest:?}");
    for (half, effects) in halves[1..].iter().zip(others) {
        let close = effects.windows(2).find(|pair| pair[1].duration_since(pair[0]) < cooldown);
        assert_eq!(close, None, "ill and well for {half} s each: {effects:?}");
        assert!((1..=4).contains(&effects.len()), "{half} s: {effects:?}");
    }
}
