//! Types that several kinds share, and the bounds of their texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use kube::KubeSchema;

/// A DNS label: namespaces and the names of list entries.
pub const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A day, as people write it; whether there is one is checked apart.
pub const DAY: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
/// The signal of a forecast: a word of ours, or a load by its name.
pub const FORECAST_SIGNAL: &str = r"^(load\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The name of a metric, as OpenTelemetry allows it.
pub const METRIC_NAME: &str = r"^[a-zA-Z][-_./a-zA-Z0-9]*$";
/// The name of a metric of the external metrics API, as adapters serve it.
pub const EXTERNAL_METRIC: &str = r"^[a-zA-Z0-9][-_.:|a-zA-Z0-9]*$";
/// A label selector as text.
pub const SELECTOR: &str = r"^[-_./=!,() a-zA-Z0-9]+$";
/// The key of a label, with or without a prefix.
pub const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// The value of a label; it may be empty.
pub const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// A DNS subdomain: names of objects.
pub const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
/// Kinds, reasons and other words that programs compare.
pub const CAMEL_CASE: &str = "^[A-Z][A-Za-z0-9]*$";
/// `v1` or `group/v1`.
pub const API_VERSION: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9][a-z0-9]*$";
/// A number from 0 to 1 with at most six decimals.
pub const FRACTION: &str = r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$";
/// A number from 0 to 100 with at most four decimals.
pub const PERCENT: &str = r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)$";
/// Any decimal number, optionally with an exponent.
pub const DECIMAL: &str = r"^-?[0-9]{1,15}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?$";
/// Seconds above 0 and below 1,000,000, to the millisecond.
pub const POSITIVE_SECONDS: &str =
    r"^([1-9][0-9]{0,5}(\.[0-9]{1,3})?|0\.([1-9][0-9]{0,2}|0[1-9][0-9]?|00[1-9]))$";
/// A cron schedule of five fields, or one of the usual nicknames.
pub const CRON: &str =
    r"^(@(hourly|daily|weekly|monthly|yearly)|[0-9A-Za-z*/,?#-]+( [0-9A-Za-z*/,?#-]+){4})$";
/// An IANA time zone such as `Europe/Madrid`, or `UTC`.
pub const TIME_ZONE: &str = "^[A-Za-z]+([_+-]?[A-Za-z0-9]+)*(/[A-Za-z0-9]+([_+-][A-Za-z0-9]+)*){0,2}$";
/// Digits of a digest.
pub const HEX: &str = "^[0-9a-f]+$";
/// An address that can be called.
pub const HTTP_URL: &str = "^https?://[^ ]+$";

/// Annotation on a Workload, a Tenant or the object that an action would change: no action before this instant
/// (RFC 3339).
pub const ANNOTATION_DO_NOT_TOUCH_UNTIL: &str = "homeostat.dev/do-not-touch-until";
/// Annotation on a paused Workload or Tenant: why, for people.
pub const ANNOTATION_PAUSED_BECAUSE: &str = "homeostat.dev/paused-because";
/// Annotation on a Tenant: levels that were lowered before this instant (RFC 3339) are restored by a person.
pub const ANNOTATION_LEVELS_RESTORED_AT: &str = "homeostat.dev/levels-restored-at";
/// Annotation on the ControlPlane: the breaker that opened before this instant (RFC 3339) is reset by a person.
pub const ANNOTATION_BREAKER_RESET_AT: &str = "homeostat.dev/breaker-reset-at";
/// Annotation on an Action: a person's word on it, `Right` or `Wrong`. Reports and `homeostat levels --what-if` heed it.
pub const ANNOTATION_VERDICT: &str = "homeostat.dev/verdict";
/// Annotation on a pod template that a rolling restart writes: the name of the Action.
pub const ANNOTATION_RESTARTED_BY: &str = "homeostat.dev/restarted-by";
/// Annotation on a controller that a roll back writes: the name of the Action.
pub const ANNOTATION_ROLLED_BACK_BY: &str = "homeostat.dev/rolled-back-by";
/// Annotation on what is held (a cordoned node, a suspended run, driven bounds): the name of the Action that holds it.
pub const ANNOTATION_HELD_BY: &str = "homeostat.dev/held-by";
/// Annotation on what is held: until when (RFC 3339).
pub const ANNOTATION_HELD_UNTIL: &str = "homeostat.dev/held-until";
/// Annotation on an autoscaler whose bounds are driven: people's own, as `min=2,max=10`.
pub const ANNOTATION_BOUNDS_BEFORE: &str = "homeostat.dev/bounds-before";
/// Annotation on an autoscaler whose bounds are driven: what was set last. A bound that differs is people's.
pub const ANNOTATION_BOUNDS_SET: &str = "homeostat.dev/bounds-set";
/// Label on what is held, so that it is found without looking at everything.
pub const LABEL_HELD: &str = "homeostat.dev/held";
/// Annotation on a Job that an Action created: the name of the Action.
pub const ANNOTATION_CREATED_BY: &str = "homeostat.dev/created-by";
/// Annotation on a Job that was made of a `CronJob` outside of its schedule, as `kubectl create job --from` sets it.
pub const ANNOTATION_INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";
/// Annotation on a Job that retries another: the UID of the failed one.
pub const ANNOTATION_RETRY_OF: &str = "homeostat.dev/retry-of";
/// Annotation on a Job that retries another: which try of the run it is, from 1. Earlier ones may be cleared away.
pub const ANNOTATION_TRY: &str = "homeostat.dev/try";
/// On a Job: the action that let it start.
pub const ANNOTATION_STARTED_BY: &str = "homeostat.dev/started-by";
/// Label on incidents, actions and reports: the tenant.
pub const LABEL_TENANT: &str = "homeostat.dev/tenant";
/// Label on actions and reports: the incident.
pub const LABEL_INCIDENT: &str = "homeostat.dev/incident";
/// Label on incidents, actions and reports: the workload.
pub const LABEL_WORKLOAD: &str = "homeostat.dev/workload";

/// Cuts `text` to at most `max` characters (the API server counts characters, not bytes);
/// a cut text ends with `…`.
#[must_use]
pub fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(max.saturating_sub(1)).collect();
    if max > 0 {
        cut.push('…');
    }
    cut
}

/// How far Homeostat may go by itself. Only people raise a level.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum Level {
    /// Watch and report only.
    Observe,
    /// Say what would be done, with a dry run and a diff.
    #[default]
    Recommend,
    /// Act after a person approved.
    Approve,
    /// Act alone where the action is reversible and small.
    ActBounded,
    /// Act alone with every action.
    ActFull,
}

/// Everything that can be done to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ActionKind {
    /// More replicas.
    ScaleUp,
    /// Fewer replicas.
    ScaleDown,
    /// Move the bounds of the autoscaler that sizes a workload.
    DriveBounds,
    /// Evict one pod through the Eviction API.
    EvictPod,
    /// Replace every pod of a workload, new ones first.
    RollingRestart,
    /// Go back to a named revision.
    RollBack,
    /// Keep new pods off a node.
    Cordon,
    /// Let pods onto a node again.
    Uncordon,
    /// Cordon and empty a node, one eviction at a time.
    Drain,
    /// Stop a `CronJob` or Job from starting pods.
    Suspend,
    /// Let a suspended `CronJob` or Job go on.
    Resume,
    /// Start a failed Job again.
    RetryJob,
    /// Let a run of a Job begin when it is its turn.
    StartJob,
    /// Make a run of a `CronJob` because work waits.
    CreateJob,
    /// Change a pod's CPU or memory in place.
    ResizePod,
    /// Tell a person.
    Notify,
}

/// How bad an incident is for the users of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// Nothing is broken; worth knowing.
    Info,
    /// Users are hardly affected, or not yet.
    Warning,
    /// Users are affected.
    Critical,
}

macro_rules! words {
    ($($kind:ident),+) => {$(
        impl std::fmt::Display for $kind {
            /// The same word as on the wire.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self:?}")
            }
        }
    )+};
}
words!(Level, ActionKind, Severity);

/// An object in the same namespace, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Group and version, for example `apps/v1`.
    #[schemars(length(min = 1, max = 253), regex(pattern = API_VERSION))]
    pub api_version: String,
    /// Kind, for example `Deployment`.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub kind: String,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
}

/// Something in the cluster, or outside of it, that a finding or a cause speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entity {
    /// `Workload`, `Pod`, `Node`, `External` or another kind.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub kind: String,
    /// Empty for what has no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Name of the object, or of the external service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Tells two objects of the same name apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub uid: Option<String>,
}

/// Who: a person, a group of people or a service account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// One person, by the name that the API server authenticates.
    User,
    /// Everybody in a group.
    Group,
    /// A program.
    ServiceAccount,
}

/// A person, a group or a service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind != 'ServiceAccount' || has(self.__namespace__)")
    .message("a ServiceAccount needs its namespace"))]
pub struct Subject {
    /// User, Group or `ServiceAccount`.
    pub kind: SubjectKind,
    /// Name as the API server knows it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of a `ServiceAccount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub namespace: Option<String>,
}

/// One key of a Secret in the namespace that Homeostat is installed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
    /// Key within the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Reads a decimal text of a resource (ratios, percentages, thresholds) as a number.
///
/// Resources hold such numbers as texts because API conventions ban floating point in specs.
pub trait Numeric {
    /// The number, or `None` when the text is not a finite decimal number.
    fn number(&self) -> Option<f64>;
}

impl Numeric for str {
    fn number(&self) -> Option<f64> {
        let first = self.trim_start_matches('-').chars().next()?;
        if !first.is_ascii_digit() {
            return None;
        }
        self.parse().ok().filter(|n: &f64| n.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_counts_characters() {
        assert_eq!(clip("größer", 6), "größer");
        assert_eq!(clip("größer", 4), "grö…");
        assert_eq!(clip("größer", 0), "");
    }

    #[test]
    fn words_are_those_of_the_wire() {
        assert_eq!(Level::ActBounded.to_string(), "ActBounded");
        assert_eq!(serde_json::to_string(&ActionKind::EvictPod).unwrap(), "\"EvictPod\"");
        assert!(Level::Observe < Level::Recommend && Level::Approve < Level::ActBounded);
        assert_eq!(Level::default(), Level::Recommend);
    }

    #[test]
    fn only_finite_decimals_are_numbers() {
        assert_eq!("99.5".number(), Some(99.5));
        assert_eq!("-3e2".number(), Some(-300.0));
        for text in ["", "NaN", "inf", "-inf", "one", ".5", "1e999"] {
            assert_eq!(text.number(), None, "{text}");
        }
    }
}
