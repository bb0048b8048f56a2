//! What owners take upon themselves.

use serde::{Deserialize, Serialize};

/// What is not done unless people say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Allowance {
    /// Pods with local or emptyDir data.
    LocalData,
    /// Members of a quorum.
    QuorumMember,
    /// The only replica of a `StatefulSet`.
    SingleReplica,
    /// A roll back without asking, where nothing that can be seen came with the release beside its pods.
    RollBackUnasked,
}
