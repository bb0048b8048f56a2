//! Faults of the node: its volumes, its processors, its kubelet.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::conditions::is_pod_running;
use kube::runtime::wait::await_condition;
use tokio::process::Command;

use super::container::{elsewhere, spin};
use crate::cluster::control::Request;
use crate::cluster::layout::PAUSE_IMAGE;
use crate::demo::DemoError;
use crate::demo::column::Stage;
use crate::demo::platform::{Platform, run};
use crate::truth::At;

/// Namespace, and name, of the neighbour.
pub const NEIGHBOUR: &str = "neighbour";
/// The service whose volume is small, so that it can be filled.
pub const SMALL: &str = "notification";
const VOLUME: &str = "/var/lib/food-delivery/notification";
const FILLER: &str = "filler";
/// A file system of its own below the volume's folder; it goes with the cluster's namespaces.
const SMALL_VOLUME: &str = r#"
umount -q "$0"
set -e
mkdir -p "$0"
truncate -s 256M /var/lib/small-volume
mkfs.ext4 -q -F /var/lib/small-volume
mount -o loop /var/lib/small-volume "$0"
rm -rf "$0/lost+found"
chmod 0777 "$0"
"#;
/// Busy loops of the neighbour, which asks for most of the node and has no limit.
const LOOPS: usize = 16;
const STARTS: Duration = Duration::from_secs(30);

/// Puts a small file system where the service's volume will be, inside the cluster's own mount namespace.
pub async fn small_volume(platform: &Platform) -> Result<(), DemoError> {
    let inner = platform.own().ok_or_else(elsewhere)?.first_process()?;
    let mut command = Command::new("nsenter");
    command.args(["--target", &inner.to_string(), "--mount", "--", "sh", "-c", SMALL_VOLUME, VOLUME]);
    run(command, None).await.map(drop)
}

/// The volume's folder as this program sees it: through the cluster's own root.
fn volume(stage: &Stage) -> Result<PathBuf, DemoError> {
    let cluster = stage.platform.own().ok_or_else(elsewhere)?;
    Ok(PathBuf::from(format!("/proc/{}/root{VOLUME}", cluster.first_process()?)))
}

/// Fills the service's volume.
pub fn fill(stage: &Stage) -> Result<At, DemoError> {
    let path = volume(stage)?.join(FILLER);
    let mut file = std::fs::File::create(&path).map_err(failed("create", &path))?;
    let at = At::now();
    let block = vec![0u8; 1 << 12];
    // The error is the aim: no space is left.
    while file.write_all(&block).is_ok() {}
    Ok(at)
}

/// Empties it again.
pub fn empty(stage: &Stage) -> Result<(), DemoError> {
    let path = volume(stage)?.join(FILLER);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// Starts a pod that asks for a large share of the processors and takes all it can get.
pub async fn neighbour(stage: &Stage) -> Result<At, DemoError> {
    let manifest = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {NEIGHBOUR} }}\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  \
         name: {NEIGHBOUR}\n  namespace: {NEIGHBOUR}\n  labels: {{ app.kubernetes.io/name: {NEIGHBOUR} }}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  automountServiceAccountToken: false\n  containers:\n    \
         - {{ name: busy, image: \"{PAUSE_IMAGE}\", imagePullPolicy: Never, resources: {{ requests: {{ cpu: 800m }} }} }}\n"
    );
    stage.platform.apply(&manifest).await?;
    let pods: Api<Pod> = Api::namespaced(stage.platform.client().clone(), NEIGHBOUR);
    let running = await_condition(pods.clone(), NEIGHBOUR, is_pod_running());
    let late = || DemoError::Timeout { what: "the start of the neighbour".to_owned(), limit: STARTS };
    tokio::time::timeout(STARTS, running)
        .await
        .map_err(|_| late())?
        .map_err(|error| DemoError::Broken(format!("the neighbour: {error}")))?;
    let pod = pods.get(NEIGHBOUR).await.map_err(|source| DemoError::Api {
        action: "read the neighbour".to_owned(),
        source: Box::new(source),
    })?;
    let uid = pod.metadata.uid.unwrap_or_default();
    let pid = stage.platform.own().ok_or_else(elsewhere)?.pid_of_container(&uid, "busy").await?;
    let at = At::now();
    spin(pid, LOOPS).await?;
    Ok(at)
}

/// Removes it.
pub async fn remove_neighbour(stage: &Stage) -> Result<(), DemoError> {
    let mut kubectl = stage.platform.kubectl();
    kubectl.args(["delete", "namespace", NEIGHBOUR, "--ignore-not-found", "--wait=true", "--timeout=90s"]);
    run(kubectl, None).await.map(drop)
}

/// Stops the node's kubelet; its pods go on.
pub fn stop_kubelet(stage: &Stage) -> Result<At, DemoError> {
    let cluster = stage.platform.own().ok_or_else(elsewhere)?;
    let at = At::now();
    cluster.control().ask(&Request::Stop("kubelet".to_owned()))?;
    Ok(at)
}

/// Starts it again.
pub fn start_kubelet(stage: &Stage) -> Result<(), DemoError> {
    let cluster = stage.platform.own().ok_or_else(elsewhere)?;
    cluster.control().ask(&Request::Resume("kubelet".to_owned()))?;
    Ok(())
}

fn failed(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> DemoError {
    let path = path.to_path_buf();
    move |source| DemoError::Io { action, path, source }
}
