//! What the calendar asks for at a moment, and what a forecast may know of it.

use crate::jobs::calendar::{Calendar, CalendarSpec};
use homeostat_knowledge::policy::CalendarEntry;
use homeostat_models::forecast;
use jiff::Timestamp;
use jiff::civil::Date;

/// Entries that a forecast knows, the first of the Workload: what each does to a load costs memory for every series.
const KNOWN: usize = 8;

/// The most replicas that entries ask for at `now`, and what is wrong with entries that cannot be used.
pub fn asked(entries: &[CalendarEntry], now: Timestamp) -> (Option<u32>, Vec<String>) {
    let (mut most, mut wrong) = (None, Vec::new());
    for entry in entries {
        match holds(entry, now) {
            Ok(true) => most = most.max(Some(entry.replicas)),
            Ok(false) => {}
            Err(why) => wrong.push(format!("calendar entry {}: {why}", entry.name)),
        }
    }
    (most, wrong)
}

/// When entries begin within `(from, to]`, or did before and are still on, without their exceptions, and how long they
/// last, for a forecast to learn what they do to a load. Those that cannot be used are left out: [`asked`] names them.
pub fn known(entries: &[CalendarEntry], from: Timestamp, to: Timestamp) -> forecast::Calendar {
    let event = |entry: &CalendarEntry| {
        let from = from.checked_sub(entry.duration).unwrap_or(from);
        checked(entry, from).ok()?.known_job(&entry.name, from, to, entry.duration)
    };
    forecast::Calendar { events: entries.iter().filter_map(event).take(KNOWN).collect() }
}

/// Whether an entry began less than its duration ago.
fn holds(entry: &CalendarEntry, now: Timestamp) -> Result<bool, String> {
    let from = now.checked_sub(entry.duration).unwrap_or(Timestamp::MIN);
    Ok(checked(entry, from)?.next(from).is_ok_and(|began| began <= now))
}

/// The calendar of an entry, which begins at least once after `from`.
fn checked(entry: &CalendarEntry, from: Timestamp) -> Result<Calendar, String> {
    let date = |day: &homeostat_knowledge::Name| {
        day.parse::<Date>().map_err(|_| format!("exception {day} is no day; write it as 2026-12-25"))
    };
    let spec = CalendarSpec {
        cron: entry.schedule.to_string(),
        zone: entry.time_zone.to_string(),
        except: entry.exceptions.iter().map(date).collect::<Result<_, _>>()?,
        extra: Vec::new(),
    };
    Calendar::new(spec, from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use jiff::SignedDuration;

    fn entry(schedule: &str, zone: &str, replicas: u32) -> CalendarEntry {
        CalendarEntry {
            name: "sale".into(),
            schedule: schedule.into(),
            time_zone: zone.into(),
            duration: SignedDuration::from_hours(2),
            replicas,
            exceptions: vec!["2026-12-25".into()],
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_counts_from_its_beginning_for_its_duration_in_its_own_zone() {
        let entries = [entry("0 8 * * *", "Europe/Lisbon", 6), entry("0 9 * * *", "Asia/Tokyo", 4)];
        // Nine in Tokyo is midnight UTC; eight in Lisbon is eight UTC in winter.
        for (moment, most) in [
            ("2026-11-26T07:59:59Z", None),
            ("2026-11-26T08:00:00Z", Some(6)),
            ("2026-11-26T09:59:59Z", Some(6)),
            ("2026-11-26T10:00:00Z", None),
            ("2026-11-26T01:00:00Z", Some(4)),
            ("2026-12-25T09:00:00Z", None),
        ] {
            assert_eq!(asked(&entries, at(moment)), (most, Vec::new()), "{moment}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_and_the_others_count() {
        let mut odd = entry("0 8 * * *", "UTC", 9);
        odd.exceptions = vec!["Christmas".into()];
        let entries = [
            entry("0 8 30 2 *", "UTC", 9),
            entry("0 8 * * *", "Moon/Sea", 9),
            odd,
            entry("0 8 * * *", "UTC", 3),
        ];
        let (most, wrong) = asked(&entries, at("2026-11-26T08:30:00Z"));
        assert_eq!(most, Some(3));
        assert!(
            wrong.len() == 3 && wrong[0].contains("never fires") && wrong[1].contains("Moon/Sea"),
            "{wrong:?}"
        );
        assert!(wrong[2].contains("Christmas"), "{wrong:?}");
    }

    #[test]
    fn a_forecast_is_told_when_entries_begin_but_not_on_their_exceptions_nor_of_more_than_it_can_bear() {
        let nonsense = entry("0 8 * * *", "Moon/Sea", 9);
        let entries = [nonsense, entry("0 8 * * *", "UTC", 3)];
        let told = known(&entries, at("2026-12-24T00:00:00Z"), at("2026-12-27T00:00:00Z"));
        let starts = ["2026-12-24T08:00:00Z", "2026-12-26T08:00:00Z"].map(|text| at(text).as_second());
        assert_eq!(told.events.len(), 1, "what cannot be used is left out");
        assert_eq!(told.events[0].when, forecast::When::At(starts.to_vec()));
        assert_eq!(told.events[0].duration_seconds, 7_200);
        let on = known(&entries, at("2026-12-26T09:00:00Z"), at("2026-12-26T12:00:00Z"));
        assert_eq!(on.events[0].when, forecast::When::At(starts[1..].to_vec()), "still on");
        let many = vec![entry("0 8 * * *", "UTC", 3); 32];
        let told = known(&many, at("2026-11-01T00:00:00Z"), at("2026-11-17T00:00:00Z"));
        assert_eq!(told.events.len(), KNOWN);
    }
}
