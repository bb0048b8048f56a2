//! What is known of the runs of workloads that run to completion: who orders them, what waits, what will be late.

use crate::action::Target;
use crate::entity::Name;
use crate::ids::IncidentId;
use crate::policy::ScalingMode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Queues of Kueue, by namespace, in name order.
pub type KueueQueues = BTreeMap<Name, Vec<Name>>;

/// What stands in the place of an incident where a run's turn has come or a `CronJob`'s next runs get another size: one for
/// each object, the same after a restart. It begins with [`OCCASION`].
pub fn occasion(target: &Target) -> IncidentId {
    let name: String = target.key.name.chars().take(44).collect();
    let uid: String = target.uid.as_str().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let name = name.trim_end_matches(['-', '.']);
    IncidentId::new(format!("{OCCASION}{name}-{}", uid.to_ascii_lowercase()))
}

/// How every [`occasion`] begins.
pub const OCCASION: &str = "run-";

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
    /// Runs that are or will be late.
    #[serde(default)]
    pub late_runs: u32,
    /// Why its runs are not ordered, when they should be.
    pub problem: Option<String>,
}
