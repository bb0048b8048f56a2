//! What a load looks like now: the numbers that a rule starts from.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Steps that are remembered: an hour at 15 s.
const STEPS: usize = 240;
/// Minutes of a day.
const DAY: usize = 1_440;
/// Loads below this, in replicas' worth, count as this: a ratio to almost nothing says nothing.
pub(super) const LEAST: f64 = 0.05;

/// What a forecast expects over the next steps, in replicas' worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Median.
    pub p50: f64,
    /// Nine of ten outcomes lie below.
    pub p90: f64,
}

/// A number that a rule starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// The last step.
    Last,
    /// The highest of the last minute.
    Minute,
    /// The highest of the last 5 minutes.
    FiveMinutes,
    /// The highest of the last half hour.
    HalfHour,
    /// The highest of the last hour.
    Hour,
    /// The mean of the last 5 minutes.
    Mean,
    /// The highest around this time yesterday, moved to the current level.
    Yesterday,
    /// The forecast's p90, and the last step if that is higher.
    Forecast,
}

impl Base {
    /// All of them, in the order of [`Features::bases`].
    pub const ALL: [Self; 8] = [
        Self::Last,
        Self::Minute,
        Self::FiveMinutes,
        Self::HalfHour,
        Self::Hour,
        Self::Mean,
        Self::Yesterday,
        Self::Forecast,
    ];

    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "the last value",
            Self::Minute => "the highest of the last minute",
            Self::FiveMinutes => "the highest of the last 5 min",
            Self::HalfHour => "the highest of the last 30 min",
            Self::Hour => "the highest of the last hour",
            Self::Mean => "the mean of the last 5 min",
            Self::Yesterday => "this time yesterday",
            Self::Forecast => "the forecast's p90",
        }
    }
}

/// Recent load. Bounded: an hour of steps and a day of minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    highest: VecDeque<f32>,
    means: VecDeque<f32>,
    /// Highest value and mean of each minute, the newest last.
    minutes: VecDeque<(f32, f32)>,
    open: (f32, f32, u32),
    steps: u64,
}

/// The numbers of one moment, in replicas' worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// Where each of [`Base::ALL`] starts from; all positive.
    pub bases: [f64; 8],
    /// Highest of the last step, and the change to it.
    pub last: f64,
    /// Change from the step before.
    pub change: f64,
    /// Highest of 1 min, 5 min, 30 min, 1 h.
    pub highest: [f64; 4],
    /// Mean of 5 min and 1 h.
    pub means: [f64; 2],
    /// Highest around this time yesterday.
    pub yesterday: Option<f64>,
    /// The forecast's median.
    pub expected: Option<f64>,
    /// Hour of the day by the count of steps.
    pub hour: u32,
    /// Steps seen since the first load.
    pub steps: u64,
}

impl Recent {
    /// Takes a step. Its samples are finite and not negative.
    pub fn push(&mut self, samples: &[f64], steps_a_minute: u32) {
        let highest = samples.iter().copied().fold(0.0, f64::max) as f32;
        let mean = (samples.iter().sum::<f64>() / samples.len().max(1) as f64) as f32;
        push(&mut self.highest, highest, STEPS);
        push(&mut self.means, mean, STEPS);
        self.steps += 1;
        self.open = (self.open.0.max(highest), self.open.1 + mean, self.open.2 + 1);
        if self.open.2 >= steps_a_minute {
            push(&mut self.minutes, (self.open.0, self.open.1 / self.open.2 as f32), DAY + 20);
            self.open = (0.0, 0.0, 0);
        }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The numbers of now; `None` before the first step.
    pub fn features(&self, expected: Option<Expected>, steps_a_minute: u32) -> Option<Features> {
        let minute = steps_a_minute.max(1) as usize;
        let last = f64::from(*self.highest.back()?);
        let before = self.highest.iter().rev().nth(1).map_or(last, |value| f64::from(*value));
        let most =
            |steps: usize| f64::from(self.highest.iter().rev().take(steps).copied().fold(0.0, f32::max));
        let mean = |steps: usize| {
            let count = steps.min(self.means.len()).max(1);
            f64::from(self.means.iter().rev().take(count).sum::<f32>()) / count as f64
        };
        let highest = [most(minute), most(5 * minute), most(30 * minute), most(60 * minute)];
        let means = [mean(5 * minute), mean(60 * minute)];
        // The minute that now is in, a day ago: from one before it to four after.
        let yesterday = (self.minutes.len() >= DAY + 6).then(|| {
            let at = self.minutes.len() - DAY;
            let around = self.minutes.range(at - 1..(at + 4).min(self.minutes.len()));
            let level = |range: std::ops::Range<usize>| {
                let count = range.len() as f32;
                f64::from(self.minutes.range(range).map(|minute| minute.1).sum::<f32>() / count)
            };
            let ahead = level(at..(at + 3).min(self.minutes.len()));
            (
                f64::from(around.map(|minute| minute.0).fold(0.0, f32::max)),
                ahead - level(at - 5..at) + means[0],
            )
        });
        let bases = [
            last,
            highest[0],
            highest[1],
            highest[2],
            highest[3],
            means[0],
            yesterday.map_or(means[0], |(_, moved)| moved),
            expected.map_or(last, |expected| expected.p90.max(last)),
        ]
        .map(|base| base.max(LEAST));
        Some(Features {
            bases,
            last,
            change: last - before,
            highest,
            means,
            yesterday: yesterday.map(|(highest, _)| highest),
            expected: expected.map(|expected| expected.p50),
            hour: (self.steps / (u64::from(steps_a_minute.max(1)) * 60) % 24) as u32,
            steps: self.steps,
        })
    }
}

fn push<T>(ring: &mut VecDeque<T>, value: T, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(value);
}
