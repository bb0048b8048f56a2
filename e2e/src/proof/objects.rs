//! The objects that the proof puts on the cluster, and how they are read at the end.

use std::time::Duration;

use homeostat_crds::common::{ANNOTATION_HELD_BY, ANNOTATION_HELD_UNTIL, LABEL_HELD};
use homeostat_knowledge::ActionKind;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::ProofError;
use super::kubelet::{self, BAD, ENDS, MANAGER, RELEASE};
use super::patients::{CONTAINER, FEW, FORESEEN, MANY, PEOPLES, STARVED};
use super::stage::until;

/// The workload under test, and what it looks after.
pub const SUBJECT: &str = "subject";
/// Name of the node object that all pods are bound to.
pub const NODE: &str = "proof-pods";
/// The controller of autoscalers looks at a new one within this time.
const LOOKED_AT: Duration = Duration::from_mins(2);
/// What a person is shown as who closed a node or suspended runs before.
const EARLIER: &str = "earlier-1";

/// Writes of the proof itself: not those of a person, whose fields would be left to them.
pub fn writes() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// The rules of a tenant: as wide as they go, so that nothing but the ledger keeps an effect from coming twice.
pub fn tenant(name: &str, namespace: &str) -> Value {
    let actions = [
        "ScaleUp",
        "ScaleDown",
        "EvictPod",
        "RollingRestart",
        "RollBack",
        "Cordon",
        "Uncordon",
        "Suspend",
        "Resume",
        "RetryJob",
        "ResizePod",
        "DriveBounds",
    ];
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
        "spec": {
            "namespaces": [namespace],
            "approvers": [{"kind": "Group", "name": "system:masters"}],
            "automation": [{"actions": actions, "level": "ActFull"}],
            "budgets": {
                "actionsPerHour": 10_000, "actionsPerWorkloadHour": 1_000, "actionsInFlight": 100,
                "actionsInFlightPerWorkload": 1, "percentOfWorkloadsPer10Minutes": 100,
            },
            "cooldown": {"afterSuccessSeconds": 0, "afterFailureSeconds": 0, "maximumSeconds": 1},
            "breaker": {"workloadFailuresPerDay": 1000, "percentOfLastTwenty": 100},
            "verification": {"windowSeconds": 5},
            "stormPercent": 100,
        },
    })
}

/// The settings of the whole cluster.
pub fn control_plane() -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane", "metadata": {"name": "default"},
        "spec": {
            "killSwitch": {"engaged": false}, "warmUpSeconds": 0, "storm": {"calmSeconds": 1},
            "ceilings": {
                "level": "ActFull", "actionsInFlight": 1000, "actionsPerHour": 100_000, "nodesInFlight": 100,
                "cordonedNodesPercent": 100, "stormPercent": 100,
                "cooldown": {"afterSuccessSeconds": 0, "afterFailureSeconds": 0},
                "breaker": {"workloadFailuresPerDay": 1000, "percentOfLastTwenty": 100},
            },
            "breaker": {"failedVerificationsPer15Minutes": 1000},
        },
    })
}

/// A node that is there only as an object.
pub fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "a"}},
    })
}

/// A node's status.
pub fn node_status(pressure: bool) -> Value {
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": "Proof", "message": "as the proof set it",
            "lastTransitionTime": format!("{:.0}", Timestamp::now()),
            "lastHeartbeatTime": format!("{:.0}", Timestamp::now()),
        })
    };
    let memory = if pressure { "True" } else { "False" };
    json!({"status": {
        "conditions": [condition("Ready", "True"), condition("MemoryPressure", memory)],
        "capacity": {"pods": "1000"}, "allocatable": {"pods": "1000"},
    }})
}

fn template(labels: &Value, restart: &str) -> Value {
    json!({
        "metadata": {"labels": labels},
        "spec": {
            "nodeName": NODE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "restartPolicy": restart,
            "containers": [{
                "name": CONTAINER, "image": "v1", "resources": {"requests": {"cpu": format!("{STARVED}m")}},
            }],
        },
    })
}

/// A Deployment.
pub fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "revisionHistoryLimit": 3,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template(&json!({"app": name}), "Always"),
        },
    })
}

fn cron_job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": SUBJECT},
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": template(&json!({ENDS: "once"}), "Never")}},
        },
    })
}

fn job(cron: &CronJob) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "run-1",
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "CronJob", "name": cron.name_any(),
                "uid": cron.uid().unwrap_or_default(), "controller": true,
            }],
        },
        "spec": {"backoffLimit": 0, "template": template(&json!({ENDS: "once"}), "Never")},
    })
}

/// A Workload over a Deployment.
pub fn workload(name: &str) -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "archetype": "Service",
            "restart": {"maximumUselessRestarts": 100},
            "scaling": {
                "replicas": {"min": 1, "max": 10},
                "resources": {"cpu": {"min": "50m", "max": "500m"}},
            },
        },
    })
}

/// A Workload over a Deployment whose autoscaler may be driven.
fn foreseen() -> Value {
    let mut workload = workload(SUBJECT);
    workload["spec"]["scaling"]["mode"] = json!("Auto");
    workload["spec"]["scaling"]["whenOwned"] = json!("DriveBounds");
    workload
}

/// Its autoscaler, as people made it.
fn autoscaler() -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": SUBJECT},
        "spec": {
            "minReplicas": PEOPLES.min, "maxReplicas": PEOPLES.max,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": SUBJECT},
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
        },
    })
}

fn batch() -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload", "metadata": {"name": SUBJECT},
        "spec": {
            "targetRef": {"apiVersion": "batch/v1", "kind": "CronJob", "name": SUBJECT},
            "archetype": "Batch", "repeatable": true,
            "restart": {"maximumUselessRestarts": 100},
        },
    })
}

/// What stands in a namespace before anybody is ill.
pub fn of(action: ActionKind) -> Vec<Value> {
    match action {
        ActionKind::Suspend | ActionKind::Resume | ActionKind::RetryJob => vec![cron_job(), batch()],
        ActionKind::ScaleUp => vec![deployment(SUBJECT, FEW), workload(SUBJECT)],
        ActionKind::ScaleDown => vec![deployment(SUBJECT, MANY), workload(SUBJECT)],
        ActionKind::DriveBounds => vec![deployment(SUBJECT, FEW), foreseen(), autoscaler()],
        _ => vec![deployment(SUBJECT, 2), workload(SUBJECT)],
    }
}

/// Creates an object that is given as JSON; one that is there already is left as it is.
pub async fn create(client: &Client, namespace: Option<&str>, object: &Value) -> Result<(), ProofError> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")));
    let api: Api<DynamicObject> = match namespace {
        None => Api::all_with(client.clone(), &resource),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let what = format!("create {} {}", text("kind"), object["metadata"]["name"].as_str().unwrap_or_default());
    let parsed: DynamicObject = serde_json::from_value(object.clone())
        .map_err(|error| ProofError::Broken(format!("{what}: {error}")))?;
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, &parsed).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(ProofError::api(what)(error)),
    }
}

/// Makes the subject of a namespace ill in the way that this action helps against.
pub async fn fall_ill(client: &Client, namespace: &str, action: ActionKind) -> Result<(), ProofError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let crons: Api<CronJob> = Api::namespaced(client.clone(), namespace);
    match action {
        ActionKind::EvictPod | ActionKind::ResizePod => sicken(&pods, SUBJECT, 1).await,
        ActionKind::RollingRestart => sicken(&pods, SUBJECT, usize::MAX).await,
        ActionKind::RollBack => {
            let labels = json!({"app": SUBJECT, RELEASE: BAD});
            let containers = json!([{"name": CONTAINER, "image": "v2"}]);
            let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
            let patch = json!({"spec": {"template": template}});
            let patched = deployments.patch(SUBJECT, &writes(), &Patch::Strategic(patch)).await;
            patched.map(drop).map_err(ProofError::api("release"))
        }
        ActionKind::Resume => {
            let until = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
            let patch = json!({
                "metadata": {
                    "labels": {LABEL_HELD: "true"},
                    "annotations": {ANNOTATION_HELD_BY: EARLIER, ANNOTATION_HELD_UNTIL: until},
                },
                "spec": {"suspend": true},
            });
            let patched = crons.patch(SUBJECT, &writes(), &Patch::Merge(patch)).await;
            patched.map(drop).map_err(ProofError::api("suspend"))
        }
        ActionKind::RetryJob => {
            let cron = crons.get(SUBJECT).await.map_err(ProofError::api("read the CronJob"))?;
            create(client, Some(namespace), &job(&cron)).await
        }
        // Its controller has said what it can say: until it moves replicas, it writes nothing more.
        ActionKind::DriveBounds => {
            let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
            until("an autoscaler that was looked at", LOOKED_AT, || async {
                let status = scalers.get(SUBJECT).await.ok()?.status?;
                status.conditions.filter(|conditions| !conditions.is_empty()).map(drop)
            })
            .await
        }
        // Their size, or that they run at all, is what is wrong with them.
        _ => Ok(()),
    }
}

/// Lets the processes of so many serving pods of a workload crash.
pub async fn sicken(pods: &Api<Pod>, workload: &str, most: usize) -> Result<(), ProofError> {
    let params = ListParams::default().labels(&format!("app={workload}"));
    let found = pods.list(&params).await.map_err(ProofError::api("list pods"))?;
    let serving: Vec<&Pod> = found.items.iter().filter(|pod| kubelet::serves(pod)).take(most).collect();
    for pod in serving {
        let set = kubelet::set(pods, &pod.name_any(), &kubelet::crashed()).await;
        set.map_err(ProofError::api("let a process crash"))?;
    }
    Ok(())
}

/// Puts a node under pressure, or closes it as we would have.
pub async fn node_falls_ill(client: &Client, name: &str, action: ActionKind) -> Result<(), ProofError> {
    let nodes: Api<Node> = Api::all(client.clone());
    if action == ActionKind::Cordon {
        let patched = nodes.patch_status(name, &writes(), &Patch::Strategic(node_status(true))).await;
        return patched.map(drop).map_err(ProofError::api("put a node under pressure"));
    }
    let until = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
    let patch = json!({
        "metadata": {
            "labels": {LABEL_HELD: "true"},
            "annotations": {ANNOTATION_HELD_BY: EARLIER, ANNOTATION_HELD_UNTIL: until},
        },
        "spec": {"unschedulable": true},
    });
    let patched = nodes.patch(name, &writes(), &Patch::Merge(patch)).await;
    patched.map(drop).map_err(ProofError::api("close a node"))
}

/// Opens a node and takes its pressure away, so that the next plan finds room among the closed nodes.
pub async fn node_recovers(client: &Client, name: &str) -> Result<(), ProofError> {
    let nodes: Api<Node> = Api::all(client.clone());
    let patch = json!({
        "metadata": {
            "labels": {LABEL_HELD: null},
            "annotations": {ANNOTATION_HELD_BY: null, ANNOTATION_HELD_UNTIL: null},
        },
        "spec": {"unschedulable": null},
    });
    nodes.patch(name, &writes(), &Patch::Merge(patch)).await.map_err(ProofError::api("open a node"))?;
    let patched = nodes.patch_status(name, &writes(), &Patch::Strategic(node_status(false))).await;
    patched.map(drop).map_err(ProofError::api("take a node's pressure away"))
}

/// The subject at the end, without what differs from run to run.
#[allow(clippy::struct_excessive_bools, reason = "what is seen, not states of a machine")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndState {
    /// Wanted, serving replicas.
    pub replicas: (i32, usize),
    /// Version of the program.
    pub image: String,
    /// The template carries a restart of ours.
    pub restarted: bool,
    /// What the pods ask for, in order.
    pub cpu: Vec<String>,
    /// Suspended.
    pub suspended: bool,
    /// Runs that ended well, and badly.
    pub runs: (usize, usize),
    /// A node is closed.
    pub cordoned: bool,
    /// Carries our mark of a held state.
    pub held: bool,
    /// Bounds of the autoscaler.
    pub bounds: Option<(i32, i32)>,
    /// Somebody is ill.
    pub ill: bool,
}

/// Reads the end state of a namespace's subject.
pub async fn end_state(client: &Client, namespace: &str, action: ActionKind) -> kube::Result<EndState> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut end = EndState::default();
    if matches!(action, ActionKind::Suspend | ActionKind::Resume | ActionKind::RetryJob) {
        let cron = Api::<CronJob>::namespaced(client.clone(), namespace).get(SUBJECT).await?;
        let jobs = Api::<Job>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
        end.suspended = cron.spec.suspend.unwrap_or(false);
        end.held = cron.annotations().contains_key(ANNOTATION_HELD_BY);
        let is = |job: &&Job, type_: &str| {
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == type_ && one.status == "True"))
        };
        let count = |type_: &str| jobs.items.iter().filter(|job| is(job, type_)).count();
        end.runs = (count("Complete"), count("Failed"));
        end.ill = match action {
            ActionKind::Suspend => !end.suspended,
            ActionKind::Resume => end.suspended,
            _ => end.runs.0 < end.runs.1,
        };
        return Ok(end);
    }
    if action == ActionKind::DriveBounds {
        // The replicas follow when the autoscaler's controller looks again, up to 15 s later: that is its own work.
        let scaler =
            Api::<HorizontalPodAutoscaler>::namespaced(client.clone(), namespace).get(SUBJECT).await?;
        let floor = scaler.spec.min_replicas.unwrap_or(1);
        end.held = scaler.annotations().contains_key(ANNOTATION_HELD_BY);
        end.bounds = Some((floor, scaler.spec.max_replicas));
        end.ill = u64::try_from(floor).map_or(true, |floor| floor < FORESEEN.min);
        return Ok(end);
    }
    let found = Api::<Deployment>::namespaced(client.clone(), namespace).get(SUBJECT).await?;
    let all = pods.list(&ListParams::default()).await?.items;
    let alive: Vec<&Pod> = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    let wanted = found.spec.replicas.unwrap_or(1);
    let serving = alive.iter().filter(|pod| kubelet::serves(pod)).count();
    end.replicas = (wanted, serving);
    let template = &found.spec.template;
    let container = template.spec.as_ref().and_then(|spec| spec.containers.first());
    end.image = container.and_then(|container| container.image.clone()).unwrap_or_default();
    let annotations = template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
    end.restarted =
        annotations.is_some_and(|all| all.contains_key(homeostat_crds::common::ANNOTATION_RESTARTED_BY));
    end.cpu = alive.iter().filter_map(|pod| kubelet::cpu(pod)).collect();
    end.cpu.sort();
    let settled =
        all.len() == alive.len() && usize::try_from(wanted) == Ok(serving) && alive.len() == serving;
    end.ill = !settled
        || match action {
            ActionKind::ScaleUp => wanted == FEW,
            ActionKind::ScaleDown => wanted == MANY,
            _ => false,
        };
    Ok(end)
}

/// Reads the end state of a node.
pub async fn node_end(client: &Client, name: &str, action: ActionKind) -> kube::Result<EndState> {
    let node = Api::<Node>::all(client.clone()).get(name).await?;
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    let held = node.annotations().contains_key(ANNOTATION_HELD_BY);
    let ill = if action == ActionKind::Cordon { !cordoned } else { cordoned };
    Ok(EndState { cordoned, held, ill, ..EndState::default() })
}
