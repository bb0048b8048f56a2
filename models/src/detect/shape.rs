//! Shape of the last points: does the window look like a mixture of the usual windows?
//!
//! Subspace detection (Jackson and Mudholkar 1979, squared prediction error of a principal component model; on windows of
//! one series it is singular spectrum analysis). The fit costs milliseconds and is made at refit time, for a suspect series;
//! judging a window costs its length times the components.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_reduction::Pca;
use ndarray::Array2;

/// Setting of a [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeConfig {
    /// Points of a window.
    pub window: usize,
    /// Components that count as usual shape.
    pub components: usize,
}

impl Default for ShapeConfig {
    fn default() -> Self {
        Self { window: 24, components: 3 }
    }
}

/// Why no shape can be fitted.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ShapeError {
    /// The setting cannot work.
    #[error(
        "{components} components of a window of {window} points: 1 to half the window, of 4 points or more"
    )]
    Config {
        /// Points of a window.
        window: usize,
        /// Components.
        components: usize,
    },
    /// Too little history.
    #[error("{points} points of history, {needed} are needed")]
    TooShort {
        /// Points given.
        points: usize,
        /// Points needed.
        needed: usize,
    },
    /// A value is not finite.
    #[error("point {0} of the history is not finite; leave it out")]
    NotFinite(usize),
    /// The decomposition failed.
    #[error("the decomposition failed: {0}")]
    Fit(String),
}

/// Usual shapes of the windows of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    scale: f64,
    mean: Vec<f64>,
    components: Vec<Vec<f64>>,
    usual: f64,
}

impl Shape {
    /// Learns the usual shapes from a history without gaps, at least four windows long.
    pub fn fit(history: &[f64], config: ShapeConfig) -> Result<Self, ShapeError> {
        let ShapeConfig { window, components } = config;
        if window < 4 || components == 0 || components > window / 2 {
            return Err(ShapeError::Config { window, components });
        }
        let (points, needed) = (history.len(), 4 * window);
        if points < needed {
            return Err(ShapeError::TooShort { points, needed });
        }
        if let Some(index) = history.iter().position(|value| !value.is_finite()) {
            return Err(ShapeError::NotFinite(index));
        }
        let scale = history.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let mut shape = Self { scale, mean: vec![0.0; window], components: Vec::new(), usual: 0.0 };
        if scale == 0.0 {
            return Ok(Self { scale: 1.0, ..shape });
        }
        let rows = points - window + 1;
        let matrix = Array2::from_shape_fn((rows, window), |(row, column)| history[row + column] / scale);
        let spread = matrix.std_axis(ndarray::Axis(0), 0.0).sum();
        if spread < 1e-9 {
            shape.mean = vec![history[0] / scale; window];
            return Ok(shape);
        }
        let model = Pca::params(components)
            .fit(&DatasetBase::from(matrix))
            .map_err(|error| ShapeError::Fit(error.to_string()))?;
        shape.mean = model.mean().to_vec();
        shape.components = model.components().rows().into_iter().map(|row| row.to_vec()).collect();
        let mut errors: Vec<f64> = history.windows(window).map(|window| shape.error(window)).collect();
        errors.sort_by(f64::total_cmp);
        shape.usual = errors[errors.len() / 2];
        Ok(shape)
    }

    /// What of the window its usual shapes do not explain, as a multiple of the median of the history; at least 0.
    /// `None` for a window of another length or with values that are not finite.
    pub fn score(&self, window: &[f64]) -> Option<f64> {
        if window.len() != self.mean.len() || window.iter().any(|value| !value.is_finite()) {
            return None;
        }
        Some(self.error(window) / self.usual.max(1e-9))
    }

    fn error(&self, window: &[f64]) -> f64 {
        let mut rest: Vec<f64> =
            window.iter().zip(&self.mean).map(|(value, mean)| value / self.scale - mean).collect();
        for component in &self.components {
            let part: f64 = component.iter().zip(&rest).map(|(weight, value)| weight * value).sum();
            for (value, weight) in rest.iter_mut().zip(component) {
                *value -= part * weight;
            }
        }
        rest.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_that_goes_flat_is_found_though_its_values_are_usual() {
        let wave =
            |turn: usize| (turn as f64 * std::f64::consts::TAU / 20.0).sin() + 0.01 * ((turn * 7) % 5) as f64;
        let history: Vec<f64> = (0..400).map(wave).collect();
        let shape = Shape::fit(&history, ShapeConfig::default()).expect("fits");
        let usual: Vec<f64> = (400..424).map(wave).collect();
        let flat: Vec<f64> = (400..424).map(|turn| if turn < 412 { wave(turn) } else { wave(412) }).collect();
        assert!(shape.score(&usual).expect("right length") < 3.0);
        assert!(shape.score(&flat).expect("right length") > 10.0);
    }

    #[test]
    fn a_history_that_cannot_be_used_is_refused_in_words() {
        let error = Shape::fit(&[1.0; 10], ShapeConfig::default()).expect_err("too short");
        assert_eq!(error.to_string(), "10 points of history, 96 are needed");
        let constant = Shape::fit(&[2.0; 100], ShapeConfig::default()).expect("constant is a shape");
        assert_eq!(constant.score(&[2.0; 24]), Some(0.0));
        assert_eq!(constant.score(&[2.0; 3]), None);
    }
}
