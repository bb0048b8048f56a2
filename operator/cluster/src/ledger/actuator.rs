//! Sends effects and reads what they are about. Every read goes to the API server, every effect is conditional.

use super::hands::Hand;
use super::write::{Request, Write};
use crate::audit_id::{dated, heard};
use crate::autoscaler;
use crate::client::{call, label};
use crate::error::{Category, ClusterError};
use crate::validate::effects_switch;
use crate::watches::fresh::{fresh_controller, fresh_cron_job, fresh_job, fresh_node, fresh_pod};
use crate::watches::scalables;
use homeostat_crds::v1alpha1::{ControlPlane, control_plane};
use homeostat_execute::ports::{Acknowledged, Actuator, EffectError, FreshTarget, ReadError, Refusal};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::records::{Amounts, ApiKind};
use homeostat_knowledge::{
    ActionId, ControllerKind, Name, ObjectKey, Parameters, SignedDuration, Target, Timestamp,
};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::{Api, Client};

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

    /// The effect, or with `dry_run` the try of it, as one write; all that it needs is read here.
    async fn make(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        version: Option<&str>,
        dry_run: bool,
    ) -> Result<Write, ClusterError> {
        let hand = Hand { client: &self.client, target, action, version, dry_run };
        match parameters {
            Parameters::EvictPod { grace_seconds } => Ok(self.evict(&hand, *grace_seconds)),
            Parameters::RollingRestart => hand.restart(),
            Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => {
                hand.scale(*replicas).await
            }
            Parameters::DriveBounds { bounds, until } => hand.drive(*bounds, *until).await,
            Parameters::RollBack { revision } => hand.roll_back(revision).await,
            Parameters::Cordon { until } => Ok(hand.hold("unschedulable", *until)),
            Parameters::Uncordon => Ok(hand.release("unschedulable")),
            Parameters::Suspend { until } => Ok(hand.hold("suspend", *until)),
            Parameters::Resume => Ok(hand.release("suspend")),
            Parameters::RetryJob => hand.retry(Amounts::default()).await,
            Parameters::StartJob { cpu_millis, memory_bytes, parallelism } => {
                let sizes = Amounts { cpu_millis: *cpu_millis, memory_bytes: *memory_bytes };
                hand.start(sizes, *parallelism).await
            }
            Parameters::CreateJob { slot } => hand.create_job(*slot).await,
            Parameters::ResizePod {
                container,
                cpu_millis,
                cpu_limit_millis,
                memory_bytes,
                memory_limit_bytes,
            } => {
                let sizes = Amounts { cpu_millis: *cpu_millis, memory_bytes: *memory_bytes };
                let limits = Amounts { cpu_millis: *cpu_limit_millis, memory_bytes: *memory_limit_bytes };
                hand.resize(container, sizes, limits)
            }
            Parameters::Notify { .. } => Ok(Write::nothing(hand.name(), dry_run)),
        }
    }

    /// What else in the cluster would change the target back; asked before each effect that it concerns.
    async fn owner(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
    ) -> Result<Option<String>, ClusterError> {
        let hand = Hand { client: &self.client, target, action, version: None, dry_run: true };
        match parameters {
            Parameters::ScaleUp { .. } | Parameters::ScaleDown { .. } => hand.scaler().await,
            Parameters::DriveBounds { .. } => hand.rivals().await,
            _ => Ok(None),
        }
    }

    /// The disruption budget that a smaller size would leave without the pods that it wants.
    async fn budget(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
    ) -> Result<Option<String>, ClusterError> {
        let Parameters::ScaleDown { replicas } = parameters else { return Ok(None) };
        let hand = Hand { client: &self.client, target, action, version: None, dry_run: true };
        hand.budget(*replicas).await
    }

    /// The eviction is built here because the precondition is the point of it: without the UID a pod of the
    /// same name that came up meanwhile would be evicted. Without `grace_seconds` the grace period is the pod's own.
    fn evict(&self, hand: &Hand<'_>, grace_seconds: Option<u32>) -> Write {
        let target = hand.target;
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(target.key.name.to_string()),
                namespace: Some(target.key.namespace.to_string()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                grace_period_seconds: grace_seconds.map(i64::from),
                preconditions: Some(Preconditions {
                    uid: Some(target.uid.to_string()),
                    resource_version: None,
                }),
                ..DeleteOptions::default()
            }),
        };
        let api = Api::namespaced(self.client.clone(), &target.key.namespace);
        let request = Request::Evict { api, name: target.key.name.clone(), eviction: Box::new(eviction) };
        hand.write("evict", label("Pod", &target.key), request, "eviction created")
    }

    /// Prepares and sends at once, without the last look between the two that the executor takes.
    ///
    /// # Errors
    /// As for [`Actuator::prepare`] and [`Actuator::send`].
    pub async fn effect(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        resource_version: &Name,
    ) -> Result<Acknowledged, EffectError> {
        let write = self.prepare(target, parameters, action, resource_version).await?;
        Actuator::send(self, write).await
    }
}

impl Actuator for ApiActuator {
    type Prepared = Write;

    async fn kill_switch_and_time(&self) -> Result<(KillSwitch, Option<Timestamp>), ReadError> {
        // Boxed, as every future of a request: it is large.
        let (switch, time) = dated(Box::pin(self.kill_switch())).await;
        Ok((switch?, time))
    }

    async fn kill_switch(&self) -> Result<KillSwitch, ReadError> {
        let api: Api<ControlPlane> = Api::all(self.client.clone());
        let key = ObjectKey::new("", control_plane::NAME);
        // A get without a version is answered from the store, not from the API server's watch cache.
        match call("read", &label("ControlPlane", &key), api.get_opt(control_plane::NAME)).await {
            Ok(Some(object)) => Ok(effects_switch(&object).unwrap_or_else(|why| {
                tracing::warn!(%why, "The ControlPlane is invalid; nothing is done until it is mended");
                KillSwitch::Unreadable
            })),
            Ok(None) | Err(ClusterError::Bug { .. }) => Ok(KillSwitch::Unreadable),
            Err(error) => Err(read_error(&error)),
        }
    }

    async fn fresh_target(&self, target: &Target) -> Result<Option<FreshTarget>, ReadError> {
        let fresh = match ControllerKind::from_kind(&target.kind) {
            ControllerKind::Other if &*target.kind == "Pod" => fresh_pod(&self.client, &target.key).await,
            ControllerKind::Other if &*target.kind == autoscaler::KIND => {
                autoscaler::fresh(&self.client, &target.key).await
            }
            ControllerKind::Other if target.is_node() => fresh_node(&self.client, &target.key).await,
            ControllerKind::Job => fresh_job(&self.client, target).await,
            ControllerKind::Other => scalables::fresh(&self.client, &kind_of(target), &target.key).await,
            kind => fresh_controller(&self.client, kind, &target.key).await,
        };
        fresh.map_err(|error| read_error(&error))
    }

    async fn fresh_for(
        &self,
        target: &Target,
        parameters: &Parameters,
    ) -> Result<Option<FreshTarget>, ReadError> {
        let Parameters::CreateJob { slot } = parameters else { return self.fresh_target(target).await };
        fresh_cron_job(&self.client, target, *slot).await.map_err(|error| read_error(&error))
    }

    async fn dry_run(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
    ) -> Result<(), Refusal> {
        let budget = match self.owner(target, parameters, action).await {
            Ok(Some(owner)) => return Err(Refusal::Owned(owner)),
            Ok(None) => self.budget(target, parameters, action).await,
            Err(error) => Err(error),
        };
        let tried = match budget {
            Ok(Some(budget)) => return Err(Refusal::BlockedByBudget(budget)),
            Ok(None) => self.make(target, parameters, action, None, true).await,
            Err(error) => Err(error),
        };
        let tried = match tried {
            Ok(write) => Box::pin(write.send()).await,
            Err(error) => Err(error),
        };
        let Err(error) = tried else { return Ok(()) };
        let message = error.to_string();
        Err(match error {
            // As the API server's own authoriser words it; an admission plugin has its own words.
            ClusterError::Denied { message, .. } if message.contains(" cannot ") => {
                Refusal::Forbidden(message)
            }
            ClusterError::Waiting { by_budget: true, message, .. } => Refusal::BlockedByBudget(message),
            _ if matches!(error.category(), Category::Waiting | Category::Transient) => {
                Refusal::Unavailable(message)
            }
            _ => Refusal::WouldFail(message),
        })
    }

    async fn prepare(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        resource_version: &Name,
    ) -> Result<Write, EffectError> {
        // Only lists are asked for: whatever goes wrong, nothing was changed.
        let unseen = |error: ClusterError| match error {
            ClusterError::Denied { .. } => EffectError::Denied(error.to_string()),
            _ => EffectError::Transient { reason: error.to_string(), retry_after: None },
        };
        if let Some(owner) = self.owner(target, parameters, action).await.map_err(unseen)? {
            return Err(EffectError::Owned(owner));
        }
        if let Some(budget) = self.budget(target, parameters, action).await.map_err(unseen)? {
            return Err(EffectError::BlockedByBudget(budget));
        }
        let made = self.make(target, parameters, action, Some(resource_version), false).await;
        made.map_err(|error| match effect_error(error) {
            EffectError::Unknown(reason) => EffectError::Transient { reason, retry_after: None },
            other => other,
        })
    }

    async fn send(&self, write: Write) -> Result<Acknowledged, EffectError> {
        let (answer, audit_id) = heard(Box::pin(write.send())).await;
        match answer {
            Ok(message) => Ok(Acknowledged { message, audit_id }),
            Err(error) => Err(effect_error(error)),
        }
    }
}

/// What a target of another kind is.
pub(super) fn kind_of(target: &Target) -> ApiKind {
    ApiKind { api_version: target.api_version.clone(), kind: target.kind.clone() }
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
        ClusterError::Exists { .. }
        | ClusterError::Invalid { .. }
        | ClusterError::NoCluster { .. }
        | ClusterError::Denied { .. } => EffectError::Denied(text),
    }
}
