//! A workload names a signal in a real Prometheus, which goes away for a minute.

use std::time::Duration;

use homeostat_crds::ConditionType;
use homeostat_crds::v1alpha1::{ControlPlane, Workload};
use homeostat_e2e::cluster::control::Request;
use homeostat_e2e::demo::application::NAMESPACE;
use kube::Api;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::healing::healed;
use crate::seen::Since;
use crate::stage::Stage;

/// Only Prometheus itself is scraped: its own memory is a signal like any other.
const CONFIG: &str = "scrape_configs: [{job_name: self, scrape_interval: 1s, \
                      static_configs: [{targets: ['10.244.0.1:9090']}]}]";
const AWAY: Duration = Duration::from_mins(1);

/// While Prometheus is away its condition says so, nothing is concluded from what is missing, and a fault that other
/// sources show is healed as ever. It comes back by itself.
pub async fn prometheus_away(stage: &Stage) {
    stage.ready().await;
    let prometheus = stage.cluster().prometheus_up(CONFIG).unwrap();
    let plane: Api<ControlPlane> = Api::all(stage.client.clone());
    let workloads: Api<Workload> = Api::namespaced(stage.client.clone(), NAMESPACE);
    let url = format!("http://{}", prometheus.inside);
    let sources = json!({ "prometheus": { "url": url, "intervalSeconds": 1, "timeoutSeconds": 1 } });
    stage.patch(&plane, "default", &json!({ "spec": { "sources": sources } })).await;
    let signals = json!([{ "name": "memory", "unit": "Bytes", "promql": "process_resident_memory_bytes" }]);
    stage.patch(&workloads, "consumer", &json!({ "spec": { "signals": signals } })).await;
    stage.control_says(ConditionType::PrometheusAvailable, true).await;

    let since = Since::now(stage).await;
    let control = stage.cluster().control();
    control.ask(&Request::Stop("prometheus".into())).unwrap();
    let stopped = tokio::time::Instant::now();
    stage.live.say("stopped   Prometheus");
    stage.control_says(ConditionType::PrometheusAvailable, false).await;
    let pod = stage.signal("kitchen", Signal::SIGSTOP).await;
    healed(stage, &since, "kitchen", &pod).await;
    tokio::time::sleep_until(stopped + AWAY).await;
    control.ask(&Request::Resume("prometheus".into())).unwrap();
    stage.live.say("resumed   Prometheus");
    stage.control_says(ConditionType::PrometheusAvailable, true).await;
    assert_eq!(since.effects(stage).await.len(), 1, "something was done for want of data");

    control.ask(&Request::Stop("prometheus".into())).unwrap();
    stage.patch(&plane, "default", &json!({ "spec": { "sources": { "prometheus": null } } })).await;
    stage.patch(&workloads, "consumer", &json!({ "spec": { "signals": null } })).await;
}
