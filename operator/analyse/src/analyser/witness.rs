//! Whose complaint counts. A caller that is short of processor time takes its callees for late: its own clock runs on
//! while it waits for its turn. Its telemetry, sent at fixed times, shows it.

use crate::calls::{Callee, Calls};
use homeostat_knowledge::{Evidence, FindingKind, Name, Snapshot, Timestamp, WorkloadKey};

/// By how much the telemetry of a workload is later than usual, in seconds, where that of half of its pods is.
pub fn late_by(calls: &Calls, snapshot: &Snapshot, workload: &WorkloadKey, now: Timestamp) -> Option<f64> {
    let mut pods = 0_usize;
    let mut late = Vec::new();
    for sender in snapshot.pods_of(workload).filter_map(|pod| calls.pod_sender(&pod.key)) {
        pods += 1;
        late.extend(sender.late_by(now));
    }
    (late.len() * 2 >= pods).then(|| late.into_iter().reduce(f64::max)).flatten()
}

/// What speaks against those who complain of this callee, if most of their failures are told by callers that are short of
/// processor time. An error that was answered is a fact whoever tells it: there it counts only where both are on one node.
pub fn doubt(
    calls: &Calls,
    snapshot: &Snapshot,
    (callee, workload): (&Callee, Option<&WorkloadKey>),
    kind: FindingKind,
    now: Timestamp,
) -> Option<Evidence> {
    let everywhere = match kind {
        FindingKind::Slow | FindingKind::Hung => true,
        FindingKind::ErrorBurst => false,
        _ => return None,
    };
    let (mut late, mut all) = (0, 0);
    let mut latest: Option<(f64, &WorkloadKey)> = None;
    for (caller, edge) in callee.edges() {
        let failures = edge.unconnected + edge.other;
        all += failures;
        if failures == 0 || !(everywhere || together(snapshot, caller, workload)) {
            continue;
        }
        if let Some(by) = late_by(calls, snapshot, caller, now) {
            late += failures;
            latest = latest.filter(|(most, _)| *most >= by).or(Some((by, caller)));
        }
    }
    let (by, caller) = latest.filter(|_| late * 2 >= all)?;
    let text = format!("the telemetry of {caller} comes {by:.2} s later than usual");
    Some(Evidence::new("callers are short of time themselves", text))
}

/// Whether every node of the callee carries the caller too.
fn together(snapshot: &Snapshot, caller: &WorkloadKey, callee: Option<&WorkloadKey>) -> bool {
    let nodes = |key: &WorkloadKey| -> Vec<Option<Name>> {
        snapshot.pods_of(key).map(|pod| pod.node.clone()).collect()
    };
    let theirs = nodes(caller);
    callee.is_some_and(|callee| nodes(callee).iter().all(|node| theirs.contains(node)))
}
