//! The network policy, judged as Kubernetes defines it: what is not listed does not get through.

use crate::render::{named, of_kind, render};
use serde_json::{Value, json};

const ON: &str = "networkPolicy.enabled=true";

/// Who is on the other end.
struct Peer {
    /// Labels of its pod; `None` for what is no pod, as the API server and everything outside.
    pod: Option<Value>,
    port: Value,
    protocol: &'static str,
}

fn selects(selector: &Value, labels: &Value) -> bool {
    assert!(selector["matchExpressions"].is_null(), "not judged here: {selector}");
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    wanted.into_iter().all(|(name, value)| labels[name] == *value)
}

/// Does a rule let this peer through: any of its peers and any of its ports, where none means all.
fn lets(rule: &Value, side: &str, peer: &Peer) -> bool {
    let peers = rule[side].as_array();
    let known = |one: &Value| {
        assert!(one["ipBlock"].is_null(), "not judged here: {one}");
        // Peers of a selector are pods; what is no pod is selected by none.
        peer.pod
            .as_ref()
            .is_some_and(|labels| one["podSelector"].is_null() || selects(&one["podSelector"], labels))
    };
    let of_peers = peers.is_none_or(|peers| peers.is_empty() || peers.iter().any(known));
    let same = |one: &Value| {
        let protocol = one["protocol"].as_str().unwrap_or("TCP");
        assert!(one["endPort"].is_null(), "not judged here: {one}");
        protocol == peer.protocol && (one["port"].is_null() || one["port"] == peer.port)
    };
    let ports = rule["ports"].as_array();
    of_peers && ports.is_none_or(|ports| ports.is_empty() || ports.iter().any(same))
}

/// Is a connection of the pod with these labels allowed; a pod that no policy selects is open.
fn allowed(objects: &[Value], labels: &Value, direction: &str, peer: &Peer) -> bool {
    let (rules, side) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
    let policies: Vec<&Value> = of_kind(objects, "NetworkPolicy")
        .into_iter()
        .filter(|policy| selects(&policy["spec"]["podSelector"], labels))
        .filter(|policy| {
            policy["spec"]["policyTypes"].as_array().is_some_and(|types| types.contains(&json!(direction)))
        })
        .collect();
    let any = |policy: &&Value| {
        policy["spec"][rules].as_array().into_iter().flatten().any(|rule| lets(rule, side, peer))
    };
    policies.is_empty() || policies.iter().any(any)
}

fn labels(objects: &[Value]) -> Value {
    let deployment = named(objects, "Deployment", "homeostat");
    deployment["spec"]["template"]["metadata"]["labels"].clone()
}

fn tcp(pod: Option<Value>, port: Value) -> Peer {
    Peer { pod, port, protocol: "TCP" }
}

#[test]
fn only_listed_peers_get_through_the_network_policy() {
    let objects = render(&[ON]);
    let labels = labels(&objects);
    let pod = || Some(json!({ "app": "order" }));
    // In: telemetry and the pages, from pods, by the names of ports that the container has.
    let deployment = named(&objects, "Deployment", "homeostat");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let ports: Vec<Value> =
        container["ports"].as_array().unwrap().iter().map(|port| port["name"].clone()).collect();
    for port in ["otlp-grpc", "http"] {
        assert!(
            ports.contains(&json!(port)),
            "a policy on a name that no container has lets nothing in: {ports:?}"
        );
        assert!(allowed(&objects, &labels, "Ingress", &tcp(pod(), json!(port))), "{port}");
        assert!(!allowed(&objects, &labels, "Ingress", &tcp(None, json!(port))), "{port} from outside");
        let datagrams = Peer { pod: pod(), port: json!(port), protocol: "UDP" };
        assert!(!allowed(&objects, &labels, "Ingress", &datagrams), "{port} over UDP");
    }
    for port in [json!(22), json!(443), json!(10_250), json!("metrics"), json!("debug")] {
        assert!(!allowed(&objects, &labels, "Ingress", &tcp(pod(), port.clone())), "in on {port}");
    }
    // Out: names and the API server.
    for (port, protocol) in [(53, "UDP"), (53, "TCP"), (443, "TCP"), (6443, "TCP")] {
        let peer = Peer { pod: None, port: json!(port), protocol };
        assert!(allowed(&objects, &labels, "Egress", &peer), "out to {port} {protocol}");
    }
    for (port, protocol) in
        [(22, "TCP"), (80, "TCP"), (443, "UDP"), (4317, "TCP"), (5432, "TCP"), (9090, "TCP")]
    {
        for pod in [None, pod()] {
            let peer = Peer { pod, port: json!(port), protocol };
            assert!(!allowed(&objects, &labels, "Egress", &peer), "out to {port} {protocol}");
        }
    }
}

#[test]
fn a_peer_is_let_through_once_it_is_listed_and_only_that_one() {
    let prometheus = [
        ON,
        "networkPolicy.extraEgress[0].to[0].podSelector.matchLabels.app=prometheus",
        "networkPolicy.extraEgress[0].ports[0].port=9090",
        "networkPolicy.apiServerPorts={16443}",
    ];
    let objects = render(&prometheus);
    let labels = labels(&objects);
    let out = |pod: Option<Value>, port: u16| allowed(&objects, &labels, "Egress", &tcp(pod, json!(port)));
    assert!(out(Some(json!({ "app": "prometheus" })), 9090));
    assert!(!out(Some(json!({ "app": "other" })), 9090) && !out(None, 9090));
    assert!(!out(Some(json!({ "app": "prometheus" })), 9091));
    assert!(out(None, 16_443) && !out(None, 443), "the ports of the API server are those that people say");
    assert!(!selects(
        &of_kind(&objects, "NetworkPolicy")[0]["spec"]["podSelector"],
        &json!({ "app": "order" })
    ));
}
