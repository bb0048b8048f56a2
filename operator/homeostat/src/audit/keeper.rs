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
    /// `None` when they could not be read: then no chain that is there can be checked.
    pub told: Option<BTreeMap<String, Anchor>>,
    pub clock: Arc<dyn Clock>,
    pub standing: Arc<Standing>,
    pub heads: mpsc::Sender<Anchor>,
}

impl Keeper {
    pub(super) fn run(self, messages: &Receiver<Message>) {
        let Some(mut journal) = self.open(messages) else { return };
        let start = self.clock.now();
        // Names are looked at right away: a process that is started anew each day would never come to it.
        let erased = start.checked_sub(ERASE).unwrap_or(start);
        let (mut anchored, mut erased, mut failing) = (start, erased, false);
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
            let opened = match &self.told {
                Some(told) => Journal::open_on(disk, &self.folder, &self.who, limits, told, now),
                None => Journal::begin_on(disk, &self.folder, &self.who, limits, now)
                    .map(|journal| (journal, None)),
            };
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

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_audit::disk::FileSystem;
    use homeostat_audit::{Decision, store};
    use serde_json::json;
    use std::sync::mpsc::sync_channel;

    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("homeostat-keeper-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            Self(folder)
        }

        /// A process that starts on this day, records one approval, and ends.
        fn life(&self, day: i64, told: Option<BTreeMap<String, Anchor>>) {
            let start = Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_hours(24 * day);
            let (sender, messages) = sync_channel(2);
            let (heads, _to_tell) = mpsc::channel(1);
            let standing = Arc::new(Standing::default());
            let decision = Decision {
                key: String::new(),
                facts: json!({ "what": "ActionAdmitted", "day": day }),
                personal: Some(json!({ "approvedBy": format!("ana-{day}-") })),
            };
            standing.queued.fetch_add(1, Ordering::SeqCst);
            sender.send(Message::Decision(Box::new(decision))).unwrap();
            sender.send(Message::Close).unwrap();
            let keeper = Keeper {
                disk: Arc::new(FileSystem),
                folder: self.0.clone(),
                who: "homeostat-0".to_owned(),
                told,
                clock: Arc::new(At(start)),
                standing: Arc::clone(&standing),
                heads,
            };
            keeper.run(&messages);
            assert_eq!((standing.waiting(), standing.lost()), (0, 0));
        }

        /// Each chain with its text.
        fn chains(&self) -> BTreeMap<String, String> {
            let text = |files: &Vec<PathBuf>| store::lines(files).map(Result::unwrap).collect::<String>();
            let chains = store::chains(&self.0).unwrap();
            chains.iter().map(|(chain, files)| (chain.clone(), text(files))).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_process_that_never_runs_for_a_whole_day_erases_old_names_all_the_same() {
        let folder = Folder::new("erase");
        for day in [0, 2, 60, 90, 91] {
            folder.life(day, Some(BTreeMap::new()));
            let chains = folder.chains();
            assert_eq!(chains.len(), 1, "the same chain goes on");
            let named = chains.values().any(|text| text.contains("ana-0-"));
            assert_eq!(named, day <= 90, "day {day}");
        }
        assert!(folder.chains().values().all(|text| text.contains("ana-2-")), "names of 89 days ago stay");
    }

    #[test]
    fn where_no_anchor_could_be_read_a_new_chain_begins_and_the_one_before_is_left_as_it_is() {
        let folder = Folder::new("unchecked");
        folder.life(0, Some(BTreeMap::new()));
        let before = folder.chains();
        folder.life(100, None);
        let after = folder.chains();
        assert_eq!((before.len(), after.len()), (1, 2));
        assert!(before.iter().all(|(chain, text)| after.get(chain) == Some(text)), "{after:?}");
    }
}
