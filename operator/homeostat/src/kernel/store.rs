//! Whether the API server's store takes writes: without them there is no Lease, no intent, and so no action.

use super::Kernel;
use homeostat_knowledge::{IncidentId, Timestamp};
use std::collections::BTreeSet;

/// What became of the newest write that tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Store {
    /// Taken, or nothing is known of one.
    #[default]
    Writable,
    /// Refused for want of room.
    Full,
}

impl Kernel {
    /// The API server's store is full, or takes writes again. It becomes one incident, which is shown at once and stored when
    /// that is possible again. Saying it again changes nothing.
    pub fn store_full(&mut self, full: bool) {
        let store = if full { Store::Full } else { Store::Writable };
        self.urgent |= self.store != store;
        self.store = store;
    }

    /// Once all that is stored is known: its incident may be open from before a restart.
    pub(super) fn tell_store(&mut self, now: Timestamp, leads: bool, changed: &mut BTreeSet<IncidentId>) {
        if !self.snapshot.ready() {
            return;
        }
        let told = self.correlator.store(self.store == Store::Full, leads, now, &mut *self.ids);
        if let Some(id) = told {
            changed.insert(id);
            self.share_incidents();
        }
    }
}
