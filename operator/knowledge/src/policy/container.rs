//! Which container of a pod is meant where people name none, or one.

use super::{Bounds, Measures, Permits};
use crate::records::{ContainerRecord, PodRecord};

impl Permits {
    /// The container of a pod that bounds and signals are about: the one that is named, else the only one. Init containers,
    /// those that run beside the others too, are never meant. `None`: there is no such container, or several and no name.
    pub fn measured<'a>(&self, pod: &'a PodRecord) -> Option<&'a ContainerRecord> {
        match (&self.container, pod.containers.as_slice()) {
            (Some(name), all) => all.iter().find(|one| one.name == *name),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// Whether the bounds hold for the container of this name. Where people name none, they hold for each: a repair says
    /// itself which one it is about.
    pub fn bounds_hold_for(&self, container: &str) -> bool {
        self.container.as_deref().is_none_or(|name| name == container)
    }

    /// Between how many bytes of memory the container of this name may be resized.
    pub fn memory_of(&self, container: &str) -> Option<Bounds> {
        self.memory_bytes.filter(|_| self.bounds_hold_for(container))
    }

    /// The limit, in bytes, that a pod has for what a signal measures: for memory that of the container that is meant. Ephemeral
    /// storage is counted for the whole pod, so there it is that of the only one.
    pub fn limit_of(&self, pod: &PodRecord, measures: Measures) -> Option<u64> {
        match (measures, pod.containers.as_slice()) {
            (Measures::MemoryBytes, _) => measures.container_limit(self.measured(pod)?),
            (_, [only]) => measures.container_limit(only),
            _ => None,
        }
    }

    /// Why it is not known which container of a pod is meant, and what to change; `None` when it is known.
    pub fn unmeasured(&self, pod: &PodRecord) -> Option<String> {
        if self.measured(pod).is_some() {
            return None;
        }
        let names: Vec<&str> = pod.containers.iter().map(|one| &*one.name).collect();
        let names = names.join(", ");
        Some(match &self.container {
            Some(name) => format!(
                "{} has no container {name}: spec.scaling.resources.container must name one of {names}; init containers do \
                 not count",
                pod.key.name
            ),
            None => format!(
                "{} has {} containers, and which of them uses what is not known: name one of {names} in \
                 spec.scaling.resources.container",
                pod.key.name,
                pod.containers.len()
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{Name, ObjectKey};
    use crate::ids::Uid;
    use jiff::Timestamp;

    fn pod(names: &[&str]) -> PodRecord {
        let container = |name: &&str| ContainerRecord::bare(Name::from(*name), Timestamp::UNIX_EPOCH);
        PodRecord {
            containers: names.iter().map(container).collect(),
            ..PodRecord::bare(ObjectKey::new("shop", "order-a"), Uid::new("a"))
        }
    }

    #[test]
    fn the_container_that_is_meant_is_the_one_that_is_named_else_the_only_one() {
        for (named, containers, meant, words) in [
            (None, &["app"][..], Some("app"), ""),
            (None, &["app", "proxy"][..], None, "order-a has 2 containers"),
            (Some("app"), &["proxy", "app"][..], Some("app"), ""),
            (Some("ap"), &["proxy", "app"][..], None, "order-a has no container ap"),
            (Some("ap"), &["app"][..], None, "order-a has no container ap"),
        ] {
            let permits = Permits { container: named.map(Name::from), ..Permits::default() };
            let pod = pod(containers);
            assert_eq!(permits.measured(&pod).map(|one| &*one.name), meant, "{named:?} of {containers:?}");
            let said = permits.unmeasured(&pod).unwrap_or_default();
            assert!(said.starts_with(words) && said.is_empty() == meant.is_some(), "{said}");
            if meant.is_none() {
                assert!(said.contains("spec.scaling.resources.container") && said.contains("app"), "{said}");
            }
        }
    }

    #[test]
    fn memory_has_the_limit_of_the_container_that_is_meant_and_storage_that_of_the_only_one() {
        let mut pod = pod(&["proxy", "app"]);
        for (one, limit) in pod.containers.iter_mut().zip([100, 200]) {
            one.memory.limit = Some(limit);
            one.ephemeral_storage_limit = Some(limit);
        }
        let app = Permits { container: Some(Name::from("app")), ..Permits::default() };
        assert_eq!(app.limit_of(&pod, Measures::MemoryBytes), Some(200));
        assert_eq!(app.limit_of(&pod, Measures::EphemeralStorageBytes), None);
        assert_eq!(Permits::default().limit_of(&pod, Measures::MemoryBytes), None, "of two it is not known");
        pod.containers.truncate(1);
        assert_eq!(Permits::default().limit_of(&pod, Measures::MemoryBytes), Some(100));
        assert_eq!(Permits::default().limit_of(&pod, Measures::EphemeralStorageBytes), Some(100));
    }

    #[test]
    fn bounds_hold_for_the_container_that_is_named_and_for_each_where_none_is() {
        let bounds = Some(Bounds { min: 1, max: 2 });
        let named = |container: Option<&str>| Permits {
            memory_bytes: bounds,
            container: container.map(Name::from),
            ..Permits::default()
        };
        assert_eq!(named(None).memory_of("proxy"), bounds);
        assert_eq!(named(Some("app")).memory_of("app"), bounds);
        assert_eq!(named(Some("app")).memory_of("proxy"), None);
    }
}
