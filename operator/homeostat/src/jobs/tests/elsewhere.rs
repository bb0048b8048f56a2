//! Capacity is what nodes that take pods have; what runs takes its room, whoever ordered it.

use super::*;
use homeostat_knowledge::policy::Freeze;

impl World {
    /// A node of one vCPU beside the first one.
    fn second_node(&mut self, change: impl FnOnce(&mut NodeRecord)) {
        let first = self.snapshot.nodes.values().next().expect("a node");
        let (name, uid) = (Name::from("second"), Uid::new("second"));
        let mut node = NodeRecord { name, uid, ..(**first).clone() };
        change(&mut node);
        self.snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node))), at(0));
        self.snapshot.generation += 1;
    }

    /// A pod of a service on a node; it asks for one vCPU.
    fn service(&mut self, node: &str) {
        let pod = PodRecord {
            node: Some(Name::from(node)),
            created: at(0),
            containers: vec![ContainerRecord {
                name: Name::from("app"),
                ready: true,
                restarts: 0,
                state: ContainerState::Running { since: at(0) },
                last_termination: None,
                cpu_request: Some(1_000),
                cpu_limit: None,
                ephemeral_storage_limit: None,
                memory: Memory::default(),
            }],
            ..PodRecord::bare(ObjectKey::new("shop", "api-1"), Uid::new("api-1"))
        };
        self.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
        self.snapshot.generation += 1;
    }

    fn freeze(&mut self, tenant: &str) {
        let mut frozen = (**self.snapshot.tenants.get(&TenantName::new(tenant)).expect("a tenant")).clone();
        frozen.freezes = vec![Freeze {
            name: Name::from("night"),
            schedule: Name::from("0 0 * * *"),
            time_zone: Name::from("UTC"),
            duration: SignedDuration::from_hours(24),
        }];
        self.snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(frozen))), at(0));
    }
}

#[test]
fn pods_on_nodes_that_take_no_more_take_nothing_of_the_others() {
    let open: fn(&mut NodeRecord) = |_| {};
    let closed: [fn(&mut NodeRecord); 3] = [
        |node| node.cordoned = true,
        |node| node.leaving = Some(Name::from("Karpenter")),
        |node| node.ready = false,
    ];
    for (place, change) in closed.into_iter().chain([open]).enumerate() {
        let mut world = World::new(1);
        world.tenant("a", None);
        world.workload("a", "plan", |_| {});
        world.second_node(change);
        world.service("second");
        world.job("a", "plan", 0);
        world.job("a", "plan", 1);
        assert_eq!(world.step(2).len(), 1, "node {place}: one vCPU is left of the first one");
    }
    let mut world = World::new(1);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.second_node(closed[0]);
    world.service("node");
    world.job("a", "plan", 0);
    assert_eq!(world.step(1), [], "the only node that takes pods is full");
}

/// A Job of four vCPU that is ordered by people, beside one of one vCPU that waits; four vCPU in all.
fn wide_of_people() -> (World, ControllerRecord) {
    let mut world = World::new(4);
    world.tenant("a", None);
    world.tenant("b", None);
    world.workload("a", "wide", |policy| {
        policy.permits.scaling =
            Some(ScalingPolicy { mode: ScalingMode::Recommend, ..ScalingPolicy::default() });
    });
    world.workload("b", "plan", |_| {});
    let mut job = world.job("a", "wide", 0);
    let requests = Amounts { cpu_millis: Some(4_000), memory_bytes: Some(512 * MIB) };
    job.work = Some(Box::new(Work { requests, ..work(0, 512) }));
    (world, job)
}

/// A pod of that Job, on a node or nowhere.
pub(super) fn pod_of(
    world: &mut World,
    job: &ControllerRecord,
    node: Option<&str>,
    unschedulable: Option<&str>,
) {
    world.service("node");
    let pod = world.snapshot.pods.get(&ObjectKey::new("shop", "api-1")).expect("a pod");
    let mut pod = (**pod).clone();
    let gone = Change::Deleted(pod.key.clone());
    world.snapshot.commit(&ObjectChange::Pod(gone), at(0));
    (pod.key, pod.uid) = (ObjectKey::new("a", "wide-0-pod"), Uid::new("wide-0-pod"));
    pod.owner = Some(OwnerRecord {
        kind: ControllerKind::Job,
        name: job.key.object.name.clone(),
        uid: job.uid.clone(),
    });
    (pod.node, pod.unschedulable) = (node.map(Name::from), unschedulable.map(Name::from));
    pod.phase = if node.is_some() { PodPhase::Running } else { PodPhase::Pending };
    pod.containers[0].cpu_request = Some(4_000);
    world.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
    world.snapshot.generation += 1;
}

#[test]
fn a_job_of_others_takes_what_its_pods_take_and_nothing_while_they_find_no_node() {
    for (node, unschedulable, free) in [
        (Some("node"), None, false),
        (None, None, false),
        (None, Some("0/1 nodes are available: insufficient cpu"), true),
        (Some("second"), None, true),
    ] {
        let (mut world, job) = wide_of_people();
        world.second_node(|node| node.cordoned = true);
        let job = world.begin(job);
        pod_of(&mut world, &job, node, unschedulable);
        world.job("b", "plan", 0);
        let started = world.step(1);
        assert_eq!(!names(&started).is_empty(), free, "pod on {node:?}, {unschedulable:?}: {started:?}");
    }
}

#[test]
fn a_run_whose_pod_finds_no_node_for_long_leaves_its_room_to_others_until_it_has_one() {
    let (mut world, job) = wide_of_people();
    world.workload("a", "wide", |_| {});
    let job = world.begin(job);
    pod_of(&mut world, &job, None, Some("0/1 nodes are available: insufficient memory"));
    let other = world.job("b", "plan", 0);
    for second in [1, 299] {
        assert_eq!(world.step(second), [], "second {second}: it may still find one");
    }
    assert_eq!(names(&world.step(300)), ["b/plan-0"]);
    world.begin(other);
    world.step(301);
    let said = world.report("a", "wide").said;
    assert!(said.contains("1 of its pods found no node within 5 min"), "{said}");
    pod_of(&mut world, &job, Some("node"), None);
    world.job("b", "plan", 302);
    assert_eq!(world.step(303), [], "it takes all four vCPU again");
}

#[test]
fn a_job_of_others_that_gets_no_pods_takes_nothing() {
    let (mut world, job) = wide_of_people();
    let mut job = world.begin(job);
    job.current = 0;
    world.put(job);
    world.job("b", "plan", 0);
    assert_eq!(names(&world.step(1)), ["b/plan-0"]);
}

#[test]
fn a_run_that_began_before_a_freeze_window_keeps_its_room_until_it_has_ended() {
    let mut world = World::new(1);
    for tenant in ["a", "b"] {
        world.tenant(tenant, None);
        world.workload(tenant, "plan", |_| {});
    }
    let job = world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let job = world.begin(job);
    world.step(2);
    world.freeze("a");
    world.job("b", "plan", 3);
    assert_eq!(world.step(4), [], "the only vCPU is taken");
    assert_eq!(world.step(30), []);
    world.end(job, "Completed", 60, 50, Some(200));
    assert_eq!(names(&world.step(61)), ["b/plan-3"]);
}

#[test]
fn a_run_whose_workload_was_paused_meanwhile_counts_for_its_tenants_quota() {
    let mut world = World::new(8);
    world.tenant("a", Some(Amounts { cpu_millis: Some(1_000), memory_bytes: None }));
    world.workload("a", "plan", |_| {});
    world.workload("a", "report", |_| {});
    let job = world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let job = world.begin(job);
    world.step(2);
    world.workload("a", "plan", |policy| policy.paused = true);
    world.job("a", "report", 5);
    assert_eq!(world.step(6), []);
    assert!(world.report("a", "report").said.contains("quota"), "{}", world.report("a", "report").said);
    world.end(job, "Completed", 60, 50, Some(200));
    assert_eq!(names(&world.step(61)), ["a/report-5"]);
}
