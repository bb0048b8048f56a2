//! The pods that Prometheus asks, in a file that is kept up to date: distributions' builds have no discovery of pods.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::manifests::PORT;
use crate::cluster::Cluster;

/// Keeps the file until it is dropped.
pub struct Targets {
    task: JoinHandle<()>,
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where the file of a cluster is.
pub fn path(cluster: &Cluster) -> PathBuf {
    cluster.layout().config().join("targets.json")
}

/// Configuration of Prometheus: every running pod of the file, every 3 s.
pub fn prometheus(targets: &Path) -> String {
    let job = json!({
        "job_name": "pods", "scrape_interval": "3s", "scrape_timeout": "2s",
        "file_sd_configs": [{"files": [targets], "refresh_interval": "5s"}],
    });
    format!("{:#}\n", json!({"scrape_configs": [job]}))
}

impl Targets {
    /// Looks for the pods labelled `app=` once a second, in all namespaces.
    pub fn follow(client: Client, path: PathBuf, app: &'static str) -> Self {
        let pods: Api<Pod> = Api::all(client);
        let mut written = String::new();
        let task = tokio::spawn(async move {
            loop {
                // What cannot be listed or written now is so a second later.
                if let Ok(found) = pods.list(&ListParams::default().labels(&format!("app={app}"))).await {
                    let text = text(&found.items);
                    if text != written && write(&path, &text).is_ok() {
                        written = text;
                    }
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { task }
    }
}

/// Prometheus must never read half a file.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let whole = path.with_extension("new");
    std::fs::write(&whole, text)?;
    std::fs::rename(&whole, path)
}

fn text(pods: &[Pod]) -> String {
    let target = |pod: &Pod| {
        let status = pod.status.as_ref()?;
        let address = status.pod_ip.as_ref().filter(|_| status.phase.as_deref() == Some("Running"))?;
        Some(json!({
            "targets": [format!("{address}:{PORT}")],
            "labels": {"namespace": pod.namespace()?, "pod": pod.name_any()},
        }))
    };
    Value::from(pods.iter().filter_map(target).collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_pods_with_an_address_are_asked() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "plans-1", "namespace": "a"},
                "status": {"phase": phase, "podIP": "10.244.0.9"},
            }))
            .unwrap()
        };
        assert_eq!(text(&[pod("Pending")]), "[]");
        let said = text(&[pod("Running")]);
        assert!(said.contains("10.244.0.9:8080") && said.contains("\"namespace\":\"a\""), "{said}");
    }
}
