//! Sends effects and reads what they are about. Every read goes to the API server, every effect is conditional.

use crate::client::{FIELD_MANAGER, call, label};
use crate::error::{Category, ClusterError};
use crate::validate::kill_switch;
use crate::watches::fresh::{fresh_controller, fresh_pod};
use homeostat_crds::common::ANNOTATION_RESTARTED_BY;
use homeostat_crds::v1alpha1::{ControlPlane, control_plane};
use homeostat_execute::ports::{Acknowledged, Actuator, EffectError, FreshTarget, ReadError, Refusal};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{ActionId, ControllerKind, Name, ObjectKey, Parameters, SignedDuration, Target};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, Client};
use serde_json::json;

/// The hands over the API server.
#[derive(Clone)]
pub struct ApiActuator {
    client: Client,
}

impl ApiActuator {
    /// Hands that use `client`. Take one from [`crate::connect`]: a client that repeats refused requests by
    /// itself would send evictions again that a disruption budget refused.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sends, or with `dry_run` only tries, the effect.
    async fn send(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        version: Option<&str>,
        dry_run: bool,
    ) -> Result<String, ClusterError> {
        match parameters {
            Parameters::EvictPod => self.evict(target, dry_run).await,
            Parameters::RollingRestart => self.restart(target, action, version, dry_run).await,
            Parameters::Notify { .. } => Ok("nothing to change".to_owned()),
        }
    }

    /// The eviction is built here because the precondition is the point of it: without the UID a pod of the
    /// same name that came up meanwhile would be evicted. The grace period stays the pod's own.
    async fn evict(&self, target: &Target, dry_run: bool) -> Result<String, ClusterError> {
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(target.key.name.to_string()),
                namespace: Some(target.key.namespace.to_string()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                preconditions: Some(Preconditions {
                    uid: Some(target.uid.to_string()),
                    resource_version: None,
                }),
                ..DeleteOptions::default()
            }),
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &target.key.namespace);
        let params = PostParams { dry_run, field_manager: None };
        let name = label("Pod", &target.key);
        let answer: Status =
            call("evict", &name, api.create_subresource("eviction", &target.key.name, &params, &eviction))
                .await?;
        Ok(if answer.message.is_empty() { "eviction created".to_owned() } else { answer.message })
    }

    /// The workload's own rollout: the pod template's annotation names the action, so doing it again changes
    /// nothing. UID and version in the patch make the API server refuse another object or another state.
    async fn restart(
        &self,
        target: &Target,
        action: &ActionId,
        version: Option<&str>,
        dry_run: bool,
    ) -> Result<String, ClusterError> {
        let name = label(&target.kind, &target.key);
        let kind = ControllerKind::from_kind(&target.kind);
        let known = kind.api().is_some_and(|(api_version, _)| api_version == &*target.api_version);
        let rolls = matches!(
            kind,
            ControllerKind::Deployment | ControllerKind::StatefulSet | ControllerKind::DaemonSet
        );
        if !known || !rolls {
            let message = format!("a {} has no rollout of its own", target.kind);
            return Err(ClusterError::Invalid { object: name, message });
        }
        let mut metadata = json!({ "uid": target.uid.as_str() });
        if let Some(version) = version {
            metadata["resourceVersion"] = json!(version);
        }
        let patch = json!({
            "metadata": metadata,
            "spec": { "template": { "metadata": { "annotations": { ANNOTATION_RESTARTED_BY: action.as_str() } } } },
        });
        let (group, api_version) = target.api_version.split_once('/').unwrap_or(("", &target.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, api_version, &target.kind));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &target.key.namespace, &resource);
        let params =
            PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        call("restart", &name, api.patch(&target.key.name, &params, &Patch::Merge(&patch)))
            .await
            .map(|_| "rollout started".to_owned())
            .map_err(|error| match error {
                // UIDs cannot be changed, and that is how the API server says that this is another object.
                ClusterError::Invalid { object, message } if message.contains("metadata.uid") => {
                    ClusterError::Conflict { verb: "restart", object, message }
                }
                other => other,
            })
    }
}

impl Actuator for ApiActuator {
    async fn kill_switch(&self) -> Result<KillSwitch, ReadError> {
        let api: Api<ControlPlane> = Api::all(self.client.clone());
        let key = ObjectKey::new("", control_plane::NAME);
        // A get without a version is answered from the store, not from the API server's watch cache.
        match call("read", &label("ControlPlane", &key), api.get_opt(control_plane::NAME)).await {
            Ok(Some(object)) => Ok(kill_switch(&object)),
            Ok(None) | Err(ClusterError::Bug { .. }) => Ok(KillSwitch::Unreadable),
            Err(error) => Err(read_error(&error)),
        }
    }

    async fn fresh_target(&self, target: &Target) -> Result<Option<FreshTarget>, ReadError> {
        let fresh = match ControllerKind::from_kind(&target.kind) {
            ControllerKind::Other if &*target.kind == "Pod" => fresh_pod(&self.client, &target.key).await,
            kind => fresh_controller(&self.client, kind, &target.key).await,
        };
        fresh.map_err(|error| read_error(&error))
    }

    async fn dry_run(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
    ) -> Result<(), Refusal> {
        let Err(error) = self.send(target, parameters, action, None, true).await else { return Ok(()) };
        let message = error.to_string();
        Err(match error {
            ClusterError::Waiting { by_budget: true, message, .. } => Refusal::BlockedByBudget(message),
            _ if matches!(error.category(), Category::Waiting | Category::Transient) => {
                Refusal::Unavailable(message)
            }
            _ => Refusal::WouldFail(message),
        })
    }

    async fn effect(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        resource_version: &Name,
    ) -> Result<Acknowledged, EffectError> {
        match self.send(target, parameters, action, Some(resource_version), false).await {
            Ok(message) => Ok(Acknowledged { message }),
            Err(error) => Err(effect_error(error)),
        }
    }
}

fn read_error(error: &ClusterError) -> ReadError {
    match error.category() {
        Category::Denied | Category::Invalid => ReadError::Denied(error.to_string()),
        _ => ReadError::Unavailable(error.to_string()),
    }
}

fn effect_error(error: ClusterError) -> EffectError {
    let text = error.to_string();
    match error {
        ClusterError::NotFound { .. } => EffectError::NotFound,
        ClusterError::Conflict { message, .. } => EffectError::Conflict(message),
        ClusterError::Waiting { by_budget: true, message, .. } => EffectError::BlockedByBudget(message),
        ClusterError::Waiting { after, .. } => EffectError::Transient {
            reason: text,
            retry_after: after.and_then(|after| SignedDuration::try_from(after).ok()),
        },
        ClusterError::Transient { unsent: true, .. } => {
            EffectError::Transient { reason: text, retry_after: None }
        }
        // The answer was lost or not understood: the effect may be there.
        ClusterError::Transient { .. } | ClusterError::Bug { .. } => EffectError::Unknown(text),
        ClusterError::Exists { .. } | ClusterError::Invalid { .. } | ClusterError::Denied { .. } => {
            EffectError::Denied(text)
        }
    }
}
