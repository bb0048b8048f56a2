//! Level and spread: how far is a point from what is usual for its series, in units of the usual spread.
//!
//! Exponentially weighted mean and variance (West 1979; Finch 2009) of winsorised values (Huber 1964), with the
//! score's tail calibrated per series by [`ScoreTail`]. State: a dozen numbers.

use super::alarm::{Alarm, AlarmConfig};
use crate::tail::ScoreTail;
use serde::{Deserialize, Serialize};

/// Which side is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Large values.
    Above,
    /// Small values.
    Below,
    /// Both.
    Both,
}

/// Setting of a [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelConfig {
    /// Points after which an old value has half its weight.
    pub half_life: f64,
    /// Points before the first verdict.
    pub warm_up: u32,
    /// Bad side.
    pub direction: Direction,
    /// Smallest distance from the usual level that matters, in the series' unit.
    pub minimum_effect: f64,
    /// Smallest ratio to the usual level that matters (1.5 = half as much again); for positive series such as latency.
    pub minimum_ratio: f64,
    /// Work on logarithms: for positive series whose spread grows with their level.
    pub logarithmic: bool,
    /// Alarm state.
    pub alarm: AlarmConfig,
}

impl Default for LevelConfig {
    fn default() -> Self {
        Self {
            half_life: 300.0,
            warm_up: 30,
            direction: Direction::Above,
            minimum_effect: 0.0,
            minimum_ratio: 1.0,
            logarithmic: false,
            alarm: AlarmConfig::default(),
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LevelConfigError {
    /// Out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`LevelConfig`].
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
}

/// Detector of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    config: LevelConfig,
    seen: u64,
    mean: f64,
    variance: f64,
    tail: ScoreTail,
    alarm: Alarm,
    held: u32,
}

/// What a detector says of a point, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Enough points were seen.
    pub ready: bool,
    /// Distance from the usual level on the bad side, in usual spreads.
    pub score: f64,
    /// Chance of such a point in the usual state.
    pub chance: f64,
    /// Usual range (two spreads around the level), in the series' unit.
    pub usual: (f64, f64),
    /// The alarm is on.
    pub alarm: bool,
}

impl Level {
    /// A detector that has seen nothing.
    pub fn new(config: LevelConfig) -> Result<Self, LevelConfigError> {
        let check = |field, value: f64, good: bool, limit| {
            if good { Ok(()) } else { Err(LevelConfigError::OutOfRange { field, value, limit }) }
        };
        check("half_life", config.half_life, (1.0..=1e9).contains(&config.half_life), "1 to 1e9 points")?;
        check(
            "minimum_effect",
            config.minimum_effect,
            config.minimum_effect >= 0.0 && config.minimum_effect.is_finite(),
            "0 or more",
        )?;
        check(
            "minimum_ratio",
            config.minimum_ratio,
            (1.0..=1e6).contains(&config.minimum_ratio),
            "1 to 1e6",
        )?;
        Ok(Self {
            config,
            seen: 0,
            mean: 0.0,
            variance: 0.0,
            tail: ScoreTail::new(0.02),
            alarm: Alarm::new(config.alarm),
            held: 0,
        })
    }

    fn scaled(&self, value: f64) -> f64 {
        if self.config.logarithmic { value.max(1e-9).ln() } else { value }
    }

    fn unscaled(&self, value: f64) -> f64 {
        if self.config.logarithmic { value.exp() } else { value }
    }

    fn spread(&self) -> f64 {
        // A constant series has no spread of its own; a thousandth of its level stands in.
        let floor = if self.config.logarithmic { 0.02 } else { (self.mean.abs() * 1e-3).max(1e-12) };
        self.variance.sqrt().max(floor)
    }

    /// Judges the next point and learns from it. Non-finite values are refused: `None`, nothing changes.
    pub fn observe(&mut self, value: f64) -> Option<Verdict> {
        if !value.is_finite() {
            return None;
        }
        let scaled = self.scaled(value);
        if self.seen == 0 {
            self.mean = scaled;
        }
        let ready = self.seen >= u64::from(self.config.warm_up);
        let spread = self.spread();
        let distance = scaled - self.mean;
        let signed = match self.config.direction {
            Direction::Above => distance,
            Direction::Below => -distance,
            Direction::Both => distance.abs(),
        };
        let score = (signed / spread).max(0.0);
        let usual = (self.unscaled(self.mean - 2.0 * spread), self.unscaled(self.mean + 2.0 * spread));
        let level = self.unscaled(self.mean);
        let matters = (value - level).abs() >= self.config.minimum_effect && self.ratio_matters(value, level);
        let chance = if ready && matters { self.tail.chance(score) } else { 1.0 };
        let alarm = ready && self.alarm.update(chance);

        // While the alarm is on the usual state is kept; after a long time the new level is accepted as usual.
        self.held = if alarm { self.held.saturating_add(1) } else { 0 };
        if !alarm || f64::from(self.held) > 2.0 * self.config.half_life {
            if ready {
                self.tail.learn(score);
            }
            let reach = if ready { 4.0 * spread } else { f64::INFINITY };
            self.learn(self.mean + distance.clamp(-reach, reach));
        }
        Some(Verdict { ready, score, chance, usual, alarm })
    }

    fn ratio_matters(&self, value: f64, level: f64) -> bool {
        if self.config.minimum_ratio <= 1.0 || level <= 0.0 {
            return true;
        }
        let ratio = value / level;
        match self.config.direction {
            Direction::Above => ratio >= self.config.minimum_ratio,
            Direction::Below => ratio <= 1.0 / self.config.minimum_ratio,
            Direction::Both => ratio >= self.config.minimum_ratio || ratio <= 1.0 / self.config.minimum_ratio,
        }
    }

    fn learn(&mut self, scaled: f64) {
        self.seen = self.seen.saturating_add(1);
        // A plain average at first, exponential forgetting later.
        let decay = 1.0 - 0.5_f64.powf(1.0 / self.config.half_life);
        let weight = decay.max(1.0 / self.seen as f64);
        let delta = scaled - self.mean;
        self.mean += weight * delta;
        self.variance = (1.0 - weight) * (self.variance + weight * delta * delta);
    }

    /// Whether the alarm is on.
    pub fn alarm(&self) -> bool {
        self.alarm.is_on()
    }

    /// Usual level in the series' unit; `None` before the warm-up ended.
    pub fn usual_level(&self) -> Option<f64> {
        (self.seen >= u64::from(self.config.warm_up)).then(|| self.unscaled(self.mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64) / ((1_u64 << 53) as f64) - 0.5
        }
    }

    fn latency() -> Level {
        Level::new(LevelConfig {
            logarithmic: true,
            minimum_ratio: 2.0,
            minimum_effect: 0.05,
            ..LevelConfig::default()
        })
        .expect("a valid setting")
    }

    #[test]
    fn a_slow_service_is_found_at_the_second_point_and_says_what_is_usual() {
        let (mut level, mut noise) = (latency(), noise(1));
        for _ in 0..600 {
            assert!(!level.observe(0.010 * (1.0 + 0.4 * noise())).expect("finite").alarm);
        }
        level.observe(2.0);
        let verdict = level.observe(2.0).expect("finite");
        assert!(verdict.alarm && verdict.chance < 1e-6, "{verdict:?}");
        assert!(verdict.usual.0 > 0.004 && verdict.usual.1 < 0.02, "{verdict:?}");
    }

    #[test]
    fn a_quiet_day_of_seconds_gives_no_alarm() {
        let (mut level, mut noise) = (latency(), noise(2));
        let alarms = (0..86_400)
            .filter(|_| level.observe(0.010 * (1.0 + 0.8 * noise())).expect("finite").alarm)
            .count();
        assert_eq!(alarms, 0);
    }

    #[test]
    fn a_tenth_of_a_percent_to_three_tenths_is_no_incident_with_a_minimum_effect() {
        let mut level = Level::new(LevelConfig { minimum_effect: 0.05, ..LevelConfig::default() })
            .expect("a valid setting");
        for _ in 0..300 {
            level.observe(0.001);
        }
        for _ in 0..10 {
            assert!(!level.observe(0.003).expect("finite").alarm);
        }
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_with_its_field() {
        let error =
            Level::new(LevelConfig { half_life: 0.0, ..LevelConfig::default() }).expect_err("zero half-life");
        assert_eq!(error.to_string(), "half_life is 0, it must be 1 to 1e9 points");
    }

    #[test]
    fn restored_state_continues_as_if_never_stopped() {
        let (mut level, mut noise) = (latency(), noise(3));
        for _ in 0..100 {
            level.observe(0.01 + 0.005 * noise());
        }
        let text = serde_json::to_string(&level).expect("serialises");
        let mut restored: Level = serde_json::from_str(&text).expect("deserialises");
        for _ in 0..100 {
            let value = 0.01 + 0.005 * noise();
            assert_eq!(level.observe(value), restored.observe(value));
        }
    }

    proptest! {
        #[test]
        fn any_input_gives_finite_chances(values in prop::collection::vec(any::<f64>(), 0..300), log in any::<bool>()) {
            let mut level = Level::new(LevelConfig { logarithmic: log, warm_up: 3, ..LevelConfig::default() }).expect("valid");
            for value in values {
                if let Some(verdict) = level.observe(value) {
                    prop_assert!((0.0..=1.0).contains(&verdict.chance), "{verdict:?}");
                }
            }
        }
    }
}
