//! Everything of one process that asks the API server, wired as the binary wires it, in virtual time.

use crate::support::clock::Going;
use crate::support::logs::Logs;
use crate::support::{Right, Server, Trouble};
use clap::Parser;
use homeostat::args::{Args, Command, RunArgs};
use homeostat::board::Board;
use homeostat::messages::messages;
use homeostat::outside::Outside;
use homeostat::parts::{FirstEnd, parts};
use homeostat::record::FileRecorder;
use homeostat_cluster::forecasts::Forecasts;
use homeostat_cluster::ledger::record;
use homeostat_cluster::{ApiActuator, ApiLedger, EventReason, IncidentQueue};
use homeostat_execute::ports::{Actuator, Ledger};
use homeostat_knowledge::forecast::{Outlook, REQUESTS};
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::*;
use homeostat_observe::{Counters, Inlet, queue};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

impl Logs {
    /// Takes the log lines of this thread, from warnings up.
    pub fn take(&self) -> tracing::subscriber::DefaultGuard {
        let logs = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || logs.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// Lines of our own code, without the quotes of quotes.
    pub fn lines(&self) -> Vec<String> {
        self.text()
            .lines()
            .filter(|line| line.contains(" homeostat"))
            .map(|line| line.replace('\\', ""))
            .collect()
    }
}

/// How the API server words a right that is missing.
pub fn rule((_, resource, verb): &Right) -> String {
    format!("cannot {verb} resource \"{resource}\"")
}

/// A shop in which every part of the process has something to do.
pub fn shop() -> Server {
    let server = Server::new();
    let named = |name: &str| json!({ "name": name, "namespace": "shop" });
    server.put("controlplanes", json!({ "metadata": { "name": "default" }, "spec": {} }));
    server.put("tenants", json!({ "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"] } }));
    server.put("nodes", json!({ "metadata": { "name": "one" } }));
    server.put("deployments", json!({ "metadata": named("order"), "spec": { "replicas": 1 } }));
    server.put("rollouts", json!({ "metadata": named("web"), "spec": { "replicas": 1 } }));
    let pod = json!({ "metadata": named("order-x"), "spec": { "containers": [{ "name": "app" }] } });
    server.put("pods", pod);
    let workload = |name: &str, api: &str, kind: &str, signals: Value| {
        json!({ "metadata": named(name), "spec": { "archetype": "Service", "signals": signals,
            "targetRef": { "apiVersion": api, "kind": kind, "name": name } } })
    };
    let waiting = json!([{ "name": "waiting", "external": { "name": "waiting" } }]);
    server.put("workloads", workload("order", "apps/v1", "Deployment", waiting));
    server.put("workloads", workload("web", "argoproj.io/v1alpha1", "Rollout", json!([])));
    server.put(
        "playbooks",
        json!({ "metadata": { "name": "mine" }, "spec": { "trigger": { "findings": ["Slow"] },
            "ladder": [{ "action": "EvictPod", "verify": { "withinSeconds": 30 } }] } }),
    );
    // Long over: a Report is about it, and the janitor takes it away.
    let old = json!({ "impactStart": "2026-11-01T09:00:00.000000Z", "detected": "2026-11-01T09:00:02.000000Z",
        "resolved": "2026-11-01T09:10:00.000000Z" });
    server.put(
        "incidents",
        json!({ "metadata": named("old"),
            "spec": { "fingerprint": "Hung:Workload:shop/order", "tenant": "food", "openedBy": "homeostat" },
            "status": { "state": "Resolved", "severity": "Critical", "cause": "order (Hung)", "evidenceId": "e",
                "instants": old } }),
    );
    let mut action = action("old-1");
    action["status"] = json!({ "state": "Verified", "guards": [],
        "instants": { "intent": "2026-11-01T09:00:03.000000Z", "closed": "2026-11-01T09:10:00.000000Z" } });
    server.put("actions", action);
    server.put("reports", json!({ "metadata": named("one"), "spec": { "incidentRef": { "name": "old" } } }));
    // From an earlier process.
    server.put(
        "forecasts",
        json!({ "metadata": named("order-requests"),
            "spec": { "workloadRef": { "name": "order" }, "signal": "requests", "horizonSeconds": 3600 } }),
    );
    server.put("waiting", json!({ "metadata": named("waiting"), "value": "3" }));
    server.put("localqueues", json!({ "metadata": named("night") }));
    // What discovery answers.
    let served = json!({ "groupVersion": "kueue.x-k8s.io/v1beta1", "version": "v1beta1" });
    let kueue = json!({ "kind": "APIGroup", "apiVersion": "v1", "name": "kueue.x-k8s.io", "versions": [served],
        "preferredVersion": served });
    let found = |path: &str, answer: Value| {
        server.trouble(Method::GET, path, usize::MAX, Trouble::Answer(200, answer));
    };
    found("/apis/kueue.x-k8s.io", kueue);
    let resource = |name: &str, kind: &str| json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get", "patch"] });
    let rollouts = json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "argoproj.io/v1alpha1",
        "resources": [resource("rollouts", "Rollout"), resource("rollouts/scale", "Scale")] });
    found("/apis/argoproj.io/v1alpha1", rollouts);
    let scale = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": named("web"),
        "spec": { "replicas": 1 }, "status": { "replicas": 1 } });
    found("/rollouts/web/scale", scale);
    server
}

/// An action as the executor would store it.
fn action(name: &str) -> Value {
    json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": "Action",
        "metadata": { "name": name, "namespace": "shop" },
        "spec": { "origin": "Incident", "incidentRef": { "name": "old" }, "tenant": "food",
            "workloadRef": { "name": "order" }, "playbook": { "name": "hung-process", "version": 1, "step": 1 },
            "action": "EvictPod", "parameters": {}, "before": {}, "epoch": 17, "undo": "Never",
            "target": { "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "order-x",
                        "uid": "uid-of-order-x", "resourceVersion": "88" },
            "evidence": { "id": "9c41", "takenAt": "2026-11-22T09:14:00.000000Z", "summary": "no answer" },
            "verify": { "withinSeconds": 30, "expect": "ObjectivesMet" } },
        "status": { "state": "Admitted", "message": "under way", "guards": [],
            "instants": { "intent": "2026-11-22T09:14:01.000000Z" } } })
}

/// An incident whose words change.
pub fn incident(name: &str, words: &str) -> Arc<Incident> {
    let at = "2026-11-22T09:14:00Z";
    let incident = json!({
        "id": name, "namespace": "shop", "tenant": "food", "workload": null, "state": "HandedOver",
        "severity": "Critical", "findings": [], "causes": [], "affected": [], "timeline": [], "actions": [],
        "reopen_count": 0, "evidence": "e", "handed_over": words, "acknowledged_by": null,
        "instants": { "impact_start": at, "detected": at, "acknowledged": null, "mitigated": null, "resolved": null },
    });
    Arc::new(serde_json::from_value(incident).unwrap())
}

fn forecast(now: Timestamp) -> ForecastRecord {
    ForecastRecord {
        workload: ObjectKey::new("shop", "order"),
        workload_uid: Uid::new("uid-of-order"),
        tenant: Some(TenantName::new("food")),
        signal: Name::from(REQUESTS),
        mode: ScalingMode::Recommend,
        replicas: 1,
        outlook: Outlook { now: Some(1.0), skill: ForecastSkill::Proven, ..Outlook::nothing(now, 3_600) },
        size: SizeAdvice {
            effect: SizeEffect::Recommend,
            why: "not known yet".to_owned(),
            ..SizeAdvice::keep(now)
        },
        memory: None,
    }
}

fn args() -> RunArgs {
    match Args::try_parse_from(["homeostat", "run"]).unwrap().command {
        Command::Run(args) => *args,
        other => panic!("{other:?}"),
    }
}

/// One process.
pub struct Process {
    server: Server,
    pub outside: Outside,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    snapshot: Snapshot,
    objects: mpsc::Receiver<Observation>,
    telemetry: Inlet,
    actions: mpsc::Receiver<ActionRecord>,
    forecasts: [watch::Sender<Forecasts>; 3],
    _ends: FirstEnd,
}

impl Process {
    pub fn start(server: &Server) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(Going::start());
        let (board, (parts, ends)) = (Arc::new(Board::default()), parts());
        let (objects_in, objects) = mpsc::channel(4_096);
        let (actions_in, actions) = mpsc::channel(64);
        let (telemetry_in, telemetry) = queue(256);
        let forecasts = [(); 3].map(|()| watch::Sender::new(None));
        let newest = [&forecasts[0], &forecasts[1], &forecasts[2]].map(watch::Sender::subscribe);
        let outside = Outside::start(
            &args(),
            server.client(),
            &board,
            &clock,
            Arc::new(FileRecorder::off()),
            objects_in,
            actions_in,
            newest,
            IncidentQueue::new(),
            messages(),
            clock.now(),
            &parts,
        );
        let asked = homeostat::external::run(
            server.client(),
            Arc::clone(&board) as Arc<dyn SnapshotSource>,
            Arc::clone(&clock),
            Arc::new(Counters::default()),
            telemetry_in,
            CancellationToken::new(),
        );
        parts.start("external", asked);
        Self {
            server: server.clone(),
            outside: outside.unwrap(),
            board,
            clock,
            snapshot: Snapshot::default(),
            objects,
            telemetry,
            actions,
            forecasts,
            _ends: ends,
        }
    }

    /// Takes up what the watches tell for so many seconds.
    async fn live(&mut self, seconds: u64) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut news = false;
            while let Ok(Observation { signal, entity, .. }) = self.objects.try_recv() {
                news = true;
                match (signal, entity) {
                    (Signal::Object(change), _) => {
                        self.snapshot.commit(&change, self.clock.now());
                    }
                    (Signal::Source(report), Entity::Source { name }) => {
                        self.snapshot.sources.insert_mut(name, report);
                    }
                    other => panic!("{other:?}"),
                }
            }
            while self.telemetry.try_recv().is_some() || self.actions.try_recv().is_ok() {}
            if news {
                self.snapshot.generation += 1;
                self.board.publish(self.snapshot.clone());
            }
        }
    }

    /// Has every part do something within so many seconds, at least 120; gives what actions would have been refused for.
    pub async fn work(&mut self, round: u32, seconds: u64) -> Vec<String> {
        let client = self.server.client();
        tokio::spawn(async move {
            homeostat::kept::load(&client, &BTreeSet::new(), &CancellationToken::new()).await
        });
        self.live(40).await;
        let name = format!("order-{round}");
        self.outside.write(incident(&name, "first"), Some(EventReason::HandedOver), None);
        self.forecasts[0].send_replace(Some(Arc::new(vec![forecast(self.clock.now())])));
        self.live(20).await;
        self.outside.write(incident(&name, "second"), Some(EventReason::HandedOver), None);
        self.live(20).await;
        self.forecasts[0].send_replace(Some(Arc::default()));
        let refused = self.steps(round).await;
        self.live(seconds - 80).await;
        refused
    }

    /// What every action does whatever it is: looks at the switch and at its target, and keeps its state.
    async fn steps(&self, round: u32) -> Vec<String> {
        let mut refused = Vec::new();
        let mut took = |error: Option<String>| refused.extend(error);
        let hands = ApiActuator::new(self.server.client());
        took(hands.kill_switch().await.err().map(|error| error.to_string()));
        for (kind, api_version) in [
            ("Pod", "v1"),
            ("Deployment", "apps/v1"),
            ("ReplicaSet", "apps/v1"),
            ("StatefulSet", "apps/v1"),
            ("DaemonSet", "apps/v1"),
            ("Job", "batch/v1"),
            ("CronJob", "batch/v1"),
            ("Node", "v1"),
        ] {
            let target = Target {
                api_version: Name::from(api_version),
                kind: Name::from(kind),
                key: ObjectKey::new(if kind == "Node" { "" } else { "shop" }, "order"),
                uid: Uid::new("uid-of-order"),
                resource_version: Name::from("88"),
            };
            took(hands.fresh_target(&target).await.err().map(|error| error.to_string()));
        }
        let ledger = ApiLedger::new(self.server.client(), Arc::clone(&self.clock));
        let object = serde_json::from_value(action(&format!("old-{}", round + 1))).unwrap();
        let record = record(&object, self.clock.now()).unwrap();
        took(ledger.read(&record.key()).await.err().map(|error| error.to_string()));
        // Who does not lead stores nothing.
        if self.outside.leads() {
            took(ledger.create(&record).await.err().map(|error| error.to_string()));
        }
        refused
    }

    /// Why nothing may be done on what is known of the cluster; `None` when it may.
    pub fn blind(&self) -> Option<String> {
        match self.snapshot.sources.get("kubernetes").map(|report| &report.state) {
            Some(SourceState::Healthy) if self.snapshot.ready() => None,
            Some(SourceState::Down(why)) => Some(why.replace('\\', "")),
            other => Some(format!("{other:?}, lists complete: {}", self.snapshot.ready())),
        }
    }
}
