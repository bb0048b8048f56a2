//! What was done to each workload, looked up once for all decisions of a step: there are as many actions as workloads.

use homeostat_knowledge::{ActionRecord, Snapshot, WorkloadKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The actions that a snapshot remembers, by workload.
#[derive(Clone, Debug, Default)]
pub struct Acted {
    /// Oldest evidence first.
    of: BTreeMap<WorkloadKey, Vec<Arc<ActionRecord>>>,
}

impl Acted {
    /// Of all workloads.
    pub fn all(snapshot: &Snapshot) -> Self {
        Self::those(snapshot, |_| true)
    }

    /// Of one workload.
    pub fn one(snapshot: &Snapshot, workload: &WorkloadKey) -> Self {
        Self::those(snapshot, |action| action.workload == *workload)
    }

    fn those(snapshot: &Snapshot, counts: impl Fn(&ActionRecord) -> bool) -> Self {
        let mut of: BTreeMap<WorkloadKey, Vec<Arc<ActionRecord>>> = BTreeMap::new();
        for action in snapshot.actions.values().filter(|action| counts(action)) {
            of.entry(action.workload.clone()).or_default().push(Arc::clone(action));
        }
        for actions in of.values_mut() {
            actions.sort_by_key(|action| action.evidence.taken_at);
        }
        Self { of }
    }

    /// Those of a workload, oldest evidence first.
    pub(crate) fn on(&self, workload: &WorkloadKey) -> &[Arc<ActionRecord>] {
        self.of.get(workload).map(Vec::as_slice).unwrap_or_default()
    }
}
