//! What Homeostat holds ends by itself, whatever became of the process that held it.

use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::{ActionKind, Level, WorkloadKey};
use homeostat_sim::defects::Defect;
use homeostat_sim::faults::Meddle;
use homeostat_sim::objects::OWN_NAMESPACE;
use homeostat_sim::oracle;
use homeostat_sim::run::{Lives, simulate};
use homeostat_sim::situations;
use homeostat_sim::world::{Person, World};
use std::time::Duration;

/// Holds after so many seconds, when something happens to the process that holds meanwhile.
fn held(kind: ActionKind, after: u64, meanwhile: &Meddle, defect: Option<Defect>) -> usize {
    simulate(async move {
        let situation = situations::of(kind).expect("a situation");
        let world = World::new(&[("shop", Level::ActFull), (PLATFORM_TENANT, Level::ActFull)]);
        world.crowd("shop", 18);
        let key = match situation.targets() {
            Some(_) => WorkloadKey::new("shop", "order"),
            None => WorkloadKey::new(OWN_NAMESPACE, "node-p"),
        };
        world.add(&key, situation);
        world.lock().person = Person::Away;
        let mut lives = Lives::begin(&world, defect);
        lives.pass(Duration::from_secs(4)).await;
        world.meddle(&Meddle::FallIll(key));
        lives.pass(Duration::from_secs(10)).await;
        world.meddle(meanwhile);
        lives.pass(Duration::from_secs(after - 10)).await;
        let inner = world.lock();
        assert_eq!(oracle::violations(&inner), [""; 0], "{kind} {meanwhile:?}");
        inner.server.holds().count()
    })
    .expect("a runtime")
}

#[test]
fn what_is_held_is_released_when_its_time_is_over_and_not_before() {
    for kind in [ActionKind::Cordon, ActionKind::Suspend, ActionKind::DriveBounds] {
        for meanwhile in [Meddle::Remember, Meddle::Crash, Meddle::Depose] {
            assert_eq!(held(kind, 35, &meanwhile, None), 1, "{kind} {meanwhile:?}");
            assert_eq!(held(kind, 60, &meanwhile, None), 0, "{kind} {meanwhile:?}");
        }
        assert_eq!(
            held(kind, 60, &Meddle::Engage, None),
            1,
            "{kind}: under the kill switch nothing is changed"
        );
        assert_eq!(held(kind, 60, &Meddle::Crash, Some(Defect::NeverReleases)), 1, "{kind}");
    }
}
