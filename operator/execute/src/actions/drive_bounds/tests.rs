use super::*;
use crate::testing::{
    at, autoscaler, change, controller, edit, fresh_autoscaler, hold, permit, put_controller, put_scaler,
    snapshot,
};
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::policy::{ScalingMode, ScalingPolicy, WhenOwned};
use homeostat_knowledge::records::Drive;
use homeostat_knowledge::{
    ActionId, ControllerKind, IncidentId, Name, ObjectKey, SignedDuration, SizeAdvice, SizeEffect, Uid,
    Verification,
};
use std::sync::Arc;

fn bounds((min, max): (u64, u64)) -> Bounds {
    Bounds { min, max }
}

/// From these bounds to those, by forecast, until an hour later.
fn drive(before: (u64, u64), wanted: (u64, u64)) -> ActionRecord {
    let until = at(3_600);
    let mut record = change("shop.order-1", Parameters::DriveBounds { bounds: bounds(wanted), until });
    record.target = Snapshot::autoscaler_target(&autoscaler(before.0, before.1));
    record.before.bounds = Some(bounds(before));
    record.origin = Origin::Forecast;
    record
}

/// Workload `shop/order` between 1 and 20 replicas lets the bounds of its autoscaler be moved; three replicas run.
fn world(autoscaler: AutoscalerRecord) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.incidents.remove_mut(&IncidentId::new("order-1"));
    allow(&mut snapshot, ScalingMode::Auto, WhenOwned::DriveBounds);
    let mut deployment = controller(ControllerKind::Deployment, "order");
    (deployment.replicas, deployment.current, deployment.ready, deployment.updated) = (3, 3, 3, 3);
    put_controller(&mut snapshot, deployment);
    put_scaler(&mut snapshot, Scaler::Hpa(Box::new(autoscaler)));
    snapshot
}

fn allow(snapshot: &mut Snapshot, mode: ScalingMode, when_owned: WhenOwned) {
    permit(snapshot, |permits| {
        permits.replicas = Some(bounds((1, 20)));
        permits.scaling = Some(ScalingPolicy { mode, when_owned, ..ScalingPolicy::default() });
    });
}

/// As we drive it: from 2 to 10 before, and what was set last.
fn driven(now: (u64, u64), set: (u64, u64)) -> AutoscalerRecord {
    let mut driven = autoscaler(now.0, now.1);
    driven.drive = Some(Drive { hold: hold("shop.order-0", 600), before: bounds((2, 10)), set: bounds(set) });
    driven
}

fn allowed(record: &ActionRecord, snapshot: &Snapshot) -> Result<(), Unfit> {
    DriveBounds.check(record, snapshot, &Protected::with_own_namespace("homeostat"))
}

#[test]
fn only_where_the_workload_says_so_and_only_by_forecast() {
    let mut snapshot = world(autoscaler(2, 10));
    let mut record = drive((2, 10), (6, 10));
    assert_eq!(allowed(&record, &snapshot), Ok(()));
    record.origin = Origin::Incident;
    assert!(matches!(allowed(&record, &snapshot), Err(Unfit::Protected(_))));
    record.origin = Origin::Forecast;
    for (mode, when_owned) in [
        (ScalingMode::Auto, WhenOwned::Refuse),
        (ScalingMode::Recommend, WhenOwned::DriveBounds),
        (ScalingMode::Observe, WhenOwned::DriveBounds),
    ] {
        allow(&mut snapshot, mode, when_owned);
        assert!(matches!(allowed(&record, &snapshot), Err(Unfit::Protected(_))), "{mode:?} {when_owned:?}");
    }
    record.undo_of = Some(ActionId::new("shop.order-0"));
    assert_eq!(allowed(&record, &snapshot), Ok(()), "what we did is taken back whatever they say now");
}

#[test]
fn never_below_peoples_floor_and_its_ceiling_stays_as_long_as_the_floor_fits() {
    for (present, wanted, expected) in [
        ((2, 10), (6, 10), true),
        ((2, 10), (1, 10), false),
        ((2, 10), (6, 12), false),
        ((2, 10), (6, 8), false),
        ((8, 10), (12, 12), true),
        ((8, 10), (12, 14), false),
        ((18, 18), (21, 21), false),
        ((2, 10), (7, 10), true),
        ((2, 10), (8, 10), false),
        ((6, 10), (3, 10), true),
        ((6, 10), (2, 10), false),
    ] {
        // Driven before, so that people's own are 2 to 10.
        let snapshot = world(driven(present, present));
        let result = allowed(&drive(present, wanted), &snapshot);
        assert_eq!(result.is_ok(), expected, "{present:?} to {wanted:?}: {result:?}");
    }
    // People's floor may be above what the Workload says; it is theirs.
    let high = world(autoscaler(25, 30));
    assert!(allowed(&drive((25, 30), (24, 30)), &high).is_err());
    let mut closed = world(autoscaler(2, 10));
    permit(&mut closed, |permits| {
        let scaling = ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() };
        permits.scaling = Some(ScalingPolicy { when_owned: WhenOwned::DriveBounds, ..scaling });
    });
    assert!(matches!(allowed(&drive((2, 10), (6, 10)), &closed), Err(Unfit::Protected(_))));
}

#[test]
fn what_runs_already_is_no_step() {
    let mut snapshot = world(autoscaler(2, 30));
    let record = drive((2, 30), (16, 30));
    assert!(matches!(allowed(&record, &snapshot), Err(Unfit::Protected(_))));
    let mut busy = controller(ControllerKind::Deployment, "order");
    busy.replicas = 12;
    put_controller(&mut snapshot, busy);
    assert_eq!(allowed(&record, &snapshot), Ok(()), "from the twelve that the autoscaler has by now");
}

#[test]
fn an_autoscaler_of_somebody_else_or_of_another_workload_is_left_alone() {
    let record = drive((2, 10), (6, 10));
    let mut snapshot = world(autoscaler(2, 10));
    put_scaler(&mut snapshot, Scaler::Keda { name: "queue".into() });
    assert!(matches!(allowed(&record, &snapshot), Err(Unfit::Changed(_))));
    let mut another = autoscaler(2, 10);
    another.uid = Uid::new("another");
    assert!(matches!(allowed(&record, &world(another)), Err(Unfit::Changed(_))));
    let mut other = record.clone();
    other.target.key = ObjectKey::new("shop", "cart-hpa");
    assert!(matches!(allowed(&other, &world(autoscaler(2, 10))), Err(Unfit::Protected(_))));
    let own = DriveBounds.check(&record, &snapshot, &Protected::with_own_namespace("shop"));
    assert!(matches!(own, Err(Unfit::Protected(_))), "where Homeostat itself runs");
}

#[test]
fn of_two_autoscalers_neither_is_driven_and_what_we_did_is_taken_back() {
    let record = drive((2, 10), (6, 10));
    let beside = |autoscaler: AutoscalerRecord| {
        let mut snapshot = world(autoscaler.clone());
        let another = AutoscalerRecord { key: ObjectKey::new("shop", "order-too"), ..autoscaler.clone() };
        let both = [autoscaler, another].map(|one| Scaler::Hpa(Box::new(one)));
        put_scaler(&mut snapshot, Scaler::Several(both.to_vec()));
        snapshot
    };
    let refused = allowed(&record, &beside(autoscaler(2, 10)));
    let names = |why: &str| why.contains("order-hpa") && why.contains("order-too");
    assert!(matches!(&refused, Err(Unfit::Protected(why)) if names(why)), "{refused:?}");
    let mut undo = drive((6, 10), (8, 10));
    undo.undo_of = Some(ActionId::new("shop.order-0"));
    assert_eq!(allowed(&undo, &beside(driven((6, 10), (6, 10)))), Ok(()));
}

#[test]
fn people_find_their_own_bounds_after_a_drive_and_so_does_the_next_decision() {
    // As an API server keeps it: people's ceiling is theirs since they made it, the floor was moved and given back by us.
    let mut back = fresh_autoscaler(autoscaler(2, 10));
    back.marks.created = Some(at(-100_000));
    back.marks.edits = vec![
        edit(Field::Bounds, "kubectl-client-side-apply", -100_000),
        edit(Field::Bounds, "homeostat", -5),
    ];
    let next = drive((2, 10), (6, 10));
    assert_eq!(DriveBounds.check_fresh(&next, None, &back), Ok(()), "no person's edit");
    // What gave them back hurt: it is taken back, and whose bounds they are is not forgotten.
    let mut undo = drive((2, 10), (6, 10));
    undo.undo_of = Some(ActionId::new("shop.order-0"));
    assert_eq!(DriveBounds.check_fresh(&undo, None, &back), Ok(()));
    // Its reply was lost: no mark is left, and the field tells that it was us.
    let mut given_back = drive((6, 10), (2, 10));
    given_back.instants.claimed = Some(at(-6));
    assert!(matches!(DriveBounds.landed(&given_back, Some(&back)), Landed::Yes(_)));
    // Somebody set the ceiling in that second or later: then nobody can tell whose the state is.
    for second in [-5, -1] {
        let mut edited = back.clone();
        edited.marks.edits[0] = edit(Field::Bounds, "kubectl-edit", second);
        assert!(matches!(DriveBounds.landed(&given_back, Some(&edited)), Landed::There(_)), "{second}");
        let kept = DriveBounds.check_fresh(&next, None, &edited);
        assert!(matches!(kept, Err(Unfit::Protected(who)) if who.contains("kubectl-edit")), "{second}");
    }
}

#[test]
fn bounds_are_held_for_a_day_at_most_and_renewed_by_a_later_end_alone() {
    let ours = driven((6, 10), (6, 10));
    let mut record = drive((6, 10), (6, 10));
    let until = |record: &mut ActionRecord, seconds| {
        record.parameters = Parameters::DriveBounds { bounds: bounds((6, 10)), until: at(seconds) };
    };
    for (seconds, expected) in [(600, false), (601, true), (86_400, true), (86_401, false), (0, false)] {
        until(&mut record, seconds);
        assert_eq!(allowed(&record, &world(ours.clone())).is_ok(), expected, "until {seconds}");
    }
    until(&mut record, 3_600);
    assert!(matches!(allowed(&record, &world(autoscaler(6, 10))), Err(Unfit::Done(_))), "people's own");
}

#[test]
fn whoever_changed_them_meanwhile_is_respected_and_named() {
    let record = drive((2, 10), (6, 10));
    let judge = |fresh: &FreshTarget| DriveBounds.check_fresh(&record, None, fresh);
    assert_eq!(judge(&fresh_autoscaler(autoscaler(2, 10))), Ok(()));
    assert!(matches!(judge(&fresh_autoscaler(autoscaler(3, 10))), Err(Unfit::Changed(_))));
    assert!(matches!(judge(&fresh_autoscaler(autoscaler(6, 10))), Err(Unfit::Done(_))));
    let mut edited = fresh_autoscaler(autoscaler(2, 10));
    edited.marks.edits = vec![edit(Field::Bounds, "kubectl-edit", -30)];
    assert!(matches!(judge(&edited), Err(Unfit::Protected(who)) if who.contains("kubectl-edit")));
    edited.marks.edits = vec![edit(Field::Bounds, "kubectl-edit", -1_000)];
    assert_eq!(judge(&edited), Ok(()));
    edited.marks.edits = vec![edit(Field::Bounds, "argocd-controller", -100_000)];
    assert!(matches!(judge(&edited), Err(Unfit::Protected(who)) if who.contains("Argo CD")));
    let mut of_git = autoscaler(2, 10);
    of_git.gitops_owner = Some(Name::from("Flux"));
    assert!(matches!(judge(&fresh_autoscaler(of_git)), Err(Unfit::Protected(who)) if who.contains("Flux")));
    let mut of_keda = autoscaler(2, 10);
    of_keda.keda = Some(Name::from("queue"));
    assert!(
        matches!(judge(&fresh_autoscaler(of_keda)), Err(Unfit::Protected(who)) if who.contains("ScaledObject"))
    );
    let mut gone = fresh_autoscaler(autoscaler(2, 10));
    gone.uid = Uid::new("another");
    assert!(matches!(judge(&gone), Err(Unfit::Changed(_))));
}

#[test]
fn its_mark_tells_whether_it_was_done() {
    let mut record = drive((2, 10), (6, 10));
    record.instants.claimed = Some(at(0));
    let landed = |record: &ActionRecord, autoscaler| {
        let mut fresh = fresh_autoscaler(autoscaler);
        fresh.marks.edits = vec![edit(Field::Bounds, "homeostat", -500)];
        DriveBounds.landed(record, Some(&fresh))
    };
    assert!(matches!(landed(&record, autoscaler(2, 10)), Landed::No(_)));
    let mut done = driven((6, 10), (6, 10));
    assert!(matches!(landed(&record, done.clone()), Landed::There(_)), "another action's");
    if let Some(drive) = &mut done.drive {
        drive.hold.by = Name::from("shop.order-1");
    }
    assert!(matches!(landed(&record, done.clone()), Landed::Yes(_)));
    done.bounds = bounds((8, 10));
    assert!(matches!(landed(&record, done.clone()), Landed::Yes(_)), "somebody went on from there");
    done.drive = None;
    done.resource_version = Name::from("written since");
    assert!(matches!(landed(&record, done), Landed::Unclear(_)));
    // Back at people's own there is no mark, but the field tells who was last.
    let back = drive((6, 10), (2, 10));
    let mut fresh = fresh_autoscaler(autoscaler(2, 10));
    assert!(matches!(DriveBounds.landed(&back, Some(&fresh)), Landed::There(_)));
    let mut claimed = back;
    claimed.instants.claimed = Some(at(0));
    fresh.marks.edits = vec![edit(Field::Bounds, "homeostat", 1)];
    assert!(matches!(DriveBounds.landed(&claimed, Some(&fresh)), Landed::Yes(_)));
    assert!(matches!(DriveBounds.landed(&claimed, None), Landed::Unclear(_)));
}

#[test]
fn a_higher_floor_is_had_once_it_is_seen_and_a_lower_one_is_watched() {
    let mut up = drive((2, 10), (6, 10));
    up.instants.sent = Some(at(0));
    let mut ours = driven((6, 10), (6, 10));
    let verdict = |record: &ActionRecord, autoscaler: &AutoscalerRecord, second| {
        DriveBounds.verify(record, &world(autoscaler.clone()), at(second))
    };
    assert!(matches!(verdict(&up, &autoscaler(2, 10), 1), Verdict::Wait(_)));
    assert!(matches!(verdict(&up, &ours, 1), Verdict::Wait(_)), "another action's mark");
    assert!(matches!(verdict(&up, &autoscaler(2, 10), 30), Verdict::NotHelped(_)));
    if let Some(drive) = &mut ours.drive {
        drive.hold.by = Name::from("shop.order-1");
    }
    assert!(matches!(verdict(&up, &ours, 1), Verdict::Helped(_)));

    let mut down = drive((8, 10), (6, 10));
    down.instants.sent = Some(at(0));
    down.verification = Verification { within: SignedDuration::from_secs(120), ..down.verification };
    assert!(matches!(verdict(&down, &ours, 1), Verdict::Wait(_)));
    assert!(matches!(verdict(&down, &ours, 120), Verdict::Helped(_)));
    let mut growing = world(ours);
    let advice = SizeAdvice {
        wanted: Some(7),
        effect: SizeEffect::DriveBounds { min: 7, max: 10 },
        why: "more callers".to_owned(),
        ..SizeAdvice::keep(at(5))
    };
    growing.sizes.insert_mut(ObjectKey::new("shop", "order"), Arc::new(advice));
    assert!(matches!(DriveBounds.verify(&down, &growing, at(6)), Verdict::Helped(_)), "not waited for");
}

#[test]
fn it_is_taken_back_by_the_bounds_before() {
    let record = drive((8, 10), (6, 10));
    let expected = Parameters::DriveBounds { bounds: bounds((8, 10)), until: at(3_600) };
    assert_eq!(DriveBounds.restore(&record), Some(expected));
    assert!(record.lowers_floor() && record.goes_down());
    assert!(!drive((2, 10), (6, 10)).goes_down());
}
