//! What is put on the cluster: the same service twice, and for each who scales it.

use serde_json::{Value, json};

/// Fewest and most replicas, for both.
pub const BOUNDS: (i32, i32) = (1, 10);
/// CPU that a replica asks for, and its limit.
const CPU: &str = "100m";
/// Name of the Deployment, the Service and everything about them.
pub const NAME: &str = "plans";
/// Port of the service.
pub const PORT: u16 = 8080;

/// The service in a namespace of its own. It names no number of replicas, as a manifest beside an autoscaler must not.
pub fn service(namespace: &str, image: &str) -> String {
    let probe = json!({
        "httpGet": {"path": "/ready", "port": PORT},
        "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 3,
    });
    let container = json!({
        "name": "api", "image": image, "args": ["serve"],
        "ports": [{"containerPort": PORT}],
        "resources": {
            "requests": {"cpu": CPU, "memory": "32Mi"},
            "limits": {"cpu": CPU, "memory": "64Mi"},
        },
        "readinessProbe": probe,
    });
    let labels = json!({"app": NAME});
    documents(&[
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": namespace},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        }),
    ])
}

/// A `HorizontalPodAutoscaler` with everything else as it comes.
pub fn hpa(namespace: &str, percent: u32) -> String {
    documents(&[json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": BOUNDS.0, "maxReplicas": BOUNDS.1,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent},
            }}],
        },
    })])
}

/// A Tenant whose sizes may be changed, and the Workload, whose load is the requests that come: one replica carries so many
/// a second.
pub fn homeostat(namespace: &str, per_replica: f64) -> String {
    documents(&[
        json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": namespace},
            "spec": {
                "namespaces": [namespace],
                "automation": [{"actions": ["ScaleUp", "ScaleDown"], "level": "ActBounded"}],
            },
        }),
        json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
                "archetype": "Service",
                "signals": [{
                    "name": "requests", "unit": "requests/s",
                    "promql": format!("sum(rate(http_requests_total{{namespace=\"{namespace}\"}}[15s]))"),
                }],
                "scaling": {
                    "mode": "Auto",
                    "replicas": {"min": BOUNDS.0, "max": BOUNDS.1},
                    "loads": [{"signal": "requests", "perReplica": format!("{per_replica:.1}")}],
                },
            },
        }),
    ])
}

fn documents(objects: &[Value]) -> String {
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    texts.join("\n---\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_get_the_same_service_and_bounds() {
        let (one, other) = (service("a", "image"), service("b", "image"));
        assert_eq!(one.replace("\"a\"", "\"b\""), other);
        assert!(!one.contains("replicas"), "an autoscaler would lose its number with each apply");
        let bounds = |text: &str| text.contains(&format!(":{}", BOUNDS.1));
        assert!(bounds(&hpa("a", 60)) && bounds(&homeostat("b", 17.5)));
        assert!(homeostat("b", 17.53).contains("\"17.5\""));
    }
}
