//! A thousand objects of people that come, change and go at once: rest is reached, and then nothing is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::status::{SelfFacts, StatusWriter};
use homeostat_cluster::{Leadership, WatchOptions, Watches};
use homeostat_knowledge::{Clock, Observation, Signal, SnapshotSource};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::board::Board;
use support::{Server, Still};
use tokio::sync::mpsc;

/// Watches whose observations are committed as they come, and the writer of statuses.
struct Run {
    watches: Watches,
    board: Arc<Board>,
    writer: StatusWriter,
}

fn start(server: &Server) -> Run {
    let (sender, mut receiver) = mpsc::channel::<Observation>(64);
    let watches = Watches::start(&server.client(), &WatchOptions::default(), Arc::new(Still), sender);
    let board = Arc::new(Board::default());
    let kept = Arc::clone(&board);
    tokio::spawn(async move {
        while let Some(observation) = receiver.recv().await {
            let Signal::Object(change) = observation.signal else { continue };
            kept.change(|snapshot| *snapshot = snapshot.clone().apply(&change, Still.now()));
        }
    });
    let me = SelfFacts { identity: "homeostat-0".into(), version: "0.1.0".into(), ..SelfFacts::default() };
    let writer = StatusWriter::new(
        server.client(),
        watches.catalogue(),
        Arc::clone(&board) as Arc<dyn SnapshotSource>,
        Arc::new(Still),
        me,
    );
    Run { watches, board, writer }
}

impl Run {
    /// Looks again and again until nothing is left to write; returns after how many seconds.
    async fn rest(&mut self, server: &Server, most: usize) -> usize {
        let mut quiet = 0;
        for second in 0..most {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before = server.writes().len();
            let left = self.writer.look(&Leadership::always()).await;
            quiet = if left || server.writes().len() > before { 0 } else { quiet + 1 };
            if quiet == 3 {
                return second;
            }
        }
        panic!("no rest after {most} looks: {} writes", server.writes().len());
    }
}

fn base() -> Server {
    let server = Server::new();
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": {} }));
    server.put("tenants", json!({ "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"] } }));
    server
}

fn deployment(name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": { "replicas": 1 } })
}

fn workload(name: &str, target: &str, generation: u64) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop", "generation": generation },
        "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target },
                  "archetype": "Service" } })
}

fn ready(server: &Server, name: &str) -> Option<(String, i64)> {
    let object = server.get("workloads", "shop", name)?;
    let conditions = object["status"]["conditions"].as_array()?.clone();
    let ready = conditions.into_iter().find(|one| one["type"] == "Ready")?;
    Some((ready["reason"].as_str()?.to_owned(), object["status"]["observedGeneration"].as_i64()?))
}

#[tokio::test(start_paused = true)]
async fn a_thousand_objects_that_come_change_and_go_at_once_come_to_rest_and_then_nothing_is_written() {
    let server = base();
    let name = |number: usize| format!("w{number:04}");
    for number in 0..1_000 {
        server.put("deployments", deployment(&name(number)));
    }
    let mut run = start(&server);
    run.rest(&server, 60).await;
    assert!(run.board.current().ready());
    let before = server.writes().len();
    // All within one moment: none of it waits for anything of ours.
    for number in 0..1_000 {
        server.put("workloads", workload(&name(number), "nowhere", 1));
    }
    for number in 0..1_000 {
        server.put("workloads", workload(&name(number), &name(number), 2));
    }
    for number in (0..1_000).filter(|number| number % 4 == 3) {
        server.remove("workloads", "shop", &name(number), true);
    }
    for number in (0..1_000).filter(|number| number % 4 == 1) {
        server.put("workloads", workload(&name(number), "nowhere", 3));
    }
    run.rest(&server, 300).await;

    let written = server.writes();
    let about = written[before..].iter().filter(|line| line.contains("/workloads/")).count();
    assert!((750..=1_500).contains(&about), "{about} writes for 750 that stayed");
    for number in 0..1_000 {
        let found = ready(&server, &name(number));
        let expected = match number % 4 {
            3 => None,
            1 => Some(("TargetNotFound".to_owned(), 3)),
            _ => Some(("AsExpected".to_owned(), 2)),
        };
        assert_eq!(found, expected, "{number}");
    }
    assert_eq!(run.board.current().workloads.size(), 500);
    // Three passes more, and one of a writer that knows nothing: no write.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(!run.writer.look(&Leadership::always()).await);
    }
    let me = SelfFacts { identity: "homeostat-0".into(), version: "0.1.0".into(), ..SelfFacts::default() };
    let snapshots = Arc::clone(&run.board) as Arc<dyn SnapshotSource>;
    let catalogue = run.watches.catalogue();
    let mut another = StatusWriter::new(server.client(), catalogue, snapshots, Arc::new(Still), me);
    another.look(&Leadership::always()).await;
    assert_eq!(server.writes().len(), written.len(), "at rest nothing is written");

    // All of them go at once.
    for number in 0..1_000 {
        server.remove("workloads", "shop", &name(number), true);
    }
    run.rest(&server, 60).await;
    assert_eq!(run.board.current().workloads.size(), 0);
}
