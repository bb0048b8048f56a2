//! Runs: which failed one is repeated. Their pods are given more memory by whoever orders runs, and by nobody else without a
//! fault.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenIncident, GivenPod, GivenWorkload, ago, drafted, now, order};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::{Draft, Expectation, Undo};
use homeostat_knowledge::policy::{Bounds, Permits, RunItems, ScalingMode, ScalingPolicy};
use homeostat_knowledge::records::{ControllerKey, JobEnd, OwnerRecord, Work};
use homeostat_knowledge::*;
use homeostat_plan::{Checker, Decision, plan};
use homeostat_playbooks::shipped;
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
        cpu_limit_millis: None,
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

/// A `CronJob` of which runs are asked for from so many items on, and the plan that makes one.
fn from_backlog(mode: ScalingMode, run_from: Option<u32>) -> (Snapshot, Plan<Draft>) {
    let (mut snapshot, mut plan) = world(ControllerKind::Job, mode, 200);
    let mut cron = (**snapshot.controller_of(&order()).expect("a Job")).clone();
    cron.key.kind = ControllerKind::CronJob;
    let mut workload = (**snapshot.workloads.get(&order()).expect("a workload")).clone();
    workload.target = cron.key.clone();
    workload.permits.runs.items = Some(RunItems { each: None, run_from });
    let step = &mut plan.steps[0];
    step.target = Snapshot::controller_target(&cron).expect("a CronJob");
    step.parameters = Parameters::CreateJob { slot: second(0) };
    step.before = Before::default();
    (step.verification.expect, step.evidence.taken_at) = (Expectation::Nothing, now());
    put(&mut snapshot, cron);
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), now());
    (snapshot, plan)
}

type Spoil = fn(&mut Plan<Draft>);

/// So many whole seconds from now on.
fn second(later: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + later).expect("a moment")
}

#[test]
fn a_run_from_the_backlog_is_admitted_only_where_people_ask_for_it_and_of_their_cron_job() {
    let refused = |plan: &Plan<Draft>, snapshot: &Snapshot| {
        Checker::default().check(plan.clone(), snapshot, now()).err()
    };
    let (snapshot, plan) = from_backlog(ScalingMode::Auto, Some(20));
    assert_eq!(refused(&plan, &snapshot), None, "the test can pass");
    for (mode, from) in [(ScalingMode::Auto, None), (ScalingMode::Recommend, Some(20))] {
        let (snapshot, plan) = from_backlog(mode, from);
        let objections = refused(&plan, &snapshot).expect("nobody asked");
        assert!(objections.iter().any(|one| one.message.contains("backlog.runFrom")), "{objections:?}");
    }
    let spoils: [Spoil; 5] = [
        |plan| plan.origin = Origin::Incident,
        |plan| plan.steps[0].target.uid = Uid::new("another"),
        |plan| plan.steps[0].target.kind = Name::from("Job"),
        |plan| plan.steps[0].parameters = Parameters::CreateJob { slot: second(5) },
        |plan| {
            let slot = second(-5) + SignedDuration::from_millis(1);
            plan.steps[0].parameters = Parameters::CreateJob { slot };
        },
    ];
    for (index, spoil) in spoils.into_iter().enumerate() {
        let mut spoilt = plan.clone();
        spoil(&mut spoilt);
        assert!(refused(&spoilt, &snapshot).is_some(), "{index}");
    }
}

/// A run of `order`, which may be repeated, failed.
fn failed(target: &str) -> (Snapshot, Incident) {
    let given = Given {
        incident: GivenIncident {
            kind: "JobFailed".into(),
            cause: "workload order".into(),
            since: 5.0,
            ..GivenIncident::default()
        },
        workload: GivenWorkload { target: target.into(), repeatable: true, ..GivenWorkload::default() },
        jobs: (target == "CronJob").then(Vec::new),
        ..Given::default()
    };
    given.build()
}

/// A Job of what `order` targets, which began so many seconds ago.
fn run(snapshot: &Snapshot, name: &str, finished: Option<JobEnd>, began: f64) -> ControllerRecord {
    let mut job = (**snapshot.controller_of(&order()).expect("a target")).clone();
    job.owner = Some(OwnerRecord { kind: job.key.kind, name: order().name, uid: job.uid.clone() });
    job.key = ControllerKey { kind: ControllerKind::Job, object: ObjectKey::new("shop", name) };
    job.uid = Uid::new(format!("uid-{name}"));
    job.run.started = Some(ago(began));
    job.finished = finished;
    job
}

fn put(snapshot: &mut Snapshot, job: ControllerRecord) {
    snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(job))), now());
}

#[test]
fn a_job_that_was_repeated_already_is_not_repeated_once_more() {
    let repeated = |space: &str, finished: Option<JobEnd>| {
        let (mut snapshot, incident) = failed("Job");
        let first = snapshot.controller_of(&order()).expect("a Job").uid.clone();
        let mut again = run(&snapshot, "order-retry", finished, 3.0);
        again.key.object.namespace = space.into();
        again.owner = None;
        again.work = Some(Box::new(Work { retry_of: Some(first), ..Work::default() }));
        put(&mut snapshot, again);
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    for (finished, name, words) in [
        (None, "Wait", "its end decides"),
        (Some(JobEnd::Complete), "Wait", "nothing is missing"),
        (Some(JobEnd::Failed), "HandOver", "which repeats it, failed too"),
    ] {
        let decision = repeated("shop", finished);
        assert_eq!(decision.name(), name, "{decision:?}");
        assert!(decision.reason().contains(words), "{}", decision.reason());
    }
    let elsewhere = repeated("elsewhere", Some(JobEnd::Complete));
    assert_eq!(elsewhere.name(), "Act", "who may make Jobs elsewhere has no say: {elsewhere:?}");
}

#[test]
fn the_newest_run_is_the_one_that_began_last_whatever_people_called_it() {
    let with = |runs: &[(&str, JobEnd, f64)]| {
        let (mut snapshot, incident) = failed("CronJob");
        for (name, end, began) in runs {
            let job = run(&snapshot, name, Some(*end), *began);
            put(&mut snapshot, job);
        }
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    let well = with(&[("try-it-by-hand", JobEnd::Failed, 90.0), ("order-2", JobEnd::Complete, 50.0)]);
    assert_eq!(well.name(), "Wait", "{well:?}");
    assert!(well.reason().contains("order-2 ended well since"), "{}", well.reason());
    for runs in [
        [("order-2", JobEnd::Complete, 90.0), ("again", JobEnd::Failed, 50.0)],
        [("order-2", JobEnd::Failed, 90.0), ("again", JobEnd::Failed, 50.0)],
    ] {
        let Decision::Act(plan) = with(&runs) else { panic!("the newest one failed: {runs:?}") };
        assert_eq!(&*plan.steps[0].target.key.name, "again");
    }
}
