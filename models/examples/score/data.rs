//! Reading gzipped CSV and writing dumps: what all suites share.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Why a suite stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its suite expects.
    #[error("{path}: {message}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Turns an I/O error into one that names its file.
pub fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::File { path: path.to_owned(), source }
}

/// The content of a file, unpacked when its name ends in `.gz`.
pub fn open(path: &Path) -> Result<Box<dyn Read>, Error> {
    let file = BufReader::new(File::open(path).map_err(at(path))?);
    Ok(if path.extension().is_some_and(|end| end == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// A CSV file: header and rows as text.
pub fn table(path: &Path) -> Result<(Vec<String>, Vec<csv::StringRecord>), Error> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(open(path)?);
    let content = |error: csv::Error| Error::Content { path: path.to_owned(), message: error.to_string() };
    let header = reader.headers().map_err(content)?.iter().map(str::to_owned).collect();
    let rows = reader.records().collect::<Result<Vec<_>, _>>();
    Ok((header, rows.map_err(|error| Error::Content { path: path.to_owned(), message: error.to_string() })?))
}

/// Files below a folder whose names end so, sorted by path.
pub fn files(folder: &Path, end: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(end)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A file's name up to its first dot.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// Creates a dump file and its folders.
pub fn create(path: &Path) -> Result<BufWriter<File>, Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    Ok(BufWriter::new(File::create(path).map_err(at(path))?))
}

/// Writes one line.
pub fn line(out: &mut impl Write, path: &Path, text: std::fmt::Arguments<'_>) -> Result<(), Error> {
    out.write_fmt(text).and_then(|()| out.write_all(b"\n")).map_err(at(path))
}
