//! Compact history of one series in a fixed amount of memory.

use super::Point;
use super::bits::Reader;
use super::codec::{Coder, Form, POINT_BITS, Start, places};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How much a [`History`] may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryConfig {
    /// Bytes of one block; the oldest block is dropped as a whole.
    pub block_bytes: u32,
    /// Blocks that are kept, the one being written included.
    pub blocks: u32,
}

impl Default for HistoryConfig {
    /// 8 KB: about a day of readings every 30 seconds.
    fn default() -> Self {
        Self { block_bytes: 512, blocks: 16 }
    }
}

/// What a [`History`] refuses.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HistoryError {
    /// The setting is out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`HistoryConfig`].
        field: &'static str,
        /// What was given.
        value: u32,
        /// What is allowed.
        limit: &'static str,
    },
    /// The point is older than the newest one. Nothing was stored.
    #[error("a point at {at} is older than the newest one at {newest}; append in the order of time")]
    OutOfOrder {
        /// Time of the refused point.
        at: i64,
        /// Time of the newest point.
        newest: i64,
    },
}

/// What became of an appended point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The value is kept, bit by bit.
    Value,
    /// A gap is kept: no value was given, or one that is not finite.
    Gap,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Block {
    start: Start,
    last: i64,
    points: u32,
    used: u32,
    bytes: Vec<u8>,
}

impl Block {
    fn decode(&self) -> impl Iterator<Item = Point> + '_ {
        let mut coder = Coder::new(&self.start);
        let mut reader = Reader::new(&self.bytes, self.used);
        (0..self.points).map_while(move |_| coder.take(&mut reader)).map(|(at, value)| Point { at, value })
    }
}

/// What the block being written tells about the form of the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Taste {
    tried: u32,
    fitted: u32,
    places: u8,
}

impl Taste {
    fn learn(&mut self, value: f64) {
        self.tried = self.tried.saturating_add(1);
        if let Some(places) = places(value) {
            self.fitted = self.fitted.saturating_add(1);
            self.places = self.places.max(places);
        }
    }

    fn form(self) -> Form {
        // A value without few decimal places costs 78 bits in the decimal form, a fitting one saves about 30.
        if u64::from(self.fitted) * 4 >= u64::from(self.tried) * 3 {
            Form::Decimal(self.places)
        } else {
            Form::Xor
        }
    }
}

/// Points of one series, oldest first: lossless, compact, in a fixed amount of memory.
///
/// A ring of blocks of bits; when it is full, the oldest block goes as a whole. A gap is kept as a gap, and a value that
/// is not finite becomes one. Time is an integer in a unit of the caller's choice (milliseconds in Homeostat); it
/// may repeat and never goes back. The methods are those of Gorilla (VLDB 2015), ALP (SIGMOD 2024) and LOCO-I (2000);
/// `docs/models/series.md` says which for what, and gives the figures.
///
/// ```
/// use homeostat_models::series::{History, HistoryConfig, Point};
/// let mut history = History::new(HistoryConfig::default())?;
/// history.append(1_000, Some(0.25))?;
/// history.append(2_000, Some(f64::NAN))?; // kept as a gap
/// assert_eq!(history.iter().last(), Some(Point { at: 2_000, value: None }));
/// # Ok::<(), homeostat_models::series::HistoryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    config: HistoryConfig,
    blocks: VecDeque<Block>,
    coder: Option<Coder>,
    taste: Taste,
    dropped: u64,
}

/// Points after which the very first block ends: it only learns which form suits.
const LEARN: u32 = 16;
/// Every so many points the form is tried.
const TRY_EVERY: u32 = 8;

impl History {
    /// An empty history.
    pub fn new(config: HistoryConfig) -> Result<Self, HistoryError> {
        let check = |field, value: u32, good: bool, limit| {
            if good { Ok(()) } else { Err(HistoryError::OutOfRange { field, value, limit }) }
        };
        check("block_bytes", config.block_bytes, (64..=65_536).contains(&config.block_bytes), "64 to 65536")?;
        check("blocks", config.blocks, (2..=65_536).contains(&config.blocks), "2 to 65536")?;
        Ok(Self { config, blocks: VecDeque::new(), coder: None, taste: Taste::default(), dropped: 0 })
    }

    /// Adds a point at `at`; no value, or one that is not finite, is kept as a gap.
    pub fn append(&mut self, at: i64, value: Option<f64>) -> Result<Appended, HistoryError> {
        if let Some(newest) = self.blocks.back().map(|block| block.last)
            && at < newest
        {
            return Err(HistoryError::OutOfOrder { at, newest });
        }
        let value = value.filter(|value| value.is_finite());
        if self.full() {
            self.open(at, value);
        }
        if let (Some(block), Some(coder)) = (self.blocks.back_mut(), &mut self.coder) {
            let suited = coder.put(&mut block.bytes, &mut block.used, at, value);
            if let Some(value) = value
                && (!suited || block.points.is_multiple_of(TRY_EVERY))
            {
                self.taste.learn(value);
            }
            block.points = block.points.saturating_add(1);
            block.last = at;
        }
        Ok(if value.is_some() { Appended::Value } else { Appended::Gap })
    }

    fn full(&self) -> bool {
        let Some(block) = self.blocks.back() else { return true };
        let learned = self.dropped == 0 && self.blocks.len() == 1 && block.points >= LEARN;
        self.coder.is_none()
            || learned
            || block.used.saturating_add(POINT_BITS) > self.config.block_bytes.saturating_mul(8)
    }

    /// Starts a block, with the memory of the one that has to go when the ring is full.
    fn open(&mut self, at: i64, value: Option<f64>) {
        let mut bytes = Vec::new();
        while self.blocks.len() >= self.config.blocks.max(1) as usize {
            if let Some(oldest) = self.blocks.pop_front() {
                self.dropped = self.dropped.saturating_add(u64::from(oldest.points));
                bytes = oldest.bytes;
                bytes.clear();
            }
        }
        if bytes.capacity() == 0 {
            bytes.reserve_exact(self.config.block_bytes as usize);
        }
        let start = match &self.coder {
            Some(coder) => coder.next(at, self.taste.form()),
            None => Start::new(at, value.and_then(places).map_or(Form::Xor, Form::Decimal)),
        };
        self.coder = Some(Coder::new(&start));
        self.taste = Taste::default();
        self.blocks.push_back(Block { start, last: at, points: 0, used: 0, bytes });
    }

    /// All points, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Point> + '_ {
        self.blocks.iter().flat_map(Block::decode)
    }

    /// Points with `from <= at < to`, oldest first. Blocks outside are skipped unread.
    pub fn range(&self, from: i64, to: i64) -> impl Iterator<Item = Point> + '_ {
        self.blocks
            .iter()
            .filter(move |block| block.last >= from && block.start.at < to)
            .flat_map(Block::decode)
            .skip_while(move |point| point.at < from)
            .take_while(move |point| point.at < to)
    }

    /// Drops the blocks whose points are all older than `at`, but for the one being written.
    pub fn forget_before(&mut self, at: i64) {
        while self.blocks.len() > 1 && self.blocks.front().is_some_and(|block| block.last < at) {
            if let Some(block) = self.blocks.pop_front() {
                self.dropped = self.dropped.saturating_add(u64::from(block.points));
            }
        }
    }

    /// Points kept, gaps included.
    pub fn len(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.points)).sum()
    }

    /// Nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Points that were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Time of the oldest and of the newest point.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((self.blocks.front()?.start.at, self.blocks.back()?.last))
    }

    /// Bytes that this history takes, with what was reserved and not yet filled.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.blocks.capacity() * size_of::<Block>()
            + self.blocks.iter().map(|block| block.bytes.capacity()).sum::<usize>()
    }

    /// Bytes of the points themselves: the bits that were written and what each block needs to be read.
    pub fn packed_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.len() + size_of::<Start>()).sum()
    }
}
