//! Did somebody take back what we set? Cordons, suspensions and sizes last; where one that helped is not there any more before
//! its time, and no action of ours lifted it, a person did, and is not fought.

use crate::case::Case;
use crate::decision::{Stop, later};
use crate::nodes::HOLD;
use homeostat_knowledge::{ActionKind, ActionRecord, ActionState, Parameters, Timestamp, Uid};

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
