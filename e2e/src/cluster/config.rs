//! The components' configuration files. JSON is YAML, so the ones that are YAML are rendered as JSON.

use std::path::Path;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::layout::{BRIDGE, DNS_READY, DOMAIN, Layout, NODE_IP, PAUSE_IMAGE, POD_CIDR};
use crate::toolchain::Tools;

/// A kubeconfig with everything inline, so that it can be copied elsewhere.
pub fn kubeconfig(name: &str, server: &str, ca: &[u8], cert: &[u8], key: &[u8]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": server,
            "certificate-authority-data": ByteString(ca.to_vec()),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": ByteString(cert.to_vec()),
            "client-key-data": ByteString(key.to_vec()),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    })
}

/// The kubelet's configuration.
pub fn kubelet(layout: &Layout) -> Value {
    let pki = layout.pki();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.join("kubelet-server.crt"),
        "tlsPrivateKeyFile": pki.join("kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", layout.cgroup()),
        "clusterDNS": [NODE_IP.to_string()],
        "clusterDomain": DOMAIN,
        "resolvConf": layout.config().join("resolv.conf"),
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket().display()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        // The disk belongs to the machine: its level says nothing about the cluster.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        // A new container is probed at once only if the kubelet looks at its pod twice; else after a whole period of the
        // probe. By default it looks again after a minute, here after a second, for every column alike.
        "syncFrequency": "1s",
        "serializeImagePulls": false,
        "volumePluginDir": layout.data().join("volume-plugins"),
    })
}

/// containerd's configuration in the format of its major version.
pub fn containerd(layout: &Layout, tools: &Tools) -> String {
    let data = layout.data().join("containerd");
    let (root, plugins) = (quoted(&data.join("root")), quoted(&data.join("opt")));
    let socket = quoted(&layout.containerd_socket());
    let (cni_bin, cni_conf) = (quoted(&tools.cni), quoted(&layout.config().join("cni")));
    let runc = quoted(&tools.runc.join("runc"));
    let head = format!(
        "root = {root}\nstate = \"/run/containerd\"\n\n[grpc]\naddress = {socket}\n\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\npath = {plugins}\n\n"
    );
    // Lowering a container's OOM score needs CAP_SYS_RESOURCE, which not every machine grants. An AppArmor
    // profile would be loaded for the whole machine and stay there.
    if tools.containerd_major >= 2 {
        format!(
            "version = 3\n{head}\
             [plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = \"{PAUSE_IMAGE}\"\n\n\
             [plugins.'io.containerd.cri.v1.runtime']\nrestrict_oom_score_adj = true\n\
             disable_apparmor = true\n\n\
             [plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = [{cni_bin}]\nconf_dir = {cni_conf}\n\n\
             [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n\
             runtime_type = \"io.containerd.runc.v2\"\n\n\
             [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n\
             BinaryName = {runc}\nSystemdCgroup = false\n"
        )
    } else {
        format!(
            "version = 2\n{head}\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{PAUSE_IMAGE}\"\n\
             restrict_oom_score_adj = true\ndisable_apparmor = true\n\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = {cni_bin}\nconf_dir = {cni_conf}\n\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
             runtime_type = \"io.containerd.runc.v2\"\n\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
             BinaryName = {runc}\nSystemdCgroup = false\n"
        )
    }
}

fn quoted(path: &Path) -> String {
    Value::from(path.to_string_lossy()).to_string()
}

/// Pods on one bridge; the portmap plugin serves hostPort.
pub fn cni() -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "homeostat-e2e",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_IP.to_string()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// `CoreDNS`, as a host process: the cluster's names and nothing else.
pub fn corefile(layout: &Layout) -> String {
    let kubeconfig = layout.component_kubeconfig("coredns");
    format!(
        ".:53 {{\n    bind {NODE_IP}\n    errors\n    ready {DNS_READY}\n    \
         kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{\n        kubeconfig {}\n        \
         pods insecure\n        ttl 5\n    }}\n}}\n",
        kubeconfig.display()
    )
}

/// Homeostat, as the API server knows it.
pub const HOMEOSTAT: &str = "system:serviceaccount:homeostat-system:homeostat";

/// Every change is recorded with who made it; those of Homeostat, evictions and Homeostat's own kinds with their
/// content.
pub fn audit_policy() -> Value {
    let changes = json!(["create", "update", "patch", "delete", "deletecollection"]);
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "resources": [{"group": "authentication.k8s.io"}, {"group": "authorization.k8s.io"}]},
            {"level": "Request", "verbs": changes, "users": [HOMEOSTAT]},
            {"level": "Request", "verbs": changes, "resources": [
                {"group": "homeostat.dev"},
                {"group": "", "resources": ["pods/eviction", "pods/resize"]},
            ]},
            {"level": "Metadata", "verbs": changes},
            {"level": "None"},
        ],
    })
}

/// What programs of the host get when they run inside the cluster's network: names as in the namespace
/// `default`.
pub fn resolv_conf_of_exec() -> String {
    format!("search default.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\nnameserver {NODE_IP}\noptions ndots:5\n")
}

/// What pods get before the kubelet adds the cluster's domains.
pub fn resolv_conf() -> String {
    format!("nameserver {NODE_IP}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::below(Path::new("/var/lib/x"), "one").unwrap()
    }

    #[test]
    fn a_kubeconfig_is_accepted_by_the_client_library() {
        let value = kubeconfig("one", "https://127.0.0.1:1", b"ca", b"cert", b"key");
        let parsed: kube::config::Kubeconfig = serde_json::from_value(value).unwrap();
        assert_eq!(parsed.current_context.as_deref(), Some("one"));
        let cluster = parsed.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:1"));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("Y2E="));
    }

    #[test]
    fn containerd_gets_the_format_of_its_version() {
        let old = containerd(&layout(), &Tools { containerd_major: 1, ..Tools::default() });
        assert!(
            old.starts_with("version = 2") && old.contains("io.containerd.grpc.v1.cri\"]\nsandbox_image")
        );
        let new = containerd(&layout(), &Tools { containerd_major: 2, ..Tools::default() });
        assert!(new.starts_with("version = 3") && new.contains("pinned_images]\nsandbox"));
        for text in [old, new] {
            assert!(text.contains("restrict_oom_score_adj = true") && text.contains("SystemdCgroup = false"));
        }
    }

    #[test]
    fn the_kubelet_stays_inside_its_own_cgroup_root() {
        assert_eq!(kubelet(&layout())["cgroupRoot"], "/homeostat-e2e-one");
    }
}
