//! Pieces built from public Go modules, whose versions and checksums are committed in `e2e/go`.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::ToolchainError;
use super::path::run;
use super::table::Module;
use crate::progress::Progress;

fn source(module: &Module) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(module.folder)
}

/// Name, version and a hash of what is built: a changed module file means another folder.
fn cache_name(module: &Module) -> Result<String, ToolchainError> {
    let dir = source(module);
    let mut hash = Sha256::new();
    for file in ["go.mod", "main.go"] {
        let path = dir.join(file);
        match fs::read(&path) {
            Ok(bytes) => hash.update(bytes),
            // Modules that only name a tool have no program of their own.
            Err(error) if file == "main.go" && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ToolchainError::File { action: "read", path, source }),
        }
    }
    let mut hex = String::new();
    for byte in hash.finalize().iter().take(6) {
        use std::fmt::Write;
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(format!("{}-{}-{hex}", module.folder, module.version))
}

/// The folder of an earlier [`build`].
pub(super) fn cached(module: &Module, cache: &Path) -> Result<Option<PathBuf>, ToolchainError> {
    let folder = cache.join(cache_name(module)?);
    Ok(folder.is_dir().then_some(folder))
}

/// Builds the module's programs, printing how far it is.
pub(super) fn build(module: &Module, cache: &Path, progress: &Progress) -> Result<PathBuf, ToolchainError> {
    run(Command::new("go").arg("version"))?;
    let name = cache_name(module)?;
    let partial = cache.join(".partial").join(&name);
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(ToolchainError::file("create", &partial))?;
    for (program, package) in module.programs {
        compile(module, program, package, &partial, progress)?;
    }
    for link in module.links {
        let path = partial.join(link);
        symlink(module.programs[0].0, &path).map_err(ToolchainError::file("link", &path))?;
    }
    let target = cache.join(&name);
    fs::rename(&partial, &target).map_err(ToolchainError::file("create", &target))?;
    Ok(target)
}

fn compile(
    module: &Module,
    program: &str,
    package: &str,
    folder: &Path,
    progress: &Progress,
) -> Result<(), ToolchainError> {
    let dir = source(module);
    progress.begin(&format!("{program} {}: fetching modules", module.version));
    let tags = format!("-tags={}", module.tags);
    let packages = run(Command::new("go").args(["list", "-deps", &tags, package]).current_dir(&dir))?;
    let total = packages.lines().count();
    let mut command = Command::new("go");
    command
        .args(["build", "-v", "-trimpath", "-buildvcs=false", &tags])
        .arg(format!("-ldflags=-s -w {}", module.ldflags))
        .arg("-o")
        .arg(folder.join(program))
        .arg(package)
        .env("CGO_ENABLED", if module.cgo { "1" } else { "0" })
        .current_dir(&dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let text = format!("go build {package}");
    let started = Instant::now();
    let mut child =
        command.spawn().map_err(|source| ToolchainError::Run { command: text.clone(), source })?;
    let mut last: VecDeque<String> = VecDeque::new();
    let mut compiled = 0_usize;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            compiled += 1;
            progress.counting(&format!("{program} {}", module.version), compiled, total, started.elapsed());
            if last.len() == 10 {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    let status = child.wait().map_err(|source| ToolchainError::Run { command: text.clone(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(ToolchainError::Failed { command: text, output: Vec::from(last).join(" / ") })
}

#[cfg(test)]
mod tests {
    use super::super::Piece;
    use super::super::table::Source;
    use super::*;

    #[test]
    fn every_module_has_its_files_and_a_version_in_its_folder_name() {
        for piece in Piece::ALL {
            for module in piece.sources().iter().filter_map(|one| match one {
                Source::Go(module) => Some(module),
                _ => None,
            }) {
                let name = cache_name(module).unwrap();
                assert!(name.contains(module.version), "{name}");
                let text = fs::read_to_string(source(module).join("go.mod")).unwrap();
                let wanted = module.version;
                assert!(wanted == "v1" || text.contains(wanted), "{piece}: {wanted} is not in its go.mod");
            }
        }
    }
}
