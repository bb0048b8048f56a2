//! What does not fit is told, and tried again when there is more.

use super::elsewhere::pod_of;
use super::*;

impl World {
    /// A `CronJob` whose runs ask for so much.
    pub(super) fn sized(&mut self, name: &str, vcpu: u64, mebibytes: u64) {
        self.workload("a", name, |_| {});
        let target = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", name) };
        let mut cron = record(target, &format!("cron-a-{name}"));
        let requests = Amounts { cpu_millis: Some(vcpu * 1_000), memory_bytes: Some(mebibytes * MIB) };
        cron.work = Some(Box::new(Work { requests, ..work(0, mebibytes) }));
        self.put(cron);
    }

    fn node(&mut self, name: &str, vcpu: u64, gib: u64, ready: bool) {
        let first = self.snapshot.nodes.values().next().expect("a node");
        let allocatable = Amounts { cpu_millis: Some(vcpu * 1_000), memory_bytes: Some(gib << 30) };
        let node = NodeRecord {
            name: Name::from(name),
            uid: Uid::new(name),
            ready,
            allocatable,
            ..(**first).clone()
        };
        self.snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node))), at(0));
        self.snapshot.generation += 1;
    }

    fn problem(&self, name: &str) -> String {
        self.report("a", name).problem.unwrap_or_default()
    }
}

#[test]
fn a_job_that_does_not_fit_starts_once_a_node_was_added() {
    let mut world = World::new(1);
    world.tenant("a", None);
    world.sized("wide", 2, 512);
    world.sized("small", 1, 512);
    world.job("a", "wide", 0);
    assert_eq!(world.step(1), []);
    let problem = world.problem("wide");
    assert!(problem.contains("2 vCPU") && problem.contains("add a node"), "{problem}");
    assert_eq!(world.step(2), [], "nothing has changed");
    world.node("second", 1, 64, true);
    assert_eq!(world.step(3), [], "there are two vCPU, and no node has both");
    let problem = world.problem("wide");
    assert!(problem.contains("the largest node has 1 vCPU"), "{problem}");
    world.node("second", 2, 64, true);
    assert_eq!(names(&world.step(4)), ["a/wide-0"]);
    assert_eq!(world.problem("wide"), "");
}

#[test]
fn a_job_that_does_not_fit_starts_once_a_node_became_ready() {
    let mut world = World::new(2);
    world.tenant("a", None);
    world.sized("large", 1, 80 << 10);
    world.node("second", 1, 64, false);
    world.job("a", "large", 0);
    assert_eq!(world.step(1), []);
    let problem = world.problem("large");
    assert!(problem.contains("80.00 GiB") && problem.contains("64.00 GiB"), "{problem}");
    world.node("second", 1, 64, true);
    assert_eq!(world.step(2), [], "twice 64 GiB are no 80 for one pod");
    world.node("second", 1, 96, true);
    assert_eq!(names(&world.step(3)), ["a/large-0"]);
}

#[test]
fn a_run_of_two_pods_has_room_on_two_nodes_and_holds_nothing_before() {
    let mut world = World::new(1);
    world.tenant("a", None);
    world.sized("wide", 1, 512);
    let key = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "wide") };
    let mut cron = (**world.snapshot.controllers.get(&key).expect("its CronJob")).clone();
    cron.work.as_mut().expect("its template").pods = 2;
    world.put(cron);
    world.sized("small", 1, 512);
    world.job("a", "wide", 0);
    let small = world.job("a", "small", 0);
    assert_eq!(names(&world.step(1)), ["a/small-0"]);
    assert!(world.problem("wide").contains("the cluster has 1 vCPU"), "{}", world.problem("wide"));
    let small = world.begin(small);
    world.end(small, "Completed", 20, 10, Some(200));
    world.node("second", 1, 64, true);
    assert_eq!(names(&world.step(21)), ["a/wide-0"]);
}

#[test]
fn a_run_that_is_killed_for_memory_again_and_again_gets_no_more_than_the_largest_node_has() {
    let mut world = World::new(8);
    for node in ["node", "second"] {
        world.node(node, 8, 1, true);
    }
    world.tenant("a", None);
    world.workload("a", "plan", |policy| {
        (policy.permits.memory_bytes, policy.permits.repeatable) = (None, false);
    });
    for (slot, memory) in [(0, None), (100, Some(1_024)), (200, Some(1_024))] {
        let job = world.job("a", "plan", slot);
        assert_eq!(world.step(slot + 1), [(format!("a/plan-{slot}"), memory)]);
        let job = world.begin(job);
        world.step(slot + 2);
        world.end(job, "OOMKilled", slot + 20, 10, None);
        world.step(slot + 21);
    }
    let said = world.report("a", "plan").said;
    assert!(said.contains("2048 MiB, but the largest node has 1024 MiB"), "{said}");
}

/// Four vCPU and eight on a second node, where the forecast runs that the plan of the same slot needs; then that node is closed.
fn forecast_on_a_closed_node() -> (World, ControllerRecord) {
    let mut world = World::new(4);
    world.tenant("a", None);
    world.node("large", 8, 64, true);
    world.sized("forecast", 6, 512);
    world.workload("a", "plan", |policy| policy.dependencies = vec![Name::from("forecast")]);
    let forecast = world.job("a", "forecast", 0);
    world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/forecast-0"]);
    let forecast = world.begin(forecast);
    pod_of(&mut world, &forecast, Some("large"), None);
    assert_eq!(world.step(2), []);
    world.node("large", 8, 64, false);
    (world, forecast)
}

fn end_on_it(world: &mut World, forecast: ControllerRecord, reason: &str, second: i64) {
    let pods = world.snapshot.pods.values().filter(|pod| pod.node.as_deref() == Some("large"));
    for key in pods.map(|pod| pod.key.clone()).collect::<Vec<_>>() {
        world.snapshot.commit(&ObjectChange::Pod(Change::Deleted(key)), at(second));
    }
    world.end(forecast, reason, second, 10, Some(100));
}

#[test]
fn what_needs_a_run_whose_node_was_closed_waits_for_its_end_and_no_further_one_begins() {
    let (mut world, forecast) = forecast_on_a_closed_node();
    assert_eq!(world.step(3), [], "its input is not there yet");
    for name in ["forecast", "plan"] {
        world.job("a", name, 100);
    }
    assert_eq!(world.step(104), []);
    assert_eq!(world.report("a", "forecast").running, 1, "it is followed");
    let problem = world.problem("forecast");
    assert!(problem.contains("the largest node has 4 vCPU"), "{problem}");
    let problem = world.problem("plan");
    assert!(problem.contains("need those of a/forecast"), "{problem}");
    end_on_it(&mut world, forecast, "Completed", 110);
    assert_eq!(names(&world.step(111)), ["a/plan-0"], "only of that slot the input is there");
    world.node("large", 8, 64, true);
    assert!(names(&world.step(112)).contains(&"a/forecast-100"));
    assert_eq!(world.problem("plan"), "");
}

#[test]
fn a_run_that_fails_after_its_node_was_closed_is_tried_again_once_there_is_one() {
    let (mut world, forecast) = forecast_on_a_closed_node();
    world.step(3);
    end_on_it(&mut world, forecast, "Error", 20);
    assert_eq!(world.step(21), []);
    assert_eq!(world.step(40), [], "neither its next try nor what needs it");
    world.node("large", 8, 64, true);
    assert_eq!(names(&world.step(41)), ["a/forecast-0"]);
}

#[test]
fn what_was_too_large_by_mistake_is_ordered_as_soon_as_it_asks_for_less() {
    for other in [1, 20] {
        let mut world = World::new(4);
        world.tenant("a", None);
        for node in 0..other {
            world.node(&format!("node-{node}"), 4, 64, true);
        }
        world.sized("plan", 16, 512);
        assert_eq!(world.step(1), []);
        assert!(world.problem("plan").contains("16 vCPU"), "{}", world.problem("plan"));
        world.sized("plan", 2, 512);
        world.job("a", "plan", 2);
        assert_eq!(names(&world.step(3)), ["a/plan-2"], "{other} nodes more");
    }
}

#[test]
fn fewer_pods_at_once_make_none_of_them_larger() {
    let mut world = World::new(4);
    world.node("second", 12, 64, true);
    world.tenant("a", None);
    world.sized("wide", 3, 512);
    let key = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("a", "wide") };
    let one = (**world.snapshot.controllers.get(&key).expect("its CronJob")).clone();
    let mut four = one.clone();
    four.work.as_mut().expect("its template").pods = 4;
    world.put(four);
    world.step(1);
    assert_eq!(world.problem("wide"), "");
    world.put(one);
    world.node("second", 4, 64, true);
    world.job("a", "wide", 2);
    assert_eq!(names(&world.step(3)), ["a/wide-2"], "{}", world.problem("wide"));
}

#[test]
fn a_run_gets_no_less_memory_than_its_runs_needed_while_the_node_for_it_is_away() {
    let mut world = World::new(8);
    world.node("second", 8, 32, true);
    world.tenant("a", None);
    world.workload("a", "plan", |policy| policy.permits.memory_bytes = None);
    let job = world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let job = world.begin(job);
    world.step(2);
    world.end(job, "Completed", 20, 10, Some(48 << 10));
    world.step(21);
    world.node("node", 8, 64, false);
    world.job("a", "plan", 100);
    assert_eq!(world.step(101), []);
    let problem = world.problem("plan");
    assert!(problem.contains("48.00 GiB") && problem.contains("has 32.00 GiB"), "{problem}");
    world.node("node", 8, 64, true);
    let started = world.step(102);
    assert!(matches!(started[..], [(_, Some(memory))] if memory >= 48 << 10), "{started:?}");
}

#[test]
fn what_daemon_sets_take_of_each_node_is_no_room_for_a_pod() {
    let mut world = World::new(8);
    world.tenant("a", None);
    for node in ["node", "second"] {
        world.node(node, 8, 1, true);
        let object = ObjectKey::new("kube-system", format!("agent-{node}"));
        let owner = OwnerRecord {
            kind: ControllerKind::DaemonSet,
            name: Name::from("agent"),
            uid: Uid::new("agent"),
        };
        let pod = PodRecord {
            node: Some(Name::from(node)),
            phase: PodPhase::Running,
            owner: Some(owner),
            containers: vec![ContainerRecord {
                name: Name::from("agent"),
                ready: true,
                restarts: 0,
                state: ContainerState::Running { since: at(0) },
                last_termination: None,
                cpu_request: None,
                cpu_limit: None,
                ephemeral_storage_limit: None,
                memory: Memory { request: Some(256 * MIB), limit: None },
            }],
            ..PodRecord::bare(object, Uid::new(format!("agent-{node}")))
        };
        world.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
    }
    world.workload("a", "plan", |policy| policy.permits.memory_bytes = None);
    let job = world.job("a", "plan", 0);
    assert_eq!(names(&world.step(1)), ["a/plan-0"]);
    let job = world.begin(job);
    world.step(2);
    world.end(job, "OOMKilled", 20, 10, None);
    assert_eq!(world.step(21), [("a/plan-0".to_owned(), Some(768))], "twice 512 MiB are 1 GiB");
}

#[test]
fn what_needs_a_job_that_does_not_fit_waits_for_it_again_once_it_does() {
    let mut world = World::new(1);
    world.tenant("a", None);
    world.sized("forecast", 2, 512);
    world.workload("a", "plan", |policy| policy.dependencies = vec![Name::from("forecast")]);
    assert_eq!(world.step(1), []);
    world.node("second", 2, 64, true);
    world.step(2);
    world.job("a", "forecast", 10);
    world.job("a", "plan", 10);
    assert_eq!(names(&world.step(11)), ["a/forecast-10"], "there is room for both, and one needs the other");
}

#[test]
fn what_one_tenant_may_not_have_is_not_tried_again_when_there_is_more() {
    let mut world = World::new(1);
    world.tenant("a", Some(Amounts { cpu_millis: Some(1_000), memory_bytes: None }));
    world.sized("wide", 2, 512);
    world.job("a", "wide", 0);
    assert_eq!(world.step(1), []);
    world.node("second", 8, 64, true);
    assert_eq!(world.step(2), []);
    assert!(world.problem("wide").contains("quota"), "{}", world.problem("wide"));
}

/// Runs of tenant `a`, of two vCPU and about three minutes each, that are all there and due in ten.
fn crowd(quota: Option<u64>, vcpu: u64) -> World {
    let mut world = World::new(vcpu);
    world.tenant("a", quota.map(|vcpu| Amounts { cpu_millis: Some(vcpu * 1_000), memory_bytes: None }));
    for name in ["one", "two", "three", "four"] {
        world.sized(name, 2, 512);
        world.job("a", name, 0);
    }
    world
}

fn late(world: &World) -> String {
    let all = ["one", "two", "three", "four"].iter().filter_map(|name| world.report("a", name).late);
    all.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_run_that_is_late_by_its_tenants_quota_is_told_and_what_its_growth_costs() {
    let mut world = crowd(Some(2), 64);
    world.step(1);
    let told = late(&world);
    assert!(told.contains("the quota of tenant a (spec.quota) has to grow by 2 vCPU"), "{told}");
    assert!(!told.contains("capacity") && !told.contains("costs"), "{told}");
    let first = world.snapshot.tenants.values().next().expect("a tenant");
    let prices = homeostat_knowledge::policy::Prices {
        currency: Name::from("EUR"),
        core_hour: Some(40_000),
        downtime_hour: None,
        gibibyte_hour: None,
    };
    let priced = TenantPolicy { prices: Some(prices), ..(**first).clone() };
    world.snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(priced))), at(2));
    world.step(10);
    assert!(late(&world).contains("2 vCPU, 0.00 GiB, which costs 58.40 EUR a month"), "{}", late(&world));
    let counted: u32 =
        ["one", "two", "three", "four"].iter().map(|name| world.report("a", name).late_runs).sum();
    assert_eq!(counted as usize, late(&world).lines().count());
}

#[test]
fn a_run_that_is_late_by_the_capacity_is_told_so_and_nothing_of_the_quota() {
    let mut world = crowd(Some(16), 2);
    world.step(1);
    let told = late(&world);
    assert!(told.contains("the cluster's capacity for runs has to grow by 2 vCPU"), "{told}");
    assert!(!told.contains("quota"), "{told}");
}

#[test]
fn what_is_left_to_kueue_is_late_by_nobodys_order_here() {
    let mut world = crowd(None, 2);
    world.queue("night");
    for name in ["one", "two", "three", "four"] {
        world.left_to(name, "night");
    }
    world.step(1);
    assert_eq!(late(&world), "");
}

#[test]
fn what_schedules_announce_is_told_before_its_jobs_are_there() {
    let mut world = World::new(1);
    world.tenant("a", None);
    for name in ["one", "two", "three", "four"] {
        world.periodic(name, 8);
        world.schedule(name, "0 * * * *", None, false);
    }
    world.step(1);
    let told = late(&world);
    assert!(told.contains("run of 2026-09-21T15:00:00Z") && told.contains("capacity"), "{told}");
}

#[test]
fn each_late_run_of_a_workload_is_named_latest_first_with_what_would_cure_it() {
    let mut world = World::new(2);
    world.tenant("a", None);
    world.sized("one", 2, 512);
    for slot in 0..16 {
        world.job("a", "one", slot);
    }
    world.step(20);
    let report = world.report("a", "one");
    assert!(report.late_runs > 10 && report.latest.len() == 10, "{report:?}");
    let by: Vec<Option<SignedDuration>> = report.latest.iter().map(|late| late.by).collect();
    assert!(by.is_sorted_by(|one, other| one >= other), "{by:?}");
    assert_eq!(report.late_by(), by[0]);
    let first = &report.latest[0];
    assert!(first.help.contains("the cluster's capacity for runs has to grow by"), "{first:?}");
    let late = report.late.expect("late");
    assert!(late.starts_with(&format!("a/one run of {} will end", first.run)), "{late}");
    assert!(late.contains(&format!("and {} more of this workload", report.late_runs - 1)), "{late}");
}
