//! The closed list of reasons that conditions give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a condition has its status. A word in an enum, so that it is never empty and a new one
/// is a visible change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// Not looked at yet.
    Pending,
    /// All is well.
    AsExpected,
    /// Something did not work; the message says what.
    Failed,
    /// A person said so in the spec.
    Requested,
    /// Nothing of this kind is configured.
    NotConfigured,
    /// The named object does not exist.
    TargetNotFound,
    /// The named object cannot be acted on.
    TargetNotSupported,
    /// Another Workload names the same object.
    TargetClaimedTwice,
    /// Several autoscalers size the same object.
    TargetScaledTwice,
    /// Somebody else sizes the named object; the message says who.
    TargetScaledByOther,
    /// More workloads are scaled than are looked at.
    TooMany,
    /// A Tenant sends more series than its share; the message names the metric that most of the dropped ones belong to.
    TooManySeries,
    /// `spec.scaling.replicas` is not set.
    NoBounds,
    /// A calendar entry cannot be used; the message says which and why.
    CalendarNotUsable,
    /// More replicas would ask for more than `spec.quota` of the Tenant leaves; the message says how much is free.
    QuotaReached,
    /// The most replicas do not keep the deadline; the message says by how much it is missed.
    DeadlineNotKept,
    /// The value of a signal is no load; the message names it.
    SignalNotUsable,
    /// A signal is not seen; the message names it.
    SignalNotSeen,
    /// A series of a signal is not seen any more; the message names it.
    SeriesNotSeen,
    /// Requests were seen before, and are not any more.
    RequestsNotSeen,
    /// What one replica carries is not learnt yet.
    Learning,
    /// The namespace belongs to no Tenant.
    NoTenant,
    /// The namespace belongs to more than one Tenant.
    NamespaceClaimedTwice,
    /// The namespace does not exist.
    NamespaceNotFound,
    /// The objectives are met.
    ObjectivesMet,
    /// The objectives are missed.
    ObjectivesMissed,
    /// A run is late or will be; the message says which, by how much, and what would cure it.
    RunsLate,
    /// Runs wait for a person: mode, level or a pause keep Homeostat from starting them.
    NotOrdered,
    /// There is no data to tell by.
    NoData,
    /// A route of `spec.notify` has no address that can be used; the message says which, and what to change.
    RouteNotUsable,
    /// What is sent by a route of `spec.notify` is not taken; the message says which, and what to change.
    RouteNotTaken,
    /// Data is older than allowed.
    StaleData,
    /// The other side does not answer.
    Unreachable,
    /// The other side refuses our identity.
    Forbidden,
    /// The other side answers.
    Connected,
    /// A field has a value that cannot work; the message names it.
    InvalidSpec,
    /// The level does not allow it.
    LevelTooLow,
    /// The budget is used up.
    BudgetSpent,
    /// The limit of simultaneous failures is reached.
    StormLimit,
    /// Fewer failures than the limit, for long enough.
    Calm,
    /// Too many actions did not help.
    TooManyFailures,
    /// The kill switch is engaged.
    KillSwitch,
    /// The kill switch is off.
    Disengaged,
    /// Homeostat found one of its own invariants broken; it does nothing until it is restarted.
    InvariantBroken,
    /// A newer version wrote what this one cannot read.
    NewerVersion,
    /// Caches are filling.
    WarmingUp,
    /// A guard said no; the message names it.
    GuardRefused,
    /// All guards said yes.
    GuardsPassed,
    /// Waiting for a person.
    AwaitingApproval,
    /// A person approved.
    Approved,
    /// A person declined.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// Watching the effect.
    Verifying,
    /// The effect helped.
    Verified,
    /// The effect did not help.
    NotVerified,
    /// The effect was taken back.
    Undone,
    /// The reason to act went away first.
    Cancelled,
    /// The incident is being worked on.
    Acting,
    /// Back inside the objective.
    Mitigated,
    /// Over.
    Resolved,
    /// Open and nothing is being done.
    Open,
    /// People have to go on.
    HandedOver,
    /// A person took note.
    AcknowledgedByPerson,
    /// Homeostat took note by acting.
    AcknowledgedByAutomation,
    /// The document is written.
    Generated,
    /// The back-test beat the naive forecasts.
    BeatsNaive,
    /// The back-test did not beat the naive forecasts.
    NoSkill,
}

impl std::fmt::Display for Reason {
    /// The same word as on the wire.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
