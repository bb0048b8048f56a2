//! A drain: a cordon, then one eviction per pod, each an action of its own. What did not help is taken back before people
//! take over: its cordon, once. Pods that moved stay where they are.

use crate::case::Case;
use crate::decision::{Stop, later};
use crate::nodes::seen;
use crate::planner::{Chosen, before, willing};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::records::NodeRecord;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, Before, ControllerKind, IncidentState, Parameters,
    SignedDuration, Snapshot, Verification,
};
use homeostat_playbooks::{Playbook, Rung};

/// People are told at the latest so long after a drain gave up, though its cordon could not be taken back.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// The end of a drain that did not help.
pub(crate) struct End<'p> {
    pub playbook: &'p Playbook,
    pub chosen: Chosen,
    /// The action that is taken back.
    pub cordon: ActionId,
}

/// Nothing more is done about the incident, and a drain of it still keeps its node closed: its cordon is taken back first,
/// where its step says so. A cordon that is a step of its own stays for as long as it was meant to.
pub(crate) fn end<'p>(case: &Case<'_>, playbooks: &'p [Playbook], stop: Stop) -> Result<End<'p>, Stop> {
    let (Stop::HandOver { reason } | Stop::Nothing { reason }) = &stop else { return Err(stop) };
    if case.incident.state == IncidentState::Mitigated {
        return Err(stop);
    }
    let Some((cordon, node, playbook, number, rung)) = standing(case, playbooks) else { return Err(stop) };
    let owned = case.snapshot.tenants.get(&cordon.tenant);
    let owned = owned.is_some_and(|tenant| tenant.namespaces.contains(&cordon.workload.namespace));
    // While the process warms up every new action is refused, and this one is asked for once.
    let warm = case.snapshot.synced_since.map(|since| later(since, case.snapshot.control.warm_up));
    let given_up = case.idle() > playbook.limits.give_up.saturating_add(PATIENCE);
    if !owned || (given_up && warm.is_none_or(|warm| case.now > later(warm, PATIENCE))) {
        return Err(stop);
    }
    if let Some(undo) = undo_of(case, &cordon.id) {
        return Err(Stop::wait(format!("action {} takes the cordon of node {} back", undo.id, node.name)));
    }
    if let Some(warm) = warm.filter(|warm| case.now < *warm) {
        let reason = format!("Homeostat warms up before it takes the cordon of node {} back", node.name);
        return Err(Stop::until(warm, reason));
    }
    let why = format!("the drain of node {} did not help, so it takes new pods again: {reason}", node.name);
    // That the node is open again is all that is asked of it.
    let verification = Verification { within: rung.verification.within, expect: Expectation::Nothing };
    Ok(End {
        playbook,
        chosen: Chosen {
            tenant: cordon.tenant.clone(),
            workload: cordon.workload.clone(),
            number,
            rung: Rung { verification, undo: Undo::None, ..rung.clone() },
            target: Snapshot::node_target(node),
            parameters: Parameters::Uncordon,
            before: Before { cordoned: Some(true), ..Before::default() },
            taken_at: case.now,
            why,
        },
        cordon: cordon.id.clone(),
    })
}

/// The cordon of a drain of this incident that is there still and is to be taken back, with the step that asked for it.
fn standing<'a, 'p>(
    case: &Case<'a>,
    playbooks: &'p [Playbook],
) -> Option<(&'a ActionRecord, &'a NodeRecord, &'p Playbook, u32, &'p Rung)> {
    let snapshot = case.snapshot;
    let mut cordons = snapshot.actions.values().map(|action| &**action).filter(|action| {
        action.incident == case.incident.id
            && action.kind() == ActionKind::Cordon
            && action.state == ActionState::Verified
            && action.undo == Undo::Restore
    });
    cordons.find_map(|cordon| {
        let node = snapshot.nodes.get(&cordon.target.key.name)?;
        let ours = node.hold.as_ref().is_some_and(|hold| hold.is_of(&cordon.id));
        let playbook = playbooks.iter().find(|playbook| playbook.name == cordon.playbook.name)?;
        let (number, rung) = playbook.healing().find(|(number, _)| *number == cordon.playbook.step)?;
        let drain = rung.action == ActionKind::Drain;
        // Once: what could not be taken back ends with its time.
        let tried = undo_of(case, &cordon.id).is_some_and(|undo| undo.state.ended());
        (node.cordoned && ours && node.uid == cordon.target.uid && drain && !tried)
            .then_some((cordon, &**node, playbook, number, rung))
    })
}

fn undo_of<'a>(case: &Case<'a>, action: &ActionId) -> Option<&'a ActionRecord> {
    let mut actions = case.snapshot.actions.values().map(|other| &**other);
    actions.find(|other| other.undo_of.as_ref() == Some(action))
}

/// A node that was drained for this incident, and opened again because that did not help, is not drained once more.
pub(crate) fn not_in_vain(case: &Case<'_>, node: &NodeRecord) -> Result<(), Stop> {
    let opened = case.snapshot.actions.values().any(|undo| {
        undo.undo_of.is_some()
            && undo.incident == case.incident.id
            && undo.target.uid == node.uid
            && undo.state == ActionState::Verified
    });
    if opened {
        let reason = format!("the drain of node {} did not help and was taken back", node.name);
        return Err(Stop::hand_over(reason));
    }
    Ok(())
}

/// The next pod of the node, in name order, that a controller brings back elsewhere and a tenant owns.
pub(crate) fn evict_next(
    case: &Case<'_>,
    node: &NodeRecord,
    number: u32,
    rung: &Rung,
) -> Result<Chosen, Stop> {
    let on_node = case.snapshot.pods.values().filter(|pod| pod.node.as_ref() == Some(&node.name));
    for pod in on_node {
        let moves = pod.owner.as_ref().is_some_and(|owner| {
            matches!(owner.kind, ControllerKind::ReplicaSet | ControllerKind::StatefulSet)
        });
        let known = case.snapshot.workload_of(pod).and_then(|workload| {
            let tenant = case.snapshot.tenant_of_namespace(&workload.namespace)?;
            Some((workload, tenant, case.snapshot.controller_of(workload)?))
        });
        let Some((workload, tenant, controller)) = known.filter(|_| moves && !pod.deleting) else { continue };
        if case.history.done_to(ActionKind::EvictPod, &pod.uid).is_some()
            || willing(case, ActionKind::EvictPod, &pod.uid).is_err()
        {
            continue; // Refused or tried: the next pod; people are told by the ladder's end.
        }
        return Ok(Chosen {
            tenant: tenant.name.clone(),
            workload: workload.clone(),
            number,
            // Its cordon is what is taken back: a pod that moved stays where it is.
            rung: Rung { undo: Undo::None, ..rung.clone() },
            target: Snapshot::pod_target(pod),
            parameters: Parameters::EvictPod { grace_seconds: None },
            before: before(controller, Some(pod)),
            taken_at: seen(case)?,
            why: format!("node {} is drained: its pods move one after the other", node.name),
        });
    }
    Err(Stop::wait(format!("no pod of node {} is left to be moved", node.name)))
}
