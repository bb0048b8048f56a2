//! Who failed whom: calls seen from client spans, charged per trace to the deepest callee that failed.
//!
//! A failed call is charged to its callee, unless the callee itself failed at a call of its own in the same
//! trace; then the charge moves on to that callee. Where the failures go round in a ring, the call that began last
//! is charged. Spans arrive late and in any order, so a charge may move while its trace is remembered. The idea is
//! that of spectrum and trace based localisation (e.g. `MicroRank`, WWW 2021), reduced to what can be decided within
//! milliseconds and explained in a few sentences.

mod ring;

use crate::senders::Sender;
use crate::waits::Waits;
use homeostat_knowledge::SignedDuration;
use homeostat_knowledge::{
    CallOutcome, Entity, Name, Observation, Signal, Snapshot, Span, SpanKind, Timestamp, WorkloadKey,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Width of one bucket of counts.
const BUCKET_MILLIS: i64 = 100;
/// How long counts are kept.
const KEEP_BUCKETS: usize = 60;
/// Traces with a failure that are remembered for moving charges.
const MAX_TRACES: usize = 20_000;
/// How long a trace is remembered.
const TRACE_MEMORY: SignedDuration = SignedDuration::from_secs(10);
/// Callees outside of the controlled workloads that are tracked, in all and of the callers in one namespace; the rest is
/// counted as dropped. Workloads are as many as are declared.
const MAX_EXTERNALS: usize = 20_000;
const MAX_EXTERNALS_OF_ONE: usize = 2_000;
/// Pods that send which are told apart.
const MAX_PODS: usize = 50_000;
/// Callers of one callee that are told apart.
const MAX_CALLERS: usize = 256;
/// Failures further apart than this are separate runs; longer than the exporters' default beat of five seconds.
const RUN_GAP: SignedDuration = SignedDuration::from_secs(6);
/// Buckets after which one is settled.
const SETTLED_BUCKETS: i64 = 30;
/// So many failures around a bucket, and such a share of the calls there, are an outage: nothing of it is usual.
const OUTAGE_FAILURES: u32 = 3;
/// Above what may be learnt at all: a callee that always fails one call in six is as usual.
const OUTAGE_SHARE: f64 = 0.3;
/// A caller that hung up after this long without an answer counts as unanswered.
const UNANSWERED_SECONDS: f64 = 0.25;

/// Failure kinds that are charged apart, in this order in arrays.
pub const FAILURES: [CallOutcome; 4] =
    [CallOutcome::ServerError, CallOutcome::Timeout, CallOutcome::Refused, CallOutcome::Reset];

#[derive(Clone, Debug, Default)]
struct Bucket {
    index: i64,
    good: u32,
    /// Charged to this callee, by [`FAILURES`].
    charged: [u32; 4],
    /// Failed, but charged to somebody deeper.
    passed_on: u32,
    first_failure: Option<Timestamp>,
    last_failure: Option<Timestamp>,
}

impl Bucket {
    fn failures(&self) -> u32 {
        self.charged.iter().sum()
    }

    fn calls(&self) -> u32 {
        self.good + self.failures() + self.passed_on
    }
}

/// Calls into one callee.
#[derive(Clone, Debug)]
pub struct Callee {
    buckets: VecDeque<Bucket>,
    /// Usual share of charged failures, learned while nothing is wrong.
    pub usual_rate: f64,
    /// End of the last call charged to it.
    pub last_failure: Option<Timestamp>,
    /// End of the last good call.
    pub last_good: Option<Timestamp>,
    /// Start of the first good call after the last failure.
    pub good_since: Option<Timestamp>,
    /// Namespace of who called it first, where it is no workload.
    found_by: Option<Name>,
    /// Good calls since then.
    pub good_calls: u64,
    /// Workloads that called it, lately.
    pub callers: BTreeSet<WorkloadKey>,
    /// Present run of failures: when its first and its last one reached us.
    run: Option<(Timestamp, Timestamp)>,
    /// Calls since the present run of failures began, by caller.
    edges: BTreeMap<WorkloadKey, Edge>,
    /// End of the first failure of the present run.
    run_began: Option<Timestamp>,
    learned_until: i64,
}

impl Default for Callee {
    fn default() -> Self {
        Self {
            buckets: VecDeque::new(),
            usual_rate: 0.001,
            last_failure: None,
            last_good: None,
            good_since: None,
            found_by: None,
            good_calls: 0,
            callers: BTreeSet::new(),
            run: None,
            edges: BTreeMap::new(),
            run_began: None,
            learned_until: 0,
        }
    }
}

/// Calls of one caller to one callee since the callee's present run of failures began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// Answered well, and begun after the first failure.
    pub good: u32,
    /// Failed for want of a connection.
    pub unconnected: u32,
    /// Failed otherwise.
    pub other: u32,
}

/// Counts of one callee since its present run of failures began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Calls that were answered well.
    pub good: u64,
    /// Failures charged to the callee, by [`FAILURES`].
    pub charged: [u64; 4],
    /// Failures passed on to somebody deeper.
    pub passed_on: u64,
    /// End of the first charged failure.
    pub first_failure: Option<Timestamp>,
    /// End of the last charged failure.
    pub last_failure: Option<Timestamp>,
    /// When the first failure of the present run reached us; the run may be longer than the window.
    pub first_arrival: Option<Timestamp>,
}

impl Tally {
    /// Charged failures of all kinds.
    pub fn failures(&self) -> u64 {
        self.charged.iter().sum()
    }

    /// All calls.
    pub fn calls(&self) -> u64 {
        self.good + self.failures() + self.passed_on
    }

    /// The most frequent failure.
    pub(crate) fn main_failure(&self) -> Option<CallOutcome> {
        let (index, count) =
            self.charged.iter().enumerate().max_by_key(|(index, count)| (**count, 4 - index))?;
        (*count > 0).then_some(FAILURES[index])
    }
}

impl Callee {
    fn bucket(&mut self, arrival: Timestamp) -> &mut Bucket {
        let index = arrival.as_millisecond().div_euclid(BUCKET_MILLIS);
        let newest = self.buckets.back().map_or(i64::MIN, |bucket| bucket.index);
        if index > newest {
            self.buckets.push_back(Bucket { index, ..Bucket::default() });
            while self.buckets.len() > KEEP_BUCKETS {
                self.buckets.pop_front();
            }
        }
        // Arrival times grow; an older index can only come from a moved charge and goes to its own bucket.
        let place = self.buckets.partition_point(|bucket| bucket.index < index).min(self.buckets.len() - 1);
        &mut self.buckets[place]
    }

    fn good(&mut self, span: &Span, caller: Option<&WorkloadKey>, arrival: Timestamp) {
        if self.run_began.is_some_and(|began| span.start > began)
            && let Some(edge) = self.edge(caller)
        {
            edge.good += 1;
        }
        self.bucket(arrival).good += 1;
        self.last_good = self.last_good.max(Some(span.end));
        if self.last_failure.is_none_or(|failure| span.start > failure) {
            if self.good_since.is_none_or(|since| self.last_failure.is_some_and(|failure| since <= failure)) {
                self.good_since = Some(span.start);
                self.good_calls = 0;
            }
            self.good_calls += 1;
        }
    }

    fn edge(&mut self, caller: Option<&WorkloadKey>) -> Option<&mut Edge> {
        let caller = caller?;
        if !self.edges.contains_key(caller) {
            if self.edges.len() >= MAX_CALLERS {
                return None;
            }
            self.edges.insert(caller.clone(), Edge::default());
        }
        self.edges.get_mut(caller)
    }

    /// Whether anybody else was ever seen to call it.
    pub(crate) fn called_by_others(&self, caller: &WorkloadKey) -> bool {
        self.callers.iter().any(|other| other != caller)
    }

    /// Callers with their calls since the present run of failures began.
    pub fn edges(&self) -> impl Iterator<Item = (&WorkloadKey, &Edge)> {
        self.edges.iter()
    }

    fn charge(&mut self, outcome: usize, caller: Option<&WorkloadKey>, end: Timestamp, arrival: Timestamp) {
        let bucket = self.bucket(arrival);
        bucket.charged[outcome] += 1;
        bucket.first_failure = Some(bucket.first_failure.map_or(end, |first| first.min(end)));
        bucket.last_failure = bucket.last_failure.max(Some(end));
        self.run = match self.run {
            Some((first, last)) if arrival.duration_since(last) <= RUN_GAP => {
                Some((first, last.max(arrival)))
            }
            _ => {
                self.edges.clear();
                self.run_began = Some(end);
                Some((arrival, arrival))
            }
        };
        let unconnected = matches!(FAILURES[outcome], CallOutcome::Refused | CallOutcome::Reset);
        if let Some(edge) = self.edge(caller) {
            if unconnected {
                edge.unconnected += 1;
            } else {
                edge.other += 1;
            }
        }
        self.last_failure = self.last_failure.max(Some(end));
        if self.good_since.is_some_and(|since| since <= end) {
            self.good_since = None;
            self.good_calls = 0;
        }
    }

    fn discharge(&mut self, outcome: usize, arrival: Timestamp) {
        let bucket = self.bucket(arrival);
        bucket.charged[outcome] = bucket.charged[outcome].saturating_sub(1);
        bucket.passed_on += 1;
        if bucket.charged.iter().all(|count| *count == 0) {
            bucket.first_failure = None;
            bucket.last_failure = None;
        }
    }

    /// Counts over the last `window`, from the first charged failure on. Empty when nothing failed.
    pub fn tally(&self, now: Timestamp, window: SignedDuration) -> Tally {
        let oldest = (now - window).as_millisecond().div_euclid(BUCKET_MILLIS);
        let mut tally = Tally::default();
        for bucket in self.buckets.iter().filter(|bucket| bucket.index >= oldest) {
            if tally.first_failure.is_none() && bucket.first_failure.is_none() {
                continue;
            }
            tally.good += u64::from(bucket.good);
            tally.passed_on += u64::from(bucket.passed_on);
            for (sum, count) in tally.charged.iter_mut().zip(bucket.charged) {
                *sum += u64::from(count);
            }
            if let Some(first) = bucket.first_failure {
                tally.first_failure = Some(tally.first_failure.map_or(first, |known| known.min(first)));
                tally.first_arrival = self.run.map(|(first, _)| first);
            }
            tally.last_failure = tally.last_failure.max(bucket.last_failure);
        }
        tally
    }

    /// Good calls and charged failures that reached us within `window`.
    pub fn recent(&self, now: Timestamp, window: SignedDuration) -> (u64, u64) {
        let oldest = (now - window).as_millisecond().div_euclid(BUCKET_MILLIS);
        self.buckets.iter().filter(|bucket| bucket.index >= oldest).fold((0, 0), |(good, bad), bucket| {
            (
                good + u64::from(bucket.good),
                bad + bucket.charged.iter().map(|count| u64::from(*count)).sum::<u64>(),
            )
        })
    }

    /// Learns the usual failure rate from buckets that are old enough to be settled.
    pub fn learn(&mut self, now: Timestamp) {
        let settled = now.as_millisecond().div_euclid(BUCKET_MILLIS) - SETTLED_BUCKETS;
        for bucket in
            self.buckets.iter().filter(|bucket| bucket.index > self.learned_until && bucket.index <= settled)
        {
            let (bad, all) = (bucket.failures(), bucket.calls());
            // A burst is not what is usual, and neither is an outage of single calls.
            let burst = f64::from(bad) >= 0.1 * f64::from(all) + 1.0;
            if all > 0 && !burst && !outage_around(&self.buckets, bucket.index) {
                let weight = (f64::from(all) / 20_000.0).min(0.05);
                self.usual_rate += weight * (f64::from(bad) / f64::from(all) - self.usual_rate);
            }
        }
        self.learned_until = self.learned_until.max(settled);
        self.usual_rate = self.usual_rate.clamp(0.000_1, 0.2);
    }
}

/// Whether calls around this bucket failed as in an outage.
fn outage_around(buckets: &VecDeque<Bucket>, index: i64) -> bool {
    let around = buckets.iter().filter(|bucket| (bucket.index - index).abs() <= SETTLED_BUCKETS);
    let (bad, all) =
        around.fold((0, 0), |(bad, all), bucket| (bad + bucket.failures(), all + bucket.calls()));
    bad >= OUTAGE_FAILURES && f64::from(bad) >= OUTAGE_SHARE * f64::from(all)
}

#[derive(Clone, Debug)]
struct Failure {
    caller: Option<WorkloadKey>,
    callee: Entity,
    outcome: usize,
    start: Timestamp,
    end: Timestamp,
    arrival: Timestamp,
    charged: bool,
}

/// All calls, by callee.
#[derive(Debug, Default)]
pub struct Calls {
    callees: BTreeMap<Entity, Callee>,
    traces: HashMap<u128, Vec<Failure>>,
    trace_order: VecDeque<(Timestamp, u128)>,
    senders: BTreeMap<WorkloadKey, Sender>,
    pod_senders: BTreeMap<homeostat_knowledge::ObjectKey, Sender>,
    waits: Waits,
    /// Called by somebody new since [`Calls::new_callers`] was asked last.
    news: BTreeSet<WorkloadKey>,
    /// Callees outside of the controlled workloads, by the namespace of who called each first.
    externals: BTreeMap<Name, usize>,
    /// Client spans that could not be tracked because of the bounds.
    pub dropped: u64,
}

impl Calls {
    /// Takes one observation; anything but spans is ignored.
    pub fn ingest(&mut self, snapshot: &Snapshot, observation: &Observation) {
        let Signal::Span(span) = &observation.signal else { return };
        self.note_sender(observation, span);
        self.waits.ingest(observation);
        if span.kind != SpanKind::Client {
            return;
        }
        let Some(peer) = &span.peer else { return };
        let Some(namespace) = observation.entity.namespace() else { return };
        let callee = snapshot.resolve(namespace, peer);
        let caller = observation.entity.workload().cloned();
        if !self.callees.contains_key(&callee) {
            let mut empty = Callee::default();
            if callee.workload().is_none() {
                let of_one = self.externals.get(namespace).copied().unwrap_or_default();
                if of_one >= MAX_EXTERNALS_OF_ONE || self.externals.values().sum::<usize>() >= MAX_EXTERNALS {
                    self.dropped += 1;
                    return;
                }
                *self.externals.entry(Name::from(namespace)).or_default() += 1;
                empty.found_by = Some(Name::from(namespace));
            }
            self.callees.insert(callee.clone(), empty);
        }
        let Some(entry) = self.callees.get_mut(&callee) else { return };
        if let Some(caller) = &caller
            && entry.callers.len() < MAX_CALLERS
            && !entry.callers.contains(caller)
        {
            entry.callers.insert(caller.clone());
            self.news.extend(callee.workload().cloned());
        }
        let outcome = match span.outcome {
            outcome if outcome.good() => {
                entry.good(span, caller.as_ref(), observation.arrival_time);
                return;
            }
            CallOutcome::Cancelled if span.seconds() >= UNANSWERED_SECONDS => CallOutcome::Timeout,
            CallOutcome::Cancelled => return,
            outcome => outcome,
        };
        let Some(outcome) = FAILURES.iter().position(|failure| *failure == outcome) else { return };
        let failure = Failure {
            caller,
            callee,
            outcome,
            start: span.start,
            end: span.end,
            arrival: observation.arrival_time,
            charged: false,
        };
        self.fail(span.trace, failure);
    }

    fn fail(&mut self, trace: u128, failure: Failure) {
        if !self.traces.contains_key(&trace) {
            while self.trace_order.len() >= MAX_TRACES {
                if let Some((_, oldest)) = self.trace_order.pop_front() {
                    self.traces.remove(&oldest);
                }
            }
            self.trace_order.push_back((failure.arrival, trace));
        }
        let failures = self.traces.entry(trace).or_default();
        // Retries within one trace are few; a runaway trace keeps its first failures.
        if failures.len() < 64 {
            failures.push(failure);
        }
        // Who fails at itself failed at nobody deeper.
        let callers: BTreeSet<WorkloadKey> = failures
            .iter()
            .filter(|failure| failure.caller.as_ref() != failure.callee.workload())
            .filter_map(|failure| failure.caller.clone())
            .collect();
        let passed_on =
            |failure: &Failure| failure.callee.workload().is_some_and(|key| callers.contains(key));
        let deepest = if failures.iter().all(passed_on) { ring::charged(failures) } else { None };
        for (place, failure) in failures.iter_mut().enumerate() {
            let deeper = passed_on(failure) && deepest != Some(place);
            let Some(callee) = self.callees.get_mut(&failure.callee) else { continue };
            if !deeper && !failure.charged {
                failure.charged = true;
                callee.charge(failure.outcome, failure.caller.as_ref(), failure.end, failure.arrival);
            } else if deeper && failure.charged {
                failure.charged = false;
                callee.discharge(failure.outcome, failure.arrival);
            }
        }
    }

    fn note_sender(&mut self, observation: &Observation, span: &Span) {
        let arrival = observation.arrival_time;
        let note = |sender: &mut Sender| sender.note(arrival, span.end);
        let fresh = Sender::new(arrival, span.end);
        if let Entity::Pod { key, workload, .. } = &observation.entity {
            if let Some(workload) = workload {
                match self.senders.get_mut(workload) {
                    Some(sender) => note(sender),
                    None => {
                        self.senders.insert(workload.clone(), fresh.clone());
                    }
                }
            }
            if let Some(sender) = self.pod_senders.get_mut(key) {
                note(sender);
            } else if self.pod_senders.len() < MAX_PODS {
                self.pod_senders.insert(key.clone(), fresh);
            }
        }
    }

    /// Forgets old traces and pods that are gone.
    pub fn expire(&mut self, snapshot: &Snapshot, now: Timestamp) {
        while let Some((arrival, trace)) = self.trace_order.front() {
            if now.duration_since(*arrival) <= TRACE_MEMORY {
                break;
            }
            self.traces.remove(trace);
            self.trace_order.pop_front();
        }
        self.pod_senders.retain(|key, _| snapshot.pods.contains_key(key));
        self.senders.retain(|key, _| snapshot.workloads.contains_key(key));
        self.waits.tick(snapshot, now);
        self.callees.retain(|entity, callee| match entity {
            Entity::Workload { key } => snapshot.workloads.contains_key(key),
            _ => callee
                .buckets
                .back()
                .is_some_and(|bucket| now.as_millisecond() - bucket.index * BUCKET_MILLIS < 3_600_000),
        });
        self.externals.clear();
        for namespace in self.callees.values().filter_map(|callee| callee.found_by.as_ref()) {
            *self.externals.entry(namespace.clone()).or_default() += 1;
        }
    }

    /// Whether it reported spans that ended after the trouble began.
    pub fn alive(&self, workload: &WorkloadKey, since: Timestamp) -> bool {
        self.senders.get(workload).is_some_and(|sender| sender.watermark > since)
    }

    /// Whether it was ever seen to call anybody.
    pub(crate) fn calls_others(&self, caller: &WorkloadKey) -> bool {
        self.callees.values().any(|callee| callee.callers.contains(caller))
    }

    /// Workloads that are called by somebody new since this was asked last, each with all of its callers.
    pub fn new_callers(&mut self) -> Vec<(WorkloadKey, BTreeSet<WorkloadKey>)> {
        let callers = |key: &WorkloadKey| {
            Some(self.callees.get(&Entity::Workload { key: key.clone() })?.callers.clone())
        };
        std::mem::take(&mut self.news)
            .into_iter()
            .filter_map(|key| callers(&key).map(|callers| (key, callers)))
            .collect()
    }

    /// Callees with their calls.
    pub fn callees(&self) -> impl Iterator<Item = (&Entity, &Callee)> {
        self.callees.iter()
    }

    /// Callees, to learn usual rates.
    pub(crate) fn callees_mut(&mut self) -> impl Iterator<Item = (&Entity, &mut Callee)> {
        self.callees.iter_mut()
    }

    /// Calls into one entity.
    pub fn callee(&self, entity: &Entity) -> Option<&Callee> {
        self.callees.get(entity)
    }

    /// How a workload's telemetry reaches us.
    pub fn sender(&self, workload: &WorkloadKey) -> Option<&Sender> {
        self.senders.get(workload)
    }

    /// How a pod's telemetry reaches us.
    pub(crate) fn pod_sender(&self, pod: &homeostat_knowledge::ObjectKey) -> Option<&Sender> {
        self.pod_senders.get(pod)
    }

    /// Pods whose telemetry comes later than usual, and by how many seconds.
    pub(crate) fn late_pods(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&homeostat_knowledge::ObjectKey, f64)> {
        self.pod_senders.iter().filter_map(move |(pod, sender)| Some((pod, sender.late_by(now)?)))
    }

    /// How long calls wait between caller and callee.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Workloads that suffered in traces whose failure is charged to `root`.
    pub fn affected(&self, root: &Entity) -> BTreeSet<WorkloadKey> {
        let mut affected = BTreeSet::new();
        for failures in self.traces.values() {
            if failures.iter().any(|failure| failure.charged && failure.callee == *root) {
                for failure in failures {
                    affected.extend(failure.caller.clone());
                    affected.extend(failure.callee.workload().cloned());
                }
            }
        }
        if let Some(own) = root.workload() {
            affected.remove(own);
        }
        affected
    }

    /// Whether `caller` calls `callee`, directly or through others (bounded depth).
    pub fn reaches(&self, caller: &WorkloadKey, callee: &Entity) -> bool {
        let mut seen = BTreeSet::new();
        let mut front = vec![callee.clone()];
        while let Some(entity) = front.pop() {
            let Some(entry) = self.callees.get(&entity) else { continue };
            for above in &entry.callers {
                if above == caller {
                    return true;
                }
                if seen.len() < 1_000 && seen.insert(above.clone()) {
                    front.push(Entity::Workload { key: above.clone() });
                }
            }
        }
        false
    }
}
