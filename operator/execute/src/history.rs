//! What the guards remember of an action: small, serialisable, enough for budgets, cool-downs and breakers.

use homeostat_knowledge::entity::{TenantName, WorkloadKey};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, IncidentId, Name, Origin, PlaybookRef, Timestamp, Uid,
    UnreadAction,
};
use serde::{Deserialize, Serialize};

/// One action of the last 24 hours, or a repair that did not help and after which none did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionHistory {
    /// Which action.
    pub id: ActionId,
    /// Incident that it served.
    pub incident: IncidentId,
    /// Whether an incident or a forecast asked for it; each has its own budgets.
    #[serde(default)]
    pub origin: Origin,
    /// Tenant.
    pub tenant: TenantName,
    /// Workload.
    pub workload: WorkloadKey,
    /// UID of its target.
    pub target: Uid,
    /// Kind.
    pub kind: ActionKind,
    /// Playbook and step.
    pub playbook: PlaybookRef,
    /// State.
    pub state: ActionState,
    /// The target was changed, or may have been.
    pub effect: bool,
    /// When budget was taken: the claim, or the intent before it.
    pub at: Option<Timestamp>,
    /// When it ended.
    pub closed: Option<Timestamp>,
    /// The action that it takes back.
    #[serde(default)]
    pub undo_of: Option<ActionId>,
    /// It may have to be taken back.
    #[serde(default)]
    pub may_undo: bool,
    /// An autoscaler gets a lower floor.
    #[serde(default)]
    pub lowers_floor: bool,
    /// Did it help? `None` as long as nobody knows, or when nothing was done.
    pub helped: Option<bool>,
    /// This version cannot read it: why, and what to do.
    #[serde(default)]
    pub unread: Option<String>,
}

impl ActionHistory {
    /// The memory of one record.
    pub fn of(record: &ActionRecord) -> Self {
        let ActionRecord {
            id,
            incident,
            origin,
            tenant,
            workload,
            playbook,
            target,
            state,
            instants,
            outcome,
            undo_of,
            ..
        } = record;
        // An action that ended without having been sent (a budget of the API server refused it) used nothing up.
        let effect =
            changes_state(record.kind()) && (instants.sent.is_some() || *state == ActionState::Claimed);
        Self {
            id: id.clone(),
            incident: incident.clone(),
            origin: *origin,
            tenant: tenant.clone(),
            workload: workload.clone(),
            target: target.uid.clone(),
            kind: record.kind(),
            playbook: playbook.clone(),
            state: *state,
            effect,
            at: instants.claimed.or(instants.intent),
            closed: instants.closed,
            undo_of: undo_of.clone(),
            may_undo: may_undo(record),
            lowers_floor: record.lowers_floor(),
            helped: outcome.as_ref().filter(|_| effect).map(|outcome| outcome.helped),
            unread: None,
        }
    }

    /// What counts of an action that this version cannot read: everything that it may have done.
    pub fn unread(action: &UnreadAction) -> Self {
        Self {
            id: action.id.clone(),
            incident: action.incident.clone(),
            origin: action.origin,
            tenant: action.tenant.clone(),
            workload: action.workload.clone(),
            target: action.target.clone(),
            // Any kind that changes something: which one it is, is what may be unknown.
            kind: ActionKind::RollingRestart,
            playbook: PlaybookRef { name: Name::from(""), version: 0, step: 0 },
            state: action.state,
            effect: action.state.had_effect(),
            at: action.at,
            closed: action.closed,
            undo_of: None,
            may_undo: false,
            lowers_floor: false,
            helped: None,
            unread: Some(action.advice()),
        }
    }

    /// Takes budget: reserved, under way, or done.
    pub fn counts(&self) -> bool {
        self.effect || self.in_flight()
    }

    /// Reserved and not ended.
    pub fn in_flight(&self) -> bool {
        changes_state(self.kind) && self.state.in_flight()
    }

    /// How many effects of the hourly budgets it takes: its own, and while it is under way the one that would
    /// take it back. An undo is paid for by the action that it takes back, until that one has ended.
    pub fn weight(&self) -> usize {
        if self.undo_of.is_some() && self.state.in_flight() {
            return 0;
        }
        if self.may_undo && self.state.in_flight() { 2 } else { 1 }
    }

    /// Under way by itself: an undo goes on under the action that it takes back.
    pub(crate) fn takes_a_place(&self) -> bool {
        self.in_flight() && self.undo_of.is_none()
    }

    /// It was sent; what is left is to see whether it helps.
    pub(crate) fn is_watched(&self) -> bool {
        matches!(self.state, ActionState::Sent | ActionState::Verifying)
    }

    /// A change of size that takes capacity away, or may: another size of a pod is as strictly limited in both directions.
    pub fn goes_down(&self) -> bool {
        let of_pod = self.kind == ActionKind::ResizePod && self.origin == Origin::Forecast;
        self.kind == ActionKind::ScaleDown || self.lowers_floor || of_pod
    }

    /// Was sent and did not help.
    pub fn failed(&self) -> bool {
        self.effect && self.helped == Some(false)
    }
}

/// It has a before-image to go back to, and is to go back to it when it does not help.
pub(crate) fn may_undo(record: &ActionRecord) -> bool {
    record.undo == Undo::Restore
        && record.undo_of.is_none()
        && crate::actions::spec(record.kind()).is_some_and(|spec| spec.restore(record).is_some())
}

/// Actions that only tell people are not limited by budgets.
pub(crate) fn changes_state(kind: ActionKind) -> bool {
    crate::actions::spec(kind).is_none_or(crate::actions::ActionSpec::changes_state)
}
