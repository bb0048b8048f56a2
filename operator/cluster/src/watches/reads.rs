//! Which `ConfigMap`s the pods of a template read: by names alone, as files or as their environment.

use super::amounts::Resources;
use super::configs::ROOT_CERTIFICATES;
use super::light::{Interner, null_is_empty};
use homeostat_knowledge::Name;
use homeostat_knowledge::records::ReleaseRecord;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The parts of a container of a pod template that are looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateContainer {
    #[serde(default)]
    pub name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub resources: Resources,
    #[serde(default, deserialize_with = "null_is_empty")]
    env: Vec<Variable>,
    #[serde(default, deserialize_with = "null_is_empty")]
    env_from: Vec<Variables>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variable {
    value_from: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    config_map_key_ref: Option<Named>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variables {
    config_map_ref: Option<Named>,
}

/// A volume of a pod template.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume {
    config_map: Option<Named>,
    projected: Option<Projected>,
}

#[derive(Clone, Debug, Deserialize)]
struct Projected {
    #[serde(default, deserialize_with = "null_is_empty")]
    sources: Vec<Source>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    config_map: Option<Named>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

/// Names of the `ConfigMap`s that these containers and volumes read, in order, as [`ReleaseRecord::reads`] has them.
pub(crate) fn config_maps<'a>(
    containers: impl Iterator<Item = &'a TemplateContainer>,
    volumes: &[Volume],
    names: &mut Interner,
) -> Vec<Name> {
    let mut read = BTreeSet::new();
    for container in containers {
        let keys =
            container.env.iter().filter_map(|one| one.value_from.as_ref()?.config_map_key_ref.as_ref());
        let whole = container.env_from.iter().filter_map(|one| one.config_map_ref.as_ref());
        read.extend(keys.chain(whole).map(|named| named.name.as_str()));
    }
    for volume in volumes {
        let sources = volume.projected.iter().flat_map(|projected| &projected.sources);
        let projected = sources.filter_map(|source| source.config_map.as_ref());
        read.extend(volume.config_map.iter().chain(projected).map(|named| named.name.as_str()));
    }
    read.retain(|name| !name.is_empty() && *name != ROOT_CERTIFICATES);
    read.into_iter().take(ReleaseRecord::MOST_READS + 1).map(|name| names.intern(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_and_environment_are_found_and_secrets_are_not_named() {
        let container = json!({ "name": "app", "envFrom": [{ "configMapRef": { "name": "all" } }, { "secretRef": { "name": "password" } }],
            "env": [{ "name": "A", "value": "b" }, { "name": "C", "valueFrom": { "configMapKeyRef": { "name": "one", "key": "c" } } },
                    { "name": "D", "valueFrom": { "secretKeyRef": { "name": "password", "key": "d" } } }] });
        let volumes = json!([{ "name": "v", "configMap": { "name": "files" } }, { "name": "s", "secret": { "secretName": "password" } },
            { "name": "p", "projected": { "sources": [{ "configMap": { "name": "all" } }, { "configMap": { "name": "more" } }, { "configMap": { "name": "kube-root-ca.crt" } },
                                                      { "serviceAccountToken": { "path": "t" } }] } }]);
        let container: TemplateContainer = serde_json::from_str(&container.to_string()).unwrap();
        let volumes: Vec<Volume> = serde_json::from_str(&volumes.to_string()).unwrap();
        let found = config_maps([&container].into_iter(), &volumes, &mut Interner::default());
        assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), ["all", "files", "more", "one"]);
    }
}
