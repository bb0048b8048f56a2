//! A node that Homeostat closed is needed again.

use super::cordon::{build, change, check, node_if, on, replace};
use super::{Chosen, EffectRequest, Situation};
use crate::objects::Node;
use crate::server::{Refused, Server};
use crate::world::base;
use homeostat_knowledge::records::Hold;
use homeostat_knowledge::{
    ActionKind, ControllerKind, Entity, FindingKind, Name, Parameters, SignedDuration, Snapshot, Timestamp,
    WorkloadKey,
};

/// A node with our mark that must get new pods again.
pub struct ClosedNode;

impl Situation for ClosedNode {
    fn kind(&self) -> ActionKind {
        ActionKind::Uncordon
    }

    fn finding(&self) -> FindingKind {
        FindingKind::Unschedulable
    }

    fn targets(&self) -> Option<ControllerKind> {
        None
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        build(server, workload, now);
    }

    /// An earlier action closed it, for longer than it is needed.
    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        let until = Some(base() + SignedDuration::from_hours(1));
        change(server, &workload.name, |node| {
            node.record.cordoned = true;
            node.record.hold = Some(Hold { by: Name::from("earlier-1"), until });
        });
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        node_if(server, &workload.name, |node| node.record.cordoned && node.record.hold.is_some())
    }

    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, &workload.name, open);
    }

    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        on(snapshot, &workload.name, Parameters::Uncordon)
    }

    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        check(server, request)
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        change(server, &request.target.key.name, open);
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        replace(server, &workload.name);
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        server.touch_node(&workload.name);
    }
}

/// Flag and mark go together.
pub(crate) fn open(node: &mut Node) {
    node.record.cordoned = false;
    node.record.hold = None;
}
