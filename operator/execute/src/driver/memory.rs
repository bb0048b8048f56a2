//! What the executor remembers between snapshots: its own writes that a snapshot does not show yet, so that
//! two decisions from one snapshot cannot both take the last of a budget.

use super::store::half_created;
use crate::facts;
use crate::history::ActionHistory;
use crate::invariants::Checker;
use crate::roots::RootHistory;
use homeostat_knowledge::guard::REFUSAL_STANDS;
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Admitted, GuardName, IncidentId, Origin, Parameters, Plan,
    SignedDuration, Snapshot, Step, Timestamp, Uid, WorkloadKey,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
pub(super) struct Memory {
    /// Reservations and own writes that have not ended.
    live: BTreeMap<ActionId, ActionRecord>,
    /// What ended here within a day. Deleting `Action` objects gives no budget back.
    past: BTreeMap<ActionId, ActionHistory>,
    /// Actions under way, one per incident.
    running: BTreeMap<IncidentId, ActionId>,
    /// Highest ordinal given to an action of an incident.
    ordinals: BTreeMap<IncidentId, u32>,
    /// Newest epoch acted from.
    epochs: BTreeMap<WorkloadKey, u64>,
    /// Refusals that were stored lately, each with the guard that it waits for, and until when they are not stored again.
    refusals: BTreeMap<(IncidentId, Uid, Option<GuardName>), Timestamp>,
    pub(super) checker: Checker,
    pub(super) roots: RootHistory,
}

/// A decision that was made again before the snapshot shows its refusal is refused again, but not stored again.
/// The planner itself waits longer and longer between its tries; a way up that waits for a guard is asked for every half a
/// minute, and its refusal is stored once in [`REFUSAL_STANDS`].
const REFUSAL_QUIET: SignedDuration = SignedDuration::from_secs(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Bound of each map that is keyed by incident or workload; far above what the budgets let through.
const LIMIT: usize = 50_000;

/// What was stored comes back through the watch within so long.
const ARRIVES: SignedDuration = SignedDuration::from_secs(60);

impl Memory {
    /// Takes an incident for one action; `None` while another has it.
    pub(super) fn take(
        &mut self,
        shared: &Arc<Mutex<Memory>>,
        incident: &IncidentId,
        action: &ActionId,
    ) -> Option<Running> {
        if self.running.contains_key(incident) {
            return None;
        }
        self.running.insert(incident.clone(), action.clone());
        Some(Running { memory: Arc::clone(shared), incident: incident.clone(), action: action.clone() })
    }

    pub(super) fn running_of(&self, incident: &IncidentId) -> Option<ActionId> {
        self.running.get(incident).cloned()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Incident id and the next ordinal: the same decision made twice (by two replicas, or before and after a
    /// crash) gets the same name, and the API server refuses to create it twice.
    pub(super) fn next_id(&self, snapshot: &Snapshot, incident: &IncidentId) -> ActionId {
        let ordinal = |id: &ActionId| -> Option<u32> {
            id.as_str().strip_prefix(incident.as_str())?.strip_prefix('-')?.parse().ok()
        };
        // Names that begin alike stand together.
        let first = ActionId::new(format!("{incident}-"));
        let own = |id: &ActionId| id.as_str().starts_with(first.as_str());
        let from = || (Bound::Included(first.clone()), Bound::<ActionId>::Unbounded);
        let stored = snapshot.actions.range(from()).take_while(|(id, _)| own(id));
        // What cannot be read has its name all the same, whatever it says of its incident.
        let unread = snapshot.unread.range(from()).take_while(|(id, _)| own(id));
        let highest = stored
            .filter(|(_, record)| record.incident == *incident)
            .filter_map(|(id, _)| ordinal(id))
            .chain(unread.filter_map(|(id, _)| ordinal(id)))
            .chain(self.ordinals.get(incident).copied())
            .max()
            .unwrap_or(0);
        ActionId::new(format!("{incident}-{}", highest + 1))
    }

    /// The id is used up, by us or by somebody else.
    pub(super) fn used(&mut self, record: &ActionRecord) {
        let ordinal = record.id.as_str().rsplit('-').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        if self.ordinals.len() >= LIMIT {
            self.ordinals.pop_first();
        }
        let highest = self.ordinals.entry(record.incident.clone()).or_default();
        *highest = ordinal.max(*highest);
    }

    /// A recommendation of the same thing that still stands.
    pub(super) fn standing_proposal(
        &self,
        snapshot: &Snapshot,
        plan: &Plan<Admitted>,
        step: &Step,
    ) -> Option<ActionId> {
        snapshot
            .actions
            .values()
            .map(|record| &**record)
            .chain(self.live.values())
            .find(|record| {
                record.state == ActionState::Proposed
                    && !half_created(record)
                    && !record.resource_version.is_empty()
                    && record.incident == plan.incident
                    && record.target.uid == step.target.uid
                    && alike(&record.parameters, &step.parameters)
            })
            .map(|record| record.id.clone())
    }

    /// What is known about other actions, newest knowledge first.
    pub(super) fn history(&self, snapshot: &Snapshot) -> Vec<ActionHistory> {
        facts::history(snapshot, self.live.values(), &self.past)
    }

    /// Tells the checker how actions went on whose end was not told to this process: those that were left open here, and
    /// those whose last write is stored while its reply is still waited for. The guards see both in the snapshot.
    pub(super) fn reconcile(&mut self, snapshot: &Snapshot, now: Timestamp) {
        // A recommendation that a person deleted, or that another leader closed, stands no more.
        self.live.retain(|id, record| {
            record.state != ActionState::Proposed
                || match snapshot.actions.get(id) {
                    Some(stored) => !stored.state.ended(),
                    None => now.duration_since(record.evidence.taken_at) < ARRIVES,
                }
        });
        for id in self.checker.open_effects() {
            let ours = self.live.contains_key(&id);
            match snapshot.actions.get(&id) {
                Some(record) if !ours || record.state.ended() => self.checker.stored(record, now),
                None if !ours => self.checker.not_sent(&id),
                _ => {}
            }
        }
    }

    /// Takes the budget for an action before its intent is stored.
    pub(super) fn reserve(&mut self, record: &ActionRecord, now: Timestamp) {
        let mut reserved = record.clone();
        reserved.state = ActionState::Admitted;
        reserved.instants.intent.get_or_insert(now);
        self.live.insert(record.id.clone(), reserved);
    }

    /// Gives a reservation back.
    pub(super) fn release(&mut self, action: &ActionId) {
        self.live.remove(action);
    }

    /// A state is stored in the API server, by us or by somebody else.
    pub(super) fn stored(&mut self, record: &ActionRecord, now: Timestamp) {
        self.used(record);
        self.checker.stored(record, now);
        self.past.retain(|_, entry| entry.closed.or(entry.at).is_none_or(|at| now.duration_since(at) < DAY));
        if record.state.ended() {
            self.live.remove(&record.id);
            if self.past.len() >= LIMIT {
                self.past.pop_first();
            }
            self.past.insert(record.id.clone(), ActionHistory::of(record));
        } else {
            self.live.insert(record.id.clone(), record.clone());
        }
    }

    /// Somebody deleted the object of an action under way.
    pub(super) fn deleted(&mut self, record: &ActionRecord, now: Timestamp) {
        let mut gone = record.clone();
        gone.state = ActionState::HandedOver;
        gone.instants.closed.get_or_insert(now);
        self.stored(&gone, now);
    }

    pub(super) fn newest_epoch(&self, workload: &WorkloadKey) -> Option<u64> {
        self.epochs.get(workload).copied()
    }

    /// `generation` is the present one: an action that was taken up may have been decided by another process, whose own
    /// count was higher, and must not make the plans of this one look old.
    pub(super) fn acted(&mut self, record: &ActionRecord, generation: u64) {
        if record.origin == Origin::Schedule {
            return; // A repair does not wait for the runs of its workload.
        }
        if self.epochs.len() >= LIMIT {
            self.epochs.pop_first();
        }
        let epoch = self.epochs.entry(record.workload.clone()).or_default();
        *epoch = record.epoch.min(generation).max(*epoch);
    }

    /// Is this refusal worth an object of its own, or was the same one stored lately?
    pub(super) fn worth_storing(&mut self, record: &ActionRecord, now: Timestamp) -> bool {
        let waits_for = record.waits_for();
        let quiet = if waits_for.is_some() { REFUSAL_STANDS } else { REFUSAL_QUIET };
        let key = (record.incident.clone(), record.target.uid.clone(), waits_for);
        if self.refusals.get(&key).is_some_and(|until| now < *until) {
            return false;
        }
        self.refusals.retain(|_, until| now < *until);
        if self.refusals.len() >= LIMIT {
            return false;
        }
        self.refusals.insert(key, now.checked_add(quiet).unwrap_or(Timestamp::MAX));
        true
    }
}

/// The same proposal: that a hold would end a little later makes no new one.
fn alike(one: &Parameters, other: &Parameters) -> bool {
    match (one, other) {
        (Parameters::Cordon { .. }, Parameters::Cordon { .. })
        | (Parameters::Suspend { .. }, Parameters::Suspend { .. }) => true,
        (Parameters::DriveBounds { bounds: one, .. }, Parameters::DriveBounds { bounds: other, .. }) => {
            one == other
        }
        _ => one == other,
    }
}

/// Holds an incident; gives it back, with any open reservation, on every way out of the driver.
pub(super) struct Running {
    memory: Arc<Mutex<Memory>>,
    incident: IncidentId,
    action: ActionId,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.running.remove(&self.incident);
        // An action that is left open is the snapshot's to tell about; a stale copy here would hide the news.
        // A recommendation stands until it is closed.
        if memory.live.get(&self.action).is_some_and(|record| record.state != ActionState::Proposed) {
            memory.live.remove(&self.action);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;
    use homeostat_knowledge::observation::ObjectChange;
    use homeostat_knowledge::{GuardReport, GuardResult, Name, UnreadAction};

    #[test]
    fn an_action_of_another_process_does_not_make_the_plans_of_this_one_look_old() {
        let mut memory = Memory::default();
        let mut taken_up = record("order-1-1");
        taken_up.epoch = 9_000_000;
        memory.acted(&taken_up, 120);
        assert_eq!(memory.newest_epoch(&taken_up.workload), Some(120));
        let mut own = record("order-1-2");
        own.epoch = 110;
        memory.acted(&own, 130);
        assert_eq!(memory.newest_epoch(&own.workload), Some(120), "an older plan counts no more");
    }

    #[test]
    fn the_name_of_an_action_that_cannot_be_read_is_used_up() {
        let mut snapshot = Snapshot::default();
        let stored = record("order-1-1");
        let incident = stored.incident.clone();
        let next = |snapshot: &Snapshot| Memory::default().next_id(snapshot, &incident).to_string();
        let unread = |id: &str| UnreadAction {
            id: ActionId::new(id),
            resource_version: Name::from("7"),
            // Not even that could be read.
            incident: IncidentId::new(""),
            origin: Origin::Incident,
            tenant: stored.tenant.clone(),
            workload: stored.workload.clone(),
            target: stored.target.uid.clone(),
            state: ActionState::Verified,
            at: None,
            closed: None,
            why: "spec.action: unknown variant `Teleport`".to_owned(),
        };
        let first = next(&snapshot);
        for (taken, free) in [(1, 2), (4, 5)] {
            let change = ObjectChange::UnreadAction(Arc::new(unread(&format!("{incident}-{taken}"))));
            snapshot.commit(&change, crate::testing::at(1_000));
            assert_eq!(next(&snapshot), format!("{incident}-{free}"), "after {first}");
        }
        let other = ObjectChange::UnreadAction(Arc::new(unread(&format!("{incident}-1-9"))));
        snapshot.commit(&other, crate::testing::at(1_000));
        assert_eq!(next(&snapshot), format!("{incident}-5"), "of another incident");
    }

    #[test]
    fn a_way_up_that_waits_is_stored_once_for_each_guard_however_often_it_is_asked_for() {
        let (mut memory, start) = (Memory::default(), crate::testing::at(1_000));
        let mut refused = record("shop.order-1");
        (refused.origin, refused.state) = (Origin::Forecast, ActionState::Refused);
        refused.parameters = Parameters::ScaleUp { replicas: 9 };
        let by = |name| GuardReport {
            name,
            result: GuardResult::Refused,
            observed: String::new(),
            limit: String::new(),
            message: String::new(),
        };
        let mut stored = |guard, second: i64, parameters: Parameters| {
            (refused.guards, refused.parameters) = (vec![by(guard)], parameters);
            memory.worth_storing(&refused, start + SignedDuration::from_secs(second))
        };
        let up = || Parameters::ScaleUp { replicas: 9 };
        let hour = (0..3_600).step_by(30).filter(|second| stored(GuardName::FreezeWindow, *second, up()));
        assert_eq!(hour.count(), 4, "one in a quarter of an hour");
        assert!(stored(GuardName::Budget, 3_601, up()), "another guard is news");
        // What people have to change, and ways down, are asked for later and later; each try is stored.
        for second in [4_000, 4_030] {
            assert!(stored(GuardName::DryRun, second, up()));
            assert!(stored(GuardName::Cooldown, second + 2, Parameters::ScaleDown { replicas: 1 }));
        }
    }

    #[test]
    fn a_recommendation_that_a_person_deleted_stands_no_more() {
        let now = crate::testing::at(1_000);
        let mut memory = Memory::default();
        let mut proposed = record("order-1-1");
        proposed.state = ActionState::Proposed;
        proposed.evidence.taken_at = now;
        memory.stored(&proposed, now);
        let snapshot = Snapshot::default();
        memory.reconcile(&snapshot, now + SignedDuration::from_secs(5));
        assert!(memory.live.contains_key(&proposed.id), "the watch may not have told of it yet");
        memory.reconcile(&snapshot, now + SignedDuration::from_secs(61));
        assert!(!memory.live.contains_key(&proposed.id));
    }
}
