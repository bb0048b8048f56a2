//! How records hang together: each entry carries the digest of the one before it, so that none can be changed,
//! left out or moved without changing every digest after it (a hash chain; Schneier and Kelsey, "Secure audit logs to
//! support computer forensics", 1999). Whoever can write the files can also compute a whole new chain; against that
//! stand anchors: the newest digest, told elsewhere from time to time.

use crate::digest::{Digest, Salt, Sealed};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One recorded decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Number within the chain, from 1.
    pub seq: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Digest of the entry before.
    pub previous: Digest,
    /// What was decided. Never erased.
    pub facts: Sealed,
    /// Names of people and what they wrote. May be erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal: Option<Sealed>,
    /// Digest of all of the above.
    pub digest: Digest,
}

impl Entry {
    /// The digest that belongs to the other fields. Values count by their digests, so erasing one changes nothing.
    pub fn computed(&self) -> Digest {
        let personal = self.personal.as_ref().map_or(&[][..], |sealed| sealed.digest.bytes());
        Digest::of(&[
            b"homeostat audit entry",
            self.previous.bytes(),
            &self.seq.to_be_bytes(),
            &self.at.as_nanosecond().to_be_bytes(),
            self.facts.digest.bytes(),
            personal,
        ])
    }
}

/// Where a file of a chain begins: everything up to `seq` came before. What was pruned leaves its digest here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Name of the chain.
    pub chain: String,
    /// Last entry before; 0 at the beginning of the chain.
    pub seq: u64,
    /// Its digest; at the beginning that of the chain's name.
    pub digest: Digest,
}

impl Checkpoint {
    /// The beginning of a chain.
    pub fn beginning(chain: &str) -> Self {
        let digest = Digest::of(&[b"homeostat audit chain", chain.as_bytes()]);
        Self { chain: chain.to_owned(), seq: 0, digest }
    }
}

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// A file begins.
    Checkpoint(Checkpoint),
    /// A decision.
    Entry(Entry),
}

impl Line {
    /// As one line of JSON, without its end.
    pub fn to_json(&self) -> String {
        // Maps with text keys, numbers and texts: there is nothing that JSON could not hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The newest state of a chain, told outside of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anchor {
    /// Name of the chain.
    pub chain: String,
    /// Newest entry.
    pub seq: u64,
    /// Its digest.
    pub digest: Digest,
    /// When it was told.
    pub at: Timestamp,
    /// Everything up to this entry may have been pruned, and nothing after it.
    pub pruned: u64,
}

/// The growing end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    end: Checkpoint,
}

impl Chain {
    /// A new chain. Its name must be its own for ever, e.g. the replica and the instant of its start.
    pub fn begin(name: &str) -> Self {
        Self { end: Checkpoint::beginning(name) }
    }

    /// A chain that goes on after this.
    pub fn resume(end: Checkpoint) -> Self {
        Self { end }
    }

    /// Where it ends now.
    pub fn end(&self) -> &Checkpoint {
        &self.end
    }

    /// Seals a decision and hangs it at the end. Each part gets a salt of its own.
    pub fn append(
        &mut self,
        facts: Value,
        personal: Option<Value>,
        at: Timestamp,
        mut salt: impl FnMut() -> Salt,
    ) -> Entry {
        let mut entry = Entry {
            seq: self.end.seq.saturating_add(1),
            at,
            previous: self.end.digest,
            facts: Sealed::new(facts, salt()),
            personal: personal.map(|value| Sealed::new(value, salt())),
            digest: self.end.digest,
        };
        entry.digest = entry.computed();
        (self.end.seq, self.end.digest) = (entry.seq, entry.digest);
        entry
    }

    /// What to tell outside.
    pub fn anchor(&self, pruned: u64, at: Timestamp) -> Anchor {
        Anchor { chain: self.end.chain.clone(), seq: self.end.seq, digest: self.end.digest, at, pruned }
    }
}
