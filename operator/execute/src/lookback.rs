//! How far back the guards look.

use crate::history::ActionHistory;
use crate::orders;
use homeostat_knowledge::{ActionRecord, Origin, SignedDuration, Timestamp};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Repairs of a workload that did not help, one after the other, are remembered so long: its cool-down doubles with each, up
/// to a day, and a row with days in it must not look like a single failure.
pub const ROW: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Repairs of the own workload: [`ROW`]; the own tenant: 24 hours; the rest of the cluster: what is open or of the last hour.
pub(crate) fn relevant(
    mut history: Vec<ActionHistory>,
    record: &ActionRecord,
    now: Timestamp,
) -> Vec<ActionHistory> {
    history.retain(|entry| {
        let own = entry.tenant == record.tenant;
        let repair = entry.workload == record.workload && entry.origin == Origin::Incident;
        let span = match (own, repair) {
            (true, true) => ROW,
            (true, false) => DAY,
            (false, _) => HOUR,
        };
        let last = entry.closed.or(entry.at);
        entry.id != record.id
            && orders::counts(entry, record)
            && (entry.effect || entry.in_flight())
            && (!entry.state.ended() || last.is_none_or(|last| now.duration_since(last) < span))
    });
    history
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::cooldown_until;
    use crate::testing::{at, record};
    use homeostat_knowledge::{ActionOutcome, ActionState, GuardLimits, TenantName};

    /// Repairs of `workload` that ended after so many hours without having helped.
    fn failed_after(hours: &[i64], workload: &str) -> Vec<ActionHistory> {
        let repairs = hours.iter().map(|hour| {
            let mut repair = record(&format!("{workload}-{hour}"));
            repair.workload.name = workload.into();
            repair.state = ActionState::Failed;
            let at = Some(at(hour * 3_600));
            (repair.instants.claimed, repair.instants.sent, repair.instants.closed) = (at, at, at);
            let reason = "it goes on".to_owned();
            repair.outcome = Some(ActionOutcome { helped: false, reason });
            ActionHistory::of(&repair)
        });
        repairs.collect()
    }

    #[test]
    fn a_cool_down_that_doubled_up_to_a_day_is_kept_to_its_end_and_by_the_next_ones() {
        let limits = GuardLimits::default();
        // Each comes as soon as the cool-down of the one before is over.
        let row = [0, 1, 3, 7, 15, 31, 55, 79, 103, 127, 151];
        for (number, closed) in row.into_iter().enumerate() {
            let wait = (1_i64 << number.min(10)).min(24);
            let before = &failed_after(&row[..=number], "order");
            for hour in [closed, closed + wait - 1] {
                let now = at(hour * 3_600 + 1);
                let known = relevant(before.clone(), &record("order-next"), now);
                let until = cooldown_until(known.iter(), &limits);
                assert_eq!(until, Some(at((closed + wait) * 3_600)), "failure {number} at {hour} h");
            }
        }
    }

    #[test]
    fn failures_from_before_days_without_one_do_not_make_the_next_cool_down_longer() {
        let limits = GuardLimits::default();
        let until = |hours: &[i64]| cooldown_until(failed_after(hours, "order").iter(), &limits);
        let day = 24;
        assert_eq!(until(&[0, 1, 3, 7, 3 * day]), Some(at((3 * day + 1) * 3_600)), "three days later");
        assert_eq!(until(&[0, 1, 3, 7, day]), Some(at((day + 16) * 3_600)), "the next day");
    }

    #[test]
    fn what_is_older_than_a_day_counts_for_repairs_of_the_own_workload_only() {
        let now = at(30 * 3_600);
        let kept = |workload: &str, change: fn(&mut ActionHistory)| {
            let mut history = failed_after(&[1], workload);
            history.iter_mut().for_each(change);
            relevant(history, &record("order-next"), now).len()
        };
        assert_eq!(kept("order", |_| {}), 1);
        assert_eq!(kept("stock", |_| {}), 0, "another workload");
        assert_eq!(kept("order", |entry| entry.origin = Origin::Forecast), 0, "a size");
        assert_eq!(kept("order", |entry| entry.tenant = TenantName::new("bank")), 0);
        let week = |workload| relevant(failed_after(&[1], workload), &record("order-next"), at(3_600) + ROW);
        assert_eq!(week("order"), []);
    }
}
