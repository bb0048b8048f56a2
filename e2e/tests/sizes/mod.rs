//! A pod on a real node whose container gets another size in place, requests and limits, beside one that keeps its own.

use std::time::Duration;

use homeostat_cluster::ApiActuator;
use homeostat_e2e::cluster::{Cluster, Options};
use homeostat_e2e::proof::stage::until;
use homeostat_execute::ports::{Actuator, FreshTarget};
use homeostat_knowledge::{ActionId, Name, ObjectKey, Parameters, Target, Uid};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{object, ready};

const MIB: u64 = 1 << 20;

/// Both containers ask for their limits: the pod is of the class Guaranteed, which no resize may change.
fn pod() -> Pod {
    let container = |name: &str| {
        json!({
            "name": name, "image": "homeostat.dev/pause:v1", "imagePullPolicy": "Never",
            "resources": { "limits": { "cpu": "100m", "memory": "32Mi" } },
        })
    };
    object(&json!({
        "metadata": { "name": "order" },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [container("proxy"), container("app")] },
    }))
}

/// Of both requests and limits.
fn size(cpu_millis: u64, mebibytes: u64) -> Parameters {
    Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: Some(cpu_millis),
        cpu_limit_millis: Some(cpu_millis),
        memory_bytes: Some(mebibytes * MIB),
        memory_limit_bytes: Some(mebibytes * MIB),
    }
}

/// What the kubelet says that each container has, and how often it was restarted.
fn given(pod: &Pod) -> Vec<(String, Value, i32)> {
    let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
    let mut all: Vec<_> =
        statuses.map(|one| (one.name.clone(), json!(one.resources), one.restart_count)).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

pub async fn of_one_container_change_in_place_and_back(name: &str) {
    Cluster::remove(name).unwrap();
    let cluster = Cluster::up(name, &Options::default()).await.unwrap();
    let _kept = cluster.keep_on_panic();
    let client = cluster.client().await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &pod()).await.unwrap();
    let like = async |what: &str, wanted: &dyn Fn(&Pod) -> bool| {
        until(what, Duration::from_mins(1), || async {
            pods.get("order").await.ok().filter(|pod| wanted(pod))
        })
        .await
        .unwrap()
    };
    let made = like("a ready pod", &ready).await;
    let target = Target {
        api_version: "v1".into(),
        kind: "Pod".into(),
        key: ObjectKey::new("default", "order"),
        uid: Uid::new(made.metadata.uid.unwrap()),
        resource_version: "0".into(),
    };
    let hands = ApiActuator::new(client.clone());
    let fresh = async || -> FreshTarget { hands.fresh_target(&target).await.unwrap().unwrap() };
    let action = ActionId::new("default.order-1");
    for (cpu, mebibytes) in [(150, 48), (100, 32)] {
        let version = fresh().await.resource_version;
        hands.effect(&target, &size(cpu, mebibytes), &action, &version).await.unwrap();
        let asked = fresh().await.marks.requests.get("app").copied().unwrap();
        assert_eq!((asked.cpu_millis, asked.cpu_limit_millis), (Some(cpu), Some(cpu)));
        let both = json!({ "cpu": format!("{cpu}m"), "memory": format!("{mebibytes}Mi") });
        let both = json!({ "limits": both, "requests": both });
        let grown =
            like("the size on the node", &|pod| given(pod)[0] == ("app".to_owned(), both.clone(), 0)).await;
        let own = json!({ "cpu": "100m", "memory": "32Mi" });
        assert_eq!(given(&grown)[1], ("proxy".to_owned(), json!({ "limits": own, "requests": own }), 0));
        assert_eq!(grown.status.unwrap().qos_class.as_deref(), Some("Guaranteed"));
    }
    // A request of CPU alone leaves the limits, so the class would be another: the API server says so, and nothing is done.
    let alone = Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: Some(90),
        cpu_limit_millis: None,
        memory_bytes: None,
        memory_limit_bytes: None,
    };
    let version = fresh().await.resource_version;
    let refused = hands.effect(&target, &alone, &action, &version).await.unwrap_err();
    assert!(refused.to_string().contains("QOS") || refused.to_string().contains("QoS"), "{refused}");
    assert_eq!(fresh().await.marks.requests["app"].cpu_millis, Some(100));
    cluster.down().unwrap();
}
