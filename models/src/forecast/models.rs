//! The list of models. To add one: its file, a line here, a line in [`run`].

use super::similar::Similar;
use super::view::View;
use super::{naive, seasonal_level, trend};
use serde::{Deserialize, Serialize};

/// A way to forecast the median.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Model {
    /// Similar days, moved to the last twelfth of a horizon's level.
    SimilarQuick,
    /// Similar days, moved to the last quarter's level.
    Similar,
    /// Similar days, moved to the last horizon's level, which fades fast.
    SimilarSlow,
    /// Median profile moved to the current level.
    SeasonalLevel,
    /// Smoothed median profile, the current deviation fading.
    SeasonalSteady,
    /// The value one cycle earlier.
    SeasonalNaive,
    /// The value one week earlier.
    WeeklyNaive,
    /// The mean of the last horizon.
    Level,
    /// The last value.
    LastValue,
    /// Robust trend, fading.
    Trend,
    /// Seasonal-trend decomposition with exponential smoothing; costly, so tried only where the others are poor.
    Decomposition,
}

/// Models that are back-tested at every choice, in the order of their results.
pub const CHEAP: [Model; 10] = [
    Model::SimilarQuick,
    Model::Similar,
    Model::SimilarSlow,
    Model::SeasonalLevel,
    Model::SeasonalSteady,
    Model::SeasonalNaive,
    Model::WeeklyNaive,
    Model::Level,
    Model::LastValue,
    Model::Trend,
];

impl Model {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::SimilarQuick => "similar days at the latest level",
            Self::Similar => "similar days",
            Self::SimilarSlow => "similar days at the mean level",
            Self::SeasonalLevel => "seasonal level",
            Self::SeasonalSteady => "smoothed seasonal level",
            Self::SeasonalNaive => "seasonal naive",
            Self::WeeklyNaive => "weekly naive",
            Self::Level => "recent mean",
            Self::LastValue => "last value",
            Self::Trend => "robust trend",
            Self::Decomposition => "MSTL and ETS",
        }
    }

    /// Whether the model may take part in the choice. Last value and trend are kept out of a series with a confirmed
    /// season: on a calm stretch they win the back-test and then miss the next turn.
    pub fn fits(self, seasonal: bool) -> bool {
        match self {
            Self::LastValue | Self::Trend => !seasonal,
            _ => true,
        }
    }
}

/// Forecasts of several models from one view: a row each, in the order of `models`, empty where a model cannot speak.
/// Similar days also tell how much they disagree.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Forecasts.
    pub rows: Vec<Vec<f64>>,
    /// Disagreement of similar days for each step; zeros without any.
    pub spread: Vec<f64>,
}

/// Runs the models.
pub fn run(view: &View<'_>, models: impl Iterator<Item = Model>, horizon: usize) -> Rows {
    let similar = Similar::find(view);
    let rows = models
        .map(|model| {
            let mut out = vec![0.0; horizon];
            let some = |window, decay, out: &mut [f64]| similar.as_ref()?.forecast(view, window, decay, out);
            let said = match model {
                Model::SimilarQuick => some(view.short(), view.slow_decay(), &mut out),
                Model::Similar => some(view.medium(), view.slow_decay(), &mut out),
                Model::SimilarSlow => some(view.horizon, view.fast_decay(), &mut out),
                Model::SeasonalLevel => seasonal_level::sharp(view, &mut out),
                Model::SeasonalSteady => seasonal_level::steady(view, &mut out),
                Model::SeasonalNaive => view.cycle.and_then(|cycle| naive::seasonal(view, cycle, &mut out)),
                Model::WeeklyNaive => view.week.and_then(|week| naive::seasonal(view, week, &mut out)),
                Model::Level => naive::level(view, &mut out),
                Model::LastValue => naive::last(view, &mut out),
                Model::Trend => trend::forecast(view, &mut out),
                // It needs what was fitted at the choice, and is run by its owner.
                Model::Decomposition => None,
            };
            if said.is_some() && out.iter().all(|value| value.is_finite()) { out } else { Vec::new() }
        })
        .collect();
    let mut spread = vec![0.0; horizon];
    if let Some(similar) = similar {
        let mut centre = vec![0.0; horizon];
        if similar.forecast(view, view.medium(), view.slow_decay(), &mut centre).is_some() {
            similar.spread(view, &centre, &mut spread);
        }
    }
    Rows { rows, spread }
}
