//! Is Kueue installed, and which queues are there? Where it is, it orders the Jobs that are labelled with its queues.

use crate::client::call;
use crate::error::ClusterError;
use homeostat_knowledge::observation::{ObjectChange, Observation, Signal};
use homeostat_knowledge::runs::KueueQueues;
use homeostat_knowledge::{Clock, Entity, Name};
use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
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
/// Versions that are asked for at most.
const MOST_VERSIONS: usize = 8;

const GROUP: &str = "kueue.x-k8s.io";

/// Versions of Kueue's definitions that the API server serves, the preferred one first; none where it serves none.
async fn versions(client: &Client) -> Result<Vec<String>, ClusterError> {
    let request = Request::get(format!("/apis/{GROUP}")).body(Vec::new());
    let request = request.map_err(|error| ClusterError::NoCluster { message: error.to_string() })?;
    let group =
        match call("read", &Name::from("API group of Kueue"), client.request::<APIGroup>(request)).await {
            Ok(group) => group,
            Err(ClusterError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
    let first = group.preferred_version.map(|preferred| preferred.version);
    let others = group.versions.into_iter().map(|served| served.version);
    let others: Vec<String> = others.filter(|version| Some(version) != first.as_ref()).collect();
    Ok(first.into_iter().chain(others).take(MOST_VERSIONS).collect())
}

/// Queues by namespace; `None` when Kueue's definitions are not served.
pub async fn queues(client: &Client) -> Result<Option<KueueQueues>, ClusterError> {
    let mut served = None;
    for version in versions(client).await? {
        let kind = GroupVersionKind::gvk(GROUP, &version, "LocalQueue");
        let kind = ApiResource::from_gvk_with_plural(&kind, "localqueues");
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let list = ListParams::default().limit(MOST);
        match call("list", &Name::from("LocalQueues"), api.list_metadata(&list)).await {
            Ok(list) => {
                served = Some(list);
                break;
            }
            // This version has other kinds only.
            Err(ClusterError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let Some(found) = served else { return Ok(None) };
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

/// Tells of the first answer and of every change until `stop`. What cannot be read counts as it was; that is said once, until
/// it can be read again.
pub async fn run(
    client: Client,
    clock: Arc<dyn Clock>,
    out: mpsc::Sender<Observation>,
    stop: CancellationToken,
) {
    let mut told: Option<Option<KueueQueues>> = None;
    let mut failing = false;
    loop {
        let answer = queues(&client).await;
        let failed = answer.is_err();
        match answer {
            Ok(found) if told.as_ref() != Some(&found) => {
                let now = clock.now();
                let change = ObjectChange::Kueue(found.clone().map(Arc::new));
                told = Some(found);
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
            Err(error) if !failing => {
                let category = error.category().name();
                tracing::warn!(category, %error, "Queues of Kueue cannot be read; what was known of them counts on");
            }
            Ok(_) | Err(_) => {}
        }
        failing = failed;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
