//! Where everything of one cluster lives, and the addresses inside its network namespace.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

use super::error::ClusterError;

/// The node's address on the bridge: the API server, DNS and Prometheus listen here.
pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Addresses of pods.
pub const POD_CIDR: &str = "10.244.0.0/24";
/// Addresses of Services.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The first Service address: `kubernetes.default`.
pub const KUBERNETES_SERVICE_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The bridge that pods hang on.
pub const BRIDGE: &str = "cni0";
/// The DNS domain.
pub const DOMAIN: &str = "cluster.local";
/// The pause image's reference.
pub const PAUSE_IMAGE: &str = "homeostat.dev/pause:v1";

/// The API server inside the network namespace.
pub const API: SocketAddr = SocketAddr::V4(SocketAddrV4::new(NODE_IP, 6443));
/// etcd inside the network namespace; only loopback.
pub const ETCD: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2379));
/// A second API server inside the network namespace, where one is asked for.
pub const SECOND_API: SocketAddr = SocketAddr::V4(SocketAddrV4::new(NODE_IP, 6444));
/// What that one takes for etcd: its way there can be held up.
pub const ETCD_RELAY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2381));
/// Readiness of the DNS server, inside the network namespace.
pub const DNS_READY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8181));
/// Prometheus inside the network namespace.
pub const PROMETHEUS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(NODE_IP, 9090));
/// metrics-server inside the network namespace, where the API server passes `metrics.k8s.io` on to.
pub const METRICS_SERVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(NODE_IP, 4443));

/// Paths and names of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    name: String,
    root: PathBuf,
}

impl Layout {
    /// The layout of the cluster `name` below `$HOMEOSTAT_STATE`, or `/var/lib/homeostat-e2e`.
    pub fn new(name: &str) -> Result<Self, ClusterError> {
        let root = std::env::var_os("HOMEOSTAT_STATE")
            .filter(|value| !value.is_empty())
            .map_or_else(|| PathBuf::from("/var/lib/homeostat-e2e"), PathBuf::from);
        Self::below(&root, name)
    }

    /// The layout of the cluster `name` below `root`, an absolute folder.
    pub fn below(root: &Path, name: &str) -> Result<Self, ClusterError> {
        let good = (1..=20).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !good {
            return Err(ClusterError::Name(name.to_owned()));
        }
        let root = std::path::absolute(root).map_err(ClusterError::file("resolve", root))?;
        // Unix sockets live below; their paths are limited to 107 bytes.
        if root.as_os_str().len() > 50 || root.starts_with("/run") || root.starts_with("/proc") {
            return Err(ClusterError::Missing {
                piece: format!("a usable state folder ({})", root.display()),
                why: "it holds sockets and mounts, so it must be short and not below /run or /proc".into(),
                remedy: "set HOMEOSTAT_STATE to another folder".into(),
            });
        }
        Ok(Self { name: name.to_owned(), root })
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's name in the API.
    pub fn node_name(&self) -> String {
        format!("{}-node", self.name)
    }

    /// The cgroup below which every process of the cluster runs, relative to each hierarchy.
    pub fn cgroup(&self) -> String {
        format!("homeostat-e2e-{}", self.name)
    }

    /// The folder of all clusters' states.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of this cluster's state.
    pub fn dir(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// Held while `up` or `down` works on this cluster.
    pub fn lock_file(&self) -> PathBuf {
        self.root.join(format!(".{}.lock", self.name))
    }

    /// What was created, written before it is created.
    pub fn state_file(&self) -> PathBuf {
        self.dir().join("state.json")
    }

    /// The supervisor's process ids.
    pub fn supervisor_file(&self) -> PathBuf {
        self.dir().join("supervisor.json")
    }

    /// Where the supervisor takes requests.
    pub fn control_socket(&self) -> PathBuf {
        self.dir().join("control.sock")
    }

    /// The kubeconfig for use from the host.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("kubeconfig")
    }

    /// A component's kubeconfig, for use inside the network namespace.
    pub fn component_kubeconfig(&self, user: &str) -> PathBuf {
        self.dir().join("kubeconfigs").join(user)
    }

    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.dir().join("pki")
    }

    /// The components' configuration files.
    pub fn config(&self) -> PathBuf {
        self.dir().join("config")
    }

    /// Shown as `/etc/resolv.conf` to programs of the host that run inside the cluster's network.
    pub fn resolv_conf_of_exec(&self) -> PathBuf {
        self.config().join("resolv-exec.conf")
    }

    /// The components' logs and the audit log.
    pub fn logs(&self) -> PathBuf {
        self.dir().join("logs")
    }

    /// One component's log.
    pub fn log_of(&self, component: &str) -> PathBuf {
        self.logs().join(format!("{component}.log"))
    }

    /// What the API server was asked to change.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// What the second API server was asked to change.
    pub fn second_audit_log(&self) -> PathBuf {
        self.logs().join("audit-second.log")
    }

    /// The data of etcd, containerd and Prometheus.
    pub fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Shown as `/var/lib` inside the mount namespace.
    pub fn var_lib(&self) -> PathBuf {
        self.dir().join("var-lib")
    }

    /// Shown as `/var/log` inside the mount namespace: pods' logs are in `pods/`.
    pub fn var_log(&self) -> PathBuf {
        self.dir().join("var-log")
    }

    /// For node-local persistent volumes.
    pub fn volumes(&self) -> PathBuf {
        self.dir().join("volumes")
    }

    /// containerd's socket; on disk, so that both mount namespaces see it.
    pub fn containerd_socket(&self) -> PathBuf {
        self.dir().join("containerd.sock")
    }

    /// Every folder that must exist before the first component starts.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        vec![
            self.dir().join("kubeconfigs"),
            self.pki(),
            self.config().join("cni"),
            self.logs(),
            self.data().join("etcd"),
            self.data().join("containerd"),
            self.var_lib(),
            self.var_log(),
            self.volumes(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_escape_the_folder_are_refused() {
        for name in ["", "..", "a/b", "A", "1a", "a-name-that-is-far-too-long"] {
            assert!(
                matches!(Layout::below(Path::new("/var/lib/x"), name), Err(ClusterError::Name(_))),
                "{name} was accepted"
            );
        }
    }

    #[test]
    fn two_names_share_no_path() {
        let root = Path::new("/var/lib/x");
        let one = Layout::below(root, "one").unwrap();
        let two = Layout::below(root, "two").unwrap();
        assert!(!one.dir().starts_with(two.dir()) && !two.dir().starts_with(one.dir()));
        assert_ne!(one.cgroup(), two.cgroup());
        assert_ne!(one.lock_file(), two.lock_file());
    }

    #[test]
    fn a_state_folder_that_is_hidden_inside_the_cluster_is_refused_with_a_way_out() {
        let error = Layout::below(Path::new("/run/x"), "one").unwrap_err().to_string();
        assert!(error.contains("HOMEOSTAT_STATE") && error.contains("CONTEXT=name"), "{error}");
    }
}
