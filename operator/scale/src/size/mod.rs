//! Right size: the CPU and memory that a pod should ask for, from what its runs (or hours) were seen to use.
//!
//! Memory is the 95th percentile of the last 20 peaks, or what growth seen in the last runs leads to, and a margin. A run
//! that was killed for memory needed at least its limit: the next one gets double, until one has succeeded. CPU is the 95th
//! percentile of what runs used and a tenth; a run that was throttled needed more than its limit, and the next one gets half
//! as much again, as far as people allow it.

pub mod amount;
pub mod standing;

pub use amount::{Size, SizeError, Usage};

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Values that are kept.
pub(crate) const KEPT: usize = 20;
/// Largest value, in MiB or thousandths of a vCPU, that is believed after a restart: beyond any machine.
pub(crate) const MOST_KEPT: u64 = 1 << 36;
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

/// How CPU is sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CpuSettings {
    /// Runs below which nothing is made smaller.
    pub few: usize,
    /// What is added to what was used, in per cent.
    pub margin_percent: u64,
    /// A run that used so much of its limit, in per cent, was throttled.
    pub throttled_percent: u64,
    /// What the next one gets of that limit, in per cent.
    pub next_percent: u64,
    /// A limit above what is declared is kept while a run uses so much of it, in per cent.
    pub keep_percent: u64,
}

impl Default for CpuSettings {
    /// A tenth more than is used, less from five runs on; half as much again after a run that used 95 % of its limit, kept
    /// while 80 % of it are used.
    fn default() -> Self {
        Self { few: 5, margin_percent: 10, throttled_percent: 95, next_percent: 150, keep_percent: 80 }
    }
}

/// CPU to reserve, in thousandths of a vCPU and in steps of a tenth of one: what runs use with a margin. `used` holds the 95th
/// percentile of each run and `limits` what each was limited to, 0 where it was not, both newest last. Never above `most`,
/// nor, without it, above what is declared; below that only from a few runs on. What a throttled run asks for is not taken
/// back before as many runs have been seen with it.
pub fn cpu(
    (used, limits): (&VecDeque<u64>, &VecDeque<u64>),
    declared: u64,
    most: Option<u64>,
    settings: &CpuSettings,
) -> u64 {
    let stepped = |amount: u64| amount.div_ceil(STEP_MILLICORES).saturating_mul(STEP_MILLICORES);
    let seen = used.len();
    let usual = percentile(used).map_or(declared, |used| {
        let wanted = stepped(percent(used, settings.margin_percent.saturating_add(100)));
        if seen >= settings.few { wanted } else { wanted.max(declared) }
    });
    // Lists are as long as each other, but for runs of which an earlier version kept no limit: the oldest.
    let recent = used.iter().rev().zip(limits.iter().rev()).take(settings.few);
    let asked = recent.map(|(used, limit)| stepped(asks_for(*used, *limit, declared, settings)));
    let wanted = asked.fold(usual, u64::max);
    wanted.clamp(STEP_MILLICORES.min(declared), most.unwrap_or(declared).max(declared))
}

/// What a run asks for its successor, by what it used of its limit; nothing where it had enough.
fn asks_for(used: u64, limit: u64, declared: u64, settings: &CpuSettings) -> u64 {
    if limit == 0 {
        return 0;
    }
    match after_throttling(used, limit, settings) {
        Some(next) => next,
        None if limit > declared && used >= percent(limit, settings.keep_percent) => limit,
        None => 0,
    }
}

/// What comes after a use so near to its limit that it was kept from more: half as much again as the limit, as nobody saw what
/// it would have used. `None` where it had enough.
pub(crate) fn after_throttling(used: u64, limit: u64, settings: &CpuSettings) -> Option<u64> {
    (used >= percent(limit, settings.throttled_percent)).then(|| percent(limit, settings.next_percent))
}

fn percent(amount: u64, of_hundred: u64) -> u64 {
    amount.saturating_mul(of_hundred) / 100
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

/// Memory in MiB that runs with these peaks are known to need, without any margin; `None` while none was seen.
pub fn needs(peaks: &VecDeque<u64>) -> Option<u64> {
    percentile(peaks)
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

    /// CPU of the next run after these, of a job that declares 1,000: what each used, and its limit.
    fn next(runs: &[(u64, u64)], most: Option<u64>) -> u64 {
        let (mut used, mut limits) = (VecDeque::new(), VecDeque::new());
        for (one, limit) in runs {
            keep(&mut used, Some(*one));
            keep(&mut limits, Some(*limit));
        }
        cpu((&used, &limits), 1_000, most, &CpuSettings::default())
    }

    #[test]
    fn cpu_goes_up_at_once_and_down_from_five_runs_on() {
        let few = |run: (u64, u64), count: usize| vec![run; count];
        for (runs, expected, why) in [
            (vec![], 1_000, "as declared"),
            (vec![(940, 1_000)], 1_100, "a tenth more than is used, near its limit or not"),
            (vec![(950, 1_000)], 1_500, "it was throttled"),
            (vec![(1_000, 1_000)], 1_500, "it was throttled"),
            (vec![(1_000, 1_000), (1_480, 1_500)], 2_300, "still throttled: half as much again"),
            (vec![(1_000, 1_000), (1_100, 1_500)], 1_500, "it has enough, and one run takes nothing back"),
            (vec![(3_990, 4_000)], 4_000, "no more than people allow"),
            (vec![(1_500, 0)], 1_700, "without a limit what it would use is seen"),
            (vec![(990, 0)], 1_100, "without a limit nothing was kept from it"),
            (few((300, 1_000), 4), 1_000, "four runs are few"),
            (few((300, 1_000), 5), 400, "five are not"),
            ([few((1_000, 1_000), 1), few((600, 1_500), 4)].concat(), 1_500, "four runs with more"),
            ([few((1_000, 1_000), 1), few((600, 1_500), 19)].concat(), 700, "what it used once is forgotten"),
            (few((3_000, 3_500), 9), 3_500, "it uses most of what it was given"),
            (few((2_000, 3_500), 9), 2_200, "and here it does not"),
        ] {
            assert_eq!(next(&runs, Some(4_000)), expected, "{why}: {runs:?}");
        }
    }

    #[test]
    fn without_a_maximum_no_run_gets_more_cpu_than_is_declared_however_much_it_used() {
        for run in [(1_000, 1_000), (1_000, 0), (5_000, 0), (3_000, 3_000), (u64::MAX, u64::MAX)] {
            for count in [1, 4, 5, 20] {
                assert_eq!(next(&vec![run; count], None), 1_000, "{run:?} {count}");
                assert_eq!(next(&vec![run; count], Some(700)), 1_000, "a maximum below it takes nothing");
            }
        }
    }

    #[test]
    fn cpu_comes_to_rest_for_every_need_and_holds_it() {
        for need in (100..6_000).step_by(37) {
            for (most, limited) in [(Some(8_000), true), (Some(8_000), false), (None, true)] {
                let mut runs: Vec<(u64, u64)> = Vec::new();
                let mut sizes = Vec::new();
                for _ in 0..60 {
                    let size = next(&runs, most);
                    // The limit that the Job is made with is not lowered.
                    let limit = if limited { size.max(1_000) } else { 0 };
                    runs.push((if limited { need.min(limit) } else { need }, limit));
                    sizes.push(size);
                }
                let last = sizes[59];
                assert!(sizes[40..].iter().all(|size| *size == last), "{need}: {sizes:?}");
                let enough = need.min(if most.is_some() { 8_000 } else { 1_000 });
                assert!(last >= enough && last <= enough * 5 / 3 + STEP_MILLICORES, "{need}: {sizes:?}");
            }
        }
    }

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
