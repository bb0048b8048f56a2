//! Sweeps: every share of groups of every size fails together (T61), and freeze windows at the edges of days, weeks
//! and clock changes against a definition as plain as can be (T65).

use super::properties::{about, within_budgets};
use super::testing::{first_refusal, input, past};
use super::{GuardInput, evaluate, frozen, permitted};
use crate::history::ActionHistory;
use crate::roots::Root;
use homeostat_knowledge::policy::Freeze;
use homeostat_knowledge::{ActionState, GuardName, Name, SignedDuration, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Workloads of a tenant.
const GROUPS: [u32; 8] = [1, 2, 3, 5, 10, 100, 1_000, 10_000];

/// Workloads that fail when `percent` of `group` do.
fn failing(group: u32, percent: u32) -> u32 {
    (group * percent).div_ceil(100)
}

#[test]
fn the_storm_stops_every_share_from_twenty_percent_on_in_groups_of_every_size() {
    let since = input().now;
    let all: Vec<Root> = (0..10_000)
        .map(|index| Root { name: Name::from(format!("shop/workload-{index}")), since, until: None })
        .collect();
    for group in GROUPS {
        let mut case = input();
        case.workloads_in_tenant = group;
        for percent in 1..=100 {
            let sick = failing(group, percent);
            // More than the threshold are no different from all of it; judging 10,000 again and again shows nothing.
            let shown = sick.min(group.div_ceil(4).max(2));
            case.roots = all[..shown as usize].to_vec();
            let stop = sick >= 2 && (group < 10 || sick * 100 >= group * 20);
            let refused = first_refusal(&case) == Some(GuardName::Storm);
            assert_eq!(refused, stop, "{sick} of {group} ({percent} %)");
        }
    }
}

/// Ninety decisions at 40 s for the sick workloads in turn; every third effect lasts for five minutes.
fn decide(case: &mut GuardInput, sick: u32) -> Vec<(Timestamp, Timestamp, u32)> {
    let mut effects: Vec<(Timestamp, Timestamp, u32)> = Vec::new();
    let mut outcomes: Vec<ActionHistory> = Vec::new();
    for step in 0..90_u32 {
        let workload = step % sick;
        about(case, workload, i64::from(step) * 40);
        case.history.clone_from(&outcomes);
        for entry in &mut case.history {
            if entry.closed.is_some_and(|closed| closed > case.now) {
                (entry.closed, entry.helped, entry.state) = (None, None, ActionState::Verifying);
            }
        }
        if permitted(&evaluate(case), GuardName::FreshRead) {
            let lasts = if effects.len() % 3 == 2 { 300 } else { 20 };
            let end = case.now + SignedDuration::from_secs(lasts);
            effects.push((case.now, end, workload));
            let mut entry = past(case, case.action.id.as_str(), 0, true);
            entry.incident = case.action.incident.clone();
            entry.target = case.action.target.uid.clone();
            (entry.at, entry.closed) = (Some(case.now), Some(end));
            outcomes.push(entry);
        }
    }
    effects
}

#[test]
fn budgets_hold_at_every_prefix_whatever_share_of_groups_of_every_size_fails() {
    for group in GROUPS {
        // Many shares of a small group are the same number; more than thirty workloads exceed every budget alike.
        let numbers: BTreeSet<u32> = (1..=100).map(|percent| failing(group, percent).min(30)).collect();
        for sick in numbers {
            let mut case = input();
            case.workloads_in_tenant = group;
            // The storm is swept above; here it is off, so that the budgets alone must hold.
            case.control.storm_percent = 100;
            let limits = &mut case.tenant.as_mut().expect("tenant").limits;
            limits.storm_percent = 100;
            limits.cooldown_success = SignedDuration::ZERO;
            limits.cooldown_failure = SignedDuration::ZERO;
            let effects = decide(&mut case, sick);
            assert!(!effects.is_empty(), "of {group} none was helped: rounding must leave one");
            within_budgets(&effects, &case).expect("no prefix exceeds a budget");
        }
    }
}

/// Is a window open at `now`, by definition: some minute within its length before was its beginning. Minutes that the
/// clocks skip begin when the clocks have skipped them; minutes that come twice begin at the first time, and of several
/// hours or minutes at both.
fn open_by_definition(
    freeze: &Freeze,
    hours: &BTreeSet<i8>,
    minutes: &BTreeSet<i8>,
    weekday: Option<i8>,
    now: Timestamp,
) -> bool {
    let zone = TimeZone::get(&freeze.time_zone).expect("a known zone");
    let local = |at: Timestamp| zone.to_datetime(at);
    let several = hours.len() > 1 || minutes.len() > 1;
    let scheduled = |at: DateTime| {
        hours.contains(&at.hour())
            && minutes.contains(&at.minute())
            && weekday.is_none_or(|day| at.weekday().to_sunday_zero_offset() == day)
    };
    let back = freeze.duration.as_secs() / 60 + 24 * 60;
    let first = now.as_second().div_euclid(60) - back;
    let mut latest: DateTime = local(Timestamp::from_second(first * 60).expect("in range"));
    for index in 1..=back {
        let at = Timestamp::from_second((first + index) * 60).expect("in range");
        let here = local(at);
        let mut begins = several && scheduled(here);
        while latest < here {
            latest = latest.checked_add(SignedDuration::from_mins(1)).expect("in range");
            begins |= scheduled(latest);
        }
        if begins && now.duration_since(at) < freeze.duration {
            return true;
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// T65: midnight, week ends and both clock changes, in zones that change by an hour, at midnight, by half an hour and
    /// never; at one time of the day and at several.
    #[test]
    fn windows_are_open_when_their_definition_says_so(
        zone in prop::sample::select(vec![
            "Europe/Madrid", "America/New_York", "America/Nuuk", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"
        ]),
        // 2026: changes in March and October/November (north), April and October (Lord Howe); a new year; any time.
        around in prop::sample::select(vec![
            "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z",
            "2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z", "2026-12-31T23:59:00Z", "2026-07-01T12:00:00Z"
        ]),
        offset in -1_500_i64..1_500,
        second in 0_i64..60,
        hours in prop::collection::btree_set(0_i8..24, 1..=2),
        minutes in prop::collection::btree_set(prop::sample::select(vec![0_i8, 1, 15, 29, 30, 45, 59]), 1..=2),
        weekday in prop::option::of(0_i8..7),
        length in prop::sample::select(vec![1_i64, 30, 60, 90, 480, 1_440]),
    ) {
        let center: Timestamp = around.parse().expect("a timestamp");
        let now = center + SignedDuration::from_secs(offset * 60 + second);
        let day = weekday.map_or("*".to_owned(), |day| day.to_string());
        let list = |all: &BTreeSet<i8>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let freeze = Freeze {
            name: Name::from("window"),
            schedule: Name::from(format!("{} {} * * {day}", list(&minutes), list(&hours))),
            time_zone: Name::from(zone),
            duration: SignedDuration::from_mins(length),
        };
        let open = frozen(std::slice::from_ref(&freeze), now).expect("understood").is_some();
        let expected = open_by_definition(&freeze, &hours, &minutes, weekday, now);
        prop_assert_eq!(open, expected, "{:?} at {}", freeze, now);
    }
}
