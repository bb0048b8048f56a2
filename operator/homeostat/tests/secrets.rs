//! Secrets planted wherever Homeostat looks: none of them is in anything that it stores, shows, sends or logs. From the
//! objects as the API server gives them, through every stage, to the requests that come of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../cluster/tests/support/mod.rs"]
mod support;

use bytes::Bytes;
use homeostat::board::Board;
use homeostat::kernel::{Effect, Kernel};
use homeostat_audit::Decision;
use homeostat_cluster::status::{SelfFacts, StatusWriter};
use homeostat_cluster::{
    ApiActuator, ApiLedger, EventReason, Fact, IncidentStore, Leadership, WatchOptions, Watches, recorder,
};
use homeostat_console::{
    ArchiveSource, Console, ForecastSource, Heartbeat, Metrics, ReadyGate, RecentIncidents, router,
};
use homeostat_execute::{Changes, Executor, ExecutorConfig, GuardInput, Ports, Recorder};
use homeostat_knowledge::observation::LogRecord;
use homeostat_knowledge::*;
use homeostat_playbooks::shipped;
use http::Method;
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::Server;
use support::clock::Going;
use support::logs::Logs;
use tokio::sync::mpsc;
use tower::ServiceExt;

/// Letters only: what has digits in it is left out of the shapes of log lines anyway.
const PLANTED: &str = "cAnArYvAlUe";

fn secret(place: &str) -> String {
    format!("{PLANTED}In{place}")
}

/// Marks of a kind that others put on everything, with secrets in them.
fn metadata(name: &str, place: &str) -> Value {
    json!({ "name": name, "namespace": "shop",
        "labels": { "app": "order", "build-token": secret(&format!("{place}Label")) },
        "annotations": { "deploy/password": secret(&format!("{place}Annotation")),
            "kubectl.kubernetes.io/last-applied-configuration": secret(&format!("{place}Applied")) } })
}

/// A container as people write it who put secrets into environments and arguments.
fn container(place: &str) -> Value {
    json!({ "name": "app", "image": format!("registry/{}", "app:1"),
        "env": [{ "name": "DB_PASSWORD", "value": secret(&format!("{place}Env")) }],
        "args": [format!("--token={}", secret(&format!("{place}Argument")))],
        "command": ["sh", "-c", secret(&format!("{place}Command"))],
        "readinessProbe": { "httpGet": { "path": "/", "port": 80,
            "httpHeaders": [{ "name": "Authorization", "value": secret(&format!("{place}Header")) }] } } })
}

fn pod(restarts: u32, state: &Value, last: &Value) -> Value {
    let mut metadata = metadata("order-x", "Pod");
    metadata["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "order-rs",
        "uid": "uid-of-order-rs", "controller": true }]);
    json!({ "metadata": metadata,
        "spec": { "nodeName": "one", "containers": [container("Pod")], "initContainers": [container("Init")] },
        "status": { "phase": "Running", "podIP": "10.0.0.1",
            "conditions": [{ "type": "Ready", "status": "False", "message": secret("Condition") }],
            "containerStatuses": [{ "name": "app", "ready": false, "restartCount": restarts,
                "state": state, "lastState": last }] } })
}

/// A pod that cannot be set up, about which a kubelet says more than it should.
fn stuck() -> Value {
    let mut pod = pod(
        0,
        &json!({ "waiting": { "reason": "CreateContainerConfigError",
        "message": format!("mount of https://app:{}@store failed", secret("KubeletMessage")) } }),
        &json!({}),
    );
    pod["metadata"]["name"] = json!("stock-x");
    pod["metadata"]["labels"]["app"] = json!("stock");
    pod["metadata"]["ownerReferences"][0]["name"] = json!("stock-rs");
    pod["metadata"]["ownerReferences"][0]["uid"] = json!("uid-of-stock-rs");
    pod["status"]["phase"] = json!("Pending");
    pod
}

fn killed(at: &str) -> Value {
    json!({ "terminated": { "exitCode": 1, "reason": "Error", "finishedAt": at,
        "message": format!("panic: password={}", secret("TerminationMessage")) } })
}

fn shop() -> Server {
    let server = Server::new();
    server.put(
        "controlplanes",
        json!({ "metadata": { "name": "default" }, "spec": { "killSwitch": { "engaged": false },
            "ceilings": { "level": "ActBounded" } } }),
    );
    server.put(
        "tenants",
        json!({ "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"],
            "automation": [{ "actions": ["EvictPod"], "level": "ActBounded" }] } }),
    );
    server.put("nodes", json!({ "metadata": { "name": "one", "annotations": { "join-token": secret("Node") } },
        "status": { "allocatable": { "pods": "110" }, "conditions": [{ "type": "Ready", "status": "True" }] } }));
    for (plural, place) in [("configmaps", "Config"), ("secrets", "Secret")] {
        let data = json!({ "password": secret("Data") });
        server.put(plural, json!({ "metadata": metadata("order", place), "data": data }));
    }
    service(&server, "order");
    service(&server, "stock");
    server
}

/// A Deployment with what belongs to it.
fn service(server: &Server, name: &str) {
    let spec = json!({ "replicas": 1, "selector": { "matchLabels": { "app": name } },
        "template": { "metadata": metadata("", "Template"), "spec": { "containers": [container("Template")] } } });
    let status = json!({ "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1 });
    let deployment = metadata(name, "Deployment");
    server.put("deployments", json!({ "metadata": deployment, "spec": spec, "status": status }));
    let mut replicas = metadata(&format!("{name}-rs"), "ReplicaSet");
    replicas["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": name,
        "uid": format!("uid-of-{name}"), "controller": true }]);
    server.put("replicasets", json!({ "metadata": replicas, "spec": spec, "status": status }));
    let selector = json!({ "selector": { "app": name } });
    server.put("services", json!({ "metadata": metadata(name, "Service"), "spec": selector }));
    let mut workload = metadata(name, "Workload");
    workload["uid"] = json!(format!("uid-of-workload-{name}"));
    server.put(
        "workloads",
        json!({ "metadata": workload,
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
                      "archetype": "Service" } }),
    );
}

/// Lines that the program writes; the last one is new.
fn lines(now: Timestamp) -> Vec<Observation> {
    let calm = (0..60).map(|number| (9, format!("order {number} is stored")));
    let bad = [
        (17, format!("cannot reach postgres://app:{}@db/orders", secret("Url"))),
        (17, format!("refused password={} for app", secret("LogLine"))),
        (17, format!("upstream said no to Authorization: Basic {}", secret("Header"))),
    ];
    calm.chain(bad)
        .map(|(severity, body)| Observation {
            tenant: Some(TenantName::new("food")),
            entity: Entity::Pod {
                key: ObjectKey::new("shop", "order-x"),
                uid: Uid::new("uid-of-order-x"),
                workload: Some(ObjectKey::new("shop", "order")),
            },
            event_time: now,
            arrival_time: now,
            signal: Signal::Log(LogRecord { severity, body: Name::from(body), trace: 0 }),
        })
        .collect()
}

impl Recorder for Logs {
    fn record(&self, input: &GuardInput) {
        self.add(&serde_json::to_string(input).unwrap());
    }

    fn decided(&self, record: &ActionRecord) {
        self.add(&format!("{:?}", Decision::of_action(record, "test")));
    }
}

/// One process with its edges.
struct Process {
    server: Server,
    clock: Arc<Going>,
    board: Arc<Board>,
    kernel: Kernel,
    inbox: mpsc::Receiver<Observation>,
    _watches: Watches,
    /// Everything that comes out, as text.
    outside: Logs,
    metrics: Metrics,
    facts: homeostat_cluster::EventRecorder,
    incidents: IncidentStore,
    executor: Executor<ApiLedger, ApiActuator, Leadership>,
    actions: mpsc::Receiver<ActionRecord>,
    told: Vec<String>,
}

impl Process {
    fn start(server: &Server, outside: &Logs) -> Self {
        let clock = Arc::new(Going::start());
        let board = Arc::new(Board::default());
        let (sender, inbox) = mpsc::channel(1_024);
        let watches = Watches::start(&server.client(), &WatchOptions::default(), clock.clone(), sender);
        let (facts, publisher) = recorder(server.client(), "test");
        tokio::spawn(publisher.run(Leadership::always(), tokio_util::sync::CancellationToken::new()));
        let status =
            SelfFacts { identity: "test".to_owned(), version: "test".to_owned(), ..SelfFacts::default() };
        let writer =
            StatusWriter::new(server.client(), watches.catalogue(), board.clone(), clock.clone(), status);
        tokio::spawn(writer.run(Leadership::always(), tokio_util::sync::CancellationToken::new()));
        let (published, actions) = mpsc::channel(256);
        let ports = Ports {
            ledger: ApiLedger::new(server.client(), clock.clone()),
            actuator: ApiActuator::new(server.client()),
            leadership: Leadership::always(),
            clock: clock.clone(),
            snapshots: board.clone(),
            generations: Changes::default().follow(),
            published,
            recorder: Arc::new(outside.clone()),
        };
        Self {
            server: server.clone(),
            incidents: IncidentStore::new(server.client(), clock.clone()),
            clock,
            board,
            kernel: Kernel::new(shipped(), Box::new(SeededIds::new(1)), Name::from("homeostat-system")),
            inbox,
            _watches: watches,
            outside: outside.clone(),
            metrics: Metrics::new("test"),
            facts,
            executor: Executor::new(ports, ExecutorConfig::new("homeostat-system")),
            actions,
            told: Vec::new(),
        }
    }

    /// Lives for a while, a quarter of a second at a time.
    async fn live(&mut self, seconds: u64, more: Vec<Observation>) {
        let mut more = Some(more);
        for _ in 0..seconds * 4 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let mut batch = more.take().unwrap_or_default();
            while let Ok(observation) = self.inbox.try_recv() {
                batch.push(observation);
            }
            while let Ok(record) = self.actions.try_recv() {
                self.facts_of(&record);
            }
            let effects = self.kernel.step(&batch, self.clock.now(), true);
            self.board.publish(self.kernel.snapshot().clone());
            for effect in effects {
                self.outside.add(&format!("{effect:?}\n"));
                match effect {
                    Effect::Write(incident) => {
                        self.told.push(format!("incident {}", incident.summary()));
                        self.metrics.incident_opened(&incident);
                        self.facts.tell(Fact::of_incident(
                            EventReason::IncidentOpened,
                            &incident,
                            incident.summary(),
                        ));
                        self.incidents.write(&incident).await.unwrap();
                    }
                    Effect::Said(incident, text) => {
                        self.told.push(format!("said {text}"));
                        self.outside.add(&format!("{:?}", Decision::of_plan(&incident, "test", &text)));
                    }
                    Effect::Execute(plan, finding) => {
                        self.told.push(format!("plan {:?}", plan.steps));
                        let ended = self.executor.run(&plan, finding).await;
                        self.outside.add(&format!("{ended:?}\n"));
                        if let Ok(record) = &ended {
                            self.facts_of(record);
                        }
                    }
                    Effect::Held(..) => {}
                }
            }
        }
    }

    fn facts_of(&self, record: &ActionRecord) {
        self.metrics.action(record.kind(), record.state);
        if let Some(fact) = Fact::of_action(record) {
            self.facts.tell(fact);
        }
    }

    /// Every page and report, and everything that was sent.
    async fn show(&mut self) {
        let recent = RecentIncidents::new(8);
        let incidents: Vec<Arc<Incident>> = self.kernel.snapshot().incidents.values().cloned().collect();
        self.metrics.snapshot(self.kernel.snapshot());
        self.kernel.findings().iter().for_each(|finding| self.metrics.finding(finding.kind));
        let console = Console {
            gate: ReadyGate::default(),
            heartbeat: Heartbeat::default(),
            metrics: self.metrics.clone(),
            before_scrape: None,
            snapshots: self.board.clone(),
            forecasts: ForecastSource::default(),
            clock: self.clock.clone(),
            recent,
            archive: ArchiveSource::default(),
            home: Name::from("homeostat-system"),
        };
        let mut pages = ["/", "/metrics", "/api/snapshot.json", "/report", "/report.md", "/report.json"]
            .map(str::to_owned)
            .to_vec();
        for incident in &incidents {
            for form in ["", "/report.md", "/report.json"] {
                pages.push(format!("/incidents/{}{form}", incident.id));
            }
        }
        for page in pages {
            let request = http::Request::get(&page).body(Empty::<Bytes>::new()).unwrap();
            let response = router(console.clone()).oneshot(request).await.unwrap();
            assert!(response.status().is_success(), "{page}");
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            self.outside.add(std::str::from_utf8(&bytes).unwrap());
        }
        for request in self.server.seen().iter().filter(|seen| seen.method != Method::GET) {
            self.outside.add(&format!("{} {:?} {}\n", request.line(), request.query, request.body));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn planted_secrets_are_in_nothing_that_comes_out() {
    let outside = Logs::default();
    let logs = outside.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || logs.clone())
        .finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let server = shop();
    server.put("pods", pod(0, &json!({ "running": { "startedAt": "2026-11-22T09:00:00Z" } }), &json!({})));
    server.put("pods", stuck());
    let mut process = Process::start(&server, &outside);
    process.live(45, Vec::new()).await;
    // It fails again and again; others tell of it.
    let note = format!("MountVolume.SetUp failed: token={}", secret("EventNote"));
    server.put(
        "events",
        json!({ "metadata": metadata("order-x.1", "Event"), "type": "Warning", "reason": "FailedMount",
            "note": note, "regarding": { "kind": "Pod", "namespace": "shop", "name": "stock-x",
                "uid": "uid-of-stock-x" } }),
    );
    let now = process.clock.now();
    process.live(1, lines(now)).await;
    let ended = killed("2026-11-22T09:15:20Z");
    server.put("pods", pod(1, &ended, &ended));
    process.live(3, Vec::new()).await;
    let waits = json!({ "waiting": { "reason": "CrashLoopBackOff",
        "message": format!("back-off after password={}", secret("BackOff")) } });
    server.put("pods", pod(2, &waits, &killed("2026-11-22T09:15:24Z")));
    process.live(30, Vec::new()).await;
    process.show().await;

    let out = outside.text();
    for told in ["incident", "plan"] {
        let through = process.told.iter().any(|line| line.starts_with(told));
        assert!(through, "it went through every stage: {:#?}", process.told);
    }
    for seen in ["log lines", "[hidden]", "/actions", "/events", "homeostat_", "<html"] {
        assert!(out.contains(seen), "the search would find {seen}");
    }
    let found: Vec<&str> =
        out.match_indices(PLANTED).map(|(at, _)| &out[at..(at + 60).min(out.len())]).collect();
    assert!(found.is_empty(), "{found:#?}");
    let asked = server.seen().iter().any(|seen| seen.path.ends_with("/secrets"));
    assert!(!asked, "Secrets are not even asked for");
}
