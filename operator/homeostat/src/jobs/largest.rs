//! What one pod can have at most: the capacity is a sum, and a pod finds its room on one node.

use super::declared::{counted, taken};
use homeostat_knowledge::{ControllerKind, Snapshot};
use homeostat_scale::jobs::Size;
use std::cmp::Reverse;

/// What the nodes that take pods have for one pod, without those that have no more of anything than another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Largest(Vec<Size>);

impl Largest {
    /// Of the nodes that take pods now, whatever runs on them but for pods of a `DaemonSet`: these stay beside any other pod.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut nodes = counted(snapshot);
        for pod in snapshot.pods.values() {
            if pod.owner.as_ref().is_none_or(|owner| owner.kind != ControllerKind::DaemonSet) {
                continue;
            }
            let stays = taken(pod, &nodes);
            if let Some(node) = pod.node.as_ref().and_then(|node| nodes.get_mut(node)) {
                *node = node.minus(stays);
            }
        }
        let mut nodes: Vec<Size> = nodes.into_values().collect();
        nodes.sort_unstable_by_key(|node| Reverse((node.millicores, node.mebibytes)));
        // With less CPU than those before it a node counts for its memory only.
        let mut most: Option<u64> = None;
        nodes.retain(|node| {
            let more = most.is_none_or(|most| node.mebibytes > most);
            if more {
                most = Some(node.mebibytes);
            }
            more
        });
        Self(nodes)
    }

    /// The most CPU and the most memory that a node has; these may be two nodes. Nothing where no node is known.
    pub fn most(&self) -> Size {
        self.0.iter().fold(Size::default(), |most, node| Size {
            millicores: most.millicores.max(node.millicores),
            mebibytes: most.mebibytes.max(node.mebibytes),
        })
    }

    /// Why no node has room for a pod that asks for so much, however empty it is of pods that end; `None` where one has, or none is known.
    pub fn lacks(&self, pod: Size) -> Option<String> {
        if self.0.is_empty() || self.0.iter().any(|node| pod.fits(*node)) {
            return None;
        }
        let most = self.most();
        let cpu = (pod.millicores > most.millicores)
            .then(|| format!("{} vCPU and the largest node has {} vCPU", pod.vcpu(), most.vcpu()));
        let memory = (pod.mebibytes > most.mebibytes).then(|| {
            format!("{:.2} GiB of memory and the largest node has {:.2} GiB", pod.gib(), most.gib())
        });
        let said: Vec<String> = cpu.into_iter().chain(memory).collect();
        let said = if said.is_empty() { format!("{pod} and no node has both") } else { said.join(", ") };
        Some(format!(
            "a pod of its runs asks for {said}; add a node that is large enough or ask for less, it is tried again when \
             there is one"
        ))
    }
}
