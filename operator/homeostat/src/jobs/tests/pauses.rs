//! What was learnt of runs survives whatever keeps them waiting for a while.

use super::*;

impl World {
    /// A run of that slot, from its turn to its good end.
    pub(super) fn one_run(&mut self, slot: i64, used: u64) {
        let job = self.job("a", "plan", slot);
        self.step(slot + 1);
        let job = self.begin(job);
        self.step(slot + 2);
        self.end(job, "Completed", slot + 20, 10, Some(used));
        self.step(slot + 21);
    }

    /// Three runs of which much memory was learnt; the `CronJob` keeps the last one only.
    pub(super) fn learnt() -> Self {
        let mut world = Self::new(8);
        world.tenant("a", None);
        world.workload("a", "plan", |_| {});
        for (slot, used) in [(0, 900), (100, 1_000), (200, 600)] {
            world.one_run(slot, used);
        }
        for slot in [0, 100] {
            let object = ObjectKey::new("a", format!("plan-{slot}"));
            let key = ControllerKey { kind: ControllerKind::Job, object };
            world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(key)), at(230));
            world.snapshot.generation += 1;
        }
        world.step(240);
        world
    }

    fn pause(&mut self, paused: bool) {
        self.workload("a", "plan", |policy| policy.paused = paused);
    }

    fn kill_switch(&mut self, kill_switch: KillSwitch) {
        let control = ControlPolicy { kill_switch, ..(*self.snapshot.control).clone() };
        self.snapshot.commit(&ObjectChange::Control(Some(Arc::new(control))), at(250));
    }

    pub(super) fn next_start(&mut self) -> Vec<(String, Option<u64>)> {
        self.job("a", "plan", 400);
        self.step(401)
    }
}

#[test]
fn what_was_learnt_before_a_pause_sizes_the_first_run_after_it() {
    let without = World::learnt().next_start();
    assert!(matches!(without[..], [(_, Some(memory))] if memory > 1_000), "{without:?}");

    let mut paused = World::learnt();
    paused.pause(true);
    assert_eq!(paused.step(250), []);
    paused.pause(false);
    paused.step(260);
    assert_eq!(paused.next_start(), without);

    let mut switched = World::learnt();
    switched.kill_switch(KillSwitch::Engaged { reason: Name::from("drill"), by: None });
    assert_eq!(switched.step(250), []);
    switched.kill_switch(KillSwitch::Off);
    switched.step(260);
    assert_eq!(switched.next_start(), without);
}

#[test]
fn what_would_be_started_during_a_pause_has_the_size_that_was_learnt() {
    let mut world = World::learnt();
    world.pause(true);
    world.job("a", "plan", 400);
    assert_eq!(world.step(401), []);
    let said = world.report("a", "plan").said;
    assert!(said.contains("would start a run with 1 vCPU, 1.12 GiB"), "{said}");
}

#[test]
fn a_run_that_ends_during_a_pause_teaches_once() {
    let mut world = World::learnt();
    let job = world.job("a", "plan", 250);
    world.step(251);
    let job = world.begin(job);
    world.step(252);
    world.pause(true);
    world.step(253);
    world.end(job, "Completed", 270, 10, Some(3_000));
    world.step(271);
    world.pause(false);
    world.step(280);
    let started = world.next_start();
    assert!(matches!(started[..], [(_, Some(memory))] if memory > 3_000), "{started:?}");
    assert!(world.report("a", "plan").said.contains("from 4 runs"), "{}", world.report("a", "plan").said);
}

#[test]
fn what_people_declared_first_is_remembered_over_a_pause() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.step(1);
    // The template gets another size later.
    let key = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "plan") };
    let mut cron = (**world.snapshot.controllers.get(&key).expect("the CronJob")).clone();
    cron.work = Some(Box::new(work(0, 1_024)));
    for (second, by_switch) in
        [(2, KillSwitch::Engaged { reason: Name::from("drill"), by: None }), (3, KillSwitch::Off)]
    {
        world.kill_switch(by_switch);
        world.put(cron.clone());
        world.step(second);
    }
    world.job("a", "plan", 400);
    world.step(401);
    let said = world.report("a", "plan").said;
    assert!(said.contains("with 1 vCPU, 0.50 GiB"), "{said}");
}
