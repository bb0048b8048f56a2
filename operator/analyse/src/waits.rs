//! How long calls wait between their caller and their callee: what a client's span lasts longer than the server's span
//! below it. It holds the way there and back, and the time until somebody on either side gets the processor.
//!
//! Both spans are durations of one clock each, so that clocks need not agree. A single workload that is starved, slowed by
//! its network or full of work makes only its own calls wait, those it takes and those it makes.

use crate::histogram::Second;
use homeostat_knowledge::{Observation, Signal, SignedDuration, Snapshot, SpanKind, Timestamp, WorkloadKey};
use std::collections::{BTreeMap, HashMap};

/// Spans that wait for their counterpart, per generation (two are kept).
const MAX_OPEN: usize = 16_384;
/// Pairs of caller and callee that are tracked; calls of more are not measured, and counted.
const MAX_EDGES: usize = 20_000;
/// Calls of a second that are needed to judge it.
const LEAST_CALLS: u32 = 3;
/// Seconds after which it is known what is usual, and the weight of one more.
const KNOWN_SECONDS: u32 = 5;
const WEIGHT: f64 = 0.01;
/// So many times as long as usual, and so many seconds longer, is a wait.
const RATIO: f64 = 10.0;
const LONGER_SECONDS: f64 = 0.02;
/// Seconds in a row that are believed.
const ENTER_SECONDS: u32 = 2;
/// What lasts for so many seconds is the new usual.
const LONGEST_SECONDS: u32 = 1_800;
/// A second that was closed so long ago says nothing of now.
const FRESH: SignedDuration = SignedDuration::from_secs(3);

/// One side of a call.
#[derive(Debug)]
enum Half {
    Client { caller: WorkloadKey, seconds: f64 },
    Server { callee: WorkloadKey, seconds: f64 },
}

/// The waits of one caller for one callee.
#[derive(Debug)]
struct Edge {
    second: Second,
    /// Mean logarithm of a second's middle wait, and of how many seconds.
    usual: f64,
    known: u32,
    /// First second of waits in a row, and how many.
    run: Option<(Timestamp, u32)>,
    /// The last second that could be judged.
    judged: i64,
}

/// The waits of all calls.
#[derive(Debug, Default)]
pub struct Waits {
    open: [HashMap<u64, Half>; 2],
    edges: BTreeMap<(WorkloadKey, WorkloadKey), Edge>,
    /// Calls that were not measured because of the bound.
    pub dropped: u64,
}

impl Waits {
    /// Takes one observation; anything but the two spans of a call between workloads is ignored.
    pub fn ingest(&mut self, observation: &Observation) {
        let Signal::Span(span) = &observation.signal else { return };
        let Some(workload) = observation.entity.workload() else { return };
        let seconds = span.seconds();
        let (id, half) = match span.kind {
            SpanKind::Client => (span.id, Half::Client { caller: workload.clone(), seconds }),
            SpanKind::Server if span.parent != 0 => {
                (span.parent, Half::Server { callee: workload.clone(), seconds })
            }
            SpanKind::Server | SpanKind::Other => return,
        };
        let other = self.open.iter_mut().find_map(|generation| generation.remove(&id));
        match (half, other) {
            (Half::Client { caller, seconds: whole }, Some(Half::Server { callee, seconds: inner }))
            | (Half::Server { callee, seconds: inner }, Some(Half::Client { caller, seconds: whole })) => {
                self.measure((caller, callee), (whole - inner).max(0.0), observation.arrival_time);
            }
            // Two of the same side: the newer one may still find its counterpart.
            (half, _) => {
                if self.open[0].len() >= MAX_OPEN {
                    self.open.swap(0, 1);
                    self.open[0].clear();
                }
                self.open[0].insert(id, half);
            }
        }
    }

    fn measure(&mut self, edge: (WorkloadKey, WorkloadKey), seconds: f64, arrival: Timestamp) {
        let index = arrival.as_second();
        if !self.edges.contains_key(&edge) && self.edges.len() >= MAX_EDGES {
            self.dropped += 1;
            return;
        }
        let edge = self.edges.entry(edge).or_insert_with(|| Edge::new(index));
        if index > edge.second.index {
            edge.close(index);
        }
        edge.second.add(seconds);
    }

    /// Closes seconds that have passed and forgets what is gone.
    pub fn tick(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let index = now.as_second();
        self.edges.retain(|(caller, callee), edge| {
            if index > edge.second.index {
                edge.close(index);
            }
            snapshot.workloads.contains_key(caller) && snapshot.workloads.contains_key(callee)
        });
    }

    /// Callers and callees whose calls wait now, and since when.
    pub fn waiting(&self, now: Timestamp) -> impl Iterator<Item = (&WorkloadKey, &WorkloadKey, Timestamp)> {
        let oldest = (now - FRESH).as_second();
        self.edges.iter().filter_map(move |((caller, callee), edge)| {
            let (since, seconds) = edge.run?;
            (seconds >= ENTER_SECONDS && edge.judged >= oldest).then_some((caller, callee, since))
        })
    }
}

impl Edge {
    fn new(index: i64) -> Self {
        Self { second: Second::new(index), usual: 0.0, known: 0, run: None, judged: index }
    }

    /// The second is over.
    fn close(&mut self, index: i64) {
        if self.second.count >= LEAST_CALLS
            && let Some(wait) = self.second.quantile(0.5)
        {
            self.judged = self.second.index;
            let usual = self.usual.exp();
            let waits = self.known >= KNOWN_SECONDS && wait >= (usual * RATIO).max(usual + LONGER_SECONDS);
            let lasts = self.run.is_some_and(|(_, seconds)| seconds >= LONGEST_SECONDS);
            if waits && !lasts {
                let began = || Timestamp::from_second(self.second.index).ok();
                self.run = match self.run {
                    Some((since, seconds)) => Some((since, seconds + 1)),
                    None => began().map(|since| (since, 1)),
                };
            } else {
                if lasts {
                    self.known = 0;
                }
                self.run = None;
                self.known = self.known.saturating_add(1);
                let weight = WEIGHT.max(1.0 / f64::from(self.known));
                self.usual += weight * (wait.ln() - self.usual);
            }
        }
        self.second = Second::new(index);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::{CallOutcome, Entity, Name, ObjectKey, Span, Uid};

    fn key(name: &str) -> WorkloadKey {
        ObjectKey::new("shop", name)
    }

    fn span(of: &str, kind: SpanKind, (id, parent): (u64, u64), millis: i64, at: Timestamp) -> Observation {
        let start = at - SignedDuration::from_millis(millis);
        Observation {
            tenant: None,
            entity: Entity::Pod {
                key: ObjectKey::new("shop", format!("{of}-0")),
                uid: Uid::new(of),
                workload: Some(key(of)),
            },
            event_time: at,
            arrival_time: at,
            signal: Signal::Span(Span {
                trace: 1,
                id,
                parent,
                kind,
                start,
                end: at,
                operation: Name::from("op"),
                outcome: CallOutcome::Ok,
                peer: None,
            }),
        }
    }

    /// Seconds of four calls each from the cart to the stock, which take 5 ms there; `whole` is what the cart sees.
    fn seconds(waits: &mut Waits, from: i64, count: i64, whole: i64, client_first: bool) -> Timestamp {
        for second in from..from + count {
            for call in 0..4 {
                let id = u64::try_from(second * 10 + call + 1).unwrap();
                let at = Timestamp::from_millisecond(second * 1_000 + call * 100).unwrap();
                let client = span("cart", SpanKind::Client, (id, 7), whole, at);
                let server = span("stock", SpanKind::Server, (id + 1_000_000, id), 5, at);
                let both = if client_first { [client, server] } else { [server, client] };
                for observation in &both {
                    waits.ingest(observation);
                }
            }
        }
        Timestamp::from_second(from + count).unwrap()
    }

    /// Whether calls wait, by a second that is over.
    fn wait(waits: &mut Waits, now: Timestamp) -> bool {
        let mut snapshot = Snapshot::default();
        for name in ["cart", "stock"] {
            let target = homeostat_knowledge::records::ControllerKey {
                kind: homeostat_knowledge::ControllerKind::Deployment,
                object: key(name),
            };
            let policy = homeostat_knowledge::WorkloadPolicy::new(key(name), Uid::new(name), target);
            snapshot.workloads.insert_mut(key(name), policy.into());
        }
        waits.tick(&snapshot, now);
        let waiting: Vec<_> = waits.waiting(now).collect();
        assert!(
            waiting.iter().all(|(caller, callee, _)| (*caller, *callee) == (&key("cart"), &key("stock")))
        );
        !waiting.is_empty()
    }

    #[test]
    fn what_a_call_lasts_longer_than_its_answer_is_its_wait_whichever_is_told_first() {
        for client_first in [true, false] {
            let mut waits = Waits::default();
            let now = seconds(&mut waits, 1_000, 10, 6, client_first);
            assert!(!wait(&mut waits, now));
            let now = seconds(&mut waits, 1_010, 1, 105, client_first);
            assert!(!wait(&mut waits, now), "one second alone");
            let now = seconds(&mut waits, 1_011, 1, 105, client_first);
            assert!(wait(&mut waits, now));
            let now = seconds(&mut waits, 1_012, 1, 6, client_first);
            assert!(!wait(&mut waits, now));
            let now = seconds(&mut waits, 1_013, 2, 105, client_first);
            assert!(wait(&mut waits, now));
            assert!(!wait(&mut waits, now + SignedDuration::from_secs(5)), "said long ago");
        }
    }

    #[test]
    fn a_long_answer_is_no_wait_and_without_a_counterpart_nothing_is_said() {
        let mut waits = Waits::default();
        let now = seconds(&mut waits, 1_000, 10, 5, true);
        assert!(!wait(&mut waits, now));
        for second in 1_010..1_020 {
            for call in 0..4_u64 {
                let at = Timestamp::from_second(second).unwrap();
                let id = u64::try_from(second).unwrap() * 10 + call;
                waits.ingest(&span("stock", SpanKind::Server, (id + 1_000_000, id), 900, at));
                waits.ingest(&span("cart", SpanKind::Client, (id, 7), 901, at));
                waits.ingest(&span("cart", SpanKind::Client, (id + 500_000, 7), 900, at));
            }
        }
        assert!(!wait(&mut waits, Timestamp::from_second(1_020).unwrap()));
    }

    #[test]
    fn what_lasts_for_half_an_hour_is_usual() {
        let mut waits = Waits::default();
        seconds(&mut waits, 1_000, 10, 6, true);
        let now = seconds(&mut waits, 1_010, 1_700, 105, true);
        assert!(wait(&mut waits, now));
        let now = seconds(&mut waits, 2_710, 120, 105, true);
        assert!(!wait(&mut waits, now));
    }

    #[test]
    fn spans_without_a_counterpart_are_forgotten() {
        let mut waits = Waits::default();
        let at = Timestamp::from_second(1_000).unwrap();
        for id in 1..=100_000 {
            waits.ingest(&span("cart", SpanKind::Client, (id, 7), 5, at));
        }
        assert!(waits.open.iter().map(HashMap::len).sum::<usize>() <= 2 * MAX_OPEN);
    }
}
