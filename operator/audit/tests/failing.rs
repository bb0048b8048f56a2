//! Each call that changes a file fails in turn: what was not written counts as not written, nobody vouches for it, and it is
//! written later.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use common::{Folder, at, decision, salts};
use homeostat_audit::disk::{Disk, FileSystem, Handle};
use homeostat_audit::store::StoreLimits;
use homeostat_audit::{Anchor, Journal, StoreError};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const WHO: &str = "homeostat-0";
/// Small, so that files are begun and pruned too.
const SMALL: StoreLimits = StoreLimits { bytes: 16_000, segment: 2_000 };
const ROUNDS: i64 = 60;

/// How a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing of it is done.
    Before,
    /// Half of the bytes are there, or the call was done and its answer is an error.
    Halfway,
}

/// Fails at the call of this number, and at so many after it.
#[derive(Clone, Debug)]
struct Failing {
    calls: Arc<AtomicU64>,
    at: u64,
    times: u64,
    way: Way,
}

impl Failing {
    fn new(at: u64, times: u64, way: Way) -> Self {
        Self { calls: Arc::default(), at, times, way }
    }

    fn fails(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        call >= self.at && call < self.at.saturating_add(self.times)
    }

    /// All or nothing, and then the error.
    fn call<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !self.fails() {
            return call();
        }
        if self.way == Way::Halfway {
            call()?;
        }
        Err(no_room())
    }
}

fn no_room() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

#[derive(Debug)]
struct Open {
    disk: Failing,
    file: Box<dyn Handle>,
}

impl Handle for Open {
    fn write_at(&mut self, place: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.disk.fails() {
            return self.file.write_at(place, bytes);
        }
        if self.disk.way == Way::Halfway {
            self.file.write_at(place, &bytes[..bytes.len() / 2])?;
        }
        Err(no_room())
    }

    fn sync(&mut self) -> io::Result<()> {
        // Nothing waits for a real disk here: what a test sees of it is the answer.
        if self.disk.fails() { Err(no_room()) } else { Ok(()) }
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let file = &mut self.file;
        self.disk.call(|| file.set_len(bytes))
    }
}

impl Disk for Failing {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|| FileSystem.make_folder(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        let file = self.call(|| FileSystem.create(path))?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        let file = self.call(|| FileSystem.open(path))?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| FileSystem.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|| FileSystem.remove(path))
    }
}

fn told(error: &StoreError, context: &str) {
    assert!(matches!(error, StoreError::Io { .. }), "{context}: {error}");
    assert!(error.to_string().contains("check that"), "{context}: {error}");
}

/// A life of a record: decisions, anchors, what is pruned and erased, a restart in the middle, and one at each failed write
/// where the process ends by it. Gives back how many errors were told.
fn life(folder: &Folder, disk: &Failing, ends_at_error: bool, context: &str) -> usize {
    let mut errors = 0;
    let mut anchors: BTreeMap<String, Anchor> = BTreeMap::new();
    let open = |anchors: &BTreeMap<String, Anchor>, second: i64, errors: &mut usize| loop {
        match Journal::open_on(Arc::new(disk.clone()), &folder.0, WHO, SMALL, anchors, at(second)) {
            Ok((journal, broken)) => {
                // A record of which not even the beginning is whole is set aside, and told.
                assert!(broken.is_none() || ends_at_error, "{context}: a failed write is no tampering");
                return journal;
            }
            Err(error) => {
                told(&error, context);
                *errors += 1;
            }
        }
    };
    let mut journal = open(&anchors, 0, &mut errors);
    let mut chain = journal.chain().to_owned();
    for number in 0..ROUNDS {
        if number == ROUNDS / 2 {
            assert_eq!(journal.counts().waiting, 0, "{context}");
            drop(journal);
            journal = open(&anchors, number, &mut errors);
            assert_eq!(journal.chain(), chain, "{context}: the same record goes on");
        }
        let before = journal.counts();
        journal.record(decision(number), at(number), salts());
        while let Err(error) = journal.flush(at(number), salts()) {
            told(&error, context);
            errors += 1;
            let counts = journal.counts();
            let same = (counts.written, counts.lost) == (before.written, 0);
            assert!(ends_at_error || same, "{context}: it counts as not written");
            assert!(counts.waiting > 0, "{context}: and waits");
            let vouched = journal.anchor(at(number)).map(|anchor| anchor.seq);
            let most = number.unsigned_abs();
            assert!(ends_at_error || vouched.is_none_or(|seq| seq <= most), "{context}: {vouched:?}");
            // Names are erased also while something waits; what a failed try left on disk is in the way of nothing.
            errors += usize::from(journal.erase(at(number)).is_err());
            if ends_at_error {
                drop(journal);
                journal = open(&anchors, number + 100, &mut errors);
                assert!(number == 0 || journal.chain() == chain, "{context}: the same record goes on");
                journal.chain().clone_into(&mut chain);
                journal.record(decision(number), at(number), salts());
            }
        }
        if number % 2 == 1
            && let Some(anchor) = journal.anchor(at(number))
        {
            anchors.insert(chain.clone(), anchor.clone());
            if let Err(error) = journal.told(anchor) {
                told(&error, context);
                errors += 1;
            }
        }
        if number % 10 == 9
            && let Err(error) = journal.erase(at(number))
        {
            told(&error, context);
            errors += 1;
        }
    }
    let report = folder.check(&chain, anchors.get(&chain));
    assert!(report.clean(), "{context}: {:?}", report.flaws);
    assert!(report.last >= Some(ROUNDS.unsigned_abs()), "{context}: {report:?}");
    errors
}

#[test]
fn a_failure_at_each_call_in_turn_loses_nothing_and_vouches_for_nothing_that_is_not_there() {
    let whole = Folder::new("whole");
    let good = Failing::new(u64::MAX, 0, Way::Before);
    assert_eq!(life(&whole, &good, false, "undisturbed"), 0);
    let calls = good.calls.load(Ordering::Relaxed);
    assert!(calls > 2 * ROUNDS.unsigned_abs(), "{calls} calls");
    let folder = Folder::new("each");
    for at in 0..calls {
        for (way, times, ends) in [(Way::Before, 1, false), (Way::Halfway, 3, false), (Way::Halfway, 1, true)]
        {
            let context = format!("call {at} of {calls}, {way:?}, {times} times, process ends: {ends}");
            let _ = std::fs::remove_dir_all(&folder.0);
            let errors = life(&folder, &Failing::new(at, times, way), ends, &context);
            assert!(errors > 0, "{context}: it is said");
        }
    }
}
