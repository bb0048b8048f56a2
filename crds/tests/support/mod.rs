//! What an API server does with a custom resource before CEL: a small structural check.

#![allow(dead_code, reason = "each test file uses its part")]

use homeostat_crds::v1alpha1::{
    Action, ControlPlane, Forecast, Incident, Playbook, Report, Tenant, Workload,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use regex::Regex;
use serde_json::Value;

/// The definition and the schema of a kind.
pub fn definition(kind: &str) -> (CustomResourceDefinition, Value) {
    let found = homeostat_crds::all()
        .into_iter()
        .find(|d| d.spec.names.kind == kind)
        .unwrap_or_else(|| panic!("no definition for {kind}"));
    let schema = schema(&found);
    (found, schema)
}

/// The schema of a definition's only version.
pub fn schema(definition: &CustomResourceDefinition) -> Value {
    let version = &definition.spec.versions[0];
    let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    serde_json::to_value(schema.expect("every version has a schema")).unwrap()
}

/// Every sample manifest of the repository, by file name.
pub fn samples() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut all: Vec<(String, Value)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, value)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Reads an object into its Rust type and writes it again.
pub fn through_rust(object: &Value) -> Result<Value, serde_json::Error> {
    fn go<T: serde::de::DeserializeOwned + serde::Serialize>(
        object: &Value,
    ) -> Result<Value, serde_json::Error> {
        serde_json::to_value(serde_json::from_value::<T>(object.clone())?)
    }
    match object["kind"].as_str().unwrap() {
        "Tenant" => go::<Tenant>(object),
        "Workload" => go::<Workload>(object),
        "Playbook" => go::<Playbook>(object),
        "ControlPlane" => go::<ControlPlane>(object),
        "Incident" => go::<Incident>(object),
        "Action" => go::<Action>(object),
        "Report" => go::<Report>(object),
        "Forecast" => go::<Forecast>(object),
        other => panic!("unknown kind {other}"),
    }
}

/// Everything in `object` that the schema refuses, as `path: why`. Strict about unknown fields.
pub fn faults(schema: &Value, object: &Value) -> Vec<String> {
    let mut body = object.clone();
    let fields = body.as_object_mut().unwrap();
    for known in ["apiVersion", "kind", "metadata"] {
        assert!(fields.remove(known).is_some(), "an object needs {known}");
    }
    let mut all = Vec::new();
    check(schema, &body, "", &mut all);
    all
}

fn check(schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    let mut fault = |why: String| faults.push(format!("{path}: {why}"));
    if schema["x-kubernetes-int-or-string"] == true {
        match value {
            Value::String(text) => texts(schema, text, &mut fault),
            Value::Number(n) if n.is_i64() => {}
            _ => fault("is neither a whole number nor a text".into()),
        }
        return;
    }
    match (schema["type"].as_str().unwrap_or(""), value) {
        ("string", Value::String(text)) => texts(schema, text, &mut fault),
        ("boolean", Value::Bool(_)) => {}
        ("integer", Value::Number(n)) if n.is_i64() => {
            let n = n.as_i64().unwrap() as f64;
            if schema["minimum"].as_f64().is_some_and(|m| n < m)
                || schema["maximum"].as_f64().is_some_and(|m| n > m)
            {
                fault(format!("{n} is out of range"));
            }
        }
        ("array", Value::Array(list)) => {
            let count = list.len() as u64;
            if schema["maxItems"].as_u64().is_some_and(|m| count > m)
                || schema["minItems"].as_u64().is_some_and(|m| count < m)
            {
                fault(format!("{count} entries are too many or too few"));
            }
            let keys: Vec<Value> = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => list.clone(),
                Some("map") => {
                    let key = schema["x-kubernetes-list-map-keys"][0].as_str().unwrap();
                    list.iter().map(|entry| entry[key].clone()).collect()
                }
                _ => Vec::new(),
            };
            if (0..keys.len()).any(|i| keys[..i].contains(&keys[i])) {
                fault("holds an entry twice".into());
            }
            for (i, entry) in list.iter().enumerate() {
                check(&schema["items"], entry, &format!("{path}[{i}]"), faults);
            }
        }
        ("object", Value::Object(fields)) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                if !fields.contains_key(required.as_str().unwrap()) {
                    fault(format!("{required} is missing"));
                }
            }
            for (name, field) in fields {
                let path = format!("{path}.{name}");
                match schema["properties"].get(name) {
                    Some(schema) => check(schema, field, &path, faults),
                    None => faults.push(format!("{path}: unknown field")),
                }
            }
        }
        (expected, _) => fault(format!("is not of type {expected}")),
    }
}

fn texts(schema: &Value, text: &str, fault: &mut impl FnMut(String)) {
    let length = text.chars().count() as u64;
    if schema["maxLength"].as_u64().is_some_and(|m| length > m)
        || schema["minLength"].as_u64().is_some_and(|m| length < m)
    {
        fault(format!("{length} characters are too many or too few"));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        fault(format!("{text:?} does not look like {pattern}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.iter().any(|word| word == text)
    {
        fault(format!("{text:?} is none of {words:?}"));
    }
    if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        fault(format!("{text:?} is not an instant"));
    }
}
