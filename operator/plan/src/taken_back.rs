//! Did somebody take back what we set, or say no to it? Cordons, suspensions and sizes last; where one that helped is not there
//! any more before its time, and no action of ours lifted it, a person did, and is not fought.

use crate::case::Case;
use crate::decision::{Stop, later, words};
use crate::nodes::HOLD;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, ApprovalDecision, Parameters, SignedDuration, Timestamp, Uid,
};

/// What a person denied is not asked, nor done, again for so long.
const DENIED: SignedDuration = SignedDuration::from_hours(1);

/// Stops where a person denied an action of this kind on this workload a short while ago, for whatever incident.
pub(crate) fn denied_of_late(case: &Case<'_>, kind: ActionKind) -> Result<(), Stop> {
    let Some(key) = case.subject.as_ref().map(|subject| subject.key) else { return Ok(()) };
    let denied = case.snapshot.actions.values().find(|action| {
        let denied = action.approval.as_ref().filter(|given| given.decision == ApprovalDecision::Deny);
        action.kind() == kind
            && action.workload == *key
            && denied.is_some_and(|given| case.now.duration_since(given.at) < DENIED)
    });
    match denied {
        Some(action) => Err(Stop::hand_over(format!(
            "a person denied {kind} of the same workload in incident {} less than {} ago ({})",
            action.incident,
            words(DENIED),
            action.id
        ))),
        None => Ok(()),
    }
}

/// Stops where the newest action of this kind that helped on this object, in whatever incident, was taken back by others.
/// `stands` says whether what it set is there still.
pub(crate) fn by_people(
    case: &Case<'_>,
    kind: ActionKind,
    uid: &Uid,
    stands: impl Fn(&Parameters) -> bool,
) -> Result<(), Stop> {
    let on_it = |action: &&ActionRecord| action.target.uid == *uid;
    let actions = || case.snapshot.actions.values().map(|action| &**action);
    let helped = |action: &&ActionRecord| action.kind() == kind && action.state == ActionState::Verified;
    let newest = actions().filter(on_it).filter(helped).filter_map(|action| Some((began(action)?, action)));
    let Some((sent, ours)) = newest.max_by_key(|(sent, _)| *sent) else { return Ok(()) };
    let until = match &ours.parameters {
        Parameters::Cordon { until } | Parameters::Suspend { until } => *until,
        _ => later(sent, HOLD),
    };
    let lifts = |action: &ActionRecord| {
        action.undo_of.as_ref() == Some(&ours.id)
            || (undoes(kind, action.kind()) && began(action).is_some_and(|began| began >= sent))
    };
    if stands(&ours.parameters) || case.now >= until || actions().filter(on_it).any(lifts) {
        return Ok(());
    }
    Err(Stop::hand_over(format!(
        "somebody took back what {} ({kind}) set until {until:.0}: it is not done again against them",
        ours.id
    )))
}

fn began(action: &ActionRecord) -> Option<Timestamp> {
    action.instants.sent.or(action.instants.intent)
}

/// Actions of ours after which the first one's value is not expected any more.
fn undoes(kind: ActionKind, other: ActionKind) -> bool {
    matches!(
        (kind, other),
        (ActionKind::Cordon, ActionKind::Uncordon)
            | (ActionKind::Suspend, ActionKind::Resume)
            | (ActionKind::ScaleUp, ActionKind::ScaleDown)
    )
}
