use super::*;
use proptest::prelude::*;

const HOUR: i64 = 3_600;

fn slo() -> Slo {
    Slo::new(SloConfig::default()).unwrap()
}

/// Records 100 events every ten seconds.
fn traffic(slo: &mut Slo, from: i64, to: i64, bad: u64) {
    for at in (from..to).step_by(10) {
        slo.record(at, 100 - bad, bad);
    }
}

fn states(slo: &Slo, now: i64) -> Vec<RuleState> {
    slo.report(now).rules.iter().map(|report| report.state).collect()
}

#[test]
fn an_outage_pages_within_minutes_and_stops_within_minutes_after_it() {
    let mut slo = slo();
    traffic(&mut slo, 0, 24 * HOUR, 0);
    let outage = 24 * HOUR;
    let paged = (0..HOUR).step_by(10).find(|passed| {
        traffic(&mut slo, outage + passed, outage + passed + 10, 100);
        slo.report(outage + passed + 9).urgency == Some(Urgency::Page)
    });
    // 1.44 % of an hour is bad after 52 seconds.
    assert!(paged.is_some_and(|seconds| (40..=70).contains(&seconds)), "{paged:?}");
    let end = outage + paged.unwrap() + 10;
    traffic(&mut slo, end, end + 600, 0);
    assert_ne!(states(&slo, end + 599)[0], RuleState::Firing, "the short window is clean again");
}

#[test]
fn a_slow_leak_gives_a_ticket_and_no_page() {
    let mut slo = slo();
    for at in (0..4 * 86_400).step_by(60) {
        slo.record(at, 998, 2);
    }
    let report = slo.report(4 * 86_400);
    assert_eq!(report.urgency, Some(Urgency::Ticket), "{report:?}");
    assert!(
        report.rules[2].reason.contains("the budget burns 2.0 and 2.0 times as fast as it may"),
        "{report:?}"
    );
}

#[test]
fn no_data_is_neither_well_nor_firing() {
    let mut slo = slo();
    assert_eq!(states(&slo, 0), [RuleState::NoData; 3]);
    assert_eq!(slo.report(0).budget.left, None);
    traffic(&mut slo, 0, HOUR, 50);
    assert_eq!(states(&slo, HOUR - 1), [RuleState::Firing; 3]);
    let silent = slo.report(HOUR + 400);
    assert_eq!(silent.rules[0].state, RuleState::NoData);
    assert_eq!(silent.rules[0].reason, "no events in the last 5 minutes");
    assert_eq!(silent.rules[1].state, RuleState::Firing, "its short window of 30 minutes still tells");
    let long_silent = slo.report(40 * 86_400);
    assert_eq!((long_silent.budget.left, long_silent.budget.exhaustion), (None, Exhaustion::NoData));
}

#[test]
fn one_bad_event_of_ten_is_too_few_and_three_are_enough() {
    let mut slo = slo();
    slo.record(100, 9, 1);
    let report = slo.report(110);
    assert_eq!(report.rules[0].state, RuleState::FewEvents);
    assert!(report.rules[0].reason.ends_with("so few events may be an accident"), "{report:?}");
    slo.record(105, 0, 2);
    assert_eq!(states(&slo, 110)[0], RuleState::Firing);
}

#[test]
fn the_budget_says_what_is_left_and_how_long_it_lasts() {
    let mut slo = slo();
    let day = 86_400;
    traffic(&mut slo, -HOUR, 0, 0);
    assert_eq!(slo.report(0).budget.exhaustion, Exhaustion::NotInPeriod);
    // 15 days at the allowed share use half of the budget.
    for at in (0..15 * day).step_by(60) {
        slo.record(at, 999, 1);
    }
    let budget = slo.report(15 * day).budget;
    assert!((budget.left.unwrap() - 0.5).abs() < 0.01, "{budget:?}");
    let Exhaustion::InSeconds(seconds) = budget.exhaustion else { panic!("{budget:?}") };
    assert!((seconds / day as f64 - 15.0).abs() < 0.2, "{budget:?}");
    // Then ten times as fast: half a period's budget lasts a tenth of half a period.
    for at in (15 * day..15 * day + HOUR).step_by(60) {
        slo.record(at, 990, 10);
    }
    let budget = slo.report(15 * day + HOUR - 1).budget;
    let Exhaustion::InSeconds(seconds) = budget.exhaustion else { panic!("{budget:?}") };
    assert!((seconds / day as f64 - 1.5).abs() < 0.15, "{budget:?}");
    assert!(budget.reason.contains("used up in 3"), "{}", budget.reason);
    for at in (15 * day + HOUR..16 * day).step_by(60) {
        slo.record(at, 0, 1_000);
    }
    assert_eq!(slo.report(16 * day).budget.exhaustion, Exhaustion::Now);
}

#[test]
fn late_events_count_where_they_still_belong() {
    let mut slo = slo();
    assert_eq!(slo.record(86_400 * 100, 1, 0), Recorded::Everywhere);
    assert_eq!(slo.record(86_400 * 100 - 2 * HOUR, 1, 0), Recorded::Late);
    assert_eq!(slo.record(0, 0, 1), Recorded::TooLate);
    let report = slo.report(86_400 * 100);
    assert_eq!(report.budget.left, Some(1.0));
}

#[test]
fn rules_that_cannot_fire_are_refused_or_left_out() {
    let error = Slo::new(SloConfig { objective: 0.9, ..SloConfig::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a burn rate of 14.4 cannot be reached with an objective of 0.9: the most is 10.000; lower the rate or drop the rule"
    );
    assert_eq!(SloConfig::for_objective(0.9).rules.len(), 2);
    assert!(Slo::new(SloConfig::for_objective(0.9)).is_ok());
    let error = Slo::new(SloConfig { objective: f64::NAN, ..SloConfig::default() }).unwrap_err();
    assert_eq!(error.to_string(), "objective is NaN, it must be above 0 and below 1");
}

proptest! {
    #[test]
    fn any_events_in_any_order_give_finite_numbers(
        events in prop::collection::vec((any::<i64>(), any::<u64>(), any::<u64>()), 0..50),
        near in prop::collection::vec((-100_000_i64..100_000, 0_u64..100, 0_u64..100), 0..50),
        now in any::<i64>(),
    ) {
        let mut slo = slo();
        for (at, good, bad) in near.into_iter().chain(events) {
            slo.record(at, good, bad);
            for now in [now, at, 0] {
                let report = slo.report(now);
                let rates = report.rules.iter().flat_map(|rule| [rule.long, rule.short]).flatten();
                prop_assert!(rates.chain(report.budget.left).all(f64::is_finite), "{report:?}");
            }
        }
    }

    #[test]
    fn restored_state_continues_as_if_never_stopped(
        events in prop::collection::vec((0_i64..1_000_000, 0_u64..1_000, 0_u64..10), 2..60),
    ) {
        let mut slo = slo();
        let half = events.len() / 2;
        for (at, good, bad) in &events[..half] {
            slo.record(*at, *good, *bad);
        }
        let mut restored: Slo = serde_json::from_str(&serde_json::to_string(&slo).unwrap()).unwrap();
        for (at, good, bad) in &events[half..] {
            prop_assert_eq!(slo.record(*at, *good, *bad), restored.record(*at, *good, *bad));
            prop_assert_eq!(slo.report(*at), restored.report(*at));
        }
    }
}
