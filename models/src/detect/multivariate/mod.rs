//! One machine or workload, many dimensions: how unusual is this row, which dimensions make it so, and is it an alarm?
//!
//! Each dimension asks two questions of its new value: how far is it from the usual level, and how far has it moved
//! since the row before, each in usual spreads (exponentially weighted mean and variance: West 1979; Finch 2009;
//! residuals cut as in Huber 1964). Its contribution is the squared deviation plus the weighted squared change, a
//! diagonal form of the multivariate control chart of Lowry et al. (1992). The score is the mean contribution, and
//! the alarm level tunes itself to an accepted rate of alarm starts by block maxima, without labels.
//!
//! State is eight numbers a dimension and one number a block; nothing grows with time. Rows are judged one by one
//! before they are learnt from. Only comparing, adding, multiplying, dividing and square roots decide, so alarms
//! are the same on every machine.
//!
//! ```
//! use homeostat_models::detect::{MultivariateConfig, MultivariateDetector};
//! let mut detector = MultivariateDetector::new(3, MultivariateConfig::default())?;
//! for row in 0..2_000 {
//!     let wave = f64::from(row % 7) / 7.0;
//!     assert!(!detector.observe(&[wave, 10.0 + wave, 100.0 - 5.0 * wave]).alarm);
//! }
//! let verdict = detector.observe(&[0.5, 60.0, 97.0]);
//! assert!(verdict.onset && verdict.reason.contains("d1"));
//! # Ok::<(), homeostat_models::detect::MultivariateError>(())
//! ```

mod dimension;
mod threshold;

#[cfg(test)]
mod tests;

use dimension::{Dimension, Part, Rates};
use serde::{Deserialize, Serialize};
use threshold::{MOST_FACTOR, Threshold, ThresholdSetting};

use crate::words::number;

/// Most dimensions of one detector.
pub const MOST_DIMENSIONS: usize = 4_096;
/// Dimensions named in a reason.
const NAMED: usize = 3;

/// Setting of a [`MultivariateDetector`]. The default is the shipped setting, one for all machines.
///
/// Memories are counted in rows: after `n` rows an old value has lost 63 % of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultivariateConfig {
    /// Memory of the usual level, in rows.
    pub level_rows: f64,
    /// Memory of the usual spreads, in rows.
    pub spread_rows: f64,
    /// Memory of the range, in rows.
    pub range_rows: f64,
    /// Share of the range that is added to every spread, so that a dimension that hardly moves is not alarming when it does.
    pub range_share: f64,
    /// Weight of the change since the row before against the distance from the level.
    pub change_weight: f64,
    /// Spreads to which a residual is cut before it is learnt from.
    pub wild_spreads: f64,
    /// Spreads at which a deviation is as large as can be.
    pub most_spreads: f64,
    /// Values of a dimension before it counts.
    pub warm_up: u32,
    /// Alarm starts that are accepted per row when nothing is wrong; see [`MultivariateConfig::alarms_per_day`].
    pub onsets_per_row: f64,
    /// Rows of a block whose largest score is remembered.
    pub block_rows: u32,
    /// Blocks remembered.
    pub blocks: u32,
    /// Alarm level before anything is known: mean squared deviation in usual spreads.
    pub prior_level: f64,
    /// How far the tuned level is moved to the prior one, 0 to 1; downwards only as far as the bound allows.
    pub prior_share: f64,
    /// Consecutive rows below the level before the alarm is left.
    pub leave_rows: u32,
}

impl Default for MultivariateConfig {
    fn default() -> Self {
        Self {
            level_rows: 150.0,
            spread_rows: 2_500.0,
            range_rows: 70_000.0,
            range_share: 0.015,
            change_weight: 0.4,
            wild_spreads: 30.0,
            most_spreads: 100.0,
            warm_up: 300,
            onsets_per_row: 1.0 / 1_200.0,
            block_rows: 100,
            blocks: 400,
            prior_level: 8.0,
            prior_share: 0.6,
            leave_rows: 5,
        }
    }
}

impl MultivariateConfig {
    /// Alarm starts aimed at per day when nothing is wrong and a row comes every `row_seconds`. With the default,
    /// 1.2 a day for rows of a minute and 0.24 for rows of five.
    pub fn alarms_per_day(&self, row_seconds: f64) -> f64 {
        self.onsets_per_row * 86_400.0 / row_seconds
    }

    /// Bound on those starts: the prior level may let twice the aim through, not more.
    pub fn most_alarms_per_day(&self, row_seconds: f64) -> f64 {
        MOST_FACTOR * self.alarms_per_day(row_seconds)
    }

    fn validate(&self) -> Result<(), MultivariateError> {
        let range = |field, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(MultivariateError::OutOfRange { field, value, least, most })
            }
        };
        range("level_rows", self.level_rows, 1.0, 1e9)?;
        range("spread_rows", self.spread_rows, 1.0, 1e9)?;
        range("range_rows", self.range_rows, 1.0, 1e12)?;
        range("range_share", self.range_share, 0.0, 1.0)?;
        range("change_weight", self.change_weight, 0.0, 1e3)?;
        range("wild_spreads", self.wild_spreads, 1.0, 1e3)?;
        range("most_spreads", self.most_spreads, 1.0, 1e3)?;
        range("warm_up", f64::from(self.warm_up), 2.0, 1e9)?;
        range("onsets_per_row", self.onsets_per_row, 1e-9, 0.1)?;
        range("block_rows", f64::from(self.block_rows), 1.0, 1e6)?;
        range("blocks", f64::from(self.blocks), 8.0, 1e5)?;
        range("prior_level", self.prior_level, 1e-3, 1e6)?;
        range("prior_share", self.prior_share, 0.0, 1.0)?;
        range("leave_rows", f64::from(self.leave_rows), 1.0, 1e6)?;
        let block = self.onsets_per_row * f64::from(self.block_rows);
        range("onsets_per_row × block_rows", block, 1.0 / f64::from(self.blocks), 0.25)
    }
}

/// A detector that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MultivariateError {
    /// A setting is out of range.
    #[error("{field} is {value}, it must be {least} to {most}")]
    OutOfRange {
        /// Field of [`MultivariateConfig`].
        field: &'static str,
        /// What was given.
        value: f64,
        /// Smallest allowed.
        least: f64,
        /// Largest allowed.
        most: f64,
    },
    /// No dimension, or more than [`MOST_DIMENSIONS`].
    #[error(
        "{given} dimensions, a detector takes 1 to {MOST_DIMENSIONS}; split the row into groups that belong together"
    )]
    Dimensions {
        /// What was given.
        given: usize,
    },
}

/// What the detector says of a row, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct MultivariateVerdict {
    /// At least one dimension of the row has warmed up.
    pub ready: bool,
    /// Mean contribution of the dimensions present, 0 or more, in squared usual spreads; 1.4 is usual by default.
    pub score: f64,
    /// Score above which an alarm starts, before this row.
    pub alarm_level: f64,
    /// Chance that an alarm this strong starts at a usual row, 0 to 1.
    pub chance: f64,
    /// The alarm is on.
    pub alarm: bool,
    /// The alarm starts with this row.
    pub onset: bool,
    /// Contribution of each dimension; 0 for one that is missing or still warming up.
    pub contributions: Vec<f64>,
    /// Dimensions without a finite value in this row. They are left out, neither guessed nor learnt from.
    pub missing: u32,
    /// Why the score is above the level, in words with numbers; empty when it is not.
    pub reason: String,
}

/// Detector of one machine's or workload's dimensions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultivariateDetector {
    config: MultivariateConfig,
    rates: Rates,
    dimensions: Vec<Dimension>,
    threshold: Threshold,
    on: bool,
    quiet_rows: u32,
    onsets: u64,
}

impl MultivariateDetector {
    /// A detector of `dims` dimensions (1 to [`MOST_DIMENSIONS`]) that has seen nothing.
    pub fn new(dims: usize, config: MultivariateConfig) -> Result<Self, MultivariateError> {
        config.validate()?;
        if dims == 0 || dims > MOST_DIMENSIONS {
            return Err(MultivariateError::Dimensions { given: dims });
        }
        let rates = Rates {
            level: 1.0 / config.level_rows,
            spread: 1.0 / config.spread_rows,
            range: 1.0 / config.range_rows,
            range_share: config.range_share,
            change_weight: config.change_weight,
            wild: config.wild_spreads,
            most: config.most_spreads,
            warm_up: config.warm_up,
        };
        let threshold = Threshold::new(ThresholdSetting {
            block_rows: config.block_rows,
            blocks: config.blocks,
            onsets_per_row: config.onsets_per_row,
            prior: config.prior_level,
            prior_share: config.prior_share,
        });
        Ok(Self {
            config,
            rates,
            dimensions: vec![Dimension::new(); dims],
            threshold,
            on: false,
            quiet_rows: 0,
            onsets: 0,
        })
    }

    /// Judges the next row, then learns from it. Values are in the order of the dimensions, each in its own unit.
    ///
    /// A value that is not finite, or absent because the row is short, is missing; values beyond the last dimension
    /// are ignored. A row with nothing to judge leaves the alarm as it is.
    pub fn observe(&mut self, row: &[f64]) -> MultivariateVerdict {
        let mut contributions = vec![0.0; self.dimensions.len()];
        let mut top: [Option<(usize, Part)>; NAMED] = [None; NAMED];
        let (mut sum, mut present, mut missing) = (0.0, 0_u32, 0_u32);
        for (index, (dimension, contribution)) in
            self.dimensions.iter_mut().zip(&mut contributions).enumerate()
        {
            let Some(value) = row.get(index).copied().filter(|value| value.is_finite()) else {
                missing += 1;
                continue;
            };
            if let Some(part) = dimension.observe(value, &self.rates) {
                *contribution = part.contribution;
                sum += part.contribution;
                present += 1;
                rank(&mut top, index, part);
            }
        }
        let ready = present > 0;
        let score = if ready { sum / f64::from(present) } else { 0.0 };
        let alarm_level = self.threshold.level();
        let above = ready && score > alarm_level;
        let onset = above && !self.on;
        if ready {
            self.step(above);
        }
        let verdict = MultivariateVerdict {
            ready,
            score,
            alarm_level,
            chance: if ready { self.threshold.chance(score) } else { 1.0 },
            alarm: self.on,
            onset,
            contributions,
            missing,
            reason: if above { self.reason(score, alarm_level, sum, &top) } else { String::new() },
        };
        if ready {
            self.threshold.learn(score);
        }
        verdict
    }

    fn step(&mut self, above: bool) {
        if above {
            self.onsets = self.onsets.saturating_add(u64::from(!self.on));
            (self.on, self.quiet_rows) = (true, 0);
        } else if self.on {
            self.quiet_rows += 1;
            self.on = self.quiet_rows < self.config.leave_rows;
        }
    }

    fn reason(&self, score: f64, level: f64, sum: f64, top: &[Option<(usize, Part)>; NAMED]) -> String {
        let rows = number(1.0 / self.config.onsets_per_row);
        let mut parts = vec![format!(
            "deviation {} against an alarm level of {} (one start in {rows} usual rows accepted)",
            number(score),
            number(level)
        )];
        for (index, part) in top.iter().flatten() {
            let share = (100.0 * part.contribution / sum).round();
            // A dimension that adds next to nothing is no reason.
            if share < 5.0 && parts.len() > 1 {
                break;
            }
            let value = number(part.value);
            let why = if part.jumped {
                format!("jumped from {} to {value}", number(part.last))
            } else {
                format!("is {value}, usual {} ± {}", number(part.level), number(part.spread))
            };
            parts.push(format!("d{index} {why} ({share} %)"));
        }
        parts.join("; ")
    }

    /// Whether the alarm is on.
    pub fn alarm(&self) -> bool {
        self.on
    }

    /// Alarms started so far.
    pub fn onsets(&self) -> u64 {
        self.onsets
    }

    /// Dimensions.
    pub fn dimensions(&self) -> usize {
        self.dimensions.len()
    }

    /// Bytes of state, all that is kept between rows, once every block is remembered.
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + self.dimensions.len() * size_of::<Dimension>()
            + 2 * self.config.blocks as usize * size_of::<f64>()
    }
}

/// Keeps the largest parts, largest first; the earlier dimension wins a tie.
fn rank(top: &mut [Option<(usize, Part)>; NAMED], index: usize, part: Part) {
    let larger =
        |kept: &Option<(usize, Part)>| kept.is_some_and(|(_, other)| other.contribution >= part.contribution);
    let place = top.iter().take_while(|kept| larger(kept)).count();
    if place < NAMED {
        top[place..].rotate_right(1);
        top[place] = Some((index, part));
    }
}
