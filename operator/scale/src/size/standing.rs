//! Right size of what runs all the time: the CPU and memory that each of its pods should ask for, from what the busiest one
//! used in each minute.
//!
//! CPU is the 95th percentile and a margin, or half as much again as the limit where that percentile is nearly the limit;
//! memory the most that was seen, or what its growth of the last hours leads to, and a margin; twice the limit for a day after
//! a kill for want of memory. Minutes of CPU are kept in buckets that grow exponentially and whose weight halves each day, as
//! the recommender of the Vertical Pod Autoscaler keeps them (kubernetes/autoscaler, `vertical-pod-autoscaler/pkg/recommender`:
//! `util/decaying_histogram.go`, `model/aggregations_config.go`); memory as the peaks of the hours of a week. So a workload
//! takes about 3 kB, however long it is watched.

use super::{CpuSettings, STEP_MEBIBYTES, after_kill, after_throttling, growing};
use homeostat_knowledge::forecast::{Need, PodAdvice};
use homeostat_knowledge::policy::Bounds;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

mod kept;

pub use kept::KeptPod;

/// First bucket, in cores, and how much wider each is than the one before.
const FIRST_CORES: f64 = 0.01;
const RATIO: f64 = 1.05;
/// Buckets, up to about a thousand cores; what is beyond counts in the last.
const BUCKETS: usize = 176;
/// The weight of a minute halves in so many minutes.
const HALF_LIFE: f64 = 1_440.0;
/// Exponent of a weight above which all are made smaller, so that none overflows.
const MOST_EXPONENT: f64 = 60.0;
/// Quantile of the minutes whose CPU a pod asks for.
const QUANTILE: f64 = 0.95;
/// Added to what was used, as a share.
const MARGIN: f64 = 0.15;
/// Requests of CPU are multiples of this, in thousandths of a core.
const STEP_MILLICORES: u64 = 10;
/// Minutes before anything is said, and before less is.
const LEAST: u32 = 60;
const DAY: u32 = 1_440;
/// Hours whose peaks are kept.
const HOURS: i64 = 168;
/// Growth of memory is followed so many hours ahead.
const HOURS_AHEAD: u32 = 2;
const MEBIBYTE: u64 = 1 << 20;
/// Larger than any node: a value beyond is a slip of units.
const MOST_CORES: f64 = 100_000.0;
const MOST_BYTES: f64 = 1e16;

/// What was seen at one moment; `None`: not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Glance {
    /// Cores that the busiest pod uses.
    pub cores: Option<f64>,
    /// Bytes that the fullest pod uses.
    pub bytes: Option<f64>,
}

/// A container was killed for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// Minute since 1970.
    pub minute: i64,
    /// The limit that ended it, in bytes.
    pub limit: u64,
}

/// Between what people let a pod ask; `None`: nothing is said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Thousandths of a core.
    pub cpu: Option<Bounds>,
    /// Bytes.
    pub memory: Option<Bounds>,
}

/// What the busiest pod of one workload used over time.
#[derive(Clone, Debug, Default)]
pub struct History {
    cpu: Minutes,
    memory: Minutes,
    histogram: Histogram,
    /// Peaks of hours, in MiB, oldest first: hour since 1970 and peak.
    peaks: VecDeque<(i64, u64)>,
    killed: Option<Kill>,
    /// The lowest limit of CPU that one of its pods has now, in thousandths of a core.
    cpu_limit: Option<u64>,
    /// Minute in which that was last seen to be in the way.
    throttled: Option<i64>,
}

/// The minute that is not over yet, and how many were seen.
#[derive(Clone, Copy, Debug, Default)]
struct Minutes {
    seen: u32,
    open: Option<(i64, f64)>,
    /// Newest value; `None` when it was not seen last.
    now: Option<f64>,
}

impl Minutes {
    /// Takes a value, and gives the minute that is over by it with its highest value.
    fn take(&mut self, minute: i64, value: Option<f64>) -> Option<(i64, f64)> {
        self.now = value;
        let over = self.open.filter(|(open, _)| *open < minute);
        if over.is_some() {
            self.open = None;
            self.seen = self.seen.saturating_add(1);
        }
        if let Some(value) = value {
            let (at, most) = self.open.unwrap_or((minute, value));
            self.open = Some((at, most.max(value)));
        }
        over
    }
}

impl History {
    /// Looks once more, several times a minute; minutes count by their highest value. What is no amount is not seen.
    pub fn look(&mut self, minute: i64, glance: Glance) {
        let sound = |value: Option<f64>, most: f64| value.filter(|value| (0.0..=most).contains(value));
        if let Some((minute, cores)) = self.cpu.take(minute, sound(glance.cores, MOST_CORES)) {
            self.histogram.add(minute, cores);
        }
        let bytes = sound(glance.bytes, MOST_BYTES);
        self.memory.take(minute, bytes);
        let hour = minute.div_euclid(60);
        while self.peaks.front().is_some_and(|(of, _)| hour.saturating_sub(*of) >= HOURS) {
            self.peaks.pop_front();
        }
        let Some(mebibytes) = bytes.map(|bytes| (bytes / MEBIBYTE as f64).ceil() as u64) else { return };
        match self.peaks.back_mut() {
            Some((of, most)) if *of >= hour => *most = mebibytes.max(*most),
            _ => self.peaks.push_back((hour, mebibytes)),
        }
    }

    /// Takes a kill for want of memory; of several the newest counts, of one minute the largest limit.
    pub fn killed(&mut self, kill: Kill) {
        let older = |known: Kill| (known.minute, known.limit) < (kill.minute, kill.limit);
        if self.killed.is_none_or(older) {
            self.killed = Some(kill);
        }
    }

    /// Takes the limit of CPU that the pods have now, in thousandths of a core, the lowest where they differ: what was used was
    /// kept below it. `None`: none has one.
    pub fn limited(&mut self, minute: i64, cpu_limit: Option<u64>) {
        self.cpu_limit = cpu_limit;
        if self.usual().is_some_and(|usual| self.near_limit(usual).is_some()) {
            self.throttled = Some(minute);
        }
    }

    /// What each pod should ask for, with the reason. Pure.
    pub fn advise(&self, minute: i64, allowed: Allowed) -> PodAdvice {
        let killed = self.killed.filter(|kill| minute.saturating_sub(kill.minute) < i64::from(DAY));
        let mut why = Vec::new();
        // What was used while a limit was in the way was kept low by it.
        let kept_low = self.throttled.is_some_and(|last| minute.saturating_sub(last) < i64::from(DAY));
        let mut need = |name: &str, bounds: Option<Bounds>, seen: bool, of: Result<Asked, String>| {
            let bounds = bounds?;
            let asked = match of {
                _ if bounds.min > bounds.max => {
                    why.push(format!("{name}: spec.scaling.resources.{name} has min above max"));
                    return None;
                }
                Err(early) => {
                    why.push(format!("{name}: {early}"));
                    return None;
                }
                Ok(asked) => asked,
            };
            let falls = seen && killed.is_none();
            let request = asked.amount.clamp(bounds.min, bounds.max);
            let bound = if request == asked.amount { "" } else { ", as its bounds allow" };
            why.push(format!("{name}: {}{bound}", asked.why));
            Some(Need { request, used: asked.used, falls })
        };
        let cpu = need("cpu", allowed.cpu, self.cpu.seen >= DAY && !kept_low, self.cores());
        let memory = need("memory", allowed.memory, self.memory.seen >= DAY, self.mebibytes(minute, killed));
        PodAdvice { cpu, memory, why: why.join("; "), done: None }
    }

    fn cores(&self) -> Result<Asked, String> {
        let now = seen(&self.cpu)?;
        let usual = self.usual().ok_or_else(|| early(&self.cpu))?;
        let (amount, by) = match self.near_limit(usual) {
            Some((limit, next)) => (next, format!(", near its limit of {limit}m: half as much again")),
            None => (with_margin(usual), ", and 15 %".to_owned()),
        };
        let minutes = self.cpu.seen;
        let why = format!("{amount}m, by {usual:.3} cores as the 95th percentile of {minutes} min{by}");
        Ok(Asked { amount, used: (now * 1_000.0).ceil() as u64, why })
    }

    /// The 95th percentile, in cores; `None` before a minute was seen.
    fn usual(&self) -> Option<f64> {
        self.histogram.quantile(QUANTILE)
    }

    /// The limit that so much is near to, and what is needed then, where that is more than it and a margin. The end of a bucket
    /// counts as what is used: this may be said a twentieth and a hundredth of a core early, and never late.
    fn near_limit(&self, usual: f64) -> Option<(u64, u64)> {
        let limit = self.cpu_limit.filter(|limit| *limit > 0)?;
        let next = stepped(after_throttling((usual * 1_000.0) as u64, limit, &CpuSettings::default())?);
        (next > with_margin(usual)).then_some((limit, next))
    }

    fn mebibytes(&self, minute: i64, killed: Option<Kill>) -> Result<Asked, String> {
        let after = killed.map(|kill| after_kill(kill.limit).div_ceil(MEBIBYTE));
        let now = match (seen(&self.memory), after) {
            (Ok(now), _) => now,
            // A kill says enough.
            (Err(_), Some(_)) => self.memory.now.unwrap_or(0.0),
            (Err(early), None) => return Err(early),
        };
        let most = self.peaks.iter().map(|(_, peak)| *peak).max().unwrap_or(0);
        // The present hour is not over, and hours that were not seen are no growth.
        let hour = minute.div_euclid(60);
        let over = self.peaks.iter().rev().filter(|(of, _)| *of < hour);
        let in_a_row = over.zip(1..).take_while(|((of, _), back)| hour - of == *back);
        let mut last: VecDeque<u64> = in_a_row.map(|((_, peak), _)| *peak).take(4).collect();
        last.make_contiguous().reverse();
        let grown = growing(&last).map_or(0, |growth| growth.after(HOURS_AHEAD));
        let margin = |mebibytes: u64| (mebibytes as f64 * (1.0 + MARGIN)).ceil() as u64;
        let (mebibytes, by) = match after {
            Some(after) if after > margin(most.max(grown)) => {
                (after, "twice the limit at which a container was killed".to_owned())
            }
            _ if grown > most => {
                (margin(grown), format!("growth of the last hours to {grown} MiB, and 15 %"))
            }
            _ => (margin(most), format!("{most} MiB at most in {} min, and 15 %", self.memory.seen)),
        };
        let stepped = mebibytes.div_ceil(STEP_MEBIBYTES).max(1).saturating_mul(STEP_MEBIBYTES);
        let why = format!("{stepped} MiB, by {by}");
        Ok(Asked { amount: stepped.saturating_mul(MEBIBYTE), used: now.ceil() as u64, why })
    }
}

/// In thousandths of a core, of so many cores.
fn with_margin(cores: f64) -> u64 {
    stepped((cores * (1.0 + MARGIN) * 1_000.0).ceil() as u64)
}

fn stepped(millis: u64) -> u64 {
    millis.div_ceil(STEP_MILLICORES).max(1).saturating_mul(STEP_MILLICORES)
}

/// What one resource comes to, before bounds.
struct Asked {
    amount: u64,
    used: u64,
    why: String,
}

/// The present value, when enough was seen for saying anything.
fn seen(minutes: &Minutes) -> Result<f64, String> {
    match minutes.now {
        None => {
            Err("its signal is not seen, so nothing is changed; check its promql and its source".to_owned())
        }
        Some(_) if minutes.seen < LEAST => Err(early(minutes)),
        Some(now) => Ok(now),
    }
}

fn early(minutes: &Minutes) -> String {
    format!("{} of {LEAST} min seen", minutes.seen)
}

/// Values by size, the newer the heavier.
#[derive(Clone, Debug, Default)]
struct Histogram {
    weights: Vec<f32>,
    /// The minute whose weight is 1.
    reference: i64,
}

impl Histogram {
    fn add(&mut self, minute: i64, value: f64) {
        if self.weights.is_empty() {
            self.weights = vec![0.0; BUCKETS];
            self.reference = minute;
        }
        let exponent = minute.saturating_sub(self.reference) as f64 / HALF_LIFE;
        if exponent > MOST_EXPONENT {
            let smaller = (-exponent).exp2() as f32;
            self.weights.iter_mut().for_each(|weight| *weight *= smaller);
            self.reference = minute;
        }
        let exponent = minute.saturating_sub(self.reference) as f64 / HALF_LIFE;
        let bucket = ((value * (RATIO - 1.0) / FIRST_CORES + 1.0).ln() / RATIO.ln()) as usize;
        if let Some(weight) = self.weights.get_mut(bucket.min(BUCKETS - 1)) {
            *weight += exponent.exp2() as f32;
        }
    }

    /// The upper end of the bucket in which the quantile lies: at most a twentieth above it, or a hundredth of a core.
    fn quantile(&self, quantile: f64) -> Option<f64> {
        let all: f64 = self.weights.iter().map(|weight| f64::from(*weight)).sum();
        if all <= 0.0 {
            return None;
        }
        let mut below = 0.0;
        let bucket = self.weights.iter().position(|weight| {
            below += f64::from(*weight);
            below >= quantile * all
        })?;
        Some(FIRST_CORES * (RATIO.powf(bucket as f64 + 1.0) - 1.0) / (RATIO - 1.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn wide() -> Allowed {
        Allowed {
            cpu: Some(Bounds { min: 10, max: 8_000 }),
            memory: Some(Bounds { min: 16 * MEBIBYTE, max: 65_536 * MEBIBYTE }),
        }
    }

    fn glance(cores: f64, mebibytes: f64) -> Glance {
        Glance { cores: Some(cores), bytes: Some(mebibytes * MIB) }
    }

    /// So many minutes of this, four looks a minute.
    fn minutes(history: &mut History, of: std::ops::Range<i64>, used: impl Fn(i64) -> Glance) {
        for minute in of {
            (0..4).for_each(|_| history.look(minute, used(minute)));
        }
    }

    fn mebibytes(advice: &PodAdvice) -> u64 {
        advice.memory.unwrap().request / MEBIBYTE
    }

    #[test]
    fn flat_use_asks_for_itself_with_a_margin_after_an_hour_and_may_fall_after_a_day() {
        let mut history = History::default();
        minutes(&mut history, 0..60, |_| glance(0.4, 300.0));
        let early = history.advise(59, wide());
        assert_eq!((early.cpu, early.memory), (None, None));
        assert!(early.why.contains("59 of 60 min"), "{}", early.why);
        minutes(&mut history, 60..120, |_| glance(0.4, 300.0));
        let hour = history.advise(119, wide());
        // 0.46 cores and 345 MiB, in buckets of 5 % and steps of 16 MiB.
        assert!((460..=490).contains(&hour.cpu.unwrap().request), "{hour:?}");
        assert_eq!((mebibytes(&hour), hour.memory.unwrap().falls), (352, false));
        assert!(hour.why.contains("95th percentile") && hour.why.contains("300 MiB at most"), "{}", hour.why);
        minutes(&mut history, 120..1_500, |_| glance(0.4, 300.0));
        let day = history.advise(1_499, wide());
        assert!(day.cpu.unwrap().falls && day.memory.unwrap().falls);
        assert_eq!(day.cpu.unwrap().used, 400);
    }

    #[test]
    fn who_uses_nearly_its_limit_of_cpu_needs_half_as_much_again_as_nobody_saw_what_it_would_use() {
        let mut history = History::default();
        minutes(&mut history, 0..120, |_| glance(0.5, 300.0));
        let mut asked = |limit: Option<u64>, max: u64| {
            history.limited(119, limit);
            let allowed = Allowed { cpu: Some(Bounds { min: 10, max }), ..Allowed::default() };
            let advice = history.advise(119, allowed);
            (advice.cpu.unwrap().request, advice.why)
        };
        // 0.5 cores, in a bucket that ends within a twentieth above it, and 15 %.
        for limit in [None, Some(0), Some(560), Some(4_000)] {
            let (request, why) = asked(limit, 8_000);
            assert!((580..=610).contains(&request) && why.ends_with("15 %"), "{limit:?}: {why}");
        }
        for (limit, expected) in [(500, 750), (495, 750), (450, 680)] {
            let (request, why) = asked(Some(limit), 8_000);
            assert_eq!(request, expected, "{limit}: {why}");
            assert!(why.contains(&format!("near its limit of {limit}m: half as much again")), "{why}");
        }
        // With a limit far below, as that of new pods, what others were seen to use counts.
        assert!((580..=610).contains(&asked(Some(100), 8_000).0));
        let (request, why) = asked(Some(500), 600);
        assert_eq!(request, 600, "as far as people allow it: {why}");
    }

    #[test]
    fn after_a_limit_of_cpu_was_in_the_way_less_is_asked_for_a_day_later_at_the_earliest() {
        let mut history = History::default();
        minutes(&mut history, 0..1_500, |_| glance(0.5, 300.0));
        let falls = |history: &History, minute| {
            let advice = history.advise(minute, wide());
            (advice.cpu.unwrap().falls, advice.memory.unwrap().falls)
        };
        for (minute, limit) in [(1_480, None), (1_485, Some(4_000)), (1_490, Some(100)), (1_491, None)] {
            history.limited(minute, limit);
            assert_eq!(falls(&history, minute), (true, true), "{limit:?} is not near what is used");
        }
        history.limited(1_499, Some(500));
        for (minute, limit) in [(1_500, Some(750)), (1_501, None)] {
            history.limited(minute, limit);
            assert_eq!(falls(&history, minute), (false, true), "what was used before it was kept low");
        }
        assert_eq!(falls(&history, 1_499 + 1_439), (false, true));
        assert_eq!(falls(&history, 1_499 + 1_440), (true, true));
    }

    #[test]
    fn a_burst_counts_for_memory_and_not_for_cpu() {
        let mut history = History::default();
        let burst = |minute| if minute % 100 == 7 { glance(3.0, 900.0) } else { glance(0.2, 300.0) };
        minutes(&mut history, 0..1_500, burst);
        let advice = history.advise(1_499, wide());
        assert!(advice.cpu.unwrap().request <= 250, "one minute of a hundred: {advice:?}");
        assert_eq!(mebibytes(&advice), 1_040, "memory that is missing once kills");
        // A week without it, and it is forgotten.
        minutes(&mut history, 1_500..1_500 + 169 * 60, |_| glance(0.2, 300.0));
        assert_eq!(mebibytes(&history.advise(1_500 + 169 * 60, wide())), 352);
    }

    #[test]
    fn a_load_that_became_another_is_followed_within_days() {
        let mut history = History::default();
        minutes(&mut history, 0..4 * 1_440, |_| glance(2.0, 300.0));
        minutes(&mut history, 4 * 1_440..9 * 1_440, |_| glance(0.2, 300.0));
        assert!(history.advise(9 * 1_440, wide()).cpu.unwrap().request <= 250);
        // Weights that would overflow are made smaller.
        minutes(&mut history, 90 * 1_440..90 * 1_440 + 120, |_| glance(1.0, 300.0));
        let request = history.advise(90 * 1_440 + 119, wide()).cpu.unwrap().request;
        assert!((1_150..=1_250).contains(&request), "{request}");
    }

    #[test]
    fn growth_is_followed_two_hours_ahead() {
        let mut history = History::default();
        minutes(&mut history, 0..360, |minute| glance(0.1, 300.0 + minute as f64));
        let advice = history.advise(360, wide());
        // 659 in the last hour, 60 or an eighth more in each: 779 to 834 in two hours.
        assert!((896..=976).contains(&mebibytes(&advice)), "{}", advice.why);
        assert!(advice.why.contains("growth"), "{}", advice.why);
        let (still, next) = (glance(0.1, 500.0), 360..720);
        minutes(&mut history, next, |_| still);
        assert!(!history.advise(719, wide()).why.contains("growth"));
    }

    #[test]
    fn a_kill_doubles_the_limit_for_a_day_in_which_nothing_falls() {
        let mut history = History::default();
        minutes(&mut history, 0..1_500, |_| glance(0.1, 300.0));
        history.killed(Kill { minute: 1_490, limit: 400 * MEBIBYTE });
        history.killed(Kill { minute: 100, limit: 4_000 * MEBIBYTE });
        let advice = history.advise(1_499, wide());
        assert_eq!(mebibytes(&advice), 800, "the newest: {}", advice.why);
        assert!(!advice.memory.unwrap().falls && !advice.cpu.unwrap().falls);
        let later = history.advise(1_490 + 1_440, wide());
        assert_eq!((mebibytes(&later), later.memory.unwrap().falls), (352, true));
        let mut fresh = History::default();
        fresh.killed(Kill { minute: 0, limit: 400 * MEBIBYTE });
        assert_eq!(mebibytes(&fresh.advise(1, wide())), 800, "known without a history");
    }

    #[test]
    fn what_is_silent_or_no_amount_changes_nothing_and_says_so() {
        let mut history = History::default();
        minutes(&mut history, 0..1_500, |_| glance(0.4, 300.0));
        let before = history.advise(1_499, wide());
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1e30] {
            history.look(1_500, glance(bad, bad));
            let advice = history.advise(1_500, wide());
            assert_eq!((advice.cpu, advice.memory), (None, None), "{bad}");
            assert!(advice.why.contains("not seen"), "{}", advice.why);
        }
        history.look(1_500, Glance { cores: None, bytes: Some(300.0 * MIB) });
        let half = history.advise(1_500, wide());
        assert!(half.cpu.is_none() && half.memory.is_some(), "each for itself");
        history.look(1_501, glance(0.4, 300.0));
        assert_eq!(history.advise(1_501, wide()).memory, before.memory, "nothing was learnt of it");
    }

    #[test]
    fn bounds_hold_and_those_that_contradict_are_said() {
        let mut history = History::default();
        minutes(&mut history, 0..120, |_| glance(0.4, 300.0));
        let narrow = Allowed {
            cpu: Some(Bounds { min: 1_000, max: 2_000 }),
            memory: Some(Bounds { min: 2 * MEBIBYTE, max: MEBIBYTE }),
        };
        let advice = history.advise(120, narrow);
        assert_eq!(advice.cpu.map(|need| need.request), Some(1_000));
        assert!(advice.memory.is_none() && advice.why.contains("min above max"), "{}", advice.why);
        assert_eq!(history.advise(120, Allowed::default()), PodAdvice::default(), "no bounds, no word");
    }

    #[test]
    fn it_stays_small_however_long_it_runs() {
        let mut history = History::default();
        for minute in 0..60 * 24 * 40 {
            history.look(minute, glance(0.1, 300.0));
        }
        assert_eq!((history.peaks.len(), history.histogram.weights.len()), (168, BUCKETS));
    }
}
