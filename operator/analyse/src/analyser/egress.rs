//! A caller that is cut off: its calls find nobody, while others reach the same callee. Then the caller's own network,
//! name resolution or sockets are broken, and its callees must be left alone.

use super::Seen;
use crate::calls::Callee;
use homeostat_knowledge::{Entity, Evidence, FindingKind, Snapshot, Timestamp, WorkloadKey};
use std::collections::BTreeMap;

/// So many calls of it must have found nobody.
const UNCONNECTED: u32 = 5;
/// Of ten of its calls at most one may have been answered.
const ANSWERED_SHARE: f64 = 0.1;
/// So many calls of others must have been answered meanwhile, and none of theirs failed.
const OTHERS_GOOD: u32 = 10;

/// The one caller that does not reach a callee which all others reach; `None` when the callee may be to blame.
pub fn cut_off<'a>(entity: &Entity, callee: &'a Callee, snapshot: &Snapshot) -> Option<&'a WorkloadKey> {
    let workload = entity.workload()?;
    // Without endpoints new connections are refused while old ones still serve: that is the callee's trouble.
    let mut pods = snapshot.pods_of(workload).peekable();
    if pods.peek().is_none() || pods.any(|pod| pod.deleting || !pod.ready) {
        return None;
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
            return None;
        }
    }
    cut.filter(|_| others >= OTHERS_GOOD)
}

/// The finding about the caller.
pub fn find(
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
