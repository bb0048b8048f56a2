//! A start reserves what its Job will ask for, where it cannot write what was learnt.

use super::*;
use homeostat_knowledge::forecast::Scaler;

impl World {
    /// Its pod said that it used so much CPU.
    fn used_cpu(&mut self, pod: &str, millicores: u64) {
        let key = ObjectKey::new("a", pod);
        let mut pod = (**self.snapshot.pods.get(&key).expect("its pod")).clone();
        let ContainerState::Terminated(end) = &mut pod.containers[0].state else { panic!("it has ended") };
        end.used.cpu_millis = Some(millicores);
        self.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
        self.snapshot.generation += 1;
    }
}

/// Of three runs that wait how many begin on two vCPU, where each asks for one and five before them used a tenth.
fn begin_together(change: fn(&mut WorkloadPolicy), prepare: fn(&mut World)) -> usize {
    let mut world = World::new(2);
    world.tenant("a", None);
    world.workload("a", "plan", change);
    for slot in (0..500).step_by(100) {
        let job = world.job("a", "plan", slot);
        world.step(slot + 1);
        let job = world.begin(job);
        world.step(slot + 2);
        world.end(job, "Completed", slot + 20, 10, Some(200));
        world.used_cpu(&format!("plan-{slot}-pod"), 100);
        world.step(slot + 21);
    }
    prepare(&mut world);
    for slot in [600, 601, 602] {
        world.job("a", "plan", slot);
    }
    world.step(603).len()
}

fn sized(policy: &mut WorkloadPolicy) {
    policy.permits.cpu_millis = Some(Bounds { min: 100, max: 1_000 });
}

fn by_others(world: &mut World) {
    let target = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "plan") };
    let vertical = BTreeMap::from([(target, Scaler::Vpa { name: Name::from("fit") })]);
    world.snapshot.commit(&ObjectChange::Scalers(Arc::new(vertical)), at(0));
}

#[test]
fn less_cpu_than_jobs_ask_for_is_planned_only_where_it_is_written() {
    assert_eq!(begin_together(sized, |_| {}), 3, "each is given what it uses");
    assert_eq!(begin_together(|_| {}, |_| {}), 2, "without bounds its CPU stays as it is");
    assert_eq!(begin_together(sized, by_others), 2, "an autoscaler sizes them");
}

#[test]
fn a_quota_holds_also_where_runs_used_less_than_they_ask_for() {
    let quota =
        |world: &mut World| world.tenant("a", Some(Amounts { cpu_millis: Some(1_000), memory_bytes: None }));
    assert_eq!(begin_together(|_| {}, quota), 1);
}

impl World {
    /// CPU that starts set, of those that begin now.
    fn started_cpu(&mut self, second: i64) -> Vec<Option<u64>> {
        let ordered = self.runs.step(&self.snapshot, at(second), &mut self.ids).expect("a second has passed");
        let cpu = |plan: &Plan<Draft>| match plan.steps[0].parameters {
            Parameters::StartJob { cpu_millis, .. } => cpu_millis,
            ref other => panic!("{other:?}"),
        };
        ordered.plans.iter().map(cpu).collect()
    }

    /// Runs are limited to one core.
    fn limit_to_a_core(&mut self) {
        let key = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "plan") };
        let mut cron = (**self.snapshot.controllers.get(&key).expect("its CronJob")).clone();
        cron.work.as_mut().expect("its template").cpu_limit = Some(1_000);
        self.put(cron);
    }

    /// A run that used so much of the core that it had.
    fn one_run_within_a_core(&mut self, slot: i64, millicores: u64) {
        let mut job = self.job("a", "plan", slot);
        job.work.as_mut().expect("its template").cpu_limit = Some(1_000);
        self.put(job.clone());
        self.step(slot + 1);
        let job = self.begin(job);
        self.step(slot + 2);
        self.end(job, "Completed", slot + 20, 10, Some(200));
        self.used_cpu(&format!("plan-{slot}-pod"), millicores);
        self.step(slot + 21);
    }
}

#[test]
fn after_a_run_that_was_throttled_the_next_one_is_given_more_cpu_as_far_as_its_bounds_allow() {
    let next = |most: Option<u64>, millicores: u64, prepare: fn(&mut World)| {
        let mut world = World::new(8);
        world.tenant("a", None);
        let bounds = most.map(|max| Bounds { min: 100, max });
        world.workload("a", "plan", |policy| policy.permits.cpu_millis = bounds);
        prepare(&mut world);
        world.one_run_within_a_core(0, millicores);
        world.job("a", "plan", 100);
        world.started_cpu(101)
    };
    let limited = World::limit_to_a_core;
    assert_eq!(next(Some(4_000), 990, limited), [Some(1_500)]);
    assert_eq!(next(Some(1_200), 990, limited), [Some(1_200)]);
    assert_eq!(next(Some(1_000), 990, limited), [None], "it has the most already");
    assert_eq!(next(None, 990, limited), [None], "its owner names no bounds");
    assert_eq!(next(Some(4_000), 700, limited), [None], "it had enough");
    assert_eq!(next(Some(4_000), 990, |_| {}), [None], "nothing keeps it from more");
    let sized_by_others = |world: &mut World| {
        world.limit_to_a_core();
        by_others(world);
    };
    assert_eq!(next(Some(4_000), 990, sized_by_others), [None], "an autoscaler sizes them");
}

#[test]
fn no_more_cpu_is_reserved_than_a_start_can_write() {
    let mut world = World::new(2);
    world.tenant("a", None);
    world.workload("a", "plan", |policy| {
        policy.permits.cpu_millis = Some(Bounds { min: 100, max: 4_000 });
    });
    world.limit_to_a_core();
    by_others(&mut world);
    world.one_run_within_a_core(0, 990);
    for slot in [100, 101] {
        world.job("a", "plan", slot);
    }
    assert_eq!(world.started_cpu(102), [None, None], "two of one core each have room");
}
