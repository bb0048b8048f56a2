//! Nodes and zones as groups for the storm guard: what fails together there has a reason that no tenant can see.

use crate::roots::Root;
use homeostat_knowledge::entity::{Entity, Name, WorkloadKey};
use homeostat_knowledge::{ActionRecord, PodRecord, Snapshot};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// With fewer workloads a place is no group: two sick ones of the handful on a node have nothing to do with each other
/// (docs/adr/0021).
const LEAST_WORKLOADS: u32 = 10;

/// A node or a zone that an action's target is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// For people, e.g. `zone eu-1`.
    pub name: Name,
    /// Workloads of all tenants that are wholly there.
    pub workloads: u32,
    /// What is or was sick there.
    pub roots: Vec<Root>,
}

/// Where something is: on which node, in which zone, each if that is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    node: Option<Name>,
    zone: Option<Name>,
}

impl Located {
    /// Where this is now.
    pub fn of(entity: &Entity, snapshot: &Snapshot) -> Self {
        match entity {
            Entity::Node { name } => on(snapshot, std::iter::once(Some(name))),
            Entity::Pod { key, .. } => {
                on(snapshot, snapshot.pods.get(key).into_iter().map(|pod| pod.node.as_ref()))
            }
            Entity::Workload { key } => of_workload(snapshot, key),
            Entity::External { .. } | Entity::Source { .. } | Entity::Cluster => Self::default(),
        }
    }

    fn of_target(record: &ActionRecord, snapshot: &Snapshot) -> Self {
        if record.target.is_node() {
            // What is sick on the node is the reason to act on it; its zone is what may be lost as a whole.
            let zone = on(snapshot, std::iter::once(Some(&record.target.key.name))).zone;
            return Self { node: None, zone };
        }
        match snapshot.pods.get(&record.target.key).filter(|pod| pod.uid == record.target.uid) {
            Some(pod) => on(snapshot, std::iter::once(pod.node.as_ref())),
            None => of_workload(snapshot, &record.workload),
        }
    }

    /// Nothing is known, or it is spread.
    pub fn nowhere(&self) -> bool {
        *self == Self::default()
    }
}

fn of_workload(snapshot: &Snapshot, workload: &WorkloadKey) -> Located {
    let pods = snapshot.pods_of(workload).filter(|pod| !pod.deleting);
    on(snapshot, pods.map(|pod| pod.node.as_ref()))
}

/// The node and the zone that all of these are on. A pod that is on no node yet is nowhere, and so are they all.
fn on<'a>(snapshot: &Snapshot, nodes: impl Iterator<Item = Option<&'a Name>>) -> Located {
    let Some(nodes) = nodes.collect::<Option<BTreeSet<&Name>>>() else { return Located::default() };
    let zones: BTreeSet<Option<&Name>> =
        nodes.iter().map(|name| snapshot.nodes.get(*name).and_then(|node| node.zone.as_ref())).collect();
    let only = |names: Vec<&Name>| (names.len() == 1).then(|| names[0].clone());
    Located {
        node: only(nodes.into_iter().collect()),
        zone: zones.into_iter().collect::<Option<Vec<_>>>().and_then(only),
    }
}

/// The node and the zone of the target, where there are others of the same sort and two or more roots are in it. Where all
/// is one place, its tenants are the groups.
pub(crate) fn places<'a>(
    record: &ActionRecord,
    snapshot: &Snapshot,
    roots: impl Iterator<Item = (&'a Located, &'a Root)>,
) -> Vec<Place> {
    let target = Located::of_target(record, snapshot);
    if target.nowhere() {
        return Vec::new();
    }
    let zones: BTreeSet<&Name> = snapshot.nodes.values().filter_map(|node| node.zone.as_ref()).collect();
    let node = target.node.filter(|_| snapshot.nodes.size() > 1);
    let zone = target.zone.filter(|_| zones.len() > 1);
    let (mut on_node, mut in_zone) = (Vec::new(), Vec::new());
    for (located, root) in roots {
        if node.is_some() && located.node == node {
            on_node.push(root.clone());
        }
        if zone.is_some() && located.zone == zone {
            in_zone.push(root.clone());
        }
    }
    let several = |roots: &[Root]| roots.iter().map(|root| &root.name).collect::<BTreeSet<_>>().len() > 1;
    let mut found = Vec::new();
    let mut add = |name: String, workloads: u32, roots: Vec<Root>| {
        if workloads >= LEAST_WORKLOADS {
            found.push(Place { name: Name::from(name), workloads, roots });
        }
    };
    if let Some(node) = node.filter(|_| several(&on_node)) {
        let there = |pod: &PodRecord| pod.node.as_ref() == Some(&node);
        add(format!("node {node}"), count(snapshot, there), on_node);
    }
    if let Some(zone) = zone.filter(|_| several(&in_zone)) {
        let of = |pod: &PodRecord| snapshot.nodes.get(pod.node.as_ref()?)?.zone.as_ref();
        add(format!("zone {zone}"), count(snapshot, |pod| of(pod) == Some(&zone)), in_zone);
    }
    found
}

/// Workloads of which all pods are there.
fn count(snapshot: &Snapshot, there: impl Fn(&PodRecord) -> bool) -> u32 {
    let mut wholly: BTreeMap<&WorkloadKey, bool> = BTreeMap::new();
    for pod in snapshot.pods.values().filter(|pod| !pod.deleting) {
        if let Some(workload) = snapshot.workload_of(pod) {
            *wholly.entry(workload).or_insert(true) &= there(pod);
        }
    }
    u32::try_from(wholly.values().filter(|wholly| **wholly).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::RootHistory;
    use crate::testing::{at, incident, node, put_node, put_pod, record, snapshot};
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::records::{ControllerKey, NodeRecord, OwnerRecord};
    use homeostat_knowledge::{
        ControllerKind, FindingKind, ObjectKey, SignedDuration, TenantName, Uid, WorkloadPolicy,
    };
    use std::sync::Arc;

    /// Pods of other tenants, one on each of these nodes, are sick, besides `shop/order-abc` on the first.
    fn sick(snapshot: &mut Snapshot, nodes: &[&str]) {
        let mut own = crate::testing::pod();
        own.node = Some(Name::from(nodes[0]));
        put_pod(snapshot, own.clone());
        for (number, name) in nodes.iter().enumerate() {
            let key = ObjectKey::new(format!("tenant-{number}"), "web-0");
            let pod = PodRecord {
                key: key.clone(),
                uid: Uid::new(format!("uid-{number}")),
                owner: None,
                node: Some(Name::from(*name)),
                ..own.clone()
            };
            let entity = Entity::Pod { key, uid: pod.uid.clone(), workload: None };
            put_pod(snapshot, pod);
            let mut other = incident(&format!("web-{number}"), entity, FindingKind::Hung, -1);
            other.tenant = Some(TenantName::new(format!("tenant-{number}")));
            snapshot.incidents.insert_mut(other.id.clone(), Arc::new(other));
        }
    }

    /// So many workloads of another tenant with a pod each on this node, all well.
    fn well(snapshot: &mut Snapshot, name: &str, count: u32) {
        for number in 0..count {
            let key = ObjectKey::new("crowd", format!("{name}-{number}"));
            let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
            let policy = WorkloadPolicy::new(key.clone(), Uid::new(format!("w-{key}")), target);
            snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
            let owner =
                OwnerRecord { kind: ControllerKind::Deployment, name: key.name.clone(), uid: Uid::new("d") };
            let pod = PodRecord {
                uid: Uid::new(format!("p-{key}")),
                key,
                owner: Some(owner),
                node: Some(Name::from(name)),
                ..crate::testing::pod()
            };
            put_pod(snapshot, pod);
        }
    }

    fn seen(snapshot: &Snapshot) -> Vec<(String, usize)> {
        let mut history = RootHistory::default();
        history.observe(snapshot, at(1), SignedDuration::from_mins(10));
        let places = history.places(&record("order-1-1"), snapshot);
        places.into_iter().map(|place| (place.name.to_string(), place.roots.len())).collect()
    }

    #[test]
    fn roots_of_all_tenants_are_counted_where_the_target_is() {
        let mut snapshot = snapshot();
        for (name, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
            put_node(&mut snapshot, NodeRecord { zone: Some(Name::from(zone)), ..node(name) });
        }
        sick(&mut snapshot, &["n1", "n2", "n3"]);
        assert_eq!(seen(&snapshot), [], "a handful of workloads is no group");
        well(&mut snapshot, "n2", 9);
        assert_eq!(seen(&snapshot), [("zone a".to_owned(), 3)]);
        well(&mut snapshot, "n1", 9);
        assert_eq!(seen(&snapshot), [("node n1".to_owned(), 2), ("zone a".to_owned(), 3)]);
    }

    #[test]
    fn where_all_is_one_place_it_is_no_group() {
        let mut snapshot = snapshot();
        put_node(&mut snapshot, node("n1"));
        sick(&mut snapshot, &["n1", "n1", "n1"]);
        well(&mut snapshot, "n1", 20);
        assert_eq!(seen(&snapshot), []);
    }

    #[test]
    fn a_root_whose_pod_is_gone_still_counts_where_it_fell_sick() {
        let mut snapshot = snapshot();
        for (name, zone) in [("n1", "a"), ("n2", "b")] {
            put_node(&mut snapshot, NodeRecord { zone: Some(Name::from(zone)), ..node(name) });
        }
        sick(&mut snapshot, &["n1"]);
        well(&mut snapshot, "n1", 9);
        let mut history = RootHistory::default();
        history.observe(&snapshot, at(1), SignedDuration::from_mins(10));
        snapshot.pods.remove_mut(&ObjectKey::new("tenant-0", "web-0"));
        history.observe(&snapshot, at(2), SignedDuration::from_mins(10));
        let places = history.places(&record("order-1-1"), &snapshot);
        assert_eq!(places.iter().map(|place| place.roots.len()).collect::<Vec<_>>(), [2, 2]);
    }
}
