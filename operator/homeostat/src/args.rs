//! Arguments of the binary.

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A self-managing AIOps control plane for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, about, propagate_version = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the control plane. Inside a cluster it uses the service account, outside the kubeconfig.
    Run(RunArgs),
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
    /// Let go of every node and run that Homeostat holds: cordons and suspensions with its mark.
    ReleaseHeld,
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
    /// Address of the OTLP gRPC receiver.
    #[arg(long, env = "HOMEOSTAT_OTLP_GRPC", default_value = "0.0.0.0:4317")]
    pub otlp_grpc: SocketAddr,
    /// Namespaces to watch, comma-separated; empty watches all.
    #[arg(long, env = "HOMEOSTAT_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Namespace that Homeostat runs in; nothing in it is ever a target.
    #[arg(long, env = "POD_NAMESPACE", default_value = "homeostat-system")]
    pub namespace: String,
    /// Name of this replica in the lease.
    #[arg(long, env = "POD_NAME", default_value = "homeostat")]
    pub identity: String,
    /// Write every judged guard input to this file, for `homeostat replay`.
    #[arg(long, env = "HOMEOSTAT_RECORD")]
    pub record: Option<PathBuf>,
    /// Collectors that may forward telemetry of pods (CIDR, comma-separated). Others speak for themselves only.
    #[arg(long, env = "HOMEOSTAT_TRUSTED_FORWARDERS", value_delimiter = ',')]
    pub trusted_forwarders: Vec<String>,
    /// Log filter, e.g. `info,homeostat=debug`.
    #[arg(long, env = "HOMEOSTAT_LOG", default_value = "info")]
    pub log: String,
    /// Seconds that running work gets after SIGTERM.
    #[arg(long, env = "HOMEOSTAT_DRAIN_SECONDS", default_value_t = 10)]
    pub drain_seconds: u64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
