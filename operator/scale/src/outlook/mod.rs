//! What load is coming for one workload, and how far that can be trusted.
//!
//! [`Meter`] turns a counter of answered requests into a load per step; [`LoadModel`] keeps two weeks of minutes, with
//! their gaps, and the models chosen for them. [`Forecasting::look`] says what follows. Models are compared again once a
//! day, when the series drifts away, and while it is short each time that twice as much is known. All of it can be stored
//! and restored. How many replicas it takes is decided in [`crate::services`].

mod kept;
mod meter;
mod steps;
#[cfg(test)]
mod tests;

pub use kept::KeptLoad;
pub use meter::{Meter, Step};
pub use steps::Steps;

use crate::sizer::calendar;
use homeostat_knowledge::forecast::{ForecastPoint, LoadLimit, Outlook, Peak};
use homeostat_knowledge::policy::CalendarEntry;
use homeostat_knowledge::{ForecastSkill, Name, Timestamp};
use homeostat_models::forecast::{
    Calendar, Chosen, Forecast, ForecastConfig, ForecastConfigError, Forecaster, History, time_to_limit,
};
use serde::{Deserialize, Serialize};

/// Seconds of a step of a load.
pub const STEP_SECONDS: u32 = 60;
/// Back-tested steps below which the models claim nothing.
const FEW_STEPS: usize = 24;
/// Share of the last value's error within which a season that repeats itself is met.
const REPEATS: f64 = 0.25;
/// Why there is no forecast where there could be one.
const ANOTHER_TURN: &str =
    "models are compared in turn, and many workloads began at once; it has its turn soon";
/// How far ahead a limit is looked for, in seconds.
const LIMIT_WITHIN: f64 = 30.0 * 86_400.0;

/// Setting of [`Forecasting`]. `Default` is what ships.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlookConfig {
    /// Seconds of a step.
    pub step_seconds: u32,
    /// Steps of one point that is shown: an hour is twelve points.
    pub point_steps: usize,
    /// Steps that are kept: 14 days.
    pub keep: usize,
    /// Usable steps before anything is forecast.
    pub first_choice: usize,
    /// Setting of the models; its horizon is how far is looked ahead.
    pub forecast: ForecastConfig,
}

impl Default for OutlookConfig {
    fn default() -> Self {
        Self {
            step_seconds: STEP_SECONDS,
            point_steps: 5,
            keep: 14 * 1_440,
            first_choice: 10,
            // Decomposition is left out: with 1,440 steps to a day it costs more than it can be worth each day anew.
            forecast: ForecastConfig { horizon: 60, decompose_above: 1e9, ..ForecastConfig::default() },
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum OutlookConfigError {
    /// A setting of the models.
    #[error(transparent)]
    Forecast(#[from] ForecastConfigError),
    /// A field is out of range.
    #[error("outlook setting {field} must be {limit}")]
    Field {
        /// Field of [`OutlookConfig`].
        field: &'static str,
        /// What is allowed.
        limit: &'static str,
    },
}

/// What is known of one workload's load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadModel {
    steps: Steps,
    chosen: Option<Chosen>,
    /// Step of the last comparison of models, and the usable steps that it had.
    compared: (i64, usize),
}

impl LoadModel {
    /// Nothing is known, under this setting.
    pub fn new(config: &OutlookConfig) -> Self {
        Self { steps: Steps::new(config.keep), chosen: None, compared: (0, 0) }
    }

    /// Takes in the load of the step with this number (minutes since 1970, where a step is a minute), in requests per second;
    /// `None` when it was not seen. What is not finite or negative counts as not seen. Steps that were left out become gaps;
    /// one that is not newer than the last is ignored, unless the clock was ahead ([`Steps::push`]).
    pub fn observe(&mut self, minute: i64, load: Option<f64>) {
        self.steps.push(minute, load.filter(|load| load.is_finite() && *load >= 0.0));
    }

    /// Whether no models were compared yet, though enough is known for it.
    pub fn unchosen(&self, config: &OutlookConfig) -> bool {
        self.chosen.is_none() && self.steps.usable() >= config.first_choice
    }

    /// When models were compared last: the minute, and the minutes that were known.
    pub fn compared(&self) -> (i64, usize) {
        self.compared
    }

    /// What would be known if this minute ended with this load. The model itself stays as it is.
    #[must_use]
    pub fn supposing(&self, minute: i64, load: f64) -> Self {
        let mut supposed = self.clone();
        supposed.observe(minute, Some(load));
        supposed
    }

    /// What was seen, with its gaps.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }
}

/// Looks ahead, with one setting for all workloads.
#[derive(Clone, Debug)]
pub struct Forecasting {
    config: OutlookConfig,
    forecaster: Forecaster,
}

impl Forecasting {
    /// With a valid setting.
    pub fn new(config: OutlookConfig) -> Result<Self, OutlookConfigError> {
        let check = |field, fits: bool, limit| {
            if fits { Ok(()) } else { Err(OutlookConfigError::Field { field, limit }) }
        };
        check("step_seconds", (1..=86_400).contains(&config.step_seconds), "1 to 86,400 seconds")?;
        check("point_steps", (1..=1_000).contains(&config.point_steps), "1 to 1,000 steps")?;
        check("keep", (120..=100_000).contains(&config.keep), "120 to 100,000 steps")?;
        check("first_choice", (1..=1_440).contains(&config.first_choice), "1 to 1,440 steps")?;
        Ok(Self { forecaster: Forecaster::new(config.forecast)?, config })
    }

    /// Its setting.
    pub fn config(&self) -> &OutlookConfig {
        &self.config
    }

    /// What is coming, from the end of what was observed. `carried` is the load that the most replicas carry, when known.
    /// `entries` are the calendar of the workload: what they did to the load the last times is expected again when they
    /// begin. `compare`: whether models may be compared, which takes far longer than to ask those that were chosen.
    pub fn look(
        &self,
        model: &mut LoadModel,
        carried: Option<f64>,
        entries: &[CalendarEntry],
        compare: bool,
        now: Timestamp,
    ) -> Outlook {
        let mut outlook = self.nothing(model, now);
        self.expect(model, carried, entries, compare, &mut outlook);
        outlook
    }

    /// Whether its season repeats itself, by the back-test of the last comparison: it was met to a quarter of what the last
    /// value misses, by the value of one cycle earlier too. Nothing can beat that one where it is next to exact.
    pub fn repeats(&self, model: &LoadModel) -> bool {
        let Some(evidence) = model.chosen.as_ref().map(Chosen::evidence) else { return false };
        let well = |error: f64| evidence.last_value > 0.0 && error <= REPEATS * evidence.last_value;
        evidence.steps >= FEW_STEPS && well(evidence.error) && evidence.seasonal_naive.is_some_and(well)
    }

    /// Median and 90th percentile of each of the next steps, by the models that were chosen at the last look; empty without.
    pub fn soon(&self, model: &LoadModel, steps: usize) -> Vec<(f64, f64)> {
        let Some(chosen) = &model.chosen else { return Vec::new() };
        let values = model.steps.values();
        let start = model.steps.first().saturating_mul(i64::from(self.config.step_seconds));
        let history = History::new(start, self.config.step_seconds, &values).ok();
        let said = history.and_then(|history| chosen.forecast(&history, steps).ok());
        said.map_or_else(Vec::new, |said| said.p50.into_iter().zip(said.p90).collect())
    }

    /// Before models are compared.
    pub fn waiting(&self, model: &LoadModel, now: Timestamp) -> Outlook {
        Outlook { reason: ANOTHER_TURN.to_owned(), ..self.nothing(model, now) }
    }

    fn nothing(&self, model: &LoadModel, now: Timestamp) -> Outlook {
        Outlook {
            now: model.steps.last(),
            ..Outlook::nothing(now, self.config.forecast.horizon as u32 * self.config.step_seconds)
        }
    }

    /// Fills in what the models say.
    fn expect(
        &self,
        model: &mut LoadModel,
        carried: Option<f64>,
        entries: &[CalendarEntry],
        compare: bool,
        outlook: &mut Outlook,
    ) {
        let usable = model.steps.usable();
        if usable < self.config.first_choice {
            outlook.reason = format!(
                "nothing is known yet: {usable} of {} minutes with a load were seen; send traces with server spans over OTLP and wait",
                self.config.first_choice
            );
            return;
        }
        if model.steps.silent().is_some_and(|silent| silent >= self.config.forecast.horizon) {
            outlook.reason = format!(
                "no load was seen for {} min; check that traces with server spans arrive over OTLP",
                model.steps.silent().unwrap_or_default()
            );
            return;
        }
        let values = model.steps.values();
        let step = self.config.step_seconds;
        let start = model.steps.first().saturating_mul(i64::from(step));
        let forecast =
            History::new(start, step, &values).map_err(|error| error.to_string()).and_then(|history| {
                self.forecast(model, entries, compare, &history).map(|forecast| (history, forecast))
            });
        let (history, forecast) = match forecast {
            Ok(both) => both,
            Err(reason) => {
                outlook.reason = reason;
                return;
            }
        };
        let enough = model.chosen.as_ref().is_some_and(|chosen| chosen.evidence().steps >= FEW_STEPS);
        outlook.skill = match (enough, forecast.skill) {
            (false, _) => ForecastSkill::Unknown,
            (true, true) => ForecastSkill::Proven,
            (true, false) => ForecastSkill::Absent,
        };
        outlook.error = enough.then_some(forecast.error_against_naive).filter(|error| error.is_finite());
        outlook.model = Some(Name::from(forecast.model.name()));
        outlook.peak = Some(Peak { p50: highest(&forecast.p50), p90: highest(&forecast.p90) });
        outlook.points = points(history.end(), &forecast, &self.config);
        outlook.next_choice = instant(model.compared.0.saturating_add(86_400 / i64::from(step)), step);
        outlook.limit = limit(&history, carried);
        outlook.reason = forecast.reason;
    }

    /// Keeps the choice of models fresh, and asks them.
    fn forecast(
        &self,
        model: &mut LoadModel,
        entries: &[CalendarEntry],
        compare: bool,
        history: &History<'_>,
    ) -> Result<Forecast, String> {
        let known = || self.known(entries, history);
        let usable = model.steps.usable();
        let text = |error: homeostat_models::forecast::ForecastError| error.to_string();
        // Twice as much is known: a choice from half of it is out of date.
        let kept = model.chosen.take().filter(|_| !compare || usable < 2 * model.compared.1);
        let chosen = if let Some(mut chosen) = kept {
            chosen.observe(history).map_err(text)?;
            // The calendar is looked through only where models are compared.
            if compare
                && chosen.due(history.end()).is_some()
                && self.forecaster.keep(&mut chosen, history, &known()).map_err(text)?.is_some()
            {
                model.compared = (history.end(), usable);
            }
            chosen
        } else if !compare {
            return Err(ANOTHER_TURN.to_owned());
        } else {
            let chosen = self.forecaster.choose(history, &known()).map_err(text)?;
            model.compared = (history.end(), usable);
            chosen
        };
        let forecast = chosen.forecast(history, self.config.forecast.horizon).map_err(text);
        model.chosen = Some(chosen);
        forecast
    }

    /// What the calendar says of the history, and of the time in which what is chosen now is asked: a day, as long again
    /// until its turn comes, and the horizon.
    fn known(&self, entries: &[CalendarEntry], history: &History<'_>) -> Calendar {
        let step = self.config.step_seconds;
        let ahead = 2 * 86_400 / i64::from(step) + self.config.forecast.horizon as i64;
        let from = instant(history.start().saturating_sub(1), step);
        let to = instant(history.end().saturating_add(ahead), step);
        from.zip(to).map_or_else(Calendar::default, |(from, to)| calendar::known(entries, from, to))
    }
}

fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// The beginning of a step, counted since 1970.
fn instant(number: i64, step_seconds: u32) -> Option<Timestamp> {
    Timestamp::from_second(number.saturating_mul(i64::from(step_seconds))).ok()
}

fn points(from: i64, forecast: &Forecast, config: &OutlookConfig) -> Vec<ForecastPoint> {
    // Each part is divided first: a sum of the largest numbers would not be finite.
    let mean = |values: &[f64]| values.iter().map(|value| value / values.len() as f64).sum::<f64>();
    let rows = forecast
        .p10
        .chunks(config.point_steps)
        .zip(forecast.p50.chunks(config.point_steps))
        .zip(forecast.p90.chunks(config.point_steps));
    rows.zip((from..).step_by(config.point_steps))
        .filter_map(|(((p10, p50), p90), number)| {
            let at = instant(number, config.step_seconds)?;
            Some(ForecastPoint { at, p10: mean(p10), p50: mean(p50), p90: mean(p90) })
        })
        .collect()
}

/// When the load grows beyond what the most replicas carry; nothing without a proven trend.
fn limit(history: &History<'_>, carried: Option<f64>) -> Option<LoadLimit> {
    let load = carried?;
    let found = time_to_limit(history, load, LIMIT_WITHIN);
    let p50_seconds = found.p50.filter(|seconds| found.skill && *seconds > 0.0)?;
    Some(LoadLimit { load, p10_seconds: found.p10, p50_seconds, reason: found.reason })
}
