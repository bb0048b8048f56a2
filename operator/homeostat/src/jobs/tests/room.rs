//! What does not fit is told, and tried again when there is more.

use super::*;

impl World {
    /// A `CronJob` whose runs ask for so much.
    fn sized(&mut self, name: &str, vcpu: u64, mebibytes: u64) {
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
