//! Pods: state of each container, readiness, owner, address.

use super::amounts::{Container, Resources};
use super::light::{Body, Interner, Meta, cut, null_is_empty};
use super::run::{Cx, Effect, Watched};
use crate::ledger::{in_bytes, in_millis};
use homeostat_crds::Quantity;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::kubelet::{
    INFEASIBLE, NOT_MADE, RESIZE_IN_PROGRESS, RESIZE_PENDING, Resize, ResizeStep,
};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::records::{Amounts, Memory, PodPhase, SetupWait, Termination};
use homeostat_knowledge::{ContainerRecord, ContainerState, Name, ObjectKey, PodRecord};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::sync::Arc;

/// Characters that are kept of a message of the scheduler or a kubelet.
const MESSAGE_LIMIT: usize = 256;
/// Containers of one pod that are kept. Nothing limits them but the size of an object, and looking each up in the other list
/// would take the longer the more there are of both.
const MOST_CONTAINERS: usize = 256;
/// A kernel rounds limits of memory to pages: a difference of so many bytes is none.
const PAGE: u64 = 1 << 16;

/// The watch of pods.
pub(crate) struct Pods;

/// The parts of a pod that are looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PodObject {
    #[serde(default)]
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: Spec,
    #[serde(default, deserialize_with = "null_is_empty")]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    #[serde(default)]
    host_network: Option<bool>,
    #[serde(default, deserialize_with = "null_is_empty")]
    volumes: Vec<Volume>,
    #[serde(default, deserialize_with = "null_is_empty")]
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    empty_dir: Option<IgnoredAny>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    conditions: Vec<Condition>,
    #[serde(default, deserialize_with = "null_is_empty")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(default, deserialize_with = "null_is_empty")]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    type_: String,
    #[serde(default)]
    status: String,
    reason: Option<String>,
    message: Option<String>,
    /// Of which generation of the pod it speaks; 0 where the kubelet does not say.
    #[serde(rename = "observedGeneration", default)]
    observed_generation: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    restart_count: u32,
    #[serde(default, deserialize_with = "null_is_empty")]
    state: State,
    #[serde(default, deserialize_with = "null_is_empty")]
    last_state: State,
    /// What it has, which may be less than it asks for.
    #[serde(default, deserialize_with = "null_is_empty")]
    resources: Resources,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct State {
    waiting: Option<Waiting>,
    running: Option<Running>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Deserialize)]
struct Waiting {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    started_at: Option<Time>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    reason: Option<String>,
    #[serde(default)]
    exit_code: i32,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    message: Option<String>,
}

impl Body for PodObject {
    type Kind = Pod;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for Pods {
    type Body = PodObject;
    const KIND: ObjectKind = ObjectKind::Pod;
    const NAME: &'static str = "pods";

    fn apply(&mut self, body: PodObject, cx: Cx<'_>) -> Result<Effect, String> {
        let record = record(&body, cx.key, cx.version, cx.names);
        Ok(Effect::Tell(ObjectChange::Pod(Change::Applied(Arc::new(record)))))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Pod(Change::Deleted(key.clone())))
    }
}

/// The record of a pod.
pub(crate) fn record(pod: &PodObject, key: ObjectKey, version: Name, names: &mut Interner) -> PodRecord {
    let PodObject { metadata, spec, status } = pod;
    let condition = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
    let hash = ["pod-template-hash", "controller-revision-hash"]
        .into_iter()
        .find_map(|label| metadata.labels.get(label));
    PodRecord {
        uid: Uid::new(metadata.uid.as_str()),
        resource_version: version,
        node: names.maybe(spec.node_name.as_deref()),
        ip: match spec.host_network {
            Some(true) => None,
            _ => status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()),
        },
        phase: match status.phase.as_deref() {
            Some("Running") => PodPhase::Running,
            Some("Succeeded") => PodPhase::Succeeded,
            Some("Failed") => PodPhase::Failed,
            Some("Unknown") => PodPhase::Unknown,
            _ => PodPhase::Pending,
        },
        owner: metadata.controller(names),
        deleting: metadata.deletion_timestamp.is_some(),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        unschedulable: condition("PodScheduled")
            .filter(|found| found.status == "False" && found.reason.as_deref() == Some("Unschedulable"))
            .map(|found| Name::from(cut(found.message.as_deref().unwrap_or_default(), MESSAGE_LIMIT))),
        setup: setup(spec, status, names),
        resize: resize(metadata, status),
        created: metadata.created(),
        template_hash: names.maybe(hash.map(String::as_str)),
        local_data: spec
            .volumes
            .iter()
            .any(|volume| volume.empty_dir.is_some() || volume.ephemeral.is_some()),
        containers: containers(spec, status, names),
        key,
    }
}

/// What its kubelet says of a size that the pod does not have yet. What it said of an earlier one counts no more.
fn resize(metadata: &Meta, status: &Status) -> Option<Box<Resize>> {
    let said = |type_: &str| {
        let holds = |found: &&Condition| {
            found.type_ == type_
                && found.status == "True"
                && (found.observed_generation == 0 || found.observed_generation >= metadata.generation)
        };
        status.conditions.iter().find(holds)
    };
    let (step, found) = match (said(RESIZE_PENDING), said(RESIZE_IN_PROGRESS)) {
        (Some(found), _) if found.reason.as_deref() == Some(INFEASIBLE) => (ResizeStep::Infeasible, found),
        (Some(found), _) => (ResizeStep::Deferred, found),
        (None, Some(found)) => (ResizeStep::InProgress, found),
        (None, None) => return None,
    };
    let message = found.message.as_deref().filter(|text| !text.is_empty());
    Some(Box::new(Resize { step, message: message.map(|text| Name::from(cut(text, MESSAGE_LIMIT))) }))
}

/// What the containers of a placed pod wait for. One that cannot be made speaks for the pod; the others only as long as none
/// has run, init containers first: once one runs, the pod is set up.
fn setup(spec: &Spec, status: &Status, names: &mut Interner) -> Option<SetupWait> {
    spec.node_name.as_ref()?;
    let all = || status.init_container_statuses.iter().chain(&status.container_statuses);
    let waits = || all().filter_map(|one| one.state.waiting.as_ref());
    let not_made = |wait: &&Waiting| wait.reason.as_deref().is_some_and(|why| NOT_MADE.contains(&why));
    let begun = |one: &ContainerStatus| {
        one.state.running.is_some() || one.state.terminated.is_some() || one.last_state.terminated.is_some()
    };
    let pending = status.phase.as_deref().is_none_or(|phase| phase == "Pending");
    let wait = match waits().find(not_made) {
        Some(wait) => wait,
        None if !pending || all().any(begun) => return None,
        None => waits().min_by_key(|wait| wait.message.is_none())?,
    };
    Some(SetupWait {
        reason: names.intern(cut(wait.reason.as_deref().unwrap_or_default(), MESSAGE_LIMIT)),
        message: wait.message.as_deref().map(|text| Name::from(cut(text, MESSAGE_LIMIT))),
    })
}

/// What a container says in the last line of its termination message that it used, e.g.
/// `{"used":{"cpu":"850m","memory":"1200Mi"}}`. The kubelet keeps 4,096 bytes of it; it is data, and nothing else is
/// taken from it.
fn used(message: &str) -> Amounts {
    #[derive(Default, Deserialize)]
    struct Said {
        used: Pair,
    }
    #[derive(Default, Deserialize)]
    struct Pair {
        cpu: Option<Quantity>,
        memory: Option<Quantity>,
    }
    let last = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let said: Said = serde_json::from_str(last).unwrap_or_default();
    Amounts {
        cpu_millis: said.used.cpu.as_ref().and_then(in_millis),
        memory_bytes: said.used.memory.as_ref().and_then(in_bytes),
    }
}

/// One entry per app container in spec order; what the kubelet has not reported yet is waiting.
fn containers(spec: &Spec, status: &Status, names: &mut Interner) -> Vec<ContainerRecord> {
    let most = spec.containers.len().max(status.container_statuses.len()).min(MOST_CONTAINERS);
    let mut records = Vec::with_capacity(most);
    for container in spec.containers.iter().take(MOST_CONTAINERS) {
        let reported = status.container_statuses.iter().find(|reported| reported.name == container.name);
        records.push(match reported {
            Some(reported) => {
                let cpu_request = container.requests().cpu_millis;
                ContainerRecord {
                    memory: given(container.memory(), reported),
                    cpu_request,
                    cpu_limit: container.cpu_limit(),
                    ephemeral_storage_limit: container.ephemeral_storage_limit(),
                    ..container_record(reported, names)
                }
            }
            None => ContainerRecord {
                name: names.intern(&container.name),
                ready: false,
                restarts: 0,
                state: ContainerState::Waiting { reason: names.intern("") },
                last_termination: None,
                memory: container.memory(),
                cpu_request: container.requests().cpu_millis,
                cpu_limit: container.cpu_limit(),
                ephemeral_storage_limit: container.ephemeral_storage_limit(),
            },
        });
    }
    // A status without its spec does not happen; losing a crash to it would be worse than to believe it.
    for reported in &status.container_statuses {
        if records.len() >= MOST_CONTAINERS {
            break;
        }
        if !spec.containers.iter().any(|container| container.name == reported.name) {
            records.push(container_record(reported, names));
        }
    }
    records
}

/// The memory that a container asks for, with the limit that holds: one that was raised is the one before until its kubelet
/// has raised it.
fn given(asked: Memory, reported: &ContainerStatus) -> Memory {
    let holds = reported.resources.memory_limit();
    let lower = holds.filter(|holds| asked.limit.is_some_and(|asked| holds.saturating_add(PAGE) < asked));
    Memory { limit: lower.or(asked.limit), ..asked }
}

fn container_record(status: &ContainerStatus, names: &mut Interner) -> ContainerRecord {
    let State { waiting, running, terminated } = &status.state;
    let state = match (terminated, running, waiting) {
        (Some(end), _, _) => ContainerState::Terminated(termination(end, names)),
        (None, Some(run), _) => ContainerState::Running {
            since: run.started_at.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0),
        },
        (None, None, waiting) => ContainerState::Waiting {
            reason: names.intern(waiting.as_ref().and_then(|why| why.reason.as_deref()).unwrap_or_default()),
        },
    };
    ContainerRecord {
        name: names.intern(&status.name),
        ready: status.ready,
        restarts: status.restart_count,
        state,
        last_termination: status.last_state.terminated.as_ref().map(|end| termination(end, names)),
        memory: Memory::default(),
        cpu_request: None,
        cpu_limit: None,
        ephemeral_storage_limit: None,
    }
}

fn termination(end: &Terminated, names: &mut Interner) -> Termination {
    Termination {
        reason: names.intern(end.reason.as_deref().unwrap_or_default()),
        exit_code: end.exit_code,
        started: end.started_at.as_ref().map(|at| at.0),
        finished: end.finished_at.as_ref().map(|at| at.0),
        used: end.message.as_deref().map_or_else(Amounts::default, used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watches::light::Light;
    use homeostat_knowledge::ControllerKind;
    use serde_json::{Value, json};

    fn project(status: &Value, edit: impl FnOnce(&mut Value)) -> PodRecord {
        let mut pod = json!({
            "metadata": {
                "name": "order-6c-x", "namespace": "shop", "uid": "u-1", "resourceVersion": "88",
                "creationTimestamp": "2026-11-22T09:00:00Z",
                "labels": { "app": "order", "pod-template-hash": "6c" },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "order-6c",
                                      "uid": "rs-1", "controller": true }],
                "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:status": {} } }],
            },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "app", "env": [{ "name": "A" }] }] },
            "status": status,
        });
        edit(&mut pod);
        let light: Light<PodObject> = serde_json::from_str(&pod.to_string()).unwrap();
        let mut names = Interner::default();
        let key = light.key(&mut names);
        record(&light.body.clone().unwrap(), key, Name::from(light.version()), &mut names)
    }

    fn unchanged(_: &mut Value) {}

    fn with(state: &Value, last: &Value) -> Value {
        json!({
            "phase": "Running", "podIP": "10.1.2.3",
            "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }],
            "containerStatuses": [{ "name": "app", "ready": false, "restartCount": 3,
                                    "state": state, "lastState": last }],
        })
    }

    #[test]
    fn a_healthy_pod() {
        let status = json!({
            "phase": "Running", "podIP": "10.1.2.3",
            "conditions": [{ "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "True" }],
            "containerStatuses": [{ "name": "app", "ready": true, "restartCount": 0,
                "state": { "running": { "startedAt": "2026-11-22T09:00:05Z" } }, "lastState": {} }],
        });
        let pod = project(&status, unchanged);
        assert_eq!(pod.key, ObjectKey::new("shop", "order-6c-x"));
        assert_eq!((pod.uid.as_str(), &*pod.resource_version), ("u-1", "88"));
        assert_eq!(pod.node.as_deref(), Some("node-1"));
        assert_eq!(pod.ip, Some("10.1.2.3".parse().unwrap()));
        assert_eq!(pod.created, "2026-11-22T09:00:00Z".parse().unwrap());
        assert_eq!(pod.template_hash.as_deref(), Some("6c"));
        let owner = pod.owner.clone().unwrap();
        assert_eq!((owner.kind, &*owner.name), (ControllerKind::ReplicaSet, "order-6c"));
        assert!(pod.serving() && !pod.local_data && pod.unschedulable.is_none());
        assert_eq!(
            pod.containers[0].state,
            ContainerState::Running { since: "2026-11-22T09:00:05Z".parse().unwrap() }
        );
    }

    #[test]
    fn container_states() {
        let end = json!({ "terminated": { "exitCode": 137, "reason": "Error",
            "startedAt": "2026-11-22T09:00:05Z", "finishedAt": "2026-11-22T09:10:00Z" } });
        let out_of_memory = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        let back_off = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } });

        let killed = project(&with(&end, &json!({})), unchanged);
        let ContainerState::Terminated(seen) = &killed.containers[0].state else { panic!("{killed:?}") };
        assert_eq!((seen.exit_code, &*seen.reason), (137, "Error"));
        assert_eq!(seen.finished, Some("2026-11-22T09:10:00Z".parse().unwrap()));
        assert!(!killed.ready && killed.restarts() == 3);

        let waits = project(&with(&back_off, &end), unchanged);
        assert_eq!(
            waits.containers[0].state,
            ContainerState::Waiting { reason: Name::from("CrashLoopBackOff") }
        );
        assert_eq!(waits.containers[0].last_termination.as_ref().unwrap().exit_code, 137);

        let full = project(&with(&back_off, &out_of_memory), unchanged);
        assert_eq!(&*full.containers[0].last_termination.as_ref().unwrap().reason, "OOMKilled");

        let unknown = project(&with(&json!({}), &Value::Null), unchanged);
        assert_eq!(unknown.containers[0].state, ContainerState::Waiting { reason: Name::from("") });
    }

    #[test]
    fn a_pod_that_just_appeared_waits() {
        let pod = project(&json!({ "phase": "Pending" }), unchanged);
        assert_eq!(pod.phase, PodPhase::Pending);
        assert_eq!(pod.containers.len(), 1);
        assert!(!pod.containers[0].ready);
    }

    #[test]
    fn a_pod_that_cannot_be_placed_says_why_in_bounds() {
        let status = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available".repeat(40) }] });
        let pod = project(&status, unchanged);
        assert_eq!(pod.unschedulable.unwrap().chars().count(), MESSAGE_LIMIT);
        let waiting = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False",
            "reason": "SchedulingGated" }] });
        assert_eq!(project(&waiting, unchanged).unschedulable, None);
    }

    #[test]
    fn what_keeps_containers_from_being_made_is_told_until_one_runs() {
        let waits = |reason: &str, message: Option<&str>| {
            let mut waiting = json!({ "reason": reason });
            if let Some(message) = message {
                waiting["message"] = json!(message);
            }
            json!({ "name": "app", "state": { "waiting": waiting }, "lastState": {} })
        };
        let told = |phase: &str, init: &[Value], app: &[Value]| {
            let status = json!({ "phase": phase, "initContainerStatuses": init, "containerStatuses": app });
            let setup = project(&status, unchanged).setup?;
            Some((setup.reason.to_string(), setup.message.map(|text| text.to_string())))
        };
        let only = |reason: &str| Some((reason.to_owned(), None));
        let creating = waits("ContainerCreating", None);
        let initializing = waits("PodInitializing", None);
        let missing = waits("CreateContainerConfigError", Some("secret \"keys\" not found"));
        let named =
            Some(("CreateContainerConfigError".to_owned(), Some("secret \"keys\" not found".to_owned())));
        let runs =
            json!({ "name": "setup", "state": { "running": { "startedAt": "2026-11-22T09:00:05Z" } } });
        let ended = json!({ "name": "setup", "state": { "terminated": { "exitCode": 0 } } });
        let one = std::slice::from_ref;
        assert_eq!(told("Pending", &[], one(&creating)), only("ContainerCreating"));
        assert_eq!(told("Pending", one(&initializing), one(&initializing)), only("PodInitializing"));
        assert_eq!(told("Pending", one(&runs), one(&initializing)), None, "an init container works");
        assert_eq!(told("Pending", one(&ended), one(&initializing)), None);
        assert_eq!(told("Pending", &[], &[creating, missing.clone()]), named, "the one that says more");
        assert_eq!(told("Pending", one(&missing), one(&initializing)), named, "an init container's secret");
        assert_eq!(told("Running", &[], &[runs, missing.clone()]), named, "one beside another that runs");
        let status = json!({ "phase": "Pending", "containerStatuses": [waits("X", Some(&"n".repeat(900)))] });
        let long = project(&status, unchanged).setup.unwrap();
        assert_eq!(long.message.unwrap().chars().count(), MESSAGE_LIMIT);
        let unplaced = project(&status, |pod| pod["spec"]["nodeName"] = Value::Null);
        assert_eq!(unplaced.setup, None);
    }

    #[test]
    fn a_size_that_the_kubelet_refuses_or_puts_off_is_told_and_a_limit_counts_once_it_is_given() {
        let of = |conditions: &Value, limit: Option<&str>| {
            let mut container = json!({ "name": "app", "ready": true, "restartCount": 0 });
            if let Some(limit) = limit {
                container["resources"] =
                    json!({ "limits": { "memory": limit }, "requests": { "memory": limit } });
            }
            let status =
                json!({ "phase": "Running", "conditions": conditions, "containerStatuses": [container] });
            project(&status, |pod| {
                pod["metadata"]["generation"] = json!(4);
                pod["spec"]["containers"][0]["resources"] =
                    json!({ "requests": { "memory": "1Gi" }, "limits": { "memory": "1Gi" } });
            })
        };
        let condition = |type_: &str, reason: &str, generation: i64| {
            json!([{ "type": type_, "status": "True", "reason": reason, "observedGeneration": generation,
                     "message": "Node didn't have enough capacity: memory" }])
        };
        let step = |conditions: &Value| of(conditions, None).resize.map(|resize| resize.step);
        assert_eq!(step(&condition("PodResizePending", "Infeasible", 4)), Some(ResizeStep::Infeasible));
        assert_eq!(step(&condition("PodResizePending", "Deferred", 4)), Some(ResizeStep::Deferred));
        assert_eq!(step(&condition("PodResizePending", "Deferred", 0)), Some(ResizeStep::Deferred), "1.33");
        assert_eq!(step(&condition("PodResizeInProgress", "", 4)), Some(ResizeStep::InProgress));
        assert_eq!(step(&condition("PodResizePending", "Infeasible", 3)), None, "of a size before this one");
        assert_eq!(step(&json!([])), None);
        let words = of(&condition("PodResizePending", "Infeasible", 4), None).resize.unwrap().to_string();
        assert_eq!(words, "refuses the new size (Infeasible): Node didn't have enough capacity: memory");
        let limit = |given| of(&json!([]), given).containers[0].memory.limit.unwrap();
        assert_eq!(limit(Some("512Mi")), 512 << 20, "not raised yet");
        assert_eq!(limit(Some("1073737728")), 1 << 30, "less by a page");
        assert_eq!((limit(Some("2Gi")), limit(None)), (1 << 30, 1 << 30));
    }

    #[test]
    fn deleting_local_data_and_host_network() {
        let running = json!({ "phase": "Running", "podIP": "10.0.0.5" });
        let pod = project(&running, |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-22T09:20:00Z");
            pod["spec"]["volumes"] = json!([{ "name": "t", "configMap": { "name": "c" } },
                                            { "name": "d", "emptyDir": {} }]);
        });
        assert!(pod.deleting && pod.local_data && !pod.serving());
        let host = project(&running, |pod| pod["spec"]["hostNetwork"] = json!(true));
        assert_eq!(host.ip, None);
    }

    #[test]
    fn what_a_container_may_keep_on_the_disk_of_its_node_is_read_before_and_after_it_runs() {
        let waits = json!({ "phase": "Pending" });
        let runs = json!({ "phase": "Running", "containerStatuses": [{ "name": "app", "restartCount": 0 }] });
        for status in [&waits, &runs] {
            let limit = |limits: Value| {
                let pod = project(status, |pod| {
                    pod["spec"]["containers"][0]["resources"] = json!({ "limits": limits });
                });
                pod.containers[0].ephemeral_storage_limit
            };
            assert_eq!(limit(json!({ "ephemeral-storage": "2Gi", "memory": "1Gi" })), Some(2 << 30));
            assert_eq!(limit(json!({ "memory": "1Gi" })), None);
        }
    }

    #[test]
    fn several_containers_keep_the_order_of_the_spec_and_init_containers_are_none_of_them() {
        let status = json!({ "phase": "Running",
            "initContainerStatuses": [{ "name": "proxy", "ready": true, "restartCount": 9 }],
            "containerStatuses": [
                { "name": "b", "ready": true, "restartCount": 2 },
                { "name": "a", "ready": true, "restartCount": 1 },
            ] });
        let pod = project(&status, |pod| {
            pod["spec"]["initContainers"] = json!([{ "name": "proxy", "restartPolicy": "Always" }]);
            pod["spec"]["containers"] = json!([
                { "name": "a", "resources": { "requests": { "cpu": "0.5" }, "limits": { "cpu": "1500m" } } },
                { "name": "b" },
            ]);
        });
        let order: Vec<_> = pod.containers.iter().map(|one| (&*one.name, one.restarts)).collect();
        assert_eq!(order, [("a", 1), ("b", 2)]);
        let cpu: Vec<_> = pod.containers.iter().map(|one| (one.cpu_request, one.cpu_limit)).collect();
        assert_eq!(cpu, [(Some(500), Some(1_500)), (None, None)]);
    }
}
