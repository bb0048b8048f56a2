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

/// A node is closed and removed from the cluster so many milliseconds after it fell ill, as an autoscaler or a provider
/// does with nodes.
fn removed(after: u64, meanwhile: Option<&Meddle>) -> usize {
    simulate(async move {
        let world = World::new(&[("shop", Level::ActFull), (PLATFORM_TENANT, Level::ActFull)]);
        world.crowd("shop", 18);
        let key = WorkloadKey::new(OWN_NAMESPACE, "node-p");
        world.add(&key, situations::of(ActionKind::Cordon).expect("a situation"));
        let mut lives = Lives::begin(&world, None);
        lives.pass(Duration::from_secs(4)).await;
        world.meddle(&Meddle::FallIll(key.clone()));
        lives.pass(Duration::from_millis(after)).await;
        world.lock().server.remove_node(&key.name);
        world.announce();
        if let Some(meddle) = meanwhile {
            world.meddle(meddle);
        }
        lives.pass(Duration::from_mins(3)).await;
        let inner = world.lock();
        let context = format!("removed after {after} ms, then {meanwhile:?}");
        assert_eq!(oracle::violations(&inner), [""; 0], "{context}");
        assert_eq!(lives.breaches(), [""; 0], "{context}");
        let open: Vec<_> = inner.server.open_actions().map(|record| (&record.id, record.state)).collect();
        assert!(open.is_empty(), "{context}: {open:?}");
        assert_eq!(inner.server.holds().count(), 0, "{context}: nothing is held that is not there");
        assert_eq!(inner.server.actions.len(), 1, "{context}: its record stays, and nothing else was tried");
        inner.audit.effects.len()
    })
    .expect("a runtime")
}

#[test]
fn a_node_that_is_removed_before_or_after_its_cordon_leaves_no_open_action_and_nothing_held() {
    let moments = [50, 100, 200, 300, 400, 600, 1_000, 2_000, 5_000, 15_000, 29_000];
    let effects: Vec<usize> = moments
        .iter()
        .flat_map(|after| {
            [None, Some(&Meddle::Crash), Some(&Meddle::Depose)].map(|then| removed(*after, then))
        })
        .collect();
    assert!(effects.iter().all(|effects| *effects <= 1), "{effects:?}");
    assert!(effects.contains(&1), "some of them were closed before: {effects:?}");
}
