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

/// What pods that are no runs take of the quota of tenant `a` from now on.
fn standing(bench: &mut Bench, vcpu: u64) {
    let size = Size { millicores: vcpu * 1_000, mebibytes: vcpu * 512 };
    bench.planner.standing(&BTreeMap::from([("a".to_owned(), size)]));
}

#[test]
fn a_quota_that_other_pods_take_is_waited_for_and_said_and_holds_nobody_else_up() {
    let mut bench = limited(8);
    let [wide, small] =
        [("wide", 2, 40), ("small", 1, 60)].map(|(name, vcpu, due)| bench.declare(job("a", name, vcpu, due)));
    let other = bench.declare(job("b", "plan", 8, 60));
    for id in [wide, small, other] {
        bench.teach(id, 10.0);
    }
    standing(&mut bench, 1);
    let run = bench.due(0, &[wide])[0];
    assert_eq!(bench.starts(0), []);
    let said = bench.planner.explain(run).unwrap();
    assert!(said.contains("use 1 vCPU, 0.50 GiB") && said.contains("1 vCPU, 0.00 GiB too much"), "{said}");
    assert!(said.contains("fewer replicas") && said.contains("spec.quota"), "{said}");
    let first = bench.due(1, &[small])[0];
    assert_eq!(bench.starts(1), [small], "nothing is kept for what has no room beside them");
    standing(&mut bench, 0);
    assert_eq!(bench.starts(2), []);
    let said = bench.planner.explain(run).unwrap();
    assert!(said.contains("its tenant's other runs") && !said.contains("vCPU"), "{said}");
    bench.end(11, first, Outcome::Succeeded, 10);
    assert_eq!(bench.starts(11), [wide]);
    bench.end(21, run, Outcome::Succeeded, 10);
    bench.due(21, &[other]);
    standing(&mut bench, 2);
    assert_eq!(bench.starts(21), [other], "the capacity is told without them");
}

#[test]
fn what_runs_goes_on_when_other_pods_come_and_the_next_one_waits() {
    let mut bench = limited(8);
    let id = bench.declare(job("a", "plan", 1, 60));
    bench.teach(id, 10.0);
    let first = bench.due(0, &[id])[0];
    assert_eq!(bench.starts(0), [id]);
    standing(&mut bench, 3);
    bench.due(1, &[id]);
    assert_eq!(bench.starts(1), []);
    assert_eq!(bench.planner.reserved().millicores, 1_000);
    bench.end(10, first, Outcome::Succeeded, 10);
    assert_eq!(bench.starts(10), [], "they have more than all of it");
    standing(&mut bench, 1);
    assert_eq!(bench.starts(11), [id]);
}

proptest! {
    /// However other pods come and go: no start takes more than they and the runs under way leave of the quota, and once
    /// they are gone all work gets done.
    #[test]
    fn no_start_takes_more_than_other_pods_leave_of_the_quota(
        jobs in prop::collection::vec((1_u64..=3, 5_i64..90, 1_i64..20), 1..12),
        others in prop::collection::vec(0_u64..6, 90),
    ) {
        let mut bench = Bench::new(16);
        let quota = Size { millicores: 4_000, mebibytes: 65_536 };
        bench.planner.limit("a", Some(quota)).unwrap();
        let mut ids = Vec::new();
        for (number, (cpu, due, _)) in jobs.iter().enumerate() {
            ids.push(bench.declare(job("a", &format!("job-{number}"), *cpu, *due)));
        }
        bench.due(0, &ids);
        let mut running: Vec<(i64, Run, Size)> = Vec::new();
        let mut done = 0;
        for minute in 0..1_000 {
            let (over, still): (Vec<_>, Vec<_>) = running.drain(..).partition(|run| run.0 <= minute);
            running = still;
            for (_, run, _) in over {
                done += 1;
                bench.end(minute, run, Outcome::Succeeded, jobs[run.job.index()].2);
            }
            let vcpu = others.get(minute as usize).copied().unwrap_or(0);
            standing(&mut bench, vcpu);
            let before = running.len();
            for decision in bench.planner.decide(at(minute)) {
                let Decision::Start { run, size, .. } = decision else { continue };
                running.push((minute + jobs[run.job.index()].2, run, size));
            }
            let taken = Size { millicores: vcpu * 1_000, mebibytes: vcpu * 512 };
            let all = running.iter().fold(taken, |all, run| all.plus(run.2));
            prop_assert!(running.len() == before || all.fits(quota), "{all} at minute {minute}");
        }
        prop_assert_eq!(done, ids.len());
    }
}
