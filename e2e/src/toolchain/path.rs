//! Pieces that the machine already has.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ToolchainError;
use super::table::Wanted;

/// The folder on `PATH` that holds all wanted programs.
pub(super) fn find(wanted: &Wanted) -> Result<PathBuf, ToolchainError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(wanted.also.iter().map(PathBuf::from));
    let complete = |dir: &PathBuf| wanted.programs.iter().all(|name| dir.join(name).is_file());
    let names = wanted.programs.join(", ");
    let Some(folder) = folders.into_iter().find(complete) else {
        return Err(ToolchainError::Failed {
            command: format!("find {names}"),
            output: "not on PATH".into(),
        });
    };
    if !wanted.probe.is_empty() {
        probe(&folder.join(wanted.programs[0]), wanted.probe)?;
    }
    Ok(folder)
}

/// Runs `program` and returns its output if it succeeds.
pub(super) fn probe(program: &Path, args: &[&str]) -> Result<String, ToolchainError> {
    run(Command::new(program).args(args))
}

/// Runs a command to its end and returns its standard output.
pub(super) fn run(command: &mut Command) -> Result<String, ToolchainError> {
    let text = format!("{command:?}").replace('"', "");
    let output = command.output().map_err(|source| ToolchainError::Run { command: text.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = errors.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(ToolchainError::Failed { command: text, output: last.join(" / ") })
}

/// 1 or 2, from `containerd --version`.
pub(super) fn containerd_major(folder: &Path) -> Result<u32, ToolchainError> {
    Ok(major(&probe(&folder.join("containerd"), &["--version"])?))
}

/// `containerd MODULE VERSION COMMIT`; a version that cannot be read is taken for the newest.
fn major(output: &str) -> u32 {
    let version = output.split_ascii_whitespace().nth(2).unwrap_or_default().trim_start_matches('v');
    version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_containerd_prints() {
        assert_eq!(major("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n"), 1);
        assert_eq!(major("containerd github.com/containerd/containerd/v2 v2.2.1 abc\n"), 2);
    }

    #[test]
    fn a_missing_program_is_named() {
        let wanted = Wanted { programs: &["no-such-program-here"], also: &[], probe: &[] };
        assert!(find(&wanted).unwrap_err().to_string().contains("no-such-program-here"));
    }
}
