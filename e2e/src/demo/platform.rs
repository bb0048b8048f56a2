//! Where a demo runs: on the test cluster of this machine, or on a cluster of the user's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kube::Client;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::{DemoError, install};
use crate::cluster::{Cluster, ClusterError};
use crate::faults::signals::Signals;
use crate::progress::Progress;
use crate::toolchain::{self, Piece};

/// The cluster of a demo.
pub enum Platform {
    /// The test cluster of this machine.
    Own {
        /// The cluster.
        cluster: Box<Cluster>,
        /// Its API server.
        client: Client,
    },
    /// A context of the user's kubeconfig.
    Context {
        /// The context.
        name: String,
        /// Its API server.
        client: Client,
        /// Where its nodes pull images from; without it images are loaded with kind.
        registry: Option<String>,
        /// The helper for signals runs there.
        helper: bool,
    },
}

/// Something that leads the load to the gateway for as long as it is kept.
pub struct Way {
    /// Address of the gateway as the load generator sees it.
    pub target: String,
    _forward: Option<Child>,
}

impl Platform {
    /// The API server.
    pub fn client(&self) -> &Client {
        match self {
            Self::Own { client, .. } | Self::Context { client, .. } => client,
        }
    }

    /// The test cluster, when it is that.
    pub fn own(&self) -> Option<&Cluster> {
        match self {
            Self::Own { cluster, .. } => Some(cluster),
            Self::Context { .. } => None,
        }
    }

    /// How signals reach processes.
    pub fn signals(&self) -> Signals {
        match self {
            Self::Own { cluster, .. } => Signals::Own(cluster.clone()),
            Self::Context { name, client, helper: true, .. } => {
                Signals::Helper { context: name.clone(), client: client.clone() }
            }
            Self::Context { .. } => Signals::None,
        }
    }

    /// The folder of this machine that pods on the node see below `/var/lib`.
    pub fn node_folder(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix("/var/lib").ok()?;
        Some(self.own()?.layout().var_lib().join(below))
    }

    /// `kubectl` on this cluster.
    pub fn kubectl(&self) -> Command {
        match self {
            Self::Own { cluster, .. } => cluster.kubectl(),
            Self::Context { name, .. } => {
                let mut command = Command::new("kubectl");
                command.args(["--context", name]);
                command
            }
        }
    }

    /// `helm` on this cluster.
    pub fn helm(&self) -> Result<Command, DemoError> {
        match self {
            Self::Own { cluster, .. } => Ok(cluster.helm()?),
            Self::Context { name, .. } => {
                // The user's own, or one that is built.
                let found = || toolchain::ensure(Piece::Helm, &Progress::default());
                let folder = tokio::task::block_in_place(found).map_err(ClusterError::from)?;
                let mut command = Command::new(folder.join("helm"));
                command.args(["--kube-context", name]);
                Ok(command)
            }
        }
    }

    /// Applies manifests.
    pub async fn apply(&self, manifests: &str) -> Result<(), DemoError> {
        let mut command = self.kubectl();
        command.args(["apply", "--server-side", "--force-conflicts", "--filename", "-"]);
        run(command, Some(manifests)).await.map(drop)
    }

    /// The image's name on this cluster, after the tar file was made available to its nodes.
    pub async fn load_image(&self, reference: &str, tar: &Path) -> Result<String, DemoError> {
        match self {
            Self::Own { cluster, .. } => {
                cluster.load_image(tar).await?;
                Ok(reference.to_owned())
            }
            Self::Context { registry: Some(registry), .. } => {
                let pushed = format!("{}/{reference}", registry.trim_end_matches('/'));
                push(reference, &pushed, tar).await?;
                Ok(pushed)
            }
            Self::Context { name, registry: None, .. } => {
                let Some(kind) = name.strip_prefix("kind-") else {
                    return Err(DemoError::Broken(format!(
                        "context {name} is not a kind cluster: say where its nodes pull images from with REGISTRY=host/path"
                    )));
                };
                let mut command = Command::new("kind");
                command.args(["load", "image-archive", "--name", kind]).arg(tar);
                run(command, None).await?;
                Ok(reference.to_owned())
            }
        }
    }

    /// Keeps what `kubectl` prints of these arguments in files of a folder, and what Homeostat said beside it. What cannot
    /// be had is left out: a run has its result without it.
    pub async fn keep(&self, out: &Path, files: &[(&str, &[&str])]) {
        let log: &[&str] =
            &["--namespace", install::NAMESPACE, "logs", "--selector", install::LABEL, "--tail=5000"];
        for (file, arguments) in std::iter::once(&("homeostat.log", log)).chain(files) {
            let mut kubectl = self.kubectl();
            kubectl.args(*arguments);
            if let Ok(text) = run(kubectl, None).await {
                let _unwritten = std::fs::write(out.join(file), text);
            }
        }
    }

    /// This program as a command that can reach the gateway, and the way there.
    pub async fn load_command(&self, gateway: std::net::SocketAddr) -> Result<(Command, Way), DemoError> {
        let program = crate::program::path().map_err(DemoError::io("find", Path::new("this program")))?;
        match self {
            Self::Own { cluster, .. } => {
                let command = cluster.exec(&program.to_string_lossy())?;
                Ok((command, Way { target: format!("http://{gateway}"), _forward: None }))
            }
            Self::Context { .. } => {
                let (target, forward) = self.forward().await?;
                Ok((Command::new(program), Way { target, _forward: Some(forward) }))
            }
        }
    }

    async fn forward(&self) -> Result<(String, Child), DemoError> {
        use super::application::{GATEWAY, NAMESPACE};
        let mut command = self.kubectl();
        command
            .args(["--namespace", NAMESPACE, "port-forward", &format!("service/{GATEWAY}"), ":8080"])
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(DemoError::io("run", Path::new("kubectl port-forward")))?;
        let stdout = child.stdout.take();
        let mut lines =
            BufReader::new(stdout.ok_or_else(|| DemoError::Broken("kubectl has no output".into()))?).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(rest) = line.strip_prefix("Forwarding from 127.0.0.1:")
                && let Some((port, _)) = rest.split_once(' ')
            {
                let target = format!("http://127.0.0.1:{port}");
                // It must be read, else it stops when its pipe is full.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok((target, child));
            }
        }
        Err(DemoError::Broken("kubectl port-forward ended before it listened".to_owned()))
    }
}

/// Runs a command to its end; its error output is in the error.
pub async fn run(mut command: Command, input: Option<&str>) -> Result<String, DemoError> {
    let text = format!("{:?}", command.as_std()).replace('"', "");
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(DemoError::io("run", Path::new(&text)))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that ends early says why on its error output.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(DemoError::io("run", Path::new(&text)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DemoError::Command { command: text, output })
}

/// Pushes an image with the first program that is there and can.
async fn push(reference: &str, pushed: &str, tar: &Path) -> Result<(), DemoError> {
    let mut failed = Vec::new();
    for program in ["docker", "podman", "nerdctl"] {
        match push_with(program, reference, pushed, tar).await {
            Ok(()) => return Ok(()),
            Err(DemoError::Io { .. }) => {} // It is not there.
            Err(error) => failed.push(format!("; {error}")),
        }
    }
    Err(DemoError::Broken(format!(
        "to push images to a registry docker, podman or nerdctl is needed; or push {} as {pushed} yourself{}",
        tar.display(),
        failed.concat()
    )))
}

async fn push_with(program: &str, reference: &str, pushed: &str, tar: &Path) -> Result<(), DemoError> {
    let mut load = Command::new(program);
    load.args(["load", "--input"]).arg(tar);
    run(load, None).await?;
    let mut tag = Command::new(program);
    tag.args(["tag", reference, pushed]);
    run(tag, None).await?;
    let mut push = Command::new(program);
    push.args(["push", pushed]);
    run(push, None).await.map(drop)
}
