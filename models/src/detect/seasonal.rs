//! Time-of-day profile of a series: what is usual now, given what was usual at this time of earlier days.
//!
//! A seasonal residual in the manner of Holt and Winters (1960), with clipped updates. The profile is used only once it
//! has proved itself on the series: see [`Confirmation`].

use serde::{Deserialize, Serialize};

/// Slots of the profile of a period.
const SLOTS: usize = 288;
/// Slots of the profile of spreads.
const SPREAD_SLOTS: usize = 24;
/// Seconds of a day.
const DAY: i64 = 86_400;
/// Largest magnitude that a slot keeps; single precision ends soon after.
const LARGEST: f64 = 1e37;
/// Weight of a new day in the profile.
const RATE: f64 = 0.14;

/// Profile over the day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DayProfile {
    /// Empty slots are not-a-number, kept as `None` in text formats.
    #[serde(with = "slots")]
    level: Box<[f32; SLOTS]>,
    #[serde(with = "slots")]
    spread: Box<[f32; SPREAD_SLOTS]>,
}

impl Default for DayProfile {
    fn default() -> Self {
        Self { level: Box::new([f32::NAN; SLOTS]), spread: Box::new([f32::NAN; SPREAD_SLOTS]) }
    }
}

impl PartialEq for DayProfile {
    /// Equal in every bit: empty slots, which are not-a-number, equal each other.
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        same(&self.level[..], &other.level[..]) && same(&self.spread[..], &other.spread[..])
    }
}

fn slot(at_seconds: i64, slots: usize) -> usize {
    (at_seconds.rem_euclid(DAY) as usize) * slots / DAY as usize
}

impl DayProfile {
    /// Bytes that a profile owns beside itself.
    pub const HEAP_BYTES: usize = (SLOTS + SPREAD_SLOTS) * size_of::<f32>();

    /// What is usual at this time of day, relative to the level; 0 where nothing was seen.
    pub fn level(&self, at_seconds: i64) -> f64 {
        let level = self.level[slot(at_seconds, SLOTS)];
        if level.is_nan() { 0.0 } else { f64::from(level) }
    }

    /// Usual size of the residual at this time of day; `None` where nothing was seen.
    pub fn spread(&self, at_seconds: i64) -> Option<f64> {
        let spread = self.spread[slot(at_seconds, SPREAD_SLOTS)];
        (!spread.is_nan()).then(|| f64::from(spread))
    }

    /// Learns the part of a clipped residual that the level did not take, and the residual's size.
    pub fn learn(&mut self, at_seconds: i64, step: i64, part: f64, size: f64) {
        let (part, size) = (part.clamp(-LARGEST, LARGEST), size.min(LARGEST));
        let level = &mut self.level[slot(at_seconds, SLOTS)];
        *level = if level.is_nan() { part as f32 } else { *level + (RATE * part) as f32 };
        *level = level.clamp(-LARGEST as f32, LARGEST as f32);
        let spread = &mut self.spread[slot(at_seconds, SPREAD_SLOTS)];
        let points = (DAY as f64 / step.max(1) as f64 / SPREAD_SLOTS as f64).max(1.0);
        *spread = if spread.is_nan() {
            size as f32
        } else {
            *spread + (0.2 / points * (size - f64::from(*spread))) as f32
        };
    }
}

/// Decides whether a profile helps: mean absolute residual with it, against without it, both slowly forgotten.
///
/// A profile made of earlier days predicts today only where the series correlates with itself a day apart, so this is
/// a test of the autocorrelation at that lag, in the unit that matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    without: f64,
    with: f64,
    seen: u64,
}

impl Confirmation {
    /// Takes the sizes of both residuals of a point.
    pub fn observe(&mut self, without: f64, with: f64) {
        self.seen = self.seen.saturating_add(1);
        let weight = (1.0 / self.seen as f64).max(0.002);
        self.without += weight * (without - self.without);
        self.with += weight * (with - self.with);
    }

    /// Whether more than a day and a half was seen and the residuals are a tenth smaller with the profile.
    pub fn confirmed(&self, step: i64) -> bool {
        self.seen as f64 * step as f64 > 1.5 * DAY as f64 && self.with < 0.9 * self.without
    }

    /// Mean absolute residual with the profile.
    pub fn with(&self) -> f64 {
        self.with
    }
}

/// Slots as options, as text formats know no not-a-number.
pub(super) mod slots {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S, T, const N: usize>(slots: &[T; N], to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Copy + Into<f64> + Serialize,
    {
        let known = |slot: &T| (!(*slot).into().is_nan()).then_some(*slot);
        slots.iter().map(known).collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D, T, const N: usize>(from: D) -> Result<Box<[T; N]>, D::Error>
    where
        D: Deserializer<'de>,
        T: From<f32> + Deserialize<'de>,
    {
        let slots = Vec::<Option<T>>::deserialize(from)?;
        let slots: Vec<T> = slots.into_iter().map(|slot| slot.unwrap_or(T::from(f32::NAN))).collect();
        let length = slots.len();
        slots.try_into().map_err(|_| D::Error::invalid_length(length, &"one number or null for each slot"))
    }
}
