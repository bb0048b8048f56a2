//! Who to tell, what things cost, how long records stay, whose telemetry counts.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Quantity, SecretKeyRef, Severity,
    common::{DECIMAL, DNS_LABEL, HTTP_URL},
};

/// How to reach the owners outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// An address for mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254), regex(pattern = "^[^ @]+@[^ @]+$"))]
    pub email: Option<String>,
    /// A page or chat room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = HTTP_URL))]
    pub url: Option<String>,
}

/// The form in which a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NotifyKind {
    /// JSON to any address.
    Webhook,
    /// A message that Slack and compatible chats understand.
    Slack,
    /// An alert for Alertmanager's API.
    Alertmanager,
}

/// Where to send what people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotifyRoute {
    /// Name of the route.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
    /// Form of the message.
    pub kind: NotifyKind,
    /// The address, which often holds a secret.
    pub url_from: UrlSource,
    /// Which incidents; unset means Warning and Critical.
    #[serde(default = "warning_and_critical")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub severities: Vec<Severity>,
}

fn warning_and_critical() -> Vec<Severity> {
    vec![Severity::Warning, Severity::Critical]
}

/// Where an address comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlSource {
    /// A key of a Secret in the namespace that Homeostat is installed in.
    pub secret_key_ref: SecretKeyRef,
}

/// How much the tenant's pods may request together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// CPU cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// What things cost, for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prices {
    /// ISO 4217 code.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// One core for one hour, as a decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DECIMAL))]
    pub cpu_core_hour: Option<String>,
    /// One GiB of memory for one hour, as a decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DECIMAL))]
    pub memory_gibibyte_hour: Option<String>,
    /// One hour without service, as a decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DECIMAL))]
    pub downtime_hour: Option<String>,
}

/// How long records are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// Closed incidents and actions in the API server, at most the newest 500 of each in a namespace. Actions stay for 25 hours in
    /// any case and repairs that did not help for a week, as cool-downs look back; recommendations that nobody carried out
    /// for 30 days.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub closed_seconds: i64,
    /// Not used in this version. Incidents, actions and reports in the history.
    #[schemars(range(min = 3600, max = 315_360_000))]
    pub history_seconds: i64,
    /// Not used in this version. Names of people in the history; erased afterwards, the record itself stays.
    #[schemars(range(min = 3600, max = 315_360_000))]
    pub personal_data_seconds: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { closed_seconds: 604_800, history_seconds: 34_560_000, personal_data_seconds: 7_776_000 }
    }
}

/// How a sender of telemetry proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SenderKind {
    /// A service account token of one of the tenant's namespaces.
    ServiceAccount,
    /// A client certificate with the given subject.
    ClientCertificate,
}

/// A sender whose telemetry counts for this tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind != 'ClientCertificate' || has(self.subject)")
    .message("a ClientCertificate sender needs its subject"))]
pub struct Sender {
    /// How it proves who it is.
    pub kind: SenderKind,
    /// Subject of the certificate; `*` stands for one label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub subject: Option<String>,
    /// Name of the service account; unset means every one in the tenant's namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}
