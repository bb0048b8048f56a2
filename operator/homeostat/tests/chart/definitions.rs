//! The definitions in the chart, and the static manifest that is rendered from it.

use crate::render::{objects, of_kind, read, render, root, try_render};
use serde_json::Value;
use std::collections::BTreeMap;

fn generated() -> BTreeMap<String, String> {
    files("crds/generated")
}

fn files(folder: &str) -> BTreeMap<String, String> {
    std::fs::read_dir(root().join(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| (name.clone(), read(&format!("{folder}/{name}"))))
        .collect()
}

#[test]
fn the_chart_holds_the_generated_definitions() {
    assert_eq!(files("charts/homeostat/files/crds"), generated(), "run `make chart`");
}

#[test]
fn rendered_definitions_differ_from_the_generated_ones_in_labels_and_keep_policy_only() {
    for (keep, set) in [(true, "crds.keep=true"), (false, "crds.keep=false")] {
        let objects = render(&[set]);
        let definitions = of_kind(&objects, "CustomResourceDefinition");
        assert_eq!(definitions.len(), homeostat_crds::all().len());
        for rendered in definitions {
            let policy = &rendered["metadata"]["annotations"]["helm.sh/resource-policy"];
            assert_eq!(policy == "keep", keep, "{policy}");
            let name = rendered["spec"]["names"]["plural"].as_str().unwrap();
            let mut original: Value = serde_saphyr::from_str(&generated()[&format!("{name}.yaml")]).unwrap();
            original["metadata"] = rendered["metadata"].clone();
            assert_eq!(*rendered, original);
        }
    }
}

#[test]
fn definitions_can_be_left_out() {
    assert!(of_kind(&render(&["crds.enabled=false"]), "CustomResourceDefinition").is_empty());
}

#[test]
fn the_static_manifest_is_the_chart_with_its_defaults_in_a_namespace() {
    let committed = read("charts/static/homeostat.yaml");
    let (head, rest) = committed.split_once("\n---\n").unwrap();
    // Whoever applies it knows no hooks.
    let rendered = try_render(&["--set", "releaseHeld=false"]).unwrap();
    assert_eq!(rest, rendered.trim_start_matches("---\n"), "run `make chart`");
    let namespace = &objects(head)[0];
    assert_eq!(namespace["kind"], "Namespace");
    assert_eq!(namespace["metadata"]["name"], "homeostat-system");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let cluster_wide = [
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    for object in objects(rest) {
        let has = object["metadata"]["namespace"].is_string();
        let kind = object["kind"].as_str().unwrap();
        assert_eq!(
            has,
            !cluster_wide.contains(&kind),
            "{kind} {}: applied without -n",
            object["metadata"]["name"]
        );
    }
}
