//! Seasonal residual over the hour, the day and the week, each confirmed by the series' own autocorrelation.
//!
//! Means of slots (a minute, five minutes, an hour) are compared with those of one cycle earlier. Their sample
//! autocorrelation at the cycle's lag (Box and Jenkins 1970), slowly forgotten, must stand out from white noise (Bartlett
//! 1946), and above that at half the lag: a smooth series correlates at every short lag. What repeats is then
//! taken off, shortest rhythm first, so that a longer one has to add something of its own; what is left is judged against a
//! level (Holt 1957, Winters 1960) with clipped updates (Huber 1964) and a calibrated tail.
//!
//! [`super::SeriesDetector`] uses a profile of the day only ([`super::seasonal`]): on public data the other two did not help
//! it. This detector is for series that are known to follow people's weeks or hourly jobs.

use super::channel::Channel;
use super::spread::{ChangeSize, Spread};
use crate::forecast::Season;
use crate::math::exp;
use crate::words::number;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Slots of the hour, the day and the week.
const HOUR: usize = 60;
const DAY: usize = 288;
const WEEK: usize = 168;
/// Largest magnitude that is computed with.
const LARGEST: f64 = 1e100;
/// Cycles over which correlations and spreads are forgotten.
const MEMORY: f64 = 4.0;
/// Weight of a new cycle in a profile.
const PROFILE_RATE: f64 = 0.14;
/// Weight of a new point in the level, and in the spread of what is left.
const LEVEL_RATE: f64 = 0.02;
const SPREAD_RATE: f64 = 0.0007;
/// Spreads at which a residual, and a slot's distance from its profile, is cut before it teaches.
const CLIP: f64 = 7.0;
const SLOT_CLIP: f64 = 4.0;
/// Pairs of slots before a correlation is believed at all.
const LEAST_PAIRS: f64 = 24.0;
/// Standard errors of white noise that a correlation must exceed; it is looked at again and again.
const STANDARD_ERRORS: f64 = 4.0;
/// What the correlation at the cycle's lag must have above that at half the lag; on a mere trend both are near 1.
const MORE: f64 = 0.05;
/// A confirmed rhythm is dropped below this share of what confirms one.
const LEAVE: f64 = 0.5;
/// Surprisal (nats) from which a point teaches its tail a tenth only.
const SUSPECT: f64 = 8.0;

/// Setting of a [`RhythmDetector`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RhythmConfig {
    /// Least autocorrelation of a rhythm, 0 to 1.
    pub least_correlation: f64,
    /// Points before the first verdict.
    pub warm_up: u32,
}

impl Default for RhythmConfig {
    fn default() -> Self {
        Self { least_correlation: 0.3, warm_up: 30 }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RhythmConfigError {
    /// Out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`RhythmConfig`].
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
}

impl RhythmConfig {
    /// Checks every field.
    pub fn validate(&self) -> Result<(), RhythmConfigError> {
        let check = |field, value: f64, good: bool, limit| {
            if good { Ok(()) } else { Err(RhythmConfigError::OutOfRange { field, value, limit }) }
        };
        let least = self.least_correlation;
        check("least_correlation", least, (0.05..=1.0).contains(&least), "0.05 to 1")?;
        check("warm_up", f64::from(self.warm_up), self.warm_up >= 10, "10 or more points")
    }
}

/// What repeats, and how clearly: autocorrelation at the lag of each rhythm that is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rhythms {
    hour: Option<f64>,
    day: Option<f64>,
    week: Option<f64>,
}

impl Rhythms {
    /// Every rhythm that is used, shortest first, with its autocorrelation.
    pub fn iter(&self) -> impl Iterator<Item = (Season, f64)> {
        let all = [(Season::Hour, self.hour), (Season::Day, self.day), (Season::Week, self.week)];
        all.into_iter().filter_map(|(season, correlation)| Some((season, correlation?)))
    }

    /// Whether this rhythm is used.
    pub fn has(&self, season: Season) -> bool {
        self.iter().any(|(used, _)| used == season)
    }
}

/// What the detector says of a point, and why: `to_string` gives the sentence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RhythmVerdict {
    /// Enough points were seen since the start, or since a rhythm came or went; before that `surprisal` is 0.
    pub ready: bool,
    /// Value.
    pub value: f64,
    /// What was expected, in the series' unit: the level and what repeats.
    pub expected: f64,
    /// Distance from it in usual spreads, signed.
    pub spreads: f64,
    /// Minus the natural logarithm of the chance (nats) of a point at least as far off in the usual state; what
    /// [`super::burst::BurstAlarm`] takes.
    pub surprisal: f64,
    /// What repeats.
    pub rhythms: Rhythms,
}

impl fmt::Display for RhythmVerdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.spreads < 0.0 { "below" } else { "above" };
        let (value, expected, spreads) =
            (number(self.value), number(self.expected), number(self.spreads.abs()));
        write!(out, "{value} where {expected} is usual")?;
        for (turn, (season, correlation)) in self.rhythms.iter().enumerate() {
            let join = if turn == 0 { " in its" } else { "," };
            write!(out, "{join} {} rhythm (autocorrelation {correlation:.2})", season.name())?;
        }
        write!(
            out,
            ": {spreads} usual spreads {side}, chance of such a point {}",
            number(exp(-self.surprisal))
        )
    }
}

/// Streaming detector of one series that knows the rhythms of the hour, the day and the week.
///
/// Constant time a point, 9 KB of state, no clock: the time of day is that of the points (seconds since 1970, UTC).
///
/// ```
/// use homeostat_models::detect::{RhythmConfig, RhythmDetector};
/// use homeostat_models::forecast::Season;
/// let mut detector = RhythmDetector::new(RhythmConfig::default())?;
/// // A week at five minutes: busy by day, with a little noise.
/// for turn in 0..7 * 288 {
///     let busy = if (96..216).contains(&(turn % 288)) { 50.0 } else { 0.0 };
///     detector.observe(300 * turn, 20.0 + busy + ((turn * 7) % 5) as f64);
/// }
/// let noon = detector.observe(300 * (7 * 288 + 144), 22.0).expect("finite");
/// assert!(noon.rhythms.has(Season::Day) && noon.surprisal > 10.0);
/// assert!(noon.to_string().starts_with("22 where 7"));
/// # Ok::<(), homeostat_models::detect::RhythmConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RhythmDetector {
    config: RhythmConfig,
    seen: u32,
    hour: Cycle<HOUR>,
    day: Cycle<DAY>,
    week: Cycle<WEEK>,
    level: f64,
    spread: Spread,
    change: ChangeSize,
    tails: Channel,
}

impl RhythmDetector {
    /// A detector that has seen nothing.
    pub fn new(config: RhythmConfig) -> Result<Self, RhythmConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            seen: 0,
            hour: Cycle::default(),
            day: Cycle::default(),
            week: Cycle::default(),
            level: 0.0,
            spread: Spread::default(),
            change: ChangeSize::default(),
            tails: Channel::default(),
        })
    }

    /// Judges the next point and learns from it; `None`, and nothing is learned, for a value that is not finite.
    ///
    /// Points may be missing; after a gap longer than a cycle its correlation waits for a new pair. Repeated or reversed
    /// timestamps are taken in the order they come.
    pub fn observe(&mut self, at_seconds: i64, value: f64) -> Option<RhythmVerdict> {
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        let floor = self.change.floor();
        self.change.observe(value);
        self.seen = self.seen.saturating_add(1);

        let parts = [
            self.hour.part(at_seconds, Season::Hour),
            self.day.part(at_seconds, Season::Day),
            self.week.part(at_seconds, Season::Week),
        ];
        let repeats: f64 = parts.iter().sum();
        let rest = value - repeats;
        if self.seen == 1 {
            self.level = rest;
        }
        let residual = rest - self.level;
        let spreads = (residual / self.spread.value().max(floor)).clamp(-1e12, 1e12);
        let ready = self.seen > self.config.warm_up;
        let surprisal = if ready { self.tails.surprisal(spreads) } else { 0.0 };
        let rhythms = Rhythms { hour: self.hour.used(), day: self.day.used(), week: self.week.used() };

        let reach = if ready { CLIP * self.spread.value().max(floor) } else { f64::INFINITY };
        let weight = LEVEL_RATE.max(1.0 / f64::from(self.seen));
        self.level += weight * residual.clamp(-reach, reach);
        self.spread.learn(residual, SPREAD_RATE, CLIP);
        if ready {
            self.tails.learn(spreads, if surprisal > SUSPECT { 0.1 } else { 1.0 });
        }
        self.learn_rhythms(at_seconds, value, parts);
        let expected = value - residual;
        Some(RhythmVerdict { ready, value, expected, spreads, surprisal, rhythms })
    }

    /// A longer rhythm sees what the shorter ones leave; when one of these comes or goes, it starts anew. So does the
    /// judging, as what is left after the rhythms is then another series.
    fn learn_rhythms(&mut self, at_seconds: i64, value: f64, parts: [f64; 3]) {
        let least = self.config.least_correlation;
        let (after_hour, after_day) = (value - parts[0], value - parts[0] - parts[1]);
        if self.hour.observe(at_seconds, Season::Hour, value, least) {
            self.day = Cycle::default();
            self.week = Cycle::default();
        } else if self.day.observe(at_seconds, Season::Day, after_hour, least) {
            self.week = Cycle::default();
        } else if !self.week.observe(at_seconds, Season::Week, after_day, least) {
            return;
        }
        self.seen = 0;
        self.spread = Spread::default();
        self.tails = Channel::default();
    }

    /// Bytes of state: the detector itself and what it owns.
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>() + 2 * (HOUR + DAY + WEEK) * size_of::<f64>()
    }
}

/// Profile of one cycle, the means of its slots one cycle ago, and how they go together.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cycle<const SLOTS: usize> {
    /// Empty slots are not-a-number, kept as `None` in text formats.
    #[serde(with = "super::seasonal::slots")]
    profile: Box<[f64; SLOTS]>,
    #[serde(with = "super::seasonal::slots")]
    last: Box<[f64; SLOTS]>,
    filled: u32,
    sum: f64,
    open: Option<Slot>,
    spread: Spread,
    whole: Moments,
    half: Moments,
    confirmed: bool,
}

/// The slot that points fall into now: its number since 1970, and its mean so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    number: i64,
    mean: f64,
    count: u32,
}

impl<const SLOTS: usize> Default for Cycle<SLOTS> {
    fn default() -> Self {
        Self {
            profile: Box::new([f64::NAN; SLOTS]),
            last: Box::new([f64::NAN; SLOTS]),
            filled: 0,
            sum: 0.0,
            open: None,
            spread: Spread::default(),
            whole: Moments::default(),
            half: Moments::default(),
            confirmed: false,
        }
    }
}

impl<const SLOTS: usize> PartialEq for Cycle<SLOTS> {
    /// Equal in every bit: empty slots, which are not-a-number, equal each other.
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        same(&self.profile[..], &other.profile[..])
            && same(&self.last[..], &other.last[..])
            && (self.filled, self.open, self.spread, self.whole, self.half, self.confirmed)
                == (other.filled, other.open, other.spread, other.whole, other.half, other.confirmed)
    }
}

impl<const SLOTS: usize> Cycle<SLOTS> {
    fn number(at_seconds: i64, season: Season) -> i64 {
        at_seconds.div_euclid(i64::from(season.seconds()) / SLOTS as i64)
    }

    fn place(number: i64) -> usize {
        number.rem_euclid(SLOTS as i64) as usize
    }

    fn used(&self) -> Option<f64> {
        self.confirmed.then(|| self.whole.correlation())
    }

    /// What this rhythm adds to the level at a time; 0 unless it is confirmed.
    fn part(&self, at_seconds: i64, season: Season) -> f64 {
        let profile = self.profile[Self::place(Self::number(at_seconds, season))];
        if self.confirmed && profile.is_finite() && self.filled > 0 {
            profile - self.sum / f64::from(self.filled)
        } else {
            0.0
        }
    }

    /// Takes the next value; returns whether the rhythm was confirmed or dropped by it.
    fn observe(&mut self, at_seconds: i64, season: Season, value: f64, least: f64) -> bool {
        let number = Self::number(at_seconds, season);
        match &mut self.open {
            Some(slot) if slot.number == number => {
                slot.count = slot.count.saturating_add(1);
                slot.mean += (value - slot.mean) / f64::from(slot.count);
                return false;
            }
            _ => {}
        }
        let closed = self.open.replace(Slot { number, mean: value, count: 1 });
        let Some(closed) = closed else { return false };
        self.close(closed);
        let distance = number.saturating_sub(closed.number);
        if (1..=SLOTS as i64).contains(&distance) {
            // Slots without a point have no mean of this cycle to be compared with.
            for skipped in closed.number + 1..number {
                self.last[Self::place(skipped)] = f64::NAN;
            }
        } else {
            self.last.fill(f64::NAN);
        }
        let was = self.confirmed;
        self.confirmed = self.judge(least);
        self.confirmed != was
    }

    fn close(&mut self, slot: Slot) {
        let place = Self::place(slot.number);
        let rate = 1.0 / (MEMORY * SLOTS as f64);
        let (whole, half) = (self.last[place], self.last[(place + SLOTS / 2) % SLOTS]);
        if whole.is_finite() {
            self.whole.observe(slot.mean, whole, rate);
        }
        if half.is_finite() {
            self.half.observe(slot.mean, half, rate);
        }
        self.last[place] = slot.mean;
        let known = self.profile[place];
        if known.is_finite() {
            let distance = slot.mean - known;
            let reach =
                if self.spread.value() > 0.0 { SLOT_CLIP * self.spread.value() } else { f64::INFINITY };
            let step = PROFILE_RATE * distance.clamp(-reach, reach);
            self.profile[place] += step;
            self.sum += step;
            self.spread.learn(distance, rate, SLOT_CLIP);
        } else {
            self.profile[place] = slot.mean;
            self.sum += slot.mean;
            self.filled += 1;
        }
    }

    fn judge(&self, least: f64) -> bool {
        let pairs = self.whole.pairs.min(self.half.pairs);
        if pairs < LEAST_PAIRS.max(f64::from(self.filled)) {
            return self.confirmed;
        }
        let noise = STANDARD_ERRORS / pairs.min(MEMORY * SLOTS as f64).sqrt();
        let (whole, half) = (self.whole.correlation(), self.half.correlation());
        let needed = least.max(noise) * if self.confirmed { LEAVE } else { 1.0 };
        whole >= needed && whole > half + if self.confirmed { 0.0 } else { MORE }
    }
}

/// Exponentially weighted moments of pairs, extremes cut (West 1979; Finch 2009).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    pairs: f64,
    means: (f64, f64),
    variances: (f64, f64),
    covariance: f64,
}

impl Moments {
    fn observe(&mut self, a: f64, b: f64, rate: f64) {
        self.pairs = (self.pairs + 1.0).min(1e9);
        let weight = rate.max(1.0 / self.pairs);
        let cut = |distance: f64, variance: f64, pairs: f64| {
            let reach = if pairs > LEAST_PAIRS { SLOT_CLIP * variance.sqrt() } else { f64::INFINITY };
            distance.clamp(-reach, reach)
        };
        let a = cut(a - self.means.0, self.variances.0, self.pairs);
        let b = cut(b - self.means.1, self.variances.1, self.pairs);
        self.means.0 += weight * a;
        self.means.1 += weight * b;
        self.variances.0 = (1.0 - weight) * (self.variances.0 + weight * a * a);
        self.variances.1 = (1.0 - weight) * (self.variances.1 + weight * b * b);
        self.covariance = (1.0 - weight) * (self.covariance + weight * a * b);
    }

    /// Correlation of the pairs, -1 to 1; 0 for constant ones.
    fn correlation(&self) -> f64 {
        let spreads = self.variances.0.sqrt() * self.variances.1.sqrt();
        if spreads > 0.0 { (self.covariance / spreads).clamp(-1.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn detector() -> RhythmDetector {
        RhythmDetector::new(RhythmConfig::default()).expect("a valid setting")
    }

    /// Feeds points `step` seconds apart; returns the last verdict.
    fn feed(
        detector: &mut RhythmDetector,
        points: i64,
        step: i64,
        mut value: impl FnMut(i64) -> f64,
    ) -> RhythmVerdict {
        let mut last = None;
        for turn in 0..points {
            last = detector.observe(step * turn, value(step * turn));
        }
        last.expect("finite values")
    }

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        move || (0..4).map(|_| random.random::<f64>()).sum::<f64>() - 2.0
    }

    fn used(verdict: &RhythmVerdict) -> Vec<Season> {
        verdict.rhythms.iter().map(|(season, _)| season).collect()
    }

    #[test]
    fn a_job_of_every_hour_is_expected_and_missed_when_it_does_not_come() {
        let (mut detector, mut noise) = (detector(), noise(1));
        let job = |at: i64| if (at % 3_600) / 60 < 4 { 40.0 } else { 0.0 };
        let last = feed(&mut detector, 12 * 60, 60, |at| 10.0 + job(at) + noise());
        assert_eq!(used(&last), [Season::Hour]);
        let start = 12 * 3_600;
        let there = detector.clone().observe(start, 50.0).expect("finite");
        assert!(there.surprisal < 5.0, "{there}");
        let missing = detector.observe(start, 10.0).expect("finite");
        assert!(missing.surprisal > 8.0 && missing.spreads < -10.0, "{missing}");
        assert!(missing.to_string().contains("in its hourly rhythm (autocorrelation "), "{missing}");
    }

    #[test]
    fn a_daily_wave_has_the_rhythm_of_the_day_and_no_other() {
        let (mut detector, mut noise) = (detector(), noise(2));
        let wave = |at: i64| (at as f64 * std::f64::consts::TAU / 86_400.0).sin();
        let last = feed(&mut detector, 28 * 288, 300, |at| 100.0 + 20.0 * wave(at) + noise());
        assert_eq!(used(&last), [Season::Day]);
    }

    #[test]
    fn quiet_weekends_are_a_rhythm_of_the_week_and_a_busy_one_is_news() {
        let (mut detector, mut noise) = (detector(), noise(3));
        let wave = |at: i64| 1.0 + (at as f64 * std::f64::consts::TAU / 86_400.0).sin();
        let week = |at: i64| if (at / 86_400) % 7 >= 5 { 0.3 } else { 1.0 };
        // Until the noon of a Saturday, the sixth one.
        let at = 40 * 86_400 + 86_400 / 4;
        let last = feed(&mut detector, at / 300, 300, |at| 20.0 * week(at) * wave(at) + 0.5 * noise());
        assert_eq!(used(&last), [Season::Day, Season::Week]);
        let quiet = detector.clone().observe(at, 20.0 * 0.3 * 2.0).expect("finite");
        let busy = detector.observe(at, 40.0).expect("finite");
        assert!(quiet.surprisal < 4.0, "{quiet}");
        assert!(busy.surprisal > 7.0, "{busy}");
    }

    #[test]
    fn what_does_not_repeat_has_no_rhythm() {
        let mut noise = noise(4);
        let (mut white, mut walk, mut flat) = (detector(), detector(), detector());
        let mut at = 0.0;
        assert_eq!(used(&feed(&mut white, 20 * 288, 300, |_| noise())), []);
        let last = feed(&mut walk, 20 * 288, 300, |_| {
            at += noise();
            at
        });
        assert_eq!(used(&last), []);
        assert_eq!(used(&feed(&mut flat, 3_000, 60, |_| 5.0)), []);
    }

    #[test]
    fn a_rhythm_that_ended_is_no_longer_expected() {
        let (mut detector, mut noise) = (detector(), noise(5));
        let wave = |at: i64| (at as f64 * std::f64::consts::TAU / 86_400.0).sin();
        let until = 10 * 86_400;
        let value = |at: i64| 100.0 + if at < until { 20.0 * wave(at) } else { 0.0 };
        let last = feed(&mut detector, 40 * 288, 300, |at| value(at) + noise());
        assert!((last.expected - 100.0).abs() < 2.0, "{last}");
    }

    #[test]
    fn a_setting_out_of_range_is_refused_with_its_field() {
        let config = RhythmConfig { least_correlation: f64::NAN, ..RhythmConfig::default() };
        let error = RhythmDetector::new(config).expect_err("not a correlation");
        assert_eq!(error.to_string(), "least_correlation is NaN, it must be 0.05 to 1");
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), -10.0..10.0_f64, Just(f64::NAN), Just(1e308), Just(5e-324)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_input_is_judged_within_fixed_memory(points in prop::collection::vec((any::<i64>(), value()), 0..300)) {
            let mut detector = detector();
            for (at, value) in points {
                let Some(verdict) = detector.observe(at, value) else {
                    prop_assert!(!value.is_finite());
                    continue;
                };
                prop_assert!((0.0..1e3).contains(&verdict.surprisal), "{verdict:?}");
                prop_assert!(verdict.expected.is_finite() && !verdict.to_string().is_empty());
            }
            prop_assert!(detector.state_bytes() < 10_000);
        }

        #[test]
        fn a_restored_state_goes_on_as_if_never_stopped(seed in 0_u64..100, cut in 1_i64..2_000) {
            let mut noise = noise(seed);
            let mut first = detector();
            feed(&mut first, cut, 300, |at| (at % 86_400) as f64 / 8_640.0 + noise());
            let text = serde_json::to_string(&first).expect("serialises");
            let mut restored: RhythmDetector = serde_json::from_str(&text).expect("deserialises");
            for turn in cut..cut + 50 {
                let value = noise();
                // After a gap of an hour.
                prop_assert_eq!(first.observe(300 * turn + 3_600, value), restored.observe(300 * turn + 3_600, value));
            }
            prop_assert_eq!(first, restored);
        }

        #[test]
        fn a_power_of_two_changes_no_chance(power in -20_i32..20, seed in 0_u64..100) {
            let (mut plain, mut scaled, mut noise) = (detector(), detector(), noise(seed));
            for turn in 0..600_i64 {
                let value = (turn % 60) as f64 / 10.0 + noise();
                let a = plain.observe(60 * turn, value).expect("finite");
                let b = scaled.observe(60 * turn, value * 2.0_f64.powi(power)).expect("finite");
                prop_assert_eq!((a.surprisal, a.spreads, a.rhythms), (b.surprisal, b.spreads, b.rhythms));
            }
        }
    }
}
