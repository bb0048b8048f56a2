//! Files of a chain: JSON lines in segments, the oldest of which are removed when there are too many bytes. Each file
//! begins with a checkpoint, so what is left after pruning still hangs on what was there.

use crate::chain::{Checkpoint, Entry, Line};
use crate::disk::{Disk, Handle};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

/// End of a file's name.
const SUFFIX: &str = ".jsonl";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of all files of a chain together.
    pub bytes: u64,
    /// Bytes after which a new file is begun.
    pub segment: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { bytes: 64 << 20, segment: 1 << 20 }
    }
}

/// Why the record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("{path}: {source}; check that it exists, that this user may use it, and that there is room")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The limit is reached and nothing may be pruned before a newer anchor is told.
    #[error("the record holds its {limit} bytes, and nothing can be pruned until its head is anchored again")]
    Full {
        /// The limit.
        limit: u64,
    },
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError + '_ {
    |source| StoreError::Io { path: path.to_owned(), source }
}

/// Files of one chain, open for writing.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    limits: StoreLimits,
    /// Where each file begins, and its size.
    segments: BTreeMap<u64, u64>,
    /// The newest file. `None` until the first entry.
    current: Option<Box<dyn Handle>>,
    end: Checkpoint,
}

/// All files of a folder, by the name of their chain, oldest first.
///
/// # Errors
/// When the folder cannot be listed.
pub fn chains(folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, StoreError> {
    let mut found: BTreeMap<String, BTreeMap<u64, PathBuf>> = BTreeMap::new();
    for file in std::fs::read_dir(folder).map_err(io(folder))? {
        let file = file.map_err(io(folder))?;
        let name = file.file_name();
        if let Some((chain, seq)) = name.to_str().and_then(parse) {
            found.entry(chain.to_owned()).or_default().insert(seq, file.path());
        }
    }
    Ok(found.into_iter().map(|(chain, files)| (chain, files.into_values().collect())).collect())
}

/// The lines of files, one after the other, each with its end; the last one may have none. One line is in memory at a
/// time.
pub fn lines(files: &[PathBuf]) -> impl Iterator<Item = Result<String, StoreError>> {
    files.iter().flat_map(|path| {
        let mut reader = Some(File::open(path).map(BufReader::new));
        std::iter::from_fn(move || {
            let mut bytes = Vec::new();
            let read = match reader.as_mut()? {
                Ok(open) => open.read_until(b'\n', &mut bytes),
                Err(error) => Err(std::io::Error::from(error.kind())),
            };
            match read {
                Ok(0) => None,
                // Bytes that are no text are shown as such and found by the check.
                Ok(_) => Some(Ok(String::from_utf8_lossy(&bytes).into_owned())),
                Err(source) => {
                    reader = None;
                    Some(Err(StoreError::Io { path: path.clone(), source }))
                }
            }
        })
    })
}

fn file_name(chain: &str, seq: u64) -> String {
    format!("{chain}.{seq:020}{SUFFIX}")
}

fn parse(name: &str) -> Option<(&str, u64)> {
    let (chain, seq) = name.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    (seq.len() == 20 && !chain.is_empty()).then_some(())?;
    Some((chain, seq.parse().ok()?))
}

impl Store {
    /// Begins a new chain in this folder. Nothing is written before the first entry.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn begin(
        disk: Arc<dyn Disk>,
        folder: &Path,
        chain: &str,
        limits: StoreLimits,
    ) -> Result<Self, StoreError> {
        disk.make_folder(folder).map_err(io(folder))?;
        Ok(Self {
            disk,
            folder: folder.to_owned(),
            limits,
            segments: BTreeMap::new(),
            current: None,
            end: Checkpoint::beginning(chain),
        })
    }

    /// Goes on with a chain that is there. A line that was cut by a crash is removed. `None` when the newest file
    /// cannot be gone on with: its last whole line is none of ours.
    ///
    /// # Errors
    /// When a file cannot be read or mended.
    pub fn resume(
        disk: Arc<dyn Disk>,
        folder: &Path,
        chain: &str,
        limits: StoreLimits,
    ) -> Result<Option<Self>, StoreError> {
        let Some(mut files) = chains(folder)?.remove(chain) else { return Ok(None) };
        // A file that was begun and got no whole line holds nothing.
        while let [.., _, newest] = files.as_slice() {
            if std::fs::read(newest).map_err(io(newest))?.contains(&b'\n') {
                break;
            }
            disk.remove(newest).map_err(io(newest))?;
            files.pop();
        }
        let mut segments = BTreeMap::new();
        for file in &files {
            let seq = file.file_name().and_then(|name| name.to_str()).and_then(parse).map(|(_, seq)| seq);
            segments.extend(seq.map(|seq| Ok((seq, file.metadata().map_err(io(file))?.len()))).transpose()?);
        }
        let Some(newest) = files.last() else { return Ok(None) };
        let bytes = std::fs::read(newest).map_err(io(newest))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let last = bytes[..whole].split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
        let end = match last.and_then(|line| serde_json::from_slice::<Line>(line).ok()) {
            Some(Line::Checkpoint(checkpoint)) if checkpoint.chain == chain => checkpoint,
            Some(Line::Entry(entry)) if entry.computed() == entry.digest => {
                Checkpoint { chain: chain.to_owned(), seq: entry.seq, digest: entry.digest }
            }
            _ => return Ok(None),
        };
        let mut file = disk.open(newest).map_err(io(newest))?;
        file.set_len(whole as u64).map_err(io(newest))?;
        if let Some(mut size) = segments.last_entry() {
            size.insert(whole as u64);
        }
        Ok(Some(Self { disk, folder: folder.to_owned(), limits, segments, current: Some(file), end }))
    }

    /// Where the chain ends on disk.
    pub fn end(&self) -> &Checkpoint {
        &self.end
    }

    /// Everything up to this entry is not here (any more).
    pub fn pruned(&self) -> u64 {
        self.segments.first_key_value().map_or(self.end.seq, |(seq, _)| *seq)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.segments.values().sum()
    }

    /// Writes entries behind the last one and waits until the disk has them. Gives back how many found room. After an
    /// error none of them counts as written, and all may be written again.
    ///
    /// # Errors
    /// When the disk refuses, or the limit leaves no room for the first one.
    pub fn append<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Result<usize, StoreError> {
        let before = (self.segments.clone(), self.end.clone());
        let written = self.put_all(entries);
        if written.is_err() {
            // What a failed try left on disk is written over: the same entries come again.
            (self.segments, self.end) = before;
            self.current = None;
        }
        written
    }

    fn put_all<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Result<usize, StoreError> {
        let mut count = 0;
        for entry in entries {
            match self.put(entry) {
                Ok(()) => count += 1,
                Err(StoreError::Full { .. }) if count > 0 => break,
                Err(error) => return Err(error),
            }
        }
        self.sync()?;
        Ok(count)
    }

    fn put(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let mut text = Line::Entry(entry.clone()).to_json();
        text.push('\n');
        let size = text.len() as u64;
        if self.bytes().saturating_add(size) > self.limits.bytes {
            return Err(StoreError::Full { limit: self.limits.bytes });
        }
        let newest = self.segments.last_key_value().map(|(seq, size)| (*seq, *size));
        let (seq, at) = match newest {
            Some((seq, at)) if at.saturating_add(size) <= self.limits.segment || seq == self.end.seq => {
                (seq, at)
            }
            _ => self.roll()?,
        };
        let path = self.path(seq);
        let file = match &mut self.current {
            Some(file) => file,
            None => self.current.insert(self.disk.open(&path).map_err(io(&path))?),
        };
        file.write_at(at, text.as_bytes()).map_err(io(&path))?;
        self.segments.insert(seq, at + size);
        (self.end.seq, self.end.digest) = (entry.seq, entry.digest);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let Some(file) = &mut self.current else { return Ok(()) };
        file.sync().map_err(|source| StoreError::Io { path: self.folder.clone(), source })
    }

    /// Begins a new file.
    fn roll(&mut self) -> Result<(u64, u64), StoreError> {
        self.sync()?;
        let (seq, path) = (self.end.seq, self.path(self.end.seq));
        let mut text = Line::Checkpoint(self.end.clone()).to_json();
        text.push('\n');
        let mut file = self.disk.create(&path).map_err(io(&path))?;
        file.write_at(0, text.as_bytes()).map_err(io(&path))?;
        self.current = Some(file);
        self.segments.insert(seq, text.len() as u64);
        Ok((seq, text.len() as u64))
    }

    fn path(&self, seq: u64) -> PathBuf {
        self.folder.join(file_name(&self.end.chain, seq))
    }

    /// Up to which entry should be pruned to have a quarter of the limit free again. Equal to [`Store::pruned`] as
    /// long as an eighth is free.
    pub fn prunable(&self) -> u64 {
        let mut bytes = self.bytes();
        let mut upto = self.pruned();
        if bytes <= self.limits.bytes / 8 * 7 {
            return upto;
        }
        for (size, next) in self.segments.values().zip(self.segments.keys().skip(1)) {
            if bytes <= self.limits.bytes / 4 * 3 {
                break;
            }
            bytes -= size;
            upto = *next;
        }
        upto
    }

    /// Removes the files that hold nothing but entries up to this one. Call it only after an anchor that says so was
    /// told: otherwise the missing entries look stolen.
    ///
    /// # Errors
    /// When a file cannot be removed; the next call tries again.
    pub fn prune(&mut self, upto: u64) -> Result<(), StoreError> {
        loop {
            let mut begins = self.segments.keys().copied();
            let (Some(oldest), Some(next)) = (begins.next(), begins.next()) else { return Ok(()) };
            if next > upto {
                return Ok(());
            }
            let path = self.path(oldest);
            match self.disk.remove(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(StoreError::Io { path, source }),
            }
            self.segments.remove(&oldest);
        }
    }

    /// Erases the personal part of entries older than `before`. The chain stays whole. Gives back how many were erased.
    ///
    /// # Errors
    /// When a file cannot be written anew; what was not erased stays as it was.
    pub fn erase(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let mut erased = 0;
        let begins: Vec<u64> = self.segments.keys().copied().collect();
        for seq in begins {
            let path = self.path(seq);
            let mut bytes = std::fs::read(&path).map_err(io(&path))?;
            // What a failed try left behind the last entry is none.
            let known = self.segments.get(&seq).and_then(|size| usize::try_from(*size).ok());
            bytes.truncate(known.unwrap_or(usize::MAX));
            let old = String::from_utf8_lossy(&bytes).into_owned();
            let mut new = String::with_capacity(old.len());
            let mut here = 0;
            let mut younger = false;
            for line in old.lines() {
                match serde_json::from_str::<Line>(line) {
                    Ok(Line::Entry(mut entry)) if entry.at < before => {
                        if let Some(personal) = entry.personal.as_mut().filter(|sealed| !sealed.erased()) {
                            personal.erase();
                            here += 1;
                        }
                        new.push_str(&Line::Entry(entry).to_json());
                    }
                    other => {
                        younger |= matches!(other, Ok(Line::Entry(_)));
                        new.push_str(line);
                    }
                }
                new.push('\n');
            }
            if here > 0 {
                let beside = path.with_extension("erasing");
                let written = self.disk.create(&beside).and_then(|mut file| {
                    file.write_at(0, new.as_bytes())?;
                    file.sync()
                });
                written.map_err(io(&path))?;
                // The newest file is another one then, and may be it also after an error.
                self.current = None;
                let renamed = self.disk.rename(&beside, &path);
                if renamed.is_ok() || !beside.exists() {
                    self.segments.insert(seq, new.len() as u64);
                }
                renamed.map_err(io(&path))?;
                erased += here;
            }
            if younger {
                break;
            }
        }
        Ok(erased)
    }
}
