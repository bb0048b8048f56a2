//! How far one change of replicas may go that a repair asks for.

use serde::{Deserialize, Serialize};

/// Shares of the replicas that are there, percent. A Tenant can set them lower than what ships, never higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStep {
    increase: u32,
    decrease: u32,
}

impl Default for ReplicaStep {
    fn default() -> Self {
        Self { increase: Self::MOST_UP, decrease: Self::MOST_DOWN }
    }
}

impl ReplicaStep {
    /// Most that one change adds, whatever is set.
    pub const MOST_UP: u32 = 100;
    /// Most that one change takes away, whatever is set.
    pub const MOST_DOWN: u32 = 20;

    /// These shares, or what ships where that is less.
    pub fn new(increase: u32, decrease: u32) -> Self {
        Self { increase: increase.min(Self::MOST_UP), decrease: decrease.min(Self::MOST_DOWN) }
    }

    /// Most that one change adds, percent; at 0 none is added.
    pub fn up(self) -> u32 {
        self.increase
    }

    /// Most that one change takes away, percent; at 0 none is taken.
    pub fn down(self) -> u32 {
        self.decrease
    }
}
