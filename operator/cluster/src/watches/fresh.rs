//! One object read from the API server itself, as a record.

use super::controllers::{
    self, ControllerObject, CronJobs, DaemonSets, Deployments, Jobs, ReplicaSets, Sort, StatefulSets,
};
use super::light::{Body, Interner, Light, Meta};
use super::marks;
use super::nodes::{self, NodeObject};
use super::pods::{self, PodObject};
use crate::client::{call, label};
use crate::error::ClusterError;
use homeostat_crds::common::ANNOTATION_CREATED_BY;
use homeostat_execute::actions::retry_name;
use homeostat_execute::ports::{FreshTarget, Marks};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::runs::made_name;
use homeostat_knowledge::{ControllerKind, Name, ObjectKey, Target, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A body, and the marks that only a fresh read looks at: watches skip them, they are most of an object.
#[derive(Clone, Debug)]
struct Marked<B> {
    body: B,
    marks: Marks,
}

impl<'de, B: Body> Deserialize<'de> for Marked<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let body = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let marks = marks::read(text.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { body, marks })
    }
}

impl<B: Body> Body for Marked<B> {
    type Kind = B::Kind;

    fn meta(&self) -> &Meta {
        self.body.meta()
    }
}

/// The pod of that name, whatever its UID.
pub(crate) async fn fresh_pod(client: &Client, key: &ObjectKey) -> Result<Option<FreshTarget>, ClusterError> {
    let api = Api::namespaced(client.clone(), &key.namespace);
    let Some((found, version)) = read::<Marked<PodObject>>(api, key).await? else { return Ok(None) };
    let record = pods::record(&found.body, key.clone(), version.clone(), &mut Interner::default());
    Ok(Some(FreshTarget {
        uid: record.uid.clone(),
        resource_version: version,
        deleting: record.deleting,
        pod: Some(record),
        controller: None,
        node: None,
        autoscaler: None,
        restarted_by: None,
        marks: found.marks,
    }))
}

/// The node of that name, whatever its UID.
pub(crate) async fn fresh_node(
    client: &Client,
    key: &ObjectKey,
) -> Result<Option<FreshTarget>, ClusterError> {
    let api = Api::all(client.clone());
    let Some((found, version)) = read::<Marked<NodeObject>>(api, key).await? else { return Ok(None) };
    let record = nodes::record(&found.body, &mut Interner::default());
    Ok(Some(FreshTarget {
        uid: record.uid.clone(),
        resource_version: version,
        deleting: found.body.meta().deletion_timestamp.is_some(),
        pod: None,
        controller: None,
        node: Some(record),
        autoscaler: None,
        restarted_by: None,
        marks: found.marks,
    }))
}

/// The Job of that name, whatever its UID, and whether it was retried.
pub(crate) async fn fresh_job(client: &Client, target: &Target) -> Result<Option<FreshTarget>, ClusterError> {
    let Some(mut found) = fresh::<Jobs>(client, &target.key).await? else { return Ok(None) };
    found.marks.retried_by = created_by(client, &target.key, retry_name(target)).await?;
    Ok(Some(found))
}

/// The `CronJob` of that name, whatever its UID, and who made the Job of it that is made at `slot`.
pub(crate) async fn fresh_cron_job(
    client: &Client,
    target: &Target,
    slot: Timestamp,
) -> Result<Option<FreshTarget>, ClusterError> {
    let Some(mut found) = fresh::<CronJobs>(client, &target.key).await? else { return Ok(None) };
    found.marks.made_by = created_by(client, &target.key, made_name(target, slot)).await?;
    Ok(Some(found))
}

/// Who created the Job of this name beside an object; `None` where there is none.
async fn created_by(client: &Client, beside: &ObjectKey, name: Name) -> Result<Option<Name>, ClusterError> {
    let key = ObjectKey { namespace: beside.namespace.clone(), name };
    let api = Api::namespaced(client.clone(), &key.namespace);
    let found = read::<ControllerObject<Jobs>>(api, &key).await?;
    Ok(found.map(|(job, _)| {
        let by = job.meta().annotations.get(ANNOTATION_CREATED_BY);
        Name::from(by.map_or("somebody else", String::as_str))
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
    let api = Api::namespaced(client.clone(), &key.namespace);
    let Some((found, version)) = read::<Marked<ControllerObject<S>>>(api, key).await? else {
        return Ok(None);
    };
    let (body, mut marks) = (found.body, found.marks);
    marks.rolled_back_by = controllers::rolled_back_by(&body);
    let (uid, deleting): (Uid, bool) = controllers::identity(&body);
    let restarted_by = controllers::restarted_by(&body);
    let record = controllers::record(&body, key.clone(), version.clone(), &mut Interner::default());
    Ok(Some(FreshTarget {
        uid,
        resource_version: version,
        deleting,
        pod: None,
        controller: Some(record),
        node: None,
        autoscaler: None,
        restarted_by,
        marks,
    }))
}

async fn read<B: Body>(api: Api<Light<B>>, key: &ObjectKey) -> Result<Option<(B, Name)>, ClusterError>
where
    B::Kind: Resource<DynamicType = ()>,
{
    let name = label(&B::Kind::kind(&()), key);
    let Some(object) = call("read", &name, api.get_opt(&key.name)).await? else { return Ok(None) };
    let version = Name::from(object.version());
    match object.body {
        Ok(body) => Ok(Some((body, version))),
        Err(message) => Err(ClusterError::Bug { verb: "read", object: name, message }),
    }
}
