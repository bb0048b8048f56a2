//! Findings that nodes and Jobs show by themselves: what the kubelet and the Job controller say.

use homeostat_knowledge::records::JobEnd;
use homeostat_knowledge::{ControllerKind, ControllerRecord, Entity, Evidence, FindingKind, Snapshot, Uid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is wrong with nodes and Jobs now, with the line of evidence for each.
pub fn findings(snapshot: &Snapshot) -> Vec<(Entity, FindingKind, Evidence)> {
    let mut found = Vec::new();
    for node in snapshot.nodes.values() {
        let entity = Entity::Node { name: node.name.clone() };
        if !node.ready {
            found.push((entity, FindingKind::NodeNotReady, Evidence::new("node", "not ready")));
        } else if !node.pressures.is_empty() {
            let evidence = Evidence::new("node", node.pressures.join(", "));
            found.push((entity, FindingKind::NodePressure, evidence));
        }
    }
    jobs(snapshot, &mut found);
    found
}

/// Workloads whose newest run failed. A later run that began or ended well ends the finding.
fn jobs(snapshot: &Snapshot, found: &mut Vec<(Entity, FindingKind, Evidence)>) {
    let runs = |kind| matches!(kind, ControllerKind::Job | ControllerKind::CronJob);
    let mut workloads = snapshot.workloads.values().filter(|workload| runs(workload.target.kind)).peekable();
    if workloads.peek().is_none() {
        return;
    }
    // Names of a CronJob's Jobs end with the time of their slot, so the last by name is the newest.
    let mut newest: BTreeMap<&Uid, &Arc<ControllerRecord>> = BTreeMap::new();
    let jobs = snapshot.controllers.values().filter(|record| record.key.kind == ControllerKind::Job);
    for job in jobs {
        let Some(owner) = &job.owner else { continue };
        let known = newest.entry(&owner.uid).or_insert(job);
        if known.key.object.name < job.key.object.name {
            *known = job;
        }
    }
    for workload in workloads {
        let Some(target) = snapshot.controllers.get(&workload.target) else { continue };
        let run = newest.get(&target.uid).copied().unwrap_or(target);
        if run.finished == Some(JobEnd::Failed) {
            let evidence = Evidence::new("newest run", format!("{} failed", run.key.object.name));
            found.push((Entity::Workload { key: workload.key.clone() }, FindingKind::JobFailed, evidence));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::records::NodeRecord;
    use homeostat_knowledge::{Timestamp, Uid};

    #[test]
    fn a_node_under_pressure_is_told_apart_from_one_that_is_gone() {
        let mut snapshot = Snapshot::default();
        let mut node = NodeRecord {
            name: "node-1".into(),
            uid: Uid::new("uid"),
            ready: true,
            cordoned: false,
            zone: None,
            allocatable_pods: 110,
            pressures: vec!["DiskPressure".into()],
            control_plane: false,
            hold: None,
        };
        let kinds = |snapshot: &Snapshot| -> Vec<FindingKind> {
            findings(snapshot).into_iter().map(|(_, kind, _)| kind).collect()
        };
        let put = |snapshot: &mut Snapshot, node: &NodeRecord| {
            let change = ObjectChange::Node(Change::Applied(Arc::new(node.clone())));
            snapshot.commit(&change, Timestamp::UNIX_EPOCH);
        };
        put(&mut snapshot, &node);
        assert_eq!(kinds(&snapshot), [FindingKind::NodePressure]);
        node.ready = false;
        put(&mut snapshot, &node);
        assert_eq!(kinds(&snapshot), [FindingKind::NodeNotReady]);
        node.ready = true;
        node.pressures.clear();
        put(&mut snapshot, &node);
        assert_eq!(kinds(&snapshot), []);
    }
}
