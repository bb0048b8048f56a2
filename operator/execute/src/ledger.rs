//! The life of one action as a pure state machine. What is not an arrow here cannot happen.
//!
//! ```text
//!             Recommend                  Claim         Acknowledge,FoundDone,Assume  Watch
//!   Proposed ─┐  │ Admit ──▶ Admitted ─────────▶ Claimed ─────────────────▶ Sent ─────────▶ Verifying
//!      │      └──┘              ▲                  │ Block, LoseTrack        │ HandOver        │ Help      ▶ Verified
//!      │ AskApproval      Admit │                  ▼                         ▼                 │ NotHelp   ▶ Failed
//!      └──────▶ AwaitingApproval (Remind,Approve) Failed                HandedOver             │ Undo      ▶ Undone
//!                     │ HandOver ▶ HandedOver                                                   │ HandOver  ▶ HandedOver
//!   Claimed ─ Claim ▶ Claimed: an undo alone, of which nothing came, so that it is not lost
//!   Refuse ▶ Refused and Cancel ▶ Cancelled: from Proposed, AwaitingApproval, Admitted, Claimed (nothing was sent)
//! ```
//!
//! What was sent has an instant `sent`, and counts in budgets, cool-downs and breakers from its claim on. Without an
//! instant `acknowledged` its outcome is not known, and stays so: see [`outcome_unknown`].

use homeostat_knowledge::guard::APPROVED_BY;
use homeostat_knowledge::{
    ActionId, ActionOutcome, ActionRecord, ActionState, Approval, ApprovalDecision, GuardReport, Timestamp,
};

/// What happens to an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEvent {
    /// The level only allows to say what would be done.
    Recommend {
        /// Guards so far.
        guards: Vec<GuardReport>,
        /// What would be done.
        message: String,
    },
    /// A person must approve.
    AskApproval {
        /// Guards so far.
        guards: Vec<GuardReport>,
        /// Who is asked, until when.
        message: String,
    },
    /// Nobody answered so far: those who can are told again.
    Remind {
        /// Who is asked, until when.
        message: String,
    },
    /// A person approved.
    Approve {
        /// The approval.
        approval: Approval,
    },
    /// The guards before the intent permit it.
    Admit {
        /// Guards so far.
        guards: Vec<GuardReport>,
    },
    /// This replica is about to send the effect. An undo of which nothing came is claimed anew.
    Claim,
    /// A guard refused; nothing was sent.
    Refuse {
        /// Guards, the last of them the refusing one.
        guards: Vec<GuardReport>,
    },
    /// The situation changed, or a person said no; nothing was sent.
    Cancel {
        /// Guards as far as they were asked anew; empty to keep those on record.
        guards: Vec<GuardReport>,
        /// Why.
        reason: String,
    },
    /// The API server took the effect.
    Acknowledge {
        /// All guards, as judged just before the effect.
        guards: Vec<GuardReport>,
        /// What it answered.
        message: String,
    },
    /// A read showed that the effect is there.
    FoundDone {
        /// All guards as judged before the effect; empty to keep those on record.
        guards: Vec<GuardReport>,
        /// How that is seen.
        reason: String,
    },
    /// The API server refused the effect for good; nothing was changed.
    Block {
        /// All guards, as judged just before the effect.
        guards: Vec<GuardReport>,
        /// Why, and what the user can do.
        reason: String,
    },
    /// The effect was sent, nobody answered, and reads showed that it did not come. It counts as sent.
    LoseTrack {
        /// All guards, as judged just before the effect.
        guards: Vec<GuardReport>,
        /// What was tried.
        reason: String,
    },
    /// Nobody can tell whether the effect was there: others changed the target since. It counts as done, is never
    /// repeated, and its verification says whether things got well.
    Assume {
        /// All guards as judged before the effect; empty to keep those on record.
        guards: Vec<GuardReport>,
        /// What is there, and why it tells nothing.
        reason: String,
    },
    /// The effect is there; its verification begins.
    Watch,
    /// It helped.
    Help {
        /// In words and numbers.
        reason: String,
    },
    /// It did not help.
    NotHelp {
        /// In words and numbers.
        reason: String,
    },
    /// It did not help, and was taken back.
    Undo {
        /// In words and numbers.
        reason: String,
    },
    /// People must take over.
    HandOver {
        /// Why.
        reason: String,
    },
}

impl LedgerEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Recommend { .. } => "Recommend",
            Self::AskApproval { .. } => "AskApproval",
            Self::Remind { .. } => "Remind",
            Self::Approve { .. } => "Approve",
            Self::Admit { .. } => "Admit",
            Self::Claim => "Claim",
            Self::Refuse { .. } => "Refuse",
            Self::Cancel { .. } => "Cancel",
            Self::Acknowledge { .. } => "Acknowledge",
            Self::FoundDone { .. } => "FoundDone",
            Self::Block { .. } => "Block",
            Self::LoseTrack { .. } => "LoseTrack",
            Self::Assume { .. } => "Assume",
            Self::Watch => "Watch",
            Self::Help { .. } => "Help",
            Self::NotHelp { .. } => "NotHelp",
            Self::Undo { .. } => "Undo",
            Self::HandOver { .. } => "HandOver",
        }
    }
}

/// An event that cannot happen in the present state. Always a bug, never a situation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No such arrow.
    #[error("action {action} is {from:?}; {event} cannot happen to it")]
    InvalidArrow {
        /// Which action.
        action: ActionId,
        /// Its state.
        from: ActionState,
        /// The event.
        event: &'static str,
    },
    /// Only an approving approval may be entered; a denial cancels.
    #[error("action {action}: a denial is not an approval")]
    NotApproved {
        /// Which action.
        action: ActionId,
    },
}

/// The action after an event. Pure; `now` is never taken to lie before the latest instant on record, so a
/// clock that is set back cannot turn an action's order around.
pub fn next(record: &ActionRecord, event: LedgerEvent, now: Timestamp) -> Result<ActionRecord, LedgerError> {
    use ActionState as S;
    use LedgerEvent as E;
    let invalid = |event: &LedgerEvent| LedgerError::InvalidArrow {
        action: record.id.clone(),
        from: record.state,
        event: event.name(),
    };
    let mut after = record.clone();
    let now = latest(record).map_or(now, |latest| latest.max(now));
    match (record.state, event) {
        (S::Proposed, E::Recommend { guards, message }) => {
            after.guards = guards;
            after.message = message;
        }
        (S::Proposed, E::AskApproval { guards, message }) => {
            after.state = S::AwaitingApproval;
            after.guards = guards;
            after.message = message;
        }
        (S::AwaitingApproval, E::Remind { message }) => after.message = message,
        (S::AwaitingApproval, E::Approve { approval }) => {
            if approval.decision != ApprovalDecision::Approve {
                return Err(LedgerError::NotApproved { action: record.id.clone() });
            }
            after.message = format!("{APPROVED_BY}{}", approval.approved_by);
            after.approval = Some(approval);
        }
        (S::Proposed | S::AwaitingApproval, E::Admit { guards }) => {
            after.state = S::Admitted;
            after.guards = guards;
            after.instants.intent = Some(now);
            "intent stored".clone_into(&mut after.message);
        }
        (S::Admitted, E::Claim) => {
            after.state = S::Claimed;
            after.instants.claimed = Some(now);
            "about to be sent".clone_into(&mut after.message);
        }
        (S::Claimed, E::Claim) if record.undo_of.is_some() => {
            after.instants.claimed = Some(now);
            "about to be sent; nothing came of the claim before".clone_into(&mut after.message);
        }
        (S::Proposed | S::AwaitingApproval | S::Admitted | S::Claimed, E::Refuse { guards }) => {
            after.state = S::Refused;
            after.message = crate::guards::refusal(&guards).map_or_else(
                || "refused".to_owned(),
                |report| format!("{}: {}", report.name.name(), report.message),
            );
            after.guards = guards;
            after.instants.closed = Some(now);
        }
        (S::Proposed | S::AwaitingApproval | S::Admitted | S::Claimed, E::Cancel { guards, reason }) => {
            after.state = S::Cancelled;
            keep_or_replace(&mut after, guards);
            after.message = reason;
            after.instants.closed = Some(now);
        }
        (S::Claimed, E::Acknowledge { guards, message }) => {
            after.state = S::Sent;
            keep_or_replace(&mut after, guards);
            after.instants.sent = after.instants.claimed.or(Some(now));
            after.instants.acknowledged = Some(now);
            after.message = message;
        }
        (S::Claimed, E::FoundDone { guards, reason }) => {
            after.state = S::Sent;
            keep_or_replace(&mut after, guards);
            after.instants.sent = after.instants.claimed.or(Some(now));
            after.instants.acknowledged = Some(now);
            after.message = format!("found done by reading: {reason}");
        }
        (S::Claimed, E::Block { guards, reason }) => {
            keep_or_replace(&mut after, guards);
            fail(&mut after, reason, now);
        }
        (S::Claimed, E::LoseTrack { guards, reason }) => {
            keep_or_replace(&mut after, guards);
            after.instants.sent = after.instants.claimed.or(Some(now));
            fail(&mut after, reason, now);
        }
        (S::Claimed, E::Assume { guards, reason }) => {
            after.state = S::Sent;
            keep_or_replace(&mut after, guards);
            after.instants.sent = after.instants.claimed.or(Some(now));
            after.message = format!("outcome unknown: {reason}; it counts as done and is not repeated");
        }
        (S::Sent, E::Watch) => {
            after.state = S::Verifying;
            let within = record.verification.within.as_secs();
            after.message = told(record, format!("watched for up to {within} s"));
        }
        (S::Verifying, E::Help { reason }) => {
            after.state = S::Verified;
            after.instants.verified = Some(now);
            after.instants.closed = Some(now);
            after.message = told(record, reason.clone());
            after.outcome = Some(ActionOutcome { helped: true, reason });
        }
        (S::Verifying, E::NotHelp { reason }) => {
            after.instants.verified = Some(now);
            fail(&mut after, reason, now);
        }
        (S::Verifying, E::Undo { reason }) => {
            after.instants.verified = Some(now);
            fail(&mut after, reason, now);
            after.state = S::Undone;
        }
        (S::AwaitingApproval | S::Sent | S::Verifying, E::HandOver { reason }) => {
            after.state = S::HandedOver;
            after.instants.closed = Some(now);
            after.message = told(record, reason);
        }
        (_, event) => return Err(invalid(&event)),
    }
    Ok(after)
}

/// It was sent, or may have been, and nobody knows whether it had its effect. That is never found out later: it counts as
/// done for every limit, and is taken back only when its own mark is seen on the target.
pub fn outcome_unknown(record: &ActionRecord) -> bool {
    record.instants.sent.is_some() && record.instants.acknowledged.is_none()
}

/// What is said of an action whose outcome is unknown begins with that.
fn told(record: &ActionRecord, text: String) -> String {
    if outcome_unknown(record) { format!("outcome unknown; {text}") } else { text }
}

fn keep_or_replace(record: &mut ActionRecord, guards: Vec<GuardReport>) {
    if !guards.is_empty() {
        record.guards = guards;
    }
}

fn fail(record: &mut ActionRecord, reason: String, now: Timestamp) {
    record.state = ActionState::Failed;
    record.instants.closed = Some(now);
    record.message = told(record, reason.clone());
    record.outcome = Some(ActionOutcome { helped: false, reason });
}

fn latest(record: &ActionRecord) -> Option<Timestamp> {
    let instants = &record.instants;
    [
        instants.intent,
        instants.claimed,
        instants.sent,
        instants.acknowledged,
        instants.verified,
        instants.closed,
    ]
    .into_iter()
    .flatten()
    .max()
}

#[cfg(test)]
mod tests;
