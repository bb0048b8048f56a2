//! A kind that nobody knows here, with a scale subresource, on a real API server: a Workload targets it, and its size is
//! read and set with Homeostat's own rights.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeostat_cluster::{ApiActuator, WatchOptions, Watches};
use homeostat_e2e::clock::SystemClock;
use homeostat_e2e::cluster::Cluster;
use homeostat_e2e::proof::objects::create;
use homeostat_e2e::proof::stage::{Stage, until};
use homeostat_execute::ports::{Actuator, EffectError, Field};
use homeostat_knowledge::observation::{Change, ObjectChange, Signal};
use homeostat_knowledge::{
    ActionId, ControllerKind, ControllerRecord, Name, ObjectKey, Parameters, Snapshot, Target,
};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::LIMIT;

const NAMESPACE: &str = "shop";

fn definition() -> Value {
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "webfarms.example.dev" },
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            // A plural that cannot be guessed from the kind.
            "names": { "kind": "FarmOfWebs", "singular": "webfarm", "plural": "webfarms" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": open, "status": open } } },
                "subresources": {
                    "status": {},
                    "scale": { "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas" },
                },
            }],
        },
    })
}

fn farm(namespace: &str) -> Value {
    json!({
        "apiVersion": "example.dev/v1", "kind": "FarmOfWebs",
        "metadata": { "name": "web", "namespace": namespace }, "spec": { "replicas": 2 },
    })
}

fn workload() -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload",
        "metadata": { "name": "web", "namespace": NAMESPACE },
        "spec": {
            "targetRef": { "apiVersion": "example.dev/v1", "kind": "FarmOfWebs", "name": "web" },
            "archetype": "Service",
        },
    })
}

/// What the watches tell, once the workload is under control.
async fn seen(stage: &Stage) -> ControllerRecord {
    let (sender, mut told) = mpsc::channel(1024);
    let watches = Watches::start(&stage.upstream, &WatchOptions::default(), Arc::new(SystemClock), sender);
    let found = tokio::time::timeout(LIMIT, async {
        let mut record = None;
        while let Some(observation) = told.recv().await {
            match observation.signal {
                Signal::Object(ObjectChange::Controller(Change::Applied(found)))
                    if found.key.kind == ControllerKind::Other =>
                {
                    record = Some(ControllerRecord::clone(&found));
                }
                Signal::Object(ObjectChange::Workload(Change::Applied(workload)))
                    if &*workload.key.name == "web" =>
                {
                    return record;
                }
                _ => {}
            }
        }
        None
    });
    let found = found.await.unwrap();
    watches.stop().await;
    found.unwrap()
}

async fn scale(stage: &Stage, target: &Target, replicas: i32) -> Result<i32, EffectError> {
    let hands = ApiActuator::new(stage.upstream.clone());
    let action = ActionId::new("shop.web-1");
    let version = hands.fresh_target(target).await.unwrap().unwrap().resource_version;
    let parameters = Parameters::ScaleUp { replicas };
    hands.effect(target, &parameters, &action, &version).await?;
    Ok(hands.fresh_target(target).await.unwrap().unwrap().controller.unwrap().replicas)
}

pub async fn kinds_of_others_are_followed_and_scaled(name: &str) {
    Cluster::remove(name).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let stage = Stage::up(name, root, Some(env!("CARGO_BIN_EXE_e2e").into())).await.unwrap();
    stage.namespace(NAMESPACE).await.unwrap();
    create(&stage.client, None, &definition()).await.unwrap();
    let kind = GroupVersionKind::gvk("example.dev", "v1", "FarmOfWebs");
    let kind = ApiResource::from_gvk_with_plural(&kind, "webfarms");
    for namespace in [NAMESPACE, "kube-system"] {
        // A definition is served a moment after it was created.
        until("the farm", Duration::from_secs(30), || async {
            let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), namespace, &kind);
            let object = serde_json::from_value(farm(namespace)).unwrap();
            api.create(&PostParams::default(), &object).await.ok().map(drop)
        })
        .await
        .unwrap();
    }
    create(&stage.client, Some(NAMESPACE), &workload()).await.unwrap();

    let record = seen(&stage).await;
    assert_eq!(record.replicas, 2);
    let target = Snapshot::controller_target(&record).unwrap();
    assert_eq!((&*target.kind, &*target.key.name), ("FarmOfWebs", "web"));

    assert_eq!(scale(&stage, &target, 4).await, Ok(4));
    let hands = ApiActuator::new(stage.upstream.clone());
    let fresh = hands.fresh_target(&target).await.unwrap().unwrap();
    let sized = fresh.marks.edits.iter().rfind(|edit| edit.field == Field::Replicas).unwrap();
    assert_eq!((&*sized.manager, &*sized.subresource), ("homeostat", "scale"));

    let action = ActionId::new("shop.web-2");
    let parameters = Parameters::ScaleUp { replicas: 5 };
    let old = hands.effect(&target, &parameters, &action, &target.resource_version).await;
    assert!(matches!(old, Err(EffectError::Conflict(_))), "an old version: {old:?}");
    let another = Target { uid: homeostat_knowledge::Uid::new("another"), ..target.clone() };
    let found = hands.fresh_target(&another).await.unwrap().unwrap();
    assert_ne!(found.uid, another.uid, "the guards see that it is another object");
    let much = scale(&stage, &target, 20).await;
    assert!(matches!(&much, Err(EffectError::Denied(why)) if why.contains("envelope")), "{much:?}");
    let system = Target { key: ObjectKey::new("kube-system", "web"), ..target.clone() };
    let uid = hands.fresh_target(&system).await.unwrap().unwrap().uid;
    let closed = scale(&stage, &Target { uid, ..system }, 3).await;
    assert!(matches!(&closed, Err(EffectError::Denied(why)) if why.contains("envelope")), "{closed:?}");
    let unknown = Target { kind: Name::from("Nobody"), ..target };
    assert!(hands.fresh_target(&unknown).await.is_err(), "a kind that is not served");
    stage.cluster.down().unwrap();
}
