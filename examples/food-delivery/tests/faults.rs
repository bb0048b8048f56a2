//! The faults that chaos tests switch on, and what callers see of them.

#![allow(clippy::disallowed_methods, reason = "tests wait on the real clock")]

mod common;

use std::time::{Duration, Instant};

use common::App;
use nix::sys::signal::Signal;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_spare_the_probes_unless_told_otherwise() {
    let mut app = App::start("errors");
    app.fault("kitchen", json!({ "kind": "errors" })).await;
    let kitchen = app.at("kitchen").to_owned();
    assert_eq!(app.http.get(&kitchen, "/tickets/o-1").await.0, 500);
    assert_eq!(app.http.get(&kitchen, "/healthz").await.0, 200);
    assert_eq!(app.http.get(&kitchen, "/readyz").await.0, 200);
    let reason = app.failing_order("o-1").await;
    assert!(reason.starts_with("kitchen failed after"), "{reason}");

    app.fault("kitchen", json!({ "kind": "errors", "includeProbes": true })).await;
    assert_eq!(app.http.get(&kitchen, "/healthz").await.0, 500);
    assert_eq!(app.http.get(&kitchen, "/readyz").await.0, 500);

    app.process("kitchen").kill();
    app.restart("kitchen");
    let (_, fault) = app.http.get(&app.services["kitchen"].admin, "/fault").await;
    assert_eq!(fault["kind"], "none", "a restarted process is healthy");
    assert_eq!(app.order("o-2").await.0, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_service_costs_its_callers_an_attempt_not_their_deadline() {
    let app = App::start("slow");
    assert_eq!(app.order("before").await.0, 201);
    app.fault("notification", json!({ "kind": "slow" })).await;
    let notification = app.at("notification").to_owned();
    assert_eq!(app.http.get(&notification, "/readyz").await.0, 200);
    // Both deadlines are 40 ms apart: a busy machine may miss that once, not each time.
    let gave_up = |app: &App| {
        let lines = app.services["gateway"].lines();
        lines.iter().filter(|line| line.contains(" gateway order timeout ")).count()
    };
    let mut clean = false;
    for key in ["during-1", "during-2", "during-3"] {
        let before = gave_up(&app);
        app.failing_order(key).await;
        app.services["order"]
            .wait_for_line(|line| line.contains(" order notification timeout POST /notifications"));
        // Lines are gathered for 20 ms before they are written.
        tokio::time::sleep(Duration::from_millis(100)).await;
        clean |= gave_up(&app) == before;
    }
    assert!(
        clean,
        "order answers before the gateway gives up, so that only the slow service looks slow: {:#?}",
        app.services["gateway"].lines()
    );

    app.fault("notification", json!({ "kind": "slow", "includeProbes": true, "delayMilliseconds": 300 }))
        .await;
    let since = Instant::now();
    assert_eq!(app.http.get(&notification, "/healthz").await.0, 200);
    assert!(since.elapsed() >= Duration::from_millis(300));
    app.fault("notification", json!({ "kind": "none" })).await;
    assert_eq!(app.order("after").await.0, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_service_that_is_replaced_serves_again_within_the_deadline() {
    // The deadline leaves the new process 0.4 s; where the machine is busy the next one must do.
    for name in ["hung-1", "hung-2", "hung-3"] {
        if replaced_within_the_deadline(name).await {
            return;
        }
    }
    panic!("not once within the deadline");
}

/// An order that meets a hung service which is replaced meanwhile is taken.
async fn replaced_within_the_deadline(name: &str) -> bool {
    let mut app = App::start(name);
    assert_eq!(app.order("before").await.0, 201);
    app.process("consumer").signal(Signal::SIGSTOP);
    let (http, gateway) = (app.http.clone(), app.at("gateway").to_owned());
    let waiting = tokio::spawn(async move {
        let body =
            json!({ "consumer": "c-7", "amountCents": 900, "items": [{ "dish": "soup", "quantity": 1 }] });
        http.send(hyper::Method::POST, &gateway, "/orders", Some("during"), &body).await
    });
    app.services["order"].wait_for_line(|line| line.contains(" order consumer timeout "));
    app.process("consumer").kill();
    app.restart("consumer");
    matches!(waiting.await, Ok(Ok((201, _))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_provider_fails_payments_while_accounting_stays_ready() {
    let mut app = App::start("provider");
    app.process("payment-provider").kill();
    app.failing_order("o-1").await;
    assert_eq!(app.http.get(app.at("accounting"), "/readyz").await.0, 200);
    app.services["accounting"].wait_for_line(|line| line.contains(" accounting payment-provider refused "));
    app.restart("payment-provider");
    assert_eq!(app.order("o-2").await.0, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_grows_to_its_limit_and_can_be_switched_off() {
    let app = App::start("leak");
    let admin = app.services["kitchen"].admin.clone();
    app.fault("kitchen", json!({ "kind": "leak", "mebibytesPerSecond": 200, "limitMebibytes": 40 })).await;
    let pid = app.services["kitchen"].child.id();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().to_owned();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
    };
    let leaked = async |fits: fn(u64) -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !fits(app.http.get(&admin, "/fault").await.1["leakedMebibytes"].as_u64().unwrap()) {
            assert!(Instant::now() < end, "the leak did not move");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    leaked(|mebibytes| mebibytes == 40).await;
    assert!(resident() >= 40, "the memory is really used: {} MiB", resident());
    app.fault("kitchen", json!({ "kind": "none" })).await;
    leaked(|mebibytes| mebibytes == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misspelt_fault_is_refused() {
    let app = App::start("misspelt");
    let admin = &app.services["order"].admin;
    let body = json!({ "kind": "error" });
    let (status, _) = app.http.send(hyper::Method::POST, admin, "/fault", None, &body).await.unwrap();
    assert_eq!(status, 422);
}
