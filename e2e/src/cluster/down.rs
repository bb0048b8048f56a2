//! Removing a cluster, whole or half-made: by process id, namespace and cgroup, never by process name.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup;
use super::error::ClusterError;
use super::layout::Layout;
use super::state::{State, SupervisorState, read_json};
use super::sysctl;

const LIMIT: Duration = Duration::from_secs(20);

/// Ends every process and removes every trace of the cluster. Harmless if there is none.
pub fn remove(layout: &Layout) -> Result<(), ClusterError> {
    // A state that cannot be read must not keep anything alive: names follow from the cluster's name.
    let state = read_json::<State>(&layout.state_file()).ok().flatten();
    let cgroup = state.map_or_else(|| layout.cgroup(), |state| state.cgroup);
    let supervisor = read_json::<SupervisorState>(&layout.supervisor_file()).ok().flatten();

    let end = Instant::now() + LIMIT;
    if let Some(SupervisorState { outer, inner }) = supervisor {
        // The end of the first process in the PID namespace is the end of all in it, the end of the last
        // process is the end of its network and its mounts.
        let both: Vec<_> = inner.into_iter().chain([outer]).collect();
        for process in &both {
            process.signal(Signal::SIGKILL);
        }
        while both.iter().any(super::state::ProcessId::is_alive) {
            wait(end, layout, "its supervisor")?;
        }
    }
    // A start that was interrupted before it wrote down its process has still joined the cgroup.
    loop {
        let rest = cgroup::pids(&cgroup)?;
        if rest.is_empty() {
            break;
        }
        for pid in rest {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        wait(end, layout, "processes in its cgroup")?;
    }
    cgroup::remove(&cgroup, end.saturating_duration_since(Instant::now()))?;

    let dir = layout.dir();
    loop {
        match fs::remove_dir_all(&dir) {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            // The kernel takes mounts apart a moment after the last process.
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                wait(end, layout, "mounts in its folder")?;
            }
            Err(source) => return Err(ClusterError::File { action: "remove", path: dir, source }),
        }
    }
    if layout.root().exists() {
        sysctl::restore(layout)?;
    }
    Ok(())
}

fn wait(end: Instant, layout: &Layout, what: &str) -> Result<(), ClusterError> {
    if Instant::now() > end {
        return Err(ClusterError::LeftBehind { name: layout.name().to_owned(), what: what.to_owned() });
    }
    std::thread::sleep(Duration::from_millis(5));
    Ok(())
}
