//! What the analysis would say: incidents with findings that are renewed while somebody is ill, and health.

use crate::server::Server;
use crate::world::{Inner, Service};
use homeostat_execute::guards::{is_object_state, minimum_duration};
use homeostat_knowledge::{
    Cause, Entity, Evidence, EvidenceId, Finding, FindingId, FindingKind, Incident, IncidentId,
    IncidentState, Instants, Severity, SignedDuration, Timestamp, WorkloadHealth, WorkloadKey,
};

/// An incident is closed after so long without anything wrong.
const CALM: SignedDuration = SignedDuration::from_secs(10);

/// Looks at every workload once.
pub fn analyse(inner: &mut Inner, now: Timestamp) {
    let Inner { server, services, .. } = inner;
    for (workload, service) in services {
        let mut ailing = service.situation.ailing(server, workload);
        if ailing.is_none() && service.stubborn && service.ill_at.is_some() {
            ailing.clone_from(&service.last);
        }
        if ailing.is_some() {
            service.ill_at = Some(now);
            service.last.clone_from(&ailing);
        }
        follow(server, workload, service, ailing.as_ref(), now);
        health(server, workload, ailing.is_some(), now);
    }
}

/// The name of a workload's incident.
fn incident_id(workload: &WorkloadKey, number: u32) -> IncidentId {
    IncidentId::new(format!("{}-{number}", workload.name))
}

fn follow(
    server: &mut Server,
    workload: &WorkloadKey,
    service: &mut Service,
    ailing: Option<&Entity>,
    now: Timestamp,
) {
    let open = server.incidents.get(&incident_id(workload, service.incidents)).cloned();
    let Some(entity) = ailing else {
        let Some(open) = open else { return };
        let mut incident = (*open).clone();
        match incident.instants.mitigated {
            Some(since) if now.duration_since(since) >= CALM => {
                server.close_incident(&incident.id);
                return;
            }
            Some(_) => return,
            None => incident.instants.mitigated = Some(now),
        }
        incident.state = IncidentState::Mitigated;
        for finding in &mut incident.findings {
            finding.active = false;
        }
        server.put_incident(incident);
        return;
    };
    let mut incident = if let Some(open) = open {
        (*open).clone()
    } else {
        service.incidents += 1;
        new_incident(server, workload, service, now)
    };
    incident.instants.mitigated = None;
    incident.state = IncidentState::Open;
    let same = incident.findings.first().is_some_and(|finding| finding.entity == *entity && finding.active);
    if !same {
        let number = incident.findings.len() + 1;
        let finding = Finding {
            id: FindingId::new(format!("{}-{}-{number}", incident.id, now.as_millisecond())),
            entity: entity.clone(),
            kind: service.situation.finding(),
            since: now - minimum_duration(service.situation.finding()),
            detected: now,
            last_seen: now,
            confidence: 0.999,
            evidence: vec![Evidence::new("calls that failed", "12 of 12 in 0.8 s")],
            active: true,
        };
        incident.evidence = EvidenceId::new(format!("evidence-{}", finding.id));
        incident.causes = vec![Cause {
            entity: entity.clone(),
            kind: finding.kind,
            confidence: 0.999,
            evidence: finding.evidence.clone(),
        }];
        incident.findings = std::iter::once(finding.clone()).chain(told_too(&finding)).collect();
    }
    for finding in &mut incident.findings {
        finding.last_seen = now;
    }
    server.put_incident(incident);
}

/// What somebody else tells of the same fault: what is measured is acted on alone at `ActFull` only when two tell of it.
fn told_too(finding: &Finding) -> Option<Finding> {
    let kind = match finding.kind {
        kind if is_object_state(kind) => return None,
        FindingKind::Slow | FindingKind::SignalAbnormal => FindingKind::ErrorBurst,
        _ => FindingKind::Slow,
    };
    Some(Finding { id: FindingId::new(format!("{}-too", finding.id)), kind, ..finding.clone() })
}

fn new_incident(server: &Server, workload: &WorkloadKey, service: &Service, now: Timestamp) -> Incident {
    let id = incident_id(workload, service.incidents);
    let tenant = server.tenants.values().find(|tenant| tenant.namespaces.contains(&workload.namespace));
    let evidence = EvidenceId::new(format!("evidence-{id}"));
    let instants = Instants::new(now - minimum_duration(service.situation.finding()), now);
    Incident {
        tenant: tenant.map(|tenant| tenant.name.clone()),
        workload: Some(workload.clone()),
        severity: Severity::Critical,
        ..Incident::open(id, workload.namespace.clone(), evidence, instants)
    }
}

fn health(server: &mut Server, workload: &WorkloadKey, ill: bool, now: Timestamp) {
    let before = server.health.get(workload).cloned().unwrap_or_default();
    let health = if ill {
        WorkloadHealth { last_failure: Some(now), good_since: None, good_calls: 0, ..before }
    } else {
        // Told when it turns, and then each minute: nobody asks for more.
        let told = before.last_good.is_some_and(|at| now.duration_since(at) < SignedDuration::from_mins(1));
        if before.good_since.is_some() && told {
            return;
        }
        WorkloadHealth {
            last_good: Some(now),
            good_since: before.good_since.or(Some(now)),
            good_calls: before.good_calls + 10,
            ..before
        }
    };
    server.put_health(workload, health);
}
