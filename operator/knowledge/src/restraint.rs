//! What Homeostat takes from itself because its actions did not help: a level is lowered, a breaker opens. Only a person, or
//! time, gives it back.

use crate::action::ActionKind;
use crate::entity::{Name, TenantName, WorkloadKey};
use crate::policy::Level;
use jiff::Timestamp;

/// Something that is done less, or not at all, from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restraint {
    /// The tenant that it concerns; `None`: the whole cluster.
    pub tenant: Option<TenantName>,
    /// The one workload that it concerns; `None`: all of them.
    pub workload: Option<WorkloadKey>,
    /// What it is.
    pub what: RestraintKind,
    /// Since when it counts, where that is known.
    pub since: Option<Timestamp>,
    /// Why, in words and numbers.
    pub reason: Name,
}

/// Kinds of restraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestraintKind {
    /// Actions of a kind go no further than this.
    LevelLowered {
        /// Which ones.
        action: ActionKind,
        /// How far they may go now.
        level: Level,
    },
    /// Repairs stop.
    BreakerOpened,
}
