//! What became of actions, in the history of their incidents.

use super::{ACTION_MEMORY, Kernel};
use homeostat_execute::lookback::ROW;
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, IncidentId, IncidentState, Origin, Timestamp,
    WorkloadKey,
};
use std::collections::{BTreeMap, BTreeSet};

impl Kernel {
    /// Writes the progress of actions into their incidents.
    pub(super) fn follow_actions(&mut self, now: Timestamp, changed: &mut BTreeSet<IncidentId>) {
        // Until all is listed the incident of an action may be read after it.
        let listed = self.snapshot.ready();
        for action in self.snapshot.actions.values() {
            if self.seen_actions.get(&action.id) == Some(&action.state) {
                continue;
            }
            let incident = self.correlator.get_mut(&action.incident);
            if listed || incident.is_some() {
                self.seen_actions.insert(action.id.clone(), action.state);
            }
            let Some(incident) = incident else { continue };
            self.launched.remove(&action.incident);
            let (text, known) = (line(action), incident.actions.contains(&action.id));
            if !known {
                incident.actions.push(action.id.clone());
            }
            // What is only proposed, or was refused, took nothing on.
            let approved = action.approval.is_some();
            if approved || action.state.in_flight() || action.state.had_effect() {
                incident.instants.acknowledged.get_or_insert(action.instants.intent.unwrap_or(now));
            }
            // An earlier leader may have written it.
            if !(known && incident.timeline.iter().any(|line| line.text == text)) {
                incident.record(now, TimelineKind::Action, text);
            }
            if incident.state == IncidentState::Open && action.state.in_flight() {
                incident.state = IncidentState::Acting;
            }
            changed.insert(action.incident.clone());
        }
        let busy: BTreeSet<&IncidentId> = self
            .snapshot
            .actions
            .values()
            .filter(|action| action.state.in_flight())
            .map(|action| &action.incident)
            .collect();
        let idle: Vec<IncidentId> = self
            .correlator
            .incidents()
            .filter(|incident| incident.state == IncidentState::Acting && !busy.contains(&incident.id))
            .map(|incident| incident.id.clone())
            .collect();
        for id in idle {
            if let Some(incident) = self.correlator.get_mut(&id) {
                incident.state = IncidentState::Open;
                changed.insert(id);
            }
        }
    }

    /// Ended actions that nothing looks back at any more. A cool-down doubles with each repair in a row that did not help, so
    /// those of a workload stay until one helps.
    pub(super) fn outlived_actions(&self, now: Timestamp) -> Vec<ActionId> {
        let actions = || self.snapshot.actions.values().map(|action| &**action);
        let mut helped: BTreeMap<&WorkloadKey, Timestamp> = BTreeMap::new();
        for action in actions().filter(|action| repairs(action) && action.state == ActionState::Verified) {
            if let Some(closed) = action.instants.closed {
                let last = helped.entry(&action.workload).or_insert(closed);
                *last = closed.max(*last);
            }
        }
        let outlived = |action: &&ActionRecord| {
            let Some(closed) = action.instants.closed.filter(|_| action.state.ended()) else { return false };
            let in_a_row = repairs(action) && helped.get(&action.workload).is_none_or(|last| closed > *last);
            now.duration_since(closed) > if in_a_row { ROW } else { ACTION_MEMORY }
        };
        actions().filter(outlived).map(|action| action.id.clone()).collect()
    }
}

/// It changed something, or may have, to repair it.
fn repairs(action: &ActionRecord) -> bool {
    action.origin == Origin::Incident
        && action.undo_of.is_none()
        && action.instants.sent.is_some()
        && action.kind() != ActionKind::Notify
}

fn line(action: &ActionRecord) -> String {
    let outcome =
        action.outcome.as_ref().map_or_else(|| action.message.clone(), |outcome| outcome.reason.clone());
    format!(
        "{} {}/{}: {:?}{}",
        action.kind(),
        action.target.kind,
        action.target.key.name,
        action.state,
        if outcome.is_empty() { String::new() } else { format!(" ({outcome})") }
    )
}
