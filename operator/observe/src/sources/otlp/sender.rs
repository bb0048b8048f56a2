//! Whose telemetry it is. The address of the connection decides; what the payload says of itself counts only
//! when a trusted forwarder sends it, and only as far as it names a pod that exists.

use homeostat_knowledge::observation::ObjectKind;
use homeostat_knowledge::{Entity, ObjectKey, PodRecord, Snapshot, TenantName};
use ipnet::IpNet;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::net::IpAddr;
use std::sync::Arc;

/// What every observation of one sender carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The pod.
    pub entity: Entity,
    /// The tenant that owns its namespace.
    pub tenant: Option<TenantName>,
}

impl Origin {
    /// The origin of a pod's telemetry.
    pub fn of(snapshot: &Snapshot, pod: &PodRecord) -> Self {
        Self {
            entity: snapshot.entity_of(pod),
            tenant: snapshot.tenant_of_namespace(&pod.key.namespace).map(|tenant| tenant.name.clone()),
        }
    }
}

/// How the items of a request get their origin.
pub enum Attribution {
    /// All from the sender itself.
    Sender(Origin),
    /// From each resource's attributes, checked against the snapshot.
    Resource(Arc<Snapshot>),
}

impl Attribution {
    /// The origin of one resource's items; `None` when it names no pod that exists.
    pub fn origin(&self, resource: &Resource) -> Option<Origin> {
        match self {
            Self::Sender(origin) => Some(origin.clone()),
            Self::Resource(snapshot) => {
                let text = |wanted: &str| {
                    resource.attributes.iter().find(|attribute| attribute.key == wanted).and_then(
                        |attribute| match attribute.value.as_ref()?.value.as_ref()? {
                            Value::StringValue(text) => Some(text.as_str()),
                            _ => None,
                        },
                    )
                };
                let namespace = text("k8s.namespace.name")?;
                let uid = text("k8s.pod.uid");
                let pod = match text("k8s.pod.name") {
                    Some(name) => snapshot.pods.get(&ObjectKey::new(namespace, name)),
                    None => snapshot.pods_in(&namespace.into()).find(|pod| uid == Some(pod.uid.as_str())),
                }?;
                if uid.is_some_and(|uid| uid != pod.uid.as_str()) {
                    return None;
                }
                Some(Origin::of(snapshot, pod))
            }
        }
    }
}

/// Why a sender is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Pods are not listed yet: it may be known in a moment.
    NotReady,
    /// No pod has this address.
    Unknown,
}

/// Finds the sender by its address.
///
/// # Errors
/// [`Stranger`] when nothing may be taken from it.
pub fn identify(
    snapshot: &Arc<Snapshot>,
    peer: IpAddr,
    forwarders: &[IpNet],
) -> Result<Attribution, Stranger> {
    if !snapshot.synced.contains(&ObjectKind::Pod) {
        return Err(Stranger::NotReady);
    }
    // Dual-stack listeners show IPv4 peers as `::ffff:a.b.c.d`.
    let peer = peer.to_canonical();
    if forwarders.iter().any(|net| net.contains(&peer)) {
        return Ok(Attribution::Resource(Arc::clone(snapshot)));
    }
    snapshot
        .pod_by_ip(peer)
        .map(|pod| Attribution::Sender(Origin::of(snapshot, pod)))
        .ok_or(Stranger::Unknown)
}
