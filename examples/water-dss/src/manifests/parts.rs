//! The long-lived parts of a tenant: queue, beat, API, and workers that come from zero and go to zero.

use super::{FIRST, Options, variables};
use crate::shape::Kind;
use serde_json::{Value, json};

/// Kinds that workers take from the queue.
pub const QUEUED: [Kind; 2] = [Kind::Forecast, Kind::Kpi];
/// Most workers of a kind.
const WORKERS: u32 = 2;
/// A worker computes for a small part of the hour: it asks for so much of the CPU that its runs have, and uses more while it may.
const CPU_SHARE: f64 = 0.05;
/// What a worker holds beside the data of a run, in MiB: a runtime and the client of the queue, which a Job has not. Nothing
/// learns the memory of workers here: their Workload names no signal that measures it.
const CLIENT: f64 = 16.0;
/// Port of the queue.
const QUEUE: u16 = 4_222;
/// Port of the API.
pub const API: u16 = 8_080;

/// All of them, with the Workloads of the workers.
pub fn parts(options: &Options, tenant: u32, namespace: &str, queue_image: &str) -> Vec<Value> {
    let mut all = queue(namespace, queue_image);
    all.extend(beat(options, tenant, namespace));
    all.extend(api(options, namespace));
    for kind in QUEUED {
        all.push(workers(options, tenant, namespace, kind));
        all.push(worker_workload(namespace, kind));
    }
    all
}

fn small(cpu: &str, memory: &str) -> Value {
    json!({ "requests": { "cpu": cpu, "memory": memory }, "limits": { "memory": memory } })
}

fn deployment(namespace: &str, name: &str, replicas: u32, pod: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod },
        },
    })
}

fn service(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
        "spec": { "selector": { "app": name }, "ports": [{ "port": port }] },
    })
}

fn queue(namespace: &str, image: &str) -> Vec<Value> {
    let pod = json!({
        "enableServiceLinks": false,
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 5,
        "containers": [{
            "name": "nats", "image": image, "args": ["--jetstream", "--store_dir", "/data"],
            "ports": [{ "containerPort": QUEUE }],
            "resources": small("5m", "64Mi"),
            "readinessProbe": { "tcpSocket": { "port": QUEUE }, "periodSeconds": 5 },
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        }],
        "volumes": [{ "name": "data", "emptyDir": { "sizeLimit": "64Mi" } }],
    });
    vec![deployment(namespace, "queue", 1, &pod), service(namespace, "queue", QUEUE)]
}

fn beat(options: &Options, tenant: u32, namespace: &str) -> Vec<Value> {
    let mut environment = variables(options, tenant);
    if let Some(began) = options.clock {
        let seconds = (3_600.0 / options.divide_time).round().max(1.0);
        for (name, value) in [
            ("BEGAN", began.to_string()),
            ("FIRST_HOUR", options.first_hour.to_string()),
            ("HOURS", options.hours.to_string()),
            ("HOUR_SECONDS", format!("{seconds:.0}")),
        ] {
            environment.push(json!({ "name": name, "value": value }));
        }
    }
    let pod = json!({
        "serviceAccountName": "beat",
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 2,
        "containers": [{
            "name": "beat", "image": options.image, "args": ["beat"], "env": environment,
            "resources": small("5m", "48Mi"),
        }],
    });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "beat", "namespace": namespace },
        "rules": [
            { "apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get"] },
            { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"] },
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "beat", "namespace": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "beat" },
        "subjects": [{ "kind": "ServiceAccount", "name": "beat", "namespace": namespace }],
    });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "beat", "namespace": namespace },
    });
    vec![account, role, binding, deployment(namespace, "beat", 1, &pod)]
}

fn api(options: &Options, namespace: &str) -> Vec<Value> {
    let pod = json!({
        "enableServiceLinks": false,
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 5,
        "containers": [{
            "name": "api", "image": options.image, "args": ["serve", "--queue", "nats://queue:4222"],
            "ports": [{ "containerPort": API }],
            "resources": small("10m", "64Mi"),
            "readinessProbe": { "httpGet": { "path": "/ready", "port": API }, "periodSeconds": 5 },
        }],
    });
    vec![deployment(namespace, "api", 1, &pod), service(namespace, "api", API)]
}

fn workers(options: &Options, tenant: u32, namespace: &str, kind: Kind) -> Value {
    let cpu = format!("{:.0}m", (kind.nominal().0 * CPU_SHARE / options.divide_cpu).max(1.0));
    let data = kind.nominal().1 * FIRST / options.divide_memory;
    let memory = format!("{:.0}Mi", (data + CLIENT).ceil());
    let pod = json!({
        "enableServiceLinks": false,
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 30,
        "containers": [{
            "name": "work", "image": options.image, "args": ["work", "--kind", kind.name()],
            "env": variables(options, tenant),
            "resources": small(&cpu, &memory),
        }],
    });
    deployment(namespace, kind.name(), 0, &pod)
}

fn worker_workload(namespace: &str, kind: Kind) -> Value {
    let waiting = format!("sum(runs_waiting{{namespace=\"{namespace}\",kind=\"{}\"}})", kind.name());
    let spec = json!({
        "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": kind.name() },
        "archetype": "Worker",
        "scaling": {
            "mode": "Auto",
            "replicas": { "min": 0, "max": WORKERS },
            "backlog": { "promql": waiting },
        },
    });
    super::workload(namespace, kind.name(), &spec)
}
