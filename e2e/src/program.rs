//! This program's own file, which it runs again in the cluster's namespaces and puts into images.

use std::io;
use std::path::{Path, PathBuf};

/// What the kernel puts behind the name of a running program whose file was replaced.
const REPLACED: &str = " (deleted)";

/// Where it is. A build may have put a newer one in its place since the start: that one then.
///
/// # Errors
/// The operating system does not tell.
pub fn path() -> io::Result<PathBuf> {
    std::env::current_exe().map(|path| present(&path))
}

fn present(path: &Path) -> PathBuf {
    let newer = path.to_str().and_then(|text| text.strip_suffix(REPLACED)).map(PathBuf::from);
    newer.filter(|_| !path.exists()).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_built_anew_is_found_in_its_old_place() {
        assert_eq!(present(Path::new("/target/release/e2e (deleted)")), Path::new("/target/release/e2e"));
        assert_eq!(path().unwrap(), std::env::current_exe().unwrap());
    }
}
