//! Files of public Go modules as they were released: fetched by Go, checked against a checksum in the table, copied into the
//! cache. Nothing is built of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::ToolchainError;
use super::table::Files;
use crate::progress::Progress;

/// What `go mod download -json` says of a module.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    dir: PathBuf,
    sum: String,
    error: Option<String>,
}

fn cache_name(files: &Files) -> String {
    format!("{}-{}", files.name, files.version)
}

/// The folder of an earlier [`fetch`].
pub(super) fn cached(files: &Files, cache: &Path) -> Option<PathBuf> {
    Some(cache.join(cache_name(files))).filter(|folder| folder.is_dir())
}

/// Fetches the module and copies its folder.
pub(super) fn fetch(files: &Files, cache: &Path, progress: &Progress) -> Result<PathBuf, ToolchainError> {
    let module = format!("{}@{}", files.module, files.version);
    progress.begin(&format!("{} {}: fetching its module", files.name, files.version));
    let text = format!("go mod download -json {module}");
    let mut command = Command::new("go");
    // In the cache it is no module's folder, whose own list of modules would count.
    command.args(["mod", "download", "-json", &module]).current_dir(cache);
    let output = command.output().map_err(|source| ToolchainError::Run { command: text.clone(), source })?;
    let found = understood(files, &output.stdout, &output.stderr)
        .map_err(|reason| ToolchainError::Failed { command: text, output: reason })?;

    let name = cache_name(files);
    let partial = cache.join(".partial").join(&name);
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(ToolchainError::file("create", &partial))?;
    let folder = found.join(files.folder);
    for entry in fs::read_dir(&folder).map_err(ToolchainError::file("list", &folder))?.flatten() {
        let from = entry.path();
        if from.is_file() {
            fs::copy(&from, partial.join(entry.file_name())).map_err(ToolchainError::file("copy", &from))?;
        }
    }
    let target = cache.join(&name);
    fs::rename(&partial, &target).map_err(ToolchainError::file("create", &target))?;
    Ok(target)
}

/// The module's folder; else why there is none.
fn understood(files: &Files, said: &[u8], errors: &[u8]) -> Result<PathBuf, String> {
    let Ok(said) = serde_json::from_slice::<Said>(said) else {
        let errors = String::from_utf8_lossy(errors);
        let last: Vec<&str> = errors.lines().rev().take(5).collect();
        return Err(last.into_iter().rev().collect::<Vec<_>>().join(" / "));
    };
    if let Some(error) = said.error {
        return Err(error);
    }
    if said.sum != files.sum {
        return Err(format!("its checksum is {:?}, {:?} was expected", said.sum, files.sum));
    }
    Ok(said.dir)
}

#[cfg(test)]
mod tests {
    use super::super::Piece;
    use super::super::table::Source;
    use super::*;

    const FILES: Files = Files {
        name: "kinds",
        module: "example.dev/kinds",
        version: "v1.2.3",
        sum: "h1:abc=",
        folder: "config",
    };

    #[test]
    fn a_module_counts_with_its_checksum_only_and_go_says_why_there_is_none() {
        let good = br#"{"Path":"example.dev/kinds","Dir":"/mod/kinds@v1.2.3","Sum":"h1:abc="}"#;
        assert_eq!(understood(&FILES, good, b""), Ok(PathBuf::from("/mod/kinds@v1.2.3")));
        let other = br#"{"Dir":"/mod/kinds@v1.2.3","Sum":"h1:xyz="}"#;
        let refused = understood(&FILES, other, b"").unwrap_err();
        assert!(refused.contains("h1:xyz=") && refused.contains("h1:abc="), "{refused}");
        let absent = br#"{"Error":"dial tcp: no route to host"}"#;
        assert_eq!(understood(&FILES, absent, b""), Err("dial tcp: no route to host".to_owned()));
        assert_eq!(understood(&FILES, b"", b"go: one\ngo: two\n"), Err("go: one / go: two".to_owned()));
    }

    #[test]
    fn every_folder_of_files_is_pinned_by_release_and_checksum() {
        for piece in Piece::ALL {
            for source in piece.sources() {
                let Source::Files(files) = source else { continue };
                assert!(files.version.starts_with('v') && files.sum.starts_with("h1:"), "{piece}: {files:?}");
            }
        }
    }
}
