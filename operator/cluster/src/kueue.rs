//! Is Kueue installed, and which queues are there? Where it is, it orders the Jobs that are labelled with its queues.

use crate::client::call;
use crate::error::ClusterError;
use homeostat_knowledge::observation::{ObjectChange, Observation, Signal};
use homeostat_knowledge::runs::KueueQueues;
use homeostat_knowledge::{Clock, Entity, Name};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Queues come and go rarely.
const EVERY: Duration = Duration::from_mins(1);
/// Queues that are kept at most.
const MOST: u32 = 5_000;

/// Queues by namespace; `None` when Kueue's definitions are not served.
pub async fn queues(client: &Client) -> Result<Option<KueueQueues>, ClusterError> {
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kueue.x-k8s.io", "v1beta1", "LocalQueue"),
        "localqueues",
    );
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let list = ListParams::default().limit(MOST);
    let found = match call("list", &Name::from("LocalQueues"), api.list_metadata(&list)).await {
        Ok(found) => found,
        Err(ClusterError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut queues = KueueQueues::new();
    for queue in found {
        let namespace = Name::from(queue.namespace().unwrap_or_default());
        queues.entry(namespace).or_default().push(Name::from(queue.name_any()));
    }
    for names in queues.values_mut() {
        names.sort();
    }
    Ok(Some(queues))
}

/// Tells of every change until `stop`. What cannot be read counts as it was.
pub async fn run(
    client: Client,
    clock: Arc<dyn Clock>,
    out: mpsc::Sender<Observation>,
    stop: CancellationToken,
) {
    let mut told: Option<KueueQueues> = None;
    loop {
        match queues(&client).await {
            Ok(found) if found != told => {
                told = found;
                let now = clock.now();
                let change = ObjectChange::Kueue(told.clone().map(Arc::new));
                let observation = Observation {
                    tenant: None,
                    entity: Entity::Cluster,
                    event_time: now,
                    arrival_time: now,
                    signal: Signal::Object(change),
                };
                if out.send(observation).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "Queues of Kueue cannot be read"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
