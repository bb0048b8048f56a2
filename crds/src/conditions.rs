//! Conditions: what is true of an object now, since when, why, and for which spec.

use std::collections::BTreeSet;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MicroTime, Reason, clip, common::CAMEL_CASE};

/// Characters of a condition's message.
pub const MAX_MESSAGE: usize = 1024;

/// True, False, or nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Not looked at yet, or not possible to tell.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(is: bool) -> Self {
        if is { Self::True } else { Self::False }
    }
}

/// Every condition type that Homeostat sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The summary: this object does what it is for.
    Ready,
    /// A person stopped all actions for this object.
    Paused,
    /// The object that a Workload names exists.
    TargetFound,
    /// No other Workload names the same object.
    TargetUnique,
    /// The objectives are met.
    ObjectivesMet,
    /// The namespaces of a Tenant exist and belong to no other Tenant.
    NamespacesOwned,
    /// Too many workloads are unhealthy at once; actions stop.
    Storm,
    /// So many actions failed that none is done until they are old enough; in the cluster, until a person resets it.
    BreakerOpen,
    /// The kill switch is engaged.
    KillSwitchEngaged,
    /// Caches are filled and the first detection windows have passed.
    WarmedUp,
    /// The API server answers and watches are up to date.
    KubernetesAvailable,
    /// Prometheus answers.
    PrometheusAvailable,
    /// Telemetry arrives over OTLP.
    OtlpAvailable,
    /// The checker accepted the Playbook.
    Accepted,
    /// People know of the Incident.
    Acknowledged,
    /// The Incident is over.
    Resolved,
    /// People have to go on.
    HandedOver,
    /// The guards let the Action pass.
    Admitted,
    /// A person approved the Action.
    Approved,
    /// The effect of the Action was seen to help.
    Verified,
    /// The document of a Report is written.
    Generated,
    /// The Forecast beats the naive ones.
    Skilled,
    /// Nothing is in the way of deciding the size that a Forecast asks for.
    Sized,
    /// No run is late, or will be on the capacity there is. Only where runs are ordered.
    RunsInTime,
    /// This version can read every Action that has not ended.
    ActionsReadable,
    /// Every series of metrics that the pods of a Tenant send is taken. Only while it is not so.
    SeriesTaken,
    /// One autoscaler sizes what a Workload targets, not several against each other. Only where any is known.
    ScalerUnique,
    /// People can be told by every route of `spec.notify`. Only where there is one.
    NotifyReady,
}

/// One statement about an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is stated; one entry per type.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// Why, as a word that programs may compare.
    #[schemars(length(min = 1, max = 63), regex(pattern = CAMEL_CASE))]
    pub reason: String,
    /// Why, in a sentence for people.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the status last changed; nothing else moves this time.
    pub last_transition_time: MicroTime,
    /// The generation of the spec that this statement is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
}

/// What to state; [`set`] adds when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What is stated.
    pub about: ConditionType,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, as a word; never empty because it is an enum.
    pub reason: Reason,
    /// Why, in a sentence; cut to [`MAX_MESSAGE`] characters.
    pub message: String,
}

impl Statement {
    /// A statement about `about`.
    pub fn new(
        about: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self { about, status: status.into(), reason, message: message.into() }
    }
}

/// Puts `statement` into `conditions`; says whether anything changed, so that callers write
/// a status only then. `lastTransitionTime` becomes `now` only when the status is another one.
pub fn set(
    conditions: &mut Vec<Condition>,
    statement: Statement,
    observed_generation: Option<i64>,
    now: MicroTime,
) -> bool {
    let Statement { about, status, reason, message } = statement;
    let mut next = Condition {
        type_: about.to_string(),
        status,
        reason: reason.to_string(),
        message: clip(&message, MAX_MESSAGE),
        last_transition_time: now,
        observed_generation,
    };
    match conditions.iter_mut().find(|c| c.type_ == next.type_) {
        None => conditions.push(next),
        Some(old) => {
            if old.status == next.status {
                next.last_transition_time = old.last_transition_time;
            }
            if *old == next {
                return false;
            }
            *old = next;
        }
    }
    true
}

/// Adds an Unknown condition for each of `known` that is still missing, so that readers can
/// tell "not looked at yet" from "this version does not know it". Says whether any was added.
pub fn complete(
    conditions: &mut Vec<Condition>,
    known: &[ConditionType],
    observed_generation: Option<i64>,
    now: MicroTime,
) -> bool {
    let present: BTreeSet<String> = conditions.iter().map(|c| c.type_.clone()).collect();
    let mut added = false;
    for &about in known.iter().filter(|about| !present.contains(&about.to_string())) {
        let text = "Not looked at yet";
        let statement = Statement::new(about, ConditionStatus::Unknown, Reason::Pending, text);
        added |= set(conditions, statement, observed_generation, now);
    }
    added
}

/// The condition of this type, if there is one.
pub fn find(conditions: &[Condition], about: ConditionType) -> Option<&Condition> {
    let type_ = about.to_string();
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether the condition is there and True.
pub fn is_true(conditions: &[Condition], about: ConditionType) -> bool {
    find(conditions, about).is_some_and(|c| c.status == ConditionStatus::True)
}

impl std::fmt::Display for ConditionType {
    /// The same word as on the wire.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> MicroTime {
        MicroTime::new(jiff::Timestamp::from_second(second).unwrap())
    }

    fn ready(is: bool, reason: Reason, message: &str) -> Statement {
        Statement::new(ConditionType::Ready, is, reason, message)
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut all = Vec::new();
        assert!(set(&mut all, ready(true, Reason::AsExpected, "a"), Some(1), at(10)));
        assert!(!set(&mut all, ready(true, Reason::AsExpected, "a"), Some(1), at(20)));
        assert!(set(&mut all, ready(true, Reason::AsExpected, "b"), Some(2), at(30)));
        assert_eq!(all[0].last_transition_time, at(10));
        assert_eq!(all[0].observed_generation, Some(2));
        assert!(set(&mut all, ready(false, Reason::TargetNotFound, "b"), Some(2), at(40)));
        assert_eq!(all[0].last_transition_time, at(40));
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn the_reason_is_never_empty_and_the_message_fits() {
        let mut all = Vec::new();
        let long = "x".repeat(5_000);
        set(&mut all, ready(false, Reason::Pending, &long), None, at(1));
        assert!(!all[0].reason.is_empty());
        assert_eq!(all[0].message.chars().count(), MAX_MESSAGE);
    }

    #[test]
    fn unknown_is_said_once_for_what_was_not_looked_at() {
        let mut all = Vec::new();
        set(&mut all, ready(true, Reason::AsExpected, ""), Some(1), at(1));
        let known = [ConditionType::Ready, ConditionType::TargetFound];
        assert!(complete(&mut all, &known, Some(1), at(2)));
        assert!(!complete(&mut all, &known, Some(1), at(3)));
        assert!(is_true(&all, ConditionType::Ready));
        let found = find(&all, ConditionType::TargetFound).unwrap();
        assert_eq!(found.status, ConditionStatus::Unknown);
        assert_eq!(found.last_transition_time, at(2));
    }
}
