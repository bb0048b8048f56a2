//! Samples are valid, Rust's defaults are the schema's, and every CEL rule does what it says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use homeostat_crds::rules;
use kube_cel::{Validator, apply_defaults};
use serde_json::{Value, json};

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap()
}

#[test]
fn every_sample_is_valid() {
    let mut kinds = BTreeSet::new();
    for (name, object) in support::samples() {
        let (_, schema) = support::definition(kind(&object));
        assert_eq!(support::faults(&schema, &object), Vec::<String>::new(), "{name}");
        let result = Validator::new().validate_with_defaults(&schema, &object, None);
        assert!(result.is_ok(), "{name}: {result:?}");
        kinds.insert(kind(&object).to_owned());
    }
    assert_eq!(kinds.len(), homeostat_crds::all().len(), "a kind has no sample: {kinds:?}");
}

#[test]
fn ten_lines_put_a_service_under_control() {
    let text = include_str!("../examples/workload.yaml");
    assert!(text.lines().count() <= 10);
}

/// Every complete object that this crate knows of.
fn objects() -> Vec<(String, Value)> {
    let mut all = support::samples();
    for case in rules::cases().unwrap() {
        all.push((case.message, case.valid));
    }
    all
}

#[test]
fn the_defaults_of_rust_are_those_of_the_schema() {
    for (name, object) in objects() {
        let (_, schema) = support::definition(kind(&object));
        let by_server = apply_defaults(&schema, &object);
        let by_rust = support::through_rust(&object).unwrap();
        for part in ["spec", "status"] {
            assert_eq!(
                texts(by_rust.get(part)),
                texts(by_server.get(part)),
                "{name}: {part} differs between Rust (left) and schema (right)"
            );
        }
    }
}

/// Empty lists are left out and quantities may be written as numbers: both mean the same.
fn texts(value: Option<&Value>) -> Value {
    match value {
        None => Value::Null,
        Some(Value::Object(fields)) => fields
            .iter()
            .filter(|(_, v)| !v.as_array().is_some_and(Vec::is_empty))
            .map(|(k, v)| {
                let quantity = ["cpu", "memory", "min", "max"].contains(&k.as_str()) && v.is_i64();
                let same = if quantity { json!(v.to_string()) } else { texts(Some(v)) };
                (k.clone(), same)
            })
            .collect(),
        Some(Value::Array(list)) => list.iter().map(|v| texts(Some(v))).collect(),
        Some(other) => other.clone(),
    }
}

/// Every rule of a schema, by message.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                found.insert(rule["message"].as_str().unwrap().to_owned());
            }
            fields.values().for_each(|field| messages(field, found));
        }
        Value::Array(list) => list.iter().for_each(|entry| messages(entry, found)),
        _ => {}
    }
}

#[test]
fn every_rule_has_a_passing_and_a_failing_example() {
    let cases = rules::cases().unwrap();
    for definition in homeostat_crds::all() {
        let schema = support::schema(&definition);
        let mut rules = BTreeSet::new();
        messages(&schema, &mut rules);
        let mut shown = BTreeSet::new();
        for case in cases.iter().filter(|c| kind(&c.valid) == definition.spec.names.kind) {
            let message = &case.message;
            shown.insert(message.clone());
            let broken = |object: &Value| -> Vec<(String, String)> {
                assert_eq!(support::faults(&schema, object), Vec::<String>::new(), "{message}");
                let old = case.before.as_ref().map(|old| apply_defaults(&schema, old));
                let result = Validator::new().validate_with_defaults(&schema, object, old.as_ref());
                result
                    .err()
                    .into_iter()
                    .flatten()
                    .map(|e| (e.field_path.clone(), e.message.clone()))
                    .collect()
            };
            assert_eq!(broken(&case.valid), [], "{message}: valid is refused");
            let refusals = broken(&case.invalid);
            let expected = (case.field.clone(), message.clone());
            assert!(refusals.contains(&expected), "{expected:?}: invalid gives {refusals:?}");
        }
        assert_eq!(shown, rules, "{}: rules and examples differ", definition.spec.names.kind);
    }
}

#[test]
fn malformed_resources_are_refused_with_the_field_named() {
    for (change, field) in [
        (json!({ "spec": { "targetRef": null } }), "targetRef"),
        (json!({ "spec": { "archetype": "service" } }), ".spec.archetype"),
        (json!({ "spec": { "objectives": { "availability": "101" } } }), ".spec.objectives.availability"),
        (json!({ "spec": { "objectives": { "latency": { "milliseconds": 0.5 } } } }), "milliseconds"),
        (json!({ "spec": { "targetRef": { "name": "Not A Name" } } }), ".spec.targetRef.name"),
        (json!({ "spec": { "playbooks": ["a", "a"] } }), ".spec.playbooks"),
        (
            json!({ "spec": { "scaling": { "resources": { "container": "Not A Name" } } } }),
            ".spec.scaling.resources.container",
        ),
        (json!({ "spec": { "replicas": 3 } }), ".spec.replicas"),
    ] {
        let (_, mut object) =
            support::samples().into_iter().find(|(name, _)| name == "workload.yaml").unwrap();
        merge(&mut object, &change);
        let (_, schema) = support::definition("Workload");
        let faults = support::faults(&schema, &object);
        assert!(faults.iter().any(|fault| fault.contains(field)), "{change}: {faults:?}");
    }
}

#[test]
fn a_playbook_is_bounded_as_its_checker_bounds_it() {
    let (_, schema) = support::definition("Playbook");
    let faults = |expression: usize, within: i32| {
        let object = json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": "Playbook", "metadata": { "name": "mine" },
            "spec": { "trigger": { "findings": ["Hung"] },
                "when": [{ "name": "long", "expression": "x".repeat(expression) }],
                "ladder": [{ "action": "EvictPod", "verify": { "withinSeconds": within } }] } });
        support::faults(&schema, &object)
    };
    for (expression, within) in [(1, 1), (512, 3_600)] {
        assert_eq!(faults(expression, within), Vec::<String>::new());
    }
    for (expression, within, field) in
        [(513, 1, "expression"), (1, 0, "withinSeconds"), (1, 3_601, "withinSeconds")]
    {
        let found = faults(expression, within);
        assert!(found.iter().any(|fault| fault.contains(field)), "{field}: {found:?}");
    }
}

fn merge(object: &mut Value, change: &Value) {
    match change {
        Value::Object(changes) if object.is_object() => {
            for (key, value) in changes {
                if value.is_null() {
                    object.as_object_mut().unwrap().remove(key);
                } else {
                    merge(object.as_object_mut().unwrap().entry(key).or_insert(json!({})), value);
                }
            }
        }
        other => *object = other.clone(),
    }
}
