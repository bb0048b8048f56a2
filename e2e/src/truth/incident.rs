//! What the harness's own watch delivered of Incident objects, and what it means for a fault.

use std::collections::BTreeSet;

use super::at::At;

/// One ranked cause of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseView {
    /// `Workload`, `Pod`, `External`, …
    pub entity: String,
    /// Name of the object or of the address.
    pub name: String,
    /// `Crashed`, `Hung`, …
    pub kind: String,
}

impl CauseView {
    /// As shown to people: `Workload/order (Hung)`.
    pub fn text(&self) -> String {
        format!("{}/{} ({})", self.entity, self.name, self.kind)
    }
}

/// One version of an Incident object, with the time at which the watch delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: At,
    /// UID of the object.
    pub uid: String,
    /// Name of the object.
    pub name: String,
    /// Causes, best first.
    pub causes: Vec<CauseView>,
    /// Times that it was reopened.
    pub reopened: u32,
    /// People have to take over.
    pub handed_over: bool,
    /// State in words, for the live lines.
    pub state: String,
    /// Findings as shown to people, oldest first: `Hung on Workload/order`.
    pub findings: Vec<String>,
}

/// What is broken in a fault, and every name under which an incident may speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Name of the Deployment, Service and Workload.
    pub service: String,
    /// Addresses: Service names with their domains, cluster IP.
    pub addresses: BTreeSet<String>,
    /// Names of its pods.
    pub pods: BTreeSet<String>,
    /// Nodes, when a node is broken.
    pub nodes: BTreeSet<String>,
}

impl Broken {
    /// A service without further names.
    pub fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            addresses: BTreeSet::new(),
            pods: BTreeSet::new(),
            nodes: BTreeSet::new(),
        }
    }

    /// Whether a cause speaks of this service, of one of its pods or of its address.
    pub fn is(&self, cause: &CauseView) -> bool {
        match cause.entity.as_str() {
            "Pod" => self.pods.contains(&cause.name),
            "External" => {
                let host = cause.name.rsplit_once(':').map_or(cause.name.as_str(), |(host, _)| host);
                host == self.service || self.addresses.contains(host) || self.addresses.contains(&cause.name)
            }
            "Node" => self.nodes.contains(&cause.name),
            "Source" | "Cluster" => false,
            _ => cause.name == self.service,
        }
    }

    /// Whether one of the causes does.
    pub fn among(&self, causes: &[CauseView]) -> bool {
        causes.iter().any(|cause| self.is(cause))
    }
}

/// An incident from one opening (or reopening) to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode<'a> {
    /// UID of the object.
    pub uid: &'a str,
    /// When the watch delivered it first, or first with a higher reopen count.
    pub opened: At,
    /// Versions in order of delivery; never empty.
    pub versions: Vec<&'a Delivery>,
}

impl Episode<'_> {
    /// When it first named `broken` among its causes.
    pub fn named(&self, broken: &Broken) -> Option<At> {
        self.versions.iter().find(|version| broken.among(&version.causes)).map(|version| version.at)
    }

    /// Best cause in the last version that has one.
    pub fn top_cause(&self) -> Option<&CauseView> {
        self.versions.iter().rev().find_map(|version| version.causes.first())
    }

    /// Whether any version was handed over to people.
    pub fn handed_over(&self) -> bool {
        self.versions.iter().any(|version| version.handed_over)
    }
}

/// Every delivery of one column in order.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    /// In order of delivery.
    pub deliveries: Vec<Delivery>,
}

impl Incidents {
    /// Whether some incident has not ended.
    pub fn any_open(&self) -> bool {
        let mut judged = BTreeSet::new();
        let newest = self.deliveries.iter().rev().filter(|delivery| judged.insert(&delivery.uid));
        newest.into_iter().any(|delivery| delivery.state != "Resolved")
    }

    /// Cuts the deliveries into episodes, in order of opening.
    pub fn episodes(&self) -> Vec<Episode<'_>> {
        let mut episodes: Vec<Episode<'_>> = Vec::new();
        for delivery in &self.deliveries {
            let current = episodes.iter_mut().rev().find(|episode| episode.uid == delivery.uid);
            match current {
                Some(episode) if episode.versions.last().is_some_and(|v| v.reopened >= delivery.reopened) => {
                    episode.versions.push(delivery);
                }
                _ => episodes.push(Episode {
                    uid: &delivery.uid,
                    opened: delivery.at,
                    versions: vec![delivery],
                }),
            }
        }
        episodes
    }

    /// UID of the object with this name.
    pub fn uid_of(&self, name: &str) -> Option<&str> {
        self.deliveries.iter().rev().find(|d| d.name == name).map(|d| d.uid.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(entity: &str, name: &str) -> CauseView {
        CauseView { entity: entity.into(), name: name.into(), kind: "Hung".into() }
    }

    #[test]
    fn a_service_is_recognised_by_workload_pod_and_address() {
        let mut order = Broken::new("order");
        order.pods.insert("order-6c-x".into());
        order.addresses.insert("10.96.0.7".into());
        order.addresses.insert("order.food.svc".into());
        for (entity, name, is) in [
            ("Workload", "order", true),
            ("Deployment", "order", true),
            ("Workload", "order-archive", false),
            ("Pod", "order-6c-x", true),
            ("Pod", "order-archive-1-x", false),
            ("External", "10.96.0.7", true),
            ("External", "10.96.0.7:8080", true),
            ("External", "order.food.svc:8080", true),
            ("External", "10.96.0.8", false),
            ("Node", "order", false),
            ("Source", "order", false),
        ] {
            assert_eq!(order.is(&cause(entity, name)), is, "{entity} {name}");
        }
        assert_eq!(cause("Pod", "p").text(), "Pod/p (Hung)");
    }

    #[test]
    fn an_incident_is_open_until_its_newest_version_is_resolved() {
        let version = |uid: &str, state: &str| Delivery {
            at: At(1),
            uid: uid.into(),
            name: uid.into(),
            causes: Vec::new(),
            reopened: 0,
            handed_over: false,
            state: state.into(),
            findings: Vec::new(),
        };
        let seen = |versions: &[(&str, &str)]| Incidents {
            deliveries: versions.iter().map(|(uid, state)| version(uid, state)).collect(),
        };
        assert!(!seen(&[]).any_open());
        assert!(!seen(&[("a", "Open"), ("b", "Resolved"), ("a", "Resolved")]).any_open());
        assert!(seen(&[("a", "Resolved"), ("b", "HandedOver")]).any_open());
        assert!(seen(&[("a", "Resolved"), ("a", "Open")]).any_open());
    }

    #[test]
    fn reopening_begins_a_new_episode_of_the_same_object() {
        let version = |at, uid: &str, reopened| Delivery {
            at: At(at),
            uid: uid.into(),
            name: format!("name-{uid}"),
            causes: Vec::new(),
            reopened,
            handed_over: false,
            state: String::new(),
            findings: Vec::new(),
        };
        let incidents = Incidents {
            deliveries: vec![
                version(1, "a", 0),
                version(2, "b", 0),
                version(3, "a", 0),
                version(9, "a", 1),
                version(10, "a", 1),
            ],
        };
        let episodes = incidents.episodes();
        let seen: Vec<_> = episodes.iter().map(|e| (e.uid, e.opened.0, e.versions.len())).collect();
        assert_eq!(seen, [("a", 1, 2), ("b", 2, 1), ("a", 9, 2)]);
        assert_eq!(incidents.uid_of("name-b"), Some("b"));
    }
}
