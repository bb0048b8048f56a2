//! Writing the ledger: bounded tries, lost replies resolved by reading, changes by others respected.

use super::{ExecuteError, Executor};
use crate::ports::{Actuator, Leadership, Ledger, LedgerStoreError};
use homeostat_knowledge::{ActionId, ActionRecord, ActionState, SignedDuration, Timestamp};
use std::time::Duration;

/// What was written, as it is stored: a person may have answered meanwhile.
fn answered(stored: ActionRecord, written: ActionRecord) -> ActionRecord {
    ActionRecord {
        resource_version: stored.resource_version,
        approval: written.approval.clone().or(stored.approval),
        ..written
    }
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// Creates the object. An object of that name that is not ours is left alone.
    pub(super) async fn create(&self, record: ActionRecord) -> Result<ActionRecord, ExecuteError> {
        let mut unanswered = false;
        let mut attempt = 0;
        loop {
            self.ensure_leads(&record.id)?;
            let error = match self.shared.ports.ledger.create(&record).await {
                Ok(version) => {
                    return Ok(self.noted(ActionRecord { resource_version: version, ..record }).await);
                }
                Err(error) => error,
            };
            attempt += 1;
            match &error {
                LedgerStoreError::AlreadyExists | LedgerStoreError::Conflict => {
                    let stored = self.read(&record).await?;
                    if let Some(stored) = stored {
                        // Our own creation, whose state did not arrive. Nobody else finishes it: to the watch of a
                        // process that saw it come it is nothing before it has a state.
                        if unanswered && half_created(&stored) && same_decision(&stored, &record) {
                            return self.advance(&stored, record).await;
                        }
                        // Only a write of ours whose reply was lost may be taken for ours.
                        if unanswered && same_write(&stored, &record) {
                            return Ok(self.noted(answered(stored, record)).await);
                        }
                        let now = self.now();
                        self.memory().stored(&stored, now);
                    }
                    self.memory().used(&record);
                    return Err(ExecuteError::Exists { action: record.id });
                }
                LedgerStoreError::Unknown(_) => unanswered = true,
                LedgerStoreError::Transient { .. } => {}
                LedgerStoreError::Denied(_) | LedgerStoreError::NotFound => {
                    return Err(ExecuteError::Store { action: record.id, source: error });
                }
            }
            if attempt >= self.shared.config.attempts {
                return Err(ExecuteError::Store { action: record.id, source: error });
            }
            self.pause(&record.id, self.wait(attempt, &error)).await?;
        }
    }

    /// Stores `after` on the condition that the stored object is still `before`. Changes by others that leave
    /// the state alone (labels, an approval) are respected and do not stop it.
    pub(super) async fn advance(
        &self,
        before: &ActionRecord,
        mut after: ActionRecord,
    ) -> Result<ActionRecord, ExecuteError> {
        after.resource_version = before.resource_version.clone();
        let mut unanswered = false;
        let mut attempt = 0;
        loop {
            self.ensure_leads(&after.id)?;
            let error = match self.shared.ports.ledger.update(&after).await {
                Ok(version) => {
                    return Ok(self.noted(ActionRecord { resource_version: version, ..after }).await);
                }
                Err(error) => error,
            };
            attempt += 1;
            match &error {
                LedgerStoreError::Conflict | LedgerStoreError::AlreadyExists => {
                    let Some(stored) = self.read(&after).await? else {
                        return Err(self.lost_object(&after));
                    };
                    if unanswered && same_write(&stored, &after) {
                        return Ok(self.noted(answered(stored, after)).await);
                    }
                    if stored.state != before.state || !same_write(&stored, before) {
                        let now = self.now();
                        self.memory().stored(&stored, now);
                        return Err(ExecuteError::Superseded { action: after.id });
                    }
                    if after.approval.is_none() {
                        after.approval = stored.approval;
                    }
                    after.resource_version = stored.resource_version;
                }
                LedgerStoreError::Unknown(_) => unanswered = true,
                LedgerStoreError::Transient { .. } => {}
                LedgerStoreError::NotFound => return Err(self.lost_object(&after)),
                LedgerStoreError::Denied(_) => {
                    return Err(ExecuteError::Store { action: after.id, source: error });
                }
            }
            if attempt >= self.shared.config.attempts {
                return Err(ExecuteError::Store { action: after.id, source: error });
            }
            if error != LedgerStoreError::Conflict {
                self.pause(&after.id, self.wait(attempt, &error)).await?;
            }
        }
    }

    pub(super) fn lost_object(&self, record: &ActionRecord) -> ExecuteError {
        let now = self.now();
        self.memory().deleted(record, now);
        ExecuteError::Superseded { action: record.id.clone() }
    }

    /// Reads the stored object, with bounded tries.
    pub(super) async fn read(&self, record: &ActionRecord) -> Result<Option<ActionRecord>, ExecuteError> {
        let key = record.key();
        let mut attempt = 0;
        loop {
            match self.shared.ports.ledger.read(&key).await {
                Ok(stored) => return Ok(stored),
                Err(LedgerStoreError::NotFound) => return Ok(None),
                Err(error) => {
                    attempt += 1;
                    if attempt >= self.shared.config.attempts || matches!(error, LedgerStoreError::Denied(_))
                    {
                        return Err(ExecuteError::Store { action: record.id.clone(), source: error });
                    }
                    self.pause(&record.id, self.wait(attempt, &error)).await?;
                }
            }
        }
    }

    /// Remembers and publishes a stored state.
    async fn noted(&self, record: ActionRecord) -> ActionRecord {
        let now = self.now();
        self.memory().stored(&record, now);
        self.shared.ports.recorder.decided(&record);
        tracing::info!(action = %record.id, state = ?record.state, why = %record.message, "action moved on");
        self.publish(&record).await;
        record
    }

    async fn publish(&self, record: &ActionRecord) {
        use tokio::sync::mpsc::error::TrySendError;
        let published = &self.shared.ports.published;
        let Err(TrySendError::Full(record)) = published.try_send(record.clone()) else { return };
        let id: ActionId = record.id.clone();
        // The loop is behind. Nothing may hang on it: the state also comes back through the watch.
        if tokio::time::timeout(Duration::from_secs(1), published.send(record)).await.is_err() {
            tracing::warn!(action = %id, "the loop takes no action states in; this one comes back through the watch");
        }
    }

    /// Time to wait before the next try: as told, else doubling.
    fn wait(&self, attempt: u32, error: &LedgerStoreError) -> Duration {
        let told = match error {
            LedgerStoreError::Transient { retry_after, .. } => *retry_after,
            _ => None,
        };
        self.backoff(attempt, told)
    }

    pub(super) fn backoff(&self, attempt: u32, told: Option<SignedDuration>) -> Duration {
        let config = &self.shared.config;
        let doubled = config.backoff.saturating_mul(1 << (attempt.max(1) - 1).min(16));
        let told = told.and_then(|told| Duration::try_from(told).ok()).unwrap_or_default();
        doubled.max(told).min(config.backoff_maximum)
    }
}

/// Spec and state are stored by two requests. An object without a state was never judged: every stored state
/// carries the guards' results.
pub(super) fn half_created(stored: &ActionRecord) -> bool {
    stored.state == ActionState::Proposed && stored.guards.is_empty()
}

fn same_decision(stored: &ActionRecord, written: &ActionRecord) -> bool {
    stored.target.uid == written.target.uid
        && stored.evidence.id == written.evidence.id
        && stored.parameters.as_stored() == written.parameters.as_stored()
}

/// The same state with the same instants. Stored instants have a resolution of one microsecond.
fn same_write(stored: &ActionRecord, written: &ActionRecord) -> bool {
    let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    stored.state == written.state
        && stored.guards.is_empty() == written.guards.is_empty()
        && same_decision(stored, written)
        && micros(stored.instants.intent) == micros(written.instants.intent)
        && micros(stored.instants.claimed) == micros(written.instants.claimed)
        && micros(stored.instants.closed) == micros(written.instants.closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_action;
    use homeostat_knowledge::Parameters;

    #[test]
    fn a_hold_read_back_in_microseconds_is_the_same_decision() {
        let until = Timestamp::from_nanosecond(1_800_000_000_123_456_789).expect("in range");
        let later = Timestamp::from_nanosecond(1_800_000_000_123_457_000).expect("in range");
        let written = node_action("node-1-1", "worker-1", Parameters::Cordon { until });
        let read = ActionRecord { parameters: written.parameters.as_stored(), ..written.clone() };
        assert_ne!(read.parameters, written.parameters, "the rest of the nanoseconds is gone");
        assert!(same_decision(&read, &written));
        let other = ActionRecord { parameters: Parameters::Cordon { until: later }, ..written.clone() };
        assert!(!same_decision(&other, &written), "a microsecond is another one");
    }
}
