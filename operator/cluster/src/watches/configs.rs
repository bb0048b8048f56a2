//! `ConfigMap`s: that they changed, never what is in them. The server is asked for metadata only.

use super::light::{Body, Meta};
use super::run::{Cx, Effect, Watched};
use homeostat_knowledge::ObjectKey;
use homeostat_knowledge::observation::{Change, ConfigRecord, ObjectChange, ObjectKind};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;
use std::sync::Arc;

/// Present in every namespace and never the reason of anything.
const ROOT_CERTIFICATES: &str = "kube-root-ca.crt";
/// Old leader elections write their state here every few seconds.
const ELECTION: &str = "control-plane.alpha.kubernetes.io/leader";

/// The watch of `ConfigMap`s.
pub(crate) struct Configs;

/// Metadata.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConfigObject {
    #[serde(default)]
    metadata: Meta,
}

impl Body for ConfigObject {
    type Kind = ConfigMap;
    const METADATA_ONLY: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for Configs {
    type Body = ConfigObject;
    const KIND: ObjectKind = ObjectKind::Config;
    const NAME: &'static str = "configmaps";

    fn apply(&mut self, body: ConfigObject, cx: Cx<'_>) -> Result<Effect, String> {
        let metadata = &body.metadata;
        if metadata.name == ROOT_CERTIFICATES || metadata.annotations.contains_key(ELECTION) {
            return Ok(Effect::Nothing);
        }
        let changed = cx.news.then_some(cx.now);
        let record = ConfigRecord { key: cx.key, resource_version: cx.version, changed };
        Ok(Effect::Tell(ObjectChange::Config(Change::Applied(Arc::new(record)))))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Config(Change::Deleted(key.clone())))
    }
}
