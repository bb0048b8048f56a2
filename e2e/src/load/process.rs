//! The load generator as a child process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::{LoadArgs, LoadError, LoadSummary};

/// A running load generator. Ends with the harness: it asks the kernel for a signal when its parent dies.
#[derive(Debug)]
pub struct LoadProcess {
    child: Child,
    /// The file of requests.
    pub file: PathBuf,
}

impl LoadProcess {
    /// Starts `command`, which must run this program (where needed behind a change of namespace).
    pub fn start(mut command: Command, args: &LoadArgs) -> Result<Self, LoadError> {
        command
            .arg("load")
            .args(["--target", &args.target.to_string()])
            .arg("--out")
            .arg(&args.out)
            .args(["--users", &args.users.to_string()])
            .args(["--rate", &args.rate.to_string()])
            .args(["--orders", &args.orders.to_string()])
            .args(["--seconds", &args.seconds.to_string()])
            .args(["--seed", &args.seed.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let child = command.spawn().map_err(|source| LoadError::Process { what: "did not start", source })?;
        Ok(Self { child, file: args.out.clone() })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id, for measurements.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it and returns what it counted.
    pub async fn stop(self) -> Result<LoadSummary, LoadError> {
        if let Some(pid) = self.child.id() {
            // Already gone is as good.
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
        }
        let failed = |source| LoadError::Process { what: "did not end well", source };
        let output = tokio::time::timeout(Duration::from_secs(15), self.child.wait_with_output())
            .await
            .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))
    }
}
