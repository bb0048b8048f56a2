//! What is seen for a moment after something was healed, and is no fault of its own unless it lasts: its callers work off what
//! piled up, there and elsewhere.

use super::Correlator;
use super::well::health_of;
use crate::calls::Calls;
use crate::ranking::root_of_cause;
use homeostat_knowledge::{Entity, Finding, FindingKind, SignedDuration, Snapshot, Timestamp};

/// So long after a root was healed its callers may still work off what piled up.
const AFTERMATH: SignedDuration = SignedDuration::from_secs(12);
/// What they show meanwhile must last so long to count as a fault of their own.
const AFTERMATH_LASTS: SignedDuration = SignedDuration::from_secs(4);
/// From this share of wrong answers on it is no backlog: a caller that works off what piled up still answers most.
const AFTERMATH_SHARE: f64 = 0.8;
/// Over which the share is taken.
const AFTERMATH_WINDOW: SignedDuration = SignedDuration::from_secs(2);

/// So long after a root answers well again what its callers call beside it may be late: they work off what piled up there too.
const BESIDE: SignedDuration = SignedDuration::from_secs(4);
/// That must last so long to count as a fault of its own.
const BESIDE_LASTS: SignedDuration = SignedDuration::from_secs(2);

impl Correlator {
    /// The callers of what answers well again send all at once what waited, also to others: those are late for a moment.
    pub(super) fn beside(
        &self,
        root: &Entity,
        findings: &[&Finding],
        calls: &Calls,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> bool {
        let Some(callee) = calls.callee(root) else { return false };
        let late = |finding: &&Finding| {
            finding.kind == FindingKind::Slow && now.duration_since(finding.since) < BESIDE_LASTS
        };
        let roots = self.incidents.values().filter_map(|incident| incident.causes.first()).map(root_of_cause);
        findings.iter().all(late)
            && roots.filter(|known| known != root).any(|known| {
                let well = health_of(&known, calls, snapshot);
                well.is_some_and(|(since, _)| now.duration_since(since) <= BESIDE)
                    && callee.callers.iter().any(|caller| calls.reaches(caller, &known))
            })
    }

    /// A caller of something that has just been healed is late or stumbles while it works off what piled up. That
    /// passes; it becomes an incident of its own only when it lasts.
    pub(super) fn works_off(
        &self,
        root: &Entity,
        findings: &[&Finding],
        calls: &Calls,
        now: Timestamp,
    ) -> bool {
        let Some(caller) = root.workload() else { return false };
        let failing = calls.callee(root).is_some_and(|callee| {
            let tally = callee.tally(now, AFTERMATH_WINDOW);
            tally.failures() as f64 >= AFTERMATH_SHARE * tally.calls() as f64
        });
        let brief = findings.iter().all(|finding| {
            let kind = match finding.kind {
                FindingKind::Slow => true,
                FindingKind::ErrorBurst => !failing,
                _ => false,
            };
            kind && now.duration_since(finding.since) < AFTERMATH_LASTS
        });
        brief
            && self
                .healed
                .iter()
                .any(|(healed, at)| now.duration_since(*at) <= AFTERMATH && calls.reaches(caller, healed))
    }
}
