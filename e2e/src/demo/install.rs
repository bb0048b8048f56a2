//! Homeostat on the cluster: installed through its chart as a user does, told what it may do by the
//! demo's own resources, and removed again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use homeostat_crds::v1alpha1::ControlPlane;
use homeostat_crds::{ConditionType, conditions};
use kube::Api;
use tokio::time::Instant;

use super::DemoError;
use super::platform::{Platform, run};

/// Namespace that Homeostat runs in.
pub const NAMESPACE: &str = "homeostat-system";
/// Label of its pods.
pub const LABEL: &str = "app.kubernetes.io/name=homeostat";
/// Name of the release, and by it of the Service.
const RELEASE: &str = "homeostat";
/// Where the recorded guard inputs are, inside the container.
pub const RECORD: &str = "/record/guards.jsonl";

const WARM: Duration = Duration::from_secs(90);

/// The demo's own files.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
    /// Where the Tenant and the chart's values are.
    folder: &'static str,
}

impl Files {
    /// Of the clone at `root`.
    pub fn of(root: &Path) -> Self {
        Self { root: root.to_owned(), folder: "e2e/demo" }
    }

    /// With the Tenant and the chart's values of the fault catalogue, which allow more actions.
    pub fn of_catalogue(root: &Path) -> Self {
        Self { root: root.to_owned(), folder: "e2e/scenarios" }
    }

    fn read(&self, path: &str) -> Result<String, DemoError> {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).map_err(DemoError::io("read", &path))
    }

    /// Raises level, budgets and the rest explicitly.
    pub fn tenant(&self) -> Result<String, DemoError> {
        self.read(&format!("{}/tenant.yaml", self.folder))
    }

    /// Raises warm-up and ceilings explicitly.
    pub fn control_plane(&self) -> Result<String, DemoError> {
        self.read(&format!("{}/control-plane.yaml", self.folder))
    }

    /// The address that telemetry is sent to.
    fn collector(&self) -> Result<String, DemoError> {
        self.read("e2e/demo/collector.yaml")
    }

    /// The same address with nobody behind it.
    pub fn no_collector(&self) -> Result<String, DemoError> {
        self.read("e2e/demo/no-collector.yaml")
    }

    /// At most ten lines per service.
    fn workloads(&self) -> Result<String, DemoError> {
        self.read("examples/food-delivery/manifests/workloads.yaml")
    }

    fn values(&self) -> PathBuf {
        self.root.join(self.folder).join("values.yaml")
    }

    fn chart(&self) -> PathBuf {
        self.root.join("charts/homeostat")
    }
}

/// Installs the chart and the demo's Tenant and `ControlPlane`, before the application is there.
pub async fn install(platform: &Platform, files: &Files, image: &str) -> Result<(), DemoError> {
    let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let mut helm = platform.helm()?;
    helm.args(["upgrade", "--install", RELEASE])
        .arg(files.chart())
        .args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s", "--values"])
        .arg(files.values())
        .args(["--set-string", &format!("image.repository={repository},image.tag={tag}")]);
    run(helm, None).await?;
    platform.apply(&files.control_plane()?).await?;
    platform.apply(&files.tenant()?).await?;
    platform.apply(&files.collector()?).await
}

/// Puts the application's services under control.
pub async fn take_control(platform: &Platform, files: &Files) -> Result<(), DemoError> {
    platform.apply(&files.workloads()?).await
}

/// Waits until Homeostat says that its warm-up is over.
pub async fn warmed_up(platform: &Platform) -> Result<(), DemoError> {
    let api: Api<ControlPlane> = Api::all(platform.client().clone());
    let end = Instant::now() + WARM;
    loop {
        let found = api.get_opt("default").await.map_err(DemoError::api("read the ControlPlane"))?;
        let status = found.and_then(|plane| plane.status).unwrap_or_default();
        if conditions::is_true(&status.conditions, ConditionType::WarmedUp) {
            return Ok(());
        }
        if Instant::now() > end {
            let what = "Homeostat's warm-up (condition WarmedUp of the ControlPlane)".to_owned();
            return Err(DemoError::Timeout { what, limit: WARM });
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Removes Homeostat; harmless when it is not there. Its resource definitions stay.
pub async fn uninstall(platform: &Platform) -> Result<(), DemoError> {
    let mut helm = platform.helm()?;
    helm.args(["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait"]);
    run(helm, None).await?;
    let mut kubectl = platform.kubectl();
    kubectl.args(["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=90s"]);
    run(kubectl, None).await.map(drop)
}
