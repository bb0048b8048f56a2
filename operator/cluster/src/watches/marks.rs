//! Who set which field of an object, and what its containers ask for. From the object's own text.

use crate::ledger::{in_bytes, in_millis};
use crate::watches::light::null_is_empty;
use homeostat_crds::Quantity;
use homeostat_crds::common::ANNOTATION_DO_NOT_TOUCH_UNTIL;
use homeostat_execute::ports::{Field, FieldEdit, Marks, Requests};
use homeostat_knowledge::{Name, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Object {
    #[serde(default, deserialize_with = "null_is_empty")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    creation_timestamp: Option<Time>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    managed_fields: Vec<Managed>,
}

/// One entry of `metadata.managedFields`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed {
    #[serde(default, deserialize_with = "null_is_empty")]
    manager: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    subresource: String,
    time: Option<Time>,
    #[serde(rename = "fieldsV1", default)]
    fields: Value,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default, deserialize_with = "null_is_empty")]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    resources: Resources,
}

#[derive(Default, Deserialize)]
struct Resources {
    #[serde(default, deserialize_with = "null_is_empty")]
    requests: BTreeMap<String, Quantity>,
    #[serde(default, deserialize_with = "null_is_empty")]
    limits: BTreeMap<String, Quantity>,
}

/// What one manager set, as the API server keeps it.
struct Entry<'a> {
    manager: &'a str,
    subresource: &'a str,
    at: Option<Timestamp>,
    fields: &'a Value,
}

/// Who set which of the fields that matter, oldest first.
fn edits<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<FieldEdit> {
    let mut edits = Vec::new();
    for entry in entries {
        let spec = &entry.fields["f:spec"];
        let resources = || {
            let containers = spec["f:containers"].as_object();
            containers.is_some_and(|all| all.values().any(|one| one.get("f:resources").is_some()))
        };
        for (field, set) in [
            (Field::Replicas, spec.get("f:replicas").is_some()),
            (Field::Template, spec.get("f:template").is_some()),
            (Field::Suspend, spec.get("f:suspend").is_some()),
            (Field::Unschedulable, spec.get("f:unschedulable").is_some()),
            (Field::Resources, resources()),
            (Field::Bounds, spec.get("f:minReplicas").or(spec.get("f:maxReplicas")).is_some()),
        ] {
            if set {
                edits.push(FieldEdit {
                    field,
                    manager: Name::from(entry.manager),
                    subresource: Name::from(entry.subresource),
                    at: entry.at,
                });
            }
        }
    }
    edits.sort_by_key(|edit| edit.at);
    edits
}

fn named<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> BTreeMap<Name, Name> {
    labels.map(|(label, value)| (Name::from(label.as_str()), Name::from(value.as_str()))).collect()
}

/// The marks of an object without containers, which was parsed already.
pub(crate) fn of(metadata: &ObjectMeta) -> Marks {
    let nothing = Value::Null;
    let managed = metadata.managed_fields.iter().flatten().map(|entry| Entry {
        manager: entry.manager.as_deref().unwrap_or_default(),
        subresource: entry.subresource.as_deref().unwrap_or_default(),
        at: entry.time.as_ref().map(|time| time.0),
        fields: entry.fields_v1.as_ref().map_or(&nothing, |fields| &fields.0),
    });
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name));
    Marks {
        created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        edits: edits(managed),
        do_not_touch: annotation(ANNOTATION_DO_NOT_TOUCH_UNTIL).map(|text| Name::from(text.as_str())),
        labels: named(metadata.labels.iter().flatten()),
        ..Marks::default()
    }
}

/// The marks in the object's text.
pub(crate) fn read(text: &str) -> Result<Marks, serde_json::Error> {
    let object: Object = serde_json::from_str(text)?;
    let edits = edits(object.metadata.managed_fields.iter().map(|managed| Entry {
        manager: &managed.manager,
        subresource: &managed.subresource,
        at: managed.time.as_ref().map(|time| time.0),
        fields: &managed.fields,
    }));
    let requests = object.spec.containers.iter().map(|container| {
        let asked = &container.resources.requests;
        let requests = Requests {
            cpu_millis: asked.get("cpu").and_then(in_millis),
            cpu_limit_millis: container.resources.limits.get("cpu").and_then(in_millis),
            memory_bytes: asked.get("memory").and_then(in_bytes),
            memory_limit_bytes: container.resources.limits.get("memory").and_then(in_bytes),
        };
        (Name::from(container.name.as_str()), requests)
    });
    let do_not_touch = object.metadata.annotations.get(ANNOTATION_DO_NOT_TOUCH_UNTIL);
    Ok(Marks {
        created: object.metadata.creation_timestamp.map(|time| time.0),
        edits,
        requests: requests.collect(),
        do_not_touch: do_not_touch.map(|text| Name::from(text.as_str())),
        labels: named(object.metadata.labels.iter()),
        ..Marks::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_set_what_and_when() {
        let text = json!({
            "metadata": { "creationTimestamp": "2026-11-20T08:00:00Z", "labels": { "k8s-app": "kube-dns" },
              "managedFields": [
                { "manager": "kubectl-scale", "time": "2026-11-22T09:00:00Z", "subresource": "scale",
                  "fieldsV1": { "f:spec": { "f:replicas": {} } } },
                { "manager": "argocd-controller", "time": "2026-11-21T09:00:00Z",
                  "fieldsV1": { "f:spec": { "f:template": { "f:spec": {} }, "f:replicas": {} } } },
                { "manager": "kube-controller-manager", "subresource": "status",
                  "fieldsV1": { "f:status": { "f:replicas": {} } } },
                { "manager": "helm", "time": "2026-11-20T09:00:00Z",
                  "fieldsV1": { "f:spec": { "f:maxReplicas": {} } } },
            ] },
            "spec": { "replicas": 3 },
        });
        let marks = read(&text.to_string()).unwrap();
        let found: Vec<_> = marks.edits.iter().map(|edit| (edit.field, &*edit.manager)).collect();
        assert_eq!(
            found,
            [
                (Field::Bounds, "helm"),
                (Field::Replicas, "argocd-controller"),
                (Field::Template, "argocd-controller"),
                (Field::Replicas, "kubectl-scale"),
            ]
        );
        assert_eq!(marks.edits[3].at, "2026-11-22T09:00:00Z".parse().ok());
        assert_eq!(marks.created, "2026-11-20T08:00:00Z".parse().ok());
        assert_eq!(marks.labels.get("k8s-app").map(|value| &**value), Some("kube-dns"));
        let metadata = serde_json::from_value(text["metadata"].clone()).unwrap();
        assert_eq!(of(&metadata), marks, "parsed already");
        assert!(read(r#"{"metadata":{"managedFields":null},"spec":null}"#).unwrap().edits.is_empty());
    }

    #[test]
    fn who_wants_us_to_keep_away_is_read_as_written() {
        let mark = |annotations: Value| {
            let text = json!({ "metadata": { "annotations": annotations } }).to_string();
            read(&text).unwrap().do_not_touch
        };
        let until = mark(json!({ "homeostat.dev/do-not-touch-until": "2030-01-01T18:00:00Z" }));
        assert_eq!(until.as_deref(), Some("2030-01-01T18:00:00Z"));
        assert_eq!(mark(json!({ "homeostat.dev/do-not-touch-until": "soon" })).as_deref(), Some("soon"));
        assert_eq!(mark(json!({ "other": "x" })), None);
    }

    #[test]
    fn what_containers_ask_for_in_whole_units() {
        let text = json!({
            "metadata": { "managedFields": [{ "manager": "kubectl-edit", "subresource": "resize",
                "fieldsV1": { "f:spec": { "f:containers": { "k:{\"name\":\"app\"}": { "f:resources": {} } } } } }] },
            "spec": { "containers": [
                { "name": "app", "resources": { "requests": { "cpu": "0.1", "memory": "64Mi" },
                                                   "limits": { "cpu": "1", "memory": "128Mi" } } },
                { "name": "side" },
            ] },
        });
        let marks = read(&text.to_string()).unwrap();
        let app = Requests {
            cpu_millis: Some(100),
            cpu_limit_millis: Some(1_000),
            memory_bytes: Some(64 << 20),
            memory_limit_bytes: Some(128 << 20),
        };
        assert_eq!(marks.requests.get("app"), Some(&app));
        assert_eq!(marks.requests.get("side"), Some(&Requests::default()));
        assert_eq!(marks.edits[0].field, Field::Resources);
    }
}
