//! A run's turn becomes an effect of the loop, or says why not.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod common;

use homeostat::kernel::{Effect, Kernel};
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::policy::{
    Archetype, ControlPolicy, KillSwitch, Permits, ScalingMode, ScalingPolicy,
};
use homeostat_knowledge::records::{Amounts, ControllerKey, NodeRecord, Work};
use homeostat_knowledge::*;
use homeostat_situations::{Given, now, order};
use std::collections::BTreeMap;
use std::sync::Arc;

fn later(seconds: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn observed(change: ObjectChange) -> Observation {
    common::observed(change, now())
}

/// A loop that knows a suspended Job which the Workload `order` orders; `home` is where Homeostat itself runs, `also` what
/// else it sees.
fn kernel(home: &str, also: Vec<ObjectChange>) -> (Kernel, Vec<Effect>) {
    kernel_after(home, also, |_| {})
}

fn kernel_after(
    home: &str,
    also: Vec<ObjectChange>,
    prepare: impl FnOnce(&mut Kernel),
) -> (Kernel, Vec<Effect>) {
    let (world, _) = Given::default().build();
    let control =
        ControlPolicy { kill_switch: KillSwitch::Off, ceiling: Level::ActFull, ..ControlPolicy::default() };
    let mut tenant = (**world.tenant_of_namespace(&order().namespace).unwrap()).clone();
    tenant.levels.insert(ActionKind::StartJob, Level::ActBounded);
    let target = ControllerKey { kind: ControllerKind::Job, object: order() };
    let mut workload = (**world.workloads.get(&order()).unwrap()).clone();
    (workload.target, workload.archetype) = (target.clone(), Archetype::Batch);
    workload.permits = Permits {
        repeatable: true,
        scaling: Some(ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() }),
        ..Permits::default()
    };
    let mut job = (**world.controller_of(&order()).unwrap()).clone();
    (job.key, job.uid, job.paused) = (target, Uid::new("a1b2c3d4-waiting"), true);
    (job.current, job.ready, job.owner) = (0, 0, None);
    let container = Some(Name::from("app"));
    job.work = Some(Box::new(Work { slot: Some(now()), pods: 1, container, ..Work::default() }));
    let node = NodeRecord {
        allocatable: Amounts { cpu_millis: Some(8_000), memory_bytes: Some(64 << 30) },
        ..NodeRecord::bare(Name::from("node"), Uid::new("node"))
    };
    let mut batch = vec![
        observed(ObjectChange::Control(Some(Arc::new(control)))),
        observed(ObjectChange::Tenant(Change::Applied(Arc::new(tenant)))),
        observed(ObjectChange::Node(Change::Applied(Arc::new(node)))),
        observed(ObjectChange::Controller(Change::Applied(Arc::new(job)))),
        observed(ObjectChange::Workload(Change::Applied(Arc::new(workload)))),
    ];
    batch.extend(also.into_iter().map(observed));
    batch.extend(ObjectKind::REQUIRED.map(|kind| observed(ObjectChange::Synced(kind))));
    let mut kernel = Kernel::new(Vec::new(), Box::new(SeededIds::new(1)), Name::from(home));
    prepare(&mut kernel);
    let effects = kernel.step(&batch, now(), true);
    (kernel, effects)
}

fn sized(plan: &Plan<Admitted>) -> bool {
    matches!(plan.steps[0].parameters, Parameters::StartJob { memory_bytes: Some(_), .. })
}

fn problem(kernel: &Kernel) -> Option<String> {
    kernel.snapshot().runs.get(&order()).and_then(|report| report.problem.clone())
}

#[test]
fn a_run_is_a_plan_of_the_schedule_and_not_of_an_incident() {
    let (kernel, effects) = kernel("homeostat-system", Vec::new());
    let [Effect::Execute(plan, None)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(plan.origin, Origin::Schedule);
    assert!(sized(plan), "a first run of an unknown job gets a safe size");
    assert_eq!(plan.incident, runs::occasion(&plan.steps[0].target));
    assert_eq!(plan.incident.as_str(), "run-order-a1b2c3d4");
    let record = plan.record(ActionId::new("run-order-a1b2c3d4-1"), Name::from("homeostat")).unwrap();
    assert_eq!((record.origin, &record.workload), (Origin::Schedule, &order()));
    assert_eq!(problem(&kernel), None);
}

#[test]
fn no_run_is_started_until_it_is_known_what_the_leader_before_learnt() {
    for read in [Some(BTreeMap::new()), None] {
        let (mut kernel, effects) = kernel_after("homeostat-system", Vec::new(), Kernel::hold_runs);
        assert!(effects.is_empty(), "{effects:?}");
        assert_eq!(kernel.kept_runs(), None, "nothing is written over what is being read");
        kernel.recall_runs(read);
        let effects = kernel.step(&[], later(1), true);
        assert!(matches!(effects.as_slice(), [Effect::Execute(..)]), "{effects:?}");
        assert!(kernel.kept_runs().is_some());
        assert_eq!(kernel.kept_runs(), None, "once");
    }
}

#[test]
fn what_a_vertical_autoscaler_sizes_is_started_as_it_is() {
    let target = ControllerKey { kind: ControllerKind::Job, object: order() };
    let owner = BTreeMap::from([(target, Scaler::Vpa { name: Name::from("fit") })]);
    let (kernel, effects) = kernel("homeostat-system", vec![ObjectChange::Scalers(Arc::new(owner))]);
    let [Effect::Execute(plan, None)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(!sized(plan), "{:?}", plan.steps);
    let said = kernel.snapshot().runs.get(&order()).map(|report| report.said.clone()).unwrap();
    assert!(said.contains("VerticalPodAutoscaler fit"), "{said}");
}

#[test]
fn a_run_that_is_not_admitted_is_said_once_and_stays_in_the_report() {
    // Homeostat runs in the namespace of the Job: nothing there is ever touched.
    let (mut kernel, effects) = kernel(&order().namespace, Vec::new());
    let [Effect::Held(workload, why)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*workload, order());
    assert!(why.contains("never touched"), "{why}");
    // It is given again after 5 s and refused for the same reason: no news, and no line in the log.
    let mut again = Vec::new();
    for second in 1..8 {
        again.extend(kernel.step(&[], later(second), true));
    }
    assert!(again.is_empty(), "{again:?}");
    let problem = problem(&kernel).unwrap();
    assert!(problem.contains("cannot be started") && problem.contains("never touched"), "{problem}");
    kernel.step(&[observed(ObjectChange::Workload(Change::Deleted(order())))], later(9), true);
    assert!(kernel.snapshot().runs.get(&order()).is_none(), "what is ordered no more has no report");
}
