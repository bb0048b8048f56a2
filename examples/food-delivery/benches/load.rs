//! What the application costs: 200 requests a second, half of them full orders, open loop, on
//! loopback, with traces, metrics and logs on. Prints latency, CPU and memory per service.
//! Without `--bench` (as `cargo test` runs it) it only takes a second.
#![allow(clippy::unwrap_used, reason = "a measurement ends at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/sink.rs"]
mod sink;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{App, ROLES};
use hyper::Method;
use serde_json::{Value, json};

const PER_SECOND: u32 = 200;

/// CPU seconds and resident mebibytes of a process. `/proc` counts in hundredths of a second.
fn usage(pid: u32) -> (f64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (ticks / 100.0, line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seconds = if std::env::args().any(|argument| argument == "--bench") { 20 } else { 1 };
    let sink = sink::Sink::start_counting().await;
    let endpoint = format!("http://{}", sink.address);
    let app = App::start_with(
        "load",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "2000"),
        ],
    );
    let gateway = app.at("gateway").to_owned();
    for number in 0..20 {
        app.order(&format!("warm-{number}")).await;
    }
    let before: Vec<_> = ROLES.iter().map(|(role, _)| usage(app.services[role].child.id()).0).collect();
    let spans_before = sink.span_count();
    let took = Arc::new(Mutex::new((Vec::new(), Vec::new(), 0_u32)));
    let started = Instant::now();
    let mut running = Vec::new();
    for number in 0..PER_SECOND * seconds {
        let at = started + Duration::from_secs(1) * number / PER_SECOND;
        tokio::time::sleep_until(at.into()).await;
        let (http, gateway, took) = (app.http.clone(), gateway.clone(), Arc::clone(&took));
        running.push(tokio::spawn(async move {
            let order = number % 2 == 0;
            let key = format!("load-{}", number / 2);
            let sent = if order {
                let body = json!({
                    "consumer": format!("c-{}", number % 1000), "amountCents": 1250,
                    "items": [{ "dish": "paella", "quantity": 2 }],
                });
                http.send(Method::POST, &gateway, "/orders", Some(&key), &body).await
            } else {
                let number = (number / 2).saturating_sub(100);
                let folder = ["orders", "tickets", "payments", "notifications"][number as usize % 4];
                let path = format!("/{folder}/load-{number}");
                http.send(Method::GET, &gateway, &path, None, &Value::Null).await
            };
            let elapsed = at.elapsed().as_secs_f64() * 1e3;
            let mut took = took.lock().unwrap();
            match sent {
                Ok((200 | 201, _)) if order => took.0.push(elapsed),
                Ok((200 | 404, _)) => took.1.push(elapsed),
                _ => took.2 += 1,
            }
        }));
    }
    for request in running {
        request.await.unwrap();
    }
    let elapsed = started.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (mut orders, mut reads, failed) = std::mem::take(&mut *took.lock().unwrap());
    println!("requests {} failed {failed} in {elapsed:.1} s", orders.len() + reads.len());
    for (name, times) in [("orders", &mut orders), ("reads", &mut reads)] {
        times.sort_by(f64::total_cmp);
        let rank = |q: f64| times[((times.len() as f64 * q).ceil() as usize).max(1) - 1];
        let (p50, p95, p99, worst) = (rank(0.5), rank(0.95), rank(0.99), rank(1.0));
        println!("{name:8} p50 {p50:.1} p95 {p95:.1} p99 {p99:.1} max {worst:.1} ms");
    }
    println!("spans {:.0}/s", (sink.span_count() - spans_before) as f64 / elapsed);
    let mut total = 0.0;
    for ((role, _), before) in ROLES.iter().zip(before) {
        let (after, resident) = usage(app.services[role].child.id());
        let cores = (after - before) / elapsed;
        total += cores;
        println!("{role:17} {cores:.3} core {resident} MiB");
    }
    println!("{:17} {total:.3} core", "all");
    assert_eq!(failed, 0, "nothing may fail without a fault");
}
