//! Alerts and the dashboard: each can be switched on, parses, and asks for metrics that exist.

use crate::render::{of_kind, read, render, root};
use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use std::collections::BTreeSet;
use std::convert::Infallible;

/// Names under which the metrics are registered, without the suffixes that the text format adds.
fn registered() -> BTreeSet<String> {
    let source = read("operator/console/src/metrics.rs");
    let names: BTreeSet<String> = source
        .split("registry.register")
        .skip(1)
        .map(|call| format!("homeostat_{}", call.split('"').nth(1).unwrap()))
        .collect();
    assert!(names.len() > 10 && names.contains("homeostat_leader"), "{names:?}");
    names
}

/// The names of the metrics that an expression reads.
fn metrics(expression: &str) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl ExprVisitor for Names {
        type Error = Infallible;
        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
            let selector = match expression {
                Expr::VectorSelector(selector) => Some(selector),
                Expr::MatrixSelector(selector) => Some(&selector.vs),
                _ => None,
            };
            self.0.extend(selector.and_then(|selector| selector.name.clone()));
            Ok(true)
        }
    }
    let parsed = parser::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut names = Names(BTreeSet::new());
    let Ok(_) = walk_expr(&mut names, &parsed);
    assert!(!names.0.is_empty(), "{expression} reads nothing");
    names.0
}

fn assert_registered(expression: &str) {
    let registered = registered();
    for name in metrics(expression) {
        let known = ["", "_total", "_seconds", "_seconds_bucket", "_seconds_count", "_seconds_sum", "_info"]
            .iter()
            .any(|suffix| name.strip_suffix(suffix).is_some_and(|base| registered.contains(base)));
        assert!(known, "{expression}: there is no metric {name}");
    }
}

/// A metric that nobody feeds is a panel that stays empty.
#[test]
fn every_metric_is_fed_by_the_program() {
    let source = read("operator/console/src/metrics.rs");
    let methods: Vec<&str> = source
        .split("    pub fn ")
        .skip(1)
        .filter_map(|method| method.split('(').next())
        .filter(|method| !["new", "text"].contains(method))
        .collect();
    assert!(methods.len() > 10, "{methods:?}");
    let program = [
        "operator/homeostat/src/run.rs",
        "operator/homeostat/src/counted.rs",
        "operator/homeostat/src/forecasts.rs",
        "operator/homeostat/src/limits.rs",
        "operator/console/src/http.rs",
    ];
    let program: String = program.into_iter().map(read).collect();
    for method in methods {
        assert!(program.contains(&format!("metrics.{method}(")), "nothing calls Metrics::{method}");
    }
}

#[test]
fn every_alert_is_named_graded_explained_and_has_a_runbook() {
    let objects =
        render(&["prometheusRule.enabled=true", "prometheusRule.runbookUrl=https://books.example/"]);
    let groups = &of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"];
    let rules: Vec<&Value> =
        groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!((3..=9).contains(&rules.len()), "few, on symptoms");
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Homeostat") && name.chars().all(char::is_alphanumeric), "{name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 10), "{name}: {text}");
        }
        assert_eq!(rule["annotations"]["runbook_url"], format!("https://books.example/{name}.md"));
        assert!(
            root().join(format!("docs/runbooks/{name}.md")).is_file(),
            "docs/runbooks/{name}.md is missing"
        );
        assert_registered(rule["expr"].as_str().unwrap());
    }
}

#[test]
fn the_dashboard_is_valid_and_asks_for_metrics_that_exist() {
    let objects = render(&["dashboard.enabled=true"]);
    let config = of_kind(&objects, "ConfigMap")
        .into_iter()
        .find(|config| config["metadata"]["labels"]["grafana_dashboard"] == "1")
        .unwrap();
    let dashboard: Value = serde_json::from_str(config["data"]["homeostat.json"].as_str().unwrap()).unwrap();
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 5);
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            assert_registered(target["expr"].as_str().unwrap());
        }
    }
}

#[test]
fn everything_optional_is_off_unless_switched_on() {
    let default = render(&[]);
    for (kind, switch) in [
        ("ServiceMonitor", "serviceMonitor.enabled=true"),
        ("PrometheusRule", "prometheusRule.enabled=true"),
        ("NetworkPolicy", "networkPolicy.enabled=true"),
    ] {
        assert!(of_kind(&default, kind).is_empty(), "{kind}");
        assert_eq!(of_kind(&render(&[switch]), kind).len(), 1, "{kind}");
    }
    let dashboards = |objects: &[Value]| of_kind(objects, "ConfigMap").len();
    assert_eq!(dashboards(&render(&["dashboard.enabled=true"])), dashboards(&default) + 1);
}
