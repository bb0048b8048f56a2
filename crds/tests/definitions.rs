//! The definitions keep the API conventions, and the committed files are the generated ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use regex::Regex;
use serde_json::Value;

const CLUSTER_SCOPED: [&str; 3] = ["Tenant", "Playbook", "ControlPlane"];

#[test]
fn the_committed_files_are_the_generated_ones() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/generated");
    let mut expected = BTreeSet::new();
    for definition in homeostat_crds::all() {
        let file = format!("{}.yaml", definition.spec.names.plural);
        let committed = std::fs::read_to_string(format!("{folder}/{file}")).unwrap_or_default();
        let generated = homeostat_crds::yaml(&definition).unwrap();
        assert!(generated == committed, "{file} is out of date; run `make crds` and commit");
        let read: Value = serde_saphyr::from_str(&committed).unwrap();
        let back: CustomResourceDefinition = serde_json::from_value(read).unwrap();
        assert_eq!(back, definition, "{file} does not say what the types say");
        expected.insert(file);
    }
    let present: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(present, expected, "a file of a kind that is gone, or a missing one");
}

#[test]
fn generating_fails_with_the_path_that_cannot_be_written() {
    let file = std::env::temp_dir().join(format!("homeostat-crds-{}", std::process::id()));
    std::fs::write(&file, "in the way").unwrap();
    let error = homeostat_crds::write_all(&file.join("generated")).unwrap_err().to_string();
    std::fs::remove_file(&file).unwrap();
    assert!(error.contains("generated") && error.contains("check the folder"), "{error}");
}

#[test]
fn every_kind_follows_the_conventions() {
    let mut short_names = BTreeSet::new();
    for definition in homeostat_crds::all() {
        let kind = &definition.spec.names.kind;
        assert_eq!(definition.spec.group, homeostat_crds::GROUP);
        let scope = if CLUSTER_SCOPED.contains(&kind.as_str()) { "Cluster" } else { "Namespaced" };
        assert_eq!(definition.spec.scope, scope, "{kind}");
        assert_eq!(
            definition.spec.names.categories.as_deref(),
            Some(&[homeostat_crds::CATEGORY.to_owned()][..])
        );
        let [version] = definition.spec.versions.as_slice() else { panic!("{kind}: one version") };
        assert_eq!(version.name, homeostat_crds::VERSION);
        assert!(version.storage && version.served, "{kind}");
        let status = version.subresources.as_ref().and_then(|s| s.status.as_ref());
        assert!(status.is_some(), "{kind} has no status subresource");
        for name in definition.spec.names.short_names.iter().flatten() {
            assert!(name.starts_with('h'), "{name} may collide with others'");
            assert!(short_names.insert(name.clone()), "{name} is used twice");
        }

        let schema = support::schema(&definition);
        let conditions = &schema["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map", "{kind}");
        assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type", "{kind}");
        assert_eq!(conditions["items"]["properties"]["reason"]["minLength"], 1, "{kind}");
        let observed = &schema["properties"]["status"]["properties"]["observedGeneration"];
        assert_eq!(observed["format"], "int64", "{kind}");

        let columns = version.additional_printer_columns.as_ref().unwrap();
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        assert!(names.ends_with(&["Ready", "Age"]), "{kind}: {names:?}");
        for column in columns.iter().filter(|c| !c.json_path.contains('?')) {
            let found = at(&schema, &column.json_path).unwrap_or_else(|| {
                panic!("{kind}: column {} shows {} which is not there", column.name, column.json_path)
            });
            assert!(found.is_null() || found["description"].is_string(), "{kind}: {}", column.name);
        }
        for field in version.selectable_fields.iter().flatten() {
            let found = at(&schema, &field.json_path).unwrap_or_default();
            let type_ = found["type"].as_str().unwrap_or("");
            assert!(["string", "boolean", "integer"].contains(&type_), "{kind}: {}", field.json_path);
        }
    }
    assert_eq!(short_names.len(), homeostat_crds::all().len());
}

/// The schema at a path such as `.spec.targetRef.name`; null for metadata, which is not ours.
fn at(schema: &Value, path: &str) -> Option<Value> {
    let mut here = schema;
    for part in path.trim_start_matches('.').split('.') {
        if part == "metadata" {
            return Some(Value::Null);
        }
        here = here["properties"].get(part)?;
    }
    Some(here.clone())
}

#[test]
fn the_columns_of_kubectl_get_are_part_of_the_api() {
    for (kind, columns) in [
        ("Workload", "Target Health Incidents Level Ready Age"),
        ("Incident", "Severity Cause State Detected Repaired-In Actions Ready Age"),
        ("Action", "Action Target State Because Outcome Ready Age"),
        ("Tenant", "Namespaces Workloads Incidents Level Ready Age"),
        ("ControlPlane", "Stopped Ceiling Workloads Incidents Actions Ready Age"),
        ("Playbook", "Findings Priority Version Ready Age"),
        ("Report", "Incident From To Format Summary Ready Age"),
        ("Forecast", "Workload Signal Now P50 P90 Model Error vs naive Skill Wanted Mode Limit s Ready Age"),
    ] {
        let (definition, _) = support::definition(kind);
        let all = definition.spec.versions[0].additional_printer_columns.clone().unwrap();
        let shown: Vec<String> =
            all.into_iter().filter(|c| c.priority.unwrap_or(0) == 0).map(|c| c.name).collect();
        assert_eq!(shown.join(" "), columns, "{kind}");
    }
}

/// Walks every schema and collects what the conventions forbid.
struct Walker {
    faults: Vec<String>,
    camel: Regex,
    lasting: Regex,
}

impl Walker {
    fn fault(&mut self, path: &str, what: &str) {
        self.faults.push(format!("{path}: {what}"));
    }

    fn walk(&mut self, path: &str, schema: &Value) {
        for key in ["$ref", "nullable", "anyOf", "oneOf", "allOf", "not"] {
            if schema.get(key).is_some() {
                self.fault(path, &format!("{key} is not structural or not wanted"));
            }
        }
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            if rule["message"].as_str().is_none_or(str::is_empty) {
                self.fault(path, "a rule without a message");
            }
        }
        let bounded_text = schema["maxLength"].is_u64();
        if schema["x-kubernetes-int-or-string"] == true {
            if !bounded_text {
                self.fault(path, "unbounded text");
            }
            return;
        }
        let format = schema["format"].as_str().unwrap_or("");
        match schema["type"].as_str().unwrap_or("") {
            "number" => self.fault(path, "floating point"),
            "integer" if !["int32", "int64"].contains(&format) => {
                self.fault(path, "an integer is int32 or int64");
            }
            "integer" => {
                let name = path.rsplit('.').next().unwrap_or("");
                // The sketch of the API fixes this one name, because objectives are spoken of so.
                let exempt = path.ends_with(".latency.milliseconds");
                if self.lasting.is_match(name) && !name.ends_with("Seconds") && !exempt {
                    self.fault(path, "a duration ends in Seconds");
                }
                if !schema["minimum"].is_number() {
                    self.fault(path, "an integer without a lower bound");
                }
            }
            "boolean" => {}
            "string" => {
                if !bounded_text && !schema["enum"].is_array() && format != "date-time" {
                    self.fault(path, "unbounded text");
                }
            }
            "array" => {
                if !schema["maxItems"].is_u64() {
                    self.fault(path, "unbounded list");
                }
                self.walk(&format!("{path}[]"), &schema["items"]);
            }
            "object" => {
                let free = schema.get("additionalProperties").is_some()
                    || schema.get("x-kubernetes-preserve-unknown-fields").is_some();
                if free {
                    self.fault(path, "a free map; use a list of named entries");
                }
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    let path = format!("{path}.{name}");
                    if !self.camel.is_match(name) {
                        self.fault(&path, "not camelCase");
                    }
                    if path.matches('.').count() > 1 && !field["description"].is_string() {
                        self.fault(&path, "no description");
                    }
                    self.walk(&path, field);
                }
            }
            other => self.fault(path, &format!("type {other:?}")),
        }
        for word in schema["enum"].as_array().into_iter().flatten() {
            if !word.as_str().is_some_and(|w| w.starts_with(|c: char| c.is_ascii_uppercase())) {
                self.fault(path, "an enum word that is not CamelCase");
            }
        }
    }
}

#[test]
fn every_schema_is_bounded_and_structural() {
    let mut walker = Walker {
        faults: Vec::new(),
        camel: Regex::new("^[a-z][a-zA-Z0-9]*$").unwrap(),
        lasting: Regex::new(
            "(?i)(duration|timeout|interval|window|delay|age|ttl|cooldown|deadline|silence)$\
             |(?-i)(Minutes|Hours|Days|Millis|Milliseconds|milliseconds)$",
        )
        .unwrap(),
    };
    // Rates such as failures per 15 minutes are counts, not durations.
    let rates = ["percentOfWorkloadsPer10Minutes", "failedVerificationsPer15Minutes"];
    for definition in homeostat_crds::all() {
        walker.walk(&definition.spec.names.kind, &support::schema(&definition));
    }
    walker.faults.retain(|fault| !rates.iter().any(|rate| fault.contains(rate)));
    assert!(walker.faults.is_empty(), "{:#?}", walker.faults);
}
