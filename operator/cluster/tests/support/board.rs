//! The newest snapshot, kept and handed out as the binary does.

use homeostat_knowledge::{Snapshot, SnapshotSource};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Board(Mutex<Arc<Snapshot>>);

impl Board {
    /// The next generation, with these changes in it.
    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut newest = self.0.lock().unwrap();
        let mut snapshot = Snapshot::clone(&newest);
        change(&mut snapshot);
        *newest = Arc::new(snapshot);
    }
}

impl SnapshotSource for Board {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().unwrap())
    }
}
