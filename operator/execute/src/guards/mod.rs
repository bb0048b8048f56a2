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
mod sweep;
#[cfg(test)]
pub(crate) mod testing;

pub use breaker::{Breaker, latched, open_breaker};
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
    use homeostat_knowledge::{ActionKind, Level};

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
    fn no_guard_relies_on_an_earlier_one_having_asked_for_the_tenant() {
        let mut input = testing::input();
        input.tenant = None;
        let refusing: Vec<GuardName> = ALL
            .iter()
            .filter(|(_, _, judge)| !judge(&input).result.permits())
            .map(|(name, _, _)| *name)
            .collect();
        for needs in [
            GuardName::Level,
            GuardName::FreezeWindow,
            GuardName::Evidence,
            GuardName::Hysteresis,
            GuardName::Cooldown,
            GuardName::Storm,
            GuardName::Budget,
            GuardName::Breaker,
        ] {
            assert!(refusing.contains(&needs), "{needs:?} permits without knowing the tenant");
        }
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

    /// A cordon by the platform tenant on a node where tenant `shop` has pods.
    fn on_a_node() -> GuardInput {
        let mut input = testing::input();
        let shop = input.tenant.take().expect("a tenant");
        let mut platform = shop.clone();
        platform.name = homeostat_knowledge::TenantName::new(homeostat_knowledge::policy::PLATFORM_TENANT);
        platform.namespaces = ["homeostat".into()].into();
        platform.levels.insert(ActionKind::Cordon, Level::ActFull);
        input.control.ceiling = Level::ActFull;
        input.action.kind = ActionKind::Cordon;
        input.action.tenant = platform.name.clone();
        input.action.workload = homeostat_knowledge::ObjectKey::new("homeostat", "node-5");
        input.action.target.kind = "Node".into();
        input.action.target.key = homeostat_knowledge::ObjectKey::new("", "node-5");
        input.tenant = Some(platform);
        input.workload = None;
        input.neighbours = vec![shop];
        if let Some(evidence) = &mut input.evidence {
            evidence.kind = Some(homeostat_knowledge::FindingKind::NodePressure);
            evidence.since = input.now - homeostat_knowledge::SignedDuration::from_mins(5);
        }
        input
    }

    #[test]
    fn on_a_node_the_pauses_freezes_and_budgets_of_every_tenant_there_count() {
        use testing::first_refusal;
        assert_eq!(first_refusal(&on_a_node()), None);
        let mut case = on_a_node();
        case.neighbours[0].paused = true;
        assert_eq!(first_refusal(&case), Some(GuardName::Level));
        case = on_a_node();
        case.neighbours[0].freezes = vec![homeostat_knowledge::policy::Freeze {
            name: "always".into(),
            schedule: "0 0 * * *".into(),
            time_zone: "UTC".into(),
            duration: homeostat_knowledge::SignedDuration::from_hours(24),
        }];
        assert_eq!(first_refusal(&case), Some(GuardName::FreezeWindow));
        case = on_a_node();
        case.neighbours[0].limits.per_tenant_hour = 1;
        let mut eviction = testing::past(&case, "order-1-1", 60, true);
        eviction.tenant = case.neighbours[0].name.clone();
        eviction.workload = homeostat_knowledge::ObjectKey::new("shop", "order");
        case.history = vec![eviction];
        assert_eq!(first_refusal(&case), Some(GuardName::Budget));
        case.neighbours[0].limits.per_tenant_hour = 2;
        assert_eq!(first_refusal(&case), None);
        // Another tenant may not act on nodes, whatever its level.
        case = on_a_node();
        let name = homeostat_knowledge::TenantName::new("shop");
        case.action.tenant = name.clone();
        case.tenant.as_mut().expect("a tenant").name = name;
        assert_eq!(first_refusal(&case), Some(GuardName::Level));
    }

    #[test]
    fn one_node_at_a_time() {
        let mut case = on_a_node();
        let mut other = testing::past(&case, "node-2-1", 5, true);
        other.kind = ActionKind::Uncordon;
        other.state = homeostat_knowledge::ActionState::Verifying;
        other.workload.name = "node-2".into();
        case.history = vec![other];
        assert_eq!(testing::first_refusal(&case), Some(GuardName::Budget));
    }

    #[test]
    fn an_action_that_may_be_undone_takes_its_undo_along_in_the_budget() {
        let mut case = testing::input();
        case.tenant.as_mut().expect("tenant").limits.per_workload_hour = 1;
        assert_eq!(testing::first_refusal(&case), None);
        case.action.may_undo = true;
        assert_eq!(testing::first_refusal(&case), Some(GuardName::Budget));
        // Under way it holds two, ended without an undo it used one.
        let mut entry = testing::past(&case, "order-1-1", 60, true);
        entry.may_undo = true;
        assert_eq!(entry.weight(), 1);
        entry.state = homeostat_knowledge::ActionState::Verifying;
        assert_eq!((entry.weight(), entry.takes_a_place()), (2, true));
        entry.may_undo = false;
        entry.undo_of = Some(homeostat_knowledge::ActionId::new("order-1-0"));
        assert_eq!((entry.weight(), entry.takes_a_place()), (0, false));
    }

    #[test]
    fn an_undo_is_not_held_up_but_stopped_by_people() {
        use homeostat_knowledge::policy::KillSwitch;
        let mut case = testing::input();
        case.action.undo_of = Some(homeostat_knowledge::ActionId::new("order-1-1"));
        case.evidence = None;
        case.roots = Vec::new();
        // The action that it takes back is under way on the same target, and it was the last one.
        let mut undone = testing::past(&case, "order-1-1", 0, false);
        undone.state = homeostat_knowledge::ActionState::Verifying;
        undone.target = case.action.target.uid.clone();
        undone.at = case.now.checked_add(homeostat_knowledge::SignedDuration::from_secs(1)).ok();
        case.history = vec![undone];
        case.tenant.as_mut().expect("tenant").levels.clear();
        assert_eq!(testing::first_refusal(&case), None);
        let stops: [fn(&mut GuardInput); 4] = [
            |case| case.kill_switch = KillSwitch::Unreadable,
            |case| case.tenant.as_mut().expect("tenant").paused = true,
            |case| case.ownership.unfit = Some("scaled to 7 meanwhile".to_owned()),
            |case| case.fresh = FreshFacts::Differs("scaled to 7 meanwhile".to_owned()),
        ];
        for stop in stops {
            let mut stopped = case.clone();
            stop(&mut stopped);
            assert!(testing::first_refusal(&stopped).is_some());
        }
    }

    #[test]
    fn what_needs_a_person_never_runs_alone() {
        let mut case = testing::input();
        case.action.asks =
            crate::actions::Asks::Always("what changed with the release is not known".to_owned());
        let reports = evaluate(&case);
        let refused = refusal(&reports).expect("a refusal");
        assert_eq!(refused.name, GuardName::Approval);
        assert!(refused.message.contains("with the release"), "{}", refused.message);
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
