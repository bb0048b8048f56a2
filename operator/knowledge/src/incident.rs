//! What belongs together: findings of one fault, its ranked causes, its five instants.

use crate::entity::{Entity, ObjectKey, TenantName, WorkloadKey};
use crate::finding::{Evidence, Finding, FindingKind};
use crate::ids::{ActionId, EvidenceId, IncidentId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Correlated findings of one fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Identifier; also the object's name.
    pub id: IncidentId,
    /// Namespace that the `Incident` object lives in.
    pub namespace: crate::Name,
    /// Tenant, when the primary workload belongs to one.
    pub tenant: Option<TenantName>,
    /// The workload that the top cause is or belongs to; the first affected one for external causes.
    pub workload: Option<WorkloadKey>,
    /// Where it stands.
    pub state: IncidentState,
    /// How bad.
    pub severity: Severity,
    /// Everything abnormal that belongs to it, bounded at 50, most telling first.
    pub findings: Vec<Finding>,
    /// Why, best first, bounded at 10.
    pub causes: Vec<Cause>,
    /// Workloads that suffer from it without being its cause.
    pub affected: Vec<WorkloadKey>,
    /// The five instants.
    pub instants: Instants,
    /// What happened, oldest first, bounded at 100.
    pub timeline: Vec<TimelineEntry>,
    /// Actions taken for it, oldest first.
    pub actions: Vec<ActionId>,
    /// Times that it came back after it was mitigated.
    pub reopen_count: u32,
    /// Identity of the evidence as it stood when the causes changed last.
    pub evidence: EvidenceId,
    /// Why people must take over, once they must.
    pub handed_over: Option<String>,
    /// A person who acknowledged it.
    pub acknowledged_by: Option<crate::Name>,
}

impl Incident {
    /// One that was just opened: of no tenant and no workload, a warning, and nothing is found out yet.
    pub fn open(id: IncidentId, namespace: crate::Name, evidence: EvidenceId, instants: Instants) -> Self {
        Self {
            id,
            namespace,
            tenant: None,
            workload: None,
            state: IncidentState::Open,
            severity: Severity::Warning,
            findings: Vec::new(),
            causes: Vec::new(),
            affected: Vec::new(),
            instants,
            timeline: Vec::new(),
            actions: Vec::new(),
            reopen_count: 0,
            evidence,
            handed_over: None,
            acknowledged_by: None,
        }
    }

    /// The object's namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey { namespace: self.namespace.clone(), name: self.id.0.clone() }
    }

    /// Best explanation so far.
    pub fn top_cause(&self) -> Option<&Cause> {
        self.causes.first()
    }

    /// Nothing is wrong with it: something is only expected, or two cannot agree what it should have.
    pub fn only_tells(&self) -> bool {
        self.top_cause().is_some_and(|cause| cause.kind.only_tells())
    }

    /// One sentence for people: `order (Hung): 12 of 12 calls failed in 0.8 s`; without a cause, why people must take over.
    pub fn summary(&self) -> String {
        match self.top_cause() {
            None => self.handed_over.clone().unwrap_or_else(|| "cause not known yet".to_owned()),
            Some(cause) => {
                let why = cause.evidence.first().map_or_else(String::new, |line| format!(": {line}"));
                format!("{} ({}){why}", cause.entity.name(), cause.kind)
            }
        }
    }

    /// Adds a line to the timeline; beyond 100 lines the middle is dropped, never the beginning or the end.
    pub fn record(&mut self, at: Timestamp, what: TimelineKind, text: impl Into<String>) {
        const LIMIT: usize = 100;
        if self.timeline.len() >= LIMIT {
            self.timeline.remove(LIMIT / 2);
        }
        self.timeline.push(TimelineEntry { at, what, text: text.into() });
    }
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IncidentState {
    /// Recognised, nothing is being done (yet).
    Open,
    /// An action is under way.
    Acting,
    /// Back inside the objective; being watched.
    Mitigated,
    /// Verification window passed.
    Resolved,
    /// People must take over.
    HandedOver,
}

impl IncidentState {
    /// Ended: nothing more will be done by itself.
    pub fn closed(self) -> bool {
        matches!(self, Self::Resolved)
    }
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Degraded.
    Warning,
    /// Users are failed.
    Critical,
}

/// A ranked explanation with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// What is broken.
    pub entity: Entity,
    /// How.
    pub kind: FindingKind,
    /// Share of the failing calls that it explains and how telling the evidence is, 0 to 1.
    pub confidence: f64,
    /// In words and numbers.
    pub evidence: Vec<Evidence>,
}

/// The five instants of an incident (see the DORA and SRE definitions in the reports).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instants {
    /// First bad sample or failed request.
    pub impact_start: Timestamp,
    /// When we recognised it.
    pub detected: Timestamp,
    /// When automation or a person took it.
    pub acknowledged: Option<Timestamp>,
    /// Back inside the objective.
    pub mitigated: Option<Timestamp>,
    /// Verification window passed.
    pub resolved: Option<Timestamp>,
}

impl Instants {
    /// Of an incident that is recognised and no more.
    pub fn new(impact_start: Timestamp, detected: Timestamp) -> Self {
        Self { impact_start, detected, acknowledged: None, mitigated: None, resolved: None }
    }
}

/// One line of an incident's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What sort of line.
    pub what: TimelineKind,
    /// In words.
    pub text: String,
}

/// Sorts of timeline lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimelineKind {
    /// Something abnormal was seen.
    Finding,
    /// The explanation changed.
    Cause,
    /// Decided to do, to wait, or not to do something.
    Decision,
    /// An action moved on.
    Action,
    /// The incident changed its state.
    State,
    /// A person did something.
    Person,
}
