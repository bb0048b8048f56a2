//! From chances to an alarm state with hysteresis: enter on few very unlikely points, leave on several usual ones.

use serde::{Deserialize, Serialize};

/// When an alarm is entered and left.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmConfig {
    /// False alarms that are accepted per series and day.
    pub false_alarms_per_day: f64,
    /// Points per day of the series.
    pub points_per_day: f64,
    /// Consecutive unlikely points before the alarm is entered.
    pub enter_points: u32,
    /// Consecutive usual points before it is left.
    pub leave_points: u32,
}

impl Default for AlarmConfig {
    fn default() -> Self {
        Self { false_alarms_per_day: 0.1, points_per_day: 86_400.0, enter_points: 2, leave_points: 3 }
    }
}

/// Alarm state of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    config: AlarmConfig,
    bad: u32,
    good: u32,
    on: bool,
}

impl Alarm {
    /// An alarm that is off.
    pub fn new(config: AlarmConfig) -> Self {
        Self { config, bad: 0, good: 0, on: false }
    }

    /// Chance below which a point counts as unlikely. Several in a row are asked for, each may be a
    /// little likelier than one alone: the bound is on the whole run, taken as independent points.
    pub fn point_chance(&self) -> f64 {
        let run = (self.config.false_alarms_per_day / self.config.points_per_day.max(1.0)).clamp(1e-12, 0.5);
        run.powf(1.0 / f64::from(self.config.enter_points.max(1)))
    }

    /// Takes the chance of the next point; returns whether the alarm is on now.
    pub fn update(&mut self, chance: f64) -> bool {
        if chance < self.point_chance() {
            self.bad = self.bad.saturating_add(1);
            self.good = 0;
        } else {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
        }
        if !self.on && self.bad >= self.config.enter_points {
            self.on = true;
        } else if self.on && self.good >= self.config.leave_points {
            self.on = false;
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
    fn one_wild_point_is_no_alarm_and_a_run_is_left_only_after_several_good_ones() {
        let mut alarm = Alarm::new(AlarmConfig::default());
        assert!(!alarm.update(1e-9));
        assert!(!alarm.update(0.5));
        assert!(!alarm.update(1e-9));
        assert!(alarm.update(1e-9));
        assert!(alarm.update(0.5));
        assert!(alarm.update(0.5));
        assert!(!alarm.update(0.5));
    }
}
