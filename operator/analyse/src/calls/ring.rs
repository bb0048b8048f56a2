//! Traces in which everybody who failed a call failed at one of their own: a ring.

use super::Failure;
use homeostat_knowledge::WorkloadKey;
use std::collections::BTreeSet;

/// Which failure of a ring is charged: that of the member at which the ring was entered from outside, since it is the one
/// that waits for itself. No clocks are compared for that. Where the way in is not known, the call that began last.
pub(super) fn charged(failures: &[Failure]) -> Option<usize> {
    let mut ring: BTreeSet<&WorkloadKey> =
        failures.iter().filter_map(|failure| failure.callee.workload()).collect();
    loop {
        // Whom nobody of the ring calls only leads there.
        let called = |key: &&WorkloadKey| {
            failures.iter().any(|failure| {
                failure.callee.workload() == Some(*key)
                    && failure.caller.as_ref().is_some_and(|caller| caller != *key && ring.contains(caller))
            })
        };
        let left: BTreeSet<&WorkloadKey> = ring.iter().copied().filter(called).collect();
        if left.len() == ring.len() {
            break;
        }
        ring = left;
    }
    let enters = |failure: &Failure| {
        failure.callee.workload().is_some_and(|key| ring.contains(key))
            && failure.caller.as_ref().is_none_or(|caller| !ring.contains(caller))
    };
    let last = |chosen: &dyn Fn(&Failure) -> bool| {
        let found = failures.iter().enumerate().filter(|(_, failure)| chosen(failure));
        found.max_by_key(|(_, failure)| failure.start).map(|(place, _)| place)
    };
    last(&enters).or_else(|| last(&|_| true))
}
