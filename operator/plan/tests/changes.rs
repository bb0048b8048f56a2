//! Steps that change sizes, releases and runs: what is planned, and that the second opinion agrees.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, GivenIncident, GivenNode, GivenPod, GivenWorkload, ago, now, order, own, planned};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::policy::{Bounds, Hysteresis, ReplicaStep, ScalingMode, ScalingPolicy};
use homeostat_knowledge::records::{JobEnd, OwnerRecord};
use homeostat_knowledge::*;
use homeostat_plan::{Checker, Decision, plan};
use homeostat_playbooks::shipped;
use std::sync::Arc;

/// Three replicas of `order` that answer slowly.
fn slow() -> Given {
    Given {
        incident: GivenIncident { kind: "Slow".into(), ..GivenIncident::default() },
        workload: GivenWorkload { replicas: 3, ..GivenWorkload::default() },
        pods: vec![GivenPod::default()],
        ..Given::default()
    }
}

fn permit(snapshot: &mut Snapshot, min: u64, max: u64) {
    let mut policy = (**snapshot.workloads.get(&order()).expect("order")).clone();
    policy.permits.replicas = Some(Bounds { min, max });
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), now());
}

#[test]
fn sizes_stay_within_bounds_and_steps_whatever_the_playbook_wants() {
    for (action, wanted, bounds, expected) in [
        ("ScaleUp", None, Some((1, 10)), Some(5)),
        ("ScaleUp", Some(4), Some((1, 10)), Some(4)),
        ("ScaleUp", Some(9), Some((1, 10)), Some(6)),
        ("ScaleUp", None, Some((1, 4)), Some(4)),
        ("ScaleUp", None, Some((1, 3)), None),
        ("ScaleUp", None, Some((6, 10)), Some(6)),
        ("ScaleUp", None, Some((8, 10)), Some(6)),
        ("ScaleUp", None, None, None),
        ("ScaleDown", None, Some((1, 10)), None),
    ] {
        let (mut snapshot, incident) = slow().build();
        if let Some((min, max)) = bounds {
            permit(&mut snapshot, min, max);
        }
        let number =
            wanted.map_or_else(String::new, |number| format!(", parameters: {{ replicas: '{number}' }}"));
        let playbook = own("Slow", &format!("action: {action}{number}, undo: Restore"));
        let found = planned(&snapshot, &incident, playbook).map(|(step, _)| step);
        match (expected, found) {
            (Some(replicas), Ok(step)) => {
                assert_eq!(step.parameters, Parameters::ScaleUp { replicas });
                assert_eq!((step.before.replicas, step.undo), (Some(3), Undo::Restore));
                assert_eq!(&*step.target.kind, "Deployment");
            }
            (None, Err(_)) => {}
            (_, found) => panic!("{action} {wanted:?} within {bounds:?}: {found:?}"),
        }
    }
    let mut ten = slow();
    ten.workload.replicas = 10;
    let (mut snapshot, incident) = ten.build();
    permit(&mut snapshot, 9, 20);
    let step =
        planned(&snapshot, &incident, own("Slow", "action: ScaleDown, undo: Never")).expect("a plan").0;
    assert_eq!(step.parameters, Parameters::ScaleDown { replicas: 9 }, "not below its bound");
}

#[test]
fn a_backlog_that_gets_smaller_gets_no_more_replicas() {
    let mut given = slow();
    (given.incident.kind, given.incident.cause) = ("QueueGrowing".into(), "workload order".into());
    given.incident.since = 120.0;
    let (mut snapshot, incident) = given.build();
    permit(&mut snapshot, 1, 10);
    let up = || own("QueueGrowing", "action: ScaleUp, undo: Restore");
    assert!(planned(&snapshot, &incident, up()).is_ok());
    let health = WorkloadHealth { backlog_falls: true, ..WorkloadHealth::default() };
    snapshot.health.insert_mut(order(), health);
    let why = planned(&snapshot, &incident, up()).expect_err("it is worked off");
    assert!(why.contains("gets smaller"), "{why}");
}

#[test]
fn what_is_planned_stays_within_the_step_of_the_tenant() {
    for (action, percent, expected) in [
        ("ScaleUp", 30, Some(Parameters::ScaleUp { replicas: 13 })),
        ("ScaleUp", 0, None),
        ("ScaleDown", 10, Some(Parameters::ScaleDown { replicas: 9 })),
        ("ScaleDown", 0, None),
    ] {
        let mut ten = slow();
        ten.workload.replicas = 10;
        let (mut snapshot, incident) = ten.build();
        permit(&mut snapshot, 1, 100);
        let mut tenant = (**snapshot.tenants.values().next().expect("a tenant")).clone();
        tenant.limits.replica_step = ReplicaStep::new(percent, percent);
        snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), now());
        let playbook = own("Slow", &format!("action: {action}, undo: Never"));
        let found = planned(&snapshot, &incident, playbook).map(|(step, _)| step.parameters).ok();
        assert_eq!(found, expected, "{action} by {percent} %");
    }
}

#[test]
fn the_second_opinion_counts_replicas_itself() {
    let (mut snapshot, incident) = slow().build();
    permit(&mut snapshot, 1, 10);
    let decision = plan(
        &incident,
        &snapshot,
        &[own("Slow", "action: ScaleUp, undo: Never")],
        now(),
        &mut SeededIds::new(7),
    );
    let Decision::Act(mut draft) = decision else { panic!("expected a plan") };
    draft.steps[0].before.replicas = Some(2);
    let objections = Checker::new("homeostat").check(draft.clone(), &snapshot, now()).expect_err("refused");
    assert!(objections.iter().any(|one| one.message.contains("3 replicas")), "{objections:?}");
    draft.steps[0].before.replicas = Some(3);
    draft.steps[0].parameters = Parameters::ScaleDown { replicas: 0 };
    assert!(Checker::new("homeostat").check(draft, &snapshot, now()).is_err(), "zero is for people");
}

#[test]
fn a_roll_back_names_the_revision_before_the_present_one() {
    let (mut snapshot, incident) = slow().build();
    let deployment = Arc::clone(snapshot.controller_of(&order()).expect("a controller"));
    let mut present = (*deployment).clone();
    present.revision = Some("4".into());
    snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(present))), now());
    let back = || own("Slow", "action: RollBack, to: PreviousRevision");
    assert!(planned(&snapshot, &incident, back()).is_err(), "no other revision is known");
    for (name, revision, uid) in [
        ("order-2", "2", &deployment.uid),
        ("order-3", "3", &deployment.uid),
        ("other-3", "3", &Uid::new("x")),
    ] {
        let mut set = (*deployment).clone();
        set.key.kind = ControllerKind::ReplicaSet;
        set.key.object.name = name.into();
        set.revision = Some(revision.into());
        set.owner =
            Some(OwnerRecord { kind: ControllerKind::Deployment, name: "order".into(), uid: uid.clone() });
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(set))), now());
    }
    let step = planned(&snapshot, &incident, back()).expect("a plan").0;
    assert_eq!(step.parameters, Parameters::RollBack { revision: "order-3".into() });
    assert_eq!((step.before.revision.as_deref(), step.undo), (Some("4"), Undo::None));
    let named = own("Slow", "action: RollBack, parameters: { revision: order-2 }");
    let step = planned(&snapshot, &incident, named).expect("a plan").0;
    assert_eq!(step.parameters, Parameters::RollBack { revision: "order-2".into() });
}

#[test]
fn who_keeps_its_revisions_otherwise_is_taken_back_by_people_who_are_told_how() {
    for (target, what) in [("StatefulSet", "statefulset"), ("DaemonSet", "daemonset")] {
        let mut given = slow();
        given.workload.target = target.into();
        let (snapshot, incident) = given.build();
        let back = own("Slow", "action: RollBack, to: PreviousRevision");
        let why = planned(&snapshot, &incident, back).expect_err("nothing is planned");
        assert!(why.contains(&format!("kubectl rollout undo {what}/order -n shop")), "{why}");
    }
}

/// A pod of an earlier release, which is there beside the present one.
fn beside(snapshot: &mut Snapshot, set: &str, ready: bool) {
    let mut pod = (**snapshot.pods_of(&order()).next().expect("a pod")).clone();
    pod.key.name = Name::from(format!("{set}-x"));
    pod.uid = Uid::new(format!("uid-{set}-x"));
    pod.owner =
        Some(OwnerRecord { kind: ControllerKind::ReplicaSet, name: set.into(), uid: Uid::new("uid-owner") });
    pod.ready = ready;
    snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), now());
}

#[test]
fn a_roll_back_goes_to_the_release_that_serves_past_one_that_failed_too() {
    let (mut snapshot, incident) = slow().build();
    let deployment = Arc::clone(snapshot.controller_of(&order()).expect("a controller"));
    for (name, revision) in [("order-2", "2"), ("order-3", "3")] {
        let mut set = (*deployment).clone();
        set.key.kind = ControllerKind::ReplicaSet;
        set.key.object.name = name.into();
        set.uid = Uid::new(name);
        set.revision = Some(revision.into());
        set.owner = Some(OwnerRecord {
            kind: ControllerKind::Deployment,
            name: "order".into(),
            uid: deployment.uid.clone(),
        });
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(set))), now());
    }
    let mut back_to = |of_second: bool, of_third: bool| {
        beside(&mut snapshot, "order-2", of_second);
        beside(&mut snapshot, "order-3", of_third);
        let back = own("Slow", "action: RollBack, to: PreviousRevision");
        planned(&snapshot, &incident, back).map(|(step, _)| step.parameters)
    };
    let to = |name: &str| Ok(Parameters::RollBack { revision: name.into() });
    assert_eq!(back_to(true, false), to("order-2"));
    assert_eq!(back_to(true, true), to("order-3"));
    let neither = back_to(false, false).expect_err("people tell which one did well");
    assert!(neither.contains("which of them did well is not known"), "{neither}");
}

#[test]
fn a_release_counts_as_failing_since_its_own_pods_are_seen_to_not_since_an_older_one_is() {
    let decided = |since: f64| {
        let pod = |name: &str, old_release, created, ready| {
            let name = name.into();
            GivenPod { name, old_release, created, ready, ..GivenPod::default() }
        };
        let given = Given {
            incident: GivenIncident {
                kind: "NotReady".into(),
                cause: "workload order".into(),
                seen_on: Some("order-n".into()),
                since,
                ..GivenIncident::default()
            },
            workload: GivenWorkload { replicas: 3, rolling_out: true, ..GivenWorkload::default() },
            pods: vec![
                pod("order-a", true, 90_000.0, false),
                pod("order-b", true, 90_000.0, true),
                pod("order-n", false, 80.0, false),
            ],
            ..Given::default()
        };
        let (snapshot, mut incident) = given.build();
        let mut older = incident.findings[0].clone();
        older.since = ago(300.0);
        let (key, uid) = (ObjectKey::new("shop", "order-a"), Uid::new("uid-order-a"));
        older.entity = Entity::Pod { key, uid, workload: Some(order()) };
        incident.findings.push(older);
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    let young = decided(31.0);
    assert_eq!(young.name(), "Wait", "{young:?}");
    assert!(young.reason().contains("may be starting still"), "{}", young.reason());
    let Decision::Act(back) = decided(61.0) else { panic!("it had a minute") };
    assert_eq!(back.steps[0].parameters.kind(), ActionKind::RollBack);
}

#[test]
fn a_step_is_not_planned_before_its_finding_lasted_as_long_as_the_guards_ask() {
    for (kind, since, longer, waits) in [
        ("ImagePullFailed", 29.0, None, true),
        ("ImagePullFailed", 30.0, None, false),
        ("Slow", 3.0, None, false),
        ("Slow", 3.0, Some(4), true),
        ("Slow", 4.0, Some(4), false),
    ] {
        let incident = GivenIncident { kind: kind.into(), since, ..GivenIncident::default() };
        let (mut snapshot, incident) = Given { incident, ..slow() }.build();
        permit(&mut snapshot, 1, 10);
        if let Some(seconds) = longer {
            let mut tenant = (**snapshot.tenants.values().next().expect("a tenant")).clone();
            let slow = (FindingKind::Slow, SignedDuration::from_secs(seconds));
            tenant.limits.hysteresis = Hysteresis::new([slow]);
            snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), now());
        }
        let playbook = own(kind, "action: ScaleUp, undo: Restore");
        match plan(&incident, &snapshot, &[playbook], now(), &mut SeededIds::new(7)) {
            Decision::Wait { until, reason, .. } => {
                assert!(waits && reason.contains("may pass by itself"), "{kind} for {since} s: {reason}");
                assert_eq!(until, now().checked_add(SignedDuration::from_secs(1)).ok(), "{kind}");
            }
            Decision::Act(_) => assert!(!waits, "{kind} for {since} s"),
            other => panic!("{kind} for {since} s: {}", other.reason()),
        }
    }
}

#[test]
fn runs_are_suspended_for_a_while_and_failed_ones_repeated() {
    let mut given = slow();
    (given.workload.target, given.workload.repeatable) = ("CronJob".into(), true);
    let (mut snapshot, mut incident) = given.build();
    incident.causes[0].entity = Entity::Workload { key: order() };
    incident.findings[0].entity = Entity::Workload { key: order() };
    snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident.clone()));
    let step =
        planned(&snapshot, &incident, own("Slow", "action: Suspend, undo: Restore")).expect("a plan").0;
    assert_eq!((&*step.target.kind, step.before.suspended), ("CronJob", Some(false)));
    let Parameters::Suspend { until } = step.parameters else { panic!("{:?}", step.parameters) };
    assert_eq!(until, ago(-3_600.0));
    assert!(planned(&snapshot, &incident, own("Slow", "action: Resume")).is_err(), "not held by us");

    let cron = Arc::clone(snapshot.controller_of(&order()).expect("a controller"));
    assert!(planned(&snapshot, &incident, own("Slow", "action: RetryJob")).is_err(), "nothing failed");
    let mut run = |name: &str, finished| {
        let mut job = (*cron).clone();
        job.key.kind = ControllerKind::Job;
        job.key.object.name = name.into();
        job.uid = Uid::new(format!("uid-{name}"));
        job.finished = Some(finished);
        job.owner = Some(OwnerRecord {
            kind: ControllerKind::CronJob,
            name: cron.key.object.name.clone(),
            uid: cron.uid.clone(),
        });
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(job))), now());
        planned(&snapshot, &incident, own("Slow", "action: RetryJob"))
    };
    run("order-0", JobEnd::Complete).expect_err("nothing failed");
    run("order-1", JobEnd::Failed).expect("a plan");
    let step = run("order-2", JobEnd::Failed).expect("a plan").0;
    assert_eq!((&*step.target.kind, &*step.target.key.name), ("Job", "order-2"), "the newest failed one");
    run("order-3", JobEnd::Complete).expect_err("a later one ended well: nothing is missing");
}

#[test]
fn a_failed_run_that_is_started_again_by_its_turn_is_told_to_people_with_its_log() {
    let mut given = slow();
    given.incident.kind = "JobFailed".into();
    given.workload.target = "CronJob".into();
    let (mut snapshot, mut incident) = given.build();
    incident.causes[0].entity = Entity::Workload { key: order() };
    let mut policy = (**snapshot.workloads.get(&order()).expect("order")).clone();
    policy.permits.scaling = Some(ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() });
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), now());
    let cron = Arc::clone(snapshot.controller_of(&order()).expect("a controller"));
    let mut job = (*cron).clone();
    job.key.kind = ControllerKind::Job;
    job.key.object.name = "order-1".into();
    job.uid = Uid::new("uid-order-1");
    job.owner = Some(OwnerRecord {
        kind: ControllerKind::CronJob,
        name: cron.key.object.name.clone(),
        uid: cron.uid.clone(),
    });
    let mut decide = |finished| {
        job.finished = finished;
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(job.clone()))), now());
        let playbook = own("JobFailed", "action: RetryJob");
        plan(&incident, &snapshot, &[playbook], now(), &mut SeededIds::new(7))
    };
    let goes_on = decide(None);
    assert!(matches!(goes_on, Decision::Wait { .. }), "its Job may try again: {goes_on:?}");
    let failed = decide(Some(JobEnd::Failed));
    let Decision::HandOver { reason, advice, .. } = &failed else { panic!("{failed:?}") };
    assert!(reason.contains("order-1 failed") && reason.contains("its turn"), "{reason}");
    assert_eq!(advice[0], "kubectl -n shop logs order-a");
}

#[test]
fn a_run_that_reached_its_memory_limit_is_not_repeated_with_the_same_one() {
    let run = |reason: &str, ended: f64| GivenPod {
        name: format!("order-{reason}"),
        phase: "Failed".into(),
        ready: false,
        state: "Terminated".into(),
        state_since: Some(ended),
        reason: reason.into(),
        ..GivenPod::default()
    };
    let decide = |pods: &[GivenPod], pressure: &[&str]| {
        let given = Given {
            incident: GivenIncident {
                kind: "JobFailed".into(),
                cause: "workload order".into(),
                ..GivenIncident::default()
            },
            workload: GivenWorkload { target: "Job".into(), repeatable: true, ..GivenWorkload::default() },
            pods: pods.to_vec(),
            node: GivenNode {
                pressures: pressure.iter().map(ToString::to_string).collect(),
                ..GivenNode::default()
            },
            ..Given::default()
        };
        let (snapshot, incident) = given.build();
        planned(&snapshot, &incident, own("JobFailed", "action: RetryJob"))
    };
    let reason = decide(&[run("OOMKilled", 20.0)], &[]).expect_err("the same limit");
    assert!(reason.contains("order-OOMKilled reached its memory limit"), "{reason}");
    assert!(decide(&[run("OOMKilled", 20.0), run("Error", 90.0)], &[]).is_err(), "the last end counts");
    decide(&[run("Error", 20.0), run("OOMKilled", 90.0)], &[]).expect("it ended otherwise since");
    decide(&[run("OOMKilled", 20.0)], &["MemoryPressure"]).expect("its node was short, not the run");
}

#[test]
fn an_incident_with_an_action_that_only_a_newer_version_can_read_waits_for_it() {
    let (snapshot, incident) = slow().build();
    let reason = |incident_of: &str, workload: &str, state: ActionState| {
        let mut snapshot = snapshot.clone();
        let unread = UnreadAction {
            id: ActionId::new("order-9-1"),
            resource_version: "7".into(),
            incident: IncidentId::new(incident_of),
            origin: Origin::Incident,
            tenant: TenantName::new("shop"),
            workload: ObjectKey::new("shop", workload),
            target: Uid::new("another"),
            state,
            at: None,
            closed: None,
            why: "spec.action is Teleport".to_owned(),
        };
        snapshot.commit(&ObjectChange::UnreadAction(Arc::new(unread)), now());
        let playbook = own("Slow", "action: EvictPod");
        let decision = plan(&incident, &snapshot, &[playbook], now(), &mut SeededIds::new(7));
        decision.reason().contains("this version cannot read action order-9-1").then(|| decision.name())
    };
    let order = order().name.to_string();
    assert_eq!(reason("order-9", &order, ActionState::Verifying), Some("Wait"), "it is under way");
    assert_eq!(reason("order-9", &order, ActionState::Verified), None, "it is over");
    assert_eq!(reason("order-9", "cart", ActionState::Verifying), None, "elsewhere");
    let own = incident.id.as_str();
    assert_eq!(reason(own, &order, ActionState::Verified), Some("Wait"), "what it did here is not known");
}
