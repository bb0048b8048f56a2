//! A caller that is cut off: its calls find nobody, while others reach the same callee. Then the caller's own network,
//! name resolution or sockets are broken, and its callees must be left alone.

use super::Seen;
use crate::calls::{Callee, Calls};
use homeostat_knowledge::{Entity, Evidence, FindingKind, SignedDuration, Snapshot, Timestamp, WorkloadKey};
use std::collections::BTreeMap;

/// So many calls of it must have found nobody.
const UNCONNECTED: u32 = 5;
/// Of ten of its calls at most one may have been answered.
const ANSWERED_SHARE: f64 = 0.1;
/// So many calls of others must have been answered meanwhile, and none of theirs failed.
const OTHERS_GOOD: u32 = 5;

/// So long a callee is not blamed while only one of its callers has failed, and the others have not yet called it often
/// enough to be sure.
const UNSURE: SignedDuration = SignedDuration::from_millis(1_600);

/// What a cut-off caller says of its callees counts for nothing, for so long after it was last seen to be cut off: it fails
/// at the first of them and calls the others too seldom to be compared.
const HOLDS: SignedDuration = SignedDuration::from_secs(10);

/// Who is to blame when calls find nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame<'a> {
    /// The one caller that does not reach a callee which all others reach.
    Caller(&'a WorkloadKey),
    /// It looks like that, but few others called since.
    Unsure(&'a WorkloadKey),
    /// As far as can be told, the callee.
    Callee,
}

/// Judges the present run of failures of one callee.
pub fn blame<'a>(entity: &Entity, callee: &'a Callee, snapshot: &Snapshot) -> Blame<'a> {
    if !stands(entity, snapshot) {
        return Blame::Callee;
    }
    let mut cut = None;
    let mut others = 0;
    for (caller, edge) in callee.edges() {
        let failed = edge.unconnected + edge.other;
        if failed == 0 {
            others += edge.good;
            continue;
        }
        let all = f64::from(failed + edge.good);
        let plain = edge.unconnected >= UNCONNECTED
            && edge.unconnected >= edge.other
            && f64::from(edge.good) <= ANSWERED_SHARE * all;
        if !plain || cut.replace(caller).is_some() {
            return Blame::Callee;
        }
    }
    match cut {
        Some(caller) if others >= OTHERS_GOOD => Blame::Caller(caller),
        Some(caller) if others > 0 || callee.called_by_others(caller) => Blame::Unsure(caller),
        _ => Blame::Callee,
    }
}

/// Whether all pods of the callee serve. Without end points new connections are refused while old ones still serve: that
/// is the callee's trouble.
fn stands(entity: &Entity, snapshot: &Snapshot) -> bool {
    let Some(workload) = entity.workload() else { return false };
    let mut pods = snapshot.pods_of(workload).peekable();
    pods.peek().is_some() && !pods.any(|pod| pod.deleting || !pod.ready)
}

/// Callers that are, or were a moment ago, cut off from anybody.
#[derive(Debug, Default)]
pub struct CutOff {
    callers: BTreeMap<WorkloadKey, Timestamp>,
}

impl CutOff {
    /// Looks at all callees.
    pub fn update(&mut self, calls: &Calls, snapshot: &Snapshot, now: Timestamp) {
        for (entity, callee) in calls.callees() {
            if let Blame::Caller(caller) = blame(entity, callee, snapshot) {
                self.callers.insert(caller.clone(), now);
            }
        }
        self.callers.retain(|_, last| now.duration_since(*last) <= HOLDS);
    }

    /// The cut-off caller that alone complains of this callee.
    fn complains<'a>(
        &self,
        entity: &Entity,
        callee: &'a Callee,
        snapshot: &Snapshot,
    ) -> Option<&'a WorkloadKey> {
        if self.callers.is_empty() || !stands(entity, snapshot) {
            return None;
        }
        let mut failing = callee.edges().filter(|(_, edge)| edge.unconnected + edge.other > 0);
        let (caller, _) = failing.next()?;
        (failing.next().is_none() && self.callers.contains_key(caller)).then_some(caller)
    }
}

/// Says whether the callee is spared, and finds its caller where that is to blame.
pub fn spares(
    cut_off: &CutOff,
    (entity, callee): (&Entity, &Callee),
    snapshot: &Snapshot,
    since: Timestamp,
    now: Timestamp,
    seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
) -> bool {
    let blamed = blame(entity, callee, snapshot);
    let caller = match blamed {
        Blame::Caller(caller) => Some(caller),
        Blame::Unsure(_) | Blame::Callee => cut_off.complains(entity, callee, snapshot),
    };
    match caller {
        Some(caller) => find(caller, entity, callee, since, now, seen),
        None => return matches!(blamed, Blame::Unsure(_)) && now.duration_since(since) < UNSURE,
    }
    true
}

/// The finding about the caller.
fn find(
    caller: &WorkloadKey,
    entity: &Entity,
    callee: &Callee,
    since: Timestamp,
    now: Timestamp,
    seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
) {
    let of = |wanted: bool| {
        callee
            .edges()
            .filter(move |(key, _)| (*key == caller) == wanted)
            .fold((0, 0), |(bad, good), (_, edge)| (bad + edge.unconnected + edge.other, good + edge.good))
    };
    let ((failed, answered), (_, others)) = (of(true), of(false));
    let evidence = vec![
        Evidence::new(
            "own calls that find nobody",
            format!("{failed} of {} to {}", failed + answered, entity.name()),
        )
        .usual(format!("{others} of {others} calls of others reach it")),
        Evidence::new("so it is cut off", "its own network, name resolution or sockets"),
    ];
    let found = Seen { since, at: now, confidence: 0.99, evidence };
    let place = (Entity::Workload { key: caller.clone() }, FindingKind::Unreachable);
    seen.entry(place).or_insert(found);
}
