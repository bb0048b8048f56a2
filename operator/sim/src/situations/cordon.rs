//! A node is short of memory as long as new pods come to it.

use super::{Chosen, EffectRequest, HOLD, Situation, same_uid, same_version};
use crate::kubernetes;
use crate::objects::Node;
use crate::server::{Refused, Server};
use homeostat_knowledge::records::Hold;
use homeostat_knowledge::{
    ActionKind, Before, ControllerKind, Entity, FindingKind, Name, Parameters, Snapshot, Timestamp,
    WorkloadKey,
};

/// Nodes of the cluster: of so many two may be closed at once.
const NODES: usize = 20;
/// Where Homeostat itself runs.
const OWN: &str = "node-a";

/// A node that must get no new pods.
pub struct SickNode;

/// The node, enough others, and a pod of Homeostat on another one.
pub(super) fn build(server: &mut Server, node: &WorkloadKey, now: Timestamp) {
    kubernetes::add_nodes(server, &node.name, NODES);
    kubernetes::add_own_pod(server, OWN, now);
}

/// Writes a node.
pub(super) fn change(server: &mut Server, name: &Name, change: impl FnOnce(&mut Node)) {
    if let Some(mut node) = server.nodes.get(name).cloned() {
        change(&mut node);
        server.put_node(node);
    }
}

/// The node, when this holds for it.
pub(super) fn node_if(server: &Server, name: &Name, ill: impl FnOnce(&Node) -> bool) -> Option<Entity> {
    server.nodes.get(name).filter(|node| ill(node)).map(|_| Entity::Node { name: name.clone() })
}

/// The node is taken away, and another one has its name.
pub(super) fn replace(server: &mut Server, name: &Name) {
    let uid = server.uid("node");
    change(server, name, |node| *node = Node { record: crate::objects::node(name, uid), ..node.clone() });
    change(server, name, |node| node.ailment = None);
}

/// A step on a node.
pub(super) fn on(snapshot: &Snapshot, name: &Name, parameters: Parameters) -> Option<Chosen> {
    let node = snapshot.nodes.get(name)?;
    let before = Before { cordoned: Some(node.cordoned), ..Before::default() };
    Some(Chosen { target: Snapshot::node_target(node), parameters, before })
}

/// UID and version of the node.
pub(super) fn check(server: &Server, request: &EffectRequest) -> Result<(), Refused> {
    let node = server.nodes.get(&request.target.key.name).ok_or(Refused::NotFound)?;
    same_uid(request, &node.record.uid)?;
    same_version(request, &node.version)
}

impl Situation for SickNode {
    fn kind(&self) -> ActionKind {
        ActionKind::Cordon
    }

    fn finding(&self) -> FindingKind {
        FindingKind::NodePressure
    }

    fn targets(&self) -> Option<ControllerKind> {
        None
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        build(server, workload, now);
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, &workload.name, |node| {
            node.ailment = Some(FindingKind::NodePressure);
            node.record.pressures = vec![Name::from("MemoryPressure")];
        });
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        node_if(server, &workload.name, |node| node.ailment.is_some())
    }

    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, &workload.name, well);
    }

    fn step(
        &self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        _: &Entity,
        now: Timestamp,
    ) -> Option<Chosen> {
        on(snapshot, &workload.name, Parameters::Cordon { until: now + HOLD })
    }

    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        check(server, request)
    }

    /// Flag and mark in one write. The kubelet frees what it is short of once nothing new comes.
    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        let Parameters::Cordon { until } = request.parameters else { return };
        change(server, &request.target.key.name, |node| {
            node.record.cordoned = true;
            node.record.hold = Some(Hold { by: Name::from(request.action.as_str()), until: Some(until) });
            well(node);
        });
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        replace(server, &workload.name);
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        server.touch_node(&workload.name);
    }
}

fn well(node: &mut Node) {
    node.ailment = None;
    node.record.pressures.clear();
}
