//! The application's pods as the harness's own watch shows them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Label by which a pod belongs to a service.
pub const SERVICE_LABEL: &str = "app.kubernetes.io/name";

/// One run of a pod's first container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Service that it belongs to.
    pub service: String,
    /// Name of the container.
    pub container: String,
    /// Id of the running container; `None` while none runs.
    pub running: Option<String>,
    /// Restarts by the kubelet.
    pub restarts: i32,
    /// Passes its readiness probe, or has none and runs.
    pub ready: bool,
    /// Is being deleted.
    pub deleting: bool,
    /// Address.
    pub ip: Option<String>,
}

impl PodView {
    /// Reads what matters; `None` for pods that belong to no service or have no container.
    pub fn of(pod: &Pod) -> Option<Self> {
        let service = pod.labels().get(SERVICE_LABEL)?.clone();
        let container = pod.spec.as_ref()?.containers.first()?.name.clone();
        let status = pod.status.as_ref();
        let state = status
            .and_then(|s| s.container_statuses.as_ref())
            .and_then(|all| all.iter().find(|one| one.name == container));
        let running = state
            .filter(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()))
            .and_then(|one| one.container_id.clone());
        Some(Self {
            namespace: pod.namespace()?,
            name: pod.name_any(),
            uid: pod.uid()?,
            service,
            container,
            running,
            restarts: state.map_or(0, |one| one.restart_count),
            ready: state.is_some_and(|one| one.ready),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            ip: status.and_then(|s| s.pod_ip.clone()),
        })
    }

    /// Serves its callers, as far as Kubernetes knows.
    pub fn serving(&self) -> bool {
        self.running.is_some() && self.ready && !self.deleting
    }
}

/// Every pod seen, alive or gone.
#[derive(Debug, Default)]
pub struct Pods {
    alive: BTreeMap<String, PodView>,
    /// Name of every pod ever seen to its service.
    names: BTreeMap<String, String>,
}

impl Pods {
    /// Keeps the latest state.
    pub fn put(&mut self, pod: PodView) {
        self.names.insert(pod.name.clone(), pod.service.clone());
        self.alive.insert(pod.uid.clone(), pod);
    }

    /// Forgets a deleted pod, not its name.
    pub fn remove(&mut self, uid: &str) {
        self.alive.remove(uid);
    }

    /// Keeps only these of the pods that are alive: what a fresh list shows.
    pub fn retain(&mut self, uids: &std::collections::BTreeSet<String>) {
        self.alive.retain(|uid, _| uids.contains(uid));
    }

    /// Pods that exist.
    pub fn alive(&self) -> impl Iterator<Item = &PodView> {
        self.alive.values()
    }

    /// Pods of a service that exist.
    pub fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a PodView> {
        self.alive.values().filter(move |pod| pod.service == service)
    }

    /// The pod that serves; the one that runs longest when a rollout shows two.
    pub fn serving(&self, service: &str) -> Option<PodView> {
        self.of(service).find(|pod| pod.serving()).cloned()
    }

    /// The service of a pod seen at any time.
    pub fn service_of(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// Names of all pods that a service ever had.
    pub fn names_of(&self, service: &str) -> impl Iterator<Item = &str> {
        self.names.iter().filter(move |(_, of)| *of == service).map(|(name, _)| name.as_str())
    }

    /// Whether this container still runs.
    pub fn runs(&self, uid: &str, container_id: &str) -> bool {
        self.alive.get(uid).is_some_and(|pod| pod.running.as_deref() == Some(container_id))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pod of `order`.
    pub(crate) fn pod(uid: &str, running: Option<&str>, ready: bool) -> PodView {
        PodView {
            namespace: "n".into(),
            name: format!("order-{uid}"),
            uid: uid.into(),
            service: "order".into(),
            container: "order".into(),
            running: running.map(str::to_owned),
            restarts: 0,
            ready,
            deleting: false,
            ip: None,
        }
    }

    #[test]
    fn names_outlive_their_pods() {
        let mut pods = Pods::default();
        pods.put(pod("a", Some("c1"), true));
        pods.put(pod("b", None, false));
        assert_eq!(pods.serving("order").unwrap().uid, "a");
        assert!(pods.runs("a", "c1") && !pods.runs("a", "c2"));
        pods.remove("a");
        assert!(pods.serving("order").is_none());
        assert_eq!(pods.service_of("order-a"), Some("order"));
        assert_eq!(pods.names_of("order").count(), 2);
        pods.retain(&std::collections::BTreeSet::new());
        assert_eq!(pods.alive().count(), 0);
    }
}
