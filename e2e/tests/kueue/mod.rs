//! Beside Kueue: what it queues is left to it, what it does not is ordered. Its own definitions are installed, as it was
//! released, and what it would do is done by the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use homeostat_crds::v1alpha1::{Action, Workload};
use homeostat_e2e::cluster::{Cluster, Options};
use homeostat_e2e::progress::Progress;
use homeostat_e2e::toolchain::{self, Piece};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::{LIMIT, object};

const NAMESPACE: &str = "night";
/// The version that Kueue's definitions store.
const KUEUE: &str = "kueue.x-k8s.io/v1beta2";

/// The installed program; ends with the test.
struct Homeostat(Child);

impl Drop for Homeostat {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_e2e")).with_file_name("homeostat");
    assert!(beside.is_file(), "{} is missing: build the whole workspace", beside.display());
    beside
}

async fn create(client: &Client, namespace: Option<&str>, value: &Value) {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")));
    let api: Api<DynamicObject> = match namespace {
        None => Api::all_with(client.clone(), &resource),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let end = Instant::now() + LIMIT;
    loop {
        match api.create(&PostParams::default(), &object(value)).await {
            Ok(_) => return,
            // A definition is served a moment after it was created.
            Err(kube::Error::Api(status)) if status.code == 404 && Instant::now() < end => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => panic!("create {} {}: {error}", text("kind"), value["metadata"]["name"]),
        }
    }
}

/// The pod of every run.
fn pod() -> Value {
    let resources = json!({ "requests": { "cpu": "50m", "memory": "32Mi" }, "limits": { "memory": "32Mi" } });
    let container = json!({ "name": "main", "image": "homeostat.dev/pause:v1", "imagePullPolicy": "Never",
        "resources": resources });
    json!({ "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container] })
}

/// A Job that waits, in a queue or in none, and its Workload.
async fn run(client: &Client, name: &str, queue: Option<&str>) {
    let labels = queue.map_or_else(|| json!({}), |queue| json!({ "kueue.x-k8s.io/queue-name": queue }));
    let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name, "labels": labels },
        "spec": { "suspend": true, "backoffLimit": 0, "template": { "spec": pod() } } });
    create(client, Some(NAMESPACE), &job).await;
    let target = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": name });
    let workload = json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload", "metadata": { "name": name },
        "spec": { "targetRef": target, "archetype": "Batch",
            "scaling": { "mode": "Auto", "deadlineSeconds": 3600 } } });
    create(client, Some(NAMESPACE), &workload).await;
}

/// Kueue's definitions, one of each kind. Where one asks for a conversion by Kueue's webhook that is left out, and said: nobody
/// would answer it here, and all that the test writes is of the version that is stored.
fn definitions(folder: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        all.extend(serde_saphyr::from_multiple::<Value>(&text).unwrap());
    }
    for definition in &mut all {
        let spec = definition["spec"].as_object_mut().unwrap();
        if spec.remove("conversion").is_some() {
            eprintln!("{}: its conversion webhook is left out", definition["metadata"]["name"]);
        }
    }
    let kinds: Vec<&str> = all.iter().filter_map(|one| one["spec"]["names"]["kind"].as_str()).collect();
    for kind in ["ClusterQueue", "LocalQueue", "ResourceFlavor", "Workload"] {
        assert!(kinds.contains(&kind), "{} has no definition of {kind}: {kinds:?}", folder.display());
    }
    all
}

/// Everything that is there before Homeostat starts.
async fn prepare(client: &Client, kueue: &Path) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in homeostat_crds::all() {
        definitions.create(&PostParams::default(), &definition).await.unwrap();
    }
    for definition in self::definitions(kueue) {
        create(client, None, &definition).await;
    }
    for namespace in [NAMESPACE, "homeostat-system"] {
        create(
            client,
            None,
            &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }),
        )
        .await;
    }
    let kueue = |kind: &str, name: &str, spec: Value| json!({ "apiVersion": KUEUE, "kind": kind, "metadata": { "name": name }, "spec": spec });
    create(client, None, &kueue("ResourceFlavor", "any", json!({}))).await;
    let quota = json!([{ "name": "cpu", "nominalQuota": "1" }, { "name": "memory", "nominalQuota": "1Gi" }]);
    let group =
        json!({ "coveredResources": ["cpu", "memory"], "flavors": [{ "name": "any", "resources": quota }] });
    let queue = json!({ "namespaceSelector": {}, "resourceGroups": [group] });
    create(client, None, &kueue("ClusterQueue", "all", queue)).await;
    // The only queue: Kueue starts no Job that does not name it.
    let local = kueue("LocalQueue", "early", json!({ "clusterQueue": "all" }));
    create(client, Some(NAMESPACE), &local).await;
    let own = |kind: &str, name: &str, spec: Value| json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    let control = json!({ "killSwitch": { "engaged": false }, "warmUpSeconds": 0,
        "ceilings": { "level": "ActFull" } });
    create(client, None, &own("ControlPlane", "default", control)).await;
    let automation = json!([{ "actions": ["StartJob"], "level": "ActBounded" }]);
    let tenant = json!({ "namespaces": [NAMESPACE], "automation": automation });
    create(client, None, &own("Tenant", "night", tenant)).await;
    run(client, "queued", Some("early")).await;
    run(client, "free", None).await;
}

/// What Kueue writes of a Job that it lets go.
async fn admit(client: &Client, job: &str) {
    let name = format!("job-{job}");
    let set = json!({ "name": "main", "count": 1, "template": { "spec": pod() } });
    let workload = json!({ "apiVersion": KUEUE, "kind": "Workload", "metadata": { "name": name },
        "spec": { "queueName": "early", "podSets": [set] } });
    create(client, Some(NAMESPACE), &workload).await;
    let given = json!({ "name": "main", "count": 1, "flavors": { "cpu": "any", "memory": "any" },
        "resourceUsage": { "cpu": "50m", "memory": "32Mi" } });
    let conditions = ["QuotaReserved", "Admitted"].map(|kind| {
        json!({ "type": kind, "status": "True", "reason": "Scripted", "message": "",
            "lastTransitionTime": "2026-11-22T00:00:00Z" })
    });
    let admission = json!({ "clusterQueue": "all", "podSetAssignments": [given] });
    let status = json!({ "status": { "admission": admission, "conditions": conditions } });
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kueue.x-k8s.io", "v1beta2", "Workload"));
    let workloads: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    workloads.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

fn started_by(job: &Job) -> Option<&String> {
    job.annotations().get("homeostat.dev/started-by")
}

fn suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

/// What the Workload says of its runs.
async fn said(client: &Client, name: &str) -> String {
    let workload: Workload = Api::namespaced(client.clone(), NAMESPACE).get(name).await.unwrap();
    let conditions = workload.status.map(|status| status.conditions).unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == "RunsInTime")
        .map_or_else(String::new, |condition| condition.message.clone())
}

async fn until(what: &str, client: &Client, name: &str, wanted: impl Fn(&str) -> bool) {
    let end = Instant::now() + LIMIT;
    loop {
        let text = said(client, name).await;
        if wanted(&text) {
            return;
        }
        assert!(Instant::now() < end, "{what} did not come; the Workload says {text:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

pub async fn leaves_queued_jobs_and_orders_the_others(name: &str) {
    let kueue = tokio::task::block_in_place(|| toolchain::ensure(Piece::Kueue, &Progress::default()));
    let kueue = kueue.unwrap_or_else(|error| panic!("{error}"));
    Cluster::remove(name).unwrap();
    let cluster = Cluster::up(name, &Options::default()).await.unwrap();
    let _kept = cluster.keep_on_panic();
    let client = cluster.client().await.unwrap();
    prepare(&client, &kueue).await;
    let log = std::fs::File::create(cluster.layout().data().join("homeostat.log")).unwrap();
    let child = Command::new(program())
        .args(["run", "--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"])
        .env("KUBECONFIG", cluster.kubeconfig_path())
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let homeostat = Homeostat(child);

    // Without a queue it is let go, by an action of the schedule, although its namespace has a single one.
    let jobs: Api<Job> = Api::namespaced(client.clone(), NAMESPACE);
    until("the start of the free run", &client, "free", |text| text.contains("1 run")).await;
    let free = jobs.get("free").await.unwrap();
    assert!(!suspended(&free));
    let by = started_by(&free).unwrap().clone();
    let actions: Api<Action> = Api::namespaced(client.clone(), NAMESPACE);
    let action = actions.get(&by).await.unwrap();
    assert_eq!(action.spec.origin, homeostat_crds::v1alpha1::action::Origin::Schedule);
    assert_eq!((action.spec.incident_ref, action.spec.forecast_ref), (None, None));
    assert_eq!((action.spec.workload_ref.name.as_str(), action.spec.target.name.as_str()), ("free", "free"));

    // In a queue it waits for Kueue, also when there is room.
    until("the queue", &client, "queued", |text| text.contains("left to queue early")).await;
    let queued = jobs.get("queued").await.unwrap();
    assert!(suspended(&queued) && started_by(&queued).is_none());

    // Kueue admits it: a Workload of its own, and the Job goes on. Homeostat takes that as it is.
    admit(&client, "queued").await;
    let go_on = Patch::Merge(json!({ "spec": { "suspend": false } }));
    jobs.patch("queued", &PatchParams::apply("kueue"), &go_on).await.unwrap();
    until("the run that Kueue began", &client, "queued", |text| text.contains("1 run")).await;
    assert!(started_by(&jobs.get("queued").await.unwrap()).is_none());
    for action in actions.list(&ListParams::default()).await.unwrap() {
        assert_eq!(
            action.spec.target.name,
            "free",
            "{}: what Kueue orders is nobody else's",
            action.name_any()
        );
    }
    drop(homeostat);
    cluster.down().unwrap();
}
