//! A playbook as it is written: the same fields as the `Playbook` resource. Values whose meaning is
//! checked later keep the place they were written at.

use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

/// A whole `Playbook` object, as in a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// `homeostat.dev/v1alpha1`.
    pub api_version: Spanned<String>,
    /// `Playbook`.
    pub kind: Spanned<String>,
    /// Name.
    pub metadata: Metadata,
    /// Content.
    pub spec: Spec,
}

/// `metadata` of a file; everything but the name is ignored here.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Name of the playbook.
    pub name: Spanned<String>,
    /// Counts changes of the spec; absent in files.
    #[serde(default)]
    pub generation: i64,
}

/// `spec` of a playbook.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// When it is looked at.
    pub trigger: Spanned<Trigger>,
    /// What else must be true.
    #[serde(default)]
    pub when: Vec<When>,
    /// Steps.
    pub ladder: Spanned<Vec<Spanned<LadderStep>>>,
    /// Least level at which it acts.
    #[serde(default)]
    pub level_needed: Option<Spanned<String>>,
    /// The highest one that fits is used.
    #[serde(default)]
    pub priority: i32,
    /// Not used while paused.
    #[serde(default)]
    pub paused: bool,
    /// Where it gives up.
    #[serde(default)]
    pub limits: Limits,
}

/// `trigger`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// Kinds of findings.
    #[serde(default)]
    pub findings: Vec<Spanned<String>>,
    /// Kinds of first-ranked causes.
    #[serde(default)]
    pub causes: Vec<Spanned<String>>,
    /// Decimal text from 0 to 1; 0.9 when absent.
    #[serde(default)]
    pub minimum_confidence: Option<Spanned<String>>,
}

/// One line of `when`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Name of the condition.
    pub name: Spanned<String>,
    /// CEL.
    pub expression: Spanned<String>,
}

/// One step of `ladder`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LadderStep {
    /// Action by name.
    pub action: Spanned<String>,
    /// What it is done to, where the action leaves a choice.
    #[serde(default)]
    pub to: Option<Spanned<String>>,
    /// Absolute values.
    #[serde(default)]
    pub parameters: BTreeMap<String, Spanned<String>>,
    /// Least level at which this step is taken.
    #[serde(default)]
    pub requires: Option<Spanned<String>>,
    /// `Immediately`, `WhenKubeletGaveUp`, `WhenStillAbnormal` or `InQuietMinute`.
    #[serde(default)]
    pub after: Option<Spanned<String>>,
    /// Seconds that `after` speaks of.
    #[serde(default)]
    pub after_seconds: Option<Spanned<u32>>,
    /// Tries within one incident.
    #[serde(default)]
    pub times: Option<Spanned<u32>>,
    /// What counts as success, by when.
    #[serde(default)]
    pub verify: Option<Verify>,
    /// `Never` or `Restore`.
    #[serde(default)]
    pub undo: Option<Spanned<String>>,
    /// Of `Notify`: `Info`, `Warning` or `Critical`.
    #[serde(default)]
    pub severity: Option<Spanned<String>>,
}

/// `verify` of a step.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verify {
    /// Window after the effect.
    pub within_seconds: Spanned<u32>,
    /// `ObjectivesMet`, `RolloutComplete` or `Nothing`; `ObjectivesMet` when absent.
    #[serde(default)]
    pub expect: Option<Spanned<String>>,
}

/// `limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Actions within one incident that did not help.
    #[serde(default)]
    pub useless_actions: Option<Spanned<u32>>,
    /// Actions within one incident.
    #[serde(default)]
    pub actions: Option<Spanned<u32>>,
    /// Time that an incident may stay open with nothing under way.
    #[serde(default)]
    pub give_up_seconds: Option<Spanned<u32>>,
}
