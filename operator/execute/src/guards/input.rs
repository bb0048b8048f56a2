//! Everything that the guards look at, as one plain value. Whoever keeps these values can judge the same
//! sequence again under other limits.

use crate::actions::Asks;
use crate::history::ActionHistory;
use crate::places::Place;
use crate::roots::Root;
use homeostat_knowledge::Fight;
use homeostat_knowledge::entity::{Name, TenantName, WorkloadKey};
use homeostat_knowledge::plan::{Expectation, PlaybookRef};
use homeostat_knowledge::policy::{ControlPolicy, KillSwitch, TenantPolicy, WorkloadPolicy};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, Approval, EvidenceId, EvidenceSource, FindingKind, GuardName,
    IncidentId, Origin, Request, SignedDuration, Snapshot, Target, Timestamp,
};
use serde::{Deserialize, Serialize};

/// Input of one evaluation of the guard chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardInput {
    /// When it is judged.
    pub now: Timestamp,
    /// The last guard that is asked: `Breaker` before any request, `Approval` before the intent is stored,
    /// `FreshRead` just before the effect.
    pub through: GuardName,
    /// The intent was stored by an earlier run of this program; it need not wait for the warm-up.
    pub resumed: bool,
    /// The action.
    pub action: ActionFacts,
    /// The kill switch, as freshly read.
    pub kill_switch: KillSwitch,
    /// How far this replica's clock is proved to be ahead of the API server's; behind is negative.
    #[serde(default)]
    pub clock_off: SignedDuration,
    /// This replica holds the lease.
    pub leads: bool,
    /// Since when all caches are synced.
    pub synced_since: Option<Timestamp>,
    /// Invariants that were found broken since the start.
    pub breaches: Vec<String>,
    /// The control plane's policy.
    pub control: ControlPolicy,
    /// The tenant, when it exists.
    pub tenant: Option<TenantPolicy>,
    /// The workload, when it is under control.
    pub workload: Option<WorkloadPolicy>,
    /// For actions on a node: the tenants that have pods on it. Their pauses, freezes and budgets count too.
    #[serde(default)]
    pub neighbours: Vec<TenantPolicy>,
    /// Actions of the last 24 hours, and repairs of the workload for longer, this one left out.
    pub history: Vec<ActionHistory>,
    /// The evidence as it stands now; `None` when it cannot be found.
    pub evidence: Option<EvidenceFacts>,
    /// Distinct root causes of the tenant, now and within the last calm time.
    pub roots: Vec<Root>,
    /// The node and the zone of the target, where two or more things of any tenant are or were sick there.
    #[serde(default)]
    pub places: Vec<Place>,
    /// Workloads of the tenant.
    pub workloads_in_tenant: u32,
    /// Who else has a hand on the target.
    pub ownership: OwnershipFacts,
    /// The dry run.
    pub dry_run: DryRunFacts,
    /// A person's approval.
    pub approval: Option<Approval>,
    /// The intent is stored in the API server.
    pub intent_stored: bool,
    /// The fresh, uncached read.
    pub fresh: FreshFacts,
}

/// What the guards need of the action itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionFacts {
    /// Identifier.
    pub id: ActionId,
    /// Kind.
    pub kind: ActionKind,
    /// Incident.
    pub incident: IncidentId,
    /// Whether an incident or a forecast asks for it.
    #[serde(default)]
    pub origin: Origin,
    /// Tenant whose rules apply.
    pub tenant: TenantName,
    /// Workload.
    pub workload: WorkloadKey,
    /// Target.
    pub target: Target,
    /// Playbook and step.
    pub playbook: PlaybookRef,
    /// Snapshot generation of the decision.
    pub epoch: u64,
    /// The evidence that was decided on.
    pub evidence: EvidenceId,
    /// When that evidence was last renewed.
    pub evidence_taken_at: Timestamp,
    /// The action that this one takes back.
    #[serde(default)]
    pub undo_of: Option<ActionId>,
    /// It may have to be taken back: the budget for that is reserved with its own.
    #[serde(default)]
    pub may_undo: bool,
    /// An autoscaler gets a lower floor.
    #[serde(default)]
    pub lowers_floor: bool,
    /// Whether a person must approve whatever the level says.
    #[serde(default)]
    pub asks: Asks,
    /// What a person was asked for, as it is stored.
    #[serde(default)]
    pub request: Request,
    /// What would be done now, as a digest; an approval must be for this.
    #[serde(default)]
    pub digest: Name,
}

impl ActionFacts {
    /// The facts of a record.
    pub fn of(record: &ActionRecord, snapshot: &Snapshot) -> Self {
        let spec = crate::actions::spec(record.kind());
        Self {
            id: record.id.clone(),
            kind: record.kind(),
            incident: record.incident.clone(),
            origin: record.origin,
            tenant: record.tenant.clone(),
            workload: record.workload.clone(),
            target: record.target.clone(),
            playbook: record.playbook.clone(),
            epoch: record.epoch,
            evidence: record.evidence.id.clone(),
            evidence_taken_at: record.evidence.taken_at,
            undo_of: record.undo_of.clone(),
            may_undo: crate::history::may_undo(record),
            lowers_floor: record.lowers_floor(),
            asks: spec.map_or(Asks::ByLevel, |spec| spec.asks(record, snapshot)),
            request: record.request.clone(),
            digest: crate::asking::digest(record),
        }
    }

    /// A change of size that takes capacity away, or may: another size of a pod is as strictly limited in both directions.
    pub fn goes_down(&self) -> bool {
        let of_pod = self.kind == ActionKind::ResizePod && self.origin == Origin::Forecast;
        self.kind == ActionKind::ScaleDown || self.lowers_floor || of_pod
    }
}

/// What an action is for, and so what its evidence must say at the moment of the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Something is sick: the finding must still be there.
    Heal,
    /// Something was sick and is well; the action keeps it from hurting next time (replacing a pod after a
    /// healed crash, so that the kubelet's back-off is forgotten). The workload must be calm *now*.
    Prevent,
    /// Another size is wanted; the newest decision must still want it.
    Size,
    /// Nothing is sick: it is a run's turn, and it must still wait.
    Order,
}

impl Purpose {
    /// What a forecast asks for is about size. Of the others, preventive steps are the ones whose success is a complete
    /// rollout; healing ones must meet objectives.
    pub fn of(record: &ActionRecord) -> Self {
        match (record.origin, record.verification.expect) {
            (Origin::Forecast, _) => Self::Size,
            (Origin::Schedule, _) => Self::Order,
            (Origin::Incident, Expectation::RolloutComplete) => Self::Prevent,
            (Origin::Incident, Expectation::ObjectivesMet | Expectation::Nothing) => Self::Heal,
        }
    }
}

/// The evidence as it stands now, not as it stood when the decision was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceFacts {
    /// What it is for.
    pub purpose: Purpose,
    /// What was found; `None` for a size, which needs no fault.
    pub kind: Option<FindingKind>,
    /// First bad sample.
    pub since: Timestamp,
    /// Last time that it was renewed: bad samples for healing, good ones for prevention, the last decision for a size.
    pub last_seen: Timestamp,
    /// How sure, 0 to 1; `None` when it is no finite number.
    pub confidence: Option<f64>,
    /// The finding still holds (healing), the workload is well (prevention), or the size is still wanted.
    pub active: bool,
    /// The source that it comes from.
    pub source: SourceFacts,
    /// Sources that tell of the fault independently of each other, in words.
    #[serde(default)]
    pub sources: Vec<Name>,
}

/// A size is decided so often; until the next decision is due, the last one is as good as new.
const SIZE_STEP: SignedDuration = SignedDuration::from_secs(15);

impl EvidenceFacts {
    /// How old the evidence is. A finding read off a watched object (a pod that backs off) holds until the
    /// object changes, so as long as its source delivers it is as fresh as the cache, and the fresh read has
    /// the last word; a finding from calls or samples is as old as the last of them.
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        if self.purpose != Purpose::Prevent
            && self.active
            && self.source == SourceFacts::Healthy
            && self.kind.is_some_and(is_object_state)
        {
            return SignedDuration::ZERO.min(now.duration_since(self.last_seen));
        }
        let age = now.duration_since(self.last_seen);
        if self.purpose == Purpose::Size { age.min(SignedDuration::ZERO).max(age - SIZE_STEP) } else { age }
    }
}

/// Findings read off the state of watched objects, such as earlier incidents and actions; all others come from calls or samples.
pub fn is_object_state(kind: FindingKind) -> bool {
    matches!(kind.source(), EvidenceSource::Objects | EvidenceSource::Records)
}

/// How the source of the evidence is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceFacts {
    /// Delivers.
    Healthy,
    /// Does not deliver, and why.
    Down(String),
    /// Nothing is known about it.
    Unknown,
}

/// Who else has a hand on the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipFacts {
    /// Why the action's own rules refuse the target.
    pub unfit: Option<String>,
    /// A GitOps tool, or the operator of a custom resource, owns the spec.
    pub gitops_owner: Option<Name>,
    /// A rollout of the workload is under way.
    pub rolling_out: bool,
    /// Somebody else took back what was set there, more than once and a short while ago.
    #[serde(default)]
    pub fight: Option<Fight>,
    /// The annotation "do not touch until" of what the workload targets, as written.
    #[serde(default)]
    pub hands_off: Option<Name>,
    /// Newest snapshot generation from which this process acted on the workload.
    pub newest_epoch: Option<u64>,
}

/// Result of the dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DryRunFacts {
    /// Not done yet.
    NotRun,
    /// The API server would do it.
    Passed,
    /// The API server would refuse it, and why.
    Refused(String),
    /// No answer.
    Unknown(String),
}

/// Result of the fresh read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FreshFacts {
    /// Not done yet.
    NotRead,
    /// The same target, in the state that was decided on.
    Same,
    /// Something else, and what.
    Differs(String),
    /// No answer.
    Unreadable(String),
}
