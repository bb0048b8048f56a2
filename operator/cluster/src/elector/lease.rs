//! The Lease in the API server, behind a small trait so that tests can script it.

use super::machine::LeaseRecord;
use crate::client::call;
use crate::error::ClusterError;
use homeostat_knowledge::Name;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use std::future::Future;

/// Namespace of the one Lease.
///
/// It is fixed, and not the namespace that Homeostat is installed in, because the Lease protects the cluster:
/// two installs in two namespaces would otherwise each lead their own Lease and both act. `kube-system` exists
/// in every cluster and is where the leases of other cluster-wide controllers are. The install needs a Role
/// there: `get` and `update` for this one name, and `create` for leases (a create cannot be limited by name).
pub const LEASE_NAMESPACE: &str = "kube-system";

/// Name of the one Lease.
pub const LEASE_NAME: &str = "homeostat";

/// Reads and writes one Lease. Writes are conditional on the version that was read.
pub trait LeaseApi: Send + Sync {
    /// The record and its version; `None` when there is no Lease.
    fn get(&self) -> impl Future<Output = Result<Option<(LeaseRecord, String)>, ClusterError>> + Send;
    /// Creates the Lease; gives its version. Fails when it exists.
    fn create(&self, record: &LeaseRecord) -> impl Future<Output = Result<String, ClusterError>> + Send;
    /// Replaces `version`; gives the new version. Fails when the Lease has another version.
    fn update(
        &self,
        record: &LeaseRecord,
        version: &str,
    ) -> impl Future<Output = Result<String, ClusterError>> + Send;
}

/// The Lease in a real API server.
#[derive(Clone)]
pub struct KubeLease {
    api: Api<Lease>,
    label: Name,
}

impl KubeLease {
    /// The one Lease of the cluster.
    pub fn new(client: Client) -> Self {
        Self {
            api: Api::namespaced(client, LEASE_NAMESPACE),
            label: Name::from(format!("Lease {LEASE_NAMESPACE}/{LEASE_NAME}")),
        }
    }

    fn version(&self, lease: Lease, verb: &'static str) -> Result<String, ClusterError> {
        lease.metadata.resource_version.ok_or_else(|| ClusterError::Bug {
            verb,
            object: self.label.clone(),
            message: "the answer has no resourceVersion".to_owned(),
        })
    }
}

impl LeaseApi for KubeLease {
    async fn get(&self) -> Result<Option<(LeaseRecord, String)>, ClusterError> {
        let Some(lease) = call("get", &self.label, self.api.get_opt(LEASE_NAME)).await? else {
            return Ok(None);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let record = LeaseRecord {
            holder: spec.holder_identity.unwrap_or_default(),
            duration_seconds: spec.lease_duration_seconds.unwrap_or(0),
            acquired: spec.acquire_time.map(|time| time.0),
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or(0),
        };
        Ok(Some((record, self.version(lease, "get")?)))
    }

    async fn create(&self, record: &LeaseRecord) -> Result<String, ClusterError> {
        let (params, body) = (PostParams::default(), wire(record, None));
        self.version(call("create", &self.label, self.api.create(&params, &body)).await?, "create")
    }

    async fn update(&self, record: &LeaseRecord, version: &str) -> Result<String, ClusterError> {
        let (params, body) = (PostParams::default(), wire(record, Some(version)));
        let lease = call("update", &self.label, self.api.replace(LEASE_NAME, &params, &body)).await?;
        self.version(lease, "update")
    }
}

fn wire(record: &LeaseRecord, version: Option<&str>) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(LEASE_NAME.to_owned()),
            namespace: Some(LEASE_NAMESPACE.to_owned()),
            resource_version: version.map(str::to_owned),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(record.holder.clone()),
            lease_duration_seconds: Some(record.duration_seconds),
            acquire_time: record.acquired.map(MicroTime),
            renew_time: record.renewed.map(MicroTime),
            lease_transitions: Some(record.transitions),
            ..LeaseSpec::default()
        }),
    }
}
