//! Runs of one tenant that wait for each other.

use super::*;

/// So many vCPU for all, of which tenant `a` may have two.
fn limited(vcpu: u64) -> Bench {
    let mut bench = Bench::new(vcpu);
    bench.planner.limit("a", Some(Size { millicores: 2_000, mebibytes: 65_536 })).unwrap();
    bench
}

#[test]
fn small_runs_that_can_wait_do_not_take_the_quota_from_a_wide_one_that_cannot() {
    let mut bench = limited(8);
    let small = bench.declare(job("a", "small", 1, 300));
    let wide = bench.declare(job("a", "wide", 2, 40));
    bench.teach(small, 10.0);
    bench.teach(wide, 10.0);
    let first = bench.due(0, &[small])[0];
    assert_eq!(bench.starts(0), [small]);
    let urgent = bench.due(1, &[wide])[0];
    assert_eq!(bench.starts(1), []);
    // One that ends before the wide one must start takes nothing from it.
    let second = bench.due(8, &[small])[0];
    assert_eq!(bench.starts(8), [small]);
    bench.end(10, first, Outcome::Succeeded, 10);
    assert_eq!(bench.starts(10), []);
    let third = bench.due(16, &[small])[0];
    assert_eq!(bench.starts(16), [small]);
    bench.end(18, second, Outcome::Succeeded, 10);
    let last = bench.due(22, &[small])[0];
    assert_eq!(bench.starts(22), [], "it would run when the wide one must start");
    assert!(bench.planner.explain(last).unwrap().contains("kept for a more urgent one"));
    bench.end(26, third, Outcome::Succeeded, 10);
    assert_eq!(bench.starts(26), [wide], "it ends before minute 41");
    bench.end(36, urgent, Outcome::Succeeded, 10);
    assert_eq!(bench.starts(36), [small]);
}

#[test]
fn what_waits_for_a_node_to_come_back_keeps_nobody_of_its_tenant_waiting() {
    let mut bench = limited(2);
    let small = bench.declare(job("a", "small", 1, 300));
    let wide = bench.declare(job("a", "wide", 2, 30));
    bench.teach(small, 10.0);
    bench.teach(wide, 10.0);
    let first = bench.due(0, &[small])[0];
    assert_eq!(bench.starts(0), [small]);
    let waits = bench.due(1, &[wide])[0];
    let second = bench.due(12, &[small])[0];
    assert_eq!(bench.starts(12), []);
    bench.planner.see(at(13), Event::Capacity(Size { millicores: 1_000, mebibytes: 65_536 })).unwrap();
    bench.end(14, first, Outcome::Succeeded, 14);
    assert_eq!(bench.starts(14), [small]);
    let said = bench.planner.explain(waits).unwrap();
    assert!(said.contains("needs 2 vCPU") && said.contains("have 1 now"), "{said}");
    bench.planner.see(at(20), Event::Capacity(Size { millicores: 2_000, mebibytes: 65_536 })).unwrap();
    bench.end(24, second, Outcome::Succeeded, 10);
    assert_eq!(bench.starts(24), [wide]);
}

#[test]
fn what_runs_elsewhere_takes_its_room_of_the_capacity_and_of_its_tenants_quota() {
    let mut bench = limited(3);
    let ids = [("a", "one"), ("a", "two"), ("b", "one"), ("b", "two")]
        .map(|(tenant, name)| bench.declare(job(tenant, name, 1, 60)));
    let elsewhere = Size { millicores: 1_000, mebibytes: 512 };
    bench.planner.others(elsewhere, &BTreeMap::from([("a".to_owned(), elsewhere)]));
    bench.due(0, &ids);
    assert_eq!(bench.starts(0), [ids[0], ids[2]], "one vCPU of three is taken, and one of the quota's two");
    bench.planner.others(Size::default(), &BTreeMap::new());
    assert_eq!(bench.starts(1), [ids[1]]);
}

#[test]
fn memory_that_is_taken_elsewhere_makes_runs_wait_and_not_smaller() {
    let mut bench = Bench::new(4);
    let id = bench.declare(job("a", "plan", 1, 60));
    bench.planner.others(Size { millicores: 1_000, mebibytes: 65_000 }, &BTreeMap::new());
    bench.due(0, &[id]);
    assert_eq!(bench.starts(0), []);
    bench.planner.others(Size::default(), &BTreeMap::new());
    let decisions = bench.planner.decide(at(1));
    assert!(
        matches!(decisions[..], [Decision::Start { size: Size { mebibytes: 1_024, .. }, .. }]),
        "{decisions:?}"
    );
}

#[test]
fn a_late_run_that_has_no_room_in_the_quota_beside_what_runs_elsewhere_keeps_nobody_of_its_tenant_waiting() {
    let mut bench = limited(8);
    let small = bench.declare(job("a", "small", 1, 60));
    let wide = bench.declare(job("a", "wide", 2, 40));
    let elsewhere = Size { millicores: 1_000, mebibytes: 512 };
    bench.planner.others(elsewhere, &BTreeMap::from([("a".to_owned(), elsewhere)]));
    bench.due(0, &[wide]);
    assert_eq!(bench.starts(0), []);
    bench.due(200, &[small]);
    assert_eq!(bench.starts(200), [small]);
}

#[test]
fn a_late_run_does_not_keep_its_tenants_quota_for_ever_beside_one_that_never_ends() {
    let mut bench = limited(8);
    let [hung, wide, small] = [("hung", 1, 30), ("wide", 2, 40), ("small", 1, 60)]
        .map(|(name, vcpu, due)| bench.declare(job("a", name, vcpu, due)));
    bench.teach(wide, 10.0);
    bench.teach(small, 10.0);
    bench.due(0, &[hung]);
    assert_eq!(bench.starts(0), [hung]);
    bench.due(1, &[wide]);
    assert_eq!(bench.starts(1), []);
    bench.due(100, &[small]);
    assert_eq!(bench.starts(100), [], "for a while its room is kept");
    let again = bench.planner.next_wake().unwrap();
    assert!(at(120) < again && again <= at(152), "{again}");
    assert_eq!(bench.starts(153), [small], "whatever happens meanwhile, and be it nothing");
}

#[test]
fn a_run_that_asks_for_more_than_its_tenants_quota_says_so() {
    let mut bench = limited(8);
    let id = bench.declare(job("a", "plan", 1, 60));
    let run = bench.due(0, &[id])[0];
    let size = Size { millicores: 3_000, mebibytes: 0 };
    bench.planner.see(at(0), Event::AtLeast { run, size }).unwrap();
    assert_eq!(bench.starts(0), []);
    let said = bench.planner.explain(run).unwrap();
    assert!(said.contains("needs 3 vCPU") && said.contains("quota is less"), "{said}");
}

#[test]
fn a_run_that_has_no_room_beside_what_runs_elsewhere_takes_nothing_of_its_tenants_quota() {
    let mut bench = limited(4);
    let [wide, small] = [("wide", 2, 40), ("small", 1, 300)]
        .map(|(name, vcpu, due)| bench.declare(job("a", name, vcpu, due)));
    bench.teach(wide, 10.0);
    bench.teach(small, 10.0);
    let first = bench.due(0, &[small])[0];
    assert_eq!(bench.starts(0), [small]);
    bench.due(1, &[wide]);
    assert_eq!(bench.starts(1), []);
    bench.due(25, &[small]);
    assert_eq!(bench.starts(25), [], "the rest of the quota is kept for the wide one");
    bench.planner.others(Size { millicores: 3_000, mebibytes: 512 }, &BTreeMap::new());
    bench.end(50, first, Outcome::Succeeded, 10);
    assert_eq!(bench.starts(50), [small]);
}
