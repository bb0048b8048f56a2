//! The detector of one series that the product uses: all residuals, calibrated, combined, with one alarm state.

use super::activity::Activity;
use super::burst::{BurstAlarm, BurstScore};
use super::change::{Cusum, Shift};
use super::channel::Channel;
use super::counter::Counter;
use super::direction::Direction;
use super::expect::{Expectation, Residuals};
use super::flapping::Flapping;
use super::reason::{Against, Reason};
use super::recurring::Recurring;
use super::silence::{Silence, SilenceWatch};
use super::spread::{ChangeSize, Spread};
use super::step::Step;
use crate::math::{exp, ln};
use serde::{Deserialize, Serialize};

/// Every channel, in order, and the weight of its surprisal: the first is the sharpest, the others see what it adapts to
/// or are noisier.
const CHANNELS: [(Against, f64); 4] = [
    (Against::RecentLevel, 1.0),
    (Against::LongLevel, 1.0),
    (Against::Activity, 0.8),
    (Against::RecentSwings, 0.85),
];
/// Place of activity among the channels.
const ACTIVITY: usize = 2;
/// Forgetting of the usual spreads, per point.
const SPREAD_RATE: f64 = 0.0007;
/// Forgetting of the swings of the last dozens of points.
const SWING_RATE: f64 = 0.05;
/// Spreads at which a residual is cut when levels and spreads are learned.
const CLIP: f64 = 7.0;
/// Surprisal (nats) from which a point teaches its tail less, and from which it teaches least.
const SUSPECT: (f64, f64) = (6.0, 10.0);
/// Least weight of a suspect point.
const SUSPECT_WEIGHT: f64 = 0.1;
/// So many suspect points in a row (others count back by a fifth) are the new usual state.
const MOST_SUSPECT: f64 = 60.0;
/// Surprisal (nats) up to which chances are read off the series' own scores (one in twenty); beyond, they are extrapolated
/// and trusted less: an alarm asks for this much more than the bound says.
const READ_OFF: f64 = 3.0;
const DISTRUST: f64 = 1.35;
/// Points at the very start, whose residuals are too small to learn a spread from.
const START: u32 = 5;
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
    /// Usual points after which an alarm is left; with 1 it covers exactly the points that are unusual.
    pub leave_points: u32,
    /// The series is a counter that only grows: its rate per second is judged, and restarts are no news.
    pub counter: bool,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        Self {
            false_alarms_per_day: 0.1,
            largest_chance: 5e-4,
            warm_up: 30,
            direction: Direction::Both,
            minimum_effect: 0.0,
            leave_points: 1,
            counter: false,
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
        check("minimum_effect", effect, effect >= 0.0 && effect.is_finite(), "0 or more")?;
        check("leave_points", f64::from(self.leave_points), self.leave_points >= 1, "1 or more")
    }
}

/// What the detector says of a point, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts, each with a name")]
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
    /// The alarm was raised so often lately that it should be told once, as flapping.
    pub flapping: bool,
    /// The level moved for good, and since when; for information, no alarm of its own.
    pub shift: Option<Shift>,
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
    recent: Spread,
    long: Spread,
    activity: Activity,
    swings: Spread,
    channels: [Channel; CHANNELS.len()],
    suspects: f64,
    score: BurstScore,
    alarm: BurstAlarm,
    recurring: Recurring,
    cusum: Cusum,
    counter: Counter,
    flapping: Flapping,
    silence: SilenceWatch,
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
            recent: Spread::default(),
            long: Spread::default(),
            activity: Activity::default(),
            swings: Spread::default(),
            channels: Default::default(),
            suspects: 0.0,
            score: BurstScore::default(),
            alarm: BurstAlarm::default(),
            recurring: Recurring::default(),
            cusum: Cusum::default(),
            counter: Counter::default(),
            flapping: Flapping::default(),
            silence: SilenceWatch::default(),
        })
    }

    /// Surprisal (nats) at which an alarm is raised, from the bound on false alarms and the learned step.
    pub fn alarm_level(&self) -> f64 {
        let per_point = self.config.false_alarms_per_day * self.step.seconds() as f64 / 86_400.0;
        let stated = READ_OFF + DISTRUST * (-ln(per_point) - READ_OFF);
        stated.max(-ln(self.config.largest_chance))
    }

    /// Judges the next point and learns from it. `at_seconds` is the time of the point (seconds since 1970); the step is
    /// learned, points may be missing, and repeated or reversed timestamps are taken in the order they come.
    pub fn observe(&mut self, at_seconds: i64, value: f64) -> SeriesVerdict {
        let nowhere = (f64::NEG_INFINITY, f64::INFINITY);
        if !value.is_finite() {
            return self.quiet(Reason::NotFinite, nowhere);
        }
        let value = if self.config.counter {
            match self.counter.observe(at_seconds, value) {
                Some(rate) if rate.reset => return self.quiet(Reason::Restarted, nowhere),
                Some(rate) => rate.per_second,
                None => return self.quiet(Reason::NoRate, nowhere),
            }
        } else {
            value
        };
        self.judge(at_seconds, value.clamp(-LARGEST, LARGEST))
    }

    fn judge(&mut self, at_seconds: i64, value: f64) -> SeriesVerdict {
        self.step.observe(at_seconds);
        let step = self.step.seconds();
        self.silence.observe(at_seconds, step);
        let floor = self.change.floor();
        self.change.observe(value);
        self.seen = self.seen.saturating_add(1);
        let ready = self.seen > self.config.warm_up;

        let residuals = self.expectation.residuals(at_seconds, step, value);
        let factor = residuals.spread_factor;
        let parts = [residuals.fast / factor, residuals.slow / factor];
        let spreads = self.spreads(parts, floor);
        let surprisals: [f64; CHANNELS.len()] =
            std::array::from_fn(|index| CHANNELS[index].1 * self.channels[index].surprisal(spreads[index]));
        let worst = (1..surprisals.len())
            .fold(0, |most, index| if surprisals[index] > surprisals[most] { index } else { most });
        let surprisal = surprisals[worst];
        let usual_spread = self.recent.value().max(floor) * factor;
        let usual = (residuals.expected - 3.0 * usual_spread, residuals.expected + 3.0 * usual_spread);
        let shift = if ready { self.cusum.observe(spreads[1]) } else { None };

        self.learn(parts, spreads, surprisal, surprisals[ACTIVITY], ready);
        let reach = if ready { CLIP * self.recent.value() * factor } else { f64::INFINITY };
        self.expectation.learn(at_seconds, step, value, &residuals, reach);

        if !ready {
            let reason = Reason::Learning { seen: self.seen, needed: self.config.warm_up };
            return self.quiet(reason, usual);
        }
        self.verdict(at_seconds, value, &residuals, worst, spreads[worst], surprisal, usual, shift)
    }

    /// Residuals in units of their usual spreads, in the order of [`CHANNELS`].
    fn spreads(&mut self, parts: [f64; 2], floor: f64) -> [f64; CHANNELS.len()] {
        let ratio = |part: f64, spread: &Spread| (part / spread.value().max(floor)).clamp(-1e12, 1e12);
        let recent = ratio(parts[0], &self.recent);
        let swings = recent / self.swings.value().max(1.0);
        let activity = if self.seen > START { self.activity.observe(recent, SPREAD_RATE, CLIP) } else { 0.0 };
        [recent, ratio(parts[1], &self.long), activity, swings]
    }

    #[allow(clippy::too_many_arguments)]
    fn verdict(
        &mut self,
        at_seconds: i64,
        value: f64,
        residuals: &Residuals,
        worst: usize,
        spreads: f64,
        surprisal: f64,
        usual: (f64, f64),
        shift: Option<Shift>,
    ) -> SeriesVerdict {
        let against = CHANNELS[worst].0;
        let distance = match against {
            Against::LongLevel => residuals.slow,
            Against::RecentLevel | Against::Activity | Against::RecentSwings => residuals.fast,
        };
        let expected = value - distance;
        let matters = self.matters(distance);
        let (surprisal, repeats) = self.recurring.observe(at_seconds, if matters { surprisal } else { 0.0 });
        let chance = exp(-surprisal);
        let was_on = self.alarm.is_on();
        let score = self.score.observe(surprisal);
        let alarm = self.alarm.observe(surprisal, self.alarm_level(), self.config.leave_points);
        let raised = alarm && !was_on;
        let flapping = self.flapping.observe(at_seconds, raised);
        let reason = if repeats > 0 {
            Reason::Recurs { value, expected, days: repeats }
        } else if matters {
            Reason::Distance { value, expected, spreads, against, seasonal: residuals.seasonal, chance }
        } else {
            Reason::DoesNotMatter { value, expected }
        };
        SeriesVerdict { ready: true, score, chance, alarm, raised, flapping, shift, usual, reason }
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

    fn learn(
        &mut self,
        parts: [f64; 2],
        spreads: [f64; CHANNELS.len()],
        surprisal: f64,
        of_activity: f64,
        ready: bool,
    ) {
        if self.seen > START {
            self.recent.learn(parts[0], SPREAD_RATE, CLIP);
            self.long.learn(parts[1], SPREAD_RATE, CLIP);
        }
        self.swings.learn(spreads[0], SWING_RATE, CLIP);
        if !ready {
            return;
        }
        // A point that looks like an incident teaches the tails little, unless it goes on and on.
        let trust = 1.0 - (surprisal - SUSPECT.0) / (SUSPECT.1 - SUSPECT.0);
        let weight = if trust >= 1.0 {
            self.suspects = (self.suspects - 0.2).max(0.0);
            1.0
        } else if self.suspects < MOST_SUSPECT {
            self.suspects += 1.0;
            trust.max(SUSPECT_WEIGHT)
        } else {
            1.0
        };
        for (index, (channel, spreads)) in self.channels.iter_mut().zip(spreads).enumerate() {
            // One wild point is no activity, and the activity after a burst lasts longer than the burst.
            let suspect = if of_activity > SUSPECT.0 { SUSPECT_WEIGHT } else { 1.0 };
            channel.learn(spreads, if index == ACTIVITY { suspect } else { weight });
        }
    }

    fn quiet(&self, reason: Reason, usual: (f64, f64)) -> SeriesVerdict {
        SeriesVerdict {
            ready: false,
            score: 0.0,
            chance: 1.0,
            alarm: self.alarm.is_on(),
            raised: false,
            flapping: self.flapping.is_on(),
            shift: None,
            usual,
            reason,
        }
    }

    /// Whether the series is silent at `now_seconds`: nothing came for longer than it ever keeps quiet.
    pub fn silence(&self, now_seconds: i64) -> Option<Silence> {
        self.silence.check(now_seconds, self.step.seconds())
    }

    /// Restarts of the counter seen so far; 0 for a series that is none.
    pub fn counter_resets(&self) -> u64 {
        self.counter.resets()
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

    /// Bytes of state: the detector itself and what it owns.
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>() + super::seasonal::DayProfile::HEAP_BYTES
    }
}
