//! The way of what runs taught to the API server and back: read whenever this replica becomes the leader, written while it
//! is.

use crate::jobs::kept::{Keep, RunsMemory};
use crate::kept::load_runs;
use homeostat_cluster::forecasts::Forecasts;
use kube::Client;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// One per process.
pub struct Keeping {
    client: Client,
    namespaces: BTreeSet<String>,
    out: watch::Sender<Forecasts>,
    stop: CancellationToken,
    /// What is being read.
    reading: Option<oneshot::Receiver<Option<RunsMemory>>>,
    dropped: usize,
}

impl Keeping {
    /// Reads from these namespaces (empty: all); what is to be written goes to `out`.
    pub fn new(
        client: Client,
        namespaces: BTreeSet<String>,
        out: watch::Sender<Forecasts>,
        stop: CancellationToken,
    ) -> Self {
        Self { client, namespaces, out, stop, reading: None, dropped: 0 }
    }

    /// Begins to read what was kept; half a minute at most.
    pub fn read(&mut self) {
        let (done, reading) = oneshot::channel();
        let (client, namespaces, stop) = (self.client.clone(), self.namespaces.clone(), self.stop.clone());
        tokio::spawn(async move {
            // Nobody waits for it any more where leadership changed again.
            let _unread = done.send(load_runs(&client, &namespaces, &stop).await);
        });
        self.reading = Some(reading);
    }

    /// What was read, once it is there: the inner `None` when it cannot be read.
    pub fn came(&mut self) -> Option<Option<RunsMemory>> {
        let came = match self.reading.as_mut()?.try_recv() {
            Ok(memory) => memory,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Closed) => None,
        };
        self.reading = None;
        Some(came)
    }

    /// What is to be written now.
    pub fn keep(&mut self, keep: Keep) {
        if keep.dropped != self.dropped {
            self.dropped = keep.dropped;
            tracing::warn!(
                dropped = keep.dropped,
                "What runs of some Workloads taught finds no room; a restart forgets it"
            );
        }
        self.out.send_replace(Some(Arc::new(keep.records)));
    }
}
