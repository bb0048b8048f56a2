//! Golden signals of a workload from its server spans: own time per second against what is usual, errors by pod.
//!
//! Own time is the span's duration less the time spent in calls to others, so a slow callee does not make its
//! callers look slow.

use crate::at_once::AtOnce;
use crate::histogram::Second;
use crate::replicas::{Apart, Replicas};
use homeostat_knowledge::{
    CallOutcome, Entity, ObjectKey, Observation, PodRecord, Signal, SignedDuration, Snapshot, SpanKind,
    Timestamp, WorkloadKey,
};
use homeostat_models::detect::{Direction, SeriesConfig, SeriesDetector};
use std::collections::{BTreeMap, HashMap};

/// Spans whose children are remembered, per generation (two are kept).
const MAX_PARENTS: usize = 16_384;
/// Less than this much more, or less than this many times the usual own time, is no trouble that a restart could mend.
const MINIMUM_SECONDS: f64 = 0.05;
const MINIMUM_RATIO: f64 = 3.0;
/// Slow answers in a row of slow seconds that are believed. A second of few answers has its worst one as its p90, and one
/// slow answer is no fault: then several seconds have to agree.
const ENTER_ANSWERS: u32 = 6;
/// Slow seconds in a row that are believed however few answers they hold.
const ENTER_SECONDS: u32 = 3;
/// Usual seconds after which the detector's alarm is over.
const LEAVE_SECONDS: u32 = 3;
/// A slow time of so many seconds is the new usual.
const LONGEST_SECONDS: u32 = 1_800;
/// Without a second of enough answers for so many seconds, a slow time is over unless one of the few answers is late.
const FEW_SECONDS: i64 = 10;
/// A new pod is slow by nature for so long, or does not answer yet.
pub(crate) const START: SignedDuration = SignedDuration::from_secs(20);
/// Before the detector has learned what is usual, the middle of at least so many seconds stands for it, and only what is so
/// many times as much counts: enough to see that most of a node is late at once, not to call one workload slow.
const FIRST_SECONDS: usize = 5;
const FIRST_RATIO: f64 = 10.0;

/// Own time is judged on its logarithm: its spread grows with its level.
fn detector() -> Option<SeriesDetector> {
    SeriesDetector::new(SeriesConfig {
        direction: Direction::Above,
        minimum_effect: MINIMUM_RATIO.ln(),
        leave_points: LEAVE_SECONDS,
        ..SeriesConfig::default()
    })
    .ok()
}

/// Slow seconds in a row.
#[derive(Clone, Copy, Debug)]
struct SlowRun {
    since: Timestamp,
    /// It began before the detector knew what is usual.
    early: bool,
    /// What was usual before: the detector takes what lasts for usual within seconds.
    before: SlowVerdict,
    seconds: u32,
    answers: u32,
}

impl SlowRun {
    /// Own time, in seconds, from which an answer belongs to it.
    fn limit(&self) -> f64 {
        late_from(self.before.usual, if self.early { FIRST_RATIO } else { MINIMUM_RATIO })
    }
}

/// Server-side view of one pod, over the last few seconds.
#[derive(Clone, Copy, Debug, Default)]
struct PodCounts {
    good: f64,
    errors: f64,
    at: i64,
    at_once: AtOnce,
}

/// Server-side view of one workload.
#[derive(Clone, Debug)]
struct Served {
    second: Second,
    detector: SeriesDetector,
    verdict: Option<SlowVerdict>,
    /// Logarithms of the own time of the first seconds, in ascending order; empty once the detector knows better.
    first: Vec<f64>,
    seconds: f64,
    slow: Option<SlowRun>,
    /// The last second that was judged, or the end of the last `FEW_SECONDS` after it.
    judged: i64,
    /// One of the few answers since was late.
    few_late: bool,
    /// The slow run is over as far as the few answers tell: it is kept, as what was usual before it, for the next judged second.
    quiet: bool,
    answered: u64,
    /// Own errors, and answers that took longer than the objective by own time.
    outside: u64,
}

/// Calls that were made for one request.
#[derive(Clone, Copy, Debug, Default)]
struct Below {
    seconds: f64,
    failed: bool,
}

impl Below {
    fn note(&mut self, seconds: f64, failed: bool) {
        self.seconds += seconds;
        self.failed |= failed;
    }
}

/// Server-side view of everything.
#[derive(Debug, Default)]
pub struct Golden {
    served: BTreeMap<WorkloadKey, Served>,
    pods: BTreeMap<ObjectKey, PodCounts>,
    children: [HashMap<u64, Below>; 2],
    replicas: Replicas,
}

/// How unusual an own time is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowVerdict {
    /// Chance of a time at least so long in the usual state.
    pub chance: f64,
    /// Usual range, in seconds.
    pub usual: (f64, f64),
}

/// A workload that answers later than usual by its own time.
#[derive(Clone, Debug)]
pub struct SlowService {
    /// First slow second.
    pub since: Timestamp,
    /// Own time now (p90 of the last full second), in seconds.
    pub seconds: f64,
    /// Verdict with the usual range.
    pub verdict: SlowVerdict,
}

impl Golden {
    /// Takes one observation; anything but spans is ignored.
    pub fn ingest(&mut self, snapshot: &Snapshot, observation: &Observation) {
        let Signal::Span(span) = &observation.signal else { return };
        match span.kind {
            SpanKind::Client => {
                if self.children[0].len() >= MAX_PARENTS {
                    self.children.swap(0, 1);
                    self.children[0].clear();
                }
                let below = self.children[0].entry(span.parent).or_default();
                below.note(span.seconds(), !span.outcome.good());
            }
            SpanKind::Server => self.server(snapshot, observation, span),
            SpanKind::Other => {}
        }
    }

    fn server(&mut self, snapshot: &Snapshot, observation: &Observation, span: &homeostat_knowledge::Span) {
        let Entity::Pod { key, workload: Some(workload), .. } = &observation.entity else { return };
        let mut below = Below::default();
        for part in self.children.iter().filter_map(|generation| generation.get(&span.id)) {
            below.note(part.seconds, part.failed);
        }
        let own = (span.seconds() - below.seconds).max(0.0);
        let index = observation.arrival_time.as_second();
        if !self.served.contains_key(workload) {
            let Some(detector) = detector() else { return };
            self.served.insert(workload.clone(), Served::new(index, detector));
        }
        let Some(served) = self.served.get_mut(workload) else { return };
        if index > served.second.index {
            served.close(index);
        }
        served.second.add(own);
        // An error that came from below is not its own; after good calls it is.
        let outcome = if below.failed { CallOutcome::Ok } else { span.outcome };
        self.replicas.add(workload, key, own, outcome);
        served.answered += 1;
        let objective = snapshot.workloads.get(workload).and_then(|policy| policy.latency);
        let late = objective.is_some_and(|objective| own > objective.seconds);
        served.outside += u64::from(late || outcome == CallOutcome::ServerError);
        // Who waited for others did not answer at once, whatever its own time is.
        let wrong_at_once = outcome == CallOutcome::ServerError && span.seconds() <= served.limit();
        let counts = self.pods.entry(key.clone()).or_default();
        counts.at_once.add(span.end, wrong_at_once);
        let age = (index - counts.at).clamp(0, 60);
        let fade = 0.5_f64.powi(age as i32);
        counts.good *= fade;
        counts.errors *= fade;
        counts.at = index;
        match span.outcome {
            CallOutcome::ServerError if !below.failed => counts.errors += 1.0,
            outcome if outcome.good() => counts.good += 1.0,
            _ => {}
        }
    }

    /// Closes seconds that have passed and forgets what is gone.
    pub fn tick(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let index = now.as_second();
        self.served.retain(|key, served| {
            if index > served.second.index {
                served.close(index);
            }
            let starts =
                |pod: &PodRecord| pod.deleting || !pod.serving() || now.duration_since(pod.created) < START;
            served.look(index, || snapshot.pods_of(key).any(|pod| starts(pod)));
            snapshot.workloads.contains_key(key)
        });
        self.pods.retain(|key, _| snapshot.pods.contains_key(key));
        self.replicas.tick(snapshot, now);
    }

    /// Replicas that differ from their siblings, and nodes that are the reason for it.
    pub fn apart(&self, snapshot: &Snapshot) -> Vec<Apart> {
        self.replicas.apart(snapshot)
    }

    /// Answers of replicas that are not compared, since the start: their workload has too many.
    pub fn dropped(&self) -> u64 {
        self.replicas.dropped
    }

    /// Workloads whose own time is abnormal.
    pub fn slow(&self) -> impl Iterator<Item = (&WorkloadKey, SlowService)> {
        self.served.iter().filter_map(|(key, served)| Some((key, served.slow()?)))
    }

    /// Workloads of which it is known what own time is usual, be it from a few seconds, and since when each is late by it,
    /// if it is, be it for one second only.
    pub fn measured(&self) -> impl Iterator<Item = (&WorkloadKey, Option<Timestamp>)> {
        self.served
            .iter()
            .filter(|(_, served)| served.verdict.is_some() || served.first.len() >= FIRST_SECONDS)
            .map(|(key, served)| (key, served.told().map(|run| run.since)))
    }

    /// Usual own time of a workload (the middle of what is usual for the p90 of a second), in seconds.
    pub fn usual_seconds(&self, workload: &WorkloadKey) -> Option<f64> {
        let (low, high) = self.served.get(workload)?.verdict?.usual;
        Some((low * high).sqrt())
    }

    /// Requests that a workload answered since it is known here, and those of them outside of its objective: own errors,
    /// and answers that took longer by own time than its latency objective.
    pub fn answered(&self, workload: &WorkloadKey) -> (u64, u64) {
        self.served.get(workload).map_or((0, 0), |served| (served.answered, served.outside))
    }

    /// Since when one pod of a workload, at least, answers nearly everything wrong by itself and no later than usual.
    pub fn wrong_at_once(
        &self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let of = |pod: &PodRecord| self.pods.get(&pod.key)?.at_once.since(now);
        snapshot.pods_of(workload).filter_map(|pod| of(pod)).min()
    }

    /// Share of own errors of one pod's answers lately, and how many answers that is.
    pub fn error_share(&self, pod: &ObjectKey) -> Option<(f64, f64)> {
        let counts = self.pods.get(pod)?;
        let all = counts.good + counts.errors;
        (all > 0.5).then(|| (counts.errors / all, all))
    }
}

impl Served {
    fn new(index: i64, detector: SeriesDetector) -> Self {
        Self {
            second: Second::new(index),
            detector,
            verdict: None,
            first: Vec::new(),
            seconds: 0.0,
            slow: None,
            judged: index,
            few_late: false,
            quiet: false,
            answered: 0,
            outside: 0,
        }
    }

    /// The slow run, while answers tell of it.
    fn told(&self) -> Option<SlowRun> {
        self.slow.filter(|_| !self.quiet)
    }

    /// The slow time, once it is believed.
    fn slow(&self) -> Option<SlowService> {
        let run = self.told().filter(|run| !run.early)?;
        let believed = run.answers >= ENTER_ANSWERS || run.seconds >= ENTER_SECONDS;
        believed.then_some(SlowService { since: run.since, seconds: self.seconds, verdict: run.before })
    }

    /// The run of slow seconds after one more second. It begins by the detector's word, or before that can be had by what
    /// the first seconds were like, and lasts while what was usual before it is exceeded.
    fn run(&self, alarm: bool) -> Option<SlowRun> {
        let began = || Timestamp::from_second(self.second.index - 1).ok();
        let run = match (self.slow, self.verdict) {
            (Some(run), _) if self.quiet => SlowRun { since: began()?, seconds: 0, answers: 0, ..run },
            (Some(run), _) if run.seconds < LONGEST_SECONDS => run,
            (None, Some(before)) if alarm => {
                SlowRun { since: began()?, early: false, before, seconds: 0, answers: 0 }
            }
            (None, None) => {
                SlowRun { since: began()?, early: true, before: self.first_usual()?, seconds: 0, answers: 0 }
            }
            _ => return None,
        };
        let limit = run.limit();
        (self.seconds >= limit).then(|| SlowRun {
            seconds: run.seconds + 1,
            answers: run.answers.saturating_add(self.second.at_least(limit)),
            ..run
        })
    }

    /// Own time, in seconds, from which an answer is late beside what is usual, as far as that is known.
    fn limit(&self) -> f64 {
        let before = self.slow.map(|run| run.before);
        let usual =
            before.or(self.verdict).or_else(|| self.first_usual()).map_or((0.0, 0.0), |known| known.usual);
        late_from(usual, MINIMUM_RATIO)
    }

    /// What the first seconds were like, while nothing better is known.
    fn first_usual(&self) -> Option<SlowVerdict> {
        let middle =
            self.first.get(self.first.len() / 2).filter(|_| self.first.len() >= FIRST_SECONDS)?.exp();
        Some(SlowVerdict { chance: 1.0, usual: (middle, middle) })
    }

    fn close(&mut self, index: i64) {
        if self.second.count >= 3
            && let Some(seconds) = self.second.quantile(0.9)
        {
            self.seconds = seconds;
            let verdict = self.detector.observe(self.second.index, seconds.ln());
            let usual = (verdict.usual.0.exp(), verdict.usual.1.exp());
            self.verdict = verdict.ready.then_some(SlowVerdict { chance: verdict.chance, usual });
            self.slow = self.run(verdict.alarm);
            (self.judged, self.few_late, self.quiet) = (self.second.index, false, false);
            if self.verdict.is_some() {
                self.first = Vec::new();
            } else if self.slow.is_none() {
                // As many as the detector needs to be ready, at most.
                let place = self.first.partition_point(|known| *known < seconds.ln());
                self.first.insert(place, seconds.ln());
            }
        } else if let Some(run) = self.slow
            && self.second.at_least(run.limit()) > 0
        {
            // One late answer is enough to take back that it was over.
            (self.few_late, self.quiet) = (true, false);
        }
        self.second = Second::new(index);
    }

    /// What the few answers, or none, tell of a slow time. While pods start, that is no wonder.
    fn look(&mut self, index: i64, starts: impl FnOnce() -> bool) {
        if self.slow.is_none() {
            return;
        }
        let starts = starts();
        // Answers that take longer than that are waited for, too.
        let wait = (2.0 * self.seconds).ceil().clamp(FEW_SECONDS as f64, f64::from(LONGEST_SECONDS)) as i64;
        if starts || index - self.judged > wait {
            self.quiet |= !starts && !self.few_late;
            (self.judged, self.few_late) = (index, false);
        }
    }
}

/// Own time, in seconds, that is late where this is usual.
fn late_from(usual: (f64, f64), ratio: f64) -> f64 {
    let middle = (usual.0 * usual.1).sqrt();
    (middle + MINIMUM_SECONDS).max(middle * ratio)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::{Span, Uid};

    /// A workload that was seen for two minutes with three answers a second.
    fn sparse() -> Served {
        let mut served = Served::new(0, detector().unwrap());
        for index in 0..120 {
            second(&mut served, index, &[0.02, 0.021, 0.022]);
        }
        assert!(served.verdict.is_some() && served.slow().is_none());
        served
    }

    fn second(served: &mut Served, index: i64, answers: &[f64]) {
        for answer in answers {
            served.second.add(*answer);
        }
        served.close(index + 1);
    }

    #[test]
    fn one_slow_answer_of_three_is_no_slow_service_three_seconds_of_them_are() {
        let mut served = sparse();
        for (index, slow) in (120..200).zip([true, false, false, false].into_iter().cycle()) {
            second(&mut served, index, &[0.02, 0.021, if slow { 2.0 } else { 0.022 }]);
            assert!(served.slow().is_none(), "second {index}");
        }
        let mut served = sparse();
        for index in 120..123 {
            assert!(served.slow().is_none(), "second {index}");
            second(&mut served, index, &[0.02, 0.021, 2.0]);
        }
        assert_eq!(served.slow().unwrap().since, Timestamp::from_second(119).unwrap());
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("shop", name)
    }

    /// Forty requests of the cart, ten a second, that it answers with an error 5 ms after a call of its own ended so.
    fn errors(call: CallOutcome, seconds: f64) -> (Golden, Timestamp) {
        let (mut golden, mut at) = (Golden::default(), Timestamp::from_second(1_000).unwrap());
        for number in 0..40_u64 {
            at += SignedDuration::from_millis(100);
            let server = Span {
                trace: u128::from(number),
                id: 2 * number + 1,
                parent: 0,
                kind: SpanKind::Server,
                start: at - SignedDuration::from_secs_f64(seconds + 0.005),
                end: at,
                operation: "op".into(),
                outcome: CallOutcome::ServerError,
                peer: None,
            };
            let client = Span {
                id: server.id + 1,
                parent: server.id,
                kind: SpanKind::Client,
                end: server.start + SignedDuration::from_secs_f64(seconds),
                outcome: call,
                peer: Some("stock".into()),
                ..server.clone()
            };
            for span in [client, server] {
                let observation = Observation {
                    tenant: None,
                    entity: Entity::Pod {
                        key: key("cart-0"),
                        uid: Uid::new("u"),
                        workload: Some(key("cart")),
                    },
                    event_time: span.end,
                    arrival_time: at,
                    signal: Signal::Span(span),
                };
                golden.ingest(&Snapshot::default(), &observation);
            }
        }
        (golden, at)
    }

    #[test]
    fn an_error_after_good_calls_is_its_own_and_one_after_a_failed_call_is_not() {
        for good in [CallOutcome::Ok, CallOutcome::Rejected] {
            let (golden, now) = errors(good, 0.01);
            assert_eq!(golden.answered(&key("cart")), (40, 40));
            assert!(golden.error_share(&key("cart-0")).is_some_and(|(share, _)| share > 0.99));
            assert!(golden.pods[&key("cart-0")].at_once.since(now).is_some());
        }
        for failed in [CallOutcome::ServerError, CallOutcome::Timeout, CallOutcome::Cancelled] {
            let (golden, now) = errors(failed, 0.01);
            assert_eq!(golden.answered(&key("cart")), (40, 0));
            assert!(golden.error_share(&key("cart-0")).is_none());
            assert_eq!(golden.pods[&key("cart-0")].at_once.since(now), None);
        }
    }

    #[test]
    fn who_answers_wrong_after_it_waited_for_others_does_not_do_so_at_once() {
        let (golden, now) = errors(CallOutcome::Ok, 2.0);
        assert_eq!(golden.answered(&key("cart")), (40, 40));
        assert_eq!(golden.pods[&key("cart-0")].at_once.since(now), None);
    }

    #[test]
    fn a_second_of_many_slow_answers_is_believed_at_once() {
        let mut served = sparse();
        second(&mut served, 120, &[2.0; 8]);
        assert!(served.slow().is_some());
        second(&mut served, 121, &[0.02; 8]);
        assert!(served.slow().is_none());
    }

    /// A workload that was seen slow for three seconds, and answered these after each other, each in a second of its own.
    fn slow_and_then(answers: impl IntoIterator<Item = Option<f64>>, starts: bool) -> Served {
        let mut served = sparse();
        for index in 120..123 {
            second(&mut served, index, &[2.0; 8]);
        }
        assert!(served.slow().is_some());
        for (index, answer) in (123..).zip(answers) {
            second(&mut served, index, answer.as_slice());
            served.look(index + 1, || starts);
        }
        served
    }

    #[test]
    fn a_slow_time_ends_when_the_few_answers_are_usual_or_none_come() {
        let few = |answer| (0..11).map(move |turn| (turn % 2 == 0).then_some(answer));
        assert!(slow_and_then(few(0.02), false).slow().is_none());
        assert!(slow_and_then(few(0.02).take(5), false).slow().is_some(), "too soon to tell");
        assert!(slow_and_then([None; 11], false).slow().is_none(), "nobody calls it any more");
        assert!(slow_and_then([None; 11], true).slow().is_some(), "its new pod does not answer yet");
        assert!(slow_and_then(few(2.0), false).slow().is_some(), "they are late as before");
        let late = [None; 12].into_iter().chain([Some(2.0)]);
        assert!(slow_and_then(late, false).slow().is_some(), "the next one is late again");
    }

    #[test]
    fn who_was_slow_before_a_silence_and_is_after_it_is_slow_from_then_on() {
        let mut served = slow_and_then([None; 60], false);
        second(&mut served, 183, &[2.0; 8]);
        assert_eq!(served.slow().unwrap().since, Timestamp::from_second(182).unwrap());
        second(&mut served, 184, &[0.02; 8]);
        assert!(served.slow().is_none());
    }
}
