//! Two calibrated tails, one for either side of what is expected.

use crate::calibrate::Tail;
use serde::{Deserialize, Serialize};

/// Tails of a signed score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    above: Tail,
    below: Tail,
}

impl Channel {
    /// `-ln` of the chance (nats) of a score at least this far on its side; either side could have been hit.
    pub fn surprisal(&self, spreads: f64) -> f64 {
        let tail = if spreads > 0.0 { &self.above } else { &self.below };
        (tail.surprisal(spreads.abs()) - std::f64::consts::LN_2).max(0.0)
    }

    /// Learns from a signed score with a weight in [0, 1].
    pub fn learn(&mut self, spreads: f64, weight: f64) {
        let (above, below) = if spreads > 0.0 { (spreads, 0.0) } else { (0.0, -spreads) };
        self.above.learn(above, weight);
        self.below.learn(below, weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_has_its_own_tail() {
        let mut channel = Channel::default();
        for turn in 0..5_000 {
            // Wide above, narrow below.
            let spreads = f64::from(turn % 100) / 10.0;
            channel.learn(if turn % 2 == 0 { spreads } else { -spreads / 10.0 }, 1.0);
        }
        assert!(channel.surprisal(-6.0) > channel.surprisal(6.0) + 3.0);
    }
}
