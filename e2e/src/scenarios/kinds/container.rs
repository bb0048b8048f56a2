//! Faults of a container's processes and limits, by what the kernel offers on the node.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::demo::DemoError;
use crate::demo::column::Stage;
use crate::demo::platform::run;
use crate::faults::World;
use crate::truth::{At, PodView};

/// Which.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Busy loops.
    Spin,
    /// Hardly any processor time.
    Throttle,
    /// No further file or connection.
    NoFiles,
}

/// More than the service's own threads, so that they get little of the container's quota.
const LOOPS: usize = 40;
/// An end in any case, should the pod outlive the scenario.
const LOOP_SECONDS: u32 = 300;
/// Microseconds of processor time in each period of 100 ms.
const QUOTA: u32 = 1000;

/// Does it to the pod that serves.
pub async fn inject(stage: &Stage, world: &World, what: What, service: &str) -> Result<At, DemoError> {
    let pod = world.serving(service).await?;
    let pid = first_process(stage, &pod).await?;
    let at = At::now();
    match what {
        What::Spin => {
            spin(pid, LOOPS).await?;
        }
        What::Throttle => {
            let group = cgroup(pid, "cpu")?;
            let (file, text) = if group.join("cpu.max").exists() {
                ("cpu.max", format!("{QUOTA} 100000"))
            } else {
                ("cpu.cfs_quota_us", QUOTA.to_string())
            };
            let path = group.join(file);
            std::fs::write(&path, text).map_err(|source| DemoError::Io { action: "write", path, source })?;
        }
        What::NoFiles => {
            // Only the process's own user may do that without a capability that not every root has.
            let user = user_of(pid)?;
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"]);
            command.args(["prlimit", "--pid", &pid.to_string(), "--nofile=3:3"]);
            run(command, None).await?;
        }
    }
    Ok(at)
}

/// Busy loops in the container of process `pid`: in its cgroup, and in its PID namespace, so that they end with it.
pub async fn spin(pid: i32, loops: usize) -> Result<(), DemoError> {
    let procs = cgroup(pid, "cpu")?.join("cgroup.procs");
    // 0 is the writing process itself.
    let script = format!(
        "echo 0 > {} && for i in $(seq {loops}); do timeout {LOOP_SECONDS} sh -c 'while :; do :; done' & done",
        procs.display()
    );
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid.to_string(), "--pid", "--", "sh", "-c", &script]);
    // The loops keep what the shell has open: nothing that anybody waits for.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let failed = |source| DemoError::Io { action: "run", path: PathBuf::from("nsenter"), source };
    let status = command.status().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(DemoError::Broken(format!(
        "busy loops could not be started in the cgroup {}: {status}",
        procs.display()
    )))
}

/// The container's first process, as the host numbers it.
pub async fn first_process(stage: &Stage, pod: &PodView) -> Result<i32, DemoError> {
    let cluster = stage.platform.own().ok_or_else(elsewhere)?;
    Ok(cluster.pid_of_container(&pod.uid, &pod.container).await?)
}

/// The catalogue needs the node's kernel.
pub fn elsewhere() -> DemoError {
    DemoError::Broken("this fault acts on the node itself: run the catalogue on the test cluster".to_owned())
}

/// The user that the process runs as.
fn user_of(pid: i32) -> Result<u32, DemoError> {
    use std::os::unix::fs::MetadataExt;
    let path = PathBuf::from(format!("/proc/{pid}"));
    let found = std::fs::metadata(&path);
    Ok(found.map_err(|source| DemoError::Io { action: "look at", path, source })?.uid())
}

/// Folder of the process's cgroup that has `controller`.
fn cgroup(pid: i32, controller: &str) -> Result<PathBuf, DemoError> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = std::fs::read_to_string(&path).map_err(|source| DemoError::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let root = match controllers {
            "" => PathBuf::from("/sys/fs/cgroup"),
            all if all.split(',').any(|one| one == controller) => {
                PathBuf::from("/sys/fs/cgroup").join(controller)
            }
            _ => continue,
        };
        let folder = root.join(group.trim_start_matches('/'));
        if folder.join("cgroup.procs").exists() {
            return Ok(folder);
        }
    }
    Err(DemoError::Broken(format!("process {pid} has no cgroup with the controller {controller}")))
}
