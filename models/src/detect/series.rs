//! The detector of one series that the product uses: all residuals, calibrated, combined, with one alarm state.

use super::burst::{BurstAlarm, BurstScore};
use super::channel::{CLIP, Channel, Standardised};
use super::expect::Expectation;
use super::level::Direction;
use super::reason::{Against, Reason};
use super::spread::ChangeSize;
use super::step::Step;
use crate::math::{exp, ln};
use serde::{Deserialize, Serialize};

/// Weight of the surprisal against the long-term level: on most series it is the noisier of the two.
const LONG_LEVEL_WEIGHT: f64 = 0.8;
/// Surprisal (nats) from which a point teaches its tail less, and from which it teaches least.
const SUSPECT: (f64, f64) = (6.0, 9.0);
/// Least weight of a suspect point.
const SUSPECT_WEIGHT: f64 = 0.1;
/// So many suspect points in a row (others count back by a fifth) are the new usual state.
const MOST_SUSPECT: f64 = 60.0;
/// Largest magnitude that is computed with.
const LARGEST: f64 = 1e100;

/// Setting of a [`SeriesDetector`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesConfig {
    /// Bound on the false alarms of a series in its usual state, per day.
    pub false_alarms_per_day: f64,
    /// Largest chance at which an alarm is raised, however few points a day has.
    pub largest_chance: f64,
    /// Points before the first verdict.
    pub warm_up: u32,
    /// Bad side.
    pub direction: Direction,
    /// Smallest distance from what is expected that matters, in the series' unit; 0 for a series of unknown unit.
    pub minimum_effect: f64,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        Self {
            false_alarms_per_day: 0.05,
            largest_chance: 5e-4,
            warm_up: 30,
            direction: Direction::Both,
            minimum_effect: 0.0,
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SeriesConfigError {
    /// Out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`SeriesConfig`].
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
}

impl SeriesConfig {
    /// Checks every field.
    pub fn validate(&self) -> Result<(), SeriesConfigError> {
        let check = |field, value: f64, good: bool, limit| {
            if good { Ok(()) } else { Err(SeriesConfigError::OutOfRange { field, value, limit }) }
        };
        let rate = self.false_alarms_per_day;
        check("false_alarms_per_day", rate, (1e-6..=1e3).contains(&rate), "1e-6 to 1000")?;
        let chance = self.largest_chance;
        check("largest_chance", chance, (1e-12..=0.1).contains(&chance), "1e-12 to 0.1")?;
        check("warm_up", f64::from(self.warm_up), self.warm_up >= 3, "3 or more points")?;
        let effect = self.minimum_effect;
        check("minimum_effect", effect, effect >= 0.0 && effect.is_finite(), "0 or more")
    }
}

/// What the detector says of a point, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesVerdict {
    /// Enough points were seen.
    pub ready: bool,
    /// How unusual the point is, 0 to 1, comparable between series; low for a point that adds nothing to its burst.
    pub score: f64,
    /// Chance of a point at least this unusual in the usual state.
    pub chance: f64,
    /// The alarm is on.
    pub alarm: bool,
    /// The alarm was raised by this point.
    pub raised: bool,
    /// Usual range of the value at this time (three usual spreads), in the series' unit.
    pub usual: (f64, f64),
    /// Why.
    pub reason: Reason,
}

/// Streaming detector of one series: fixed memory, constant time a point, no clock.
///
/// ```
/// use homeostat_models::detect::{SeriesConfig, SeriesDetector};
/// let mut detector = SeriesDetector::new(SeriesConfig::default())?;
/// for turn in 0..500 {
///     let verdict = detector.observe(60 * turn, 10.0 + 0.1 * ((turn * 7) % 5) as f64);
///     assert!(!verdict.alarm);
/// }
/// let verdict = detector.observe(60 * 500, 20.0);
/// assert!(verdict.alarm);
/// assert!(verdict.reason.to_string().starts_with("20.0000 where 10."));
/// # Ok::<(), homeostat_models::detect::SeriesConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesDetector {
    config: SeriesConfig,
    seen: u32,
    step: Step,
    change: ChangeSize,
    expectation: Expectation,
    recent: Channel,
    long: Channel,
    suspects: f64,
    score: BurstScore,
    alarm: BurstAlarm,
}

impl SeriesDetector {
    /// A detector that has seen nothing.
    pub fn new(config: SeriesConfig) -> Result<Self, SeriesConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            seen: 0,
            step: Step::default(),
            change: ChangeSize::default(),
            expectation: Expectation::default(),
            recent: Channel::default(),
            long: Channel::default(),
            suspects: 0.0,
            score: BurstScore::default(),
            alarm: BurstAlarm::default(),
        })
    }

    /// Surprisal (nats) at which an alarm is raised, from the bound and the learned step.
    pub fn alarm_level(&self) -> f64 {
        let per_point = self.config.false_alarms_per_day * self.step.seconds() as f64 / 86_400.0;
        -ln(per_point.min(self.config.largest_chance))
    }

    /// Judges the next point and learns from it. `at_seconds` is the time of the point (seconds since 1970); the step is
    /// learned, points may be missing, and repeated or reversed timestamps are taken in the order they come.
    pub fn observe(&mut self, at_seconds: i64, value: f64) -> SeriesVerdict {
        if !value.is_finite() {
            return self.quiet(Reason::NotFinite, (f64::NEG_INFINITY, f64::INFINITY));
        }
        let value = value.clamp(-LARGEST, LARGEST);
        self.step.observe(at_seconds);
        let step = self.step.seconds();
        let floor = self.change.floor();
        self.change.observe(value);

        self.seen = self.seen.saturating_add(1);
        let ready = self.seen > self.config.warm_up;
        let residuals = self.expectation.residuals(at_seconds, step, value);
        let factor = residuals.spread_factor;
        let recent = self.recent.standardise(residuals.fast / factor, floor);
        let long = self.long.standardise(residuals.slow / factor, floor);
        let spread = self.recent.spread(floor) * factor;
        let usual = (residuals.expected - 3.0 * spread, residuals.expected + 3.0 * spread);

        let weighted = LONG_LEVEL_WEIGHT * long.surprisal;
        let (against, worst, distance, surprisal) = if weighted > recent.surprisal {
            (Against::LongLevel, long, residuals.slow, weighted)
        } else {
            (Against::RecentLevel, recent, residuals.fast, recent.surprisal)
        };

        self.learn(at_seconds, step, value, &residuals, [&recent, &long], surprisal, ready);
        if !ready {
            let reason = Reason::Learning { seen: self.seen, needed: self.config.warm_up };
            return self.quiet(reason, usual);
        }
        let expected = value - distance;
        let matters = self.matters(distance);
        let surprisal = if matters { surprisal } else { 0.0 };
        let chance = exp(-surprisal);
        let was_on = self.alarm.is_on();
        let score = self.score.observe(surprisal);
        let alarm = self.alarm.observe(surprisal, self.alarm_level());
        let reason = if matters {
            let spreads = worst.spreads;
            Reason::Distance { value, expected, spreads, against, seasonal: residuals.seasonal, chance }
        } else {
            Reason::DoesNotMatter { value, expected }
        };
        SeriesVerdict { ready, score, chance, alarm, raised: alarm && !was_on, usual, reason }
    }

    /// Whether a distance from what was expected is on the bad side and large enough to matter.
    fn matters(&self, distance: f64) -> bool {
        let signed = match self.config.direction {
            Direction::Above => distance,
            Direction::Below => -distance,
            Direction::Both => distance.abs(),
        };
        signed >= self.config.minimum_effect
    }

    #[allow(clippy::too_many_arguments)]
    fn learn(
        &mut self,
        at_seconds: i64,
        step: i64,
        value: f64,
        residuals: &super::expect::Residuals,
        [recent, long]: [&Standardised; 2],
        surprisal: f64,
        ready: bool,
    ) {
        // A point that looks like an incident teaches the tails little, unless it goes on and on.
        let mut weight = 1.0;
        if ready {
            let trust = 1.0 - (surprisal - SUSPECT.0) / (SUSPECT.1 - SUSPECT.0);
            if trust >= 1.0 {
                self.suspects = (self.suspects - 0.2).max(0.0);
            } else if self.suspects < MOST_SUSPECT {
                self.suspects += 1.0;
                weight = trust.max(SUSPECT_WEIGHT);
            }
        }
        self.recent.learn(recent, ready, weight);
        self.long.learn(long, ready, weight);
        let reach =
            if ready { CLIP * self.recent.spread(1e-300) * residuals.spread_factor } else { f64::INFINITY };
        self.expectation.learn(at_seconds, step, value, residuals, reach);
    }

    fn quiet(&self, reason: Reason, usual: (f64, f64)) -> SeriesVerdict {
        SeriesVerdict {
            ready: false,
            score: 0.0,
            chance: 1.0,
            alarm: self.alarm.is_on(),
            raised: false,
            usual,
            reason,
        }
    }

    /// Whether the alarm is on.
    pub fn alarm(&self) -> bool {
        self.alarm.is_on()
    }

    /// The learned distance between points in seconds.
    pub fn step_seconds(&self) -> i64 {
        self.step.seconds()
    }

    /// Time of the last point; `None` before the first.
    pub fn last_seen(&self) -> Option<i64> {
        self.step.last()
    }
}
