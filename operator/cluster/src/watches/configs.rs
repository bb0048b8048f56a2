//! `ConfigMap`s: that they changed, never what is in them. The server is asked for metadata only.

use super::light::{Body, Meta, null_is_empty};
use super::run::{Cx, Effect, Watched};
use homeostat_knowledge::ObjectKey;
use homeostat_knowledge::observation::{Change, ConfigRecord, ObjectChange, ObjectKind};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use std::sync::Arc;

/// Present in every namespace and never the reason of anything.
pub(crate) const ROOT_CERTIFICATES: &str = "kube-root-ca.crt";
/// Old leader elections write their state here every few seconds.
const ELECTION: &str = "control-plane.alpha.kubernetes.io/leader";

/// The watch of `ConfigMap`s.
pub(crate) struct Configs;

/// Metadata.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConfigObject {
    #[serde(default)]
    metadata: ConfigMeta,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigMeta {
    #[serde(flatten)]
    meta: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    managed_fields: Vec<Written>,
}

/// When one of its writers wrote something else into it.
#[derive(Clone, Debug, Deserialize)]
struct Written {
    time: Option<Time>,
}

impl ConfigMeta {
    fn written(&self) -> Option<Timestamp> {
        self.managed_fields.iter().filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
    }
}

impl Body for ConfigObject {
    type Kind = ConfigMap;
    const METADATA_ONLY: bool = true;

    fn meta(&self) -> &Meta {
        &self.metadata.meta
    }
}

impl Watched for Configs {
    type Body = ConfigObject;
    const KIND: ObjectKind = ObjectKind::Config;
    const NAME: &'static str = "configmaps";

    fn apply(&mut self, body: ConfigObject, cx: Cx<'_>) -> Result<Effect, String> {
        let metadata = &body.metadata.meta;
        if metadata.name == ROOT_CERTIFICATES || metadata.annotations.contains_key(ELECTION) {
            return Ok(Effect::Nothing);
        }
        let changed = body.metadata.written().or(cx.news.then_some(cx.now));
        let record = ConfigRecord { key: cx.key, resource_version: cx.version, changed };
        Ok(Effect::Tell(ObjectChange::Config(Change::Applied(Arc::new(record)))))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Config(Change::Deleted(key.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watches::light::Interner;
    use homeostat_knowledge::Name;
    use serde_json::{Value, json};

    fn changed(metadata: &Value, news: bool) -> Option<i64> {
        let body = serde_json::from_str(&json!({ "metadata": metadata }).to_string()).unwrap();
        let cx = Cx {
            names: &mut Interner::default(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            news,
            listed: !news,
            key: ObjectKey::new("shop", "settings"),
            version: Name::from("5"),
        };
        match Configs.apply(body, cx).unwrap() {
            Effect::Tell(ObjectChange::Config(Change::Applied(record))) => {
                record.changed.map(Timestamp::as_second)
            }
            _ => panic!("a ConfigMap is told of"),
        }
    }

    #[test]
    fn the_last_writing_is_the_servers_own_word_where_it_has_one() {
        let written = json!({ "name": "settings", "managedFields": [
            { "manager": "helm", "time": "2026-11-22T09:00:00Z", "fieldsV1": { "f:data": {} } },
            { "manager": "kubectl-edit", "time": "2026-11-23T09:00:00Z" }, { "manager": "timeless" }] });
        let newest = "2026-11-23T09:00:00Z".parse::<Timestamp>().unwrap().as_second();
        assert_eq!((changed(&written, false), changed(&written, true)), (Some(newest), Some(newest)));
        for silent in [json!({ "name": "settings" }), json!({ "name": "settings", "managedFields": null })] {
            assert_eq!((changed(&silent, false), changed(&silent, true)), (None, Some(1_800_000_000)));
        }
    }
}
