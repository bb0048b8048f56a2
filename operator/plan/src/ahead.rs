//! What is coming: is this the minute to act before it, or is there time for a quieter one?

use crate::case::Case;
use crate::decision::Stop;
use homeostat_knowledge::{ActionKind, Ahead, FindingKind, Level};
use homeostat_playbooks::{After, Rung};

/// Waits as long as there is time for a quiet minute. Where nothing is known of what is left, or somebody suffers already,
/// nothing is waited for; a person who is asked takes the time that there is.
pub(crate) fn due(case: &Case<'_>, rung: &Rung) -> Result<(), Stop> {
    let Some(ahead) = known(case).filter(|_| rung.action == ActionKind::RollingRestart) else {
        return Ok(());
    };
    let Some(until) = ahead.waits(case.now) else { return Ok(()) };
    let mut others = case.incident.findings.iter().filter(|finding| finding.active);
    let at_once = rung.after == After::Immediately || others.any(|finding| finding.kind != case.cause.kind);
    if at_once || case.level(rung.action) < Level::ActBounded {
        return Ok(());
    }
    // Tens of minutes: a reason with other numbers is another reason, and each is written down.
    let left = ahead.minutes_left(case.now) / 10 * 10;
    Err(Stop::until(until, format!("at least {left} min are left: {}", ahead.why)))
}

/// What an action before it says of it: how long there was, and why it was now.
pub(crate) fn told(case: &Case<'_>) -> Option<String> {
    let ahead = known(case)?;
    Some(format!("at least {} min were left: {}", ahead.minutes_left(case.now), ahead.why))
}

fn known<'a>(case: &Case<'a>) -> Option<&'a Ahead> {
    let kind = case.cause.kind;
    if kind != FindingKind::MemoryGrowing {
        return None;
    }
    let key = case.subject.as_ref()?.key;
    case.snapshot.ahead.get(&(key.clone(), kind)).map(|ahead| &**ahead).filter(|ahead| ahead.counts(case.now))
}
