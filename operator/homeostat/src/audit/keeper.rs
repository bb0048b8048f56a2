//! The thread that writes the audit record: files are slow, and nothing else may be.

use super::{Message, Standing};
use homeostat_audit::disk::Disk;
use homeostat_audit::journal::PERSONAL;
use homeostat_audit::{Anchor, Journal, Salt, StoreLimits};
use homeostat_knowledge::{Clock, SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often repetitions and failed writes are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the head is told, when it changed.
const ANCHOR: SignedDuration = SignedDuration::from_mins(1);
/// How often names that are old enough are erased.
const ERASE: SignedDuration = SignedDuration::from_hours(24);

pub(super) struct Keeper {
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub who: String,
    pub told: BTreeMap<String, Anchor>,
    pub clock: Arc<dyn Clock>,
    pub standing: Arc<Standing>,
    pub heads: mpsc::Sender<Anchor>,
}

impl Keeper {
    pub(super) fn run(self, messages: &Receiver<Message>) {
        let Some(mut journal) = self.open(messages) else { return };
        let start = self.clock.now();
        let (mut anchored, mut erased, mut failing) = (start, start, false);
        // Of those that found no room in the queue, so many are on record.
        let mut told = 0;
        loop {
            let first = messages.recv_timeout(LOOK);
            let now = self.clock.now();
            let mut open = !matches!(first, Err(RecvTimeoutError::Disconnected));
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Decision(decision) => {
                        self.taken();
                        journal.record(*decision, now, salt);
                    }
                    Message::Told(anchor) => {
                        if let Err(error) = journal.told(*anchor) {
                            tracing::warn!(%error, "Old files of the audit record could not be removed");
                        }
                    }
                    Message::Close => open = false,
                }
            }
            let missed = self.standing.missed.load(Ordering::Relaxed);
            journal.miss(missed - told);
            told = missed;
            self.count(&journal, told);
            self.standing.waits(Some(now));
            let written = if open { journal.flush(now, salt) } else { journal.close(now, salt) };
            self.standing.waits(None);
            self.count(&journal, told);
            say(&written, &mut failing, &journal);
            if due(now, &mut anchored, ANCHOR)
                && let Some(anchor) = journal.anchor(now)
            {
                // Still telling the last one: this one is told in a minute.
                let _ = self.heads.try_send(anchor);
            }
            if due(now, &mut erased, ERASE)
                && let Err(error) = journal.erase(now.checked_sub(PERSONAL).unwrap_or(Timestamp::MIN))
            {
                tracing::warn!(%error, "Old names in the audit record could not be erased");
            }
            if !open {
                return;
            }
        }
    }

    /// One less in the queue, and not written yet: at no moment is it counted as neither.
    fn taken(&self) {
        self.standing.unwritten.fetch_add(1, Ordering::SeqCst);
        self.standing.queued.fetch_sub(1, Ordering::SeqCst);
    }

    fn count(&self, journal: &Journal, missed: u64) {
        let counts = journal.counts();
        self.standing.beyond.store(counts.lost.saturating_sub(missed), Ordering::Relaxed);
        self.standing.unwritten.store(counts.waiting, Ordering::SeqCst);
    }

    /// Opens the record, however long the disk takes; meanwhile decisions wait in the queue. `None` when the program
    /// ends before.
    fn open(&self, messages: &Receiver<Message>) -> Option<Journal> {
        let mut failing = false;
        let mut early = Vec::new();
        loop {
            let now = self.clock.now();
            self.standing.waits(Some(now));
            let (disk, limits) = (Arc::clone(&self.disk), StoreLimits::default());
            let opened = Journal::open_on(disk, &self.folder, &self.who, limits, &self.told, now);
            self.standing.waits(None);
            match opened {
                Ok((mut journal, broken)) => {
                    if let Some(broken) = broken {
                        tracing::error!(%broken, "The audit record was changed by somebody; a new chain begins");
                    }
                    for decision in early {
                        journal.record(decision, now, salt);
                    }
                    return Some(journal);
                }
                Err(error) if !failing => {
                    tracing::error!(%error, "The audit record cannot be opened; tried again every second");
                    failing = true;
                }
                Err(_) => {}
            }
            match messages.recv_timeout(LOOK) {
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Message::Decision(decision)) => {
                    self.taken();
                    if early.len() < super::QUEUE {
                        early.push(*decision);
                    } else {
                        self.standing.unwritten.fetch_sub(1, Ordering::SeqCst);
                        self.standing.missed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Message::Told(_)) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

fn due(now: Timestamp, last: &mut Timestamp, every: SignedDuration) -> bool {
    let due = now.duration_since(*last) >= every;
    if due {
        *last = now;
    }
    due
}

/// One line when it begins to fail and one when it is over; the counts say the rest.
fn say(written: &Result<(), homeostat_audit::StoreError>, failing: &mut bool, journal: &Journal) {
    let counts = journal.counts();
    match written {
        Err(error) if !*failing => {
            tracing::error!(%error, waiting = counts.waiting, "The audit record cannot be written; healing goes on");
            *failing = true;
        }
        Ok(()) if *failing => {
            tracing::info!(written = counts.written, lost = counts.lost, "The audit record is written again");
            *failing = false;
        }
        _ => {}
    }
}

/// From the system's source of randomness, by way of the TLS library.
fn salt() -> Salt {
    let mut bytes = [0; 16];
    if rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes).is_err() {
        // Without randomness a digest can be guessed from its value; the chain holds all the same.
        tracing::debug!("no randomness for a salt");
    }
    Salt(bytes)
}
