//! Distinct root causes over time: what the storm guard counts.

use crate::places::{Located, Place, places};
use homeostat_knowledge::entity::{Entity, Name, TenantName};
use homeostat_knowledge::{
    ActionRecord, FindingKind, Incident, IncidentId, IncidentState, SignedDuration, Snapshot, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One sick thing that explains an incident: a workload (however many of its pods are sick), a node, or
/// something outside. Callers that only suffer from it are no roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What is sick, e.g. `shop/order`; equal names count once.
    pub name: Name,
    /// When it fell sick.
    pub since: Timestamp,
    /// When it was well again; `None` while it is sick.
    pub until: Option<Timestamp>,
}

/// Is there a storm?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StormState {
    /// Distinct roots that are sick now.
    pub sick: usize,
    /// From how many at once on it is a storm.
    pub threshold: usize,
    /// `true` during the storm and the calm time after it.
    pub storm: bool,
    /// When it will be over, if it stays calm; `None` outside a storm and while it still blows.
    pub over_at: Option<Timestamp>,
}

/// From how many distinct roots at once a group of `group` workloads is in a storm.
///
/// Rounded up (two of eleven are 18 %, below 20 %), and never below two: one sick workload alone is no storm,
/// while in a group under ten the second root stops everything at the usual 20 %.
pub(crate) fn storm_threshold(group: u32, percent: u32) -> usize {
    let share = u64::from(group) * u64::from(percent);
    usize::try_from(share.div_ceil(100)).unwrap_or(usize::MAX).max(2)
}

/// Judges the roots of one tenant at `now`. A storm ends only after `calm` without reaching the threshold.
pub fn storm(roots: &[Root], group: u32, percent: u32, calm: SignedDuration, now: Timestamp) -> StormState {
    let threshold = storm_threshold(group, percent);
    // Sweep over all beginnings and ends; at one instant ends come first, so neighbours do not overlap.
    let mut edges: Vec<(Timestamp, bool, &Name)> = Vec::with_capacity(roots.len() * 2);
    for root in roots {
        if root.since > now || root.until.is_some_and(|until| until <= root.since) {
            continue;
        }
        edges.push((root.since, true, &root.name));
        if let Some(until) = root.until.filter(|until| *until <= now) {
            edges.push((until, false, &root.name));
        }
    }
    edges.sort_by_key(|(at, begins, _)| (*at, *begins));
    let mut sick: BTreeMap<&Name, u32> = BTreeMap::new();
    let mut dropped_at = None;
    for (at, begins, name) in edges {
        if begins {
            *sick.entry(name).or_default() += 1;
        } else if let Some(count) = sick.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                sick.remove(name);
                if sick.len() + 1 == threshold {
                    dropped_at = Some(at);
                }
            }
        }
    }
    let blowing = sick.len() >= threshold;
    let over_at = dropped_at.and_then(|at| at.checked_add(calm).ok());
    let waiting = dropped_at.is_some() && over_at.is_none_or(|over| now < over);
    StormState {
        sick: sick.len(),
        threshold,
        storm: blowing || waiting,
        over_at: if blowing { None } else { over_at.filter(|_| waiting) },
    }
}

#[derive(Debug)]
struct Known {
    tenant: TenantName,
    located: Located,
    root: Root,
}

/// Remembers roots beyond the life of their incidents in the snapshot, for the calm time after a storm.
#[derive(Debug, Default)]
pub struct RootHistory {
    seen: BTreeMap<(IncidentId, Name), Known>,
}

impl RootHistory {
    /// Bound of the memory. In a storm this large every answer is "storm" anyway.
    const LIMIT: usize = 20_000;

    /// Takes the incidents of one snapshot in. Roots that are well for longer than `keep` are forgotten.
    pub fn observe(&mut self, snapshot: &Snapshot, now: Timestamp, keep: SignedDuration) {
        for ((incident, _), Known { root, .. }) in &mut self.seen {
            if root.until.is_none() && !snapshot.incidents.contains_key(incident) {
                root.until = Some(now); // Closed and gone between two looks.
            }
        }
        let explained: BTreeMap<&IncidentId, _> = snapshot.incidents.values().filter_map(root_of).collect();
        // The explanation of an incident may change; then the first root was none.
        self.seen.retain(|(id, root), _| explained.get(id).is_none_or(|(_, _, name, _)| name == root));
        for (incident, tenant, name, entity) in explained.into_values() {
            let sick = incident.instants.mitigated.is_none() && incident.state != IncidentState::Resolved;
            let until = if sick { None } else { Some(incident.instants.mitigated.unwrap_or(now)) };
            if self.seen.len() >= Self::LIMIT && !self.seen.contains_key(&(incident.id.clone(), name.clone()))
            {
                continue;
            }
            let root = Root { name: name.clone(), since: incident.instants.detected, until };
            let key = (incident.id.clone(), name);
            // Its pods may be gone or somewhere else by now; where it fell sick counts.
            let before = self.seen.remove(&key).map(|known| known.located).filter(|known| !known.nowhere());
            let located = before.unwrap_or_else(|| Located::of(entity, snapshot));
            self.seen.insert(key, Known { tenant: tenant.clone(), located, root });
        }
        self.seen
            .retain(|_, Known { root, .. }| root.until.is_none_or(|until| now.duration_since(until) < keep));
    }

    /// The roots of one tenant.
    pub fn of(&self, tenant: &TenantName) -> Vec<Root> {
        self.seen.values().filter(|known| known.tenant == *tenant).map(|known| known.root.clone()).collect()
    }

    /// The node and the zone of the action's target, with the roots of all tenants there.
    pub fn places(&self, record: &ActionRecord, snapshot: &Snapshot) -> Vec<Place> {
        places(record, snapshot, self.seen.values().map(|known| (&known.located, &known.root)))
    }
}

/// An incident with its tenant, the name of its root, and what that is.
type Explained<'a> = (&'a Arc<Incident>, &'a TenantName, Name, &'a Entity);

/// Which root explains an incident, when one does.
fn root_of(incident: &Arc<Incident>) -> Option<(&IncidentId, Explained<'_>)> {
    // A silent source says nothing about workloads; what is only expected or disputed is not sick.
    let sick = |kind| kind != FindingKind::NoData && !incident.only_tells();
    let cause = incident.top_cause().filter(|cause| sick(cause.kind))?;
    Some((&incident.id, (incident, incident.tenant.as_ref()?, root_name(&cause.entity)?, &cause.entity)))
}

fn root_name(entity: &Entity) -> Option<Name> {
    match entity {
        Entity::Workload { key } => Some(Name::from(key.to_string())),
        Entity::Pod { key, workload, .. } => Some(Name::from(workload.as_ref().unwrap_or(key).to_string())),
        Entity::Node { .. } | Entity::External { .. } => Some(Name::from(entity.to_string())),
        Entity::Source { .. } | Entity::Cluster => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, incident, pod_entity, snapshot};
    use homeostat_knowledge::{ObjectKey, Uid};

    const CALM: SignedDuration = SignedDuration::from_mins(10);

    fn put(snapshot: &mut Snapshot, incident: Incident) {
        snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
    }

    fn names(history: &RootHistory) -> Vec<(String, bool)> {
        history
            .of(&TenantName::new("shop"))
            .into_iter()
            .map(|root| (root.name.to_string(), root.until.is_none()))
            .collect()
    }

    #[test]
    fn roots_are_workloads_and_outsiders_not_pods_sources_or_callers() {
        let mut snapshot = snapshot();
        let second = Entity::Pod {
            key: ObjectKey::new("shop", "order-def"),
            uid: Uid::new("other"),
            workload: Some(ObjectKey::new("shop", "order")),
        };
        let mut also = incident("order-2", second, FindingKind::Crashed, 3);
        also.affected = vec![ObjectKey::new("shop", "web")];
        put(&mut snapshot, also);
        put(
            &mut snapshot,
            incident(
                "pay-1",
                Entity::External { address: Name::from("pay.example") },
                FindingKind::DependencyDown,
                4,
            ),
        );
        put(
            &mut snapshot,
            incident("otlp-1", Entity::Source { name: Name::from("otlp") }, FindingKind::NoData, 5),
        );
        let mut history = RootHistory::default();
        history.observe(&snapshot, at(10), CALM);
        let roots = history.of(&TenantName::new("shop"));
        let distinct: std::collections::BTreeSet<_> = roots.iter().map(|root| &*root.name).collect();
        assert_eq!(distinct.into_iter().collect::<Vec<_>>(), ["External/pay.example", "shop/order"]);
        assert_eq!(storm(&roots, 6, 20, CALM, at(10)).sick, 2);
        assert!(history.of(&TenantName::new("another")).is_empty());
    }

    #[test]
    fn a_root_outlives_its_incident_for_the_calm_time_only() {
        let mut snapshot = snapshot();
        let mut history = RootHistory::default();
        history.observe(&snapshot, at(0), CALM);
        assert_eq!(names(&history), [("shop/order".to_owned(), true)]);
        let mut mitigated = incident("order-1", pod_entity(), FindingKind::Hung, -1);
        mitigated.instants.mitigated = Some(at(20));
        mitigated.state = IncidentState::Mitigated;
        put(&mut snapshot, mitigated);
        history.observe(&snapshot, at(21), CALM);
        assert_eq!(names(&history), [("shop/order".to_owned(), false)]);
        snapshot.incidents.remove_mut(&IncidentId::new("order-1"));
        history.observe(&snapshot, at(60), CALM);
        assert_eq!(history.of(&TenantName::new("shop"))[0].until, Some(at(20)));
        history.observe(&snapshot, at(20 + 600), CALM);
        assert!(names(&history).is_empty());
    }

    #[test]
    fn a_better_explanation_replaces_the_root() {
        let mut snapshot = snapshot();
        let mut history = RootHistory::default();
        history.observe(&snapshot, at(0), CALM);
        let basket = Entity::Workload { key: ObjectKey::new("shop", "basket") };
        put(&mut snapshot, incident("order-1", basket, FindingKind::ErrorBurst, -1));
        history.observe(&snapshot, at(1), CALM);
        assert_eq!(names(&history), [("shop/basket".to_owned(), true)]);
    }
    /// A zone is lost: a third of twenty workloads in each of fifty tenants, and a third of thirty nodes. It comes back
    /// piece by piece within five minutes.
    #[test]
    fn a_lost_zone_is_a_storm_in_every_tenant_until_all_of_it_was_calm_for_ten_minutes() {
        let tenants: Vec<TenantName> =
            (0..50).map(|number| TenantName::new(format!("tenant-{number}"))).collect();
        let platform = TenantName::new(homeostat_knowledge::policy::PLATFORM_TENANT);
        let mut snapshot = snapshot();
        let mut lost = Vec::new();
        let mut fall = |tenant: &TenantName, name: &str, entity: Entity, kind| {
            let mut found = incident(name, entity, kind, 0);
            found.tenant = Some(tenant.clone());
            lost.push(found.id.clone());
            put(&mut snapshot, found);
        };
        for tenant in &tenants {
            for number in 0..7 {
                let key = ObjectKey::new(tenant.0.to_string(), format!("workload-{number}"));
                let name = format!("{}-{number}", tenant.0);
                fall(tenant, &name, Entity::Workload { key }, FindingKind::NotReady);
            }
        }
        for number in 0..10 {
            let name = Name::from(format!("node-{number}"));
            fall(&platform, &format!("n-{number}"), Entity::Node { name }, FindingKind::NodeNotReady);
        }
        let mut history = RootHistory::default();
        let everywhere = |history: &RootHistory, second: i64| {
            let blows = |tenant, group| storm(&history.of(tenant), group, 20, CALM, at(second)).storm;
            let of_tenants = tenants.iter().filter(|tenant| blows(tenant, 20)).count();
            // The platform tenant may own no workload: two nodes are its storm.
            (of_tenants, blows(&platform, 0))
        };
        history.observe(&snapshot, at(0), CALM);
        assert_eq!(everywhere(&history, 1), (50, true));
        // One incident in each second is over, those of one tenant after those of another.
        let last = i64::try_from(lost.len()).expect("few");
        for (second, id) in (1..).zip(&lost) {
            let mut well = (**snapshot.incidents.get(id).expect("open")).clone();
            (well.instants.mitigated, well.state) = (Some(at(second)), IncidentState::Mitigated);
            put(&mut snapshot, well);
            history.observe(&snapshot, at(second), CALM);
        }
        assert_eq!(last, 360, "six minutes");
        assert_eq!(
            everywhere(&history, 4 + 599),
            (50, true),
            "the first tenant was below the limit since second 4"
        );
        assert_eq!(everywhere(&history, 4 + 600), (49, true));
        assert_eq!(everywhere(&history, last - 1 + 599), (0, true), "the nodes came last");
        assert_eq!(everywhere(&history, last - 1 + 600), (0, false));
    }
}
