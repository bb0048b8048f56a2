//! Incidents that an earlier leader left open. A new process begins without calls, series and histories: that it finds nothing
//! says that a fault is over only after it has looked for long enough.

use super::Correlator;
use crate::calls::Calls;
use crate::ranking::root_of_cause;
use homeostat_knowledge::{
    Entity, EvidenceSource, FindingKind, IncidentId, SignedDuration, Snapshot, Timestamp,
};

/// Callers that lost the leader before send again by then.
const CALLS: SignedDuration = Snapshot::RECONNECTED;
/// A series is judged anew after so many samples of a scrape each.
const SERIES: SignedDuration = SignedDuration::from_mins(5);
/// What grows is foretold from two dozen samples, a minute apart.
const GROWTH: SignedDuration = SignedDuration::from_mins(30);
/// Good calls to the cause that say that it answers again.
const ANSWERS: u64 = 3;

/// So long one must look to say that nothing of this kind is there any more. `answers` tells that calls to the cause go well.
fn looks(kind: FindingKind, answers: bool) -> SignedDuration {
    match kind.source() {
        // Objects say it in their first list.
        EvidenceSource::Objects | EvidenceSource::Records | EvidenceSource::Silence => SignedDuration::ZERO,
        EvidenceSource::Callers if answers => SignedDuration::ZERO,
        EvidenceSource::Callers | EvidenceSource::Siblings => CALLS,
        EvidenceSource::Series => match kind {
            FindingKind::MemoryGrowing
            | FindingKind::VolumeFilling
            | FindingKind::QuotaFilling
            | FindingKind::EphemeralStorageFilling => GROWTH,
            _ => SERIES,
        },
    }
}

impl Correlator {
    /// Whether this replica leads now. One that follows may hear nothing of the callers, who send to the leader: what the
    /// leader stored is over when the leader says so.
    pub fn lead(&mut self, leads: bool, now: Timestamp) {
        self.leads_since = leads.then(|| self.leads_since.unwrap_or(now));
    }

    /// How well this replica can tell whether an incident is over.
    pub(super) fn looked(
        &self,
        id: &IncidentId,
        calls: &Calls,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Looked {
        let Some(taken_up) = self.unseen.get(id) else { return Looked::Found };
        let cause = self.incidents.get(id).and_then(|incident| incident.causes.first());
        let Some((root, kind)) = cause.map(|cause| (root_of_cause(cause), cause.kind)) else {
            return Looked::Found;
        };
        if let Entity::Workload { key } = &root
            && !snapshot.workloads.contains_key(key)
        {
            return Looked::Found;
        }
        let answers = calls.callee(&root).is_some_and(|callee| callee.good_calls >= ANSWERS);
        match self.leads_since.map(|leads| leads.max(*taken_up)) {
            Some(since) if now.duration_since(since) >= looks(kind, answers) => Looked::Since(since),
            _ => Looked::TooShort,
        }
    }
}

/// How well the end of an incident is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// This process found it itself, or what it is about is gone: that nothing is found any more says that it is over.
    Found,
    /// Taken up, never found here, and looked for since then.
    Since(Timestamp),
    /// Taken up, and not looked for long enough.
    TooShort,
}
