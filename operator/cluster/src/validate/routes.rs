//! `spec.notify` of a `Tenant`: where its people are told.

use homeostat_crds::Severity as WireSeverity;
use homeostat_crds::v1alpha1::Tenant;
use homeostat_crds::v1alpha1::tenant::{Contact, NotifyKind, NotifyRoute};
use homeostat_knowledge::{Name, Severity};
use std::collections::BTreeSet;

/// One way to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name; unique in its tenant.
    pub name: Name,
    /// Form of the message.
    pub kind: NotifyKind,
    /// The Secret in Homeostat's own namespace that holds the address.
    pub secret: Name,
    /// The key within it.
    pub key: Name,
    /// How bad it has to be.
    pub severities: BTreeSet<Severity>,
    /// How whoever is told reaches the tenant's owners.
    pub contact: Option<Contact>,
}

/// The routes of a tenant, in their order. Nothing in them stops the tenant from being used: what cannot be reached is told
/// when it is tried.
pub fn routes(object: &Tenant) -> Vec<Route> {
    let route = |wire: &NotifyRoute| Route {
        name: Name::from(wire.name.as_str()),
        kind: wire.kind,
        secret: Name::from(wire.url_from.secret_key_ref.name.as_str()),
        key: Name::from(wire.url_from.secret_key_ref.key.as_str()),
        severities: wire.severities.iter().copied().map(severity).collect(),
        contact: object.spec.contact.clone(),
    };
    object.spec.notify.iter().map(route).collect()
}

fn severity(wire: WireSeverity) -> Severity {
    match wire {
        WireSeverity::Info => Severity::Info,
        WireSeverity::Warning => Severity::Warning,
        WireSeverity::Critical => Severity::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_without_severities_is_told_of_warnings_and_worse() {
        let object: Tenant = serde_json::from_value(json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant",
            "metadata": { "name": "food" }, "spec": { "namespaces": ["shop"], "contact": { "email": "shop@example.com" }, "notify": [
                { "name": "oncall", "kind": "Webhook", "urlFrom": { "secretKeyRef": { "name": "hooks", "key": "oncall" } } },
                { "name": "chat", "kind": "Slack", "severities": ["Info"],
                  "urlFrom": { "secretKeyRef": { "name": "hooks", "key": "chat" } } }] } }))
        .unwrap();
        let [oncall, chat] = routes(&object).try_into().unwrap();
        assert_eq!((&*oncall.name, &*oncall.secret, &*oncall.key), ("oncall", "hooks", "oncall"));
        assert_eq!(oncall.severities, BTreeSet::from([Severity::Warning, Severity::Critical]));
        let mail = |route: &Route| route.contact.clone().and_then(|contact| contact.email);
        assert_eq!(mail(&oncall).as_deref(), Some("shop@example.com"));
        assert_eq!((chat.kind, chat.severities), (NotifyKind::Slack, BTreeSet::from([Severity::Info])));
    }
}
