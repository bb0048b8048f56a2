//! `Report`: what happened in a period or an incident, with the key figures.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::NameRef;
use crate::{
    Condition, ConditionType, MicroTime,
    common::{CAMEL_CASE, DNS_NAME, HTTP_URL},
};

/// Conditions that every Report carries.
pub const CONDITIONS: &[ConditionType] = &[ConditionType::Ready, ConditionType::Generated];

/// What happened in a period or an incident.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "homeostat.dev",
    version = "v1alpha1",
    kind = "Report",
    plural = "reports",
    shortname = "hrep",
    category = "homeostat",
    namespaced,
    status = "ReportStatus",
    derive = "PartialEq",
    doc = "What happened in a period or an incident: key figures and where the full document is.",
    selectable = ".spec.tenant",
    selectable = ".spec.incidentRef.name",
    printcolumn(
        name = "Incident",
        type_ = "string",
        json_path = ".spec.incidentRef.name",
        description = "The incident that it is about"
    ),
    printcolumn(
        name = "From",
        type_ = "string",
        json_path = ".spec.period.from",
        description = "Begin of the period"
    ),
    printcolumn(
        name = "To",
        type_ = "string",
        json_path = ".spec.period.to",
        description = "End of the period"
    ),
    printcolumn(
        name = "Format",
        type_ = "string",
        json_path = ".spec.format",
        description = "Form of the document"
    ),
    printcolumn(
        name = "Summary",
        type_ = "string",
        json_path = ".status.summary",
        description = "In one sentence"
    ),
    printcolumn(
        name = "Url",
        type_ = "string",
        json_path = ".status.url",
        description = "Where the full document is",
        priority = "1"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the document is written"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[x_kube(validation = Rule::new("has(self.period) != has(self.incidentRef)")
    .message("a Report is about a period or an incident: exactly one of period and incidentRef"))]
#[serde(rename_all = "camelCase")]
pub struct ReportSpec {
    /// The Tenant that it is about. Unset: the one that the namespace belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub tenant: Option<String>,
    /// The period that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The Incident that it is about, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_ref: Option<NameRef>,
    /// Form of the document.
    #[serde(default)]
    pub format: ReportFormat,
}

/// Form of a document.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum ReportFormat {
    /// One file to open in a browser, with plots.
    #[default]
    Html,
    /// Text for chats and tickets.
    Markdown,
    /// For programs.
    Json,
}

/// From when to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from < self.to").message("from must be before to"))]
pub struct Period {
    /// Begin.
    pub from: MicroTime,
    /// End.
    pub to: MicroTime,
}

/// What became of a Report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[derive(Default)]
pub struct ReportStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// In one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub summary: Option<String>,
    /// When the document was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<MicroTime>,
    /// What it comes down to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub key_figures: Vec<KeyFigure>,
    /// Where the full document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = HTTP_URL))]
    pub url: Option<String>,
    /// The `ConfigMap` that holds the document, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<DocumentRef>,
    /// Ready first; every known condition is present from the first visit on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A number that matters; one that is not known says so and is never zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyFigure {
    /// Which, for example `TimeToRestore`.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub name: String,
    /// The number as text, or `no data`.
    #[schemars(length(min = 1, max = 64))]
    pub value: String,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub unit: Option<String>,
}

/// A key of a `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentRef {
    /// Name of the `ConfigMap`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
    /// Key within it.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
