//! What people see with `kubectl get`: conditions and columns of tenants, workloads and the control plane.
//!
//! [`desired`] says what a status should be, purely; [`StatusWriter`] writes the differences. Equal statuses are
//! never written again, so a quiet cluster sees no writes.

pub mod desired;
mod writer;

pub use desired::{DesiredStatus, SelfFacts, desired_status};
pub use writer::{StatusWriter, WriterCounts};

use crate::client::{FIELD_MANAGER, call, label};
use crate::error::ClusterError;
use homeostat_knowledge::ObjectKey;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Times that move without news.
const MOVING: [&str; 4] = ["lastTransitionTime", "lastSeen", "changed", "leadingSince"];

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

/// Applies a whole status under our name. Fields that others wrote into it are taken over: it is ours alone.
pub(crate) async fn apply_status<K>(
    api: &Api<K>,
    key: &ObjectKey,
    status: &impl Serialize,
) -> Result<K, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": &*key.name },
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    call("write the status of", &label(&K::kind(&()), key), api.patch_status(&key.name, &params, &patch))
        .await
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
