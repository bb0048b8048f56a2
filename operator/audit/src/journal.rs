//! The record of one replica: counts repetitions, seals, keeps what the disk does not take for now, and says what to
//! anchor. Nothing here is ever waited for by a decision: healing goes on while the record cannot be written.

use crate::chain::{Anchor, Chain, Entry};
use crate::decision::Decision;
use crate::digest::Salt;
use crate::disk::{Disk, FileSystem};
use crate::repeats::Repeats;
use crate::store::{self, Store, StoreError, StoreLimits};
use crate::verify::verify;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

/// Entries that may wait for the disk; at some kilobytes each, a few megabytes.
pub const BACKLOG: usize = 2_000;
/// Entries that are written before the disk is waited for.
const BATCH: usize = 500;
/// Personal parts older than this are erased, unless said otherwise.
pub const PERSONAL: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// Entries on disk.
    pub written: u64,
    /// Entries that wait for the disk.
    pub waiting: u64,
    /// Decisions that found no room to wait.
    pub lost: u64,
}

/// The record of one replica.
#[derive(Debug)]
pub struct Journal {
    who: String,
    chain: Chain,
    store: Store,
    repeats: Repeats<Decision>,
    backlog: VecDeque<Entry>,
    /// Lost and not yet recorded as lost.
    missing: u64,
    pruned: u64,
    told: Option<Anchor>,
    counts: JournalCounts,
}

impl Journal {
    /// Goes on with the replica's newest chain in this folder, when it is whole by its anchor; else begins a new one.
    /// A chain that is not whole is left as it is, for people to look at.
    ///
    /// # Errors
    /// When the folder cannot be used at all.
    pub fn open(
        folder: &Path,
        who: &str,
        limits: StoreLimits,
        anchors: &BTreeMap<String, Anchor>,
        now: Timestamp,
    ) -> Result<(Self, Option<String>), StoreError> {
        Self::open_on(Arc::new(FileSystem), folder, who, limits, anchors, now)
    }

    /// As [`Journal::open`], on this disk.
    ///
    /// # Errors
    /// As for [`Journal::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        who: &str,
        limits: StoreLimits,
        anchors: &BTreeMap<String, Anchor>,
        now: Timestamp,
    ) -> Result<(Self, Option<String>), StoreError> {
        let mut broken = None;
        let newest = if folder.is_dir() { newest(folder, who)? } else { None };
        if let Some((name, files)) = newest {
            let mut unread = None;
            let whole = store::lines(&files).map_while(|line| match line {
                // The last line may have been cut by a crash; it is removed below.
                Ok(line) => line.strip_suffix('\n').map(str::to_owned),
                Err(error) => {
                    unread = Some(error);
                    None
                }
            });
            let report = verify(whole, anchors.get(&name));
            if let Some(error) = unread {
                return Err(error);
            }
            let stored =
                if report.clean() { Store::resume(Arc::clone(&disk), folder, &name, limits)? } else { None };
            if let Some(store) = stored {
                let told = anchors.get(&name).cloned();
                return Ok((Self::new(who, store, told), None));
            }
            let why = report.flaws.first().map_or_else(String::new, |flaw| format!(": {flaw}"));
            broken = Some(format!("the chain {name} is not whole{why}"));
        }
        Ok((Self::begin_on(disk, folder, who, limits, now)?, broken))
    }

    /// Begins a new chain in this folder, on this disk, and leaves every other one as it is, for people to look at: where
    /// no anchor can be known, a chain that was cut would be gone on with, and its anchor with it.
    ///
    /// # Errors
    /// As for [`Journal::open`].
    pub fn begin_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        who: &str,
        limits: StoreLimits,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let name = format!("{who}-{}", now.as_millisecond());
        let mut store = Store::begin(disk, folder, &name, limits)?;
        store.prune(0)?;
        Ok(Self::new(who, store, None))
    }

    fn new(who: &str, store: Store, told: Option<Anchor>) -> Self {
        Self {
            who: who.to_owned(),
            chain: Chain::resume(store.end().clone()),
            pruned: store.pruned(),
            store,
            repeats: Repeats::default(),
            backlog: VecDeque::new(),
            missing: 0,
            told,
            counts: JournalCounts::default(),
        }
    }

    /// Name of the chain.
    pub fn chain(&self) -> &str {
        &self.chain.end().chain
    }

    /// Takes a decision. Repetitions are counted; what finds no room is counted, too.
    pub fn record(&mut self, decision: Decision, now: Timestamp, salt: impl FnMut() -> Salt) {
        let due = if decision.key.is_empty() {
            vec![(decision, None)]
        } else {
            self.repeats.seen(&decision.key.clone(), decision, now)
        };
        self.seal(due, now, salt);
    }

    /// Counts decisions that never arrived here.
    pub fn miss(&mut self, count: u64) {
        self.missing += count;
        self.counts.lost += count;
    }

    fn seal(
        &mut self,
        due: Vec<(Decision, Option<crate::repeats::Run>)>,
        now: Timestamp,
        mut salt: impl FnMut() -> Salt,
    ) {
        for (decision, run) in due {
            if self.backlog.len() >= BACKLOG {
                self.missing += 1;
                self.counts.lost += 1;
                continue;
            }
            if self.missing > 0 {
                let lost = Decision::lost(std::mem::take(&mut self.missing), &self.who);
                self.backlog.push_back(self.chain.append(lost.facts, None, now, &mut salt));
            }
            let decision = decision.with(run);
            self.backlog.push_back(self.chain.append(decision.facts, decision.personal, now, &mut salt));
        }
    }

    /// Writes what waits. What the disk does not take stays and is tried with the next call.
    ///
    /// # Errors
    /// What the disk said; nothing that waits is lost by it.
    pub fn flush(&mut self, now: Timestamp, salt: impl FnMut() -> Salt) -> Result<(), StoreError> {
        let due = self.repeats.due(now);
        self.seal(due, now, salt);
        self.write()
    }

    /// As [`Journal::flush`], with the runs that are still open. For the end of the program.
    ///
    /// # Errors
    /// As for [`Journal::flush`].
    pub fn close(&mut self, now: Timestamp, salt: impl FnMut() -> Salt) -> Result<(), StoreError> {
        let due = self.repeats.close();
        self.seal(due, now, salt);
        self.write()
    }

    fn write(&mut self) -> Result<(), StoreError> {
        while !self.backlog.is_empty() {
            let written = self.store.append(self.backlog.iter().take(BATCH))?;
            self.backlog.drain(..written);
            self.counts.written += written as u64;
        }
        Ok(())
    }

    /// What to tell outside now; `None` when it was told already. Vouches only for what is on disk.
    pub fn anchor(&self, now: Timestamp) -> Option<Anchor> {
        let pruned = self.pruned.max(self.store.prunable());
        let end = self.store.end();
        let same = self
            .told
            .as_ref()
            .is_some_and(|told| told.seq == end.seq && told.digest == end.digest && told.pruned == pruned);
        (!same && end.seq > 0).then(|| Chain::resume(end.clone()).anchor(pruned, now))
    }

    /// It was told. Now what it allows may be pruned.
    ///
    /// # Errors
    /// When a file cannot be removed; the next anchor tries again.
    pub fn told(&mut self, anchor: Anchor) -> Result<(), StoreError> {
        self.pruned = anchor.pruned;
        self.told = Some(anchor);
        self.store.prune(self.pruned)
    }

    /// Erases personal parts older than `before`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn erase(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.store.erase(before)
    }

    /// Counts since the start.
    pub fn counts(&self) -> JournalCounts {
        JournalCounts { waiting: self.backlog.len() as u64, ..self.counts }
    }
}

/// The newest chain of a replica: the one that began last.
fn newest(folder: &Path, who: &str) -> Result<Option<(String, Vec<std::path::PathBuf>)>, StoreError> {
    let began = |chain: &str| -> Option<i64> { chain.strip_prefix(who)?.strip_prefix('-')?.parse().ok() };
    let own =
        store::chains(folder)?.into_iter().filter_map(|(chain, files)| Some((began(&chain)?, chain, files)));
    Ok(own.max_by_key(|(began, ..)| *began).map(|(_, chain, files)| (chain, files)))
}
