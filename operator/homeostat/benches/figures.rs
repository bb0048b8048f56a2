//! Speed and memory figures, written to `target/bench/summary.json` together with those of the last demo.
//!
//! `make bench` runs it in the release profile. Each figure names its floor or goal; where there is no peer that
//! could run beside it, `peer` is null.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench fails by panicking")]

use homeostat::forecasts::{Foreseen, requests};
use homeostat::kernel::{Effect, Kernel};
use homeostat::sizes::Sizes;
use homeostat_analyse::Analyser;
use homeostat_cluster::projection::Projector;
use homeostat_knowledge::forecast::Outlook;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, Sample};
use homeostat_knowledge::policy::{
    Archetype, Bounds, ControlPolicy, KillSwitch, LoadPolicy, Permits, ScalingMode, ScalingPolicy,
};
use homeostat_knowledge::records::{ControllerKey, ServiceRecord};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionState, CallOutcome, ControllerKind, Entity, Level, Name, ObjectKey,
    Observation, SeededIds, Signal, SignedDuration, Snapshot, Span, SpanKind, TenantName, TenantPolicy,
    Timestamp, Uid, WorkloadKey, WorkloadPolicy,
};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What grows in place is already counted as allocated.
fn live() -> i64 {
    let stats = HEAP.stats();
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}

/// A pod as real ones are: managed fields, environment, probes, volumes, long status. About 8 KB.
fn pod_json(workload: usize, replica: usize) -> String {
    let environment: Vec<Value> =
        (0..20).map(|index| json!({ "name": format!("SETTING_{index}"), "value": "x".repeat(40) })).collect();
    let managed: Vec<Value> = (0..4)
        .map(|index| json!({ "manager": format!("manager-{index}"), "operation": "Update", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:metadata": { "f:labels": { "f:app": {}, "f:tier": {} } }, "f:spec": { "f:containers": { "k:{\"name\":\"app\"}": { "f:env": {}, "f:image": {}, "f:ports": {} } } } } }))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("workload-{workload}-6c5d4f7b9-{replica:05}"), "namespace": format!("team-{}", workload % 200),
            "uid": format!("0f2c9a51-7d1e-4a52-9d4b-{workload:06}{replica:06}"), "resourceVersion": "123456789",
            "creationTimestamp": "2026-11-22T09:00:00Z",
            "labels": { "app": format!("workload-{workload}"), "pod-template-hash": "6c5d4f7b9", "tier": "backend" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("workload-{workload}-6c5d4f7b9"),
                                  "uid": format!("rs-{workload}"), "controller": true, "blockOwnerDeletion": true }],
            "managedFields": managed,
        },
        "spec": { "nodeName": format!("node-{}", (workload * 3 + replica) % 500), "containers": [{ "name": "app", "image": "registry.example/app:1", "env": environment }],
                  "volumes": [{ "name": "config", "configMap": { "name": "settings" } }] },
        "status": { "phase": "Running", "podIP": format!("10.{}.{}.{}", workload / 2_500, (workload / 10) % 250, workload % 10 * 20 + replica),
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T09:00:05Z" }],
            "containerStatuses": [{ "name": "app", "ready": true, "restartCount": 0, "image": "registry.example/app:1", "imageID": "sha256:0",
                "state": { "running": { "startedAt": "2026-11-22T09:00:04Z" } }, "lastState": {} }] },
    })
    .to_string()
}

fn deployment_json(workload: usize) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": format!("workload-{workload}"), "namespace": format!("team-{}", workload % 200), "uid": format!("d-{workload}"),
            "resourceVersion": "123", "generation": 3, "annotations": { "deployment.kubernetes.io/revision": "3" },
            "managedFields": [{ "manager": "kubectl", "fieldsV1": { "f:spec": { "f:replicas": {} } } }] },
        "spec": { "replicas": 3, "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": { "metadata": { "labels": { "app": format!("workload-{workload}") } }, "spec": { "containers": [{ "name": "app", "image": "i" }] } } },
        "status": { "observedGeneration": 3, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "availableReplicas": 3 },
    })
    .to_string()
}

fn replica_set_json(workload: usize) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": format!("workload-{workload}-6c5d4f7b9"), "namespace": format!("team-{}", workload % 200), "uid": format!("rs-{workload}"),
            "resourceVersion": "123", "generation": 1, "annotations": { "deployment.kubernetes.io/revision": "3" },
            "labels": { "app": format!("workload-{workload}"), "pod-template-hash": "6c5d4f7b9" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": format!("workload-{workload}"), "uid": format!("d-{workload}"),
                                  "controller": true, "blockOwnerDeletion": true }] },
        "spec": { "replicas": 3, "template": { "metadata": { "labels": { "app": format!("workload-{workload}") } },
            "spec": { "containers": [{ "name": "app", "image": "i" }], "volumes": [{ "name": "config", "configMap": { "name": "settings" } }] } } },
        "status": { "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3 },
    })
    .to_string()
}

fn workload(namespace: &str, name: &str) -> WorkloadPolicy {
    let key = ObjectKey::new(namespace, name);
    WorkloadPolicy {
        availability: Some(0.995),
        ..WorkloadPolicy::new(
            key.clone(),
            Uid::new(format!("w-{name}")),
            ControllerKey { kind: ControllerKind::Deployment, object: key },
        )
    }
}

/// Megabytes of live heap of the projected records of 10,000 workloads and 30,000 pods; of those with a `ReplicaSet` and a
/// policy for each workload; and of the whole pods beside them.
fn records() -> (f64, f64, f64) {
    const WORKLOADS: usize = 10_000;
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut projector = Projector::default();
    let mut snapshot = Snapshot::default();
    let before = live();
    for index in 0..WORKLOADS {
        let record = projector.deployment(&deployment_json(index)).expect("a deployment");
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(record))), now);
        for replica in 0..3 {
            let record = projector.pod(&pod_json(index, replica)).expect("a pod");
            snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(record))), now);
        }
    }
    let ours = live() - before;
    assert_eq!(snapshot.pods.size(), 3 * WORKLOADS);
    for index in 0..WORKLOADS {
        let record = projector.replica_set(&replica_set_json(index)).expect("a ReplicaSet");
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(record))), now);
        let policy = workload(&format!("team-{}", index % 200), &format!("workload-{index}"));
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), now);
    }
    let under_control = live() - before;
    assert_eq!(snapshot.workloads.size(), WORKLOADS);
    // The peer: whole objects as JSON values, a hundredth of the pods, times a hundred.
    let before = live();
    let whole: Vec<Value> =
        (0..300).map(|index| serde_json::from_str(&pod_json(index, 0)).expect("JSON")).collect();
    let theirs = (live() - before) * 100;
    drop(whole);
    drop(snapshot);
    (ours as f64 / 1e6, under_control as f64 / 1e6, theirs as f64 / 1e6)
}

/// Milliseconds of processor until a pod as large as an API server takes one (1.4 MB, mostly environment) is a record, and
/// kilobytes of the record.
fn largest_pod() -> (f64, f64) {
    let mut pod: Value = serde_json::from_str(&pod_json(0, 0)).expect("JSON");
    let setting = |index: usize| json!({ "name": format!("SETTING_{index:05}"), "value": "x".repeat(100) });
    pod["spec"]["containers"][0]["env"] = (0..10_000).map(setting).collect::<Vec<_>>().into();
    let text = pod.to_string();
    assert!((1_350_000..1_500_000).contains(&text.len()), "{} bytes", text.len());
    let mut projector = Projector::default();
    let before = live();
    let mut kept = Vec::new();
    let clock = Instant::now();
    for _ in 0..20 {
        kept.push(projector.pod(&text).expect("a pod"));
    }
    let took = clock.elapsed().as_secs_f64() * 1e3 / 20.0;
    (took, (live() - before) as f64 / 1e3 / kept.len() as f64)
}

/// Spans per second and core through calls, blame and golden signals, with ten evaluations per second of load.
fn spans_per_second() -> f64 {
    const SERVICES: usize = 50;
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let mut snapshot = Snapshot::default();
    for index in 0..SERVICES {
        let name = format!("s{index}");
        let mut projector = Projector::default();
        let json = deployment_json(index)
            .replace(&format!("workload-{index}"), &name)
            .replace(&format!("\"team-{index}\""), "\"shop\"");
        let record = projector.deployment(&json).expect("a deployment");
        let labels: BTreeMap<Name, Name> = record.template_labels.clone();
        let service =
            ServiceRecord { key: ObjectKey::new("shop", name.as_str()), selector: labels, cluster_ip: None };
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(record))), start);
        snapshot.commit(&ObjectChange::Service(Change::Applied(Arc::new(service))), start);
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload("shop", &name)))), start);
    }
    let entities: Vec<Entity> = (0..SERVICES)
        .map(|index| Entity::Pod {
            key: ObjectKey::new("shop", format!("s{index}-0")),
            uid: Uid::new(format!("u{index}")),
            workload: Some(ObjectKey::new("shop", format!("s{index}"))),
        })
        .collect();
    let names: Vec<Name> = (0..SERVICES).map(|index| Name::from(format!("s{index}"))).collect();
    let operation = Name::from("GET /things/{id}");
    let mut analyser = Analyser::new();
    let mut id = 0_u64;
    let mut elapsed = 0.0;
    let mut count = 0_u64;
    for step in 0..300_i64 {
        let now = start + SignedDuration::from_millis(100 * step);
        let batch: Vec<Observation> = (0..2_000_u64)
            .map(|turn| {
                id += 1;
                let caller = (id as usize * 7) % SERVICES;
                let client = turn % 2 == 0;
                let span = Span {
                    trace: u128::from(id / 2),
                    id,
                    parent: id.saturating_sub(1),
                    kind: if client { SpanKind::Client } else { SpanKind::Server },
                    start: now - SignedDuration::from_millis(20),
                    end: now - SignedDuration::from_millis(10),
                    operation: operation.clone(),
                    outcome: if id.is_multiple_of(5_000) {
                        CallOutcome::ServerError
                    } else {
                        CallOutcome::Ok
                    },
                    peer: client.then(|| names[(caller + 1) % SERVICES].clone()),
                };
                Observation {
                    tenant: None,
                    entity: entities[caller].clone(),
                    event_time: now,
                    arrival_time: now,
                    signal: Signal::Span(span),
                }
            })
            .collect();
        count += batch.len() as u64;
        let clock = Instant::now();
        analyser.ingest(&snapshot, &batch);
        let evaluation = analyser.evaluate(&snapshot, now);
        elapsed += clock.elapsed().as_secs_f64();
        assert!(evaluation.findings.iter().all(|finding| !finding.active), "a quiet bench found a fault");
    }
    count as f64 / elapsed
}

/// What 200 tenants with 10,000 workers are to the loop: each worker has three replicas, and is sized by what waits.
fn workers(at: Timestamp) -> (Vec<Observation>, Vec<WorkloadKey>) {
    let object = |change: ObjectChange| Observation {
        tenant: None,
        entity: Entity::Source { name: Name::from("bench") },
        event_time: at,
        arrival_time: at,
        signal: Signal::Object(change),
    };
    let control = ControlPolicy {
        kill_switch: KillSwitch::Off,
        ceiling: Level::ActBounded,
        ..ControlPolicy::default()
    };
    let mut batch = vec![object(ObjectChange::Control(Some(Arc::new(control))))];
    for team in 0..200 {
        let name = Name::from(format!("team-{team}"));
        let mut tenant =
            TenantPolicy::new(TenantName::new(name.clone()), Uid::new(format!("t-{team}")), [name]);
        tenant.levels.insert(ActionKind::ScaleUp, Level::ActBounded);
        batch.push(object(ObjectChange::Tenant(Change::Applied(Arc::new(tenant)))));
    }
    let mut projector = Projector::default();
    let mut keys = Vec::new();
    for index in 0..10_000 {
        let record = projector.deployment(&deployment_json(index)).expect("a deployment");
        let scaling = ScalingPolicy {
            mode: ScalingMode::Auto,
            loads: vec![LoadPolicy { signal: "waiting".into(), per_replica: 10.0, due: None }],
            ..ScalingPolicy::default()
        };
        let policy = WorkloadPolicy {
            archetype: Archetype::Worker,
            permits: Permits {
                replicas: Some(Bounds { min: 1, max: 20 }),
                scaling: Some(scaling),
                ..Permits::default()
            },
            ..workload(&format!("team-{}", index % 200), &format!("workload-{index}"))
        };
        keys.push(policy.key.clone());
        batch.push(object(ObjectChange::Controller(Change::Applied(Arc::new(record)))));
        batch.push(object(ObjectChange::Workload(Change::Applied(Arc::new(policy)))));
    }
    batch.extend(ObjectKind::REQUIRED.map(|kind| object(ObjectChange::Synced(kind))));
    (batch, keys)
}

/// Milliseconds of a step over 10,000 workloads with `spec.scaling`, each with an action of the last day: until their sizes are
/// decided, and until what follows is planned and checked.
fn sizing() -> (f64, f64) {
    const STEPS: i64 = 8;
    const WARM: i64 = 3;
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let mut kernel = Kernel::new(Vec::new(), Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    let (objects, keys) = workers(start);
    kernel.step(&objects, start, true);
    let outlook = Outlook::nothing(start, 3_600);
    let foreseen = Arc::new(Foreseen { outlook, soon: Vec::new(), kept: None, left_out: false });
    let outlooks: BTreeMap<_, _> = keys.iter().map(|key| (requests(key), Arc::clone(&foreseen))).collect();
    let (mut sizes, scalers) = (Sizes::default(), BTreeMap::new());
    let (mut decided, mut planned) = (0.0, 0.0);
    for step in 0..STEPS {
        let now = start + SignedDuration::from_secs(15 * step);
        let about = |key: &WorkloadKey, signal: Signal| Observation {
            tenant: None,
            entity: Entity::Workload { key: key.clone() },
            event_time: now,
            arrival_time: now,
            signal,
        };
        let waiting = |key: &WorkloadKey| {
            let sample = Sample {
                metric: "waiting".into(),
                series: "".into(),
                value: 75.0,
                counter: false,
                asked_by: Some(key.clone()),
            };
            about(key, Signal::Sample(sample))
        };
        let samples: Vec<Observation> = keys.iter().map(waiting).collect();
        kernel.step(&samples, now, true);
        let clock = Instant::now();
        let records = sizes.step(kernel.snapshot(), &outlooks, &scalers, now);
        let until_decided = clock.elapsed().as_secs_f64();
        let effects = kernel.size(&records, now, true);
        let until_planned = clock.elapsed().as_secs_f64();
        assert_eq!(effects.len(), keys.len(), "more is wanted of each");
        if step >= WARM {
            decided += until_decided;
            planned += until_planned - until_decided;
        }
        if step == 0 {
            let ended = effects.iter().zip(0..).filter_map(|(effect, number)| {
                let Effect::Execute(plan, _) = effect else { return None };
                let mut action =
                    plan.record(ActionId::new(format!("bench-{number}")), Name::from("bench"))?;
                action.state = ActionState::Verified;
                (action.instants.sent, action.instants.closed) = (Some(now), Some(now));
                let change = ObjectChange::Action(Change::Applied(Arc::new(action)));
                Some(about(&plan.workload, Signal::Object(change)))
            });
            let ended: Vec<Observation> = ended.collect();
            kernel.step(&ended, now, true);
        }
    }
    let in_ms = |seconds: f64| 1e3 * seconds / (STEPS - WARM) as f64;
    (in_ms(decided), in_ms(planned))
}

fn demo_figures() -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string("target/demo/result.json") else { return Vec::new() };
    let Ok(result) = serde_json::from_str::<Value>(&text) else { return Vec::new() };
    let own = &result["homeostat"];
    vec![
        figure(
            "homeostat peak RSS under load",
            own["rssPeakBytes"].as_f64().unwrap_or(f64::NAN) / 1e6,
            "MB",
            None,
            Some(80.0),
            None,
        ),
        figure(
            "homeostat mean CPU under load",
            own["cpuMeanCores"].as_f64().unwrap_or(f64::NAN),
            "core",
            None,
            Some(0.15),
            None,
        ),
    ]
}

/// What `e2e quiet` counted while nothing was wrong.
fn quiet_figures() -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string("target/demo/quiet.json") else { return Vec::new() };
    let Ok(result) = serde_json::from_str::<Value>(&text) else { return Vec::new() };
    let of = |name: &str| result[name].as_f64().unwrap_or(f64::NAN);
    vec![
        figure("incidents while nothing is wrong", of("incidents"), "incidents", None, Some(0.0), Some(0.0)),
        figure(
            "API writes a minute beside the lease",
            of("writesPerMinute"),
            "writes/min",
            None,
            Some(0.0),
            None,
        ),
    ]
}

fn figure(
    name: &str,
    value: f64,
    unit: &str,
    peer: Option<(&str, f64)>,
    floor: Option<f64>,
    goal: Option<f64>,
) -> Value {
    // Rates should be large, sizes and shares of a core small.
    let lower = !unit.ends_with("/s/core");
    json!({ "name": name, "value": value, "unit": unit, "peer": peer.map(|(name, _)| name), "peerValue": peer.map(|(_, value)| value), "floor": floor, "goal": goal, "lowerIsBetter": lower })
}

fn main() {
    // cargo starts benches in their package's folder.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::set_current_dir(&root).expect("the workspace");
    let (ours, under_control, whole) = records();
    let (largest, kept) = largest_pod();
    let spans = spans_per_second();
    let (decided, planned) = sizing();
    let mut figures = vec![
        figure(
            "projected records, 10,000 workloads and 30,000 pods",
            ours,
            "MB live heap",
            Some(("whole pods as JSON values", whole)),
            Some(40.0),
            Some(9.0),
        ),
        figure(
            "the same with a ReplicaSet and a Workload for each",
            under_control,
            "MB live heap",
            None,
            None,
            None,
        ),
        figure("a pod of 1.4 MB becomes a record", largest, "ms", None, Some(50.0), Some(10.0)),
        figure("what is kept of it", kept, "kB", None, Some(4.0), Some(2.0)),
        figure("spans through the analysis", spans, "spans/s/core", None, Some(400_000.0), Some(2_000_000.0)),
        figure("sizes of 10,000 workloads are decided", decided, "ms", None, None, None),
        figure("10,000 changes of size are planned and checked", planned, "ms", None, None, None),
    ];
    figures.extend(demo_figures());
    figures.extend(quiet_figures());
    std::fs::create_dir_all("target/bench").expect("target/bench");
    std::fs::write("target/bench/summary.json", serde_json::to_string_pretty(&figures).expect("JSON"))
        .expect("written");
    println!("{:<54} {:>14}  {:<14} {:>10} {:>10}", "figure", "value", "unit", "floor", "goal");
    for figure in &figures {
        let number =
            |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        println!(
            "{:<54} {:>14}  {:<14} {:>10} {:>10}",
            figure["name"].as_str().unwrap_or_default(),
            number(&figure["value"]),
            figure["unit"].as_str().unwrap_or_default(),
            number(&figure["floor"]),
            number(&figure["goal"]),
        );
        if let Some(peer) = figure["peer"].as_str() {
            println!("  beside: {peer} {}", number(&figure["peerValue"]));
        }
    }
    println!("written to target/bench/summary.json");
}
