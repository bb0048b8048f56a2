//! Start and end of a process, and what it tells its collector.

#![allow(clippy::disallowed_methods, reason = "tests wait on the real clock")]

mod common;
#[path = "common/sink.rs"]
mod sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{App, Process, refused, scratch};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sink::Sink;

#[test]
fn a_broken_configuration_ends_the_process_with_one_clear_line() {
    let (code, text) = refused("kitchen", "{ \"listen\": ");
    assert_eq!(code, 1);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("config.json is broken: EOF while parsing") && text.contains("line 1"), "{text}");

    let (code, text) = refused("kitchen", r#"{ "listn": "0.0.0.0:8080" }"#);
    assert_eq!(code, 1);
    assert!(text.contains("unknown field `listn`"), "{text}");

    let (code, text) = refused("accounting", "{}");
    assert_eq!(code, 1);
    assert!(text.contains("callees.payment-provider is missing"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_listens_at_once_and_says_how_long_it_took() {
    let folder = scratch("start");
    let config = json!({ "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "data": folder });
    let process = Process::start("kitchen", &folder, &config, &[]);
    let http = common::Http::default();
    assert_eq!(http.get(&process.address, "/tickets/none").await.0, 404, "early requests wait for the store");
    assert_eq!(http.get(&process.address, "/readyz").await, (200, json!({ "ready": true })));
    let line = process.wait_for_line(|line| line.contains("first connection accepted"));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(line["milliseconds"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_its_folder_is_alive_but_not_ready_and_ends_with_a_reason() {
    let folder = scratch("nofolder");
    let config = json!({ "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "data": folder.join("missing") });
    let mut process = Process::start("kitchen", &folder, &config, &[]);
    let http = common::Http::default();
    assert_eq!(http.get(&process.address, "/healthz").await.0, 200);
    assert_eq!(http.get(&process.address, "/readyz").await.0, 503);
    assert_eq!(process.wait().code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_without_a_failed_request() {
    let mut app = App::start("drain");
    let (http, kitchen) = (app.http.clone(), app.at("kitchen").to_owned());
    let told = Arc::new(AtomicBool::new(false));
    let loading: Vec<_> = (0..4)
        .map(|_| {
            let (http, kitchen, told) = (http.clone(), kitchen.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                let mut answered = 0;
                while !told.load(Ordering::Relaxed) {
                    match http.send(hyper::Method::GET, &kitchen, "/tickets/none", None, &Value::Null).await {
                        Ok((404, _)) => answered += 1,
                        other => return Err(other),
                    }
                }
                Ok(answered)
            })
        })
        .collect();
    let since = Instant::now();
    app.process("kitchen").signal(Signal::SIGTERM);
    app.services["kitchen"].wait_for_line(|line| line.contains("no longer ready"));
    assert_eq!(http.get(&kitchen, "/readyz").await.0, 503, "callers are told first");
    assert_eq!(http.get(&kitchen, "/healthz").await.0, 200);
    // Callers go on for a while, as until the endpoints have been updated everywhere.
    tokio::time::sleep(Duration::from_millis(150)).await;
    told.store(true, Ordering::Relaxed);
    for user in loading {
        let answered = user.await.unwrap().expect("no request may fail while the service drains");
        assert!(answered > 0);
    }
    assert_eq!(app.process("kitchen").wait().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "took {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_waits_for_a_running_request() {
    let mut app = App::start("running");
    let (http, consumer) = (app.http.clone(), app.at("consumer").to_owned());
    // Its store is open once it answers; the request below must only wait for the fault.
    let mut tries = 0;
    while http.get(&consumer, "/consumers/c-1").await.0 != 200 {
        tries += 1;
        assert!(tries < 200, "the consumer service does not answer");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    app.fault("consumer", json!({ "kind": "slow", "delayMilliseconds": 1_500 })).await;
    let running = tokio::spawn(async move { http.get(&consumer, "/consumers/c-1").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    app.process("consumer").signal(Signal::SIGTERM);
    assert_eq!(running.await.unwrap().0, 200);
    assert_eq!(app.process("consumer").wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_one_trace_with_a_client_span_per_attempt() {
    let sink = Sink::start().await;
    let endpoint = format!("http://{}", sink.address);
    let mut app = App::start_with(
        "trace",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1,k8s.namespace.name=food-delivery"),
        ],
    );
    assert_eq!(app.order("o-1").await.0, 201);
    let spans = sink.wait(|spans| spans.len() >= 12).await;
    assert_eq!(spans.len(), 12, "6 server and 6 client spans; the provider sends none: {spans:#?}");
    assert!(spans.iter().all(|span| span.trace == spans[0].trace), "one trace");
    let pay = spans.iter().find(|span| span.name == "POST /authorisations").unwrap();
    assert_eq!((pay.service.as_str(), pay.kind), ("accounting", sink::CLIENT));
    assert_eq!(pay.attribute("http.response.status_code"), "201");
    assert_eq!(pay.attribute("server.address"), "127.0.0.1");
    assert_eq!(pay.attribute("http.request.method"), "POST");
    let served = spans.iter().find(|span| span.kind == sink::SERVER && span.service == "kitchen").unwrap();
    assert_eq!(served.attribute("http.route"), "/tickets");
    assert_eq!(served.attribute("url.path"), "/tickets");
    assert_eq!(served.resource("k8s.pod.name"), "pod-1");
    let asked = spans.iter().find(|span| span.kind == sink::CLIENT && span.name == "POST /tickets").unwrap();
    assert_eq!(served.parent, asked.id, "the server span hangs below the attempt");

    app.process("kitchen").kill();
    assert_eq!(app.order("o-2").await.0, 503);
    let refused = |span: &&sink::Span| span.attribute("error.type") == "connection_refused";
    let spans = sink.wait(|spans| spans.iter().filter(refused).count() >= 3).await;
    assert!(spans.iter().filter(refused).all(|span| span.failed && span.service == "order"));
    let failed = |span: &&sink::Span| span.kind == sink::SERVER && span.attribute("error.type") == "503";
    sink.wait(|spans| spans.iter().filter(failed).any(|span| span.service == "gateway" && span.failed)).await;

    sink.wait_for_metric("http.server.request.duration").await;
    sink.wait_for_metric("process.memory.usage").await;
    sink.wait_for_log("request failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_leaves_a_cancelled_span() {
    let sink = Sink::start().await;
    let endpoint = format!("http://{}", sink.address);
    let app = App::start_with(
        "hangup",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")],
    );
    app.fault("kitchen", json!({ "kind": "slow" })).await;
    let kitchen = app.at("kitchen").to_owned();
    let asked = app.http.get(&kitchen, "/tickets/o-1");
    assert!(tokio::time::timeout(Duration::from_secs(1), asked).await.is_err());
    let spans = sink.wait(|spans| !spans.is_empty()).await;
    assert_eq!(spans[0].attribute("error.type"), "cancelled");
    assert!(!spans[0].failed, "that says nothing about the service");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_collector_costs_no_request_and_no_time_at_the_end() {
    let mut app = App::start_with("nocollector", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    for number in 0..20 {
        let since = Instant::now();
        assert_eq!(app.order(&format!("o-{number}")).await.0, 201);
        assert!(since.elapsed() < Duration::from_secs(1));
    }
    app.process("order").signal(Signal::SIGTERM);
    let since = Instant::now();
    assert_eq!(app.process("order").wait().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "took {:?}", since.elapsed());
}
