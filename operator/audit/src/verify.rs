//! Finds what was changed in a chain since it was written.

use crate::chain::{Anchor, Checkpoint, Entry, Line};
use crate::digest::Digest;
use std::fmt;

/// Flaws that are listed; more are only counted.
const LISTED: usize = 100;

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line is no line of ours.
    Unreadable {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// The first line is not where a file begins.
    NoBeginning,
    /// A checkpoint is not where the entries before it end.
    Checkpoint {
        /// Number of the line.
        line: u64,
    },
    /// Entries are missing, doubled or in another order: this number does not follow.
    Order {
        /// The number that should stand here.
        expected: u64,
        /// The number that stands here.
        found: u64,
    },
    /// The entry does not hang on the one before it.
    Detached {
        /// Its number.
        seq: u64,
    },
    /// The entry's digest is not that of its fields.
    Edited {
        /// Its number.
        seq: u64,
        /// Which part.
        part: &'static str,
    },
    /// What was told outside is not what is here: everything up to that entry was written anew.
    Rewritten {
        /// Number of the entry that was told.
        seq: u64,
    },
    /// Entries that were told outside are missing at the end.
    Truncated {
        /// Last entry here.
        last: u64,
        /// Last entry that was told.
        told: u64,
    },
    /// Entries are missing at the beginning that were never said to be pruned.
    Pruned {
        /// First entry here.
        first: u64,
        /// Entries up to this one may be missing.
        allowed: u64,
    },
    /// What was told outside is about another chain.
    OtherChain {
        /// Name of the chain here.
        here: String,
        /// Name that was told.
        told: String,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { line, why } => write!(out, "line {line} cannot be read: {why}"),
            Self::NoBeginning => write!(out, "the first line is no checkpoint"),
            Self::Checkpoint { line } => {
                write!(out, "the checkpoint in line {line} is not where the entries before it end")
            }
            Self::Order { expected, found } => write!(out, "entry {expected} should follow, {found} does"),
            Self::Detached { seq } => write!(out, "entry {seq} does not hang on the one before it"),
            Self::Edited { seq, part } => write!(out, "entry {seq} was changed ({part})"),
            Self::Rewritten { seq } => {
                write!(out, "entry {seq} is not the one that was anchored; the chain was written anew")
            }
            Self::Truncated { last, told } => {
                write!(out, "it ends with entry {last}, but entry {told} was anchored")
            }
            Self::Pruned { first, allowed } => {
                write!(out, "it begins with entry {first}, but only entries up to {allowed} were pruned")
            }
            Self::OtherChain { here, told } => {
                write!(out, "this is the chain {here}, the anchor is of {told}")
            }
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Name of the chain.
    pub chain: String,
    /// Entries that were read.
    pub entries: u64,
    /// Of those, entries whose personal part was erased.
    pub erased: u64,
    /// First entry.
    pub first: Option<u64>,
    /// Last entry.
    pub last: Option<u64>,
    /// Last entry that an anchor vouches for; later ones could have been taken away unnoticed.
    pub anchored: Option<u64>,
    /// What is wrong, the first hundred.
    pub flaws: Vec<Flaw>,
    /// How much is wrong.
    pub flawed: u64,
}

impl Report {
    /// Nothing is wrong.
    pub fn clean(&self) -> bool {
        self.flawed == 0
    }

    fn add(&mut self, flaw: Flaw) {
        self.flawed += 1;
        if self.flaws.len() < LISTED {
            self.flaws.push(flaw);
        }
    }
}

/// Checks the lines of one chain, in their order, against what was told outside. Without an anchor a whole new chain
/// and a cut end cannot be noticed. Reads one line at a time; O(n) in time, O(1) in memory.
pub fn verify<L: AsRef<str>>(lines: impl IntoIterator<Item = L>, anchor: Option<&Anchor>) -> Report {
    let mut check = Check::default();
    for line in lines {
        check.line(line.as_ref(), |_| anchor.cloned());
    }
    check.finish(anchor)
}

/// A check that is fed line by line.
#[derive(Debug, Default)]
pub struct Check {
    report: Report,
    number: u64,
    end: Option<Checkpoint>,
    anchor: Option<Anchor>,
    at_anchor: Option<Digest>,
}

impl Check {
    /// Name of the chain; `None` before its first line.
    pub fn chain(&self) -> Option<&str> {
        self.end.as_ref().map(|end| &*end.chain)
    }

    /// Takes the next line. `anchor` is asked once, for the chain that the first line names.
    pub fn line(&mut self, text: &str, anchor: impl FnOnce(&str) -> Option<Anchor>) {
        self.number += 1;
        match serde_json::from_str::<Line>(text) {
            Err(error) => {
                self.report.add(Flaw::Unreadable { line: self.number, why: error.to_string() });
            }
            Ok(Line::Checkpoint(checkpoint)) => match &self.end {
                None => {
                    if checkpoint.seq == 0 && checkpoint != Checkpoint::beginning(&checkpoint.chain) {
                        self.report.add(Flaw::Checkpoint { line: self.number });
                    }
                    self.report.chain.clone_from(&checkpoint.chain);
                    self.anchor = anchor(&checkpoint.chain);
                    self.at_anchor = told(self.anchor.as_ref(), checkpoint.seq, checkpoint.digest);
                    self.end = Some(checkpoint);
                }
                Some(before) if *before == checkpoint => {}
                Some(_) => self.report.add(Flaw::Checkpoint { line: self.number }),
            },
            Ok(Line::Entry(entry)) => self.entry(&entry),
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let report = &mut self.report;
        let Some(before) = &mut self.end else {
            return report.add(Flaw::NoBeginning);
        };
        report.entries += 1;
        report.first.get_or_insert(entry.seq);
        report.last = Some(entry.seq);
        let expected = before.seq.saturating_add(1);
        if entry.seq != expected {
            report.add(Flaw::Order { expected, found: entry.seq });
        } else if entry.previous != before.digest {
            report.add(Flaw::Detached { seq: entry.seq });
        }
        if entry.computed() != entry.digest {
            report.add(Flaw::Edited { seq: entry.seq, part: "its own digest" });
        }
        if !entry.facts.holds() {
            report.add(Flaw::Edited { seq: entry.seq, part: "what was decided" });
        }
        if let Some(personal) = &entry.personal {
            if personal.erased() {
                report.erased += 1;
            } else if !personal.holds() {
                report.add(Flaw::Edited { seq: entry.seq, part: "the personal part" });
            }
        }
        (before.seq, before.digest) = (entry.seq, entry.digest);
        self.at_anchor = self.at_anchor.or(told(self.anchor.as_ref(), entry.seq, entry.digest));
    }

    /// What was found. `anchor` is what was told of the chain, also when there is no line of it.
    pub fn finish(self, anchor: Option<&Anchor>) -> Report {
        let mut report = self.report;
        match (self.end, anchor) {
            (None, _) => report.add(Flaw::NoBeginning),
            (Some(_), None) => {}
            (Some(end), Some(anchor)) => compare(anchor, &end, self.at_anchor, &mut report),
        }
        report
    }
}

fn told(anchor: Option<&Anchor>, seq: u64, digest: Digest) -> Option<Digest> {
    anchor.filter(|anchor| anchor.seq == seq).map(|_| digest)
}

fn compare(anchor: &Anchor, end: &Checkpoint, at_anchor: Option<Digest>, report: &mut Report) {
    if anchor.chain != report.chain {
        report.add(Flaw::OtherChain { here: report.chain.clone(), told: anchor.chain.clone() });
        return;
    }
    match at_anchor {
        Some(digest) if digest == anchor.digest => report.anchored = Some(anchor.seq),
        None if end.seq < anchor.seq => {
            report.add(Flaw::Truncated { last: end.seq, told: anchor.seq });
        }
        Some(_) | None => report.add(Flaw::Rewritten { seq: anchor.seq }),
    }
    let first = report.first.unwrap_or(end.seq.saturating_add(1));
    if first > anchor.pruned.saturating_add(1) {
        report.add(Flaw::Pruned { first, allowed: anchor.pruned });
    }
}
