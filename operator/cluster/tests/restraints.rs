//! A level that Homeostat lowers, and a breaker that opens, are decisions: each is recorded once, when it is stored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::status::{SelfFacts, StatusWriter};
use homeostat_cluster::{Leadership, WatchOptions, Watches};
use homeostat_execute::{GuardInput, Recorder};
use homeostat_knowledge::{
    ActionKind, Clock, Level, ObjectKey, Observation, Restraint, RestraintKind, Signal, SnapshotSource,
    TenantName,
};
use http::Method;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::board::Board;
use support::{Server, Still, Trouble, status};
use tokio::sync::mpsc;

/// Keeps what it is told.
#[derive(Default)]
struct Kept(Mutex<Vec<Restraint>>);

impl Recorder for Kept {
    fn record(&self, _input: &GuardInput) {}

    fn restrained(&self, restraint: &Restraint) {
        self.0.lock().unwrap().push(restraint.clone());
    }
}

impl Kept {
    /// What was told since the last look, in an order of its own.
    fn taken(&self) -> Vec<Restraint> {
        let mut taken = std::mem::take(&mut *self.0.lock().unwrap());
        taken.sort_by_key(|one| (one.workload.is_some(), one.tenant.is_some(), one.since));
        taken
    }
}

/// An eviction that did not help.
fn failed(number: u32) -> Value {
    let at = |second: u32| format!("2026-11-22T09:0{number}:{second:02}.000000Z");
    json!({ "metadata": { "name": format!("order-{number}-1"), "namespace": "shop" },
        "spec": { "origin": "Incident", "incidentRef": { "name": format!("order-{number}") }, "tenant": "food",
            "workloadRef": { "name": "order" }, "playbook": { "name": "hung-process", "version": 1, "step": 1 },
            "action": "EvictPod", "parameters": {}, "before": {}, "epoch": 17, "undo": "Never",
            "target": { "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "order-x",
                        "uid": "uid-of-order-x", "resourceVersion": "88" },
            "evidence": { "id": "9c41", "takenAt": at(0), "summary": "no answer" },
            "verify": { "withinSeconds": 30, "expect": "ObjectivesMet" } },
        "status": { "state": "Failed", "message": "still sick", "guards": [],
            "outcome": { "helped": false, "result": "DidNotHelp", "reason": "still sick" },
            "instants": { "intent": at(1), "claimed": at(2), "sent": at(2), "acknowledged": at(3),
                          "verified": at(40), "closed": at(40) } } })
}

/// A shop whose evictions Homeostat does alone.
fn shop() -> Server {
    let server = Server::new();
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": {} }));
    server.put(
        "tenants",
        json!({ "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"],
            "automation": [{ "actions": ["EvictPod"], "level": "ActBounded" }] } }),
    );
    server.put(
        "deployments",
        json!({ "metadata": { "name": "order", "namespace": "shop" }, "spec": { "replicas": 1 } }),
    );
    server.put(
        "workloads",
        json!({ "metadata": { "name": "order", "namespace": "shop" },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "order" },
                      "archetype": "Service" } }),
    );
    server
}

/// A process that leads: its watches, and the writer of statuses.
struct Process {
    _watches: Watches,
    writer: StatusWriter,
}

impl Process {
    fn start(server: &Server, kept: &Arc<Kept>) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Observation>(64);
        let watches = Watches::start(&server.client(), &WatchOptions::default(), Arc::new(Still), sender);
        let board = Arc::new(Board::default());
        let newest = Arc::clone(&board);
        tokio::spawn(async move {
            while let Some(observation) = receiver.recv().await {
                let Signal::Object(change) = observation.signal else { continue };
                newest.change(|snapshot| *snapshot = snapshot.clone().apply(&change, Still.now()));
            }
        });
        let snapshots = board as Arc<dyn SnapshotSource>;
        let (catalogue, me) = (watches.catalogue(), SelfFacts::default());
        let writer = StatusWriter::new(server.client(), catalogue, snapshots, Arc::new(Still), me)
            .with_recorder(Arc::clone(kept) as Arc<dyn Recorder>);
        Self { _watches: watches, writer }
    }

    /// Looks again and again for so many seconds; what is written comes back meanwhile.
    async fn live(&mut self, seconds: u64) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.writer.look(&Leadership::always()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lowered_level_and_an_open_breaker_are_recorded_once_also_across_a_restart() {
    let (server, kept) = (shop(), Arc::new(Kept::default()));
    let mut process = Process::start(&server, &kept);
    process.live(5).await;
    assert_eq!(kept.taken(), [], "nothing failed yet");

    for number in 1..=3 {
        server.put("actions", failed(number));
    }
    process.live(5).await;
    let taken = kept.taken();
    let [cluster, level, workload] = taken.as_slice() else { panic!("three decisions: {taken:?}") };
    assert_eq!((cluster.what, &cluster.tenant), (RestraintKind::BreakerOpened, &None));
    let lowered = RestraintKind::LevelLowered { action: ActionKind::EvictPod, level: Level::Approve };
    assert_eq!((level.what, &level.tenant), (lowered, &Some(TenantName::new("food"))));
    assert!(level.reason.contains("3 of 3 EvictPod did not help"), "{}", level.reason);
    assert_eq!(workload.what, RestraintKind::BreakerOpened);
    assert_eq!(workload.workload, Some(ObjectKey::new("shop", "order")));

    process.live(40).await;
    Process::start(&server, &kept).live(40).await;
    assert_eq!(kept.taken(), [], "what is stored is on record");
}

#[tokio::test(start_paused = true)]
async fn a_lowered_level_is_recorded_once_when_its_write_is_refused_or_its_answer_is_lost() {
    let refused = status(403, "Forbidden", "not now");
    for (trouble, times, name) in [(refused, 2, "refused"), (Trouble::LostAnswer, 1, "lost")] {
        let (server, kept) = (shop(), Arc::new(Kept::default()));
        let mut process = Process::start(&server, &kept);
        process.live(5).await;
        server.trouble(Method::PATCH, "/tenants/food/status", times, trouble);
        for number in 1..=3 {
            server.put("actions", failed(number));
        }
        process.live(60).await;
        let stored = server.get("tenants", "", "food").unwrap()["status"]["levelCaps"].take();
        assert_eq!(stored.as_array().map(Vec::len), Some(1), "{name}: it is stored in the end");
        let lowered = |one: &&Restraint| matches!(one.what, RestraintKind::LevelLowered { .. });
        assert_eq!(kept.taken().iter().filter(lowered).count(), 1, "{name}");
    }
}
