//! A memory limit for one process outside of any pod: a cgroup below the cluster's own, which goes with the cluster at the
//! latest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::{self, Hierarchy};
use super::error::ClusterError;

/// What was killed leaves its cgroup within this time.
const LEAVES: Duration = Duration::from_secs(5);

/// Which interface the kernel offers for memory here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Version {
    fn limit(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }

    /// The limit of memory and swap together, or of swap alone. Not there where the kernel counts no swap.
    fn swap(self) -> &'static str {
        match self {
            Self::V1 => "memory.memsw.limit_in_bytes",
            Self::V2 => "memory.swap.max",
        }
    }

    fn peak(self) -> &'static str {
        match self {
            Self::V1 => "memory.max_usage_in_bytes",
            Self::V2 => "memory.peak",
        }
    }

    fn kills(self) -> &'static str {
        match self {
            Self::V1 => "memory.oom_control",
            Self::V2 => "memory.events",
        }
    }
}

/// A cgroup with a memory limit and without swap. Whoever is in it is killed when it is dropped.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    version: Version,
}

impl MemoryGroup {
    /// The group `name` below the cgroup of a cluster, with a limit in MiB. One of that name that nobody is in is replaced.
    pub fn create(cluster: &str, name: &str, mebibytes: u64) -> Result<Self, ClusterError> {
        let Some((root, version)) = place(&cgroup::mounted()?) else {
            let source = std::io::ErrorKind::Unsupported.into();
            let action = "limit the memory of a process: no cgroup hierarchy of this machine counts memory";
            return Err(ClusterError::System { action: action.to_owned(), source });
        };
        let path = root.join(cluster).join(name);
        // An earlier one has counted what happened in it.
        let _none = fs::remove_dir(&path);
        fs::create_dir(&path).map_err(ClusterError::file("create", &path))?;
        let group = Self { path, version };
        let bytes = (mebibytes << 20).to_string();
        group.write(version.limit(), &bytes)?;
        if group.path.join(version.swap()).exists() {
            let swap = if version == Version::V1 { bytes.as_str() } else { "0" };
            group.write(version.swap(), swap)?;
        }
        Ok(group)
    }

    /// Whoever writes its process id here is in the group from then on.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// How many processes the kernel has killed in it for want of memory.
    pub fn kills(&self) -> Result<u64, ClusterError> {
        let file = self.path.join(self.version.kills());
        number(&file, counted_kills)
    }

    /// The most memory that was in use in it at once, files of the page cache included, MiB.
    pub fn peak(&self) -> Result<u64, ClusterError> {
        let file = self.path.join(self.version.peak());
        number(&file, |text| text.trim().parse::<u64>().ok()).map(|bytes| bytes >> 20)
    }

    fn write(&self, file: &str, value: &str) -> Result<(), ClusterError> {
        let file = self.path.join(file);
        fs::write(&file, value).map_err(ClusterError::file("write", &file))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let end = Instant::now() + LEAVES;
        loop {
            let inside = fs::read_to_string(self.procs()).unwrap_or_default();
            // 0 stands for a process that cannot be addressed from here.
            for pid in inside.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1) {
                let _ended = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            // What stays after all goes with the cluster's own group.
            if fs::remove_dir(&self.path).is_ok() || !self.path.exists() || Instant::now() > end {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn number(file: &Path, read: impl FnOnce(&str) -> Option<u64>) -> Result<u64, ClusterError> {
    let text = fs::read_to_string(file).map_err(ClusterError::file("read", file))?;
    read(&text).ok_or_else(|| ClusterError::file("understand", file)(std::io::ErrorKind::InvalidData.into()))
}

/// The hierarchy that counts memory, among those that a cluster has its group in.
fn place(all: &[Hierarchy]) -> Option<(PathBuf, Version)> {
    let counts = |one: &&Hierarchy| one.v1.as_ref().is_some_and(|names| names.contains("memory"));
    if let Some(one) = all.iter().find(counts) {
        return Some((one.path.clone(), Version::V1));
    }
    // Beside hierarchies of version 1 the unified one has no group of the cluster.
    let unified = all.iter().all(|one| one.v1.is_none());
    all.first().filter(|_| unified).map(|one| (one.path.clone(), Version::V2))
}

/// The line `oom_kill N`, which both versions have.
fn counted_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mounts: &str) -> Option<(PathBuf, Version)> {
        place(&cgroup::hierarchies(mounts))
    }

    #[test]
    fn memory_is_limited_where_the_machine_counts_it() {
        let unified = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(found(unified), Some((PathBuf::from("/sys/fs/cgroup"), Version::V2)));
        let both = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                    cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(found(both), Some((PathBuf::from("/sys/fs/cgroup/memory"), Version::V1)));
        let without = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                       cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(found(without), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn kills_for_want_of_memory_are_read_in_both_versions() {
        assert_eq!(counted_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(counted_kills("low 0\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(counted_kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
