//! State of one dimension: its usual level and spread, how much it usually moves from row to row, and its range.

use serde::{Deserialize, Serialize};

/// Values are kept inside this magnitude, so that no square overflows.
const LARGEST: f64 = 1e140;

/// What all dimensions of a detector share, worked out once from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rates {
    pub level: f64,
    pub spread: f64,
    pub range: f64,
    pub range_share: f64,
    pub change_weight: f64,
    pub wild: f64,
    pub most: f64,
    pub warm_up: u32,
}

/// Eight numbers for each dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dimension {
    seen: u32,
    last: f64,
    level: f64,
    level_variance: f64,
    change_variance: f64,
    low: f64,
    high: f64,
}

/// One dimension's part of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// Squared deviation from the level plus weighted squared change, in squared usual spreads.
    pub contribution: f64,
    /// The value judged.
    pub value: f64,
    /// Usual level before this row.
    pub level: f64,
    /// Usual spread around the level.
    pub spread: f64,
    /// Value of the row before.
    pub last: f64,
    /// The change from the row before says more than the distance from the level.
    pub jumped: bool,
}

impl Dimension {
    pub fn new() -> Self {
        Self {
            seen: 0,
            last: 0.0,
            level: 0.0,
            level_variance: 0.0,
            change_variance: 0.0,
            low: 0.0,
            high: 0.0,
        }
    }

    /// Judges a finite value against the state before it, then learns from it. `None` while warming up.
    pub fn observe(&mut self, value: f64, rates: &Rates) -> Option<Part> {
        let value = value.clamp(-LARGEST, LARGEST);
        if self.seen == 0 {
            (self.last, self.level, self.low, self.high) = (value, value, value, value);
        }
        let ready = self.seen >= rates.warm_up;
        // A share of the range stands in for the spread of a dimension that hardly ever moves.
        let floor = rates.range_share * (self.high - self.low);
        let level_spread = self.level_variance.sqrt() + floor;
        let change_spread = self.change_variance.sqrt() + floor;
        let distance = value - self.level;
        let change = value - self.last;
        let level_part = squared(distance, level_spread, rates.most);
        let change_part = rates.change_weight * squared(change, change_spread, rates.most);
        let part = Part {
            contribution: level_part + change_part,
            value,
            level: self.level,
            spread: level_spread,
            last: self.last,
            jumped: change_part > level_part,
        };
        self.learn(value, distance, change, level_spread, change_spread, rates);
        ready.then_some(part)
    }

    fn learn(
        &mut self,
        value: f64,
        distance: f64,
        change: f64,
        level_spread: f64,
        change_spread: f64,
        rates: &Rates,
    ) {
        self.seen = self.seen.saturating_add(1);
        // Plain averages at first, exponential forgetting later.
        let newest = 1.0 / f64::from(self.seen);
        let distance = held(distance, level_spread, rates.wild);
        let change = held(change, change_spread, rates.wild);
        self.level += rates.level.max(newest) * distance;
        let weight = rates.spread.max(newest);
        self.level_variance += weight * (distance * distance - self.level_variance);
        self.change_variance += weight * (change * change - self.change_variance);
        self.last = value;

        // The range forgets slowly and, so that one wild value does not blind it, at most triples in a row.
        let range = self.high - self.low;
        let middle = 0.5 * (self.high + self.low);
        self.low += rates.range * (middle - self.low);
        self.high += rates.range * (middle - self.high);
        let reach = if range > 0.0 { range } else { f64::INFINITY };
        self.high = self.high.max(value.min(self.high + reach));
        self.low = self.low.min(value.max(self.low - reach));
    }
}

/// Squared distance in spreads, bounded; without any spread, everything but a zero distance is as far as can be.
fn squared(distance: f64, spread: f64, most: f64) -> f64 {
    if distance == 0.0 {
        return 0.0;
    }
    let units = (distance / spread).abs().min(most);
    units * units
}

/// A distance cut to so many spreads (Huber 1964); without any spread it is taken as it is.
fn held(distance: f64, spread: f64, wild: f64) -> f64 {
    if spread > 0.0 { distance.clamp(-wild * spread, wild * spread) } else { distance }
}
