//! What became of an action.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MicroTime, common::CAMEL_CASE};

/// What a guard decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GuardResult {
    /// May go on.
    Passed,
    /// Must not.
    Refused,
    /// No policy is set, so this guard does not limit; said rather than left out.
    Unset,
    /// Could not be found out; counts as refused.
    Unknown,
}

/// What one guard said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// Which guard, for example `KillSwitch`.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub name: String,
    /// What it decided.
    pub result: GuardResult,
    /// What it saw, as `2 of 20 this hour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub observed: Option<String>,
    /// What it compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub limit: Option<String>,
    /// What people can do about a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// When what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct ActionInstants {
    /// The intent was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<MicroTime>,
    /// The effect was about to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<MicroTime>,
    /// The effect was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<MicroTime>,
    /// The API server answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<MicroTime>,
    /// Verification ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<MicroTime>,
    /// It was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<MicroTime>,
}

/// Whether it helped, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OutcomeResult {
    /// The expectation was met in time.
    Helped,
    /// The expectation was not met in time.
    DidNotHelp,
    /// The signals went away before anybody could tell.
    Unknown,
}

/// Whether it helped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Yes or no; unknown counts as no.
    pub helped: bool,
    /// In one word, for people.
    pub result: OutcomeResult,
    /// In words and numbers.
    #[schemars(length(max = 1024))]
    pub reason: String,
}

impl Outcome {
    /// An outcome that is known; `reason` is cut to what fits.
    pub fn new(helped: bool, reason: &str) -> Self {
        let result = if helped { OutcomeResult::Helped } else { OutcomeResult::DidNotHelp };
        Self { helped, result, reason: crate::clip(reason, 1024) }
    }
}
