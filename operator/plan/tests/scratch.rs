//! Ephemeral storage that fills: new pods begin empty, and what a pod keeps is not theirs to lose.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenIncident, GivenPod, now};
use homeostat_knowledge::policy::Allowance;
use homeostat_knowledge::{Evidence, Parameters, SeededIds};
use homeostat_plan::{Decision, plan};
use homeostat_playbooks::shipped;

fn decide(edit: impl FnOnce(&mut Given)) -> Decision {
    let mut given = Given {
        incident: GivenIncident {
            kind: "EphemeralStorageFilling".into(),
            cause: "workload order".into(),
            since: 90.0,
            confidence: 0.99,
            ..GivenIncident::default()
        },
        pods: vec![GivenPod::default()],
        ..Given::default()
    };
    edit(&mut given);
    let (snapshot, mut incident) = given.build();
    incident.causes[0].evidence = vec![Evidence::new("scratch", "8 GB, limit reached in about 2 h 5 min")];
    plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
}

fn replaces(decision: &Decision) -> bool {
    matches!(decision, Decision::Act(plan) if plan.steps[0].parameters == Parameters::RollingRestart)
}

#[test]
fn pods_that_keep_nothing_are_replaced_and_those_that_keep_data_only_where_people_allow_it() {
    let plain = decide(|_| {});
    assert!(replaces(&plain), "{plain:?}");
    let allowed = decide(|given| {
        given.pods[0].local_data = true;
        given.workload.allow = vec![Allowance::LocalData];
    });
    assert!(replaces(&allowed), "{allowed:?}");
    let kept = decide(|given| given.pods[0].local_data = true);
    let Decision::HandOver { reason, .. } = &kept else { panic!("{kept:?}") };
    for part in ["shop/order-a keeps data", "emptyDir", "LocalData in Workload.spec.allow", "2 h 5 min"] {
        assert!(reason.contains(part), "{part} is missing: {reason}");
    }
}

#[test]
fn where_no_new_pod_stands_in_first_people_get_the_time_that_is_left_and_the_commands() {
    let told = decide(|given| given.workload.surges = false);
    let Decision::HandOver { reason, advice, .. } = &told else { panic!("{told:?}") };
    assert!(reason.contains("2 h 5 min"), "{reason}");
    for command in [
        "kubectl -n shop exec deployment/order -- du -xhd 2 /",
        "kubectl -n shop rollout restart deployment/order",
        "kubectl -n shop get incident order-1 -o yaml",
    ] {
        assert!(advice.iter().any(|line| line == command), "{command} is missing in {advice:?}");
    }
}
