//! Where the newest snapshot hangs: one writer, many readers.

use homeostat_execute::{Changes, Follower};
use homeostat_knowledge::{Snapshot, SnapshotSource};
use std::sync::{Arc, PoisonError, RwLock};

/// Holds the newest snapshot and tells of each new generation.
#[derive(Debug, Default)]
pub struct Board {
    newest: RwLock<Arc<Snapshot>>,
    generations: Changes,
}

impl Board {
    /// Puts up a new generation.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.generations.tell();
    }

    /// Follows the generations.
    pub fn generations(&self) -> Follower {
        self.generations.follow()
    }
}

impl SnapshotSource for Board {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }
}
