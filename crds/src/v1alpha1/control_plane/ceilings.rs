//! What no Tenant can exceed, and what all Tenants together cannot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Level;

/// What no Tenant can exceed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ceilings {
    /// Highest level in the cluster.
    pub level: Level,
    /// Actions under way at once in the cluster.
    #[schemars(range(min = 0, max = 1000))]
    pub actions_in_flight: i32,
    /// Actions per hour in the cluster.
    #[schemars(range(min = 0, max = 100_000))]
    pub actions_per_hour: i32,
    /// Nodes that may be acted on at once; more than 1 counts as 1, at 0 none is.
    #[schemars(range(min = 0, max = 100))]
    pub nodes_in_flight: i32,
    /// Share of the nodes that Homeostat may hold cordoned, rounded down; more than 10 counts as 10, at 0 none is.
    #[schemars(range(min = 0, max = 100))]
    pub cordoned_nodes_percent: i32,
    /// Share of workloads that may be unhealthy at once before all actions stop.
    #[schemars(range(min = 1, max = 100))]
    pub storm_percent: i32,
    /// Least cool-downs of repairs; a Tenant's shorter ones count as these.
    pub cooldown: LeastCooldown,
    /// Laxest breakers; a Tenant's laxer ones count as these.
    pub breaker: LaxestBreaker,
    /// Largest budgets of repairs; a Tenant's larger ones count as these.
    pub budgets: MostBudgets,
    /// Shortest verification of sizes by forecast; a Tenant's shorter one counts as this.
    pub verification: LeastVerification,
    /// Longest time for an approval; a Tenant's longer one counts as this.
    pub approval: LongestApproval,
    /// What changes of size by forecasts may take in the cluster, apart from the other actions.
    pub scaling: SizeCeilings,
    /// What actions on runs whose turn it is may take in the cluster, apart from the other actions.
    pub runs: RunCeilings,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            level: Level::ActBounded,
            actions_in_flight: 10,
            actions_per_hour: 60,
            nodes_in_flight: 1,
            cordoned_nodes_percent: 10,
            storm_percent: 20,
            cooldown: LeastCooldown::default(),
            breaker: LaxestBreaker::default(),
            budgets: MostBudgets::default(),
            verification: LeastVerification::default(),
            approval: LongestApproval::default(),
            scaling: SizeCeilings::default(),
            runs: RunCeilings::default(),
        }
    }
}

/// Least time that a workload is left alone after a repair, whatever its Tenant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LeastCooldown {
    /// After an action that helped.
    #[schemars(range(min = 0, max = 86_400))]
    pub after_success_seconds: i32,
    /// After an action that did not help; doubled each time.
    #[schemars(range(min = 0, max = 86_400))]
    pub after_failure_seconds: i32,
}

impl Default for LeastCooldown {
    fn default() -> Self {
        Self { after_success_seconds: 900, after_failure_seconds: 3_600 }
    }
}

/// Most failed actions before none is done until they are old enough, whatever a Tenant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LaxestBreaker {
    /// Failed actions on one workload within 24 hours that close automation for it.
    #[schemars(range(min = 1, max = 1000))]
    pub workload_failures_per_day: i32,
    /// Share of a Tenant's last twenty actions that may fail.
    #[schemars(range(min = 1, max = 100))]
    pub percent_of_last_twenty: i32,
}

impl Default for LaxestBreaker {
    fn default() -> Self {
        Self { workload_failures_per_day: 2, percent_of_last_twenty: 20 }
    }
}

/// Most that a Tenant's budgets of repairs can say. What ships holds no Tenant back from what its own fields allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MostBudgets {
    /// Actions per hour in all namespaces of one Tenant.
    #[schemars(range(min = 0, max = 10_000))]
    pub actions_per_hour: i32,
    /// Actions per hour on one workload.
    #[schemars(range(min = 0, max = 1000))]
    pub actions_per_workload_hour: i32,
    /// Actions of one Tenant that may be under way at once.
    #[schemars(range(min = 0, max = 100))]
    pub actions_in_flight: i32,
    /// Actions that may be under way at once on one workload.
    #[schemars(range(min = 0, max = 10))]
    pub actions_in_flight_per_workload: i32,
    /// Share of a Tenant's workloads that may be acted on within ten minutes; at least one.
    #[schemars(range(min = 0, max = 100))]
    #[serde(rename = "percentOfWorkloadsPer10Minutes")]
    pub percent_of_workloads_per_10_minutes: i32,
}

impl Default for MostBudgets {
    fn default() -> Self {
        Self {
            actions_per_hour: 10_000,
            actions_per_workload_hour: 1_000,
            actions_in_flight: 100,
            actions_in_flight_per_workload: 10,
            percent_of_workloads_per_10_minutes: 100,
        }
    }
}

/// Least time that the effect of a change of size is looked at, whatever a Tenant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LeastVerification {
    /// How long the objectives must hold after the effect.
    #[schemars(range(min = 1, max = 86_400))]
    pub window_seconds: i32,
}

impl Default for LeastVerification {
    fn default() -> Self {
        Self { window_seconds: 1 }
    }
}

/// Longest time within which an action may be approved, whatever a Tenant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LongestApproval {
    /// An approval that nobody gave within this time is no longer asked for.
    #[schemars(range(min = 60, max = 86_400))]
    pub timeout_seconds: i32,
}

impl Default for LongestApproval {
    fn default() -> Self {
        Self { timeout_seconds: 86_400 }
    }
}

/// Most changes of size by forecasts in the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SizeCeilings {
    /// Changes under way at once. More replicas do not wait for fewer that are only being watched.
    #[schemars(range(min = 0, max = 1000))]
    pub changes_in_flight: i32,
    /// Changes per hour.
    #[schemars(range(min = 0, max = 100_000))]
    pub changes_per_hour: i32,
}

impl Default for SizeCeilings {
    fn default() -> Self {
        Self { changes_in_flight: 50, changes_per_hour: 3_000 }
    }
}

/// Most actions on runs in the whole cluster: those that make one, let it begin or give it more memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunCeilings {
    /// Actions under way at once.
    #[schemars(range(min = 0, max = 1000))]
    pub actions_in_flight: i32,
    /// Actions per hour.
    #[schemars(range(min = 0, max = 100_000))]
    pub actions_per_hour: i32,
}

impl Default for RunCeilings {
    fn default() -> Self {
        Self { actions_in_flight: 48, actions_per_hour: 20_000 }
    }
}
