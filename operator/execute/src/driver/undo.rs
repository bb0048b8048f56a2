//! Taking back what did not help: once, as an action of its own, and never what somebody changed since.

use super::again::Tries;
use super::stages::whole;
use super::{Case, ExecuteError, Executor};
use crate::actions::{Landed, set_by, spec};
use crate::ledger::{LedgerEvent, next, outcome_unknown};
use crate::ports::{Actuator, Leadership, Ledger};
use homeostat_knowledge::action::ActionInstants;
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::{ActionId, ActionRecord, ActionState, Name, Parameters, Request, Verification};
use std::pin::Pin;
use std::time::Duration;
use tracing::Instrument;

/// What became of taking something back.
enum Taken {
    /// The undo ended, in whatever way.
    Ended(Box<ActionRecord>),
    /// Nothing was sent: what is there does not carry the action's mark.
    NotOurs(String),
}

type Ended<'a> = Pin<Box<dyn Future<Output = Result<ActionRecord, ExecuteError>> + Send + 'a>>;

/// The id of the action that takes this one back. There is one, so it can be taken back once.
pub fn undo_id(action: &ActionId) -> ActionId {
    ActionId::new(format!("{action}-undo"))
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// The action did not help. Restores its before-image when it is to be restored, and ends it as `Undone`; else,
    /// or when that is not possible, as `Failed`. The original stays open meanwhile and so keeps its place in the
    /// budgets. (A boxed future: the undo takes the same way through the driver.)
    pub(super) fn take_back(&self, case: Case, why: String) -> Ended<'_> {
        Box::pin(async move {
            let restored = spec(case.record.kind())
                .filter(|_| crate::history::may_undo(&case.record))
                .and_then(|spec| spec.restore(&case.record));
            let event = match restored {
                None => LedgerEvent::NotHelp { reason: why },
                Some(parameters) => match Box::pin(self.undo(&case, parameters)).await? {
                    Taken::Ended(undo) if undo.state == ActionState::Verified => {
                        LedgerEvent::Undo { reason: format!("{why}; taken back by {}", undo.id) }
                    }
                    Taken::Ended(undo) => LedgerEvent::NotHelp {
                        reason: format!("{why}; not taken back ({}): {}", undo.id, undo.message),
                    },
                    Taken::NotOurs(found) => LedgerEvent::NotHelp {
                        reason: format!("{why}; not taken back: {found}, so it is left to people"),
                    },
                },
            };
            let after = next(&case.record, event, self.now())?;
            self.advance(&case.record, after).await
        })
    }

    /// Carries the undo out, or on when an earlier run began it.
    async fn undo(&self, case: &Case, parameters: Parameters) -> Result<Taken, ExecuteError> {
        let record = self.undo_record(&case.record, parameters);
        let id = record.id.clone();
        let ended = match self.read(&record).await? {
            Some(begun) if begun.state.ended() => return Ok(Taken::Ended(Box::new(begun))),
            Some(begun) => {
                let span = whole(&begun, true);
                let tries = Tries::default();
                let case = Case { record: begun, finding: None, resumed: true, tries, _running: None };
                Box::pin(self.follow(case)).instrument(span).await
            }
            None => {
                self.warmed_up(&id).await?;
                if let Some(found) = self.not_ours(&case.record).await? {
                    return Ok(Taken::NotOurs(found));
                }
                let span = whole(&record, false);
                let tries = Tries::default();
                let case = Case { record, finding: None, resumed: false, tries, _running: None };
                Box::pin(self.follow(case)).instrument(span).await
            }
        };
        if ended.is_err() {
            self.memory().release(&id);
        }
        ended.map(|record| Taken::Ended(Box::new(record)))
    }

    /// Waits until nothing is refused any more for want of a warm process: an undo that was refused for that is not tried again.
    async fn warmed_up(&self, id: &ActionId) -> Result<(), ExecuteError> {
        let mut generations = self.shared.ports.generations.clone();
        loop {
            generations.catch_up();
            let (snapshot, now) = (self.snapshot(), self.now());
            let warm = snapshot.synced_since.filter(|_| snapshot.ready());
            let left = warm.map(|since| snapshot.control.warm_up - now.duration_since(since));
            match left {
                Some(left) if !left.is_positive() => return Ok(()),
                Some(left) => {
                    let left = Duration::try_from(left).unwrap_or_default();
                    self.wake(id, &mut generations, left + Duration::from_millis(1)).await?;
                }
                None => self.wake(id, &mut generations, self.safety()).await?,
            }
        }
    }

    /// This action did not help, and an earlier run began to take it back.
    pub(super) fn undo_begun(&self, record: &ActionRecord) -> bool {
        self.snapshot().actions.contains_key(&undo_id(&record.id))
    }

    /// Why what is there cannot be said to be the effect of this action. Only an action whose outcome is unknown is
    /// asked for its mark; others were told of their effect.
    async fn not_ours(&self, record: &ActionRecord) -> Result<Option<String>, ExecuteError> {
        let Some(spec) = spec(record.kind()).filter(|_| outcome_unknown(record)) else { return Ok(None) };
        match self.shared.ports.actuator.fresh_target(&record.target).await {
            Ok(fresh) => Ok(match spec.landed(record, fresh.as_ref()) {
                Landed::Yes(_) => None,
                Landed::There(found) | Landed::Unclear(found) | Landed::No(found) => Some(found),
            }),
            Err(error) => {
                tracing::debug!(action = %record.id, %error, "not readable whether there is anything to take back");
                Err(ExecuteError::Unresolved { action: record.id.clone() })
            }
        }
    }

    fn undo_record(&self, undone: &ActionRecord, parameters: Parameters) -> ActionRecord {
        ActionRecord {
            id: undo_id(&undone.id),
            resource_version: Name::from(""),
            before: set_by(&undone.parameters),
            parameters,
            epoch: self.snapshot().generation,
            // That the old state is there is all that is asked of an undo: it was not well in the old state.
            verification: Verification { within: undone.verification.within, expect: Expectation::Nothing },
            undo: Undo::None,
            undo_of: Some(undone.id.clone()),
            request: Request { by: self.shared.config.identity.clone(), ..Request::default() },
            state: ActionState::Proposed,
            guards: Vec::new(),
            instants: ActionInstants::default(),
            outcome: None,
            approval: None,
            message: format!("takes back {}", undone.id),
            ..undone.clone()
        }
    }
}
