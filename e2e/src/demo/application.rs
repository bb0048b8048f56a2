//! The sample application on the cluster: put there for each column, and taken away after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use tokio::process::Command;
use tokio::time::Instant;

use super::DemoError;
use super::mode::Column;
use super::platform::Platform;
use crate::truth::Broken;

/// Namespace of the application.
pub const NAMESPACE: &str = "food-delivery";
/// Namespace of the payment provider.
pub const OUTSIDE: &str = "outside";
/// Namespace of the address that telemetry is sent to.
pub const TELEMETRY: &str = "telemetry";
/// The services that are broken, in turn.
pub const SERVICES: [&str; 5] = ["order", "consumer", "kitchen", "accounting", "notification"];
/// What fault 8 breaks.
pub const PROVIDER: &str = "payment-provider";
/// The entrance.
pub const GATEWAY: &str = "gateway";

/// User that the services run as on our own node, where their folders can be prepared.
const USER: u32 = 10001;
/// Where pods find the data, on the node.
const DATA: &str = "/var/lib/food-delivery";

const GONE: Duration = Duration::from_secs(90);
const READY: Duration = Duration::from_mins(2);
const SECOND: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(5);

/// Settings of the application's OpenTelemetry SDK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Telemetry {
    /// Exports often, so that faults are seen early.
    #[default]
    Tuned,
    /// As the SDK comes.
    Stock,
}

/// Namespace of each service.
pub fn namespaces() -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        SERVICES.iter().map(|service| ((*service).to_owned(), NAMESPACE.to_owned())).collect();
    all.insert(GATEWAY.to_owned(), NAMESPACE.to_owned());
    all.insert(PROVIDER.to_owned(), OUTSIDE.to_owned());
    all
}

/// Removes whatever an earlier column left, and waits until it is gone.
pub async fn remove(platform: &Platform) -> Result<(), DemoError> {
    let client = platform.client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    for name in [NAMESPACE, OUTSIDE, TELEMETRY] {
        // Nobody waits for these processes to end in order any more.
        let pods: Api<Pod> = Api::namespaced(client.clone(), name);
        let at_once = DeleteParams::default().grace_period(0);
        let gone = pods.delete_collection(&at_once, &ListParams::default()).await;
        ignore_missing(gone, "delete pods")?;
        ignore_missing(namespaces.delete(name, &DeleteParams::default()).await, "delete a namespace")?;
    }
    for volume in list(&volumes).await? {
        let name = volume.name_any();
        ignore_missing(volumes.delete(&name, &DeleteParams::default()).await, "delete a volume")?;
    }
    let end = Instant::now() + GONE;
    loop {
        let mut left = list(&volumes).await?.len();
        for name in [NAMESPACE, OUTSIDE, TELEMETRY] {
            let found = namespaces.get_opt(name).await.map_err(DemoError::api("look at namespaces"))?;
            left += usize::from(found.is_some());
        }
        if left == 0 {
            break;
        }
        if Instant::now() > end {
            return Err(DemoError::Timeout {
                what: "the removal of the application".to_owned(),
                limit: GONE,
            });
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    if let Some(folder) = platform.node_folder(DATA) {
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(())
}

async fn list(volumes: &Api<PersistentVolume>) -> Result<Vec<PersistentVolume>, DemoError> {
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/part-of={NAMESPACE}"));
    Ok(volumes.list(&ours).await.map_err(DemoError::api("list volumes"))?.items)
}

fn ignore_missing<T>(result: kube::Result<T>, action: &str) -> Result<(), DemoError> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(DemoError::api(action)(error)),
    }
}

/// Puts the application there and waits until every rollout is complete.
pub async fn deploy(
    platform: &Platform,
    column: Column,
    program: &Path,
    image: &str,
    telemetry: Telemetry,
) -> Result<(), DemoError> {
    let mut manifests = Command::new(program);
    manifests.arg("manifests").args(["--image", image]);
    manifests.args(["--probes", if column == Column::Plain { "none" } else { "sensible" }]);
    if telemetry == Telemetry::Stock {
        manifests.args(["--telemetry", "stock"]);
    }
    if let Some(folder) = platform.node_folder(DATA) {
        prepare(&folder)?;
    } else {
        // Folders on somebody else's node belong to root.
        manifests.args(["--run-as-user", "0"]);
        manifests.args(["--data-root", &format!("{DATA}-{}", crate::truth::At::now().0)]);
    }
    let output = manifests.output().await.map_err(DemoError::io("run", program))?;
    if !output.status.success() {
        return Err(DemoError::Command {
            command: format!("{} manifests", program.display()),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let (pods, before) = pods_last(&String::from_utf8_lossy(&output.stdout));
    platform.apply(&before).await?;
    // The API server tells whole seconds: only then is it known that pods began with these ConfigMaps.
    tokio::time::sleep(SECOND).await;
    volumes_bound(platform.client()).await?;
    platform.apply(&pods).await?;
    let end = Instant::now() + READY;
    loop {
        let open = incomplete(platform.client()).await?;
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            let what = format!("the rollout of {}", open.join(", "));
            return Err(DemoError::Timeout { what, limit: READY });
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// A pod whose volume is not bound yet waits for the scheduler's next look at it, ten seconds and more. Where volumes are
/// bound only for a pod, nothing is gained by waiting long.
async fn volumes_bound(client: &Client) -> Result<(), DemoError> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), NAMESPACE);
    let end = Instant::now() + BOUND;
    loop {
        let all = claims.list(&ListParams::default()).await.map_err(DemoError::api("list volume claims"))?;
        let bound = |claim: &PersistentVolumeClaim| {
            claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"))
        };
        if all.iter().all(bound) || Instant::now() > end {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Deployments, and all that must be there before them, each as one text of YAML documents.
fn pods_last(manifests: &str) -> (String, String) {
    let documents = manifests.split("\n---\n").filter(|document| !document.trim().is_empty());
    let (pods, before): (Vec<&str>, Vec<&str>) =
        documents.partition(|document| document.lines().any(|line| line == "kind: Deployment"));
    (pods.join("\n---\n"), before.join("\n---\n"))
}

fn prepare(folder: &Path) -> Result<(), DemoError> {
    for service in SERVICES {
        let own: PathBuf = folder.join(service);
        std::fs::create_dir_all(&own).map_err(DemoError::io("create", &own))?;
        std::os::unix::fs::chown(&own, Some(USER), Some(USER)).map_err(DemoError::io("hand over", &own))?;
    }
    Ok(())
}

/// Deployments whose rollout is not complete.
pub async fn incomplete(client: &Client) -> Result<Vec<String>, DemoError> {
    let mut open = Vec::new();
    for namespace in [NAMESPACE, OUTSIDE] {
        let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let all = api.list(&ListParams::default()).await.map_err(DemoError::api("list deployments"))?;
        open.extend(all.iter().filter(|one| !complete(one)).map(ResourceExt::name_any));
    }
    Ok(open)
}

fn complete(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let Some(status) = &deployment.status else { return false };
    let generation = deployment.metadata.generation.unwrap_or(0);
    status.observed_generation.unwrap_or(0) >= generation
        && status.replicas.unwrap_or(0) == wanted
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
}

/// Addresses of a Service: cluster IP and the names that callers may use.
pub async fn broken(client: &Client, service: &str, namespace: &str) -> Result<Broken, DemoError> {
    let mut broken = Broken::new(service);
    for suffix in ["", ".svc", ".svc.cluster.local"] {
        broken.addresses.insert(format!("{service}.{namespace}{suffix}"));
    }
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    if let Some(found) = api.get_opt(service).await.map_err(DemoError::api("read a service"))? {
        broken.addresses.extend(found.spec.and_then(|spec| spec.cluster_ip));
    }
    Ok(broken)
}

/// Cluster IP and port of the gateway.
pub async fn gateway(client: &Client) -> Result<std::net::SocketAddr, DemoError> {
    let api: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let service = api.get(GATEWAY).await.map_err(DemoError::api("read the gateway's service"))?;
    let spec = service.spec.unwrap_or_default();
    let port = spec.ports.unwrap_or_default().first().map(|port| port.port);
    let address = spec.cluster_ip.and_then(|ip| ip.parse::<std::net::IpAddr>().ok());
    match (address, port.and_then(|port| u16::try_from(port).ok())) {
        (Some(ip), Some(port)) => Ok(std::net::SocketAddr::new(ip, port)),
        _ => {
            Err(DemoError::Broken("the gateway's Service has no address; is the cluster healthy?".to_owned()))
        }
    }
}
