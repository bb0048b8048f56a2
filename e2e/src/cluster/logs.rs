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

/// Keeps everything of a cluster that did not start in `target/e2e/NAME` of this repository.
pub(super) async fn keep(layout: &Layout) -> Result<PathBuf, ClusterError> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = crate_folder.parent().unwrap_or(crate_folder).join("target/e2e").join(layout.name());
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
