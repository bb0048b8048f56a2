//! Jobs that a queue of Kueue lets go.

use super::*;

#[test]
fn jobs_of_a_queue_of_kueue_are_left_to_it() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    let queues = BTreeMap::from([(Name::from("a"), vec![Name::from("night")])]);
    world.snapshot.commit(&ObjectChange::Kueue(Some(Arc::new(queues))), at(0));
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
    let labelled = |world: &mut World, mut record: ControllerRecord| {
        record.work.as_mut().expect("work").queue = Some(Name::from("night"));
        world.put(record);
    };
    let cron = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "plan") };
    let cron = (**world.snapshot.controllers.get(&cron).expect("the CronJob")).clone();
    labelled(&mut world, cron);
    let job = world.job("a", "plan", 0);
    labelled(&mut world, job);
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
    let queues = BTreeMap::from([(Name::from("a"), vec![Name::from("night")])]);
    world.snapshot.commit(&ObjectChange::Kueue(Some(Arc::new(queues))), at(0));
    let job = world.job("a", "plan", 0);
    assert_eq!(world.step(1), []);
    let job = world.begin(job);
    world.job("b", "plan", 2);
    assert_eq!(world.step(3), [], "there is one vCPU");
    world.end(job, "Completed", 60, 50, Some(200));
    assert_eq!(names(&world.step(61)), ["b/plan-2"]);
}
