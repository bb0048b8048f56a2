//! `Tenant`: whose namespaces these are and how far Homeostat may go in them.

mod limits;
mod people;

pub(crate) use limits::utc;
pub use limits::{
    Approval, Breaker, Budgets, Cooldown, Freeze, Hysteresis, ReplicaStep, ScalingLimits, Verification,
};
pub use people::{Contact, NotifyKind, NotifyRoute, Prices, Quota, Retention, Sender, SenderKind, UrlSource};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{ActionKind, Condition, ConditionType, Level, MicroTime, Subject, common::DNS_LABEL};

/// Conditions that every Tenant carries.
pub const CONDITIONS: &[ConditionType] = &[
    ConditionType::Ready,
    ConditionType::Paused,
    ConditionType::NamespacesOwned,
    ConditionType::Storm,
    ConditionType::BreakerOpen,
];

/// Namespaces that no Tenant may hold.
pub const RESERVED_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
/// The Tenant that actions on nodes belong to. It holds Homeostat's own namespace and nothing else.
pub const PLATFORM: &str = "platform";
/// Homeostat's own namespace, unless it is installed elsewhere.
pub const OWN_NAMESPACE: &str = "homeostat-system";

/// A team's namespaces, its people, and how far Homeostat may go there.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "hten",
    category = "homeostat",
    status = "TenantStatus",
    derive = "PartialEq",
    doc = "A team's namespaces, its people, and how far Homeostat may go there.",
    validation = Rule::new("self.metadata.name == 'platform' || !self.spec.namespaces.exists(n, n == 'homeostat-system')")
        .message("homeostat-system belongs to the Tenant platform, which holds the actions on nodes"),
    selectable = ".spec.paused",
    printcolumn(
        name = "Namespaces",
        type_ = "string",
        json_path = ".spec.namespaces",
        description = "Namespaces that the Tenant owns"
    ),
    printcolumn(
        name = "Workloads",
        type_ = "integer",
        json_path = ".status.workloads",
        description = "Workloads under control"
    ),
    printcolumn(
        name = "Incidents",
        type_ = "integer",
        json_path = ".status.openIncidents",
        description = "Incidents that are not over"
    ),
    printcolumn(
        name = "Level",
        type_ = "string",
        json_path = ".status.level",
        description = "Highest level in effect for any action"
    ),
    printcolumn(
        name = "Paused",
        type_ = "boolean",
        json_path = ".spec.paused",
        description = "All actions stopped by a person",
        priority = "1"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not",
        priority = "1"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether all is well with this object"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// Namespaces of the tenant; each belongs to exactly one Tenant.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63), regex(pattern = DNS_LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(n, !(n in ['kube-system', 'kube-public', 'kube-node-lease']))")
        .message("kube-system, kube-public and kube-node-lease cannot belong to a Tenant"))]
    pub namespaces: Vec<String>,
    /// Who owns the workloads: named where nobody answers a question for approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub owners: Vec<Subject>,
    /// Who may approve actions. They also need the verb `approve` on actions in these namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub approvers: Vec<Subject>,
    /// How to reach the owners outside of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Where to send what people should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub notify: Vec<NotifyRoute>,
    /// How much CPU and memory Homeostat may let the tenant use together. Unset: no limit of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How far Homeostat may go, per action. What is not listed is at Recommend: shown, not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, a.actions.all(k, self.filter(b, k in b.actions).size() == 1))")
        .message("each action may be listed once only, otherwise its level is contradictory"))]
    pub automation: Vec<Automation>,
    /// How many actions are allowed; more than the ControlPlane's ceilings counts as those.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.actionsPerWorkloadHour <= self.actionsPerHour")
        .message("actionsPerWorkloadHour must not exceed actionsPerHour"))]
    #[x_kube(validation = Rule::new("self.actionsInFlightPerWorkload <= self.actionsInFlight")
        .message("actionsInFlightPerWorkload must not exceed actionsInFlight"))]
    pub budgets: Budgets,
    /// How long a workload is left alone after an action; shorter than the ControlPlane's ceilings counts as those.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.afterSuccessSeconds <= self.maximumSeconds && self.afterFailureSeconds <= self.maximumSeconds")
        .message("afterSuccessSeconds and afterFailureSeconds must not exceed maximumSeconds"))]
    pub cooldown: Cooldown,
    /// When failed actions lower the level; laxer than the ControlPlane's ceilings counts as those.
    #[serde(default)]
    pub breaker: Breaker,
    /// Findings that must last longer here than they usually must before something is done about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["finding".into()]))]
    pub hysteresis: Vec<Hysteresis>,
    /// How the effect of an action is judged; shorter than the ControlPlane's ceilings counts as those.
    #[serde(default)]
    pub verification: Verification,
    /// How long an approval may take; longer than the ControlPlane's ceilings counts as those.
    #[serde(default)]
    pub approval: Approval,
    /// How far one scaling action may go.
    #[serde(default)]
    pub replica_step: ReplicaStep,
    /// Limits of changes of size that forecasts ask for.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.changesPerWorkloadHour <= self.changesPerHour")
        .message("changesPerWorkloadHour must not exceed changesPerHour"))]
    pub scaling: ScalingLimits,
    /// Share of the tenant's workloads that may be unhealthy at once before all actions stop.
    #[serde(default = "limits::storm_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub storm_percent: i32,
    /// How long it must be calm here after a storm; unset or shorter than the ControlPlane's counts as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub storm_calm_seconds: Option<i32>,
    /// Evidence older than this leads to no action here; unset or longer than the ControlPlane's counts as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub evidence_maximum_age_seconds: Option<i32>,
    /// When no action may start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub freezes: Vec<Freeze>,
    /// What CPU and memory cost; told where runs will be late for want of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
    /// How long records are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Not used in this version. Who may send telemetry for this tenant; labels inside the telemetry never count.
    /// Unset: telemetry counts by the pod that sends it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub senders: Vec<Sender>,
    /// Stops every action for this tenant; watching and reporting go on.
    #[serde(default)]
    pub paused: bool,
}

/// The level of some actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Automation {
    /// Which actions.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub actions: Vec<ActionKind>,
    /// How far Homeostat may go with them.
    pub level: Level,
}

impl TenantSpec {
    /// The level that people set for `action`; Recommend where nothing is listed.
    pub fn level(&self, action: ActionKind) -> Level {
        self.automation.iter().find(|a| a.actions.contains(&action)).map_or_else(Level::default, |a| a.level)
    }
}

/// What Homeostat sees of a Tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct TenantStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Workloads under control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub workloads: Option<i32>,
    /// Incidents that are not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub open_incidents: Option<i32>,
    /// Highest level in effect for any action, after ceilings and breakers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Why the level in effect is lower than the one in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub level_lowered_because: Option<String>,
    /// Levels that Homeostat lowered after failures. Only a person restores them: annotation
    /// `homeostat.dev/levels-restored-at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["action".into()]))]
    pub level_caps: Vec<LevelCap>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A level that was lowered because actions did not help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LevelCap {
    /// Which action.
    pub action: ActionKind,
    /// No higher than this, whatever the spec says.
    pub level: Level,
    /// End of the failure that lowered it.
    pub since: MicroTime,
    /// Why, in words and numbers.
    #[schemars(length(max = 256))]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_only_recommended() {
        let spec: TenantSpec = serde_json::from_value(serde_json::json!({
            "namespaces": ["a"],
            "automation": [{ "actions": ["EvictPod"], "level": "ActBounded" }],
        }))
        .unwrap();
        assert_eq!(spec.level(ActionKind::EvictPod), Level::ActBounded);
        assert_eq!(spec.level(ActionKind::RollBack), Level::Recommend);
    }
}
