//! Breakers: failed verifications stop what keeps failing, and others who take our changes back stop the changes.
//!
//! Those of a workload and of a tenant close as their failures grow old. The cluster's stays open until a person resets
//! it: what fails everywhere has a cause that repairs do not reach, and that does not pass by waiting. That it is open is
//! stored in the status of the `ControlPlane`; until it is, and should it get lost, the actions of the last day tell.
//! For sizes and runs it closes by itself, as the others do: one that hurt is taken back and held by its workload's own
//! cool-down, and a day's runs must not wait for a person.

use super::{GuardInput, Ruling};
use crate::history::ActionHistory;
use homeostat_knowledge::entity::{TenantName, WorkloadKey};
use homeostat_knowledge::fight::{self, Fight};
use homeostat_knowledge::policy::{ControlPolicy, GuardLimits, RESET_BREAKER};
use homeostat_knowledge::{ActionKind, Origin, SignedDuration, Timestamp};

/// The share is taken of so many actions, also when there were fewer: one failure of one is not 100 %.
const TENANT_WINDOW: u32 = 20;
const DAY: SignedDuration = SignedDuration::from_hours(24);
const CLUSTER_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// A breaker that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// One workload's, after so many failures in 24 hours.
    Workload(usize),
    /// One tenant's, after so many failures among its last 20 actions.
    Tenant(usize),
    /// The cluster's for sizes or runs, after so many failures in 15 minutes.
    Cluster(usize),
    /// The cluster's for repairs, open since then: every repair is down to Recommend until a person resets it.
    Latched(Timestamp),
}

/// Since when the cluster's breaker for repairs is open.
pub fn latched(history: &[ActionHistory], control: &ControlPolicy, now: Timestamp) -> Option<Timestamp> {
    let mut failures: Vec<Timestamp> = history
        .iter()
        .filter(|entry| entry.origin == Origin::Incident && entry.failed())
        .map(|entry| ended(entry).unwrap_or(now))
        .filter(|at| control.breaker.counts(*at, now) && now.duration_since(*at) < DAY)
        .collect();
    failures.sort_unstable();
    let many = usize::try_from(control.breaker_failures.max(1)).unwrap_or(usize::MAX);
    let full = |window: &&[Timestamp]| match (window.first(), window.last()) {
        (Some(first), Some(last)) => last.duration_since(*first) < CLUSTER_WINDOW,
        _ => false,
    };
    let seen = failures.windows(many).find(full).and_then(|window| window.last().copied());
    control.breaker.open_since(now).into_iter().chain(seen).min()
}

fn ended(entry: &ActionHistory) -> Option<Timestamp> {
    entry.closed.or(entry.at)
}

/// The breaker that stops actions of this origin on this workload, if one does; `history` is of that origin.
pub fn open_breaker(
    origin: Origin,
    history: &[ActionHistory],
    tenant: &TenantName,
    workload: &WorkloadKey,
    limits: &GuardLimits,
    control: &ControlPolicy,
    now: Timestamp,
) -> Option<Breaker> {
    let recent = |entry: &&ActionHistory, span: SignedDuration| {
        ended(entry).is_none_or(|at| now.duration_since(at) < span)
    };
    let reached = |count: usize, limit: u32| count >= usize::try_from(limit.max(1)).unwrap_or(usize::MAX);

    let of_workload = history
        .iter()
        .filter(|entry| entry.workload == *workload && entry.failed() && recent(entry, DAY))
        .count();
    if reached(of_workload, limits.breaker_workload_failures) {
        return Some(Breaker::Workload(of_workload));
    }
    let mut of_tenant: Vec<&ActionHistory> = history
        .iter()
        .filter(|entry| {
            entry.tenant == *tenant
                && entry.effect
                && entry.undo_of.is_none()
                && entry.helped.is_some()
                && recent(entry, DAY)
        })
        .collect();
    of_tenant.sort_by_key(|entry| std::cmp::Reverse(ended(entry)));
    let failed = of_tenant.iter().take(TENANT_WINDOW as usize).filter(|entry| entry.failed()).count();
    if reached(failed, limits.breaker_tenant_percent.saturating_mul(TENANT_WINDOW).div_ceil(100)) {
        return Some(Breaker::Tenant(failed));
    }
    if origin == Origin::Incident {
        return latched(history, control, now).map(Breaker::Latched);
    }
    let of_cluster = history.iter().filter(|entry| entry.failed() && recent(entry, CLUSTER_WINDOW)).count();
    reached(of_cluster, control.breaker_failures).then_some(Breaker::Cluster(of_cluster))
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "its breakers are not known");
    };
    let action = &input.action;
    let limits = &tenant.limits;
    if let Some(fight) = &input.ownership.fight {
        return fought(fight);
    }
    if action.origin == Origin::Forecast && !action.goes_down() {
        return Ruling::unset("more replicas", "no way down hurts by it");
    }
    // Ways down that hurt say nothing about repairs, and repairs that failed nothing about sizes; a pod that its kubelet does
    // not resize says nothing about the next run.
    // Nor do Jobs that could not be made of a backlog say anything about those that are there.
    let apart = |kind: ActionKind| {
        let own = matches!(kind, ActionKind::ResizePod | ActionKind::CreateJob);
        (action.origin == Origin::Schedule && own).then_some(kind)
    };
    let alike =
        |entry: &&ActionHistory| entry.origin == action.origin && apart(entry.kind) == apart(action.kind);
    let history: Vec<ActionHistory> = input.history.iter().filter(alike).cloned().collect();
    let limit = format!(
        "workload {} in 24 h, tenant {} % of last {TENANT_WINDOW}, cluster {} in 15 min",
        limits.breaker_workload_failures, limits.breaker_tenant_percent, input.control.breaker_failures
    );
    let (control, now) = (&input.control, input.now);
    let open = open_breaker(action.origin, &history, &action.tenant, &action.workload, limits, control, now);
    match open {
        None => Ruling::passed("closed", limit),
        Some(Breaker::Workload(count)) => Ruling::refused(
            format!("{count} failed actions on the workload in 24 h"),
            limit,
            "actions do not help this workload; people must look at it",
        ),
        Some(Breaker::Tenant(count)) => Ruling::refused(
            format!("{count} of the tenant's last {TENANT_WINDOW} actions failed"),
            limit,
            "actions often do not help in this tenant; people must look at it",
        ),
        Some(Breaker::Cluster(count)) => Ruling::refused(
            format!("{count} failed actions in the cluster in 15 min"),
            limit,
            "actions fail everywhere; everything is down to recommending until that is over",
        ),
        Some(Breaker::Latched(since)) => Ruling::refused(
            format!("open since {since:.0}"),
            limit,
            format!(
                "repairs failed everywhere; each is down to recommending until a person resets the breaker: {RESET_BREAKER}"
            ),
        ),
    }
}

/// Whoever takes it back wins, whatever asks for it and whether it would help: a third change would be a fight.
fn fought(fight: &Fight) -> Ruling {
    let until = fight.seen.checked_add(fight::OPEN).unwrap_or(fight.seen);
    Ruling::refused(
        fight.to_string(),
        format!("taken back {} times in {} min", fight::TIMES, fight::WITHIN.as_mins()),
        format!(
            "{} keeps {}: no further change of it until {until:.0}; take the field from {0}, or give it up in the \
             Workload; sooner by {}",
            fight.rival(),
            fight.field,
            fight::RESET
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input, past};
    use homeostat_knowledge::{GuardName, Name};

    /// (failures, successes) on other workloads or on this one, `ago` seconds back.
    fn case(failures: usize, successes: usize, ago: i64, same: bool, same_tenant: bool) -> GuardInput {
        let mut case = input();
        case.workloads_in_tenant = 1_000;
        case.control.per_hour = 1_000;
        let limits = &mut case.tenant.as_mut().expect("tenant").limits;
        limits.cooldown_success = SignedDuration::ZERO;
        limits.cooldown_failure = SignedDuration::ZERO;
        limits.per_tenant_hour = 1_000;
        case.history = (0..failures + successes)
            .map(|index| {
                let mut entry = past(&case, &format!("x-{index}"), ago, index >= failures);
                if !same {
                    entry.workload.name = Name::from(format!("workload-{index}"));
                }
                if !same_tenant {
                    entry.tenant = TenantName::new("another");
                }
                entry
            })
            .collect();
        case
    }

    #[test]
    fn what_was_taken_back_is_not_counted_twice() {
        let mut undone = case(4, 0, 7_200, false, true);
        undone.control.breaker_failures = 1_000; // Not the cluster's.
        assert_eq!(first_refusal(&undone), Some(GuardName::Breaker));
        undone.history[0].undo_of = Some(homeostat_knowledge::ActionId::new("x-1"));
        assert_eq!(first_refusal(&undone), None);
    }

    #[test]
    fn breakers_open_at_their_limits() {
        for (failures, successes, ago, same, same_tenant, refused) in [
            (1, 0, 7_200, true, true, false),
            (2, 0, 7_200, true, true, true),
            (2, 0, 86_400, true, true, false),
            (3, 0, 7_200, false, true, false),
            (4, 0, 7_200, false, true, true),
            (4, 16, 7_200, false, true, true),
            (3, 17, 7_200, false, true, false),
            (2, 0, 899, false, false, false),
            (3, 0, 899, false, false, true),
            (3, 0, 86_399, false, false, true),
            (3, 0, 86_400, false, false, false),
        ] {
            let expected = refused.then_some(GuardName::Breaker);
            let mut input = case(failures, successes, ago, same, same_tenant);
            if same_tenant {
                input.control.breaker_failures = 1_000; // The other rows are about the cluster's.
            }
            assert_eq!(first_refusal(&input), expected, "{failures}+{successes} {ago} s ago, same {same}");
        }
    }

    fn before(now: Timestamp, seconds: i64) -> Option<Timestamp> {
        now.checked_sub(SignedDuration::from_secs(seconds)).ok()
    }

    #[test]
    fn the_cluster_breaker_stays_open_until_a_person_resets_it() {
        // Long after its failures, with what is stored of it and without.
        let mut open = case(3, 0, 7_200, false, false);
        assert_eq!(first_refusal(&open), Some(GuardName::Breaker), "the actions of the day tell");
        let said = judge(&open).message;
        assert!(said.contains("homeostat resume --breaker") && said.contains("kubectl annotate"), "{said}");
        open.control.breaker.opened = before(open.now, 7_200);
        open.history.clear();
        assert_eq!(first_refusal(&open), Some(GuardName::Breaker), "after a restart, when they are gone");
        open.control.breaker.opened = before(open.now, 864_000);
        assert_eq!(first_refusal(&open), Some(GuardName::Breaker), "it is no question of time");

        let mut reset = case(3, 0, 7_200, false, false);
        reset.control.breaker.opened = before(reset.now, 7_200);
        for (ago, expected) in [
            (7_201, Some(GuardName::Breaker)),
            (7_200, None),
            (60, None),
            (0, None),
            (-60, Some(GuardName::Breaker)),
        ] {
            reset.control.breaker.reset = before(reset.now, ago);
            assert_eq!(first_refusal(&reset), expected, "reset {ago} s ago");
        }
        // Failures after the reset open it anew.
        let mut anew = case(3, 0, 600, false, false);
        anew.control.breaker.opened = before(anew.now, 7_200);
        anew.control.breaker.reset = before(anew.now, 3_600);
        assert_eq!(latched(&anew.history, &anew.control, anew.now), before(anew.now, 600));
        assert_eq!(first_refusal(&anew), Some(GuardName::Breaker));
    }

    #[test]
    fn failures_open_the_cluster_breaker_only_when_they_are_close_to_each_other() {
        for (apart, open) in [(449, true), (450, false), (3_600, false)] {
            let mut case = case(3, 0, 7_200, false, false);
            for (entry, index) in case.history.iter_mut().zip(0..) {
                entry.closed = before(case.now, 7_200 - apart * index);
            }
            assert_eq!(latched(&case.history, &case.control, case.now).is_some(), open, "{apart} s apart");
        }
    }

    #[test]
    fn for_sizes_and_runs_the_cluster_breaker_closes_by_itself() {
        for origin in [Origin::Forecast, Origin::Schedule] {
            for (ago, refused) in [(899, true), (900, false)] {
                let mut case = case(3, 0, ago, false, false);
                case.control.breaker.opened = before(case.now, 60);
                case.action.origin = origin;
                case.action.kind = ActionKind::ScaleDown;
                for entry in &mut case.history {
                    entry.origin = origin;
                }
                assert_eq!(!judge(&case).result.permits(), refused, "{origin:?} {ago} s ago");
            }
        }
    }

    #[test]
    fn repairs_and_sizes_do_not_open_each_others_breakers_and_more_replicas_none() {
        use homeostat_knowledge::Origin;
        let mut sizes = case(2, 0, 60, true, true);
        for entry in &mut sizes.history {
            entry.origin = Origin::Forecast;
        }
        assert!(judge(&sizes).result.permits(), "ways down that hurt say nothing about a repair");
        sizes.action.origin = Origin::Forecast;
        sizes.action.kind = ActionKind::ScaleDown;
        assert!(!judge(&sizes).result.permits());
        sizes.action.kind = ActionKind::ScaleUp;
        assert!(judge(&sizes).result.permits());
        sizes.action.kind = ActionKind::DriveBounds;
        assert!(judge(&sizes).result.permits());
        sizes.action.lowers_floor = true;
        assert!(!judge(&sizes).result.permits());
        sizes.tenant = None;
        assert!(!judge(&sizes).result.permits(), "without its tenant nothing is known");
    }

    #[test]
    fn pods_that_are_not_resized_stop_further_resizes_and_no_run() {
        let mut case = case(2, 0, 60, true, true);
        for entry in &mut case.history {
            (entry.origin, entry.kind) = (Origin::Schedule, ActionKind::ResizePod);
        }
        (case.action.origin, case.action.kind) = (Origin::Schedule, ActionKind::StartJob);
        assert!(judge(&case).result.permits());
        case.action.kind = ActionKind::ResizePod;
        assert!(!judge(&case).result.permits());
    }

    #[test]
    fn who_takes_changes_back_is_named_and_no_further_one_is_made_whatever_asks_for_it() {
        let mut case = input();
        let seen = before(case.now, 60).expect("an instant");
        case.ownership.fight = Some(Fight {
            workload: case.action.workload.clone(),
            kind: ActionKind::ScaleUp,
            field: Name::from("spec.replicas of Deployment shop/order"),
            who: Some(Name::from("shop-operator")),
            times: 2,
            since: before(case.now, 1_980).expect("an instant"),
            last: before(case.now, 1_020).expect("an instant"),
            seen,
            action: homeostat_knowledge::ActionId::new("order-1-1"),
        });
        assert_eq!(first_refusal(&case), Some(GuardName::Breaker));
        // More replicas too, which no failure stops.
        (case.action.origin, case.action.kind) = (Origin::Forecast, ActionKind::ScaleUp);
        let ruling = judge(&case);
        assert!(!ruling.result.permits());
        assert!(
            ruling
                .observed
                .starts_with("shop-operator took spec.replicas of Deployment shop/order back 2 times")
        );
        for part in ["shop-operator keeps spec.replicas", "2026-11-19T11:59:00Z", "breaker-reset-at"] {
            assert!(ruling.message.contains(part), "{part}: {}", ruling.message);
        }
    }

    #[test]
    fn people_read_which_breaker_is_open() {
        for (failures, same, same_tenant, says) in [
            (2, true, true, "this workload"),
            (4, false, true, "this tenant"),
            (3, false, false, "everywhere"),
        ] {
            let ruling = judge(&case(failures, 0, 60, same, same_tenant));
            assert!(ruling.message.contains(says), "{}", ruling.message);
        }
    }
}
