//! The list of detectors and how their verdicts become findings.

mod beside;
mod callers;
mod contention;
mod dropped;
mod egress;
mod narrow;
mod witness;

use self::contention::Contention;
use self::egress::CutOff;
use crate::calls::{Callee, Calls, Tally};
use crate::causes::Causes;
use crate::golden::Golden;
use crate::heartbeat::Heartbeats;
use crate::logs::Logs;
use crate::objects;
use crate::pods::Pods;
use crate::signals::Signals;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::{
    CallOutcome, Entity, Evidence, Finding, FindingId, FindingKind, Observation, Signal, SignedDuration,
    Snapshot, Timestamp, WorkloadHealth, WorkloadKey,
};
use homeostat_models::tail::binomial_upper;
use std::collections::{BTreeMap, BTreeSet};

/// Failures are judged over this time.
const WINDOW: SignedDuration = SignedDuration::from_secs(2);
/// The run of failures may be longer than the window; it is looked back this far to see how long it lasts.
const RUN_WINDOW: SignedDuration = SignedDuration::from_millis(5_900);
/// Chance below which a run of failures is no accident. Judged about ten times a second per callee, one in a
/// million would still be a false alarm a day on a busy cluster; the share and the duration below guard too.
const CHANCE: f64 = 1e-7;
/// Smallest share of failing calls that is worth an incident.
const MINIMUM_SHARE: f64 = 0.1;
/// Failures must go on for so long. A connection that breaks in a rollout fails a handful of calls at one instant;
/// an answer that is an error, or late, may come from a stall that is over before anybody could act on it.
fn persists(failure: Option<CallOutcome>) -> SignedDuration {
    match failure {
        Some(CallOutcome::Refused) => SignedDuration::from_millis(200),
        Some(CallOutcome::Timeout) => SignedDuration::from_millis(400),
        _ => SignedDuration::from_millis(700),
    }
}
/// Share of failing calls from which it is plain that the callee does not work, not only that it stumbles.
const CLEAR_SHARE: f64 = 0.5;
/// Below that share, failures must go on for so long: a starved machine or a burst of retries looks like this and passes.
const PERSISTS_IN_PART: SignedDuration = SignedDuration::from_secs(5);
/// The same while a rollout of the callee is under way: connections are being moved on purpose.
const PERSISTS_IN_ROLLOUT: SignedDuration = SignedDuration::from_millis(1_500);
/// When callee and caller begin to fail within so long of each other, the callee is waited for, but no longer than that.
const DEEPER_WITHIN: SignedDuration = SignedDuration::from_millis(1_200);
const DEEPER_FIRST: SignedDuration = SignedDuration::from_secs(2);
/// A live caller of others that answers late is believed to be the reason only after those would have been late too:
/// calls that wait for it are given up earlier than its own calls.
const WAITS_FOR_OTHERS: SignedDuration = SignedDuration::from_millis(1_500);
/// Without new failures for so long, a finding made from calls is over.
const CALLS_CLEAR: SignedDuration = SignedDuration::from_millis(2_500);
/// Good for so long, a finding made from calls is over at once.
const RECOVERED_AFTER: SignedDuration = SignedDuration::from_millis(500);
/// The spans of a fault's first moments are few when it is found; the ranking is asked once more after so long.
const SECOND_LOOK: SignedDuration = SignedDuration::from_millis(1_500);
/// What is told only by callers that are short of time themselves is left out for so long; then people are told, who may
/// know better: no playbook acts on what is so unsure.
const DOUBTED: SignedDuration = SignedDuration::from_secs(15);
const UNSURE: f64 = 0.5;
/// Findings that are kept; more are refused and counted.
const MAX_FINDINGS: usize = 5_000;

/// What the analysis says at one instant.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Active findings, and those that ended since the last evaluation (`active == false`).
    pub findings: Vec<Finding>,
    /// Health of workloads that changed.
    pub health: Vec<(WorkloadKey, WorkloadHealth)>,
}

/// All detectors with their state.
#[derive(Debug, Default)]
pub struct Analyser {
    calls: Calls,
    golden: Golden,
    pods: Pods,
    signals: Signals,
    heartbeats: Heartbeats,
    logs: Logs,
    causes: Causes,
    findings: BTreeMap<(Entity, FindingKind), Finding>,
    opinions: BTreeMap<(Entity, FindingKind), Opinion>,
    contention: Contention,
    cut_off: CutOff,
    rescan: BTreeSet<WorkloadKey>,
    next: u64,
    /// Findings that could not be kept because of the bound.
    pub dropped: u64,
}

/// What the ranking over spans said of a finding, and when it is asked again.
#[derive(Debug)]
struct Opinion {
    again: Option<Timestamp>,
    evidence: Vec<Evidence>,
}

struct Seen {
    since: Timestamp,
    at: Timestamp,
    confidence: f64,
    evidence: Vec<Evidence>,
}

impl Analyser {
    /// An analyser that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes observations in order of arrival. `snapshot` already holds the object changes among them.
    pub fn ingest(&mut self, snapshot: &Snapshot, batch: &[Observation]) {
        // What is no number measures nothing, and is no sign of life.
        let empty = |signal: &Signal| matches!(signal, Signal::Sample(one) if !one.value.is_finite());
        for observation in batch.iter().filter(|one| !empty(&one.signal)) {
            self.heartbeats.ingest(observation);
            match &observation.signal {
                Signal::Span(_) => {
                    // Children end before their parents, so the order within a batch is kept.
                    self.calls.ingest(snapshot, observation);
                    self.golden.ingest(snapshot, observation);
                    self.causes.ingest(observation);
                }
                Signal::Sample(_) => self.signals.ingest(snapshot, observation),
                Signal::Object(ObjectChange::Pod(Change::Applied(pod))) => {
                    if snapshot.workload_of(pod).is_some() {
                        self.pods.observe(pod, observation.arrival_time);
                    }
                }
                Signal::Object(ObjectChange::Workload(Change::Applied(workload))) => {
                    self.rescan.insert(workload.key.clone());
                }
                // Lists of different kinds arrive in any order; what could not be mapped before can be now.
                Signal::Object(ObjectChange::Synced(_)) => {
                    self.rescan.extend(snapshot.workloads.keys().cloned());
                }
                Signal::Object(ObjectChange::Event(event)) => self.pods.hear(event),
                Signal::Log(_) => self.logs.ingest(observation),
                Signal::Object(_) | Signal::Source(_) | Signal::Series(_) => {}
            }
        }
    }

    /// Says what is abnormal now. Cheap enough for ten times a second.
    pub fn evaluate(&mut self, snapshot: &Snapshot, now: Timestamp) -> Evaluation {
        for key in std::mem::take(&mut self.rescan) {
            for pod in snapshot.pods_of(&key) {
                if !self.pods.knows(&pod.uid) {
                    self.pods.observe(pod, now);
                }
            }
        }
        self.pods.tick(snapshot, now);
        self.calls.expire(snapshot, now);
        self.golden.tick(snapshot, now);
        self.signals.expire(snapshot);
        self.heartbeats.tick(snapshot, now);
        self.logs.tick(now);
        self.logs.retain(|workload| snapshot.workloads.contains_key(workload));
        self.causes.expire(snapshot);

        let mut seen: BTreeMap<(Entity, FindingKind), Seen> = BTreeMap::new();
        self.pod_findings(snapshot, now, &mut seen);
        self.contention.update(&self.golden, &self.calls, snapshot, now);
        self.cut_off.update(&self.calls, snapshot, now);
        self.call_findings(snapshot, now, &mut seen);
        self.replica_findings(snapshot, now, &mut seen);
        self.slow_findings(snapshot, now, &mut seen);
        self.contention.findings(snapshot, now, &mut seen);
        self.signal_findings(snapshot, now, &mut seen);
        for (entity, kind, since, evidence) in objects::findings(snapshot, now) {
            let found =
                Seen { since: since.unwrap_or(now), at: now, confidence: 0.999, evidence: vec![evidence] };
            seen.insert((entity, kind), found);
        }
        beside::source_findings(snapshot, now, &mut seen);
        for (_, callee) in self.calls.callees_mut() {
            callee.learn(now);
        }
        Evaluation { findings: self.settle(seen, now), health: self.health(snapshot, now) }
    }

    /// Calls, for correlation along the call graph.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    fn pod_findings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
    ) {
        for (key, (kind, since, evidence)) in self.pods.findings() {
            let Some(pod) = snapshot.pods.get(key) else { continue };
            let entity = snapshot.entity_of(pod);
            if entity.workload().is_some() {
                let evidence = evidence.clone();
                seen.insert((entity, *kind), Seen { since: *since, at: now, confidence: 0.999, evidence });
            }
        }
    }

    fn call_findings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
    ) {
        let all_known = self.known_from_calls(snapshot);
        for (entity, callee) in self.calls.callees() {
            let known = all_known.get(entity).copied();
            let tally = callee.tally(now, WINDOW);
            let Some((first, last)) = tally.first_failure.zip(tally.last_failure) else {
                // Keep a finding through its clearing time, so that a pause between attempts does not end it.
                if let Some((kind, finding)) = known
                    && now.duration_since(finding.last_seen) < CALLS_CLEAR
                {
                    seen.insert((finding.entity.clone(), kind), keep(finding));
                }
                continue;
            };
            // Over as soon as it answers well again: waiting longer would only invite an action on a healthy pod.
            if recovered(callee, last, now) {
                continue;
            }
            let since = known.map_or(first, |(_, finding)| finding.since.min(first));
            if egress::spares(&self.cut_off, (entity, callee), snapshot, since, now, seen) {
                continue;
            }
            if known.is_none() && !self.convincing(snapshot, entity, callee, &tally, first, last, now) {
                continue;
            }
            let kind = self.kind_of(entity, callee, &tally, since);
            // What it was called first is kept while it lasts, unless the later evidence is of another sort.
            let kind = match known {
                Some((FindingKind::Hung | FindingKind::Slow, _)) if kind == FindingKind::Unreachable => kind,
                Some((before, _)) => before,
                None => kind,
            };
            // Wrong answers that come as quickly as usual are told by the callee itself, and no busy node makes them.
            let of_its_own = kind == FindingKind::ErrorBurst
                && entity
                    .workload()
                    .is_some_and(|key| self.golden.wrong_at_once(snapshot, key, now).is_some());
            if !of_its_own && self.contention.holds_back(&self.calls, snapshot, entity, kind) {
                continue;
            }
            let doubt = witness::doubt(&self.calls, snapshot, (callee, entity.workload()), kind, now)
                .filter(|_| !of_its_own);
            let lasts = tally.first_arrival.map_or(SignedDuration::ZERO, |first| now.duration_since(first));
            if doubt.is_some() && lasts < DOUBTED {
                continue;
            }
            let entity = self.narrow(snapshot, entity, since, now);
            let mut found = Seen {
                since,
                at: now,
                confidence: 1.0 - chance(callee, &tally).min(0.5),
                evidence: self.call_evidence(snapshot, &entity, callee, &tally, since),
            };
            if let Some(evidence) = doubt {
                found.confidence = UNSURE;
                found.evidence.push(evidence);
            }
            seen.insert((entity, kind), found);
        }
    }

    /// Enough failures, unlikely enough, for long enough, and nobody deeper can still turn out to be the reason.
    #[allow(clippy::too_many_arguments, reason = "one question with all of its inputs")]
    fn convincing(
        &self,
        snapshot: &Snapshot,
        entity: &Entity,
        callee: &Callee,
        tally: &Tally,
        first: Timestamp,
        last: Timestamp,
        now: Timestamp,
    ) -> bool {
        let failures = tally.failures();
        let share = failures as f64 / tally.calls().max(1) as f64;
        if failures < 3 || share < MINIMUM_SHARE || chance(callee, tally) > CHANCE {
            return false;
        }
        let rolling = entity.workload().is_some_and(|workload| {
            snapshot.controller_of(workload).is_some_and(|controller| controller.rolling_out())
                || snapshot.pods_of(workload).any(|pod| pod.deleting)
        });
        let persists = if rolling {
            PERSISTS_IN_ROLLOUT
        } else if share < CLEAR_SHARE {
            PERSISTS_IN_PART
        } else {
            persists(tally.main_failure())
        };
        let run = callee.tally(now, RUN_WINDOW);
        let began = run.first_failure.unwrap_or(first);
        last.duration_since(began) >= persists
            && self.settled(entity, tally, first, now)
            && !self.somebody_deeper(entity, tally, first, now)
            && !self.may_wait(entity, tally, first, now)
    }

    /// Whether it may be late only because it waits for others, of whose silence nobody has heard yet.
    fn may_wait(&self, entity: &Entity, tally: &Tally, first: Timestamp, now: Timestamp) -> bool {
        let Some(workload) = entity.workload() else { return false };
        let arrived = tally.first_arrival.unwrap_or(now);
        tally.main_failure() == Some(CallOutcome::Timeout)
            && now.duration_since(arrived) < WAITS_FOR_OTHERS
            && self.calls.alive(workload, first)
            && self.calls.calls_others(workload)
    }

    /// Whether somebody behind it fails as well and may yet turn out to be the reason: waiting for that one fills a
    /// caller's queue, so that calls fail that never got so far.
    fn somebody_deeper(&self, entity: &Entity, tally: &Tally, first: Timestamp, now: Timestamp) -> bool {
        let Some(workload) = entity.workload() else { return false };
        let arrived = tally.first_arrival.unwrap_or(now);
        if tally.main_failure() == Some(CallOutcome::Refused) || now.duration_since(arrived) >= DEEPER_FIRST {
            return false;
        }
        self.calls.callees().any(|(other, callee)| {
            let deeper = callee.tally(now, WINDOW);
            other != entity
                && deeper.failures() >= 2
                && deeper.first_failure.is_some_and(|began| began <= first + DEEPER_WITHIN)
                && self.calls.reaches(workload, other)
        })
    }

    /// Whether the callee's own spans would have told us by now that somebody behind it failed.
    fn settled(&self, entity: &Entity, tally: &Tally, first: Timestamp, now: Timestamp) -> bool {
        let Some(workload) = entity.workload() else { return true };
        // A refused connection was never handled, so it cannot have failed further on.
        if tally.main_failure() == Some(CallOutcome::Refused) {
            return true;
        }
        let Some(sender) = self.calls.sender(workload) else { return true };
        if sender.watermark > first + SignedDuration::from_millis(50) {
            return true;
        }
        let patience = (2.0 * sender.gap_seconds + 0.1).min(10.0);
        let arrived = tally.first_arrival.unwrap_or(now);
        now.duration_since(arrived).as_secs_f64() >= patience
    }

    fn kind_of(&self, entity: &Entity, _callee: &Callee, tally: &Tally, since: Timestamp) -> FindingKind {
        let Some(workload) = entity.workload() else { return FindingKind::DependencyDown };
        match tally.main_failure() {
            Some(CallOutcome::Refused | CallOutcome::Reset) => FindingKind::Unreachable,
            Some(CallOutcome::Timeout) => {
                if self.calls.alive(workload, since) {
                    FindingKind::Slow
                } else {
                    FindingKind::Hung
                }
            }
            _ => FindingKind::ErrorBurst,
        }
    }

    fn call_evidence(
        &self,
        snapshot: &Snapshot,
        entity: &Entity,
        callee: &Callee,
        tally: &Tally,
        since: Timestamp,
    ) -> Vec<Evidence> {
        let span = tally.last_failure.map_or(0.0, |last| last.duration_since(since).as_secs_f64());
        let what = match tally.main_failure() {
            Some(CallOutcome::Timeout) => "calls without an answer in time",
            Some(CallOutcome::Refused) => "calls that found nobody listening",
            Some(CallOutcome::Reset) => "calls whose connection broke",
            _ => "calls answered with an error",
        };
        let mut evidence = vec![
            Evidence::new(what, format!("{} of {} in {span:.1} s", tally.failures(), tally.calls()))
                .usual(format!("{:.2} % of calls fail", callee.usual_rate * 100.0)),
            Evidence::new(
                "chance of this without a fault",
                format!("below {:.0e}", chance(callee, tally).max(1e-30)),
            ),
        ];
        if let Some(workload) = entity.workload() {
            if let Some(sender) = self.calls.sender(workload)
                && sender.watermark <= since
            {
                evidence.push(Evidence::new(
                    "own spans",
                    format!(
                        "none since {:.1} s before the first failure",
                        since.duration_since(sender.watermark).as_secs_f64()
                    ),
                ));
            }
            if let Some(usual) = self.golden.usual_seconds(workload) {
                evidence.push(Evidence::new("usual own time", format!("{:.0} ms", usual * 1e3)));
            }
            let pods: Vec<_> = snapshot.pods_of(workload).filter(|pod| !pod.deleting).collect();
            let ready = pods.iter().filter(|pod| pod.ready).count();
            evidence.push(Evidence::new("pods ready by their probes", format!("{ready} of {}", pods.len())));
        }
        if !callee.callers.is_empty() {
            let callers: Vec<&str> = callee.callers.iter().take(5).map(|key| &*key.name).collect();
            evidence.push(Evidence::new("callers", callers.join(", ")));
        }
        evidence
    }

    /// Merges what is seen now with what was known: new, renewed, ended.
    fn settle(&mut self, seen: BTreeMap<(Entity, FindingKind), Seen>, now: Timestamp) -> Vec<Finding> {
        self.findings.retain(|_, finding| finding.active);
        for (key, finding) in &mut self.findings {
            if !seen.contains_key(key) {
                finding.active = false;
            }
        }
        self.opinions.retain(|key, _| seen.contains_key(key));
        for ((entity, kind), mut new) in seen {
            new.evidence.extend(self.second_opinion(&entity, kind, new.since, now));
            if let Some(finding) = self.findings.get_mut(&(entity.clone(), kind)) {
                finding.since = finding.since.min(new.since);
                finding.last_seen = new.at;
                finding.confidence = finding.confidence.max(new.confidence);
                finding.evidence = new.evidence;
                finding.active = true;
                continue;
            }
            if self.findings.len() >= MAX_FINDINGS {
                self.dropped += 1;
                continue;
            }
            self.next += 1;
            let finding = Finding {
                id: FindingId::new(format!("f{}", self.next)),
                entity: entity.clone(),
                kind,
                since: new.since.min(now),
                detected: now,
                last_seen: new.at,
                confidence: new.confidence,
                evidence: new.evidence,
                active: true,
            };
            self.findings.insert((entity, kind), finding);
        }
        self.findings.values().cloned().collect()
    }

    /// What log lines and the ranking over spans add to a finding that was made from calls.
    fn second_opinion(
        &mut self,
        entity: &Entity,
        kind: FindingKind,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<Evidence> {
        let Some(workload) = entity.workload() else { return Vec::new() };
        let mut evidence = self.logs.evidence(workload, since);
        if !matches!(kind, FindingKind::ErrorBurst | FindingKind::Slow | FindingKind::Hung) {
            return evidence;
        }
        let opinion = self.opinions.entry((entity.clone(), kind));
        let opinion = opinion.or_insert_with(|| Opinion { again: Some(now), evidence: Vec::new() });
        if opinion.again.is_some_and(|again| now >= again) {
            let first = opinion.again == Some(now);
            opinion.again = first.then_some(now + SECOND_LOOK);
            opinion.evidence = self.causes.evidence(workload, since);
        }
        evidence.extend(opinion.evidence.iter().cloned());
        evidence
    }

    fn health(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<(WorkloadKey, WorkloadHealth)> {
        let mut changed = Vec::new();
        for key in snapshot.workloads.keys() {
            let callee = self.calls.callee(&Entity::Workload { key: key.clone() });
            let (answered, outside) = self.golden.answered(key);
            let backlog_falls = self.signals.backlog_falls(key, now);
            let backlog_stopped = self.signals.backlog_stopped(key, now);
            let health = match callee {
                Some(callee) if callee.last_good.is_some() || callee.last_failure.is_some() => {
                    WorkloadHealth {
                        last_good: callee.last_good,
                        last_failure: callee.last_failure,
                        good_since: callee.good_since,
                        good_calls: callee.good_calls,
                        answered,
                        outside,
                        // Asked only of who failed just now: there may be tens of thousands.
                        wrong_at_once: callee
                            .last_failure
                            .filter(|last| now.duration_since(*last) <= CALLS_CLEAR)
                            .and_then(|_| self.golden.wrong_at_once(snapshot, key, now)),
                        backlog_falls,
                        backlog_stopped,
                    }
                }
                // Nobody calls it: its pods' readiness speaks, and only when all of them are ready.
                // Asked only where it matters, so that ten thousand quiet workloads cost nothing.
                _ => {
                    let quiet = snapshot.incidents_of(key).next().is_none();
                    if quiet && answered == 0 {
                        continue;
                    }
                    let before = snapshot.health.get(key).cloned().unwrap_or_default();
                    let before =
                        WorkloadHealth { answered, outside, backlog_falls, backlog_stopped, ..before };
                    let mut pods = snapshot.pods_of(key).filter(|pod| !pod.deleting).peekable();
                    let ready = !quiet && pods.peek().is_some() && pods.all(|pod| pod.serving());
                    if quiet {
                        before
                    } else if ready {
                        WorkloadHealth {
                            last_good: Some(now),
                            good_since: Some(before.good_since.unwrap_or(now)),
                            ..before
                        }
                    } else {
                        WorkloadHealth { good_since: None, good_calls: 0, ..before }
                    }
                }
            };
            if snapshot.health.get(key) != Some(&health) {
                changed.push((key.clone(), health));
            }
        }
        changed
    }
}

/// Good calls that started after the last failure, several of them, over some time.
fn recovered(callee: &Callee, last_failure: Timestamp, now: Timestamp) -> bool {
    callee.good_calls >= 3
        && callee
            .good_since
            .is_some_and(|since| since > last_failure && now.duration_since(since) >= RECOVERED_AFTER)
}

fn keep(finding: &Finding) -> Seen {
    Seen {
        since: finding.since,
        at: finding.last_seen,
        confidence: finding.confidence,
        evidence: finding.evidence.clone(),
    }
}

fn chance(callee: &Callee, tally: &Tally) -> f64 {
    // Three times the usual rate: a rate that wanders is not a fault.
    binomial_upper(tally.failures(), tally.calls(), (3.0 * callee.usual_rate).max(0.005))
}
