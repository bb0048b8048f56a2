//! Signals that a workload names itself (PromQL, or a metric of its own pods): fixed limit where people gave one, else the streaming detector.

use crate::growth::{Growth, Rule};
use homeostat_knowledge::policy::{Measures, SignalPolicy};
use homeostat_knowledge::{
    Evidence, FindingKind, Name, Observation, Signal, SignedDuration, Snapshot, Timestamp, WorkloadKey,
};
use homeostat_models::detect::{Direction, SeriesConfig, SeriesDetector, Unit};
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
/// Seconds until the end of a certificate that are too few where people set no limit: two weeks.
const CERTIFICATE_SECONDS: f64 = 14.0 * 86_400.0;
/// A sample says something of now for so long, or twice as long as samples are apart.
const FRESH: SignedDuration = SignedDuration::from_mins(2);
const FRESH_AT_MOST: SignedDuration = SignedDuration::from_mins(30);
/// A series that is silent for so long, while others of its signal go on, is gone: its pod was replaced.
const GONE_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// Usual samples in a row after which a signal is usual again.
const LEAVE_POINTS: u32 = 3;
/// The same where a limit lies hours ahead: people who look after it are not called off and on.
const LEAVE_POINTS_STORED: u32 = 10;
/// A backlog that went by this share from where it turned last goes the other way; less is a ripple.
const TURNS: f64 = 0.05;
/// Samples in a row without a new peak after which a backlog grows no more.
const STOPS: u32 = 2;
/// What new pods begin without.
const BEGINS_EMPTY: [Measures; 2] = [Measures::MemoryBytes, Measures::EphemeralStorageBytes];

#[derive(Debug)]
struct Series {
    detector: SeriesDetector,
    run: Run,
    text: String,
    usual: Option<String>,
    measures: Measures,
    /// Value at the first of the present bad samples, and whether it was exceeded since.
    first_bad: f64,
    grew: bool,
    course: Course,
    growth: Growth,
    /// When it reaches its limit at the earliest, as the newest sample says.
    reached: Option<Timestamp>,
    last: Timestamp,
    /// When the newest sample came here, and how long after the one before.
    heard: Timestamp,
    apart: SignedDuration,
    /// What people asked for: something else has another series.
    asked: SignalPolicy,
}

impl Series {
    fn new(signal: &SignalPolicy) -> Option<Self> {
        let above = signal.bad_above && signal.measures != Measures::CertificateSeconds;
        // What people did not say, a unit that is known says.
        let of_unit = || Unit::named(&signal.unit).map_or(0.0, Unit::minimum_effect);
        let detector = SeriesDetector::new(SeriesConfig {
            direction: if above { Direction::Above } else { Direction::Below },
            minimum_effect: signal.minimum_effect.unwrap_or_else(of_unit).max(0.0),
            ..SeriesConfig::default()
        });
        Some(Self {
            detector: detector.ok()?,
            run: Run::default(),
            text: String::new(),
            usual: None,
            measures: signal.measures,
            first_bad: 0.0,
            grew: false,
            course: Course::default(),
            growth: Growth::default(),
            reached: None,
            last: Timestamp::MIN,
            heard: Timestamp::MIN,
            apart: SignedDuration::ZERO,
            asked: signal.clone(),
        })
    }

    /// Whether it is still what people ask for; only the limit may change meanwhile.
    fn answers(&self, signal: &SignalPolicy) -> bool {
        let limits = |one: &SignalPolicy| SignalPolicy { threshold: None, ..one.clone() };
        self.asked == *signal || limits(&self.asked) == limits(signal)
    }

    fn hear(&mut self, arrival: Timestamp) {
        if self.heard != Timestamp::MIN {
            self.apart = arrival.duration_since(self.heard).max(SignedDuration::ZERO);
        }
        self.heard = self.heard.max(arrival);
    }

    /// When what it says was last seen: now, unless no sample came for too long.
    fn seen(&self, now: Timestamp) -> Timestamp {
        let fresh = (self.apart * 2).clamp(FRESH, FRESH_AT_MOST);
        if now.duration_since(self.heard) <= fresh { now } else { self.heard }
    }

    /// What the trouble is called.
    fn kind(&self) -> FindingKind {
        match self.measures {
            Measures::Backlog if self.grew => FindingKind::QueueGrowing,
            Measures::Backlog
            | Measures::Other
            | Measures::Load
            | Measures::CpuCores
            | Measures::Heartbeat => FindingKind::SignalAbnormal,
            Measures::MemoryBytes => FindingKind::MemoryGrowing,
            Measures::VolumeBytes => FindingKind::VolumeFilling,
            Measures::QuotaUsed => FindingKind::QuotaFilling,
            Measures::EphemeralStorageBytes => FindingKind::EphemeralStorageFilling,
            Measures::CertificateSeconds => FindingKind::CertificateExpiring,
        }
    }

    /// Whether a sample is bad, and the bad and good samples in a row that count.
    fn judge(
        &mut self,
        signal: &SignalPolicy,
        limits: Limits,
        at: Timestamp,
        value: f64,
    ) -> (bool, u32, u32) {
        let verdict = self.detector.observe(at.as_second(), value);
        self.usual = verdict.ready.then(|| format!("{} to {}", trim(verdict.usual.0), trim(verdict.usual.1)));
        match (signal.measures, signal.threshold) {
            // Much CPU is no trouble by itself, unless people say how much is.
            (Measures::Load | Measures::Heartbeat, _) | (Measures::CpuCores, None) => {
                (false, ENTER_POINTS, 1)
            }
            (Measures::CertificateSeconds, limit) => {
                let limit = limit.unwrap_or(CERTIFICATE_SECONDS);
                self.text = format!("{:.1} days left", value / 86_400.0);
                self.usual = Some(format!("limit {:.0} days", limit / 86_400.0));
                (value < limit, ENTER_POINTS_OVER_LIMIT, 1)
            }
            (
                Measures::MemoryBytes
                | Measures::VolumeBytes
                | Measures::QuotaUsed
                | Measures::EphemeralStorageBytes,
                limit,
            ) => {
                let Some(limit) = limit.or(limits.container) else { return (false, ENTER_POINTS, 1) };
                if signal.measures == Measures::EphemeralStorageBytes && limits.warming_up {
                    self.growth.emptied_by_new_pods(value, limit);
                }
                let soon = self.growth.observe(Rule::of(signal.measures), at, value, limit);
                self.usual = Some(format!("limit {} {}", trim(limit), signal.unit));
                if let Some(soon) = &soon {
                    self.text = format!("{}, {soon}", self.text);
                    let left = SignedDuration::try_from_secs_f64(soon.earliest.max(0.0)).unwrap_or_default();
                    self.reached = at.checked_add(left).ok();
                }
                let leave = if signal.measures.stored() { LEAVE_POINTS_STORED } else { LEAVE_POINTS };
                (soon.is_some(), ENTER_POINTS, leave)
            }
            // A limit that people set is believed sooner, and over at once; otherwise the calibrated detector decides.
            (Measures::Other | Measures::Backlog | Measures::CpuCores, Some(limit)) => {
                self.usual = Some(format!("limit {}", trim(limit)));
                let over = if signal.bad_above { value > limit } else { value < limit };
                (over, ENTER_POINTS_OVER_LIMIT, 1)
            }
            (Measures::Other | Measures::Backlog, None) => {
                // What the detector's slower channels still remember of a short peak is no bad sample: the value
                // itself must be out.
                let out = if signal.bad_above { value > verdict.usual.1 } else { value < verdict.usual.0 };
                let unusual = verdict.ready && verdict.alarm && out;
                let enter =
                    if unusual && limits.warming_up { ENTER_POINTS_AFTER_ROLLOUT } else { ENTER_POINTS };
                (unusual, enter, LEAVE_POINTS)
            }
        }
    }
}

/// What the cluster says beside the samples.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Limit of the container for what is measured, where its pods have one.
    container: Option<f64>,
    /// New pods of a rollout are about.
    warming_up: bool,
}

/// Which way a backlog goes since it is found.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    falls: bool,
    /// The highest value of a rise, the lowest of a fall.
    turn: f64,
    /// Samples of a rise since its highest one.
    below: u32,
}

impl Course {
    fn observe(&mut self, value: f64) {
        let (falls, turn) = (self.falls, self.turn);
        self.below = if falls || value > turn { 0 } else { self.below.saturating_add(1) };
        let turned = if falls { value >= turn * (1.0 + TURNS) } else { value <= turn * (1.0 - TURNS) };
        if turned {
            *self = Self { falls: !falls, turn: value, below: 0 };
        } else {
            self.turn = if falls { turn.min(value) } else { turn.max(value) };
        }
    }

    fn stopped(self) -> bool {
        self.falls || self.below >= STOPS
    }
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

/// Signals of a workload that are abnormal.
#[derive(Debug)]
pub struct Abnormal<'a> {
    /// The workload.
    pub workload: &'a WorkloadKey,
    /// What its trouble is called.
    pub kind: FindingKind,
    /// From its first bad sample on.
    pub since: Timestamp,
    /// Seen last.
    pub seen: Timestamp,
    /// A line for each series.
    pub evidence: Vec<Evidence>,
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
        if of_workload.get(&name).is_some_and(|series| !series.answers(signal)) {
            of_workload.remove(&name);
        }
        if !of_workload.contains_key(&name) {
            if of_workload.len() >= MAX_SERIES_PER_WORKLOAD {
                self.dropped += 1;
                return;
            }
            let Some(empty) = Series::new(signal) else { return };
            of_workload.insert(name.clone(), empty);
        }
        let Some(series) = of_workload.get_mut(&name) else { return };
        if !sample.value.is_finite() {
            return;
        }
        let at = observation.event_time;
        series.last = series.last.max(at);
        series.hear(observation.arrival_time);
        // What was said of the last sample that counts still holds.
        let grows = signal.measures == Measures::MemoryBytes || signal.measures.fills();
        if grows && !series.growth.due(Rule::of(signal.measures), at) {
            return;
        }
        series.text = format!("{} {}", trim(sample.value), signal.unit);
        let limits = Limits {
            container: if signal.threshold.is_none() && BEGINS_EMPTY.contains(&signal.measures) {
                container_limit(snapshot, key, signal.measures)
            } else {
                None
            },
            // A series with labels is one pod's own, and a new pod has a new one.
            warming_up: (!grows
                || signal.measures == Measures::EphemeralStorageBytes && sample.series.is_empty())
                && warming_up(snapshot, key, at),
        };
        let (bad, enter, leave) = series.judge(signal, limits, at, sample.value);
        if bad && series.run.bad_since.is_none() {
            series.first_bad = sample.value;
        }
        series.run.observe(bad, at, enter, leave);
        if series.run.abnormal_since.is_none() {
            series.grew = false;
            series.course = Course { turn: sample.value, ..Course::default() };
            return;
        }
        series.grew |= sample.value > series.first_bad;
        series.course.observe(sample.value);
    }

    /// Forgets workloads and signals that are gone, and series that others of the same signal outlived.
    pub fn expire(&mut self, snapshot: &Snapshot) {
        self.series.retain(|key, of_workload| {
            let Some(policy) = snapshot.workloads.get(key) else { return false };
            let mut newest: BTreeMap<Name, Timestamp> = BTreeMap::new();
            for ((name, _), series) in of_workload.iter() {
                let known = newest.entry(name.clone()).or_insert(series.last);
                *known = series.last.max(*known);
            }
            of_workload.retain(|(name, _), series| {
                let asked = policy.signals.iter().any(|signal| signal.name == *name);
                asked
                    && newest.get(name).is_none_or(|newest| newest.duration_since(series.last) <= GONE_AFTER)
            });
            true
        });
    }

    /// When what new pods begin without reaches its limit at the earliest, by workload and finding: of what grows, the series
    /// that is first.
    pub fn limits(&self) -> impl Iterator<Item = (&WorkloadKey, FindingKind, Timestamp)> {
        let all = self.series.iter().flat_map(|(key, series)| BEGINS_EMPTY.map(|one| (key, series, one)));
        all.filter_map(|(key, series, measures)| {
            let own = series.values().filter(|one| one.measures == measures);
            let growing = own.filter(|one| one.run.abnormal_since.is_some());
            let first = growing.filter_map(|one| Some((one.reached?, one.kind()))).min()?;
            Some((key, first.1, first.0))
        })
    }

    /// Whether the backlog of a workload that is found to grow gets smaller: each of its series, by samples of now.
    pub fn backlog_falls(&self, workload: &WorkloadKey, now: Timestamp) -> bool {
        self.backlog(workload, now, |course| course.falls)
    }

    /// Whether the backlog of a workload that is found to grow grows no more: each of its series, by samples of now.
    pub fn backlog_stopped(&self, workload: &WorkloadKey, now: Timestamp) -> bool {
        self.backlog(workload, now, Course::stopped)
    }

    fn backlog(&self, workload: &WorkloadKey, now: Timestamp, goes: impl Fn(Course) -> bool) -> bool {
        let Some(series) = self.series.get(workload) else { return false };
        let grows =
            |one: &&Series| one.run.abnormal_since.is_some() && one.kind() == FindingKind::QueueGrowing;
        let mut growing = series.values().filter(grows).peekable();
        growing.peek().is_some()
            && growing.all(|one| one.asked.bad_above && goes(one.course) && one.seen(now) == now)
    }

    /// Workloads with abnormal signals. What is silent since stays abnormal, as of its last sample.
    pub fn abnormal(&self, now: Timestamp) -> impl Iterator<Item = Abnormal<'_>> {
        self.series.iter().flat_map(move |(workload, series)| {
            let mut kinds: BTreeMap<FindingKind, Abnormal<'_>> = BTreeMap::new();
            for ((name, _), one) in series {
                let Some(from) = one.run.abnormal_since else { continue };
                let line = Evidence::new(name.to_string(), one.text.clone());
                let line = match &one.usual {
                    Some(usual) => line.usual(usual.clone()),
                    None => line,
                };
                let (kind, seen) = (one.kind(), one.seen(now));
                let evidence = Vec::new();
                let found =
                    kinds.entry(kind).or_insert(Abnormal { workload, kind, since: from, seen, evidence });
                found.since = from.min(found.since);
                found.seen = seen.max(found.seen);
                found.evidence.push(line);
            }
            kinds.into_values()
        })
    }
}

/// Limit that the pods have for what is measured.
fn container_limit(snapshot: &Snapshot, key: &WorkloadKey, measures: Measures) -> Option<f64> {
    let permits = &snapshot.workloads.get(key)?.permits;
    snapshot.pods_of(key).find_map(|pod| permits.limit_of(pod, measures)).map(|bytes| bytes as f64)
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
    fn a_backlog_falls_from_a_twentieth_below_its_peak_on_until_it_rises_as_much() {
        let mut course = Course { turn: 100.0, ..Course::default() };
        let values = [110.0, 200.0, 192.0, 189.0, 150.0, 155.0, 158.0, 300.0];
        let falls = values.map(|value| {
            course.observe(value);
            course.falls
        });
        assert_eq!(falls, [false, false, false, true, true, true, false, false]);
    }

    #[test]
    fn a_backlog_grows_no_more_after_two_samples_without_a_new_peak() {
        let mut course = Course { turn: 10_000.0, ..Course::default() };
        let values = [10_200.0, 10_150.0, 10_400.0, 10_390.0, 10_310.0, 10_230.0, 10_500.0];
        let stopped = values.map(|value| {
            course.observe(value);
            (course.stopped(), course.falls)
        });
        assert!(stopped.iter().all(|(_, falls)| !falls), "no twentieth below the peak");
        assert_eq!(stopped.map(|(stopped, _)| stopped), [false, false, false, false, true, true, false]);
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
