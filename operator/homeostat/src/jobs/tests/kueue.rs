//! Jobs that a queue of Kueue lets go.

use super::*;

impl World {
    /// Kueue is there; tenant `a` has this queue.
    pub(super) fn queue(&mut self, name: &str) {
        let queues = BTreeMap::from([(Name::from("a"), vec![Name::from(name)])]);
        self.snapshot.commit(&ObjectChange::Kueue(Some(Arc::new(queues))), at(0));
    }

    /// The Job names this queue.
    fn labelled(&mut self, mut record: ControllerRecord, queue: &str) -> ControllerRecord {
        record.work.as_mut().expect("work").queue = Some(Name::from(queue));
        self.put(record.clone());
        record
    }

    /// The template of a workload of tenant `a` names this queue.
    pub(super) fn left_to(&mut self, name: &str, queue: &str) {
        let key = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", name) };
        let cron = (**self.snapshot.controllers.get(&key).expect("the CronJob")).clone();
        self.labelled(cron, queue);
    }
}

#[test]
fn jobs_of_a_queue_of_kueue_are_left_to_it() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.queue("night");
    world.left_to("plan", "night");
    let job = world.job("a", "plan", 0);
    assert_eq!(world.step(5), [], "Kueue lets it go");
    assert!(
        world.report("a", "plan").said.contains("left to queue night"),
        "{}",
        world.report("a", "plan").said
    );
    let job = world.begin(job);
    world.step(6);
    world.end(job, "Completed", 60, 50, Some(200));
    world.step(61);
    world.snapshot.commit(&ObjectChange::Kueue(None), at(62));
    world.job("a", "plan", 100);
    assert_eq!(names(&world.step(101)), ["a/plan-100"], "Kueue is gone: its order is ours");
}

#[test]
fn a_job_labelled_with_a_queue_is_left_alone_until_it_is_known_that_there_is_no_kueue() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.left_to("plan", "night");
    let job = world.job("a", "plan", 0);
    world.labelled(job, "night");
    assert_eq!(world.step(5), []);
    assert!(world.report("a", "plan").said.contains("not known yet"), "{}", world.report("a", "plan").said);
    world.snapshot.commit(&ObjectChange::Kueue(None), at(6));
    assert_eq!(names(&world.step(7)), ["a/plan-0"]);
}

#[test]
fn what_kueue_let_go_takes_its_room_of_the_capacity() {
    let mut world = World::new(1);
    for tenant in ["a", "b"] {
        world.tenant(tenant, None);
        world.workload(tenant, "plan", |_| {});
    }
    world.queue("night");
    world.left_to("plan", "night");
    let job = world.job("a", "plan", 0);
    assert_eq!(world.step(1), []);
    let job = world.begin(job);
    world.job("b", "plan", 2);
    assert_eq!(world.step(3), [], "there is one vCPU");
    world.end(job, "Completed", 60, 50, Some(200));
    assert_eq!(names(&world.step(61)), ["b/plan-2"]);
}

#[test]
fn beside_a_single_queue_a_job_that_names_none_is_started_here() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.queue("night");
    world.job("a", "plan", 0);
    assert_eq!(names(&world.step(5)), ["a/plan-0"], "Kueue starts no Job without its label");
}

#[test]
fn jobs_that_kueue_put_into_its_default_queue_are_left_to_it() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.queue("default");
    let job = world.job("a", "plan", 0);
    let job = world.labelled(job, "default");
    assert_eq!(world.step(5), []);
    assert!(world.report("a", "plan").said.contains("left to queue default"));
    let job = world.begin(job);
    world.step(6);
    world.end(job, "Completed", 60, 50, Some(200));
    world.job("a", "plan", 100);
    assert_eq!(names(&world.step(101)), ["a/plan-100"], "the newest one has no label any more");
}

#[test]
fn what_kueue_put_into_its_default_queue_stays_its_own_when_the_last_job_is_cleared_away() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.queue("default");
    let job = world.job("a", "plan", 0);
    let job = world.labelled(job, "default");
    world.step(5);
    let job = world.begin(job);
    world.step(6);
    world.end(job.clone(), "Completed", 60, 50, Some(200));
    world.step(61);
    world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(job.key)), at(62));
    world.snapshot.generation += 1;
    world.step(63);
    let said = world.report("a", "plan").said;
    assert!(said.contains("left to queue default"), "{said}");
}
