//! Incidents of Homeostat itself and of what it stands on, which no finding tells.

use super::{Correlator, close};
use crate::breach;
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{IdSource, IncidentId, Timestamp};

impl Correlator {
    /// Opens the incident of an own invariant that was found broken, unless the one of this fault is open: then it says that
    /// it came again. `breach` tells what happened; its part `fault` is the same for the same invariant and action.
    pub fn breached(
        &mut self,
        fault: &str,
        breach: &str,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> IncidentId {
        if let Some(open) = breach::of(fault, self.incidents.values_mut()) {
            open.record(now, TimelineKind::State, format!("came again: {breach}"));
            return open.id.clone();
        }
        // Never refused for want of room: there is one for each process at most.
        let opened = breach::incident(breach, &self.config.home, now, ids);
        let id = opened.id.clone();
        self.incidents.insert(id.clone(), opened);
        id
    }

    /// Opens the incident of an API server whose store takes no writes, once, and closes it when it takes them again; gives
    /// the one that changed. Of one that the API server has, the leader alone says that it is over.
    pub fn store(
        &mut self,
        full: bool,
        leads: bool,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Option<IncidentId> {
        if let Some(open) = breach::of_store(self.incidents.values_mut()) {
            if full || (!leads && self.stored.contains(&open.id)) {
                return None;
            }
            open.record(now, TimelineKind::State, "resolved: the API server takes writes again");
            close(open, now);
            return Some(open.id.clone());
        }
        // Never refused for want of room: there is one at most.
        let opened = full.then(|| breach::store_full(&self.config.home, now, ids))?;
        let id = opened.id.clone();
        self.incidents.insert(id.clone(), opened);
        Some(id)
    }
}
