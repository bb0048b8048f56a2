//! One quota for runs and all other pods of a tenant.

use super::elsewhere::pod_of;
use super::parts::{rules, waits};
use super::*;
use crate::quotas::{Asks, Held, Orders};
use homeostat_knowledge::{ActionId, ActionState};

impl World {
    /// A pod of the service `api` of tenant `a`, which asks for one vCPU.
    fn api(&mut self, number: u32, phase: PodPhase) {
        let owner =
            OwnerRecord { kind: ControllerKind::Deployment, name: Name::from("api"), uid: Uid::new("api") };
        self.pod_asking(&format!("api-{number}"), owner, phase, 1_000);
    }

    /// A pod of tenant `a` that asks for so much CPU.
    fn pod_asking(&mut self, name: &str, owner: OwnerRecord, phase: PodPhase, millicores: u64) {
        let pod = PodRecord {
            node: Some(Name::from("node")),
            phase,
            owner: Some(owner),
            created: at(0),
            containers: vec![ContainerRecord {
                cpu_request: Some(millicores),
                ..ContainerRecord::bare(Name::from("app"), at(0))
            }],
            ..PodRecord::bare(ObjectKey::new("a", name), Uid::new(name))
        };
        self.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
        self.snapshot.generation += 1;
    }

    /// So many replicas of it are wanted.
    fn api_wants(&mut self, replicas: i32) {
        let key = ObjectKey::new("a", "api");
        let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
        let policy = WorkloadPolicy::new(key, Uid::new("api"), target.clone());
        self.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
        self.put(ControllerRecord { replicas, ..record(target, "api") });
    }

    fn pod_gone(&mut self, pod: &str) {
        let gone = Change::Deleted(ObjectKey::new("a", pod));
        self.snapshot.commit(&ObjectChange::Pod(gone), at(0));
        self.snapshot.generation += 1;
    }

    fn acted(&mut self, action: homeostat_knowledge::ActionRecord) {
        self.snapshot.actions.insert_mut(action.id.clone(), Arc::new(action));
    }
}

/// Sixteen vCPU, of which tenant `a` may have so many; its runs ask for so many each.
fn limited(quota: u64, run: u64) -> World {
    let mut world = World::new(16);
    world.tenant("a", Some(Amounts { cpu_millis: Some(quota * 1_000), memory_bytes: None }));
    world.sized("plan", run, 512);
    world
}

#[test]
fn a_run_waits_for_the_quota_that_a_service_uses_is_told_so_and_starts_when_that_shrinks() {
    let mut world = limited(8, 3);
    for number in 0..6 {
        world.api(number, PodPhase::Running);
    }
    let job = world.job("a", "plan", 0);
    assert_eq!(world.step(1), [], "six of eight are taken, and ten vCPU are free");
    let report = world.report("a", "plan");
    assert_eq!((report.problem, report.late_runs), (None, 1), "it waits, and is not refused");
    assert!(report.said.contains("use 6 vCPU, 0.00 GiB of its tenant's quota"), "{}", report.said);
    assert!(report.said.contains("1 vCPU, 0.00 GiB too much"), "{}", report.said);
    let late = report.late.expect("late");
    assert!(late.contains("finds no room now") && late.contains("has to grow by 1 vCPU"), "{late}");
    assert!(late.contains("fewer replicas") && late.contains("they use 6 vCPU"), "{late}");
    world.pod_gone("api-5");
    assert_eq!(names(&world.step(2)), ["a/plan-0"]);
    world.begin(job);
    world.step(8);
    assert_eq!(world.report("a", "plan").late, None);
    world.api(5, PodPhase::Pending);
    assert_eq!(world.step(14), []);
    assert_eq!(world.report("a", "plan").running, 1, "what runs goes on");
}

#[test]
fn replicas_that_are_wanted_or_ordered_have_their_room_before_their_pods_are_there() {
    let mut world = limited(5, 2);
    world.api(0, PodPhase::Running);
    world.api_wants(4);
    let job = world.job("a", "plan", 0);
    assert_eq!(world.step(1), [], "one is there and three are to come");
    world.api_wants(1);
    let mut up = refused_action(&job, None);
    up.id = ActionId::new("size-api-1");
    up.workload = ObjectKey::new("a", "api");
    (up.parameters, up.state) = (Parameters::ScaleUp { replicas: 4 }, ActionState::Claimed);
    world.acted(up.clone());
    assert_eq!(world.step(2), []);
    up.state = ActionState::AwaitingApproval;
    world.acted(up);
    assert_eq!(names(&world.step(3)), ["a/plan-0"], "nobody knows whether that comes");
}

#[test]
fn pods_of_runs_count_once_and_pods_that_ended_do_not() {
    let mut world = limited(4, 2);
    for number in 0..3 {
        world.api(number, PodPhase::Succeeded);
    }
    let first = world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let first = world.begin(first);
    pod_of(&mut world, &first, Some("node"), None);
    let second = world.job("a", "plan", 10);
    assert_eq!(names(&world.step(11)), ["a/plan-10"]);
    world.begin(second);
    world.job("a", "plan", 20);
    assert_eq!(world.step(21), [], "the quota is used up by two");
    let said = world.report("a", "plan").said;
    assert!(said.contains("waits for its tenant's other runs") && !said.contains("other pods"), "{said}");
}

#[test]
fn what_a_job_leaves_behind_counts_from_its_end_on_and_all_pods_are_counted_once_a_second() {
    let mut world = limited(3, 2);
    let job = world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let mut job = world.begin(job);
    let owner = OwnerRecord { kind: ControllerKind::Job, name: Name::from("plan-0"), uid: job.uid.clone() };
    world.pod_asking("plan-0-pod", owner, PodPhase::Running, 2_000);
    world.job("a", "plan", 2);
    assert_eq!(world.step(4), [], "one vCPU is left");
    (job.finished, job.current) = (Some(JobEnd::Complete), 0);
    world.put(job);
    assert_eq!(world.step(5), []);
    assert_eq!(world.step(8), [], "it is over, and its pod is still there");
    assert_eq!(world.report("a", "plan").running, 0);
    world.pod_gone("plan-0-pod");
    let soon = |milliseconds| at(8) + SignedDuration::from_millis(milliseconds);
    assert_eq!(world.step_at(soon(400)), [], "that is not looked at yet");
    assert_eq!(names(&world.step_at(soon(1_200))), ["a/plan-2"]);
}

#[test]
fn what_kueue_let_go_takes_its_room_of_the_quota() {
    let mut world = limited(5, 2);
    world.sized("report", 2, 512);
    world.queue("night");
    world.left_to("plan", "night");
    let job = world.job("a", "plan", 0);
    let job = world.begin(job);
    pod_of(&mut world, &job, Some("node"), None);
    world.job("a", "report", 0);
    assert_eq!(world.step(1), []);
    let said = world.report("a", "report").said;
    assert!(said.contains("use 4 vCPU"), "{said}");
    world.pod_gone("wide-0-pod");
    assert_eq!(names(&world.step(2)), ["a/report-0"]);
}

#[test]
fn a_run_has_as_many_pods_as_the_rest_of_the_quota_has_room_for() {
    let mut world = limited(5, 1);
    world.workload("a", "plan", |policy| rules(policy, Some(30)));
    for number in 0..3 {
        world.api(number, PodPhase::Running);
    }
    waits(&mut world, 70.0, 0);
    world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let said = world.report("a", "plan").said;
    assert!(said.contains("2 pods at once") && said.contains("with 2 vCPU"), "{said}");
}

#[test]
fn a_run_whose_start_is_ordered_has_its_room_before_its_pods_are_there() {
    let mut world = limited(8, 2);
    let job = world.job("a", "plan", 0);
    let runs = |world: &World| {
        let tenant = world.snapshot.tenants.get(&TenantName::new("a")).expect("a tenant");
        let of_job = |pod: &PodRecord| pod.owner.as_ref().is_some_and(|owner| owner.uid == job.uid);
        Held::of(&world.snapshot, tenant, &Orders::of(&world.snapshot), of_job).runs
    };
    assert_eq!(runs(&world), Asks::default());
    let mut start = refused_action(&job, Some(1_024));
    start.state = ActionState::Admitted;
    world.acted(start);
    assert_eq!(runs(&world), Asks { cpu_millis: 2_000, memory_bytes: 1_024 * MIB });
    pod_of(&mut world, &job, Some("node"), None);
    assert_eq!(runs(&world), Asks { cpu_millis: 4_000, memory_bytes: 0 }, "what is there counts, and once");
}
