use super::*;
use crate::action::{ActionInstants, ActionState, Before, EvidenceRef, Origin, Request, Target};
use crate::entity::{ObjectKey, TenantName};
use crate::ids::{EvidenceId, IncidentId};
use crate::plan::{Expectation, PlaybookRef, Undo, Verification};
use crate::policy::{ControlPolicy, WorkloadPolicy};
use crate::records::{ControllerKey, ControllerKind};
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a timestamp")
}

fn action(id: &str, parameters: Parameters, before: Before, second: i64, sent: bool) -> ActionRecord {
    ActionRecord {
        id: ActionId::new(id),
        namespace: Name::from("shop"),
        resource_version: Name::from("7"),
        incident: IncidentId::new("order-1"),
        origin: Origin::Forecast,
        tenant: TenantName::new("shop"),
        workload: ObjectKey::new("shop", "order"),
        playbook: PlaybookRef { name: Name::from("p"), version: 1, step: 1 },
        target: Target {
            api_version: Name::from("apps/v1"),
            kind: Name::from("Deployment"),
            key: ObjectKey::new("shop", "order"),
            uid: Uid::new("uid-order"),
            resource_version: Name::from("7"),
        },
        parameters,
        before,
        epoch: 1,
        evidence: EvidenceRef { id: EvidenceId::new("e"), taken_at: at(second), summary: String::new() },
        verification: Verification { within: SignedDuration::from_secs(30), expect: Expectation::Nothing },
        undo: Undo::None,
        undo_of: None,
        request: Request::default(),
        state: if sent { ActionState::Verified } else { ActionState::Refused },
        guards: Vec::new(),
        instants: ActionInstants { sent: sent.then(|| at(second)), ..ActionInstants::default() },
        outcome: None,
        approval: None,
        message: String::new(),
    }
}

fn up(id: &str, before: i32, replicas: i32, second: i64, sent: bool) -> ActionRecord {
    let before = Before { replicas: Some(before), ..Before::default() };
    action(id, Parameters::ScaleUp { replicas }, before, second, sent)
}

fn judge(record: &ActionRecord, all: &[ActionRecord]) -> Option<Fight> {
    against(record, all.iter(), &BreakerLatch::default(), record.evidence.taken_at)
}

/// Two changes that were taken back, the second `apart` seconds after the first.
fn two(apart: i64) -> Vec<ActionRecord> {
    vec![up("a", 1, 4, 0, true), up("b", 1, 4, apart, true)]
}

#[test]
fn the_third_change_is_one_too_many_and_the_second_is_not() {
    assert_eq!(judge(&up("b", 1, 4, 960, false), &two(960)[..1]), None, "once may be chance");
    let fight = judge(&up("c", 1, 4, 1_920, false), &two(960)).expect("a fight");
    assert_eq!((fight.times, fight.since, fight.last, fight.seen), (2, at(0), at(960), at(1_920)));
    assert_eq!(&*fight.field, "spec.replicas of Deployment shop/order");
    assert_eq!(
        fight.to_string(),
        "somebody else took spec.replicas of Deployment shop/order back 2 times in 33 min (b)"
    );
}

#[test]
fn only_what_others_took_back_soon_and_twice_within_an_hour_counts() {
    let third = |before, second| up("c", before, 6, second, false);
    assert!(judge(&third(1, 4_000), &two(3_600)).is_some());
    assert_eq!(judge(&third(1, 4_000), &two(3_601)), None, "too far apart");
    assert_eq!(judge(&third(1, 980), &two(960)), None, "an own write may not be shown yet");
    assert_eq!(judge(&third(4, 1_920), &two(960)), None, "it has what we set");
    assert_eq!(judge(&third(5, 1_920), &two(960)), None, "more of the same is no fight");
    assert!(judge(&third(2, 1_920), &two(960)).is_some(), "a part of it is one");
    assert_eq!(judge(&third(1, 4_561), &two(960)), None, "it stood for more than an hour");
    let grown = [up("a", 1, 2, 0, true), up("b", 2, 4, 960, true)];
    assert_eq!(judge(&third(1, 1_920), &grown), None, "the first one stood");
    let mut own = two(960);
    let before = Before { replicas: Some(4), ..Before::default() };
    own.push(action("d", Parameters::ScaleDown { replicas: 1 }, before, 1_000, true));
    assert_eq!(judge(&third(1, 1_920), &own), None, "what we took back ourselves");
    let mut elsewhere = two(960);
    elsewhere[0].target.uid = Uid::new("another");
    assert_eq!(judge(&third(1, 1_920), &elsewhere), None, "another object");
    let mut refused = two(960);
    refused[0].instants.sent = None;
    assert_eq!(judge(&third(1, 1_920), &refused), None, "nothing was done");
    let mut undo = third(1, 1_920);
    undo.undo_of = Some(ActionId::new("b"));
    assert_eq!(judge(&undo, &two(960)), None, "our own way back");
}

#[test]
fn what_is_tried_in_between_names_who_it_was() {
    for (message, name) in [
        (
            "spec.replicas of shop/order was set by shop-operator at 2026-01-01T00:00:00Z; it is left to them",
            "shop-operator",
        ),
        (
            "spec.replicas of shop/order belongs to Argo CD (field manager argocd-controller); change it there",
            "argocd-controller",
        ),
    ] {
        let mut all = two(960);
        let mut refused = up("r", 1, 4, 500, false);
        refused.message = message.to_owned();
        all.push(refused);
        let fight = judge(&up("c", 1, 4, 1_920, false), &all).expect("a fight");
        assert_eq!(fight.who.as_deref(), Some(name));
        assert!(fight.to_string().starts_with(name), "{fight}");
    }
    assert_eq!(named("the finding does not hold any more"), None);
    assert_eq!(named("was set by \u{7}\u{8} at noon"), None, "no name is left");
}

#[test]
fn it_ends_after_a_day_or_by_a_person() {
    let mut all = two(960);
    all.push(up("c", 1, 4, 1_920, false));
    let later =
        |second, latch: &BreakerLatch| against(&up("d", 1, 4, second, false), all.iter(), latch, at(second));
    assert!(later(1_920 + 86_399, &BreakerLatch::default()).is_some());
    assert_eq!(later(1_920 + 86_400, &BreakerLatch::default()), None);
    let reset = |second| BreakerLatch { opened: None, reset: Some(at(second)) };
    assert!(later(4_000, &reset(959)).is_some());
    assert_eq!(later(4_000, &reset(960)), None, "what was seen before does not count any more");
}

#[test]
fn bounds_suspensions_and_requests_are_fought_about_too() {
    let bounds = |min| Bounds { min, max: 10 };
    let drive = |id: &str, second, sent| {
        let before = Before { bounds: Some(bounds(2)), ..Before::default() };
        action(id, Parameters::DriveBounds { bounds: bounds(4), until: at(90_000) }, before, second, sent)
    };
    assert!(judge(&drive("c", 1_920, false), &[drive("a", 0, true), drive("b", 960, true)]).is_some());
    let suspend = |id: &str, second, sent| {
        let before = Before { suspended: Some(false), ..Before::default() };
        action(id, Parameters::Suspend { until: at(second + 600) }, before, second, sent)
    };
    assert!(judge(&suspend("c", 900, false), &[suspend("a", 0, true), suspend("b", 400, true)]).is_some());
    let over = [suspend("a", 0, true), suspend("b", 600, true)];
    assert_eq!(judge(&suspend("c", 1_000, false), &over), None, "the first one had ended by itself");
    let resize = |id: &str, container: &str, second, sent| {
        let before = Before { cpu_millis: Some(500), ..Before::default() };
        let parameters = Parameters::ResizePod {
            container: Name::from(container),
            cpu_millis: Some(800),
            cpu_limit_millis: None,
            memory_bytes: None,
            memory_limit_bytes: None,
        };
        action(id, parameters, before, second, sent)
    };
    let resized = [resize("a", "app", 0, true), resize("b", "app", 960, true)];
    assert!(judge(&resize("c", "app", 1_920, false), &resized).is_some());
    assert_eq!(judge(&resize("c", "proxy", 1_920, false), &resized), None, "another container");
    let evict = action("c", Parameters::EvictPod { grace_seconds: None }, Before::default(), 1_920, false);
    assert_eq!(judge(&evict, &two(960)), None);
}

fn snapshot(all: &[ActionRecord]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for record in all {
        snapshot.actions.insert_mut(record.id.clone(), Arc::new(record.clone()));
    }
    let key = ObjectKey::new("shop", "order");
    let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
    let workload = WorkloadPolicy::new(key.clone(), Uid::new("uid-workload"), target);
    snapshot.workloads.insert_mut(key, Arc::new(workload));
    snapshot
}

#[test]
fn people_are_told_for_an_hour_of_workloads_under_control() {
    let mut all = two(960);
    assert_eq!(fights(&snapshot(&all), at(1_920)), [], "nobody looked again");
    all.push(up("c", 1, 4, 1_920, false));
    let known = snapshot(&all);
    let told = |second| fights(&known, at(second)).len();
    assert_eq!((told(1_920), told(1_920 + 3_599), told(1_920 + 3_600)), (1, 1, 0));
    let mut reset = known.clone();
    reset.control = Arc::new(ControlPolicy {
        breaker: BreakerLatch { opened: None, reset: Some(at(1_950)) },
        ..ControlPolicy::default()
    });
    assert_eq!(fights(&reset, at(2_000)), []);
    let mut left = known.clone();
    left.workloads.remove_mut(&ObjectKey::new("shop", "order"));
    assert_eq!(fights(&left, at(1_950)), []);
}
