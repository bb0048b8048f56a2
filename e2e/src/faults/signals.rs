//! How signals reach a container's process: directly on our own node, through a helper pod elsewhere.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use nix::sys::signal::Signal;
use tokio::process::Command;

use super::world::FaultError;
use crate::cluster::Cluster;
use crate::truth::{At, PodView};

/// Namespace and label of the helper pods, see `e2e/demo/injector.yaml`.
pub const HELPER_NAMESPACE: &str = "homeostat-e2e";
const HELPER_LABEL: &str = "app.kubernetes.io/name=signals";

/// Ways to a process.
pub enum Signals {
    /// The node is this machine.
    Own(Box<Cluster>),
    /// A privileged pod on each node finds the process by its container's id.
    Helper {
        /// Context of the kubeconfig.
        context: String,
        /// The API server.
        client: Client,
    },
    /// There is no way; kinds that need signals are left out.
    None,
}

impl Signals {
    /// Whether signals can be sent at all.
    pub fn available(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Sends `signal` to the first process of the pod's container and says when.
    pub async fn send(&self, pod: &PodView, signal: Signal) -> Result<At, FaultError> {
        let failed = |reason: String| FaultError::Signal {
            target: format!("container {} of pod {}", pod.container, pod.name),
            reason,
        };
        match self {
            Self::Own(cluster) => {
                let pid = cluster.pid_of_container(&pod.uid, &pod.container).await;
                let pid = pid.map_err(|error| failed(error.to_string()))?;
                let at = At::now();
                cluster.kill(pid, signal).map_err(|error| failed(error.to_string()))?;
                Ok(at)
            }
            Self::Helper { context, client } => {
                let helper = helper_beside(client, pod).await.map_err(failed)?;
                let id = pod.running.clone().ok_or_else(|| failed("it does not run".to_owned()))?;
                let at = At::now();
                let output = Command::new("kubectl")
                    .args(["--context", context, "--namespace", HELPER_NAMESPACE, "exec", &helper, "--"])
                    .args(["/e2e", "signal", "--container", &id, "--signal", signal.as_str()])
                    .output()
                    .await
                    .map_err(|error| failed(format!("kubectl does not run: {error}")))?;
                if output.status.success() {
                    Ok(at)
                } else {
                    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
                }
            }
            Self::None => Err(failed("this cluster gives no way to its processes".to_owned())),
        }
    }

    /// Whether the node shows this text in a file of the pod's `ConfigMap` volume; `None` when that
    /// cannot be looked at from here.
    pub fn shows_config(&self, pod: &PodView, key: &str, text: &str) -> Option<bool> {
        let Self::Own(cluster) = self else { return None };
        let file: PathBuf = cluster
            .layout()
            .var_lib()
            .join("kubelet/pods")
            .join(&pod.uid)
            .join("volumes/kubernetes.io~configmap/config")
            .join(key);
        let shown = std::fs::read_to_string(file).ok()?;
        Some(shown == text)
    }
}

async fn helper_beside(client: &Client, pod: &PodView) -> Result<String, String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let node =
        pods.get(&pod.name).await.map_err(|error| error.to_string())?.spec.and_then(|spec| spec.node_name);
    let helpers: Api<Pod> = Api::namespaced(client.clone(), HELPER_NAMESPACE);
    let all =
        helpers.list(&ListParams::default().labels(HELPER_LABEL)).await.map_err(|error| error.to_string())?;
    all.iter()
        .find(|helper| helper.spec.as_ref().and_then(|spec| spec.node_name.clone()) == node)
        .map(ResourceExt::name_any)
        .ok_or_else(|| format!("no helper pod runs on node {}", node.unwrap_or_default()))
}

/// `e2e signal`: what the helper pod runs. Finds the container's first process by the id in its cgroup.
pub fn send_here(container: &str, signal: Signal) -> Result<(), String> {
    // `containerd://ID` and the like.
    let id = container.rsplit('/').next().unwrap_or(container);
    if id.len() < 12 {
        return Err(format!("`{container}` is not a container id"));
    }
    let processes = std::fs::read_dir("/proc").map_err(|error| format!("cannot read /proc: {error}"))?;
    for entry in processes.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if !read("cgroup").contains(id) {
            continue;
        }
        let status = read("status");
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        if numbers.split_ascii_whitespace().last() == Some("1") {
            let pid = nix::unistd::Pid::from_raw(pid);
            return nix::sys::signal::kill(pid, signal).map_err(|error| error.to_string());
        }
    }
    Err(format!("no process of container {id} on this node"))
}
