//! From surprisal to a score and an alarm: one of each per burst.

use serde::{Deserialize, Serialize};

/// Points after which a burst is forgotten (to 1/e).
const SCORE_MEMORY: f64 = 200.0;
/// What is left of the score of a point that adds nothing to its burst.
const DAMPING: f64 = 0.1;
/// Surprisal that is told apart, in nats; the score is the surprisal over this.
const FULL: f64 = 40.0;
/// Points after which a raised alarm no longer stands in the way of a lesser one (to 1/e).
const ALARM_MEMORY: f64 = 60.0;
/// The alarm is left when the surprisal falls below this share of the level at which it is raised.
const LEAVE: f64 = 0.9;

/// Score of a stream of surprisals: full height only when a point is more surprising than the slowly fading height of its
/// burst, so that at any threshold a burst is reported where it first crosses it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BurstScore {
    height: f64,
}

impl BurstScore {
    /// Score in [0, 1] of a point with this surprisal (nats).
    pub fn observe(&mut self, surprisal: f64) -> f64 {
        self.height *= 1.0 - 1.0 / SCORE_MEMORY;
        let kept = if surprisal > self.height { surprisal } else { surprisal * DAMPING };
        self.height = self.height.max(surprisal);
        (kept / FULL).clamp(0.0, 1.0)
    }
}

/// Alarm with hysteresis: raised above a level, left below a share of it, and not raised again at once by less.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BurstAlarm {
    on: bool,
    bar: f64,
}

impl BurstAlarm {
    /// Takes the surprisal of the next point and the level at which an alarm is raised; returns whether it is on.
    pub fn observe(&mut self, surprisal: f64, level: f64) -> bool {
        self.bar *= 1.0 - 1.0 / ALARM_MEMORY;
        if self.on {
            self.on = surprisal >= LEAVE * level;
        } else {
            self.on = surprisal > level && surprisal > self.bar;
        }
        if self.on {
            self.bar = self.bar.max(surprisal);
        }
        self.on
    }

    /// Whether the alarm is on.
    pub fn is_on(&self) -> bool {
        self.on
    }
}
