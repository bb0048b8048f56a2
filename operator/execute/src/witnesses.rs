//! Who tells of a fault. What only `ActFull` allows is not done on the word of one sender of telemetry: it may be wrong, or
//! somebody may make it say what he wants.

use homeostat_knowledge::{
    Entity, EvidenceSource, Finding, FindingKind, Incident, Name, Snapshot, WorkloadKey,
};
use std::collections::BTreeSet;

/// Senders that are named; two are enough.
const MOST: usize = 5;

/// The independent sources of an incident's findings: those of `of` that deliver. Pure.
///
/// Telemetry of a caller and of the callee itself are two: two processes saw it. So are a workload's spans and its signals,
/// which take two ways to us. Several kinds of one sender are one.
pub(crate) fn sources<'a>(
    of: impl Iterator<Item = &'a Finding>,
    snapshot: &Snapshot,
    delivers: impl Fn(FindingKind) -> bool,
) -> Vec<Name> {
    let told: BTreeSet<String> =
        of.filter(|finding| delivers(finding.kind)).flat_map(|finding| who(finding, snapshot)).collect();
    told.into_iter().take(MOST).map(Name::from).collect()
}

/// Findings that tell of the fault now; of one that is over, those that told of it.
pub(crate) fn telling(incident: &Incident, over: bool) -> impl Iterator<Item = &Finding> {
    incident.findings.iter().filter(move |finding| over || finding.active)
}

/// Whose word a finding is.
fn who(finding: &Finding, snapshot: &Snapshot) -> Vec<String> {
    let subject = match finding.entity.workload() {
        Some(key) => key.to_string(),
        None => finding.entity.to_string(),
    };
    match (finding.kind.source(), finding.kind) {
        (EvidenceSource::Objects, _) => vec!["objects in Kubernetes".to_owned()],
        (EvidenceSource::Callers, FindingKind::Slow) => vec![spans(&subject)],
        (EvidenceSource::Callers, _) => vec![match only_caller(&finding.entity, snapshot) {
            Some(caller) => spans(&caller.to_string()),
            None => format!("spans of callers of {subject}"),
        }],
        // Found only where three or more workloads of a node are late at once, each by its own telemetry.
        (EvidenceSource::Siblings, FindingKind::NoisyNeighbour) => {
            vec![
                format!("spans of one workload on {subject}"),
                format!("spans of another workload on {subject}"),
            ]
        }
        (EvidenceSource::Siblings, _) => vec![spans(&subject)],
        (EvidenceSource::Series, _) => vec![format!("signals of {subject}")],
        (EvidenceSource::Records, FindingKind::OwnershipConflict) => {
            vec![format!("earlier actions on {subject}")]
        }
        (EvidenceSource::Records, _) => vec![format!("earlier incidents of {subject}")],
        (EvidenceSource::Silence, _) => Vec::new(),
    }
}

fn spans(of: &str) -> String {
    format!("spans of {of}")
}

/// Who tells of failed calls where only one workload calls. Of another tenant's nothing is said by name.
fn only_caller<'a>(entity: &Entity, snapshot: &'a Snapshot) -> Option<&'a WorkloadKey> {
    let callee = entity.workload()?;
    let mut others = snapshot.callers.get(callee)?.iter().filter(|caller| *caller != callee);
    let one = others.next()?;
    let tenant = |key: &WorkloadKey| snapshot.tenant_of_namespace(&key.namespace).map(|tenant| &tenant.name);
    (others.next().is_none() && tenant(one) == tenant(callee)).then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{incident, pod_entity, snapshot};
    use homeostat_knowledge::ObjectKey;
    use std::sync::Arc;

    fn of(name: &str) -> Entity {
        Entity::Workload { key: ObjectKey::new("shop", name) }
    }

    fn told(findings: &[(Entity, FindingKind)], snapshot: &Snapshot) -> usize {
        let all: Vec<Finding> = findings
            .iter()
            .map(|(entity, kind)| incident("order-1", entity.clone(), *kind, 0).findings.remove(0))
            .collect();
        sources(all.iter(), snapshot, |_| true).len()
    }

    #[test]
    fn each_kind_has_its_sender_and_one_sender_counts_once() {
        use FindingKind::{
            Crashed, ErrorBurst, Hung, MemoryGrowing, NoData, NoisyNeighbour, NotReady, SignalAbnormal, Slow,
        };
        let snapshot = snapshot();
        let order = || of("order");
        for (findings, expected) in [
            (vec![(order(), Slow)], 1),
            (vec![(order(), NoData)], 0),
            (vec![(order(), Hung), (pod_entity(), ErrorBurst)], 1),
            (vec![(order(), SignalAbnormal), (order(), MemoryGrowing)], 1),
            (vec![(pod_entity(), Crashed), (pod_entity(), NotReady)], 1),
            (vec![(order(), Slow), (order(), SignalAbnormal)], 2),
            (vec![(order(), Hung), (pod_entity(), NotReady)], 2),
            (vec![(order(), ErrorBurst), (of("front"), Slow)], 2),
            (vec![(Entity::Node { name: "node-1".into() }, NoisyNeighbour)], 2),
        ] {
            assert_eq!(told(&findings, &snapshot), expected, "{findings:?}");
        }
    }

    #[test]
    fn an_only_caller_that_is_slow_itself_is_one_source() {
        let mut snapshot = snapshot();
        let findings = [(of("order"), FindingKind::ErrorBurst), (of("front"), FindingKind::Slow)];
        let callers = |names: &[&str]| {
            Arc::new(names.iter().map(|name| ObjectKey::new("shop", *name)).collect::<BTreeSet<_>>())
        };
        snapshot.callers.insert_mut(ObjectKey::new("shop", "order"), callers(&["front"]));
        assert_eq!(told(&findings, &snapshot), 1);
        snapshot.callers.insert_mut(ObjectKey::new("shop", "order"), callers(&["front", "kiosk"]));
        assert_eq!(told(&findings, &snapshot), 2);
    }

    #[test]
    fn what_does_not_deliver_and_what_is_over_does_not_tell() {
        let snapshot = snapshot();
        let mut found = incident("order-1", of("order"), FindingKind::Slow, 0);
        let mut other = incident("order-1", of("order"), FindingKind::SignalAbnormal, 0).findings.remove(0);
        other.active = false;
        found.findings.push(other);
        let count = |over: bool, dead: Option<FindingKind>| {
            sources(telling(&found, over), &snapshot, |kind| Some(kind) != dead).len()
        };
        assert_eq!((count(false, None), count(true, None)), (1, 2));
        assert_eq!(count(true, Some(FindingKind::SignalAbnormal)), 1);
    }
}
