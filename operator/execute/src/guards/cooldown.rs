//! Cool-down: time since the last action on this workload.

use super::{GuardInput, Ruling};
use crate::history::ActionHistory;
use homeostat_knowledge::policy::GuardLimits;
use homeostat_knowledge::{ActionKind, ActionState, Origin, SignedDuration, Timestamp};

/// Actions on one node that may be useless within an incident; a node has no Workload that says it.
const NODE_USELESS: u32 = 2;

/// Until when a workload with these past effects must be left alone; `None` when it was never acted on.
/// After a success `cooldown_success`, after a failure `cooldown_failure`, doubled with each further failure
/// in a row, never above `cooldown_maximum`. An effect whose result nobody knows counts as a failure. A gap of more than twice
/// `cooldown_maximum` ends a row.
pub fn cooldown_until<'a>(
    effects: impl Iterator<Item = &'a ActionHistory>,
    limits: &GuardLimits,
) -> Option<Timestamp> {
    let mut effects: Vec<(Timestamp, bool)> = effects
        .filter(|entry| entry.effect && entry.state.ended() && entry.undo_of.is_none())
        .filter_map(|entry| Some((entry.closed.or(entry.at)?, entry.helped == Some(true))))
        .collect();
    effects.sort_unstable();
    let (ended, helped) = *effects.last()?;
    let wait = if helped {
        limits.cooldown_success
    } else {
        // Nothing was wanted for twice the longest cool-down: what failed before that is another story.
        let calm = limits.cooldown_maximum.checked_mul(2).unwrap_or(SignedDuration::MAX);
        let mut next = ended;
        let in_a_row = effects.iter().rev().take_while(|(at, helped)| {
            let near = next.duration_since(*at) <= calm;
            next = *at;
            !helped && near
        });
        let in_a_row = in_a_row.count();
        let doubled = u32::try_from(in_a_row - 1).unwrap_or(u32::MAX).min(16);
        limits.cooldown_failure.checked_mul(1 << doubled).unwrap_or(SignedDuration::MAX)
    };
    ended.checked_add(wait.min(limits.cooldown_maximum)).ok().or(Some(Timestamp::MAX))
}

/// The cool-down counts per entry of an incident: it stops automation from coming *back* to a workload too
/// soon. What belongs to the entry under way is not coming back: the same step tried again because it did not
/// help, a later step of the same playbook's ladder (evict the pod; in the next quiet minute replace the rest),
/// or a step of another playbook after the cause became clearer, all in the same incident. Those are limited by
/// the ladder, by the hourly budget and by the limit of useless restarts, which is checked here first. A step
/// that helped and is wanted again, or an earlier one, is coming back, also in the same incident.
pub(super) fn judge(input: &GuardInput) -> Ruling {
    let action = &input.action;
    let most = match &input.workload {
        Some(workload) => workload.maximum_useless_restarts,
        None => NODE_USELESS,
    };
    let Some(tenant) = input.tenant.as_ref().filter(|_| input.workload.is_some() || action.target.is_node())
    else {
        return Ruling::unknown("policies not known", "the cool-down is not known");
    };
    if action.origin == Origin::Forecast {
        return size(input, &tenant.limits);
    }
    // A change of size before is no entry that a repair would come back from.
    let on_workload = || {
        input.history.iter().filter(|entry| {
            entry.workload == action.workload && entry.id != action.id && entry.origin != Origin::Forecast
        })
    };
    let in_incident = || on_workload().filter(|entry| entry.incident == action.incident);

    let useless = in_incident().filter(|entry| entry.failed()).count();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    // Runs that are made from a backlog have no incident that would end: what failed before is counted by the breaker.
    if useless >= most && action.kind != ActionKind::CreateJob {
        return Ruling::refused(
            format!("{useless} useless actions in this incident"),
            format!("at most {most}"),
            "restarting does not help; people must take over",
        );
    }
    // What helped and does not suffice any more grows by its next step, within people's bounds.
    let grows = |entry: &ActionHistory| {
        entry.kind == action.kind && matches!(action.kind, ActionKind::ScaleUp | ActionKind::ResizePod)
    };
    let own_ladder = |entry: &ActionHistory| {
        entry.incident == action.incident
            && (grows(entry)
                || entry.playbook.name != action.playbook.name
                || entry.playbook.step < action.playbook.step
                || (entry.playbook.step == action.playbook.step && entry.helped != Some(true)))
    };
    let limits = &tenant.limits;
    if limits.cooldown_success.is_zero() && limits.cooldown_failure.is_zero() {
        return Ruling::unset("no cool-down set", "none");
    }
    let limit = format!(
        "{} s after success, {} s after failure, doubling",
        limits.cooldown_success.as_secs(),
        limits.cooldown_failure.as_secs()
    );
    match cooldown_until(on_workload().filter(|entry| !own_ladder(entry)), limits) {
        None => {
            let steps =
                in_incident().filter(|entry| entry.effect && entry.state != ActionState::Claimed).count();
            Ruling::passed(format!("no earlier entry, {steps} steps in this one"), limit)
        }
        Some(until) if input.now < until => Ruling::refused(
            format!("{} s to go", until.duration_since(input.now).as_secs()),
            limit,
            format!("cooling down until {until:.0}; a person can act meanwhile"),
        ),
        Some(until) => Ruling::passed(format!("over since {until:.0}"), limit),
    }
}

/// The cool-down of sizes by forecast: more replicas are never waited for; fewer wait after any change, and longer after a
/// way down that hurt, doubling with each within a day.
fn size(input: &GuardInput, limits: &GuardLimits) -> Ruling {
    let (action, scaling) = (&input.action, &limits.scaling);
    let limit = format!(
        "fewer replicas {} s after a change, {} s after a way down that hurt, doubling",
        scaling.cooldown_down.as_secs(),
        scaling.cooldown_hurt.as_secs()
    );
    if !action.goes_down() {
        return Ruling::unset("more replicas", "no wait for more");
    }
    let changes = || {
        input.history.iter().filter(|entry| {
            entry.workload == action.workload
                && entry.id != action.id
                && entry.origin == Origin::Forecast
                && entry.effect
        })
    };
    let end = |entry: &ActionHistory| entry.closed.or(entry.at);
    let after = |at: Option<Timestamp>, wait: SignedDuration| {
        at.map(|at| at.checked_add(wait.min(limits.cooldown_maximum)).unwrap_or(Timestamp::MAX))
    };
    let hurt = changes().filter(|entry| entry.failed() && entry.goes_down());
    let times = hurt.clone().count();
    let doubled = 1 << u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let wait = scaling.cooldown_hurt.checked_mul(doubled).unwrap_or(SignedDuration::MAX);
    let until = after(changes().filter_map(end).max(), scaling.cooldown_down)
        .max(after(hurt.filter_map(end).max(), wait));
    match until {
        Some(until) if input.now < until => Ruling::refused(
            format!(
                "{} s to go, {times} ways down hurt within a day",
                until.duration_since(input.now).as_secs()
            ),
            limit,
            format!("no replica is taken away before {until:.0}"),
        ),
        Some(until) => Ruling::passed(format!("over since {until:.0}"), limit),
        None => Ruling::passed("no earlier change", limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input, past};
    use homeostat_knowledge::{GuardName, IncidentId, Name};

    const MINUTE: i64 = 60;
    const HOUR: i64 = 3_600;

    #[test]
    fn fifteen_minutes_after_success_one_hour_after_failure_doubling() {
        for (past_effects, expected) in [
            (vec![(15 * MINUTE - 1, true)], false),
            (vec![(15 * MINUTE, true)], true),
            (vec![(HOUR - 1, false)], false),
            (vec![(HOUR, false)], true),
            (vec![(HOUR, false), (90 * MINUTE, false)], false),
            (vec![(2 * HOUR, false), (3 * HOUR, true)], true),
            // A success in between ends the row of failures.
            (vec![(HOUR, false), (2 * HOUR, true), (3 * HOUR, false)], true),
        ] {
            let mut case = input();
            // One failure opens no breaker; the breaker is tested elsewhere.
            case.tenant.as_mut().expect("tenant").limits.breaker_workload_failures = 100;
            case.history = past_effects
                .iter()
                .enumerate()
                .map(|(index, (ago, helped))| past(&case, &format!("old-{index}"), *ago, *helped))
                .collect();
            assert_eq!(first_refusal(&case).is_none(), expected, "{past_effects:?}");
            if !expected {
                assert_eq!(first_refusal(&case), Some(GuardName::Cooldown));
            }
        }
    }

    #[test]
    fn a_higher_floor_is_never_waited_for_and_a_lower_one_as_fewer_replicas_are() {
        let mut case = input();
        (case.action.kind, case.action.origin) = (ActionKind::DriveBounds, Origin::Forecast);
        let mut raised = past(&case, "shop.order-1", 5, true);
        (raised.kind, raised.origin) = (ActionKind::DriveBounds, Origin::Forecast);
        case.history = vec![raised.clone()];
        assert!(judge(&case).result.permits());
        case.action.lowers_floor = true;
        assert!(!judge(&case).result.permits(), "a change was made a moment ago");
        let day = |seconds| past(&case, "shop.order-2", seconds, false);
        let mut hurt = day(30 * MINUTE);
        (hurt.kind, hurt.origin, hurt.lowers_floor) = (ActionKind::DriveBounds, Origin::Forecast, true);
        case.history = vec![hurt.clone()];
        assert!(!judge(&case).result.permits(), "a lower floor hurt");
        hurt.lowers_floor = false;
        case.history = vec![hurt];
        assert!(judge(&case).result.permits(), "a higher one did not help: that is no reason to keep it");
    }

    #[test]
    fn without_cool_downs_it_says_that_none_is_set_and_one_alone_still_holds() {
        let mut case = input();
        case.history = vec![past(&case, "old", MINUTE, true)];
        let with = |success: i64, failure: i64| {
            let mut case = case.clone();
            let limits = &mut case.tenant.as_mut().expect("tenant").limits;
            limits.cooldown_success = SignedDuration::from_secs(success);
            limits.cooldown_failure = SignedDuration::from_secs(failure);
            judge(&case).result
        };
        assert_eq!(with(0, 0), homeostat_knowledge::GuardResult::Unset);
        assert_eq!(with(0, HOUR), homeostat_knowledge::GuardResult::Passed, "successes are not waited for");
        assert_eq!(with(HOUR, 0), homeostat_knowledge::GuardResult::Refused);
    }

    #[test]
    fn fewer_replicas_wait_after_this_workloads_own_changes_of_size_only() {
        let mut case = input();
        case.action.kind = ActionKind::ScaleDown;
        case.action.origin = Origin::Forecast;
        let mut sized = past(&case, "size-1", 1, true);
        (sized.kind, sized.origin) = (ActionKind::ScaleUp, Origin::Forecast);
        let permits = |change: &dyn Fn(&mut ActionHistory)| {
            let (mut case, mut entry) = (case.clone(), sized.clone());
            change(&mut entry);
            case.history = vec![entry];
            judge(&case).result.permits()
        };
        assert!(!permits(&|_| {}));
        assert!(permits(&|entry| entry.workload.name = Name::from("another")));
        assert!(permits(&|entry| entry.id = case.action.id.clone()));
        assert!(permits(&|entry| entry.origin = Origin::Incident));
        assert!(permits(&|entry| entry.effect = false), "nothing was changed");
        let wait = case.tenant.as_ref().expect("tenant").limits.scaling.cooldown_down;
        assert!(permits(&|entry| entry.closed = case.now.checked_sub(wait).ok()), "it is over");
    }

    #[test]
    fn doubling_ends_at_the_maximum() {
        let limits = GuardLimits::default();
        let case = input();
        let failures: Vec<_> =
            (0..40).map(|index| past(&case, &format!("old-{index}"), i64::from(index), false)).collect();
        let until = cooldown_until(failures.iter(), &limits).expect("there were effects");
        assert_eq!(until.duration_since(case.now), limits.cooldown_maximum);
    }

    #[test]
    fn the_ladder_goes_on_within_one_incident_but_does_not_start_again() {
        let mut case = input();
        let mut evicted = past(&case, "order-1-1", 20, true);
        evicted.incident = case.action.incident.clone();
        evicted.playbook = case.action.playbook.clone();
        case.history = vec![evicted.clone()];
        // The step helped, and is wanted again: coming back.
        assert_eq!(first_refusal(&case), Some(GuardName::Cooldown));
        // It did not help: the ladder's own second try.
        case.history[0].helped = Some(false);
        case.history[0].state = ActionState::Failed;
        assert_eq!(first_refusal(&case), None);
        case.history = vec![evicted.clone()];
        // The next step of the ladder: the same entry.
        case.action.playbook.step += 1;
        assert_eq!(first_refusal(&case), None);
        // The follow-up of another playbook in the same incident (replace in a quiet minute).
        case.action.playbook.step = 1;
        case.action.playbook.name = Name::from("replace-after-crash");
        case.action.kind = ActionKind::RollingRestart;
        assert_eq!(first_refusal(&case), None);
        // The same follow-up for another incident is coming back.
        case.action.incident = IncidentId::new("order-2");
        assert_eq!(first_refusal(&case), Some(GuardName::Cooldown));
    }

    #[test]
    fn what_helped_and_does_not_suffice_grows_by_its_next_step_within_the_incident() {
        let mut case = input();
        let mut grown = past(&case, "order-1-1", 20, true);
        grown.incident = case.action.incident.clone();
        grown.playbook = case.action.playbook.clone();
        for kind in [ActionKind::ScaleUp, ActionKind::ResizePod] {
            (case.action.kind, grown.kind) = (kind, kind);
            case.history = vec![grown.clone()];
            assert!(judge(&case).result.permits(), "{kind}");
            case.history[0].incident = IncidentId::new("order-0");
            assert!(!judge(&case).result.permits(), "{kind} for another incident is coming back");
            case.history = vec![ActionHistory { kind: ActionKind::EvictPod, ..grown.clone() }];
            assert!(!judge(&case).result.permits(), "{kind} after another action of the same step");
        }
    }

    #[test]
    fn two_useless_restarts_hand_over_to_people() {
        let mut case = input();
        case.action.playbook.step = 3;
        case.tenant.as_mut().expect("tenant").limits.breaker_workload_failures = 100;
        case.history = (1..=2)
            .map(|step| {
                let mut entry = past(&case, &format!("earlier-{step}"), 60, false);
                entry.incident = case.action.incident.clone();
                entry.playbook = case.action.playbook.clone();
                entry.playbook.step = step;
                entry
            })
            .collect();
        assert_eq!(first_refusal(&case), Some(GuardName::Cooldown));
        case.history.pop();
        assert_eq!(first_refusal(&case), None);
    }

    #[test]
    fn only_what_changed_something_has_ended_and_is_no_undo_cools_down() {
        let case = input();
        let limits = case.tenant.as_ref().expect("tenant").limits.clone();
        let counted = past(&case, "old-1", MINUTE, true);
        let none = ActionHistory { effect: false, ..counted.clone() };
        let running = ActionHistory { state: ActionState::Verifying, ..counted.clone() };
        let undo = ActionHistory { undo_of: Some(counted.id.clone()), ..counted.clone() };
        assert!(cooldown_until([&counted].into_iter(), &limits).is_some());
        for (what, entry) in [("refused", none), ("under way", running), ("an undo", undo)] {
            assert_eq!(cooldown_until([&entry].into_iter(), &limits), None, "{what}");
        }
    }

    #[test]
    fn another_workload_does_not_cool_this_one_down() {
        let mut case = input();
        // Longer ago than the ten minutes in which 5 % of six workloads is one.
        let mut entry = past(&case, "other-1", 11 * MINUTE, true);
        case.history = vec![entry.clone()];
        assert_eq!(first_refusal(&case), Some(GuardName::Cooldown));
        entry.workload.name = Name::from("cart");
        case.history = vec![entry];
        assert_eq!(first_refusal(&case), None);
    }
}
