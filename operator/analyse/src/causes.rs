//! A second opinion on what is behind a fault: the spans of its first moments beside usual ones.
//!
//! [`homeostat_models::cause::rank`] compares own times, gaps, errors and missing steps over the call graph. Its
//! reasons join the evidence that people read. Who is charged is decided by [`crate::calls`], which sees every call and
//! needs no comparison; the ranking sees a sample.

use crate::redact::hide;
use homeostat_knowledge::{
    CallOutcome, Evidence, Observation, Signal, SignedDuration, Snapshot, SpanKind, Timestamp, WorkloadKey,
};
use homeostat_models::cause::{Case, CauseConfig, Span, Symptom, Window, rank};
use std::collections::{BTreeMap, VecDeque};

/// Spans of the last moments that are kept.
const MAX_RECENT: usize = 16_384;
/// Spans of a sample of traces that are kept for what is usual, and one trace in how many that is.
const MAX_USUAL: usize = 16_384;
const SAMPLE: u128 = 8;
/// What is usual ends so long before the first sign of a fault.
const APART: SignedDuration = SignedDuration::from_secs(2);
/// With fewer spans on either side nothing is said.
const MINIMUM: usize = 20;
/// Lines of evidence.
const MAX_EVIDENCE: usize = 2;
/// Distinct operations and workloads of one case.
const MAX_NAMES: usize = 2_000;

#[derive(Clone, Debug)]
struct Kept {
    end: Timestamp,
    trace: u64,
    id: u64,
    parent: u64,
    workload: WorkloadKey,
    operation: homeostat_knowledge::Name,
    start: f64,
    seconds: f64,
    error: bool,
}

/// Recent and usual spans.
#[derive(Debug, Default)]
pub struct Causes {
    recent: VecDeque<Kept>,
    usual: VecDeque<Kept>,
}

impl Causes {
    /// Takes one observation; anything but server and client spans of a workload is ignored.
    pub fn ingest(&mut self, observation: &Observation) {
        let Signal::Span(span) = &observation.signal else { return };
        let Some(workload) = observation.entity.workload() else { return };
        if span.kind == SpanKind::Other {
            return;
        }
        let kept = Kept {
            end: span.end,
            // Half of the id tells traces of one minute apart well enough.
            trace: span.trace as u64,
            id: span.id,
            parent: span.parent,
            workload: workload.clone(),
            operation: span.operation.clone(),
            start: span.start.as_microsecond() as f64 / 1e6,
            seconds: span.seconds(),
            error: !span.outcome.good() && span.outcome != CallOutcome::Cancelled,
        };
        if span.trace.is_multiple_of(SAMPLE) {
            push(&mut self.usual, kept.clone(), MAX_USUAL);
        }
        push(&mut self.recent, kept, MAX_RECENT);
    }

    /// Forgets spans of workloads that are gone.
    pub fn expire(&mut self, snapshot: &Snapshot) {
        let known = |kept: &Kept| snapshot.workloads.contains_key(&kept.workload);
        if self.recent.front().is_some_and(|kept| !known(kept)) {
            self.recent.retain(known);
            self.usual.retain(known);
        }
    }

    /// What the spans since `since` say against `workload`, strongest first; empty when they say nothing against it.
    pub fn evidence(&self, workload: &WorkloadKey, since: Timestamp) -> Vec<Evidence> {
        let usual: Vec<&Kept> = self.usual.iter().filter(|kept| kept.end < since - APART).collect();
        let suspect: Vec<&Kept> = self.recent.iter().filter(|kept| kept.end >= since).collect();
        if usual.len() < MINIMUM || suspect.len() < MINIMUM {
            return Vec::new();
        }
        let mut names = Names::default();
        let baseline = names.window(&usual);
        let suspect = names.window(&suspect);
        let Some(&entity) = names.workloads.get(workload) else { return Vec::new() };
        let case = Case {
            symptom: names.entry.map(|entity| Symptom { entity, measure: None }),
            entities: names.entities,
            operations: names.operation_words,
            baseline,
            suspect,
            ..Case::default()
        };
        let ranked = rank(&case, &CauseConfig::default());
        let place = ranked.iter().position(|candidate| candidate.entity == entity);
        let Some((place, candidate)) = place.and_then(|place| Some((place, ranked.get(place)?))) else {
            return Vec::new();
        };
        let of = format!("rank {} of {} by spans", place + 1, ranked.len());
        candidate
            .evidence
            .iter()
            .take(MAX_EVIDENCE)
            .map(|evidence| Evidence::new(of.clone(), evidence.text.clone()))
            .collect()
    }
}

fn push(queue: &mut VecDeque<Kept>, kept: Kept, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(kept);
}

/// Indices of workloads and operations within one case.
#[derive(Default)]
struct Names {
    workloads: BTreeMap<WorkloadKey, usize>,
    entities: Vec<String>,
    operations: BTreeMap<homeostat_knowledge::Name, usize>,
    operation_words: Vec<String>,
    /// Who ran the first span without a parent: where users come in.
    entry: Option<usize>,
}

impl Names {
    fn window(&mut self, spans: &[&Kept]) -> Window {
        let spans = spans.iter().filter_map(|kept| self.span(kept)).collect();
        Window { spans, logs: Vec::new() }
    }

    fn span(&mut self, kept: &Kept) -> Option<Span> {
        let next = self.entities.len();
        let entity = match self.workloads.get(&kept.workload) {
            Some(&entity) => entity,
            None if next < MAX_NAMES => {
                self.workloads.insert(kept.workload.clone(), next);
                self.entities.push(kept.workload.name.to_string());
                next
            }
            None => return None,
        };
        let next = self.operation_words.len();
        let operation = match self.operations.get(&kept.operation) {
            Some(&operation) => operation,
            None if next < MAX_NAMES => {
                self.operations.insert(kept.operation.clone(), next);
                self.operation_words.push(hide(&kept.operation).into_owned());
                next
            }
            None => return None,
        };
        if kept.parent == 0 {
            self.entry.get_or_insert(entity);
        }
        Some(Span {
            trace: kept.trace,
            id: kept.id,
            parent: (kept.parent != 0).then_some(kept.parent),
            entity,
            operation,
            start: kept.start,
            duration: kept.seconds,
            error: kept.error,
        })
    }
}
