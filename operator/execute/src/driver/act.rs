//! From the decision to the effect.

use super::stages::Next;
use super::{Case, ExecuteError, Executor};
use crate::actions::{ActionSpec, Repeat};
use crate::asking::{self, Patience};
use crate::facts::{Situation, cause_kind, guard_input};
use crate::guards::{
    ActionFacts, DryRunFacts, FreshFacts, GuardInput, Mode, evaluate, mode_of, permitted, refusal,
};
use crate::ledger::{LedgerEvent, next};
use crate::ports::{Actuator, EffectError, FreshTarget, Leadership, Ledger, ReadError, Refusal};
use crate::skew;
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionRecord, ActionState, GuardName, GuardReport, GuardResult, Name, SignedDuration, Snapshot, Timestamp,
};
use std::sync::Arc;
use std::time::Duration;

/// No effect is sent on an answer of the kill switch that was asked for longer ago: the API server may have made it as
/// soon as it was asked. The target is read at that time or later.
const FRESH: SignedDuration = SignedDuration::from_millis(500);

/// What stops it is that something could not be read now, which says nothing against it.
fn unheard(reports: &[GuardReport]) -> bool {
    refusal(reports).is_some_and(|report| {
        report.result == GuardResult::Unknown
            && matches!(report.name, GuardName::KillSwitch | GuardName::DryRun | GuardName::FreshRead)
    })
}

/// What the guards said, with the input that they saw.
struct Judgement {
    input: GuardInput,
    reports: Vec<GuardReport>,
}

impl Judgement {
    fn permits(&self) -> bool {
        permitted(&self.reports, self.input.through)
    }
}

/// The kill switch as it was read, and what its answer told of the clocks.
#[derive(Clone)]
pub(super) struct Switch {
    pub(super) state: KillSwitch,
    /// When it was asked.
    asked: Timestamp,
    /// How far the own clock is ahead for sure; behind is negative.
    clock_off: SignedDuration,
    /// The answer proves that the own clock is right, within the limit.
    pub(super) clock_right: bool,
}

/// Results of the requests made so far.
struct Seen {
    switch: Switch,
    dry_run: DryRunFacts,
    fresh: FreshFacts,
}

/// What is read between the claim and the effect.
struct Reads<P> {
    switch: Switch,
    fresh: Result<Option<FreshTarget>, ReadError>,
    /// The write that stands on it.
    prepared: Result<P, EffectError>,
}

impl Switch {
    /// As it is taken to be before it is asked: the first request of every action asks it.
    fn not_asked() -> Self {
        let asked = Timestamp::UNIX_EPOCH;
        Self { state: KillSwitch::Off, asked, clock_off: SignedDuration::ZERO, clock_right: false }
    }
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// A fresh decision: what the guards say of it is stored, and with it the intent when they permit.
    pub(super) async fn admit(&self, mut case: Case) -> Result<Next, ExecuteError> {
        let snapshot = self.snapshot();
        let tenant = snapshot.tenants.get(&case.record.tenant);
        let facts = ActionFacts::of(&case.record, &snapshot);
        let mode = tenant.map(|tenant| mode_of(&facts, tenant, &snapshot.control));
        // What can be refused without a request is; what passes holds its budget from here on.
        let before =
            Seen { switch: Switch::not_asked(), dry_run: DryRunFacts::NotRun, fresh: FreshFacts::NotRead };
        let early = self.judge(&case, &before, GuardName::Breaker, mode == Some(Mode::Act));
        if !early.permits() {
            let switch = self.kill_switch().await;
            let judgement = self.judge(&case, &Seen { switch, ..before }, GuardName::Breaker, false);
            // The switch and the time are all that was asked anew, and they can only refuse more.
            let reports = if judgement.permits() { early.reports } else { judgement.reports };
            return self.refused(case, reports).await;
        }
        let (switch, dry_run) = tokio::join!(biased; self.kill_switch(), self.dry_run(&case.record));
        let seen = Seen { switch, dry_run, fresh: FreshFacts::NotRead };
        let through = if mode == Some(Mode::Act) { GuardName::Approval } else { GuardName::DryRun };
        let judgement = self.judge(&case, &seen, through, mode == Some(Mode::Act));
        self.shared.ports.recorder.record(&judgement.input);
        if !judgement.permits() {
            self.memory().release(&case.record.id);
            return self.refused(case, judgement.reports).await;
        }
        let guards = judgement.reports;
        let event = match mode {
            Some(Mode::Act) => LedgerEvent::Admit { guards },
            Some(Mode::Approve) => {
                let tenant = tenant.map(|tenant| &**tenant);
                let timeout = tenant.map_or(SignedDuration::ZERO, |tenant| tenant.approval_timeout);
                let taken = case.record.evidence.taken_at;
                let expires = taken.checked_add(timeout).unwrap_or(taken);
                case.record.request.expires = Some(expires);
                case.record.request.digest = asking::digest(&case.record);
                LedgerEvent::AskApproval { guards, message: asking::words(Patience::Asked, expires, tenant) }
            }
            Some(Mode::Recommend | Mode::Nothing) | None => {
                let message = format!(
                    "would {} {} {}; the dry run succeeded; level Recommend does not allow to do it",
                    case.record.kind(),
                    case.record.target.kind,
                    case.record.target.key
                );
                LedgerEvent::Recommend { guards, message }
            }
        };
        let record = next(&case.record, event, self.now())?;
        // An undo may have its object already: it was created, and nothing else of it was stored.
        case.record = if case.record.resource_version.is_empty() {
            self.create(record).await?
        } else {
            self.advance(&case.record, record).await?
        };
        Ok(match case.record.state {
            ActionState::Admitted => Next::Send(case),
            ActionState::AwaitingApproval => Next::Ask(case),
            _ => Next::Ended(case.record),
        })
    }

    /// From the state in the ledger on, after a restart.
    pub(super) async fn take_up(&self, mut case: Case) -> Result<Next, ExecuteError> {
        // The snapshot may be older than the last write of the run before.
        let Some(stored) = self.read(&case.record).await? else {
            return Err(ExecuteError::Superseded { action: case.record.id });
        };
        let now = self.now();
        self.memory().stored(&stored, now);
        case.record = stored;
        if case.record.undo_of.is_some()
            && matches!(case.record.state, ActionState::Proposed | ActionState::Admitted)
            && let Some(left) = self.left_as_it_is(&case).await?
        {
            return Ok(left);
        }
        Ok(match case.record.state {
            ActionState::Proposed if super::store::half_created(&case.record) => {
                if case.record.undo_of.is_some() {
                    return self.admit(case).await; // Nobody asks for it a second time.
                }
                let event = LedgerEvent::Cancel {
                    guards: Vec::new(),
                    reason: "interrupted before it was judged; nothing was done, judged anew".to_owned(),
                };
                Next::Close(case, event)
            }
            ActionState::AwaitingApproval => Next::Ask(case),
            ActionState::Admitted => Next::Send(case),
            ActionState::Claimed => Next::Resolve(case, Vec::new()),
            ActionState::Sent => self.begin_watch(case).await?,
            // What is being taken back did not help: that it looks well by now is no answer to half an undo.
            ActionState::Verifying if self.undo_begun(&case.record) => {
                Next::TakeBack(case, "did not help, as was found before a restart".to_owned())
            }
            ActionState::Verifying => Next::Watch(case),
            _ => Next::Ended(case.record),
        })
    }

    /// Runs the dry run and the guards once more for an approved action and stores the intent.
    pub(super) async fn admit_approved(&self, mut case: Case) -> Result<Next, ExecuteError> {
        let mut attempt = 0;
        let judgement = loop {
            let (switch, dry_run) = tokio::join!(biased; self.kill_switch(), self.dry_run(&case.record));
            let seen = Seen { switch, dry_run, fresh: FreshFacts::NotRead };
            let judgement = self.judge(&case, &seen, GuardName::Approval, true);
            attempt += 1;
            // A person said yes: one answer that did not come does not throw that away.
            if !unheard(&judgement.reports) || attempt >= self.shared.config.attempts {
                break judgement;
            }
            self.pause(&case.record.id, self.backoff(attempt, None)).await?;
        };
        self.shared.ports.recorder.record(&judgement.input);
        let event = if judgement.permits() {
            LedgerEvent::Admit { guards: judgement.reports }
        } else {
            LedgerEvent::Refuse { guards: judgement.reports }
        };
        let after = next(&case.record, event, self.now())?;
        case.record = self.advance(&case.record, after).await?;
        Ok(if case.record.state == ActionState::Admitted {
            Next::Send(case)
        } else {
            Next::Ended(case.record)
        })
    }

    /// Claims the action and sends its effect, at most once for each answer that says nothing was changed.
    pub(super) async fn claim_and_send(&self, mut case: Case) -> Result<Next, ExecuteError> {
        let Some(spec) = crate::actions::spec(case.record.kind()) else {
            return Err(ExecuteError::NotImplemented { kind: case.record.kind() });
        };
        // After a restart, or a wait, the dry run before says nothing about now.
        let anew = case.resumed || case.tries.any();
        let dry_run = if anew { self.dry_run(&case.record).await } else { DryRunFacts::Passed };
        let asked = self.now();
        let claimed = next(&case.record, LedgerEvent::Claim, asked)?;
        // Reading while the claim is written saves a round trip; the reads have no effect of their own.
        let (claim, switch, (fresh, prepared)) = tokio::join!(biased; self.advance(&case.record, claimed), self.kill_switch(), self.prepare(&case.record));
        case.record = claim?;
        let mut first = Some(Reads { switch, fresh, prepared }).filter(|_| !stale(asked, self.now()));
        let mut attempt = 0;
        loop {
            let Reads { switch, fresh, prepared } = match first.take() {
                Some(reads) => reads,
                None => self.reads(&case.record).await,
            };
            let asked = switch.asked;
            let fresh_facts = self.compare(&case, spec, &fresh);
            let seen = Seen { switch, dry_run: dry_run.clone(), fresh: fresh_facts };
            let judgement = self.judge_last(&case, &seen, fresh_target(&fresh));
            self.shared.ports.recorder.record(&judgement.input);
            if !judgement.permits() {
                attempt += 1;
                let wait = self.backoff(attempt, None);
                let again = case.record.approval.is_some()
                    && unheard(&judgement.reports)
                    && attempt < self.shared.config.attempts
                    && !self.too_late(&case.record, spec.repeat(), wait);
                if !again {
                    return self.stop(case, judgement.reports).await;
                }
                self.pause(&case.record.id, wait).await?;
                continue;
            }
            // From here to the write nothing is waited for: what is true now is true of it.
            self.ensure_leads(&case.record.id)?;
            let guards = judgement.reports;
            if self.too_late(&case.record, spec.repeat(), Duration::ZERO) {
                self.memory().checker.not_sent(&case.record.id);
                let secs = self.shared.config.send_within.as_secs();
                let reason =
                    format!("not sent within {secs} s after its claim; nothing was done, judged anew");
                return self.end_or_again(case, LedgerEvent::Cancel { guards, reason }, true).await;
            }
            attempt += 1;
            if stale(asked, self.now()) {
                self.memory().checker.not_sent(&case.record.id);
                if attempt < self.shared.config.attempts {
                    continue;
                }
                let reason = format!(
                    "the kill switch took longer to answer than {} ms, in {attempt} tries; nothing was done, judged anew; look at the API server's load",
                    FRESH.as_millis()
                );
                return self.end_or_again(case, LedgerEvent::Cancel { guards, reason }, true).await;
            }
            let answer = match prepared {
                Ok(prepared) => self.shared.ports.actuator.send(prepared).await,
                Err(error) => Err(error),
            };
            let error = match answer {
                Ok(acknowledged) => {
                    if let Some(audit_id) = &acknowledged.audit_id {
                        self.shared.ports.recorder.acknowledged(&case.record, audit_id);
                    }
                    let event = LedgerEvent::Acknowledge { guards, message: acknowledged.message };
                    let after = next(&case.record, event, self.now())?;
                    case.record = self.advance(&case.record, after).await?;
                    return self.begin_watch(case).await;
                }
                Err(EffectError::Unknown(_)) if spec.repeat() == Repeat::Never => {
                    return Ok(Next::Resolve(case, guards));
                }
                Err(error) => error,
            };
            self.memory().checker.not_sent(&case.record.id);
            let told = match &error {
                EffectError::Transient { retry_after, .. } => *retry_after,
                _ => None,
            };
            let wait = self.backoff(attempt, told);
            let event = match &error {
                EffectError::NotFound | EffectError::Owned(_) => {
                    LedgerEvent::Cancel { guards, reason: error.to_string() }
                }
                EffectError::BlockedByBudget(_) => LedgerEvent::Block {
                    guards,
                    reason: format!("{error}; relax the budget, or have more replicas"),
                },
                // As the API server's own authoriser words it; whatever else it refuses is no matter of rights.
                EffectError::Denied(why) if why.contains(" cannot ") => LedgerEvent::Block {
                    guards,
                    reason: format!("{error}; {}", crate::actions::needs(case.record.kind())),
                },
                EffectError::Denied(_) => LedgerEvent::Block { guards, reason: error.to_string() },
                // Nothing was changed, so it may be judged and sent anew.
                EffectError::Conflict(_) | EffectError::Transient { .. } | EffectError::Unknown(_)
                    if attempt < self.shared.config.attempts
                        && !self.too_late(&case.record, spec.repeat(), wait) =>
                {
                    self.pause(&case.record.id, wait).await?;
                    continue;
                }
                EffectError::Conflict(_) => {
                    LedgerEvent::Cancel { guards, reason: format!("{error}; given up after {attempt} tries") }
                }
                EffectError::Transient { .. } => {
                    LedgerEvent::Block { guards, reason: format!("{error}; given up after {attempt} tries") }
                }
                EffectError::Unknown(_) => LedgerEvent::LoseTrack {
                    guards,
                    reason: format!("{error}; given up after {attempt} tries"),
                },
            };
            let passes = matches!(error, EffectError::Conflict(_) | EffectError::Transient { .. });
            return self.end_or_again(case, event, passes).await;
        }
    }

    /// Ends a claimed action that the guards stopped. A changed target is no refusal but a changed situation.
    async fn stop(&self, case: Case, guards: Vec<GuardReport>) -> Result<Next, ExecuteError> {
        let passes = self.may_pass(&case.record, &guards);
        let changed = refusal(&guards)
            .filter(|report| report.name == GuardName::FreshRead && report.result == GuardResult::Refused);
        let event = match changed {
            Some(report) => LedgerEvent::Cancel { reason: report.message.clone(), guards },
            None => LedgerEvent::Refuse { guards },
        };
        self.end_or_again(case, event, passes).await
    }

    /// Ends an action that was refused before its intent was stored. The same refusal again and again is not
    /// stored again and again.
    pub(super) async fn refuse_new(
        &self,
        case: &Case,
        guards: Vec<GuardReport>,
    ) -> Result<ActionRecord, ExecuteError> {
        let now = self.now();
        let record = next(&case.record, LedgerEvent::Refuse { guards }, now)?;
        if !case.record.resource_version.is_empty() {
            return self.advance(&case.record, record).await;
        }
        if self.memory().worth_storing(&record, now) {
            return self.create(record).await;
        }
        self.shared.ports.recorder.decided(&record);
        Ok(record)
    }

    /// One evaluation of the guards; with `reserve`, the budget is taken in the same breath when they permit.
    fn judge(&self, case: &Case, seen: &Seen, through: GuardName, reserve: bool) -> Judgement {
        let (snapshot, now) = (self.snapshot(), self.now());
        let mut memory = self.memory();
        let input = self.input(case, seen, through, &snapshot, &mut memory, now);
        let reports = evaluate(&input);
        let judgement = Judgement { input, reports };
        if reserve && judgement.permits() {
            memory.reserve(&case.record, now);
        }
        judgement
    }

    /// The last evaluation before the effect; the invariants are checked in the same breath.
    fn judge_last(&self, case: &Case, seen: &Seen, fresh: Option<&FreshTarget>) -> Judgement {
        let (snapshot, now) = (self.snapshot(), self.now());
        let mut memory = self.memory();
        let input = self.input(case, seen, GuardName::FreshRead, &snapshot, &mut memory, now);
        let reports = evaluate(&input);
        let mut judgement = Judgement { input, reports };
        if judgement.permits() {
            // What had ended before it is taken back may be of an earlier run.
            let undone = case.record.undo_of.as_ref().and_then(|undone| snapshot.actions.get(undone));
            if let Some(undone) = undone.filter(|undone| undone.state.ended()) {
                memory.checker.stored(undone, now);
            }
            let uid = fresh.map(|fresh| &fresh.uid);
            let breaches = memory.checker.effect(&case.record, &judgement.input, uid, now);
            if breaches.is_empty() {
                memory.acted(&case.record, snapshot.generation);
            } else {
                for breach in &breaches {
                    tracing::error!(%breach, "invariant broken; all effects are stopped until restart");
                    judgement.input.breaches.push(breach.to_string());
                }
                judgement.reports = evaluate(&judgement.input);
            }
        }
        judgement
    }

    fn input(
        &self,
        case: &Case,
        seen: &Seen,
        through: GuardName,
        snapshot: &Arc<Snapshot>,
        memory: &mut super::memory::Memory,
        now: Timestamp,
    ) -> GuardInput {
        memory.reconcile(snapshot, now);
        memory.roots.observe(snapshot, now, crate::facts::longest_calm(snapshot));
        let situation = Situation {
            through,
            resumed: case.resumed,
            kill_switch: seen.switch.state.clone(),
            leads: self.shared.ports.leadership.leads(),
            breaches: memory.checker.breaches().iter().map(ToString::to_string).collect(),
            newest_epoch: memory.newest_epoch(&case.record.workload),
            dry_run: seen.dry_run.clone(),
            fresh: seen.fresh.clone(),
            roots: memory.roots.of(&case.record.tenant),
            places: memory.roots.places(&case.record, snapshot),
            history: memory.history(snapshot),
        };
        let protected = &self.shared.protected;
        let input = guard_input(&case.record, case.finding.as_ref(), snapshot, situation, protected, now);
        GuardInput { clock_off: seen.switch.clock_off, ..input }
    }

    pub(super) async fn kill_switch(&self) -> Switch {
        let asked = self.now();
        match self.shared.ports.actuator.kill_switch_and_time().await {
            Ok((state, server)) => {
                let answered = self.now();
                let clock_off = server.map_or(SignedDuration::ZERO, |at| skew::proven(asked, answered, at));
                let clock_right = server.is_some_and(|at| skew::right(asked, answered, at));
                Switch { state, asked, clock_off, clock_right }
            }
            Err(error) => {
                tracing::warn!(%error, "the kill switch cannot be read; nothing is done");
                Switch { state: KillSwitch::Unreadable, asked, ..Switch::not_asked() }
            }
        }
    }

    async fn dry_run(&self, record: &ActionRecord) -> DryRunFacts {
        if !crate::history::changes_state(record.kind()) {
            return DryRunFacts::Passed;
        }
        match self.shared.ports.actuator.dry_run(&record.target, &record.parameters, &record.id).await {
            Ok(()) => DryRunFacts::Passed,
            Err(refusal @ Refusal::Unavailable(_)) => DryRunFacts::Unknown(refusal.to_string()),
            Err(refusal @ Refusal::Forbidden(_)) => {
                DryRunFacts::Refused(format!("{refusal}; {}", crate::actions::needs(record.kind())))
            }
            Err(refusal) => DryRunFacts::Refused(refusal.to_string()),
        }
    }

    async fn fresh(&self, record: &ActionRecord) -> Result<Option<FreshTarget>, ReadError> {
        if !crate::history::changes_state(record.kind()) {
            return Ok(None);
        }
        self.shared.ports.actuator.fresh_for(&record.target, &record.parameters).await
    }

    /// The target as it is now, and the write that stands on it.
    async fn prepare(
        &self,
        record: &ActionRecord,
    ) -> (Result<Option<FreshTarget>, ReadError>, Result<A::Prepared, EffectError>) {
        let fresh = self.fresh(record).await;
        let version = match &fresh {
            Ok(Some(fresh)) => fresh.resource_version.clone(),
            Ok(None) if !crate::history::changes_state(record.kind()) => Name::from(""),
            // The guards refuse it, so there is nothing to prepare.
            Ok(None) | Err(_) => return (fresh, Err(EffectError::NotFound)),
        };
        let actuator = &self.shared.ports.actuator;
        let prepared = actuator.prepare(&record.target, &record.parameters, &record.id, &version).await;
        (fresh, prepared)
    }

    /// All that is read before the effect. The switch comes last, so that no slow read makes its answer old.
    async fn reads(&self, record: &ActionRecord) -> Reads<A::Prepared> {
        let (fresh, prepared) = self.prepare(record).await;
        Reads { switch: self.kill_switch().await, fresh, prepared }
    }

    fn compare(
        &self,
        case: &Case,
        spec: &dyn ActionSpec,
        fresh: &Result<Option<FreshTarget>, ReadError>,
    ) -> FreshFacts {
        match fresh {
            Err(error) => FreshFacts::Unreadable(error.to_string()),
            Ok(None) if spec.changes_state() => FreshFacts::Differs("the target is gone".to_owned()),
            Ok(None) => FreshFacts::Same,
            Ok(Some(fresh)) => {
                let mark = fresh.marks.do_not_touch.as_deref();
                if let Some(why) = mark.and_then(|text| asking::hands_off(text, self.now())) {
                    return FreshFacts::Differs(why);
                }
                let snapshot = self.snapshot();
                let cause = cause_kind(&case.record, case.finding.as_ref(), &snapshot);
                let protected = self.shared.protected.with_people(&snapshot.control.protected);
                let carries = protected.refuse_fresh(&case.record.target, fresh);
                match carries.and_then(|()| spec.check_fresh(&case.record, cause, fresh)) {
                    Ok(()) => FreshFacts::Same,
                    Err(unfit) => FreshFacts::Differs(unfit.to_string()),
                }
            }
        }
    }

    pub(super) fn safety(&self) -> Duration {
        self.shared.config.safety_interval
    }
}

/// What was asked for at this instant is too old for an effect now; also when the clock was set back since.
fn stale(asked: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(asked);
    age.is_negative() || age > FRESH
}

fn fresh_target(fresh: &Result<Option<FreshTarget>, ReadError>) -> Option<&FreshTarget> {
    fresh.as_ref().ok().and_then(Option::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_for_half_a_second_from_when_it_was_asked_for() {
        let asked = crate::testing::at(100);
        for (millis, expected) in [(0, false), (500, false), (501, true), (20_000, true), (-1, true)] {
            let now = asked + SignedDuration::from_millis(millis);
            assert_eq!(stale(asked, now), expected, "{millis} ms later");
        }
    }
}
