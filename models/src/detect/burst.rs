//! From surprisal to a score and an alarm: one of each per burst.

use serde::{Deserialize, Serialize};

/// Points over which the height of a burst fades to nothing, in a straight line.
const SCORE_MEMORY: f64 = 170.0;
/// What is left of the score of a point that adds nothing to its burst.
const DAMPING: f64 = 0.1;
/// Surprisal that is told apart, in nats; the score is the surprisal over this.
const FULL: f64 = 40.0;
/// Points after which a raised alarm no longer stands in the way of a lesser one (to 1/e).
const ALARM_MEMORY: f64 = 60.0;

/// Score of a stream of surprisals: full height only when a point is more surprising than the slowly fading height of its
/// burst, so that at any threshold a burst is reported where it first crosses it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BurstScore {
    height: f64,
    age: u32,
}

impl BurstScore {
    /// Score in [0, 1] of a point with this surprisal (nats).
    pub fn observe(&mut self, surprisal: f64) -> f64 {
        self.age = self.age.saturating_add(1);
        let height = self.height * (1.0 - f64::from(self.age) / SCORE_MEMORY).max(0.0);
        let kept = if surprisal > height {
            self.height = surprisal;
            self.age = 0;
            surprisal
        } else {
            surprisal * DAMPING
        };
        (kept / FULL).clamp(0.0, 1.0)
    }
}

/// Alarm with hysteresis: raised above a level, left below it, and for a while not raised again by less than it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BurstAlarm {
    on: bool,
    bar: f64,
    usual: u32,
}

impl BurstAlarm {
    /// Takes the surprisal of the next point, the level at which an alarm is raised, and the number of usual points after
    /// which it is left; returns whether it is on.
    pub fn observe(&mut self, surprisal: f64, level: f64, leave_points: u32) -> bool {
        self.bar *= 1.0 - 1.0 / ALARM_MEMORY;
        let unusual = surprisal >= level;
        if self.on {
            self.usual = if unusual { 0 } else { self.usual.saturating_add(1) };
            self.on = self.usual < leave_points;
        } else {
            self.on = unusual && surprisal > self.bar;
            self.usual = 0;
        }
        if self.on && unusual {
            self.bar = self.bar.max(surprisal);
        }
        self.on
    }

    /// Whether the alarm is on.
    pub fn is_on(&self) -> bool {
        self.on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_scored_where_it_first_crosses_any_threshold() {
        let mut score = BurstScore::default();
        let scores: Vec<f64> = [10.0, 9.0, 20.0, 10.0].map(|surprisal| score.observe(surprisal)).to_vec();
        assert_eq!(scores, [0.25, 0.0225, 0.5, 0.025]);
        let later = (0..300).map(|_| score.observe(0.0)).fold(0.0, f64::max);
        assert!(later.abs() < 1e-12 && (score.observe(10.0) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn an_alarm_is_left_after_enough_usual_points_and_not_raised_again_by_less() {
        let mut alarm = BurstAlarm::default();
        let states: Vec<bool> = [12.0, 3.0, 12.0, 3.0, 3.0, 11.0, 13.0]
            .map(|surprisal| alarm.observe(surprisal, 10.0, 2))
            .to_vec();
        assert_eq!(states, [true, true, true, true, false, false, true]);
        for _ in 0..60 {
            alarm.observe(0.0, 10.0, 2);
        }
        assert!(alarm.observe(11.0, 10.0, 2));
    }
}
