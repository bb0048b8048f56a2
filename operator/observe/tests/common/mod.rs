//! A small cluster for the tests: one tenant `food` with namespace `shop`, one tenant `other`, one pod each.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod raw;

use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::policy::{
    ControlPolicy, PrometheusPolicy, SignalPolicy, TenantPolicy, WorkloadPolicy,
};
use homeostat_knowledge::records::{ControllerKey, OwnerRecord};
use homeostat_knowledge::{
    Clock, ControllerKind, Name, ObjectKey, PodRecord, SignedDuration, Snapshot, SnapshotSource, TenantName,
    Timestamp, Uid,
};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// 2026-01-01T00:00:00Z.
pub const NOW: i64 = 1_767_225_600;

pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(NOW).expect("a valid time")
    }
}

#[derive(Clone, Default)]
pub struct Snapshots(Arc<Mutex<Arc<Snapshot>>>);

impl Snapshots {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(snapshot))))
    }

    pub fn set(&self, snapshot: Snapshot) {
        *self.0.lock().expect("no test panics while it holds this") = Arc::new(snapshot);
    }
}

impl SnapshotSource for Snapshots {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().expect("no test panics while it holds this"))
    }
}

pub fn pod(namespace: &str, name: &str, ip: Option<&str>) -> PodRecord {
    PodRecord {
        ip: ip.map(|ip| ip.parse::<IpAddr>().expect("a valid address")),
        owner: Some(OwnerRecord {
            kind: ControllerKind::Deployment,
            name: Name::from("order"),
            uid: Uid::new("uid-deployment"),
        }),
        created: FixedClock.now(),
        ..PodRecord::bare(ObjectKey::new(namespace, name), Uid::new(format!("uid-{name}")))
    }
}

fn tenant(name: &str, namespace: &str) -> TenantPolicy {
    TenantPolicy {
        verification: SignedDuration::from_secs(60),
        ..TenantPolicy::new(TenantName::new(name), Uid::new(name), [Name::from(namespace)])
    }
}

pub fn workload(namespace: &str, name: &str, signals: Vec<SignalPolicy>) -> WorkloadPolicy {
    let key = ObjectKey::new(namespace, name);
    let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
    WorkloadPolicy {
        criticality: 100,
        signals,
        surge_after_crash: false,
        ..WorkloadPolicy::new(key, Uid::new(format!("uid-workload-{name}")), target)
    }
}

/// The cluster with `shop/order-1` at `ip`.
pub fn cluster(ip: Option<&str>) -> Snapshot {
    with_signals(ip, Vec::new(), None)
}

pub fn with_signals(
    ip: Option<&str>,
    signals: Vec<SignalPolicy>,
    prometheus: Option<PrometheusPolicy>,
) -> Snapshot {
    let changes = [
        ObjectChange::Tenant(Change::Applied(Arc::new(tenant("food", "shop")))),
        ObjectChange::Tenant(Change::Applied(Arc::new(tenant("other", "elsewhere")))),
        ObjectChange::Workload(Change::Applied(Arc::new(workload("shop", "order", signals)))),
        ObjectChange::Pod(Change::Applied(Arc::new(pod("shop", "order-1", ip)))),
        ObjectChange::Pod(Change::Applied(Arc::new(pod("elsewhere", "rival-1", Some("10.9.9.9"))))),
        ObjectChange::Control(Some(Arc::new(ControlPolicy { prometheus, ..ControlPolicy::default() }))),
        ObjectChange::Synced(ObjectKind::Pod),
    ];
    changes.iter().fold(Snapshot::default(), |snapshot, change| snapshot.apply(change, FixedClock.now()))
}
