//! A chain of changes of a spec ends as a fresh start with the last one would, on a real API server.

use homeostat_crds::v1alpha1::Workload;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::stage::{EXTRA, SOON, Stage, until};

/// Changes that are applied one after another, and after how many the object is made anew.
const CHANGES: u64 = 200;
const PER_ROUND: u64 = 20;

/// Numbers that look drawn and are the same each time (Knuth's constants).
fn drawn(number: u64) -> usize {
    let mixed = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(mixed >> 40).unwrap()
}

/// One change of the spec: some are good, some name what is not there or claimed already, some are refused by the product only.
fn change(number: u64, target: &str) -> Value {
    let one = |choices: &[Value]| choices[drawn(number.wrapping_mul(31)) % choices.len()].clone();
    let of =
        |name: &str| json!({ "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name } });
    let limit = |number: &str| json!({ "signals": [{ "name": "waiting", "metric": "waiting", "threshold": number }] });
    match drawn(number) % 7 {
        0 => one(&[of(target), of("nowhere"), of("order")]),
        1 => one(&[limit("5"), limit("1e99"), json!({ "signals": null })]),
        2 => json!({ "paused": one(&[json!(true), json!(false)]) }),
        3 => json!({ "archetype": one(&[json!("Service"), json!("Worker"), json!("Edge")]) }),
        4 => json!({ "criticality": one(&[json!("Low"), json!("High")]) }),
        5 => json!({ "playbooks": one(&[json!([]), json!(["crash"]), json!(["crash", "hung-process"])]) }),
        _ => json!({ "heartbeat": one(&[json!(null), json!({ "maximumSilenceSeconds": 86_400 })]) }),
    }
}

/// What the status says of the spec's newest generation, without instants and numbers of generations.
async fn told(api: &Api<Workload>, name: &str) -> Option<Value> {
    let workload = api.get(name).await.ok()?;
    let status = workload.status?;
    if status.observed_generation? != workload.metadata.generation? {
        return None;
    }
    let conditions: Vec<Value> = status
        .conditions
        .iter()
        .map(|condition| json!([condition.type_, condition.status, condition.reason, condition.message]))
        .collect();
    Some(json!({
        "target": status.target, "targetUid": status.target_uid, "tenant": status.tenant, "level": status.level,
        "health": status.health, "openIncidents": status.open_incidents, "conditions": conditions,
    }))
}

/// Two hundred changes of one Workload. Every twenty of them it is removed and made anew with the spec that it ended with:
/// its status says the same both ways.
pub async fn fresh_start_says_the_same(stage: &Stage) {
    stage.ready().await;
    let (name, target) = (format!("{EXTRA}chained"), format!("{EXTRA}target"));
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": target, "namespace": homeostat_e2e::demo::application::NAMESPACE },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": { "app": target } },
            "template": {
                "metadata": { "labels": { "app": target } },
                "spec": { "containers": [{ "name": "none", "image": "registry.invalid/none:1" }] },
            },
        },
    });
    stage.platform.apply(&deployment.to_string()).await.unwrap();
    let api = stage.workloads();
    let mut spec = json!({
        "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target }, "archetype": "Service",
    });
    let fresh = async |spec: &Value| {
        let object = json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload", "metadata": { "name": name }, "spec": spec,
        });
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    };
    fresh(&spec).await;
    let mut different = std::collections::BTreeSet::new();
    for number in 0..CHANGES {
        let patch = json!({ "spec": change(number, &target) });
        json_patch(&mut spec, &patch["spec"]);
        stage.patch(&api, &name, &patch).await;
        if (number + 1) % PER_ROUND != 0 {
            continue;
        }
        let chained = until("a status of the last change", SOON, async || told(&api, &name).await).await;
        let before = api.get(&name).await.unwrap().uid();
        api.delete(&name, &DeleteParams::default()).await.unwrap();
        until("the Workload being gone", SOON, async || {
            api.get_opt(&name).await.ok()?.is_none().then_some(())
        })
        .await;
        assert_ne!(fresh(&spec).await.uid(), before);
        let what = format!("after {} changes, of {spec}: {chained}, as the chain ended,", number + 1);
        until(&what, SOON, async || (told(&api, &name).await.as_ref() == Some(&chained)).then_some(())).await;
        different.insert(chained["conditions"].to_string());
    }
    assert!(different.len() >= 3, "the chain ended in the same way each time: {different:?}");
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(stage.client.clone(), homeostat_e2e::demo::application::NAMESPACE);
    deployments.delete(&target, &DeleteParams::default()).await.unwrap();
}

/// What a merge patch makes of a flat spec (RFC 7386): lists and references are replaced whole.
fn json_patch(spec: &mut Value, patch: &Value) {
    for (field, value) in patch.as_object().unwrap() {
        match value {
            Value::Null => spec.as_object_mut().unwrap().remove(field),
            value => spec.as_object_mut().unwrap().insert(field.clone(), value.clone()),
        };
    }
}
