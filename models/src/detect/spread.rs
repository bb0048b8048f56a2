//! The usual size of a residual, and the smallest one that can be told from rounding.

use serde::{Deserialize, Serialize};

/// Robust standard deviation: exponentially weighted mean square of values clipped at a few spreads (Huber 1964).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    mean_square: f64,
    seen: u32,
}

impl Spread {
    /// The spread, in the unit of the residual; 0 before anything was seen.
    pub fn value(&self) -> f64 {
        self.mean_square.sqrt()
    }

    /// Learns from a residual. `rate` is the weight of a new one once enough were seen, `clip` the number of spreads
    /// at which one is cut.
    pub fn learn(&mut self, residual: f64, rate: f64, clip: f64) {
        let spread = self.value();
        let residual = if self.seen >= 30 && spread > 0.0 {
            residual.clamp(-clip * spread, clip * spread)
        } else {
            residual
        };
        self.seen = self.seen.saturating_add(1);
        let weight = rate.max(1.0 / f64::from(self.seen));
        self.mean_square += weight * (residual * residual - self.mean_square);
    }
}

/// The usual size of a change, when the value changes at all: a running median that moves by a fixed factor.
///
/// Most points of a sparse series (an error count, a queue that is mostly empty) equal the one before, and its spread
/// shrinks to nothing. A change of the usual size is still no news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeSize {
    last: Option<f64>,
    median: f64,
    mean_absolute: f64,
    changes: u32,
    seen: u32,
}

/// Factor by which the median moves.
const FACTOR: f64 = 1.05;

impl ChangeSize {
    /// Takes the next value.
    pub fn observe(&mut self, value: f64) {
        if let Some(last) = self.last {
            let change = (value - last).abs();
            if change > 0.0 {
                if self.changes == 0 {
                    self.median = change;
                } else if change > self.median {
                    self.median *= FACTOR;
                } else {
                    self.median /= FACTOR;
                }
                self.changes = self.changes.saturating_add(1);
            }
        }
        self.last = Some(value);
        self.seen = self.seen.saturating_add(1);
        self.mean_absolute += (1.0 / f64::from(self.seen)).max(0.01) * (value.abs() - self.mean_absolute);
    }

    /// The smallest spread to believe in: a thousandth of the level while few changes were seen, most of the usual
    /// change later.
    pub fn floor(&self) -> f64 {
        let belief = f64::from(self.changes) / (f64::from(self.changes) + 10.0);
        (belief * 0.7 * self.median + (1.0 - belief) * 1e-3 * self.mean_absolute).max(1e-300)
    }
}
