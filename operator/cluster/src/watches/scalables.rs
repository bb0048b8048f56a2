//! Objects of other kinds that a Workload targets and that have a scale subresource: a `Rollout`, a `ReplicationController`,
//! whatever an operator brings. Their kinds are not known beforehand, so they are not watched but read every few seconds,
//! only those that a Workload names, through discovery and `/scale`. The chart's value `scaleTargets` grants the rights.

use super::light::spec_owner;
use super::marks;
use super::run::{Closed, Outlet};
use crate::client::{call, label};
use crate::error::{Category, ClusterError};
use crate::validate::acceptance::Input;
use homeostat_crds::common::ANNOTATION_DO_NOT_TOUCH_UNTIL;
use homeostat_execute::ports::FreshTarget;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::records::{ApiKind, ControllerKey, OwnerRecord, RunTimes};
use homeostat_knowledge::{ControllerKind, ControllerRecord, Name, ObjectKey};
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks at all of them.
const EVERY: Duration = Duration::from_secs(5);
/// Targets that are followed; each look reads every one.
const MOST: usize = 200;

/// A kind as its API server names it, found by discovery: plurals of strange kinds cannot be guessed.
pub(crate) async fn discover(client: &Client, api: &ApiKind) -> Result<ApiResource, ClusterError> {
    let (group, version) = api.api_version.split_once('/').unwrap_or(("", &api.api_version));
    let kind = GroupVersionKind::gvk(group, version, &api.kind);
    let name = Name::from(format!("{} {}", api.api_version, api.kind));
    let found = call("discover", &name, kube::discovery::pinned_kind(client, &kind)).await;
    // Discovery words an unknown kind in its own way.
    let (resource, _): (ApiResource, _) = found.map_err(|error| match error {
        ClusterError::Bug { .. } => ClusterError::NotFound { verb: "discover", object: name },
        other => other,
    })?;
    Ok(resource)
}

/// The object and its size.
struct Read {
    object: DynamicObject,
    /// `None`: the kind has no scale subresource.
    scale: Option<Scale>,
}

async fn read(client: &Client, kind: &ApiResource, key: &ObjectKey) -> Result<Option<Read>, ClusterError> {
    let name = label(&kind.kind, key);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, kind);
    let Some(object) = call("read", &name, api.get_opt(&key.name)).await? else { return Ok(None) };
    match call("read the scale of", &name, api.get_scale(&key.name)).await {
        Ok(scale) => Ok(Some(Read { object, scale: Some(scale) })),
        Err(ClusterError::NotFound { .. }) => Ok(Some(Read { object, scale: None })),
        Err(error) => Err(error),
    }
}

/// What is kept of it. Readiness and rollout are read where such kinds usually tell them, as a Deployment does.
fn record(kind: &ApiKind, key: &ObjectKey, object: &DynamicObject, scale: &Scale) -> ControllerRecord {
    let count = |field: &str| {
        let value = object.data["status"][field].as_i64()?;
        i32::try_from(value).ok()
    };
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let current = scale.status.as_ref().map_or(0, |status| status.replicas);
    let generation = object.metadata.generation.unwrap_or(0);
    // Some write it as text.
    let observed = match &object.data["status"]["observedGeneration"] {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let (labels, annotations) = (object.labels(), object.annotations());
    let template = object.data["spec"]["template"]["metadata"]["labels"].as_object();
    let template = template
        .into_iter()
        .flatten()
        .filter_map(|(label, value)| Some((Name::from(label.as_str()), Name::from(value.as_str()?))));
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    ControllerRecord {
        key: ControllerKey { kind: ControllerKind::Other, object: key.clone() },
        uid: Uid::new(object.uid().unwrap_or_default()),
        resource_version: Name::from(object.resource_version().unwrap_or_default()),
        generation,
        observed_generation: observed.unwrap_or(generation),
        replicas,
        current,
        ready: count("readyReplicas").unwrap_or(current),
        updated: count("updatedReplicas").unwrap_or(replicas.max(current)),
        revision: None,
        release: None,
        surges: false,
        paused: object.data["spec"]["paused"] == true,
        template_labels: template.collect(),
        owner: owner.map(|owner| OwnerRecord {
            kind: ControllerKind::from_kind(&owner.kind),
            name: Name::from(owner.name.as_str()),
            uid: Uid::new(owner.uid.as_str()),
        }),
        gitops_owner: spec_owner(
            labels,
            annotations,
            owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())),
        )
        .map(|owner| Name::from(&*owner)),
        finished: None,
        run: RunTimes::default(),
        work: None,
        hold: None,
        do_not_touch: annotations.get(ANNOTATION_DO_NOT_TOUCH_UNTIL).map(|text| Name::from(text.as_str())),
        api: Some(Box::new(kind.clone())),
    }
}

/// The object of that kind and name, whatever its UID, read from the API server now.
pub(crate) async fn fresh(
    client: &Client,
    kind: &ApiKind,
    key: &ObjectKey,
) -> Result<Option<FreshTarget>, ClusterError> {
    let resource = discover(client, kind).await?;
    let Some(Read { object, scale }) = read(client, &resource, key).await? else { return Ok(None) };
    let name = label(&kind.kind, key);
    let Some(scale) = scale else {
        return Err(ClusterError::Invalid {
            object: name,
            message: "it has no scale subresource".to_owned(),
        });
    };
    let bug = |error: serde_json::Error| ClusterError::Bug {
        verb: "read",
        object: label(&kind.kind, key),
        message: error.to_string(),
    };
    let marks = marks::read(&serde_json::to_string(&object).map_err(bug)?).map_err(bug)?;
    let record = record(kind, key, &object, &scale);
    Ok(Some(FreshTarget {
        uid: record.uid.clone(),
        resource_version: record.resource_version.clone(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        pod: None,
        controller: Some(record),
        node: None,
        autoscaler: None,
        restarted_by: None,
        marks,
    }))
}

/// Reads them until the receiver is gone. What cannot be read stays as it was: each effect reads it again.
pub(crate) async fn run(client: Client, outlet: Outlet) -> Closed {
    let mut known: BTreeMap<ControllerKey, Option<Arc<ControllerRecord>>> = BTreeMap::new();
    let mut told: BTreeSet<ControllerKey> = BTreeSet::new();
    let mut kinds: HashMap<ApiKind, ApiResource> = HashMap::new();
    loop {
        let wanted = outlet.acceptance.lock().await.scalables(MOST);
        let gone: Vec<_> = known.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        for key in gone {
            known.remove(&key);
            told.remove(&key);
            if let Err(closed) = forget(&outlet, key).await {
                return closed;
            }
        }
        kinds.retain(|kind, _| wanted.values().any(|wanted| wanted == kind));
        for (key, kind) in wanted {
            let known_kind = match kinds.remove(&kind) {
                Some(resource) => Ok(resource),
                None => discover(&client, &kind).await,
            };
            let found = match known_kind {
                Ok(resource) => {
                    let found = read(&client, &resource, &key.object).await;
                    // What is not there may have been defined anew, under another plural.
                    if matches!(&found, Ok(Some(_))) {
                        kinds.insert(kind.clone(), resource);
                    }
                    found
                }
                Err(error) => Err(error),
            };
            let found = match found {
                Ok(found) => found,
                Err(ClusterError::NotFound { .. }) => None,
                Err(error) => {
                    if told.insert(key.clone()) {
                        let denied = matches!(error.category(), Category::Denied);
                        let help = if denied { "; the chart's value scaleTargets grants it" } else { "" };
                        tracing::warn!(target = %key.object, %error, "A target of a Workload cannot be read{help}");
                    }
                    continue;
                }
            };
            told.remove(&key);
            let done = match found {
                None => match known.insert(key.clone(), None) {
                    Some(None) => Ok(()),
                    _ => forget(&outlet, key).await,
                },
                Some(Read { scale: None, .. }) => {
                    known.insert(key.clone(), None);
                    outlet.judge(Input::ControllerNotScaled(key)).await
                }
                Some(Read { object, scale: Some(scale) }) => {
                    let record = Arc::new(record(&kind, &key.object, &object, &scale));
                    let same = known.get(&key).is_some_and(|old| old.as_ref() == Some(&record));
                    known.insert(key.clone(), Some(Arc::clone(&record)));
                    if same { Ok(()) } else { tell(&outlet, key, record).await }
                }
            };
            if let Err(closed) = done {
                return closed;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn tell(outlet: &Outlet, key: ControllerKey, record: Arc<ControllerRecord>) -> Result<(), Closed> {
    outlet.tell(ObjectChange::Controller(Change::Applied(record))).await?;
    outlet.judge(Input::ControllerSeen(key)).await
}

async fn forget(outlet: &Outlet, key: ControllerKey) -> Result<(), Closed> {
    outlet.tell(ObjectChange::Controller(Change::Deleted(key.clone()))).await?;
    outlet.judge(Input::ControllerGone(key)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(status: &Value) -> (DynamicObject, Scale) {
        let object = serde_json::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": { "name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "12", "generation": 3 },
            "spec": { "template": { "metadata": { "labels": { "app": "web" } } } },
            "status": status,
        }))
        .unwrap();
        let scale = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "resourceVersion": "12" },
            "spec": { "replicas": 4 }, "status": { "replicas": 3 },
        }))
        .unwrap();
        (object, scale)
    }

    fn kind() -> ApiKind {
        ApiKind { api_version: "argoproj.io/v1alpha1".into(), kind: "Rollout".into() }
    }

    #[test]
    fn a_kind_that_is_not_known_here_is_read_by_its_scale_and_by_what_such_kinds_usually_tell() {
        let key = ObjectKey::new("shop", "web");
        let (object, scale) = rollout(&json!({
            "readyReplicas": 2, "updatedReplicas": 3, "observedGeneration": "3",
        }));
        let found = record(&kind(), &key, &object, &scale);
        assert_eq!((found.replicas, found.current, found.ready, found.updated), (4, 3, 2, 3));
        assert_eq!((&*found.uid.0, &*found.resource_version), ("u-1", "12"));
        assert!(found.rolling_out(), "three of four are of the newest template");
        let target = homeostat_knowledge::Snapshot::controller_target(&found).expect("a target");
        assert_eq!((&*target.api_version, &*target.kind), ("argoproj.io/v1alpha1", "Rollout"));

        let (object, scale) = rollout(&json!({}));
        let found = record(&kind(), &key, &object, &scale);
        assert_eq!((found.ready, found.updated), (3, 4), "nothing else is told: what exists counts");
        assert!(!found.rolling_out());
    }
}
