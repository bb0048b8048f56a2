//! Whose telemetry it is. The address of the connection decides; what the payload says of itself counts only
//! when a trusted forwarder sends it, and only as far as it names a pod that exists.

use super::envelope::{Fields, Garbage};
use homeostat_knowledge::observation::ObjectKind;
use homeostat_knowledge::{Entity, ObjectKey, PodRecord, Snapshot, TenantName};
use ipnet::IpNet;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
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
    /// The origin of the items of one resource, a message of OTLP; `None` when it names no pod that exists. It is not decoded
    /// as a whole: its lists become many times as large as they were sent.
    ///
    /// # Errors
    /// [`Garbage`] when it is no such message.
    pub fn origin(&self, resource: &[u8]) -> Result<Option<Origin>, Garbage> {
        match self {
            Self::Sender(origin) => {
                Fields::of(resource).try_for_each(|field| field.map(|_| ()))?;
                Ok(Some(origin.clone()))
            }
            Self::Resource(snapshot) => Ok(Named::read(resource)?.origin(snapshot)),
        }
    }
}

/// An attribute that is longer names nothing of Kubernetes.
const LONGEST_ATTRIBUTE: usize = 1_024;

/// What a resource says of its pod.
#[derive(Debug, Default)]
struct Named {
    namespace: Option<String>,
    pod: Option<String>,
    uid: Option<String>,
}

impl Named {
    fn read(resource: &[u8]) -> Result<Self, Garbage> {
        let mut named = Self::default();
        for field in Fields::of(resource) {
            let (1, attribute) = field? else { continue };
            if attribute.len() > LONGEST_ATTRIBUTE {
                continue;
            }
            let KeyValue { key, value, .. } = KeyValue::decode(attribute)?;
            let place = match key.as_str() {
                "k8s.namespace.name" => &mut named.namespace,
                "k8s.pod.name" => &mut named.pod,
                "k8s.pod.uid" => &mut named.uid,
                _ => continue,
            };
            if let (None, Some(Value::StringValue(text))) = (&place, value.and_then(|value| value.value)) {
                *place = Some(text);
            }
        }
        Ok(named)
    }

    fn origin(&self, snapshot: &Snapshot) -> Option<Origin> {
        let (namespace, uid) = (self.namespace.as_deref()?, self.uid.as_deref());
        let pod = match self.pod.as_deref() {
            Some(name) => snapshot.pods.get(&ObjectKey::new(namespace, name)),
            None => snapshot.pods_in(&namespace.into()).find(|pod| uid == Some(pod.uid.as_str())),
        }?;
        let same = uid.is_none_or(|uid| uid == pod.uid.as_str());
        same.then(|| Origin::of(snapshot, pod))
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
