//! Budget: actions under way, per hour, and workloads touched per ten minutes.

use super::{GuardInput, Ruling};
use crate::history::ActionHistory;
use homeostat_knowledge::{ActionId, ActionKind, Origin, SignedDuration, Timestamp};
use std::collections::BTreeSet;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const TEN_MINUTES: SignedDuration = SignedDuration::from_mins(10);

/// Workloads that may be touched within ten minutes: rounded down, but one always may.
pub(crate) fn workloads_per_ten_minutes(workloads: u32, percent: u32) -> usize {
    let share = u64::from(workloads) * u64::from(percent) / 100;
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

/// Took budget within the time before `now`. An instant in the future (a clock that was set back) still counts.
fn within(entry: &ActionHistory, span: SignedDuration, now: Timestamp) -> bool {
    entry.counts() && (entry.state.in_flight() || entry.at.is_none_or(|at| now.duration_since(at) < span))
}

/// How many effects of the hourly budgets an entry takes. An undo is paid for by what it takes back while that is under way;
/// where that had ended before, as the cordon of a drain has, it takes what any action takes.
fn weight(entry: &ActionHistory, all: &[&ActionHistory]) -> usize {
    let pays = |undone: &ActionId| all.iter().any(|other| other.id == *undone && other.in_flight());
    let paid = entry.undo_of.as_ref().is_none_or(pays);
    if paid { entry.weight() } else { 1 }
}

/// As many nodes at a time as the cluster allows, and within the budgets of every tenant that has pods on it.
fn node(input: &GuardInput, others: &[&ActionHistory], own: usize) -> Option<Ruling> {
    if !input.action.target.is_node() {
        return None;
    }
    let on_nodes = |entry: &&&ActionHistory| matches!(entry.kind, ActionKind::Cordon | ActionKind::Uncordon);
    let limit = input.control.nodes_in_flight;
    let under_way: Vec<_> = others.iter().filter(on_nodes).filter(|entry| entry.takes_a_place()).collect();
    if under_way.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
        let (observed, message) = match under_way.first() {
            Some(other) => (
                format!("{} {} is under way", other.kind, other.id),
                "another node is being acted on; that must end first",
            ),
            None => (
                "no node may be acted on".to_owned(),
                "spec.ceilings.nodesInFlight of the ControlPlane is 0; raise it to let nodes be acted on",
            ),
        };
        return Some(Ruling::refused(observed, format!("{limit} node at a time"), message));
    }
    for tenant in &input.neighbours {
        let of_tenant = |entry: &&&ActionHistory| entry.tenant == tenant.name;
        let places = others.iter().filter(of_tenant).filter(|entry| entry.takes_a_place()).count() + 1;
        let hour: usize = others
            .iter()
            .filter(of_tenant)
            .filter(|entry| within(entry, HOUR, input.now))
            .map(|entry| weight(entry, others))
            .sum();
        let limits = &tenant.limits;
        for (what, used, limit) in [
            ("under way", places, limits.in_flight_per_tenant),
            ("this hour", hour + own, limits.per_tenant_hour),
        ] {
            if used > usize::try_from(limit).unwrap_or(usize::MAX) {
                return Some(Ruling::refused(
                    format!("{used} of {limit} {what} in tenant {}, with this one", tenant.name),
                    format!("{limit} {what}"),
                    format!("tenant {} has pods on the node, and its budget is used up", tenant.name),
                ));
            }
        }
    }
    None
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "its budgets are not known");
    };
    let (action, limits, control) = (&input.action, &tenant.limits, &input.control);
    // Repairs, sizes by forecast and runs have budgets of their own; what one uses is not missing for the other.
    let others: Vec<&ActionHistory> =
        input.history.iter().filter(|entry| entry.id != action.id && entry.origin == action.origin).collect();
    let count = |test: &dyn Fn(&ActionHistory) -> bool| -> usize {
        others.iter().filter(|entry| test(entry)).map(|entry| weight(entry, &others)).sum()
    };
    let places = |test: &dyn Fn(&ActionHistory) -> bool| {
        others.iter().filter(|entry| entry.takes_a_place() && test(entry)).count()
    };
    // The undo of this action must find room too.
    let own = if action.may_undo { 2 } else { 1 };
    let of_workload = |entry: &ActionHistory| entry.workload == action.workload;
    let of_tenant = |entry: &ActionHistory| entry.tenant == action.tenant;
    // A way down is watched for minutes: what grows by forecast does not wait for that. On its own workload it does, as
    // one object is changed by one action at a time.
    let grows = action.origin == Origin::Forecast && !action.goes_down();
    let in_the_way = |entry: &ActionHistory| !(grows && entry.goes_down() && entry.is_watched());

    let tenant_hour = count(&|entry| of_tenant(entry) && within(entry, HOUR, input.now));
    let scaling = &limits.scaling;
    let (under_way, hour) = match action.origin {
        // Those of runs were put in their place, see `orders`.
        Origin::Incident | Origin::Schedule => (
            [limits.in_flight_per_workload, limits.in_flight_per_tenant, control.in_flight],
            [limits.per_workload_hour, limits.per_tenant_hour, control.per_hour],
        ),
        Origin::Forecast => (
            [1, scaling.in_flight_per_tenant, control.scaling_in_flight],
            [scaling.per_workload_hour, scaling.per_tenant_hour, control.scaling_per_hour],
        ),
    };
    let checks = [
        ("under way on the workload", places(&of_workload) + 1, under_way[0]),
        ("under way in the tenant", places(&|entry| of_tenant(entry) && in_the_way(entry)) + 1, under_way[1]),
        ("under way in the cluster", places(&in_the_way) + 1, under_way[2]),
        (
            "on the workload this hour",
            count(&|entry| of_workload(entry) && within(entry, HOUR, input.now)) + own,
            hour[0],
        ),
        ("in the tenant this hour", tenant_hour + own, hour[1]),
        ("in the cluster this hour", count(&|entry| within(entry, HOUR, input.now)) + own, hour[2]),
    ];
    for (what, used, limit) in checks {
        if used > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ruling::refused(
                format!("{used} of {limit} {what}, with this one"),
                format!("{limit} {what}"),
                "the budget is used up; it comes back with time, or raise it in the Tenant or ControlPlane",
            );
        }
    }
    if let Some(ruling) = node(input, &others, own) {
        return ruling;
    }
    let passed = Ruling::passed(
        format!("{tenant_hour} of {} this hour", hour[1]),
        format!("{} per hour, {} under way", hour[1], under_way[1]),
    );
    if action.origin == Origin::Forecast {
        return passed; // A peak comes to many workloads at once: that is what sizes are for.
    }
    let mut touched: BTreeSet<_> = others
        .iter()
        .filter(|entry| of_tenant(entry) && within(entry, TEN_MINUTES, input.now))
        .map(|entry| &entry.workload)
        .collect();
    touched.insert(&action.workload);
    let allowed = workloads_per_ten_minutes(input.workloads_in_tenant, limits.percent_per_10_minutes);
    if touched.len() > allowed {
        return Ruling::refused(
            format!("{} workloads in 10 minutes with this one", touched.len()),
            format!("{allowed} ({} % of {})", limits.percent_per_10_minutes, input.workloads_in_tenant),
            "too many workloads touched in a short time; wait, or raise percentOfWorkloadsPer10Minutes in spec.budgets of the \
             Tenant and in spec.ceilings.budgets of the ControlPlane",
        );
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{first_refusal, input, past};
    use homeostat_knowledge::{ActionState, GuardName, Name};

    #[test]
    fn a_share_of_a_tiny_group_still_allows_one() {
        for (workloads, expected) in
            [(0, 1), (1, 1), (3, 1), (19, 1), (39, 1), (40, 2), (100, 5), (10_000, 500)]
        {
            assert_eq!(workloads_per_ten_minutes(workloads, 5), expected, "5 % of {workloads}");
        }
    }

    fn elsewhere(case: &GuardInput, index: usize, ago: i64) -> ActionHistory {
        let mut entry = past(case, &format!("x-{index}"), ago, true);
        entry.workload.name = Name::from(format!("workload-{index}"));
        entry.target = homeostat_knowledge::Uid::new(format!("uid-{index}"));
        entry
    }

    #[test]
    fn each_budget_refuses_at_its_limit_and_not_before() {
        // (ago in seconds, in flight?, same workload?, number, refused?)
        for (ago, in_flight, same, number, refused) in [
            (5, true, true, 1, true),
            (5, true, false, 4, false),
            (5, true, false, 5, true),
            (3_599, false, true, 2, false),
            (3_599, false, true, 3, true),
            (3_600, false, true, 3, false),
            (3_599, false, false, 19, false),
            (3_599, false, false, 20, true),
            (3_600, false, false, 20, false),
        ] {
            let mut case = input();
            case.workloads_in_tenant = 1_000;
            let limits = &mut case.tenant.as_mut().expect("tenant").limits;
            limits.cooldown_success = SignedDuration::ZERO;
            limits.cooldown_failure = SignedDuration::ZERO;
            case.history = (0..number)
                .map(|index| {
                    let mut entry = elsewhere(&case, index, ago);
                    if same {
                        entry.workload = case.action.workload.clone();
                    }
                    if in_flight {
                        entry.state = ActionState::Verifying;
                        entry.closed = None;
                        entry.helped = None;
                        entry.at =
                            case.action.evidence_taken_at.checked_sub(SignedDuration::from_secs(1)).ok();
                    }
                    entry
                })
                .collect();
            let expected = refused.then_some(GuardName::Budget);
            assert_eq!(
                first_refusal(&case),
                expected,
                "{number} x {ago} s, in flight {in_flight}, same {same}"
            );
        }
    }

    #[test]
    fn a_reservation_counts_before_its_effect_and_a_refusal_does_not() {
        let mut case = input();
        let mut entry = elsewhere(&case, 0, 1);
        entry.effect = false;
        entry.closed = None;
        entry.helped = None;
        entry.state = ActionState::Admitted;
        case.history = vec![entry.clone()];
        case.workloads_in_tenant = 39;
        assert_eq!(first_refusal(&case), Some(GuardName::Budget), "5 % of 39 workloads is one");
        entry.state = ActionState::Refused;
        case.history = vec![entry];
        assert_eq!(first_refusal(&case), None);
    }

    #[test]
    fn as_many_nodes_at_a_time_as_the_ceiling_says_and_none_at_zero() {
        for (ceiling, under_way, refused) in [(1, 0, false), (1, 1, true), (2, 1, false), (0, 0, true)] {
            let mut case = input();
            case.workloads_in_tenant = 1_000;
            case.control.nodes_in_flight = ceiling;
            case.action.kind = ActionKind::Cordon;
            case.action.target.kind = Name::from("Node");
            case.action.target.key = homeostat_knowledge::ObjectKey::new("", "node-1");
            case.history = (0..under_way)
                .map(|index| {
                    let mut entry = elsewhere(&case, index, 1);
                    entry.kind = ActionKind::Cordon;
                    (entry.state, entry.closed, entry.helped) = (ActionState::Verifying, None, None);
                    entry
                })
                .collect();
            let ruling = judge(&case);
            assert_eq!(!ruling.result.permits(), refused, "{under_way} of {ceiling}: {ruling:?}");
            assert_eq!(ruling.message.contains("nodesInFlight"), ceiling == 0, "{ruling:?}");
            // What is no node is not held up by it.
            case.action.target.kind = Name::from("Pod");
            case.action.kind = ActionKind::EvictPod;
            assert!(judge(&case).result.permits());
        }
    }

    #[test]
    fn an_undo_of_what_had_ended_counts_as_soon_as_it_is_under_way() {
        let mut case = input();
        case.workloads_in_tenant = 1_000;
        let cordon = elsewhere(&case, 0, 60);
        let mut undo = elsewhere(&case, 1, 1);
        undo.undo_of = Some(cordon.id.clone());
        (undo.state, undo.closed, undo.helped) = (ActionState::Verifying, None, None);
        case.history = vec![cordon, undo];
        for (limit, permits) in [(2, false), (3, true)] {
            case.tenant.as_mut().expect("tenant").limits.per_tenant_hour = limit;
            assert_eq!(judge(&case).result.permits(), permits, "{limit} an hour");
        }
    }

    /// Changes of size by forecast of other workloads in this state, of other tenants where `foreign`.
    fn sizes(
        case: &GuardInput,
        kind: ActionKind,
        state: ActionState,
        count: usize,
        foreign: bool,
    ) -> Vec<ActionHistory> {
        let size = |index: usize| {
            let mut entry = elsewhere(case, index, 60);
            entry.id = ActionId::new(format!("{kind}-{state:?}-{foreign}-{index}"));
            (entry.origin, entry.kind) = (Origin::Forecast, kind);
            (entry.state, entry.closed, entry.helped) = (state, None, None);
            if foreign {
                entry.tenant = homeostat_knowledge::TenantName::new(format!("tenant-{}", index % 3));
            }
            entry
        };
        (0..count).map(size).collect()
    }

    fn sized(kind: ActionKind) -> GuardInput {
        let mut case = input();
        (case.action.origin, case.action.kind) = (Origin::Forecast, kind);
        case
    }

    #[test]
    fn an_evening_of_ways_down_under_watch_refuses_no_flash_load() {
        // Three other tenants take their replicas away, and the own one has as many under watch as it may.
        for kind in [ActionKind::ScaleDown, ActionKind::ResizePod] {
            for state in [ActionState::Sent, ActionState::Verifying] {
                let mut up = sized(ActionKind::ScaleUp);
                up.history = sizes(&up, kind, state, 60, true);
                let own = sizes(&up, kind, state, 20, false);
                up.history.extend(own);
                assert!(judge(&up).result.permits(), "{kind} {state:?}: {:?}", judge(&up));
                // What takes away waits for all that is under way, as before.
                let mut down = sized(ActionKind::ScaleDown);
                down.history = sizes(&down, kind, state, 20, false);
                assert!(!judge(&down).result.permits(), "{kind} {state:?}");
                down.history = sizes(&down, kind, state, 50, true);
                assert!(!judge(&down).result.permits(), "{kind} {state:?}");
                down.history = sizes(&down, ActionKind::ScaleUp, state, 20, false);
                assert!(!judge(&down).result.permits(), "behind ways up too");
            }
        }
    }

    #[test]
    fn what_grows_waits_for_what_grows_and_for_what_is_still_being_sent() {
        for (kind, state) in [
            (ActionKind::ScaleUp, ActionState::Verifying),
            (ActionKind::ScaleDown, ActionState::Admitted),
            (ActionKind::ScaleDown, ActionState::Claimed),
        ] {
            let mut case = sized(ActionKind::ScaleUp);
            for (count, foreign, permits) in
                [(19, false, true), (20, false, false), (49, true, true), (50, true, false)]
            {
                case.history = sizes(&case, kind, state, count, foreign);
                assert_eq!(judge(&case).result.permits(), permits, "{count} x {kind} {state:?}, {foreign}");
            }
        }
        let mut case = sized(ActionKind::ScaleUp);
        case.history = sizes(&case, ActionKind::ScaleDown, ActionState::Verifying, 1, false);
        case.history[0].workload = case.action.workload.clone();
        assert!(!judge(&case).result.permits(), "one change at a time of one workload");
    }

    #[test]
    fn a_repair_is_held_up_by_repairs_whatever_their_direction() {
        let mut case = input();
        case.workloads_in_tenant = 1_000;
        case.history = sizes(&case, ActionKind::ScaleDown, ActionState::Verifying, 5, false);
        assert!(judge(&case).result.permits(), "sizes count apart");
        for entry in &mut case.history {
            entry.origin = Origin::Incident;
        }
        assert!(!judge(&case).result.permits());
    }

    #[test]
    fn the_same_workload_is_not_counted_twice() {
        let mut case = input();
        case.workloads_in_tenant = 5;
        let limits = &mut case.tenant.as_mut().expect("tenant").limits;
        limits.cooldown_success = SignedDuration::ZERO;
        limits.cooldown_failure = SignedDuration::ZERO;
        case.history = vec![past(&case, "order-0-1", 30, true)];
        assert_eq!(first_refusal(&case), None);
    }
}
