//! The load over time, in what one replica carries: a day of a few minutes, then a load that doubles without warning.

use std::f64::consts::TAU;

/// What the load is at night.
const LOW: f64 = 0.6;
/// What it is at noon.
const PEAK: f64 = 4.5;
/// Before it doubles.
const BEFORE: f64 = 1.6;

/// Seconds of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// At the lowest, at the beginning and after each part.
    pub low: u32,
    /// The day.
    pub day: u32,
    /// Before the load doubles.
    pub before: u32,
    /// Doubled.
    pub doubled: u32,
}

impl Default for Shape {
    /// Eight and a half minutes.
    fn default() -> Self {
        Self { low: 45, day: 240, before: 60, doubled: 75 }
    }
}

/// A part of the load with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Its first second.
    pub from: usize,
    /// The second after it.
    pub to: usize,
}

impl Shape {
    /// Load of each second, in what one replica carries.
    pub fn replicas_worth(&self) -> Vec<f64> {
        let flat = |seconds: u32, load: f64| (0..seconds).map(move |_| load);
        let day = (0..self.day).map(|second| {
            let noon = 0.5 - 0.5 * (f64::from(second) / f64::from(self.day) * TAU).cos();
            LOW + (PEAK - LOW) * noon
        });
        flat(self.low, LOW)
            .chain(day)
            .chain(flat(self.low, LOW))
            .chain(flat(self.before, BEFORE))
            .chain(flat(self.doubled, 2.0 * BEFORE))
            .chain(flat(self.low, LOW))
            .collect()
    }

    /// The parts that are told apart.
    pub fn parts(&self) -> [Part; 2] {
        let day = self.low as usize;
        let step = day + (self.day + self.low + self.before) as usize;
        [
            Part { name: "the day", from: day, to: day + self.day as usize },
            Part { name: "the doubling", from: step, to: step + self.doubled as usize },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_rises_and_falls_and_the_step_doubles() {
        let shape = Shape::default();
        let loads = shape.replicas_worth();
        assert_eq!(loads.len(), 510);
        let [day, step] = shape.parts();
        let highest = loads[day.from..day.to].iter().copied().fold(0.0, f64::max);
        assert!((highest - PEAK).abs() < 0.01, "{highest}");
        assert!((loads[step.from] / loads[step.from - 1] - 2.0).abs() < 1e-9);
        assert!((loads[step.to] - LOW).abs() < 1e-9 && (loads[0] - LOW).abs() < 1e-9);
    }
}
