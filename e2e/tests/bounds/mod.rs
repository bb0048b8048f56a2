//! A real autoscaler with Homeostat's own rights: its bounds are driven and given back, and the API server refuses what
//! lies outside of the envelope.

use std::path::Path;
use std::time::Instant;

use homeostat_cluster::ApiActuator;
use homeostat_cluster::release::{Which, release_held};
use homeostat_e2e::cluster::Cluster;
use homeostat_e2e::proof::objects::create;
use homeostat_e2e::proof::stage::Stage;
use homeostat_execute::ports::{Actuator, EffectError};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::AutoscalerRecord;
use homeostat_knowledge::{ActionId, Name, ObjectKey, Parameters, SignedDuration, Target, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::LIMIT;

const NAMESPACE: &str = "shop";
const NAME: &str = "web";

fn autoscaler(namespace: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": NAME, "namespace": namespace, "annotations": { "theirs": "stays" } },
        "spec": {
            "minReplicas": 2, "maxReplicas": 10,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME },
            "metrics": [{ "type": "Resource", "resource": {
                "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 } } }],
        },
    })
}

async fn read(client: &Client, namespace: &str) -> HorizontalPodAutoscaler {
    Api::namespaced(client.clone(), namespace).get(NAME).await.unwrap()
}

async fn target(client: &Client, namespace: &str) -> Target {
    let found = read(client, namespace).await;
    Target {
        api_version: Name::from("autoscaling/v2"),
        kind: Name::from("HorizontalPodAutoscaler"),
        key: ObjectKey::new(namespace, NAME),
        uid: Uid::new(found.uid().unwrap()),
        resource_version: Name::from(found.resource_version().unwrap()),
    }
}

/// The effect as the driver sends it, on a fresh read.
async fn drive(stage: &Stage, namespace: &str, min: u64, max: u64) -> Result<AutoscalerRecord, EffectError> {
    let hands = ApiActuator::new(stage.upstream.clone());
    let target = target(&stage.client, namespace).await;
    let until = Timestamp::now() + SignedDuration::from_hours(1);
    let parameters = Parameters::DriveBounds { bounds: Bounds { min, max }, until };
    let action = ActionId::new("shop.web-1");
    // The autoscaler's own controller writes its status: the version may be older than the write by then.
    for _ in 0..10 {
        let version = hands.fresh_target(&target).await.unwrap().unwrap().resource_version;
        match hands.effect(&target, &parameters, &action, &version).await {
            Err(EffectError::Conflict(_)) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(hands.fresh_target(&target).await.unwrap().unwrap().autoscaler.unwrap()),
        }
    }
    panic!("another writer each time");
}

/// What the API server says of a write by Homeostat's account that it is asked to try.
async fn tried(stage: &Stage, patch: Value) -> String {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(stage.upstream.clone(), NAMESPACE);
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    match api.patch(NAME, &params, &Patch::Merge(patch)).await {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub async fn are_driven_and_given_back_within_the_envelope(name: &str) {
    Cluster::remove(name).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let stage = Stage::up(name, root, Some(env!("CARGO_BIN_EXE_e2e").into())).await.unwrap();
    stage.namespace(NAMESPACE).await.unwrap();
    for namespace in [NAMESPACE, "kube-system"] {
        create(&stage.client, Some(namespace), &autoscaler(namespace)).await.unwrap();
    }

    // A policy holds a moment after it was created.
    let evil = json!({ "spec": { "scaleTargetRef": {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "another" } } });
    let end = Instant::now() + LIMIT;
    while !tried(&stage, evil.clone()).await.contains("envelope") {
        assert!(Instant::now() < end, "{}", tried(&stage, evil.clone()).await);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    for (patch, what) in [
        (json!({ "spec": { "metrics": [] } }), "what it scales by"),
        (json!({ "spec": { "minReplicas": 4 } }), "bounds without people's own beside them"),
        (json!({ "metadata": { "annotations": { "theirs": "gone" } } }), "an annotation of others"),
    ] {
        let answer = tried(&stage, patch).await;
        assert!(answer.contains("envelope"), "{what}: {answer}");
    }
    let system = drive(&stage, "kube-system", 4, 10).await;
    assert!(matches!(&system, Err(EffectError::Denied(why)) if why.contains("envelope")), "{system:?}");

    let own = Bounds { min: 2, max: 10 };
    let once = drive(&stage, NAMESPACE, 6, 10).await.unwrap();
    assert_eq!((once.bounds, once.peoples()), (Bounds { min: 6, max: 10 }, own));
    let much = drive(&stage, NAMESPACE, 13, 13).await;
    assert!(matches!(&much, Err(EffectError::Denied(why)) if why.contains("envelope")), "{much:?}");
    let twice = drive(&stage, NAMESPACE, 12, 12).await.unwrap();
    assert_eq!((twice.bounds, twice.peoples()), (Bounds { min: 12, max: 12 }, own));

    // Before a removal everything that carries our mark is let go. The autoscaler's controller may write meanwhile.
    let end = Instant::now() + LIMIT;
    while read(&stage.client, NAMESPACE).await.labels().contains_key("homeostat.dev/held") {
        release_held(&stage.upstream, Which::All, || std::future::ready(true)).await.unwrap();
        assert!(Instant::now() < end, "the bounds are not given back");
    }
    let back = read(&stage.client, NAMESPACE).await;
    assert_eq!((back.spec.min_replicas, back.spec.max_replicas), (Some(2), 10));
    assert_eq!(back.annotations().keys().collect::<Vec<_>>(), ["theirs"]);
    stage.cluster.down().unwrap();
}
