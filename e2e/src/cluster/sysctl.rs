//! The kubelet sets a few values of the whole machine. They are remembered before the first cluster
//! starts and restored when the last one has gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::ClusterError;
use super::layout::Layout;
use super::state::{read_json, write_json};

/// What the kubelet changes, below `/proc/sys`.
const CHANGED: &[&str] = &[
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

fn file(layout: &Layout) -> PathBuf {
    layout.root().join("sysctls.json")
}

/// Remembers the values unless another cluster's start already did.
pub fn remember(layout: &Layout) -> Result<(), ClusterError> {
    let file = file(layout);
    if file.exists() {
        return Ok(());
    }
    write_json(&file, &read(Path::new("/proc/sys")))
}

/// Restores the values if no cluster's folder is left below the root.
pub fn restore(layout: &Layout) -> Result<(), ClusterError> {
    let others = fs::read_dir(layout.root())
        .map_err(ClusterError::file("list", layout.root()))?
        .flatten()
        .any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    if others {
        return Ok(());
    }
    let file = file(layout);
    let Some(values) = read_json::<BTreeMap<String, String>>(&file)? else { return Ok(()) };
    write(Path::new("/proc/sys"), &values)?;
    fs::remove_file(&file).map_err(ClusterError::file("remove", &file))
}

fn read(root: &Path) -> BTreeMap<String, String> {
    let value =
        |name: &&str| Some(((*name).to_owned(), fs::read_to_string(root.join(name)).ok()?.trim().to_owned()));
    CHANGED.iter().filter_map(value).collect()
}

fn write(root: &Path, values: &BTreeMap<String, String>) -> Result<(), ClusterError> {
    let now = read(root);
    for (name, value) in values.iter().filter(|(name, value)| now.get(*name) != Some(value)) {
        let path = root.join(name);
        fs::write(&path, value).map_err(ClusterError::file("restore", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let root = std::env::temp_dir().join(format!("homeostat-sysctl-{}", std::process::id()));
        fs::create_dir_all(root.join("kernel")).unwrap();
        fs::write(root.join("kernel/panic"), "0\n").unwrap();
        let before = read(&root);
        assert_eq!(before, BTreeMap::from([("kernel/panic".to_owned(), "0".to_owned())]));
        fs::write(root.join("kernel/panic"), "10\n").unwrap();
        write(&root, &before).unwrap();
        assert_eq!(fs::read_to_string(root.join("kernel/panic")).unwrap(), "0");
        fs::remove_dir_all(&root).unwrap();
    }
}
