//! What people do on the command line, one file per subcommand. Each one does with the caller's own rights what
//! `kubectl patch` can do as well (docs/sre.md); Homeostat's service account has none of these rights.

pub mod breaker;
pub mod decide;
mod half_done;
pub mod levels;
pub mod pause;
pub mod pending;
pub mod stop;
mod table;
pub mod what_if;

use homeostat_cluster::client::{ConnectOptions, connect};
use homeostat_cluster::{ClusterError, People};

/// Why a request of a person was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// No such action.
    #[error("there is no Action {name}{place}; `homeostat pending` lists those that wait")]
    NoAction {
        /// As given.
        name: String,
        /// ` in namespace …`, or empty.
        place: String,
    },
    /// The name alone does not say which.
    #[error("there are Actions {name} in {namespaces}; say which with --namespace")]
    ManyActions {
        /// As given.
        name: String,
        /// Where they are.
        namespaces: String,
    },
    /// It does not wait for anybody.
    #[error("Action {name} cannot be decided on: {why}")]
    NotWaiting {
        /// Namespace and name.
        name: String,
        /// What it does instead.
        why: String,
    },
    /// Who asked for it.
    #[error("Action {name} was asked for by {by}; somebody else has to decide")]
    OwnRequest {
        /// Namespace and name.
        name: String,
        /// The caller.
        by: String,
    },
    /// A level that does not exist.
    #[error("`{0}` is no level; use L0 to L4 or Observe, Recommend, Approve, ActBounded, ActFull")]
    NoLevel(String),
    /// The end of a pause has passed.
    #[error("{until} has passed; give an instant to come, such as 2030-01-01T18:00:00Z")]
    Past {
        /// As given.
        until: String,
    },
    /// A workload lives in a namespace.
    #[error("say with --namespace where the Workload {0} is")]
    NoNamespace(String),
    /// The API server.
    #[error("{0}{advice}", advice = hint(.0))]
    Cluster(#[from] ClusterError),
}

/// What a person can do about an error that says nothing of it.
fn hint(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::Transient { unsent: true, .. } => {
            "; nothing was changed. `kubectl get --raw /readyz` tells whether the API server is up"
        }
        ClusterError::Transient { unsent: false, .. } => {
            "; a change may have been made all the same: look before you try again"
        }
        _ => "",
    }
}

async fn people() -> Result<People, PeopleError> {
    Ok(People::new(connect(&ConnectOptions::default()).await?))
}

#[cfg(test)]
pub(crate) mod testing {
    use homeostat_crds::v1alpha1::Action;
    use serde_json::{Value, json};

    /// An action that waits for a person, with changes merged over it.
    pub fn action(name: &str, change: &Value) -> Action {
        let mut object = json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Action",
            "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}") },
            "spec": {
                "incidentRef": { "name": "cart-1" }, "tenant": "store", "workloadRef": { "name": "cart" },
                "playbook": { "name": "hung-process", "version": 3, "step": 1 }, "action": "EvictPod",
                "target": { "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "cart-x",
                            "uid": "0f2c", "resourceVersion": "88231" },
                "epoch": 17,
                "evidence": { "id": "9c41", "takenAt": "2026-11-22T09:00:00.000000Z", "summary": "no answer" },
                "expiresAt": "2026-11-22T09:15:00.000000Z",
                "requestedBy": "system:serviceaccount:homeostat-system:homeostat",
                "digest": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
            },
            "status": { "state": "AwaitingApproval", "message": "needs approval" },
        });
        merge(&mut object, change);
        serde_json::from_value(object).expect("an Action")
    }

    /// Merges as a JSON merge patch does (RFC 7396), without removal.
    pub fn merge(into: &mut Value, change: &Value) {
        match (into, change) {
            (Value::Object(into), Value::Object(change)) => {
                for (key, value) in change {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, change) => *into = change.clone(),
        }
    }
}
