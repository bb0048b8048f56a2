//! A CronJob of which runs are made because work waits, though its schedule asks for none.

use homeostat_crds::ActionKind;
use homeostat_crds::v1alpha1::{ControlPlane, Workload};
use homeostat_e2e::cluster::control::Request;
use homeostat_e2e::demo::install::NAMESPACE;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::seen::{assert_all_guards_passed, newest};
use crate::stage::{RELEASE, SOON, Stage, until};

/// Its own namespace and tenant.
const QUEUE: &str = "extra-queue";
/// The CronJob and its Workload.
const NAME: &str = "drain";
/// The queue is played: as long as its query says.
const CONFIG: &str = "scrape_configs: [{job_name: self, scrape_interval: 1s, \
                      static_configs: [{targets: ['10.244.0.1:9090']}]}]";

/// With too little to do no run is made. With enough one is, suspended and owned by the CronJob; then it has its turn like
/// any other and ends well. While the CronJob is suspended none is made, however much waits.
pub async fn runs_are_made(stage: &Stage) {
    stage.installed().await;
    stage.helm_upgrade(RELEASE, NAMESPACE, &["actions.createJob=true", "actions.startJob=true"]).await;
    stage.warm().await;
    let image = stage.load("water-dss").await;
    let prometheus = stage.cluster().prometheus_up(CONFIG).unwrap();
    let plane: Api<ControlPlane> = Api::all(stage.client.clone());
    let url = format!("http://{}", prometheus.inside);
    let sources = json!({ "prometheus": { "url": url, "intervalSeconds": 1, "timeoutSeconds": 1 } });
    stage.patch(&plane, "default", &json!({ "spec": { "sources": sources } })).await;
    stage.platform.apply(&manifests(&image)).await.unwrap();
    let workloads: Api<Workload> = Api::namespaced(stage.client.clone(), QUEUE);
    told(&workloads, "fewer than 20 items wait").await;
    assert_eq!(jobs(stage).await.len(), 0, "its schedule asks for no run");

    stage.patch(&workloads, NAME, &waiting(30)).await;
    let made = newest(stage, QUEUE, ActionKind::CreateJob).await;
    assert_eq!((&made.spec.incident_ref, &made.spec.forecast_ref), (&None, &None), "nothing was wrong");
    assert_all_guards_passed(&made);
    let job = until("a run that ended well", SOON, async || {
        jobs(stage).await.into_iter().find(|job| {
            job.status.as_ref().is_some_and(|status| status.succeeded.is_some_and(|pods| pods > 0))
        })
    })
    .await;
    stage.live.say(format!("made      {} and let go", job.name_any()));
    assert!(job.name_any().starts_with("drain-backlog-"), "{}", job.name_any());
    let owner = job.owner_references().iter().find(|owner| owner.controller == Some(true));
    assert!(owner.is_some_and(|owner| (owner.kind.as_str(), owner.name.as_str()) == ("CronJob", NAME)));
    assert_eq!(job.annotations().get("homeostat.dev/created-by"), Some(&made.name_any()));
    assert_all_guards_passed(&newest(stage, QUEUE, ActionKind::StartJob).await);

    stage.kubectl(&["-n", QUEUE, "patch", "cronjob", NAME, "-p", r#"{"spec":{"suspend":true}}"#]).await;
    told(&workloads, "while the CronJob is suspended").await;
    let before = jobs(stage).await.len();
    // Longer than from the end of a run to the next.
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    assert_eq!(jobs(stage).await.len(), before, "a run was made of a suspended CronJob");

    stage.patch(&plane, "default", &json!({ "spec": { "sources": { "prometheus": null } } })).await;
    stage.kubectl(&["delete", "namespace", QUEUE, "--wait=false"]).await;
    stage.kubectl(&["delete", "tenants.homeostat.dev", QUEUE, "--wait=false"]).await;
    stage.cluster().control().ask(&Request::Stop("prometheus".into())).unwrap();
    stage.helm_upgrade(RELEASE, NAMESPACE, &[]).await;
}

/// So many items wait.
fn waiting(items: u32) -> Value {
    json!({ "spec": { "scaling": { "backlog": { "promql": format!("vector({items})") } } } })
}

fn manifests(image: &str) -> String {
    let container = json!({
        "name": "run", "image": image, "args": ["--help"],
        "resources": {
            "requests": { "cpu": "50m", "memory": "32Mi" }, "limits": { "cpu": "500m", "memory": "32Mi" },
        },
    });
    let pod = json!({ "restartPolicy": "Never", "containers": [container] });
    let api = "homeostat.dev/v1alpha1";
    let objects = [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": QUEUE } }),
        json!({
            "apiVersion": api, "kind": "Tenant", "metadata": { "name": QUEUE },
            "spec": {
                "namespaces": [QUEUE],
                "automation": [{ "actions": ["CreateJob", "StartJob"], "level": "ActBounded" }],
            },
        }),
        json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": NAME, "namespace": QUEUE },
            "spec": {
                "schedule": "0 0 1 1 *",
                "jobTemplate": { "spec": { "suspend": true, "backoffLimit": 0, "template": { "spec": pod } } },
            },
        }),
        json!({
            "apiVersion": api, "kind": "Workload", "metadata": { "name": NAME, "namespace": QUEUE },
            "spec": {
                "targetRef": { "apiVersion": "batch/v1", "kind": "CronJob", "name": NAME },
                "archetype": "Batch",
                "scaling": {
                    "mode": "Auto", "deadlineSeconds": 600, "parallelism": { "min": 1, "max": 2 },
                    "backlog": { "promql": "vector(3)", "secondsPerItem": "1", "runFrom": 20 },
                },
            },
        }),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}

async fn jobs(stage: &Stage) -> Vec<Job> {
    let api: Api<Job> = Api::namespaced(stage.client.clone(), QUEUE);
    api.list(&ListParams::default()).await.unwrap().items
}

/// Waits until condition `RunsInTime` says so.
async fn told(workloads: &Api<Workload>, words: &str) {
    until(&format!("`{words}` in RunsInTime"), SOON, async || {
        let status = workloads.get(NAME).await.ok()?.status?;
        status.conditions.into_iter().any(|condition| condition.message.contains(words)).then_some(())
    })
    .await;
}
