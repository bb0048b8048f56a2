//! Objects as large as an API server takes them, and larger: read without being kept, told within bounds, and nobody waits
//! for them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

mod support;

use homeostat_cluster::status::{SelfFacts, StatusWriter};
use homeostat_cluster::{Leadership, WatchOptions, Watches};
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::{Clock, Entity, ObjectKey, Observation, Signal, SnapshotSource};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::board::Board;
use support::{Server, Still};
use tokio::sync::mpsc;

/// Bytes of the largest object that an API server takes.
const LARGEST: usize = 1_400_000;
/// Bytes of what is kept of an object, as text for people.
const KEPT: usize = 200_000;
/// Bytes of a status that we write.
const STATUS: usize = 16_000;

/// The watches, what they told, and the writer of statuses.
struct Run {
    inbox: mpsc::Receiver<Observation>,
    board: Arc<Board>,
    writer: StatusWriter,
    _watches: Watches,
}

impl Run {
    fn start(server: &Server) -> Self {
        let (sender, inbox) = mpsc::channel(64);
        let watches = Watches::start(&server.client(), &WatchOptions::default(), Arc::new(Still), sender);
        let board = Arc::new(Board::default());
        let snapshots = Arc::clone(&board) as Arc<dyn SnapshotSource>;
        let me =
            SelfFacts { identity: "homeostat-0".into(), version: "0.1.0".into(), ..SelfFacts::default() };
        let writer = StatusWriter::new(server.client(), watches.catalogue(), snapshots, Arc::new(Still), me);
        Self { inbox, board, writer, _watches: watches }
    }

    /// Takes what comes for so many seconds, and writes the statuses.
    async fn live(&mut self, seconds: u64) {
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        while let Ok(observation) = tokio::time::timeout_at(end, self.inbox.recv()).await {
            self.board.change(|snapshot| {
                match observation.expect("the watches go on") {
                    Observation { signal: Signal::Object(change), .. } => {
                        snapshot.commit(&change, Still.now());
                    }
                    Observation {
                        signal: Signal::Source(report), entity: Entity::Source { name }, ..
                    } => {
                        assert_eq!(report.state, SourceState::Healthy, "{name}");
                    }
                    other => panic!("{other:?}"),
                }
                snapshot.generation += 1;
            });
        }
        while self.writer.look(&Leadership::always()).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Text that fills an object up.
fn filling(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn named(name: &str, annotation: &str) -> Value {
    json!({ "name": name, "namespace": "shop", "annotations": { "theirs": annotation } })
}

fn workload(name: &str, annotation: &str) -> Value {
    json!({ "metadata": named(name, annotation), "spec": { "archetype": "Service",
        "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name } } })
}

fn deployment(name: &str, env: &[Value]) -> Value {
    json!({ "metadata": named(name, ""), "spec": { "replicas": 1, "template": { "metadata": {},
        "spec": { "containers": [{ "name": "app", "env": env }] } } }, "status": { "replicas": 1 } })
}

/// A pod with so many containers that ended, each with a long word for why.
fn pod(name: &str, containers: usize, word: &str) -> Value {
    let ended = |number: usize| {
        let end = json!({ "exitCode": 1, "reason": "Error", "message": word, "finishedAt": "2026-11-22T09:14:02Z" });
        json!({ "name": format!("c{number}"), "ready": false, "restartCount": number, "state": { "terminated": end } })
    };
    let statuses: Vec<Value> = (0..containers).map(ended).collect();
    json!({ "metadata": named(name, ""), "spec": { "nodeName": "one", "containers": [{ "name": "c0" }] },
        "status": { "phase": "Running", "containerStatuses": statuses } })
}

fn shop() -> Server {
    let server = Server::new();
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": {} }));
    server.put("tenants", json!({ "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"] } }));
    server.put("deployments", deployment("order", &[]));
    server.put("workloads", workload("order", ""));
    server.put("pods", pod("order-x", 1, ""));
    server
}

/// The largest of each kind, and how many bytes it has.
fn largest(server: &Server) {
    let env: Vec<Value> = (0..10_000)
        .map(|number| json!({ "name": format!("SETTING_{number}"), "value": filling(100) }))
        .collect();
    // More namespaces than a schema lets through, all of them claimed twice, and a playbook that nobody would read.
    let namespaces: Vec<String> = (0..23_000).map(|number| format!("{}-{number:05}", filling(50))).collect();
    let tenant = |name: &str| json!({ "metadata": { "name": name }, "spec": { "namespaces": namespaces } });
    let steps: Vec<Value> = (0..10_000)
        .map(|_| json!({ "action": "EvictPod", "verify": { "withinSeconds": 30 }, "when": filling(90) }))
        .collect();
    for (plural, object) in [
        ("deployments", deployment("large", &env)),
        ("workloads", workload("large", &filling(LARGEST))),
        ("tenants", tenant("large")),
        ("tenants", tenant("twice")),
        (
            "playbooks",
            json!({ "metadata": { "name": "large" }, "spec": { "trigger": { "findings": ["Slow"] }, "ladder": steps } }),
        ),
        ("pods", pod("large-x", 1, &filling(LARGEST))),
        // The specification asks for a hundred thousand entries, which is more than an API server takes.
        ("pods", pod("entries-x", 100_000, "")),
    ] {
        let bytes = object.to_string().len();
        assert!(bytes >= 1_200_000, "{plural}: {bytes}");
        server.put(plural, object);
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_objects_are_read_without_being_kept_and_hold_nobody_up() {
    // There from the beginning, or coming while everything is watched.
    for later in [false, true] {
        let server = shop();
        if !later {
            largest(&server);
        }
        let mut run = Run::start(&server);
        run.live(5).await;
        if later {
            largest(&server);
        }
        // The small ones that come behind them.
        server.put("pods", pod("order-x", 1, "again"));
        server.put("deployments", deployment("cart", &[]));
        server.put("workloads", workload("cart", ""));
        run.live(5).await;

        let snapshot = run.board.current();
        assert!(snapshot.ready());
        let found = |name: &str| snapshot.workloads.contains_key(&ObjectKey::new("shop", name));
        assert!(found("order") && found("cart") && found("large"), "everything is delivered");
        assert!(snapshot.pods.contains_key(&ObjectKey::new("shop", "entries-x")));
        for (what, kept) in [
            ("pods", format!("{:?}", snapshot.pods)),
            ("controllers", format!("{:?}", snapshot.controllers)),
            ("workloads", format!("{:?}", snapshot.workloads)),
        ] {
            assert!(kept.len() <= KEPT, "{} bytes of {what} are kept", kept.len());
        }
        for (plural, namespace, name) in [
            ("workloads", "shop", "large"),
            ("workloads", "shop", "cart"),
            ("tenants", "", "large"),
            ("tenants", "", "twice"),
            ("tenants", "", "food"),
            ("playbooks", "", "large"),
            ("controlplanes", "", "default"),
        ] {
            let status = server.get(plural, namespace, name).unwrap()["status"].to_string();
            assert!(status.contains("\"Ready\""), "{plural} {name}: {status}");
            assert!(status.len() <= STATUS, "{plural} {name}: {} bytes of status", status.len());
        }
    }
}
