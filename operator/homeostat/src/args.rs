//! Arguments of the binary.

use clap::{Parser, Subcommand};
use homeostat_cluster::reports::PagesUrl;
use homeostat_crds::Quantity;
use homeostat_knowledge::Timestamp;
use homeostat_observe::TenantHeader;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What is no subcommand because the API server has it.
const WHERE_ELSE: &str = "Incidents, actions and forecasts are objects: kubectl get incidents,actions,forecasts -A\n\
    Stop everything: kubectl patch controlplane default --type merge -p '{\"spec\":{\"killSwitch\":{\"engaged\":true,\"reason\":\"why\"}}}'";

/// A self-managing AIOps control plane for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, propagate_version = true, after_help = WHERE_ELSE)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the control plane. Inside a cluster it uses the service account, outside the kubeconfig.
    Run(Box<RunArgs>),
    /// Judge a recorded run again under the default guards (a file), or decide recorded situations again and compare
    /// the answers with the right ones (a folder).
    Replay(ReplayArgs),
    /// Work with playbook files.
    Playbook {
        /// What to do.
        #[command(subcommand)]
        command: PlaybookCommand,
    },
    /// Create the objects in FILE that do not exist yet; existing ones are never changed.
    InstallDefaults {
        /// Manifest (YAML) with the default `ControlPlane`.
        #[arg(long)]
        file: PathBuf,
    },
    /// Let go of every node, run and autoscaler that Homeostat holds: cordons, suspensions and bounds with its mark.
    ReleaseHeld,
    /// List the actions that wait for a person: what, why, on which evidence, until when.
    Pending(PendingArgs),
    /// Say yes to an action, in your own name. Needs the verb `approve` on actions in its namespace.
    Approve(ApproveArgs),
    /// Say no to an action, in your own name. Needs the verb `approve` on actions in its namespace.
    Deny(DenyArgs),
    /// Engage the kill switch: stop every action in the cluster, in your own name; watching and reporting go on.
    Stop(StopArgs),
    /// Stop every action for a tenant or a workload; watching and reporting go on.
    Pause(PauseArgs),
    /// Allow actions for a paused tenant or workload again, or for all of them, within their levels.
    Resume(ResumeArgs),
    /// Show how far Homeostat may go per tenant and action, or what another level would have done.
    Levels(LevelsArgs),
    /// The record of every decision.
    Audit {
        /// What to do.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
}

/// Arguments of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Address of /livez, /readyz, /metrics and the status page.
    #[arg(long, env = "HOMEOSTAT_HTTP", default_value = "0.0.0.0:8081")]
    pub http: SocketAddr,
    /// Address of these pages as readers reach them (http:// or https://, no credentials), for the links in Reports; without
    /// it they have none.
    #[arg(long, env = "HOMEOSTAT_PAGES_URL")]
    pub pages_url: Option<PagesUrl>,
    /// Address of the OTLP gRPC receiver.
    #[arg(long, env = "HOMEOSTAT_OTLP_GRPC", default_value = "0.0.0.0:4317")]
    pub otlp_grpc: SocketAddr,
    /// Namespaces to watch, comma-separated; empty watches all.
    #[arg(long, env = "HOMEOSTAT_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Namespace that Homeostat runs in; nothing in it is ever a target.
    #[arg(long, env = "POD_NAMESPACE", default_value = "homeostat-system")]
    pub namespace: String,
    /// Service account that it runs as; the requester of every action, who may not approve one.
    #[arg(long, env = "POD_SERVICE_ACCOUNT", default_value = "homeostat")]
    pub service_account: String,
    /// Name of this replica in the lease.
    #[arg(long, env = "POD_NAME", default_value = "homeostat")]
    pub identity: String,
    /// Write every judged guard input to this file, for `homeostat replay`.
    #[arg(long, env = "HOMEOSTAT_RECORD")]
    pub record: Option<PathBuf>,
    /// Keep the record of every decision in this folder; without it none is kept.
    #[arg(long, env = "HOMEOSTAT_AUDIT_DIR")]
    pub audit_dir: Option<PathBuf>,
    /// Collectors that may forward telemetry of pods (CIDR, comma-separated). Others speak for themselves only.
    #[arg(long, env = "HOMEOSTAT_TRUSTED_FORWARDERS", value_delimiter = ',')]
    pub trusted_forwarders: Vec<String>,
    /// Header that tells the Prometheus of `ControlPlane.spec.sources` which Tenant a query is of, such as X-Scope-OrgID for a
    /// server that serves several; without it none is sent.
    #[arg(long, env = "HOMEOSTAT_PROMETHEUS_TENANT_HEADER")]
    pub prometheus_tenant_header: Option<TenantHeader>,
    /// Folder with the tokens that `ControlPlane.spec.sources.prometheus.bearerTokenFrom` may name: one folder per Secret, one
    /// file per key.
    #[arg(long, env = "HOMEOSTAT_PROMETHEUS_DIR", default_value = "/etc/homeostat/prometheus")]
    pub prometheus_dir: PathBuf,
    /// Folder with the addresses that `spec.notify` of Tenants names: one folder per Secret, one file per key.
    #[arg(long, env = "HOMEOSTAT_NOTIFY_DIR", default_value = "/etc/homeostat/notify")]
    pub notify_dir: PathBuf,
    /// Most CPU that the chart's admission policy lets Homeostat give a container, e.g. `32` or `500m`; without it none is known.
    #[arg(long, env = "HOMEOSTAT_MOST_CPU_PER_CONTAINER", value_parser = millicores)]
    pub most_cpu_per_container: Option<u64>,
    /// The same of memory, e.g. `128Gi`.
    #[arg(long, env = "HOMEOSTAT_MOST_MEMORY_PER_CONTAINER", value_parser = bytes)]
    pub most_memory_per_container: Option<u64>,
    /// Log filter, e.g. `info,homeostat=debug`.
    #[arg(long, env = "HOMEOSTAT_LOG", default_value = "info")]
    pub log: String,
    /// Seconds that running work gets after SIGTERM.
    #[arg(long, env = "HOMEOSTAT_DRAIN_SECONDS", default_value_t = 10)]
    pub drain_seconds: u64,
}

/// Thousandths of a core.
fn millicores(text: &str) -> Result<u64, String> {
    amount(text, 1_000.0)
}

fn bytes(text: &str) -> Result<u64, String> {
    amount(text, 1.0)
}

/// A quantity in so many parts of its unit. Rounded down: what is given is compared with more than that.
fn amount(text: &str, parts: f64) -> Result<u64, String> {
    let value = Quantity::from(text.to_owned()).value().map(|value| (value * parts + 1e-6).floor());
    match value.filter(|value| *value >= 1.0) {
        // A float becomes an integer without a wrap: what is too large is the largest.
        Some(value) => Ok(value as u64),
        None => Err(format!("`{text}` is no amount above 0; write it as Kubernetes does, e.g. 32 or 128Gi")),
    }
}

impl RunArgs {
    /// Namespaces to watch; empty means all.
    pub fn watched(&self) -> BTreeSet<String> {
        self.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect()
    }
}

/// Arguments of `replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// File written by `run --record`, or a folder of situations (see docs/situations.md).
    #[arg(value_name = "FILE|DIR")]
    pub file: PathBuf,
    /// Print JSON instead of a table (a file only).
    #[arg(long)]
    pub json: bool,
    /// Write every answer to this file as JSON (a folder only).
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Print every situation, not only the wrong ones (a folder only).
    #[arg(long)]
    pub all: bool,
}

/// What to do with playbook files.
#[derive(Debug, Subcommand)]
pub enum PlaybookCommand {
    /// Check playbooks and decide their recorded situations; fails when an answer differs.
    Test {
        /// Playbook files; each replaces the shipped one of the same name.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Folder of situations; without it each file's own are used (`situations/NAME.yaml`).
        #[arg(long)]
        situations: Option<PathBuf>,
    },
}

/// What to do with the audit record.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Print every entry as a line of JSON.
    Export(ExportArgs),
    /// Find what was edited, dropped, reordered or cut off since it was written; fails when something was.
    Verify(VerifyArgs),
    /// Compare the record with the API server's audit log: fails when an effect on record is not in the log, or a write in
    /// the log is not on record.
    Match(MatchArgs),
}

/// Arguments of `audit export`.
#[derive(Debug, Clone, clap::Args)]
pub struct ExportArgs {
    /// Folder of the record.
    #[arg(long, env = "HOMEOSTAT_AUDIT_DIR", default_value = "/var/lib/homeostat/audit")]
    pub dir: PathBuf,
}

/// Arguments of `audit verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyArgs {
    /// Folder of the record.
    #[arg(long, env = "HOMEOSTAT_AUDIT_DIR", default_value = "/var/lib/homeostat/audit")]
    pub dir: PathBuf,
    /// What `audit export` printed, instead of the folder.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// File with the anchors, as `kubectl get configmap homeostat-audit -o json` prints them; without it they are
    /// read from the cluster.
    #[arg(long)]
    pub anchors: Option<PathBuf>,
    /// Fail also when an older chain that was anchored is not in the record; for records that outlive their pods.
    #[arg(long)]
    pub all_chains: bool,
    /// Namespace that Homeostat runs in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "homeostat-system")]
    pub namespace: String,
}

/// Arguments of `audit match`.
#[derive(Debug, Clone, clap::Args)]
pub struct MatchArgs {
    /// Folder of the record, or what `audit export` printed.
    #[arg(
        long,
        value_name = "DIR|FILE",
        env = "HOMEOSTAT_AUDIT_DIR",
        default_value = "/var/lib/homeostat/audit"
    )]
    pub record: PathBuf,
    /// Audit log of an API server, one event (`audit.k8s.io/v1`) a line; once for each API server, the parts of its log joined.
    #[arg(long, value_name = "FILE", required = true)]
    pub api_log: Vec<PathBuf>,
    /// Whom the API server takes Homeostat for.
    #[arg(long, default_value = "system:serviceaccount:homeostat-system:homeostat")]
    pub user: String,
}

/// Arguments of `pending`.
#[derive(Debug, Clone, clap::Args)]
pub struct PendingArgs {
    /// Namespace; without it all.
    #[arg(long, short)]
    pub namespace: Option<String>,
}

/// Arguments of `approve`.
#[derive(Debug, Clone, clap::Args)]
pub struct ApproveArgs {
    /// Name of the Action.
    pub name: String,
    /// Its namespace; only needed when the name is not unique.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Why, for those who read it later.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Arguments of `deny`.
#[derive(Debug, Clone, clap::Args)]
pub struct DenyArgs {
    /// Name of the Action.
    pub name: String,
    /// Its namespace; only needed when the name is not unique.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Why not.
    #[arg(long)]
    pub reason: String,
}

/// What can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PauseKind {
    /// Every workload of a tenant.
    Tenant,
    /// One workload.
    Workload,
}

/// An instant as people write it, and what to write instead when it is none.
fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "no instant; write it with its time zone, such as 2030-01-01T18:00:00Z".to_owned())
}

/// Arguments of `pause`.
#[derive(Debug, Clone, clap::Args)]
pub struct PauseArgs {
    /// Whose actions.
    pub kind: PauseKind,
    /// Name of the Tenant or Workload.
    pub name: String,
    /// Namespace of the Workload.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The pause ends by itself at this instant, e.g. 2030-01-01T18:00:00Z.
    #[arg(long, value_parser = instant)]
    pub until: Option<Timestamp>,
    /// Why, for those who read it later.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Arguments of `stop`.
#[derive(Debug, Clone, clap::Args)]
pub struct StopArgs {
    /// Why, for those who read it later.
    #[arg(long, value_parser = reason)]
    pub reason: String,
}

/// A reason that says something.
fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why, for those who read it later".to_owned()),
        text if text.chars().count() > 1_024 => Err("at most 1,024 characters".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Arguments of `resume`.
#[derive(Debug, Clone, clap::Args)]
pub struct ResumeArgs {
    /// Whose actions.
    #[arg(required_unless_present_any = ["breaker", "kill_switch"])]
    pub kind: Option<PauseKind>,
    /// Name of the Tenant or Workload.
    #[arg(required_unless_present_any = ["breaker", "kill_switch"])]
    pub name: Option<String>,
    /// Namespace of the Workload.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Reset the cluster's breaker: repairs that failed before now do not count any more.
    #[arg(long, conflicts_with_all = ["kind", "name", "namespace"])]
    pub breaker: bool,
    /// Release the kill switch.
    #[arg(long, conflicts_with_all = ["kind", "name", "namespace", "breaker"])]
    pub kill_switch: bool,
}

/// Arguments of `levels`.
#[derive(Debug, Clone, clap::Args)]
pub struct LevelsArgs {
    /// What this level (L0 to L4, or its name) would have done with the recommendations that are stored.
    #[arg(long)]
    pub what_if: Option<String>,
    /// Let the levels of this Tenant's spec count again after they were lowered.
    #[arg(long, value_name = "TENANT", conflicts_with = "what_if")]
    pub restore: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_a_container_may_be_given_is_read_as_kubernetes_writes_it() {
        let parse = |cpu: &str, memory: &str| {
            let cpu = format!("--most-cpu-per-container={cpu}");
            let memory = format!("--most-memory-per-container={memory}");
            let Command::Run(run) = Args::try_parse_from(["homeostat", "run", &cpu, &memory]).ok()?.command
            else {
                return None;
            };
            Some((run.most_cpu_per_container?, run.most_memory_per_container?))
        };
        assert_eq!(parse("32", "128Gi"), Some((32_000, 128 << 30)));
        assert_eq!(parse("500m", "1000"), Some((500, 1_000)));
        assert_eq!((parse("0", "1Gi"), parse("1", "much"), parse("-1", "1Gi")), (None, None, None));
    }

    #[test]
    fn a_header_that_cannot_carry_the_tenant_is_refused() {
        let parse =
            |name: &str| Args::try_parse_from(["homeostat", "run", "--prometheus-tenant-header", name]);
        assert!(parse("X-Scope-OrgID").is_ok());
        for name in ["Authorization", "X Scope", ""] {
            let told = parse(name).unwrap_err().to_string();
            assert!(told.contains("such as X-Scope-OrgID"), "{told}");
        }
    }

    #[test]
    fn an_address_of_pages_with_credentials_or_another_scheme_is_refused() {
        let parse = |url: &str| Args::try_parse_from(["homeostat", "run", "--pages-url", url]);
        assert!(parse("https://homeostat.example.org").is_ok());
        for (url, told) in
            [("https://a:b@example.org", "user or a password"), ("ftp://example.org", "http://")]
        {
            assert!(parse(url).unwrap_err().to_string().contains(told), "{url}");
        }
    }
}
