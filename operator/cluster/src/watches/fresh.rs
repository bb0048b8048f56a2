//! One object read from the API server itself, as a record.

use super::controllers::{
    self, ControllerObject, CronJobs, DaemonSets, Deployments, Jobs, ReplicaSets, Sort, StatefulSets,
};
use super::light::{Body, Interner, Light};
use super::pods::{self, PodObject};
use crate::client::{call, label};
use crate::error::ClusterError;
use homeostat_execute::ports::FreshTarget;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::{ControllerKind, Name, ObjectKey};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// The pod of that name, whatever its UID.
pub(crate) async fn fresh_pod(client: &Client, key: &ObjectKey) -> Result<Option<FreshTarget>, ClusterError> {
    let Some((body, version)) = read::<PodObject>(client, key).await? else { return Ok(None) };
    let record = pods::record(&body, key.clone(), version.clone(), &mut Interner::default());
    Ok(Some(FreshTarget {
        uid: record.uid.clone(),
        resource_version: version,
        deleting: record.deleting,
        pod: Some(record),
        controller: None,
        restarted_by: None,
    }))
}

/// The controller of that kind and name, whatever its UID.
pub(crate) async fn fresh_controller(
    client: &Client,
    kind: ControllerKind,
    key: &ObjectKey,
) -> Result<Option<FreshTarget>, ClusterError> {
    match kind {
        ControllerKind::Deployment => fresh::<Deployments>(client, key).await,
        ControllerKind::ReplicaSet => fresh::<ReplicaSets>(client, key).await,
        ControllerKind::StatefulSet => fresh::<StatefulSets>(client, key).await,
        ControllerKind::DaemonSet => fresh::<DaemonSets>(client, key).await,
        ControllerKind::Job => fresh::<Jobs>(client, key).await,
        ControllerKind::CronJob => fresh::<CronJobs>(client, key).await,
        ControllerKind::Other => Err(ClusterError::Invalid {
            object: Name::from(key.to_string()),
            message: "actions on this kind are not supported".to_owned(),
        }),
    }
}

async fn fresh<S: Sort>(client: &Client, key: &ObjectKey) -> Result<Option<FreshTarget>, ClusterError>
where
    S::Wire: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let Some((body, version)) = read::<ControllerObject<S>>(client, key).await? else { return Ok(None) };
    let (uid, deleting): (Uid, bool) = controllers::identity(&body);
    let restarted_by = controllers::restarted_by(&body);
    let record = controllers::record(&body, key.clone(), version.clone(), &mut Interner::default());
    Ok(Some(FreshTarget {
        uid,
        resource_version: version,
        deleting,
        pod: None,
        controller: Some(record),
        restarted_by,
    }))
}

async fn read<B: Body>(client: &Client, key: &ObjectKey) -> Result<Option<(B, Name)>, ClusterError>
where
    B::Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<Light<B>> = Api::namespaced(client.clone(), &key.namespace);
    let name = label(&B::Kind::kind(&()), key);
    let Some(object) = call("read", &name, api.get_opt(&key.name)).await? else { return Ok(None) };
    let version = Name::from(object.version());
    match object.body {
        Ok(body) => Ok(Some((body, version))),
        Err(message) => Err(ClusterError::Bug { verb: "read", object: name, message }),
    }
}
