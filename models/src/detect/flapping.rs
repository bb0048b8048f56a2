//! An alarm that comes and goes: told once, not each time.

use serde::{Deserialize, Serialize};

/// Seconds after which a raised alarm counts half.
const HALF_LIFE: f64 = 1_800.0;
/// Count at which an alarm flaps, and below which it no longer does.
const ENTER: f64 = 4.0;
const LEAVE: f64 = 1.5;

/// Decaying count of raised alarms with hysteresis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flapping {
    count: f64,
    last: Option<i64>,
    on: bool,
}

impl Flapping {
    /// Takes the time of a point and whether it raised the alarm; returns whether the alarm flaps.
    pub fn observe(&mut self, at_seconds: i64, raised: bool) -> bool {
        if !raised && self.count == 0.0 {
            return false;
        }
        let passed = self.last.map_or(0, |last| at_seconds.saturating_sub(last).max(0));
        self.last = Some(at_seconds);
        // Half after a half-life, in the form 1 / (1 + t) over short times: no power, and never below zero.
        self.count /= 1.0 + std::f64::consts::LN_2 * passed as f64 / HALF_LIFE;
        if self.count < 0.01 {
            self.count = 0.0;
        }
        self.count += f64::from(u8::from(raised));
        self.on = if self.on { self.count >= LEAVE } else { self.count >= ENTER };
        self.on
    }

    /// Whether the alarm flaps.
    pub fn is_on(&self) -> bool {
        self.on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_alarms_in_ten_minutes_flap_one_an_hour_does_not() {
        let mut fast = Flapping::default();
        let flapped: Vec<bool> = (0..5).map(|turn| fast.observe(120 * turn, true)).collect();
        assert_eq!(flapped, [false, false, false, false, true]);
        assert!(!fast.observe(6 * 3_600, false));

        let mut slow = Flapping::default();
        assert!((0..100).all(|turn| !slow.observe(3_600 * turn, true)));
    }
}
