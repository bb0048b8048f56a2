//! Work days and weekends: how much longer or shorter a job's runs are on Saturdays and Sundays, in its own time zone.
//!
//! The natural logarithm of a run time in seconds is taken as a level that wanders, and on weekends a difference beside it: the
//! local level model with a dummy variable for weekends (Harvey 1989, Forecasting, Structural Time Series Models and the Kalman
//! Filter), filtered as in Kalman 1960 (A New Approach to Linear Filtering and Prediction Problems), with variances in units of
//! that of one run. What a release, or growth, does to run times moves the level and leaves
//! the difference; so one that came on a Saturday is not taken for a weekend. The difference begins at zero with a prior of the
//! weight of a quarter of a run, and counts from where it is beyond doubt: by many times its own deviation, after at least six
//! runs on either kind of day and two whole weekends, and only while it foretold the last weekend runs better than what
//! knows of no days. Otherwise a job is planned as if there were none.

use super::learned::{LONGEST, Level, MEMORY, SPREAD};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Runs of either kind of day below which nothing is believed of their difference.
const FEW: u32 = 6;
/// Changes between them below which it may as well be something that happened on a weekend.
const CHANGES: u32 = 4;
/// Share of the newest weekend run in what days were worth: a pattern that ended is dropped within a few of them.
const NEWEST: f64 = 0.25;
/// Deviations of the difference up to which it is noise; one more, and it counts in full.
const NOISE: f64 = 4.0;
/// Variance of the difference before anything was seen, in variances of one run.
const PRIOR: f64 = 4.0;
/// Runs that the prior of a run's own variance counts as.
const PRIOR_RUNS: f64 = 4.0;
/// How far the level wanders from run to run, in variances of one run: it forgets as run times do.
const WANDERS: f64 = 1.0 / (MEMORY * (MEMORY - 1.0));
/// The same of the difference, which hardly ever changes.
const DIFFERENCE_WANDERS: f64 = WANDERS / 10.0;
/// Five days and a whole week.
const WORK_DAYS: SignedDuration = SignedDuration::from_hours(5 * 24);
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What kind of day a slot lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Day {
    /// Monday to Friday.
    Work,
    /// Saturday or Sunday.
    Weekend,
}

impl Day {
    fn on_weekend(self) -> f64 {
        match self {
            Self::Work => 0.0,
            Self::Weekend => 1.0,
        }
    }
}

/// The kinds of days of a time zone. Those of one week are at hand, others are looked up.
#[derive(Clone, Debug)]
pub struct Week {
    zone: TimeZone,
    monday: Timestamp,
    saturday: Timestamp,
    until: Timestamp,
}

impl Week {
    /// Of a zone with its IANA name; `None` when there is none of that name.
    pub fn in_zone(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        let (monday, saturday, until) = (Timestamp::MAX, Timestamp::MAX, Timestamp::MAX);
        Some(Self { zone, monday, saturday, until })
    }

    /// The kind of day of a moment.
    pub fn day(&self, moment: Timestamp) -> Day {
        let weekend =
            if self.holds(moment) { moment >= self.saturday } else { self.since_monday(moment) >= 5 };
        if weekend { Day::Weekend } else { Day::Work }
    }

    /// Has the week of a moment at hand from now on.
    pub fn turn(&mut self, moment: Timestamp) {
        if self.holds(moment) {
            return;
        }
        let passed = SignedDuration::from_hours(24 * i64::from(self.since_monday(moment)));
        let today = moment.to_zoned(self.zone.clone()).date();
        let Ok(monday) = today.checked_sub(passed) else { return };
        let begin = |after: SignedDuration| {
            let day = monday.checked_add(after).ok()?;
            Some(day.to_zoned(self.zone.clone()).ok()?.timestamp())
        };
        let days = (begin(SignedDuration::ZERO), begin(WORK_DAYS), begin(WEEK));
        if let (Some(monday), Some(saturday), Some(until)) = days {
            (self.monday, self.saturday, self.until) = (monday, saturday, until);
        }
    }

    fn holds(&self, moment: Timestamp) -> bool {
        self.monday <= moment && moment < self.until
    }

    /// Whole days.
    fn since_monday(&self, moment: Timestamp) -> i8 {
        moment.to_zoned(self.zone.clone()).weekday().to_monday_zero_offset()
    }
}

/// What a job's runs taught of work days and weekends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Days {
    /// Runs on work days.
    work: u32,
    /// Runs on weekends.
    weekend: u32,
    /// Changes from one kind of day to the other.
    changes: u32,
    /// The newest slot that taught, and its kind.
    newest: Option<(Timestamp, Day)>,
    /// Logarithm of the run time in seconds on a work day.
    level: f64,
    /// How far that of a weekend lies from it.
    apart: f64,
    /// Variances of both and what they have in common, in variances of one run.
    doubt: Doubt,
    /// Variance of one run.
    variance: f64,
    /// By how much the squared error of weekend runs was smaller with days than without, of late.
    gain: f64,
}

/// Of what is not known for certain: a level and a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Doubt {
    level: f64,
    both: f64,
    apart: f64,
}

impl Days {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Whether enough was seen that a kind of day may make a difference.
    pub fn tell(&self) -> bool {
        self.work >= FEW && self.weekend >= FEW && self.changes >= CHANGES && self.gain > 0.0
    }

    /// Adds the logarithm of a run time in seconds, which without days was expected to be `plain`. A run of an older slot than
    /// the newest teaches nothing: which days follow each other is taken from their order.
    pub fn push(&mut self, value: f64, plain: f64, slot: Timestamp, day: Day) {
        if !value.is_finite() || self.newest.is_some_and(|(newest, _)| slot <= newest) {
            return;
        }
        let changed = self.newest.is_some_and(|(_, last)| last != day);
        let before = self.work.saturating_add(self.weekend);
        self.changes = self.changes.saturating_add(u32::from(changed));
        self.newest = Some((slot, day));
        match day {
            Day::Work => self.work = self.work.saturating_add(1),
            Day::Weekend => self.weekend = self.weekend.saturating_add(1),
        }
        let on = day.on_weekend();
        if before == 0 {
            self.level = value;
            self.doubt = Doubt { level: 1.0 + on * PRIOR, both: -on * PRIOR, apart: PRIOR };
            return;
        }
        let doubt = self.doubt.later();
        let (of_level, of_apart) = (doubt.level + on * doubt.both, doubt.both + on * doubt.apart);
        let whole = 1.0 + of_level + on * of_apart;
        let surprise = value - self.level - on * self.apart;
        if day == Day::Weekend {
            let better = (value - plain) * (value - plain) - surprise * surprise;
            self.gain += NEWEST * (better - self.gain);
        }
        self.level += of_level / whole * surprise;
        self.apart += of_apart / whole * surprise;
        self.doubt = Doubt {
            level: doubt.level - of_level * of_level / whole,
            both: doubt.both - of_level * of_apart / whole,
            apart: doubt.apart - of_apart * of_apart / whole,
        };
        let share = 1.0 / f64::from(before).min(MEMORY);
        self.variance += share * (surprise * surprise / whole - self.variance);
    }

    /// What run times are planned with on that kind of day: `plain`, which knows of no days, until a difference is beyond
    /// doubt.
    pub fn on(&self, plain: &Level, day: Day) -> Level {
        if !self.tell() {
            return *plain;
        }
        let seen = f64::from(self.work.saturating_add(self.weekend)).min(MEMORY);
        let variance = (seen * self.variance + PRIOR_RUNS * SPREAD * SPREAD) / (seen + PRIOR_RUNS);
        let sure = self.apart.abs() / (variance * self.doubt.apart).sqrt();
        let share = (sure - NOISE).clamp(0.0, 1.0);
        if share.is_nan() || share <= 0.0 {
            return *plain;
        }
        let own = self.level + day.on_weekend() * self.apart;
        Level {
            mean: plain.mean + share * (own - plain.mean),
            // The other one also spans the difference between the days.
            variance: plain.variance + share * (variance.min(plain.variance) - plain.variance),
            ..*plain
        }
    }

    /// Whether it can be what runs taught.
    pub(super) fn is_sound(&self) -> bool {
        let Doubt { level, both, apart } = self.doubt;
        // Beyond what was ever in doubt.
        let most = 4.0 * PRIOR;
        let doubt = (0.0..=most).contains(&level) && (f64::MIN_POSITIVE..=most).contains(&apart);
        self.is_empty()
            || (doubt
                && both * both <= level * apart + 1e-9
                && self.level.abs() <= LONGEST
                && self.apart.abs() <= LONGEST
                && (0.0..=LONGEST * LONGEST).contains(&self.variance)
                && self.gain.abs() <= 4.0 * LONGEST * LONGEST)
    }
}

impl Doubt {
    /// One run later; never more of the difference than before anything was seen.
    fn later(self) -> Self {
        let (level, apart) = (self.level + WANDERS, self.apart + DIFFERENCE_WANDERS);
        if apart <= PRIOR {
            return Self { level, apart, ..self };
        }
        Self { level, both: self.both * (PRIOR / apart).sqrt(), apart: PRIOR }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::learned::JobHistory;
    use super::*;
    use proptest::prelude::*;

    /// A Monday, 0:00 UTC.
    const MONDAY: i64 = 1_793_577_600;
    const HOUR: i64 = 3_600;

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Runs of about ten minutes, so many a day, from a Monday on; `times` says how much longer one takes by its hour.
    fn taught(runs_a_day: i64, days: i64, noise: &[f64], times: impl Fn(i64, Day) -> f64) -> JobHistory {
        let mut history = JobHistory::default();
        let mut week = Week::in_zone("UTC").unwrap();
        for run in 0..days * runs_a_day {
            let hour = run * 24 / runs_a_day;
            let slot = Timestamp::from_second(MONDAY + hour * HOUR).unwrap();
            week.turn(slot);
            let day = week.day(slot);
            let noise = noise[run as usize % noise.len()];
            history.ran_on(600.0 * times(hour, day) * noise.exp(), slot, Some(day));
        }
        history
    }

    /// Seconds that a run takes in the middle on that kind of day, as it is planned.
    fn planned(history: &JobHistory, day: Day) -> f64 {
        history.run_time_on(Some(day)).mean.exp()
    }

    fn weekends_are_shorter(_: i64, day: Day) -> f64 {
        if day == Day::Weekend { 0.7 } else { 1.0 }
    }

    #[test]
    fn days_are_those_of_the_zone_also_where_the_clocks_change_and_whichever_week_is_at_hand() {
        assert!(Week::in_zone("Mars/Olympus").is_none());
        for (zone, slot, day) in [
            ("UTC", "2026-11-06T23:59:59Z", Day::Work),
            ("UTC", "2026-11-07T00:00:00Z", Day::Weekend),
            ("UTC", "2026-11-08T23:59:59Z", Day::Weekend),
            ("UTC", "2026-11-09T00:00:00Z", Day::Work),
            ("America/Sao_Paulo", "2026-11-07T02:59:59Z", Day::Work),
            ("America/Sao_Paulo", "2026-11-07T03:00:00Z", Day::Weekend),
            ("Europe/Athens", "2026-11-08T22:00:00Z", Day::Work),
            // Lisbon leaves summer time on that Sunday.
            ("Europe/Lisbon", "2026-10-25T23:59:59Z", Day::Weekend),
            ("Europe/Lisbon", "2026-10-23T23:00:00Z", Day::Weekend),
            ("Europe/Lisbon", "2026-10-26T00:00:00Z", Day::Work),
        ] {
            let mut week = Week::in_zone(zone).unwrap();
            let slot = moment(slot);
            for at_hand in [slot, moment("2026-10-25T12:00:00Z"), moment("2027-03-01T00:00:00Z")] {
                week.turn(at_hand);
                assert_eq!(week.day(slot), day, "{zone} {slot} with the week of {at_hand}");
            }
        }
        let mut last = Week::in_zone("UTC").unwrap();
        last.turn(Timestamp::MAX);
        assert_eq!(last.day(Timestamp::MAX), Day::Work, "a Thursday");
    }

    #[test]
    fn nothing_is_made_of_weekends_before_a_second_one_is_over() {
        for days in 1..=14 {
            let history = taught(24, days, &[0.0], weekends_are_shorter);
            for day in [Day::Work, Day::Weekend] {
                assert_eq!(history.run_time_on(Some(day)), history.run_time, "{days} days");
            }
        }
        let history = taught(24, 15, &[0.0], weekends_are_shorter);
        assert!((planned(&history, Day::Weekend) / 420.0 - 1.0).abs() < 0.05);
        assert_eq!(history.run_time_on(None), history.run_time, "of a day that is not known");
    }

    #[test]
    fn on_the_monday_after_a_weekend_runs_are_planned_as_on_work_days() {
        let history = taught(24, 21, &[0.02, -0.02], weekends_are_shorter);
        let plain = history.run_time;
        assert!(plain.mean.exp() < 520.0, "without days the weekend still counts: {}", plain.mean.exp());
        let monday = history.run_time_on(Some(Day::Work));
        assert!((monday.mean.exp() / 600.0 - 1.0).abs() < 0.02, "{}", monday.mean.exp());
        assert!(monday.variance < plain.variance, "the difference between the days is no spread of its runs");
    }

    #[test]
    fn a_release_that_doubles_run_times_on_a_saturday_is_no_weekend() {
        for runs_a_day in [1, 24] {
            // The fourth Saturday, and eight days more.
            let slower = |hour: i64, _| if hour >= 26 * 24 { 2.0 } else { 1.0 };
            let history = taught(runs_a_day, 35, &[0.1, -0.1, 0.15, -0.15], slower);
            let plain = history.run_time.mean.exp();
            for day in [Day::Work, Day::Weekend] {
                let planned = planned(&history, day);
                assert!(planned > 0.85 * plain, "{runs_a_day} a day, {day:?}: {planned} for {plain}");
            }
        }
    }

    #[test]
    fn one_odd_weekend_is_never_planned_with() {
        let odd = |hour: i64, day| if hour < 7 * 24 && day == Day::Weekend { 1.0 / 60.0 } else { 1.0 };
        for days in 8..=35 {
            let history = taught(24, days, &[0.05, -0.05], odd);
            for day in [Day::Work, Day::Weekend] {
                let (planned, plain) = (planned(&history, day), history.run_time.mean.exp());
                assert!(planned > 0.95 * plain.min(600.0), "{days} days, {day:?}: {planned} for {plain}");
            }
        }
    }

    #[test]
    fn a_daily_job_drops_a_pattern_that_ended_within_two_weekends() {
        let once = |hour: i64, day| if hour < 42 * 24 { weekends_are_shorter(hour, day) } else { 1.0 };
        let history = taught(1, 42 + 14, &[0.02, -0.02], once);
        assert_eq!(history.run_time_on(Some(Day::Weekend)), history.run_time);
    }

    #[test]
    fn what_was_shorter_on_weekends_and_is_not_any_more_is_unlearnt() {
        let once = |hour: i64, day| if hour < 28 * 24 { weekends_are_shorter(hour, day) } else { 1.0 };
        let history = taught(24, 28 + 70, &[0.05, -0.05], once);
        assert!((planned(&history, Day::Weekend) / 600.0 - 1.0).abs() < 0.05);
    }

    #[test]
    fn an_older_slot_than_the_newest_changes_nothing() {
        let history = taught(24, 21, &[0.0], weekends_are_shorter);
        let mut late = history.clone();
        late.days.push(3.0, 3.0, Timestamp::from_second(MONDAY).unwrap(), Day::Work);
        late.days.push(f64::NAN, 3.0, Timestamp::MAX, Day::Work);
        assert_eq!(late, history);
    }

    #[test]
    fn what_is_kept_of_it_is_small_comes_back_as_it_was_and_nonsense_is_told() {
        let history = taught(24, 700, &[0.2, -0.3, 0.1], weekends_are_shorter);
        let text = serde_json::to_string(&history.days).unwrap();
        assert!(text.len() < 330, "{text}");
        let back: Days = serde_json::from_str(&text).unwrap();
        assert_eq!(back, history.days);
        assert!(back.is_sound() && Days::default().is_sound());
        let wrong: [fn(&mut Days); 7] = [
            |days| days.gain = f64::NAN,
            |days| days.level = f64::NAN,
            |days| days.apart = 1e9,
            |days| days.variance = -1.0,
            |days| days.doubt.apart = 0.0,
            |days| days.doubt.level = f64::INFINITY,
            |days| days.doubt.both = 3.0,
        ];
        for (place, wrong) in wrong.iter().enumerate() {
            let mut days = back;
            wrong(&mut days);
            assert!(!days.is_sound(), "{place}: {days:?}");
        }
    }

    #[test]
    fn years_on_work_days_alone_leave_it_sound_and_plain() {
        let mut history = JobHistory::default();
        for run in 0..200_000 {
            let slot = Timestamp::from_second(MONDAY + run * 60).unwrap();
            history.ran_on(600.0, slot, Some(Day::Work));
        }
        assert!(history.days.is_sound(), "{:?}", history.days);
        assert_eq!(history.run_time_on(Some(Day::Weekend)), history.run_time);
    }

    proptest! {
        #[test]
        fn without_a_pattern_of_days_the_estimate_is_the_same(
            noise in prop::collection::vec(-0.2..0.2_f64, 97),
            runs_a_day in prop::sample::select(vec![1_i64, 2, 24]),
            days in 1..40_i64,
        ) {
            let history = taught(runs_a_day, days, &noise, |_, _| 1.0);
            for day in [Day::Work, Day::Weekend] {
                let planned = history.run_time_on(Some(day)).mean;
                prop_assert!((planned - history.run_time.mean).abs() < 0.02, "{planned}");
            }
        }

        #[test]
        fn weekends_at_seven_tenths_are_known_after_three_weeks(
            noise in prop::collection::vec(-0.03..0.03_f64, 97),
            runs_a_day in prop::sample::select(vec![1_i64, 2, 24]),
        ) {
            let history = taught(runs_a_day, 21, &noise, weekends_are_shorter);
            for (day, seconds) in [(Day::Work, 600.0), (Day::Weekend, 420.0)] {
                let planned = planned(&history, day);
                prop_assert!((planned / seconds - 1.0).abs() < 0.05, "{day:?}: {planned}");
            }
        }
    }
}
