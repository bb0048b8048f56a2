//! One action from stage to stage, each in a span of its own: the trace of an action tells where its time went, and every
//! log line of it can be found by the trace.

use super::{Case, ExecuteError, Executor};
use crate::ledger::{LedgerEvent, next};
use crate::ports::{Actuator, Leadership, Ledger};
use homeostat_knowledge::{ActionRecord, Admitted, GuardReport, Plan};
use std::pin::Pin;
use tracing::field::{Empty, debug, display};
use tracing::{Instrument, Span};

/// What comes next for an action.
pub(super) enum Next {
    /// A person is asked.
    Ask(Case),
    /// It is claimed and its effect is sent.
    Send(Case),
    /// Nobody knows whether the effect came.
    Resolve(Case, Vec<GuardReport>),
    /// The effect is there; does it help?
    Watch(Case),
    /// It did not, for this reason.
    TakeBack(Case, String),
    /// Nothing came of an undo; it is tried again, or ends like this when its time is up.
    Again(Case, LedgerEvent),
    /// It is known how it ends.
    Close(Case, LedgerEvent),
    /// It ended, or stands as it is.
    Ended(ActionRecord),
}

impl Next {
    fn record(&self) -> &ActionRecord {
        match self {
            Self::Ask(case)
            | Self::Send(case)
            | Self::Resolve(case, _)
            | Self::Watch(case)
            | Self::TakeBack(case, _)
            | Self::Again(case, _)
            | Self::Close(case, _) => &case.record,
            Self::Ended(record) => record,
        }
    }
}

/// The span of a whole action.
pub(super) fn whole(record: &ActionRecord, resumed: bool) -> Span {
    tracing::info_span!(
        "execute",
        incident = %record.incident,
        action = %record.id,
        kind = %record.kind(),
        tenant = %record.tenant,
        workload = %record.workload,
        target.kind = %record.target.kind,
        target.namespace = %record.target.key.namespace,
        target.name = %record.target.key.name,
        resumed,
        outcome = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    )
}

/// The span of one stage. Log lines show the innermost span alone, so it names the action too.
macro_rules! stage {
    ($name:literal, $record:expr) => {
        tracing::info_span!(
            $name,
            incident = %$record.incident,
            action = %$record.id,
            kind = %$record.kind(),
            target.kind = %$record.target.kind,
            target.namespace = %$record.target.key.namespace,
            target.name = %$record.target.key.name,
            outcome = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        )
    };
}

/// Says in the trace what was decided, and why. Deciding is pure and takes no time that could be measured here.
pub(super) fn planned(plan: &Plan<Admitted>, record: &ActionRecord) {
    let span = tracing::info_span!(
        "plan",
        incident = %plan.incident,
        action = %record.id,
        kind = %record.kind(),
        plan = %plan.id,
        playbook = %plan.playbook.name,
        step = plan.playbook.step,
        target.kind = %record.target.kind,
        target.namespace = %record.target.key.namespace,
        target.name = %record.target.key.name,
        outcome = "Admitted",
    );
    span.in_scope(|| tracing::info!(why = plan.explanation.last(), "plan is carried out"));
}

/// Does one stage in its span, and leaves there what came of it. Its future is boxed: stages are large, an undo goes through
/// them within one of them, and a worker's stack has 2 MiB.
async fn staged(
    span: Span,
    work: Pin<Box<impl Future<Output = Result<Next, ExecuteError>>>>,
) -> Result<Next, ExecuteError> {
    let came = work.instrument(span.clone()).await;
    match &came {
        Ok(next) => note(&span, Ok(next.record())),
        Err(error) => note(&span, Err(error)),
    }
    came
}

fn note(span: &Span, came: Result<&ActionRecord, &ExecuteError>) {
    match came {
        Ok(record) => {
            span.record("outcome", debug(record.state));
        }
        Err(error) => {
            span.record("outcome", "left");
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", display(error));
        }
    }
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// One action to its end, in the span that it is called in, which is that of the whole action.
    pub(super) async fn follow(&self, case: Case) -> Result<ActionRecord, ExecuteError> {
        let begun = if case.resumed {
            Box::pin(self.take_up(case)).await
        } else {
            staged(stage!("guards", case.record), Box::pin(self.admit(case))).await
        };
        let ended = match begun {
            Ok(next) => self.go_on(next).await,
            Err(error) => Err(error),
        };
        note(&Span::current(), ended.as_ref());
        ended
    }

    async fn go_on(&self, mut next: Next) -> Result<ActionRecord, ExecuteError> {
        loop {
            next = match next {
                Next::Ended(record) => return Ok(record),
                Next::Ask(case) => {
                    staged(stage!("approval", case.record), Box::pin(self.wait_for_approval(case))).await?
                }
                Next::Send(case) => {
                    staged(stage!("effect", case.record), Box::pin(self.claim_and_send(case))).await?
                }
                Next::Resolve(case, guards) => {
                    staged(stage!("resolve", case.record), Box::pin(self.resolve(case, guards))).await?
                }
                Next::Watch(case) => {
                    staged(stage!("verify", case.record), Box::pin(self.verify(case))).await?
                }
                Next::TakeBack(case, why) => {
                    staged(
                        stage!("close", case.record),
                        Box::pin(async { self.take_back(case, why).await.map(Next::Ended) }),
                    )
                    .await?
                }
                Next::Again(case, event) => {
                    staged(stage!("again", case.record), Box::pin(self.again(case, event))).await?
                }
                Next::Close(case, event) => {
                    staged(stage!("close", case.record), Box::pin(self.close(case, event))).await?
                }
            }
        }
    }

    async fn close(&self, case: Case, event: LedgerEvent) -> Result<Next, ExecuteError> {
        let after = next(&case.record, event, self.now())?;
        self.advance(&case.record, after).await.map(Next::Ended)
    }
}
