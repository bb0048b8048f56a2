//! Signals that a workload names itself (PromQL): fixed limit where people gave one, else the streaming detector.

use homeostat_knowledge::{Evidence, Name, Observation, Signal, Snapshot, Timestamp, WorkloadKey};
use homeostat_models::detect::level::Direction;
use homeostat_models::detect::{SeriesConfig, SeriesDetector};
use std::collections::BTreeMap;

/// Series per signal; the rest is counted.
const MAX_SERIES_PER_WORKLOAD: usize = 64;
/// Usual points after which a signal is usual again.
const LEAVE_POINTS: u32 = 3;

#[derive(Debug)]
struct Series {
    detector: SeriesDetector,
    abnormal_since: Option<Timestamp>,
    last: f64,
    text: String,
    usual: Option<String>,
    over_limit: u32,
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
                leave_points: LEAVE_POINTS,
                ..SeriesConfig::default()
            }) else {
                return;
            };
            let empty = Series {
                detector,
                abnormal_since: None,
                last: 0.0,
                text: String::new(),
                usual: None,
                over_limit: 0,
            };
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
        series.over_limit = if over { series.over_limit.saturating_add(1) } else { 0 };
        // A limit that people set is believed at the second sample; otherwise the calibrated detector decides.
        let abnormal =
            if signal.threshold.is_some() { series.over_limit >= 2 } else { verdict.ready && verdict.alarm };
        series.last = sample.value;
        series.text = format!("{} {}", trim(sample.value), signal.unit);
        series.usual = match signal.threshold {
            Some(limit) => Some(format!("limit {}", trim(limit))),
            None => verdict.ready.then(|| format!("{} to {}", trim(verdict.usual.0), trim(verdict.usual.1))),
        };
        if abnormal {
            series.abnormal_since.get_or_insert(observation.event_time);
        } else {
            series.abnormal_since = None;
        }
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
                if let Some(from) = one.abnormal_since {
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

fn trim(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
