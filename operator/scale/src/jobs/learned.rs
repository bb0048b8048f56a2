//! What runs taught: how long the next one takes, how much memory and CPU it needs.
//!
//! Run times are taken as log-normal. Of each job the mean and variance of the logarithm are kept with exponential
//! forgetting (West 1979; 50 runs). As long as a job has few runs of its own, its estimate leans on all jobs of its name
//! and on how much longer or shorter its tenant's runs are than others': the posterior mean of a normal level, with the
//! weight of one run for the prior.
//!
//! Where runs take longer on work days than on weekends, or the other way round, the day of a run's slot counts
//! ([`super::days`]). What to reserve follows by [`crate::size`], whatever the day.

use super::days::{Day, Days};
use super::foretold::Foretold;
use super::items::ItemHistory;
use crate::size::{self, CpuSettings, MemorySettings, Source, Usage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Runs after which what was learnt is forgotten by a factor of e.
pub(super) const MEMORY: f64 = 50.0;
/// Runs below which the spread of a job's own is not believed.
const FEW: u32 = 10;
/// Tries after which what was counted of failures counts half.
const TRIES: u32 = 20_000;
/// No logarithm of seconds is larger: e to that is longer than anything runs.
pub(super) const LONGEST: f64 = 50.0;
/// Deviation of the logarithm assumed until then.
pub(super) const SPREAD: f64 = 0.25;

/// Mean and variance with exponential forgetting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Values seen.
    pub count: u32,
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub variance: f64,
}

impl Level {
    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let share = (1.0 / f64::from(self.count)).max(1.0 / MEMORY);
        let distance = value - self.mean;
        self.mean += share * distance;
        self.variance = (1.0 - share) * (self.variance + share * distance * distance);
    }
}

/// How often tries fail by themselves, and how far they had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failures {
    /// Tries that ended by themselves.
    pub tries: u32,
    /// Those of them that failed.
    pub failed: u32,
    /// Sum over these of the share of the median run time that had passed.
    pub passed: f64,
}

impl Failures {
    /// Adds a try: `None` when it succeeded, else the share of its median run time after which it failed.
    pub fn push(&mut self, failed_after: Option<f64>) {
        if self.tries >= TRIES {
            let failed = self.failed / 2;
            // No failure has come further than a whole run.
            (self.tries, self.failed) = (self.tries / 2, failed);
            self.passed = (self.passed / 2.0).min(f64::from(failed));
        }
        self.tries += 1;
        if let Some(share) = failed_after.filter(|share| share.is_finite()) {
            self.failed += 1;
            self.passed += share.clamp(0.0, 1.0);
        }
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        self.tries = self.tries.saturating_add(other.tries);
        self.failed = self.failed.saturating_add(other.failed);
        self.passed += other.passed;
    }

    /// Chance that a try fails.
    pub fn chance(&self) -> f64 {
        f64::from(self.failed) / f64::from(self.tries.max(1))
    }

    /// Share of its median run time after which a try fails, in the mean.
    pub fn passed(&self) -> f64 {
        self.passed / f64::from(self.failed.max(1))
    }
}

/// What was learnt of one job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobHistory {
    /// Logarithm of run times in seconds; of a job whose runs have different numbers of pods, of the time of all pods together.
    pub run_time: Level,
    /// Peaks of memory, newest last, in MiB.
    pub peaks: VecDeque<u64>,
    /// 95th percentiles of CPU, newest last, in thousandths of a vCPU.
    pub cpu: VecDeque<u64>,
    /// CPU limits that these runs had, newest last, in the same unit; 0 where there was none. Of runs that an earlier version
    /// saw it is not known.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub cpu_limits: VecDeque<u64>,
    /// Set by a kill for memory, in MiB: the next run gets no less. Gone when a run has succeeded of which it was seen what it
    /// needs.
    pub at_least: Option<u64>,
    /// Highest peak of a run that succeeded, in MiB: it needed that, while of a kill only the limit is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<u64>,
    /// Its failures.
    #[serde(default)]
    pub failures: Failures,
    /// What its runs had to do, where that was seen.
    #[serde(default)]
    pub items: ItemHistory,
    /// How its run times differ between work days and weekends.
    #[serde(default, skip_serializing_if = "Days::is_empty")]
    pub days: Days,
    /// How well its run times were foretold.
    #[serde(default, skip_serializing_if = "Foretold::is_empty")]
    pub foretold: Foretold,
}

/// What was learnt of all jobs of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Logarithm of run times in seconds, as in [`JobHistory`].
    pub run_time: Level,
    /// Largest peak of memory, in MiB.
    pub largest: Option<u64>,
    /// Its failures.
    pub failures: Failures,
}

impl Program {
    /// Runs behind it; of as many the tries tell.
    pub fn rests_on(&self) -> (u32, u32) {
        (self.run_time.count, self.failures.tries)
    }
}

/// All that a job's next run is planned by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learnt {
    /// Its own runs.
    pub history: JobHistory,
    /// Runs of its program, whoever's; nothing where that is not known.
    #[serde(default)]
    pub program: Program,
    /// Logarithm of how much longer its tenant's runs take than their programs'.
    #[serde(default)]
    pub pace: Level,
}

impl From<JobHistory> for Learnt {
    fn from(history: JobHistory) -> Self {
        Self { history, ..Self::default() }
    }
}

impl Learnt {
    /// Whether anything was learnt of its own runs.
    pub fn is_empty(&self) -> bool {
        self.history == JobHistory::default()
    }

    /// Whether it can be what was learnt: numbers that are some, of no more runs than are looked back at.
    pub fn is_sound(&self) -> bool {
        let Self { history, program, pace } = self;
        let level = |level: &Level| {
            level.mean.abs() <= LONGEST && (0.0..=LONGEST * LONGEST).contains(&level.variance)
        };
        let failures = |failures: &Failures| {
            failures.failed <= failures.tries && (0.0..=f64::from(failures.failed)).contains(&failures.passed)
        };
        let amounts = |list: &VecDeque<u64>| {
            list.len() <= size::KEPT && list.iter().all(|amount| *amount <= size::MOST_KEPT)
        };
        [&history.run_time, &program.run_time, pace].into_iter().all(level)
            && failures(&history.failures)
            && failures(&program.failures)
            && amounts(&history.peaks)
            && amounts(&history.cpu)
            && amounts(&history.cpu_limits)
            && history.days.is_sound()
            && history.foretold.is_sound()
            && history
                .at_least
                .into_iter()
                .chain(program.largest)
                .chain(history.proven)
                .all(|amount| amount <= 2 * size::MOST_KEPT)
            && history.items.is_sound()
    }
}

/// Time that a run takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunTime {
    /// Median, in seconds.
    pub median: f64,
    /// The quantile that was asked for, in seconds.
    pub quantile: f64,
    /// Runs of the job itself that it rests on.
    pub runs: u32,
}

impl JobHistory {
    /// A run has ended by itself after `seconds`.
    pub fn ran(&mut self, seconds: f64) {
        if seconds.is_finite() && seconds > 0.0 {
            self.run_time.push(seconds.ln());
        }
    }

    /// The run of a slot has ended by itself after `seconds`; `None` where it is not known which day that is for its job.
    pub fn ran_on(&mut self, seconds: f64, slot: Timestamp, day: Option<Day>) {
        let plain = self.run_time.mean;
        self.ran(seconds);
        if let Some(day) = day.filter(|_| seconds > 0.0) {
            self.days.push(seconds.ln(), plain, slot, day);
        }
    }

    /// What the next run's time is planned with, by the day of its slot where that is known.
    pub fn run_time_on(&self, day: Option<Day>) -> Level {
        day.map_or(self.run_time, |day| self.days.on(&self.run_time, day))
    }

    /// A run that was not killed was seen to use this.
    pub fn used(&mut self, usage: Usage, succeeded: bool) {
        size::keep(&mut self.peaks, usage.mebibytes);
        size::keep(&mut self.cpu, usage.millicores);
        size::keep(&mut self.cpu_limits, usage.millicores.map(|_| usage.cpu_limit.unwrap_or(0)));
        if succeeded && usage.mebibytes.is_some() {
            self.at_least = None;
            self.proven = self.proven.max(usage.mebibytes);
        }
    }

    /// A run was killed at this limit, in MiB.
    pub fn killed(&mut self, limit: u64) {
        size::keep(&mut self.peaks, Some(limit));
        self.at_least = Some(size::after_kill(limit));
    }

    /// CPU to reserve, in thousandths of a vCPU, of a job that declares so much and may be given so much at most.
    pub fn cpu(&self, declared: u64, most: Option<u64>, settings: &CpuSettings) -> u64 {
        size::cpu((&self.cpu, &self.cpu_limits), declared, most, settings)
    }

    /// Memory to reserve in MiB, and why.
    pub fn memory(
        &self,
        declared: Option<u64>,
        largest_of_others: Option<u64>,
        settings: &MemorySettings,
    ) -> (u64, Source) {
        size::memory(&self.peaks, self.at_least, declared, largest_of_others, settings)
    }

    /// Memory in MiB that its runs are known to need, without any margin: what of the last ones needed, and no more than one
    /// succeeded with. `None` while none did.
    pub fn needs(&self) -> Option<u64> {
        Some(size::needs(&self.peaks)?.min(self.proven?))
    }

    /// Memory in MiB of a run that is made when so many others are still before it; `None` while it does not grow.
    pub fn grows_to(&self, others: u32, settings: &MemorySettings) -> Option<u64> {
        size::grows_to(&self.peaks, others, settings)
    }
}

/// Deviations of a normal distribution between its median and its 90th percentile.
const NINE_OF_TEN: f64 = 1.281_551_565_544_6;

/// What is expected of the time of a run, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// 10th percentile.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// The kind of its day makes a difference.
    pub by_day: bool,
}

impl Times {
    /// The model's name.
    pub fn model(&self) -> &'static str {
        if self.by_day { "local level, weekend" } else { "local level" }
    }
}

/// The logarithm of the time of a job's next run, in seconds: normal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logarithm {
    mean: f64,
    deviation: f64,
    /// Runs of the job itself that it rests on.
    runs: u32,
}

impl Logarithm {
    /// Seconds, so many deviations above the median.
    pub(super) fn at(&self, deviations: f64) -> f64 {
        (self.mean + deviations * self.deviation).exp()
    }

    /// What is planned with: the median and another quantile.
    pub(super) fn run_time(&self, deviations: f64) -> RunTime {
        RunTime { median: self.mean.exp(), quantile: self.at(deviations), runs: self.runs }
    }

    /// What is shown, of each of so many pods that share its work.
    pub(super) fn times(&self, by_day: bool, pods: u32) -> Times {
        let at = |deviations: f64| self.at(deviations) / f64::from(pods.max(1));
        Times { p10: at(-NINE_OF_TEN), p50: at(0.0), p90: at(NINE_OF_TEN), by_day }
    }
}

/// Run time of a job's next run: `deviations` above the mean of the logarithm (0.8: 79th percentile). `kind` is of all
/// jobs of its name, `tenant` how far its tenant's runs lie from their kinds. `None` when nothing is known at all.
pub fn run_time(job: &Level, kind: &Level, tenant: &Level, deviations: f64) -> Option<RunTime> {
    Some(logarithm(job, kind, tenant)?.run_time(deviations))
}

/// Its distribution, of which [`run_time`] tells two quantiles.
pub(super) fn logarithm(job: &Level, kind: &Level, tenant: &Level) -> Option<Logarithm> {
    if kind.count == 0 {
        return None;
    }
    let seen = f64::from(tenant.count);
    let prior = kind.mean + tenant.mean * seen / (seen + 1.0);
    let prior_variance = kind.variance.max(SPREAD * SPREAD);
    let own = f64::from(job.count);
    let weight = own / (own + 1.0);
    let mean = weight * job.mean + (1.0 - weight) * prior;
    let own_variance = if job.count < FEW { job.variance.max(SPREAD * SPREAD) } else { job.variance };
    let variance = weight * own_variance + (1.0 - weight) * prior_variance;
    Some(Logarithm { mean, deviation: variance.sqrt(), runs: job.count })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only its memory was seen, in MiB.
    fn peak(mebibytes: u64) -> Usage {
        Usage { mebibytes: Some(mebibytes), ..Usage::default() }
    }

    /// Peaks that runs would reach; kills in order of runs.
    fn kills(needs: &[u64]) -> Vec<usize> {
        let (mut history, settings) = (JobHistory::default(), MemorySettings::default());
        let mut killed = Vec::new();
        for (run, need) in needs.iter().enumerate() {
            let mut first = true;
            // A job whose others need 900 MiB.
            while history.memory(None, Some(900), &settings).0 < *need {
                let limit = history.memory(None, Some(900), &settings).0;
                history.killed(limit);
                assert!(first || limit >= 1_024, "each try gets more");
                first = false;
                killed.push(run + 1);
            }
            history.used(peak(*need), true);
        }
        killed
    }

    #[test]
    fn the_limit_of_a_kill_is_no_need() {
        let mut history = JobHistory::default();
        history.killed(64_000);
        assert_eq!(history.needs(), None, "it may need less than its limit");
        history.used(Usage { mebibytes: Some(9_000), ..Usage::default() }, true);
        assert_eq!(history.needs(), Some(9_000));
        history.used(Usage { mebibytes: Some(12_000), ..Usage::default() }, false);
        assert_eq!(history.needs(), Some(9_000), "who failed may have leaked");
    }

    #[test]
    fn a_need_that_grows_threefold_over_ten_runs_kills_nothing_after_the_third() {
        let straight: Vec<u64> = (0..10).map(|run| 1_000 + run * 222).collect();
        let bent: Vec<u64> =
            (0..10).map(|run| (1_000.0 * 3.0_f64.powf(f64::from(run) / 9.0)) as u64).collect();
        // With noise of a few per cent on the way.
        let rough: Vec<u64> = straight
            .iter()
            .zip([3, -2, 4, -3, 0, 2, -4, 3, -1, 2])
            .map(|(need, noise)| (*need as i64 * (100 + noise) / 100) as u64)
            .collect();
        for needs in [straight, bent, rough] {
            let killed = kills(&needs);
            assert!(killed.iter().all(|run| *run <= 3), "{needs:?}: {killed:?}");
        }
    }

    #[test]
    fn growth_kills_nothing_where_each_run_was_made_before_the_two_before_it_had_their_say() {
        let (mut history, settings) = (JobHistory::default(), MemorySettings::default());
        // Known for four runs, then threefold over ten.
        let needs =
            (0..15).map(|run| (40.0 * 3.0_f64.powf(f64::from((run - 4).clamp(0, 10)) / 10.0)).round() as u64);
        let (mut next_but_one, mut next) = (80, 80);
        for (run, need) in needs.enumerate() {
            let size = next;
            next = next_but_one;
            // The smallest that its Workload allows is 80 MiB.
            next_but_one = history.memory(Some(80), None, &settings).0.max(80);
            assert!(size >= need, "run {}: {need} MiB in {size} MiB", run + 1);
            history.used(peak(need), true);
        }
    }

    #[test]
    fn a_jump_is_killed_once_and_retried_at_once_with_double() {
        let needs = [1_000, 1_000, 1_000, 1_000, 2_000, 2_000, 2_000];
        assert_eq!(kills(&needs), [5]);
    }

    #[test]
    fn a_program_that_never_tells_what_it_uses_keeps_the_size_that_was_enough() {
        let (mut history, settings) = (JobHistory::default(), MemorySettings::default());
        history.killed(1_024);
        for _ in 0..5 {
            assert!(history.memory(None, None, &settings).0 >= 2_048);
            history.used(Usage::default(), true);
        }
    }

    #[test]
    fn rare_late_failures_are_sound_however_many_runs_there_were() {
        let mut learnt = Learnt::default();
        learnt.program.failures.push(Some(1.0));
        for _ in 0..3 * TRIES {
            learnt.program.failures.push(None);
            assert!(learnt.is_sound(), "{:?}", learnt.program.failures);
        }
    }

    #[test]
    fn steady_noise_costs_little_more_than_its_percentile_and_never_kills() {
        let needs: Vec<u64> = (0..100).map(|run| 1_000 + (run * 37 % 100)).collect();
        assert!(kills(&needs).is_empty());
        let mut history = JobHistory::default();
        for need in &needs {
            history.used(peak(*need), true);
        }
        let (reserved, _) = history.memory(None, None, &MemorySettings::default());
        assert!((1_099..1_500).contains(&reserved), "{reserved}");
    }

    #[test]
    fn a_first_run_gets_the_default_then_what_others_needed_and_says_so() {
        let (history, settings) = (JobHistory::default(), MemorySettings::default());
        assert_eq!(history.memory(None, None, &settings), (4_096, Source::Default));
        assert_eq!(history.memory(Some(512), Some(900), &settings), (512, Source::Declared));
        let (reserved, source) = history.memory(None, Some(1_000), &settings);
        assert!(reserved >= 1_725 && source == Source::Others);
    }

    #[test]
    fn reserved_cpu_follows_what_is_used_but_never_exceeds_what_is_declared() {
        let (mut history, settings) = (JobHistory::default(), CpuSettings::default());
        let used = |millicores| Usage { millicores: Some(millicores), ..Usage::default() };
        assert_eq!(history.cpu(2_000, None, &settings), 2_000);
        (0..10).for_each(|_| history.used(used(640), true));
        assert_eq!(history.cpu(2_000, None, &settings), 800);
        (0..20).for_each(|_| history.used(used(2_000), true));
        assert_eq!(history.cpu(2_000, None, &settings), 2_000);
    }

    #[test]
    fn what_an_earlier_version_kept_is_read_and_learnt_on_from() {
        let text = r#"{"history":{"runTime":{"count":3,"mean":5.7,"variance":0.01},"peaks":[900,1000,600],
            "cpu":[700,710,690,705,700],"atLeast":null,
            "failures":{"tries":3,"failed":0,"passed":0.0},"items":{"counts":[],"seconds":[]}}}"#;
        let learnt: Learnt = serde_json::from_str(text).unwrap();
        assert!(learnt.is_sound());
        let (mut history, settings) = (learnt.history, CpuSettings::default());
        assert!(history.cpu_limits.is_empty() && history.days.is_empty());
        let kept = serde_json::to_string(&history).unwrap();
        assert!(!kept.contains("cpuLimits") && !kept.contains("days"), "nothing new is written: {kept}");
        // Which limit the earlier ones had is not known; that of the newest counts.
        assert_eq!(history.cpu(1_000, Some(4_000), &settings), 800);
        let usage = Usage { millicores: Some(990), cpu_limit: Some(1_000), mebibytes: Some(700) };
        history.used(usage, true);
        assert_eq!(history.cpu(1_000, Some(4_000), &settings), 1_500);
        history.ran_on(300.0, Timestamp::UNIX_EPOCH, Some(Day::Work));
        let learnt = Learnt::from(history);
        let text = serde_json::to_string(&learnt).unwrap();
        let back: Learnt = serde_json::from_str(&text).unwrap();
        assert!(back == learnt && back.is_sound() && !back.history.days.is_empty());
    }

    #[test]
    fn a_new_job_leans_on_its_kind_and_its_tenant() {
        let level = |values: &[f64]| {
            let mut level = Level::default();
            for value in values {
                level.push(*value);
            }
            level
        };
        let nothing = Level::default();
        assert_eq!(run_time(&nothing, &nothing, &nothing, 1.645), None);
        let kind = level(&[400.0_f64.ln(); 30]);
        let plain = run_time(&nothing, &kind, &nothing, 1.645).unwrap();
        assert!((plain.median - 400.0).abs() < 1.0 && plain.quantile > 550.0);
        // Its tenant's other runs took twice as long as their kinds.
        let large = level(&[2.0_f64.ln(); 9]);
        assert!(run_time(&nothing, &kind, &large, 1.645).unwrap().median > 700.0);
        let own = level(&[100.0_f64.ln(); 50]);
        assert!((run_time(&own, &kind, &large, 1.645).unwrap().median - 100.0).abs() < 10.0);
    }

    #[test]
    fn what_cannot_have_been_learnt_is_told_from_what_can() {
        let mut history = JobHistory::default();
        history.ran(300.0);
        history.used(Usage { millicores: Some(640), ..peak(700) }, true);
        history.failures.push(Some(0.4));
        let learnt = Learnt::from(history);
        assert!(learnt.is_sound() && !learnt.is_empty() && Learnt::default().is_sound());
        let wrong: [fn(&mut Learnt); 9] = [
            |learnt| learnt.history.run_time.mean = f64::NAN,
            |learnt| learnt.program.run_time.mean = 1e9,
            |learnt| learnt.pace.variance = -1.0,
            |learnt| learnt.history.peaks = (0..21).collect(),
            |learnt| learnt.history.cpu = VecDeque::from([u64::MAX]),
            |learnt| learnt.history.cpu_limits = (0..21).collect(),
            |learnt| learnt.history.at_least = Some(u64::MAX),
            |learnt| learnt.history.failures.failed = 9,
            |learnt| learnt.program.failures = Failures { tries: 1, failed: 1, passed: f64::INFINITY },
        ];
        for (place, wrong) in wrong.iter().enumerate() {
            let mut learnt = learnt.clone();
            wrong(&mut learnt);
            assert!(!learnt.is_sound(), "{place}: {learnt:?}");
        }
    }

    #[test]
    fn failures_give_their_chance_and_how_far_tries_had_come_and_old_ones_fade() {
        let mut failures = Failures::default();
        assert!(failures.chance().abs() < f64::EPSILON, "nothing seen, nothing feared");
        (0..98).for_each(|_| failures.push(None));
        failures.push(Some(0.4));
        // One that hung counts as a whole run.
        failures.push(Some(30.0));
        assert!((failures.chance() - 0.02).abs() < 1e-9);
        assert!((failures.passed() - 0.7).abs() < 1e-9);
        (0..100_000).for_each(|_| failures.push(None));
        assert!(failures.chance() < 0.000_1, "the program was mended");
    }
}
