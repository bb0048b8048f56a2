//! What every model sees: the values before an origin, the length of a cycle, and windows that follow from the horizon.

use super::history::{mean, median, usable};

/// The past of an origin, as models see it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Values before the origin, oldest first; missing ones not finite.
    pub values: &'a [f64],
    /// Steps of the cycle that days are compared by, if there is one.
    pub cycle: Option<usize>,
    /// Steps of a week, if the series has a weekly season.
    pub week: Option<usize>,
    /// Steps of the back-tested horizon; an hour of 5-minute steps is 12.
    pub horizon: usize,
    /// Past cycles that may be looked at.
    pub memory: usize,
}

impl View<'_> {
    /// A twelfth of the horizon: the last 5 minutes of an hour's horizon.
    pub fn short(&self) -> usize {
        (self.horizon / 12).max(1)
    }

    /// A quarter of the horizon.
    pub fn medium(&self) -> usize {
        (self.horizon / 4).max(1)
    }

    /// What is left of a deviation after one step when about 70 % shall be left at the horizon.
    pub fn slow_decay(&self) -> f64 {
        (1.0 - 0.36 / self.horizon as f64).max(0.5)
    }

    /// What is left of a deviation after one step when about 30 % shall be left at the horizon.
    pub fn fast_decay(&self) -> f64 {
        (1.0 - 1.2 / self.horizon as f64).max(0.3)
    }

    /// Mean of the last `window` values before the origin, missing ones left out.
    pub fn level(&self, window: usize) -> Option<f64> {
        mean(self.values[self.values.len().saturating_sub(window)..].iter().copied())
    }

    /// The last usable value.
    pub fn last(&self) -> Option<f64> {
        self.values.iter().rev().copied().find(|value| usable(*value))
    }

    /// Median of the values `1..=cycles` cycles before step `index` (0 is the oldest value, the origin is
    /// `values.len()`; steps after it are fine), missing ones left out.
    pub fn profile(&self, index: usize, cycle: usize, cycles: usize) -> Option<f64> {
        let mut buffer = [0.0; 16];
        let mut count = 0;
        for back in 1..=cycles.min(buffer.len()) {
            let Some(place) = index.checked_sub(back * cycle) else { break };
            if let Some(value) = self.values.get(place).copied().filter(|value| usable(*value)) {
                buffer[count] = value;
                count += 1;
            }
        }
        median(&mut buffer[..count])
    }
}
