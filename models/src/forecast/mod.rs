//! Forecasts with bands: one file per model, chosen per series by back-test, and silent about skill that is not there.
//!
//! [`models`] lists the models. [`Forecaster::choose`] back-tests them on a series and keeps a mixture of the best as
//! [`Chosen`]; [`Chosen::forecast`] is then cheap. [`Forecaster::keep`] takes in what has come since and chooses again
//! once a day, or when the series has drifted away. [`capacity`] tells when a series reaches a limit.
//!
//! ```
//! use homeostat_models::forecast::{Calendar, ForecastConfig, Forecaster, History};
//! // Four days of a daily wave at 5-minute steps.
//! let values: Vec<f64> = (0..288 * 4).map(|step| f64::from((step % 288_i32 - 144).abs())).collect();
//! let history = History::new(0, 300, &values)?;
//! let forecaster = Forecaster::new(ForecastConfig::default())?;
//! let chosen = forecaster.choose(&history, &Calendar::default())?;
//! let forecast = chosen.forecast(&history, 12)?;
//! assert!((forecast.p50[0] - 144.0).abs() < 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bands;
pub mod calendar;
pub mod capacity;
mod choose;
mod config;
mod decomposition;
mod history;
pub mod models;
mod naive;
pub mod season;
mod seasonal_level;
mod seldom;
mod similar;
mod trend;
mod view;

pub use calendar::{Calendar, Event, When};
pub use capacity::{TimeToLimit, time_to_limit};
pub use choose::{Chosen, Due, Evidence};
pub use config::{ForecastConfig, ForecastConfigError};
pub use history::{History, HistoryError};
pub use models::Model;
pub use season::{Confirmed, Season};

use history::usable;
use models::CHEAP;

/// Why there is no forecast.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ForecastError {
    /// Nothing to start from.
    #[error("the history of {0} points has no usable one; wait until the series reports")]
    NoData(usize),
    /// Only gaps, and values too large to be added up.
    #[error(
        "the history of {0} points has none that can be forecast: its values are beyond 1e280; correct the query \
         or the unit that they come from, waiting does not help"
    )]
    TooLarge(usize),
    /// Too far ahead.
    #[error("a horizon of {asked} steps was asked for, it must be 1 to {longest}")]
    Horizon {
        /// Steps asked for.
        asked: usize,
        /// [`ForecastConfig::longest_horizon`].
        longest: usize,
    },
    /// The models were chosen for another step.
    #[error(
        "the models were chosen for steps of {chosen} s, the history has steps of {given} s; choose again"
    )]
    Step {
        /// Seconds of a step at the choice.
        chosen: u32,
        /// Seconds of a step now.
        given: u32,
    },
}

/// Chooses models and keeps the choice fresh.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecaster {
    config: ForecastConfig,
}

/// What is expected, per step, in the series' unit. All values are finite and `p10 <= p50 <= p90`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Forecast {
    /// 10th percentile.
    pub p10: Vec<f64>,
    /// Median.
    pub p50: Vec<f64>,
    /// 90th percentile: plan capacity by it and about one step in ten will need more.
    pub p90: Vec<f64>,
    /// The model with the largest weight.
    pub model: Model,
    /// Back-tested mean absolute error as a share of the seasonal naive forecast's (of the last value's in a series
    /// without a cycle); 1 when that cannot be said.
    pub error_against_naive: f64,
    /// Whether the models beat both naive forecasts in the back-test. Without skill nobody should act on it.
    pub skill: bool,
    /// Why these models, in words and numbers.
    pub reason: String,
}

/// Why nothing in the history can be forecast: a series that explodes needs other advice than one that is silent.
fn unusable(history: &History<'_>) -> ForecastError {
    let values = history.values();
    if values.iter().any(|value| value.is_finite() && !usable(*value)) {
        ForecastError::TooLarge(values.len())
    } else {
        ForecastError::NoData(values.len())
    }
}

impl Forecaster {
    /// A forecaster with a valid setting.
    pub fn new(config: ForecastConfig) -> Result<Self, ForecastConfigError> {
        config.validate()?;
        Ok(Self { config })
    }

    /// Its setting.
    pub fn config(&self) -> &ForecastConfig {
        &self.config
    }

    /// Back-tests all models on the history and keeps the best. Costs as much as some hundred forecasts.
    pub fn choose(&self, history: &History<'_>, calendar: &Calendar) -> Result<Chosen, ForecastError> {
        self.choose_after(history, calendar, (0.0, 0.0))
    }

    fn choose_after(
        &self,
        history: &History<'_>,
        calendar: &Calendar,
        shift: (f64, f64),
    ) -> Result<Chosen, ForecastError> {
        let chosen = choose::choose(&self.config, history, calendar, shift);
        if chosen.weights.is_empty() { Err(unusable(history)) } else { Ok(chosen) }
    }

    /// Brings a choice up to date with the end of the history: learns from forecasts whose outcome is known now, and
    /// chooses again when that is due. Call it before every forecast.
    pub fn keep(
        &self,
        chosen: &mut Chosen,
        history: &History<'_>,
        calendar: &Calendar,
    ) -> Result<Option<Due>, ForecastError> {
        chosen.observe(history)?;
        let due = chosen.due(history.end());
        if due.is_some() {
            *chosen = self.choose_after(history, calendar, chosen.bands.shift())?;
        }
        Ok(due)
    }
}

impl Chosen {
    /// Learns from forecasts whose outcome is known by the end of the history; returns how many.
    pub fn observe(&mut self, history: &History<'_>) -> Result<usize, ForecastError> {
        self.fits(history)?;
        let horizon = self.config.horizon;
        let mut observed = 0;
        // After a long silence only the newest day counts.
        let newest = history.end().saturating_sub_unsigned(horizon as u64);
        let span = 24 * horizon as i64;
        if newest.saturating_sub(self.next) > span {
            self.next += (newest - self.next - span) / horizon as i64 * horizon as i64;
        }
        let values = self.effects.as_ref().map(|effects| effects.clean(history));
        let clean = values.as_ref().map_or(*history, |values| history.with(values));
        while self.next <= newest {
            if let Some(past) = clean.before(self.next)
                && let Some((said, spread)) = self.median(&past, horizon)
            {
                let actual = &clean.values()[past.values().len()..][..horizon];
                let error = |(came, said): (&f64, &f64)| if usable(*came) { came - said } else { f64::NAN };
                let errors: Vec<f64> = actual.iter().zip(&said).map(error).collect();
                self.bands.observe(&errors, &spread);
                observed += 1;
            }
            self.next = self.next.saturating_add_unsigned(horizon as u64);
        }
        Ok(observed)
    }

    /// Forecasts `horizon` steps from the end of the history.
    pub fn forecast(&self, history: &History<'_>, horizon: usize) -> Result<Forecast, ForecastError> {
        self.fits(history)?;
        let longest = self.config.longest_horizon;
        if !(1..=longest).contains(&horizon) {
            return Err(ForecastError::Horizon { asked: horizon, longest });
        }
        let cleaned = self.effects.as_ref().map(|effects| effects.clean(history));
        let clean = cleaned.as_ref().map_or(*history, |values| history.with(values));
        let (mut p50, spread) = self.median(&clean, horizon).ok_or_else(|| unusable(history))?;
        let reach = self.bands.reach(&spread);
        if let Some(effects) = &self.effects {
            effects.add(&mut p50, history.end(), history.step_seconds());
        }
        // A series that was never negative will not be: requests, bytes, replicas.
        let floor = if history.values().iter().any(|value| *value < 0.0) { f64::MIN } else { 0.0 };
        let bound = |value: f64| value.clamp(floor, f64::MAX);
        let p10 = p50.iter().zip(&reach).map(|(middle, reach)| bound(middle + reach.0)).collect();
        let p90 = p50.iter().zip(&reach).map(|(middle, reach)| bound(middle + reach.1)).collect();
        let p50 = p50.into_iter().map(bound).collect();
        let skill = self.skill();
        Ok(Forecast {
            p10,
            p50,
            p90,
            model: self.weights.first().map_or(Model::LastValue, |(model, _)| *model),
            error_against_naive: if self.enough() { self.evidence.against_naive() } else { 1.0 },
            skill,
            reason: self.reason(skill),
        })
    }

    /// Median and disagreement of similar days, from the end of a history without calendar effects.
    fn median(&self, history: &History<'_>, horizon: usize) -> Option<(Vec<f64>, Vec<f64>)> {
        let view = choose::view(&self.config, history.values(), self.cycle, &self.seasons);
        let wanted: Vec<Model> = self.weights.iter().map(|(model, _)| *model).collect();
        let cheap: Vec<Model> = CHEAP.into_iter().filter(|model| wanted.contains(model)).collect();
        let models::Rows { mut rows, spread } = models::run(&view, cheap.iter().copied(), horizon);
        if let Some(decomposition) = &self.decomposition {
            rows.push(decomposition.forecast(history, self.config.horizon, horizon).unwrap_or_default());
        }
        let place = |model: Model| match model {
            Model::Decomposition => Some(cheap.len()),
            model => cheap.iter().position(|cheap| *cheap == model),
        };
        let row = |model: Model| rows.get(place(model)?).map(Vec::as_slice);
        let mut mixed = choose::mix(&self.weights, row, horizon);
        if mixed.is_empty() {
            // No chosen model can speak, after a long gap: the last value is all that is left.
            mixed = vec![view.last()?; horizon];
        }
        Some((mixed, spread))
    }

    fn skill(&self) -> bool {
        self.enough() && self.evidence.against_best_naive() <= self.config.skill
    }

    fn fits(&self, history: &History<'_>) -> Result<(), ForecastError> {
        if history.step_seconds() == self.step_seconds {
            Ok(())
        } else {
            Err(ForecastError::Step { chosen: self.step_seconds, given: history.step_seconds() })
        }
    }

    fn reason(&self, skill: bool) -> String {
        let evidence = self.evidence;
        let models: Vec<String> = self
            .weights
            .iter()
            .map(|(model, weight)| format!("{} {:.0} %", model.name(), weight * 100.0))
            .collect();
        let seasons: Vec<String> = self
            .seasons
            .iter()
            .map(|found| format!("{} season (autocorrelation {:.2})", found.season.name(), found.correlation))
            .collect();
        let seasons = if seasons.is_empty() { "no season".to_owned() } else { seasons.join(", ") };
        let effects = match &self.effects {
            Some(effects) => format!("; known jobs: {}", effects.names().join(", ")),
            None => String::new(),
        };
        let verdict = if !self.enough() {
            format!("no skill can be claimed from {} back-tested steps", evidence.steps)
        } else if evidence.seasonal_naive.unwrap_or(evidence.last_value).min(evidence.last_value) <= 0.0 {
            "no skill to show: a naive forecast was exact".to_owned()
        } else {
            let naive = match evidence.seasonal_naive {
                Some(naive) => format!("{naive:.4} seasonal naive, {:.4} last value", evidence.last_value),
                None => format!("{:.4} last value", evidence.last_value),
            };
            let word = if skill { "skill" } else { "no skill" };
            format!(
                "{word}: mean error {:.4} over {} back-tested steps against {naive}",
                evidence.error, evidence.steps
            )
        };
        format!("{verdict}; {}; {seasons}{effects}", models.join(", "))
    }
}

/// The naive forecast of a step after the end of a history: the value one cycle earlier, or the last one in a series
/// without a cycle. A missing value is looked for further back.
pub fn naive_at(history: &History<'_>, cycle: Option<usize>, step: usize) -> Option<f64> {
    let values = history.values();
    match cycle {
        Some(cycle) if cycle > 0 => {
            let newest = values.len().checked_sub(cycle)? + step % cycle;
            (0..60)
                .map_while(|back| newest.checked_sub(back * cycle))
                .map(|place| values[place])
                .find(|value| usable(*value))
        }
        _ => values.iter().rev().copied().find(|value| usable(*value)),
    }
}
