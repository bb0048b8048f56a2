//! Examples of every CEL rule: one object that passes and one that is refused.
//!
//! The same table is checked without a cluster (by this crate's tests) and against a real API
//! server (by the cluster tests), so that both agree on what is refused and why.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Files of `tests/rules`, one per kind, as text.
pub const FILES: &[(&str, &str)] = &[
    ("tenant.yaml", include_str!("../tests/rules/tenant.yaml")),
    ("workload.yaml", include_str!("../tests/rules/workload.yaml")),
    ("playbook.yaml", include_str!("../tests/rules/playbook.yaml")),
    ("controlplane.yaml", include_str!("../tests/rules/controlplane.yaml")),
    ("incident.yaml", include_str!("../tests/rules/incident.yaml")),
    ("action.yaml", include_str!("../tests/rules/action.yaml")),
    ("report.yaml", include_str!("../tests/rules/report.yaml")),
    ("forecast.yaml", include_str!("../tests/rules/forecast.yaml")),
];

/// One rule with its examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The rule's message, word for word.
    pub message: String,
    /// Path of the field that the refusal names, as the API server writes it; empty for the object as a whole.
    pub field: String,
    /// For rules about changes: the object before. Absent for rules about the object alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// A complete object that passes.
    pub valid: Value,
    /// A complete object that is refused with this message.
    pub invalid: Value,
}

/// What a file of examples holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    /// Complete objects by name, which the examples start from.
    bases: std::collections::BTreeMap<String, Value>,
    cases: Vec<Entry>,
}

/// An example is a base with a merge patch (RFC 7386) on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    message: String,
    field: String,
    #[serde(default = "base")]
    base: String,
    #[serde(default)]
    before: Option<Value>,
    #[serde(default)]
    valid: Value,
    invalid: Value,
}

fn base() -> String {
    "base".to_owned()
}

/// Reads every example. Fails only when a file in `tests/rules` is malformed.
pub fn cases() -> Result<Vec<Case>, String> {
    let mut all = Vec::new();
    for (name, text) in FILES {
        let file: File = serde_saphyr::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        for entry in file.cases {
            let base = file
                .bases
                .get(&entry.base)
                .ok_or_else(|| format!("{name}: there is no base {}", entry.base))?;
            let with = |change: &Value| {
                let mut object = base.clone();
                merge(&mut object, change);
                object
            };
            all.push(Case {
                before: entry.before.as_ref().map(with),
                valid: with(&entry.valid),
                invalid: with(&entry.invalid),
                message: entry.message,
                field: entry.field,
            });
        }
    }
    Ok(all)
}

/// JSON merge patch; a `null` patch as a whole changes nothing.
fn merge(object: &mut Value, patch: &Value) {
    match patch {
        Value::Null => {}
        Value::Object(changes) => {
            if !object.is_object() {
                *object = Value::Object(serde_json::Map::new());
            }
            if let Value::Object(fields) = object {
                for (key, change) in changes {
                    if change.is_null() {
                        fields.remove(key);
                    } else {
                        merge(fields.entry(key.clone()).or_insert(Value::Null), change);
                    }
                }
            }
        }
        other => *object = other.clone(),
    }
}
