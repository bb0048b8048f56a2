//! Timestamps and values of one block as bits.
//!
//! Timestamps: difference of differences, as in Gorilla (Pelkonen et al., VLDB 2015), written with a Rice code (Rice 1979)
//! whose parameter follows the data (as in LOCO-I, Weinberger et al. 2000), so that regular steps cost one bit and jitter
//! costs about its own entropy.
//! Values, in one of two forms a block:
//! *decimal*: most telemetry has few decimal places; the value times a power of ten is an integer, whose differences
//! are written with the same Rice code (the idea of ALP, Afroozeh and Boncz, SIGMOD 2024, for a stream). Used only when
//! it gives back the same bits;
//! *XOR*: bits that changed against the value before, as in Gorilla.

use super::bits::{Reader, put};
use serde::{Deserialize, Serialize};

/// Longest unary part of a code; what needs more is written in full behind an escape.
const LIMIT: u32 = 12;
/// Most decimal places that are tried.
const PLACES: u8 = 9;
const TENS: [f64; PLACES as usize + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Integers up to here are exact in a double.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Most bits that one point can take: both escapes, the longest difference and a full value.
pub(super) const POINT_BITS: u32 = (LIMIT + 2 + 6 + 64) + (LIMIT + 2 + 6 + 64);

/// Behind an escape.
const WIDE: u64 = 0;
const RAW: u64 = 1;
const GAP: u64 = 2;
/// Leading zeros that mean "gap" in the XOR form.
const XOR_GAP: u64 = 31;

/// How the values of a block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Form {
    /// Integers after multiplying by ten to this power.
    Decimal(u8),
    /// Changed bits.
    Xor,
}

/// A running mean of code words, in sixteenths: which Rice parameter fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rice {
    mean16: u64,
}

impl Rice {
    fn parameter(self) -> u32 {
        // Half the mean, in bits.
        64 - (self.mean16 >> 5).leading_zeros()
    }

    fn learn(&mut self, word: u64) {
        // One outlier must not make the next points dear: it counts as 256 times what fits now, at most.
        let bound = 1_u64 << (self.parameter() + 8).min(56);
        self.mean16 = self.mean16 - self.mean16 / 16 + word.min(bound);
    }

    fn put(&mut self, bytes: &mut Vec<u8>, used: &mut u32, word: u64) {
        let parameter = self.parameter();
        let high = word >> parameter;
        if high < u64::from(LIMIT) {
            let ones = high as u32;
            put(bytes, used, (1 << (ones + 1)) - 2, ones + 1);
            put(bytes, used, word, parameter);
        } else {
            escape(bytes, used, WIDE);
            let length = 64 - word.leading_zeros();
            put(bytes, used, u64::from(length - 1), 6);
            put(bytes, used, word, length);
        }
        self.learn(word);
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Option<Result<u64, u64>> {
        let parameter = self.parameter();
        let ones = reader.ones(LIMIT)?;
        let word = if ones < LIMIT {
            u64::from(ones) << parameter | reader.take(parameter)?
        } else {
            let tag = reader.take(2)?;
            if tag != WIDE {
                return Some(Err(tag));
            }
            let length = reader.take(6)? as u32 + 1;
            reader.take(length)?
        };
        self.learn(word);
        Some(Ok(word))
    }
}

fn escape(bytes: &mut Vec<u8>, used: &mut u32, tag: u64) {
    put(bytes, used, (1 << LIMIT) - 1, LIMIT);
    put(bytes, used, tag, 2);
}

fn folded(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unfolded(word: u64) -> i64 {
    (word >> 1) as i64 ^ -((word & 1) as i64)
}

/// The integer that stands for `value` with so many decimal places, if that is exact.
fn integer(value: f64, places: u8) -> Option<i64> {
    let tens = TENS.get(usize::from(places))?;
    let scaled = (value * tens).round();
    let whole = scaled as i64;
    // By way of the integer, as it is read: it has no negative zero.
    (scaled.abs() <= EXACT && (whole as f64 / tens).to_bits() == value.to_bits()).then_some(whole)
}

/// Fewest decimal places that are exact.
pub(super) fn places(value: f64) -> Option<u8> {
    (0..=PLACES).find(|&places| integer(value, places).is_some())
}

/// What was read of a point's value.
enum Taken {
    Value(f64),
    Gap,
}

/// What both sides know after each point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Coder {
    form: Form,
    first: bool,
    at: i64,
    delta: i64,
    times: Rice,
    values: Rice,
    whole: i64,
    raw: u64,
    leading: u32,
    length: u32,
}

/// Where a block starts; with it the block is read without any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) at: i64,
    delta: i64,
    times: Rice,
    values: Rice,
    pub(super) form: Form,
}

impl Start {
    /// The very first block.
    pub(super) fn new(at: i64, form: Form) -> Self {
        Self { at, delta: 0, times: Rice::default(), values: Rice::default(), form }
    }
}

impl Coder {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            form: start.form,
            first: true,
            at: start.at,
            delta: start.delta,
            times: start.times,
            values: start.values,
            whole: 0,
            raw: 0,
            leading: 0,
            length: 0,
        }
    }

    /// A start for the next block that goes on with what was learned.
    pub(super) fn next(&self, at: i64, form: Form) -> Start {
        Start { at, delta: self.delta, times: self.times, values: self.values, form }
    }

    /// Writes a point; `None` is a gap. Returns whether the block's form suited the value.
    pub(super) fn put(&mut self, bytes: &mut Vec<u8>, used: &mut u32, at: i64, value: Option<f64>) -> bool {
        if !self.first {
            let delta = at.wrapping_sub(self.at);
            self.times.put(bytes, used, folded(delta.wrapping_sub(self.delta)));
            self.delta = delta;
        }
        self.at = at;
        let suited = match self.form {
            Form::Decimal(places) => self.put_decimal(bytes, used, value, places),
            Form::Xor => {
                self.put_xor(bytes, used, value);
                true
            }
        };
        self.first = false;
        suited
    }

    fn put_decimal(&mut self, bytes: &mut Vec<u8>, used: &mut u32, value: Option<f64>, places: u8) -> bool {
        let Some(value) = value else {
            escape(bytes, used, GAP);
            return true;
        };
        let Some(whole) = integer(value, places) else {
            escape(bytes, used, RAW);
            put(bytes, used, value.to_bits(), 64);
            return false;
        };
        let word = folded(whole.wrapping_sub(self.whole));
        let before = self.values;
        self.values.put(bytes, used, word);
        if self.first {
            // The first one is a level, not a step.
            self.values = before;
        }
        self.whole = whole;
        true
    }

    fn put_xor(&mut self, bytes: &mut Vec<u8>, used: &mut u32, value: Option<f64>) {
        let Some(value) = value else {
            put(bytes, used, 0b11 << 5 | XOR_GAP, 7);
            return;
        };
        let changed = value.to_bits() ^ self.raw;
        self.raw = value.to_bits();
        if changed == 0 {
            put(bytes, used, 0, 1);
            return;
        }
        let leading = changed.leading_zeros().min(30);
        let trailing = changed.trailing_zeros();
        let kept = 64_u32.saturating_sub(self.leading.saturating_add(self.length));
        if self.length > 0 && leading >= self.leading && trailing >= kept {
            put(bytes, used, 0b10, 2);
            put(bytes, used, changed >> kept, self.length);
        } else {
            self.leading = leading;
            self.length = 64 - leading - trailing;
            put(bytes, used, 0b11 << 5 | u64::from(leading), 7);
            put(bytes, used, u64::from(self.length - 1), 6);
            put(bytes, used, changed >> trailing, self.length);
        }
    }

    /// Reads the next point; `None` at the end, or where the bits make no sense.
    pub(super) fn take(&mut self, reader: &mut Reader<'_>) -> Option<(i64, Option<f64>)> {
        if !self.first {
            let Ok(word) = self.times.take(reader)? else { return None };
            self.delta = self.delta.wrapping_add(unfolded(word));
            self.at = self.at.wrapping_add(self.delta);
        }
        let value = match self.form {
            Form::Decimal(places) => self.take_decimal(reader, places)?,
            Form::Xor => self.take_xor(reader)?,
        };
        self.first = false;
        Some(match value {
            // Bits that nobody wrote may give a value that is none.
            Taken::Value(value) if value.is_finite() => (self.at, Some(value)),
            _ => (self.at, None),
        })
    }

    fn take_decimal(&mut self, reader: &mut Reader<'_>, places: u8) -> Option<Taken> {
        let before = self.values;
        match self.values.take(reader)? {
            Ok(word) => {
                if self.first {
                    self.values = before;
                }
                self.whole = self.whole.wrapping_add(unfolded(word));
                Some(Taken::Value(self.whole as f64 / TENS.get(usize::from(places))?))
            }
            Err(RAW) => Some(Taken::Value(f64::from_bits(reader.take(64)?))),
            Err(_) => Some(Taken::Gap),
        }
    }

    fn take_xor(&mut self, reader: &mut Reader<'_>) -> Option<Taken> {
        match reader.ones(2)? {
            0 => {}
            1 => {
                let kept = 64_u32.checked_sub(self.leading.checked_add(self.length)?)?;
                self.raw ^= reader.take(self.length)?.checked_shl(kept)?;
            }
            _ => {
                let leading = reader.take(5)?;
                if leading == XOR_GAP {
                    return Some(Taken::Gap);
                }
                self.leading = leading as u32;
                self.length = reader.take(6)? as u32 + 1;
                let kept = 64_u32.checked_sub(self.leading.checked_add(self.length)?)?;
                self.raw ^= reader.take(self.length)?.checked_shl(kept)?;
            }
        }
        Some(Taken::Value(f64::from_bits(self.raw)))
    }
}
