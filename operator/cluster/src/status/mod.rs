//! What people see with `kubectl get`: conditions and columns of tenants, workloads and the control plane.
//!
//! [`desired`] says what a status should be, purely; [`StatusWriter`] writes the differences. Equal statuses are
//! never written again, so a quiet cluster sees no writes.

pub mod desired;
mod half_done;
mod restraints;
mod routes;
mod runs;
mod stops;
mod writer;

pub use desired::{DesiredStatus, SelfFacts, desired_status};
pub use routes::{RouteStanding, RouteStandings};
pub(crate) use writer::keep_times;
pub use writer::{StatusWriter, WriterCounts};

use crate::client::{FIELD_MANAGER, call, label};
use crate::error::ClusterError;
use homeostat_crds::v1alpha1::control_plane::SourceStatus;
use homeostat_crds::v1alpha1::tenant::LevelCap;
use homeostat_crds::{Condition, MicroTime};
use homeostat_knowledge::{Name, ObjectKey};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Times that move without news.
const MOVING: [&str; 3] = ["lastTransitionTime", "lastSeen", "changed"];

/// A digest of what a status says, without the times that move by themselves. 0 for none.
pub(crate) fn digest<T: Serialize>(status: Option<&T>) -> u64 {
    let Some(mut value) = status.and_then(|status| serde_json::to_value(status).ok()) else { return 0 };
    settle(&mut value);
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !MOVING.contains(&name.as_str()));
            for (name, field) in fields.iter_mut() {
                // Lists by key come back in the server's order.
                if let (true, Value::Array(list)) = (name == "conditions", &mut *field) {
                    list.sort_by_key(|entry| entry["type"].as_str().unwrap_or_default().to_owned());
                }
                settle(field);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(settle),
        _ => {}
    }
}

/// What of a stored status tells since when it is so.
#[derive(Clone, Default)]
pub(crate) struct Times {
    /// Any status has conditions.
    pub conditions: Vec<Condition>,
    /// That of the `ControlPlane` has sources.
    pub sources: Vec<SourceStatus>,
    /// And since when its breaker is open.
    pub breaker_open_since: Option<MicroTime>,
    /// That of a `Tenant` has the levels that were lowered.
    pub level_caps: Vec<LevelCap>,
}

/// The status subresource of one object, without its spec: a status must be writable although this version cannot
/// read the spec, because the status is where that is said.
pub(crate) struct StatusApi {
    api: Api<DynamicObject>,
    key: ObjectKey,
    label: Name,
    head: Value,
}

impl StatusApi {
    /// The status of an object of kind `K`; `key` has an empty namespace for cluster-scoped kinds.
    pub fn new<K: Resource<DynamicType = ()>>(client: Client, key: ObjectKey) -> Self {
        let resource = ApiResource::erase::<K>(&());
        let label = label(&resource.kind, &key);
        let head = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": { "name": &*key.name },
        });
        let api = if key.namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &key.namespace, &resource)
        };
        Self { api, key, label, head }
    }

    /// Applies a whole status under our name. Fields that others wrote into it are taken over: it is ours alone.
    pub async fn apply(&self, status: &impl Serialize) -> Result<(), ClusterError> {
        let mut body = self.head.clone();
        body["status"] = serde_json::to_value(status).map_err(|error| ClusterError::Bug {
            verb: "write the status of",
            object: self.label.clone(),
            message: error.to_string(),
        })?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        let patched = self.api.patch_status(&self.key.name, &params, &patch);
        call("write the status of", &self.label, patched).await.map(drop)
    }

    /// The times that are there; what cannot be read counts as absent.
    pub async fn times(&self) -> Result<Times, ClusterError> {
        let mut object = call("read", &self.label, self.api.get(&self.key.name)).await?;
        let status = &mut object.data["status"];
        let caps = status["levelCaps"].take();
        // One that a newer version wrote hides no other.
        let caps = caps.as_array().into_iter().flatten().filter_map(|cap| LevelCap::deserialize(cap).ok());
        Ok(Times {
            level_caps: caps.collect(),
            breaker_open_since: serde_json::from_value(status["breakerOpenSince"].take()).unwrap_or_default(),
            conditions: serde_json::from_value(status["conditions"].take()).unwrap_or_default(),
            sources: serde_json::from_value(status["sources"].take()).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_order_are_no_news_words_are() {
        let status = |time: &str, first: &str, second: &str, word: &str| {
            json!({ "state": word, "conditions": [
                { "type": first, "status": "True", "lastTransitionTime": time },
                { "type": second, "status": "True", "lastTransitionTime": time }] })
        };
        let before = digest(Some(&status("1", "Ready", "Paused", "Open")));
        assert_eq!(before, digest(Some(&status("2", "Paused", "Ready", "Open"))));
        assert_ne!(before, digest(Some(&status("1", "Ready", "Paused", "Acting"))));
        assert_ne!(before, digest(Some(&status("1", "Ready", "Storm", "Open"))));
        assert_eq!(digest::<Value>(None), 0);
    }
}
