//! One detector of the combination: a residual, in units of its own usual spread, with a tail for either side.

use super::spread::Spread;
use crate::calibrate::Tail;
use serde::{Deserialize, Serialize};

/// Forgetting of the spread, per point.
const RATE: f64 = 0.001;
/// Spreads at which a residual is cut when the spread is learned.
pub(crate) const CLIP: f64 = 6.0;

/// Calibrated residual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    spread: Spread,
    above: Tail,
    below: Tail,
}

/// A residual as its channel sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standardised {
    residual: f64,
    /// Residual in usual spreads, signed.
    pub spreads: f64,
    /// `-ln` of the chance, both sides taken into account.
    pub surprisal: f64,
}

impl Channel {
    /// Size of one usual spread, in the unit of the residual; at least `floor`.
    pub fn spread(&self, floor: f64) -> f64 {
        self.spread.value().max(floor)
    }

    /// The residual in usual spreads and its surprisal.
    pub fn standardise(&self, residual: f64, floor: f64) -> Standardised {
        let spreads = (residual / self.spread(floor)).clamp(-1e12, 1e12);
        let tail = if spreads > 0.0 { &self.above } else { &self.below };
        let surprisal = (tail.surprisal(spreads.abs()) - std::f64::consts::LN_2).max(0.0);
        Standardised { residual, spreads, surprisal }
    }

    /// Learns the spread in any case, the tails with `weight`; `ready` says whether spreads mean anything yet.
    pub fn learn(&mut self, point: &Standardised, ready: bool, weight: f64) {
        self.spread.learn(point.residual, RATE, CLIP);
        if ready {
            let (above, below) =
                if point.spreads > 0.0 { (point.spreads, 0.0) } else { (0.0, -point.spreads) };
            self.above.learn(above, weight);
            self.below.learn(below, weight);
        }
    }
}
