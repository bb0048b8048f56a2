//! Is there a node for the pod that a step makes? A pod that waits for one helps nobody, keeps a rollout from ending, and a
//! sick pod that left would not come back.

use crate::case::Case;
use crate::decision::Stop;
use homeostat_knowledge::records::{NodeRecord, PodPhase};
use homeostat_knowledge::{ControllerKind, PodRecord};

/// A pod that leaves needs a node that takes another one: a sick pod is better than none.
pub(crate) fn after_leaving(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    // The controller of a DaemonSet puts its pods on cordoned nodes as well.
    let stays = pod.owner.as_ref().is_some_and(|owner| owner.kind == ControllerKind::DaemonSet);
    // Only pods without requests are kept off by a shortage of memory.
    let takes = |node: &NodeRecord| {
        node.ready && !node.closed() && node.pressures.iter().all(|pressure| &**pressure == "MemoryPressure")
    };
    let mut nodes = case.snapshot.nodes.values().peekable();
    if stays || nodes.peek().is_none() || nodes.any(|node| takes(node)) {
        return Ok(());
    }
    Err(Stop::wait(format!("no node takes new pods: {} would not come back", pod.key)))
}

/// One more pod than there are now needs a sound node with a free place; where no node is known, the scheduler decides.
pub(crate) fn for_one_more(case: &Case<'_>) -> Result<(), Stop> {
    let mut nodes = case.snapshot.nodes.values().peekable();
    if nodes.peek().is_none() || nodes.any(|node| open(node) && bound(case, node) < node.allocatable_pods) {
        return Ok(());
    }
    Err(Stop::wait("no node takes one more pod: it would only wait for room"))
}

/// The pod's own node has room for one more pod: a local volume may bind the new pod to it.
pub(crate) fn beside(case: &Case<'_>, pod: &PodRecord) -> Result<(), Stop> {
    let Some(node) = pod.node.as_ref().and_then(|name| case.snapshot.nodes.get(name)) else {
        return Err(Stop::wait(format!("the node of {} is not known", pod.key)));
    };
    if !open(node) {
        return Err(Stop::wait(format!("node {} takes no new pod", node.name)));
    }
    let bound = bound(case, node);
    if bound >= node.allocatable_pods {
        return Err(Stop::wait(format!(
            "node {} has no room for one more pod: {bound} of {}",
            node.name, node.allocatable_pods
        )));
    }
    Ok(())
}

/// Takes new pods and is short of nothing.
fn open(node: &NodeRecord) -> bool {
    node.ready && !node.closed() && node.pressures.is_empty()
}

/// Pods that hold a place on the node.
fn bound(case: &Case<'_>, node: &NodeRecord) -> u32 {
    let holds = case.snapshot.pods.values().filter(|pod| {
        pod.node.as_ref() == Some(&node.name) && !matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed)
    });
    u32::try_from(holds.count()).unwrap_or(u32::MAX)
}
