//! Faults that people make: releases that cannot run, and a quota that leaves no room.

use std::time::Duration;

use homeostat_crds::v1alpha1::Workload;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::demo::DemoError;
use crate::demo::application::NAMESPACE;
use crate::demo::column::Stage;
use crate::faults::World;
use crate::truth::At;

/// Which release.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Its process ends at every start.
    EndsAtStart,
    /// The same, and its people say that releases change nothing beside the pods.
    EndsAtStartAlone,
    /// Its image is nowhere.
    NoImage,
    /// Its readiness is asked for at a path that there is not.
    WrongProbe,
}

const QUOTA: &str = "no-more-pods";
/// The quota's own count is up to date within this time.
const COUNTED: Duration = Duration::from_secs(2);

fn api_error(action: impl Into<String>) -> impl FnOnce(kube::Error) -> DemoError {
    let action = action.into();
    move |source| DemoError::Api { action, source: Box::new(source) }
}

fn deployments(world: &World) -> Api<Deployment> {
    Api::namespaced(world.client.clone(), NAMESPACE)
}

/// Releases it.
pub async fn inject(world: &World, what: What, service: &str) -> Result<At, DemoError> {
    let container = match what {
        What::EndsAtStart | What::EndsAtStartAlone => json!({ "name": service, "args": ["no-such-role"] }),
        What::NoImage => {
            json!({ "name": service, "image": "registry.invalid/food-delivery:next", "imagePullPolicy": "Always" })
        }
        What::WrongProbe => {
            json!({ "name": service, "readinessProbe": { "httpGet": { "path": "/no-such-path" } } })
        }
    };
    if matches!(what, What::EndsAtStartAlone) {
        allow(world, service, &["RollBackUnasked"]).await?;
    }
    let at = At::now();
    patch(world, service, &container).await?;
    Ok(at)
}

/// What the people of the service allow.
async fn allow(world: &World, service: &str, allowed: &[&str]) -> Result<(), DemoError> {
    let workloads: Api<Workload> = Api::namespaced(world.client.clone(), NAMESPACE);
    let patch = json!({ "spec": { "allow": allowed } });
    workloads
        .patch(service, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map_err(api_error(format!("say what Workload {service} allows")))?;
    Ok(())
}

/// Whether the program that served before is rolled out again.
pub async fn taken_back(world: &World, service: &str) -> Result<bool, DemoError> {
    let deployment = deployments(world).get(service).await.map_err(api_error(format!("read {service}")))?;
    let spec = deployment.spec;
    let Some(status) = deployment.status else { return Ok(false) };
    let wanted = spec.replicas.unwrap_or(1);
    let seen = status.observed_generation == deployment.metadata.generation;
    let pods = [status.replicas, status.updated_replicas, status.ready_replicas];
    let container = spec.template.spec.and_then(|spec| spec.containers.into_iter().next());
    let good = container.and_then(|container| container.args).is_some_and(|args| args == [service]);
    Ok(good && seen && pods.iter().all(|count| *count == Some(wanted)))
}

/// Releases the revision before, as `kubectl rollout undo` does.
pub async fn restore(world: &World, service: &str) -> Result<(), DemoError> {
    let good = json!({
        "name": service,
        "args": [service],
        "image": world_image(world, service).await?,
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": { "httpGet": { "path": "/readyz" } },
    });
    patch(world, service, &good).await?;
    allow(world, service, &[]).await
}

/// The image of the gateway, which is never released anew here: all services run the same one.
async fn world_image(world: &World, service: &str) -> Result<String, DemoError> {
    let gateway = deployments(world).get("gateway").await.map_err(api_error("read the gateway"))?;
    let containers = gateway.spec.template.spec.map(|spec| spec.containers);
    let image = containers.and_then(|all| all.into_iter().next()).and_then(|one| one.image);
    image.ok_or_else(|| DemoError::Broken(format!("the gateway has no image to bring {service} back with")))
}

async fn patch(world: &World, service: &str, container: &Value) -> Result<(), DemoError> {
    let patch = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    deployments(world)
        .patch(service, &PatchParams::default(), &Patch::Strategic(&patch))
        .await
        .map_err(api_error(format!("release {service}")))?;
    Ok(())
}

/// Allows the namespace no pod beside those it has, then loses one.
pub async fn exhaust_quota(stage: &Stage, world: &World, service: &str) -> Result<At, DemoError> {
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), NAMESPACE);
    let quota = json!({
        "metadata": { "name": QUOTA },
        "spec": { "hard": { "pods": "0" } },
    });
    let quota: ResourceQuota =
        serde_json::from_value(quota).map_err(|error| DemoError::Broken(format!("the quota: {error}")))?;
    quotas.create(&PostParams::default(), &quota).await.map_err(api_error("create the quota"))?;
    stage.live.say("quota     no further pod in the namespace");
    tokio::time::sleep(COUNTED).await;
    let at = At::now();
    world.replace_pods(service).await?;
    Ok(at)
}

/// Removes the quota.
pub async fn lift_quota(world: &World) -> Result<(), DemoError> {
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), NAMESPACE);
    match quotas.delete(QUOTA, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(api_error("remove the quota")(error)),
    }
}
