//! Nodes: ready or not, cordoned, under pressure, where.

use super::amounts::Pair;
use super::light::{Body, Interner, Meta, hold, null_is_empty};
use super::run::{Cx, Effect, Watched};
use homeostat_knowledge::ObjectKey;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::records::NodeRecord;
use k8s_openapi::api::core::v1::Node;
use serde::Deserialize;
use std::sync::Arc;

/// Labels of nodes that run the control plane; the second is what older installations use.
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Taints of a node that is being taken away, and who does it. `DeletionCandidateOfClusterAutoscaler` is none of them:
/// a candidate may stay.
const LEAVING: [(&str, &str); 7] = [
    ("karpenter.sh/disrupted", "Karpenter"),
    ("karpenter.sh/disruption", "Karpenter"),
    ("ToBeDeletedByClusterAutoscaler", "the cluster autoscaler"),
    ("aws-node-termination-handler/spot-itn", "a spot reclaim"),
    ("aws-node-termination-handler/scheduled-maintenance", "a scheduled maintenance"),
    ("cloud.google.com/impending-node-termination", "a termination by the cloud"),
    ("node.cloudprovider.kubernetes.io/shutdown", "a shutdown by the cloud"),
];
/// Taints of a node that are looked at.
const MOST_TAINTS: usize = 64;

/// The watch of nodes.
pub(crate) struct Nodes;

/// The parts of a node that are looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeObject {
    #[serde(default)]
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: Spec,
    #[serde(default, deserialize_with = "null_is_empty")]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    #[serde(default)]
    unschedulable: Option<bool>,
    #[serde(default, deserialize_with = "null_is_empty")]
    taints: Vec<Taint>,
}

#[derive(Clone, Debug, Deserialize)]
struct Taint {
    #[serde(default)]
    key: String,
}

impl Spec {
    /// Who takes the node away.
    fn leaving(&self) -> Option<&'static str> {
        let mut keys = self.taints.iter().take(MOST_TAINTS).map(|taint| &*taint.key);
        keys.find_map(|key| LEAVING.iter().find(|(taint, _)| *taint == key).map(|(_, who)| *who))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "null_is_empty")]
    conditions: Vec<Condition>,
    #[serde(default, deserialize_with = "null_is_empty")]
    allocatable: Allocatable,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Allocatable {
    pods: Option<String>,
    #[serde(flatten)]
    amounts: Pair,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    type_: String,
    #[serde(default)]
    status: String,
}

impl Body for NodeObject {
    type Kind = Node;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for Nodes {
    type Body = NodeObject;
    const KIND: ObjectKind = ObjectKind::Node;
    const NAME: &'static str = "nodes";

    fn apply(&mut self, body: NodeObject, cx: Cx<'_>) -> Result<Effect, String> {
        let record = record(&body, cx.names);
        Ok(Effect::Tell(ObjectChange::Node(Change::Applied(Arc::new(record)))))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Node(Change::Deleted(key.clone())))
    }
}

/// The record of a node.
pub(crate) fn record(body: &NodeObject, names: &mut Interner) -> NodeRecord {
    let NodeObject { metadata, spec, status } = body;
    let is_true = |type_: &str| {
        status.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    NodeRecord {
        name: names.intern(&metadata.name),
        uid: Uid::new(metadata.uid.as_str()),
        ready: is_true("Ready"),
        cordoned: spec.unschedulable == Some(true),
        leaving: names.maybe(spec.leaving()),
        zone: names.maybe(metadata.labels.get("topology.kubernetes.io/zone").map(String::as_str)),
        allocatable: status.allocatable.amounts.amounts(),
        allocatable_pods: status.allocatable.pods.as_deref().and_then(|pods| pods.parse().ok()).unwrap_or(0),
        pressures: status
            .conditions
            .iter()
            .filter(|condition| condition.type_ != "Ready" && condition.status == "True")
            .map(|condition| names.intern(&condition.type_))
            .collect(),
        control_plane: CONTROL_PLANE.iter().any(|label| metadata.labels.contains_key(*label)),
        hold: hold(metadata),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::{Name, Timestamp};

    #[test]
    fn a_node_under_pressure() {
        let body: NodeObject = serde_json::from_str(
            r#"{"metadata":{"name":"n1","uid":"u","labels":{"topology.kubernetes.io/zone":"z",
                  "node-role.kubernetes.io/control-plane":""},
                  "annotations":{"homeostat.dev/held-by":"node-1-1","homeostat.dev/held-until":"2026-11-22T10:00:00Z"}},
                "spec":{"unschedulable":true},
                "status":{"allocatable":{"pods":"110","cpu":"4"},"conditions":[
                  {"type":"MemoryPressure","status":"True"},{"type":"DiskPressure","status":"False"},
                  {"type":"Ready","status":"Unknown"}]}}"#,
        )
        .unwrap();
        let mut names = Interner::default();
        let cx = Cx {
            names: &mut names,
            now: Timestamp::UNIX_EPOCH,
            news: true,
            listed: false,
            key: ObjectKey::new("", "n1"),
            version: Name::from("1"),
        };
        let Ok(Effect::Tell(ObjectChange::Node(Change::Applied(node)))) = Nodes.apply(body, cx) else {
            panic!()
        };
        assert!(!node.ready && node.cordoned);
        assert_eq!(node.allocatable_pods, 110);
        assert_eq!(node.pressures, [Name::from("MemoryPressure")]);
        assert_eq!(node.zone.as_deref(), Some("z"));
        assert!(node.control_plane);
        let hold = node.hold.as_ref().unwrap();
        assert_eq!((&*hold.by, hold.until), ("node-1-1", "2026-11-22T10:00:00Z".parse().ok()));
    }
    #[test]
    fn its_taints_tell_who_takes_a_node_away() {
        let leaving = |taints: &str| {
            let body = format!(r#"{{"metadata":{{"name":"n1","uid":"u"}},"spec":{{"taints":{taints}}}}}"#);
            let body: NodeObject = serde_json::from_str(&body).unwrap();
            record(&body, &mut Interner::default()).leaving.map(|who| who.to_string())
        };
        for (key, who) in LEAVING {
            let taints =
                format!(r#"[{{"key":"dedicated","value":"x"}},{{"key":"{key}","effect":"NoSchedule"}}]"#);
            assert_eq!(leaving(&taints).as_deref(), Some(who), "{key}");
        }
        for stays in [
            "null",
            "[]",
            r#"[{"key":"DeletionCandidateOfClusterAutoscaler","value":"1"}]"#,
            r#"[{"key":"node.kubernetes.io/not-ready"}]"#,
        ] {
            assert_eq!(leaving(stays), None, "{stays}");
        }
        let many = vec![r#"{"key":"x"}"#; MOST_TAINTS].join(",");
        assert_eq!(leaving(&format!(r#"[{many},{{"key":"karpenter.sh/disrupted"}}]"#)), None, "bounded");
    }
}
