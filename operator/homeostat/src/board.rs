//! Where the newest snapshot hangs: one writer, many readers.

use homeostat_knowledge::{Snapshot, SnapshotSource};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// Holds the newest snapshot and tells of each new generation.
#[derive(Debug)]
pub struct Board {
    newest: RwLock<Arc<Snapshot>>,
    generation: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { newest: RwLock::default(), generation: watch::Sender::new(0) }
    }
}

impl Board {
    /// Puts up a new generation.
    pub fn publish(&self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.generation.send_replace(generation);
    }

    /// Follows the generations.
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}

impl SnapshotSource for Board {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }
}
