//! The least that a kubelet does, for pods that run nowhere: they get ready, end, and go away when they are deleted.

use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::patients::{CONTAINER, FED};

/// Label of pods of a release that cannot work.
pub const RELEASE: &str = "proof/release";
/// Value of [`RELEASE`].
pub const BAD: &str = "bad";
/// Label of pods that end, and how: a first run fails, the one that repeats it ends well.
pub const ENDS: &str = "proof/ends";
/// Label of pods that start and get ready only when the proof says so.
pub const TOLD: &str = "proof/ready-when-told";
/// Who writes statuses.
pub const MANAGER: &str = "kube-proof";

/// A deleted pod's process takes so long to end.
const GRACE: Duration = Duration::from_millis(50);
/// Pods that are looked after at once.
const HANDS: usize = 32;

/// Looks after all pods until it is dropped.
pub struct Kubelet {
    task: AbortHandle,
}

impl Kubelet {
    /// Begins.
    pub fn start(client: Client) -> Self {
        let pods: Api<Pod> = Api::all(client.clone());
        let task = tokio::spawn(async move {
            let events = watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
            events
                .for_each_concurrent(HANDS, |event| {
                    let client = client.clone();
                    async move {
                        match event {
                            Ok(pod) => look(&client, &pod).await,
                            Err(error) => tracing::debug!(%error, "The watch of pods was interrupted"),
                        }
                    }
                })
                .await;
        });
        Self { task: task.abort_handle() }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(client: &Client, pod: &Pod) {
    let (Some(namespace), Some(uid)) = (pod.namespace(), pod.uid()) else { return };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        tokio::time::sleep(GRACE).await;
        let params = DeleteParams::default()
            .grace_period(0)
            .preconditions(Preconditions { uid: Some(uid), resource_version: None });
        // Gone already, or another pod by now: both fine.
        let _gone = pods.delete(&name, &params).await;
        return;
    }
    let reported = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let new = reported.is_none_or(Vec::is_empty);
    let status = if new {
        first(pod)
    } else if waits(pod) && fed(pod) {
        ready()
    } else {
        return;
    };
    if let Err(error) = set(&pods, &name, &status).await {
        tracing::debug!(%error, name, "A pod's status was not written");
    }
}

/// Writes a pod's status.
pub async fn set(pods: &Api<Pod>, name: &str, status: &Value) -> kube::Result<()> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    pods.patch_status(name, &params, &Patch::Merge(json!({ "status": status }))).await.map(drop)
}

/// The process of this pod ended, and the kubelet waits.
pub fn waits(pod: &Pod) -> bool {
    let reported = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let waiting = |one: &k8s_openapi::api::core::v1::ContainerStatus| {
        one.state.as_ref().and_then(|state| state.waiting.as_ref()).and_then(|why| why.reason.clone())
    };
    reported.is_some_and(|all| all.iter().any(|one| waiting(one).as_deref() == Some("CrashLoopBackOff")))
}

/// The pod started, and waits for the word by which it gets ready.
pub fn starts(pod: &Pod) -> bool {
    let reported = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    pod.labels().contains_key(TOLD)
        && pod.metadata.deletion_timestamp.is_none()
        && reported.is_some_and(|all| !all.is_empty())
        && !serves(pod)
        && !waits(pod)
}

/// The pod serves.
pub fn serves(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn fed(pod: &Pod) -> bool {
    cpu(pod).as_deref() == Some(format!("{FED}m").as_str())
}

/// What the pod's container asks for.
pub fn cpu(pod: &Pod) -> Option<String> {
    let container = pod.spec.as_ref()?.containers.first()?;
    Some(container.resources.as_ref()?.requests.as_ref()?.get("cpu")?.0.clone())
}

fn first(pod: &Pod) -> Value {
    let labels = pod.labels();
    if labels.get(RELEASE).is_some_and(|release| release == BAD) {
        return crashed();
    }
    if labels.contains_key(ENDS) {
        return ended(pod.labels().get("job-name").is_some_and(|job| job.contains("-retry-")));
    }
    if labels.contains_key(TOLD) {
        return starting();
    }
    ready()
}

fn condition(type_: &str, status: bool) -> Value {
    let status = if status { "True" } else { "False" };
    json!({ "type": type_, "status": status, "lastTransitionTime": now() })
}

fn now() -> String {
    format!("{:.0}", Timestamp::now())
}

fn container(state: &Value, ready: bool, restarts: u32, last: &Value) -> Value {
    json!([{
        "name": CONTAINER, "image": "app", "imageID": "app", "ready": ready, "restartCount": restarts,
        "started": ready, "state": state, "lastState": last,
    }])
}

/// Runs and serves.
pub fn ready() -> Value {
    let state = json!({ "running": { "startedAt": now() }, "waiting": null, "terminated": null });
    json!({
        "phase": "Running", "startTime": now(),
        "conditions": [condition("Ready", true), condition("ContainersReady", true), condition("Initialized", true)],
        "containerStatuses": container(&state, true, 0, &json!({})),
    })
}

/// Runs and does not serve yet.
fn starting() -> Value {
    let state = json!({ "running": { "startedAt": now() } });
    json!({
        "phase": "Running", "startTime": now(),
        "conditions": [condition("Ready", false), condition("ContainersReady", false), condition("Initialized", true)],
        "containerStatuses": container(&state, false, 0, &json!({})),
    })
}

/// The process was killed for the third time, after it had run for a minute; the kubelet waits.
pub fn crashed() -> Value {
    let ended = Timestamp::now();
    let begun = ended - jiff::SignedDuration::from_mins(1);
    let end = json!({ "terminated": {
        "exitCode": 137, "reason": "Error", "startedAt": format!("{begun:.0}"), "finishedAt": format!("{ended:.0}"),
        "containerID": "proof://1",
    } });
    let state = json!({ "waiting": { "reason": "CrashLoopBackOff" }, "running": null, "terminated": null });
    json!({
        "phase": "Running", "startTime": now(),
        "conditions": [condition("Ready", false), condition("ContainersReady", false), condition("Initialized", true)],
        "containerStatuses": container(&state, false, 3, &end),
    })
}

fn ended(well: bool) -> Value {
    let end = json!({ "terminated": {
        "exitCode": i32::from(!well), "reason": if well { "Completed" } else { "Error" },
        "startedAt": now(), "finishedAt": now(), "containerID": "proof://1",
    } });
    json!({
        "phase": if well { "Succeeded" } else { "Failed" }, "startTime": now(),
        "conditions": [condition("Ready", false), condition("ContainersReady", false), condition("Initialized", true)],
        "containerStatuses": container(&end, false, 0, &json!({})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: Value) -> Pod {
        let metadata = json!({ "name": "order-a", "labels": { TOLD: "true" } });
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata });
        let mut pod: Pod = serde_json::from_value(object).unwrap();
        pod.status = serde_json::from_value(status).unwrap();
        pod
    }

    #[test]
    fn a_pod_that_gets_ready_when_told_starts_without_serving_and_serves_once_it_was_told() {
        assert!(!starts(&pod(Value::Null)), "nothing has started yet");
        let new = first(&pod(Value::Null));
        assert!(starts(&pod(new.clone())) && !serves(&pod(new)));
        assert!(!starts(&pod(ready())) && serves(&pod(ready())));
        assert!(!starts(&pod(crashed())), "it does not start, it is ill");
    }
}
