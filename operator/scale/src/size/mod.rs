//! Right size: the CPU and memory that a pod should ask for, from what its runs (or hours) were seen to use.
//!
//! Memory is the 95th percentile of the last 20 peaks, or what growth seen in the last runs leads to, and a margin. A run
//! that was killed for memory needed at least its limit: the next one gets double, until one has succeeded. CPU is the 95th
//! percentile of what runs used and a tenth.

pub mod amount;
pub mod standing;

pub use amount::{Size, SizeError, Usage};

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Values that are kept.
pub(crate) const KEPT: usize = 20;
/// Largest value, in MiB or thousandths of a vCPU, that is believed after a restart: beyond any machine.
pub(crate) const MOST_KEPT: u64 = 1 << 36;
/// Runs below which what was declared of CPU is not lowered.
const FEW_FOR_CPU: usize = 5;
/// Steps of a reservation of memory, in MiB: sizes that differ by noise only are the same size.
const STEP_MEBIBYTES: u64 = 16;
/// Steps of a reservation of CPU, in thousandths of a vCPU.
const STEP_MILLICORES: u64 = 100;

/// Growth is followed over so many runs at most: further ahead it would be a guess.
const MOST_AHEAD: u32 = 8;

/// Where a reservation of memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Nothing is known: the safe default.
    Default,
    /// It was declared.
    Declared,
    /// Other tenants' jobs of the same name.
    Others,
    /// Its own runs.
    History,
    /// It grew in the last runs.
    Growth,
    /// The last run was killed for lack of memory.
    Killed,
}

impl Source {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Default => "safe default of a first run",
            Self::Declared => "as declared",
            Self::Others => "largest of other tenants with margin",
            Self::History => "95th percentile of its runs with margin",
            Self::Growth => "its growth over the last runs with margin",
            Self::Killed => "double after a kill for memory",
        }
    }
}

/// How memory is sized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemorySettings {
    /// Added to what was needed, as a share.
    pub margin: f64,
    /// First run of an unknown job, in MiB.
    pub first_mebibytes: u64,
    /// Largest reservation, in MiB.
    pub most_mebibytes: u64,
}

impl Default for MemorySettings {
    /// 15 % margin, 4 GiB for a first run, at most 64 GiB.
    fn default() -> Self {
        Self { margin: 0.15, first_mebibytes: 4_096, most_mebibytes: 65_536 }
    }
}

/// What the next run gets, in MiB, after one that was killed for memory at this limit.
pub fn after_kill(limit: u64) -> u64 {
    limit.saturating_mul(2)
}

/// Adds a value, the newest last; the oldest goes when there are 20.
pub fn keep(list: &mut VecDeque<u64>, value: Option<u64>) {
    if let Some(value) = value {
        if list.len() >= KEPT {
            list.pop_front();
        }
        list.push_back(value);
    }
}

/// CPU to reserve, in thousandths of a vCPU: what runs use with a tenth on top, in steps of a tenth of a vCPU, never above
/// what is declared. `used` holds the 95th percentile of each run, newest last.
pub fn cpu(used: &VecDeque<u64>, declared: u64) -> u64 {
    match percentile(used).filter(|_| used.len() >= FEW_FOR_CPU) {
        Some(used) => {
            let steps = (used * 11 / 10).div_ceil(STEP_MILLICORES);
            steps.saturating_mul(STEP_MILLICORES).clamp(STEP_MILLICORES.min(declared), declared)
        }
        None => declared,
    }
}

/// Memory to reserve in MiB, and why. `peaks` are those of the last runs, newest last; `at_least` is what a kill asks for
/// ([`after_kill`]); `largest_of_others` is the largest peak of jobs of the same name.
pub fn memory(
    peaks: &VecDeque<u64>,
    at_least: Option<u64>,
    declared: Option<u64>,
    largest_of_others: Option<u64>,
    settings: &MemorySettings,
) -> (u64, Source) {
    let margin = |mebibytes: u64| with_margin(mebibytes, settings);
    let usual = match (percentile(peaks), declared, largest_of_others) {
        (Some(usual), _, _) => {
            let grown = grown(peaks);
            if grown > usual { (margin(grown), Source::Growth) } else { (margin(usual), Source::History) }
        }
        (None, Some(declared), _) => (declared, Source::Declared),
        // Half as much again: another tenant's data may be larger than any seen.
        (None, None, Some(largest)) => (margin(largest.saturating_mul(3) / 2), Source::Others),
        (None, None, None) => (settings.first_mebibytes, Source::Default),
    };
    let (mebibytes, source) = match at_least {
        Some(least) if least > usual.0 => (least, Source::Killed),
        _ => usual,
    };
    (stepped(mebibytes, settings), source)
}

/// Memory in MiB for a run that comes after so many others of which nothing is known yet, if it goes on to grow as in the
/// last three steps at most; `None` while it does not grow. For what is made long before it begins.
pub fn grows_to(peaks: &VecDeque<u64>, others: u32, settings: &MemorySettings) -> Option<u64> {
    let grown = growing(peaks)?.after(others.min(MOST_AHEAD) + 1);
    Some(stepped(with_margin(grown, settings), settings))
}

fn with_margin(mebibytes: u64, settings: &MemorySettings) -> u64 {
    (mebibytes as f64 * (1.0 + settings.margin)).ceil() as u64
}

fn stepped(mebibytes: u64, settings: &MemorySettings) -> u64 {
    mebibytes.div_ceil(STEP_MEBIBYTES).saturating_mul(STEP_MEBIBYTES).min(settings.most_mebibytes)
}

/// What the run after the next one needs if it grows as in the last three steps at most: the next one may be made already,
/// with the size before.
fn grown(peaks: &VecDeque<u64>) -> u64 {
    let recent = peaks.iter().rev().take(4).max().copied().unwrap_or_default();
    growing(peaks).map_or(recent, |growth| growth.after(2).max(recent))
}

/// How memory grows from run to run.
struct Growth {
    newest: u64,
    /// Largest step, in MiB.
    step: u64,
    /// Largest step, as a share of what was before it.
    share: f64,
}

impl Growth {
    fn after(&self, runs: u32) -> u64 {
        let next =
            |mebibytes: u64| mebibytes.saturating_add(self.step.max((mebibytes as f64 * self.share) as u64));
        (0..runs).fold(self.newest, |mebibytes, _| next(mebibytes))
    }
}

/// A single step up may be noise; two in a row are growth.
fn growing(peaks: &VecDeque<u64>) -> Option<Growth> {
    let last: Vec<u64> = peaks.iter().rev().take(4).copied().collect();
    let [newest, second, third, ..] = last[..] else { return None };
    if newest <= second || second <= third {
        return None;
    }
    let steps = last.windows(2).map(|pair| (pair[0].saturating_sub(pair[1]), pair[1]));
    let (step, share) = steps.fold((0, 0.0_f64), |(step, share), (up, from)| {
        (step.max(up), share.max(up as f64 / from.max(1) as f64))
    });
    Some(Growth { newest, step, share })
}

/// 95th percentile by nearest rank.
fn percentile(list: &VecDeque<u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = list.iter().copied().collect();
    sorted.sort_unstable();
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_long_before_it_begins_gets_what_growth_leads_to_by_then() {
        let settings = MemorySettings::default();
        // Threefold over ten runs, then as it is; so many runs wait when another one is made.
        let need = |run: i32| (36.0 * 3.0_f64.powf(f64::from(run.min(10)) / 10.0)) as u64;
        for waiting in 0..=4 {
            let mut peaks = VecDeque::new();
            for run in 0..20 {
                keep(&mut peaks, Some(need(run)));
                let made = run + waiting + 1;
                let size = grows_to(&peaks, waiting.unsigned_abs(), &settings).unwrap_or(80);
                let known = memory(&peaks, None, Some(80), None, &settings).0.max(80);
                assert!(size.max(known) >= need(made), "run {made}, {waiting} waiting: {size} or {known}");
            }
        }
        assert_eq!(grows_to(&VecDeque::from([50, 49, 50]), 4, &settings), None, "noise is no growth");
    }
}
