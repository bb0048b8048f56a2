//! Trying an undo again: what kept it from its effect may pass, and nobody else asks for it a second time.
//!
//! It is tried with longer and longer waits while requests fail, and waits for an hour while the kill switch is engaged. Each
//! time it is judged anew, so what a person changed meanwhile is left to them. What was found long ago is asked anew, too:
//! what is well by now is left as it is.

use super::stages::Next;
use super::watch::Waits;
use super::{Case, ExecuteError, Executor};
use crate::actions::{Verdict, spec, weighed};
use crate::guards::refusal;
use crate::ledger::{LedgerEvent, next};
use crate::ports::{Actuator, Leadership, Ledger};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionRecord, ActionState, GuardName, GuardReport, GuardResult, SignedDuration, Snapshot, Timestamp,
};

/// Requests that fail are tried again for so long; the time under the kill switch does not count.
const TRIES: SignedDuration = SignedDuration::from_mins(10);
/// Whatever keeps an undo, it is given up so long after the window of what it takes back: by then that may be needed.
const WAITS: SignedDuration = SignedDuration::from_hours(1);
/// So long whether it is well by now is looked at, as good calls have to hold.
const LOOKS: SignedDuration = SignedDuration::from_secs(10);

/// How often an undo was tried in vain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    number: u32,
    /// Since when requests fail.
    since: Option<Timestamp>,
    /// The kill switch kept it for a while.
    engaged: bool,
}

impl Tries {
    /// It was tried before by this process: what was found out then says nothing about now.
    pub(super) fn any(self) -> bool {
        self.number > 0
    }

    fn failed(self, now: Timestamp) -> Self {
        Self { number: self.number.saturating_add(1), since: self.since.or(Some(now)), ..self }
    }

    fn stopped(self) -> Self {
        Self { number: self.number.saturating_add(1), since: None, engaged: true }
    }

    fn over(self, ends: Timestamp, now: Timestamp) -> bool {
        now >= ends || self.since.is_some_and(|since| now.duration_since(since) >= TRIES)
    }
}

/// The action that this one takes back, while that is open and waits for it.
fn taken_back<'a>(record: &ActionRecord, snapshot: &'a Snapshot) -> Option<&'a ActionRecord> {
    let undone = record.undo_of.as_ref().and_then(|undone| snapshot.actions.get(undone))?;
    (!undone.state.ended()).then_some(&**undone)
}

/// When the window of what an undo takes back ended.
fn window_ended(record: &ActionRecord, snapshot: &Snapshot) -> Timestamp {
    let asked = record.evidence.taken_at;
    let sent = taken_back(record, snapshot).and_then(|undone| undone.instants.sent);
    let from = sent.map_or(asked, |sent| sent.max(asked));
    from.checked_add(record.verification.within).unwrap_or(from)
}

/// When an undo is given up.
fn ends(record: &ActionRecord, snapshot: &Snapshot) -> Timestamp {
    let ended = window_ended(record, snapshot);
    ended.checked_add(WAITS).unwrap_or(ended)
}

/// The kill switch is engaged, which says nothing against the undo itself.
fn stopped(guards: &[GuardReport]) -> bool {
    refusal(guards)
        .is_some_and(|report| report.name == GuardName::KillSwitch && report.result == GuardResult::Refused)
}

/// What stops it could not be found out now.
fn unknown(guards: &[GuardReport]) -> bool {
    refusal(guards).is_some_and(|report| {
        report.result == GuardResult::Unknown
            && matches!(
                report.name,
                GuardName::KillSwitch | GuardName::Invariants | GuardName::DryRun | GuardName::FreshRead
            )
    })
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// May what the guards refused pass by itself? Only an undo whose action is open for it waits for the kill switch; that
    /// of a drain is told to people at once, and its cordon ends with its time.
    pub(super) fn may_pass(&self, record: &ActionRecord, guards: &[GuardReport]) -> bool {
        unknown(guards) || (stopped(guards) && taken_back(record, &self.snapshot()).is_some())
    }

    /// Ends an action whose intent is not stored as refused; an undo is tried again when what refused it may pass.
    pub(super) async fn refused(&self, case: Case, guards: Vec<GuardReport>) -> Result<Next, ExecuteError> {
        if case.record.undo_of.is_some() && self.may_pass(&case.record, &guards) {
            return Ok(Next::Again(case, LedgerEvent::Refuse { guards }));
        }
        self.refuse_new(&case, guards).await.map(Next::Ended)
    }

    /// Ends an action that had no effect; an undo is tried again when what kept it may pass.
    pub(super) async fn end_or_again(
        &self,
        case: Case,
        event: LedgerEvent,
        passes: bool,
    ) -> Result<Next, ExecuteError> {
        if passes && case.record.undo_of.is_some() {
            return Ok(Next::Again(case, event));
        }
        let after = next(&case.record, event, self.now())?;
        self.advance(&case.record, after).await.map(Next::Ended)
    }

    /// Waits until an undo of which nothing came may be tried again; ends it with `event` when its time is up.
    pub(super) async fn again(&self, mut case: Case, event: LedgerEvent) -> Result<Next, ExecuteError> {
        let id = case.record.id.clone();
        self.memory().checker.not_sent(&id);
        let by_switch = matches!(&event, LedgerEvent::Refuse { guards } if stopped(guards));
        if by_switch {
            case.tries = case.tries.stopped();
        }
        let ends = ends(&case.record, &self.snapshot());
        case.tries = case.tries.failed(self.now());
        if case.tries.over(ends, self.now()) {
            return self.give_up(case, event).await;
        }
        tracing::warn!(action = %id, ?event, "nothing was taken back yet; it is tried again");
        let waits = Waits::begin(&self.shared.waiting);
        loop {
            self.pause(&id, self.backoff(case.tries.number, None)).await?;
            let switch = self.kill_switch().await.state;
            let open = taken_back(&case.record, &self.snapshot()).is_some();
            case.tries = match switch {
                KillSwitch::Engaged { .. } if open => case.tries.stopped(),
                KillSwitch::Unreadable => case.tries.failed(self.now()),
                KillSwitch::Off | KillSwitch::Engaged { .. } => break,
            };
            // Judged a last time, so that it ends with what keeps it now.
            if case.tries.over(ends, self.now()) {
                break;
            }
        }
        let left = self.left_as_it_is(&case).await?;
        drop(waits);
        if let Some(left) = left {
            return Ok(left);
        }
        if case.record.state == ActionState::Proposed { self.admit(case).await } else { Ok(Next::Send(case)) }
    }

    /// Ends an undo that waited for long, and of which nothing was sent, where what it would take back is well by now.
    pub(super) async fn left_as_it_is(&self, case: &Case) -> Result<Option<Next>, ExecuteError> {
        let record = &case.record;
        let passed = self.now().duration_since(window_ended(record, &self.snapshot()));
        if !case.tries.engaged && passed < TRIES {
            return Ok(None);
        }
        let Some(well) = self.well_by_now(record).await? else { return Ok(None) };
        let reason = format!("it is well by now ({well}), so it is left as it is");
        let after = next(record, LedgerEvent::Cancel { guards: Vec::new(), reason }, self.now())?;
        let ended = if record.resource_version.is_empty() {
            self.create(after).await?
        } else {
            self.advance(record, after).await?
        };
        Ok(Some(Next::Ended(ended)))
    }

    /// How it is seen, by the verification of the action that is taken back, that it is well by now; `None`: it is not.
    async fn well_by_now(&self, record: &ActionRecord) -> Result<Option<String>, ExecuteError> {
        let begun = self.now();
        let ends = ends(record, &self.snapshot()).max(begun + LOOKS);
        loop {
            let (snapshot, now) = (self.snapshot(), self.now());
            let Some(mut undone) = taken_back(record, &snapshot).cloned() else { return Ok(None) };
            let Some(spec) = spec(undone.kind()) else { return Ok(None) };
            let since = undone.instants.sent.map(|sent| begun.duration_since(sent));
            undone.verification.within = since.unwrap_or_default().saturating_add(LOOKS);
            let verdict = spec.verify(&undone, &snapshot, now);
            match weighed(verdict, &undone, &snapshot, now) {
                Verdict::Helped(reason) => return Ok(Some(reason)),
                Verdict::Wait(_) if now < ends => {}
                Verdict::Wait(_) | Verdict::NotHelped(_) => return Ok(None),
            }
            self.pause(&record.id, self.safety()).await?;
        }
    }

    async fn give_up(&self, case: Case, event: LedgerEvent) -> Result<Next, ExecuteError> {
        match event {
            LedgerEvent::Refuse { guards } if case.record.state == ActionState::Proposed => {
                self.refuse_new(&case, guards).await.map(Next::Ended)
            }
            event => Ok(Next::Close(case, event)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, record, snapshot};
    use homeostat_knowledge::ActionId;
    use std::sync::Arc;

    #[test]
    fn requests_fail_for_ten_minutes_at_most_and_the_kill_switch_stops_that_clock() {
        let late = at(1_000_000);
        let tries = Tries::default().failed(at(0)).failed(at(300));
        assert!(tries.any() && !tries.over(late, at(599)));
        assert!(tries.over(late, at(600)), "ten minutes after the first");
        let stopped = tries.stopped();
        assert!(!stopped.over(late, at(5_000)), "engaged since");
        assert!(!stopped.failed(at(5_000)).over(late, at(5_599)));
        assert!(stopped.over(late, late), "but not for ever");
    }

    #[test]
    fn it_is_given_up_an_hour_after_the_window_of_what_it_takes_back() {
        let mut snapshot = snapshot();
        let mut undone = record("order-1-1");
        undone.state = ActionState::Verifying;
        undone.instants.sent = Some(at(500));
        let undo = ActionRecord { undo_of: Some(ActionId::new("order-1-1")), ..record("order-1-1-undo") };
        assert_eq!(ends(&undo, &snapshot), at(3_630), "nothing is known of what it takes back");
        snapshot.actions.insert_mut(undone.id.clone(), Arc::new(undone));
        assert_eq!(ends(&undo, &snapshot), at(4_130));
    }

    #[test]
    fn what_could_not_be_found_out_may_pass_and_what_was_said_does_not() {
        let report = |name, result| {
            let (observed, limit, message) = (String::new(), String::new(), String::new());
            vec![GuardReport { name, result, observed, limit, message }]
        };
        for (name, result, passes) in [
            (GuardName::KillSwitch, GuardResult::Unknown, true),
            (GuardName::DryRun, GuardResult::Unknown, true),
            (GuardName::FreshRead, GuardResult::Unknown, true),
            (GuardName::Invariants, GuardResult::Unknown, true),
            (GuardName::KillSwitch, GuardResult::Refused, false),
            (GuardName::DryRun, GuardResult::Refused, false),
            (GuardName::FreshRead, GuardResult::Refused, false),
            (GuardName::Ownership, GuardResult::Refused, false),
            (GuardName::Level, GuardResult::Unknown, false),
        ] {
            assert_eq!(unknown(&report(name, result)), passes, "{name:?} {result:?}");
        }
        assert!(stopped(&report(GuardName::KillSwitch, GuardResult::Refused)));
        assert!(!stopped(&report(GuardName::KillSwitch, GuardResult::Unknown)));
    }
}
