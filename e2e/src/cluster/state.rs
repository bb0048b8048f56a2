//! The state file: written before each thing is created, so that whatever exists is known.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use crate::toolchain::Tools;

/// How far `up` came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Something may exist; nothing can be relied on.
    Starting,
    /// The node was Ready.
    Ready,
}

/// What is known about one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The cluster's name.
    pub name: String,
    /// How far `up` came.
    pub phase: Phase,
    /// The cgroup below which all its processes run.
    pub cgroup: String,
    /// The port on the host's loopback that leads to the API server, 0 before it is chosen.
    pub api_port: u16,
    /// The pieces it was started with.
    pub tools: Tools,
}

/// The two processes that hold the cluster's namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorState {
    /// The process outside, whose death ends the other.
    pub outer: ProcessId,
    /// The first process of the cluster's PID namespace, whose death ends everything inside.
    pub inner: Option<ProcessId>,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// The number in the host's PID namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub started: u64,
    /// The boot it belongs to.
    pub boot: String,
}

impl ProcessId {
    /// The identity of the running process `pid`, or nothing if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: start_ticks(&stat)?, boot: boot_id() })
    }

    /// Whether this very process still exists and is not a zombie.
    pub fn is_alive(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        let zombie = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']));
        !zombie && start_ticks(&stat) == Some(self.started) && boot_id() == self.boot
    }

    /// Sends `signal` if this very process still exists; true if it was sent.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// Field 22 of a stat line; the command in field 2 may contain blanks and brackets.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Writes `value` so that a reader or a crash never meets half of it.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), ClusterError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|source| ClusterError::Json { path: path.to_owned(), source })?;
    let partial = path.with_extension("partial");
    fs::write(&partial, text).map_err(ClusterError::file("write", &partial))?;
    fs::rename(&partial, path).map_err(ClusterError::file("write", path))
}

/// Reads what [`write_json`] wrote; nothing if the file does not exist.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ClusterError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| ClusterError::Json { path: path.to_owned(), source }),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClusterError::File { action: "read", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_number_is_not_the_same_process() {
        let me = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        let earlier = ProcessId { started: me.started - 1, ..me.clone() };
        assert!(!earlier.is_alive());
        assert!(!earlier.signal(Signal::SIGCONT));
        let other_boot = ProcessId { boot: "another".into(), ..me };
        assert!(!other_boot.is_alive());
    }

    #[test]
    fn a_command_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b ) S 1 7 7 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 4242 9 9";
        assert_eq!(start_ticks(stat), Some(4242));
    }

    #[test]
    fn the_state_file_survives_a_round_trip_and_a_missing_one_is_nothing() {
        let dir = std::env::temp_dir().join(format!("homeostat-state-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("state.json");
        assert_eq!(read_json::<State>(&path).unwrap(), None);
        let state = State {
            name: "one".into(),
            phase: Phase::Starting,
            cgroup: "homeostat-e2e-one".into(),
            api_port: 0,
            tools: Tools::default(),
        };
        write_json(&path, &state).unwrap();
        assert_eq!(read_json(&path).unwrap(), Some(state));
        fs::write(&path, "{").unwrap();
        assert!(read_json::<State>(&path).unwrap_err().to_string().contains("e2e cluster down"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
