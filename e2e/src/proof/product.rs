//! The shipped binary as processes outside of the cluster, and workloads that fall ill all the time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::task::AbortHandle;

use super::error::ProofError;
use super::faults::Rules;
use super::kubelet;
use super::objects;
use super::plans;
use super::process::{Process, Victim};
use super::proxy::{Manners, OtherLease, Proxy};
use super::stage::{HOME, Stage, free_port, until};
use crate::cluster::config::HOMEOSTAT;

/// It ends in its own order within this time.
const CLOSED: Duration = Duration::from_secs(30);
/// Enters the cgroup of the first argument and goes on as the program that the others name.
const JOIN: &str = r#"echo $$ > "$1" && shift && exec "$@""#;

/// What a process of the shipped binary is started with.
pub struct Start {
    /// The binary, of this version or an earlier one.
    pub binary: PathBuf,
    /// Its name in the Lease and, as `proof/NAME`, in the API server's audit log.
    pub name: String,
    /// The namespaces that it watches, with commas between them; all of them without.
    pub namespaces: Option<String>,
    /// How the names of its log and of its kubeconfig begin.
    pub files: String,
    /// Folder of its record of decisions; what is in it already is gone on with.
    pub record: PathBuf,
    /// Another Lease than the one of the product: it is one of several that lead side by side.
    pub lease: Option<String>,
    /// The `cgroup.procs` of what its memory is limited by.
    pub memory: Option<PathBuf>,
}

/// One process of the shipped binary.
pub struct Product {
    /// Its name in the Lease and, as `proof/NAME`, in the API server's audit log.
    pub name: String,
    /// Freezes and kills it.
    pub victim: Arc<Victim>,
    /// Where it serves `/readyz`.
    pub http: SocketAddr,
    /// What it printed.
    pub log: PathBuf,
    /// Folder of its record of decisions.
    record: PathBuf,
    process: Process,
    proxy: Proxy,
}

impl Product {
    /// Starts `homeostat run` beside this program, watching one namespace, with a new record of decisions; with `lease` it is
    /// one of several that lead side by side, each by a Lease of its own.
    pub async fn start(
        stage: &Stage,
        name: &str,
        namespace: &str,
        lease: Option<&str>,
    ) -> Result<Self, ProofError> {
        let files = format!("{namespace}-{name}");
        let record = stage.out.join(format!("{files}.record"));
        let _before = std::fs::remove_dir_all(&record);
        let start = Start {
            binary: beside(&stage.program)?,
            name: name.to_owned(),
            namespaces: Some(namespace.to_owned()),
            files,
            record,
            lease: lease.map(str::to_owned),
            memory: None,
        };
        Self::begin(stage, start).await
    }

    /// Starts `homeostat run` of any version.
    pub async fn begin(stage: &Stage, start: Start) -> Result<Self, ProofError> {
        let Start { binary, name, namespaces, files, record, lease, memory } = start;
        let victim = Arc::new(Victim::default());
        let lease = lease.map(|name| OtherLease { name, client: stage.client.clone() });
        let manners = Manners { agent: Some(agent(&name)), lease, ..Manners::default() };
        let proxy =
            Proxy::start(stage.upstream.clone(), Arc::clone(&victim), Rules::default(), manners).await?;
        let kubeconfig = proxy.kubeconfig(stage.out.join(format!("{files}.kubeconfig")))?;
        let http = free_port()?;
        let (pages, otlp) = (http.to_string(), free_port()?.to_string());
        let log = stage.out.join(format!("{files}.log"));
        let _before = std::fs::remove_file(&log);
        let (identity, folder) = (name.clone(), record.clone());
        let mut process = Process::new(Arc::clone(&victim), log.clone(), move || {
            let mut command = match &memory {
                None => std::process::Command::new(&binary),
                Some(group) => {
                    let mut shell = std::process::Command::new("sh");
                    shell.args(["-c", JOIN, "sh"]).arg(group).arg(&binary);
                    shell
                }
            };
            command
                .arg("run")
                .args(["--http", &pages, "--otlp-grpc", &otlp, "--namespace", HOME])
                .args(["--identity", &identity])
                .arg("--audit-dir")
                .arg(&folder)
                .env("KUBECONFIG", &kubeconfig);
            if let Some(namespaces) = &namespaces {
                command.args(["--namespaces", namespaces]);
            }
            command
        });
        process.keep()?;
        Ok(Self { name, victim, http, log, record, process, proxy })
    }

    /// Starts it again when it ended.
    pub fn keep(&mut self) -> Result<(), ProofError> {
        self.process.keep()
    }

    /// How it ended by itself; nothing while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// How many pages of lists it asked for after their first ones: with any, it was in the middle of a long one.
    pub fn further_pages(&self) -> u32 {
        self.proxy.further_pages()
    }

    /// Kills it for good.
    pub async fn end(self) {
        self.process.end().await;
    }

    /// Has it end in its own order.
    pub async fn close(self) {
        self.process.close(CLOSED).await;
    }

    /// Ends it in its own order and has the shipped command compare its record with the API server's audit log; what does not
    /// match, in the command's words, and nothing when all of it does. Of all that is Homeostat to the API server, only this
    /// process may have run since it was started.
    pub async fn matched(self, stage: &Stage) -> Result<String, ProofError> {
        let Self { process, record, .. } = self;
        process.close(CLOSED).await;
        let binary = beside(&stage.program)?;
        let mut command = tokio::process::Command::new(&binary);
        command.args(["audit", "match", "--user", HOMEOSTAT]).arg("--record").arg(&record);
        command.arg("--api-log").arg(stage.cluster.layout().audit_log());
        let output = command.output().await.map_err(ProofError::io("start", &binary))?;
        if output.status.success() {
            return Ok(String::new());
        }
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned())
    }
}

/// How requests of the process of this name call themselves.
pub fn agent(name: &str) -> String {
    format!("proof/{name}")
}

/// The binary in the folder of this program, or one above it (test programs lie one deeper).
pub fn beside(program: &Path) -> Result<PathBuf, ProofError> {
    let folders = program.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("homeostat")).find(|path| path.is_file());
    found.ok_or_else(|| {
        let near = program.display();
        ProofError::Broken(format!("there is no `homeostat` beside {near}; run `cargo build --workspace`"))
    })
}

/// Workloads that fall ill one after the other until this is dropped.
pub struct Illnesses {
    task: AbortHandle,
}

impl Illnesses {
    /// Puts so many workloads into a namespace and begins, with `pause` between two illnesses. Each falls ill again only
    /// after its incident is over.
    pub async fn begin(
        stage: &Stage,
        namespace: &str,
        workloads: usize,
        pause: Duration,
    ) -> Result<Self, ProofError> {
        stage.namespace(namespace).await?;
        for number in 0..workloads {
            let name = name_of(number);
            objects::create(&stage.client, Some(namespace), &objects::deployment(&name, 2)).await?;
            objects::create(&stage.client, Some(namespace), &objects::workload(&name)).await?;
        }
        let pods: Api<Pod> = plans::namespaced(&stage.client, namespace);
        until("pods that serve", Duration::from_mins(2), || async {
            let all = pods.list(&ListParams::default()).await.ok()?.items;
            (all.iter().filter(|pod| kubelet::serves(pod)).count() >= 2 * workloads).then_some(())
        })
        .await?;
        let task = tokio::spawn(fall_ill(stage.client.clone(), namespace.to_owned(), workloads, pause))
            .abort_handle();
        Ok(Self { task })
    }
}

/// Somebody mends everything that is ill. What the product was kept from helping is handed over after some tries, and
/// would stay ill otherwise.
pub async fn mend(stage: &Stage, namespace: &str) -> Result<(), ProofError> {
    let pods: Api<Pod> = plans::namespaced(&stage.client, namespace);
    let all = pods.list(&ListParams::default()).await.map_err(ProofError::api("list pods"))?.items;
    for pod in all.iter().filter(|pod| kubelet::waits(pod)) {
        let _gone_meanwhile = kubelet::set(&pods, &pod.name_any(), &kubelet::ready()).await;
    }
    Ok(())
}

impl Drop for Illnesses {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn name_of(number: usize) -> String {
    format!("order-{number:02}")
}

async fn fall_ill(client: Client, namespace: String, workloads: usize, pause: Duration) {
    let pods: Api<Pod> = plans::namespaced(&client, &namespace);
    for number in (0..workloads).cycle() {
        tokio::time::sleep(pause).await;
        let params = ListParams::default().labels(&format!("app={}", name_of(number)));
        let Ok(found) = pods.list(&params).await else { continue };
        // One at a time, and only who is well.
        if found.items.len() == 2
            && found.items.iter().all(kubelet::serves)
            && let Some(pod) = found.items.first()
        {
            let _gone_meanwhile = kubelet::set(&pods, &pod.name_any(), &kubelet::crashed()).await;
        }
    }
}
