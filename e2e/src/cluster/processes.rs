//! Processes of containers as the host sees them, for whoever wants to break them.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::ClusterError;
use super::state::{SupervisorState, read_json};
use super::tools::output;
use super::{Cluster, cgroup};

impl Cluster {
    /// The cluster's network namespace, for `nsenter --net=` or `setns`.
    pub fn netns_path(&self) -> Result<PathBuf, ClusterError> {
        Ok(PathBuf::from(format!("/proc/{}/ns/net", self.first_process()?)))
    }

    /// The process that holds the cluster's namespaces, as the host numbers it.
    pub fn first_process(&self) -> Result<i32, ClusterError> {
        let supervisor = read_json::<SupervisorState>(&self.layout().supervisor_file())?;
        let inner = supervisor.and_then(|both| both.inner).filter(super::state::ProcessId::is_alive);
        let Some(inner) = inner else {
            return Err(ClusterError::NotRunning { name: self.name().to_owned() });
        };
        Ok(inner.pid)
    }

    /// The first process of a running container, in the host's PID namespace. Its network namespace is
    /// `/proc/PID/ns/net`.
    pub async fn pid_of_container(&self, pod_uid: &str, container: &str) -> Result<i32, ClusterError> {
        let filter = format!(
            "labels.\"io.kubernetes.pod.uid\"=={pod_uid},labels.\"io.kubernetes.container.name\"=={container}"
        );
        let ids = output(self.ctr().args(["containers", "list", "--quiet"]).arg(filter)).await?;
        // Ended containers stay in the list until they are collected; only one has processes.
        for id in ids.lines().map(str::trim).filter(|id| !id.is_empty()) {
            let pids = cgroup::pids_of_container(&self.layout().cgroup(), id)?;
            if let Some(first) = pids.iter().copied().find(|pid| is_first(*pid)).or(pids.first().copied()) {
                return Ok(first);
            }
        }
        Err(ClusterError::NoContainer { pod: pod_uid.to_owned(), container: container.to_owned() })
    }

    /// Sends `signal` to the running process of a component.
    pub fn signal_component(&self, component: &str, signal: Signal) -> Result<(), ClusterError> {
        self.kill(self.pid_of_component(component)?, signal)
    }

    /// The process of a component, in the host's PID namespace.
    fn pid_of_component(&self, component: &str) -> Result<i32, ClusterError> {
        let missing = || ClusterError::Supervisor {
            name: self.name().to_owned(),
            message: format!("component `{component}` does not run"),
        };
        let all = self.control().status()?;
        let inside = all.into_iter().find(|one| one.name == component).and_then(|one| one.pid);
        let inside = inside.ok_or_else(missing)?;
        // Processes of containers lie a PID namespace deeper and may have the same number there.
        let depth = numbers(self.first_process()?).len();
        let is_it = |pid: &i32| {
            let numbers = numbers(*pid);
            numbers.len() == depth && numbers.last() == Some(&inside)
        };
        cgroup::pids(&self.layout().cgroup())?.into_iter().find(is_it).ok_or_else(missing)
    }

    /// Sends `signal` to a process of this cluster; refused for any other process.
    pub fn kill(&self, pid: i32, signal: Signal) -> Result<(), ClusterError> {
        if !cgroup::pids(&self.layout().cgroup())?.contains(&pid) {
            return Err(ClusterError::System {
                action: format!("signal process {pid}: it is not part of cluster {}", self.name()),
                source: std::io::ErrorKind::PermissionDenied.into(),
            });
        }
        kill(Pid::from_raw(pid), signal).map_err(ClusterError::system(format!("signal process {pid}")))
    }
}

/// Whether it is number 1 in its own PID namespace, as a container's first process is.
fn is_first(pid: i32) -> bool {
    numbers(pid).last() == Some(&1)
}

/// A process's numbers in the PID namespaces that it is in, its own last; none when it has ended.
fn numbers(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}
