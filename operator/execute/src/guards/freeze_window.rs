//! Freeze windows: recurring times without any effect, by cron expression and time zone.

use super::{GuardInput, Ruling};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use homeostat_knowledge::Timestamp;
use homeostat_knowledge::policy::Freeze;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// A freeze window that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFreeze<'a> {
    /// Which one.
    pub freeze: &'a Freeze,
    /// When it closes.
    pub until: Timestamp,
}

/// A freeze window that cannot be understood. Validation keeps these out; if one is met all the same, nothing
/// is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// The cron expression.
    #[error(
        "freeze {name}: schedule {schedule:?} is no cron expression of five fields that ever comes true: {reason}"
    )]
    Schedule {
        /// Name of the freeze.
        name: String,
        /// Its schedule.
        schedule: String,
        /// The parser's reason.
        reason: String,
    },
    /// The time zone.
    #[error("freeze {name}: time zone {zone:?} is not known; use an IANA name such as Europe/Madrid")]
    TimeZone {
        /// Name of the freeze.
        name: String,
        /// Its time zone.
        zone: String,
    },
}

/// The first of these windows that is open at `now`. A window that begins in an hour that the clocks skip
/// begins right after it; one that begins in an hour that comes twice begins at the first, and with several hours
/// or minutes in its schedule at both. The duration is elapsed time, so a window over a change of clocks keeps its
/// length.
pub fn frozen(freezes: &[Freeze], now: Timestamp) -> Result<Option<OpenFreeze<'_>>, FreezeError> {
    let mut open = None;
    for freeze in freezes {
        let until = open_until(freeze, now)?;
        if open.is_none() {
            open = until.map(|until| OpenFreeze { freeze, until });
        }
    }
    Ok(open)
}

fn open_until(freeze: &Freeze, now: Timestamp) -> Result<Option<Timestamp>, FreezeError> {
    let bad_schedule = |reason: CronError| FreezeError::Schedule {
        name: freeze.name.to_string(),
        schedule: freeze.schedule.to_string(),
        reason: reason.to_string(),
    };
    let zone = TimeZone::get(&freeze.time_zone).map_err(|_| FreezeError::TimeZone {
        name: freeze.name.to_string(),
        zone: freeze.time_zone.to_string(),
    })?;
    let cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(&freeze.schedule)
        .map_err(bad_schedule)?;
    // All windows of one freeze last equally long, so the latest beginning has the latest end.
    let mut newest =
        cron.find_previous_occurrence(&now.to_zoned(zone.clone()), true).map_err(bad_schedule)?;
    if newest.timestamp() > now {
        newest = cron.find_previous_occurrence(&newest, false).map_err(bad_schedule)?;
    }
    let skipped = skipped(&cron, &zone, now).map_err(bad_schedule)?;
    let begin = skipped.map_or(newest.timestamp(), |change| change.max(newest.timestamp()));
    let end = begin.saturating_add(freeze.duration).unwrap_or(Timestamp::MAX);
    Ok((now < end).then_some(end))
}

/// When the clocks skipped the newest time at which a window was to begin. A search among the times that there are walks
/// over it where the schedule has several hours or minutes, and where its day ends with what is skipped.
fn skipped(cron: &Cron, zone: &TimeZone, now: Timestamp) -> Result<Option<Timestamp>, CronError> {
    // On the face of a clock no time is missing.
    let newest = cron.find_previous_occurrence(&zone.to_datetime(now), true)?;
    let there = zone.to_ambiguous_timestamp(newest);
    if !matches!(there.offset(), AmbiguousOffset::Gap { .. }) {
        return Ok(None);
    }
    // Taken with the offset that holds after the change it lies before it, so that the change is what follows.
    let before = there.earlier().ok();
    Ok(before.and_then(|before| zone.following(before).next()).map(|change| change.timestamp()))
}

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "its freeze windows cannot be checked");
    };
    let mut windows = 0;
    for tenant in std::iter::once(tenant).chain(&input.neighbours) {
        windows += tenant.freezes.len();
        match frozen(&tenant.freezes, input.now) {
            Ok(None) => {}
            Ok(Some(open)) => {
                return Ruling::refused(
                    format!("{} is open", open.freeze.name),
                    format!("until {}", open.until),
                    format!(
                        "wait until the freeze window closes, or take it out of the Tenant {}",
                        tenant.name
                    ),
                );
            }
            Err(error) => return Ruling::unknown("a window cannot be understood", error.to_string()),
        }
    }
    if windows == 0 {
        return Ruling::unset("no freeze windows set", "none");
    }
    Ruling::passed("no window open", format!("{windows} windows"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::{Name, SignedDuration};

    fn freeze(schedule: &str, zone: &str, hours: i64) -> Freeze {
        Freeze {
            name: Name::from("f"),
            schedule: Name::from(schedule),
            time_zone: Name::from(zone),
            duration: SignedDuration::from_hours(hours),
        }
    }

    fn open(freezes: &[Freeze], at: &str) -> bool {
        frozen(freezes, at.parse().expect("a timestamp")).expect("understood").is_some()
    }

    #[test]
    fn a_friday_night_is_frozen_to_the_second() {
        let friday = [freeze("0 18 * * 5", "Europe/Madrid", 14)];
        // 2026-11-20 is a Friday; Madrid is one hour ahead of UTC.
        assert!(!open(&friday, "2026-11-20T16:59:59.999Z"));
        assert!(open(&friday, "2026-11-20T17:00:00Z"));
        assert!(open(&friday, "2026-11-21T06:59:59.999Z"));
        assert!(!open(&friday, "2026-11-21T07:00:00Z"));
        assert!(!open(&friday, "2026-11-19T20:00:00Z"));
    }

    #[test]
    fn clocks_that_change_do_not_open_a_hole() {
        // 2026-03-29 02:30 does not exist in Madrid; the window begins when the gap ends (01:00 UTC).
        let gap = [freeze("30 2 * * *", "Europe/Madrid", 1)];
        assert!(!open(&gap, "2026-03-29T00:59:59Z"));
        assert!(open(&gap, "2026-03-29T01:00:00Z"));
        assert!(open(&gap, "2026-03-29T01:59:59Z"));
        assert!(!open(&gap, "2026-03-29T02:00:00Z"));
        // 2026-10-25 02:30 comes twice; the window begins at the first (00:30 UTC) and once.
        let twice = [freeze("30 2 * * *", "Europe/Madrid", 1)];
        assert!(!open(&twice, "2026-10-25T00:29:59Z"));
        assert!(open(&twice, "2026-10-25T00:30:00Z"));
        assert!(!open(&twice, "2026-10-25T01:30:00Z"));
        // A window over the change keeps its length in elapsed time.
        let over = [freeze("0 22 * * 6", "Europe/Madrid", 8)];
        assert!(open(&over, "2026-10-24T20:00:00Z"));
        assert!(open(&over, "2026-10-25T03:59:59Z"));
        assert!(!open(&over, "2026-10-25T04:00:00Z"));
    }

    #[test]
    fn a_window_that_begins_in_a_skipped_hour_opens_whatever_its_schedule_lists() {
        // Madrid has no time from 02:00 to 03:00 then, Nuuk none from 23:00 to midnight: for it Saturday is over.
        for (schedule, zone) in [
            ("30 2,14 * * *", "Europe/Madrid"),
            ("10,40 2 * * 0", "Europe/Madrid"),
            ("*/30 2 * * *", "Europe/Madrid"),
            ("30 23 * * 6", "America/Nuuk"),
            ("0,30 23 * * 6", "America/Nuuk"),
        ] {
            let window = [freeze(schedule, zone, 3)];
            let change: Timestamp = "2026-03-29T01:00:00Z".parse().expect("a timestamp");
            for (seconds, expected) in
                [(-1, false), (0, true), (1_800, true), (10_799, true), (10_800, false)]
            {
                let at = change + SignedDuration::from_secs(seconds);
                let open = frozen(&window, at).expect("understood").is_some();
                assert_eq!(open, expected, "{schedule} in {zone} at {at}");
            }
        }
    }

    #[test]
    fn a_closed_window_lets_pass_and_is_counted() {
        let mut case = crate::guards::testing::input();
        // It is Wednesday.
        case.tenant.as_mut().expect("tenant").freezes = vec![freeze("0 18 * * 5", "Europe/Madrid", 14)];
        let ruling = judge(&case);
        assert!(ruling.result.permits());
        assert_eq!((ruling.observed.as_str(), ruling.limit.as_str()), ("no window open", "1 windows"));
    }

    #[test]
    fn windows_may_overlap_and_cross_midnight() {
        let freezes = [freeze("0 23 * * *", "UTC", 3), freeze("0 1 * * *", "UTC", 2)];
        for (at, expected) in [
            ("2026-11-20T22:59:59Z", false),
            ("2026-11-20T23:00:00Z", true),
            ("2026-11-21T01:30:00Z", true),
            ("2026-11-21T02:30:00Z", true),
            ("2026-11-21T03:00:00Z", false),
        ] {
            assert_eq!(open(&freezes, at), expected, "{at}");
        }
        // Longer than its own period: always frozen.
        assert!(open(&[freeze("0 * * * *", "UTC", 2)], "2026-11-21T12:34:56Z"));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error_even_behind_an_open_window() {
        let now = "2026-11-20T23:30:00Z".parse().expect("a timestamp");
        let good = freeze("0 23 * * *", "UTC", 3);
        for bad in [
            freeze("whenever", "UTC", 1),
            freeze("0 0 30 2 *", "UTC", 1),
            freeze("0 23 * * *", "Mars/Olympus", 1),
        ] {
            assert!(frozen(&[good.clone(), bad], now).is_err());
        }
    }
}
