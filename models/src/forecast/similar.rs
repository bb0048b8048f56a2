//! Similar days: what followed when the last hours looked like these.
//!
//! Nearest neighbours (method of analogues, Lorenz 1969) among the same time of day in past cycles. The distance is the
//! mean absolute difference over three horizons, recent steps weighing more; the nearest cycles are averaged with the
//! inverse square of their distance, each moved to the current level, and the difference of level fades. Working days,
//! weekends and a day that is running hot all find their like without a label.

use super::history::{mean, usable};
use super::view::View;

/// Cycles that are averaged.
const NEAREST: usize = 10;
/// Weight of the oldest step of the window against the newest.
const OLDEST: f64 = 0.3;

/// The cycles most like the current one.
#[derive(Clone, Debug)]
pub struct Similar {
    /// Place where the future of a similar cycle begins, and its weight; weights sum to 1.
    days: Vec<(usize, f64)>,
    cycle: usize,
}

impl Similar {
    /// Looks for them; `None` when no past cycle has half of its window.
    pub fn find(view: &View<'_>) -> Option<Self> {
        let cycle = view.cycle?;
        let origin = view.values.len();
        let window = 3 * view.horizon;
        let now = view.values.get(origin.checked_sub(window)?..)?;
        let slope = (1.0 - OLDEST) / (window.max(2) - 1) as f64;
        let mut days: Vec<(usize, f64)> = Vec::with_capacity(view.memory);
        for back in 1..=view.memory {
            let Some(from) = origin.checked_sub(back * cycle + window) else { break };
            let then = &view.values[from..from + window];
            let (mut sum, mut weights, mut missing) = (0.0, 0.0, 0);
            let mut weight = OLDEST;
            for (one, other) in now.iter().zip(then) {
                if usable(*one) && usable(*other) {
                    sum += weight * (one - other).abs();
                    weights += weight;
                } else {
                    missing += 1;
                }
                weight += slope;
            }
            if 2 * missing <= window && weights > 0.0 {
                days.push((from + window, sum / weights));
            }
        }
        days.sort_by(|one, other| one.1.total_cmp(&other.1));
        days.truncate(NEAREST);
        let nearest = days.first()?.1;
        let mut total = 0.0;
        for (_, distance) in &mut days {
            // An exact repetition takes all the weight.
            let ratio = if *distance > 0.0 { nearest / *distance } else { 1.0 };
            *distance = ratio * ratio;
            total += *distance;
        }
        for (_, weight) in &mut days {
            *weight /= total;
        }
        Some(Self { days, cycle })
    }

    /// Their weighted mean, each moved by the difference of the last `window` steps, of which `decay` is left after
    /// every step.
    pub fn forecast(&self, view: &View<'_>, window: usize, decay: f64, out: &mut [f64]) -> Option<()> {
        let shifts = self.shifts(view, window);
        let mut left = 1.0;
        for step in 0..out.len() {
            left *= decay;
            let (mut sum, mut weights, mut first) = (0.0, 0.0, None);
            for ((place, weight), shift) in self.days.iter().zip(&shifts) {
                if let Some(value) = view.values.get(place + step).copied().filter(|value| usable(*value)) {
                    let value = value + left * shift;
                    // Around the first, so that days that agree are met exactly.
                    sum += weight * (value - *first.get_or_insert(value));
                    weights += weight;
                }
            }
            out[step] = if let Some(first) = first {
                first + sum / weights
            } else {
                // Further ahead than the nearest cycle is back: the forecast's own cycle repeats.
                *out.get(step.checked_sub(self.cycle)?)?
            };
        }
        Some(())
    }

    /// How far the similar cycles are from `centre`, as a weighted mean absolute difference per step.
    pub fn spread(&self, view: &View<'_>, centre: &[f64], out: &mut [f64]) {
        let shifts = self.shifts(view, view.medium());
        let decay = view.slow_decay();
        let mut left = 1.0;
        for (step, spread) in out.iter_mut().enumerate() {
            left *= decay;
            let (mut sum, mut weights) = (0.0, 0.0);
            for ((place, weight), shift) in self.days.iter().zip(&shifts) {
                if let Some(value) = view.values.get(place + step).copied().filter(|value| usable(*value)) {
                    sum += weight * (value + left * shift - centre[step]).abs();
                    weights += weight;
                }
            }
            *spread = if weights > 0.0 { sum / weights } else { 0.0 };
        }
    }

    fn shifts(&self, view: &View<'_>, window: usize) -> Vec<f64> {
        let origin = view.values.len();
        let shift = |place: usize| {
            mean((1..=window.min(place)).map(|back| view.values[origin - back] - view.values[place - back]))
        };
        self.days.iter().map(|(place, _)| shift(*place).unwrap_or(0.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Working days peak at 200, the two free days of a week at 60.
    fn weeks(days: usize) -> Vec<f64> {
        (0..days * 288)
            .map(|step| {
                let top = if (step / 288) % 7 < 5 { 200.0 } else { 60.0 };
                let angle = (step % 288) as f64 / 288.0;
                top * 4.0 * angle * (1.0 - angle)
            })
            .collect()
    }

    #[test]
    fn a_free_day_finds_the_free_days() {
        let all = weeks(20);
        // 10:00 on the second free day of the third week.
        let origin = 19 * 288 - 288 + 120;
        let view = View { values: &all[..origin], cycle: Some(288), week: None, horizon: 12, memory: 28 };
        let mut out = [0.0; 12];
        let similar = Similar::find(&view).unwrap();
        similar.forecast(&view, 3, view.slow_decay(), &mut out).unwrap();
        for (step, value) in out.iter().enumerate() {
            assert!(
                (value - all[origin + step]).abs() < 3.0,
                "step {step}: {value} for {}",
                all[origin + step]
            );
        }
    }

    #[test]
    fn gaps_are_skipped_and_a_short_past_has_none() {
        let mut values = weeks(4);
        values[500..560].fill(f64::NAN);
        let view = View { values: &values, cycle: Some(288), week: None, horizon: 12, memory: 28 };
        let mut out = [0.0; 600];
        Similar::find(&view).unwrap().forecast(&view, 3, 0.97, &mut out).unwrap();
        assert!(out.iter().all(|value| value.is_finite()));
        assert!(Similar::find(&View { values: &values[..300], ..view }).is_none());
    }
}
