//! What a statement is about: a workload, one of its pods, a node, something outside the cluster, a telemetry source.

use crate::ids::Uid;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A cheap, shared name.
pub type Name = Arc<str>;

/// Name of a `Tenant` object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantName(pub Name);

impl TenantName {
    /// Wraps a tenant's name.
    pub fn new(name: impl Into<Name>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Namespace and name of one object of a kind known from the context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Kubernetes namespace; empty for cluster-scoped objects.
    pub namespace: Name,
    /// Object name.
    pub name: Name,
}

impl ObjectKey {
    /// A key from namespace and name.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Key of a `Workload` object (not of the object that it targets).
pub type WorkloadKey = ObjectKey;

/// The subject of an observation, finding or cause.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Entity {
    /// A workload under control.
    Workload {
        /// The `Workload` object.
        key: WorkloadKey,
    },
    /// One pod.
    Pod {
        /// The pod.
        key: ObjectKey,
        /// Its UID: a pod of the same name later is another entity.
        uid: Uid,
        /// The workload it belongs to, when it belongs to one.
        workload: Option<WorkloadKey>,
    },
    /// A node.
    Node {
        /// Node name.
        name: Name,
    },
    /// A dependency that no workload under control provides, by the address that callers use.
    External {
        /// Host name or IP address, without port.
        address: Name,
    },
    /// One of our own telemetry sources.
    Source {
        /// Source name, e.g. `otlp`, `prometheus`, `kubernetes`.
        name: Name,
    },
    /// The cluster as a whole.
    Cluster,
}

impl Entity {
    /// The workload that this entity is or belongs to.
    pub fn workload(&self) -> Option<&WorkloadKey> {
        match self {
            Self::Workload { key } => Some(key),
            Self::Pod { workload, .. } => workload.as_ref(),
            Self::Node { .. } | Self::External { .. } | Self::Source { .. } | Self::Cluster => None,
        }
    }

    /// Kind in words, as shown to people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Workload { .. } => "Workload",
            Self::Pod { .. } => "Pod",
            Self::Node { .. } => "Node",
            Self::External { .. } => "External",
            Self::Source { .. } => "Source",
            Self::Cluster => "Cluster",
        }
    }

    /// Name without namespace, as shown to people.
    pub fn name(&self) -> &str {
        match self {
            Self::Workload { key } | Self::Pod { key, .. } => &key.name,
            Self::Node { name } | Self::Source { name } => name,
            Self::External { address } => address,
            Self::Cluster => "cluster",
        }
    }

    /// Namespace, where the entity has one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Workload { key } | Self::Pod { key, .. } => Some(&key.namespace),
            _ => None,
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind(), self.name())
    }
}
