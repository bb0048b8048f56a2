//! Breakers: failed verifications stop what keeps failing.

use super::{GuardInput, Ruling};
use crate::history::ActionHistory;
use homeostat_knowledge::entity::{TenantName, WorkloadKey};
use homeostat_knowledge::policy::{ControlPolicy, GuardLimits};
use homeostat_knowledge::{Origin, SignedDuration, Timestamp};

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
    /// The cluster's, after so many failures in 15 minutes: everything is down to Recommend.
    Cluster(usize),
}

/// The breaker that stops actions on this workload, if one does.
pub fn open_breaker(
    history: &[ActionHistory],
    tenant: &TenantName,
    workload: &WorkloadKey,
    limits: &GuardLimits,
    control: &ControlPolicy,
    now: Timestamp,
) -> Option<Breaker> {
    let ended = |entry: &ActionHistory| entry.closed.or(entry.at);
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
    let of_cluster = history.iter().filter(|entry| entry.failed() && recent(entry, CLUSTER_WINDOW)).count();
    reached(of_cluster, control.breaker_failures).then_some(Breaker::Cluster(of_cluster))
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "its breakers are not known");
    };
    let action = &input.action;
    let limits = &tenant.limits;
    if action.origin == Origin::Forecast && !action.goes_down() {
        return Ruling::unset("more replicas", "no way down hurts by it");
    }
    // Ways down that hurt say nothing about repairs, and repairs that failed nothing about sizes.
    let history: Vec<ActionHistory> =
        input.history.iter().filter(|entry| entry.origin == action.origin).cloned().collect();
    let limit = format!(
        "workload {} in 24 h, tenant {} % of last {TENANT_WINDOW}, cluster {} in 15 min",
        limits.breaker_workload_failures, limits.breaker_tenant_percent, input.control.breaker_failures
    );
    let open = open_breaker(&history, &action.tenant, &action.workload, limits, &input.control, input.now);
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input, past};
    use homeostat_knowledge::{ActionKind, GuardName, Name};

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
            (3, 0, 900, false, false, false),
        ] {
            let expected = refused.then_some(GuardName::Breaker);
            let input = case(failures, successes, ago, same, same_tenant);
            assert_eq!(first_refusal(&input), expected, "{failures}+{successes} {ago} s ago, same {same}");
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
