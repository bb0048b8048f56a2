//! What is held is let go now and then, as the binary does it, against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::{Leadership, release};
use homeostat_execute::ports::NoRecorder;
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use support::board::Board;
use support::{Server, Still, Trouble};
use tokio_util::sync::CancellationToken;

const NODES: [&str; 3] = ["a", "b", "c"];

fn switch(server: &Server, engaged: bool) {
    let spec = json!({ "killSwitch": { "engaged": engaged, "reason": "drill" } });
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": spec }));
}

fn cordoned(server: &Server) -> Vec<&'static str> {
    let cordoned = |name: &&str| server.get("nodes", "", name).unwrap()["spec"]["unschedulable"] == true;
    NODES.into_iter().filter(cordoned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_kill_switch_that_is_engaged_in_the_middle_of_a_round_keeps_the_rest_held() {
    let server = Server::new();
    switch(&server, false);
    for name in NODES {
        let metadata = json!({ "name": name, "labels": { "homeostat.dev/held": "true" }, "annotations": {
            "homeostat.dev/held-by": "a-1", "homeostat.dev/held-until": "2026-11-22T09:14:00Z" } });
        server.put("nodes", json!({ "metadata": metadata, "spec": { "unschedulable": true } }));
    }
    // The first release gets no answer; the switch is engaged while one is waited for.
    server.trouble(Method::PATCH, "/nodes/a", 1, Trouble::Silence);
    let stop = CancellationToken::new();
    let rounds = tokio::spawn(release::run(
        server.client(),
        Arc::new(Still),
        Arc::new(Board::default()),
        Arc::new(NoRecorder),
        Leadership::always(),
        stop.clone(),
    ));
    while server.writes().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    switch(&server, true);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(server.writes(), ["PATCH /api/v1/nodes/a"], "none after the switch");
    assert_eq!(cordoned(&server), NODES);

    switch(&server, false);
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(cordoned(&server).is_empty(), "they are let go once it is released");
    stop.cancel();
    rounds.await.unwrap();
}
