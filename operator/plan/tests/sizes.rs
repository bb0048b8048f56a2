//! From a decided size to a plan: through the second opinion, in steps, and not at all where people say so.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, ago, now, order};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::policy::{Bounds, ControlPolicy, KillSwitch, Permits, ScalingMode, ScalingPolicy};
use homeostat_knowledge::*;
use homeostat_plan::Checker;
use homeostat_plan::acted::Acted;
use homeostat_plan::sizes::{SizeDecision, size};
use std::sync::Arc;

/// The workload `order` with `replicas`, scaled by forecast between 0 and 50, by a tenant that lets it be done alone.
fn world(replicas: i32) -> Snapshot {
    let (mut snapshot, _) = Given::default().build();
    let keys: Vec<IncidentId> = snapshot.incidents.keys().cloned().collect();
    for key in keys {
        snapshot.incidents.remove_mut(&key);
    }
    let control = ControlPolicy {
        kill_switch: KillSwitch::Off,
        ceiling: Level::ActBounded,
        ..ControlPolicy::default()
    };
    snapshot.commit(&ObjectChange::Control(Some(Arc::new(control))), now());
    change_tenant(&mut snapshot, |tenant| {
        for kind in [ActionKind::ScaleUp, ActionKind::ScaleDown] {
            tenant.levels.insert(kind, Level::ActBounded);
        }
    });
    change_workload(&mut snapshot, |workload| {
        let scaling = Some(ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() });
        workload.permits =
            Permits { replicas: Some(Bounds { min: 0, max: 50 }), scaling, ..Permits::default() };
    });
    let mut controller = (**snapshot.controller_of(&order()).expect("a target")).clone();
    (controller.replicas, controller.current, controller.ready, controller.updated) =
        (replicas, replicas, replicas, replicas);
    snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), now());
    snapshot
}

fn change_tenant(snapshot: &mut Snapshot, change: impl FnOnce(&mut TenantPolicy)) {
    let mut tenant = (**snapshot.tenant_of_namespace(&order().namespace).expect("a tenant")).clone();
    change(&mut tenant);
    snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), now());
}

fn change_workload(snapshot: &mut Snapshot, change: impl FnOnce(&mut WorkloadPolicy)) {
    let mut workload = (**snapshot.workloads.get(&order()).expect("a workload")).clone();
    change(&mut workload);
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), now());
}

fn advice(wanted: u32) -> SizeAdvice {
    SizeAdvice {
        per_replica: Some(20.0),
        wanted: Some(wanted),
        effect: SizeEffect::Scale,
        why: format!("{wanted} replicas: too few in 30 s with a chance of 0.01 %"),
        ..SizeAdvice::keep(ago(1.0))
    }
}

fn decided(snapshot: &Snapshot, advice: &SizeAdvice) -> SizeDecision {
    let workload = snapshot.workloads.get(&order()).expect("a workload");
    size(workload, advice, snapshot, &Acted::all(snapshot), now(), &mut SeededIds::new(7))
}

fn planned(snapshot: &Snapshot, wanted: u32) -> Plan<Draft> {
    match decided(snapshot, &advice(wanted)) {
        SizeDecision::Act(plan) => *plan,
        other => panic!("expected a plan, got {other:?}"),
    }
}

fn waits(snapshot: &Snapshot, wanted: u32) -> String {
    match decided(snapshot, &advice(wanted)) {
        SizeDecision::Wait(why) => why,
        other => panic!("expected to wait, got {other:?}"),
    }
}

/// An earlier change by forecast, so many seconds ago.
fn earlier(snapshot: &mut Snapshot, seconds: f64, state: ActionState, parameters: Parameters) {
    let plan = Checker::default().check(planned(&world(4), 9), snapshot, now()).expect("admitted");
    let mut record =
        plan.record(ActionId::new(format!("shop.order-{seconds}")), "me".into()).expect("a step");
    record.state = state;
    record.parameters = parameters;
    record.evidence.taken_at = ago(seconds);
    "a freeze window is open".clone_into(&mut record.message);
    snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(record))), now());
}

#[test]
fn a_size_becomes_a_plan_without_an_incident_that_the_checker_admits() {
    let snapshot = world(4);
    let plan = planned(&snapshot, 7);
    assert_eq!(plan.origin, Origin::Forecast);
    assert_eq!(plan.steps[0].parameters, Parameters::ScaleUp { replicas: 7 });
    assert_eq!((plan.steps[0].before.replicas, plan.steps[0].undo), (Some(4), Undo::None));
    assert!(plan.explanation[0].contains("from 4 to 7") && plan.explanation[0].contains("chance"));
    assert!(Checker::default().check(plan, &snapshot, now()).is_ok());
    let down = planned(&snapshot, 3);
    assert_eq!(down.steps[0].parameters, Parameters::ScaleDown { replicas: 3 });
    assert_eq!(down.steps[0].undo, Undo::Restore, "fewer replicas that hurt are taken back");
    assert_eq!(decided(&snapshot, &advice(4)), SizeDecision::Nothing);
    let noted = SizeAdvice { effect: SizeEffect::Recommend, ..advice(7) };
    assert_eq!(decided(&snapshot, &noted), SizeDecision::Nothing, "the mode asks for no more than words");
}

#[test]
fn a_change_goes_as_far_as_one_step_may() {
    for (present, wanted, next) in
        [(10, 50, 20), (2, 50, 6), (0, 40, 4), (10, 0, 5), (1, 0, 0), (3, 0, 2), (40, 5, 20), (10, 12, 12)]
    {
        let snapshot = world(present);
        let plan = planned(&snapshot, wanted);
        let (Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas }) =
            plan.steps[0].parameters
        else {
            panic!("no size: {plan:?}");
        };
        assert_eq!(replicas, next, "{present} to {wanted}");
        assert!(Checker::default().check(plan, &snapshot, now()).is_ok(), "{present} to {wanted}");
    }
}

#[test]
fn the_checker_allows_zero_only_where_the_bounds_begin_there_and_nothing_without_auto() {
    let snapshot = world(1);
    let plan = planned(&snapshot, 0);
    let mut other = snapshot.clone();
    change_workload(&mut other, |workload| workload.permits.replicas = Some(Bounds { min: 1, max: 50 }));
    assert!(Checker::default().check(plan.clone(), &other, now()).is_err());
    let mut recommended = snapshot.clone();
    change_workload(&mut recommended, |workload| {
        workload.permits.scaling = Some(ScalingPolicy::default());
    });
    assert!(Checker::default().check(plan.clone(), &recommended, now()).is_err());
    // A repair never goes to zero, whatever the bounds say.
    let mut repair = plan;
    repair.origin = Origin::Incident;
    assert!(Checker::default().check(repair, &snapshot, now()).is_err());
}

#[test]
fn what_people_said_stops_it_and_is_told() {
    type Stop = fn(&mut Snapshot);
    let stops: [(Stop, &str); 5] = [
        (|snapshot| change_tenant(snapshot, |tenant| tenant.paused = true), "paused"),
        (|snapshot| change_workload(snapshot, |workload| workload.paused = true), "leave workload"),
        (|snapshot| change_tenant(snapshot, |tenant| tenant.levels.clear()), "recommended only"),
        (|snapshot| snapshot.commit(&ObjectChange::Control(None), now()), "kill switch"),
        (|snapshot| change_tenant(snapshot, |tenant| tenant.namespaces.clear()), "belongs to no Tenant"),
    ];
    for (stop, words) in stops {
        let mut snapshot = world(4);
        stop(&mut snapshot);
        let why = waits(&snapshot, 7);
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn one_change_at_a_time_and_what_was_refused_is_asked_again_later_and_later() {
    let up = Parameters::ScaleUp { replicas: 9 };
    let mut busy = world(4);
    earlier(&mut busy, 20.0, ActionState::Verifying, up.clone());
    assert!(waits(&busy, 9).contains("Verifying"));
    let mut refused = world(4);
    earlier(&mut refused, 14.0, ActionState::Refused, up.clone());
    assert!(waits(&refused, 9).contains("tried again after"));
    assert!(matches!(decided(&refused, &advice(2)), SizeDecision::Act(_)), "the other way was not refused");
    let mut once = world(4);
    earlier(&mut once, 16.0, ActionState::Refused, up.clone());
    assert!(matches!(decided(&once, &advice(9)), SizeDecision::Act(_)));
    earlier(&mut once, 15.5, ActionState::Refused, up.clone());
    assert!(waits(&once, 9).contains("tried again after"), "the second in a row waits twice as long");
    let mut done = world(4);
    earlier(&mut done, 3.0, ActionState::Verified, up);
    assert!(matches!(decided(&done, &advice(9)), SizeDecision::Act(_)), "more is never waited for");
}

/// A way up that this guard refused, so many seconds ago.
fn refused_by(snapshot: &mut Snapshot, seconds: f64, name: GuardName) {
    earlier(snapshot, seconds, ActionState::Refused, Parameters::ScaleUp { replicas: 9 });
    let id = ActionId::new(format!("shop.order-{seconds}"));
    let mut record = (**snapshot.actions.get(&id).expect("stored")).clone();
    record.guards = vec![GuardReport {
        name,
        result: GuardResult::Refused,
        observed: "refused".to_owned(),
        limit: String::new(),
        message: String::new(),
    }];
    snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(record))), now());
}

#[test]
fn more_replicas_that_wait_for_a_guard_are_asked_for_within_half_a_minute_however_long_it_refused() {
    let asked = |guard: GuardName, ages: &[f64]| {
        let mut snapshot = world(4);
        for age in ages {
            refused_by(&mut snapshot, *age, guard);
        }
        matches!(decided(&snapshot, &advice(9)), SizeDecision::Act(_))
    };
    // A freeze window of hours, of which every refusal would have doubled the wait.
    let hours = |last: f64| (0..16).map(|back| last + 900.0 * f64::from(back)).collect::<Vec<_>>();
    let passing = [
        GuardName::FreezeWindow,
        GuardName::Budget,
        GuardName::Cooldown,
        GuardName::Storm,
        GuardName::Breaker,
    ];
    for guard in passing {
        assert!(!asked(guard, &hours(3.0)), "{guard:?}: refused a moment ago");
        let steps: Vec<bool> =
            (1..=58).map(|step| asked(guard, &hours(15.0 * f64::from(step) + 0.4))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] != pair[1]), "{guard:?}: every other step: {steps:?}");
        assert!(asked(guard, &hours(915.0)), "{guard:?}");
    }
    assert!(!asked(GuardName::DryRun, &hours(600.0)), "what people have to change is asked for seldom");
    let mut both = world(4);
    refused_by(&mut both, 300.0, GuardName::DryRun);
    refused_by(&mut both, 45.0, GuardName::FreezeWindow);
    assert!(matches!(decided(&both, &advice(9)), SizeDecision::Act(_)), "another guard begins anew");
    let mut claimed = world(4);
    refused_by(&mut claimed, 45.0, GuardName::FreezeWindow);
    refused_by(&mut claimed, 30.4, GuardName::FreezeWindow);
    refused_by(&mut claimed, 15.4, GuardName::FreezeWindow);
    assert!(matches!(decided(&claimed, &advice(9)), SizeDecision::Act(_)));
    for seconds in ["45", "30.4", "15.4"] {
        let id = ActionId::new(format!("shop.order-{seconds}"));
        let mut record = (**claimed.actions.get(&id).expect("stored")).clone();
        record.instants.intent = Some(record.evidence.taken_at);
        claimed.commit(&ObjectChange::Action(Change::Applied(Arc::new(record))), now());
    }
    let why = waits(&claimed, 9);
    assert!(why.contains("tried again after"), "each try after the claim is stored: {why}");
}
