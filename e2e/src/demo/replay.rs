//! The recorded guard inputs of Homeostat's column, judged again under the default guards.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::DemoError;
use super::column::Stage;
use super::install::{self, RECORD};
use super::meter;
use super::platform::run;

/// What there is of the recorded guard inputs of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// They were copied here.
    File(PathBuf),
    /// They stayed in the container, where its program judged them again and said this.
    Replayed(String),
    /// They could not be had, for this reason.
    Missing(String),
}

/// Takes the recording of Homeostat's running container, as long as there is one. On the test cluster it is copied out. On a
/// cluster of the user's own nothing in the container could copy it, but Homeostat's own program can read it there.
pub async fn fetch(stage: &Stage) -> Recording {
    if stage.platform.own().is_none() {
        let mut kubectl = stage.platform.kubectl();
        kubectl.args(inside());
        return match run(kubectl, None).await {
            Ok(text) => Recording::Replayed(text),
            Err(error) => Recording::Missing(error.to_string()),
        };
    }
    match copied(stage).await {
        Ok(path) => Recording::File(path),
        Err(why) => Recording::Missing(why),
    }
}

/// Has the program in the container replay what it recorded. The image of a demo has it at the root.
fn inside() -> [&'static str; 8] {
    ["--namespace", install::NAMESPACE, "exec", "deployment/homeostat", "--", "/homeostat", "replay", RECORD]
}

async fn copied(stage: &Stage) -> Result<PathBuf, String> {
    let Some(cluster) = stage.platform.own() else { return Err("it is not on the test cluster".to_owned()) };
    let target = stage.out.join("guards.jsonl");
    let mut all = Vec::new();
    for (uid, container) in meter::pods(stage.platform.client()).await {
        let Ok(pid) = cluster.pid_of_container(&uid, &container).await else { continue };
        let inside = PathBuf::from(format!("/proc/{pid}/root{RECORD}"));
        if let Ok(bytes) = std::fs::read(inside) {
            all.extend(bytes);
        }
    }
    if all.is_empty() {
        return Err(format!("no container of Homeostat had a readable {RECORD}"));
    }
    std::fs::write(&target, &all)
        .map_err(|error| format!("{} cannot be written: {error}", target.display()))?;
    Ok(target)
}

/// What is printed of it; always something, so that nobody looks for what was left out.
pub async fn told(recording: &Recording, program: &Path) -> String {
    let replayed = match recording {
        Recording::File(path) => replay(program, path).await.map_err(|error| error.to_string()),
        Recording::Replayed(text) => Ok(text.clone()),
        Recording::Missing(why) => Err(why.clone()),
    };
    match replayed {
        Ok(text) => format!("The same run under the default guards:\n{text}"),
        Err(why) => format!("Not judged again under the default guards: {why}"),
    }
}

/// What `homeostat replay` says about it.
async fn replay(program: &Path, recording: &Path) -> Result<String, DemoError> {
    let mut command = Command::new(program);
    command.arg("replay").arg(recording);
    run(command, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_could_not_be_judged_again_is_said_in_one_line() {
        let nowhere = Path::new("/nowhere/homeostat");
        let missing = Recording::Missing("pods \"homeostat-1\" is forbidden".to_owned());
        for recording in [missing, Recording::File(PathBuf::from("/nowhere/guards.jsonl"))] {
            let text = told(&recording, nowhere).await;
            assert!(text.starts_with("Not judged again under the default guards: "), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let there = told(&Recording::Replayed("12 inputs\n".to_owned()), nowhere).await;
        assert_eq!(there, "The same run under the default guards:\n12 inputs\n");
    }

    #[test]
    fn on_a_cluster_of_the_users_own_the_program_in_the_container_reads_its_own_recording() {
        let arguments = inside().join(" ");
        assert!(arguments.ends_with(&format!("-- /homeostat replay {RECORD}")), "{arguments}");
    }
}
