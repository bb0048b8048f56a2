//! Where the newest digests of the audit record are told outside of its files: one `ConfigMap`, one key per chain.
//! The chart brings it; Homeostat may read and patch exactly this one.

use crate::client::{FIELD_MANAGER, call};
use crate::error::ClusterError;
use homeostat_knowledge::Name;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::cmp::Ordering;
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

    /// Writes one chain's anchor, and takes away the oldest where there are too many. What was told of a chain is never
    /// taken back.
    ///
    /// # Errors
    /// What the API server answered, or a conflict when more of the chain, or another end of it, was told before; then it
    /// was not told, and nothing may be pruned on its account.
    pub async fn tell(&self, chain: &str, text: &str) -> Result<(), ClusterError> {
        let verb = "anchor the audit record in";
        let known = self.read().await?;
        if let Some(why) = known.get(chain).and_then(|told| taken_back(told, text)) {
            let message = format!("chain {chain}: {why}");
            return Err(ClusterError::Conflict { verb, object: self.label.clone(), message });
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch(&known, chain, text));
        call(verb, &self.label, self.api.patch(ANCHORS, &params, &patch)).await.map(drop)
    }
}

/// Pure. Why this anchor cannot take the place of the one that was told: people compare the record with it, and a record
/// that was cut would look whole. One that cannot be read vouches for nothing.
fn taken_back(told: &str, new: &str) -> Option<String> {
    let head = |text: &str| {
        let anchor: Value = serde_json::from_str(text).ok()?;
        Some((anchor.get("seq")?.as_u64()?, anchor.get("digest")?.as_str()?.to_owned()))
    };
    let ((last, digest), (seq, new_digest)) = (head(told)?, head(new)?);
    match seq.cmp(&last) {
        Ordering::Less => {
            Some(format!("it is anchored up to entry {last}, and ends with {seq} now; was it cut?"))
        }
        Ordering::Equal if digest != new_digest => {
            Some(format!("entry {seq} is anchored as another one; was the record written anew?"))
        }
        Ordering::Equal | Ordering::Greater => None,
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
    fn an_anchor_gives_way_to_a_later_one_of_its_chain_only() {
        let anchor =
            |seq: u64, digest: &str| json!({ "chain": "h-a-1", "seq": seq, "digest": digest }).to_string();
        let told = anchor(9, "aa");
        for (new, wanted) in [
            (anchor(10, "bb"), None),
            (anchor(9, "aa"), None),
            (anchor(9, "bb"), Some("written anew")),
            (anchor(8, "aa"), Some("up to entry 9, and ends with 8")),
        ] {
            let why = taken_back(&told, &new);
            assert_eq!(why.is_some(), wanted.is_some(), "{new}: {why:?}");
            assert!(why.is_none_or(|why| wanted.is_some_and(|part| why.contains(part))), "{new}");
        }
        assert_eq!(taken_back("none of ours", &told), None, "it is in the way of nothing");
    }

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
