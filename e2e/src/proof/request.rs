//! Which step of an action's life a request to the API server belongs to, by method, path and content alone.

use http::Method;
use serde::Serialize;
use serde_json::Value;

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Request {
    /// The uncached read of the `ControlPlane`.
    KillSwitch,
    /// The dry run of the effect.
    DryRun,
    /// The `Action` object is created.
    Create,
    /// A person is asked: the state `AwaitingApproval` is stored.
    Ask,
    /// The intent is stored.
    Intent,
    /// The claim is stored.
    Claim,
    /// An object is read by its name: the target just before the effect, or an outcome that is looked for.
    FreshRead,
    /// The effect.
    Effect,
    /// The acknowledgement is stored.
    Acknowledge,
    /// The state `Verifying` is stored.
    Verify,
    /// The end is stored.
    Close,
    /// An `Action` is read by its name.
    ReadAction,
    /// A list of a whole kind.
    List,
    /// A watch.
    Watch,
    /// Anything else: incidents, statuses, Events, leases.
    Other,
}

impl Request {
    /// What this request is.
    pub fn of(method: &Method, path: &str, query: &str, body: &[u8]) -> Self {
        let resource = Resource::parse(path);
        if method == Method::GET {
            return match (resource.name, resource.kind) {
                _ if query.contains("watch=") => Self::Watch,
                (None, _) => Self::List,
                (Some(_), "controlplanes") => Self::KillSwitch,
                (Some(_), "actions") => Self::ReadAction,
                // Of a roll back the old revision is read while the effect is made up.
                (Some(_), "replicasets") => Self::Other,
                (Some(_), _) if resource.ours() => Self::Other,
                (Some(_), _) => Self::FreshRead,
            };
        }
        if resource.kind == "actions" {
            return match resource.name {
                None => Self::Create,
                Some(_) => state(body),
            };
        }
        if resource.ours() || matches!(resource.kind, "events" | "leases" | "configmaps") {
            return Self::Other;
        }
        if query.contains("dryRun=") { Self::DryRun } else { Self::Effect }
    }
}

/// The state that a status update stores.
fn state(body: &[u8]) -> Request {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match object["status"]["state"].as_str() {
        Some("AwaitingApproval") => Request::Ask,
        Some("Admitted") => Request::Intent,
        Some("Claimed") => Request::Claim,
        Some("Sent") => Request::Acknowledge,
        Some("Verifying") => Request::Verify,
        Some("Refused" | "Verified" | "Undone" | "Failed" | "Cancelled" | "HandedOver") => Request::Close,
        _ => Request::Other,
    }
}

/// What a path names.
struct Resource<'a> {
    group: &'a str,
    kind: &'a str,
    name: Option<&'a str>,
}

impl<'a> Resource<'a> {
    fn parse(path: &'a str) -> Self {
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next() {
            // `/api/v1/…`
            Some("api") => "",
            // `/apis/GROUP/VERSION/…`
            _ => parts.next().unwrap_or_default(),
        };
        let _version = parts.next();
        let mut kind = parts.next().unwrap_or_default();
        let mut name = parts.next();
        if kind == "namespaces"
            && let Some(inside) = parts.next()
        {
            kind = inside;
            name = parts.next();
        }
        Self { group, kind, name }
    }

    fn ours(&self) -> bool {
        self.group == "homeostat.dev"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_an_action_is_known_by_its_request() {
        let get = |path: &str, query: &str| Request::of(&Method::GET, path, query, b"");
        assert_eq!(get("/apis/homeostat.dev/v1alpha1/controlplanes/default", ""), Request::KillSwitch);
        assert_eq!(get("/apis/homeostat.dev/v1alpha1/controlplanes", "watch=true"), Request::Watch);
        assert_eq!(get("/api/v1/namespaces/shop/pods", "limit=500"), Request::List);
        assert_eq!(get("/api/v1/namespaces/shop/pods/order-1", ""), Request::FreshRead);
        assert_eq!(get("/api/v1/nodes/node-1", ""), Request::FreshRead);
        assert_eq!(get("/apis/apps/v1/namespaces/shop/replicasets/order-1", ""), Request::Other);
        let actions = "/apis/homeostat.dev/v1alpha1/namespaces/shop/actions";
        assert_eq!(get(&format!("{actions}/order-1"), ""), Request::ReadAction);
        assert_eq!(Request::of(&Method::POST, actions, "", b"{}"), Request::Create);
        for (state, request) in [
            ("AwaitingApproval", Request::Ask),
            ("Admitted", Request::Intent),
            ("Claimed", Request::Claim),
            ("Sent", Request::Acknowledge),
            ("Verifying", Request::Verify),
            ("HandedOver", Request::Close),
        ] {
            let body = format!(r#"{{"status":{{"state":"{state}"}}}}"#);
            let path = format!("{actions}/order-1/status");
            assert_eq!(Request::of(&Method::PUT, &path, "", body.as_bytes()), request);
        }
        let eviction = "/api/v1/namespaces/shop/pods/order-1/eviction";
        assert_eq!(Request::of(&Method::POST, eviction, "dryRun=All", b"{}"), Request::DryRun);
        assert_eq!(Request::of(&Method::POST, eviction, "", b"{}"), Request::Effect);
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/homeostat";
        assert_eq!(Request::of(&Method::PUT, lease, "", b"{}"), Request::Other);
    }
}
