//! What each action sends, and what the API server's answers mean, against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::ApiActuator;
use homeostat_cluster::recorder::{Fact, publish};
use homeostat_cluster::release::{Which, release_held};
use homeostat_execute::actions::{retry_name, spec};
use homeostat_execute::ports::{Acknowledged, Actuator, EffectError, Field, Refusal};
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::policy::{Bounds, Permits, ScalingMode, ScalingPolicy, WhenOwned};
use homeostat_knowledge::records::{ControllerKey, Release};
use homeostat_knowledge::{
    ActionId, Clock, ControllerKind, Name, ObjectKey, Parameters, SignedDuration, Snapshot, Target,
    Timestamp, WorkloadPolicy,
};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use support::{Server, Still, status};

fn target(kind: &str, api_version: &str, namespace: &str, name: &str) -> Target {
    Target {
        api_version: Name::from(api_version),
        kind: Name::from(kind),
        key: ObjectKey::new(namespace, name),
        uid: Uid::new(format!("uid-of-{name}")),
        resource_version: Name::from("88"),
    }
}

fn deployment() -> Target {
    target("Deployment", "apps/v1", "shop", "order")
}

fn node() -> Target {
    target("Node", "v1", "", "node-5")
}

fn cron_job() -> Target {
    target("CronJob", "batch/v1", "shop", "report")
}

fn job() -> Target {
    target("Job", "batch/v1", "shop", "report-1")
}

fn autoscaler() -> Target {
    target("HorizontalPodAutoscaler", "autoscaling/v2", "shop", "web-hpa")
}

fn drive(min: u64, max: u64) -> Parameters {
    Parameters::DriveBounds { bounds: Bounds { min, max }, until: until() }
}

/// So much CPU and memory for the container of a pod, with these limits of CPU and memory.
fn resize(cpu: u64, memory: Option<u64>, [cpu_limit, memory_limit]: [Option<u64>; 2]) -> Parameters {
    Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: Some(cpu),
        cpu_limit_millis: cpu_limit,
        memory_bytes: memory,
        memory_limit_bytes: memory_limit,
    }
}

fn id() -> ActionId {
    ActionId::new("order-7f3k2-1")
}

fn until() -> Timestamp {
    Still.now().checked_add(SignedDuration::from_hours(1)).unwrap()
}

fn server() -> Server {
    let server = Server::new();
    server.put(
        "deployments",
        json!({ "metadata": { "name": "order", "namespace": "shop",
                "annotations": { "deployment.kubernetes.io/revision": "4", "theirs": "stays" } },
            "spec": { "replicas": 3, "template": {
                "metadata": { "labels": { "app": "order" }, "annotations": { "new": "goes" } },
                "spec": { "containers": [{ "name": "app", "image": "order:2" }, { "name": "side" }] } } } }),
    );
    server.put(
        "replicasets",
        json!({ "metadata": { "name": "order-old", "namespace": "shop", "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "Deployment", "name": "order", "uid": "uid-of-order" }] },
            "spec": { "selector": {}, "template": {
                "metadata": { "labels": { "app": "order", "pod-template-hash": "old" } },
                "spec": { "containers": [{ "name": "app", "image": "order:1" }] } } } }),
    );
    server.put("nodes", json!({ "metadata": { "name": "node-5" }, "spec": {}, "status": {} }));
    server.put("horizontalpodautoscalers", hpa(&json!({ "theirs": "stays" }), 2, 10));
    server.put(
        "cronjobs",
        json!({ "metadata": { "name": "report", "namespace": "shop" }, "spec": { "suspend": false } }),
    );
    server.put(
        "jobs",
        json!({ "metadata": { "name": "report-1", "namespace": "shop", "labels": { "job-name": "report-1" } },
            "spec": { "selector": { "matchLabels": { "controller-uid": "x" } }, "template": {
                "metadata": { "labels": { "controller-uid": "x", "app": "report" } },
                "spec": { "restartPolicy": "Never", "containers": [{ "name": "app" }] } } },
            "status": { "conditions": [{ "type": "Failed", "status": "True" }] } }),
    );
    server.put(
        "pods",
        json!({ "metadata": { "name": "order-6c-x", "namespace": "shop" }, "spec": { "containers": [
            { "name": "app", "resources": { "requests": { "cpu": "500m", "memory": "64Mi" } } }] } }),
    );
    server
}

fn hpa(annotations: &Value, min: i64, max: i64) -> Value {
    json!({ "metadata": { "name": "web-hpa", "namespace": "shop", "annotations": annotations },
        "spec": { "minReplicas": min, "maxReplicas": max,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } })
}

/// The effect as the driver sends it: on the version of a fresh read.
async fn send(
    server: &Server,
    target: &Target,
    parameters: &Parameters,
) -> Result<Acknowledged, EffectError> {
    let hands = ApiActuator::new(server.client());
    let version = hands.fresh_target(target).await.unwrap().unwrap().resource_version;
    hands.effect(target, parameters, &id(), &version).await
}

fn last(server: &Server) -> support::Seen {
    server.seen().into_iter().rfind(support::Seen::writes).unwrap()
}

/// Every change with its target.
fn changes() -> Vec<(Target, Parameters)> {
    vec![
        (deployment(), Parameters::ScaleUp { replicas: 6 }),
        (deployment(), Parameters::ScaleDown { replicas: 2 }),
        (deployment(), Parameters::RollBack { revision: Name::from("order-old") }),
        (autoscaler(), drive(6, 10)),
        (node(), Parameters::Cordon { until: until() }),
        (node(), Parameters::Uncordon),
        (cron_job(), Parameters::Suspend { until: until() }),
        (cron_job(), Parameters::Resume),
        (job(), Parameters::RetryJob),
        (target("Pod", "v1", "shop", "order-6c-x"), resize(600, None, [None; 2])),
    ]
}

#[tokio::test]
async fn every_change_is_one_conditional_write_that_a_dry_run_does_not_make() {
    for (target, parameters) in changes() {
        let what = parameters.kind();
        let server = server();
        let before = server.get("deployments", "shop", "order");
        let hands = ApiActuator::new(server.client());
        hands.dry_run(&target, &parameters, &id()).await.unwrap();
        assert_eq!(last(&server).query.get("dryRun").map(String::as_str), Some("All"), "{what}");
        assert_eq!(server.get("deployments", "shop", "order"), before, "{what}");

        let tried = server.writes().len();
        send(&server, &target, &parameters).await.unwrap();
        assert_eq!(server.writes().len(), tried + 1, "{what}: {:?}", server.writes());
        let sent = last(&server);
        assert!(!sent.query.contains_key("dryRun"), "{what}");
        if sent.method == Method::PATCH {
            assert_eq!(sent.body["metadata"]["uid"], target.uid.as_str(), "{what}");
            assert!(sent.body["metadata"]["resourceVersion"].is_string(), "{what}");
        }
    }
}

#[tokio::test]
async fn another_object_of_the_same_name_is_left_alone() {
    for (target, parameters) in changes() {
        let server = server();
        let other = Target { uid: Uid::new("another"), ..target };
        let answer = send(&server, &other, &parameters).await;
        let expected = match parameters {
            // The revision that is to come back belongs to the Deployment that was decided on.
            Parameters::RollBack { .. } => matches!(answer, Err(EffectError::Denied(_))),
            _ => matches!(answer, Err(EffectError::Conflict(_))),
        };
        assert!(expected, "{}: {answer:?}", parameters.kind());
    }
}

#[tokio::test]
async fn a_change_since_the_fresh_read_is_a_conflict() {
    for (target, parameters) in changes().into_iter().filter(|(_, what)| *what != Parameters::RetryJob) {
        let server = server();
        let hands = ApiActuator::new(server.client());
        let answer = hands.effect(&target, &parameters, &id(), &Name::from("1")).await;
        assert!(matches!(answer, Err(EffectError::Conflict(_))), "{}: {answer:?}", parameters.kind());
    }
}

#[tokio::test]
async fn a_size_goes_through_the_scale_subresource() {
    let server = server();
    send(&server, &deployment(), &Parameters::ScaleUp { replicas: 6 }).await.unwrap();
    let sent = last(&server);
    assert_eq!(sent.line(), "PATCH /apis/apps/v1/namespaces/shop/deployments/order/scale");
    assert_eq!(sent.body["spec"], json!({ "replicas": 6 }));
    assert_eq!(sent.query.get("fieldManager").map(String::as_str), Some("homeostat"));
    assert_eq!(server.get("deployments", "shop", "order").unwrap()["spec"]["replicas"], 6);
}

#[tokio::test]
async fn what_scales_by_itself_is_named_and_left_alone() {
    for (labels, owner) in [
        (json!({}), "HorizontalPodAutoscaler order-hpa"),
        (json!({ "scaledobject.keda.sh/name": "queue" }), "KEDA ScaledObject queue"),
    ] {
        let server = server();
        server.put(
            "horizontalpodautoscalers",
            json!({ "metadata": { "name": "order-hpa", "namespace": "shop", "labels": labels },
                "spec": { "maxReplicas": 9, "scaleTargetRef": { "kind": "Deployment", "name": "order" } } }),
        );
        let up = Parameters::ScaleUp { replicas: 6 };
        let hands = ApiActuator::new(server.client());
        let refusal = hands.dry_run(&deployment(), &up, &id()).await.unwrap_err();
        assert!(matches!(&refusal, Refusal::Owned(who) if who.contains(owner)), "{refusal:?}");
        let answer = send(&server, &deployment(), &up).await;
        assert!(matches!(&answer, Err(EffectError::Owned(who)) if who.contains(owner)), "{answer:?}");
        assert!(server.writes().is_empty());
        server.put(
            "horizontalpodautoscalers",
            json!({ "metadata": { "name": "order-too", "namespace": "shop" },
                "spec": { "maxReplicas": 9, "scaleTargetRef": { "kind": "Deployment", "name": "order" } } }),
        );
        let both = send(&server, &deployment(), &up).await;
        let named = |who: &str| who.contains(owner) && who.contains("HorizontalPodAutoscaler order-too");
        assert!(matches!(&both, Err(EffectError::Owned(who)) if named(who)), "{both:?}");
    }
}

#[tokio::test]
async fn a_roll_back_replaces_the_whole_template_and_leaves_its_mark() {
    let server = server();
    let back = Parameters::RollBack { revision: Name::from("order-old") };
    send(&server, &deployment(), &back).await.unwrap();
    assert_eq!(last(&server).content_type, "application/strategic-merge-patch+json");
    let found = server.get("deployments", "shop", "order").unwrap();
    let template = &found["spec"]["template"];
    assert_eq!(template["spec"]["containers"], json!([{ "name": "app", "image": "order:1" }]));
    assert_eq!(template["metadata"], json!({ "labels": { "app": "order" } }), "and no hash of the old set");
    assert_eq!(found["metadata"]["annotations"]["theirs"], "stays");
    let fresh = ApiActuator::new(server.client()).fresh_target(&deployment()).await.unwrap().unwrap();
    assert_eq!(fresh.marks.rolled_back_by.as_deref(), Some("order-7f3k2-1"));

    let unknown = Parameters::RollBack { revision: Name::from("no-such") };
    assert_eq!(send(&server, &deployment(), &unknown).await, Err(EffectError::NotFound));
}

#[tokio::test]
async fn a_node_is_held_with_our_mark_and_let_go() {
    let server = server();
    send(&server, &node(), &Parameters::Cordon { until: until() }).await.unwrap();
    assert_eq!(last(&server).line(), "PATCH /api/v1/nodes/node-5");
    let hands = ApiActuator::new(server.client());
    let held = hands.fresh_target(&node()).await.unwrap().unwrap().node.unwrap();
    let hold = held.hold.unwrap();
    assert!(held.cordoned && &*hold.by == "order-7f3k2-1" && hold.until == Some(until()));
    send(&server, &node(), &Parameters::Uncordon).await.unwrap();
    let free = hands.fresh_target(&node()).await.unwrap().unwrap().node.unwrap();
    assert!(!free.cordoned && free.hold.is_none());
    assert_eq!(server.get("nodes", "", "node-5").unwrap()["metadata"]["labels"], json!({}));
}

#[tokio::test]
async fn bounds_are_driven_with_peoples_own_beside_them_and_given_back_with_no_mark_left() {
    let server = server();
    send(&server, &autoscaler(), &drive(6, 10)).await.unwrap();
    let line = "PATCH /apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/web-hpa";
    assert_eq!(last(&server).line(), line);
    let hands = ApiActuator::new(server.client());
    let fresh = async || hands.fresh_target(&autoscaler()).await.unwrap().unwrap().autoscaler.unwrap();
    let driven = fresh().await;
    let mark = driven.drive.clone().unwrap();
    assert_eq!((driven.bounds, mark.before), (Bounds { min: 6, max: 10 }, Bounds { min: 2, max: 10 }));
    assert!(&*mark.hold.by == "order-7f3k2-1" && mark.hold.until == Some(until()));
    send(&server, &autoscaler(), &drive(12, 12)).await.unwrap();
    assert_eq!(fresh().await.drive.unwrap().before, Bounds { min: 2, max: 10 }, "the first ones are kept");
    send(&server, &autoscaler(), &drive(2, 10)).await.unwrap();
    let back = server.get("horizontalpodautoscalers", "shop", "web-hpa").unwrap();
    let metadata = &back["metadata"];
    assert_eq!((&metadata["annotations"], &metadata["labels"]), (&json!({ "theirs": "stays" }), &json!({})));
    assert_eq!((&back["spec"]["minReplicas"], &back["spec"]["maxReplicas"]), (&json!(2), &json!(10)));
    // Somebody put another one beside it since.
    let mut second = hpa(&json!({}), 1, 4);
    second["metadata"]["name"] = json!("web-too");
    server.put("horizontalpodautoscalers", second);
    let answer = send(&server, &autoscaler(), &drive(6, 10)).await;
    let named = "HorizontalPodAutoscaler web-too scales Deployment web as well";
    assert!(matches!(&answer, Err(EffectError::Owned(who)) if who.contains(named)), "{answer:?}");
    // Only an autoscaler has bounds.
    let answer = send(&server, &deployment(), &drive(6, 10)).await;
    assert!(matches!(answer, Err(EffectError::Denied(_))), "{answer:?}");
}

#[tokio::test]
async fn a_failed_job_is_copied_once_under_a_name_that_follows_from_it() {
    let server = server();
    send(&server, &job(), &Parameters::RetryJob).await.unwrap();
    let name = retry_name(&job());
    let copy = server.get("jobs", "shop", &name).unwrap();
    assert_eq!(copy["metadata"]["annotations"]["homeostat.dev/created-by"], "order-7f3k2-1");
    assert_eq!(copy["metadata"]["annotations"]["homeostat.dev/retry-of"], "uid-of-report-1");
    assert!(copy["spec"]["selector"].is_null(), "the API server makes its own");
    assert_eq!(copy["spec"]["template"]["metadata"]["labels"], json!({ "app": "report" }));
    let fresh = ApiActuator::new(server.client()).fresh_target(&job()).await.unwrap().unwrap();
    assert_eq!(fresh.marks.retried_by.as_deref(), Some("order-7f3k2-1"));
    let again = send(&server, &job(), &Parameters::RetryJob).await;
    assert!(matches!(again, Err(EffectError::Conflict(_))), "{again:?}");
}

#[tokio::test]
async fn a_pod_is_resized_through_its_subresource_and_limits_that_are_not_named_stay() {
    let pod = target("Pod", "v1", "shop", "order-6c-x");
    for (limits, named) in [
        ([None, None], Value::Null),
        ([Some(900), None], json!({ "cpu": "900m" })),
        ([Some(900), Some(256 << 20)], json!({ "cpu": "900m", "memory": "268435456" })),
    ] {
        let server = server();
        let hands = ApiActuator::new(server.client());
        let before = hands.fresh_target(&pod).await.unwrap().unwrap().marks.requests;
        assert_eq!((before["app"].cpu_millis, before["app"].memory_bytes), (Some(500), Some(64 << 20)));
        send(&server, &pod, &resize(600, Some(128 << 20), limits)).await.unwrap();
        let sent = last(&server);
        assert_eq!(sent.line(), "PATCH /api/v1/namespaces/shop/pods/order-6c-x/resize");
        let resources = &sent.body["spec"]["containers"][0]["resources"];
        assert_eq!(resources["requests"], json!({ "cpu": "600m", "memory": "134217728" }));
        assert_eq!(resources["limits"], named);
        let after = hands.fresh_target(&pod).await.unwrap().unwrap().marks.requests["app"];
        assert_eq!((after.cpu_millis, after.memory_bytes), (Some(600), Some(128 << 20)));
        assert_eq!([after.cpu_limit_millis, after.memory_limit_bytes], limits);
    }
}

#[tokio::test]
async fn who_edited_a_field_is_read_with_it() {
    let server = server();
    let mut edited = server.get("deployments", "shop", "order").unwrap();
    edited["metadata"]["managedFields"] = json!([{ "manager": "kubectl-scale", "operation": "Update",
        "time": "2026-11-22T09:10:00Z", "fieldsV1": { "f:spec": { "f:replicas": {} } } }]);
    server.put("deployments", edited);
    let fresh = ApiActuator::new(server.client()).fresh_target(&deployment()).await.unwrap().unwrap();
    let edits: Vec<_> = fresh.marks.edits.iter().map(|edit| (edit.field, &*edit.manager)).collect();
    assert_eq!(edits, [(Field::Replicas, "kubectl-scale")]);
}

#[tokio::test]
async fn a_missing_right_is_told_apart_from_a_refusal_by_admission() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let forbidden = "deployments.apps \"order\" is forbidden: User \"homeostat\" cannot patch resource \"deployments/scale\"";
    server.trouble(Method::PATCH, "/scale", 1, status(403, "Forbidden", forbidden));
    let up = Parameters::ScaleUp { replicas: 6 };
    let refusal = hands.dry_run(&deployment(), &up, &id()).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Forbidden(why) if why.contains("deployments/scale")), "{refusal:?}");
    server.trouble(
        Method::PATCH,
        "/scale",
        1,
        status(403, "Forbidden", "admission webhook denied the request"),
    );
    let refusal = hands.dry_run(&deployment(), &up, &id()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::WouldFail(_)), "{refusal:?}");
    // Without the right to see what scales it, nothing is scaled.
    server.trouble(Method::GET, "/horizontalpodautoscalers", 1, status(403, "Forbidden", "you cannot list"));
    assert!(matches!(send(&server, &deployment(), &up).await, Err(EffectError::Denied(_))));
    assert!(server.writes().iter().all(|line| line.contains("/scale")), "{:?}", server.writes());
}

fn held(server: &Server, plural: &str, namespace: &str, name: &str, flag: &str, until: Option<&str>) {
    let mut metadata = json!({ "name": name, "labels": { "homeostat.dev/held": "true" } });
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    if let Some(until) = until {
        metadata["annotations"] =
            json!({ "homeostat.dev/held-by": "a-1", "homeostat.dev/held-until": until, "theirs": "stays" });
    }
    server.put(plural, json!({ "metadata": metadata, "spec": { flag: true } }));
}

/// Nothing stops it.
fn always() -> std::future::Ready<bool> {
    std::future::ready(true)
}

#[tokio::test]
async fn what_is_over_is_let_go_and_before_a_removal_everything() {
    let flag = |server: &Server, plural: &str, namespace: &str, name: &str, flag: &str| -> Value {
        server.get(plural, namespace, name).unwrap()["spec"][flag].clone()
    };
    let fill = || {
        let server = Server::new();
        held(&server, "nodes", "", "over", "unschedulable", Some("2026-11-22T09:14:00Z"));
        held(&server, "nodes", "", "later", "unschedulable", Some("2026-11-22T09:15:00Z"));
        held(&server, "nodes", "", "unreadable", "unschedulable", Some("soon"));
        held(&server, "nodes", "", "label-only", "unschedulable", None);
        held(&server, "cronjobs", "shop", "report", "suspend", Some("2026-11-22T09:00:00Z"));
        server.put("nodes", json!({ "metadata": { "name": "theirs" }, "spec": { "unschedulable": true } }));
        server
    };
    let server = fill();
    let releases =
        release_held(&server.client(), Which::Over(Still.now(), &Snapshot::default()), always).await.unwrap();
    for release in &releases {
        assert!(!release.by.is_empty() && !release.uid.as_str().is_empty(), "{release:?}");
    }
    let names = |releases: &[Release]| {
        let mut names: Vec<String> = releases.iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    let released = names(&releases);
    assert_eq!(released, ["CronJob shop/report", "Node over", "Node unreadable"]);
    assert_eq!(flag(&server, "nodes", "", "over", "unschedulable"), false);
    assert_eq!(flag(&server, "cronjobs", "shop", "report", "suspend"), false);
    for name in ["later", "label-only", "theirs"] {
        assert_eq!(flag(&server, "nodes", "", name, "unschedulable"), true, "{name}");
    }
    let metadata = server.get("nodes", "", "over").unwrap()["metadata"].clone();
    assert_eq!((&metadata["annotations"], &metadata["labels"]), (&json!({ "theirs": "stays" }), &json!({})));

    let server = fill();
    assert_eq!(release_held(&server.client(), Which::All, always).await.unwrap().len(), 4);
    assert_eq!(flag(&server, "nodes", "", "theirs", "unschedulable"), true, "a person's stays");
    assert!(release_held(&server.client(), Which::All, always).await.unwrap().is_empty(), "once");

    // What is refused keeps nothing else held, and all of it is told.
    let server = fill();
    server.trouble(Method::PATCH, "/nodes/over", 1, status(403, "Forbidden", "an admission policy says no"));
    server.trouble(Method::GET, "/jobs", 1, status(403, "Forbidden", "cannot list jobs"));
    let Err(left) = release_held(&server.client(), Which::All, always).await else { panic!("two refused") };
    let released = names(&left.released);
    assert_eq!(released, ["CronJob shop/report", "Node later", "Node unreadable"]);
    assert_eq!(left.errors.len(), 2, "{left}");
    let text = left.to_string();
    assert!(text.contains("Node over") && text.contains("an admission policy says no"), "{text}");
    assert!(text.contains("cannot list jobs") && text.contains("kubectl get"), "{text}");

    // Somebody changes one at this moment: it is left for the next round, the others are let go.
    let server = fill();
    server.trouble(Method::PATCH, "/nodes/over", 1, status(409, "Conflict", "changed"));
    assert_eq!(release_held(&server.client(), Which::All, always).await.unwrap().len(), 3);
}

/// All is known, and the Workload `web` lets bounds be moved in this mode.
fn asking(mode: ScalingMode) -> Snapshot {
    let scaling = ScalingPolicy { mode, when_owned: WhenOwned::DriveBounds, ..ScalingPolicy::default() };
    let key = ObjectKey::new("shop", "web");
    let workload = WorkloadPolicy {
        permits: Permits { scaling: Some(scaling), ..Permits::default() },
        ..WorkloadPolicy::new(
            key.clone(),
            Uid::new("workload-web"),
            ControllerKey { kind: ControllerKind::Deployment, object: key },
        )
    };
    let mut snapshot = Snapshot::default();
    snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), Still.now());
    for kind in ObjectKind::REQUIRED {
        snapshot.commit(&ObjectChange::Synced(kind), Still.now());
    }
    snapshot
}

#[tokio::test]
async fn driven_bounds_go_back_when_their_time_is_over_nobody_asks_or_homeostat_goes() {
    let fill = |held_until: &str, set: &str| {
        let server = Server::new();
        let annotations = json!({ "homeostat.dev/held-by": "a-1", "homeostat.dev/held-until": held_until,
            "homeostat.dev/bounds-before": "min=2,max=10", "homeostat.dev/bounds-set": set, "theirs": "stays" });
        let mut object = hpa(&annotations, 6, 12);
        object["metadata"]["labels"] = json!({ "homeostat.dev/held": "true" });
        server.put("horizontalpodautoscalers", object);
        server
    };
    let bounds = |server: &Server| {
        let found = server.get("horizontalpodautoscalers", "shop", "web-hpa").unwrap();
        (found["spec"]["minReplicas"].as_i64().unwrap(), found["spec"]["maxReplicas"].as_i64().unwrap())
    };
    let (later, over) = ("2026-11-22T10:14:00Z", "2026-11-22T09:14:00Z");
    let (asked, unasked, unknown) =
        (asking(ScalingMode::Auto), asking(ScalingMode::Recommend), Snapshot::default());
    // Two that size it against each other are left as people made them.
    let mut rivals = asking(ScalingMode::Auto);
    let target = rivals.workloads.values().next().unwrap().target.clone();
    let both = ["queue", "rush"].map(|name| (target.clone(), Scaler::Keda { name: Name::from(name) }));
    rivals.scalers = Arc::new(Scaler::by_target(both));
    let now = Still.now();
    for (until, which, expected) in [
        (later, Which::Over(now, &asked), (6, 12)),
        (over, Which::Over(now, &asked), (2, 10)),
        (later, Which::Over(now, &unasked), (2, 10)),
        (later, Which::Over(now, &unknown), (6, 12)),
        (later, Which::Over(now, &rivals), (2, 10)),
        (later, Which::All, (2, 10)),
    ] {
        let server = fill(until, "min=6,max=12");
        let released = release_held(&server.client(), which, always).await.unwrap();
        assert_eq!(bounds(&server), expected, "{until} {released:?}");
        assert_eq!(released.len(), usize::from(expected == (2, 10)), "{until} {released:?}");
    }
    let server = fill(over, "min=6,max=12");
    release_held(&server.client(), Which::All, always).await.unwrap();
    let metadata = server.get("horizontalpodautoscalers", "shop", "web-hpa").unwrap()["metadata"].clone();
    assert_eq!((&metadata["annotations"], &metadata["labels"]), (&json!({ "theirs": "stays" }), &json!({})));
    // A person set the ceiling meanwhile: it is theirs.
    let server = fill(over, "min=6,max=15");
    let released = release_held(&server.client(), Which::All, always).await.unwrap();
    assert_eq!(bounds(&server), (2, 12));
    // Before a removal, when nobody may be left who records it, an Event of the object tells.
    let facts: Vec<Fact> = released.iter().filter_map(Fact::of_release).collect();
    publish(server.client(), "release-held", &facts).await.unwrap();
    let told = server.seen().into_iter().find(|seen| seen.method == Method::POST).expect("an Event");
    assert!(told.path.ends_with("/namespaces/shop/events"), "{}", told.path);
    let (event, about) = (&told.body, &told.body["regarding"]);
    assert_eq!(
        (&event["reason"], &about["kind"]),
        (&json!("HoldReleased"), &json!("HorizontalPodAutoscaler"))
    );
    assert!(event["note"].as_str().is_some_and(|note| note.contains("a-1 held it")), "{event}");
}

/// What an action asks of the API server on its way to its effect.
async fn whole(server: &Server, target: &Target, parameters: &Parameters) -> Result<(), String> {
    let hands = ApiActuator::new(server.client());
    hands.dry_run(target, parameters, &id()).await.map_err(|refusal| format!("{refusal:?}"))?;
    let fresh = hands.fresh_target(target).await.map_err(|error| format!("{error:?}"))?.expect("it is there");
    let sent = hands.effect(target, parameters, &id(), &fresh.resource_version).await;
    sent.map(drop).map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_and_stops_the_action_at_once() {
    let pod = target("Pod", "v1", "shop", "order-6c-x");
    let actions = [
        (pod.clone(), Parameters::EvictPod { grace_seconds: None }),
        (deployment(), Parameters::RollingRestart),
        (deployment(), Parameters::ScaleUp { replicas: 6 }),
        (deployment(), Parameters::ScaleDown { replicas: 2 }),
        (autoscaler(), drive(4, 10)),
        (deployment(), Parameters::RollBack { revision: Name::from("order-old") }),
        (node(), Parameters::Cordon { until: until() }),
        (cron_job(), Parameters::Suspend { until: until() }),
        (job(), Parameters::RetryJob),
        (cron_job(), Parameters::CreateJob { slot: until() }),
        (pod, resize(900, None, [None; 2])),
    ];
    let mut taken_away = 0;
    for (target, parameters) in actions {
        let kind = parameters.kind();
        let all = server();
        whole(&all, &target, &parameters).await.unwrap_or_else(|why| panic!("{kind}: {why}"));
        let declared: Vec<(&str, &str, &str)> = spec(kind)
            .unwrap()
            .rights()
            .iter()
            .flat_map(|right| right.verbs.iter().map(|verb| (right.api_group, right.resource, *verb)))
            .collect();
        for right in all.used() {
            let (group, resource, verb) = &right;
            assert!(
                declared.contains(&(group, resource, verb)),
                "{kind} used {right:?} without declaring it"
            );
            let poorer = server();
            poorer.forbid(&right);
            let before = poorer.objects();
            let why = whole(&poorer, &target, &parameters).await.expect_err("it cannot go on");
            let named = why.contains(&format!("cannot {verb} resource")) && why.contains(&**resource);
            assert!(
                named && ["Forbidden(", "Denied("].iter().any(|word| why.contains(word)),
                "{kind}: {why}"
            );
            assert_eq!(poorer.objects(), before, "{kind} without {right:?}");
            assert!(poorer.seen().len() <= all.seen().len(), "{kind} without {right:?} asks again and again");
            taken_away += 1;
        }
    }
    assert!(taken_away >= 20, "{taken_away}");
}
