//! A service whose size follows its load, and keeps it when Homeostat is gone.

use homeostat_crds::ActionKind;
use homeostat_crds::v1alpha1::ControlPlane;
use homeostat_e2e::cluster::control::Request;
use homeostat_e2e::demo::install::NAMESPACE;
use homeostat_e2e::scale::targets::{self, Targets};
use homeostat_e2e::scale::{self, manifests};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;

use crate::seen::{assert_all_guards_passed, newest};
use crate::stage::{RELEASE, SOON, Stage, until};

/// The service's own namespace and tenant.
const PLANS: &str = scale::NAMESPACES[1];
/// Requests per second that one replica is declared to carry, less than it can.
const EACH: f64 = 8.0;
/// Requests per second while there is load: two and a half replicas' worth.
const BUSY: f64 = 20.0;

/// Under load it gets replicas by an Action without an incident, through all guards; when the load is over they are taken
/// away again, one step after the other. Without Homeostat they stay as they are.
pub async fn follows_its_load(stage: &Stage) {
    stage.ready().await;
    stage.helm_upgrade(RELEASE, NAMESPACE, &["actions.scaleUp=true", "actions.scaleDown=true"]).await;
    stage.warm().await;
    let image = stage.load("water-dss").await;
    let path = targets::path(stage.cluster());
    let prometheus = stage.cluster().prometheus_up(&targets::prometheus(&path)).unwrap();
    let _targets = Targets::follow(stage.client.clone(), path, manifests::NAME);
    let plane: Api<ControlPlane> = Api::all(stage.client.clone());
    let url = format!("http://{}", prometheus.inside);
    let sources = json!({ "prometheus": { "url": url, "intervalSeconds": 2, "timeoutSeconds": 2 } });
    stage.patch(&plane, "default", &json!({ "spec": { "sources": sources } })).await;
    stage.platform.apply(&manifests::service(PLANS, &image)).await.unwrap();
    stage.platform.apply(&manifests::homeostat(PLANS, EACH)).await.unwrap();
    replicas(stage, "a ready replica", |size| size.ready == 1).await;
    let target = scale::target(&stage.client, PLANS).await.unwrap();
    let program = env!("CARGO_BIN_EXE_e2e");

    let rates = format!("{BUSY},").repeat(600);
    let rates = ["--rates".to_owned(), rates.trim_end_matches(',').to_owned()];
    let mut load = scale::callers(stage.cluster(), program.as_ref(), &target, 1, &rates).unwrap();
    stage.live.say(format!("load      {BUSY} requests/s, one replica is to carry {EACH}"));
    let up = replicas(stage, "replicas for the load", |size| size.ready >= 3).await.wanted;
    let grown = newest(stage, PLANS, ActionKind::ScaleUp).await;
    assert_eq!(grown.spec.incident_ref, None, "nothing was wrong");
    assert!(grown.spec.forecast_ref.is_some());
    assert_all_guards_passed(&grown);

    load.kill().await.unwrap();
    stage.live.say("load      over");
    let down = replicas(stage, "fewer replicas", |size| size.wanted < up).await.wanted;
    assert!(down >= 1, "nobody may be asked when there is no replica");
    assert_all_guards_passed(&newest(stage, PLANS, ActionKind::ScaleDown).await);

    let own: Api<Deployment> = Api::namespaced(stage.client.clone(), NAMESPACE);
    stage.patch(&own, RELEASE, &json!({ "spec": { "replicas": 0 } })).await;
    until("the end of Homeostat", SOON, async || stage.homeostat().await.is_none().then_some(())).await;
    stage.live.say("stopped   Homeostat");
    let kept = scale::size(&stage.client, PLANS).await.unwrap();
    // Longer than a decision takes.
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    let later = scale::size(&stage.client, PLANS).await.unwrap();
    assert_eq!((later.wanted, later.ready), (kept.wanted, kept.wanted), "its size was changed with it");

    stage.patch(&plane, "default", &json!({ "spec": { "sources": { "prometheus": null } } })).await;
    stage.kubectl(&["delete", "namespace", PLANS, "--wait=false"]).await;
    stage.kubectl(&["delete", "tenants.homeostat.dev", PLANS, "--wait=false"]).await;
    stage.cluster().control().ask(&Request::Stop("prometheus".into())).unwrap();
    stage.helm_upgrade(RELEASE, NAMESPACE, &[]).await;
}

/// Waits until the service has a size like this.
async fn replicas(stage: &Stage, what: &str, like: impl Fn(&scale::seen::Size) -> bool) -> scale::seen::Size {
    until(what, SOON * 2, async || scale::size(&stage.client, PLANS).await.ok().filter(&like)).await
}
