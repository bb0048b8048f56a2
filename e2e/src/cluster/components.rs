//! The command line of every component.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{
    API, ETCD, ETCD_RELAY, Layout, METRICS_SERVER, NODE_IP, POD_CIDR, PROMETHEUS, SECOND_API, SERVICE_CIDR,
};
use crate::toolchain::Tools;

/// Name of the second API server among the components.
pub const SECOND_APISERVER: &str = "kube-apiserver-second";
/// Name of its way to etcd.
pub const RELAY: &str = "etcd-relay";

/// A long-running process inside the cluster's namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its name, also that of its log.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// Builds command lines for one cluster.
#[derive(Debug)]
pub struct Components<'a> {
    layout: &'a Layout,
    tools: &'a Tools,
    durable: bool,
    masquerade_all: bool,
}

impl<'a> Components<'a> {
    /// `durable`: etcd waits for the disk on every write. `masquerade_all`: the kernel does not show
    /// bridged packets to the firewall, so replies of Services must come back through the node.
    pub fn new(layout: &'a Layout, tools: &'a Tools, durable: bool, masquerade_all: bool) -> Self {
        Self { layout, tools, durable, masquerade_all }
    }

    fn component(&self, name: &str, program: PathBuf, args: Vec<String>) -> Component {
        let env = BTreeMap::from([
            ("PATH".to_owned(), self.tools.search_path()),
            ("HOME".to_owned(), "/root".to_owned()),
        ]);
        Component { name: name.to_owned(), program, args, env, log: self.layout.log_of(name) }
    }

    fn kubernetes(&self, name: &str, args: Vec<String>) -> Component {
        self.component(name, self.tools.kubernetes.join(name), args)
    }

    fn pki(&self, file: &str) -> PathBuf {
        self.layout.pki().join(file)
    }

    /// The store of the API server.
    pub fn etcd(&self) -> Component {
        let mut args = vec![
            flag("data-dir", self.layout.data().join("etcd").display()),
            flag("listen-client-urls", format_args!("http://{ETCD}")),
            flag("advertise-client-urls", format_args!("http://{ETCD}")),
            flag("listen-peer-urls", "http://127.0.0.1:2380"),
            flag("initial-advertise-peer-urls", "http://127.0.0.1:2380"),
            flag("initial-cluster", "default=http://127.0.0.1:2380"),
            flag("log-level", "warn"),
        ];
        if !self.durable {
            args.push("--unsafe-no-fsync".to_owned());
        }
        self.kubernetes("etcd", args)
    }

    /// The API server.
    pub fn apiserver(&self) -> Component {
        self.kubernetes("kube-apiserver", self.apiserver_args(ETCD, API, &self.layout.audit_log()))
    }

    /// A second API server on the same etcd, which it reaches through the relay alone.
    pub fn second_apiserver(&self) -> Component {
        let mut args = self.apiserver_args(ETCD_RELAY, SECOND_API, &self.layout.second_audit_log());
        // The Service `kubernetes` leads to the first one.
        args.push(flag("endpoint-reconciler-type", "none"));
        self.component(SECOND_APISERVER, self.tools.kubernetes.join("kube-apiserver"), args)
    }

    /// The way of the second API server to etcd: the program `e2e`, which passes bytes on until it is stopped.
    pub fn etcd_relay(&self, program: PathBuf) -> Component {
        let args = ["cluster", "relay"].map(str::to_owned).into_iter();
        let ends = [flag("from", ETCD_RELAY), flag("to", ETCD)];
        self.component(RELAY, program, args.chain(ends).collect())
    }

    fn apiserver_args(&self, etcd: SocketAddr, own: SocketAddr, audit_log: &Path) -> Vec<String> {
        let path = |file: &str| self.pki(file).display().to_string();
        vec![
            flag("etcd-servers", format_args!("http://{etcd}")),
            flag("bind-address", "0.0.0.0"),
            flag("secure-port", own.port()),
            // The kubernetes Service refuses a loopback address.
            flag("advertise-address", NODE_IP),
            flag("tls-cert-file", path("apiserver.crt")),
            flag("tls-private-key-file", path("apiserver.key")),
            flag("client-ca-file", path("ca.crt")),
            flag("authorization-mode", "Node,RBAC"),
            flag("enable-admission-plugins", "NodeRestriction"),
            flag("allow-privileged", true),
            flag("service-cluster-ip-range", SERVICE_CIDR),
            flag("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
            flag("service-account-key-file", path("service-account.pub")),
            flag("service-account-signing-key-file", path("service-account.key")),
            flag("kubelet-client-certificate", path("apiserver-kubelet.crt")),
            flag("kubelet-client-key", path("apiserver-kubelet.key")),
            flag("kubelet-certificate-authority", path("ca.crt")),
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("requestheader-client-ca-file", path("front-proxy-ca.crt")),
            flag("requestheader-allowed-names", "front-proxy-client"),
            flag("requestheader-username-headers", "X-Remote-User"),
            flag("requestheader-group-headers", "X-Remote-Group"),
            flag("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            flag("proxy-client-cert-file", path("front-proxy-client.crt")),
            flag("proxy-client-key-file", path("front-proxy-client.key")),
            flag("enable-aggregator-routing", true),
            flag("audit-policy-file", self.layout.config().join("audit-policy.json").display()),
            flag("audit-log-path", audit_log.display()),
            // One file, megabytes: what is compared with it reads it from its beginning.
            flag("audit-log-maxsize", 4096),
        ]
    }

    /// The controllers. Their timers are the defaults; only the request limit is raised, since at the default
    /// of 20 a second the creation of their own accounts alone takes four seconds. Without a `node` nobody judges
    /// nodes by their heartbeats: those that are there only as objects have none.
    pub fn controller_manager(&self, node: bool) -> Component {
        let config = self.layout.component_kubeconfig("controller-manager");
        let mut args = vec![
            flag("kubeconfig", config.display()),
            flag("authentication-kubeconfig", config.display()),
            flag("authorization-kubeconfig", config.display()),
            flag("bind-address", "127.0.0.1"),
            flag("use-service-account-credentials", true),
            flag("service-account-private-key-file", self.pki("service-account.key").display()),
            flag("root-ca-file", self.pki("ca.crt").display()),
            flag("cluster-signing-cert-file", self.pki("ca.crt").display()),
            flag("cluster-signing-key-file", self.pki("ca.key").display()),
            flag("leader-elect", false),
            flag("kube-api-qps", 200),
            flag("kube-api-burst", 400),
        ];
        if !node {
            args.push(flag("controllers", "*,-node-lifecycle-controller,-taint-eviction-controller"));
        }
        self.kubernetes("kube-controller-manager", args)
    }

    /// The scheduler.
    pub fn scheduler(&self) -> Component {
        let config = self.layout.component_kubeconfig("scheduler");
        let args = vec![
            flag("kubeconfig", config.display()),
            flag("authentication-kubeconfig", config.display()),
            flag("authorization-kubeconfig", config.display()),
            flag("bind-address", "127.0.0.1"),
            flag("leader-elect", false),
        ];
        self.kubernetes("kube-scheduler", args)
    }

    /// The container runtime.
    pub fn containerd(&self) -> Component {
        let config = self.layout.config().join("containerd.toml");
        let args = vec!["--config".to_owned(), config.display().to_string()];
        self.component("containerd", self.tools.containerd.join("containerd"), args)
    }

    /// The node agent; its back-off and timers stay at their defaults, they are what is compared with.
    pub fn kubelet(&self) -> Component {
        let args = vec![
            flag("config", self.layout.config().join("kubelet.json").display()),
            flag("kubeconfig", self.layout.component_kubeconfig("kubelet").display()),
            flag("hostname-override", self.layout.node_name()),
            flag("node-ip", NODE_IP),
            flag("root-dir", "/var/lib/kubelet"),
        ];
        self.kubernetes("kubelet", args)
    }

    /// Services.
    pub fn proxy(&self) -> Component {
        let args = vec![
            flag("kubeconfig", self.layout.component_kubeconfig("proxy").display()),
            flag("hostname-override", self.layout.node_name()),
            flag("proxy-mode", "iptables"),
            flag("cluster-cidr", POD_CIDR),
            flag("iptables-min-sync-period", "100ms"),
            flag("masquerade-all", self.masquerade_all),
            // The table's size is the machine's, not the cluster's.
            flag("conntrack-max-per-core", 0),
            flag("healthz-bind-address", "127.0.0.1:10256"),
            flag("metrics-bind-address", "127.0.0.1:10249"),
        ];
        self.kubernetes("kube-proxy", args)
    }

    /// The cluster's DNS.
    pub fn dns(&self) -> Component {
        let config = self.layout.config().join("Corefile");
        let args = vec!["-conf".to_owned(), config.display().to_string()];
        self.component("coredns", self.tools.coredns.join("coredns"), args)
    }

    /// Prometheus from the folder `bin`, scraping by the file `config`.
    pub fn prometheus(&self, bin: &Path, config: &Path) -> Component {
        let args = vec![
            flag("config.file", config.display()),
            flag("storage.tsdb.path", self.layout.data().join("prometheus").display()),
            flag("web.listen-address", PROMETHEUS),
            flag("log.level", "warn"),
        ];
        self.component("prometheus", bin.join("prometheus"), args)
    }

    /// metrics-server from the folder `bin`, with its defaults but for where it runs: outside of any pod.
    pub fn metrics_server(&self, bin: &Path) -> Component {
        let config = self.layout.component_kubeconfig("metrics-server");
        let args = vec![
            flag("kubeconfig", config.display()),
            flag("authentication-kubeconfig", config.display()),
            flag("authorization-kubeconfig", config.display()),
            flag("bind-address", METRICS_SERVER.ip()),
            flag("secure-port", METRICS_SERVER.port()),
            flag("cert-dir", self.layout.data().join("metrics-server").display()),
            flag("kubelet-certificate-authority", self.pki("ca.crt").display()),
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("kubelet-use-node-status-port", true),
            flag("metric-resolution", "15s"),
        ];
        self.component("metrics-server", bin.join("metrics-server"), args)
    }
}

fn flag(name: &str, value: impl Display) -> String {
    format!("--{name}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_waits_for_the_disk_only_when_durability_is_tested() {
        let layout = Layout::below(Path::new("/var/lib/x"), "one").unwrap();
        let tools = Tools::default();
        let unsafe_flag = "--unsafe-no-fsync".to_owned();
        assert!(Components::new(&layout, &tools, false, false).etcd().args.contains(&unsafe_flag));
        assert!(!Components::new(&layout, &tools, true, false).etcd().args.contains(&unsafe_flag));
    }

    #[test]
    fn the_second_api_server_shares_nothing_with_the_first_but_etcd_and_certificates() {
        let layout = Layout::below(Path::new("/var/lib/x"), "one").unwrap();
        let tools = Tools::default();
        let components = Components::new(&layout, &tools, false, false);
        let (first, second) = (components.apiserver(), components.second_apiserver());
        assert_ne!((&first.name, &first.log), (&second.name, &second.log));
        for own in ["--etcd-servers=", "--secure-port=", "--audit-log-path="] {
            let of = |component: &Component| component.args.iter().find(|arg| arg.starts_with(own)).cloned();
            assert!(of(&first).is_some() && of(&first) != of(&second), "{own}");
        }
        let relay = components.etcd_relay("/bin/e2e".into());
        assert!(relay.args.contains(&format!("--to={ETCD}")), "{:?}", relay.args);
        assert!(second.args.contains(&format!("--etcd-servers=http://{ETCD_RELAY}")), "{:?}", second.args);
    }

    #[test]
    fn the_node_keeps_the_timers_of_plain_kubernetes() {
        let layout = Layout::below(Path::new("/var/lib/x"), "one").unwrap();
        let tools = Tools::default();
        let components = Components::new(&layout, &tools, false, false);
        for component in [components.kubelet(), components.controller_manager(true), components.apiserver()] {
            assert!(
                !component.args.iter().any(|arg| arg.contains("feature-gates") || arg.contains("period")),
                "{component:?}"
            );
        }
    }
}
