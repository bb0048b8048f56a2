//! Whose complaint counts. A caller that is short of processor time takes its callees for late: its own clock runs on
//! while it waits for its turn. Its telemetry, sent at fixed times, shows it.

use crate::calls::{Callee, Calls};
use homeostat_knowledge::{FindingKind, Name, Snapshot, Timestamp, WorkloadKey};

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

/// Whether most of those who complain of this callee are short of processor time. An error that it answered is a fact
/// whoever tells it: there it counts only where both are on one node.
pub fn doubtful(
    calls: &Calls,
    snapshot: &Snapshot,
    callee: (&Callee, Option<&WorkloadKey>),
    kind: FindingKind,
    now: Timestamp,
) -> bool {
    let (callee, workload) = callee;
    let together = |caller: &WorkloadKey| {
        let nodes = |key: &WorkloadKey| -> Vec<Option<Name>> {
            snapshot.pods_of(key).map(|pod| pod.node.clone()).collect()
        };
        let theirs = nodes(caller);
        workload.is_some_and(|workload| nodes(workload).iter().all(|node| theirs.contains(node)))
    };
    let counts = |caller: &WorkloadKey| match kind {
        FindingKind::Slow | FindingKind::Hung => late_by(calls, snapshot, caller, now).is_some(),
        FindingKind::ErrorBurst => late_by(calls, snapshot, caller, now).is_some() && together(caller),
        _ => false,
    };
    let (mut late, mut all) = (0, 0);
    for (caller, edge) in callee.edges() {
        let failures = edge.unconnected + edge.other;
        all += failures;
        if failures > 0 && counts(caller) {
            late += failures;
        }
    }
    late > 0 && late * 2 >= all
}
