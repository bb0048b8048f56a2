//! Rolling back-test: what a forecaster would have said in the past, and how wrong it would have been.
//!
//! The same code chooses models, scores public data and tells a user whether to trust a forecast. Every origin sees only
//! what came before it (rolling origin, Tashman 2000).

use crate::forecast::{Calendar, Forecast, ForecastError, Forecaster, History, naive_at};
use serde::{Deserialize, Serialize};

/// One step of a forecast and what came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What came; not finite when it was not seen, then the outcome does not count.
    pub actual: f64,
    /// 10th percentile that was forecast.
    pub p10: f64,
    /// Median that was forecast.
    pub p50: f64,
    /// 90th percentile that was forecast.
    pub p90: f64,
    /// What the seasonal naive forecast said, if there was one.
    pub naive: Option<f64>,
}

/// Sums over outcomes; the [`Report`] is made from them. Fixed size, can go on for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    points: u64,
    magnitude: f64,
    error: f64,
    compared: f64,
    naive: f64,
    pinball: f64,
    under: u64,
    below: u64,
    excess: f64,
}

/// How good a forecaster was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Outcomes that counted.
    pub points: u64,
    /// Mean absolute error of the median, in the series' unit.
    pub error: f64,
    /// The same divided by the seasonal naive forecast's; below 1 is better than it. `None` without a season, or when
    /// the naive forecast was exact.
    pub error_against_naive: Option<f64>,
    /// Weighted quantile loss: pinball losses (Koenker and Bassett 1978) of median and 90th percentile, summed, as a
    /// share of the mean absolute value.
    pub quantile_loss: f64,
    /// Share of outcomes above the 90th percentile: capacity planned by it would have been too little.
    pub under_provisioned: f64,
    /// Share of outcomes below the 10th percentile.
    pub below_p10: f64,
    /// Mean of what was planned by the 90th percentile and not needed, as a share of the mean absolute value.
    pub excess: f64,
}

impl Score {
    /// Counts an outcome; one with a value that is not finite is left out.
    pub fn add(&mut self, outcome: Outcome) {
        let Outcome { actual, p10, p50, p90, naive } = outcome;
        if ![actual, p10, p50, p90].iter().all(|value| value.is_finite()) {
            return;
        }
        let pinball = |share: f64, forecast: f64| {
            let over = actual - forecast;
            (share * over).max((share - 1.0) * over)
        };
        self.points += 1;
        self.magnitude += actual.abs();
        self.error += (actual - p50).abs();
        self.pinball += pinball(0.5, p50) + pinball(0.9, p90);
        self.under += u64::from(actual > p90);
        self.below += u64::from(actual < p10);
        self.excess += (p90 - actual).max(0.0);
        if let Some(naive) = naive.filter(|value| value.is_finite()) {
            self.compared += (actual - p50).abs();
            self.naive += (actual - naive).abs();
        }
    }

    /// What the sums say; `None` before the first outcome.
    pub fn report(&self) -> Option<Report> {
        if self.points == 0 {
            return None;
        }
        let points = self.points as f64;
        let share = |sum: f64| if self.magnitude > 0.0 { sum / self.magnitude } else { 0.0 };
        Some(Report {
            points: self.points,
            error: self.error / points,
            error_against_naive: (self.naive > 0.0).then(|| self.compared / self.naive),
            quantile_loss: share(self.pinball),
            under_provisioned: self.under as f64 / points,
            below_p10: self.below as f64 / points,
            excess: share(self.excess),
        })
    }
}

/// Runs a forecaster over a history as if it were live: an origin every horizon from step `from` on (counted since 1970
/// like [`History::start`]), models chosen before the first and again when they are due. `each` sees every forecast with
/// its origin. Returns the score of all steps that lie inside the history.
pub fn run(
    forecaster: &Forecaster,
    history: &History<'_>,
    calendar: &Calendar,
    from: i64,
    mut each: impl FnMut(i64, &Forecast),
) -> Result<Score, ForecastError> {
    let horizon = forecaster.config().horizon;
    let mut score = Score::default();
    let mut chosen = None;
    let mut origin = from;
    while let Some(past) = history.before(origin).filter(|_| origin < history.end()) {
        let chosen = match &mut chosen {
            Some(chosen) => {
                forecaster.keep(chosen, &past, calendar)?;
                chosen
            }
            none => none.insert(forecaster.choose(&past, calendar)?),
        };
        let forecast = chosen.forecast(&past, horizon)?;
        let length = past.values().len();
        for (step, actual) in history.values()[length..].iter().take(horizon).enumerate() {
            let (p10, p50, p90) = (forecast.p10[step], forecast.p50[step], forecast.p90[step]);
            let naive = naive_at(&past, chosen.cycle(), step);
            score.add(Outcome { actual: *actual, p10, p50, p90, naive });
        }
        each(origin, &forecast);
        origin = origin.saturating_add_unsigned(horizon as u64);
    }
    Ok(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_what_their_definitions_say() {
        let mut score = Score::default();
        score.add(Outcome { actual: 10.0, p10: 4.0, p50: 8.0, p90: 9.0, naive: Some(6.0) });
        score.add(Outcome { actual: 10.0, p10: 11.0, p50: 12.0, p90: 20.0, naive: Some(14.0) });
        score.add(Outcome { actual: f64::NAN, p10: 0.0, p50: 0.0, p90: 0.0, naive: None });
        let report = score.report().unwrap();
        assert_eq!(report.points, 2);
        assert!((report.error - 2.0).abs() < 1e-12);
        assert!((report.error_against_naive.unwrap() - 0.5).abs() < 1e-12);
        // Medians 1 + 1, upper 0.9 + 1.0, over 20.
        assert!((report.quantile_loss - 3.9 / 20.0).abs() < 1e-12);
        assert!((report.under_provisioned - 0.5).abs() < 1e-12 && (report.below_p10 - 0.5).abs() < 1e-12);
        assert!((report.excess - 0.5).abs() < 1e-12);
        assert_eq!(Score::default().report(), None);
    }
}
