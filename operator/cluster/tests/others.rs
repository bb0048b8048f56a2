//! What else orders, scales and measures, asked of a scripted API server: queues of Kueue, `ScaledObject`s of KEDA, metrics
//! of adapters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::{ClusterError, external, kueue, scalers};
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{ObjectChange, Observation, Signal};
use homeostat_knowledge::policy::ExternalPolicy;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{ControllerKind, Name, ObjectKey};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use support::{Server, Still, Trouble, status};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const KUEUE: &str = "/apis/kueue.x-k8s.io";

/// A server that serves these versions of Kueue, the first preferred, and one queue.
fn server(versions: &[&str]) -> Server {
    let server = Server::new();
    let version =
        |version: &&str| json!({ "groupVersion": format!("kueue.x-k8s.io/{version}"), "version": version });
    let versions: Vec<Value> = versions.iter().map(version).collect();
    let group = json!({ "kind": "APIGroup", "apiVersion": "v1", "name": "kueue.x-k8s.io",
        "versions": versions, "preferredVersion": versions[0] });
    server.trouble(Method::GET, KUEUE, 1, Trouble::Answer(200, group));
    server.put("localqueues", json!({ "metadata": { "name": "night", "namespace": "water" } }));
    server
}

fn asked(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| seen.path.clone()).collect()
}

#[tokio::test]
async fn queues_are_asked_for_in_the_version_that_is_served() {
    for version in ["v1beta1", "v1beta2", "v1"] {
        let server = server(&[version]);
        let queues = kueue::queues(&server.client()).await.unwrap().unwrap();
        assert_eq!(queues[&Name::from("water")], [Name::from("night")], "{version}");
        assert_eq!(asked(&server), [KUEUE.to_owned(), format!("{KUEUE}/{version}/localqueues")]);
    }
}

#[tokio::test]
async fn a_version_without_queues_is_passed_over() {
    let server = server(&["v1beta2", "v1beta1"]);
    server.trouble(Method::GET, "v1beta2/localqueues", 1, status(404, "NotFound", "no such resource"));
    assert!(kueue::queues(&server.client()).await.unwrap().is_some());
    assert_eq!(asked(&server).last().unwrap(), &format!("{KUEUE}/v1beta1/localqueues"));
}

#[tokio::test]
async fn where_kueue_is_not_served_there_are_no_queues_and_what_fails_is_no_answer() {
    let absent = Server::new();
    absent.trouble(Method::GET, KUEUE, 1, status(404, "NotFound", "no such group"));
    assert_eq!(kueue::queues(&absent.client()).await.unwrap(), None);
    let forbidden = server(&["v1beta2"]);
    forbidden.trouble(Method::GET, "localqueues", 1, status(403, "Forbidden", "not allowed"));
    assert!(kueue::queues(&forbidden.client()).await.is_err());
}

#[tokio::test]
async fn that_there_is_no_kueue_is_told_too() {
    let server = Server::new();
    server.trouble(Method::GET, KUEUE, 1, status(404, "NotFound", "no such group"));
    let (told, mut heard) = mpsc::channel::<Observation>(1);
    let stop = CancellationToken::new();
    let run = tokio::spawn(kueue::run(server.client(), Arc::new(Still), told, stop.clone()));
    let first = heard.recv().await.unwrap();
    assert!(matches!(first.signal, Signal::Object(ObjectChange::Kueue(None))), "{first:?}");
    stop.cancel();
    run.await.unwrap();
}

#[tokio::test]
async fn what_keda_will_scale_has_its_owner_without_an_autoscaler_too() {
    let server = Server::new();
    let object = |name: &str, annotations: Value, target: Value| {
        json!({ "metadata": { "name": name, "namespace": "shop", "annotations": annotations },
                "spec": { "scaleTargetRef": target, "triggers": [] } })
    };
    server.put("scaledobjects", object("new", json!({}), json!({ "name": "web" })));
    let paused = json!({ "autoscaling.keda.sh/paused": "true" });
    let target = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "queue" });
    server.put("scaledobjects", object("paused", paused, target));
    let found = scalers::events(&server.client(), &BTreeSet::new()).await.unwrap();
    let of = |kind, name: &str| {
        let key = ControllerKey { kind, object: ObjectKey::new("shop", name) };
        found.iter().find(|(target, _)| *target == key).map(|(_, scaler)| scaler.clone())
    };
    let keda = |name: &str| Some(Scaler::Keda { name: Name::from(name) });
    assert_eq!(of(ControllerKind::Deployment, "web"), keda("new"));
    assert_eq!(of(ControllerKind::StatefulSet, "queue"), keda("paused"));
    assert_eq!(asked(&server), ["/apis/keda.sh/v1alpha1/scaledobjects"]);
}

#[tokio::test]
async fn without_keda_nothing_is_its() {
    let server = Server::new();
    server.trouble(Method::GET, "scaledobjects", 1, status(404, "NotFound", "no such resource"));
    let namespaces = BTreeSet::from(["shop".to_owned(), "water".to_owned()]);
    assert_eq!(scalers::events(&server.client(), &namespaces).await.unwrap(), []);
    let forbidden = Server::new();
    forbidden.trouble(Method::GET, "scaledobjects", 1, status(403, "Forbidden", "not allowed"));
    assert!(scalers::events(&forbidden.client(), &namespaces).await.is_err());
}

#[tokio::test]
async fn an_external_metric_is_read_in_the_namespace_and_a_refusal_is_no_zero() {
    let jobs = ExternalPolicy { name: "s0-rabbitmq-jobs".into(), selector: "queue=jobs".into() };
    let server = Server::new();
    let list = json!({ "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {}, "items": [
            { "metricName": "s0-rabbitmq-jobs", "metricLabels": { "queue": "jobs" },
              "timestamp": "2026-11-22T09:00:00Z", "value": "42" } ] });
    server.trouble(Method::GET, "/s0-rabbitmq-jobs", 1, Trouble::Answer(200, list));
    let found = external::read(&server.client(), "water", &jobs).await.unwrap();
    assert_eq!((&*found[0].series, found[0].value), ("queue=jobs", Some(42.0)));
    let seen = server.seen();
    assert_eq!(seen[0].path, "/apis/external.metrics.k8s.io/v1beta1/namespaces/water/s0-rabbitmq-jobs");
    assert_eq!(seen[0].query["labelSelector"], "queue%3Djobs");

    server.trouble(Method::GET, "/s0-rabbitmq-jobs", 1, status(403, "Forbidden", "not granted"));
    let denied = external::read(&server.client(), "water", &jobs).await;
    assert!(matches!(denied, Err(ClusterError::Denied { .. })), "{denied:?}");
    server.trouble(Method::GET, "/s0-rabbitmq-jobs", 1, status(404, "NotFound", "no such metric"));
    let absent = external::read(&server.client(), "water", &jobs).await;
    assert!(matches!(absent, Err(ClusterError::NotFound { .. })), "{absent:?}");
}
