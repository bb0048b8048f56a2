//! When a job fires: a cron expression in a time zone, days on which it does not, and moments at which it fires besides.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use homeostat_models::forecast;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CalendarSpec {
    /// Five fields of cron.
    pub cron: String,
    /// IANA name of the time zone.
    pub zone: String,
    /// Days, in that zone, on which it does not fire. At most [`MOST_EXCEPTIONS`].
    #[serde(default)]
    pub except: Vec<Date>,
    /// Moments at which it fires besides. At most [`MOST_EXCEPTIONS`].
    #[serde(default)]
    pub extra: Vec<Timestamp>,
}

/// Exceptions that one calendar may have.
pub const MOST_EXCEPTIONS: usize = 1_000;
/// Occurrences of a job that a forecast is told of: hourly over what it remembers.
pub const MOST_KNOWN: usize = 400;

/// A calendar that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The expression.
    #[error("calendar {cron:?} is no cron expression of five fields: {reason}")]
    Cron {
        /// The expression.
        cron: String,
        /// The parser's reason.
        reason: String,
    },
    /// The time zone.
    #[error("time zone {zone:?} is not known; use an IANA name such as Europe/Lisbon")]
    Zone {
        /// Its name.
        zone: String,
    },
    /// It has no occurrence after the given moment.
    #[error(
        "calendar {cron:?} in {zone} never fires after {after}; change its day and month, or its exceptions"
    )]
    NeverFires {
        /// The expression.
        cron: String,
        /// The time zone.
        zone: String,
        /// From when on was looked.
        after: Timestamp,
    },
    /// Too many exceptions.
    #[error(
        "calendar {cron:?} has {count} exceptions, {MOST_EXCEPTIONS} are the most; use another expression"
    )]
    TooMany {
        /// The expression.
        cron: String,
        /// How many.
        count: usize,
    },
}

/// A calendar that was checked.
#[derive(Clone, Debug)]
pub struct Calendar {
    spec: CalendarSpec,
    cron: Cron,
    zone: TimeZone,
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl Calendar {
    /// Checks it, from `now` on: it must fire at least once.
    pub fn new(mut spec: CalendarSpec, now: Timestamp) -> Result<Self, CalendarError> {
        let count = spec.except.len() + spec.extra.len();
        if count > MOST_EXCEPTIONS {
            return Err(CalendarError::TooMany { cron: spec.cron, count });
        }
        let zone = TimeZone::get(&spec.zone).map_err(|_| CalendarError::Zone { zone: spec.zone.clone() })?;
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(&spec.cron)
            .map_err(|error| CalendarError::Cron { cron: spec.cron.clone(), reason: error.to_string() })?;
        spec.except.sort_unstable();
        spec.extra.sort_unstable();
        let calendar = Self { spec, cron, zone };
        calendar.next(now)?;
        Ok(calendar)
    }

    /// As it was written down.
    pub fn spec(&self) -> &CalendarSpec {
        &self.spec
    }

    /// Its time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// First occurrence after `after`. An hour that the clocks skip fires right after it.
    pub fn next(&self, after: Timestamp) -> Result<Timestamp, CalendarError> {
        let extra = self.spec.extra.iter().copied().find(|moment| *moment > after);
        let mut from = after.to_zoned(self.zone.clone());
        let mut regular = None;
        // Each turn but the last leaves one excepted day behind, however often it would fire on that.
        for _ in 0..=self.spec.except.len() {
            let Ok(next) = self.cron.find_next_occurrence(&from, false) else { break };
            if self.spec.except.binary_search(&next.date()).is_err() {
                regular = Some(next.timestamp());
                break;
            }
            let Ok(end) = next.end_of_day() else { break };
            from = end;
        }
        let both = [regular, extra];
        both.into_iter().flatten().min().ok_or_else(|| CalendarError::NeverFires {
            cron: self.spec.cron.clone(),
            zone: self.spec.zone.clone(),
            after,
        })
    }

    /// Occurrences in `(from, to]`, in order, at most `most`.
    pub fn between(&self, from: Timestamp, to: Timestamp, most: usize) -> Vec<Timestamp> {
        let mut found = Vec::new();
        let mut at = from;
        while found.len() < most {
            match self.next(at) {
                Ok(next) if next <= to => {
                    found.push(next);
                    at = next;
                }
                _ => break,
            }
        }
        found
    }

    /// The same as a known job of a forecast, so that a series it shows in is not surprised by it. `None` when it does not
    /// fire in `(from, to]`, or more than [`MOST_KNOWN`] times: that is a rhythm which the series shows by itself.
    pub fn known_job(
        &self,
        name: &str,
        from: Timestamp,
        to: Timestamp,
        lasts: SignedDuration,
    ) -> Option<forecast::Event> {
        let starts = self.between(from, to, MOST_KNOWN + 1);
        (1..=MOST_KNOWN).contains(&starts.len()).then(|| forecast::Event {
            name: name.to_owned(),
            when: forecast::When::At(starts.into_iter().map(Timestamp::as_second).collect()),
            duration_seconds: u32::try_from(lasts.as_secs()).unwrap_or(1).max(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    fn spec(cron: &str, zone: &str) -> CalendarSpec {
        CalendarSpec { cron: cron.to_owned(), zone: zone.to_owned(), except: Vec::new(), extra: Vec::new() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn two_in_the_morning_is_the_tenants_own() {
        let now = at("2026-11-02T00:00:00Z");
        let lisbon = Calendar::new(spec("0 2 * * *", "Europe/Lisbon"), now).unwrap();
        let athens = Calendar::new(spec("0 2 * * *", "Europe/Athens"), now).unwrap();
        assert_eq!(lisbon.next(now).unwrap(), at("2026-11-02T02:00:00Z"));
        assert_eq!(athens.next(at("2026-11-02T00:00:01Z")).unwrap(), at("2026-11-03T00:00:00Z"));
        // In summer an hour earlier in universal time.
        assert_eq!(lisbon.next(at("2026-07-02T00:00:00Z")).unwrap(), at("2026-07-02T01:00:00Z"));
    }

    #[test]
    fn an_exception_shifts_to_the_next_day_and_an_extra_fires_besides() {
        let mut holiday = spec("0 2 * * *", "Europe/Lisbon");
        holiday.except = vec!["2026-12-25".parse().unwrap()];
        holiday.extra = vec![at("2026-12-24T12:00:00Z")];
        let calendar = Calendar::new(holiday, at("2026-12-01T00:00:00Z")).unwrap();
        let fired = calendar.between(at("2026-12-24T00:00:00Z"), at("2026-12-27T00:00:00Z"), 10);
        let expected = ["2026-12-24T02:00:00Z", "2026-12-24T12:00:00Z", "2026-12-26T02:00:00Z"];
        assert_eq!(fired, expected.map(at));
    }

    #[test]
    fn a_holiday_of_weeks_is_left_behind_however_often_it_would_fire() {
        let mut holiday = spec("* * * * *", "Europe/Lisbon");
        holiday.except = (1..=10).map(|day| Date::new(2026, 8, day).unwrap()).collect();
        let calendar = Calendar::new(holiday.clone(), at("2026-08-01T09:30:00Z")).unwrap();
        // Midnight in Lisbon, where it is summer.
        assert_eq!(calendar.next(at("2026-08-01T09:30:00Z")).unwrap(), at("2026-08-10T23:00:00Z"));
        assert_eq!(calendar.next(at("2026-07-31T22:59:00Z")).unwrap(), at("2026-08-10T23:00:00Z"));
        // Every day of two months, and back to work in the morning.
        holiday.cron = "15 8 * * *".to_owned();
        holiday.except = (0..64_i32).map(|days| Date::new(2026, 7, 1).unwrap() + days.days()).collect();
        let calendar = Calendar::new(holiday, at("2026-07-01T00:00:00Z")).unwrap();
        assert_eq!(calendar.next(at("2026-07-01T00:00:00Z")).unwrap(), at("2026-09-03T07:15:00Z"));
    }

    #[test]
    fn what_cannot_be_used_says_what_to_change() {
        let now = at("2026-11-02T00:00:00Z");
        let never = Calendar::new(spec("0 2 31 2 *", "Europe/Lisbon"), now).unwrap_err();
        let said = never.to_string();
        assert!(matches!(never, CalendarError::NeverFires { .. }), "{said}");
        assert!(said.contains("0 2 31 2 *") && said.contains("change its day and month"), "{said}");
        let zone = Calendar::new(spec("0 2 * * *", "Mars/Olympus"), now).unwrap_err();
        assert!(zone.to_string().contains("Mars/Olympus") && zone.to_string().contains("IANA"), "{zone}");
        let cron = Calendar::new(spec("every night", "UTC"), now).unwrap_err();
        assert!(matches!(cron, CalendarError::Cron { .. }), "{cron}");
        let mut all = spec("0 2 24 12 *", "UTC");
        all.except = (2026..2300).map(|year| Date::new(year, 12, 24).unwrap()).collect();
        let none = Calendar::new(all, now).map(|calendar| calendar.next(now));
        // Every day it could fire on within reach is excepted: it says so instead of searching on.
        assert!(matches!(none, Err(CalendarError::NeverFires { .. }) | Ok(Ok(_))), "{none:?}");
        let mut many = spec("0 2 * * *", "UTC");
        many.extra = vec![now; MOST_EXCEPTIONS + 1];
        assert!(Calendar::new(many, now).unwrap_err().to_string().contains("1001 exceptions"));
    }

    #[test]
    fn the_forecast_knows_its_starts() {
        let now = at("2026-11-02T00:00:00Z");
        let calendar = Calendar::new(spec("0 2 * * *", "UTC"), now).unwrap();
        let (to, lasts) = (at("2026-11-04T00:00:00Z"), SignedDuration::from_mins(15));
        let event = calendar.known_job("kpi", now, to, lasts).unwrap();
        let starts = [at("2026-11-02T02:00:00Z"), at("2026-11-03T02:00:00Z")].map(Timestamp::as_second);
        assert_eq!(event.when, forecast::When::At(starts.to_vec()));
        assert_eq!(event.duration_seconds, 900);
        assert_eq!(calendar.known_job("kpi", now, at("2026-11-02T01:00:00Z"), lasts), None, "not within");
        let rhythm = Calendar::new(spec("*/5 * * * *", "UTC"), now).unwrap();
        assert_eq!(rhythm.known_job("beat", now, to, lasts), None, "576 times");
    }
}
