//! One write for each effect, as the API server wants it, with all that is read for it. All are conditioned on the UID, and, where an object is
//! changed, on the version of the fresh read.

use super::actuator::kind_of;
use super::write::{Request, Write};
use crate::autoscaler;
use crate::client::{call, label, look};
use crate::error::ClusterError;
use crate::watches::scalables;
use homeostat_crds::common::{
    ANNOTATION_HELD_BY, ANNOTATION_HELD_UNTIL, ANNOTATION_RESTARTED_BY, ANNOTATION_ROLLED_BACK_BY, LABEL_HELD,
};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::{ActionId, ControllerKind, Name, ObjectKey, Target, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The hands, for one target.
pub(super) struct Hand<'a> {
    pub client: &'a Client,
    pub target: &'a Target,
    pub action: &'a ActionId,
    /// Version of the fresh read; `None` for a dry run, which stands on no read.
    pub version: Option<&'a str>,
    pub dry_run: bool,
}

impl Hand<'_> {
    pub(super) fn name(&self) -> Name {
        label(&self.target.kind, &self.target.key)
    }

    pub(super) fn invalid(&self, message: String) -> ClusterError {
        ClusterError::Invalid { object: self.name(), message }
    }

    /// UID and version: the API server refuses another object and another state.
    pub(super) fn condition(&self) -> Value {
        let mut metadata = json!({ "uid": self.target.uid.as_str() });
        if let Some(version) = self.version {
            metadata["resourceVersion"] = json!(version);
        }
        metadata
    }

    pub(super) fn api(&self) -> Api<DynamicObject> {
        let (group, version) =
            self.target.api_version.split_once('/').unwrap_or(("", &self.target.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &self.target.kind));
        if self.target.key.namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.target.key.namespace, &resource)
        }
    }

    /// Only kinds that have what is about to be changed, under the API that has it.
    pub fn expect(&self, kinds: &[ControllerKind], what: &str) -> Result<(), ClusterError> {
        let kind = ControllerKind::from_kind(&self.target.kind);
        let known = kind.api().is_some_and(|(api_version, _)| api_version == &*self.target.api_version);
        if known && kinds.contains(&kind) {
            return Ok(());
        }
        Err(self.invalid(format!("a {} has no {what}", self.target.kind)))
    }

    /// A change of the target; `done` is said when it was taken.
    pub(super) fn patch(
        &self,
        verb: &'static str,
        subresource: Option<&'static str>,
        patch: Patch<Value>,
        done: impl Into<String>,
    ) -> Write {
        self.patch_in(self.api(), verb, subresource, patch, done)
    }

    fn patch_in(
        &self,
        api: Api<DynamicObject>,
        verb: &'static str,
        subresource: Option<&'static str>,
        patch: Patch<Value>,
        done: impl Into<String>,
    ) -> Write {
        let request = Request::Patch { api, name: self.target.key.name.clone(), subresource, patch };
        self.write(verb, self.name(), request, done)
    }

    pub(super) fn write(
        &self,
        verb: &'static str,
        object: Name,
        request: Request,
        done: impl Into<String>,
    ) -> Write {
        Write { verb, object, done: done.into(), request, dry_run: self.dry_run }
    }

    /// The workload's own rollout: the pod template's annotation names the action, so doing it again changes
    /// nothing.
    pub fn restart(&self) -> Result<Write, ClusterError> {
        self.expect(ROLLS, "rollout of its own")?;
        let annotations = json!({ ANNOTATION_RESTARTED_BY: self.action.as_str() });
        let patch = json!({
            "metadata": self.condition(),
            "spec": { "template": { "metadata": { "annotations": annotations } } },
        });
        Ok(self.patch("restart", None, Patch::Merge(patch), "rollout started"))
    }

    /// An absolute number through the scale subresource.
    pub async fn scale(&self, replicas: i32) -> Result<Write, ClusterError> {
        let patch = json!({ "metadata": self.condition(), "spec": { "replicas": replicas } });
        let (patch, done) = (Patch::Merge(patch), format!("scaled to {replicas}"));
        let (kind, key) = (&*self.target.kind, &self.target.key);
        let own = matches!(kind, "Pod" | autoscaler::KIND) || key.namespace.is_empty();
        if ControllerKind::from_kind(kind) == ControllerKind::Other && !own {
            // The API server compares the version alone here, which no other object of this name ever has.
            let resource = scalables::discover(self.client, &kind_of(self.target)).await;
            let resource = resource.map_err(ClusterError::before_the_effect)?;
            let api = Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
            return Ok(self.patch_in(api, "scale", Some("scale"), patch, done));
        }
        self.expect(SCALES, "size of its own")?;
        Ok(self.patch("scale", Some("scale"), patch, done))
    }

    /// Bounds of an autoscaler, with our mark and people's own bounds beside them in the same write.
    pub async fn drive(&self, bounds: Bounds, until: Timestamp) -> Result<Write, ClusterError> {
        if (&*self.target.api_version, &*self.target.kind) != ("autoscaling/v2", autoscaler::KIND) {
            return Err(self.invalid(format!("a {} has no bounds", self.target.kind)));
        }
        // What people had is read here: should it be newer than the fresh read, the write is refused.
        let found = autoscaler::read(self.client, &self.target.key).await;
        let found = found.map_err(ClusterError::before_the_effect)?;
        let Some(found) = found.as_ref().and_then(autoscaler::record) else {
            return Err(ClusterError::NotFound { verb: "read", object: self.name() });
        };
        let patch = autoscaler::driven(self.condition(), &found, bounds, self.action, until);
        let done = format!("bounds of {bounds} replicas until {until:.0}");
        Ok(self.patch("drive", None, Patch::Merge(patch), done))
    }

    /// What scales the target by itself, for people; `None` when nothing does.
    pub async fn scaler(&self) -> Result<Option<String>, ClusterError> {
        let target = (&*self.target.kind, &*self.target.key.name);
        let found = self.autoscalers().await?;
        let scalers: Vec<String> = found.iter().filter(|one| scales(one) == target).map(words).collect();
        Ok(Some(scalers.join(" and ")).filter(|scalers| !scalers.is_empty()).map(|scalers| {
            format!("{scalers} scales {} {}; change its bounds instead", self.target.kind, self.target.key)
        }))
    }

    /// What else scales what the target, an autoscaler, does; `None` when nothing does.
    pub async fn rivals(&self) -> Result<Option<String>, ClusterError> {
        let found = self.autoscalers().await?;
        let name = Some(&*self.target.key.name);
        let Some(own) = found.iter().find(|one| one.metadata.name.as_deref() == name) else {
            return Ok(None);
        };
        let (kind, scaled) = scales(own);
        let others = found
            .iter()
            .filter(|one| scales(one) == (kind, scaled) && one.metadata.name != own.metadata.name);
        let others: Vec<String> = others.map(words).collect();
        Ok(Some(others.join(" and ")).filter(|others| !others.is_empty()).map(|others| {
            format!("{others} scales {kind} {scaled} as well as {}; keep one of them", self.target.key)
        }))
    }

    /// The autoscalers in the namespace of the target.
    async fn autoscalers(&self) -> Result<Vec<HorizontalPodAutoscaler>, ClusterError> {
        let api: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.client.clone(), &self.target.key.namespace);
        Ok(call("list", &self.name(), api.list(&ListParams::default())).await?.items)
    }

    /// The template of the revision, whole: `$patch: replace` leaves nothing of the present one
    /// (<https://github.com/kubernetes/community/blob/main/contributors/devel/sig-api-machinery/strategic-merge-patch.md>).
    pub async fn roll_back(&self, revision: &str) -> Result<Write, ClusterError> {
        self.expect(ROLLS, "revisions")?;
        let mut template = match ControllerKind::from_kind(&self.target.kind) {
            ControllerKind::Deployment => self.template_of_replica_set(revision).await?,
            _ => self.template_of_controller_revision(revision).await?,
        };
        template["$patch"] = json!("replace");
        let mut metadata = self.condition();
        metadata["annotations"] = json!({ ANNOTATION_ROLLED_BACK_BY: self.action.as_str() });
        let patch = json!({ "metadata": metadata, "spec": { "template": template } });
        let done = format!("template of {revision} is back");
        Ok(self.patch("roll back", None, Patch::Strategic(patch), done))
    }

    async fn template_of_replica_set(&self, revision: &str) -> Result<Value, ClusterError> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.target.key.namespace);
        let key = ObjectKey::new(self.target.key.namespace.clone(), revision);
        let set = look(&label("ReplicaSet", &key), api.get(revision)).await?;
        self.owned(revision, set.metadata.owner_references.as_deref())?;
        let mut template = serde_json::to_value(set.spec.template)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| self.invalid(format!("revision {revision} has no template")))?;
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash"); // The Deployment's own mark of the revision.
        }
        Ok(template)
    }

    async fn template_of_controller_revision(&self, revision: &str) -> Result<Value, ClusterError> {
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &self.target.key.namespace);
        let key = ObjectKey::new(self.target.key.namespace.clone(), revision);
        let old = look(&label("ControllerRevision", &key), api.get(revision)).await?;
        self.owned(revision, old.metadata.owner_references.as_deref())?;
        let template = old.data.0["spec"]["template"].clone();
        Some(template)
            .filter(Value::is_object)
            .ok_or_else(|| self.invalid(format!("revision {revision} has no template")))
    }

    fn owned(&self, revision: &str, owners: Option<&[OwnerReference]>) -> Result<(), ClusterError> {
        let ours = |owner: &OwnerReference| owner.uid == self.target.uid.as_str();
        if owners.unwrap_or_default().iter().any(ours) {
            return Ok(());
        }
        Err(self.invalid(format!("revision {revision} does not belong to it")))
    }

    /// A flag, with our mark beside it in the same write.
    pub fn hold(&self, flag: &str, until: Timestamp) -> Write {
        let mut metadata = self.condition();
        metadata["labels"] = json!({ LABEL_HELD: "true" });
        metadata["annotations"] = json!({
            ANNOTATION_HELD_BY: self.action.as_str(),
            ANNOTATION_HELD_UNTIL: until.to_string(),
        });
        let patch = json!({ "metadata": metadata, "spec": { flag: true } });
        self.patch("hold", None, Patch::Merge(patch), format!("{flag} until {until:.0}"))
    }

    /// The flag and our mark go together.
    pub fn release(&self, flag: &str) -> Write {
        let patch = release(self.condition(), flag);
        self.patch("release", None, Patch::Merge(patch), "released")
    }
}

/// Kinds with a rollout of their own.
const ROLLS: &[ControllerKind] =
    &[ControllerKind::Deployment, ControllerKind::StatefulSet, ControllerKind::DaemonSet];
/// Kinds that are scaled.
const SCALES: &[ControllerKind] = &[ControllerKind::Deployment, ControllerKind::StatefulSet];

/// The patch that releases a held state, for whoever releases it.
pub(crate) fn release(condition: Value, flag: &str) -> Value {
    let mut metadata = condition;
    metadata["labels"] = json!({ LABEL_HELD: null });
    metadata["annotations"] = json!({ ANNOTATION_HELD_BY: null, ANNOTATION_HELD_UNTIL: null });
    json!({ "metadata": metadata, "spec": { flag: false } })
}

/// The patch that takes our mark off and leaves the flag to the people who set it since.
pub(crate) fn unmarked(condition: Value, flag: &str) -> Value {
    let mut patch = release(condition, flag);
    patch["spec"] = json!({});
    patch
}

/// Kind and name of what an autoscaler scales.
fn scales(autoscaler: &HorizontalPodAutoscaler) -> (&str, &str) {
    let of = &autoscaler.spec.scale_target_ref;
    (&of.kind, &of.name)
}

/// An autoscaler, for people.
fn words(autoscaler: &HorizontalPodAutoscaler) -> String {
    let labels = autoscaler.metadata.labels.as_ref();
    match labels.and_then(|labels| labels.get(autoscaler::KEDA)) {
        Some(keda) => format!("KEDA ScaledObject {keda}"),
        None => {
            format!("HorizontalPodAutoscaler {}", autoscaler.metadata.name.as_deref().unwrap_or_default())
        }
    }
}
