//! What can be done: one file per action, one visible list. An action knows what it needs, what it refuses,
//! how its effect is recognised and how its success is judged; when to do it is decided elsewhere.

mod evict_pod;
mod notify;
mod rolling_restart;
mod verify;

pub use evict_pod::EvictPod;
pub use notify::Notify;
pub use rolling_restart::RollingRestart;

use crate::ports::FreshTarget;
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{ActionKind, ActionRecord, FindingKind, Level, Name, Snapshot, Timestamp};
use std::collections::BTreeSet;

/// Every action that is implemented.
pub const ALL: &[&dyn ActionSpec] = &[&EvictPod, &RollingRestart, &Notify];

/// The implementation of a kind; `None` when it does not exist yet.
pub fn spec(kind: ActionKind) -> Option<&'static dyn ActionSpec> {
    ALL.iter().copied().find(|spec| spec.kind() == kind)
}

/// Everything about one kind of action. All methods are pure.
pub trait ActionSpec: Send + Sync {
    /// Which kind.
    fn kind(&self) -> ActionKind;

    /// `true` when the state before can be reached again, or comes back by itself.
    fn reversible(&self) -> bool;

    /// Lowest level at which it runs without a person.
    fn alone_at(&self) -> Level;

    /// What the service account must be allowed to do for it.
    fn rights(&self) -> &'static [Right];

    /// How it is taken back.
    fn undo(&self) -> Undo;

    /// `false` for actions that only tell; budgets, cool-downs and storms do not limit those.
    fn changes_state(&self) -> bool {
        true
    }

    /// May it be sent again when nobody knows whether it was sent?
    fn repeat(&self) -> Repeat;

    /// May this target be touched at all, as far as the snapshot tells? Runs before any request.
    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit>;

    /// Is this still the target that was decided on, still sick in the way `cause` says, and still to be
    /// touched? Runs on the uncached read just before the effect.
    fn check_fresh(
        &self,
        record: &ActionRecord,
        cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit>;

    /// Is the effect of this action there? Answers the question that a lost reply leaves open.
    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed;

    /// Did it help, as far as the snapshot tells at `now`?
    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict;
}

/// One rule that the service account's role must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// API group; empty for the core group.
    pub api_group: &'static str,
    /// Resource, with subresource where one is meant.
    pub resource: &'static str,
    /// Verbs.
    pub verbs: &'static [&'static str],
}

/// What may be done when the outcome of an effect is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Read and decide; never send again.
    Never,
    /// Sending again changes nothing (the receiver knows the action's id).
    Harmless,
}

/// Why a target must not be touched (now).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It must not be touched at all.
    #[error("{0}")]
    Protected(String),
    /// What the action wants is there or on its way: pending changes count as done.
    #[error("{0}")]
    Done(String),
    /// It is not the target, or not the situation, that was decided on.
    #[error("{0}")]
    Changed(String),
}

/// Is the effect there?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landed {
    /// Yes, and how that is seen.
    Yes(String),
    /// No, and how that is seen.
    No(String),
}

/// Did it help?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not to be said yet; what is missing.
    Wait(String),
    /// Yes.
    Helped(String),
    /// No.
    NotHelped(String),
}

/// Namespaces that nobody may touch through Homeostat, whatever a tenant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    namespaces: BTreeSet<Name>,
}

impl Protected {
    /// The system namespaces and the one that Homeostat itself runs in.
    pub fn with_own_namespace(own: impl Into<Name>) -> Self {
        let system = ["kube-system", "kube-public", "kube-node-lease"];
        Self { namespaces: system.into_iter().map(Name::from).chain([own.into()]).collect() }
    }

    /// Refuses targets in protected namespaces, and cluster-scoped ones.
    pub fn refuse(&self, namespace: &str) -> Result<(), Unfit> {
        if namespace.is_empty() {
            return Err(Unfit::Protected("cluster-scoped objects are not touched".to_owned()));
        }
        if self.namespaces.contains(namespace) {
            return Err(Unfit::Protected(format!(
                "namespace {namespace} belongs to the system and is never touched"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_action_is_found_by_its_kind_and_says_what_it_needs() {
        for action in ALL {
            assert_eq!(spec(action.kind()).map(ActionSpec::kind), Some(action.kind()));
            assert!(!action.rights().is_empty());
            for right in action.rights() {
                assert!(!right.verbs.is_empty() && !right.verbs.contains(&"*") && right.resource != "*");
            }
            assert!(action.alone_at() >= Level::ActBounded || !action.changes_state());
        }
        assert!(spec(ActionKind::Cordon).is_none());
    }

    #[test]
    fn system_namespaces_and_our_own_are_never_touched() {
        let protected = Protected::with_own_namespace("homeostat");
        for namespace in ["kube-system", "kube-public", "kube-node-lease", "homeostat", ""] {
            assert!(protected.refuse(namespace).is_err(), "{namespace:?}");
        }
        assert!(protected.refuse("shop").is_ok());
    }
}
