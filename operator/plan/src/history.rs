//! What was already done about an incident: where on the ladder we are.

use crate::decision::later;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, ApprovalDecision, GuardName, Incident, SignedDuration, Snapshot,
    Timestamp, Uid, WorkloadKey,
};
use std::sync::Arc;

/// First wait after a guard refused an action; doubles with each refusal.
const REFUSAL_WAIT: SignedDuration = SignedDuration::from_secs(2);
/// Longest wait after a refusal.
const REFUSAL_LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// Refusals of the same action in a row after which people take over.
pub const REFUSALS: u32 = 10;

/// Actions of one incident, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History<'a> {
    actions: Vec<&'a Arc<ActionRecord>>,
    /// The workload that the incident is about now; its cause may have been another one before.
    about: Option<WorkloadKey>,
}

/// Refusals of one action on one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// How many in a row that were about the action, not about the health of Homeostat itself.
    pub count: u32,
    /// The last one was about Homeostat itself: it warms up, does not lead, its clock is wrong.
    pub of_ourselves: bool,
    /// When it may be tried again.
    pub again: Timestamp,
    /// What the last one said.
    pub message: String,
}

impl<'a> History<'a> {
    /// Collects the actions of an incident from the snapshot.
    pub fn of(incident: &Incident, snapshot: &'a Snapshot) -> Self {
        let mut actions: Vec<_> =
            // What takes an action back belongs to that action, which tells how both ended.
            snapshot
                .actions
                .values()
                .filter(|action| action.incident == incident.id && action.undo_of.is_none())
                .collect();
        actions.sort_by(|a, b| (a.evidence.taken_at, &a.id).cmp(&(b.evidence.taken_at, &b.id)));
        Self { actions, about: incident.workload.clone() }
    }

    /// The newest action that is admitted and has not ended.
    pub fn in_flight(&self) -> Option<&'a ActionRecord> {
        self.actions.iter().rev().map(|action| &***action).find(|action| action.state.in_flight())
    }

    /// Nothing was done, asked for or refused.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Number of actions that changed something, or may have. What ended without having been sent used nothing up.
    pub fn effects(&self) -> u32 {
        let counts = |action: &ActionRecord| action.instants.sent.is_some() || action.state.in_flight();
        count(self.actions.iter().filter(|action| counts(action)))
    }

    /// Actions that helped.
    pub fn useful(&self) -> u32 {
        count(self.actions.iter().filter(|action| action.state == ActionState::Verified))
    }

    /// Evictions and rolling restarts of the present workload that were done and did not help. What the kubelet does
    /// does not count.
    pub fn useless_restarts(&self) -> u32 {
        count(self.useless_here().filter(|action| restarts(action.kind())))
    }

    /// Actions of all kinds that were done to the present workload and did not help.
    pub fn useless_actions(&self) -> u32 {
        count(self.useless_here())
    }

    /// Actions of a kind that this step of this playbook did to the present workload, and that did not help.
    pub fn useless_of(&self, kind: ActionKind, playbook: &str, step: u32) -> u32 {
        let own = |action: &&ActionRecord| {
            action.kind() == kind && *action.playbook.name == *playbook && action.playbook.step == step
        };
        count(self.useless_here().filter(own))
    }

    /// Actions of a kind that were done to the present workload and did not help.
    pub fn useless(&self, kind: ActionKind) -> u32 {
        count(self.useless_here().filter(|action| action.kind() == kind))
    }

    /// What did not help. What was done to another workload, which was held for the cause before, says nothing about the
    /// present one; [`History::effects`] counts it, so an incident does not wander on for ever.
    fn useless_here(&self) -> impl Iterator<Item = &'a ActionRecord> {
        let here = |action: &&ActionRecord| {
            action.target.is_node() || self.about.as_ref().is_none_or(|about| action.workload == *about)
        };
        self.actions.iter().map(|action| &***action).filter(|action| useless(action)).filter(here)
    }

    /// An action of this kind was sent to this object already.
    pub fn done_to(&self, kind: ActionKind, uid: &Uid) -> Option<&'a ActionRecord> {
        self.on(kind, uid).find(|action| action.state.had_effect() && action.instants.sent.is_some())
    }

    /// An action that a person is asked about, as long as an answer would count.
    pub fn asked(&self, now: Timestamp) -> Option<&'a ActionRecord> {
        self.actions.iter().rev().map(|action| &***action).find(|action| {
            action.state == ActionState::AwaitingApproval
                && action.request.expires.is_none_or(|expires| now <= expires)
        })
    }

    /// An action of this kind on this object waits for a person.
    pub fn proposed(&self, kind: ActionKind, uid: &Uid) -> Option<&'a ActionRecord> {
        self.on(kind, uid)
            .find(|action| matches!(action.state, ActionState::Proposed | ActionState::AwaitingApproval))
    }

    /// A person said no to an action of this kind on this object, or nobody answered: why it is for people now.
    pub fn left_to_people(&self, kind: ActionKind, uid: &Uid) -> Option<&'a str> {
        let denied = |action: &&ActionRecord| {
            action.approval.as_ref().is_some_and(|given| given.decision == ApprovalDecision::Deny)
        };
        let unanswered = |action: &&ActionRecord| {
            action.state == ActionState::HandedOver && action.instants.sent.is_none()
        };
        let mut all = self.on(kind, uid).filter(|action| denied(action) || unanswered(action));
        all.next_back().map(|action| action.message.as_str())
    }

    /// Refusals, cancellations and failures without an effect of this kind on this object.
    pub fn refusals(&self, kind: ActionKind, uid: &Uid) -> Option<Refusals> {
        let refused: Vec<_> = self.on(kind, uid).filter(|action| without_effect(action)).collect();
        let last = refused.last()?;
        let tries = u32::try_from(refused.len()).unwrap_or(u32::MAX);
        let doubled = REFUSAL_WAIT.saturating_mul(1_i32.checked_shl(tries.min(20) - 1).unwrap_or(i32::MAX));
        let since = last.instants.closed.or(last.instants.intent).unwrap_or(last.evidence.taken_at);
        Some(Refusals {
            count: count(refused.iter().filter(|action| !of_ourselves(action))),
            of_ourselves: of_ourselves(last),
            again: later(since, doubled.min(REFUSAL_LONGEST)),
            message: last.message.clone(),
        })
    }

    /// When the last action ended.
    pub fn last_end(&self) -> Option<Timestamp> {
        self.actions.iter().filter_map(|action| action.instants.closed.or(action.instants.verified)).max()
    }

    /// When an action on this workload was last seen to help.
    pub fn healed_at(&self, workload: &WorkloadKey) -> Option<Timestamp> {
        let helped = |action: &&&Arc<ActionRecord>| {
            action.workload == *workload && action.state == ActionState::Verified
        };
        let ends = self.actions.iter().filter(helped);
        ends.filter_map(|action| action.instants.verified.or(action.instants.closed)).max()
    }

    fn on(&self, kind: ActionKind, uid: &Uid) -> impl DoubleEndedIterator<Item = &'a ActionRecord> {
        self.actions
            .iter()
            .map(|action| &***action)
            .filter(move |action| action.kind() == kind && action.target.uid == *uid)
    }
}

fn restarts(kind: ActionKind) -> bool {
    matches!(kind, ActionKind::EvictPod | ActionKind::RollingRestart)
}

fn useless(action: &ActionRecord) -> bool {
    matches!(action.state, ActionState::Failed | ActionState::Undone) && action.instants.sent.is_some()
}

fn without_effect(action: &ActionRecord) -> bool {
    matches!(action.state, ActionState::Refused | ActionState::Cancelled)
        || (action.state == ActionState::Failed && action.instants.sent.is_none())
}

/// Refused for want of our own health.
fn of_ourselves(action: &ActionRecord) -> bool {
    let mut guards = action.guards.iter();
    guards.any(|guard| guard.name == GuardName::Invariants && !guard.result.permits())
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
