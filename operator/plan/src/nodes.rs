//! Steps on nodes. They belong to the platform tenant; a drain is planned one step at a time: first the cordon, then
//! one eviction per pod (`drain`).

use crate::case::Case;
use crate::decision::{Stop, later};
use crate::planner::{Chosen, willing};
use crate::{drain, taken_back};
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::records::NodeRecord;
use homeostat_knowledge::{
    ActionKind, Before, Entity, FindingKind, ObjectKey, Parameters, SignedDuration, Snapshot, TenantName,
    Timestamp,
};
use homeostat_playbooks::{After, Rung};

/// How long a cordon or a suspension holds when nothing takes it back before.
pub(crate) const HOLD: SignedDuration = SignedDuration::from_hours(1);

/// Steps of this kind are about the node that is the cause.
pub(crate) fn about_node(kind: ActionKind) -> bool {
    matches!(kind, ActionKind::Cordon | ActionKind::Uncordon | ActionKind::Drain)
}

/// Somebody, or an autoscaler, took the node away: nobody need look at it.
pub(crate) fn gone(name: &str) -> Stop {
    Stop::nothing(format!("node {name} is gone"))
}

/// A node that is on its way out: gone, tainted by who removes it, or closed by others before it fell silent. People drain
/// a node, and autoscalers remove one, in that order; its object goes a little later. It gets `patience` for that.
pub(crate) fn taken_away(case: &Case<'_>, patience: SignedDuration) -> Option<Stop> {
    let Entity::Node { name } = &case.cause.entity else { return None };
    let Some(node) = case.snapshot.nodes.get(name) else { return Some(gone(name)) };
    let at = later(case.since(), patience);
    let closed = case.cause.kind == FindingKind::NodeNotReady && node.cordoned && node.hold.is_none();
    let reason = match &node.leaving {
        Some(who) => by_whom(node, who),
        None if closed => {
            format!("node {name} was closed by others before it fell silent: it is being taken away")
        }
        None => return None,
    };
    (case.now < at).then(|| Stop::until(at, reason))
}

fn by_whom(node: &NodeRecord, who: &str) -> String {
    format!("node {} is being taken away ({who})", node.name)
}

/// The node is being emptied by who takes it away: nothing there is ours to close or to move.
pub(crate) fn left_alone(node: &NodeRecord) -> Result<(), Stop> {
    match &node.leaving {
        Some(who) => Err(Stop::wait(format!("{}: its pods go with it", by_whom(node, who)))),
        None => Ok(()),
    }
}

/// The next step on the node that is the cause.
pub(crate) fn step(case: &Case<'_>, number: u32, rung: &Rung) -> Result<Chosen, Stop> {
    let Entity::Node { name } = &case.cause.entity else {
        return Err(Stop::hand_over(format!("{} is no node", case.cause.entity)));
    };
    let Some(node) = case.snapshot.nodes.get(name) else {
        return Err(gone(name));
    };
    if let After::WhenStillAbnormal { age } = rung.after {
        let at = later(case.since(), age);
        if case.now < at {
            return Err(Stop::until(at, format!("{} may pass by itself", case.cause.kind)));
        }
    }
    if rung.action != ActionKind::Uncordon {
        left_alone(node)?;
    }
    match rung.action {
        ActionKind::Cordon => cordon(case, node, number, rung),
        ActionKind::Uncordon => uncordon(case, node, number, rung),
        _ if !node.cordoned => {
            drain::not_in_vain(case, node)?;
            cordon(case, node, number, rung)
        }
        _ if node.hold.is_none() => {
            Err(Stop::hand_over(format!("somebody cordoned node {name}; draining it is for them")))
        }
        _ => drain::evict_next(case, node, number, rung),
    }
}

fn cordon(case: &Case<'_>, node: &NodeRecord, number: u32, rung: &Rung) -> Result<Chosen, Stop> {
    if node.cordoned {
        return Err(Stop::wait(format!("node {} takes no new pods already", node.name)));
    }
    if case.cause.kind == FindingKind::NodePressure && node.pressures.is_empty() {
        return Err(Stop::wait(format!("node {} is short of nothing any more", node.name)));
    }
    // What is wrong there was seen before it fell silent, and Kubernetes keeps new pods off by itself.
    if !node.ready && case.cause.kind != FindingKind::NodeNotReady {
        return Err(Stop::wait(format!("node {} does not answer: that comes first", node.name)));
    }
    taken_back::by_people(case, ActionKind::Cordon, &node.uid, |_| false)?;
    let until = later(case.now, HOLD);
    let why = format!("new pods are kept off node {} until {until:.0} at the latest", node.name);
    chosen(case, node, number, rung, Parameters::Cordon { until }, why)
}

fn uncordon(case: &Case<'_>, node: &NodeRecord, number: u32, rung: &Rung) -> Result<Chosen, Stop> {
    if node.hold.is_none() || !node.cordoned {
        return Err(Stop::nothing(format!("node {} is not cordoned by Homeostat", node.name)));
    }
    let why = format!("node {} takes new pods again", node.name);
    chosen(case, node, number, rung, Parameters::Uncordon, why)
}

/// The state of a node is known as of now: the watch would have told a change.
pub(crate) fn seen(case: &Case<'_>) -> Result<Timestamp, Stop> {
    let of_node = matches!(case.cause.kind, FindingKind::NodeNotReady | FindingKind::NodePressure);
    if of_node && case.supporting().next().is_some() {
        return Ok(case.now);
    }
    case.last_seen().ok_or_else(|| Stop::wait("no active finding supports the cause any more"))
}

fn chosen(
    case: &Case<'_>,
    node: &NodeRecord,
    number: u32,
    rung: &Rung,
    parameters: Parameters,
    why: String,
) -> Result<Chosen, Stop> {
    let tenant = TenantName::new(PLATFORM_TENANT);
    let namespace = case.snapshot.tenants.get(&tenant).and_then(|tenant| tenant.namespaces.first());
    let Some(namespace) = namespace else {
        return Err(Stop::hand_over(format!(
            "nobody allowed to act on nodes: there is no Tenant {PLATFORM_TENANT} that owns Homeostat's namespace"
        )));
    };
    willing(case, parameters.kind(), &node.uid)?;
    Ok(Chosen {
        tenant,
        workload: ObjectKey { namespace: namespace.clone(), name: node.name.clone() },
        number,
        rung: rung.clone(),
        target: Snapshot::node_target(node),
        parameters,
        before: Before { cordoned: Some(node.cordoned), ..Before::default() },
        taken_at: seen(case)?,
        why,
    })
}
