use super::*;
use crate::validate::{tenant_policy, workload_policy};
use homeostat_crds::v1alpha1::{Tenant, Workload};
use homeostat_knowledge::policy::BreakerLatch;
use homeostat_knowledge::{ObjectKey, SignedDuration};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn target(name: &str) -> ControllerKey {
    ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", name) }
}

fn workload(name: &str, target_name: &str, created: i64) -> WorkloadEntry {
    let key = ObjectKey::new("shop", name);
    let policy = WorkloadPolicy::new(key.clone(), Uid::new(name), target(target_name));
    WorkloadEntry {
        uid: Uid::new(name),
        generation: 1,
        created: at(created),
        policy: Ok(Arc::new(policy)),
        verdict: Verdict::Pending,
        seen: 0,
        key,
    }
}

fn tenant(name: &str, namespaces: &[&str], created: i64) -> TenantEntry {
    let policy = TenantPolicy::new(
        TenantName::new(name),
        Uid::new(name),
        namespaces.iter().map(|name| Name::from(*name)),
    );
    TenantEntry {
        name: TenantName::new(name),
        uid: Uid::new(name),
        generation: 1,
        created: at(created),
        policy: Ok(Arc::new(policy)),
        contested: Vec::new(),
        routes: Vec::new(),
        told: None,
        seen: 0,
    }
}

/// An object that people wanted left alone until an instant that nobody can read.
fn put_off<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> T {
    let metadata = json!({ "name": name, "namespace": "shop", "uid": name,
        "annotations": { "homeostat.dev/do-not-touch-until": "tomorrow" } });
    let api = "homeostat.dev/v1alpha1";
    let object = json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec });
    serde_json::from_value(object).unwrap()
}

/// The policy of [`tenant`], as that of such an object.
fn put_off_tenant(name: &str, namespaces: &[&str]) -> Result<Arc<TenantPolicy>, Rejection> {
    let object: Tenant = put_off("Tenant", name, &json!({ "namespaces": namespaces }));
    let reserved = BTreeSet::from(["ours".to_owned()]);
    tenant_policy(&object, &reserved, Timestamp::UNIX_EPOCH).map(Arc::new)
}

/// The policy of [`workload`], as that of such an object.
fn put_off_workload(name: &str, target_name: &str) -> Result<Arc<WorkloadPolicy>, Rejection> {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": target_name });
    let object: Workload = put_off("Workload", name, &json!({ "targetRef": target, "archetype": "Service" }));
    workload_policy(&object).map(Arc::new)
}

/// A judge with everything listed.
fn judge(inputs: Vec<Input>) -> (Acceptance, Vec<ObjectChange>) {
    let mut acceptance = Acceptance::default();
    let mut out = Vec::new();
    for input in inputs.into_iter().chain(NEEDED.map(Input::Synced)) {
        out.extend(acceptance.feed(input));
    }
    (acceptance, out)
}

fn verdict(acceptance: &Acceptance, name: &str) -> Verdict {
    acceptance.workloads[&ObjectKey::new("shop", name)].verdict.clone()
}

fn delivered(changes: &[ObjectChange]) -> Vec<(String, bool)> {
    changes
        .iter()
        .filter_map(|change| match change {
            ObjectChange::Workload(Change::Applied(policy)) => Some((policy.key.name.to_string(), true)),
            ObjectChange::Workload(Change::Deleted(key)) => Some((key.name.to_string(), false)),
            _ => None,
        })
        .collect()
}

#[test]
fn nothing_is_judged_before_the_lists_are_complete() {
    let mut acceptance = Acceptance::default();
    let mut out = acceptance.feed(Input::WorkloadSeen(workload("order", "order", 1)));
    out.extend(acceptance.feed(Input::Synced(ObjectKind::Workload)));
    out.extend(acceptance.feed(Input::TenantSeen(tenant("food", &["shop"], 1))));
    out.extend(acceptance.feed(Input::Synced(ObjectKind::Tenant)));
    out.extend(acceptance.feed(Input::Synced(ObjectKind::Control)));
    assert_eq!(out, []);
    assert_eq!(verdict(&acceptance, "order"), Verdict::Pending);
    acceptance.feed(Input::ControllerSeen(target("order")));
    let out = acceptance.feed(Input::Synced(ObjectKind::Controller));
    assert!(matches!(&out[0], ObjectChange::Tenant(Change::Applied(_))));
    assert!(matches!(&out[1], ObjectChange::Workload(Change::Applied(_))));
    let synced = [ObjectChange::Synced(ObjectKind::Tenant), ObjectChange::Synced(ObjectKind::Workload)];
    assert_eq!(out[2..], synced);
}

#[test]
fn a_missing_target_is_told_and_found_when_it_comes() {
    let (mut acceptance, out) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        Input::WorkloadSeen(workload("order", "order", 1)),
    ]);
    assert_eq!(delivered(&out), []);
    assert_eq!(verdict(&acceptance, "order"), Verdict::TargetNotFound);
    let out = acceptance.feed(Input::ControllerSeen(target("order")));
    assert_eq!(delivered(&out), [("order".to_owned(), true)]);
    assert_eq!(acceptance.feed(Input::ControllerSeen(target("order"))), [], "seen again is no news");
    let out = acceptance.feed(Input::ControllerGone(target("order")));
    assert_eq!(delivered(&out), [("order".to_owned(), false)]);
    assert_eq!(verdict(&acceptance, "order"), Verdict::TargetNotFound);
}

#[test]
fn the_older_of_two_claims_counts_whatever_the_order_of_arrival() {
    for first in ["old", "new"] {
        let entry = |name: &str| workload(name, "order", if name == "old" { 1 } else { 2 });
        let second = if first == "old" { "new" } else { "old" };
        let (mut acceptance, out) = judge(vec![
            Input::TenantSeen(tenant("food", &["shop"], 1)),
            Input::ControllerSeen(target("order")),
            Input::WorkloadSeen(entry(first)),
            Input::WorkloadSeen(entry(second)),
        ]);
        assert_eq!(delivered(&out), [("old".to_owned(), true)]);
        assert_eq!(verdict(&acceptance, "new"), Verdict::TargetTaken { by: ObjectKey::new("shop", "old") });
        let out = acceptance.feed(Input::WorkloadGone(ObjectKey::new("shop", "old")));
        assert_eq!(delivered(&out), [("old".to_owned(), false), ("new".to_owned(), true)]);
    }
}

#[test]
fn of_equal_age_the_first_by_name_counts() {
    let (acceptance, _) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        Input::ControllerSeen(target("order")),
        Input::WorkloadSeen(workload("b", "order", 1)),
        Input::WorkloadSeen(workload("a", "order", 1)),
    ]);
    assert!(matches!(verdict(&acceptance, "a"), Verdict::Accepted { .. }));
    assert!(matches!(verdict(&acceptance, "b"), Verdict::TargetTaken { .. }));
}

#[test]
fn a_workload_that_moves_to_another_target_frees_the_first() {
    let (mut acceptance, _) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        Input::ControllerSeen(target("order")),
        Input::ControllerSeen(target("cart")),
        Input::WorkloadSeen(workload("old", "order", 1)),
        Input::WorkloadSeen(workload("new", "order", 2)),
    ]);
    let out = acceptance.feed(Input::WorkloadSeen(workload("old", "cart", 1)));
    assert_eq!(delivered(&out), [("new".to_owned(), true), ("old".to_owned(), true)]);
}

#[test]
fn a_workload_that_becomes_unreadable_is_taken_back() {
    let (mut acceptance, _) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        Input::ControllerSeen(target("order")),
        Input::WorkloadSeen(workload("order", "order", 1)),
    ]);
    let why = Rejection::Unreadable { message: "missing field `targetRef`".into() };
    let broken = WorkloadEntry { policy: Err(why.clone()), ..workload("order", "order", 1) };
    let out = acceptance.feed(Input::WorkloadSeen(broken));
    assert_eq!(delivered(&out), [("order".to_owned(), false)]);
    assert_eq!(verdict(&acceptance, "order"), Verdict::Invalid(why));
}

#[test]
fn a_namespace_belongs_to_the_oldest_tenant_that_names_it() {
    let (mut acceptance, out) = judge(vec![
        Input::TenantSeen(tenant("young", &["shop", "cafe"], 2)),
        Input::TenantSeen(tenant("old", &["shop"], 1)),
        Input::ControllerSeen(target("order")),
        Input::WorkloadSeen(workload("order", "order", 1)),
    ]);
    let food = |changes: &[ObjectChange], name: &str| {
        changes.iter().find_map(|change| match change {
            ObjectChange::Tenant(Change::Applied(policy)) if &*policy.name.0 == name => {
                Some(policy.namespaces.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            _ => None,
        })
    };
    assert_eq!(food(&out, "young"), Some(vec!["cafe".to_owned()]));
    assert_eq!(food(&out, "old"), Some(vec!["shop".to_owned()]));
    assert_eq!(
        acceptance.tenants[&TenantName::new("young")].contested,
        [(Name::from("shop"), TenantName::new("old"))]
    );
    assert_eq!(verdict(&acceptance, "order"), Verdict::Accepted { tenant: TenantName::new("old") });
    let out = acceptance.feed(Input::TenantGone(TenantName::new("old")));
    assert_eq!(food(&out, "young").map(|all| all.len()), Some(2));
    assert_eq!(verdict(&acceptance, "order"), Verdict::Accepted { tenant: TenantName::new("young") });
    let out = acceptance.feed(Input::TenantGone(TenantName::new("young")));
    assert_eq!(delivered(&out), [("order".to_owned(), false)]);
    assert_eq!(verdict(&acceptance, "order"), Verdict::NoTenant);
}

#[test]
fn a_tenant_that_becomes_invalid_keeps_its_namespaces_as_if_paused_until_it_is_mended() {
    let (mut acceptance, _) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        Input::TenantSeen(tenant("rival", &["shop", "cafe"], 2)),
        Input::ControllerSeen(target("order")),
        Input::WorkloadSeen(workload("order", "order", 1)),
    ]);
    let invalid = TenantEntry { policy: put_off_tenant("food", &["shop"]), ..tenant("food", &["shop"], 1) };
    let out = acceptance.feed(Input::TenantSeen(invalid));
    let [ObjectChange::Tenant(Change::Applied(food))] = &out[..] else { panic!("{out:?}") };
    assert_eq!((&*food.name.0, food.paused), ("food", true));
    assert_eq!(food.namespaces, BTreeSet::from([Name::from("shop")]), "the rival gets nothing of it");
    let rival = &acceptance.tenants[&TenantName::new("rival")];
    assert_eq!(rival.contested, [(Name::from("shop"), TenantName::new("food"))]);
    // It is watched on, and says what is wrong.
    let Verdict::Invalid(why) = verdict(&acceptance, "order") else { panic!("nothing is said") };
    let why = why.to_string();
    assert!(why.contains("Tenant food") && why.contains("`tomorrow`"), "{why}");
    let out = acceptance.feed(Input::TenantSeen(tenant("food", &["shop"], 1)));
    let [ObjectChange::Tenant(Change::Applied(food))] = &out[..] else { panic!("{out:?}") };
    assert!(!food.paused);
    assert_eq!(verdict(&acceptance, "order"), Verdict::Accepted { tenant: TenantName::new("food") });
}

#[test]
fn an_invalid_tenant_gains_nothing() {
    let entry = |name: &str, namespaces: &[&str], created| {
        let policy = put_off_tenant(name, namespaces);
        Input::TenantSeen(TenantEntry { policy, ..tenant(name, namespaces, created) })
    };
    let (acceptance, out) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        entry("young", &["shop"], 2),
        entry("grabber", &["kube-system", "ours", "*"], 0),
    ]);
    let told: Vec<_> = out
        .iter()
        .filter_map(|change| match change {
            ObjectChange::Tenant(Change::Applied(policy)) => Some((&*policy.name.0, policy.namespaces.len())),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("food", 1), ("young", 0)]);
    assert_eq!(acceptance.owners, BTreeMap::from([(Name::from("shop"), TenantName::new("food"))]));
}

#[test]
fn a_workload_that_becomes_invalid_keeps_its_target() {
    let (mut acceptance, _) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        Input::ControllerSeen(target("order")),
        Input::WorkloadSeen(workload("old", "order", 1)),
        Input::WorkloadSeen(workload("rival", "order", 2)),
    ]);
    let invalid = WorkloadEntry { policy: put_off_workload("old", "order"), ..workload("old", "order", 1) };
    let out = acceptance.feed(Input::WorkloadSeen(invalid));
    assert_eq!(delivered(&out), [("old".to_owned(), false)]);
    let by = ObjectKey::new("shop", "old");
    assert_eq!(verdict(&acceptance, "rival"), Verdict::TargetTaken { by: by.clone() });
    let out = acceptance.feed(Input::WorkloadGone(by));
    assert_eq!(delivered(&out), [("rival".to_owned(), true)]);
}

#[test]
fn the_same_again_delivers_nothing() {
    let (mut acceptance, _) = judge(vec![
        Input::TenantSeen(tenant("food", &["shop"], 1)),
        Input::ControllerSeen(target("order")),
        Input::WorkloadSeen(workload("order", "order", 1)),
    ]);
    // Our own status writes come back as changes of the object.
    let again = WorkloadEntry { seen: 7, ..workload("order", "order", 1) };
    assert_eq!(acceptance.feed(Input::WorkloadSeen(again)), []);
    assert_eq!(acceptance.feed(Input::TenantSeen(tenant("food", &["shop"], 1))), []);
    assert_eq!(acceptance.workloads[&ObjectKey::new("shop", "order")].seen, 7);
    assert!(matches!(verdict(&acceptance, "order"), Verdict::Accepted { .. }));
}

#[test]
fn a_tenant_may_be_more_careful_with_evidence_and_storms_than_the_control_plane_but_not_less() {
    let defaults = TenantDefaults {
        evidence_maximum_age: SignedDuration::from_secs(20),
        storm_calm: SignedDuration::from_secs(300),
        ..TenantDefaults::default()
    };
    let food = |age: Option<i32>, calm: Option<i32>| {
        let spec =
            json!({ "namespaces": ["shop"], "evidenceMaximumAgeSeconds": age, "stormCalmSeconds": calm });
        let metadata = json!({ "name": "food", "uid": "food" });
        let api = "homeostat.dev/v1alpha1";
        let object = json!({ "apiVersion": api, "kind": "Tenant", "metadata": metadata, "spec": spec });
        let object: Tenant = serde_json::from_value(object).unwrap();
        let policy = tenant_policy(&object, &BTreeSet::new(), Timestamp::UNIX_EPOCH).map(Arc::new);
        TenantEntry { policy, ..tenant("food", &["shop"], 1) }
    };
    let control = ControlEntry {
        uid: Uid::new("c"),
        generation: 1,
        policy: Ok(Arc::default()),
        defaults,
        breaker: BreakerLatch::default(),
        seen: 0,
    };
    let counts = |changes: &[ObjectChange]| {
        changes.iter().rev().find_map(|change| match change {
            ObjectChange::Tenant(Change::Applied(food)) => {
                Some((food.limits.evidence_maximum_age.as_secs(), food.limits.storm_calm.as_secs()))
            }
            _ => None,
        })
    };
    for (own, expected) in [
        ((None, None), (20, 300)),
        ((Some(5), Some(900)), (5, 900)),
        ((Some(60), Some(10)), (20, 300)), // What is laxer counts as the ControlPlane's.
        ((Some(5), None), (5, 300)),
    ] {
        // The Tenant or the ControlPlane may be seen first.
        let inputs = [Input::TenantSeen(food(own.0, own.1)), Input::ControlSeen(control.clone())];
        for (first, second) in [(0, 1), (1, 0)] {
            let (mut acceptance, mut told) = judge(vec![inputs[first].clone()]);
            told.extend(acceptance.feed(inputs[second].clone()));
            assert_eq!(counts(&told), Some(expected), "{own:?}, the {first} first");
        }
    }
    let refused = food(Some(0), None).policy.unwrap_err().to_string();
    assert!(refused.contains("spec.evidenceMaximumAgeSeconds"), "{refused}");
}

#[test]
fn a_tenant_s_wishes_beyond_the_ceilings_are_delivered_as_what_those_say() {
    let ceilings = TenantDefaults {
        percent_per_10_minutes: 10,
        in_flight_per_tenant: 3,
        verification: SignedDuration::from_secs(60),
        approval_timeout: SignedDuration::from_mins(10),
        ..TenantDefaults::default()
    };
    let control = ControlEntry {
        uid: Uid::new("c"),
        generation: 1,
        policy: Ok(Arc::default()),
        defaults: ceilings,
        breaker: BreakerLatch::default(),
        seen: 0,
    };
    let mut entry = tenant("food", &["shop"], 1);
    Arc::make_mut(entry.policy.as_mut().unwrap()).limits.percent_per_10_minutes = 100;
    let (mut acceptance, _) = judge(vec![Input::TenantSeen(entry)]);
    let out = acceptance.feed(Input::ControlSeen(control));
    let Some(ObjectChange::Tenant(Change::Applied(food))) = out.last() else { panic!("{out:?}") };
    assert_eq!((food.limits.percent_per_10_minutes, food.limits.in_flight_per_tenant), (10, 3));
    assert_eq!((food.verification.as_secs(), food.approval_timeout.as_secs()), (60, 600));
}

#[test]
fn the_control_plane_reaches_every_tenant_and_a_broken_one_allows_nothing() {
    let control = |policy, age| ControlEntry {
        uid: Uid::new("c"),
        generation: 1,
        policy,
        defaults: TenantDefaults {
            evidence_maximum_age: SignedDuration::from_secs(age),
            cooldown_success: SignedDuration::from_mins(20),
            breaker_workload_failures: 1,
            ..TenantDefaults::default()
        },
        breaker: BreakerLatch::default(),
        seen: 0,
    };
    let (mut acceptance, _) = judge(vec![Input::TenantSeen(tenant("food", &["shop"], 1))]);
    let out = acceptance.feed(Input::ControlSeen(control(Ok(Arc::default()), 25)));
    assert!(matches!(&out[0], ObjectChange::Control(Some(_))));
    let ObjectChange::Tenant(Change::Applied(food)) = &out[1] else { panic!("{out:?}") };
    assert_eq!(food.limits.evidence_maximum_age.as_secs(), 25);
    let held = (food.limits.cooldown_success.as_secs(), food.limits.breaker_workload_failures);
    assert_eq!(held, (1_200, 1), "its own 900 s and 2 failures are laxer than the ceilings");
    assert_eq!(
        acceptance.feed(Input::ControlSeen(control(Ok(Arc::default()), 25))),
        [],
        "the same is no news"
    );
    let why = Rejection::Unreadable { message: String::new() };
    let out = acceptance.feed(Input::ControlSeen(control(Err(why), 25)));
    assert_eq!(out, [ObjectChange::Control(None)]);
}

/// What is under control, as the receiver of all changes has it.
#[derive(Debug, Default, PartialEq)]
struct Known {
    workloads: BTreeMap<WorkloadKey, Arc<WorkloadPolicy>>,
    tenants: BTreeMap<TenantName, Arc<TenantPolicy>>,
    control: Option<Arc<ControlPolicy>>,
}

impl Known {
    fn take(&mut self, changes: Vec<ObjectChange>) {
        for change in changes {
            match change {
                ObjectChange::Workload(Change::Applied(policy)) => {
                    self.workloads.insert(policy.key.clone(), policy);
                }
                ObjectChange::Workload(Change::Deleted(key)) => {
                    self.workloads.remove(&key);
                }
                ObjectChange::Tenant(Change::Applied(policy)) => {
                    self.tenants.insert(policy.name.clone(), policy);
                }
                ObjectChange::Tenant(Change::Deleted(name)) => {
                    self.tenants.remove(&name);
                }
                ObjectChange::Control(policy) => self.control = policy,
                _ => {}
            }
        }
    }
}

/// One change by people: of a workload, a tenant, a target or the control plane, in one of some ways.
type Edit = (u8, usize, usize, u8);

fn edit((what, which, way, age): Edit) -> (String, Option<Input>) {
    const NAMES: [&str; 4] = ["order", "cart", "pay", "stock"];
    const TENANTS: [&str; 3] = ["food", "bank", "late"];
    let broken = || Rejection::Unreadable { message: "missing".into() };
    match what {
        0 => {
            let mut entry = workload(NAMES[which], NAMES[way % 3], i64::from(age % 3));
            // Created at another time it is another object.
            entry.uid = Uid::new(format!("{}-{}", NAMES[which], age % 3));
            match way {
                0..5 => {}
                5 if age < 128 => entry.policy = put_off_workload(NAMES[which], NAMES[way % 3]),
                5 => entry.policy = Err(broken()),
                6 => Arc::make_mut(entry.policy.as_mut().expect("good")).paused = true,
                _ => return (format!("workload {which}"), None),
            }
            (format!("workload {which}"), Some(Input::WorkloadSeen(entry)))
        }
        1 => {
            let which = which % 3;
            let namespaces: &[&str] = if way % 2 == 0 { &["shop"] } else { &["shop", "cafe"] };
            let mut entry = tenant(TENANTS[which], namespaces, i64::from(age % 3));
            match way {
                0..5 => {}
                5 if age < 128 => entry.policy = put_off_tenant(TENANTS[which], namespaces),
                5 => entry.policy = Err(broken()),
                6 => Arc::make_mut(entry.policy.as_mut().expect("good")).paused = true,
                _ => return (format!("tenant {which}"), None),
            }
            (format!("tenant {which}"), Some(Input::TenantSeen(entry)))
        }
        2 => {
            let key = target(NAMES[which % 3]);
            (format!("target {}", which % 3), (way < 5).then_some(Input::ControllerSeen(key)))
        }
        _ => {
            let seconds = 20 + i64::from(age % 3);
            let policy = if way == 5 { Err(broken()) } else { Ok(Arc::default()) };
            let defaults = TenantDefaults {
                evidence_maximum_age: SignedDuration::from_secs(seconds),
                ..TenantDefaults::default()
            };
            let entry = ControlEntry {
                uid: Uid::new("c"),
                generation: 1,
                policy,
                defaults,
                breaker: BreakerLatch::default(),
                seen: 0,
            };
            ("control".to_owned(), (way < 6).then_some(Input::ControlSeen(entry)))
        }
    }
}

/// The object of this edit is gone.
fn gone(edit: Edit) -> Input {
    match edit_of(edit) {
        Input::WorkloadSeen(entry) => Input::WorkloadGone(entry.key),
        Input::TenantSeen(entry) => Input::TenantGone(entry.name),
        Input::ControllerSeen(key) => Input::ControllerGone(key),
        _ => Input::ControlGone,
    }
}

fn edit_of((what, which, _, age): Edit) -> Input {
    edit((what, which, 0, age)).1.expect("the first way makes an object")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Two hundred changes one after the other end as a start that finds only the last of each.
    #[test]
    fn a_chain_of_changes_ends_as_a_fresh_start_with_the_last_of_them(
        edits in proptest::collection::vec((0..4_u8, 0..4_usize, 0..8_usize, any::<u8>()), 200),
        backwards in any::<bool>(),
    ) {
        let (mut chained, mut known) = (Acceptance::default(), Known::default());
        known.take(NEEDED.into_iter().flat_map(|kind| chained.feed(Input::Synced(kind))).collect());
        let mut last: BTreeMap<String, Input> = BTreeMap::new();
        for one in edits {
            let (object, input) = edit(one);
            if let Some(input) = input.clone() {
                last.insert(object, input);
            } else {
                last.remove(&object);
            }
            known.take(chained.feed(input.unwrap_or_else(|| gone(one))));
        }
        let mut inputs: Vec<Input> = last.into_values().collect();
        if backwards {
            inputs.reverse();
        }
        let (fresh, told) = judge(inputs);
        let mut at_once = Known::default();
        at_once.take(told);
        prop_assert_eq!(&known, &at_once);
        // What the status of each is made of.
        prop_assert_eq!(&chained.workloads, &fresh.workloads);
        prop_assert_eq!(&chained.tenants, &fresh.tenants);
        prop_assert_eq!(&chained.control, &fresh.control);
    }
}
