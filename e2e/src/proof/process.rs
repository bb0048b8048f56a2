//! A process under test, and its sudden end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::error::ProofError;

/// The kernel ends a killed process within this time, or something is very wrong.
const GONE: Duration = Duration::from_secs(5);

/// Whoever may be killed: the present process, if there is one. Shared by all who may kill it.
#[derive(Debug, Default)]
pub struct Victim {
    pid: Mutex<Option<i32>>,
}

impl Victim {
    /// Kills the process with SIGKILL and waits until nothing of it runs any more.
    pub fn kill(&self) {
        let pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(pid) = pid else { return };
        if kill(Pid::from_raw(pid), Signal::SIGKILL).is_err() {
            return; // It ended by itself.
        }
        let end = Instant::now() + GONE;
        while runs(pid) && Instant::now() < end {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Freezes the process, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let pid = *self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid {
            let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
            let _ended = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Asks the process to end in its own order.
    fn ask(&self) {
        let pid = *self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid {
            let _ended = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    fn set(&self, pid: Option<u32>) {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = pid.map(|pid| pid as i32);
    }
}

/// Neither gone nor a zombie.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A process that is started again whenever it ended.
pub struct Process {
    /// Who can be killed.
    pub victim: std::sync::Arc<Victim>,
    command: Box<dyn Fn() -> std::process::Command + Send + Sync>,
    log: PathBuf,
    child: Option<Child>,
    /// Starts so far.
    pub lives: u32,
}

impl Process {
    /// A process that is not started yet; what it prints goes to the end of `log`.
    pub fn new(
        victim: std::sync::Arc<Victim>,
        log: PathBuf,
        command: impl Fn() -> std::process::Command + Send + Sync + 'static,
    ) -> Self {
        Self { victim, command: Box::new(command), log, child: None, lives: 0 }
    }

    /// Starts it when it does not run.
    pub fn keep(&mut self) -> Result<(), ProofError> {
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(ProofError::io("open", &self.log))?;
        let errors = log.try_clone().map_err(ProofError::io("open", &self.log))?;
        let mut command = Command::from((self.command)());
        command.stdin(Stdio::null()).stdout(log).stderr(errors).kill_on_drop(true);
        let child = command.spawn().map_err(ProofError::io("start", Path::new("the process under test")))?;
        self.victim.set(child.id());
        self.child = Some(child);
        self.lives += 1;
        Ok(())
    }

    /// How it ended by itself; nothing while it runs, and before it was started.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        // Its number may be another process's by now.
        self.victim.set(None);
        Some(status)
    }

    /// Has it end in its own order, and kills it when that takes longer than this.
    pub async fn close(mut self, limit: Duration) {
        self.victim.ask();
        let ended = match &mut self.child {
            Some(child) => tokio::time::timeout(limit, child.wait()).await.is_ok(),
            None => true,
        };
        if ended {
            self.victim.set(None);
        } else {
            self.end().await;
        }
    }

    /// Kills it for good.
    pub async fn end(mut self) {
        self.victim.kill();
        if let Some(mut child) = self.child.take() {
            let _ended = child.wait().await;
        }
    }
}
