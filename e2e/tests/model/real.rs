//! The side of the real API server: the product's own ports, and what people and other parts of Kubernetes do.

use std::fmt::{Debug, Display};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use homeostat_cluster::{ApiActuator, ApiLedger, ConnectOptions, connect, ledger};
use homeostat_crds::v1alpha1::Action;
use homeostat_e2e::clock::SystemClock;
use homeostat_e2e::cluster::Cluster;
use homeostat_e2e::cluster::components::Components;
use homeostat_e2e::proof::kubelet::serves;
use homeostat_e2e::proof::objects::{create, writes};
use homeostat_e2e::proof::stage::until;
use homeostat_execute::ports::{Actuator, FreshTarget, Ledger};
use homeostat_knowledge::{ActionId, ActionRecord, ActionState, Name, Parameters, Target};
use homeostat_sim::objects::CONTAINER;
use homeostat_sim::server::Stream;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, WatchEvent,
    WatchParams,
};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::asks::{Answer, Kubelet};
use super::modelled::{bounds, flag, replicas};
use super::things::{NAMESPACE, NODE, PEOPLES, REPLICAS, Thing, action_line, pod_line, record};
use crate::LIMIT;

/// A pod and an action that only mark the end of what a watch must have shown.
const SENTINEL: &str = "sentinel";
/// Label by which others touch objects. An annotation of a Deployment would count as a change of what is wanted.
const TOUCHED: &str = "touched";
const BUDGET: &str = "web";
/// Label of the pods that the budget is for.
const GUARDED: &str = "guarded";
/// When everything happened that a kubelet tells: telling it again changes nothing.
const AT: &str = "2026-01-01T00:00:00Z";

/// The real one.
pub struct Real {
    client: Client,
    hands: ApiActuator,
    ledger: ApiLedger,
    touches: u32,
}

/// Nobody but the controller of disruption budgets writes beside us: what is compared is the API server.
fn only_budgets(cluster: &Cluster) {
    let components = Components::new(cluster.layout(), cluster.tools(), false, false);
    let mut controllers = components.controller_manager(false);
    for arg in controllers.args.iter_mut().filter(|arg| arg.starts_with("--controllers=")) {
        "--controllers=disruption-controller".clone_into(arg);
    }
    assert!(controllers.args.iter().any(|arg| arg.ends_with("=disruption-controller")));
    cluster.control().start(controllers).unwrap();
}

fn told<T, E: Display>(answer: &Result<T, E>) -> String {
    answer.as_ref().err().map(ToString::to_string).unwrap_or_default()
}

impl Real {
    pub async fn up(cluster: &Cluster) -> Self {
        only_budgets(cluster);
        // Chooses the library for TLS.
        cluster.client().await.unwrap();
        let options = ConnectOptions { kubeconfig: Some(cluster.kubeconfig_path()), context: None };
        let client = connect(&options).await.unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        create(&client, None, &namespace).await.unwrap();
        // Pods are admitted only when the account is there that they get by default.
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        create(&client, Some(NAMESPACE), &account).await.unwrap();
        let definition = homeostat_crds::all().into_iter().find(|one| one.spec.names.kind == "Action");
        create(&client, None, &serde_json::to_value(definition.unwrap()).unwrap()).await.unwrap();
        let hands = ApiActuator::new(client.clone());
        let ledger = ApiLedger::new(client.clone(), Arc::new(SystemClock));
        let real = Self { client, hands, ledger, touches: 0 };
        let actions = real.actions();
        until("the kind Action", LIMIT, || async {
            actions.list(&ListParams::default()).await.ok().map(drop)
        })
        .await
        .unwrap();
        let bare = record(0, ActionState::Proposed, "", Name::from(""));
        let sentinel = Action::new(SENTINEL, ledger::spec(&bare));
        let sentinel = serde_json::to_value(sentinel).unwrap();
        create(&real.client, Some(NAMESPACE), &sentinel).await.unwrap();
        create(&real.client, Some(NAMESPACE), &pod(SENTINEL, false, false)).await.unwrap();
        real
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn actions(&self) -> Api<Action> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn budgets(&self) -> Api<PodDisruptionBudget> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn api(&self, (api_version, kind): (&str, &str), namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    pub async fn fresh(&self, thing: Thing) -> Option<FreshTarget> {
        let found = self.hands.fresh_target(&thing.named()).await.unwrap()?;
        if thing != Thing::FailedRun {
            return Some(found);
        }
        // What repeats it is named after its UID.
        self.hands.fresh_target(&thing.target(found.uid, Name::from(""))).await.unwrap()
    }

    pub async fn create(&self, thing: Thing) {
        let key = thing.key();
        let namespace = Some(&*key.namespace).filter(|namespace| !namespace.is_empty());
        create(&self.client, namespace, &manifest(thing)).await.unwrap();
        if thing == Thing::Deployment {
            let uid = self.fresh(thing).await.unwrap().uid;
            for release in ["1", "2"] {
                create(&self.client, namespace, &replica_set(release, uid.as_str())).await.unwrap();
            }
        }
        if matches!(thing, Thing::FailedRun | Thing::WaitingRun) {
            // The Job controller's first write, which does not run here: the API server stores a new Job in another form
            // than a written one, so the very first write that changes nothing would give it a version.
            let patch = Patch::Merge(json!({"status": {"uncountedTerminatedPods": {}}}));
            let api = self.api(thing.kind(), &key.namespace);
            api.patch_subresource("status", &key.name, &writes(), &patch).await.unwrap();
        }
    }

    pub async fn delete(&self, thing: Thing) -> Answer {
        let key = thing.key();
        let params = DeleteParams::background();
        let answer = self.api(thing.kind(), &key.namespace).delete(&key.name, &params).await;
        if thing == Thing::Deployment {
            let sets = self.api(("apps/v1", "ReplicaSet"), &key.namespace);
            for release in ["web-1", "web-2"] {
                let _gone = sets.delete(release, &params).await;
            }
        }
        match answer {
            Ok(_) => Answer::Taken,
            Err(kube::Error::Api(status)) if status.code == 404 => Answer::NotFound,
            Err(error) => Answer::Other(error.to_string()),
        }
    }

    pub async fn kubelet(&self, thing: Thing, step: Kubelet) {
        let key = thing.key();
        let name = &*key.name;
        let (phase, ready) = match step {
            Kubelet::Ready => ("Running", true),
            Kubelet::NotReady => ("Running", false),
            Kubelet::Succeeded => ("Succeeded", false),
            Kubelet::Gone => {
                let params = DeleteParams::default().grace_period(0);
                self.pods().delete(name, &params).await.unwrap();
                return;
            }
        };
        let patch = Patch::Merge(json!({"status": status(phase, ready)}));
        self.pods().patch_status(name, &writes(), &patch).await.unwrap();
    }

    async fn patch(&self, thing: Thing, patch: Value) {
        let key = thing.key();
        let api = self.api(thing.kind(), &key.namespace);
        api.patch(&key.name, &writes(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Somebody sets what effects set too.
    pub async fn set(&self, thing: Thing, number: u8) {
        let spec = match thing {
            Thing::Deployment => json!({"replicas": replicas(number)}),
            Thing::CronJob | Thing::FailedRun | Thing::WaitingRun => json!({"suspend": flag(number)}),
            Thing::Node => json!({"unschedulable": flag(number)}),
            Thing::Autoscaler => {
                let bounds = bounds(number);
                json!({"minReplicas": bounds.min, "maxReplicas": bounds.max})
            }
            Thing::Pod(_) | Thing::Homeless => return,
        };
        self.patch(thing, json!({"spec": spec})).await;
    }

    fn next_touch(&mut self) -> Value {
        self.touches += 1;
        json!({"metadata": {"labels": {TOUCHED: self.touches.to_string()}}})
    }

    pub async fn touch(&mut self, thing: Thing) {
        let patch = self.next_touch();
        self.patch(thing, patch).await;
    }

    pub async fn budget(&self, minimum: Option<usize>) {
        let Some(minimum) = minimum else {
            // It may not be there.
            let _gone = self.budgets().delete(BUDGET, &DeleteParams::background()).await;
            return;
        };
        let spec = json!({"minAvailable": minimum, "selector": {"matchLabels": {GUARDED: "yes"}}});
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": BUDGET},
            "spec": spec,
        });
        create(&self.client, Some(NAMESPACE), &budget).await.unwrap();
        let patch = Patch::Merge(json!({"spec": {"minAvailable": minimum}}));
        self.budgets().patch(BUDGET, &writes(), &patch).await.unwrap();
    }

    /// Waits until the budget's controller has seen the pods as they are. An eviction under another UID is counted for
    /// two minutes although nothing was evicted: that is taken back.
    pub async fn settled(&self, minimum: Option<usize>) {
        let Some(minimum) = minimum else { return };
        let (budgets, guarded) = (self.budgets(), ListParams::default().labels(&format!("{GUARDED}=yes")));
        let count = |number: Option<i32>| usize::try_from(number.unwrap_or_default()).unwrap();
        let end = Instant::now() + LIMIT;
        loop {
            let budget = budgets.get(BUDGET).await.unwrap();
            let pods = self.pods().list(&guarded).await.unwrap().items;
            let status = budget.status.clone().unwrap_or_default();
            let disrupted = status.disrupted_pods.unwrap_or_default();
            let healthy = pods.iter().filter(|pod| serves(pod)).count();
            let seen = (count(status.current_healthy), count(status.desired_healthy));
            let current = status.observed_generation == budget.metadata.generation
                && count(status.expected_pods) == pods.len();
            if current && disrupted.is_empty() && seen == (healthy, minimum) {
                return;
            }
            assert!(Instant::now() < end, "the budget's controller does not see the pods: {budget:?}");
            let goes = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
            if pods.iter().any(|pod| disrupted.contains_key(&pod.name_any()) && !goes(pod)) {
                let patch = Patch::Merge(json!({"status": {"disruptedPods": null}}));
                budgets.patch_status(BUDGET, &writes(), &patch).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends an effect as the product does, or only tries it; and what was said.
    pub async fn effect(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        dry_run: bool,
    ) -> (Answer, String) {
        if dry_run {
            let answer = self.hands.dry_run(target, parameters, action).await;
            let said = told(&answer);
            return (Answer::of_dry_run(answer), said);
        }
        let answer = self.hands.effect(target, parameters, action, &target.resource_version).await;
        let said = told(&answer);
        (Answer::of_effect(answer), said)
    }

    pub async fn register(&self, record: &ActionRecord) -> (Answer, String) {
        let answer = self.ledger.create(record).await;
        let said = told(&answer);
        (Answer::of_store(answer), said)
    }

    pub async fn store(&self, record: &ActionRecord) -> (Answer, String) {
        let answer = self.ledger.update(record).await;
        let said = told(&answer);
        (Answer::of_store(answer), said)
    }

    pub async fn lookup(&self, record: &ActionRecord) -> Option<ActionRecord> {
        self.ledger.read(&record.key()).await.unwrap()
    }

    pub async fn list(&self, stream: Stream) -> Answer {
        let params = ListParams::default();
        let mut lines: Vec<String> = match stream {
            Stream::Pods => self.pods().list(&params).await.unwrap().iter().filter_map(of_pod).collect(),
            _ => self.actions().list(&params).await.unwrap().iter().filter_map(of_action).collect(),
        };
        lines.sort();
        Answer::Shows(lines)
    }

    pub async fn watch(&mut self, stream: Stream, after: &str) -> Answer {
        let touch = Patch::Merge(self.next_touch());
        let turn = self.touches.to_string();
        if stream == Stream::Pods {
            self.pods().patch(SENTINEL, &writes(), &touch).await.unwrap();
            events(&self.pods(), after, &turn, of_pod).await
        } else {
            self.actions().patch(SENTINEL, &writes(), &touch).await.unwrap();
            events(&self.actions(), after, &turn, of_action).await
        }
    }
}

/// What a watch shows after a version and before the sentinel was touched.
async fn events<K>(api: &Api<K>, after: &str, turn: &str, line: fn(&K) -> Option<String>) -> Answer
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let refused = |error: kube::Error| match error {
        kube::Error::Api(status) if status.code == 410 => Answer::Gone,
        error => Answer::Other(error.to_string()),
    };
    let stream = match api.watch(&WatchParams::default().timeout(60), after).await {
        Ok(stream) => stream,
        Err(error) => return refused(error),
    };
    let mut stream = pin!(stream);
    let mut lines = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let last = object.name_any() == SENTINEL;
                if last && object.labels().get(TOUCHED).is_some_and(|touched| touched == turn) {
                    return Answer::Shows(lines);
                }
                lines.extend(line(&object));
            }
            Ok(WatchEvent::Deleted(object)) => lines.push(format!("{} gone", object.name_any())),
            Ok(WatchEvent::Bookmark(_)) => {}
            Ok(WatchEvent::Error(status)) => return refused(kube::Error::Api(status)),
            Err(error) => return refused(error),
        }
    }
    Answer::Other("the watch ended before it had shown everything".to_owned())
}

/// A pod as it is compared. Two of its states are steps of one request: evicted and not going yet, and over before it is
/// gone.
fn of_pod(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let holds = |type_: &str| {
        status.conditions.iter().flatten().any(|one| one.type_ == type_ && one.status == "True")
    };
    let deleting = pod.metadata.deletion_timestamp.is_some();
    let step = (holds("DisruptionTarget") && !deleting)
        || pod.metadata.deletion_grace_period_seconds.is_some_and(|seconds| seconds == 0);
    if step || pod.name_any() == SENTINEL {
        return None;
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    Some(pod_line(&pod.name_any(), phase, holds("Ready"), deleting))
}

fn of_action(action: &Action) -> Option<String> {
    if action.name_any() == SENTINEL {
        return None;
    }
    let state = action.status.as_ref().and_then(|status| status.state);
    let state = state.map_or_else(|| "Proposed".to_owned(), |state| format!("{state:?}"));
    Some(action_line(&action.name_any(), &state))
}

fn pod(name: &str, placed: bool, guarded: bool) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": CONTAINER, "image": "app", "resources": {"requests": {"cpu": "100m"}}}],
        },
    });
    if placed {
        pod["spec"]["nodeName"] = json!(NODE);
    }
    if guarded {
        pod["metadata"]["labels"] = json!({GUARDED: "yes"});
    }
    pod
}

fn template(release: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": CONTAINER, "image": format!("v{release}")}]},
    })
}

fn replica_set(release: &str, owner: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("web-{release}"),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner, "controller": true,
            }],
        },
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template(release),
        },
    })
}

fn runs(suspend: bool) -> Value {
    let containers = json!([{"name": CONTAINER, "image": "app"}]);
    json!({
        "suspend": suspend, "backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": containers}},
    })
}

fn manifest(thing: Thing) -> Value {
    let (api_version, kind) = thing.kind();
    let key = thing.key();
    let spec = match thing {
        Thing::Pod(_) | Thing::Homeless => return pod(&key.name, thing != Thing::Homeless, true),
        Thing::Deployment => json!({
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}}, "template": template("2"),
        }),
        Thing::CronJob => json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": runs(false)}}),
        Thing::FailedRun => runs(false),
        Thing::WaitingRun => runs(true),
        Thing::Node => json!({}),
        Thing::Autoscaler => json!({
            "minReplicas": PEOPLES[0].min, "maxReplicas": PEOPLES[0].max,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": &*key.name},
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
        }),
    };
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": &*key.name}, "spec": spec})
}

/// What a kubelet says.
fn status(phase: &str, ready: bool) -> Value {
    let condition = |type_: &str| {
        let status = if ready { "True" } else { "False" };
        json!({"type": type_, "status": status, "lastTransitionTime": AT})
    };
    let state = match phase {
        "Running" => json!({"running": {"startedAt": AT}}),
        _ => json!({"terminated": {
            "exitCode": 0, "startedAt": AT, "finishedAt": AT, "containerID": "model://1",
        }}),
    };
    json!({
        "phase": phase, "startTime": AT, "conditions": [condition("Ready"), condition("ContainersReady")],
        "containerStatuses": [{
            "name": CONTAINER, "image": "app", "imageID": "app", "ready": ready, "restartCount": 0,
            "state": state, "resources": {"requests": {"cpu": "100m"}},
        }],
    })
}
