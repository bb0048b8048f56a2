//! Questions that the actions on nodes ask.

use super::{Protected, Unfit};
use crate::ports::FreshTarget;
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::records::NodeRecord;
use homeostat_knowledge::{ActionRecord, Snapshot};
use std::sync::Arc;

/// The node that the action is about, still the one that was decided on.
pub(super) fn target<'a>(
    record: &ActionRecord,
    snapshot: &'a Snapshot,
) -> Result<&'a Arc<NodeRecord>, Unfit> {
    let name = &record.target.key.name;
    if !record.target.is_node() {
        return Err(Unfit::Protected(format!("{} is no node", record.target.kind)));
    }
    if &*record.tenant.0 != PLATFORM_TENANT {
        return Err(Unfit::Protected(format!(
            "actions on nodes belong to tenant {PLATFORM_TENANT}, not to {}",
            record.tenant
        )));
    }
    let node = snapshot
        .nodes
        .get(name)
        .ok_or_else(|| Unfit::Changed(format!("node {name} is not known any more")))?;
    if node.uid != record.target.uid {
        return Err(Unfit::Changed(format!("another node is called {name} now")));
    }
    Ok(node)
}

/// May new pods be kept off this node at all?
pub(super) fn may_be_closed(
    node: &NodeRecord,
    snapshot: &Snapshot,
    protected: &Protected,
) -> Result<(), Unfit> {
    let name = &node.name;
    if node.control_plane {
        return Err(Unfit::Protected(format!("node {name} belongs to the control plane")));
    }
    let mut own = snapshot.pods_in(protected.own()).filter(|pod| pod.node.is_some()).peekable();
    if own.peek().is_none() {
        return Err(Unfit::Changed("on which node Homeostat itself runs is not known".to_owned()));
    }
    if own.any(|pod| pod.node.as_ref() == Some(name)) {
        return Err(Unfit::Protected(format!("Homeostat itself runs on node {name}")));
    }
    let ours: Vec<&Arc<NodeRecord>> = snapshot
        .nodes
        .values()
        .filter(|other| other.name != *name && other.cordoned && other.hold.is_some())
        .collect();
    let percent = snapshot.control.cordoned_percent;
    let most = snapshot.nodes.size() * usize::try_from(percent).unwrap_or(usize::MAX) / 100;
    if ours.len() + 1 > most {
        return Err(Unfit::Protected(format!(
            "with node {name} {} of {} nodes would be cordoned by Homeostat; at most {most} ({percent} %, ControlPlane.spec.ceilings.cordonedNodesPercent) may",
            ours.len() + 1,
            snapshot.nodes.size()
        )));
    }
    let elsewhere = ours.iter().find(|other| other.zone.is_none() || other.zone != node.zone);
    if let Some(other) = elsewhere {
        return Err(Unfit::Protected(format!(
            "node {} is cordoned by Homeostat, and not known to be in the same zone as {name}; never in two zones at once",
            other.name
        )));
    }
    Ok(())
}

/// The node of the fresh read.
pub(super) fn fresh<'a>(record: &ActionRecord, fresh: &'a FreshTarget) -> Result<&'a NodeRecord, Unfit> {
    super::target::same_object(record, fresh)?;
    fresh
        .node
        .as_ref()
        .ok_or_else(|| Unfit::Changed(format!("the fresh read of {} shows no node", record.target.key)))
}
