//! Pods of runs are given more memory by whoever orders runs, and by nobody else without a fault.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenPod, drafted, now, order};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::{Draft, Expectation, Undo};
use homeostat_knowledge::policy::{Bounds, Permits, ScalingMode, ScalingPolicy};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord};
use homeostat_knowledge::*;
use homeostat_plan::Checker;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// A run of `order` with a pod of 100 MiB, and the plan that gives it `memory`, at most 400.
fn world(owner: ControllerKind, mode: ScalingMode, memory: u64) -> (Snapshot, Plan<Draft>) {
    let given = Given { pods: vec![GivenPod::default()], ..Given::default() };
    let (mut plan, mut snapshot) = drafted(&given);
    let mut workload = (**snapshot.workloads.get(&order()).expect("a workload")).clone();
    let mut job = (**snapshot.controller_of(&order()).expect("a target")).clone();
    workload.target = ControllerKey { kind: ControllerKind::Job, object: order() };
    workload.permits = Permits {
        memory_bytes: Some(Bounds { min: 50 * MIB, max: 400 * MIB }),
        scaling: Some(ScalingPolicy { mode, ..ScalingPolicy::default() }),
        ..Permits::default()
    };
    job.key = workload.target.clone();
    let mut pod = (**snapshot.pods_of(&order()).next().expect("a pod")).clone();
    pod.owner = Some(OwnerRecord { kind: owner, name: order().name, uid: job.uid.clone() });
    let container = pod.containers[0].name.clone();
    let step = &mut plan.steps[0];
    step.target = Snapshot::pod_target(&pod);
    step.parameters = Parameters::ResizePod {
        container,
        cpu_millis: None,
        memory_bytes: Some(memory * MIB),
        memory_limit_bytes: None,
    };
    step.before = Before { memory_bytes: Some(100 * MIB), ..Before::default() };
    step.verification.expect = Expectation::RolloutComplete;
    step.undo = Undo::None;
    for change in [
        ObjectChange::Workload(Change::Applied(Arc::new(workload))),
        ObjectChange::Controller(Change::Applied(Arc::new(job))),
        ObjectChange::Pod(Change::Applied(Arc::new(pod))),
    ] {
        snapshot.commit(&change, now());
    }
    plan.steps.truncate(1);
    (snapshot, plan.by_schedule())
}

fn admitted((snapshot, plan): (Snapshot, Plan<Draft>)) -> Result<(), String> {
    let checked = Checker::default().check(plan, &snapshot, now());
    checked.map(|_| ()).map_err(|objections| format!("{objections:?}"))
}

#[test]
fn the_pod_of_a_run_may_be_given_more_within_bounds_where_people_want_sizes() {
    let auto = |owner, memory| admitted(world(owner, ScalingMode::Auto, memory));
    assert_eq!(auto(ControllerKind::Job, 400), Ok(()));
    for (why, refused) in [
        ("beyond the bounds", auto(ControllerKind::Job, 401)),
        ("less", auto(ControllerKind::Job, 90)),
        ("no more", auto(ControllerKind::Job, 100)),
        ("no run", auto(ControllerKind::ReplicaSet, 400)),
        ("not asked for", admitted(world(ControllerKind::Job, ScalingMode::Recommend, 400))),
    ] {
        assert!(refused.is_err(), "{why}");
    }
}

#[test]
fn whoever_orders_runs_does_nothing_else_to_a_pod() {
    let (snapshot, mut plan) = world(ControllerKind::Job, ScalingMode::Auto, 400);
    plan.steps[0].parameters = Parameters::EvictPod { grace_seconds: None };
    let refused = admitted((snapshot, plan)).expect_err("refused");
    assert!(refused.contains("runs are ordered by their orderer only"), "{refused}");
}
