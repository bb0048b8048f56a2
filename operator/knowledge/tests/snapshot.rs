//! What a snapshot answers, as the stages ask it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::{
    AutoscalerRecord, ControllerKey, Drive, Hold, NodeRecord, OwnerRecord, PodPhase, ServiceRecord,
};
use homeostat_knowledge::{
    ControllerKind, ControllerRecord, Entity, Name, ObjectKey, PodRecord, Snapshot, Timestamp, Uid,
    WorkloadPolicy,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

fn controller(kind: ControllerKind, name: &str, owner: Option<(ControllerKind, &str)>) -> ControllerRecord {
    let key = ControllerKey { kind, object: ObjectKey::new("shop", name) };
    ControllerRecord {
        template_labels: BTreeMap::from([(Name::from("app"), Name::from("cart"))]),
        owner: owner.map(|(kind, name)| OwnerRecord {
            kind,
            name: Name::from(name),
            uid: Uid::new(format!("uid-{name}")),
        }),
        ..ControllerRecord::bare(key, Uid::new(format!("uid-{name}")))
    }
}

fn pod(name: &str, ip: &str) -> PodRecord {
    PodRecord {
        ip: Some(ip.parse().unwrap()),
        owner: Some(OwnerRecord {
            kind: ControllerKind::ReplicaSet,
            name: Name::from("cart-1"),
            uid: Uid::new("uid-cart-1"),
        }),
        created: now(),
        ..PodRecord::bare(ObjectKey::new("shop", name), Uid::new(format!("uid-{name}")))
    }
}

fn workload() -> WorkloadPolicy {
    WorkloadPolicy::new(
        ObjectKey::new("shop", "the-cart"),
        Uid::new("w"),
        ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", "cart") },
    )
}

fn shop() -> Snapshot {
    let service = ServiceRecord {
        key: ObjectKey::new("shop", "cart"),
        selector: BTreeMap::from([(Name::from("app"), Name::from("cart"))]),
        cluster_ip: Some("10.96.0.7".parse().unwrap()),
    };
    [
        ObjectChange::Controller(Change::Applied(Arc::new(controller(
            ControllerKind::Deployment,
            "cart",
            None,
        )))),
        ObjectChange::Controller(Change::Applied(Arc::new(controller(
            ControllerKind::ReplicaSet,
            "cart-1",
            Some((ControllerKind::Deployment, "cart")),
        )))),
        ObjectChange::Service(Change::Applied(Arc::new(service))),
        ObjectChange::Workload(Change::Applied(Arc::new(workload()))),
        ObjectChange::Pod(Change::Applied(Arc::new(pod("cart-1-a", "10.0.0.5")))),
    ]
    .iter()
    .fold(Snapshot::default(), |snapshot, change| snapshot.apply(change, now()))
}

#[test]
fn a_pod_belongs_to_the_workload_that_targets_its_deployment() {
    let snapshot = shop();
    let pod = snapshot.pod_by_ip("10.0.0.5".parse::<IpAddr>().unwrap()).expect("known by its address");
    assert_eq!(snapshot.workload_of(pod), Some(&ObjectKey::new("shop", "the-cart")));
    assert_eq!(snapshot.pods_of(&ObjectKey::new("shop", "the-cart")).count(), 1);
}

#[test]
fn every_way_to_write_an_address_leads_to_the_same_workload() {
    let snapshot = shop();
    let cart = Entity::Workload { key: ObjectKey::new("shop", "the-cart") };
    for address in
        ["cart", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local.", "10.96.0.7", "10.0.0.5"]
    {
        assert_eq!(snapshot.resolve("shop", address), cart, "{address}");
    }
    for address in
        ["payments.example", "10.9.9.9", "::1", "", "cart.shop.example", "redis:6379", "/run/redis"]
    {
        assert_eq!(snapshot.resolve("shop", address), external(address), "{address}");
    }
}

fn external(address: &str) -> Entity {
    Entity::External { address: Name::from(address) }
}

#[test]
fn a_short_name_is_another_dependency_in_each_namespace() {
    let snapshot = shop();
    assert_eq!(snapshot.resolve("other", "cart"), external("cart.other"), "not the workload of the shop");
    assert_eq!(snapshot.resolve("shop", "redis"), external("redis.shop"));
    for (namespace, address) in
        [("bank", "redis"), ("bank", "redis."), ("bank", "redis.bank"), ("shop", "redis.bank")]
    {
        assert_eq!(snapshot.resolve(namespace, address), external("redis.bank"), "{address} in {namespace}");
    }
}

#[test]
fn an_address_that_moved_to_another_pod_is_not_lost_with_the_old_pod() {
    let snapshot = shop()
        .apply(&ObjectChange::Pod(Change::Applied(Arc::new(pod("cart-1-b", "10.0.0.5")))), now())
        .apply(&ObjectChange::Pod(Change::Deleted(ObjectKey::new("shop", "cart-1-a"))), now());
    let found = snapshot.pod_by_ip("10.0.0.5".parse().unwrap()).expect("the new owner of the address");
    assert_eq!(&*found.key.name, "cart-1-b");
}

#[test]
fn a_pod_that_ended_has_no_address_any_more() {
    let ended = PodRecord { phase: PodPhase::Succeeded, ..pod("cart-1-a", "10.0.0.5") };
    let snapshot = shop().apply(&ObjectChange::Pod(Change::Applied(Arc::new(ended))), now());
    assert!(snapshot.pod_by_ip("10.0.0.5".parse().unwrap()).is_none());
    assert!(snapshot.pods.contains_key(&ObjectKey::new("shop", "cart-1-a")));
}

#[test]
fn generations_share_and_never_change_the_past() {
    let before = shop();
    let after = before
        .clone()
        .apply(&ObjectChange::Workload(Change::Deleted(ObjectKey::new("shop", "the-cart"))), now());
    assert!(before.workloads.contains_key(&ObjectKey::new("shop", "the-cart")));
    assert!(after.workloads.is_empty() && after.generation == before.generation + 1);
    assert_eq!(after.resolve("shop", "cart"), external("cart.shop"));
}

#[test]
fn it_is_ready_only_after_every_required_list() {
    let mut snapshot = Snapshot::default();
    for kind in ObjectKind::REQUIRED {
        assert!(!snapshot.ready());
        snapshot.commit(&ObjectChange::Synced(kind), now());
    }
    assert!(snapshot.ready());
    assert_eq!(snapshot.synced_since, Some(now()));
}

#[test]
fn a_rollout_is_under_way_until_all_pods_are_new_and_the_old_ones_gone() {
    let mut record = controller(ControllerKind::Deployment, "cart", None);
    assert!(!record.rolling_out());
    record.current = 2;
    assert!(record.rolling_out());
    record.current = 1;
    record.generation = 2;
    assert!(record.rolling_out());
}

#[test]
fn a_mark_that_is_gone_says_what_was_held_and_by_which_action() {
    let run = |hold: Option<Hold>, uid: &str| ControllerRecord {
        hold,
        uid: Uid::new(uid),
        ..controller(ControllerKind::CronJob, "report", None)
    };
    let node = |hold: Option<Hold>| NodeRecord {
        allocatable_pods: 10,
        hold,
        ..NodeRecord::bare(Name::from("node-1"), Uid::new("uid-node-1"))
    };
    let held = || Some(Hold { by: Name::from("order-1-1"), until: None });
    let of_run = |hold, uid| ObjectChange::Controller(Change::Applied(Arc::new(run(hold, uid))));
    let of_node = |hold| ObjectChange::Node(Change::Applied(Arc::new(node(hold))));
    let mut snapshot = Snapshot::default();
    for first in [of_run(held(), "r"), of_node(held())] {
        assert_eq!(snapshot.let_go(&first), [], "nothing was held before");
        snapshot.commit(&first, now());
        assert_eq!(snapshot.let_go(&first), [], "it is held still");
    }
    for (change, object) in [(of_run(None, "r"), "CronJob shop/report"), (of_node(None), "Node node-1")] {
        let gone = snapshot.let_go(&change).remove(0);
        assert_eq!((&*gone.object, &*gone.by, gone.audit_id), (object, "order-1-1", None));
    }
    assert_eq!(snapshot.let_go(&of_run(None, "another")), [], "another object of that name");
    snapshot.commit(&of_node(None), now());
    assert_eq!(snapshot.let_go(&of_node(None)), [], "once");
}

#[test]
fn bounds_that_carry_our_mark_no_more_say_which_action_drove_them() {
    let (peoples, ours) = (Bounds { min: 2, max: 10 }, Bounds { min: 4, max: 10 });
    let scales = ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", "web") };
    let found = |driven: bool, uid: &str| {
        let hold = Hold { by: Name::from("web-1-1"), until: None };
        let record = AutoscalerRecord {
            key: ObjectKey::new("shop", "web-hpa"),
            uid: Uid::new(uid),
            resource_version: Name::from("1"),
            scales: scales.clone(),
            bounds: if driven { ours } else { peoples },
            drive: driven.then_some(Drive { hold, before: peoples, set: ours }),
            keda: None,
            gitops_owner: None,
        };
        // Beside one that sizes pods: several of one target are one entry.
        let both = [Scaler::Hpa(Box::new(record)), Scaler::Vpa { name: Name::from("web-vpa") }];
        let all = Scaler::by_target(both.map(|one| (scales.clone(), one)));
        ObjectChange::Scalers(Arc::new(all))
    };
    let mut snapshot = Snapshot::default();
    assert_eq!(snapshot.let_go(&found(true, "a")), [], "nothing was driven before");
    snapshot.commit(&found(true, "a"), now());
    assert_eq!(snapshot.let_go(&found(true, "a")), [], "they are driven still");
    assert_eq!(snapshot.let_go(&found(false, "b")), [], "another object of that name");
    assert_eq!(snapshot.let_go(&ObjectChange::Scalers(Arc::default())), [], "it is gone itself");
    let gone = snapshot.let_go(&found(false, "a")).remove(0);
    assert_eq!((&*gone.object, &*gone.by), ("HorizontalPodAutoscaler shop/web-hpa", "web-1-1"));
    snapshot.commit(&found(false, "a"), now());
    assert_eq!(snapshot.let_go(&found(false, "a")), [], "once");
}
