//! The calls to the file system that change something, behind a seam: a test makes each of them fail in turn.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// A file that is open for writing.
pub trait Handle: Debug + Send {
    /// Writes all bytes, from this place of the file on.
    ///
    /// # Errors
    /// What the file system says; a part of the bytes may be there then.
    fn write_at(&mut self, place: u64, bytes: &[u8]) -> io::Result<()>;

    /// Waits until the disk has what was written.
    ///
    /// # Errors
    /// What the file system says; nothing that was written since the last success counts as written then.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file, in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
}

/// Where files are made, opened, renamed and removed.
pub trait Disk: Debug + Send + Sync {
    /// Makes a folder with all above it, where they are not there.
    ///
    /// # Errors
    /// What the file system says.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// A new, empty file, in the place of one of this name.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// What the file system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Handle>>;

    /// Gives a file the name of another one, in its place.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The file system itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

impl Handle for File {
    fn write_at(&mut self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(place))?;
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }
}

impl Disk for FileSystem {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(File::create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}
