//! Results of the guard chain: each guard leaves what it saw, what the limit is and what it decided.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The guards, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GuardName {
    /// `ControlPlane.spec.killSwitch`, read uncached before each effect.
    KillSwitch,
    /// No invariant was broken; this replica leads; caches are synced and warm.
    Invariants,
    /// Tenant and workload are known, switched on, and their level allows the action.
    Level,
    /// No freeze window is open.
    FreezeWindow,
    /// Evidence is recent, finite and from a healthy source.
    Evidence,
    /// The finding lasted long enough to enter, and has not left.
    Hysteresis,
    /// Time since the last action on this workload.
    Cooldown,
    /// Nobody else owns the field, no other action is under way on the target.
    Ownership,
    /// Not too many distinct root causes at once.
    Storm,
    /// Actions per hour and in flight.
    Budget,
    /// Failed verifications have not opened a breaker.
    Breaker,
    /// The server-side dry run succeeded.
    DryRun,
    /// A person's approval, where the level demands it.
    Approval,
    /// The intent is stored in the API server.
    Intent,
    /// A fresh, uncached read shows the same target: UID, version-relevant fields, still sick.
    FreshRead,
}

impl GuardName {
    /// Every guard in running order.
    pub const ORDER: [Self; 15] = [
        Self::KillSwitch,
        Self::Invariants,
        Self::Level,
        Self::FreezeWindow,
        Self::Evidence,
        Self::Hysteresis,
        Self::Cooldown,
        Self::Ownership,
        Self::Storm,
        Self::Budget,
        Self::Breaker,
        Self::DryRun,
        Self::Approval,
        Self::Intent,
        Self::FreshRead,
    ];

    /// The name as written in resources.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillSwitch => "KillSwitch",
            Self::Invariants => "Invariants",
            Self::Level => "Level",
            Self::FreezeWindow => "FreezeWindow",
            Self::Evidence => "Evidence",
            Self::Hysteresis => "Hysteresis",
            Self::Cooldown => "Cooldown",
            Self::Ownership => "Ownership",
            Self::Storm => "Storm",
            Self::Budget => "Budget",
            Self::Breaker => "Breaker",
            Self::DryRun => "DryRun",
            Self::Approval => "Approval",
            Self::Intent => "Intent",
            Self::FreshRead => "FreshRead",
        }
    }

    /// The guard of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ORDER.into_iter().find(|guard| guard.name() == name)
    }
}

/// The chart's value that bounds what a container may be given; refusals because of it name it.
pub const MOST_PER_CONTAINER: &str = "admission.mostPerContainer";

/// Begins what is said while the kill switch is engaged: who did it and their reason follow.
pub const ENGAGED: &str = "the kill switch is engaged";
/// Stands before the name of who approved.
pub const APPROVED_BY: &str = "approved by ";
/// Stands before the name of who denied.
pub const DENIED_BY: &str = "denied by ";
/// Begins what is said to people who are to approve, whom it names.
pub const NEEDS_APPROVAL: &str = "needs approval";

/// Whether a text of guards, or one that repeats it, may name a person. The record of decisions keeps such texts where they
/// can be erased.
pub fn may_name_people(text: &str) -> bool {
    [ENGAGED, APPROVED_BY, DENIED_BY, NEEDS_APPROVAL].iter().any(|words| text.contains(words))
}

/// A refusal of a way up that passes by itself is stored once in so long, however often it is asked for meanwhile.
pub const REFUSAL_STANDS: SignedDuration = SignedDuration::from_mins(15);

/// What a guard decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GuardResult {
    /// May go on.
    Passed,
    /// Must not.
    Refused,
    /// No policy is set for this guard, so it does not limit; said rather than skipped.
    Unset,
    /// Could not be found out; counts as refused.
    Unknown,
}

impl GuardResult {
    /// `true` for results that let the action go on.
    pub fn permits(self) -> bool {
        matches!(self, Self::Passed | Self::Unset)
    }
}

/// One guard's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardReport {
    /// Which guard.
    pub name: GuardName,
    /// What it decided.
    pub result: GuardResult,
    /// What it saw, e.g. `2 of 20 this hour`.
    pub observed: String,
    /// The limit it compared with, e.g. `20`.
    pub limit: String,
    /// For refusals: what the user can do.
    pub message: String,
}

impl GuardReport {
    /// It refuses for now: what it waits for comes without people, as the end of a freeze window.
    pub fn passes_by_itself(&self) -> bool {
        let waits = matches!(
            self.name,
            GuardName::Invariants
                | GuardName::FreezeWindow
                | GuardName::Evidence
                | GuardName::Hysteresis
                | GuardName::Cooldown
                | GuardName::Storm
                | GuardName::Budget
                | GuardName::Breaker
        );
        !self.result.permits() && (waits || self.result == GuardResult::Unknown)
    }
}
