//! What people want of the runs of what runs to completion.

use super::Bounds;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Rules for the runs of what runs to completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunRules {
    /// A run must have ended so long after its slot.
    pub deadline: SignedDuration,
    /// Pods of one run at a time.
    pub parallelism: Option<Bounds>,
    /// A run may start so long after its slot, so that peaks do not coincide.
    #[serde(default)]
    pub window: SignedDuration,
    /// What its backlog says of a run, where its pods at a time follow from it.
    #[serde(default)]
    pub items: Option<RunItems>,
}

/// Items that wait for a run, as the load [`BACKLOG`] counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunItems {
    /// Work of one item for one pod; `None`: it is learnt.
    pub each: Option<SignedDuration>,
    /// Items from which on a run is made although the schedule asks for none; `None`: none ever is.
    #[serde(default)]
    pub run_from: Option<u32>,
}

/// The signal that a backlog becomes; no name that people can give.
pub const BACKLOG: &str = "scaling.backlog";

impl Default for RunRules {
    /// One hour, and no window.
    fn default() -> Self {
        Self {
            deadline: SignedDuration::from_hours(1),
            parallelism: None,
            window: SignedDuration::ZERO,
            items: None,
        }
    }
}
