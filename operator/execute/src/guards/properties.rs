//! Properties of the whole chain: budgets hold at every prefix whatever fails together, nothing happens under
//! a switch, a pause or a window, and nothing happens on old or unusable evidence.

use super::testing::{first_refusal, input, now, past};
use super::{GuardInput, SourceFacts, evaluate, permitted};
use crate::history::ActionHistory;
use crate::roots::Root;
use homeostat_knowledge::policy::{Freeze, KillSwitch};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionState, FindingKind, GuardName, IncidentId, Level, Name, ObjectKey, Origin,
    SignedDuration, Timestamp, Uid,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Makes `case` about workload number `index`, at `second`.
pub(super) fn about(case: &mut GuardInput, index: u32, second: i64) {
    let name = format!("workload-{index}");
    case.now = now() + SignedDuration::from_secs(second);
    case.action.id = ActionId::new(format!("{name}-{second}"));
    case.action.incident = IncidentId::new(format!("{name}-incident-{second}"));
    case.action.workload = ObjectKey::new("shop", name.as_str());
    case.action.target.uid = Uid::new(format!("uid-{name}-{second}"));
    case.action.evidence_taken_at = case.now;
    case.workload.as_mut().expect("workload").key = case.action.workload.clone();
    let evidence = case.evidence.as_mut().expect("evidence");
    evidence.since = case.now;
    evidence.last_seen = case.now;
}

/// Counts again, in the plainest way, and compares with the limits.
pub(super) fn within_budgets(
    effects: &[(Timestamp, Timestamp, u32)],
    case: &GuardInput,
) -> Result<(), TestCaseError> {
    let limits = &case.tenant.as_ref().expect("tenant").limits;
    for (at, _, workload) in effects {
        let before = |span: i64| {
            effects.iter().filter(move |(other, _, _)| {
                other <= at && at.duration_since(*other) < SignedDuration::from_secs(span)
            })
        };
        let open = |same: bool| {
            effects
                .iter()
                .filter(|(begun, ended, other)| begun <= at && ended > at && (!same || other == workload))
                .count()
        };
        prop_assert!(open(true) <= limits.in_flight_per_workload as usize);
        prop_assert!(open(false) <= limits.in_flight_per_tenant.min(case.control.in_flight) as usize);
        prop_assert!(
            before(3_600).filter(|(_, _, other)| other == workload).count()
                <= limits.per_workload_hour as usize
        );
        prop_assert!(before(3_600).count() <= limits.per_tenant_hour.min(case.control.per_hour) as usize);
        let touched: BTreeSet<u32> = before(600).map(|(_, _, other)| *other).collect();
        let share = u64::from(case.workloads_in_tenant) * u64::from(limits.percent_per_10_minutes) / 100;
        prop_assert!(touched.len() as u64 <= share.max(1), "{} of {share}", touched.len());
    }
    Ok(())
}

fn group() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(1),
        Just(2),
        Just(3),
        Just(5),
        Just(9),
        Just(10),
        Just(11),
        Just(100),
        Just(1_000),
        Just(10_000),
        1_u32..10_000
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// S3: x % of 1 to 10,000 workloads fail together; the budgets hold at every prefix, and at least one is helped.
    #[test]
    fn budgets_hold_at_every_prefix(
        group in group(),
        percent in 1_u32..=100,
        per_hour in 1_u32..40,
        per_10_minutes in 0_u32..=100,
        in_flight in 1_u32..8,
        lasts in prop::collection::vec(1_i64..400, 120),
        gaps in prop::collection::vec(0_i64..90, 120),
        helps in prop::collection::vec(any::<bool>(), 120),
        cooling in any::<bool>(),
    ) {
        let mut case = input();
        case.workloads_in_tenant = group;
        // Everything else is switched off, so that only the budgets are left to hold it.
        case.control.storm_percent = 100;
        case.control.breaker_failures = u32::MAX;
        case.workload.as_mut().expect("workload").maximum_useless_restarts = u32::MAX;
        let limits = &mut case.tenant.as_mut().expect("tenant").limits;
        limits.storm_percent = 100;
        limits.breaker_workload_failures = u32::MAX;
        limits.breaker_tenant_percent = 200;
        limits.per_tenant_hour = per_hour;
        limits.percent_per_10_minutes = per_10_minutes;
        limits.in_flight_per_tenant = in_flight;
        if !cooling {
            limits.cooldown_success = SignedDuration::ZERO;
            limits.cooldown_failure = SignedDuration::ZERO;
        }
        let failing = (u64::from(group) * u64::from(percent)).div_ceil(100).min(120) as u32;
        let mut effects: Vec<(Timestamp, Timestamp, u32)> = Vec::new();
        let mut outcomes: Vec<(ActionHistory, bool)> = Vec::new();
        let mut second = 0;
        for step in 0..120_u32 {
            let pick = step as usize;
            second += gaps[pick];
            about(&mut case, step % failing.max(1), second);
            case.action.id = ActionId::new(format!("action-{step}"));
            case.history = outcomes
                .iter()
                .map(|(entry, helped)| {
                    let mut entry = entry.clone();
                    if entry.closed.is_some_and(|closed| closed > case.now) {
                        entry.closed = None;
                        entry.helped = None;
                        entry.state = ActionState::Verifying;
                    } else {
                        entry.helped = Some(*helped);
                    }
                    entry
                })
                .collect();
            if permitted(&evaluate(&case), GuardName::FreshRead) {
                let end = case.now + SignedDuration::from_secs(lasts[pick]);
                effects.push((case.now, end, step % failing.max(1)));
                let mut entry = past(&case, case.action.id.as_str(), 0, helps[pick]);
                entry.incident = case.action.incident.clone();
                entry.target = case.action.target.uid.clone();
                entry.at = Some(case.now);
                entry.closed = Some(end);
                outcomes.push((entry, helps[pick]));
            }
        }
        prop_assert!(!effects.is_empty(), "rounding must leave at least one");
        within_budgets(&effects, &case)?;
    }

    /// A size that grows waits for what grows and what is still being sent, one that takes away for everything.
    #[test]
    fn sizes_wait_for_what_counts_for_their_direction(
        up in 0_usize..30,
        down in 0_usize..30,
        sending in 0_usize..30,
        grows in any::<bool>(),
        in_tenant in 0_u32..60,
        in_cluster in 0_u32..60,
    ) {
        let mut case = input();
        let kind = if grows { ActionKind::ScaleUp } else { ActionKind::ScaleDown };
        (case.action.origin, case.action.kind) = (Origin::Forecast, kind);
        case.tenant.as_mut().expect("tenant").limits.scaling.in_flight_per_tenant = in_tenant;
        case.control.scaling_in_flight = in_cluster;
        let sorts = [
            (up, ActionKind::ScaleUp, ActionState::Verifying),
            (down, ActionKind::ScaleDown, ActionState::Verifying),
            (sending, ActionKind::ScaleDown, ActionState::Claimed),
        ];
        let others = sorts.into_iter().flat_map(|(count, kind, state)| {
            std::iter::repeat_n((kind, state), count)
        });
        case.history = others
            .enumerate()
            .map(|(index, (kind, state))| {
                let mut entry = past(&case, &format!("size-{index}"), 60, true);
                entry.workload = ObjectKey::new("shop", format!("workload-{index}"));
                (entry.origin, entry.kind, entry.state) = (Origin::Forecast, kind, state);
                (entry.closed, entry.helped) = (None, None);
                entry
            })
            .collect();
        let counted = if grows { up + sending } else { up + down + sending };
        let room = counted < in_tenant.min(in_cluster) as usize;
        prop_assert_eq!(super::budget::judge(&case).result.permits(), room);
    }

    /// The storm stops at 20 %, and in groups under ten at the second root.
    #[test]
    fn the_storm_stop_is_at_its_share(group in group(), percent in 0_u32..=100) {
        let sick = (u64::from(group) * u64::from(percent)).div_ceil(100).max(1);
        let mut case = input();
        case.workloads_in_tenant = group;
        let since = case.now;
        case.roots = (0..sick)
            .map(|index| Root { name: Name::from(format!("shop/workload-{index}")), since, until: None })
            .collect();
        let stop = if group < 10 { sick >= 2 } else { sick * 100 >= u64::from(group) * 20 };
        // A single root is never a storm, not even where it is 20 % of the group.
        let expected = (stop && sick >= 2).then_some(GuardName::Storm);
        prop_assert_eq!(first_refusal(&case), expected);
    }

    /// S4: no effect under the kill switch, a pause, a foreign level or a freeze window, whatever else holds.
    #[test]
    fn nothing_happens_under_a_switch_pause_or_window(
        switch in 0_usize..3,
        tenant_paused in any::<bool>(),
        workload_paused in any::<bool>(),
        touch in -5_i64..5,
        level in 0_usize..5,
        ceiling in 0_usize..5,
        window in prop::option::of((0_i64..24, 0_i64..60, 1_i64..24)),
        resumed in any::<bool>(),
        shift in 0_i64..86_400,
    ) {
        const LEVELS: [Level; 5] =
            [Level::Observe, Level::Recommend, Level::Approve, Level::ActBounded, Level::ActFull];
        let mut case = input();
        about(&mut case, 1, shift);
        case.resumed = resumed;
        case.kill_switch = [
            KillSwitch::Off,
            KillSwitch::Unreadable,
            KillSwitch::Engaged { reason: Name::from("drill"), by: None },
        ][switch].clone();
        case.control.ceiling = LEVELS[ceiling];
        let tenant = case.tenant.as_mut().expect("tenant");
        tenant.paused = tenant_paused;
        tenant.levels.insert(case.action.kind, LEVELS[level]);
        let mut frozen = false;
        if let Some((hour, minute, hours)) = window {
            tenant.freezes.push(Freeze {
                name: Name::from("nightly"),
                schedule: Name::from(format!("{minute} {hour} * * *")),
                time_zone: Name::from("UTC"),
                duration: SignedDuration::from_hours(hours),
            });
            let begin = hour * 3_600 + minute * 60;
            let since = (case.now.as_second().rem_euclid(86_400) - begin).rem_euclid(86_400);
            frozen = since < hours * 3_600;
        }
        let workload = case.workload.as_mut().expect("workload");
        workload.paused = workload_paused;
        workload.do_not_touch_until = Some(case.now + SignedDuration::from_secs(touch));
        let allowed = switch == 0
            && !tenant_paused
            && !workload_paused
            && touch <= 0
            && !frozen
            && LEVELS[level].min(LEVELS[ceiling]) >= Level::ActBounded;
        prop_assert_eq!(permitted(&evaluate(&case), GuardName::FreshRead), allowed);
    }

    /// S6 and T24: old, unusable or unknown evidence never permits.
    #[test]
    fn nothing_happens_on_old_or_unusable_evidence(
        age_millis in -20_000_i64..40_000,
        confidence in prop_oneof![
            Just(None),
            Just(Some(f64::NAN)),
            Just(Some(f64::NEG_INFINITY)),
            Just(Some(-0.0)),
            (-2.0_f64..3.0).prop_map(Some)
        ],
        kind in prop::sample::select(FindingKind::ALL.to_vec()),
        active in any::<bool>(),
        source in 0_usize..3,
        missing in prop::bool::weighted(0.05),
    ) {
        let mut case = input();
        let evidence = case.evidence.as_mut().expect("evidence");
        evidence.kind = Some(kind);
        evidence.since = case.now - SignedDuration::from_mins(5);
        evidence.last_seen = case.now - SignedDuration::from_millis(age_millis);
        evidence.confidence = confidence;
        evidence.active = active;
        evidence.source =
            [SourceFacts::Healthy, SourceFacts::Unknown, SourceFacts::Down("503".to_owned())][source].clone();
        let fresh = super::is_object_state(kind) && age_millis >= 0 || (-2_000..=10_000).contains(&age_millis);
        let usable = confidence.is_some_and(|value| (0.0..=1.0).contains(&value));
        let telling = !matches!(kind, FindingKind::NoData | FindingKind::DependencyDown);
        let allowed = fresh && usable && telling && active && source == 0 && !missing;
        if missing {
            case.evidence = None;
        }
        prop_assert_eq!(permitted(&evaluate(&case), GuardName::FreshRead), allowed);
    }
}
