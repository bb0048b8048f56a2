//! Closed incidents that can still be read on the pages. Closed ones leave the snapshot; until history has a
//! store of its own, the newest stay here.

use crate::report::IncidentReport;
use homeostat_knowledge::{ActionRecord, Incident, IncidentId, Snapshot, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest closed incidents with their actions, bounded. Clones share the same list.
#[derive(Clone, Debug)]
pub struct RecentIncidents {
    closed: Arc<Mutex<VecDeque<Arc<Closed>>>>,
    capacity: usize,
}

/// A closed incident with its actions.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// The incident as it was when it closed.
    pub incident: Incident,
    /// Its actions, oldest first.
    pub actions: Vec<ActionRecord>,
}

impl Closed {
    /// Its report. What became of its actions after it had closed is in the snapshot, as long as they are kept.
    pub fn report(&self, snapshot: &Snapshot, made_at: Timestamp) -> IncidentReport {
        let now = |action: &ActionRecord| {
            snapshot.actions.get(&action.id).map_or_else(|| action.clone(), |now| ActionRecord::clone(now))
        };
        let actions = self.actions.iter().map(now).collect();
        IncidentReport { incident: self.incident.clone(), actions, made_at }
    }
}

impl Default for RecentIncidents {
    fn default() -> Self {
        Self::new(100)
    }
}

impl RecentIncidents {
    /// Keeps at most `capacity` incidents.
    pub fn new(capacity: usize) -> Self {
        Self { closed: Arc::default(), capacity }
    }

    /// Adds an incident that closed; one with the same id is replaced, the oldest goes when there is no room.
    pub fn add(&self, incident: Incident, actions: Vec<ActionRecord>) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.retain(|old| old.incident.id != incident.id);
        closed.push_back(Arc::new(Closed { incident, actions }));
        while closed.len() > self.capacity {
            closed.pop_front();
        }
    }

    /// The incident of that name.
    pub fn get(&self, id: &IncidentId) -> Option<Arc<Closed>> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.iter().find(|entry| entry.incident.id == *id).cloned()
    }

    /// All of them, newest first.
    pub fn list(&self) -> Vec<Arc<Closed>> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.iter().rev().cloned().collect()
    }
}
