//! Services: selector and cluster IP, so that an address leads to a workload.

use super::light::{Body, Meta, null_is_empty};
use super::run::{Cx, Effect, Watched};
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::records::ServiceRecord;
use homeostat_knowledge::{Name, ObjectKey};
use k8s_openapi::api::core::v1::Service;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The watch of services.
pub(crate) struct Services;

/// The parts of a service that are looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ServiceObject {
    #[serde(default)]
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    #[serde(default, deserialize_with = "null_is_empty")]
    selector: BTreeMap<String, String>,
    /// `None` for headless services: their names lead to pod IPs.
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
}

impl Body for ServiceObject {
    type Kind = Service;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for Services {
    type Body = ServiceObject;
    const KIND: ObjectKind = ObjectKind::Service;
    const NAME: &'static str = "services";

    fn apply(&mut self, body: ServiceObject, cx: Cx<'_>) -> Result<Effect, String> {
        let names = cx.names;
        let selector: BTreeMap<Name, Name> = body
            .spec
            .selector
            .iter()
            .map(|(label, value)| (names.intern(label), names.intern(value)))
            .collect();
        let cluster_ip = body.spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok());
        let record = ServiceRecord { key: cx.key, selector, cluster_ip };
        Ok(Effect::Tell(ObjectChange::Service(Change::Applied(Arc::new(record)))))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Service(Change::Deleted(key.clone())))
    }
}
