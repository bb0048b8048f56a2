//! Keeping what explains a failure: logs of components and pods, objects and events.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Cluster;
use super::error::ClusterError;
use super::layout::Layout;
use super::state::{State, read_json};
use super::tools::output;

const OBJECTS: &str = "nodes,pods,deployments,replicasets,services,endpointslices,persistentvolumeclaims";

impl Cluster {
    /// Copies the logs of components and pods, the audit log, objects and events to `folder`.
    pub async fn collect_logs(&self, folder: &Path) -> Result<(), ClusterError> {
        copy_files(self.layout(), folder)?;
        for (file, what) in [("events.txt", "events"), ("objects.yaml", OBJECTS)] {
            let mut command = self.kubectl();
            let format = if file.ends_with("yaml") { "yaml" } else { "wide" };
            command.args(["get", what, "--all-namespaces", "--request-timeout=5s", "--output", format]);
            // The API server may be the very thing that is broken.
            let text = match tokio::time::timeout(Duration::from_secs(10), output(&mut command)).await {
                Ok(Ok(text)) => text,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer within 10 s".to_owned(),
            };
            let path = folder.join(file);
            fs::write(&path, text).map_err(ClusterError::file("write", &path))?;
        }
        Ok(())
    }
}

/// Keeps what explains a failure in `target/e2e/NAME` of this repository when the test that holds it panics.
#[derive(Debug)]
pub struct KeepOnPanic(Cluster);

impl Drop for KeepOnPanic {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (cluster, folder) = (self.0.clone(), kept_in(self.0.layout()));
        // A test's own runtime may not be blocked on.
        let kept = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done = runtime.map(|runtime| runtime.block_on(cluster.collect_logs(&folder)));
            matches!(done, Ok(Ok(()))).then_some(folder)
        });
        match kept.join() {
            Ok(Some(folder)) => eprintln!("logs are kept in {}", folder.display()),
            Ok(None) | Err(_) => eprintln!("logs of cluster {} could not be kept", self.0.layout().name()),
        }
    }
}

impl Cluster {
    /// For tests: logs, events and objects are kept when the caller panics.
    pub fn keep_on_panic(&self) -> KeepOnPanic {
        KeepOnPanic(self.clone())
    }
}

fn kept_in(layout: &Layout) -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).join("target/e2e").join(layout.name())
}

/// Keeps everything of a cluster that did not start in `target/e2e/NAME` of this repository.
pub(super) async fn keep(layout: &Layout) -> Result<PathBuf, ClusterError> {
    let folder = kept_in(layout);
    match read_json::<State>(&layout.state_file()) {
        Ok(Some(state)) if state.api_port != 0 => {
            Cluster::new(layout.clone(), state).collect_logs(&folder).await?;
        }
        _ => copy_files(layout, &folder)?,
    }
    Ok(folder)
}

/// Copies component logs, pods' logs and configuration; works without a running cluster.
fn copy_files(layout: &Layout, folder: &Path) -> Result<(), ClusterError> {
    copy(&layout.logs(), &folder.join("components"))?;
    copy(&layout.config(), &folder.join("config"))?;
    copy(&layout.var_log().join("pods"), &folder.join("pods"))
}

fn copy(from: &Path, to: &Path) -> Result<(), ClusterError> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to).map_err(ClusterError::file("create", to))?;
    for entry in fs::read_dir(from).map_err(ClusterError::file("list", from))?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else if source.is_file() {
            fs::copy(&source, &target).map_err(ClusterError::file("copy", &source))?;
        }
    }
    Ok(())
}
