//! The parts of an Incident's record.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Entity, MicroTime,
    common::{CAMEL_CASE, DNS_NAME},
};

/// A person looks after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// Who.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// When. Unset: when Homeostat saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
}

/// What a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comment {
    /// Who.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// What.
    #[schemars(length(min = 1, max = 1024))]
    pub text: String,
}

/// A person ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Closing {
    /// Who.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// When what happened. Later ones come as they are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct IncidentInstants {
    /// First bad sample or failed request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact_start: Option<MicroTime>,
    /// Homeostat knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<MicroTime>,
    /// Automation or a person took it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<MicroTime>,
    /// Back inside the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mitigated: Option<MicroTime>,
    /// The verification window passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<MicroTime>,
}

/// One line of evidence, in words and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceLine {
    /// What was measured.
    #[schemars(length(min = 1, max = 128))]
    pub signal: String,
    /// What was seen.
    #[schemars(length(max = 256))]
    pub observed: String,
    /// What is usual, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub usual: Option<String>,
}

/// Something abnormal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stays the same while it lasts.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// What is abnormal.
    pub entity: Entity,
    /// What sort of abnormal, for example Hung or `ErrorBurst`.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub kind: String,
    /// First bad sample or failed request.
    pub since: MicroTime,
    /// When it was recognised.
    pub detected: MicroTime,
    /// When it was last seen; written when something else changes too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<MicroTime>,
    /// How sure it is, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub confidence_percent: i32,
    /// Whether it still lasts.
    pub active: bool,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub evidence: Vec<EvidenceLine>,
}

/// Why it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// 1 is the most likely.
    #[schemars(range(min = 1, max = 10))]
    pub rank: i32,
    /// What is broken.
    pub entity: Entity,
    /// How it is broken, for example Hung or `DependencyDown`.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub kind: String,
    /// How sure it is, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub confidence_percent: i32,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub evidence: Vec<EvidenceLine>,
}

/// What sort of line of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TimelineKind {
    /// Something abnormal was seen.
    Finding,
    /// The explanation changed.
    Cause,
    /// Decided to do, to wait, or not to do something.
    Decision,
    /// An Action moved on.
    Action,
    /// The Incident changed its state.
    State,
    /// A person did something.
    Person,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When.
    pub at: MicroTime,
    /// What sort of line.
    pub kind: TimelineKind,
    /// In words.
    #[schemars(length(min = 1, max = 512))]
    pub message: String,
    /// The Action that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub action: Option<String>,
}

/// People have to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handover {
    /// When.
    pub at: MicroTime,
    /// Why Homeostat does not go on, and what people can do.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}
