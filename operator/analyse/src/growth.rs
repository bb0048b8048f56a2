//! What fills up, towards a limit: is it reached soon? Memory of a process, what outlives it (a volume, a quota), and what goes
//! with its pod (ephemeral storage).

use homeostat_knowledge::policy::Measures;
use homeostat_knowledge::{SignedDuration, Timestamp};
use homeostat_models::forecast::History;
use homeostat_models::forecast::time_to_limit;
use std::collections::VecDeque;

/// Samples that are kept.
const KEPT: usize = 120;
/// Samples below which nothing is said.
const FEW: usize = 24;
/// Clean-ups that are remembered.
const CLEANED: usize = 8;
/// What is stored falls by this share of its limit when somebody cleans up; less is churn.
const FREED: f64 = 0.1;
/// A level above that from which it was always cleaned up: by so much of the limit, or half of what is left.
const BEYOND: f64 = 0.05;

/// What counts as growth, and as soon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    /// Reached within so many seconds at the earliest is soon.
    soon: f64,
    /// Within so many seconds as likely as not; later is no growth that is clear of noise.
    likely: f64,
    /// Below this share of the limit growth is no trouble yet.
    least_share: f64,
    /// Seconds between samples that count.
    apart: i64,
    /// It falls when somebody cleans up, and is full when it is full.
    stored: bool,
}

/// Time for a rollout in good order, and for people to look. Caches fill after every start.
const MEMORY: Rule = Rule { soon: 3_600.0, likely: 3_600.0, least_share: 0.6, apart: 1, stored: false };
/// Time for people to grow it or to clean up. More samples a minute would only shorten what is seen of it.
const STORED: Rule = Rule { soon: 21_600.0, likely: 86_400.0, least_share: 0.5, apart: 45, stored: true };
/// Time for a quiet minute, and at most twice as long as what is seen of it. Temporary files and caches fill after every start;
/// as with a volume growth is clear when it is likely within four times as long. A kubelet measures once a minute.
const EPHEMERAL: Rule = Rule { soon: 10_800.0, likely: 43_200.0, least_share: 0.6, apart: 45, stored: true };

impl Rule {
    /// The rule for what a signal measures.
    pub(crate) fn of(measures: Measures) -> Self {
        match measures {
            Measures::EphemeralStorageBytes => EPHEMERAL,
            other if other.stored() => STORED,
            _ => MEMORY,
        }
    }
}

/// Growth of what is stored is clear when it is so many times the deepest fall in between.
const CLEAR: f64 = 2.0;

/// The last samples of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth {
    /// Since a new process began, or since the last clean-up.
    samples: VecDeque<(i64, f64)>,
    /// The highest of them since then.
    highest: f64,
    /// When it was cleaned up, and from which level.
    cleaned: VecDeque<(i64, f64)>,
}

/// When a limit is reached, seconds from the newest sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Soon {
    /// As likely sooner as later.
    pub seconds: f64,
    /// Too early in nine of ten cases.
    pub earliest: f64,
}

impl std::fmt::Display for Soon {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.seconds <= 0.0 {
            return formatter.write_str("limit reached");
        }
        write!(
            formatter,
            "limit reached in about {}, {} at the earliest",
            words(self.seconds),
            words(self.earliest)
        )
    }
}

/// `42 min`, `3 h 5 min`.
fn words(seconds: f64) -> String {
    let minutes = SignedDuration::try_from_secs_f64((seconds / 60.0).ceil()).unwrap_or_default().as_secs();
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

impl Growth {
    /// Whether a sample at this instant counts: the last one that did is long enough ago.
    pub(crate) fn due(&self, rule: Rule, at: Timestamp) -> bool {
        self.samples.back().is_none_or(|(last, _)| {
            let at = at.as_second();
            at < *last || at - last >= rule.apart
        })
    }

    /// Where new pods are about it is they who begin empty: no clean-up that would come again by itself.
    pub(crate) fn emptied_by_new_pods(&mut self, value: f64, limit: f64) {
        if self.fell(value, limit) {
            self.samples.clear();
        }
    }

    fn fell(&self, value: f64, limit: f64) -> bool {
        value < self.highest - FREED * limit
    }

    /// Takes a sample that is [`Self::due`], and says when the limit is reached if that is soon. Only said when the line
    /// through the samples foretold the newest quarter of them; see [`time_to_limit`]. A value or limit that is no number
    /// is left out.
    pub(crate) fn observe(&mut self, rule: Rule, at: Timestamp, value: f64, limit: f64) -> Option<Soon> {
        if !value.is_finite() || !limit.is_finite() || limit <= 0.0 {
            return None;
        }
        let at = at.as_second();
        if let Some((last, before)) = self.samples.back().copied() {
            if rule.stored && self.fell(value, limit) {
                self.clean_up(at);
            } else if at < last || (!rule.stored && value < 0.5 * before) {
                // A restart begins a new history: what was before says nothing of the new process.
                self.samples.clear();
            }
        }
        self.highest = if self.samples.is_empty() { value } else { self.highest.max(value) };
        self.samples.push_back((at, value));
        if self.samples.len() > KEPT {
            self.samples.pop_front();
        }
        if rule.stored && value >= limit {
            return Some(Soon { seconds: 0.0, earliest: 0.0 });
        }
        if self.samples.len() < FEW || value < rule.least_share * limit || self.usual(at, value, limit) {
            return None;
        }
        if rule.stored && !self.clear_of_noise() {
            return None;
        }
        self.line(rule, value, limit)
    }

    /// Whether what it grew by is at least twice what it fell by in between: small clean-ups and churn fall as much as they rise.
    fn clear_of_noise(&self) -> bool {
        let (mut top, mut fell) = (f64::NEG_INFINITY, 0.0_f64);
        for (_, value) in &self.samples {
            top = top.max(*value);
            fell = fell.max(top - value);
        }
        let ends = self.samples.front().zip(self.samples.back());
        ends.is_some_and(|(first, last)| last.1 - first.1 >= CLEAR * fell)
    }

    /// Where the line through the samples reaches the limit.
    fn line(&self, rule: Rule, value: f64, limit: f64) -> Option<Soon> {
        let (start, step) = self.step()?;
        let mut values = vec![f64::NAN; KEPT];
        let mut used = 0;
        // Where samples are missing the oldest ones lie before what is looked at.
        for (at, value) in self.samples.iter().filter(|(at, _)| *at >= start) {
            let place = usize::try_from((at - start) / i64::from(step)).ok()?;
            if let Some(slot) = values.get_mut(place) {
                *slot = *value;
                used = place + 1;
            }
        }
        let history = History::new(start, step, values.get(..used)?).ok()?;
        let said = time_to_limit(&history, limit.max(value), rule.likely);
        let seconds = said.p50.filter(|_| said.skill)?;
        let earliest = said.p10.unwrap_or(seconds).min(seconds);
        (earliest <= rule.soon).then_some(Soon { seconds, earliest })
    }

    /// Remembers from which level it was cleaned up; what takes several samples is one clean-up.
    fn clean_up(&mut self, at: i64) {
        let going_on = self.samples.len() < FEW;
        match self.cleaned.back_mut().filter(|_| going_on) {
            Some((_, from)) => *from = from.max(self.highest),
            None => self.cleaned.push_back((at, self.highest)),
        }
        if self.cleaned.len() > CLEANED {
            self.cleaned.pop_front();
        }
        self.samples.clear();
    }

    /// Whether it was cleaned up twice or more from such a level, and the next time is not overdue: as log files that are
    /// rotated.
    fn usual(&self, at: i64, value: f64, limit: f64) -> bool {
        let gaps = self.cleaned.iter().zip(self.cleaned.iter().skip(1)).map(|(one, next)| next.0 - one.0);
        let (Some(longest), Some((last, _))) = (gaps.max(), self.cleaned.back()) else { return false };
        let level = self.cleaned.iter().map(|(_, from)| *from).fold(0.0, f64::max);
        let beyond = (BEYOND * limit).min(0.5 * (limit - level)).max(0.0);
        at - last <= 2 * longest && value <= level + beyond
    }

    /// First sample that is used, and the usual step between samples.
    fn step(&self) -> Option<(i64, u32)> {
        let mut gaps: Vec<i64> =
            self.samples.iter().zip(self.samples.iter().skip(1)).map(|(a, b)| b.0 - a.0).collect();
        gaps.sort_unstable();
        let step = u32::try_from(*gaps.get(gaps.len() / 2)?).ok().filter(|step| *step > 0)?;
        // Gaps of missing samples must not push the newest ones out.
        let last = self.samples.back()?.0;
        let room = i64::try_from(KEPT).ok()? - 1;
        let start = (self.samples.front()?.0).max(last - room * i64::from(step));
        Some((start, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at the end of samples one minute apart.
    fn said(rule: Rule, values: impl Iterator<Item = f64>, limit: f64) -> Option<String> {
        soon(rule, values, limit).map(|soon| soon.to_string())
    }

    fn soon(rule: Rule, values: impl Iterator<Item = f64>, limit: f64) -> Option<Soon> {
        all(rule, values, limit).last().copied().flatten()
    }

    /// What is said after each of them.
    fn all(rule: Rule, values: impl Iterator<Item = f64>, limit: f64) -> Vec<Option<Soon>> {
        let mut growth = Growth::default();
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap_or_default();
        (0_i64..)
            .zip(values)
            .map(|(minute, value)| {
                assert!(growth.due(rule, at(minute)));
                growth.observe(rule, at(minute), value, limit)
            })
            .collect()
    }

    fn line(minutes: i32, from: f64, rise: f64) -> impl Iterator<Item = f64> {
        (0..minutes).map(move |minute| from + rise * f64::from(minute))
    }

    /// Between -1 and 1, always the same.
    fn noise(minute: i32) -> f64 {
        f64::from((minute * 7_919 + 13) % 101) / 50.0 - 1.0
    }

    #[test]
    fn steady_growth_is_told_with_the_time_that_is_left() {
        let text = said(MEMORY, line(40, 600.0, 5.0), 1_000.0);
        // 795 at the end, 5 a minute.
        assert!(
            text.as_deref().is_some_and(|text| text.contains("41 min") || text.contains("42 min")),
            "{text:?}"
        );
        let soon = soon(MEMORY, line(40, 600.0, 5.0), 1_000.0);
        assert!(
            soon.is_some_and(|soon| soon.earliest <= soon.seconds && soon.earliest > 1_800.0),
            "{soon:?}"
        );
    }

    #[test]
    fn what_goes_up_and_down_is_slow_or_far_from_its_limit_is_no_trouble() {
        let saw = (0..60).map(|minute| 700.0 + 20.0 * f64::from(minute % 10));
        assert_eq!(said(MEMORY, saw, 1_000.0), None);
        assert_eq!(said(MEMORY, line(60, 900.0, 0.0), 1_000.0), None);
        assert_eq!(said(MEMORY, line(40, 600.0, 0.5), 1_000.0), None, "in days");
        assert_eq!(said(MEMORY, line(40, 100.0, 5.0), 1_000.0), None, "far away");
    }

    #[test]
    fn a_restart_begins_anew() {
        let again = (0..60).map(|minute| if minute < 50 { 600.0 + 7.0 * f64::from(minute) } else { 200.0 });
        assert_eq!(said(MEMORY, again, 1_000.0), None);
    }

    #[test]
    fn a_volume_that_fills_within_hours_is_told_hours_ahead() {
        // 659 at the end, 1 a minute: 341 min are left.
        let text = said(STORED, line(60, 600.0, 1.0), 1_000.0).unwrap_or_default();
        assert!(
            text.starts_with("limit reached in about 5 h 4") && text.ends_with(" at the earliest"),
            "{text}"
        );
        assert_eq!(said(MEMORY, line(60, 600.0, 1.0), 1_000.0), None, "too far ahead for memory");
        let first = all(STORED, line(60, 600.0, 1.0), 1_000.0).iter().position(Option::is_some);
        assert!(first.is_some_and(|first| first >= FEW), "not from a few samples: {first:?}");
        assert_eq!(said(STORED, line(60, 600.0, 0.5), 1_000.0), None, "more than six hours are left");
        assert_eq!(said(STORED, line(60, 100.0, 5.0), 1_000.0), None, "more than half is free");
    }

    #[test]
    fn growth_under_noise_is_told_and_noise_alone_is_not() {
        let noisy = |rise: f64| {
            (0..KEPT as i32).map(move |minute| 700.0 + rise * f64::from(minute) + 8.0 * noise(minute))
        };
        let soon = soon(STORED, noisy(1.0), 1_000.0);
        // 819 at the end.
        assert!(
            soon.is_some_and(|soon| (8_000.0..13_000.0).contains(&soon.seconds)
                && (6_000.0..=soon.seconds).contains(&soon.earliest)),
            "{soon:?}"
        );
        assert!(all(STORED, noisy(0.0), 1_000.0).iter().all(Option::is_none));
        assert!(all(STORED, line(200, 900.0, 0.0), 1_000.0).iter().all(Option::is_none), "constant");
    }

    #[test]
    fn a_step_is_no_growth_wherever_it_is() {
        for step in 1..150 {
            let values = (0..160).map(|minute| if minute < step { 600.0 } else { 800.0 });
            let said = all(STORED, values, 1_000.0);
            assert!(said.iter().all(Option::is_none), "step in minute {step}: {said:?}");
        }
    }

    #[test]
    fn what_is_cleaned_up_regularly_is_no_trouble_until_nobody_cleans_up() {
        // Log files that are rotated every 100 minutes, from 90 % of the volume.
        let saw = |minute: i32| 400.0 + 5.0 * f64::from(minute % 100);
        let told = all(STORED, (0..1_000).map(saw), 1_000.0);
        let last = told.iter().rposition(Option::is_some);
        assert!(last.is_none_or(|last| last < 300), "not after the second time: {last:?}");
        // Small ones, and quick ones.
        let small = (0..600).map(|minute| 700.0 + 3.0 * f64::from(minute % 20));
        assert!(all(STORED, small, 1_000.0).iter().all(Option::is_none));
        let quick = (0..600).map(|minute| 500.0 + 40.0 * f64::from(minute % 10));
        assert!(all(STORED, quick, 1_000.0).iter().all(Option::is_none));
        // The rotation stops.
        let stops = (0..620)
            .map(|minute| if minute < 500 { saw(minute) } else { 400.0 + 5.0 * f64::from(minute - 500) });
        let told = all(STORED, stops.take(615), 1_000.0);
        let first = told.iter().skip(500).position(Option::is_some);
        assert!(first.is_some_and(|first| (100..=112).contains(&first)), "{first:?}");
    }

    #[test]
    fn ephemeral_storage_is_told_hours_before_it_is_full_and_neither_noise_nor_what_is_rotated_is() {
        // 659 at the end, 2 a minute: 171 min are left.
        let text = said(EPHEMERAL, line(60, 541.0, 2.0), 1_000.0).unwrap_or_default();
        assert!(text.starts_with("limit reached in about 2 h 5"), "{text}");
        assert_eq!(said(MEMORY, line(60, 541.0, 2.0), 1_000.0), None, "too far ahead for memory");
        assert_eq!(said(EPHEMERAL, line(60, 600.0, 1.0), 1_000.0), None, "more than three hours are left");
        assert_eq!(said(EPHEMERAL, line(60, 290.0, 5.0), 1_000.0), None, "what fills after a start");
        assert_eq!(said(EPHEMERAL, [1_000.0].into_iter(), 1_000.0).as_deref(), Some("limit reached"));
        let noisy = (0..KEPT as i32).map(|minute| 800.0 + 8.0 * noise(minute));
        assert!(all(EPHEMERAL, noisy, 1_000.0).iter().all(Option::is_none));
        let rotated = (0..1_000).map(|minute| 400.0 + 5.0 * f64::from(minute % 100));
        let last = all(EPHEMERAL, rotated, 1_000.0).iter().rposition(Option::is_some);
        assert!(last.is_none_or(|last| last < 300), "not after the second time: {last:?}");
    }

    #[test]
    fn one_clean_up_by_hand_explains_nothing_and_a_slow_one_is_one() {
        // 950 down to 500 within ten minutes, then it fills again.
        let values = (0..200).map(|minute| match minute {
            0..90 => 500.0 + 5.0 * f64::from(minute),
            90..100 => 950.0 - 45.0 * f64::from(minute - 90),
            _ => 500.0 + 4.0 * f64::from(minute - 100),
        });
        let told = all(STORED, values, 1_000.0);
        assert!(told[89].is_some() && told[95].is_none(), "it was cleaned up");
        assert!(told[150].is_some(), "it fills again");
    }

    #[test]
    fn what_is_full_is_told_at_once_and_what_is_no_number_never() {
        assert_eq!(said(STORED, [1_000.0].into_iter(), 1_000.0).as_deref(), Some("limit reached"));
        assert_eq!(said(STORED, line(60, 1_200.0, 0.0), 1_000.0).as_deref(), Some("limit reached"));
        for (value, limit) in [
            (900.0, 1_000.0),
            (f64::NAN, 1_000.0),
            (f64::INFINITY, 1_000.0),
            (900.0, f64::NAN),
            (900.0, 0.0),
            (900.0, -1.0),
        ] {
            assert_eq!(said(STORED, [value].into_iter(), limit), None, "{value} of {limit}");
        }
        let gaps = line(60, 600.0, 3.0).enumerate();
        let gaps = gaps.map(|(minute, value)| if minute % 5 == 2 { f64::NAN } else { value });
        assert!(said(STORED, gaps, 1_000.0).is_some(), "samples that are missing do not hide the line");
    }

    #[test]
    fn one_missing_sample_does_not_hide_the_line_when_as_many_as_are_kept_are_known() {
        for missing in [90, 150, 198] {
            let rising = line(200, 600.0, 1.0).zip(0..);
            let rising = rising.map(|(value, minute)| if minute == missing { f64::NAN } else { value });
            let told = all(STORED, rising, 1_000.0);
            let silent = told.iter().skip(100).filter(|said| said.is_none()).count();
            assert!(silent <= 1 && told[199].is_some(), "without minute {missing}: {silent}");
        }
    }

    #[test]
    fn samples_that_come_faster_than_needed_are_left_out() {
        let mut growth = Growth::default();
        let at = |second: i64| Timestamp::from_second(second).unwrap_or_default();
        assert!(growth.due(STORED, at(0)) && growth.observe(STORED, at(0), 1.0, 10.0).is_none());
        assert!(!growth.due(STORED, at(15)) && growth.due(STORED, at(60)) && growth.due(STORED, at(-5)));
        assert!(growth.due(MEMORY, at(15)));
    }
}
