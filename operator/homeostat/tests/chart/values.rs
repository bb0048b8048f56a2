//! The values: every one documented, every unknown one refused.

use crate::render::{read, try_render};
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(&read("charts/homeostat/values.schema.json")).unwrap()
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_and_named() {
    for (set, named) in [
        ("replica=2", "replica"),
        ("crds.enable=false", "enable"),
        ("actions.deleteEverything=true", "deleteEverything"),
        ("replicas=two", "replicas"),
        ("replicas=-1", "replicas"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.digest=abc", "digest"),
        ("runAsUser=0", "runAsUser"),
        ("trustedForwarders={everybody}", "trustedForwarders"),
        ("resources.requests=null", "requests"),
        ("serviceMonitor.interval=often", "interval"),
        ("pagesUrl=ftp://example.org", "pagesUrl"),
        ("pagesUrl=https://me:secret@example.org", "pagesUrl"),
        ("prometheus.tenantHeader=X Scope", "tenantHeader"),
        ("notify.secrets={../token}", "secrets"),
        ("notify.secrets={a..b}", "secrets"),
        ("notify.secret={hooks}", "secret"),
        ("admission.mostPerContainer.memory=much", "memory"),
        ("admission.mostPerContainer.cpu=0", "cpu"),
        ("admission.jobServiceAccounts={Billing Jobs}", "jobServiceAccounts"),
    ] {
        let refused = try_render(&["--set", set]).expect_err(set);
        assert!(refused.contains(named), "{set}: {refused}");
    }
}

#[test]
fn schema_and_values_list_the_same_keys() {
    let values: Value = serde_saphyr::from_str(&read("charts/homeostat/values.yaml")).unwrap();
    same_keys(&values, &schema(), "");
}

fn same_keys(values: &Value, schema: &Value, path: &str) {
    if schema["additionalProperties"] != false {
        return;
    }
    let known = schema["properties"].as_object().unwrap();
    let set = values.as_object().unwrap_or_else(|| panic!("{path} is no object"));
    for (key, value) in set {
        let inner = known.get(key).unwrap_or_else(|| panic!("{path}.{key} is not in values.schema.json"));
        same_keys(value, inner, &format!("{path}.{key}"));
    }
    for key in known.keys().filter(|key| *key != "global") {
        assert!(set.contains_key(key), "{path}.{key} is not in values.yaml");
    }
}

#[test]
fn every_value_is_explained_by_the_comment_above_it() {
    let text = read("charts/homeostat/values.yaml");
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let is_key =
            line.trim_start().split_once(':').is_some_and(|(key, _)| key.chars().all(char::is_alphanumeric));
        if !is_key || indent > 2 {
            continue;
        }
        // Explained by a comment, together with the line above, or by the comments of its parts.
        let above = lines[..index].last().copied().unwrap_or_default();
        let parts = lines.get(index + 1).is_some_and(|next| next.starts_with("  #"));
        let explained =
            above.trim_start().starts_with('#') || parts || (!above.is_empty() && indent <= depth(above));
        assert!(explained, "values.yaml:{}: {line}", index + 1);
    }
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[test]
fn the_notes_tell_how_to_begin_and_how_to_stop() {
    let notes = read("charts/homeostat/templates/NOTES.txt");
    let stop = r#"kubectl patch controlplane default --type merge -p '{"spec":{"killSwitch":{"engaged":true,"reason":"#;
    assert!(notes.contains(stop));
    assert!(notes.contains("kind: Tenant") && notes.contains("kind: Workload"));
    let readme = read("README.md");
    assert!(readme.contains(stop), "the README stops everything in the same way");
}
