//! How far the ladder of a playbook was climbed: what was tried in vain, and where it ends before its last step.

use crate::case::{Case, Subject};
use crate::decision::{Stop, words};
use homeostat_knowledge::{ActionKind, SignedDuration};
use homeostat_playbooks::{Playbook, Rung};
use std::collections::BTreeMap;

/// Tries that the steps so far allow, by kind of action: what was done is known by its kind, whichever step it was.
#[derive(Debug, Default)]
pub(crate) struct Tries(BTreeMap<ActionKind, u32>);

impl Tries {
    /// Counts a step in; returns how often its kind was tried in vain where nothing is left for this step.
    pub(crate) fn used_up(&mut self, case: &Case<'_>, rung: &Rung) -> Option<u32> {
        let allowed = self.0.entry(rung.action).or_default();
        *allowed = allowed.saturating_add(rung.times);
        let contradicted = case.history.in_flight().is_some_and(|action| action.kind() == rung.action);
        let done = case.history.useless(rung.action) + u32::from(contradicted);
        (done >= *allowed).then_some(done)
    }

    /// A step that is not taken at the present level: what it did at a higher one before is its own, and takes nothing from a
    /// later step of the same kind.
    pub(crate) fn skip(&mut self, case: &Case<'_>, playbook: &Playbook, number: u32, rung: &Rung) {
        let done = case.history.useless_of(rung.action, &playbook.name, number).min(rung.times);
        let allowed = self.0.entry(rung.action).or_default();
        *allowed = allowed.saturating_add(done);
    }
}

/// So much did not help that more would only hide the reason: of all actions as much as the playbook allows, of restarts as
/// much as the `Workload` does. An action that is contradicted before its verification ended did not help either.
pub(crate) fn in_vain(
    case: &Case<'_>,
    playbook: &Playbook,
    subject: Option<&Subject<'_>>,
) -> Result<(), Stop> {
    let contradicted = u32::from(case.history.in_flight().is_some());
    let restarts = case.history.useless_restarts() + contradicted;
    let all = case.history.useless_actions() + contradicted;
    let allowed = subject.map_or(u32::MAX, |subject| subject.policy.maximum_useless_restarts);
    if allowed == 0 {
        return Err(Stop::hand_over(format!("no restart is allowed: {} is for people", case.cause.kind)));
    }
    let (done, what, allowed) = if restarts >= allowed {
        (restarts, "restarts", allowed)
    } else if all >= playbook.limits.useless_actions {
        (all, if all == restarts { "restarts" } else { "actions" }, playbook.limits.useless_actions)
    } else {
        return Ok(());
    };
    Err(Stop::hand_over(format!(
        "{done} {what} did not help, {allowed} are allowed: more would only hide the reason"
    )))
}

/// Where nothing was tried at all, because this process was away or another one led, the first try may begin late; what it is
/// about is seen now. Not so an old run or release: the world has moved on.
pub(crate) fn may_be_late(case: &Case<'_>, action: ActionKind) -> bool {
    !matches!(action, ActionKind::RetryJob | ActionKind::RollBack) && case.history.is_empty()
}

/// Nothing healed it for too long. As long as people are being asked, they have it: the end of that decides.
pub(crate) fn unhealed(case: &Case<'_>, idle: SignedDuration) -> Stop {
    over(case, || format!("it lasts for {} and nothing healed it", words(idle)))
}

/// Time is up.
pub(crate) fn over(case: &Case<'_>, reason: impl FnOnce() -> String) -> Stop {
    let Some(asked) = case.history.asked(case.now) else { return Stop::hand_over(reason()) };
    let reason = format!("action {} waits for a person: {:?}", asked.id, asked.state);
    Stop::Wait { until: asked.request.expires, reason }
}
