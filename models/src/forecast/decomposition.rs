//! Seasonal-trend decomposition and exponential smoothing, by augurs.
//!
//! MSTL (Bandara, Hyndman and Bergmeir 2021) takes out the season once, when models are chosen; an automatically chosen
//! exponential smoothing (ETS, Hyndman et al. 2008) of what is left makes every forecast. Where there is no season, ETS
//! alone. It costs 30 to 100 times as much as the other models, so it is tried only where they are poor.

use super::history::{History, usable};
use augurs::ets::AutoETS;
use augurs::mstl::MSTLModel;
use augurs::prelude::*;
use serde::{Deserialize, Serialize};

/// Origins that it is back-tested at.
const TRIES: usize = 12;
/// Cycles that the decomposition is fitted to.
const CYCLES: usize = 14;
/// Horizons that the smoothing is fitted to.
const WINDOW: usize = 8;

/// A season taken out of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decomposition {
    /// Step number (since 1970) at which `season` begins.
    from: i64,
    /// One cycle of the season, in the series' unit; empty without one.
    season: Vec<f64>,
}

/// Forecasts of some back-tested origins, by their place among those asked for.
pub type Tries = Vec<(usize, Vec<f64>)>;

impl Decomposition {
    /// Fits the newest history, and tells what it would have forecast at up to twelve of the last `origins` origins (a
    /// horizon apart), with a season fitted before all of them. `None` when there are gaps or too few points.
    pub fn test(
        history: &History<'_>,
        cycle: Option<usize>,
        horizon: usize,
        origins: usize,
    ) -> Option<(Self, Tries)> {
        let length = history.values().len();
        let first = length.checked_sub(origins * horizon)?;
        let early = Self::fit(&history.with(&history.values()[..first]), cycle)?;
        let stride = origins.div_ceil(TRIES).max(1);
        let tries: Tries = (0..origins)
            .step_by(stride)
            .filter_map(|place| {
                let past = history.with(&history.values()[..first + place * horizon]);
                Some((place, early.forecast(&past, horizon, horizon)?))
            })
            .collect();
        (!tries.is_empty()).then_some(())?;
        Some((Self::fit(history, cycle)?, tries))
    }

    fn fit(history: &History<'_>, cycle: Option<usize>) -> Option<Self> {
        let Some(cycle) = cycle else {
            return Some(Self { from: history.end(), season: Vec::new() });
        };
        let values = history.values();
        let values = &values[values.len().saturating_sub(CYCLES * cycle)..];
        if values.len() < 3 * cycle || !values.iter().all(|value| usable(*value)) {
            return None;
        }
        // augurs decomposes in single precision: unit scale keeps every magnitude inside it.
        let scale = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if scale <= 0.0 {
            return None;
        }
        let scaled: Vec<f64> = values.iter().map(|value| value / scale).collect();
        let fitted = MSTLModel::naive(vec![cycle]).fit(scaled.as_slice()).ok()?;
        let component = fitted.fit().seasonal().first()?;
        let last = component.get(component.len().checked_sub(cycle)?..)?;
        let season: Vec<f64> = last.iter().map(|value| f64::from(*value) * scale).collect();
        season.iter().all(|value| usable(*value)).then(|| Self { from: history.end(), season })
    }

    fn season(&self, step: i64) -> f64 {
        let length = self.season.len() as i64;
        if length == 0 {
            0.0
        } else {
            self.season[(step.saturating_sub(self.from)).rem_euclid(length) as usize]
        }
    }

    /// Forecasts `steps` from the end of a history, smoothing what the season leaves of the last eight `horizon`s.
    pub fn forecast(&self, history: &History<'_>, horizon: usize, steps: usize) -> Option<Vec<f64>> {
        let values = history.values();
        let from = values.len().saturating_sub((WINDOW * horizon).clamp(24, 400));
        let start = history.start().saturating_add_unsigned(from as u64);
        let left: Vec<f64> = values[from..]
            .iter()
            .zip(start..)
            .filter(|(value, _)| usable(**value))
            .map(|(value, step)| value - self.season(step))
            .collect();
        let scale = left.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if left.len() < 12 || scale <= 0.0 {
            return None;
        }
        let scaled: Vec<f64> = left.iter().map(|value| value / scale).collect();
        let smoothed = AutoETS::non_seasonal().fit(scaled.as_slice()).ok()?.predict(steps, None).ok()?;
        let said: Vec<f64> = smoothed
            .point
            .iter()
            .zip(history.end()..)
            .map(|(value, step)| value * scale + self.season(step))
            .collect();
        (said.len() == steps && said.iter().all(|value| usable(*value))).then_some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_on_a_slope_is_carried_on() {
        let values: Vec<f64> = (0..96 * 8)
            .map(|step| 100.0 + 0.05 * f64::from(step) + 20.0 * (f64::from(step % 96_i32) / 96.0 - 0.5).abs())
            .collect();
        let history = History::new(0, 900, &values[..96 * 7]).unwrap();
        let (fitted, tries) = Decomposition::test(&history, Some(96), 8, 24).unwrap();
        assert_eq!(tries.len(), 12);
        let said = fitted.forecast(&history, 8, 8).unwrap();
        for (step, value) in said.iter().enumerate() {
            assert!((value - values[96 * 7 + step]).abs() < 2.0, "step {step}: {value}");
        }
    }

    #[test]
    fn gaps_and_constants_are_refused() {
        let mut values = vec![1.0; 96 * 8];
        values[5] = f64::NAN;
        assert!(Decomposition::test(&History::new(0, 900, &values).unwrap(), Some(96), 8, 24).is_none());
        let zero = vec![0.0; 96 * 8];
        assert!(Decomposition::test(&History::new(0, 900, &zero).unwrap(), Some(96), 8, 24).is_none());
    }
}
