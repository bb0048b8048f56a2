//! Finding out whether the effect of a claimed action came, when nobody answered or whoever sent it is gone.

use super::stages::Next;
use super::{Case, ExecuteError, Executor};
use crate::actions::{ActionSpec, Landed, Repeat, as_left};
use crate::ledger::{LedgerEvent, next};
use crate::ports::{Actuator, FreshTarget, Leadership, Ledger};
use crate::skew;
use homeostat_knowledge::{ActionRecord, GuardReport, SignedDuration, Timestamp};
use std::time::Duration;

/// From a claim to the instant from which on nothing can come of it: sent at the last moment that is allowed, worked on
/// for as long as the server works on a request, by clocks that differ.
fn longest(settle: SignedDuration, send_within: SignedDuration) -> SignedDuration {
    send_within.saturating_add(settle).saturating_add(skew::BETWEEN)
}

/// Would the claim's own instant end the wait earlier than the wait that begins at `begun`? A claim from the future says
/// that a clock is wrong.
fn claim_ends_first(
    claimed: Timestamp,
    begun: Timestamp,
    settle: SignedDuration,
    send_within: SignedDuration,
) -> bool {
    let age = begun.duration_since(claimed);
    !age.is_negative() && age > longest(settle, send_within).saturating_sub(settle)
}

fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}

/// Is the effect there? An undo always finds its target changed since the decision, by what it takes back; that it is still
/// as that left it proves as much as an untouched target.
fn landed(record: &ActionRecord, spec: &dyn ActionSpec, fresh: Option<&FreshTarget>) -> Landed {
    match spec.landed(record, fresh) {
        Landed::Unclear(_) if as_left(record, fresh) => {
            Landed::No("it is still as the action left it that is to be taken back".to_owned())
        }
        found => found,
    }
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// The claim will be too old in so long to send anything: whoever finds it may give its effect up. What may come
    /// twice is sent whenever it can.
    pub(super) fn too_late(&self, record: &ActionRecord, repeat: Repeat, wait: Duration) -> bool {
        let age = record.instants.claimed.map(|claimed| self.now().duration_since(claimed));
        let late =
            age.is_none_or(|age| age.saturating_add(signed(wait)) > signed(self.shared.config.send_within));
        late && repeat == Repeat::Never
    }

    /// Finds out by reading whether the effect of a claimed action is there. It is never sent again. Only reads that
    /// prove that nothing came, the last of them when nothing can come any more, make it an action that did nothing;
    /// what nobody can tell counts as done.
    pub(super) async fn resolve(
        &self,
        mut case: Case,
        guards: Vec<GuardReport>,
    ) -> Result<Next, ExecuteError> {
        let Some(spec) = crate::actions::spec(case.record.kind()) else {
            return Err(ExecuteError::NotImplemented { kind: case.record.kind() });
        };
        let harmless = spec.repeat() == Repeat::Harmless;
        let (until, latest) = self.nothing_comes_after(&case).await;
        let (mut attempt, mut answers) = (0, 0);
        let mut doubt = None;
        let mut absent = None;
        let mut reads = 0;
        loop {
            attempt += 1;
            let asked = self.now();
            let record = &case.record;
            match self.shared.ports.actuator.fresh_for(&record.target, &record.parameters).await {
                Ok(fresh) => {
                    answers += 1;
                    match landed(&case.record, spec, fresh.as_ref()) {
                        Landed::Yes(reason) => {
                            let after =
                                next(&case.record, LedgerEvent::FoundDone { guards, reason }, self.now())?;
                            case.record = self.advance(&case.record, after).await?;
                            return self.begin_watch(case).await;
                        }
                        Landed::There(reason) => {
                            doubt = Some(reason);
                            break; // Waiting tells no more.
                        }
                        Landed::Unclear(reason) => doubt = Some(reason),
                        Landed::No(reason) => (absent, reads) = (Some(reason), reads + 1),
                    }
                }
                Err(error) => tracing::debug!(action = %case.record.id, %error, "outcome not readable yet"),
            }
            if harmless || asked >= latest || (asked >= until && answers > 1) {
                break;
            }
            let now = self.now();
            let goal = if now < until { until } else { latest };
            let left = Duration::try_from(goal.duration_since(now)).unwrap_or_default();
            self.pause(&case.record.id, self.backoff(attempt, None).min(left)).await?;
        }
        if doubt.is_none() && reads == 1 && !harmless {
            doubt = absent.take().map(|reason| format!("{reason}, by a single read"));
        }
        if let Some(reason) = doubt {
            let after = next(&case.record, LedgerEvent::Assume { guards, reason }, self.now())?;
            case.record = self.advance(&case.record, after).await?;
            return self.begin_watch(case).await;
        }
        let Some(reason) = absent else {
            return Err(ExecuteError::Unresolved { action: case.record.id });
        };
        let event = if case.resumed {
            // The run that claimed it is gone, and with it any request that was under way.
            LedgerEvent::Cancel {
                guards,
                reason: format!("interrupted before the effect ({reason}); not repeated, judged anew"),
            }
        } else {
            let secs = self.shared.config.settle.as_secs();
            LedgerEvent::LoseTrack {
                guards,
                reason: format!("no answer to the effect, and {reason} after {secs} s; not repeated"),
            }
        };
        // Both are sure that nothing came; an undo is not lost for that.
        Ok(if case.record.undo_of.is_some() { Next::Again(case, event) } else { Next::Close(case, event) })
    }

    /// A read that is asked from the first instant on sees the effect, or it never comes; at the second one it is given
    /// up to read. Whoever sent it has done so by now, so waiting from now on is always right. After a restart the
    /// claim's own instant may end the wait earlier, so that no number of restarts makes it longer; but only by a clock
    /// that is proved to be right.
    async fn nothing_comes_after(&self, case: &Case) -> (Timestamp, Timestamp) {
        let config = &self.shared.config;
        let (settle, send_within) = (signed(config.settle), signed(config.send_within));
        let begun = self.now();
        let anew = begun.checked_add(settle).unwrap_or(Timestamp::MAX);
        let until = match case.record.instants.claimed {
            Some(claimed)
                if case.resumed
                    && claim_ends_first(claimed, begun, settle, send_within)
                    && self.kill_switch().await.clock_right =>
            {
                claimed.checked_add(longest(settle, send_within)).map_or(anew, |end| end.min(anew))
            }
            _ => anew,
        };
        (until, anew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn a_claim_ends_the_wait_only_when_nothing_can_come_of_it_earlier_than_of_a_wait_anew() {
        let (settle, send) = (SignedDuration::from_secs(15), SignedDuration::from_secs(10));
        assert_eq!(longest(settle, send), SignedDuration::from_secs(35));
        // (claimed, begun): does the claim end it first?
        for (claimed, begun, first) in
            [(100, 100, false), (100, 120, false), (100, 121, true), (100, 4_000, true), (101, 100, false)]
        {
            assert_eq!(claim_ends_first(at(claimed), at(begun), settle, send), first, "{claimed} {begun}");
        }
    }
}
