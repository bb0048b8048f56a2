//! From a decided size to the bounds of the autoscaler that owns it: in steps, held for a day, and given back.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{Given, ago, now, order};
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::policy::{
    Bounds, ControlPolicy, KillSwitch, Permits, ScalingMode, ScalingPolicy, WhenOwned,
};
use homeostat_knowledge::records::{AutoscalerRecord, ControllerKey, Drive, Hold};
use homeostat_knowledge::*;
use homeostat_plan::Checker;
use homeostat_plan::acted::Acted;
use homeostat_plan::bounds::{HOLD, RENEW, words};
use homeostat_plan::sizes::{SizeDecision, size, told};
use std::collections::BTreeMap;
use std::sync::Arc;

fn bounds((min, max): (u64, u64)) -> Bounds {
    Bounds { min, max }
}

/// The workload `order` with `replicas` by an autoscaler between these bounds, which may be moved up to 50.
fn world(replicas: i32, now_at: (u64, u64), peoples: Option<(u64, u64)>) -> Snapshot {
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
    let mut tenant = (**snapshot.tenant_of_namespace(&order().namespace).expect("a tenant")).clone();
    tenant.levels.insert(ActionKind::DriveBounds, Level::ActBounded);
    snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), now());
    policy(&mut snapshot, WhenOwned::DriveBounds, ScalingMode::Auto);
    let mut controller = (**snapshot.controller_of(&order()).expect("a target")).clone();
    (controller.replicas, controller.current, controller.ready, controller.updated) =
        (replicas, replicas, replicas, replicas);
    let scales = controller.key.clone();
    snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), now());
    let drive = peoples.map(|before| Drive {
        hold: Hold { by: Name::from("shop.order-0"), until: ago(0.0).checked_add(HOLD).ok() },
        before: bounds(before),
        set: bounds(now_at),
    });
    let autoscaler = AutoscalerRecord {
        key: ObjectKey { namespace: order().namespace, name: Name::from("order-hpa") },
        uid: Uid::new("order-hpa"),
        resource_version: Name::from("12"),
        scales: scales.clone(),
        bounds: bounds(now_at),
        drive,
        keda: None,
        gitops_owner: None,
    };
    snapshot.scalers = Arc::new(BTreeMap::from([(scales, Scaler::Hpa(Box::new(autoscaler)))]));
    snapshot
}

fn policy(snapshot: &mut Snapshot, when_owned: WhenOwned, mode: ScalingMode) {
    let mut workload = (**snapshot.workloads.get(&order()).expect("a workload")).clone();
    let scaling = Some(ScalingPolicy { mode, when_owned, ..ScalingPolicy::default() });
    workload.permits = Permits { replicas: Some(bounds((1, 50))), scaling, ..Permits::default() };
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), now());
}

fn decided(snapshot: &Snapshot, effect: SizeEffect, wanted: u32) -> SizeDecision {
    let advice = SizeAdvice {
        per_replica: Some(20.0),
        wanted: Some(wanted),
        effect,
        why: format!("{wanted} replicas: too few in 30 s with a chance of 0.01 %"),
        ..SizeAdvice::keep(ago(1.0))
    };
    let workload = snapshot.workloads.get(&order()).expect("a workload");
    size(workload, &advice, snapshot, &Acted::all(snapshot), now(), &mut SeededIds::new(7))
}

fn drives(snapshot: &Snapshot, min: u32, max: u32) -> Plan<Draft> {
    match decided(snapshot, SizeEffect::DriveBounds { min, max }, min) {
        SizeDecision::Act(plan) => *plan,
        other => panic!("expected a plan, got {other:?}"),
    }
}

fn set(plan: &Plan<Draft>) -> (u64, u64) {
    match plan.steps[0].parameters {
        Parameters::DriveBounds { bounds, .. } => (bounds.min, bounds.max),
        ref other => panic!("no bounds: {other:?}"),
    }
}

#[test]
fn a_floor_becomes_a_plan_on_the_autoscaler_that_the_checker_admits() {
    let snapshot = world(3, (2, 10), None);
    let plan = drives(&snapshot, 6, 10);
    let step = &plan.steps[0];
    assert_eq!((&*step.target.kind, &*step.target.key.name), ("HorizontalPodAutoscaler", "order-hpa"));
    assert_eq!((set(&plan), step.before.bounds), ((6, 10), Some(bounds((2, 10)))));
    assert_eq!((plan.origin, step.undo), (Origin::Forecast, Undo::None));
    assert!(plan.explanation[0].contains("order-hpa, minReplicas from 2 to 6"), "{:?}", plan.explanation);
    assert!(Checker::default().check(plan, &snapshot, now()).is_ok());
    let down = drives(&world(6, (6, 10), Some((2, 10))), 4, 10);
    assert_eq!((set(&down), down.steps[0].undo), ((4, 10), Undo::Restore), "a lower floor is watched");
    assert_eq!(
        decided(&snapshot, SizeEffect::DriveBounds { min: 2, max: 10 }, 2),
        SizeDecision::Nothing,
        "moved meanwhile"
    );
}

#[test]
fn a_floor_goes_as_far_as_one_step_may_and_the_ceiling_only_where_it_must() {
    for (replicas, present, wanted, next) in [
        (3, (2, 10), (30, 30), (7, 10)),
        (9, (2, 10), (30, 30), (18, 18)),
        (9, (9, 10), (12, 12), (12, 12)),
        (12, (12, 12), (5, 10), (6, 10)),
        (12, (6, 10), (2, 10), (3, 10)),
        (12, (3, 10), (2, 10), (2, 10)),
    ] {
        let snapshot = world(replicas, present, Some((2, 10)));
        let plan = drives(&snapshot, wanted.0, wanted.1);
        assert_eq!(set(&plan), next, "{present:?} to {wanted:?} with {replicas}");
        let checked = Checker::default().check(plan, &snapshot, now());
        assert!(checked.is_ok(), "{present:?} to {wanted:?}: {checked:?}");
    }
}

#[test]
fn bounds_that_stay_are_held_anew_before_their_time_is_over() {
    let mut snapshot = world(6, (6, 10), Some((2, 10)));
    assert_eq!(decided(&snapshot, SizeEffect::Keep, 6), SizeDecision::Nothing, "just held");
    let left = |snapshot: &mut Snapshot, left: SignedDuration| {
        let mut scalers = (*snapshot.scalers).clone();
        for scaler in scalers.values_mut() {
            if let Scaler::Hpa(autoscaler) = scaler
                && let Some(drive) = &mut autoscaler.drive
            {
                drive.hold.until = ago(1.0).checked_add(left).ok();
            }
        }
        snapshot.scalers = Arc::new(scalers);
    };
    left(&mut snapshot, RENEW);
    assert_eq!(decided(&snapshot, SizeEffect::Keep, 6), SizeDecision::Nothing);
    left(&mut snapshot, RENEW - SignedDuration::from_secs(1));
    let SizeDecision::Act(plan) = decided(&snapshot, SizeEffect::Keep, 6) else { panic!("held anew") };
    let until = ago(1.0).checked_add(HOLD).expect("an instant");
    let expected = Parameters::DriveBounds { bounds: bounds((6, 10)), until };
    assert_eq!(plan.steps[0].parameters, expected);
    assert!(Checker::default().check(*plan, &snapshot, now()).is_ok());
    policy(&mut snapshot, WhenOwned::DriveBounds, ScalingMode::Recommend);
    assert_eq!(decided(&snapshot, SizeEffect::Keep, 6), SizeDecision::Nothing, "nobody asks for it any more");
    let own = world(6, (6, 10), None);
    assert_eq!(decided(&own, SizeEffect::Keep, 6), SizeDecision::Nothing, "people's own bounds");
}

#[test]
fn the_checker_admits_bounds_only_where_people_ask_for_them_and_on_what_they_are() {
    let snapshot = world(3, (2, 10), None);
    let plan = drives(&snapshot, 6, 10);
    let refused =
        |plan: Plan<Draft>, snapshot: &Snapshot| Checker::default().check(plan, snapshot, now()).is_err();
    for (when_owned, mode) in
        [(WhenOwned::Refuse, ScalingMode::Auto), (WhenOwned::DriveBounds, ScalingMode::Recommend)]
    {
        let mut other = snapshot.clone();
        policy(&mut other, when_owned, mode);
        assert!(refused(plan.clone(), &other), "{when_owned:?} {mode:?}");
    }
    assert!(refused(plan.clone(), &world(3, (3, 10), None)), "somebody changed them");
    let mut keda = snapshot.clone();
    let scales = keda.scalers.keys().next().cloned().expect("what is scaled");
    keda.scalers = Arc::new(BTreeMap::from([(scales, Scaler::Keda { name: "queue".into() })]));
    assert!(refused(plan.clone(), &keda), "KEDA would set them back");
    let mut rivals = snapshot.clone();
    let queue = (workload_target(&snapshot), Scaler::Keda { name: "queue".into() });
    let known = (*snapshot.scalers).clone();
    rivals.scalers = Arc::new(Scaler::by_target(known.into_iter().chain([queue])));
    assert!(refused(plan.clone(), &rivals), "two of them");
    for (effect, wanted) in [(SizeEffect::DriveBounds { min: 6, max: 10 }, 6), (SizeEffect::Scale, 5)] {
        let said = decided(&rivals, effect, wanted);
        let named = |why: &str| why.contains("order-hpa") && why.contains("ScaledObject queue");
        assert!(matches!(&said, SizeDecision::Wait(why) if named(why)), "{said:?}");
    }
    let spoils: [Spoil; 6] = [
        |plan| plan.origin = Origin::Incident,
        |plan| plan.steps[0].target.uid = Uid::new("another"),
        |plan| plan.steps[0].target.kind = Name::from("Deployment"),
        |plan| spoil(plan, (1, 10)),
        |plan| spoil(plan, (51, 51)),
        |plan| spoil(plan, (6, 5)),
    ];
    for (index, change) in spoils.into_iter().enumerate() {
        let mut spoilt = plan.clone();
        change(&mut spoilt);
        assert!(refused(spoilt, &snapshot), "{index}");
    }
    let mut endless = plan;
    endless.steps[0].parameters = Parameters::DriveBounds { bounds: bounds((6, 10)), until: Timestamp::MAX };
    assert!(refused(endless, &snapshot));
}

type Spoil = fn(&mut Plan<Draft>);

fn spoil(plan: &mut Plan<Draft>, to: (u64, u64)) {
    if let Parameters::DriveBounds { bounds: set, .. } = &mut plan.steps[0].parameters {
        *set = bounds(to);
    }
}

#[test]
fn people_read_which_bound_was_moved() {
    assert_eq!(words(bounds((2, 10)), bounds((6, 10))), "minReplicas from 2 to 6");
    assert_eq!(
        words(bounds((8, 10)), bounds((12, 12))),
        "minReplicas from 8 to 12, maxReplicas from 10 to 12"
    );
    assert_eq!(words(bounds((6, 10)), bounds((6, 10))), "held at 6 to 10 replicas");
    let snapshot = world(3, (2, 10), None);
    let plan = Checker::default().check(drives(&snapshot, 6, 10), &snapshot, now()).expect("admitted");
    let mut record = plan.record(ActionId::new("shop.order-1"), "me".into()).expect("a step");
    record.state = ActionState::Verified;
    assert!(told(&record).starts_with("DriveBounds minReplicas from 2 to 6 at "), "{}", told(&record));
}

fn workload_target(snapshot: &Snapshot) -> ControllerKey {
    snapshot.workloads.get(&order()).expect("a workload").target.clone()
}
