//! The guard chain: one file per guard, one visible list in the order of `GuardName::ORDER`. Every guard is a
//! pure function of one [`GuardInput`]; what it cannot find out it refuses.

mod approval;
mod breaker;
mod budget;
mod cooldown;
mod dry_run;
mod evidence;
mod freeze_window;
mod fresh_read;
mod hysteresis;
mod input;
mod intent;
mod invariants;
mod kill_switch;
mod level;
mod ownership;
#[cfg(test)]
mod properties;
mod replay;
mod storm;
#[cfg(test)]
pub(crate) mod testing;

pub use approval::{APPROVAL_LIFETIME, approval_holds};
pub use breaker::{Breaker, open_breaker};
pub use cooldown::cooldown_until;
pub use freeze_window::{FreezeError, OpenFreeze, frozen};
pub use hysteresis::minimum_duration;
pub use input::{
    ActionFacts, DryRunFacts, EvidenceFacts, FreshFacts, GuardInput, OwnershipFacts, Purpose, SourceFacts,
    is_object_state,
};
pub use level::{Mode, mode, mode_of};
pub use replay::{ReplayDecision, ReplayLimits, ReplaySummary, replay};

use crate::history::changes_state;
use homeostat_knowledge::{GuardName, GuardReport, GuardResult};

/// Does a guard also limit actions that only tell people?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limits {
    /// Every action.
    All,
    /// Only what changes something.
    Changes,
    /// Only what changes something new: taking back what did not help is not held up.
    News,
}

type Judge = fn(&GuardInput) -> Ruling;

/// All guards, in running order.
const ALL: [(GuardName, Limits, Judge); 15] = [
    (GuardName::KillSwitch, Limits::All, kill_switch::judge),
    (GuardName::Invariants, Limits::All, invariants::judge),
    (GuardName::Level, Limits::All, level::judge),
    (GuardName::FreezeWindow, Limits::News, freeze_window::judge),
    (GuardName::Evidence, Limits::News, evidence::judge),
    (GuardName::Hysteresis, Limits::News, hysteresis::judge),
    (GuardName::Cooldown, Limits::News, cooldown::judge),
    (GuardName::Ownership, Limits::Changes, ownership::judge),
    (GuardName::Storm, Limits::News, storm::judge),
    (GuardName::Budget, Limits::News, budget::judge),
    (GuardName::Breaker, Limits::News, breaker::judge),
    (GuardName::DryRun, Limits::Changes, dry_run::judge),
    (GuardName::Approval, Limits::All, approval::judge),
    (GuardName::Intent, Limits::All, intent::judge),
    (GuardName::FreshRead, Limits::Changes, fresh_read::judge),
];

/// Runs the guards in order through `input.through` and stops at the first that does not permit; the ones
/// after it are not asked and not listed.
pub fn evaluate(input: &GuardInput) -> Vec<GuardReport> {
    let mut reports = Vec::with_capacity(ALL.len());
    let changes = changes_state(input.action.kind);
    for (name, limits, judge) in ALL {
        if name > input.through {
            break;
        }
        let ruling = match (limits, &input.action.undo_of) {
            (Limits::Changes | Limits::News, _) if !changes => {
                Ruling::unset("only tells people", "does not apply")
            }
            (Limits::News, Some(undone)) => {
                Ruling::unset(format!("takes back {undone}"), "was part of admitting that action")
            }
            _ => judge(input),
        };
        let permits = ruling.result.permits();
        reports.push(ruling.report(name));
        if !permits {
            break;
        }
    }
    reports
}

/// `true` when every guard through `through` was asked and permits.
pub fn permitted(reports: &[GuardReport], through: GuardName) -> bool {
    reports.last().is_some_and(|last| last.name == through)
        && reports.iter().all(|report| report.result.permits())
}

/// The report of the guard that stopped the chain.
pub fn refusal(reports: &[GuardReport]) -> Option<&GuardReport> {
    reports.iter().find(|report| !report.result.permits())
}

/// What one guard decided, before its name is put to it.
#[derive(Clone, Debug)]
pub(crate) struct Ruling {
    result: GuardResult,
    observed: String,
    limit: String,
    message: String,
}

impl Ruling {
    fn passed(observed: impl Into<String>, limit: impl Into<String>) -> Self {
        Self {
            result: GuardResult::Passed,
            observed: observed.into(),
            limit: limit.into(),
            message: String::new(),
        }
    }

    fn unset(observed: impl Into<String>, limit: impl Into<String>) -> Self {
        Self {
            result: GuardResult::Unset,
            observed: observed.into(),
            limit: limit.into(),
            message: String::new(),
        }
    }

    fn refused(observed: impl Into<String>, limit: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            result: GuardResult::Refused,
            observed: observed.into(),
            limit: limit.into(),
            message: message.into(),
        }
    }

    fn unknown(observed: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            result: GuardResult::Unknown,
            observed: observed.into(),
            limit: String::new(),
            message: message.into(),
        }
    }

    fn report(self, name: GuardName) -> GuardReport {
        let Self { result, observed, limit, message } = self;
        GuardReport { name, result, observed, limit, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_fixed_order() {
        let names: Vec<GuardName> = ALL.iter().map(|(name, _, _)| *name).collect();
        assert_eq!(names, GuardName::ORDER);
        // `name > through` relies on it.
        assert!(names.is_sorted());
    }

    #[test]
    fn a_good_situation_passes_every_guard_and_each_leaves_its_report() {
        let input = testing::input();
        let reports = evaluate(&input);
        assert!(permitted(&reports, GuardName::FreshRead), "{:?}", refusal(&reports));
        assert_eq!(reports.len(), GuardName::ORDER.len());
        assert!(reports.iter().all(|report| !report.observed.is_empty() && !report.limit.is_empty()));
    }

    #[test]
    fn the_first_refusal_ends_the_chain() {
        let mut input = testing::input();
        input.leads = false;
        let reports = evaluate(&input);
        assert_eq!(reports.len(), 2);
        assert_eq!(refusal(&reports).map(|report| report.name), Some(GuardName::Invariants));
        assert!(!permitted(&reports, GuardName::Invariants));
    }

    #[test]
    fn every_input_survives_the_replay_file() {
        let input = testing::input();
        let text = serde_json::to_string(&input).expect("input is serialisable");
        assert_eq!(serde_json::from_str::<GuardInput>(&text).expect("and comes back"), input);
    }

    #[test]
    fn telling_people_is_not_limited_but_still_stopped_by_the_kill_switch() {
        let mut input = testing::input();
        input.action.kind = homeostat_knowledge::ActionKind::Notify;
        input.evidence = None;
        assert!(permitted(&evaluate(&input), GuardName::FreshRead));
        input.kill_switch = homeostat_knowledge::policy::KillSwitch::Unreadable;
        assert!(!permitted(&evaluate(&input), GuardName::FreshRead));
    }
}
