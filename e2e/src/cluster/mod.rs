//! A real Kubernetes on this machine: one node in network, mount and PID namespaces and a cgroup of its
//! own, so that nothing of the host is touched and nothing of it stays.

pub mod cgroup;
pub mod components;
pub mod config;
pub mod control;
pub mod down;
pub mod error;
pub mod forward;
pub mod layout;
mod logs;
pub mod memory;
pub mod namespace;
pub mod pki;
mod processes;
pub mod requirements;
mod second;
pub mod state;
pub mod supervise;
pub mod sysctl;
mod tools;
mod up;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use components::Component;
pub use control::{ComponentStatus, Control};
pub use error::ClusterError;
pub use layout::Layout;
pub use logs::KeepOnPanic;
pub use second::SecondApiServer;
pub use tools::PrometheusAddress;

use crate::progress::Progress;
use crate::toolchain::Tools;
use state::State;

/// How a cluster is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether etcd waits for the disk on every write, as the durability tests need.
    pub durable: bool,
    /// Only etcd, the API server and the controllers: no node, no scheduler, no DNS. Pods run nowhere.
    pub control_plane_only: bool,
    /// The `e2e` program; by default this one, or the one beside a test program.
    pub program: Option<PathBuf>,
    /// Whether to print nothing.
    pub quiet: bool,
}

/// A running cluster. Dropping it leaves the cluster running.
#[derive(Debug, Clone)]
pub struct Cluster {
    layout: Layout,
    state: State,
}

impl Cluster {
    fn new(layout: Layout, state: State) -> Self {
        Self { layout, state }
    }

    /// Whether this machine can carry a cluster; the error names what it lacks and the ways out.
    pub fn possible() -> Result<(), ClusterError> {
        requirements::Machine::look()?.check()
    }

    /// Starts the cluster `name`, or returns the one that already runs. What an interrupted start left is
    /// removed first. If it fails, logs are kept below `target/e2e/NAME` and nothing stays.
    pub async fn up(name: &str, options: &Options) -> Result<Self, ClusterError> {
        let layout = Layout::new(name)?;
        let progress = if options.quiet { Progress::quiet() } else { Progress::default() };
        Self::possible()?;
        let lock = up::lock(&layout)?;
        if let Some(state) = up::running(&layout)? {
            return Ok(Self::new(layout, state));
        }
        progress.line(&format!("cluster {name}: pieces"));
        let tools = tokio::task::block_in_place(|| Tools::ensure(&progress))?;
        progress.line(&format!("cluster {name}: starting"));
        let started = Instant::now();
        up::clean(&layout)?;
        match up::start(&layout, &tools, options, &progress).await {
            Ok(cluster) => {
                progress.line(&format!("cluster {name}: ready in {:.1} s", started.elapsed().as_secs_f64()));
                Ok(cluster)
            }
            Err(error) => {
                if let Ok(kept) = logs::keep(&layout).await {
                    progress.line(&format!("cluster {name}: logs are kept in {}", kept.display()));
                }
                down::remove(&layout)?;
                up::forget(&layout, lock)?;
                Err(error)
            }
        }
    }

    /// The running cluster `name`.
    pub fn attach(name: &str) -> Result<Self, ClusterError> {
        let layout = Layout::new(name)?;
        match up::running(&layout)? {
            Some(state) => Ok(Self::new(layout, state)),
            None => Err(ClusterError::NotRunning { name: name.to_owned() }),
        }
    }

    /// Removes the cluster `name`, whole or half-made; harmless if there is none.
    pub fn remove(name: &str) -> Result<(), ClusterError> {
        let layout = Layout::new(name)?;
        let lock = up::lock(&layout)?;
        down::remove(&layout)?;
        up::forget(&layout, lock)
    }

    /// Removes this cluster: every process, mount, namespace, cgroup, bridge, firewall rule and file.
    pub fn down(self) -> Result<(), ClusterError> {
        Self::remove(self.layout.name())
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        self.layout.name()
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What it runs on.
    pub fn tools(&self) -> &Tools {
        &self.state.tools
    }

    /// A kubeconfig for use from the host; its context has the cluster's name.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// A client of its API server with all rights.
    pub async fn client(&self) -> Result<kube::Client, ClusterError> {
        use kube::config::{KubeConfigOptions, Kubeconfig};
        // Already installed by an earlier call: the first one stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let path = self.kubeconfig_path();
        let failed = |source| ClusterError::Kubeconfig { path: path.clone(), source: Box::new(source) };
        let kubeconfig = Kubeconfig::read_from(&path).map_err(failed)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(failed)?;
        kube::Client::try_from(config).map_err(self.api_error("connect"))
    }

    /// Requests to its supervisor: the state of components, stopping and resuming them.
    pub fn control(&self) -> Control {
        Control::new(&self.layout)
    }

    /// A port on the host's loopback that leads to an address inside the cluster: a pod, a Service, a
    /// component. It stays until the cluster ends.
    pub fn forward(&self, to: SocketAddr) -> Result<SocketAddr, ClusterError> {
        let port = self.control().forward(to, 0)?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Makes the image in the tar file `path` available to pods.
    pub async fn load_image(&self, path: &Path) -> Result<(), ClusterError> {
        let mut command = self.ctr();
        command.args(["images", "import"]);
        if self.tools().containerd_major >= 2 {
            command.arg("--local");
        }
        tools::output(command.arg(path)).await.map(drop)
    }

    pub(crate) fn api_error(&self, action: &str) -> impl FnOnce(kube::Error) -> ClusterError {
        let (name, action) = (self.name().to_owned(), action.to_owned());
        move |source| ClusterError::Api { name, action, source: Box::new(source) }
    }
}
