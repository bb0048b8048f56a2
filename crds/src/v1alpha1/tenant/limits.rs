//! Limits on what Homeostat does for a tenant. The defaults are the guards' starting values.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{CAMEL_CASE, CRON, DNS_LABEL, TIME_ZONE};

/// Default share of unhealthy workloads that stops all actions.
pub(super) const fn storm_percent() -> i32 {
    20
}

/// How many actions are allowed; more than the ControlPlane's ceilings counts as those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Budgets {
    /// Actions per hour in all namespaces of the tenant.
    #[schemars(range(min = 0, max = 10_000))]
    pub actions_per_hour: i32,
    /// Actions per hour on one workload.
    #[schemars(range(min = 0, max = 1000))]
    pub actions_per_workload_hour: i32,
    /// Actions that may be under way at once.
    #[schemars(range(min = 0, max = 100))]
    pub actions_in_flight: i32,
    /// Actions that may be under way at once on one workload.
    #[schemars(range(min = 0, max = 10))]
    pub actions_in_flight_per_workload: i32,
    /// Share of the tenant's workloads that may be acted on within ten minutes; at least one.
    #[schemars(range(min = 0, max = 100))]
    #[serde(rename = "percentOfWorkloadsPer10Minutes")]
    pub percent_of_workloads_per_10_minutes: i32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            actions_per_hour: 20,
            actions_per_workload_hour: 3,
            actions_in_flight: 5,
            actions_in_flight_per_workload: 1,
            percent_of_workloads_per_10_minutes: 5,
        }
    }
}

/// How long a workload is left alone after an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Cooldown {
    /// After an action that helped.
    #[schemars(range(min = 0, max = 86_400))]
    pub after_success_seconds: i32,
    /// After an action that did not help; doubled each time.
    #[schemars(range(min = 0, max = 86_400))]
    pub after_failure_seconds: i32,
    /// The doubling stops here: a day at most, as failures of earlier weeks are not remembered.
    #[schemars(range(min = 0, max = 86_400))]
    pub maximum_seconds: i32,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { after_success_seconds: 900, after_failure_seconds: 3_600, maximum_seconds: 86_400 }
    }
}

/// When so many actions failed that none is done until they are old enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Breaker {
    /// Failed actions on one workload within 24 hours that close automation for it.
    #[schemars(range(min = 1, max = 1000))]
    pub workload_failures_per_day: i32,
    /// Share of the tenant's last twenty actions that may fail.
    #[schemars(range(min = 1, max = 100))]
    pub percent_of_last_twenty: i32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { workload_failures_per_day: 2, percent_of_last_twenty: 20 }
    }
}

/// How long one kind of finding must have lasted before something is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hysteresis {
    /// Kind of finding, for example `NotReady`.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub finding: String,
    /// Least time; less than what ships counts as that.
    #[schemars(range(min = 0, max = 600))]
    pub minimum_seconds: i32,
}

/// How the effect of an action is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Verification {
    /// How long the objectives must hold after the effect.
    #[schemars(range(min = 1, max = 86_400))]
    pub window_seconds: i32,
}

impl Default for Verification {
    fn default() -> Self {
        Self { window_seconds: 30 }
    }
}

/// How approvals are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Approval {
    /// An approval that nobody gave within this time is no longer asked for.
    #[schemars(range(min = 60, max = 86_400))]
    pub timeout_seconds: i32,
}

impl Default for Approval {
    fn default() -> Self {
        Self { timeout_seconds: 900 }
    }
}

/// How far one scaling action may go, in percent of the replicas that are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaStep {
    /// Most that one action may add; more than 100 counts as 100, at 0 none is added.
    #[schemars(range(min = 0, max = 1000))]
    pub increase_percent: i32,
    /// Most that one action may take away; more than 20 counts as 20, at 0 none is taken.
    #[schemars(range(min = 0, max = 100))]
    pub decrease_percent: i32,
}

impl Default for ReplicaStep {
    fn default() -> Self {
        Self { increase_percent: 100, decrease_percent: 20 }
    }
}

/// Limits of changes of size that forecasts ask for, where a Workload's `scaling.mode` is `Auto`. They count apart from the
/// other actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingLimits {
    /// Changes per hour in all namespaces of the tenant.
    #[schemars(range(min = 0, max = 100_000))]
    pub changes_per_hour: i32,
    /// Changes per hour on one workload.
    #[schemars(range(min = 0, max = 1_000))]
    pub changes_per_workload_hour: i32,
    /// Changes that may be under way at once. More replicas do not wait for fewer that are only being watched.
    #[schemars(range(min = 0, max = 1_000))]
    pub changes_in_flight: i32,
    /// Wait after a change before replicas are taken away.
    #[schemars(range(min = 0, max = 86_400))]
    pub wait_before_down_seconds: i32,
    /// Wait after a way down that hurt; doubled each time within a day.
    #[schemars(range(min = 0, max = 86_400))]
    pub wait_after_harm_seconds: i32,
    /// Most that one change may add, in percent of the replicas that are there; four replicas may always be added.
    #[schemars(range(min = 1, max = 100))]
    pub increase_percent: i32,
    /// Most that one change may take away, in percent; one replica may always be taken.
    #[schemars(range(min = 1, max = 50))]
    pub decrease_percent: i32,
}

impl Default for ScalingLimits {
    fn default() -> Self {
        Self {
            changes_per_hour: 600,
            changes_per_workload_hour: 40,
            changes_in_flight: 20,
            wait_before_down_seconds: 60,
            wait_after_harm_seconds: 3_600,
            increase_percent: 100,
            decrease_percent: 50,
        }
    }
}

/// A time in which no action starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// Name, shown where an action is refused because of it.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
    /// When it begins: a cron schedule of five fields that comes true on some day.
    #[schemars(length(min = 6, max = 128), regex(pattern = CRON))]
    pub schedule: String,
    /// Time zone of the schedule, by IANA name.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = TIME_ZONE))]
    pub time_zone: String,
    /// How long it lasts.
    #[schemars(range(min = 60, max = 2_678_400))]
    pub duration_seconds: i64,
}

pub(crate) fn utc() -> String {
    "UTC".to_owned()
}
