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
