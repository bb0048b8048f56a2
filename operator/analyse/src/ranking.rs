//! Which root a finding points at, and the ranking of an incident's causes.

use crate::calls::Calls;
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{
    Cause, Entity, EvidenceSource, Finding, FindingKind, Incident, IncidentState, SignedDuration, Timestamp,
};
use std::collections::BTreeMap;

/// A first-hand finding that ended explains later ones of the same root for so long.
const EXPLAINS_FOR: SignedDuration = SignedDuration::from_secs(10);

/// What a finding points at.
pub(crate) fn root_of(finding: &Finding) -> Option<Entity> {
    match (&finding.entity, finding.kind) {
        // Missing data neither opens nor closes an incident.
        (_, FindingKind::NoData) | (Entity::Source { .. } | Entity::Cluster, _) => None,
        (Entity::Workload { .. } | Entity::External { .. } | Entity::Node { .. }, _) => {
            Some(finding.entity.clone())
        }
        (Entity::Pod { workload, .. }, _) => workload.clone().map(|key| Entity::Workload { key }),
    }
}

/// Seen in the object's own state, not only by its callers.
pub(crate) fn first_hand(kind: FindingKind) -> bool {
    kind.source() != EvidenceSource::Callers
}

/// Degraded, or about to be: nobody is failed yet.
pub(crate) fn only_warns(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::Slow
            | FindingKind::SignalAbnormal
            | FindingKind::NotReady
            | FindingKind::JobStuck
            | FindingKind::ReplicaOutlier
            | FindingKind::NoisyNeighbour
            | FindingKind::MemoryGrowing
            | FindingKind::VolumeFilling
            | FindingKind::QuotaFilling
            | FindingKind::EphemeralStorageFilling
            | FindingKind::QueueGrowing
            | FindingKind::CertificateExpiring
            | FindingKind::FaultExpected
            | FindingKind::OwnershipConflict
    )
}

/// Says only what may come.
fn foretells(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::MemoryGrowing
            | FindingKind::VolumeFilling
            | FindingKind::QuotaFilling
            | FindingKind::EphemeralStorageFilling
            | FindingKind::CertificateExpiring
    )
}

/// What was left to people because something may come does not keep a fault from being mended: automation takes it up again when
/// the first cause is no foretold one any more, unless a person said that they have it. Tells whether it did.
pub(crate) fn take_up(incident: &mut Incident, before: Option<FindingKind>, now: Timestamp) -> bool {
    let present = incident.causes.first().map(|cause| cause.kind);
    let foretold = before.is_some_and(foretells);
    let another = foretold && present.is_some_and(|kind| !only_warns(kind));
    if !another || incident.state != IncidentState::HandedOver || incident.acknowledged_by.is_some() {
        return false;
    }
    (incident.state, incident.handed_over) = (IncidentState::Open, None);
    incident.record(now, TimelineKind::State, "another fault than the one that was foretold: taken up again");
    true
}

/// How telling a kind is about what is broken, for ranking within one root: what explains comes before what is seen.
fn weight(kind: FindingKind) -> f64 {
    match kind {
        FindingKind::CrashLoop => 1.0,
        FindingKind::BackingOff => 0.98,
        FindingKind::OutOfMemory => 0.97,
        FindingKind::ImagePullFailed | FindingKind::SetupFailed | FindingKind::Unschedulable => 0.96,
        FindingKind::Crashed => 0.95,
        FindingKind::NodeNotReady => 0.94,
        FindingKind::NodePressure | FindingKind::JobFailed | FindingKind::JobStuck => 0.93,
        FindingKind::Hung | FindingKind::NoisyNeighbour => 0.9,
        FindingKind::DependencyDown => 0.88,
        FindingKind::ErrorBurst => 0.85,
        FindingKind::ReplicaOutlier => 0.84,
        // A leak explains why it is slow, not the other way round.
        FindingKind::MemoryGrowing => 0.83,
        FindingKind::Slow => 0.8,
        FindingKind::NotReady => 0.7,
        FindingKind::Unreachable => 0.6,
        FindingKind::QueueGrowing => 0.55,
        // What a new pod empties comes before a signal that is only unusual: it may be the same writes.
        FindingKind::EphemeralStorageFilling => 0.52,
        FindingKind::SignalAbnormal => 0.5,
        // What will be full says less than what is wrong now.
        FindingKind::VolumeFilling | FindingKind::QuotaFilling => 0.45,
        FindingKind::CertificateExpiring => 0.4,
        // Whatever is wrong now says more than what is expected.
        FindingKind::FaultExpected => 0.1,
        FindingKind::OwnershipConflict => 0.05,
        FindingKind::NoData => 0.0,
    }
}

pub(crate) fn root_of_cause(cause: &Cause) -> Entity {
    match &cause.entity {
        Entity::Pod { workload: Some(key), .. } => Entity::Workload { key: key.clone() },
        entity => entity.clone(),
    }
}

/// Ranks the incident's findings into causes: one per root, the deepest callee first, and for each root the most
/// telling kind. Findings that ended keep explaining while nothing newer does.
pub(crate) fn rank(incident: &mut Incident, calls: &Calls) {
    let any_active = incident.findings.iter().any(|finding| finding.active);
    let newest = incident.findings.iter().map(|finding| finding.last_seen).max();
    let suffers = |other: &Entity, from: &Entity| suffers(incident, other, from, calls);
    let mut best: BTreeMap<Entity, (f64, &Finding)> = BTreeMap::new();
    for finding in &incident.findings {
        let Some(root) = root_of(finding) else { continue };
        // What just ended still explains what its callers see a moment longer.
        let fresh = newest.is_some_and(|newest| newest.duration_since(finding.last_seen) <= EXPLAINS_FOR);
        let faded = if finding.active || !any_active {
            1.0
        } else if (fresh && first_hand(finding.kind)) || explains_active(incident, &root, suffers) {
            0.98
        } else {
            continue;
        };
        let score = faded * finding.confidence * weight(finding.kind);
        if best.get(&root).is_none_or(|(known, _)| score > *known) {
            best.insert(root, (score, finding));
        }
    }
    let roots: Vec<Entity> = best.keys().cloned().collect();
    let mut causes: Vec<(f64, Cause)> = best
        .into_iter()
        .map(|(root, (score, finding))| {
            // A caller of another candidate is more likely its victim, unless its own state says otherwise.
            let victim = !first_hand(finding.kind)
                && roots.iter().any(|other| *other != root && suffers(&root, other));
            let score = if victim { score * 0.5 } else { score };
            let evidence = finding.evidence.clone();
            let cause = Cause {
                entity: entity_of(&root, finding),
                kind: finding.kind,
                confidence: score.min(0.999),
                evidence,
            };
            (score, cause)
        })
        .collect();
    causes.sort_by(|(left, one), (right, other)| {
        right.total_cmp(left).then_with(|| one.entity.cmp(&other.entity))
    });
    causes.truncate(10);
    if causes.is_empty() {
        return;
    }
    incident.causes = causes.into_iter().map(|(_, cause)| cause).collect();
    if let Some(workload) = incident.causes[0].entity.workload() {
        incident.workload = Some(workload.clone());
    }
}

/// Whether this one calls that root, directly or through others. Who takes up an incident has seen no calls yet: whom its
/// cause harms is known from before.
fn suffers(incident: &Incident, one: &Entity, root: &Entity, calls: &Calls) -> bool {
    let Some(caller) = one.workload() else { return false };
    let harmed = || incident.causes.first().is_some_and(|cause| root_of_cause(cause) == *root);
    calls.reaches(caller, root) || (harmed() && incident.affected.contains(caller))
}

/// What failed behind workloads that still show something is the likelier reason, also once it is over: they
/// work off what piled up.
fn explains_active(incident: &Incident, root: &Entity, suffers: impl Fn(&Entity, &Entity) -> bool) -> bool {
    let active = incident.findings.iter().filter(|finding| finding.active);
    active.filter_map(root_of).any(|other| other != *root && suffers(&other, root))
}

/// People think in workloads; the pod is named where it is one of several and the evidence tells which.
fn entity_of(root: &Entity, finding: &Finding) -> Entity {
    match (&finding.entity, first_hand(finding.kind)) {
        (Entity::Pod { .. }, false) => finding.entity.clone(),
        _ => root.clone(),
    }
}
