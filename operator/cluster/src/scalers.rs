//! What else scales the targets of workloads: `HorizontalPodAutoscaler`s, also those that KEDA made. Asked for once a
//! minute while a workload is scaled, and kept as it was when it cannot be read: the effect asks again.

use crate::client::{call, label};
use crate::error::ClusterError;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{ControllerKind, Name, ObjectKey, SnapshotSource};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Time between two questions.
const EVERY: Duration = Duration::from_mins(1);
/// Autoscalers of one answer, and answers that are asked for.
const PAGE: u32 = 500;
const PAGES: usize = 40;
/// Label of KEDA on the autoscalers that it made.
const KEDA: &str = "scaledobject.keda.sh/name";

/// What scales each target by itself.
pub type Scalers = Arc<BTreeMap<ControllerKey, Scaler>>;

/// All autoscalers in these namespaces, by what they scale; empty means all namespaces.
///
/// # Errors
/// What the API server answered.
pub async fn read(
    client: &Client,
    namespaces: &BTreeSet<String>,
) -> Result<BTreeMap<ControllerKey, Scaler>, ClusterError> {
    let apis: Vec<Api<HorizontalPodAutoscaler>> = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let all = label("HorizontalPodAutoscaler", &ObjectKey::new("", "all"));
    let mut scalers = BTreeMap::new();
    for api in apis {
        let mut next = None;
        for _ in 0..PAGES {
            let params = ListParams { limit: Some(PAGE), continue_token: next, ..ListParams::default() };
            let page = call("list", &all, api.list(&params)).await?;
            scalers.extend(page.items.into_iter().filter_map(scaler));
            next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
    }
    Ok(scalers)
}

fn scaler(object: HorizontalPodAutoscaler) -> Option<(ControllerKey, Scaler)> {
    let target = object.spec.scale_target_ref;
    let key = ControllerKey {
        kind: ControllerKind::from_kind(&target.kind),
        object: ObjectKey::new(object.metadata.namespace?, target.name),
    };
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    let keda = object.metadata.labels.as_ref().and_then(|labels| labels.get(KEDA));
    let scaler = match keda {
        Some(name) => Scaler::Keda { name: Name::from(name.as_str()) },
        None => Scaler::Hpa {
            name: Name::from(object.metadata.name.unwrap_or_default()),
            min: count(object.spec.min_replicas.unwrap_or(1)),
            max: count(object.spec.max_replicas),
        },
    };
    Some((key, scaler))
}

/// Asks until `stop`.
pub async fn run(
    client: Client,
    namespaces: BTreeSet<String>,
    snapshots: Arc<dyn SnapshotSource>,
    out: watch::Sender<Scalers>,
    stop: CancellationToken,
) {
    let mut told = false;
    loop {
        let scaled =
            snapshots.current().workloads.values().any(|workload| workload.permits.scaling.is_some());
        if scaled {
            match read(&client, &namespaces).await {
                Ok(scalers) => {
                    told = false;
                    out.send_replace(Arc::new(scalers));
                }
                // Without the right nothing is scaled either; the role of the action grants both.
                Err(error) if !told => {
                    told = true;
                    tracing::info!(category = error.category().name(), %error, "Autoscalers are not known");
                }
                Err(_) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if scaled { EVERY } else { EVERY / 6 }) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_autoscaler_is_found_by_what_it_scales_and_one_of_keda_is_told_apart() {
        let object = |labels| {
            serde_json::from_value(json!({
                "metadata": { "name": "web", "namespace": "shop", "labels": labels },
                "spec": { "maxReplicas": 9,
                          "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web-app" } },
            }))
            .unwrap()
        };
        let (key, found) = scaler(object(json!({}))).unwrap();
        assert_eq!((key.kind, &*key.object.name), (ControllerKind::Deployment, "web-app"));
        assert_eq!(found, Scaler::Hpa { name: "web".into(), min: 1, max: 9 });
        let (_, found) = scaler(object(json!({ KEDA: "queue" }))).unwrap();
        assert_eq!(found, Scaler::Keda { name: "queue".into() });
    }
}
