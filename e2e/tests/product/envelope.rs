//! A rogue client with Homeostat's own token: the API server refuses what lies outside of the envelope (case T73).
//!
//! The token alone would be stopped by missing rights, which says nothing about the policy. So the service account is
//! bound to `cluster-admin` for the time of the scenario: what is still refused, the envelope refuses. Policies themselves
//! are out of its reach, as of any admission policy; there only the missing rights stand.

use homeostat_e2e::demo::application;
use homeostat_e2e::demo::install::NAMESPACE;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};

use crate::stage::{RELEASE, Stage};

/// Writes that are tried at least.
const WRITES: usize = 200;
const BINDING: &str = "rogue";
/// A Job of nobody, which waits.
const JOB: &str = "rogue-run";

/// One request of the rogue.
struct Write {
    method: &'static str,
    path: String,
    body: Value,
    /// Why it lies outside.
    what: String,
}

/// Rights of actions without which the envelope takes no such write at all, whatever is in it.
const SETTINGS: [&str; 5] = [
    "actions.scaleUp=true",
    "actions.scaleDown=true",
    "actions.retryJob=true",
    "actions.rollBack=true",
    "admission.jobServiceAccounts={billing}",
];

/// Every one of at least 200 writes outside of the envelope is refused by it, and those inside are taken.
pub async fn rogue_client(stage: &Stage) {
    stage.ready().await;
    stage.helm_upgrade(RELEASE, NAMESPACE, &SETTINGS).await;
    let account = format!("{NAMESPACE}:{RELEASE}");
    stage
        .kubectl(&[
            "create",
            "clusterrolebinding",
            BINDING,
            "--clusterrole=cluster-admin",
            "--serviceaccount",
            &account,
        ])
        .await;
    let rogue = client(stage).await;
    let jobs: Api<Job> = Api::namespaced(stage.client.clone(), application::NAMESPACE);
    jobs.create(&PostParams::default(), &serde_json::from_value(suspended_job()).unwrap()).await.unwrap();
    let answers = attack(stage, &rogue).await;
    let inside = harmless(stage, &rogue).await;
    jobs.delete(JOB, &DeleteParams::background()).await.unwrap();
    stage.kubectl(&["delete", "clusterrolebinding", BINDING]).await;
    let (count, wrong) = answers;
    assert!(
        wrong.is_empty(),
        "{} of {count} were not refused by the envelope:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(inside.is_ok(), "a write inside of the envelope was refused: {inside:?}");
}

/// A client that holds nothing but the token of Homeostat's service account.
async fn client(stage: &Stage) -> Client {
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), NAMESPACE);
    let request = serde_json::from_value(json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": { "audiences": [], "expirationSeconds": 600 },
    }));
    let answer =
        accounts.create_token_request(RELEASE, &PostParams::default(), &request.unwrap()).await.unwrap();
    let file = Kubeconfig::read_from(stage.cluster().kubeconfig_path()).unwrap();
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info = kube::config::AuthInfo::default();
    config.auth_info.token = Some(answer.status.unwrap().token.unwrap().into());
    Client::try_from(config).unwrap()
}

/// The body of a deletion; one that has a body does not look at the query.
fn delete() -> Value {
    json!({ "apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"] })
}

/// Sends every write; gives back how many, and those that were not refused as they should.
async fn attack(stage: &Stage, rogue: &Client) -> (usize, Vec<String>) {
    let writes = writes(stage).await;
    let count = writes.len().max(WRITES);
    let mut wrong = Vec::new();
    for write in writes.iter().cycle().take(count) {
        let answer = send(rogue, write).await;
        let text = answer.map_or_else(|error| error, |()| "taken".to_owned());
        if !text.contains("envelope") {
            wrong.push(format!("{} {} ({}): {text}", write.method, write.path, write.what));
        }
    }
    (count, wrong)
}

async fn send(rogue: &Client, write: &Write) -> Result<(), String> {
    let content = match write.method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    // Nothing is changed even where the envelope fails.
    let uri = format!("{}?dryRun=All", write.path);
    let request = http::Request::builder().method(write.method).uri(uri).header("content-type", content);
    let request = request.body(write.body.to_string().into_bytes()).unwrap();
    rogue.request::<Value>(request).await.map(drop).map_err(|error| error.to_string())
}

/// A Job that was made suspended.
fn suspended_job() -> Value {
    let containers = json!([{ "name": "app", "image": "registry.example/none:1" }]);
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": JOB },
        "spec": { "suspend": true, "parallelism": 1,
            "template": { "spec": { "restartPolicy": "Never", "containers": containers } } } })
}

/// A Job that says that it repeats the one that waits, with these fields of its pod.
fn repeat(fields: &Value) -> Value {
    let mut job = suspended_job();
    job["metadata"] = json!({ "name": "rogue-repeat", "annotations": {
        "homeostat.dev/created-by": "rogue", "homeostat.dev/retry-of": JOB } });
    for (name, value) in fields.as_object().into_iter().flatten() {
        job["spec"]["template"]["spec"][name] = value.clone();
    }
    job
}

/// A roll back of this Deployment by its mark, with these fields of its pod.
fn roll_back(fields: &Value) -> Value {
    json!({ "metadata": { "annotations": { "homeostat.dev/rolled-back-by": "rogue" } },
        "spec": { "template": { "spec": fields } } })
}

/// Roll backs that reach further than what runs, each with why. Lists are whole, as a merge replaces them.
fn reaching_roll_backs(deployment: &Deployment) -> Vec<(Value, &'static str)> {
    let object = serde_json::to_value(deployment).unwrap();
    let pod = &object["spec"]["template"]["spec"];
    let mut volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    volumes.push(json!({ "name": "host-files", "hostPath": { "path": "/" } }));
    let mut containers = pod["containers"].clone();
    containers[0]["securityContext"] = json!({ "privileged": true });
    vec![
        (roll_back(&json!({ "serviceAccountName": "admin" })), "a roll back to another account"),
        (roll_back(&json!({ "hostPID": true })), "a roll back among the host's processes"),
        (roll_back(&json!({ "volumes": volumes })), "a roll back to the host's files"),
        (roll_back(&json!({ "containers": containers })), "a privileged roll back"),
    ]
}

/// Writes outside of the envelope: every workload, pod and namespace that there is, in every way that is not ours.
async fn writes(stage: &Stage) -> Vec<Write> {
    let shop = application::NAMESPACE;
    let mut writes = Vec::new();
    let mut add = |method, path: String, body: Value, what: &str| {
        writes.push(Write { method, path, body, what: what.to_owned() });
    };
    let deployments: Api<Deployment> = Api::namespaced(stage.client.clone(), shop);
    for deployment in deployments.list(&ListParams::default()).await.unwrap() {
        let path = format!("/apis/apps/v1/namespaces/{shop}/deployments/{}", deployment.name_any());
        let object = serde_json::to_value(&deployment).unwrap();
        let container = &object["spec"]["template"]["spec"]["containers"][0]["name"];
        let image = json!({ "containers": [{ "name": container, "image": "evil.example/miner" }] });
        let template = |spec: Value| json!({ "spec": { "template": { "spec": spec } } });
        add("PATCH", path.clone(), template(image), "another image");
        add("PATCH", path.clone(), template(json!({ "hostPID": true })), "the host's processes");
        add("PATCH", path.clone(), template(json!({ "serviceAccountName": "admin" })), "another account");
        add("PATCH", path.clone(), json!({ "spec": { "replicas": 0 } }), "replicas without scale");
        add("PATCH", path.clone(), json!({ "spec": { "paused": true } }), "a paused rollout");
        add("PATCH", path.clone(), json!({ "metadata": { "labels": { "app": "x" } } }), "a label of others");
        let foreign = json!({ "metadata": { "annotations": { "other.example/x": "y" } } });
        add("PATCH", path.clone(), foreign, "an annotation of others");
        add(
            "PATCH",
            path.clone(),
            json!({ "metadata": { "finalizers": ["evil.example/stay"] } }),
            "a finalizer",
        );
        add("PATCH", format!("{path}/scale"), json!({ "spec": { "replicas": 0 } }), "scaled to nothing");
        add("PATCH", format!("{path}/scale"), json!({ "spec": { "replicas": 50 } }), "scaled to fifty");
        for (body, what) in reaching_roll_backs(&deployment) {
            add("PATCH", path.clone(), body, what);
        }
        add("DELETE", path, delete(), "a deleted Deployment");
    }
    let run = format!("/apis/batch/v1/namespaces/{shop}/jobs/{JOB}");
    add("PATCH", run.clone(), json!({ "spec": { "parallelism": 50 } }), "fifty pods of a Job that waits");
    add("PATCH", run.clone(), json!({ "spec": { "backoffLimit": 50 } }), "fifty tries of a Job");
    add("DELETE", run, delete(), "a deleted Job");
    let runs = format!("/apis/batch/v1/namespaces/{shop}/jobs");
    let container =
        |name: &str, value: Value| json!([{ "name": "app", "image": "evil.example/miner", name: value }]);
    let privileged = container("securityContext", json!({ "privileged": true }));
    let files = json!([{ "name": "host", "hostPath": { "path": "/" } }]);
    let large = container("resources", json!({ "requests": { "cpu": "33" } }));
    for (fields, what) in [
        (json!({ "hostNetwork": true }), "a new Job in the host's network"),
        (json!({ "hostPID": true }), "a new Job among the host's processes"),
        (json!({ "hostIPC": true }), "a new Job in the host's memory"),
        (json!({ "volumes": files }), "a new Job with the host's files"),
        (json!({ "containers": privileged }), "a new privileged Job"),
        (json!({ "containers": large }), "a new Job for more than a node"),
        (json!({ "serviceAccountName": "admin" }), "a new Job as another account"),
    ] {
        add("POST", runs.clone(), repeat(&fields), what);
    }
    let mut unmarked = repeat(&json!({}));
    unmarked["metadata"] = json!({ "name": "rogue-repeat" });
    add("POST", runs, unmarked, "a new Job that repeats none");
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), shop);
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let path = format!("/api/v1/namespaces/{shop}/pods/{}", pod.name_any());
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": pod.name_any(), "namespace": shop } });
        add("POST", format!("{path}/eviction"), eviction, "an eviction without UID");
        add("DELETE", path.clone(), delete(), "a deleted pod");
        add("PATCH", path, json!({ "metadata": { "labels": { "app": "x" } } }), "a pod of nobody");
    }
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    for namespace in namespaces.list(&ListParams::default()).await.unwrap() {
        let name = namespace.name_any();
        let core = format!("/api/v1/namespaces/{name}");
        let object =
            |kind: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "rogue" } });
        add("POST", format!("{core}/secrets"), object("Secret"), "a Secret");
        add("POST", format!("{core}/configmaps"), object("ConfigMap"), "a ConfigMap");
        add("POST", format!("{core}/serviceaccounts"), object("ServiceAccount"), "an account");
        let mut service = object("Service");
        service["spec"] = json!({ "ports": [{ "port": 80 }] });
        add("POST", format!("{core}/services"), service, "a Service");
        add("PATCH", core, json!({ "metadata": { "labels": { "x": "y" } } }), "a label on a namespace");
        let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "rogue" } });
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{name}/leases");
        add("POST", leases, lease, "a Lease of another name");
        let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "rogue" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin" } });
        let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings");
        add("POST", bindings, binding, "more rights");
    }
    for kind in ["tenants/food", "controlplanes/default"] {
        let path = format!("/apis/homeostat.dev/v1alpha1/{kind}");
        add("PATCH", path.clone(), json!({ "metadata": { "labels": { "x": "y" } } }), "what people write");
        add("DELETE", path, delete(), "what people made");
    }
    let own = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}");
    add("PATCH", own, json!({ "spec": { "replicas": 0 } }), "Homeostat itself");
    writes
}

/// A restart, a roll back and repeats of a Job as Homeostat does them, tried only.
async fn harmless(stage: &Stage, rogue: &Client) -> Result<(), String> {
    let shop = application::NAMESPACE;
    let deployments: Api<Deployment> = Api::namespaced(stage.client.clone(), shop);
    let deployment = deployments.list(&ListParams::default()).await.unwrap().items.remove(0);
    let restart = json!({ "spec": { "template": { "metadata": {
        "annotations": { "homeostat.dev/restarted-by": "rogue" } } } } });
    let object = serde_json::to_value(&deployment).unwrap();
    let mut containers = object["spec"]["template"]["spec"]["containers"].clone();
    containers[0]["image"] = json!("registry.example/older:1");
    let older = roll_back(&json!({ "containers": containers }));
    let path = format!("/apis/apps/v1/namespaces/{shop}/deployments/{}", deployment.name_any());
    for (body, what) in [(restart, "a restart"), (older, "a roll back")] {
        let write = Write { method: "PATCH", path: path.clone(), body, what: what.to_owned() };
        send(rogue, &write).await?;
    }
    for (fields, what) in [
        (json!({}), "a repeat of a Job"),
        (json!({ "serviceAccountName": "default" }), "a repeat as the account of every pod"),
        (json!({ "serviceAccountName": "billing" }), "a repeat as an account that people named"),
    ] {
        let path = format!("/apis/batch/v1/namespaces/{shop}/jobs");
        send(rogue, &Write { method: "POST", path, body: repeat(&fields), what: what.to_owned() }).await?;
    }
    Ok(())
}
