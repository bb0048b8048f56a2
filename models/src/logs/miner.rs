//! Assigns every line of an endless stream to a template, in bounded memory.
//!
//! The idea of a fixed-depth tree of clusters is Drain's (He et al., ICWS 2017): lines of one length and one first
//! word are compared with the clusters of their bucket. Own design: the header is learnt and cut off, masking is a
//! byte scanner, a line whose masked words were seen before takes a short way through a fixed table, whether two words
//! may be one variable depends on what they look like and on the word before, and the least recently used cluster
//! makes room for a new one.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Likeness, bucket_of};
use super::header::Header;
use super::mask::{Kind, Word, mix, scan};
use super::severity::Severity;
use serde::{Deserialize, Serialize};

/// Setting of a [`Miner`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinerConfig {
    /// Clusters that are kept; the least recently used one goes first.
    pub max_clusters: usize,
    /// Clusters of one length and first word.
    pub max_siblings: usize,
    /// Masked lines that are remembered for the short way; a power of two.
    pub remembered_shapes: usize,
    /// Bytes of a line that are read; what follows is one variable part.
    pub max_line_bytes: usize,
    /// Words of a line that are read.
    pub max_words: usize,
    /// Share of the fixed words that must be the same to join a cluster.
    pub similarity: f64,
    /// Clusters that differ from a line by one word at the same place before that word counts as variable.
    pub variable_from: usize,
}

impl Default for MinerConfig {
    fn default() -> Self {
        Self {
            max_clusters: 4_096,
            max_siblings: 128,
            remembered_shapes: 16_384,
            max_line_bytes: 2_048,
            max_words: 128,
            similarity: 0.5,
            variable_from: 6,
        }
    }
}

/// A setting or a saved state that cannot work.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum MinerError {
    /// Out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`MinerConfig`].
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
    /// A saved state that no miner wrote.
    #[error("saved state of the template miner is damaged: {what}; start with an empty one")]
    State {
        /// What is wrong.
        what: &'static str,
    },
}

impl MinerConfig {
    fn check(&self) -> Result<(), MinerError> {
        let check = |field, value: f64, good: bool, limit| {
            if good { Ok(()) } else { Err(MinerError::OutOfRange { field, value, limit }) }
        };
        let size = |field, value: usize, from: usize, to: usize, limit| {
            check(field, value as f64, (from..=to).contains(&value), limit)
        };
        size("max_clusters", self.max_clusters, 1, 1 << 20, "1 to 1048576")?;
        size("max_siblings", self.max_siblings, 1, 1 << 12, "1 to 4096")?;
        let shapes = self.remembered_shapes;
        check(
            "remembered_shapes",
            shapes as f64,
            shapes.is_power_of_two() && (16..=1 << 22).contains(&shapes),
            "a power of two, 16 to 4194304",
        )?;
        size("max_line_bytes", self.max_line_bytes, 16, 1 << 16, "16 to 65536")?;
        size("max_words", self.max_words, 1, 1 << 12, "1 to 4096")?;
        size("variable_from", self.variable_from, 1, 1 << 12, "1 to 4096")?;
        check("similarity", self.similarity, (0.0..=1.0).contains(&self.similarity), "0 to 1")
    }
}

/// What the miner says of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Id of the line's template: never changes for this line, never given to another template.
    pub id: u64,
    /// First line of this template.
    pub new: bool,
    /// Lines of this template so far, this one included.
    pub count: u64,
    /// Level that the header names.
    pub severity: Option<Severity>,
    /// Byte at which the message begins.
    pub message: usize,
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry {
    cluster: Cluster,
    bucket: u64,
    newer: u32,
    older: u32,
}

/// Template miner of one stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "State", into = "State")]
pub struct Miner {
    config: MinerConfig,
    header: Header,
    next_id: u64,
    entries: Vec<Entry>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    buckets: BTreeMap<u64, Vec<u32>>,
    /// Masked line to cluster: key, cluster's id, entry.
    shapes: Vec<(u64, u64, u32)>,
    words: Vec<Word>,
    buffer: Vec<u8>,
}

impl Miner {
    /// A miner that has seen nothing.
    pub fn new(config: MinerConfig) -> Result<Self, MinerError> {
        config.check()?;
        Ok(Self {
            config,
            header: Header::default(),
            next_id: 0,
            entries: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            buckets: BTreeMap::new(),
            shapes: vec![(0, 0, NONE); config.remembered_shapes],
            words: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// Assigns one line, without its line end, to a template. Any bytes are allowed.
    pub fn push(&mut self, line: &[u8]) -> Mined {
        let read = &line[..line.len().min(self.config.max_line_bytes)];
        let head = self.header.read(read);
        let message = &read[head.message..];
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        let whole = scan(message, self.config.max_words, &mut words) && read.len() == line.len();
        let key = words.iter().fold(words.len() as u64, |hash, word| mix(hash, word.hash));
        let at = match self.remembered(key) {
            Some(at) => at,
            None => self.find(message, &words, !whole, key),
        };
        self.words = words;
        self.touch(at);
        let cluster = &mut self.entries[at as usize].cluster;
        cluster.count = cluster.count.saturating_add(1);
        Mined {
            id: cluster.id,
            new: cluster.count == 1,
            count: cluster.count,
            severity: head.severity,
            message: head.message,
        }
    }

    /// The present text of a template, variable parts as `<*>`; `None` when it made room for others.
    pub fn template(&self, id: u64) -> Option<String> {
        self.entries
            .iter()
            .find(|entry| entry.cluster.id == id && entry.cluster.count > 0)
            .map(|entry| entry.cluster.template())
    }

    /// Ids, texts and line counts of all templates, by id.
    pub fn templates(&self) -> Vec<(u64, String, u64)> {
        let mut all: Vec<_> = self
            .recent()
            .map(|at| &self.entries[at as usize].cluster)
            .map(|cluster| (cluster.id, cluster.template(), cluster.count))
            .collect();
        all.sort_unstable_by_key(|(id, _, _)| *id);
        all
    }

    /// Number of templates.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// No line was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held, counted by capacity.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.cluster.bytes()).sum::<usize>()
            + self.entries.capacity() * (size_of::<Entry>() - size_of::<Cluster>())
            + self.buckets.values().map(|bucket| 64 + bucket.capacity() * 4).sum::<usize>()
            + self.shapes.capacity() * size_of::<(u64, u64, u32)>()
            + self.words.capacity() * size_of::<Word>()
            + self.buffer.capacity()
            + self.free.capacity() * 4
            + size_of::<Self>()
    }

    fn place(&self, key: u64) -> usize {
        (key >> 20) as usize & (self.shapes.len() - 1)
    }

    fn remembered(&self, key: u64) -> Option<u32> {
        let (seen, id, at) = self.shapes[self.place(key)];
        (seen == key && at != NONE && self.entries[at as usize].cluster.id == id).then_some(at)
    }

    /// The way for a masked line that is not remembered: the most similar sibling takes it, or a new cluster.
    fn find(&mut self, message: &[u8], words: &[Word], cut: bool, key: u64) -> u32 {
        let first = words.first().map_or((0, Kind::Wild), |word| (word.hash, word.kind));
        let bucket = bucket_of(words.len(), first);
        let mut best: Option<(Likeness, u32)> = None;
        // Place of a word to the clusters that differ there alone, and the oldest of them.
        let mut alike: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
        for &at in self.buckets.get(&bucket).into_iter().flatten() {
            let Some(like) = self.entries[at as usize].cluster.likeness(message, words, &mut self.buffer)
            else {
                continue;
            };
            if like.unexpected == 0 {
                let better =
                    best.is_none_or(|(other, _)| (like.share, like.same) > (other.share, other.same));
                if like.share >= self.config.similarity && better {
                    best = Some((like, at));
                }
            } else if like.differing == 1 {
                alike.entry(like.place).or_insert((0, at)).0 += 1;
            }
        }
        let variable = || alike.into_values().find(|(count, _)| *count >= self.config.variable_from);
        let found =
            best.map(|(like, at)| (at, like.differing > 0)).or_else(|| variable().map(|(_, at)| (at, true)));
        let at = match found {
            Some((at, true)) => {
                self.entries[at as usize].cluster.absorb(message, words, &mut self.buffer);
                at
            }
            Some((at, false)) => at,
            None => {
                let cluster = Cluster::new(self.next_id, message, words, cut);
                self.next_id += 1;
                self.insert(cluster, bucket)
            }
        };
        let place = self.place(key);
        self.shapes[place] = (key, self.entries[at as usize].cluster.id, at);
        at
    }

    fn insert(&mut self, cluster: Cluster, bucket: u64) -> u32 {
        if let Some(siblings) = self.buckets.get(&bucket)
            && siblings.len() >= self.config.max_siblings
        {
            // The siblings' own least recently used one: walk from the old end of the list.
            let mut at = self.oldest;
            while at != NONE && self.entries[at as usize].bucket != bucket {
                at = self.entries[at as usize].newer;
            }
            self.remove(at);
        } else if self.len() >= self.config.max_clusters {
            self.remove(self.oldest);
        }
        let entry = Entry { cluster, bucket, newer: NONE, older: NONE };
        let at = if let Some(at) = self.free.pop() {
            self.entries[at as usize] = entry;
            at
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        };
        self.link(at);
        self.buckets.entry(bucket).or_default().push(at);
        at
    }

    fn remove(&mut self, at: u32) {
        if at == NONE {
            return;
        }
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        entry.cluster = Cluster::new(u64::MAX, &[], &[], false);
        if let Some(siblings) = self.buckets.get_mut(&entry.bucket) {
            siblings.retain(|&other| other != at);
            if siblings.is_empty() {
                self.buckets.remove(&entry.bucket);
            }
        }
        self.free.push(at);
    }

    fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
    }

    fn link(&mut self, at: u32) {
        self.entries[at as usize].older = self.newest;
        self.entries[at as usize].newer = NONE;
        match self.newest {
            NONE => self.oldest = at,
            newest => self.entries[newest as usize].newer = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Entry { newer, older, .. } = self.entries[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }

    /// Entries, the least recently used first.
    fn recent(&self) -> impl Iterator<Item = u32> {
        let mut at = self.oldest;
        std::iter::from_fn(move || {
            let now = (at != NONE).then_some(at)?;
            at = self.entries[now as usize].newer;
            Some(now)
        })
    }
}

/// What is saved: clusters in order of use, and which masked line goes where.
#[derive(Clone, Serialize, Deserialize)]
struct State {
    config: MinerConfig,
    header: Header,
    next_id: u64,
    clusters: Vec<(u64, Cluster)>,
    shapes: Vec<(u64, u64)>,
}

impl From<Miner> for State {
    fn from(miner: Miner) -> Self {
        let clusters = miner
            .recent()
            .map(|at| (miner.entries[at as usize].bucket, miner.entries[at as usize].cluster.clone()))
            .collect();
        let live =
            |&&(_, id, at): &&(u64, u64, u32)| at != NONE && miner.entries[at as usize].cluster.id == id;
        let shapes = miner.shapes.iter().filter(live).map(|&(key, id, _)| (key, id)).collect();
        Self { config: miner.config, header: miner.header.clone(), next_id: miner.next_id, clusters, shapes }
    }
}

impl TryFrom<State> for Miner {
    type Error = MinerError;

    fn try_from(state: State) -> Result<Self, MinerError> {
        let mut miner = Self::new(state.config)?;
        if state.clusters.len() > state.config.max_clusters {
            return Err(MinerError::State { what: "more clusters than its own limit" });
        }
        miner.header = state.header;
        let mut by_id = BTreeMap::new();
        for (bucket, cluster) in state.clusters {
            let id = cluster.id;
            if !cluster.is_sound() || id >= state.next_id {
                return Err(MinerError::State { what: "a cluster's words do not fit its text" });
            }
            let at = miner.insert(cluster, bucket);
            if by_id.insert(id, at).is_some() {
                return Err(MinerError::State { what: "an id is given twice" });
            }
        }
        for bucket in miner.buckets.values_mut() {
            bucket.sort_unstable_by_key(|&at| miner.entries[at as usize].cluster.id);
        }
        miner.next_id = state.next_id;
        for (key, id) in state.shapes {
            let at = *by_id.get(&id).ok_or(MinerError::State { what: "a masked line has no cluster" })?;
            let place = miner.place(key);
            miner.shapes[place] = (key, id, at);
        }
        Ok(miner)
    }
}

#[cfg(test)]
#[path = "miner_tests.rs"]
mod tests;
