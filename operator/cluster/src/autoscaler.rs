//! `HorizontalPodAutoscaler`s: how one is read, how its bounds are moved with our mark beside them, and how people's own
//! come back.

use crate::client::{FIELD_MANAGER, call, label};
use crate::error::ClusterError;
use crate::watches::light::spec_owner;
use crate::watches::marks;
use homeostat_crds::common::{
    ANNOTATION_BOUNDS_BEFORE, ANNOTATION_BOUNDS_SET, ANNOTATION_HELD_BY, ANNOTATION_HELD_UNTIL, LABEL_HELD,
};
use homeostat_execute::ports::FreshTarget;
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::{AutoscalerRecord, ControllerKey, Drive, Hold};
use homeostat_knowledge::{ActionId, ControllerKind, Name, ObjectKey, Timestamp, Uid};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The kind, for messages.
pub(crate) const KIND: &str = "HorizontalPodAutoscaler";
/// Label of KEDA on the autoscalers that it made.
pub(crate) const KEDA: &str = "scaledobject.keda.sh/name";

/// What is kept of an autoscaler; `None` for one without a namespace, which the API server never sends.
pub(crate) fn record(object: &HorizontalPodAutoscaler) -> Option<AutoscalerRecord> {
    let (metadata, spec) = (&object.metadata, &object.spec);
    let empty = BTreeMap::new();
    let labels = metadata.labels.as_ref().unwrap_or(&empty);
    let annotations = metadata.annotations.as_ref().unwrap_or(&empty);
    let namespace = metadata.namespace.as_deref()?;
    let count = |number: i32| u64::try_from(number).unwrap_or(0);
    let bounds = Bounds { min: count(spec.min_replicas.unwrap_or(1)), max: count(spec.max_replicas) };
    let text = |field: &Option<String>| Name::from(field.as_deref().unwrap_or_default());
    let keda = labels.get(KEDA).map(|name| Name::from(name.as_str()));
    // KEDA has its own word for what it made.
    let mut owners = metadata.owner_references.iter().flatten().filter(|_| keda.is_none());
    let owner = owners.find(|owner| owner.controller == Some(true));
    let controlled_by = owner.map(|owner| (owner.kind.as_str(), owner.name.as_str()));
    Some(AutoscalerRecord {
        key: ObjectKey { namespace: Name::from(namespace), name: text(&metadata.name) },
        uid: Uid::new(metadata.uid.as_deref().unwrap_or_default()),
        resource_version: text(&metadata.resource_version),
        scales: ControllerKey {
            kind: ControllerKind::from_kind(&spec.scale_target_ref.kind),
            object: ObjectKey::new(namespace, spec.scale_target_ref.name.as_str()),
        },
        bounds,
        drive: drive(annotations, bounds, metadata.managed_fields.as_deref().unwrap_or_default()),
        keda,
        gitops_owner: spec_owner(labels, annotations, controlled_by).map(|owner| Name::from(&*owner)),
    })
}

/// Our mark. Without a readable note of people's own bounds it is none: the present ones count as theirs. So does a bound
/// that another field manager set since, also where it is the number that we had set.
fn drive(
    annotations: &BTreeMap<String, String>,
    bounds: Bounds,
    managed: &[ManagedFieldsEntry],
) -> Option<Drive> {
    let noted = |name: &str| annotations.get(name).and_then(|text| read_bounds(text));
    let theirs = |field: &str| {
        let sets = |entry: &&ManagedFieldsEntry| {
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get(field).is_some())
        };
        managed.iter().filter(sets).any(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER))
    };
    let before = noted(ANNOTATION_BOUNDS_BEFORE)?;
    Some(Drive {
        hold: Hold {
            by: Name::from(annotations.get(ANNOTATION_HELD_BY)?.as_str()),
            until: annotations.get(ANNOTATION_HELD_UNTIL).and_then(|text| text.parse().ok()),
        },
        before: Bounds {
            min: if theirs("f:minReplicas") { bounds.min } else { before.min },
            max: if theirs("f:maxReplicas") { bounds.max } else { before.max },
        },
        set: noted(ANNOTATION_BOUNDS_SET).unwrap_or(bounds),
    })
}

/// As people can read it too: `min=2,max=10`.
fn note(bounds: Bounds) -> String {
    format!("min={},max={}", bounds.min, bounds.max)
}

fn read_bounds(text: &str) -> Option<Bounds> {
    let (min, max) = text.strip_prefix("min=")?.split_once(",max=")?;
    let bounds = Bounds { min: min.parse().ok()?, max: max.parse().ok()? };
    (bounds.min <= bounds.max).then_some(bounds)
}

/// The patch that moves the bounds. People's own are noted beside them; back at those no mark is left.
pub(crate) fn driven(
    condition: Value,
    found: &AutoscalerRecord,
    bounds: Bounds,
    by: &ActionId,
    until: Timestamp,
) -> Value {
    let peoples = found.peoples();
    if bounds == peoples {
        return given_back(condition, found);
    }
    let mut metadata = condition;
    metadata["labels"] = json!({ LABEL_HELD: "true" });
    metadata["annotations"] = json!({
        ANNOTATION_HELD_BY: by.as_str(),
        ANNOTATION_HELD_UNTIL: until.to_string(),
        ANNOTATION_BOUNDS_BEFORE: note(peoples),
        ANNOTATION_BOUNDS_SET: note(bounds),
    });
    patch(&metadata, bounds)
}

/// The patch that gives people's own bounds back, for whoever does.
pub(crate) fn given_back(condition: Value, found: &AutoscalerRecord) -> Value {
    let mut metadata = condition;
    metadata["labels"] = json!({ LABEL_HELD: null });
    metadata["annotations"] = json!({
        ANNOTATION_HELD_BY: null,
        ANNOTATION_HELD_UNTIL: null,
        ANNOTATION_BOUNDS_BEFORE: null,
        ANNOTATION_BOUNDS_SET: null,
    });
    patch(&metadata, found.peoples())
}

fn patch(metadata: &Value, bounds: Bounds) -> Value {
    json!({ "metadata": metadata, "spec": { "minReplicas": bounds.min, "maxReplicas": bounds.max } })
}

/// The autoscaler of that name as the API server has it, whatever its UID.
pub(crate) async fn read(
    client: &Client,
    key: &ObjectKey,
) -> Result<Option<HorizontalPodAutoscaler>, ClusterError> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &key.namespace);
    call("read", &label(KIND, key), api.get_opt(&key.name)).await
}

/// The same, as what an action is judged by just before its effect.
pub(crate) async fn fresh(client: &Client, key: &ObjectKey) -> Result<Option<FreshTarget>, ClusterError> {
    let Some(object) = read(client, key).await? else { return Ok(None) };
    let Some(record) = record(&object) else {
        let message = "it has no namespace".to_owned();
        return Err(ClusterError::Bug { verb: "read", object: label(KIND, key), message });
    };
    Ok(Some(FreshTarget {
        uid: record.uid.clone(),
        resource_version: record.resource_version.clone(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        pod: None,
        controller: None,
        node: None,
        autoscaler: Some(record),
        restarted_by: None,
        marks: marks::of(&object.metadata),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(annotations: &Value, labels: &Value, min: i32, max: i32) -> HorizontalPodAutoscaler {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                          "annotations": annotations, "labels": labels },
            "spec": { "minReplicas": min, "maxReplicas": max, "scaleTargetRef": {
                          "apiVersion": "apps/v1", "kind": "Deployment", "name": "web-app" } },
        }))
        .unwrap()
    }

    /// The object after a merge patch of ours.
    fn after(patch: &Value) -> AutoscalerRecord {
        let bound = |name: &str| i32::try_from(patch["spec"][name].as_i64().unwrap()).unwrap();
        let annotations: Value = patch["metadata"]["annotations"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        record(&object(&annotations, &json!({}), bound("minReplicas"), bound("maxReplicas"))).unwrap()
    }

    fn drive_to(found: &AutoscalerRecord, min: u64, max: u64) -> AutoscalerRecord {
        let by = ActionId::new("shop.order-1");
        after(&driven(json!({ "uid": "u" }), found, Bounds { min, max }, &by, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn the_first_bounds_are_kept_over_several_drives_and_no_mark_is_left_at_the_end() {
        let own = record(&object(&json!({}), &json!({}), 2, 10)).unwrap();
        assert_eq!((own.bounds, &own.drive), (Bounds { min: 2, max: 10 }, &None));
        let once = drive_to(&own, 6, 10);
        let twice = drive_to(&once, 12, 12);
        for (driven, set) in [(&once, (6, 10)), (&twice, (12, 12))] {
            let mark = driven.drive.as_ref().unwrap();
            assert_eq!((mark.before, mark.set), (own.bounds, Bounds { min: set.0, max: set.1 }));
            assert_eq!((&*mark.hold.by, mark.hold.until), ("shop.order-1", Some(Timestamp::UNIX_EPOCH)));
            assert_eq!(driven.peoples(), own.bounds);
        }
        let back = drive_to(&twice, 2, 10);
        assert_eq!((back.bounds, back.drive), (own.bounds, None));
        let released = after(&given_back(json!({ "uid": "u" }), &twice));
        assert_eq!((released.bounds, released.drive), (own.bounds, None));
    }

    #[test]
    fn what_somebody_set_since_stays_when_people_get_their_bounds_back() {
        let mut driven = drive_to(&record(&object(&json!({}), &json!({}), 2, 10)).unwrap(), 6, 10);
        driven.bounds.max = 20;
        let again = drive_to(&driven, 8, 20);
        assert_eq!(again.drive.as_ref().unwrap().before, Bounds { min: 2, max: 20 });
        assert_eq!(after(&given_back(json!({}), &driven)).bounds, Bounds { min: 2, max: 20 });
    }

    /// While bounds of 6 to 12 are ours, over people's 2 to 10, as these managers hold them.
    fn managed(bounds: (i32, i32), managers: &[(&str, &[&str])]) -> AutoscalerRecord {
        let annotations = json!({ ANNOTATION_HELD_BY: "a-1", ANNOTATION_BOUNDS_BEFORE: "min=2,max=10",
            ANNOTATION_BOUNDS_SET: "min=6,max=12" });
        let mut found = object(&annotations, &json!({}), bounds.0, bounds.1);
        let entries = managers.iter().map(|(manager, fields)| {
            let set: serde_json::Map<_, _> =
                fields.iter().map(|field| ((*field).to_owned(), json!({}))).collect();
            let entry = json!({ "manager": manager, "operation": "Update", "fieldsV1": { "f:spec": set } });
            serde_json::from_value(entry).unwrap()
        });
        found.metadata.managed_fields = Some(entries.collect());
        record(&found).unwrap()
    }

    #[test]
    fn a_bound_is_a_persons_who_set_the_very_number_that_we_had_set() {
        let ours = ("homeostat", &["f:minReplicas", "f:maxReplicas"][..]);
        assert_eq!(managed((6, 12), &[ours]).peoples(), Bounds { min: 2, max: 10 }, "nobody else did");
        let person = ("kubectl-edit", &["f:minReplicas"][..]);
        let rest = ("homeostat", &["f:maxReplicas"][..]);
        let edited = managed((6, 12), &[rest, person]);
        assert_eq!(edited.peoples(), Bounds { min: 6, max: 10 }, "away and back to six");
        let back = after(&given_back(json!({}), &edited));
        assert_eq!((back.bounds, back.drive), (Bounds { min: 6, max: 10 }, None), "it stays theirs");
        let other = ("kubectl-edit", &["f:metrics"][..]);
        assert_eq!(managed((6, 12), &[ours, other]).peoples(), Bounds { min: 2, max: 10 }, "another field");
    }

    #[test]
    fn a_mark_without_a_readable_note_takes_nothing_away_from_people() {
        for note in [json!("min=9,max=3"), json!("2 to 10"), json!(""), json!(null)] {
            let annotations = json!({ ANNOTATION_HELD_BY: "a-1", ANNOTATION_BOUNDS_BEFORE: note.clone() });
            let annotations: serde_json::Map<_, _> = annotations
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let found = record(&object(&annotations.into(), &json!({}), 6, 10)).unwrap();
            assert_eq!((found.drive.as_ref(), found.peoples()), (None, found.bounds), "{note}");
        }
    }

    #[test]
    fn whose_it_is_is_read_off_its_labels() {
        let of = |labels| record(&object(&json!({}), &labels, 2, 10)).unwrap();
        assert_eq!(of(json!({ KEDA: "queue" })).keda.as_deref(), Some("queue"));
        let flux = of(json!({ "kustomize.toolkit.fluxcd.io/name": "apps" }));
        assert_eq!(flux.gitops_owner.as_deref(), Some("Flux"));
        let own = of(json!({ "app.kubernetes.io/managed-by": "Helm" }));
        assert_eq!((own.keda, own.gitops_owner), (None, None));
        let made_by = |kind: &str, labels| {
            let mut found = object(&json!({}), &labels, 2, 10);
            let owner = json!({ "apiVersion": "some/v1", "kind": kind, "name": "shop", "uid": "u", "controller": true });
            found.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
            record(&found).unwrap()
        };
        assert_eq!(made_by("WebApp", json!({})).gitops_owner.as_deref(), Some("WebApp shop"));
        let keda = made_by("ScaledObject", json!({ KEDA: "queue" }));
        assert_eq!((keda.keda.as_deref(), keda.gitops_owner), (Some("queue"), None));
    }
}
