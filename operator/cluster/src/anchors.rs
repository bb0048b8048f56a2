//! Where the newest digests of the audit record are told outside of its files: one `ConfigMap`, one key per chain.
//! The chart brings it; Homeostat may read and patch exactly this one.

use crate::client::{FIELD_MANAGER, call};
use crate::error::ClusterError;
use homeostat_knowledge::Name;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Its name.
pub const ANCHORS: &str = "homeostat-audit";
/// Chains that are kept. Each replica that ever led has one; the oldest give way.
pub const CHAINS: usize = 64;

/// The `ConfigMap` of anchors.
#[derive(Clone)]
pub struct Anchors {
    api: Api<ConfigMap>,
    label: Name,
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Anchors").field("label", &self.label).finish_non_exhaustive()
    }
}

impl Anchors {
    /// In Homeostat's own namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        let label = Name::from(format!("ConfigMap {namespace}/{ANCHORS}"));
        Self { api: Api::namespaced(client, namespace), label }
    }

    /// Every chain's anchor, as text.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn read(&self) -> Result<BTreeMap<String, String>, ClusterError> {
        let object = call("read", &self.label, self.api.get(ANCHORS)).await?;
        Ok(object.data.unwrap_or_default())
    }

    /// Writes one chain's anchor, and takes away the oldest where there are too many.
    ///
    /// # Errors
    /// What the API server answered; then it was not told, and nothing may be pruned on its account.
    pub async fn tell(&self, chain: &str, text: &str) -> Result<(), ClusterError> {
        let known = self.read().await?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch(&known, chain, text));
        call("anchor the audit record in", &self.label, self.api.patch(ANCHORS, &params, &patch))
            .await
            .map(drop)
    }
}

/// Pure. Chains end with the instant of their beginning, so the oldest is known by its name.
fn patch(known: &BTreeMap<String, String>, chain: &str, text: &str) -> Value {
    let began = |name: &String| name.rsplit('-').next().and_then(|at| at.parse::<i64>().ok()).unwrap_or(0);
    let mut others: Vec<&String> = known.keys().filter(|name| *name != chain).collect();
    others.sort_by_key(|name| (began(name), (*name).clone()));
    let superfluous = others.len().saturating_sub(CHAINS - 1);
    let mut data: serde_json::Map<String, Value> =
        others.into_iter().take(superfluous).map(|name| (name.clone(), Value::Null)).collect();
    data.insert(chain.to_owned(), json!(text));
    json!({ "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chain_is_told_and_only_the_oldest_give_way() {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        assert_eq!(patch(&known, "h-a-1", "x"), json!({ "data": { "h-a-1": "x" } }));
        for number in 0..CHAINS + 2 {
            known.insert(format!("h-{}-{number}", "zyx".chars().nth(number % 3).unwrap()), "x".to_owned());
        }
        let full = patch(&known, "h-new-900", "y");
        let data = full["data"].as_object().unwrap();
        let gone: Vec<_> =
            data.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.as_str()).collect();
        assert_eq!(gone, ["h-x-2", "h-y-1", "h-z-0"]);
        assert_eq!(data["h-new-900"], "y");
    }
}
