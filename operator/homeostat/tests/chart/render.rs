//! helm, and what it renders.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies two folders deep")
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The helm on `PATH`, else the one that was built into the cache.
fn helm() -> &'static str {
    static HELM: OnceLock<String> = OnceLock::new();
    HELM.get_or_init(|| {
        let tool = Command::new(root().join("scripts/tool")).args(["--no-build", "helm"]).output().unwrap();
        assert!(tool.status.success(), "{}", String::from_utf8_lossy(&tool.stderr));
        String::from_utf8(tool.stdout).unwrap().trim().to_owned()
    })
}

/// Renders the chart with further arguments; `Err` is what helm said.
pub fn try_render(arguments: &[&str]) -> Result<String, String> {
    try_render_as("homeostat", arguments)
}

/// The same for a release of another name.
pub fn try_render_as(release: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(helm())
        .args(["template", release])
        .arg(root().join("charts/homeostat"))
        .args(["--namespace", "homeostat-system", "--kube-version", "1.35.0"])
        .args(["--api-versions", "monitoring.coreos.com/v1"])
        .args(arguments)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The objects that the chart renders with these `--set` values. Rendered once per set of values.
pub fn render(set: &[&str]) -> Vec<Value> {
    static RENDERED: Mutex<BTreeMap<String, Vec<Value>>> = Mutex::new(BTreeMap::new());
    let key = set.join(" ");
    let known = RENDERED.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    known.unwrap_or_else(|| {
        let arguments: Vec<&str> = set.iter().flat_map(|value| ["--set", value]).collect();
        let rendered = objects(&try_render(&arguments).unwrap_or_else(|error| panic!("{set:?}: {error}")));
        RENDERED.lock().unwrap_or_else(PoisonError::into_inner).insert(key, rendered.clone());
        rendered
    })
}

/// The objects of a manifest.
pub fn objects(manifest: &str) -> Vec<Value> {
    let objects: Vec<Value> = manifest
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
        .filter(|object: &Value| !object.is_null())
        .collect();
    assert!(objects.iter().all(|object| object["kind"].is_string()), "every object has a kind");
    objects
}

/// Objects of one kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The object of this kind and name.
pub fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    of_kind(objects, kind)
        .into_iter()
        .find(|object| object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Sets of values that people use; every rule about rendered objects holds for each.
pub const SETS: [&[&str]; 6] = [
    &[],
    &["replicas=3", "priorityClassName=system-cluster-critical", "imagePullSecrets[0].name=registry"],
    &["actions.evictPod=false", "actions.rollingRestart=false", "rbac.aggregate=false", "crds.enabled=false"],
    &[
        "serviceMonitor.enabled=true",
        "prometheusRule.enabled=true",
        "dashboard.enabled=true",
        "networkPolicy.enabled=true",
        "trustedForwarders={10.0.0.0/8,fd00::1}",
        "notify.secrets={hooks,chat.example}",
    ],
    &[
        "actions.scaleUp=true",
        "actions.scaleDown=true",
        "actions.driveBounds=true",
        "actions.rollBack=true",
        "actions.cordon=true",
        "actions.uncordon=true",
        "actions.suspend=true",
        "actions.resume=true",
        "actions.retryJob=true",
        "actions.createJob=true",
        "actions.resizePod=true",
    ],
    &["rbac.create=false", "serviceAccount.create=false", "controlPlane.create=false", "runAsUser=null"],
];
