//! What a `Workload` says of the runs of what runs to completion.

use super::{Rejection, bounded, decimal};
use homeostat_crds::v1alpha1::Workload;
use homeostat_crds::v1alpha1::workload::{Archetype, Backlog, Scaling};
use homeostat_knowledge::SignedDuration;
use homeostat_knowledge::policy::{Bounds, RunItems, RunRules};
use jiff::civil::Date;
use std::collections::BTreeSet;

/// Days that one Workload may except, as its definition says.
const MOST_EXCEPTIONS: usize = 64;

/// When runs must have ended, how many pods of one may run at a time, and what its backlog says of that number.
pub(super) fn rules(object: &Workload, scaling: &Scaling) -> Result<RunRules, Rejection> {
    let deadline = scaling
        .deadline_seconds
        .map(|seconds| bounded("spec.scaling.deadlineSeconds", seconds, 1, 604_800))
        .transpose()?;
    let window = scaling
        .start_window_seconds
        .map(|seconds| bounded("spec.scaling.startWindowSeconds", seconds, 0, 86_400))
        .transpose()?;
    if let (Some(deadline), Some(window)) = (deadline, window)
        && window >= deadline
    {
        let rule = format!("it must be shorter than deadlineSeconds, which is {deadline}");
        return Err(Rejection::field("spec.scaling.startWindowSeconds", window, rule));
    }
    let parallelism = scaling.parallelism.as_ref().map(|bounds| {
        let min = bounded("spec.scaling.parallelism.min", bounds.min, 0, 100_000)?;
        let max = bounded("spec.scaling.parallelism.max", bounds.max, 1, 100_000)?;
        if min > max {
            let rule = format!("it must not exceed max, which is {max}");
            return Err(Rejection::field("spec.scaling.parallelism.min", min, rule));
        }
        Ok(Bounds { min: u64::from(min), max: u64::from(max) })
    });
    let run_from = scaling.backlog.as_ref().map(|backlog| run_from(object, backlog)).transpose()?.flatten();
    let items =
        if object.spec.archetype == Archetype::Batch { items(scaling, deadline, run_from)? } else { None };
    let deadline = deadline.map(|seconds| SignedDuration::from_secs(i64::from(seconds)));
    // A start that may be late by a window, and no deadline: the window and as long again to run.
    let twice = window.map(|seconds| SignedDuration::from_secs(2 * i64::from(seconds.max(30))));
    Ok(RunRules {
        deadline: deadline.or(twice).unwrap_or(RunRules::default().deadline),
        parallelism: parallelism.transpose()?,
        window: SignedDuration::from_secs(i64::from(window.unwrap_or(0))),
        items,
    })
}

/// Days on which no run of a `CronJob` is expected, in order and each once.
pub(super) fn exceptions(object: &Workload, scaling: &Scaling) -> Result<Vec<Date>, Rejection> {
    let field = |index: usize| format!("spec.scaling.exceptions[{index}]");
    let mut days = BTreeSet::new();
    for (index, text) in scaling.exceptions.iter().enumerate() {
        if index >= MOST_EXCEPTIONS {
            let rule = format!("there are {MOST_EXCEPTIONS} at most; take out those that are over");
            return Err(Rejection::field(field(index), format!("`{text}`"), rule));
        }
        if object.spec.target_ref.kind != "CronJob" {
            let rule = "it is for a CronJob: a day on which its schedule makes no run";
            return Err(Rejection::field(field(index), format!("`{text}`"), rule));
        }
        // The parser takes other forms too.
        let day = text.parse::<Date>().ok().filter(|day| day.to_string() == *text);
        let Some(day) = day else {
            let rule = "it must be a day that there is, written as 2026-12-25";
            return Err(Rejection::field(field(index), format!("`{text}`"), rule));
        };
        days.insert(day);
    }
    Ok(days.into_iter().collect())
}

/// The backlog of a run, of which the number of its pods follows.
fn items(
    scaling: &Scaling,
    deadline: Option<u32>,
    run_from: Option<u32>,
) -> Result<Option<RunItems>, Rejection> {
    let Some(backlog) = &scaling.backlog else { return Ok(None) };
    let missing = |field: &str, what: &str| {
        let rule = format!("a backlog with the archetype Batch needs it: {what}");
        Err(Rejection::field(format!("spec.scaling.{field}"), "not set", rule))
    };
    let Some(deadline) = deadline else { return missing("deadlineSeconds", "until when a run must be done") };
    if scaling.parallelism.is_none() {
        return missing("parallelism", "between how many pods a run may have at once");
    }
    if let Some(items) = backlog.items_per_replica {
        let rule = "it is not for the archetype Batch; use secondsPerItem, or leave it to be learnt";
        return Err(Rejection::field("spec.scaling.backlog.itemsPerReplica", items, rule));
    }
    let each = backlog.seconds_per_item.as_deref();
    let each = each.map(|text| seconds_per_item(text, f64::from(deadline))).transpose()?;
    // To the microsecond; it is below the deadline of a week.
    let each = each.map(|seconds| SignedDuration::from_micros((seconds * 1e6).round() as i64));
    Ok(Some(RunItems { each, run_from }))
}

/// `spec.scaling.backlog.runFrom`: only what has a template of Jobs can make one.
fn run_from(object: &Workload, backlog: &Backlog) -> Result<Option<u32>, Rejection> {
    let field = "spec.scaling.backlog.runFrom";
    let Some(items) = backlog.run_from else { return Ok(None) };
    if object.spec.target_ref.kind != "CronJob" {
        let rule = "it is for a CronJob: a run is made of its template although its schedule asks for none";
        return Err(Rejection::field(field, items, rule));
    }
    bounded(field, items, 1, 1_000_000).map(Some)
}

/// `spec.scaling.backlog.secondsPerItem`: at least a millisecond, and less than the deadline.
pub(super) fn seconds_per_item(text: &str, deadline: f64) -> Result<f64, Rejection> {
    let field = "spec.scaling.backlog.secondsPerItem";
    let seconds = decimal(field, text, 0.0, 1e6)?;
    if seconds < 0.001 || seconds >= deadline {
        let rule = format!("it must be at least 0.001 and less than deadlineSeconds, which is {deadline}");
        return Err(Rejection::field(field, format!("`{text}`"), rule));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::super::workload::workload_policy;
    use super::*;
    use homeostat_knowledge::WorkloadPolicy;
    use serde_json::{Value, json};

    fn rules(scaling: Value) -> Result<RunRules, Rejection> {
        policy("CronJob", scaling).map(|policy| policy.permits.runs)
    }

    fn policy(kind: &str, scaling: Value) -> Result<WorkloadPolicy, Rejection> {
        let mut object = json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload",
            "metadata": { "name": "plan", "namespace": "water", "uid": "u", "generation": 5 },
            "spec": { "targetRef": { "apiVersion": "batch/v1", "kind": kind, "name": "plan" },
                      "archetype": "Batch" },
        });
        object["spec"]["scaling"] = scaling;
        workload_policy(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn days_without_a_run_are_days_that_there_are() {
        let days = |kind, days: Value| {
            let policy = policy(kind, json!({ "exceptions": days }))?;
            let days = policy.permits.scaling.unwrap().exceptions;
            Ok::<_, Rejection>(days.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let both = days("CronJob", json!(["2027-01-01", "2026-12-25", "2027-01-01"])).unwrap();
        assert_eq!(both, ["2026-12-25", "2027-01-01"]);
        assert_eq!(days("CronJob", json!(["2028-02-29"])).unwrap(), ["2028-02-29"]);
        for wrong in ["2027-02-29", "2026-13-01", "25.12.2026", "20261225", "", "2026-12-25T00:00:00"] {
            let error = days("CronJob", json!(["2026-12-25", wrong])).unwrap_err().to_string();
            assert!(error.contains("spec.scaling.exceptions[1]") && error.contains("2026-12-25"), "{error}");
        }
        let job = days("Job", json!(["2026-12-25"])).unwrap_err().to_string();
        assert!(job.contains("spec.scaling.exceptions[0]") && job.contains("CronJob"), "{job}");
        let all: Vec<String> = (0..65).map(|year| format!("{}-12-25", 2026 + year)).collect();
        let many = days("CronJob", json!(all)).unwrap_err().to_string();
        assert!(many.contains("exceptions[64]") && many.contains("64 at most"), "{many}");
    }

    #[test]
    fn a_run_is_made_from_so_many_items_on_only_of_a_cron_job() {
        let asked = |kind, items: i64| {
            let scaling = json!({ "deadlineSeconds": 600, "parallelism": { "min": 1, "max": 8 },
                                  "backlog": { "promql": "sum(waiting)", "runFrom": items } });
            policy(kind, scaling).map(|policy| policy.permits.runs.items.unwrap().run_from)
        };
        assert_eq!(
            [1, 20, 1_000_000].map(|items| asked("CronJob", items).unwrap()),
            [Some(1), Some(20), Some(1_000_000)]
        );
        for (kind, items, why) in [
            ("CronJob", 0, "runFrom is 0"),
            ("CronJob", 1_000_001, "runFrom is 1000001"),
            ("Job", 20, "CronJob"),
        ] {
            let error = asked(kind, items).unwrap_err().to_string();
            assert!(error.contains("spec.scaling.backlog.runFrom") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_start_window_is_part_of_the_rules_of_runs() {
        let (quarter, hour) = (SignedDuration::from_mins(15), SignedDuration::from_hours(1));
        let both = rules(json!({ "startWindowSeconds": 900, "deadlineSeconds": 3600 })).unwrap();
        assert_eq!((both.window, both.deadline), (quarter, hour));
        let alone = rules(json!({ "startWindowSeconds": 900 })).unwrap();
        assert_eq!((alone.window, alone.deadline), (quarter, SignedDuration::from_mins(30)));
        assert_eq!(rules(json!({})).unwrap(), RunRules::default());
        let long =
            rules(json!({ "startWindowSeconds": 900, "deadlineSeconds": 900 })).unwrap_err().to_string();
        assert!(long.contains("spec.scaling.startWindowSeconds"), "{long}");
    }

    #[test]
    fn a_backlog_of_runs_needs_bounds_and_a_deadline_and_may_leave_the_work_of_an_item_to_be_learnt() {
        let asked = |more: Value| {
            let mut scaling = json!({ "deadlineSeconds": 600, "parallelism": { "min": 1, "max": 8 },
                                      "backlog": { "promql": "sum(waiting)" } });
            for (name, value) in more.as_object().unwrap() {
                scaling[name] = value.clone();
            }
            rules(scaling)
        };
        let learnt = asked(json!({})).unwrap();
        assert_eq!(
            (learnt.items, learnt.parallelism),
            (Some(RunItems::default()), Some(Bounds { min: 1, max: 8 }))
        );
        let each = |text: &str| json!({ "backlog": { "promql": "sum(waiting)", "secondsPerItem": text } });
        let declared = asked(each("2.5")).unwrap().items;
        let each_2_5 = Some(SignedDuration::from_millis(2_500));
        assert_eq!(declared, Some(RunItems { each: each_2_5, run_from: None }));
        let without = json!({ "deadlineSeconds": 600, "parallelism": { "max": 8 } });
        assert_eq!(rules(without).unwrap().items, None);
        for (more, field) in [
            (json!({ "deadlineSeconds": null }), "spec.scaling.deadlineSeconds is not set"),
            (json!({ "parallelism": null }), "spec.scaling.parallelism is not set"),
            (each("600"), "spec.scaling.backlog.secondsPerItem is `600`"),
            (each("0"), "spec.scaling.backlog.secondsPerItem is `0`"),
            (
                json!({ "backlog": { "promql": "sum(waiting)", "itemsPerReplica": 5 } }),
                "spec.scaling.backlog.itemsPerReplica is 5",
            ),
            (json!({ "backlog": { "promql": " " } }), "spec.scaling.backlog.promql"),
        ] {
            let error = asked(more).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
