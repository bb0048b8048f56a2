//! The Kubernetes manifests, written by one function so that the variants differ only where they
//! say so. The rendered copies in `manifests/` are compared with it by a test.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::config::Config;
use crate::roles::Role;

const INSIDE: &str = "food-delivery";
const OUTSIDE: &str = "outside";
const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 8081;

/// What may differ between installations.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Health probes of the Deployments
    #[arg(long, value_enum, default_value = "none")]
    probes: Probes,
    /// SDK settings: `tuned` sends within 0.2 s, `stock` leaves every default
    #[arg(long, value_enum, default_value = "tuned")]
    telemetry: Settings,
    /// Image of every service
    #[arg(long, default_value = "food-delivery:dev")]
    image: String,
    /// Where telemetry goes (OTLP over gRPC); empty switches it off
    #[arg(long, default_value = "http://collector.telemetry:4317")]
    otlp_endpoint: String,
    /// Folder on the node with one subfolder per service, writable by --run-as-user
    #[arg(long, default_value = "/var/lib/food-delivery")]
    data_root: String,
    /// User and group that the services run as; 0 needs no preparation of the folders
    #[arg(long, default_value_t = 10001)]
    run_as_user: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Probes {
    None,
    Sensible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Settings {
    Tuned,
    Stock,
}

/// Prints all objects as YAML documents.
pub fn print(options: &Options) -> ExitCode {
    let mut text = String::from("# Rendered by `food-delivery manifests`; edit the code, not this file.\n");
    for object in objects(options) {
        match serde_saphyr::to_string(&object) {
            Ok(yaml) => {
                text.push_str("---\n");
                text.push_str(&yaml);
                if !yaml.ends_with('\n') {
                    text.push('\n');
                }
            }
            Err(error) => {
                eprintln!("food-delivery manifests: cannot write YAML: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    print!("{text}");
    ExitCode::SUCCESS
}

fn objects(options: &Options) -> Vec<Value> {
    let mut objects = vec![namespace(INSIDE), namespace(OUTSIDE)];
    for role in Role::ALL {
        objects.push(config_map(role));
        if role.schema().is_some() {
            objects.push(volume(role, options));
            objects.push(claim(role));
        }
        objects.push(deployment(role, options));
        objects.push(service(role));
    }
    objects
}

fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

fn namespace_of(role: Role) -> &'static str {
    if role.inside() { INSIDE } else { OUTSIDE }
}

fn labels(role: Role) -> Value {
    json!({ "app.kubernetes.io/name": role.name(), "app.kubernetes.io/part-of": namespace_of(role) })
}

fn metadata(role: Role, name: &str) -> Value {
    json!({ "name": name, "namespace": namespace_of(role), "labels": labels(role) })
}

fn config_map(role: Role) -> Value {
    let callees = role
        .callees()
        .iter()
        .map(|callee| {
            let host = if callee.inside() {
                callee.name().to_owned()
            } else {
                format!("{}.{OUTSIDE}", callee.name())
            };
            (callee.name().to_owned(), format!("{host}:{PORT}"))
        })
        .collect();
    let config = Config { callees, ..Config::default() };
    // A configuration is plain data; it always has a JSON form.
    let text = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(role, &format!("{}-config", role.name())),
        "data": { "config.json": text },
    })
}

fn volume(role: Role, options: &Options) -> Value {
    let name = format!("food-delivery-{}", role.name());
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": name, "labels": labels(role) },
        "spec": {
            "capacity": { "storage": "1Gi" },
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": { "namespace": INSIDE, "name": format!("{}-data", role.name()) },
            "hostPath": {
                "path": format!("{}/{}", options.data_root, role.name()),
                "type": "DirectoryOrCreate",
            },
        },
    })
}

fn claim(role: Role) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(role, &format!("{}-data", role.name())),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": format!("food-delivery-{}", role.name()),
            "resources": { "requests": { "storage": "1Gi" } },
        },
    })
}

fn service(role: Role) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(role, role.name()),
        "spec": {
            "selector": { "app.kubernetes.io/name": role.name() },
            "ports": [{ "name": "http", "port": PORT, "targetPort": "http" }],
        },
    })
}

fn deployment(role: Role, options: &Options) -> Value {
    let mut volumes = vec![json!({
        "name": "config",
        "configMap": { "name": format!("{}-config", role.name()) },
    })];
    let mut mounts = vec![json!({ "name": "config", "mountPath": "/etc/food-delivery", "readOnly": true })];
    if role.schema().is_some() {
        let claim = format!("{}-data", role.name());
        volumes.push(json!({ "name": "data", "persistentVolumeClaim": { "claimName": claim } }));
        mounts.push(json!({ "name": "data", "mountPath": "/data" }));
    }
    let mut container = json!({
        "name": role.name(),
        "image": options.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [role.name()],
        "ports": [
            { "name": "http", "containerPort": PORT },
            { "name": "admin", "containerPort": ADMIN_PORT },
        ],
        "env": environment(role, options),
        "resources": {
            "requests": { "cpu": "20m", "memory": "32Mi" },
            // Small, so that a leak meets it within seconds.
            "limits": { "cpu": "500m", "memory": "96Mi" },
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts,
    });
    if options.probes == Probes::Sensible {
        container["livenessProbe"] = probe("/healthz");
        container["readinessProbe"] = probe("/readyz");
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(role, role.name()),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "selector": { "matchLabels": { "app.kubernetes.io/name": role.name() } },
            "template": {
                "metadata": { "labels": labels(role) },
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 5,
                    "securityContext": {
                        "runAsNonRoot": options.run_as_user != 0,
                        "runAsUser": options.run_as_user,
                        "runAsGroup": options.run_as_user,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    })
}

fn probe(path: &str) -> Value {
    json!({
        "httpGet": { "path": path, "port": "http" },
        "periodSeconds": 5,
        "failureThreshold": 3,
        "timeoutSeconds": 1,
    })
}

/// The telemetry settings; README.md says why each is there. The provider sends none.
fn environment(role: Role, options: &Options) -> Vec<Value> {
    if !role.inside() || options.otlp_endpoint.is_empty() {
        return Vec::new();
    }
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let value = |name: &str, value: String| json!({ "name": name, "value": value });
    let name = role.name();
    let attributes = [
        "k8s.pod.name=$(POD_NAME)".to_owned(),
        "k8s.pod.uid=$(POD_UID)".to_owned(),
        "k8s.namespace.name=$(POD_NAMESPACE)".to_owned(),
        format!("k8s.deployment.name={name}"),
        format!("k8s.container.name={name}"),
        format!("service.namespace={INSIDE}"),
        "service.instance.id=$(POD_UID)".to_owned(),
    ];
    let mut environment = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_UID", "metadata.uid"),
        field("POD_NAMESPACE", "metadata.namespace"),
        value("OTEL_SERVICE_NAME", name.to_owned()),
        value("OTEL_RESOURCE_ATTRIBUTES", attributes.join(",")),
        value("OTEL_EXPORTER_OTLP_ENDPOINT", options.otlp_endpoint.clone()),
    ];
    if options.telemetry == Settings::Tuned {
        environment.extend([
            value("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
            value("OTEL_BLRP_SCHEDULE_DELAY", "200".to_owned()),
            value("OTEL_METRIC_EXPORT_INTERVAL", "2000".to_owned()),
            value("OTEL_EXPORTER_OTLP_TIMEOUT", "2000".to_owned()),
        ]);
    }
    environment
}
