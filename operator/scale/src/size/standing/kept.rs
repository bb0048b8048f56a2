//! What pods used, in less than a kilobyte and a half, so that a restart neither forgets the peaks of a week nor makes
//! people wait a day until something may become smaller.

use super::{BUCKETS, HOURS, Histogram, History, Kill, MOST_BYTES, Minutes};
use crate::letters;
use serde::{Deserialize, Serialize};

/// The form in which it is written.
const FORMAT: u32 = 1;
/// The largest weight; steps are even in the square root.
const LARGEST: u32 = 4_094;
/// The largest peak in its unit; one more stands for an hour that was not seen.
const HIGHEST: u32 = 262_142;
const UNSEEN: u32 = 262_143;
/// Minutes seen beyond this say nothing more.
const MOST_SEEN: u32 = 1_000_000;

/// What is kept of a [`History`]: less than 1.5 kB as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptPod {
    /// Another number is another form, and says nothing to this version.
    format: u32,
    /// Minutes seen of CPU and of memory.
    seen: [u32; 2],
    /// The minute whose weight is 1.
    reference: i64,
    /// What the largest weight stands for.
    most: f32,
    /// Weights of the buckets, two letters each.
    weights: String,
    /// Hour since 1970 of the first peak.
    hour: i64,
    /// MiB of one step of a peak.
    unit: u64,
    /// Peaks of the hours, three letters each.
    peaks: String,
    /// The newest kill for want of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    killed: Option<Kill>,
    /// When a limit of CPU was last in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    throttled: Option<i64>,
}

impl History {
    /// What is kept; `None` before a minute was seen and without a kill.
    pub fn kept(&self) -> Option<KeptPod> {
        let seen = [self.cpu.seen, self.memory.seen];
        if seen == [0, 0] && self.killed.is_none() {
            return None;
        }
        let most = self.histogram.weights.iter().copied().fold(0.0, f32::max);
        let step = |weight: &f32| (f64::from(*weight / most).sqrt() * f64::from(LARGEST)).round() as u32;
        let weights = self.histogram.weights.iter().filter(|_| most > 0.0 && most.is_finite());
        let weights = weights.map(step).flat_map(|step| letters::write(step, 2)).collect();
        let highest = self.peaks.iter().map(|(_, peak)| *peak).max().unwrap_or(0);
        let unit = highest.div_ceil(u64::from(HIGHEST)).max(1);
        let first = self.peaks.front().map_or(0, |(hour, _)| *hour);
        let mut peaks = String::new();
        let mut next = first;
        for (hour, peak) in &self.peaks {
            while next < *hour {
                peaks.extend(letters::write(UNSEEN, 3));
                next += 1;
            }
            // Upwards: a peak must not come back smaller than it was.
            let steps = u32::try_from(peak.div_ceil(unit)).unwrap_or(HIGHEST).min(HIGHEST);
            peaks.extend(letters::write(steps, 3));
            next += 1;
        }
        let reference = self.histogram.reference;
        Some(KeptPod {
            format: FORMAT,
            seen,
            reference,
            most,
            weights,
            hour: first,
            unit,
            peaks,
            killed: self.killed,
            throttled: self.throttled,
        })
    }

    /// One that goes on from what was kept; `None` for another form, and for what cannot be.
    pub fn restored(kept: &KeptPod) -> Option<Self> {
        let sound = kept.format == FORMAT
            && kept.seen.iter().all(|seen| *seen <= MOST_SEEN)
            && kept.most.is_finite()
            && kept.most >= 0.0
            && (kept.weights.is_empty() || kept.weights.len() == 2 * BUCKETS)
            && kept.peaks.len() <= 3 * HOURS as usize
            && (1..=MOST_BYTES as u64).contains(&kept.unit)
            // Hours and minutes of no year that anybody lives in.
            && (0..=1 << 40).contains(&kept.hour)
            && (0..=1 << 40).contains(&kept.reference)
            && kept.throttled.is_none_or(|minute| (0..=1 << 40).contains(&minute))
            && kept.killed.is_none_or(|kill| (0..=1 << 40).contains(&kill.minute) && kill.limit <= MOST_BYTES as u64);
        if !sound {
            return None;
        }
        let weight = |pair: &[u8]| {
            let share = f64::from(letters::read(pair).min(LARGEST)) / f64::from(LARGEST);
            (f64::from(kept.most) * share * share) as f32
        };
        let weights = kept.weights.as_bytes().chunks_exact(2).map(weight).collect();
        let steps = kept.peaks.as_bytes().chunks_exact(3).map(letters::read);
        let peaks = (kept.hour..).zip(steps).filter(|(_, steps)| *steps != UNSEEN);
        let minutes = |seen| Minutes { seen, ..Minutes::default() };
        Some(Self {
            cpu: minutes(kept.seen[0]),
            memory: minutes(kept.seen[1]),
            histogram: Histogram { weights, reference: kept.reference },
            peaks: peaks.map(|(hour, steps)| (hour, u64::from(steps).saturating_mul(kept.unit))).collect(),
            killed: kept.killed,
            // Seen anew before anything is said.
            cpu_limit: None,
            throttled: kept.throttled,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::{Allowed, Glance};
    use super::*;
    use homeostat_knowledge::policy::Bounds;

    const MIB: f64 = 1_048_576.0;

    fn wide() -> Allowed {
        Allowed {
            cpu: Some(Bounds { min: 10, max: 8_000 }),
            memory: Some(Bounds { min: 1 << 24, max: 1 << 40 }),
        }
    }

    /// Nine days, one look a minute, the afternoons busier, some hours silent.
    fn taught() -> History {
        let mut history = History::default();
        for minute in 29_000_000..29_000_000 + 9 * 1_440_i64 {
            let busy = f64::from(u8::from(minute % 1_440 > 720));
            let seen = minute / 60 % 50 != 7;
            let cores = seen.then_some(0.3 + 1.1 * busy);
            history.look(minute, Glance { cores, bytes: seen.then_some((300.0 + 211.0 * busy) * MIB) });
        }
        history
    }

    #[test]
    fn after_a_restart_a_pod_asks_for_the_same_at_once_and_may_fall_as_before() {
        let minute = 29_000_000 + 9 * 1_440;
        for killed in [None, Some(Kill { minute: minute - 60, limit: 400 << 20 })] {
            let mut history = taught();
            if let Some(kill) = killed {
                history.killed(kill);
                // Near what it uses in the afternoons.
                history.limited(minute - 60, Some(1_400));
                history.limited(minute - 30, None);
            }
            let text = serde_json::to_string(&history.kept().unwrap()).unwrap();
            assert!(text.len() < 1_500, "{}", text.len());
            let mut back = History::restored(&serde_json::from_str(&text).unwrap()).unwrap();
            let now = Glance { cores: Some(0.5), bytes: Some(320.0 * MIB) };
            history.look(minute, now);
            back.look(minute, now);
            let (before, after) = (history.advise(minute, wide()), back.advise(minute, wide()));
            assert_eq!((before.cpu, before.memory), (after.cpu, after.memory));
            assert_eq!(after.memory.unwrap().falls, killed.is_none());
            let day_after = back.advise(minute - 60 + 1_440, wide()).cpu.unwrap();
            assert!(day_after.falls && after.cpu.unwrap().falls == killed.is_none());
        }
    }

    #[test]
    fn large_peaks_come_back_no_smaller_and_nothing_is_kept_of_nothing() {
        assert_eq!(History::default().kept(), None);
        let mut history = History::default();
        for minute in 0..70 {
            history.look(minute, Glance { cores: None, bytes: Some(1e15) });
        }
        let back = History::restored(&history.kept().unwrap()).unwrap();
        let most = |history: &History| history.peaks.iter().map(|(_, peak)| *peak).max().unwrap();
        assert!(most(&back) >= most(&history) && most(&back) < most(&history) + most(&history) / 1_000);
    }

    #[test]
    fn nonsense_and_another_form_restore_nothing() {
        let kept = taught().kept().unwrap();
        for wrong in [
            KeptPod { format: 2, ..kept.clone() },
            KeptPod { most: f32::NAN, ..kept.clone() },
            KeptPod { weights: "AA".to_owned(), ..kept.clone() },
            KeptPod { peaks: "AAA".repeat(169), ..kept.clone() },
            KeptPod { hour: i64::MAX, ..kept.clone() },
            KeptPod { unit: 0, ..kept.clone() },
            KeptPod { seen: [u32::MAX, 0], ..kept.clone() },
            KeptPod { throttled: Some(i64::MAX), ..kept.clone() },
            KeptPod { killed: Some(Kill { minute: 1, limit: u64::MAX }), ..kept },
        ] {
            assert!(History::restored(&wrong).is_none(), "{wrong:?}");
        }
    }
}
