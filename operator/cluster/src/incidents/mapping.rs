//! Incidents of the vocabulary and incidents on the wire, both ways.
//!
//! What is read back is what was written, within the wire's precision: microseconds, percent, and the lengths of
//! the schema. A pod's workload is not on the wire; it is found again among the incident's own workloads.

use homeostat_crds::v1alpha1::incident::{
    self as wire, Cause as WireCause, EvidenceLine, Finding as WireFinding, Handover, IncidentInstants,
    IncidentState as WireState, TimelineEntry as WireEntry, TimelineKind as WireTimelineKind,
};
use homeostat_crds::v1alpha1::{Incident as WireIncident, IncidentSpec, IncidentStatus};
use homeostat_crds::{Entity as WireEntity, MicroTime, Severity as WireSeverity, clip};
use homeostat_knowledge::ids::{ActionId, EvidenceId, FindingId, IncidentId, Uid};
use homeostat_knowledge::incident::{TimelineEntry, TimelineKind};
use homeostat_knowledge::observation::StoredIncident;
use homeostat_knowledge::{
    Cause, Entity, Evidence, Finding, FindingKind, Incident, IncidentState, Instants, Name, ObjectKey,
    Severity, TenantName, Timestamp, WorkloadKey,
};

/// A stored incident cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status.{field} is `{found}`, which this version does not know")]
pub struct UnknownWord {
    /// Path within the status.
    pub field: String,
    /// What it holds.
    pub found: String,
}

/// Who opens incidents.
const OPENED_BY: &str = "homeostat";

/// What an incident is created with. The fingerprint names the fault, not the occurrence: the same fault of the
/// same workload has the same one.
pub fn spec(incident: &Incident) -> IncidentSpec {
    IncidentSpec {
        fingerprint: fingerprint(incident),
        tenant: incident.tenant.as_ref().map(|tenant| tenant.0.to_string()),
        opened_by: OPENED_BY.to_owned(),
        acknowledged: None,
        comments: Vec::new(),
        closed: None,
    }
}

fn fingerprint(incident: &Incident) -> String {
    let Some(cause) = incident.top_cause() else { return clip_ascii(&format!("unknown:{}", incident.id)) };
    // Pods come and go; the workload is what has the fault.
    let about = match (&cause.entity, &incident.workload) {
        (Entity::Pod { workload: Some(key), .. }, _) | (Entity::Pod { .. }, Some(key)) => {
            format!("Workload:{}/{}", key.namespace, key.name)
        }
        (entity, _) => match entity.namespace() {
            Some(namespace) => format!("{}:{namespace}/{}", entity.kind(), entity.name()),
            None => format!("{}:{}", entity.kind(), entity.name()),
        },
    };
    clip_ascii(&format!("{}:{about}", cause.kind))
}

fn clip_ascii(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
    text.chars().map(|c| if fits(c) { c } else { '-' }).take(128).collect()
}

/// The status, without conditions.
pub fn status(incident: &Incident) -> IncidentStatus {
    let Instants { impact_start, detected, acknowledged, mitigated, resolved } = incident.instants;
    let time = |at: Timestamp| Some(MicroTime::new(at));
    let span =
        |from: Timestamp, to: Timestamp| format!("{:.1}s", to.duration_since(from).as_secs_f64().max(0.0));
    IncidentStatus {
        observed_generation: None,
        state: Some(wire_state(incident.state)),
        severity: Some(match incident.severity {
            Severity::Info => WireSeverity::Info,
            Severity::Warning => WireSeverity::Warning,
            Severity::Critical => WireSeverity::Critical,
        }),
        cause: incident.top_cause().map(|cause| {
            // People know their workloads by name; which pod it was stands in the causes.
            let name = cause.entity.workload().map_or_else(|| cause.entity.name(), |key| &key.name);
            clip(&format!("{name} ({})", cause.kind), 320)
        }),
        summary: Some(clip(&incident.summary(), 1_024)),
        workload: incident.workload.as_ref().map(|key| key.name.to_string()),
        instants: Some(IncidentInstants {
            impact_start: time(impact_start),
            detected: time(detected),
            acknowledged: acknowledged.map(MicroTime::new),
            mitigated: mitigated.map(MicroTime::new),
            resolved: resolved.map(MicroTime::new),
        }),
        detected_in: Some(span(impact_start, detected)),
        repaired_in: mitigated.map(|mitigated| span(detected, mitigated)),
        findings: incident.findings.iter().take(wire::MAX_FINDINGS).map(finding).collect(),
        causes: (1..).zip(incident.causes.iter().take(wire::MAX_CAUSES)).map(cause).collect(),
        affected: incident.affected.iter().take(wire::MAX_AFFECTED).map(ToString::to_string).collect(),
        actions: newest(&incident.actions, wire::MAX_ACTIONS).iter().map(ToString::to_string).collect(),
        action_count: i32::try_from(incident.actions.len()).ok(),
        reopen_count: i32::try_from(incident.reopen_count).unwrap_or(i32::MAX).min(1_000_000),
        evidence_id: Some(clip(incident.evidence.as_str(), 128)),
        timeline: newest(&incident.timeline, wire::MAX_TIMELINE).iter().map(entry).collect(),
        handover: incident.handed_over.as_ref().map(|reason| Handover {
            at: MicroTime::new(handed_over_at(incident)),
            reason: nonempty(reason, 1_024),
        }),
        conditions: Vec::new(),
    }
}

/// When people were told to take over. Later lines of that kind tell of who leads, or that it came again.
fn handed_over_at(incident: &Incident) -> Timestamp {
    let states = || incident.timeline.iter().rev().filter(|line| line.what == TimelineKind::State);
    let handed = states().find(|line| line.text.ends_with("handed over to people"));
    handed.or_else(|| states().next()).map_or(incident.instants.detected, |line| line.at)
}

fn newest<T>(all: &[T], limit: usize) -> &[T] {
    &all[all.len().saturating_sub(limit)..]
}

fn nonempty(text: &str, limit: usize) -> String {
    if text.is_empty() { "-".to_owned() } else { clip(text, limit) }
}

fn percent(share: f64) -> i32 {
    // NaN becomes 0: not sure at all.
    (share * 100.0).round().clamp(0.0, 100.0) as i32
}

fn evidence(lines: &[Evidence]) -> Vec<EvidenceLine> {
    lines
        .iter()
        .take(wire::MAX_EVIDENCE)
        .map(|line| EvidenceLine {
            signal: nonempty(&line.signal, 128),
            observed: clip(&line.observed, 256),
            usual: line.usual.as_ref().map(|usual| clip(usual, 256)),
        })
        .collect()
}

fn finding(finding: &Finding) -> WireFinding {
    WireFinding {
        id: nonempty(finding.id.as_str(), 128),
        entity: entity(&finding.entity),
        kind: finding.kind.name().to_owned(),
        since: MicroTime::new(finding.since),
        detected: MicroTime::new(finding.detected),
        last_seen: Some(MicroTime::new(finding.last_seen)),
        confidence_percent: percent(finding.confidence),
        active: finding.active,
        evidence: evidence(&finding.evidence),
    }
}

fn cause((rank, cause): (i32, &Cause)) -> WireCause {
    WireCause {
        rank,
        entity: entity(&cause.entity),
        kind: cause.kind.name().to_owned(),
        confidence_percent: percent(cause.confidence),
        evidence: evidence(&cause.evidence),
    }
}

fn entity(entity: &Entity) -> WireEntity {
    WireEntity {
        kind: entity.kind().to_owned(),
        namespace: entity.namespace().map(str::to_owned),
        name: nonempty(entity.name(), 253),
        uid: match entity {
            Entity::Pod { uid, .. } => Some(uid.to_string()),
            _ => None,
        },
    }
}

fn entry(line: &TimelineEntry) -> WireEntry {
    WireEntry {
        at: MicroTime::new(line.at),
        kind: match line.what {
            TimelineKind::Finding => WireTimelineKind::Finding,
            TimelineKind::Cause => WireTimelineKind::Cause,
            TimelineKind::Decision => WireTimelineKind::Decision,
            TimelineKind::Action => WireTimelineKind::Action,
            TimelineKind::State => WireTimelineKind::State,
            TimelineKind::Person => WireTimelineKind::Person,
        },
        message: nonempty(&line.text, 512),
        action: None,
    }
}

fn wire_state(state: IncidentState) -> WireState {
    match state {
        IncidentState::Open => WireState::Open,
        IncidentState::Acting => WireState::Acting,
        IncidentState::Mitigated => WireState::Mitigated,
        IncidentState::Resolved => WireState::Resolved,
        IncidentState::HandedOver => WireState::HandedOver,
    }
}

/// A stored incident in the vocabulary. `created` stands in for instants that were never written.
pub fn stored(
    object: &WireIncident,
    created: Timestamp,
    key: ObjectKey,
) -> Result<StoredIncident, UnknownWord> {
    let default = IncidentStatus::default();
    let (spec, status) = (&object.spec, object.status.as_ref().unwrap_or(&default));
    let workload = status
        .workload
        .as_ref()
        .map(|name| ObjectKey { namespace: key.namespace.clone(), name: Name::from(name.as_str()) });
    let affected: Vec<WorkloadKey> = status.affected.iter().filter_map(|text| object_key(text)).collect();
    let home = Home { workload: workload.as_ref(), affected: &affected };

    let mut findings = Vec::with_capacity(status.findings.len());
    for (index, found) in status.findings.iter().enumerate() {
        findings.push(Finding {
            id: FindingId::new(found.id.as_str()),
            entity: home.entity(&found.entity),
            kind: kind(&found.kind, || format!("findings[{index}].kind"))?,
            since: found.since.timestamp(),
            detected: found.detected.timestamp(),
            last_seen: found.last_seen.unwrap_or(found.detected).timestamp(),
            confidence: f64::from(found.confidence_percent) / 100.0,
            evidence: lines(&found.evidence),
            active: found.active,
        });
    }
    let mut causes = Vec::with_capacity(status.causes.len());
    let mut ranked: Vec<&WireCause> = status.causes.iter().collect();
    ranked.sort_by_key(|cause| cause.rank);
    for (index, cause) in ranked.into_iter().enumerate() {
        causes.push(Cause {
            entity: home.entity(&cause.entity),
            kind: kind(&cause.kind, || format!("causes[{index}].kind"))?,
            confidence: f64::from(cause.confidence_percent) / 100.0,
            evidence: lines(&cause.evidence),
        });
    }
    let instants = status.instants.clone().unwrap_or_default();
    let detected = instants.detected.map_or(created, MicroTime::timestamp);
    let acknowledged_by = spec.acknowledged.as_ref().map(|person| Name::from(person.by.as_str()));
    let incident = Incident {
        id: IncidentId(key.name),
        namespace: key.namespace,
        tenant: spec.tenant.as_deref().map(TenantName::new),
        workload,
        state: match status.state {
            None | Some(WireState::Open) => IncidentState::Open,
            Some(WireState::Acting) => IncidentState::Acting,
            Some(WireState::Mitigated) => IncidentState::Mitigated,
            Some(WireState::Resolved) => IncidentState::Resolved,
            Some(WireState::HandedOver) => IncidentState::HandedOver,
        },
        severity: match status.severity {
            Some(WireSeverity::Info) => Severity::Info,
            None | Some(WireSeverity::Warning) => Severity::Warning,
            Some(WireSeverity::Critical) => Severity::Critical,
        },
        findings,
        causes,
        affected,
        instants: Instants {
            impact_start: instants.impact_start.map_or(detected, MicroTime::timestamp),
            detected,
            acknowledged: instants.acknowledged.map(MicroTime::timestamp),
            mitigated: instants.mitigated.map(MicroTime::timestamp),
            resolved: instants.resolved.map(MicroTime::timestamp),
        },
        timeline: status.timeline.iter().map(line).collect(),
        actions: status.actions.iter().map(|name| ActionId::new(name.as_str())).collect(),
        reopen_count: u32::try_from(status.reopen_count).unwrap_or(0),
        evidence: EvidenceId::new(status.evidence_id.as_deref().unwrap_or_default()),
        handed_over: status.handover.as_ref().map(|handover| handover.reason.clone()),
        acknowledged_by: acknowledged_by.clone(),
    };
    Ok(StoredIncident { incident, acknowledged_by, closed: spec.closed.is_some() })
}

fn object_key(text: &str) -> Option<ObjectKey> {
    let (namespace, name) = text.split_once('/')?;
    Some(ObjectKey::new(namespace, name))
}

fn kind(word: &str, field: impl FnOnce() -> String) -> Result<FindingKind, UnknownWord> {
    FindingKind::from_name(word).ok_or_else(|| UnknownWord { field: field(), found: word.to_owned() })
}

fn lines(lines: &[EvidenceLine]) -> Vec<Evidence> {
    lines
        .iter()
        .map(|line| Evidence {
            signal: line.signal.clone(),
            observed: line.observed.clone(),
            usual: line.usual.clone(),
        })
        .collect()
}

fn line(entry: &WireEntry) -> TimelineEntry {
    TimelineEntry {
        at: entry.at.timestamp(),
        what: match entry.kind {
            WireTimelineKind::Finding => TimelineKind::Finding,
            WireTimelineKind::Cause => TimelineKind::Cause,
            WireTimelineKind::Decision => TimelineKind::Decision,
            WireTimelineKind::Action => TimelineKind::Action,
            WireTimelineKind::State => TimelineKind::State,
            WireTimelineKind::Person => TimelineKind::Person,
        },
        text: entry.message.clone(),
    }
}

/// The workloads that an incident is about.
struct Home<'a> {
    workload: Option<&'a WorkloadKey>,
    affected: &'a [WorkloadKey],
}

impl Home<'_> {
    fn entity(&self, wire: &WireEntity) -> Entity {
        let name = || Name::from(wire.name.as_str());
        let key = || ObjectKey::new(wire.namespace.as_deref().unwrap_or_default(), wire.name.as_str());
        match wire.kind.as_str() {
            "Workload" => Entity::Workload { key: key() },
            "Pod" => {
                let key = key();
                let workload = self.workload_of(&key).cloned();
                Entity::Pod { uid: Uid::new(wire.uid.as_deref().unwrap_or_default()), workload, key }
            }
            "Node" => Entity::Node { name: name() },
            "Source" => Entity::Source { name: name() },
            "Cluster" => Entity::Cluster,
            _ => Entity::External { address: name() },
        }
    }

    /// The longest of our workloads' names that begins the pod's name; else the incident's own workload.
    fn workload_of(&self, pod: &ObjectKey) -> Option<&WorkloadKey> {
        let begins = |key: &&WorkloadKey| {
            key.namespace == pod.namespace
                && pod.name.strip_prefix(&*key.name).is_some_and(|rest| rest.starts_with('-'))
        };
        let candidates = self.workload.into_iter().chain(self.affected);
        candidates
            .filter(begins)
            .max_by_key(|key| key.name.len())
            .or_else(|| self.workload.filter(|key| key.namespace == pod.namespace))
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
