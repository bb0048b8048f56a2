//! Programs that work on a cluster: ctr, kubectl, helm, Prometheus, and anything inside its network.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::Cluster;
use super::components::Components;
use super::error::ClusterError;
use super::layout::{METRICS_SERVER, PROMETHEUS};
use crate::progress::Progress;
use crate::toolchain::{self, Piece};

/// Rights of metrics-server, and where the API server finds it.
const METRICS_API: &str = include_str!("metrics-server.yaml");
/// On a machine with other work a program may take long to listen.
const LISTENS: Duration = Duration::from_mins(1);
/// It measures every 15 s and needs two measurements.
const MEASURED: Duration = Duration::from_secs(90);

/// Where Prometheus answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrometheusAddress {
    /// For pods and whatever runs inside the network namespace.
    pub inside: SocketAddr,
    /// For the host.
    pub outside: SocketAddr,
}

impl Cluster {
    /// `kubectl` with this cluster's kubeconfig.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.tools().kubernetes.join("kubectl"));
        command.env("KUBECONFIG", self.kubeconfig_path());
        command
    }

    /// `helm` with this cluster's kubeconfig and folders of its own; found or built if need be.
    pub fn helm(&self) -> Result<Command, ClusterError> {
        let folder = tokio::task::block_in_place(|| toolchain::ensure(Piece::Helm, &Progress::default()))?;
        let own = self.layout().data().join("helm");
        let mut command = Command::new(folder.join("helm"));
        command
            .env("KUBECONFIG", self.kubeconfig_path())
            .env("HELM_CACHE_HOME", own.join("cache"))
            .env("HELM_CONFIG_HOME", own.join("config"))
            .env("HELM_DATA_HOME", own.join("data"));
        Ok(command)
    }

    /// containerd's client in the namespace of Kubernetes' containers.
    pub fn ctr(&self) -> Command {
        let mut command = Command::new(self.tools().containerd.join("ctr"));
        command.arg("--address").arg(self.layout().containerd_socket()).args(["--namespace", "k8s.io"]);
        command
    }

    /// Starts Prometheus inside the cluster's network with this configuration, or starts it again with a
    /// new one, and waits until it takes connections.
    pub fn prometheus_up(&self, config: &str) -> Result<PrometheusAddress, ClusterError> {
        let folder =
            tokio::task::block_in_place(|| toolchain::ensure(Piece::Prometheus, &Progress::default()))?;
        let path = self.layout().config().join("prometheus.yaml");
        fs::write(&path, config).map_err(ClusterError::file("write", &path))?;
        let control = self.control();
        control
            .start(Components::new(self.layout(), self.tools(), false, false).prometheus(&folder, &path))?;
        control.wait_tcp(PROMETHEUS, LISTENS)?;
        Ok(PrometheusAddress { inside: PROMETHEUS, outside: self.forward(PROMETHEUS)? })
    }

    /// Starts metrics-server inside the cluster's network, registers its API and waits until it has measured the node.
    pub async fn metrics_server_up(&self) -> Result<(), ClusterError> {
        let folder =
            tokio::task::block_in_place(|| toolchain::ensure(Piece::MetricsServer, &Progress::default()))?;
        let mut apply = self.kubectl();
        let path = self.layout().config().join("metrics-server.yaml");
        fs::write(&path, METRICS_API).map_err(ClusterError::file("write", &path))?;
        output(apply.args(["apply", "--server-side", "--filename"]).arg(&path)).await?;
        let control = self.control();
        control.start(Components::new(self.layout(), self.tools(), false, false).metrics_server(&folder))?;
        control.wait_tcp(METRICS_SERVER, LISTENS)?;
        let end = Instant::now() + MEASURED;
        loop {
            let mut ask = self.kubectl();
            ask.args(["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"]);
            match output(&mut ask).await {
                Ok(text) if text.contains("\"usage\"") => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Ok(_) | Err(_) => {}
            }
            if Instant::now() > end {
                return Err(ClusterError::Timeout {
                    what: "a measurement of the node by metrics-server".into(),
                    limit: MEASURED,
                    detail: format!("; its log is {}", self.layout().log_of("metrics-server").display()),
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// A program that will run in the cluster's network, where pods and Services are reachable by address and
    /// by name; everything else is the host's. The process that is started becomes the program itself, so
    /// that signals reach it.
    pub fn exec(&self, program: &str) -> Result<Command, ClusterError> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns_path()?.display())).arg("--");
        let names = self.layout().resolv_conf_of_exec();
        if names.is_file() && Path::new("/etc/resolv.conf").is_file() {
            let script = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;
            command
                .args(["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script])
                .arg(names);
        }
        command.arg(program);
        command.env("PATH", self.tools().search_path()).env("KUBECONFIG", self.kubeconfig_path());
        Ok(command)
    }
}

/// Runs a command to its end and returns its standard output.
pub(crate) async fn output(command: &mut Command) -> Result<String, ClusterError> {
    let text = format!("{:?}", command.as_std()).replace('"', "");
    let output = command.output().await.map_err(ClusterError::system(format!("run `{text}`")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ClusterError::Command {
        command: text,
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
