//! Taking back what did not help: once, as an action of its own, and never what somebody changed since.

use super::{Case, ExecuteError, Executor};
use crate::actions::{set_by, spec};
use crate::ledger::{LedgerEvent, next};
use crate::ports::{Actuator, Leadership, Ledger};
use homeostat_knowledge::action::ActionInstants;
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::{ActionId, ActionRecord, ActionState, Name, Parameters, Request, Verification};
use std::pin::Pin;

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
                Some(parameters) => {
                    let undo = self.undo(&case, parameters).await?;
                    if undo.state == ActionState::Verified {
                        LedgerEvent::Undo { reason: format!("{why}; taken back by {}", undo.id) }
                    } else {
                        LedgerEvent::NotHelp {
                            reason: format!("{why}; not taken back ({}): {}", undo.id, undo.message),
                        }
                    }
                }
            };
            let after = next(&case.record, event, self.now())?;
            self.advance(&case.record, after).await
        })
    }

    /// Carries the undo out, or on when an earlier run began it.
    async fn undo(&self, case: &Case, parameters: Parameters) -> Result<ActionRecord, ExecuteError> {
        let record = self.undo_record(&case.record, parameters);
        let id = record.id.clone();
        let ended = match self.read(&record).await? {
            Some(begun) if begun.state.ended() => return Ok(begun),
            Some(begun) => {
                self.take_up(Case { record: begun, finding: None, resumed: true, _running: None }).await
            }
            None => self.carry_out(Case { record, finding: None, resumed: false, _running: None }).await,
        };
        if ended.is_err() {
            self.memory().release(&id);
        }
        ended
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
