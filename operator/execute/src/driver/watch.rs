//! Waiting: for a person's approval, and for the signals to get well after an effect. Snapshots wake it; a
//! timer is only the safety net.

use super::stages::Next;
use super::{Case, ExecuteError, Executor, PROPOSAL_RAISED};
use crate::actions::Verdict;
use crate::asking::{self, Patience};
use crate::changes::Follower;
use crate::facts::evidence;
use crate::guards::{ActionFacts, Mode, mode_of};
use crate::ledger::{LedgerEvent, next};
use crate::ports::{Actuator, Leadership, Ledger};
use homeostat_knowledge::guard::DENIED_BY;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, Approval, ApprovalDecision, Incident, Origin,
    SignedDuration, Snapshot, Timestamp, WorkloadHealth,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Until when it may be approved. Nobody was asked: no time at all.
fn deadline(record: &ActionRecord) -> Timestamp {
    record.request.expires.unwrap_or(record.evidence.taken_at)
}

/// Whether this process can tell that a finding which it never had does not hold any more: its incident is over, its callers
/// are heard and content, or it has looked for longer than they take to send again after a restart.
fn told(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> bool {
    let over = |incident: &Incident| incident.instants.mitigated.is_some() || incident.state.closed();
    let well = |health: &WorkloadHealth| health.good_calls > 0 && health.good_since.is_some();
    snapshot.incidents.get(&record.incident).is_some_and(|incident| over(incident))
        || snapshot.health.get(&record.workload).is_some_and(well)
        || snapshot.listened(now)
}

/// How long an answer waits until what it stands on is seen again after a restart. Most senders have found the new process by
/// then; who was not heard is asked about anew.
const ANSWER_WAITS: SignedDuration = SignedDuration::from_secs(45);

/// When an answer has waited for that long enough.
fn waited(approval: &Approval, snapshot: &Snapshot) -> Option<Timestamp> {
    snapshot.synced_since.and_then(|since| since.max(approval.at).checked_add(ANSWER_WAITS).ok())
}

/// People have raised the level meanwhile: nobody has to be asked any more.
fn raised(record: &ActionRecord, snapshot: &Snapshot) -> bool {
    let facts = ActionFacts::of(record, snapshot);
    let tenant = snapshot.tenants.get(&record.tenant);
    tenant.is_some_and(|tenant| mode_of(&facts, tenant, &snapshot.control) == Mode::Act)
}

/// Counts a task as one that waits, until it is dropped.
pub(super) struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    pub(super) fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// Waits for a person; then goes on, or cancels.
    pub(super) async fn wait_for_approval(&self, mut case: Case) -> Result<Next, ExecuteError> {
        let mut generations = self.shared.ports.generations.clone();
        let (asked, deadline) = (case.record.evidence.taken_at, deadline(&case.record));
        let mut there = false;
        // Sizes and runs are decided anew by each process; what an incident stands on has to be seen first.
        let mut found = !case.resumed || case.record.origin != Origin::Incident;
        let waits = Waits::begin(&self.shared.waiting);
        loop {
            generations.catch_up();
            let snapshot = self.snapshot();
            let now = self.now();
            let seen = snapshot.actions.get(&case.record.id);
            if seen.is_none() && there && self.read(&case.record).await?.is_none() {
                return Err(self.lost_object(&case.record)); // A person deleted the question.
            }
            there |= seen.is_some();
            let live = evidence(&case.record, case.finding.as_ref(), &snapshot);
            found |= live.as_ref().is_some_and(|live| live.active);
            let answer = seen.and_then(|seen| seen.approval.as_ref());
            let waits_until =
                answer.and_then(|answer| waited(answer, &snapshot)).filter(|until| *until > now);
            let told =
                found || told(&case.record, &snapshot, now) || (answer.is_some() && waits_until.is_none());
            if let Some(seen) = seen {
                if seen.state.ended() {
                    return Err(ExecuteError::Superseded { action: case.record.id });
                }
                let denied = |approval: &Approval| approval.decision == ApprovalDecision::Deny;
                if seen.approval.as_ref().is_some_and(|approval| told || denied(approval)) {
                    drop(waits);
                    return self.approved(case).await;
                }
            }
            let answered = answer.is_some();
            let step = asking::patience(asked, deadline, now);
            let tenant = snapshot.tenants.get(&case.record.tenant).map(|tenant| &**tenant);
            let event = if told && live.is_some_and(|live| !live.active) {
                let reason = "the finding does not hold any more; nothing needs to be approved".to_owned();
                Some(LedgerEvent::Cancel { guards: Vec::new(), reason })
            } else if let Some(reason) = crate::actions::asked_in_vain(&case.record, &snapshot, now) {
                Some(LedgerEvent::Cancel { guards: Vec::new(), reason })
            } else if answered {
                None
            } else if raised(&case.record, &snapshot) {
                Some(LedgerEvent::Cancel { guards: Vec::new(), reason: PROPOSAL_RAISED.to_owned() })
            } else if step == Patience::Over {
                Some(LedgerEvent::HandOver { reason: asking::words(step, deadline, tenant) })
            } else if step > asking::step_of(&case.record.message) {
                Some(LedgerEvent::Remind { message: asking::words(step, deadline, tenant) })
            } else {
                None
            };
            if let Some(event) = event {
                // A person may have approved in this moment; the conditional write finds out.
                let after = next(&case.record, event, now)?;
                case.record = self.advance(&case.record, after).await?;
                if case.record.state.ended() {
                    return Ok(Next::Ended(case.record));
                }
            }
            let due = asking::next_step(asked, deadline, now);
            let due = waits_until.map_or(due, |until| until.min(due));
            let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
            self.wake(&case.record.id, &mut generations, left + Duration::from_millis(1)).await?;
        }
    }

    /// A person wrote something; the uncached object says what.
    async fn approved(&self, mut case: Case) -> Result<Next, ExecuteError> {
        let stored = self.read(&case.record).await?;
        let Some(stored) = stored.filter(|stored| stored.state == ActionState::AwaitingApproval) else {
            return Err(ExecuteError::Superseded { action: case.record.id });
        };
        case.record = stored;
        let Some(approval) = case.record.approval.clone() else {
            // Taken back between the two reads; the task that resumes this action goes on waiting.
            return Err(ExecuteError::Superseded { action: case.record.id });
        };
        if approval.decision == ApprovalDecision::Deny {
            let reason = format!("{DENIED_BY}{}", approval.approved_by);
            let after = next(&case.record, LedgerEvent::Cancel { guards: Vec::new(), reason }, self.now())?;
            return self.advance(&case.record, after).await.map(Next::Ended);
        }
        case.record = next(&case.record, LedgerEvent::Approve { approval }, self.now())?;
        self.admit_approved(case).await
    }

    /// The effect is there: people who were only told take over, everything else is watched.
    pub(super) async fn begin_watch(&self, mut case: Case) -> Result<Next, ExecuteError> {
        if case.record.kind() == ActionKind::Notify {
            let event = LedgerEvent::HandOver { reason: "people were told and must take over".to_owned() };
            return Ok(Next::Close(case, event));
        }
        let after = next(&case.record, LedgerEvent::Watch, self.now())?;
        case.record = self.advance(&case.record, after).await?;
        Ok(Next::Watch(case))
    }

    /// Watches the signals until they say whether it helped.
    pub(super) async fn verify(&self, case: Case) -> Result<Next, ExecuteError> {
        let Some(spec) = crate::actions::spec(case.record.kind()) else {
            return Err(ExecuteError::NotImplemented { kind: case.record.kind() });
        };
        let mut generations = self.shared.ports.generations.clone();
        let _waits = Waits::begin(&self.shared.waiting);
        loop {
            generations.catch_up();
            let snapshot = self.snapshot();
            let now = self.now();
            let known = (case.record.target.is_node()
                || snapshot.workloads.contains_key(&case.record.workload))
                && snapshot.tenants.contains_key(&case.record.tenant);
            let event = if known {
                let verdict = spec.verify(&case.record, &snapshot, now);
                match crate::actions::weighed(verdict, &case.record, &snapshot, now) {
                    Verdict::Wait(_) => match crate::actions::overtaken(&case.record, &snapshot, now) {
                        Some(reason) => return Ok(Next::TakeBack(case, reason)),
                        None => None,
                    },
                    Verdict::Helped(reason) => Some(LedgerEvent::Help { reason }),
                    Verdict::NotHelped(reason) => return Ok(Next::TakeBack(case, reason)),
                }
            } else {
                let reason = format!(
                    "workload {} is not under control any more; whether it helped cannot be said",
                    case.record.workload
                );
                Some(LedgerEvent::HandOver { reason })
            };
            if let Some(event) = event {
                return Ok(Next::Close(case, event));
            }
            self.wake(&case.record.id, &mut generations, self.safety()).await?;
        }
    }

    /// Waits for the next snapshot, at most so long; ends with an error when leadership is lost.
    pub(super) async fn wake(
        &self,
        action: &ActionId,
        generations: &mut Follower,
        most: Duration,
    ) -> Result<(), ExecuteError> {
        tokio::select! {
            biased; // The same run again takes the same branch.
            () = generations.next() => {}
            () = tokio::time::sleep(most) => {}
            () = self.shared.ports.leadership.lost() => {
                return Err(ExecuteError::NotLeading { action: action.clone() });
            }
        }
        self.ensure_leads(action)
    }
}
