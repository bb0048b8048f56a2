//! How well run times were foretold: the error of what was expected of each run before it ended, beside that of the seasonal
//! naive forecast, by which a run takes as long as the last one on the same kind of day.

use super::days::Day;
use super::learned::{LONGEST, MEMORY};
use serde::{Deserialize, Serialize};

/// Runs below which nothing is said of how good the forecast is.
pub const FEW: u32 = 10;

/// Mean absolute errors, in seconds; the last 50 runs count most. Of a job whose runs have different numbers of pods, of the
/// time of all pods together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Foretold {
    /// Runs of which both forecasts were there.
    runs: u32,
    /// Of what was expected.
    error: f64,
    /// Of the naive forecast.
    naive: f64,
    /// Seconds that the last run took.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<f64>,
    /// The same of the last one on a work day, where days are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<f64>,
    /// The same on a weekend.
    #[serde(skip_serializing_if = "Option::is_none")]
    weekend: Option<f64>,
}

impl Foretold {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// A run took so many seconds, of which so many were expected in the median; `day` where that of its slot is known.
    pub fn push(&mut self, seconds: f64, expected: Option<f64>, day: Option<Day>) {
        if !seconds.is_finite() || seconds <= 0.0 {
            return;
        }
        let last = self.last.replace(seconds);
        let naive = match day {
            Some(Day::Work) => self.work.replace(seconds),
            Some(Day::Weekend) => self.weekend.replace(seconds),
            None => last,
        };
        let (Some(naive), Some(expected)) = (naive, expected.filter(|expected| expected.is_finite())) else {
            return;
        };
        self.runs = self.runs.saturating_add(1);
        let share = (1.0 / f64::from(self.runs)).max(1.0 / MEMORY);
        self.error += share * ((seconds - expected).abs() - self.error);
        self.naive += share * ((seconds - naive).abs() - self.naive);
    }

    /// Seconds that the last run took.
    pub fn last(&self) -> Option<f64> {
        self.last
    }

    /// Runs that were foretold.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// Mean absolute errors in seconds, of what was expected and of the naive forecast; `None` below [`FEW`] runs.
    pub fn errors(&self) -> Option<(f64, f64)> {
        (self.runs >= FEW).then_some((self.error, self.naive))
    }

    /// Whether it can be what was seen.
    pub(super) fn is_sound(&self) -> bool {
        let most = LONGEST.exp();
        let seconds = [self.last, self.work, self.weekend].into_iter().flatten();
        seconds.chain([self.error, self.naive]).all(|seconds| (0.0..=most).contains(&seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_runs_that_vary_by_chance_their_middle_is_nearer_than_the_last_one() {
        let mut foretold = Foretold::default();
        for run in 0..100 {
            assert_eq!(foretold.errors().is_some(), run > FEW, "the first one was foretold by nothing");
            foretold.push(if run % 2 == 0 { 90.0 } else { 110.0 }, Some(100.0), None);
        }
        let (error, naive) = foretold.errors().unwrap();
        assert!((error - 10.0).abs() < 1e-9 && (naive - 20.0).abs() < 1e-9, "{error} {naive}");
        assert_eq!((foretold.runs(), foretold.last()), (99, Some(110.0)));
    }

    #[test]
    fn the_naive_forecast_of_a_weekend_is_the_last_run_on_a_weekend() {
        let mut foretold = Foretold::default();
        for run in 0..70 {
            let (day, seconds) = if run % 7 < 5 { (Day::Work, 600.0) } else { (Day::Weekend, 420.0) };
            foretold.push(seconds, Some(550.0), Some(day));
        }
        assert!(matches!(foretold.errors(), Some((error, naive)) if error > 50.0 && naive < 1e-9));
    }

    #[test]
    fn what_is_kept_of_it_is_small_and_nonsense_is_told() {
        let mut foretold = Foretold::default();
        for run in 0..1_000 {
            foretold.push(1.0 / 3.0 + f64::from(run), Some(7.0 / 3.0), Some(Day::Work));
        }
        foretold.push(f64::NAN, Some(1.0), None);
        foretold.push(1.0, None, Some(Day::Weekend));
        let text = serde_json::to_string(&foretold).unwrap();
        assert!(text.len() < 160, "{text}");
        assert_eq!(serde_json::from_str::<Foretold>(&text).unwrap(), foretold);
        assert!(foretold.is_sound() && Foretold::default().is_sound());
        let wrong = [
            Foretold { error: f64::NAN, ..foretold },
            Foretold { naive: -1.0, ..foretold },
            Foretold { last: Some(f64::INFINITY), ..foretold },
        ];
        assert!(wrong.iter().all(|wrong| !wrong.is_sound()));
    }
}
