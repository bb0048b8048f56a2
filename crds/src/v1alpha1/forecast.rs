//! `Forecast`: the load that is coming for a Workload, how far that can be trusted, and the size that it asks for.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{action::NameRef, workload::ScalingMode};
use crate::{
    Condition, ConditionType, MicroTime,
    common::{DECIMAL, FORECAST_SIGNAL},
};

/// Conditions that every Forecast carries.
pub const CONDITIONS: &[ConditionType] =
    &[ConditionType::Ready, ConditionType::Skilled, ConditionType::Sized];

/// Points of a forecast that are shown at most.
pub const MAX_POINTS: usize = 24;

/// Longest memory, in letters.
pub const MAX_MEMORY: usize = 8_192;

/// The load that is coming for a Workload.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "Forecast",
    plural = "forecasts",
    shortname = "hfc",
    category = "homeostat",
    namespaced,
    status = "ForecastStatus",
    derive = "PartialEq",
    doc = "The load that is coming for a Workload, how far that can be trusted, and the size that it asks for.",
    selectable = ".spec.workloadRef.name",
    selectable = ".spec.signal",
    printcolumn(
        name = "Workload",
        type_ = "string",
        json_path = ".spec.workloadRef.name",
        description = "Whose load it is"
    ),
    printcolumn(
        name = "Signal",
        type_ = "string",
        json_path = ".spec.signal",
        description = "What is forecast"
    ),
    printcolumn(
        name = "Now",
        type_ = "string",
        json_path = ".status.now",
        description = "The load, the memory, or what is used, when it was seen last"
    ),
    printcolumn(
        name = "P50",
        type_ = "string",
        json_path = ".status.p50",
        description = "Highest median within the horizon"
    ),
    printcolumn(
        name = "P90",
        type_ = "string",
        json_path = ".status.p90",
        description = "Highest 90th percentile within the horizon"
    ),
    printcolumn(
        name = "Model",
        type_ = "string",
        json_path = ".status.model",
        description = "The model with the largest weight"
    ),
    printcolumn(
        name = "Error vs naive",
        type_ = "string",
        json_path = ".status.error",
        description = "Back-tested error as a share of the seasonal naive forecast's"
    ),
    printcolumn(
        name = "Skill",
        type_ = "string",
        json_path = ".status.skill",
        description = "Whether it beats the naive forecasts"
    ),
    printcolumn(
        name = "Wanted",
        type_ = "integer",
        json_path = ".status.scaling.wanted",
        description = "Replicas that the load asks for"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".status.scaling.mode",
        description = "What is done with it"
    ),
    printcolumn(
        name = "Limit s",
        type_ = "integer",
        json_path = ".status.timeToLimit.p50Seconds",
        description = "Seconds until a limit is reached, median, where a trend towards it was proven"
    ),
    printcolumn(
        name = "P10",
        type_ = "string",
        json_path = ".status.p10",
        description = "Lowest 10th percentile within the horizon",
        priority = "1"
    ),
    printcolumn(
        name = "Next choice",
        type_ = "string",
        json_path = ".status.nextChoice",
        description = "When models are compared again at the latest, and so the model can change",
        priority = "1"
    ),
    printcolumn(
        name = "Updated",
        type_ = "string",
        json_path = ".status.updated",
        description = "When it was made",
        priority = "1"
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.scaling.reason",
        description = "Why so many replicas",
        priority = "1"
    ),
    printcolumn(
        name = "Done",
        type_ = "string",
        json_path = ".status.scaling.done",
        description = "What was done about the size last, or what keeps it from being done",
        priority = "1"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether there is a forecast"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ForecastSpec {
    /// The Workload whose load it is, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("workloadRef is immutable"))]
    pub workload_ref: NameRef,
    /// What is forecast: `requests` are the answered requests per second, `memory` the most memory that one pod uses,
    /// `load.NAME` the load with this name in `spec.scaling.loads` of the Workload, `backlog` what comes into its
    /// `spec.scaling.backlog` in a minute, or the most that waits in it; else the name of a signal that measures a volume, a
    /// quota or ephemeral storage. `runs` are the seconds that the next run of a Job or `CronJob` takes; it also
    /// keeps what was learnt of these runs.
    #[schemars(length(min = 1, max = 68), regex(pattern = FORECAST_SIGNAL))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("signal is immutable"))]
    pub signal: String,
    /// How far it looks ahead.
    #[schemars(range(min = 60, max = 604_800))]
    #[x_kube(validation = Rule::new("self % 60 == 0").message("horizonSeconds must be whole minutes"))]
    pub horizon_seconds: i32,
}

/// Whether a forecast is better than the naive ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ForecastSkill {
    /// The back-test beat the naive forecasts.
    Proven,
    /// The back-test did not beat them; nothing should act on the forecast.
    Absent,
    /// Too little was seen to tell.
    Unknown,
}

/// What is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct ForecastStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the forecast was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<MicroTime>,
    /// The model with the largest weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub model: Option<String>,
    /// Why this model, and how its back-test went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Back-tested mean absolute error as a share of the seasonal naive forecast's: below 1 is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub error: Option<String>,
    /// Whether the back-test beat the naive forecasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<ForecastSkill>,
    /// The load of the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub now: Option<String>,
    /// Lowest 10th percentile of the points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub p10: Option<String>,
    /// Highest median within the horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub p50: Option<String>,
    /// Highest 90th percentile within the horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub p90: Option<String>,
    /// The forecast, earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub points: Vec<ForecastPoint>,
    /// When models are compared again at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_choice: Option<MicroTime>,
    /// The size that the load asks for; of `requests` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ForecastScaling>,
    /// When the load grows beyond what the most replicas carry, or memory, a volume or a quota beyond its limit, if a trend towards it was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_limit: Option<ForecastLimit>,
    /// What a restart must not forget: what was decided, what one replica carries, the load of two weeks, what pods used; or
    /// what runs taught. For Homeostat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub memory: Option<String>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Some minutes ahead: means over the time until the next point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForecastPoint {
    /// From when on.
    pub at: MicroTime,
    /// 10th percentile.
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub p10: String,
    /// Median.
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub p50: String,
    /// 90th percentile.
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub p90: String,
}

/// The size that the load asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForecastScaling {
    /// What is done with it, as the Workload says.
    pub mode: ScalingMode,
    /// Ready replicas now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,
    /// Replicas that the load asks for, within the Workload's bounds. Unset: nothing can be said yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub wanted: Option<i32>,
    /// Highest load of one ready replica lately at which the workload was healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub load_per_replica: Option<String>,
    /// Why, in a sentence with its numbers.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// What was done about it last, or what keeps it from being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub done: Option<String>,
}

/// When a limit is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForecastLimit {
    /// The load that the most replicas carry, or the limit of the memory, the volume or the quota.
    #[schemars(length(min = 1, max = 32), regex(pattern = DECIMAL))]
    pub load: String,
    /// Too early in nine of ten cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub p10_seconds: Option<i64>,
    /// In the middle.
    #[schemars(range(min = 0))]
    pub p50_seconds: i64,
    /// Why, in words and numbers.
    #[schemars(length(max = 1024))]
    pub reason: String,
}
