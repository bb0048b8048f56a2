//! Shape of the last points, learned as they come: does the window look like a mixture of the windows before it?
//!
//! The usual windows span a subspace of a few principal components. These are followed without keeping windows, by the
//! candid covariance-free way (Weng, Zhang and Hwang 2003); what of a window they do not explain (squared prediction error:
//! Jackson and Mudholkar 1979; on windows of one series: singular spectrum analysis) is judged by a calibrated tail of
//! the series' own. It sees a wave that goes flat or changes its form while each value stays in its usual range.
//! [`super::shape`] fits the same model exactly, to a history that is at hand.
//!
//! [`super::SeriesDetector`] does not use it: beside its activity channel it did not help on public data.

use super::spread::{ChangeSize, Spread};
use crate::calibrate::Tail;
use crate::math::exp;
use crate::words::number;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;

/// Largest magnitude that is computed with.
const LARGEST: f64 = 1e100;
/// Weight of a new point in the level, and in the usual spread.
const LEVEL_RATE: f64 = 0.005;
const SPREAD_RATE: f64 = 0.0007;
/// Spreads at which a residual is cut before it teaches, and at which a value in a window is cut.
const CLIP: f64 = 7.0;
/// Weight of a new window in the components, at least.
const LEARN_RATE: f64 = 0.001;
/// How much more the newest windows count while few were seen (the amnesia of the method).
const AMNESIA: f64 = 2.0;
/// A rest smaller than this share of the window's own size is rounding.
const LEAST_REST: f64 = 1e-6;
/// Surprisal (nats) from which a window teaches nothing but its tail a tenth, unless it goes on for some windows' lengths.
const SUSPECT: f64 = 8.0;
const MOST_SUSPECT_WINDOWS: usize = 4;

/// Setting of a [`SubspaceDetector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubspaceConfig {
    /// Points of a window, 4 to 256.
    pub window: usize,
    /// Components that count as usual shape, 1 to half the window.
    pub components: usize,
    /// Windows before the first verdict.
    pub warm_up: u32,
}

impl Default for SubspaceConfig {
    fn default() -> Self {
        Self { window: 24, components: 3, warm_up: 100 }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubspaceConfigError {
    /// Out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`SubspaceConfig`].
        field: &'static str,
        /// What was given.
        value: usize,
        /// What is allowed.
        limit: &'static str,
    },
}

impl SubspaceConfig {
    /// Checks every field.
    pub fn validate(&self) -> Result<(), SubspaceConfigError> {
        let check = |field, value, good, limit| {
            if good { Ok(()) } else { Err(SubspaceConfigError::OutOfRange { field, value, limit }) }
        };
        check("window", self.window, (4..=256).contains(&self.window), "4 to 256 points")?;
        let fits = (1..=self.window / 2).contains(&self.components);
        check("components", self.components, fits, "1 to half the window")?;
        check("warm_up", self.warm_up as usize, self.warm_up >= 10, "10 or more windows")
    }
}

/// What the detector says of the last window, and why: `to_string` gives the sentence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubspaceVerdict {
    /// Enough windows were seen; before that `surprisal` is 0.
    pub ready: bool,
    /// Points of the window.
    pub window: usize,
    /// What of the window its usual shapes do not explain, as a multiple of what they usually leave.
    pub rest: f64,
    /// Minus the natural logarithm of the chance (nats) of a rest at least as large in the usual state; what
    /// [`super::burst::BurstAlarm`] takes.
    pub surprisal: f64,
}

impl fmt::Display for SubspaceVerdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rest, chance) = (number(self.rest), number(exp(-self.surprisal)));
        let window = self.window;
        write!(
            out,
            "the last {window} points differ from every usual course by {rest} times the usual, chance {chance}"
        )
    }
}

/// Streaming detector of the shape of one series; window times components steps a point, fixed memory.
///
/// ```
/// use homeostat_models::detect::{SubspaceConfig, SubspaceDetector};
/// let mut detector = SubspaceDetector::new(SubspaceConfig::default())?;
/// // A wave of 20 points, then it sticks to a value of its own.
/// let wave = |turn: i32| f64::from(turn % 20 - 10).abs() + 0.1 * f64::from(turn * 7 % 5);
/// for turn in 0..2_000 {
///     detector.observe(wave(turn));
/// }
/// let stuck = (0..12).filter_map(|_| detector.observe(5.0)).last().expect("a full window");
/// assert!(stuck.surprisal > 10.0, "{stuck}");
/// # Ok::<(), homeostat_models::detect::SubspaceConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubspaceDetector {
    config: SubspaceConfig,
    last: VecDeque<f64>,
    points: u32,
    level: f64,
    spread: Spread,
    change: ChangeSize,
    windows: u32,
    /// Directions, each as long as its variance.
    components: Vec<Vec<f64>>,
    usual: Spread,
    tail: Tail,
    suspects: usize,
}

impl SubspaceDetector {
    /// A detector that has seen nothing.
    pub fn new(config: SubspaceConfig) -> Result<Self, SubspaceConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            last: VecDeque::with_capacity(config.window),
            points: 0,
            level: 0.0,
            spread: Spread::default(),
            change: ChangeSize::default(),
            windows: 0,
            components: Vec::with_capacity(config.components),
            usual: Spread::default(),
            tail: Tail::new(),
            suspects: 0,
        })
    }

    /// Takes the next point of a series with even steps, judges the window that it ends and learns from it. `None` while
    /// the window is not full. A value that is not finite is a gap: no window spans it, and the next one begins after it.
    pub fn observe(&mut self, value: f64) -> Option<SubspaceVerdict> {
        if !value.is_finite() {
            self.last.clear();
            return None;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        self.take(value);
        if self.last.len() < self.config.window {
            return None;
        }
        // In usual spreads from the usual level, so that a unit changes nothing.
        let spread = self.spread.value().max(self.change.floor());
        let scaled = |value: &f64| ((value - self.level) / spread).clamp(-CLIP, CLIP);
        let window: Vec<f64> = self.last.iter().map(scaled).collect();
        let size = length(&window);
        let mut rest = window.clone();
        for component in &self.components {
            take_off(&mut rest, component);
        }
        let rest = length(&rest);
        let rest = if rest <= LEAST_REST * size { 0.0 } else { rest };
        let ratio = if rest > 0.0 { (rest / self.usual.value().max(LEAST_REST)).min(1e12) } else { 0.0 };
        let ready = self.windows >= self.config.warm_up;
        let surprisal = if ready { self.tail.surprisal(ratio) } else { 0.0 };
        self.learn(window, rest, ratio, surprisal, ready);
        Some(SubspaceVerdict { ready, window: self.config.window, rest: ratio, surprisal })
    }

    /// Level, spread and ring.
    fn take(&mut self, value: f64) {
        self.change.observe(value);
        self.points = self.points.saturating_add(1);
        if self.points == 1 {
            self.level = value;
        }
        let residual = value - self.level;
        let known = self.spread.value();
        let reach = if self.points > 30 && known > 0.0 { CLIP * known } else { f64::INFINITY };
        self.level += LEVEL_RATE.max(1.0 / f64::from(self.points)) * residual.clamp(-reach, reach);
        self.spread.learn(residual, SPREAD_RATE, CLIP);
        if self.last.len() >= self.config.window {
            self.last.pop_front();
        }
        self.last.push_back(value);
    }

    fn learn(&mut self, window: Vec<f64>, rest: f64, ratio: f64, surprisal: f64, ready: bool) {
        let suspect = surprisal > SUSPECT && self.suspects < MOST_SUSPECT_WINDOWS * self.config.window;
        if ready {
            self.tail.learn(ratio, if suspect { 0.1 } else { 1.0 });
        }
        if suspect {
            self.suspects += 1;
            return;
        }
        self.suspects = if surprisal > SUSPECT { self.suspects } else { 0 };
        self.windows = self.windows.saturating_add(1);
        // Half of the warm-up goes to the components alone: the first rests are those of unfinished ones.
        if self.windows > self.config.warm_up / 2 {
            self.usual.learn(rest, SPREAD_RATE, CLIP);
        }
        let weight = ((1.0 + AMNESIA) / (f64::from(self.windows) + AMNESIA)).clamp(LEARN_RATE, 1.0);
        let mut left = window;
        for component in &mut self.components {
            let norm = length(component);
            if norm > 0.0 {
                let along = dot(component, &left) / norm;
                for (part, value) in component.iter_mut().zip(&left) {
                    *part += weight * (along * value - *part);
                }
            } else {
                component.clone_from(&left);
            }
            take_off(&mut left, component);
        }
        if self.components.len() < self.config.components {
            self.components.push(left);
        }
    }

    /// Bytes of state: the detector itself and what it owns.
    pub fn state_bytes(&self) -> usize {
        let numbers = self.config.window * (1 + self.config.components);
        size_of::<Self>() + numbers * size_of::<f64>() + self.config.components * size_of::<Vec<f64>>()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn length(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

/// Takes the part along a direction off a vector.
fn take_off(vector: &mut [f64], direction: &[f64]) {
    let square = dot(direction, direction);
    if square > 0.0 {
        let along = dot(direction, vector) / square;
        for (value, part) in vector.iter_mut().zip(direction) {
            *value -= along * part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn detector() -> SubspaceDetector {
        SubspaceDetector::new(SubspaceConfig::default()).expect("a valid setting")
    }

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        move || (0..4).map(|_| random.random::<f64>()).sum::<f64>() - 2.0
    }

    fn wave(turn: i64) -> f64 {
        (turn as f64 * std::f64::consts::TAU / 20.0).sin()
    }

    #[test]
    fn a_wave_that_goes_flat_or_doubles_its_pace_is_told_though_its_values_are_usual() {
        let (mut detector, mut noise) = (detector(), noise(1));
        let mut calm = 0.0_f64;
        for turn in 0..4_000 {
            let verdict = detector.observe(10.0 + 5.0 * wave(turn) + 0.2 * noise());
            if let Some(verdict) = verdict.filter(|_| turn > 2_000) {
                calm = calm.max(verdict.surprisal);
            }
        }
        let mut flat = detector.clone();
        let most =
            |verdicts: Vec<SubspaceVerdict>| verdicts.iter().map(|told| told.surprisal).fold(0.0, f64::max);
        let told = most((0..20).filter_map(|_| flat.observe(12.0 + 0.2 * noise())).collect());
        assert!(told > calm + 5.0 && told > 12.0, "{told}, calm {calm}");
        let told = most((0..20).filter_map(|turn| detector.observe(10.0 + 5.0 * wave(2 * turn))).collect());
        assert!(told > calm + 5.0 && told > 12.0, "{told}, calm {calm}");
    }

    #[test]
    fn noise_has_no_shape_to_miss_and_a_constant_is_one() {
        let (mut detector, mut noise, mut flat) = (detector(), noise(2), detector());
        let loud = (0..20_000).filter_map(|_| detector.observe(noise())).filter(|told| told.surprisal > 14.0);
        assert!(loud.count() <= 24, "one window's length at most");
        assert!((0..500).filter_map(|_| flat.observe(3.0)).all(|told| told.surprisal < 1.0));
    }

    #[test]
    fn no_window_spans_a_gap() {
        let mut detector = detector();
        for turn in 0..100 {
            detector.observe(wave(turn));
        }
        assert_eq!(detector.observe(f64::NAN), None);
        let first = (100..200).position(|turn| detector.observe(wave(turn)).is_some());
        assert_eq!(first, Some(23));
    }

    #[test]
    fn a_setting_out_of_range_is_refused_with_its_field() {
        let config = SubspaceConfig { components: 13, ..SubspaceConfig::default() };
        let error = SubspaceDetector::new(config).expect_err("more than half the window");
        assert_eq!(error.to_string(), "components is 13, it must be 1 to half the window");
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), -10.0..10.0_f64, Just(f64::NAN), Just(1e308), Just(5e-324)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_input_is_judged_within_fixed_memory(values in prop::collection::vec(value(), 0..400)) {
            let config = SubspaceConfig { window: 6, components: 2, warm_up: 10 };
            let mut detector = SubspaceDetector::new(config).expect("a valid setting");
            for value in values {
                if let Some(verdict) = detector.observe(value) {
                    prop_assert!((0.0..1e3).contains(&verdict.surprisal), "{verdict:?}");
                    prop_assert!(verdict.rest.is_finite() && !verdict.to_string().is_empty());
                }
            }
            prop_assert!(detector.state_bytes() < 2_000);
        }

        #[test]
        fn a_restored_state_goes_on_as_if_never_stopped(seed in 0_u64..100, cut in 1_i64..500) {
            let (mut first, mut noise) = (detector(), noise(seed));
            for turn in 0..cut {
                first.observe(wave(turn) + 0.1 * noise());
            }
            let text = serde_json::to_string(&first).expect("serialises");
            let mut restored: SubspaceDetector = serde_json::from_str(&text).expect("deserialises");
            for turn in cut..cut + 50 {
                let value = wave(turn) + 0.1 * noise();
                prop_assert_eq!(first.observe(value), restored.observe(value));
            }
            prop_assert_eq!(first, restored);
        }

        #[test]
        fn a_power_of_two_changes_no_chance(power in -20_i32..20, seed in 0_u64..100) {
            let (mut plain, mut scaled, mut noise) = (detector(), detector(), noise(seed));
            for turn in 0..500 {
                let value = wave(turn) + 0.3 * noise();
                prop_assert_eq!(plain.observe(value), scaled.observe(value * 2.0_f64.powi(power)));
            }
        }
    }
}
