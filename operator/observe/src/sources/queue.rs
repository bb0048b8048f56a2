//! The queue from the sources to the loop, shared fairly between tenants.
//!
//! It is bounded in records, so that its memory does not depend on how large batches are, and each tenant has its share of
//! that ([`super::shares`]): one that sends more than the loop takes is told to come again, and the others are not.

use super::shares::{NoRoom, Owner, Shares};
use homeostat_knowledge::Observation;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Records per place. A smaller batch counts as so many, so that places run out no sooner than records; it is what an
/// OpenTelemetry SDK sends at once at most by default (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
pub const PLACE: usize = 512;

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The loop is behind, for everybody.
    #[error("analysis is behind")]
    Full,
    /// The loop is behind, and this tenant has its share of what waits.
    #[error(
        "analysis is behind, and so much of this tenant's telemetry waits already that the rest is for others"
    )]
    Share,
    /// The process ends.
    #[error("shutting down")]
    Closed,
}

impl From<NoRoom> for Refused {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Full => Self::Full,
            NoRoom::Share => Self::Share,
        }
    }
}

/// A batch that waits, and what it counts as.
#[derive(Debug)]
struct Waiting {
    batch: Vec<Observation>,
    of: Of,
    units: usize,
}

/// Who gives the units back.
#[derive(Debug)]
enum Of {
    Tenant(Owner),
    Own,
}

/// Where sources put their observations: one batch per request, answer or watch event. A source that finds no room
/// refuses, and counts what it had to drop.
#[derive(Clone, Debug)]
pub struct Outlet {
    sender: mpsc::Sender<Waiting>,
    shares: Arc<Mutex<Shares>>,
}

/// The loop's end of the queue.
#[derive(Debug)]
pub struct Inlet {
    receiver: mpsc::Receiver<Waiting>,
    shares: Arc<Mutex<Shares>>,
}

/// A queue of at most `places` batches, and [`PLACE`] records for each.
pub fn queue(places: usize) -> (Outlet, Inlet) {
    let places = places.max(1);
    let (sender, receiver) = mpsc::channel(places);
    let shares = Arc::new(Mutex::new(Shares::new(places.saturating_mul(PLACE))));
    (Outlet { sender, shares: Arc::clone(&shares) }, Inlet { receiver, shares })
}

impl Outlet {
    /// Whether a small batch of `owner` would be taken now: what is refused anyway need not be converted first.
    ///
    /// # Errors
    /// [`Refused`] when it would not.
    pub fn room(&self, owner: &Owner) -> Result<(), Refused> {
        if self.sender.is_closed() {
            return Err(Refused::Closed);
        }
        Ok(lock(&self.shares).fits(owner, PLACE)?)
    }

    /// Puts in what `owner` sent.
    ///
    /// # Errors
    /// [`Refused`] when there is no room for it; the batch is dropped.
    pub fn send(&self, owner: Owner, batch: Vec<Observation>) -> Result<(), Refused> {
        let units = {
            let mut shares = lock(&self.shares);
            // The largest batch fits into an empty queue, however small that is.
            let units = batch.len().max(PLACE).min(shares.capacity());
            shares.take(&owner, units)?;
            units
        };
        self.put(Waiting { batch, of: Of::Tenant(owner), units })
    }

    /// Puts in what Homeostat itself asked or has to say, at most one batch per round of a source. It takes one place,
    /// whatever is in it, and is in nobody's share.
    ///
    /// # Errors
    /// [`Refused`] when there is no room for it; the batch is dropped.
    pub fn send_own(&self, batch: Vec<Observation>) -> Result<(), Refused> {
        lock(&self.shares).take_own(PLACE)?;
        self.put(Waiting { batch, of: Of::Own, units: PLACE })
    }

    fn put(&self, waiting: Waiting) -> Result<(), Refused> {
        self.sender.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(waiting) => {
                give_back(&self.shares, &waiting);
                Refused::Full
            }
            mpsc::error::TrySendError::Closed(waiting) => {
                give_back(&self.shares, &waiting);
                Refused::Closed
            }
        })
    }
}

impl Inlet {
    /// The next batch; `None` when there is no source any more. Nothing is lost when the wait is given up.
    pub async fn recv(&mut self) -> Option<Vec<Observation>> {
        let waiting = self.receiver.recv().await?;
        give_back(&self.shares, &waiting);
        Some(waiting.batch)
    }

    /// The next batch, when one waits.
    pub fn try_recv(&mut self) -> Option<Vec<Observation>> {
        let waiting = self.receiver.try_recv().ok()?;
        give_back(&self.shares, &waiting);
        Some(waiting.batch)
    }

    /// Batches that wait.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// `true` when none waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

fn lock(shares: &Mutex<Shares>) -> std::sync::MutexGuard<'_, Shares> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

fn give_back(shares: &Mutex<Shares>, waiting: &Waiting) {
    let mut shares = lock(shares);
    match &waiting.of {
        Of::Tenant(owner) => shares.give_back(owner, waiting.units),
        Of::Own => shares.give_back_own(waiting.units),
    }
}
