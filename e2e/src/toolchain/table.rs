//! The one list of pieces, and where each may come from, best source first.

use std::fmt;

/// Something that the test cluster is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// etcd, the Kubernetes components and kubectl, in one program.
    Kubernetes,
    /// containerd, its shim and ctr.
    Containerd,
    /// runc.
    Runc,
    /// The CNI plugins bridge, loopback, host-local and portmap.
    CniPlugins,
    /// iptables.
    Iptables,
    /// `CoreDNS`.
    CoreDns,
    /// The first process of every pod.
    Pause,
    /// helm.
    Helm,
    /// kubeconform.
    Kubeconform,
    /// Prometheus.
    Prometheus,
    /// metrics-server, which a `HorizontalPodAutoscaler` reads CPU from.
    MetricsServer,
    /// NATS, the queue of a sample application.
    Nats,
    /// The definitions of Kueue's kinds, as they were released; not Kueue itself.
    Kueue,
}

/// Where a piece may come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Programs that the machine already has.
    OnPath(Wanted),
    /// The distribution's package, unpacked into the cache.
    Debian(Package),
    /// A Go module of this repository, built into the cache.
    Go(Module),
    /// Files of a public Go module, copied into the cache.
    Files(Files),
}

/// Programs that must lie in one folder.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Their names; the first one decides the folder.
    pub programs: &'static [&'static str],
    /// Folders to look into besides `PATH`.
    pub also: &'static [&'static str],
    /// Arguments with which the first program must succeed; none: do not try.
    pub probe: &'static [&'static str],
}

/// Packages to unpack.
#[derive(Debug)]
pub(super) struct Package {
    /// The piece's name in the cache.
    pub name: &'static str,
    /// The packages; the first one's version is part of the path.
    pub packages: &'static [&'static str],
    /// The folder with the programs inside the unpacked packages.
    pub folder: &'static str,
    /// The first program and the arguments with which it must succeed.
    pub probe: (&'static str, &'static [&'static str]),
    /// Names under which a script calls this program of the package with its own libraries.
    pub wrap: Option<(&'static str, &'static [&'static str])>,
}

/// A module in `e2e/go`.
#[derive(Debug)]
pub(super) struct Module {
    /// Its folder.
    pub folder: &'static str,
    /// The version of what it builds.
    pub version: &'static str,
    /// Programs and their packages.
    pub programs: &'static [(&'static str, &'static str)],
    /// Further names of the first program.
    pub links: &'static [&'static str],
    /// Linker flags besides `-s -w`.
    pub ldflags: &'static str,
    /// Build tags.
    pub tags: &'static str,
    /// Whether a C compiler is needed.
    pub cgo: bool,
}

/// A folder of files in a public Go module.
#[derive(Debug)]
pub(super) struct Files {
    /// The piece's name in the cache.
    pub name: &'static str,
    /// The module.
    pub module: &'static str,
    /// Its release.
    pub version: &'static str,
    /// Its checksum, as a `go.sum` has it.
    pub sum: &'static str,
    /// The folder inside the module.
    pub folder: &'static str,
}

const PLAIN: Module =
    Module { folder: "", version: "", programs: &[], links: &[], ldflags: "", tags: "", cgo: false };

const KUBERNETES: &[Source] = &[Source::Go(Module {
    folder: "kubernetes",
    version: "v1.35.4",
    programs: &[("kubernetes", ".")],
    links: &[
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
    ],
    // Without these the version is v0.0.0 and clients complain.
    ldflags: "-X k8s.io/component-base/version.gitVersion=v1.35.4 \
              -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35",
    ..PLAIN
})];

const CONTAINERD: &[Source] = &[
    Source::OnPath(Wanted {
        programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
        also: &[],
        probe: &["--version"],
    }),
    Source::Debian(Package {
        name: "containerd",
        packages: &["containerd"],
        folder: "usr/bin",
        probe: ("containerd", &["--version"]),
        wrap: None,
    }),
    Source::Go(Module {
        folder: "containerd",
        version: "v2.2.1",
        programs: &[
            ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            ("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
            ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
        ldflags: "-X github.com/containerd/containerd/v2/version.Version=v2.2.1",
        ..PLAIN
    }),
];

const RUNC: &[Source] = &[
    Source::OnPath(Wanted { programs: &["runc"], also: &[], probe: &["--version"] }),
    Source::Debian(Package {
        name: "runc",
        packages: &["runc"],
        folder: "usr/sbin",
        probe: ("runc", &["--version"]),
        wrap: None,
    }),
    Source::Go(Module {
        folder: "runc",
        version: "v1.4.3",
        programs: &[("runc", "github.com/opencontainers/runc")],
        ldflags: "-X main.version=1.4.3",
        // Without it every pod fails with "seccomp not supported".
        tags: "seccomp",
        cgo: true,
        ..PLAIN
    }),
];

const CNI: &[Source] = &[
    Source::OnPath(Wanted {
        programs: &["bridge", "host-local", "loopback", "portmap"],
        also: &["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"],
        probe: &[],
    }),
    Source::Debian(Package {
        name: "cni-plugins",
        packages: &["containernetworking-plugins"],
        folder: "usr/lib/cni",
        probe: ("bridge", &[]),
        wrap: None,
    }),
    Source::Go(Module {
        folder: "cni",
        version: "v1.9.1",
        programs: &[
            ("bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
            ("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
            ("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
            ("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
        ],
        ..PLAIN
    }),
];

const IPTABLES: &[Source] = &[
    Source::OnPath(Wanted {
        programs: &["iptables", "iptables-save", "iptables-restore"],
        also: &["/usr/sbin", "/sbin"],
        probe: &["--version"],
    }),
    Source::Debian(Package {
        name: "iptables",
        packages: &[
            "iptables",
            "libip4tc2",
            "libip6tc2",
            "libxtables12",
            "libnftnl11",
            "libmnl0",
            "libnetfilter-conntrack3",
            "libnfnetlink0",
        ],
        folder: "wrapped",
        probe: ("iptables", &["--version"]),
        wrap: Some((
            "usr/sbin/xtables-nft-multi",
            &[
                "iptables",
                "iptables-save",
                "iptables-restore",
                "ip6tables",
                "ip6tables-save",
                "ip6tables-restore",
            ],
        )),
    }),
];

const COREDNS: &[Source] =
    &[Source::Go(Module { folder: "coredns", version: "v1.15.0", programs: &[("coredns", ".")], ..PLAIN })];

const PAUSE: &[Source] =
    &[Source::Go(Module { folder: "pause", version: "v1", programs: &[("pause", ".")], ..PLAIN })];

const HELM: &[Source] = &[
    Source::OnPath(Wanted { programs: &["helm"], also: &[], probe: &["version", "--short"] }),
    Source::Go(Module {
        folder: "helm",
        version: "v3.21.4",
        programs: &[("helm", "helm.sh/helm/v3/cmd/helm")],
        ldflags: "-X helm.sh/helm/v3/internal/version.version=v3.21.4",
        ..PLAIN
    }),
];

const KUBECONFORM: &[Source] = &[
    Source::OnPath(Wanted { programs: &["kubeconform"], also: &[], probe: &["-v"] }),
    Source::Go(Module {
        folder: "kubeconform",
        version: "v0.7.0",
        programs: &[("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")],
        ..PLAIN
    }),
];

const PROMETHEUS: &[Source] = &[
    Source::OnPath(Wanted { programs: &["prometheus"], also: &[], probe: &["--version"] }),
    Source::Debian(Package {
        name: "prometheus",
        packages: &["prometheus"],
        folder: "usr/bin",
        probe: ("prometheus", &["--version"]),
        wrap: None,
    }),
    Source::Go(Module {
        folder: "prometheus",
        version: "v0.312.0",
        programs: &[("prometheus", "github.com/prometheus/prometheus/cmd/prometheus")],
        ..PLAIN
    }),
];

const METRICS_SERVER: &[Source] = &[Source::Go(Module {
    folder: "metrics-server",
    version: "v0.9.0",
    programs: &[("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server")],
    ldflags: "-X k8s.io/client-go/pkg/version.gitVersion=v0.9.0",
    ..PLAIN
})];

const NATS: &[Source] = &[Source::Go(Module {
    folder: "nats",
    version: "v2.15.3",
    programs: &[("nats-server", "github.com/nats-io/nats-server/v2")],
    ..PLAIN
})];

const KUEUE: &[Source] = &[Source::Files(Files {
    name: "kueue",
    module: "sigs.k8s.io/kueue",
    version: "v0.17.0",
    sum: "h1:7hzb38M4eKGzYW+CFv2s1L+swzzacUCHOCXxZmAV90I=",
    folder: "config/components/crd/bases",
})];

impl Piece {
    /// Every piece.
    pub const ALL: &[Self] = &[
        Self::Kubernetes,
        Self::Containerd,
        Self::Runc,
        Self::CniPlugins,
        Self::Iptables,
        Self::CoreDns,
        Self::Pause,
        Self::Helm,
        Self::Kubeconform,
        Self::Prometheus,
        Self::MetricsServer,
        Self::Nats,
        Self::Kueue,
    ];

    pub(super) fn sources(self) -> &'static [Source] {
        match self {
            Self::Kubernetes => KUBERNETES,
            Self::Containerd => CONTAINERD,
            Self::Runc => RUNC,
            Self::CniPlugins => CNI,
            Self::Iptables => IPTABLES,
            Self::CoreDns => COREDNS,
            Self::Pause => PAUSE,
            Self::Helm => HELM,
            Self::Kubeconform => KUBECONFORM,
            Self::Prometheus => PROMETHEUS,
            Self::MetricsServer => METRICS_SERVER,
            Self::Nats => NATS,
            Self::Kueue => KUEUE,
        }
    }

    /// How a person gets it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Kubernetes | Self::CoreDns | Self::Pause | Self::MetricsServer | Self::Nats => {
                "install Go 1.26 or newer (https://go.dev/dl)"
            }
            Self::Kueue => {
                "install Go 1.26 or newer (https://go.dev/dl) with a way to a module proxy (GOPROXY)"
            }
            Self::Containerd => "install containerd with your package manager, or Go 1.26 or newer",
            Self::Runc => {
                "install runc with your package manager, or Go 1.26, a C compiler and libseccomp-dev"
            }
            Self::CniPlugins => "install containernetworking-plugins, or Go 1.26 or newer",
            Self::Iptables => "install iptables with your package manager",
            Self::Helm => "install helm 3, or Go 1.26 or newer",
            Self::Kubeconform => "install kubeconform, or Go 1.26 or newer",
            Self::Prometheus => "install prometheus with your package manager, or Go 1.26 or newer",
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "kubernetes",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::CniPlugins => "cni-plugins",
            Self::Iptables => "iptables",
            Self::CoreDns => "coredns",
            Self::Pause => "pause",
            Self::Helm => "helm",
            Self::Kubeconform => "kubeconform",
            Self::Prometheus => "prometheus",
            Self::MetricsServer => "metrics-server",
            Self::Nats => "nats",
            Self::Kueue => "kueue",
        })
    }
}
