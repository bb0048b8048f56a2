//! What is known of the runs of workloads that run to completion: who orders them, what waits, what will be late.

use crate::entity::Name;
use crate::policy::ScalingMode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Queues of Kueue, by namespace, in name order.
pub type KueueQueues = BTreeMap<Name, Vec<Name>>;

/// The runs of one workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsReport {
    /// What is done with them.
    pub mode: ScalingMode,
    /// Jobs that wait for their turn.
    pub waiting: u32,
    /// Jobs that run.
    pub running: u32,
    /// How they do, in a sentence: what was or would be started with how much, and why.
    pub said: String,
    /// Which run is or will be late by how much, and what would cure it; `None` when every run is in time.
    pub late: Option<String>,
    /// Why its runs are not ordered, when they should be.
    pub problem: Option<String>,
}
