//! Resources of people become policies, or a reason why not. Pure: the same resource gives the same answer.
//!
//! The API server has checked shapes and bounds by the schema; what is checked here is what a schema cannot
//! know, and everything again that would be dangerous if an older schema had let it through.

pub(crate) mod acceptance;
mod control;
mod freezes;
mod playbook;
mod routes;
mod runs;
mod signals;
mod tenant;
mod workload;

pub use acceptance::{Catalogue, ControlEntry, PlaybookEntry, TenantEntry, Verdict, WorkloadEntry};
pub(crate) use control::effects_switch;
pub use control::{TenantDefaults, control_policy, latch, tenant_defaults};
pub use playbook::playbook_text;
pub use routes::{Route, routes};
pub use tenant::tenant_policy;
pub use workload::workload_policy;

use homeostat_crds::{ActionKind as WireAction, Level as WireLevel, Numeric};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{ActionKind, Level, TenantName, TenantPolicy, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::Arc;

/// Why a resource cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// A field has a value that cannot work.
    #[error("{field} is {found}, but {rule}")]
    Field {
        /// Path from the object's root, e.g. `spec.objectives.availability`.
        field: String,
        /// What it holds.
        found: String,
        /// What it must be.
        rule: String,
    },
    /// The checker of playbooks refuses it.
    #[error("{message}")]
    Playbook {
        /// Everything that is wrong, with line and column.
        message: String,
    },
    /// There are more objects of this kind than are read.
    #[error("there are more than {most} of them; delete some")]
    TooMany {
        /// How many are read.
        most: usize,
    },
    /// The object as stored does not have the shape that this version understands.
    #[error("it cannot be read: {message}")]
    Unreadable {
        /// Where and why.
        message: String,
    },
    /// The object cannot be used, and what it names is nobody else's for that: whoever wrote it may have meant a pause.
    #[error("{why}")]
    Claiming {
        /// What is wrong.
        why: Box<Rejection>,
        /// What it keeps.
        claim: Claim,
    },
    /// The object can be used, the Tenant that it belongs to cannot.
    #[error("the Tenant {tenant}, which owns the namespace, is invalid: {why}")]
    Tenant {
        /// That Tenant.
        tenant: TenantName,
        /// What is wrong with it.
        why: Box<Rejection>,
    },
}

/// What an object that cannot be used keeps from others.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The namespaces of a Tenant, under the policy that counts for them meanwhile.
    Namespaces(Arc<TenantPolicy>),
    /// The target of a Workload.
    Target(ControllerKey),
}

impl Rejection {
    fn claiming(self, claim: Claim) -> Self {
        Self::Claiming { why: Box::new(self), claim }
    }

    pub(crate) fn field(
        field: impl Into<String>,
        found: impl std::fmt::Display,
        rule: impl Into<String>,
    ) -> Self {
        Self::Field { field: field.into(), found: format!("{found}"), rule: rule.into() }
    }
}

/// Longest name of a namespace (RFC 1123 label).
const LABEL: usize = 63;
/// Longest name of any other object (RFC 1123 subdomain).
const SUBDOMAIN: usize = 253;

/// A name that the API server could have given; the schema says so too, and an older one may not have.
fn object_name(field: &str, text: &str, longest: usize, rule: &str) -> Result<(), Rejection> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let valid = (1..=longest).contains(&text.len())
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|letter| plain(letter) || letter == '-' || (longest > LABEL && letter == '.'));
    if valid {
        return Ok(());
    }
    // Look-alikes and control characters are shown as what they are.
    let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
    Err(Rejection::field(field, format!("`{shown}`"), rule))
}

/// A whole number within bounds.
fn bounded(field: &str, value: impl Into<i64>, low: i64, high: i64) -> Result<u32, Rejection> {
    let value = value.into();
    let rule = || format!("it must be between {low} and {high}");
    if value < low || value > high {
        return Err(Rejection::field(field, value, rule()));
    }
    u32::try_from(value).map_err(|_| Rejection::field(field, value, rule()))
}

/// A duration in whole seconds within bounds.
fn seconds(
    field: &str,
    value: impl Into<i64>,
    low: i64,
    high: i64,
) -> Result<homeostat_knowledge::SignedDuration, Rejection> {
    let value = bounded(field, value, low, high)?;
    Ok(homeostat_knowledge::SignedDuration::from_secs(i64::from(value)))
}

/// A decimal text within bounds.
fn decimal(field: &str, text: &str, low: f64, high: f64) -> Result<f64, Rejection> {
    text.number().filter(|number| (low..=high).contains(number)).ok_or_else(|| {
        Rejection::field(field, format!("`{text}`"), format!("it must be a number from {low} to {high}"))
    })
}

/// The level of the vocabulary.
pub(crate) fn level(wire: WireLevel) -> Level {
    match wire {
        WireLevel::Observe => Level::Observe,
        WireLevel::Recommend => Level::Recommend,
        WireLevel::Approve => Level::Approve,
        WireLevel::ActBounded => Level::ActBounded,
        WireLevel::ActFull => Level::ActFull,
    }
}

/// The level as written.
pub(crate) fn wire_level(level: Level) -> WireLevel {
    match level {
        Level::Observe => WireLevel::Observe,
        Level::Recommend => WireLevel::Recommend,
        Level::Approve => WireLevel::Approve,
        Level::ActBounded => WireLevel::ActBounded,
        Level::ActFull => WireLevel::ActFull,
    }
}

/// The action kind of the vocabulary.
pub(crate) fn action_kind(wire: WireAction) -> ActionKind {
    match wire {
        WireAction::ScaleUp => ActionKind::ScaleUp,
        WireAction::ScaleDown => ActionKind::ScaleDown,
        WireAction::DriveBounds => ActionKind::DriveBounds,
        WireAction::EvictPod => ActionKind::EvictPod,
        WireAction::RollingRestart => ActionKind::RollingRestart,
        WireAction::RollBack => ActionKind::RollBack,
        WireAction::Cordon => ActionKind::Cordon,
        WireAction::Uncordon => ActionKind::Uncordon,
        WireAction::Drain => ActionKind::Drain,
        WireAction::Suspend => ActionKind::Suspend,
        WireAction::Resume => ActionKind::Resume,
        WireAction::RetryJob => ActionKind::RetryJob,
        WireAction::StartJob => ActionKind::StartJob,
        WireAction::CreateJob => ActionKind::CreateJob,
        WireAction::ResizePod => ActionKind::ResizePod,
        WireAction::Notify => ActionKind::Notify,
    }
}

/// The action kind as written.
pub(crate) fn wire_action(kind: ActionKind) -> WireAction {
    match kind {
        ActionKind::ScaleUp => WireAction::ScaleUp,
        ActionKind::ScaleDown => WireAction::ScaleDown,
        ActionKind::DriveBounds => WireAction::DriveBounds,
        ActionKind::EvictPod => WireAction::EvictPod,
        ActionKind::RollingRestart => WireAction::RollingRestart,
        ActionKind::RollBack => WireAction::RollBack,
        ActionKind::Cordon => WireAction::Cordon,
        ActionKind::Uncordon => WireAction::Uncordon,
        ActionKind::Drain => WireAction::Drain,
        ActionKind::Suspend => WireAction::Suspend,
        ActionKind::Resume => WireAction::Resume,
        ActionKind::RetryJob => WireAction::RetryJob,
        ActionKind::StartJob => WireAction::StartJob,
        ActionKind::CreateJob => WireAction::CreateJob,
        ActionKind::ResizePod => WireAction::ResizePod,
        ActionKind::Notify => WireAction::Notify,
    }
}

/// The instant in an annotation. What cannot be read is an error, not "no limit": somebody wanted us to keep away.
fn instant(meta: &ObjectMeta, annotation: &str) -> Result<Option<Timestamp>, Rejection> {
    let annotations = meta.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(annotation))
        .map(|text| {
            text.parse().map_err(|_| {
                let field = format!("metadata.annotations[{annotation}]");
                Rejection::field(
                    field,
                    format!("`{text}`"),
                    "it must be an instant such as 2026-11-22T18:00:00Z",
                )
            })
        })
        .transpose()
}
