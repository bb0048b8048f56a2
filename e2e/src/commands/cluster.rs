//! `e2e cluster …`

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use homeostat_e2e::cluster::control::Request;
use homeostat_e2e::cluster::{Cluster, Options, forward, supervise};

use super::{Outcome, runtime};

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// The cluster's name; clusters of different names run side by side.
    #[arg(long, default_value = "homeostat", env = "HOMEOSTAT_CLUSTER")]
    pub name: String,
}

/// What to do with it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start it, or say that it runs.
    Up {
        #[command(flatten)]
        cluster: Named,
        /// Let etcd wait for the disk on every write.
        #[arg(long)]
        durable: bool,
    },
    /// Remove it and everything it made, also after a crash.
    Down {
        #[command(flatten)]
        cluster: Named,
    },
    /// Show its components.
    Status {
        #[command(flatten)]
        cluster: Named,
    },
    /// Print the path of its kubeconfig.
    Kubeconfig {
        #[command(flatten)]
        cluster: Named,
        /// Print the kubeconfig itself.
        #[arg(long)]
        raw: bool,
    },
    /// Run a command in its network, where pods and Services are reachable.
    Exec {
        #[command(flatten)]
        cluster: Named,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run kubectl on it.
    Kubectl {
        #[command(flatten)]
        cluster: Named,
        /// kubectl's arguments.
        #[arg(last = true, required = true)]
        arguments: Vec<String>,
    },
    /// Let a port on the host's loopback lead to an address inside, until the cluster ends.
    Forward {
        #[command(flatten)]
        cluster: Named,
        /// The address inside, such as 10.96.0.1:443.
        #[arg(long)]
        to: SocketAddr,
        /// The port outside; 0 chooses a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// End a component and leave it ended.
    Stop {
        #[command(flatten)]
        cluster: Named,
        /// Its name as `status` shows it.
        component: String,
    },
    /// Start a component that was stopped.
    Resume {
        #[command(flatten)]
        cluster: Named,
        /// Its name as `status` shows it.
        component: String,
    },
    /// Copy logs of components and pods, objects and events to a folder.
    Logs {
        #[command(flatten)]
        cluster: Named,
        /// The folder.
        #[arg(long)]
        to: PathBuf,
    },
    /// Pass connections on, both ends in the network that this runs in.
    #[command(hide = true)]
    Relay {
        /// Where to listen.
        #[arg(long)]
        from: SocketAddr,
        /// Where to pass connections on to.
        #[arg(long)]
        to: SocketAddr,
    },
    /// The process that creates the cluster's namespaces.
    #[command(hide = true)]
    Supervise {
        #[command(flatten)]
        cluster: Named,
    },
    /// The first process inside the cluster's namespaces.
    #[command(hide = true)]
    SuperviseInner {
        #[command(flatten)]
        cluster: Named,
    },
}

/// Runs one subcommand.
pub fn run(command: Command) -> Outcome {
    match command {
        Command::Supervise { cluster } => supervise::outer(&cluster.name)?,
        Command::SuperviseInner { cluster } => supervise::inner(&cluster.name)?,
        Command::Relay { from, to } => forward::relay(from, to)?,
        Command::Up { cluster, durable } => {
            let options = Options { durable, ..Options::default() };
            let cluster = runtime()?.block_on(Cluster::up(&cluster.name, &options))?;
            println!("export KUBECONFIG={}", cluster.kubeconfig_path().display());
            println!("export PATH={}:$PATH", cluster.tools().kubernetes.display());
        }
        Command::Down { cluster } => {
            let started = std::time::Instant::now();
            Cluster::remove(&cluster.name)?;
            println!("cluster {}: removed in {:.1} s", cluster.name, started.elapsed().as_secs_f64());
        }
        Command::Status { cluster } => status(&Cluster::attach(&cluster.name)?)?,
        Command::Kubeconfig { cluster, raw } => {
            let path = Cluster::attach(&cluster.name)?.kubeconfig_path();
            if raw {
                print!("{}", std::fs::read_to_string(path)?);
            } else {
                println!("{}", path.display());
            }
        }
        Command::Exec { cluster, command } => {
            let mut inside = Cluster::attach(&cluster.name)?.exec(&command[0])?;
            inside.args(&command[1..]);
            return Err(inside.as_std_mut().exec().into());
        }
        Command::Kubectl { cluster, arguments } => {
            let mut kubectl = Cluster::attach(&cluster.name)?.kubectl();
            return Err(kubectl.args(arguments).as_std_mut().exec().into());
        }
        Command::Forward { cluster, to, port } => {
            let port = Cluster::attach(&cluster.name)?.control().forward(to, port)?;
            println!("127.0.0.1:{port}");
        }
        Command::Stop { cluster, component } => {
            Cluster::attach(&cluster.name)?.control().ask(&Request::Stop(component))?;
        }
        Command::Resume { cluster, component } => {
            Cluster::attach(&cluster.name)?.control().ask(&Request::Resume(component))?;
        }
        Command::Logs { cluster, to } => {
            let cluster = Cluster::attach(&cluster.name)?;
            runtime()?.block_on(cluster.collect_logs(&to))?;
            println!("{}", to.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status(cluster: &Cluster) -> Result<(), Box<dyn std::error::Error>> {
    println!("{:<26}{:<10}{:>10}{:>10}  LAST EXIT", "COMPONENT", "STATE", "RESTARTS", "RSS MiB");
    let all = cluster.control().status()?;
    for one in &all {
        println!(
            "{:<26}{:<10}{:>10}{:>10}  {}",
            one.name,
            if one.pid.is_some() { "running" } else { "ended" },
            one.restarts,
            one.rss_bytes / (1024 * 1024),
            one.last_exit.as_deref().unwrap_or("-"),
        );
    }
    let sum: u64 = all.iter().map(|one| one.rss_bytes).sum();
    println!("{:<26}{:<10}{:>10}{:>10}", "", "", "", sum / (1024 * 1024));
    println!("kubeconfig: {}", cluster.kubeconfig_path().display());
    println!("network:    {}", cluster.netns_path()?.display());
    Ok(())
}
