//! What the pods of one run say together.

use super::*;
use homeostat_scale::jobs::learned::JobHistory;

/// A run that ended at second 700 with one pod of ten minutes, and what else `change` makes of its pods.
fn ended(change: impl FnOnce(&mut World, PodRecord)) -> JobHistory {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    let job = world.job("a", "plan", 0);
    world.step(1);
    let job = world.begin(job);
    world.step(2);
    world.end(job, "Completed", 700, 600, Some(200));
    let pod = world.snapshot.pods.get(&ObjectKey::new("a", "plan-0-pod")).expect("its pod");
    let pod = (**pod).clone();
    change(&mut world, pod);
    world.step(1_301);
    world.runs.acting.history(&ObjectKey::new("a", "plan")).expect("declared").clone()
}

fn put(world: &mut World, pod: PodRecord) {
    world.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(700));
    world.snapshot.generation += 1;
}

#[test]
fn a_run_whose_pods_come_one_after_the_other_takes_from_the_first_start_to_the_last_end() {
    let alone = ended(|_, _| {}).run_time.mean.exp();
    assert!((alone - 600.0).abs() < 1.0, "{alone}");
    let both = ended(|world, mut pod| {
        (pod.key, pod.uid) = (ObjectKey::new("a", "plan-0-other"), Uid::new("other"));
        let ContainerState::Terminated(end) = &mut pod.containers[0].state else { panic!("it has ended") };
        (end.started, end.finished) = (Some(at(700)), Some(at(1_300)));
        put(world, pod);
    });
    let both = both.run_time.mean.exp();
    assert!((both - 1_200.0).abs() < 1.0, "{both}");
}

#[test]
fn a_pause_between_the_pods_of_a_run_is_no_run_time() {
    let both = ended(|world, mut pod| {
        (pod.key, pod.uid) = (ObjectKey::new("a", "plan-0-other"), Uid::new("other"));
        let ContainerState::Terminated(end) = &mut pod.containers[0].state else { panic!("it has ended") };
        (end.started, end.finished) = (Some(at(14_000)), Some(at(14_600)));
        put(world, pod);
    });
    let both = both.run_time.mean.exp();
    assert!((both - 1_200.0).abs() < 1.0, "{both}");
}

#[test]
fn containers_of_one_pod_use_their_memory_together_and_pods_each_their_own() {
    let history = ended(|world, mut pod| {
        let mut beside = pod.containers[0].clone();
        beside.name = Name::from("beside");
        let ContainerState::Terminated(end) = &mut beside.state else { panic!("it has ended") };
        end.used.memory_bytes = Some(50 * MIB);
        pod.containers.push(beside);
        put(world, pod.clone());
        (pod.key, pod.uid) = (ObjectKey::new("a", "plan-0-other"), Uid::new("other"));
        put(world, pod);
    });
    assert_eq!(history.peaks, [250]);
}
