//! What can be done: one file per action, one visible list. An action knows what it needs, what it refuses,
//! how its effect is recognised and how its success is judged; when to do it is decided elsewhere.

mod as_left;
mod cordon;
mod create_job;
mod drive_bounds;
mod evict_pod;
mod neighbours;
mod node;
mod notify;
mod overtaken;
mod owners;
mod protected;
mod release;
mod resize_pod;
mod resume;
mod retry_job;
mod roll_back;
mod rolling_restart;
mod run;
mod scale_down;
mod scale_up;
mod size;
mod start_job;
mod suspend;
mod target;
mod uncordon;
mod verify;

pub use cordon::Cordon;
pub use create_job::{CreateJob, under_way};
pub use drive_bounds::DriveBounds;
pub use evict_pod::EvictPod;
pub use notify::Notify;
pub use owners::PERSON_QUIET;
pub use protected::{Protected, SYSTEM_NAMESPACES, SYSTEM_PREFIXES};
pub use resize_pod::ResizePod;
pub use resume::Resume;
pub use retry_job::{RetryJob, retry_name};
pub use roll_back::RollBack;
pub use rolling_restart::RollingRestart;
pub use scale_down::ScaleDown;
pub use scale_up::ScaleUp;
pub use start_job::StartJob;
pub use suspend::Suspend;
pub use target::LONGEST_HOLD;
pub use uncordon::Uncordon;

pub(crate) use as_left::as_left;
pub(crate) use neighbours::weighed;
pub(crate) use overtaken::{asked_in_vain, overtaken};

use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{
    ActionKind, ActionRecord, Before, FindingKind, Level, Parameters, Snapshot, Timestamp,
};
use serde::{Deserialize, Serialize};

/// Every action that is implemented.
pub const ALL: &[&dyn ActionSpec] = &[
    &ScaleUp,
    &ScaleDown,
    &DriveBounds,
    &EvictPod,
    &RollingRestart,
    &RollBack,
    &Cordon,
    &Uncordon,
    &Suspend,
    &Resume,
    &RetryJob,
    &StartJob,
    &CreateJob,
    &ResizePod,
    &Notify,
];

/// Kinds that are no action of their own but a sequence of actions, each with one target and through all guards.
pub const SEQUENCES: &[(ActionKind, &[ActionKind])] =
    &[(ActionKind::Drain, &[ActionKind::Cordon, ActionKind::EvictPod])];

/// The implementation of a kind; `None` when it does not exist yet.
pub fn spec(kind: ActionKind) -> Option<&'static dyn ActionSpec> {
    ALL.iter().copied().find(|spec| spec.kind() == kind)
}

/// The state that an action with these parameters leaves behind: the before-image of the one that takes it back.
pub fn set_by(parameters: &Parameters) -> Before {
    match parameters {
        Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => {
            Before { replicas: Some(*replicas), ..Before::default() }
        }
        Parameters::DriveBounds { bounds, .. } => Before { bounds: Some(*bounds), ..Before::default() },
        Parameters::Cordon { .. } => Before { cordoned: Some(true), ..Before::default() },
        Parameters::Uncordon => Before { cordoned: Some(false), ..Before::default() },
        Parameters::Suspend { .. } => Before { suspended: Some(true), ..Before::default() },
        Parameters::Resume => Before { suspended: Some(false), ..Before::default() },
        Parameters::ResizePod { cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes, .. } => {
            Before {
                cpu_millis: *cpu_millis,
                cpu_limit_millis: *cpu_limit_millis,
                memory_bytes: *memory_bytes,
                memory_limit_bytes: *memory_limit_bytes,
                ..Before::default()
            }
        }
        Parameters::EvictPod { .. }
        | Parameters::RollingRestart
        | Parameters::RollBack { .. }
        | Parameters::RetryJob
        | Parameters::StartJob { .. }
        | Parameters::CreateJob { .. }
        | Parameters::Notify { .. } => Before::default(),
    }
}

/// Whether a person must approve an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asks {
    /// As the level says.
    #[default]
    ByLevel,
    /// Whatever the level says, for this reason.
    Always(String),
    /// As the level says, though it is otherwise always asked: for this reason.
    Spared(String),
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

    /// What takes it back: the parameters that restore the before-image; `None` when nothing can.
    fn restore(&self, _record: &ActionRecord) -> Option<Parameters> {
        None
    }

    /// Whether a person must approve this one whatever the level says.
    fn asks(&self, _record: &ActionRecord, _snapshot: &Snapshot) -> Asks {
        Asks::ByLevel
    }

    /// Whether [`ActionSpec::asks`] wants a person at every level, unless what is known at that moment spares them.
    fn always_asks(&self) -> bool {
        false
    }

    /// The field of the target's spec that it sets; others may own it.
    fn field(&self) -> Option<Field> {
        None
    }

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

    /// Is the effect of this action there? Answers the question that a lost reply leaves open. `Yes` and `No` only
    /// where that is proved; others may have changed the object since.
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

/// The rules that the service account needs for this kind, and the value of the chart that grants them, for people.
pub fn needs(kind: ActionKind) -> String {
    let rule = |right: &Right| {
        let group = if right.api_group.is_empty() { "the core group" } else { right.api_group };
        format!("{} {} in {group}", right.verbs.join(", "), right.resource)
    };
    let rules: Vec<String> =
        spec(kind).map(|spec| spec.rights().iter().map(rule).collect()).unwrap_or_default();
    format!("it needs {} (the chart's value actions.{})", rules.join("; "), chart_value(kind))
}

/// The chart's value under `actions` that grants the rights of this kind, e.g. `scaleUp`.
pub fn chart_value(kind: ActionKind) -> String {
    let mut name = kind.name().to_owned();
    if let Some(first) = name.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    name
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
    /// Yes, by a mark that only this action leaves.
    Yes(String),
    /// What it asks for is there, and nothing tells who did it.
    There(String),
    /// It is not there, but the object changed since the decision: it may have been there and be gone again.
    Unclear(String),
    /// No: nothing about the object changed since the decision.
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

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::policy::Bounds;

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
        let missing: Vec<ActionKind> =
            ActionKind::ALL.into_iter().filter(|kind| spec(*kind).is_none()).collect();
        let sequences: Vec<ActionKind> = SEQUENCES.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(missing, sequences, "every kind is an action or a sequence of actions");
        for (_, parts) in SEQUENCES {
            assert!(parts.iter().all(|part| spec(*part).is_some()));
        }
    }

    #[test]
    fn what_cannot_be_taken_back_needs_act_full_unless_its_owner_stands_in_for_it() {
        // See docs/adr/0015: the Workload says `repeatable`, or orders the run, or says when one is wanted.
        let at_bounded = |action: &&&dyn ActionSpec| {
            action.changes_state() && !action.reversible() && action.alone_at() < Level::ActFull
        };
        let kinds: Vec<ActionKind> = ALL.iter().filter(at_bounded).map(|action| action.kind()).collect();
        assert_eq!(kinds, [ActionKind::RetryJob, ActionKind::StartJob, ActionKind::CreateJob]);
    }

    #[test]
    fn a_missing_right_is_told_by_its_rule_and_the_value_that_grants_it() {
        let text = needs(ActionKind::RetryJob);
        assert_eq!(text, "it needs get, create jobs in batch (the chart's value actions.retryJob)");
    }

    #[test]
    fn what_says_that_it_can_be_undone_says_how() {
        use crate::testing::change;
        for action in ALL {
            let mut record = change("order-1-1", Parameters::Uncordon);
            record.before.replicas = Some(3);
            record.before.cordoned = Some(false);
            record.before.suspended = Some(false);
            record.before.cpu_millis = Some(100);
            record.before.bounds = Some(Bounds { min: 2, max: 10 });
            record.parameters = match action.kind() {
                ActionKind::DriveBounds => Parameters::DriveBounds {
                    bounds: Bounds { min: 4, max: 10 },
                    until: Timestamp::UNIX_EPOCH,
                },
                _ => Parameters::ResizePod {
                    container: "app".into(),
                    cpu_millis: Some(200),
                    cpu_limit_millis: None,
                    memory_bytes: None,
                    memory_limit_bytes: None,
                },
            };
            let restored = action.restore(&record);
            assert_eq!(restored.is_some(), action.undo() == Undo::Restore, "{}", action.kind());
            if let Some(restored) = restored {
                assert!(action.reversible());
                assert!(spec(restored.kind()).is_some());
            }
            // Without an image of the state before there is nothing to go back to.
            record.before = homeostat_knowledge::Before::default();
            assert_eq!(action.restore(&record), None, "{}", action.kind());
        }
    }
}
