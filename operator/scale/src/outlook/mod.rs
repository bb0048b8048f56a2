//! What load is coming for one workload, how far that can be trusted, and how many replicas it takes.
//!
//! [`Meter`] turns a counter of answered requests into a load per minute; [`LoadModel`] keeps two weeks of it, with its
//! gaps, the models chosen for it, and the load that one replica was seen to carry. [`Forecasting::look`] says what
//! follows from them. Models are compared again once a day, when the series drifts away, and while it is short each time
//! that twice as much is known. All of it can be stored and restored.

mod meter;
mod per_replica;
mod size;
mod steps;
#[cfg(test)]
mod tests;

pub use meter::{Meter, Minute};
pub use per_replica::PerReplica;
pub use size::Given;
pub use steps::Steps;

use homeostat_knowledge::forecast::{ForecastPoint, LoadLimit, Outlook, Peak};
use homeostat_knowledge::{ForecastSkill, Name, Timestamp};
use homeostat_models::forecast::{
    Calendar, Chosen, Forecast, ForecastConfig, ForecastConfigError, Forecaster, History, time_to_limit,
};
use serde::{Deserialize, Serialize};
use size::Known;

/// Seconds of a step.
pub const STEP_SECONDS: u32 = 60;
/// Steps of one point that is shown: an hour is twelve points.
const POINT_STEPS: usize = 5;
/// Back-tested steps below which the models claim nothing.
const FEW_STEPS: usize = 24;
/// How far ahead a limit is looked for, in seconds.
const LIMIT_WITHIN: f64 = 30.0 * 86_400.0;

/// Setting of [`Forecasting`]. `Default` is what ships.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlookConfig {
    /// Steps that are kept: 14 days.
    pub keep: usize,
    /// Usable steps before anything is forecast.
    pub first_choice: usize,
    /// Steps whose maximum counts where the forecast has no skill.
    pub recent: usize,
    /// What is added to that maximum, as a share of it.
    pub margin: f64,
    /// Steps without a load after which the last size stays.
    pub silent: usize,
    /// Healthy minutes with requests before the load of one replica counts as known.
    pub healthy_minutes: u32,
    /// Setting of the models; its horizon is how far is looked ahead.
    pub forecast: ForecastConfig,
}

impl Default for OutlookConfig {
    fn default() -> Self {
        Self {
            keep: 14 * 1_440,
            first_choice: 10,
            recent: 60,
            margin: 0.2,
            silent: 5,
            healthy_minutes: 10,
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

/// One minute of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Requests per second; `None` when they were not seen. What is not finite or negative counts as not seen.
    pub load: Option<f64>,
    /// Ready replicas.
    pub ready: u32,
    /// Nothing was wrong with it in this minute.
    pub healthy: bool,
}

/// What is known of one workload's load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadModel {
    steps: Steps,
    per_replica: PerReplica,
    chosen: Option<Chosen>,
    /// Step of the last comparison of models, and the usable steps that it had.
    compared: (i64, usize),
    /// The last size that was said.
    said: Option<u32>,
}

impl LoadModel {
    /// Nothing is known, under this setting.
    pub fn new(config: &OutlookConfig) -> Self {
        Self {
            steps: Steps::new(config.keep),
            per_replica: PerReplica::default(),
            chosen: None,
            compared: (0, 0),
            said: None,
        }
    }

    /// Takes in the minute with this number (minutes since 1970). Minutes that were left out become gaps; one that is
    /// not newer than the last is ignored.
    pub fn observe(&mut self, minute: i64, reading: Reading) {
        let load = reading.load.filter(|load| load.is_finite() && *load >= 0.0);
        if self.steps.push(minute, load)
            && let Some(load) = load
            && reading.healthy
        {
            self.per_replica.learn(minute, load, reading.ready);
        }
    }

    /// What was seen, with its gaps.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// What one replica was seen to carry.
    pub fn per_replica(&self) -> &PerReplica {
        &self.per_replica
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
        check("keep", (120..=100_000).contains(&config.keep), "120 to 100,000 steps")?;
        check("first_choice", (1..=1_440).contains(&config.first_choice), "1 to 1,440 steps")?;
        check("recent", (1..=1_440).contains(&config.recent), "1 to 1,440 steps")?;
        check("margin", (0.0..=10.0).contains(&config.margin), "0 to 10")?;
        check("silent", (1..=1_440).contains(&config.silent), "1 to 1,440 steps")?;
        Ok(Self { forecaster: Forecaster::new(config.forecast)?, config })
    }

    /// Its setting.
    pub fn config(&self) -> &OutlookConfig {
        &self.config
    }

    /// What is coming, from the end of what was observed.
    pub fn look(&self, model: &mut LoadModel, given: &Given, now: Timestamp) -> Outlook {
        let mut outlook = Outlook {
            made: now,
            horizon_seconds: self.config.forecast.horizon as u32 * STEP_SECONDS,
            now: model.steps.last(),
            skill: ForecastSkill::Unknown,
            model: None,
            reason: String::new(),
            error: None,
            peak: None,
            points: Vec::new(),
            next_choice: None,
            per_replica: model.per_replica.load(self.config.healthy_minutes),
            wanted: None,
            why: String::new(),
            limit: None,
        };
        self.expect(model, given, &mut outlook);
        let known = Known {
            now: outlook.now,
            p90: outlook.peak.map(|peak| peak.p90).filter(|_| outlook.skill == ForecastSkill::Proven),
            recent: model.steps.highest(self.config.recent),
            silent: model.steps.silent(),
            per_replica: outlook.per_replica,
            healthy: model.per_replica.minutes(),
            before: model.said,
        };
        (outlook.wanted, outlook.why) = size::size(&self.config, &known, given);
        model.said = outlook.wanted.or(model.said);
        outlook
    }

    /// Fills in what the models say.
    fn expect(&self, model: &mut LoadModel, given: &Given, outlook: &mut Outlook) {
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
        let start = model.steps.first().saturating_mul(i64::from(STEP_SECONDS));
        let forecast = History::new(start, STEP_SECONDS, &values)
            .map_err(|error| error.to_string())
            .and_then(|history| self.forecast(model, &history).map(|forecast| (history, forecast)));
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
        outlook.points = points(history.end(), &forecast);
        outlook.next_choice = instant(model.compared.0.saturating_add(1_440));
        outlook.limit = limit(&history, outlook.per_replica, given);
        outlook.reason = forecast.reason;
    }

    /// Keeps the choice of models fresh, and asks them.
    fn forecast(&self, model: &mut LoadModel, history: &History<'_>) -> Result<Forecast, String> {
        let calendar = Calendar::default();
        let usable = model.steps.usable();
        let text = |error: homeostat_models::forecast::ForecastError| error.to_string();
        // Twice as much is known: a choice from half of it is out of date.
        let kept = model.chosen.take().filter(|_| usable < 2 * model.compared.1);
        let chosen = if let Some(mut chosen) = kept {
            if self.forecaster.keep(&mut chosen, history, &calendar).map_err(text)?.is_some() {
                model.compared = (history.end(), usable);
            }
            chosen
        } else {
            let chosen = self.forecaster.choose(history, &calendar).map_err(text)?;
            model.compared = (history.end(), usable);
            chosen
        };
        let forecast = chosen.forecast(history, self.config.forecast.horizon).map_err(text);
        model.chosen = Some(chosen);
        forecast
    }
}

fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// The beginning of a minute since 1970.
fn instant(minute: i64) -> Option<Timestamp> {
    Timestamp::from_second(minute.saturating_mul(i64::from(STEP_SECONDS))).ok()
}

fn points(from: i64, forecast: &Forecast) -> Vec<ForecastPoint> {
    // Each part is divided first: a sum of the largest numbers would not be finite.
    let mean = |values: &[f64]| values.iter().map(|value| value / values.len() as f64).sum::<f64>();
    let rows = forecast
        .p10
        .chunks(POINT_STEPS)
        .zip(forecast.p50.chunks(POINT_STEPS))
        .zip(forecast.p90.chunks(POINT_STEPS));
    rows.zip((from..).step_by(POINT_STEPS))
        .filter_map(|(((p10, p50), p90), minute)| {
            Some(ForecastPoint { at: instant(minute)?, p10: mean(p10), p50: mean(p50), p90: mean(p90) })
        })
        .collect()
}

/// When the load grows beyond what the most replicas carry; nothing without a proven trend.
fn limit(history: &History<'_>, per_replica: Option<f64>, given: &Given) -> Option<LoadLimit> {
    let load = per_replica? * given.bounds?.max as f64;
    let found = time_to_limit(history, load, LIMIT_WITHIN);
    let p50_seconds = found.p50.filter(|seconds| found.skill && *seconds > 0.0)?;
    Some(LoadLimit { load, p10_seconds: found.p10, p50_seconds, reason: found.reason })
}
