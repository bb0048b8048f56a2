//! Signals that pods send themselves: metrics of the workload's own pods, or of those of another one in its namespace,
//! combined across the pods, as if a query had been answered. What fills a queue tells of it while nobody works on it.
//!
//! A counter counts as its rate. Series of one pod add up. A pod that sent before, lives, and does not send any more makes a
//! sum unknown rather than smaller, for ten minutes: less must not be read where less is heard. While the newest of a series
//! is no number, or negative, that is the value of the load, which is not usable then.

use homeostat_knowledge::observation::Sample;
use homeostat_knowledge::policy::{Across, MetricPolicy};
use homeostat_knowledge::{
    Entity, Name, ObjectKey, Observation, Signal, SignedDuration, Snapshot, TenantName, Timestamp,
    WorkloadKey,
};
use homeostat_models::detect::counter::Counter;
use homeostat_observe::Shares;
use std::collections::BTreeMap;

/// Values are made so often, and judged so often: detectors are calibrated for a sample a minute.
const EVERY: SignedDuration = SignedDuration::from_secs(15);
const JUDGED: SignedDuration = SignedDuration::from_secs(60);
/// What was sent so long ago counts: exporters send once a minute by default, and not to the second.
const FRESH: SignedDuration = SignedDuration::from_secs(90);
/// A load counts for so long after its time, see [`crate::loads::age`].
const LOAD: SignedDuration = SignedDuration::from_secs(60);
/// A living pod that was silent for so long is not waited for any more.
const FORGET: SignedDuration = SignedDuration::from_mins(10);
/// Series that are kept in all, of which each tenant has its share, and of one signal.
const MOST: usize = 50_000;
const MOST_EACH: usize = 2_000;

/// What pods sent, by workload and signal.
#[derive(Debug)]
pub(super) struct Sent {
    signals: BTreeMap<(WorkloadKey, Name), Of>,
    /// By sender, the other workloads that have a signal of what it sends, and when they were looked for.
    others: BTreeMap<WorkloadKey, Vec<WorkloadKey>>,
    followed: Option<Timestamp>,
    shares: Shares,
    made: Option<Timestamp>,
    /// Samples beyond the bounds.
    pub dropped: u64,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            signals: BTreeMap::new(),
            others: BTreeMap::new(),
            followed: None,
            shares: Shares::new(MOST),
            made: None,
            dropped: 0,
        }
    }
}

/// What is known of one signal, by pod and series.
#[derive(Debug)]
struct Of {
    /// Whose share its series are in: the tenant that the workload belonged to when it was first heard.
    owner: Option<TenantName>,
    /// What was asked for.
    metric: MetricPolicy,
    points: BTreeMap<(ObjectKey, Name), Point>,
    judged: Option<Timestamp>,
}

/// The newest of one series.
#[derive(Debug)]
struct Point {
    counter: Counter,
    value: Option<f64>,
    at: Timestamp,
    /// Its own time, as the sender says.
    of: Timestamp,
    /// What is no number, while nothing newer is one, and when it arrived.
    wrong: Option<(f64, Timestamp)>,
}

/// The value of a signal.
#[derive(Debug, PartialEq)]
pub(super) struct Value {
    pub sample: Sample,
    /// Its time as that of a load: so that it is silent when what was sent is not fresh any more.
    pub at: Timestamp,
}

/// What was made of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub values: Vec<Value>,
    /// Those that it is time to judge.
    pub judged: Vec<Observation>,
}

impl Sent {
    /// Takes note of what a pod sent, where its workload, or another one that names it, has a signal of that name.
    pub fn note(&mut self, snapshot: &Snapshot, observation: &Observation, sample: &Sample) {
        let Entity::Pod { key: pod, workload: Some(sender), .. } = &observation.entity else { return };
        if sample.asked_by.is_some() {
            return;
        }
        self.follow(snapshot, observation.arrival_time);
        self.take(snapshot, sender, (sender, pod), observation, sample);
        for other in self.others.get(sender).cloned().unwrap_or_default() {
            self.take(snapshot, &other, (sender, pod), observation, sample);
        }
    }

    /// Looks, at most every 15 s, which workloads have signals that the pods of others send.
    fn follow(&mut self, snapshot: &Snapshot, now: Timestamp) {
        if self.followed.is_some_and(|last| now >= last && now.duration_since(last) < EVERY) {
            return;
        }
        self.followed = Some(now);
        self.others.clear();
        for (workload, policy) in snapshot.workloads.iter().filter(|(_, policy)| !policy.signals.is_empty()) {
            for metric in policy.signals.iter().filter_map(|signal| signal.metric.as_ref()) {
                let sender = metric.sender(workload);
                if sender == *workload {
                    continue;
                }
                let others = self.others.entry(sender).or_default();
                if others.last() != Some(workload) {
                    others.push(workload.clone());
                }
            }
        }
    }

    /// Takes note of what a pod sent for one workload.
    fn take(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        (sender, pod): (&WorkloadKey, &ObjectKey),
        observation: &Observation,
        sample: &Sample,
    ) {
        let Some(policy) = snapshot.workloads.get(workload) else { return };
        let sends =
            |metric: &&MetricPolicy| metric.name == sample.metric && metric.sender(workload) == *sender;
        for signal in &policy.signals {
            let Some(metric) = signal.metric.as_ref().filter(sends) else { continue };
            let of = self.signals.entry((workload.clone(), signal.name.clone()));
            let of = of.or_insert_with(|| Of::new(owner(snapshot, workload), metric));
            if of.metric != *metric {
                // What others sent, or under another name, says nothing of it.
                self.shares.give_back(&of.owner, of.points.len());
                *of = Of::new(of.owner.clone(), metric);
            }
            let place = (pod.clone(), sample.series.clone());
            let at = observation.arrival_time;
            if !of.points.contains_key(&place) {
                if of.points.len() >= MOST_EACH || self.shares.take(&of.owner, 1).is_err() {
                    self.dropped = self.dropped.saturating_add(1);
                    continue;
                }
                let (counter, of_then) = (Counter::default(), Timestamp::MIN);
                of.points.insert(place.clone(), Point { counter, value: None, at, of: of_then, wrong: None });
            }
            let Some(point) = of.points.get_mut(&place) else { continue };
            // A collector with several queues delivers out of order. A clock that was set back is believed after a while.
            if observation.event_time < point.of && at.duration_since(point.at) <= FRESH {
                continue;
            }
            point.of = observation.event_time;
            if !sample.value.is_finite() {
                point.wrong = Some((sample.value, at));
                continue;
            }
            if sample.counter {
                let rate = point.counter.observe(observation.event_time.as_second(), sample.value);
                let Some(rate) = rate else { continue };
                point.value = Some(rate.per_second);
            } else {
                point.value = Some(sample.value);
            }
            (point.at, point.wrong) = (at, None);
        }
    }

    /// The values now, at most every 15 s.
    pub fn told(&mut self, snapshot: &Snapshot, now: Timestamp) -> Told {
        let mut told = Told::default();
        if self.signals.is_empty() || self.made.is_some_and(|last| now.duration_since(last) < EVERY) {
            return told;
        }
        self.made = Some(now);
        self.forget(snapshot, now);
        for ((workload, signal), of) in &mut self.signals {
            let policy = snapshot.workloads.get(workload);
            let named = policy.and_then(|policy| policy.signals.iter().find(|one| one.name == *signal));
            let Some(metric) = named.and_then(|named| named.metric.as_ref()) else { continue };
            let number = of.value(metric.across, now);
            // A load of which a part is unusable is as a whole; detectors go by the numbers that there are.
            let Some((value, newest)) = of.wrong(now).or(number) else { continue };
            let sample = Sample {
                metric: signal.clone(),
                series: Name::from(""),
                value,
                counter: false,
                asked_by: Some(workload.clone()),
            };
            if let Some((number, _)) = number
                && of.judged.is_none_or(|last| now.duration_since(last) >= JUDGED)
            {
                of.judged = Some(now);
                told.judged.push(Observation {
                    tenant: owner(snapshot, workload),
                    entity: Entity::Workload { key: workload.clone() },
                    event_time: now,
                    arrival_time: now,
                    signal: Signal::Sample(Sample { value: number, ..sample.clone() }),
                });
            }
            let at = newest.checked_add(FRESH - LOAD).map_or(now, |at| at.min(now));
            told.values.push(Value { sample, at });
        }
        told
    }

    /// Forgets pods that are gone or silent for long, and signals that are not named any more or asked from others.
    fn forget(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let shares = &mut self.shares;
        self.signals.retain(|(workload, signal), of| {
            let before = of.points.len();
            let policy = snapshot.workloads.get(workload);
            let named = policy.and_then(|policy| policy.signals.iter().find(|one| one.name == *signal));
            of.points.retain(|(pod, _), point| {
                let lives = snapshot.pods.get(pod).is_some_and(|pod| !pod.deleting);
                let known = now.duration_since(point.at) <= FORGET;
                if !known {
                    point.value = None;
                }
                lives && (known || point.wrong.is_some_and(|(_, at)| now.duration_since(at) <= FRESH))
            });
            let asked = named.and_then(|named| named.metric.as_ref());
            let kept = !of.points.is_empty() && asked == Some(&of.metric);
            shares.give_back(&of.owner, if kept { before - of.points.len() } else { before });
            kept
        });
    }
}

fn owner(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<TenantName> {
    snapshot.tenant_of_namespace(&workload.namespace).map(|tenant| tenant.name.clone())
}

impl Of {
    fn new(owner: Option<TenantName>, metric: &MetricPolicy) -> Self {
        Self { owner, metric: metric.clone(), points: BTreeMap::new(), judged: None }
    }

    /// The value across pods, and when the newest part of it arrived; `None` when no pod sent it lately, or when one of those
    /// that a sum needs did not.
    fn value(&self, across: Across, now: Timestamp) -> Option<(f64, Timestamp)> {
        let mut pods: BTreeMap<&ObjectKey, Option<f64>> = BTreeMap::new();
        let mut newest: Option<Timestamp> = None;
        for ((pod, _), point) in &self.points {
            // A counter of which one value is known says nothing yet.
            let Some(value) = point.value else { continue };
            let of_pod = pods.entry(pod).or_default();
            if now.duration_since(point.at) <= FRESH {
                *of_pod = Some(of_pod.unwrap_or_default() + value);
                newest = newest.max(Some(point.at));
            }
        }
        let value = match across {
            Across::Sum => pods.into_values().sum::<Option<f64>>(),
            Across::Max => pods.into_values().flatten().max_by(f64::total_cmp),
        };
        value.filter(|value| value.is_finite()).zip(newest)
    }

    /// The newest of what was sent lately and is no part of a load, as it is no number or negative, and when it arrived.
    fn wrong(&self, now: Timestamp) -> Option<(f64, Timestamp)> {
        let negative =
            |point: &Point| point.value.filter(|value| *value < 0.0).map(|value| (value, point.at));
        let all = self.points.values().filter_map(|point| point.wrong.or_else(|| negative(point)));
        all.filter(|(_, at)| now.duration_since(*at) <= FRESH).max_by_key(|(_, at)| *at)
    }
}

#[cfg(test)]
#[path = "sent_tests.rs"]
mod tests;
