//! What became of actions, in the history of their incidents.

use super::Kernel;
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{ActionRecord, IncidentId, IncidentState, Timestamp};
use std::collections::BTreeSet;

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
