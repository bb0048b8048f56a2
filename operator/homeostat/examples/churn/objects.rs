//! Objects as an API server writes them, as far as they are looked at.

use serde_json::{Value, json};

/// What every object has.
#[derive(Clone, Debug)]
pub struct Meta {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub version: u64,
    /// When it was made.
    pub made: String,
}

/// A release of a Deployment.
#[derive(Clone, Debug)]
pub struct Release {
    pub app: String,
    pub hash: String,
    pub number: u32,
}

/// Pods of a controller: wanted, there, ready, and of the newest release.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub wanted: usize,
    pub there: usize,
    pub ready: usize,
    pub newest: usize,
}

/// How far a pod is, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Made,
    Placed,
    Started,
    Ready,
    Ending,
    Gone,
}

/// What is known of a pod, as far as it got.
#[derive(Clone, Debug)]
pub struct PodState {
    pub stage: Stage,
    pub node: Option<String>,
    pub address: String,
    pub started: Option<String>,
    pub ending: Option<String>,
}

fn metadata(meta: &Meta, labels: &Value) -> Value {
    json!({
        "name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
        "resourceVersion": meta.version.to_string(), "creationTimestamp": meta.made, "labels": labels,
        "managedFields": [{ "manager": "kube-controller-manager", "operation": "Update", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:status": { "f:replicas": {}, "f:readyReplicas": {} } } }],
    })
}

fn owner(kind: &str, meta: &Meta) -> Value {
    json!([{ "apiVersion": "apps/v1", "kind": kind, "name": meta.name, "uid": meta.uid, "controller": true,
             "blockOwnerDeletion": true }])
}

fn template(release: &Release) -> Value {
    json!({ "metadata": { "labels": { "app": release.app } }, "spec": { "containers": [container()] } })
}

fn container() -> Value {
    json!({ "name": "app", "image": "registry.example/app:1",
            "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } } })
}

fn revision(release: &Release) -> Value {
    json!({ "deployment.kubernetes.io/revision": release.number.to_string() })
}

/// A Deployment in this generation, of which the controller has seen another one.
pub fn deployment(meta: &Meta, release: &Release, counts: Counts, generation: i64, seen: i64) -> String {
    let mut metadata = metadata(meta, &json!({ "app": release.app }));
    metadata["generation"] = json!(generation);
    metadata["annotations"] = revision(release);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": { "replicas": counts.wanted, "template": template(release),
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } } },
        "status": { "observedGeneration": seen, "replicas": counts.there, "readyReplicas": counts.ready,
            "updatedReplicas": counts.newest, "availableReplicas": counts.ready },
    })
    .to_string()
}

/// The `ReplicaSet` of a release.
pub fn replica_set(meta: &Meta, of: &Meta, release: &Release, counts: Counts) -> String {
    let labels = json!({ "app": release.app, "pod-template-hash": release.hash });
    let mut metadata = metadata(meta, &labels);
    metadata["generation"] = json!(1);
    metadata["annotations"] = revision(release);
    metadata["ownerReferences"] = owner("Deployment", of);
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata,
        "spec": { "replicas": counts.wanted, "template": template(release) },
        "status": { "observedGeneration": 1, "replicas": counts.there, "readyReplicas": counts.ready,
            "availableReplicas": counts.ready },
    })
    .to_string()
}

/// A pod of a `ReplicaSet`.
pub fn pod(meta: &Meta, of: &Meta, release: &Release, state: &PodState) -> String {
    let labels = json!({ "app": release.app, "pod-template-hash": release.hash });
    let mut metadata = metadata(meta, &labels);
    metadata["ownerReferences"] = owner("ReplicaSet", of);
    metadata["deletionTimestamp"] = json!(state.ending);
    let ready = state.stage == Stage::Ready;
    let told = match (&state.started, &state.node) {
        (Some(at), _) => Some(json!({ "running": { "startedAt": at } })),
        (None, Some(_)) => Some(json!({ "waiting": { "reason": "ContainerCreating" } })),
        (None, None) => None,
    };
    let containers: Vec<Value> = told
        .into_iter()
        .map(|told| {
            json!({ "name": "app", "ready": ready, "restartCount": 0, "image": "registry.example/app:1",
                    "imageID": "sha256:0", "state": told, "lastState": {} })
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": { "nodeName": state.node, "containers": [container()] },
        "status": { "phase": if state.started.is_some() { "Running" } else { "Pending" },
            "podIP": state.started.as_ref().map(|_| &state.address),
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
            "containerStatuses": containers },
    })
    .to_string()
}

/// A node that is well, and when its kubelet said so.
pub fn node(meta: &Meta, zone: &str, closed: bool, told: &str) -> String {
    let condition =
        |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastHeartbeatTime": told });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": metadata(meta, &json!({ "topology.kubernetes.io/zone": zone })),
        "spec": { "unschedulable": closed },
        "status": { "allocatable": { "pods": "110", "cpu": "16", "memory": "64Gi" },
            "conditions": [condition("MemoryPressure", "False"), condition("DiskPressure", "False"),
                condition("PIDPressure", "False"), condition("Ready", "True")] },
    })
    .to_string()
}
