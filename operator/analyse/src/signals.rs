//! Signals that a workload names itself (PromQL): fixed limit where people gave one, else the streaming detector.

use homeostat_knowledge::{
    Evidence, Name, Observation, Signal, SignedDuration, Snapshot, Timestamp, WorkloadKey,
};
use homeostat_models::detect::{Direction, SeriesConfig, SeriesDetector};
use std::collections::BTreeMap;

/// Series per signal; the rest is counted.
const MAX_SERIES_PER_WORKLOAD: usize = 64;
/// Unusual samples in a row that make a signal abnormal. One alone is told often enough by chance: at a sample a minute, with
/// a handful of signals each, it would call people to every workload several times a month. A fault stays.
const ENTER_POINTS: u32 = 3;
/// The same while new pods warm up: caches are empty, code is not compiled yet.
const ENTER_POINTS_AFTER_ROLLOUT: u32 = 6;
/// A pod warms up for so long.
const WARM_UP: SignedDuration = SignedDuration::from_mins(5);
/// Samples over a limit that people set, in a row.
const ENTER_POINTS_OVER_LIMIT: u32 = 2;
/// Usual samples in a row after which a signal is usual again.
const LEAVE_POINTS: u32 = 3;

#[derive(Debug)]
struct Series {
    detector: SeriesDetector,
    run: Run,
    text: String,
    usual: Option<String>,
}

/// When a series of good and bad samples is abnormal, with hysteresis.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    bad: u32,
    good: u32,
    /// First sample of the present bad ones.
    bad_since: Option<Timestamp>,
    abnormal_since: Option<Timestamp>,
}

impl Run {
    fn observe(&mut self, bad: bool, at: Timestamp, enter: u32, leave: u32) {
        if bad {
            self.bad = self.bad.saturating_add(1);
            self.good = 0;
            self.bad_since.get_or_insert(at);
            if self.abnormal_since.is_none() && self.bad >= enter {
                self.abnormal_since = self.bad_since;
            }
        } else {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
            self.bad_since = None;
            if self.good >= leave {
                self.abnormal_since = None;
            }
        }
    }
}

/// Named signals of all workloads.
#[derive(Debug, Default)]
pub struct Signals {
    series: BTreeMap<WorkloadKey, BTreeMap<(Name, Name), Series>>,
    /// Samples beyond the bound.
    pub dropped: u64,
}

impl Signals {
    /// Takes one observation; anything but samples that a workload asked for is ignored.
    pub fn ingest(&mut self, snapshot: &Snapshot, observation: &Observation) {
        let Signal::Sample(sample) = &observation.signal else { return };
        let Some(key) = &sample.asked_by else { return };
        let Some(policy) = snapshot.workloads.get(key) else { return };
        let Some(signal) = policy.signals.iter().find(|signal| signal.name == sample.metric) else { return };
        let of_workload = self.series.entry(key.clone()).or_default();
        let name = (sample.metric.clone(), sample.series.clone());
        if !of_workload.contains_key(&name) {
            if of_workload.len() >= MAX_SERIES_PER_WORKLOAD {
                self.dropped += 1;
                return;
            }
            let Ok(detector) = SeriesDetector::new(SeriesConfig {
                direction: if signal.bad_above { Direction::Above } else { Direction::Below },
                minimum_effect: signal.minimum_effect.unwrap_or(0.0).max(0.0),
                ..SeriesConfig::default()
            }) else {
                return;
            };
            let empty = Series { detector, run: Run::default(), text: String::new(), usual: None };
            of_workload.insert(name.clone(), empty);
        }
        let Some(series) = of_workload.get_mut(&name) else { return };
        if !sample.value.is_finite() {
            return;
        }
        let verdict = series.detector.observe(observation.event_time.as_second(), sample.value);
        let over = signal
            .threshold
            .is_some_and(|limit| if signal.bad_above { sample.value > limit } else { sample.value < limit });
        // What the detector's slower channels still remember of a short peak is no bad sample: the value itself must be out.
        let out =
            if signal.bad_above { sample.value > verdict.usual.1 } else { sample.value < verdict.usual.0 };
        let unusual = verdict.ready && verdict.alarm && out;
        // A limit that people set is believed sooner, and over at once; otherwise the calibrated detector decides.
        let (bad, enter, leave) = match signal.threshold {
            Some(_) => (over, ENTER_POINTS_OVER_LIMIT, 1),
            None if unusual && warming_up(snapshot, key, observation.event_time) => {
                (true, ENTER_POINTS_AFTER_ROLLOUT, LEAVE_POINTS)
            }
            None => (unusual, ENTER_POINTS, LEAVE_POINTS),
        };
        series.run.observe(bad, observation.event_time, enter, leave);
        series.text = format!("{} {}", trim(sample.value), signal.unit);
        series.usual = match signal.threshold {
            Some(limit) => Some(format!("limit {}", trim(limit))),
            None => verdict.ready.then(|| format!("{} to {}", trim(verdict.usual.0), trim(verdict.usual.1))),
        };
    }

    /// Forgets workloads that are gone.
    pub fn expire(&mut self, snapshot: &Snapshot) {
        self.series.retain(|key, _| snapshot.workloads.contains_key(key));
    }

    /// Workloads with abnormal signals: since when, and the evidence.
    pub fn abnormal(&self) -> impl Iterator<Item = (&WorkloadKey, Timestamp, Vec<Evidence>)> {
        self.series.iter().filter_map(|(key, series)| {
            let mut since: Option<Timestamp> = None;
            let mut evidence = Vec::new();
            for ((name, _), one) in series {
                if let Some(from) = one.run.abnormal_since {
                    since = Some(since.map_or(from, |known| known.min(from)));
                    let line = Evidence::new(name.to_string(), one.text.clone());
                    evidence.push(match &one.usual {
                        Some(usual) => line.usual(usual.clone()),
                        None => line,
                    });
                }
            }
            Some((key, since?, evidence))
        })
    }
}

/// New pods of a rollout are about.
fn warming_up(snapshot: &Snapshot, key: &WorkloadKey, now: Timestamp) -> bool {
    snapshot.controller_of(key).is_some_and(|controller| controller.rolling_out())
        || snapshot.pods_of(key).any(|pod| now.duration_since(pod.created) < WARM_UP)
}

fn trim(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_020 + 60 * minute).unwrap_or_default()
    }

    #[test]
    fn a_run_of_bad_samples_is_abnormal_from_its_first_on_and_single_ones_are_not() {
        let mut run = Run::default();
        let mut since = Vec::new();
        for (minute, bad) in
            (0..).zip([true, true, false, true, true, true, false, false, true, false, false, false])
        {
            run.observe(bad, at(minute), ENTER_POINTS, LEAVE_POINTS);
            since.push(run.abnormal_since);
        }
        assert!(since[..5].iter().all(Option::is_none));
        assert!(since[5..11].iter().all(|from| *from == Some(at(3))), "{since:?}");
        assert_eq!(since[11], None);
    }
}
