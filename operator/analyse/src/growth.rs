//! Memory that grows towards its limit: is it reached soon?

use homeostat_knowledge::Timestamp;
use homeostat_models::forecast::History;
use homeostat_models::forecast::time_to_limit;
use std::collections::VecDeque;

/// Samples that are kept.
const KEPT: usize = 120;
/// Samples below which nothing is said.
const FEW: usize = 24;
/// Reached within so long is soon: time for a rollout in good order, and for people to look.
const SOON_SECONDS: f64 = 3_600.0;
/// Below this share of the limit growth is no trouble yet: caches fill after every start.
const LEAST_SHARE: f64 = 0.6;

/// The last samples of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth {
    samples: VecDeque<(i64, f64)>,
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
        write!(formatter, "limit reached in about {:.0} min", (self.seconds / 60.0).ceil())
    }
}

impl Growth {
    /// Takes a sample, and says when the limit is reached if that is soon. Only said when the line through the samples
    /// foretold the newest quarter of them; see [`time_to_limit`].
    pub(crate) fn observe(&mut self, at: Timestamp, value: f64, limit: f64) -> Option<Soon> {
        let at = at.as_second();
        // A restart begins a new history: what was before says nothing of the new process.
        if self.samples.back().is_some_and(|(last, before)| at <= *last || value < 0.5 * before) {
            self.samples.clear();
        }
        self.samples.push_back((at, value));
        if self.samples.len() > KEPT {
            self.samples.pop_front();
        }
        if self.samples.len() < FEW || value < LEAST_SHARE * limit || limit <= 0.0 {
            return None;
        }
        let (start, step) = self.step()?;
        let mut values = vec![f64::NAN; KEPT];
        let mut used = 0;
        for (at, value) in &self.samples {
            let place = usize::try_from((at - start) / i64::from(step)).ok()?;
            if let Some(slot) = values.get_mut(place) {
                *slot = *value;
                used = place + 1;
            }
        }
        let history = History::new(start, step, values.get(..used)?).ok()?;
        let said = time_to_limit(&history, limit.max(value), SOON_SECONDS);
        let seconds = said.p50.filter(|_| said.skill)?;
        Some(Soon { seconds, earliest: said.p10.unwrap_or(seconds).min(seconds) })
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
    fn said(values: impl Iterator<Item = f64>, limit: f64) -> Option<String> {
        soon(values, limit).map(|soon| soon.to_string())
    }

    fn soon(values: impl Iterator<Item = f64>, limit: f64) -> Option<Soon> {
        let mut growth = Growth::default();
        let mut last = None;
        for (minute, value) in (0_i64..).zip(values) {
            last = growth.observe(Timestamp::from_second(60 * minute).unwrap_or_default(), value, limit);
        }
        last
    }

    #[test]
    fn steady_growth_is_told_with_the_time_that_is_left() {
        let leak = (0..40).map(|minute| 600.0 + 5.0 * f64::from(minute));
        let text = said(leak, 1_000.0);
        // 795 at the end, 5 a minute.
        assert!(
            text.as_deref().is_some_and(|text| text.contains("41 min") || text.contains("42 min")),
            "{text:?}"
        );
        let soon = soon((0..40).map(|minute| 600.0 + 5.0 * f64::from(minute)), 1_000.0);
        assert!(
            soon.is_some_and(|soon| soon.earliest <= soon.seconds && soon.earliest > 1_800.0),
            "{soon:?}"
        );
    }

    #[test]
    fn what_goes_up_and_down_is_slow_or_far_from_its_limit_is_no_trouble() {
        let saw = (0..60).map(|minute| 700.0 + 20.0 * f64::from(minute % 10));
        assert_eq!(said(saw, 1_000.0), None);
        assert_eq!(said((0..60).map(|_| 900.0), 1_000.0), None);
        assert_eq!(said((0..40).map(|minute| 600.0 + 0.5 * f64::from(minute)), 1_000.0), None, "in days");
        assert_eq!(said((0..40).map(|minute| 100.0 + 5.0 * f64::from(minute)), 1_000.0), None, "far away");
    }

    #[test]
    fn a_restart_begins_anew() {
        let again = (0..60).map(|minute| if minute < 50 { 600.0 + 7.0 * f64::from(minute) } else { 200.0 });
        assert_eq!(said(again, 1_000.0), None);
    }
}
