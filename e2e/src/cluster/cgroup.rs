//! The cluster's own cgroup root: what runs below it belongs to the cluster, whatever its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::ClusterError;

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Its v1 controllers; nothing for the unified hierarchy.
    pub v1: Option<BTreeSet<String>>,
}

/// The hierarchies of a mount table (`/proc/self/mounts`).
pub fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, path, kind, options, ..] = fields[..] else { continue };
        let v1 = match kind {
            "cgroup" => Some(options.split(',').skip(1).map(str::to_owned).collect()),
            "cgroup2" => None,
            _ => continue,
        };
        let path = PathBuf::from(path);
        if !found.iter().any(|hierarchy| hierarchy.path == path) {
            found.push(Hierarchy { path, v1 });
        }
    }
    found
}

/// The hierarchies of this machine.
pub(super) fn mounted() -> Result<Vec<Hierarchy>, ClusterError> {
    let path = Path::new("/proc/self/mounts");
    Ok(hierarchies(&fs::read_to_string(path).map_err(ClusterError::file("read", path))?))
}

/// Which of the controllers that pods need are missing on this machine.
pub fn missing_controllers() -> Result<Vec<&'static str>, ClusterError> {
    let all = mounted()?;
    let mut present: BTreeSet<String> = all.iter().filter_map(|one| one.v1.clone()).flatten().collect();
    for one in all.iter().filter(|one| one.v1.is_none()) {
        let text = fs::read_to_string(one.path.join("cgroup.controllers")).unwrap_or_default();
        present.extend(text.split_ascii_whitespace().map(str::to_owned));
    }
    Ok(["cpu", "cpuset", "memory", "pids"].into_iter().filter(|name| !present.contains(*name)).collect())
}

/// Times the processor time that any other process outside of all groups gets when time is short. A group is worth as much
/// as one process else: beside a build, twenty pods and the control plane would share what the compiler leaves of it.
const WEIGHT: u32 = 16;

/// Creates `name` and `name/system` in every v1 hierarchy, or in the unified one if there is no other.
pub fn create(name: &str) -> Result<(), ClusterError> {
    let all = mounted()?;
    let any_v1 = all.iter().any(|one| one.v1.is_some());
    for one in all {
        let root = one.path.join(name);
        match &one.v1 {
            Some(controllers) => {
                for (parent, child) in [(one.path.clone(), root.clone()), (root.clone(), root.join("system"))]
                {
                    make(&child)?;
                    if controllers.contains("cpuset") {
                        copy(&parent, &child, "cpuset.cpus")?;
                        copy(&parent, &child, "cpuset.mems")?;
                    }
                }
                if controllers.contains("cpu") {
                    set(&root, "cpu.shares", 1024 * WEIGHT)?;
                }
            }
            None if !any_v1 => {
                enable(&one.path)?;
                make(&root)?;
                enable(&root)?;
                set(&root, "cpu.weight", 100 * WEIGHT)?;
                make(&root.join("system"))?;
            }
            None => {}
        }
    }
    Ok(())
}

fn make(dir: &Path) -> Result<(), ClusterError> {
    fs::create_dir_all(dir).map_err(ClusterError::file("create", dir))
}

fn set(dir: &Path, file: &str, value: u32) -> Result<(), ClusterError> {
    let target = dir.join(file);
    fs::write(&target, value.to_string()).map_err(ClusterError::file("write", &target))
}

fn copy(parent: &Path, child: &Path, file: &str) -> Result<(), ClusterError> {
    let value =
        fs::read_to_string(parent.join(file)).map_err(ClusterError::file("read", &parent.join(file)))?;
    let target = child.join(file);
    fs::write(&target, value.trim()).map_err(ClusterError::file("write", &target))
}

/// Passes the available controllers on to a unified group's children.
fn enable(dir: &Path) -> Result<(), ClusterError> {
    let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let target = dir.join("cgroup.subtree_control");
    for name in available.split_ascii_whitespace() {
        // Some controllers cannot be passed on (real-time CPU groups); the ones that pods need must be.
        let result = fs::write(&target, format!("+{name}"));
        if ["cpu", "cpuset", "memory", "pids"].contains(&name) {
            result.map_err(ClusterError::file("enable controllers in", &target))?;
        }
    }
    Ok(())
}

/// Moves the calling process into `name/system` of every hierarchy that has it.
pub fn join(name: &str) -> Result<(), ClusterError> {
    for one in mounted()? {
        let target = one.path.join(name).join("system/cgroup.procs");
        if target.exists() {
            fs::write(&target, "0").map_err(ClusterError::file("join", &target))?;
        }
    }
    Ok(())
}

/// Every process below `name`, in the host's PID namespace.
pub fn pids(name: &str) -> Result<BTreeSet<i32>, ClusterError> {
    let mut all = BTreeSet::new();
    for one in mounted()? {
        walk(&one.path.join(name), &mut |dir| {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        });
    }
    // 0 stands for a process outside of the reader's PID namespace; it cannot be addressed.
    all.remove(&0);
    Ok(all)
}

/// The processes of one container, found by its id below `name`.
pub fn pids_of_container(name: &str, container: &str) -> Result<BTreeSet<i32>, ClusterError> {
    let mut all = BTreeSet::new();
    for one in mounted()? {
        walk(&one.path.join(name), &mut |dir| {
            let is_it = dir.file_name().is_some_and(|last| last.to_string_lossy().contains(container));
            if is_it {
                let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            }
        });
    }
    Ok(all)
}

/// The cgroup folders of `name` that still exist.
pub fn folders(name: &str) -> Result<Vec<PathBuf>, ClusterError> {
    Ok(mounted()?.into_iter().map(|one| one.path.join(name)).filter(|dir| dir.exists()).collect())
}

/// Removes `name` with everything below it, waiting up to `limit` for the kernel to let go.
pub fn remove(name: &str, limit: Duration) -> Result<(), ClusterError> {
    let end = Instant::now() + limit;
    loop {
        let mut failure = None;
        for root in folders(name)? {
            let mut dirs = Vec::new();
            walk(&root, &mut |dir| dirs.push(dir.to_path_buf()));
            for dir in dirs.iter().rev() {
                match fs::remove_dir(dir) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(source) => {
                        failure = Some(ClusterError::File { action: "remove", path: dir.clone(), source });
                    }
                }
            }
        }
        match failure {
            None => return Ok(()),
            Some(error) if Instant::now() > end => return Err(error),
            // An ended process leaves its cgroup a moment later; there is no event to wait for on v1.
            Some(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Calls `visit` for `dir` and everything below it, parents first.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    if !dir.is_dir() {
        return;
    }
    visit(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_from_the_mount_table() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let found = hierarchies(mounts);
        assert_eq!(found.len(), 2);
        assert!(found[0].v1.as_ref().is_some_and(|names| names.contains("cpu") && names.contains("cpuacct")));
        assert_eq!(found[1].v1, None);
    }

    #[test]
    fn a_cluster_that_never_was_has_no_processes_and_is_removed_at_once() {
        let name = "homeostat-e2e-never-was";
        assert!(pids(name).unwrap().is_empty());
        remove(name, Duration::ZERO).unwrap();
    }
}
