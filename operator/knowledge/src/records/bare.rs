//! Records that begin with what goes without saying, for tests and whatever makes up a cluster.

use super::{
    Amounts, ContainerRecord, ContainerState, ControllerKey, ControllerRecord, Memory, NodeRecord, PodPhase,
    PodRecord, RunTimes,
};
use crate::entity::{Name, ObjectKey};
use crate::ids::Uid;
use jiff::Timestamp;
use std::collections::BTreeMap;

impl PodRecord {
    /// A pod that runs and is ready since ever, of nobody, on no node and without containers: where the rest does not matter.
    pub fn bare(key: ObjectKey, uid: Uid) -> Self {
        Self {
            key,
            uid,
            resource_version: Name::from("1"),
            node: None,
            ip: None,
            phase: PodPhase::Running,
            owner: None,
            deleting: false,
            ready: true,
            unschedulable: None,
            setup: None,
            resize: None,
            created: Timestamp::UNIX_EPOCH,
            template_hash: None,
            local_data: false,
            containers: Vec::new(),
        }
    }
}

impl ContainerRecord {
    /// A container that runs since then and is ready, was never restarted and asks for nothing.
    pub fn bare(name: Name, since: Timestamp) -> Self {
        Self {
            name,
            ready: true,
            restarts: 0,
            state: ContainerState::Running { since },
            last_termination: None,
            memory: Memory::default(),
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
        }
    }
}

impl ControllerRecord {
    /// A controller with one replica, which is ready and of its newest template; it rolls out one more pod before it takes one
    /// away. Of nobody, and what only some kinds have is empty.
    pub fn bare(key: ControllerKey, uid: Uid) -> Self {
        Self {
            key,
            uid,
            resource_version: Name::from("1"),
            generation: 1,
            observed_generation: 1,
            replicas: 1,
            current: 1,
            ready: 1,
            updated: 1,
            revision: None,
            release: None,
            surges: true,
            paused: false,
            template_labels: BTreeMap::new(),
            owner: None,
            gitops_owner: None,
            finished: None,
            run: RunTimes::default(),
            work: None,
            hold: None,
            do_not_touch: None,
            api: None,
        }
    }
}

impl NodeRecord {
    /// A ready node in no zone with room for 110 pods, as the kubelet has by default, of unknown CPU and memory.
    pub fn bare(name: Name, uid: Uid) -> Self {
        Self {
            name,
            uid,
            ready: true,
            cordoned: false,
            leaving: None,
            zone: None,
            allocatable_pods: 110,
            allocatable: Amounts::default(),
            pressures: Vec::new(),
            control_plane: false,
            hold: None,
        }
    }
}
