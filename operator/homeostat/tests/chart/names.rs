//! The longest names that people can choose still fit wherever Kubernetes copies them.

use crate::render::{objects, of_kind, try_render, try_render_as};
use serde_json::{Map, Value};

/// Most characters of a label's value, and of a part of an address.
const MOST: usize = 63;
/// The longest name of a release that helm takes.
const RELEASE: usize = 53;

/// The values of all labels of an object, also in its selectors and its pod template.
fn labels<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if ["labels", "matchLabels", "selector"].contains(&name.as_str()) {
                    let all = inner.as_object().into_iter().flat_map(Map::values);
                    found.extend(all.filter_map(Value::as_str));
                }
                labels(inner, found);
            }
        }
        Value::Array(items) => {
            for inner in items {
                labels(inner, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_label_and_every_name_that_becomes_one_fits() {
    let release = "r".repeat(RELEASE);
    let name = format!("nameOverride={}", "n".repeat(54));
    // With a dash where it is cut.
    let full = |at: usize| format!("fullnameOverride={}-{}", "a".repeat(at), "b".repeat(MOST - 1 - at));
    for chosen in [vec![], vec![name.clone()], vec![full(44)], vec![name, full(54)]] {
        let everything = [
            "replicas=2",
            "crds.enabled=false",
            "serviceMonitor.enabled=true",
            "prometheusRule.enabled=true",
            "dashboard.enabled=true",
            "networkPolicy.enabled=true",
        ];
        let set = everything.into_iter().chain(chosen.iter().map(String::as_str));
        let arguments: Vec<&str> = set.flat_map(|value| ["--set", value]).collect();
        let rendered = objects(&try_render_as(&release, &arguments).unwrap());
        assert_eq!(of_kind(&rendered, "Job").len(), 2);
        // A Job's name becomes a label of its pods, a Service's one of its end points.
        for object in of_kind(&rendered, "Job").into_iter().chain(of_kind(&rendered, "Service")) {
            let name = object["metadata"]["name"].as_str().unwrap();
            assert!(name.len() <= MOST && !name.contains("--"), "{chosen:?}: {}: {name}", object["kind"]);
        }
        for object in &rendered {
            let mut found = Vec::new();
            labels(object, &mut found);
            let long: Vec<_> = found.into_iter().filter(|label| label.len() > MOST).collect();
            assert!(long.is_empty(), "{chosen:?}: {}: {long:?}", object["metadata"]["name"]);
        }
    }
}

#[test]
fn a_name_that_would_not_fit_is_refused() {
    for (value, most) in [("nameOverride", 54), ("fullnameOverride", MOST)] {
        let render = |length: usize| try_render(&["--set", &format!("{value}={}", "n".repeat(length))]);
        assert!(render(most).is_ok(), "{value}");
        let refused = render(most + 1).expect_err(value);
        assert!(refused.contains(value), "{value}: {refused}");
    }
}
