//! Records that begin with what goes without saying, for tests and whatever makes up a cluster.

use super::{PodPhase, PodRecord};
use crate::entity::{Name, ObjectKey};
use crate::ids::Uid;
use jiff::Timestamp;

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
