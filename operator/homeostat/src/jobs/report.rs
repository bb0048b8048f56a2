//! How the runs of each workload do, for conditions.

use super::declared::Asked;
use super::desk::{Desk, Start, title};
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::{RunsReport, WorkloadKey};
use homeostat_scale::jobs::Size;
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::overload::{Limit, Overload};
use std::collections::BTreeMap;

/// One report per workload that is asked for at this desk. `would` is what would be started; `because` why nothing is,
/// where it is not the workload's own mode or level.
pub fn of(
    desk: &Desk,
    asked: &BTreeMap<WorkloadKey, Asked>,
    would: &[Start],
    because: Option<&str>,
) -> BTreeMap<WorkloadKey, RunsReport> {
    asked
        .iter()
        .map(|(key, one)| {
            let (waiting, running) = desk.counts(key);
            let mut said = vec![format!("{waiting} wait, {running} run")];
            match desk.next_slot(key) {
                Some(Ok(next)) => said.push(format!("next slot {next}")),
                Some(Err(why)) => said.push(why.to_owned()),
                None => {}
            }
            if let Orderer::Kueue { queue, reason } = &one.orderer {
                said.push(format!("left to queue {queue} of Kueue: {reason}"));
            }
            if let Some(start) = would.iter().find(|start| start.workload == *key) {
                said.push(format!("would start a run with {}: {}", start.size, start.why));
            } else if let Some(last) = desk.last_start(key) {
                said.push(format!("last turn: {last}"));
            }
            if let Some(reason) = desk.waits_for(key) {
                said.push(format!("the next run {reason}"));
            }
            if let Some(reason) = desk.parts_said(key) {
                said.push(format!("it would have {reason}"));
            }
            let problem = desk.refusal(key).cloned().or_else(|| because.map(str::to_owned));
            let problem = problem.or_else(|| {
                (one.mode == ScalingMode::Auto && one.paused).then(|| "automation is paused".to_owned())
            });
            let (late, late_runs) = desk.overload().map_or((None, 0), |overload| late(key, one, overload));
            let report = RunsReport {
                mode: one.mode,
                waiting,
                running,
                said: said.join("; "),
                late: desk.late_in_parts(key).or(late),
                late_runs,
                problem,
            };
            (key.clone(), report)
        })
        .collect()
}

/// The latest run of a workload and what would cure it at what price, and how many are late.
fn late(key: &WorkloadKey, asked: &Asked, overload: &Overload) -> (Option<String>, u32) {
    let own = format!("{} ", title(key));
    let mine: Vec<_> = overload.late.iter().filter(|late| late.title.starts_with(&own)).collect();
    let Some(first) = mine.first() else { return (None, 0) };
    let by = first.by.map_or_else(
        || "never finds room".to_owned(),
        |by| format!("will end {} s after it is due ({})", by.as_secs(), first.due),
    );
    let others = match mine.len() {
        1 => String::new(),
        count => format!(", and {} more of this workload", count - 1),
    };
    let mut cure: Vec<String> = overload.cures(first).iter().map(|cure| grows(*cure, asked)).collect();
    if let Some(by) = first.alone {
        let why = if cure.is_empty() { "no capacity helps: raise" } else { "and raise" };
        cure.push(format!("{why} spec.scaling.deadlineSeconds by {}", by.as_secs() + 1));
    }
    let text =
        [format!("{} {by}{others}", first.title)].into_iter().chain(cure).collect::<Vec<_>>().join("; ");
    (Some(text), u32::try_from(mine.len()).unwrap_or(u32::MAX))
}

/// What has to grow by how much, and what that costs.
fn grows((limit, more): (Limit<'_>, Size), asked: &Asked) -> String {
    let what = match limit {
        Limit::Quota(tenant) => format!("the quota of tenant {tenant} (spec.quota)"),
        Limit::Capacity => "the cluster's capacity for runs".to_owned(),
    };
    let mine = !matches!(limit, Limit::Quota(tenant) if tenant != asked.job.tenant);
    let prices = asked.prices.as_ref().filter(|_| mine);
    let cost = prices.and_then(|prices| prices.month(more.vcpu(), more.gib()));
    let cost = cost.map_or_else(String::new, |cost| format!(", which costs {cost}"));
    format!("{what} has to grow by {more}{cost}")
}
