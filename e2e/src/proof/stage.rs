//! The stage of the proof: etcd, a real kube-apiserver with its audit log, the controllers, Homeostat's rights and
//! admission policies from its chart, and pods that run nowhere.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::api::{Api, Patch, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::audit::{AuditLog, Entry};
use super::error::ProofError;
use super::kubelet::Kubelet;
use super::objects::{self, NODE, create, writes};
use crate::cluster::{Cluster, KeepOnPanic, Options};
use crate::demo::platform::run;

/// Namespace that Homeostat would run in.
pub const HOME: &str = "homeostat-system";
/// Nodes that can be closed: of so many, two may be at once.
pub const NODES: usize = 20;
/// Long enough for everything that takes seconds.
const SOON: Duration = Duration::from_mins(1);
/// Actions whose rights the chart grants only when they are asked for.
const RIGHTS: [&str; 10] = [
    "scaleUp",
    "scaleDown",
    "driveBounds",
    "rollBack",
    "cordon",
    "uncordon",
    "suspend",
    "resume",
    "retryJob",
    "resizePod",
];
/// What the chart is rendered for: the API server of the test cluster.
const VERSION: &str = "1.35.4";
/// Kinds of the chart that are not needed here: nothing runs inside.
const LEFT_OUT: [&str; 5] = ["Deployment", "Job", "Service", "PodDisruptionBudget", "NetworkPolicy"];

/// The stage.
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    /// All rights.
    pub client: Client,
    /// Homeostat's own rights.
    pub upstream: Client,
    /// Where results and logs go.
    pub out: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Of Homeostat's account.
    token: String,
    log: Mutex<AuditLog>,
    _kubelet: Kubelet,
    _kept: KeepOnPanic,
}

impl Stage {
    /// Starts the cluster `name`, or uses the one that runs, and puts everything on it.
    pub async fn up(name: &str, root: &Path, program: Option<PathBuf>) -> Result<Self, ProofError> {
        let options = Options { control_plane_only: true, program: program.clone(), ..Options::default() };
        let cluster = Cluster::up(name, &options).await?;
        let client = cluster.client().await?;
        install(&cluster, root).await?;
        populate(&client).await?;
        let token = token(&client).await?;
        let upstream = connect(&cluster, None, Some(&token)).await?;
        let out = std::path::absolute(root.join("target/proof")).map_err(ProofError::io("find", root))?;
        std::fs::create_dir_all(&out).map_err(ProofError::io("create", &out))?;
        let program = match program {
            Some(program) => program,
            None => crate::program::path().map_err(ProofError::io("find", Path::new("this program")))?,
        };
        let log = Mutex::new(AuditLog::new(&cluster.layout().audit_log()));
        let kubelet = Kubelet::start(client.clone());
        let kept = cluster.keep_on_panic();
        Ok(Self { cluster, client, upstream, out, program, token, log, _kubelet: kubelet, _kept: kept })
    }

    /// Clients of another API server of the cluster at this address: with all rights, and with Homeostat's own.
    pub async fn clients_at(&self, address: SocketAddr) -> Result<(Client, Client), ProofError> {
        let all = connect(&self.cluster, Some(address), None).await?;
        Ok((all, connect(&self.cluster, Some(address), Some(&self.token)).await?))
    }

    /// What Homeostat changed and `wanted` chooses, by the API server's audit log.
    pub fn audited(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, ProofError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.read()?.iter().filter(|entry| entry.sure && wanted(entry)).cloned().collect())
    }

    /// The requests of which nobody can say whether they were carried out.
    pub fn unsure(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, ProofError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.read()?.iter().filter(|entry| !entry.sure && wanted(entry)).cloned().collect())
    }

    /// A namespace with a tenant of its own.
    pub async fn namespace(&self, name: &str) -> Result<(), ProofError> {
        self.namespace_of(name, &objects::tenant(name, name)).await
    }

    /// A namespace of this tenant.
    pub async fn namespace_of(&self, name: &str, tenant: &Value) -> Result<(), ProofError> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(&self.client, None, &namespace).await?;
        create(&self.client, None, tenant).await?;
        // Pods are admitted only when the account is there that they get by default.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        until("the default account of a namespace", SOON, || async {
            accounts.get_opt("default").await.ok().flatten().map(drop)
        })
        .await
    }

    /// Takes a namespace and its tenant away, without waiting for the end.
    pub async fn forget(&self, name: &str) {
        let params = kube::api::DeleteParams::background();
        let tenants: Api<homeostat_crds::v1alpha1::Tenant> = Api::all(self.client.clone());
        let _gone = tenants.delete(name, &params).await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let _going = namespaces.delete(name, &params).await;
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<SocketAddr, ProofError> {
    let here = Path::new("a free port");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(ProofError::io("find", here))?;
    listener.local_addr().map_err(ProofError::io("find", here))
}

/// Waits until `condition` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<T, ProofError> {
    let end = tokio::time::Instant::now() + limit;
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        if tokio::time::Instant::now() > end {
            return Err(ProofError::Timeout { what: what.to_owned(), limit });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The chart's definitions, rights and admission policies, with every action granted.
async fn install(cluster: &Cluster, root: &Path) -> Result<(), ProofError> {
    let client = cluster.client().await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}});
    create(&client, None, &namespace).await?;
    let mut helm = cluster.helm()?;
    helm.args(["template", "homeostat"]).arg(root.join("charts/homeostat")).args([
        "--namespace",
        HOME,
        "--kube-version",
        VERSION,
    ]);
    for right in RIGHTS {
        helm.args(["--set", &format!("actions.{right}=true")]);
    }
    // A kind of others that a test defines.
    helm.args([
        "--set",
        "scaleTargets[0].apiGroup=example.dev",
        "--set",
        "scaleTargets[0].resource=webfarms",
    ]);
    let rendered = run(helm, None).await?;
    let kept: Vec<&str> = rendered
        .split("\n---")
        .filter(|part| {
            let kind = part.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default().trim();
            !kind.is_empty() && !LEFT_OUT.contains(&kind)
        })
        .collect();
    let mut kubectl = cluster.kubectl();
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--filename", "-"]);
    run(kubectl, Some(&kept.join("\n---"))).await?;
    let mut kubectl = cluster.kubectl();
    kubectl.args(["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    run(kubectl, None).await?;
    Ok(())
}

async fn populate(client: &Client) -> Result<(), ProofError> {
    // A definition is established a moment before its objects can be created.
    until("the ControlPlane", SOON, || async {
        create(client, None, &objects::control_plane()).await.ok()?;
        create(client, None, &objects::tenant("platform", HOME)).await.ok()
    })
    .await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let names = (0..NODES).map(node_name).chain([NODE.to_owned()]);
    for name in names {
        create(client, None, &objects::node(&name)).await?;
        let patch = Patch::Strategic(objects::node_status(false));
        nodes
            .patch_status(&name, &writes(), &patch)
            .await
            .map_err(ProofError::api("write a node's status"))?;
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), HOME);
    until("the accounts of Homeostat's namespace", SOON, || async {
        accounts.get_opt("default").await.ok().flatten().map(drop)
    })
    .await?;
    // Where Homeostat itself runs must be known before a node is closed.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "homeostat-0"},
        "spec": {
            "nodeName": NODE, "automountServiceAccountToken": false,
            "containers": [{"name": "homeostat", "image": "homeostat"}],
        },
    });
    create(client, Some(HOME), &pod).await
}

/// Name of a node that can be closed.
pub fn node_name(number: usize) -> String {
    format!("node-{number:03}")
}

/// A token of Homeostat's service account.
async fn token(client: &Client) -> Result<String, ProofError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), HOME);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(86_400), ..TokenRequestSpec::default() }),
        ..TokenRequest::default()
    };
    let answer: TokenRequest = accounts
        .create_subresource("token", "homeostat", &PostParams::default(), &request)
        .await
        .map_err(ProofError::api("give a token to Homeostat's account"))?;
    answer
        .status
        .and_then(|status| status.token)
        .ok_or_else(|| ProofError::Broken("the API server gave no token".to_owned()))
}

/// A client that repeats nothing by itself: of the API server at `address`, or the cluster's first one; with the rights of
/// a token, or all of them.
async fn connect(
    cluster: &Cluster,
    address: Option<SocketAddr>,
    token: Option<&str>,
) -> Result<Client, ProofError> {
    let broken = |error: kube::config::KubeconfigError| ProofError::Broken(error.to_string());
    let path = cluster.kubeconfig_path();
    let file = Kubeconfig::read_from(&path).map_err(broken)?;
    let mut config =
        Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(broken)?;
    if let Some(address) = address {
        let url = format!("https://{address}").parse::<http::Uri>();
        config.cluster_url = url.map_err(|error| ProofError::Broken(format!("{address}: {error}")))?;
    }
    if let Some(token) = token {
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
    }
    config.default_retry = false;
    config.read_timeout = None;
    Client::try_from(config).map_err(ProofError::api("connect to the API server"))
}
