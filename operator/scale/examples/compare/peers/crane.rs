//! Crane's `EffectiveHorizontalPodAutoscaler`: an HPA on the larger of what is seen and what is predicted. The prediction
//! keeps the strongest 20 items of the Fourier spectrum of up to 7 whole past days, repeats them, and adds a margin of
//! 10 %; the highest value of the next hour counts. Without two whole days there is no prediction.

use super::{Make, hpa::Hpa};
use crate::data::Series;
use crate::simulate::Policy;
use std::f64::consts::TAU;
use std::rc::Rc;

const MARGIN: f64 = 1.1;
const ITEMS: usize = 20;
/// Seconds of a point of the history.
const POINT: usize = 300;
const POINTS_OF_A_DAY: usize = 86_400 / POINT;
const DAYS: usize = 7;
/// Points that the prediction looks ahead: an hour.
const WINDOW: usize = 3_600 / POINT;
/// The spectrum is taken anew after so many points: each hour.
const ANEW: usize = 12;

struct Crane {
    hpa: Hpa,
    /// What is predicted for the next hour, at each point.
    predicted: Rc<Vec<f64>>,
}

pub fn prepare(series: &Series) -> Make {
    let predicted = Rc::new(predictions(series));
    Box::new(move |target| Box::new(Crane { hpa: Hpa::new(target), predicted: Rc::clone(&predicted) }))
}

impl Policy for Crane {
    fn decide(&mut self, seconds: usize, loads: &[f64], replicas: usize) -> usize {
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        let predicted = self.predicted.get(seconds / POINT).copied().unwrap_or_default();
        self.hpa.look(seconds, mean.max(predicted), replicas)
    }
}

/// For each point, the highest prediction of the next hour with its margin, from the points before it; 0 without one.
fn predictions(series: &Series) -> Vec<f64> {
    let steps = POINT / series.step;
    let points: Vec<f64> =
        series.loads.chunks(steps).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect();
    let mut day: Vec<f64> = Vec::new();
    let mut at = 0;
    (0..points.len())
        .map(|now| {
            let days = (now / POINTS_OF_A_DAY).min(DAYS);
            if days >= 2 && (day.is_empty() || now - at >= ANEW) {
                day = next_day(&points[now - days * POINTS_OF_A_DAY..now]);
                at = now;
            }
            if day.is_empty() {
                return 0.0;
            }
            let ahead = (now - at..=now - at + WINDOW).map(|point| day[point % POINTS_OF_A_DAY]);
            ahead.fold(0.0, f64::max) * MARGIN
        })
        .collect()
}

/// The day after whole days, from the strongest items of their spectrum down to periods of one hour.
fn next_day(values: &[f64]) -> Vec<f64> {
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    let slowest_to_hour = count / WINDOW;
    let mut items: Vec<(f64, usize, f64, f64)> = (1..=slowest_to_hour)
        .map(|wave| {
            let (turn_sin, turn_cos) = (TAU * wave as f64 / count as f64).sin_cos();
            let (mut sin, mut cos) = (0.0, 1.0);
            let (mut real, mut imaginary) = (0.0, 0.0);
            for value in values {
                real += (value - mean) * cos;
                imaginary += (value - mean) * sin;
                (sin, cos) = (sin * turn_cos + cos * turn_sin, cos * turn_cos - sin * turn_sin);
            }
            let scale = 2.0 / count as f64;
            (real.hypot(imaginary), wave, real * scale, imaginary * scale)
        })
        .collect();
    items.sort_by(|one, other| other.0.total_cmp(&one.0));
    items.truncate(ITEMS);
    (0..POINTS_OF_A_DAY)
        .map(|point| {
            let wave = |(_, wave, real, imaginary): &(f64, usize, f64, f64)| {
                let angle = TAU * (wave * point % count) as f64 / count as f64;
                real * angle.cos() + imaginary * angle.sin()
            };
            (mean + items.iter().map(wave).sum::<f64>()).max(0.0)
        })
        .collect()
}
