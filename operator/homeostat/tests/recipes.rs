//! The recipes for queues in docs/developer.md: what people copy from there is taken.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use homeostat_cluster::validate::workload_policy;
use homeostat_crds::v1alpha1::Workload;
use homeostat_knowledge::WorkloadPolicy;
use homeostat_knowledge::policy::BACKLOG;
use promql_parser::parser::{self, Expr};
use serde_json::{Value, json};

/// The section of the page, up to the next one.
fn section() -> &'static str {
    let page = include_str!("../../../docs/developer.md");
    let (_, after) = page.split_once("## Size workers by their queue\n").unwrap();
    after.split("\n## ").next().unwrap()
}

/// The Workload that the section begins with.
fn workload() -> Value {
    let block = section().split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    serde_saphyr::from_str(block).unwrap()
}

/// Query and external metric of each row of the table.
fn recipes() -> Vec<(&'static str, &'static str)> {
    let rows = section().lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, _, _, query, served, _] = cells[..] else { panic!("a row has four cells: {row}") };
        (query, served)
    })
    .collect()
}

fn accepted(object: Value) -> WorkloadPolicy {
    let said = object.to_string();
    let object: Workload = serde_json::from_value(object).unwrap_or_else(|error| panic!("{said}: {error}"));
    workload_policy(&object).unwrap_or_else(|error| panic!("{said}: {error}"))
}

#[test]
fn each_recipe_for_a_queue_is_a_valid_workload_and_its_query_can_be_asked() {
    let with = |signal: Value| {
        let mut object = workload();
        object["spec"]["signals"] = json!([signal]);
        accepted(object)
    };
    let all = recipes();
    assert!(all.len() >= 5, "{all:?}");
    for (query, served) in &all {
        let asked = with(json!({ "name": "waiting", "promql": query }));
        let backlog = asked.signals.iter().find(|signal| *signal.name == *BACKLOG).unwrap();
        assert_eq!(&*backlog.promql, *query);
        let parsed = parser::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!(matches!(parsed, Expr::Aggregate(_) | Expr::Binary(_)), "{query} is not one number");
        let read = with(json!({ "name": "waiting", "external": { "name": served } }));
        let external = read.signals[0].external.as_ref().map(|external| external.name.to_string());
        assert_eq!(external.as_deref(), Some(*served));
    }
    let shown = accepted(workload());
    assert!(all.iter().any(|(query, _)| **query == *shown.signals[0].promql), "the first is one of them");
}
