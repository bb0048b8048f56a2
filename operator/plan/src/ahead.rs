//! What is coming: is this the minute to act before it, or is there time for a quieter one?

use crate::case::Case;
use crate::decision::Stop;
use homeostat_knowledge::policy::Allowance;
use homeostat_knowledge::{ActionKind, ActionState, Ahead, FindingKind, Level, SignedDuration};
use homeostat_playbooks::{After, Rung};

/// Pods whose ephemeral storage fills are replaced so often at most within this time.
const EMPTIED_AT_MOST: usize = 2;
const EMPTIED_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// Waits as long as there is time for a quiet minute. Where nothing is known of what is left before a limit, or somebody
/// suffers already, nothing is waited for; a person who is asked takes the time that there is.
pub(crate) fn due(case: &Case<'_>, rung: &Rung) -> Result<(), Stop> {
    if rung.action != ActionKind::RollingRestart {
        return Ok(());
    }
    keeps_nothing(case)?;
    fills_again(case)?;
    let mut others = case.incident.findings.iter().filter(|finding| finding.active);
    let quiet = [case.cause.kind, FindingKind::OwnershipConflict];
    let suffers = others.any(|finding| !quiet.contains(&finding.kind));
    let ahead = known(case);
    let at_once = match case.cause.kind {
        FindingKind::MemoryGrowing | FindingKind::EphemeralStorageFilling => {
            suffers || rung.after == After::Immediately
        }
        FindingKind::FaultExpected if case.history.useful() > 0 => {
            return Err(Stop::wait("the pods were replaced ahead of it already"));
        }
        FindingKind::FaultExpected if ahead.is_none() => {
            return Err(Stop::wait("it is not expected any more"));
        }
        FindingKind::FaultExpected if suffers => {
            return Err(Stop::wait("something else is found already: that comes first"));
        }
        _ => false,
    };
    let Some((ahead, until)) = ahead.and_then(|ahead| Some((ahead, ahead.waits(case.now)?))) else {
        return Ok(());
    };
    if at_once || case.level(rung.action) < Level::ActBounded {
        return Ok(());
    }
    // Tens of minutes: a reason with other numbers is another reason, and each is written down.
    let left = ahead.minutes_left(case.now) / 10 * 10;
    Err(Stop::until(until, format!("at least {left} min are left: {}", ahead.why)))
}

/// A new pod empties all that the old one kept on its node, not only what nobody needs. Which of it people miss they alone know:
/// the guards would refuse it until it is full, so people are told while there is time.
fn keeps_nothing(case: &Case<'_>) -> Result<(), Stop> {
    let Some(subject) =
        case.subject.as_ref().filter(|_| case.cause.kind == FindingKind::EphemeralStorageFilling)
    else {
        return Ok(());
    };
    if subject.policy.permits.allow.contains(&Allowance::LocalData) {
        return Ok(());
    }
    let Some(pod) = case.pods().into_iter().find(|pod| pod.local_data) else { return Ok(()) };
    let told = case.cause.evidence.first().map(|line| format!("; {line}")).unwrap_or_default();
    Err(Stop::hand_over(format!(
        "new pods of {} would begin empty, and pod {} keeps data (an emptyDir or an ephemeral volume) that a restart would lose: clean up, or allow it with LocalData in Workload.spec.allow{told}",
        subject.key, pod.key
    )))
}

/// New pods that fill as the old ones did are no cure: what writes has to be mended, or cleans up by itself in time, as log
/// files are that are rotated.
fn fills_again(case: &Case<'_>) -> Result<(), Stop> {
    let Some(subject) =
        case.subject.as_ref().filter(|_| case.cause.kind == FindingKind::EphemeralStorageFilling)
    else {
        return Ok(());
    };
    let emptied = case.snapshot.actions.values().filter(|action| {
        action.workload == *subject.key
            && action.kind() == ActionKind::RollingRestart
            && action.state == ActionState::Verified
            && action.instants.closed.is_some_and(|at| case.now.duration_since(at) <= EMPTIED_WITHIN)
    });
    let count = emptied.count();
    if count < EMPTIED_AT_MOST {
        return Ok(());
    }
    Err(Stop::hand_over(format!(
        "the pods of {} were replaced {count} times in {} h, and their ephemeral storage fills again each time: find out what writes there",
        subject.key,
        EMPTIED_WITHIN.as_hours()
    )))
}

/// What an action before it says of it: how long there was, and why it was now.
pub(crate) fn told(case: &Case<'_>) -> Option<String> {
    let ahead = known(case)?;
    Some(format!("at least {} min were left: {}", ahead.minutes_left(case.now), ahead.why))
}

fn known<'a>(case: &Case<'a>) -> Option<&'a Ahead> {
    let key = case.subject.as_ref()?.key;
    let ahead = case.snapshot.ahead.get(&(key.clone(), case.cause.kind)).map(|ahead| &**ahead);
    ahead.filter(|ahead| ahead.counts(case.now))
}
