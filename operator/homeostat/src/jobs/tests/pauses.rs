//! What was learnt of runs survives whatever keeps them waiting for a while.

use super::*;
use homeostat_knowledge::policy::Freeze;

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

/// The template asks for 2 GiB now, as is found after a pause.
fn grow_the_template_over_a_pause(world: &mut World, second: i64) {
    let key = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "plan") };
    let mut cron = (**world.snapshot.controllers.get(&key).expect("the CronJob")).clone();
    cron.work = Some(Box::new(work(0, 2_048)));
    let engaged = KillSwitch::Engaged { reason: Name::from("drill"), by: None };
    for (second, by_switch) in [(second, engaged), (second + 1, KillSwitch::Off)] {
        world.kill_switch(by_switch);
        world.put(cron.clone());
        world.step(second);
    }
}

#[test]
fn a_template_counts_as_peoples_own_until_something_was_learnt() {
    let mut fresh = World::new(8);
    fresh.tenant("a", None);
    fresh.workload("a", "plan", |_| {});
    fresh.step(1);
    grow_the_template_over_a_pause(&mut fresh, 2);
    fresh.job("a", "plan", 400);
    fresh.step(401);
    let said = fresh.report("a", "plan").said;
    assert!(said.contains("with 1 vCPU, 2.00 GiB"), "{said}");

    let mut learnt = World::learnt();
    grow_the_template_over_a_pause(&mut learnt, 250);
    learnt.job("a", "plan", 400);
    learnt.step(401);
    let said = learnt.report("a", "plan").said;
    assert!(said.contains("with 1 vCPU, 1.12 GiB"), "it may be ours: {said}");
}

#[test]
fn a_run_does_not_begin_without_the_one_that_it_needs_whatever_is_changed_meanwhile() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "forecast", |policy| policy.permits.repeatable = false);
    world.workload("a", "plan", |policy| policy.dependencies = vec![Name::from("forecast")]);
    let forecast = world.job("a", "forecast", 0);
    world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/forecast-0"]);
    let forecast = world.begin(forecast);
    world.step(2);
    world.end(forecast, "Error", 30, 20, Some(100));
    assert_eq!(world.step(31), []);
    // Another workload is put under control: what is known of runs is collected anew.
    world.workload("a", "other", |_| {});
    assert_eq!(world.step(40), []);
    assert_eq!(world.step(60), [], "its input is not there");
}

/// Forecasts of two slots fail for good, and what needs them stays suspended; their Jobs are `cleared` away or not.
pub(super) fn without_input(cleared: bool) -> World {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "forecast", |policy| policy.permits.repeatable = false);
    world.workload("a", "plan", |policy| policy.dependencies = vec![Name::from("forecast")]);
    for slot in [0, 100] {
        let forecast = world.job("a", "forecast", slot);
        world.job("a", "plan", slot);
        assert_eq!(names(&world.step(slot + 1)), [format!("a/forecast-{slot}")]);
        let forecast = world.begin(forecast);
        world.step(slot + 2);
        world.end(forecast.clone(), "Error", slot + 30, 20, Some(100));
        assert_eq!(world.step(slot + 31), []);
        if cleared {
            world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(forecast.key)), at(slot + 32));
            world.snapshot.generation += 1;
        }
    }
    world
}

#[test]
fn of_several_inputs_that_failed_each_keeps_its_run_from_beginning_also_when_its_job_is_gone() {
    for cleared in [false, true] {
        let mut world = without_input(cleared);
        world.workload("a", "other", |_| {});
        assert_eq!(world.step(140), [], "cleared: {cleared}");
        assert_eq!(world.step(160), [], "cleared: {cleared}");
        // A later input that is there lets its own run begin, also when what is known is collected anew.
        let forecast = world.job("a", "forecast", 200);
        assert_eq!(names(&world.step(201)), ["a/forecast-200"]);
        let forecast = world.begin(forecast);
        world.step(202);
        world.end(forecast, "Completed", 220, 15, Some(100));
        assert_eq!(world.step(221), []);
        world.workload("a", "another", |_| {});
        assert_eq!(world.step(240), [], "cleared: {cleared}");
        world.job("a", "plan", 200);
        assert_eq!(names(&world.step(245)), ["a/plan-200"], "cleared: {cleared}");
    }
}

#[test]
fn what_a_freeze_window_keeps_waiting_holds_no_room_and_says_so() {
    let mut world = World::new(1);
    world.tenant("a", None);
    world.tenant("b", None);
    for tenant in ["a", "b"] {
        world.workload(tenant, "plan", |_| {});
    }
    let mut frozen = (**world.snapshot.tenants.get(&TenantName::new("a")).expect("a")).clone();
    frozen.freezes = vec![Freeze {
        name: Name::from("night"),
        schedule: Name::from("0 0 * * *"),
        time_zone: Name::from("UTC"),
        duration: SignedDuration::from_hours(24),
    }];
    world.snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(frozen))), at(0));
    world.job("a", "plan", 0);
    assert_eq!(world.step(1), []);
    let problem = world.report("a", "plan").problem.unwrap_or_default();
    assert!(problem.contains("freeze window night"), "{problem}");
    world.job("b", "plan", 2);
    assert_eq!(names(&world.step(3)), ["b/plan-2"], "the only vCPU is free");
}

#[test]
fn after_a_kill_for_memory_a_run_gets_more_than_the_limit_that_it_had() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    let job = world.job("a", "plan", 0);
    world.step(1);
    let job = world.begin(job);
    world.step(2);
    world.end(job, "OOMKilled", 30, 20, None);
    // It asked for 512 MiB and was killed at 1 GiB.
    let mut pod = (**world.snapshot.pods.get(&ObjectKey::new("a", "plan-0-pod")).expect("its pod")).clone();
    pod.containers[0].memory.limit = Some(1_024 * MIB);
    world.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(30));
    let again = world.step(31);
    assert!(matches!(again[..], [(_, Some(memory))] if memory >= 2_048), "{again:?}");
}
