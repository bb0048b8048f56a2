//! The recorded guard inputs of Homeostat's column, judged again under the default guards.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::DemoError;
use super::column::Stage;
use super::install::RECORD;
use super::meter;
use super::platform::run;

/// Copies the recording out of Homeostat's running container; `None` where it cannot be read.
pub async fn fetch(stage: &Stage) -> Option<PathBuf> {
    let cluster = stage.platform.own()?;
    let target = stage.out.join("guards.jsonl");
    let mut all = Vec::new();
    for (uid, container) in meter::pods(stage.platform.client()).await {
        let Ok(pid) = cluster.pid_of_container(&uid, &container).await else { continue };
        let inside = PathBuf::from(format!("/proc/{pid}/root{RECORD}"));
        if let Ok(bytes) = std::fs::read(inside) {
            all.extend(bytes);
        }
    }
    if all.is_empty() || std::fs::write(&target, &all).is_err() {
        return None;
    }
    Some(target)
}

/// What `homeostat replay` says about it.
pub async fn replay(program: &Path, recording: &Path) -> Result<String, DemoError> {
    let mut command = Command::new(program);
    command.arg("replay").arg(recording);
    run(command, None).await
}
