//! Pods of runs whose Job was made with less memory than its run needs by now.

use super::*;
use homeostat_knowledge::ActionState;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::runs::occasion;

impl World {
    /// Runs of which was learnt that they need about 1 GiB, and one that begins in a Job of 512 MiB.
    fn begun_too_small() -> (Self, ControllerRecord) {
        let mut world = Self::new(8);
        world.tenant("a", None);
        world.workload("a", "plan", |_| {});
        for slot in [0, 100, 200] {
            let job = world.job("a", "plan", slot);
            world.step(slot + 1);
            let job = world.begin(job);
            world.step(slot + 2);
            world.end(job, "Completed", slot + 20, 10, Some(900));
            world.step(slot + 21);
        }
        let job = world.job("a", "plan", 400);
        assert_eq!(names(&world.step(401)), ["a/plan-400"]);
        let job = world.begin(job);
        (world, job)
    }

    /// A pod of a Job with this limit, and this request, in MiB.
    fn pod(&mut self, job: &ControllerRecord, name: &str, limit: u64, request: u64) -> PodRecord {
        let pod = PodRecord {
            phase: PodPhase::Pending,
            owner: Some(OwnerRecord {
                kind: ControllerKind::Job,
                name: job.key.object.name.clone(),
                uid: job.uid.clone(),
            }),
            ready: false,
            created: at(0),
            containers: vec![ContainerRecord {
                name: Name::from("app"),
                ready: false,
                restarts: 0,
                state: ContainerState::Waiting { reason: Name::from("ContainerCreating") },
                last_termination: None,
                cpu_request: Some(1_000),
                cpu_limit: None,
                ephemeral_storage_limit: None,
                memory: Memory { request: Some(request * MIB), limit: Some(limit * MIB) },
            }],
            ..PodRecord::bare(
                ObjectKey::new(job.key.object.namespace.clone(), name),
                Uid::new(format!("uid-{name}")),
            )
        };
        self.put_pod(pod.clone());
        pod
    }

    fn put_pod(&mut self, pod: PodRecord) {
        self.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
        self.snapshot.generation += 1;
    }

    /// The ledger has an action that was to give a pod so many MiB; `words` of a refused dry run, or it was done.
    fn stored(
        &mut self,
        job: &ControllerRecord,
        pod: &PodRecord,
        (second, memory): (i64, u64),
        words: Option<&str>,
    ) {
        let mut action = refused_action(job, None);
        action.target = Snapshot::pod_target(pod);
        action.incident = occasion(&action.target);
        action.id = homeostat_knowledge::ActionId::new(format!("{}-1", action.incident));
        action.evidence.taken_at = at(second);
        action.parameters = Parameters::ResizePod {
            container: Name::from("app"),
            cpu_millis: None,
            cpu_limit_millis: None,
            memory_bytes: Some(memory * MIB),
            memory_limit_bytes: None,
        };
        if let Some(words) = words {
            action.guards[0].message = words.to_owned();
            action.message = words.to_owned();
        } else {
            action.state = ActionState::Verified;
            action.guards.clear();
            action.instants.sent = Some(at(second));
        }
        self.snapshot.actions.insert_mut(action.id.clone(), Arc::new(action));
    }

    /// Another run of the workload, known only by how much it used.
    fn another(&mut self, slot: i64, used: u64) {
        let job = self.job("a", "plan", slot);
        self.step(slot + 1);
        let job = self.begin(job);
        self.step(slot + 2);
        self.end(job, "Completed", slot + 20, 10, Some(used));
    }
}

/// What is given to pods, without starts and templates.
fn to_pods(given: Vec<(String, Option<u64>)>) -> Vec<(String, u64)> {
    let of_pods = given.into_iter().filter(|(name, _)| name.contains("pod"));
    of_pods.map(|(name, memory)| (name, memory.expect("a size"))).collect()
}

#[test]
fn a_pod_that_begins_with_less_than_its_run_was_planned_with_gets_it_at_the_next_look() {
    let (mut world, job) = World::begun_too_small();
    assert_eq!(to_pods(world.step(402)), [], "no pod yet");
    let mut pod = world.pod(&job, "pod-1", 512, 512);
    let given = to_pods(world.step(403));
    let [(name, memory)] = &given[..] else { panic!("{given:?}") };
    assert_eq!(name, "a/pod-1");
    assert!((1_025..=1_200).contains(memory), "more than double in one step: {memory}");
    assert_eq!(to_pods(world.step(404)), [], "once");
    world.stored(&job, &pod, (403, *memory), None);
    pod.phase = PodPhase::Running;
    pod.containers[0].memory = Memory { request: Some(memory * MIB), limit: Some(memory * MIB) };
    world.put_pod(pod.clone());
    for second in 405..430 {
        assert_eq!(to_pods(world.step(second)), [], "it has its size");
    }
    // Another run needs far more: what runs now may need it as well.
    world.another(430, 1_500);
    let more = to_pods(world.step(451));
    assert!(matches!(&more[..], [(_, more)] if more > memory), "{more:?}");
    // Somebody sets it back after that: it is theirs.
    world.stored(&job, &pod, (451, more[0].1), None);
    for second in 452..500 {
        assert_eq!(to_pods(world.step(second)), [], "second {second}");
    }
}

#[test]
fn after_a_restart_a_pod_that_lacks_memory_gets_it_and_one_that_was_given_it_is_left_alone() {
    let (mut world, job) = World::begun_too_small();
    let pod = world.pod(&job, "pod-1", 512, 512);
    world.runs = RunOrder::default();
    let given = to_pods(world.step(403));
    assert!(matches!(&given[..], [(_, memory)] if *memory > 900), "by the Jobs that are left: {given:?}");
    world.stored(&job, &pod, (403, given[0].1), None);
    world.runs = RunOrder::default();
    assert_eq!(to_pods(world.step(404)), []);
}

#[test]
fn what_stops_for_a_moment_is_tried_three_times_and_what_the_cluster_refuses_is_told_and_left_alone() {
    let (mut world, job) = World::begun_too_small();
    let pod = world.pod(&job, "pod-1", 512, 512);
    let tried: Vec<i64> = (403..600).filter(|second| !to_pods(world.step(*second)).is_empty()).collect();
    assert_eq!(tried, [403, 408, 418]);
    let other = world.pod(&job, "pod-2", 512, 512);
    assert_eq!(to_pods(world.step(600)).len(), 1, "another pod has its own tries");
    // That a pod was gone says nothing of others.
    world.stored(&job, &other, (600, 1_040), Some("would refuse it: pods \"pod-2\" not found"));
    world.pod(&job, "pod-3", 512, 512);
    assert_eq!(to_pods(world.step(601)).len(), 1);
    world.stored(
        &job,
        &pod,
        (602, 1_040),
        Some("the API server would refuse it: the server could not find it"),
    );
    world.pod(&job, "pod-4", 512, 512);
    assert_eq!(to_pods(world.step(603)), []);
    let report = world.report("a", "plan");
    assert!(report.said.contains("not resized in place until"), "{}", report.said);
    assert!(report.said.contains("could not find it"), "{}", report.said);
    assert_eq!(report.problem, None, "runs are started all the same");
    assert_eq!(to_pods(world.step(602 + 3_599)), []);
    assert!(!to_pods(world.step(602 + 3_600)).is_empty(), "an hour later it is tried again");
}

#[test]
fn nothing_is_given_without_the_level_or_beside_a_vertical_autoscaler_and_never_to_what_ended() {
    type Case = (&'static str, fn(&mut World, &mut PodRecord));
    let cases: [Case; 6] = [
        ("no bounds", |world, _| world.workload("a", "plan", |policy| policy.permits.memory_bytes = None)),
        ("level", |world, _| {
            let mut tenant = (**world.snapshot.tenants.get(&TenantName::new("a")).expect("a tenant")).clone();
            tenant.levels.insert(ActionKind::ResizePod, Level::ActBounded);
            world.snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), at(402));
        }),
        ("autoscaler", |world, _| {
            let target = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "plan") };
            world.snapshot.scalers =
                Arc::new(BTreeMap::from([(target, Scaler::Vpa { name: Name::from("fit") })]));
        }),
        ("no limit", |_, pod| pod.containers[0].memory.limit = None),
        ("ended", |_, pod| pod.phase = PodPhase::Failed),
        ("going", |_, pod| pod.deleting = true),
    ];
    for (name, change) in cases {
        let (mut world, job) = World::begun_too_small();
        let mut pod = world.pod(&job, "pod-1", 512, 512);
        change(&mut world, &mut pod);
        world.put_pod(pod);
        assert_eq!(to_pods(world.step(403)), [], "{name}");
    }
}

#[test]
fn pods_of_one_run_are_given_memory_a_few_at_a_time() {
    let (mut world, job) = World::begun_too_small();
    let pods: Vec<PodRecord> =
        (0..6).map(|number| world.pod(&job, &format!("pod-{number}"), 512, 512)).collect();
    let given = to_pods(world.step(403));
    assert_eq!(given.len(), 4, "{given:?}");
    for (pod, (_, memory)) in pods.iter().zip(&given) {
        let mut pod = pod.clone();
        pod.containers[0].memory = Memory { request: Some(memory * MIB), limit: Some(memory * MIB) };
        world.put_pod(pod);
    }
    assert_eq!(to_pods(world.step(404)).len(), 2, "the rest when those have it");
}

#[test]
fn what_pods_were_given_beyond_their_plan_has_no_room_for_others() {
    let (mut world, job) = World::begun_too_small();
    world.workload("a", "other", |_| {});
    let mut pod = world.pod(&job, "pod-1", 512, 512);
    // All but a little of the node's 64 GiB.
    pod.containers[0].memory = Memory { request: Some(65_400 * MIB), limit: Some(65_400 * MIB) };
    world.put_pod(pod);
    world.step(403);
    world.job("a", "other", 404);
    assert_eq!(names(&world.step(405)), [] as [&str; 0]);
    let said = world.report("a", "other").said;
    assert!(said.contains("room"), "{said}");
}

#[test]
fn what_a_kubelet_refuses_or_puts_off_is_told_and_left_to_the_next_run() {
    use homeostat_knowledge::kubelet::{Resize, ResizeStep};
    let (mut world, job) = World::begun_too_small();
    let mut pod = world.pod(&job, "pod-1", 512, 512);
    let given = to_pods(world.step(403));
    world.stored(&job, &pod, (403, given[0].1), None);
    let mut says = |world: &mut World, step, message: &str| {
        pod.resize = Some(Box::new(Resize { step, message: Some(Name::from(message)) }));
        world.put_pod(pod.clone());
    };
    says(&mut world, ResizeStep::Deferred, "Node didn't have enough resource: memory");
    world.pod(&job, "pod-2", 512, 512);
    assert_eq!(to_pods(world.step(404)).len(), 1, "another node may have room");
    let report = world.report("a", "plan");
    assert!(report.said.contains("puts off the new size of pod pod-1 (Deferred)"), "{}", report.said);
    assert!(report.said.contains("the next run has it from its start"), "{}", report.said);
    says(&mut world, ResizeStep::Infeasible, "Node didn't have enough capacity: memory");
    world.pod(&job, "pod-3", 512, 512);
    assert_eq!(to_pods(world.step(405)), []);
    let report = world.report("a", "plan");
    assert!(report.said.contains("not resized in place until"), "{}", report.said);
    assert!(report.said.contains("the kubelet of pod pod-1 refuses the new size"), "{}", report.said);
    assert_eq!(report.problem, None, "runs are started all the same");
    assert_eq!(to_pods(world.step(405 + 3_599)), []);
}
