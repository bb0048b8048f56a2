//! Debian's packages, unpacked into the cache: no installation, no service started, no root needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ToolchainError;
use super::path::{probe, run};
use super::table::Package;
use crate::progress::Progress;

fn prefix(package: &Package) -> String {
    format!("debian-{}-", package.name)
}

/// The folder of an earlier [`unpack`]; the newest if there are several.
pub(super) fn cached(package: &Package, cache: &Path) -> Option<PathBuf> {
    let prefix = prefix(package);
    let mut found: Vec<PathBuf> = fs::read_dir(cache)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path().join(package.folder))
        .filter(|folder| folder.join(package.probe.0).exists())
        .collect();
    found.sort();
    found.pop()
}

/// Downloads and unpacks the packages.
pub(super) fn unpack(
    package: &Package,
    cache: &Path,
    progress: &Progress,
) -> Result<PathBuf, ToolchainError> {
    run(Command::new("apt-get").arg("--version"))?;
    let partial = cache.join(".partial").join(format!("debian-{}", package.name));
    let downloads = partial.join("downloads");
    let root = partial.join("root");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&downloads).map_err(ToolchainError::file("create", &downloads))?;
    fs::create_dir_all(&root).map_err(ToolchainError::file("create", &root))?;

    progress.begin(&format!("{}: downloading Debian's package", package.name));
    let download =
        || run(Command::new("apt-get").arg("download").args(package.packages).current_dir(&downloads));
    if download().is_err() {
        // The package lists may be missing or too old.
        run(Command::new("apt-get").arg("update"))?;
        download()?;
    }
    let mut version = String::new();
    for entry in fs::read_dir(&downloads).map_err(ToolchainError::file("list", &downloads))?.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if let Some(rest) = file.strip_prefix(&format!("{}_", package.packages[0])) {
            version = plain(rest.trim_end_matches(".deb"));
        }
        run(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&root))?;
    }
    let _ = fs::remove_dir_all(&downloads);

    let target = cache.join(format!("{}{version}", prefix(package)));
    if let Some((program, names)) = package.wrap {
        wrap(&root, &target, program, names, package.folder)?;
    }
    let _ = fs::remove_dir_all(&target);
    fs::rename(&root, &target).map_err(ToolchainError::file("create", &target))?;
    let folder = target.join(package.folder);
    let (program, args) = package.probe;
    if args.is_empty() {
        if !folder.join(program).is_file() {
            return Err(missing(package, &folder));
        }
    } else if let Err(error) = probe(&folder.join(program), args) {
        // It does not run here, for want of a library: the next source is tried.
        let _ = fs::remove_dir_all(&target);
        return Err(error);
    }
    Ok(folder)
}

fn missing(package: &Package, folder: &Path) -> ToolchainError {
    ToolchainError::Failed {
        command: format!("apt-get download {}", package.packages.join(" ")),
        output: format!("there is no {} in {}", package.probe.0, folder.display()),
    }
}

/// Version and architecture with only characters that are harmless in paths.
fn plain(text: &str) -> String {
    text.replace("%3a", "-")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' })
        .collect()
}

/// Scripts that run a multi-call program with the libraries that were unpacked beside it, so that no
/// other program ever sees them.
fn wrap(
    root: &Path,
    target: &Path,
    program: &str,
    names: &[&str],
    folder: &str,
) -> Result<(), ToolchainError> {
    let own = root.join(folder);
    fs::create_dir_all(&own).map_err(ToolchainError::file("create", &own))?;
    let libraries = fs::read_dir(root.join("usr/lib")).map_err(ToolchainError::file("list", root))?;
    let folders: Vec<PathBuf> = libraries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| target.join("usr/lib").join(entry.file_name()))
        .collect();
    let paths: Vec<String> = folders.iter().map(|dir| dir.display().to_string()).collect();
    let extensions: Vec<String> = paths.iter().map(|dir| format!("{dir}/xtables")).collect();
    for name in names {
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH='{}' XTABLES_LIBDIR='{}' exec '{}' {name} \"$@\"\n",
            paths.join(":"),
            extensions.join(":"),
            target.join(program).display(),
        );
        let file = own.join(name);
        fs::write(&file, script).map_err(ToolchainError::file("write", &file))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .map_err(ToolchainError::file("protect", &file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_plain_folder_names() {
        assert_eq!(plain("1%3a1.6.20~ds1-1+deb12u3_amd64"), "1-1.6.20-ds1-1-deb12u3-amd64");
    }

    #[test]
    fn wrappers_name_the_final_place_and_the_applet() {
        let root = std::env::temp_dir().join(format!("homeostat-wrap-{}", std::process::id()));
        fs::create_dir_all(root.join("usr/lib/x86_64-linux-gnu")).unwrap();
        wrap(&root, Path::new("/final"), "usr/sbin/multi", &["iptables"], "wrapped").unwrap();
        let text = fs::read_to_string(root.join("wrapped/iptables")).unwrap();
        assert!(text.contains("exec '/final/usr/sbin/multi' iptables \"$@\""), "{text}");
        assert!(text.contains("XTABLES_LIBDIR='/final/usr/lib/x86_64-linux-gnu/xtables'"), "{text}");
        fs::remove_dir_all(&root).unwrap();
    }
}
